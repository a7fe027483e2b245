//! A module made ready: checked, translated, and linked to the host's functions.
//!
//! Every module has an engine of its own. A panic inside the engine then costs this module and
//! nothing else: it is marked and translated afresh when it is loaded again.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_protocol::id::Digest;
use openclaw_protocol::limits::PLUGIN_MEMORY_BYTES_MAX;
use wasmi::{CompilationMode, Config, Engine, ExternType, Linker, Store, Val, ValType};

use crate::call::Call;
use crate::guest::Guest;
use crate::inside::inside;
use crate::shape::{Import, LoadError, ModuleInfo};
use crate::state::State;
use crate::{abi_device, abi_extism, abi_openclaw, limits, shape, wasi};

/// Functions that some toolchains want called before anything else, the first that is there.
const SET_UP: [&str; 2] = ["_initialize", "__wasm_call_ctors"];

/// A module ready to be called, from any thread and by several at once.
pub struct Module {
    pub(crate) wasm: wasmi::Module,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<State>,
    digest: Digest,
    info: ModuleInfo,
    /// What its tools want called first.
    set_up: Option<&'static str>,
    broken: AtomicBool,
}

impl Module {
    /// Checks and translates a module. This is bounded by the module's size, not by time.
    ///
    /// # Errors
    /// It is not taken; the error says why.
    pub(crate) fn translate(digest: Digest, bytes: &[u8]) -> Result<Self, LoadError> {
        let info = shape::inspect(bytes)?;
        catch_unwind(AssertUnwindSafe(|| inside(|| Self::build(digest, bytes, info))))
            .unwrap_or(Err(LoadError::Engine))
    }

    fn build(digest: Digest, bytes: &[u8], info: ModuleInfo) -> Result<Self, LoadError> {
        let engine = Engine::new(&config());
        let wasm =
            wasmi::Module::new(&engine, bytes).map_err(|e| LoadError::Invalid(e.to_string()))?;
        let linker = linked(&engine, &wasm).map_err(|e| LoadError::Unsupported(e.to_string()))?;
        check_imports(&linker, &wasm)?;
        try_out(&engine, &linker, &wasm)?;
        let set_up = SET_UP.into_iter().find(|name| is_action(&wasm, name));
        Ok(Self { wasm, engine, linker, digest, info, set_up, broken: AtomicBool::new(false) })
    }

    /// The SHA-256 of its bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What it imports, exports and starts with.
    #[must_use]
    pub fn info(&self) -> &ModuleInfo {
        &self.info
    }

    /// Whether `export` can be called as an action: no parameters, and nothing or an `i32` back.
    #[must_use]
    pub fn is_action(&self, export: &str) -> bool {
        is_action(&self.wasm, export)
    }

    /// The function to be called before any action.
    pub(crate) fn set_up(&self) -> Option<&'static str> {
        self.set_up
    }

    pub(crate) fn mark_broken(&self) {
        self.broken.store(true, Ordering::Release);
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn is_action(wasm: &wasmi::Module, export: &str) -> bool {
    let Some(ExternType::Func(ty)) = wasm.get_export(export) else { return false };
    ty.params().is_empty() && matches!(ty.results(), [] | [ValType::I32])
}

/// The engine: fuel on, translated at once (so that fuel is the same in every call), no proposal
/// beyond what common compilers emit, no start function, bounded stacks. The module's shape was
/// looked at before: the engine's own strict limits leave out what Go's compiler makes.
fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .compilation_mode(CompilationMode::Eager)
        .allow_start_fn(false)
        .ignore_custom_sections(true)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config.set_max_stack_height(limits::STACK_BYTES).set_max_recursion_depth(limits::RECURSION);
    config
}

fn linked(engine: &Engine, wasm: &wasmi::Module) -> Result<Linker<State>, wasmi::Error> {
    let mut linker = Linker::new(engine);
    abi_extism::link(&mut linker)?;
    abi_openclaw::link(&mut linker)?;
    abi_device::link(&mut linker)?;
    wasi::link(&mut linker, wasm)?;
    Ok(linker)
}

/// Names every import that is missing, rather than the first.
fn check_imports(linker: &Linker<State>, wasm: &wasmi::Module) -> Result<(), LoadError> {
    let mut probe = linker.clone();
    let mut missing = Vec::new();
    for import in wasm.imports() {
        let ExternType::Func(ty) = import.ty() else { continue };
        let nothing = |_: Guest<'_>, _: &[Val], _: &mut [Val]| Ok(());
        // A name can be defined only once, so what can be defined now is not there.
        if probe.func_new(import.module(), import.name(), ty.clone(), nothing).is_ok() {
            let (module, name) = (import.module().to_owned(), import.name().to_owned());
            missing.push(Import { module, name });
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(LoadError::Imports(missing)) }
}

/// Instantiates the module once, so that a wrong signature or a data segment outside the memory
/// is found at publication and not at the first call.
fn try_out(engine: &Engine, linker: &Linker<State>, wasm: &wasmi::Module) -> Result<(), LoadError> {
    let mut call = Call::nothing();
    call.limits.memory_bytes = PLUGIN_MEMORY_BYTES_MAX;
    let mut store = Store::new(engine, State::new(&mut call));
    store.limiter(|state| &mut state.limiter);
    store
        .set_fuel(u64::MAX)
        .and_then(|()| linker.instantiate_and_start(&mut store, wasm))
        .map(drop)
        .map_err(|e| LoadError::Unsupported(format!("the module cannot be instantiated: {e}")))
}
