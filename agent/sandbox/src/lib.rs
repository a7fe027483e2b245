//! Runs WebAssembly plugins under limits, with host capabilities behind one trait.
//!
//! A [`Sandbox`] makes a module ready once ([`Sandbox::load`]) and runs it any number of times
//! ([`Sandbox::run`]), each time in a fresh instance, on the caller's thread, which must have
//! [`STACK_BYTES`] of native stack. Fuel, memory, output and log are bounded by the call's limits;
//! time by the [`Watch`], which is asked every few microseconds. Whatever the plugin does, the
//! answer is an [`Outcome`].
//!
//! The plugin sees its input, its settings and its own memory. Everything else is a [`Host`],
//! asked after [`grants`] were, with the guest set aside. Nothing here reads a clock or a random
//! source, so the same module with the same input and the same answers of the host does the same
//! thing everywhere, down to the fuel.
//!
//! Plugins speak the Extism ABI, module `openclaw` (see the crate `openclaw-plugin-abi`), and the
//! little of WASI preview 1 that compilers emit unasked.

mod abi_device;
mod abi_extism;
mod abi_openclaw;
mod arena;
mod ask;
mod cache;
mod call;
pub mod cases;
mod device;
mod drive;
pub mod grants;
mod guest;
mod host;
mod http_head;
mod inside;
mod kept;
mod limiter;
pub mod limits;
mod module;
mod needs;
pub mod replay;
mod request;
mod shape;
mod state;
mod tape;
pub mod target;
mod wasi;

use std::sync::{Arc, Mutex, PoisonError};

pub use openclaw_plugin_abi::{Context, Exit, FileStat, KvScope, Level, WriteMode};
use openclaw_protocol::id::Digest;
use sha2::{Digest as _, Sha256};

pub use self::ask::Ask;
pub use self::call::{Call, Fault, LogLine, Outcome};
pub use self::host::{DirEntry, Host, HostError, HttpRequest, HttpResponse, Stop, Watch};
pub use self::inside::inside_engine;
pub use self::kept::{Kept, KvWrite, Published};
pub use self::module::Module;
pub use self::shape::{Import, LoadError, ModuleInfo};
pub use self::tape::{Answered, Entry, Function, Tape};

/// Native stack that a thread needs to call [`Sandbox::run`] and [`Sandbox::load`], in bytes.
pub const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Loads modules and keeps the recently used ones ready. Shared between threads.
#[derive(Debug, Default)]
pub struct Sandbox {
    cache: Mutex<cache::Cache>,
}

impl Sandbox {
    /// A sandbox with nothing loaded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The module, if it is ready already; saves reading its bytes.
    #[must_use]
    pub fn cached(&self, digest: Digest) -> Option<Arc<Module>> {
        self.cache().find(digest)
    }

    /// Makes a module ready: checks its digest, looks at its shape, validates, translates, links.
    ///
    /// # Errors
    /// The module is not taken; the error says why and what to do.
    pub fn load(&self, digest: Digest, bytes: &[u8]) -> Result<Arc<Module>, LoadError> {
        if let Some(module) = self.cached(digest) {
            return Ok(module);
        }
        let actual = digest_of(bytes);
        if actual != digest {
            return Err(LoadError::Digest { expected: digest, actual });
        }
        // Not under the lock: two threads may translate the same module, and neither waits.
        let module = Arc::new(Module::translate(digest, bytes)?);
        self.cache().keep(&module);
        Ok(module)
    }

    /// Looks at a module as a device would load it, and keeps nothing.
    ///
    /// # Errors
    /// A device would not take it either.
    pub fn inspect(bytes: &[u8]) -> Result<ModuleInfo, LoadError> {
        Module::translate(digest_of(bytes), bytes).map(|module| module.info().clone())
    }

    /// Calls an export of a module, in a fresh instance, on this thread.
    pub fn run(
        &self,
        module: &Module,
        call: Call<'_>,
        host: &mut dyn Host,
        watch: &dyn Watch,
    ) -> Outcome {
        drive::run(module, call, host, watch)
    }

    /// Keeps a module ready no longer: its engine failed. It is translated anew when it is loaded
    /// again.
    pub fn forget(&self, digest: Digest) {
        self.cache().forget(digest);
    }

    /// How many modules are ready.
    #[must_use]
    pub fn loaded(&self) -> usize {
        self.cache().len()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, cache::Cache> {
        // The list is whole between any two statements that could panic.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of a module's bytes, by which it is known everywhere.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
