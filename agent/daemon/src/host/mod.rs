//! The capabilities of this device behind the sandbox's host trait: HTTP, files, time, random.

mod files;
mod find;
mod http;
mod kv;

use std::sync::Arc;

use openclaw_agent_core::PluginTask;
use openclaw_sandbox::grants::NetGrants;
use openclaw_sandbox::{Ask, DirEntry, Host, HostError, HttpRequest, HttpResponse, Stop};

use crate::clock;
use crate::config::Config;
use crate::store::Blobs;
use crate::tls::TlsTime;

use kv::Memory;
pub(crate) use kv::place;

pub use files::Files;
pub use http::Http;

/// What all calls share.
#[derive(Debug, Clone)]
pub struct HostKit {
    /// Logical directories.
    pub files: Arc<Files>,
    /// The way to the network.
    pub http: Arc<Http>,
}

impl HostKit {
    /// The capabilities that a configuration offers. By `time` the certificates of servers are
    /// judged; `runtime` carries the network.
    #[must_use]
    pub fn new(config: &Config, time: TlsTime, runtime: tokio::runtime::Handle) -> Self {
        let narrowed = config.http.allow.as_deref().map(NetGrants::new);
        Self {
            files: Arc::new(Files::new(config.files.clone())),
            http: Arc::new(Http::new(narrowed, time, runtime)),
        }
    }
}

/// The host of one call.
pub struct NativeHost<'a> {
    kit: &'a HostKit,
    deadline_boot_ms: u64,
    watch: &'a (dyn Fn() -> Option<Stop> + Sync),
    /// Called before everything that may take long.
    leave: &'a (dyn Fn() + Sync),
    /// What its plugin remembers.
    memory: Option<Memory<'a>>,
}

impl<'a> NativeHost<'a> {
    /// A host whose requests end at the deadline, in milliseconds of boot time, or when `watch`
    /// says so. `leave` is called before each that may take long.
    #[must_use]
    pub fn new(
        kit: &'a HostKit,
        deadline_boot_ms: u64,
        watch: &'a (dyn Fn() -> Option<Stop> + Sync),
        leave: &'a (dyn Fn() + Sync),
    ) -> Self {
        Self { kit, deadline_boot_ms, watch, leave, memory: None }
    }

    /// The same, for a call whose plugin may remember something.
    #[must_use]
    pub fn remembering(self, store: &'a Blobs, task: &'a PluginTask) -> Self {
        Self { memory: Some(Memory { store, task }), ..self }
    }
}

impl Host for NativeHost<'_> {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        (self.leave)();
        let left_ms = self.deadline_boot_ms.saturating_sub(clock::boot_ms());
        self.kit.http.fetch(request, std::time::Duration::from_millis(left_ms), self.watch)
    }

    fn read_file(&mut self, dir: &str, path: &str, max: usize) -> Result<Vec<u8>, HostError> {
        (self.leave)();
        self.kit.files.read(dir, path, max)
    }

    fn list_dir(&mut self, dir: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        (self.leave)();
        self.kit.files.list(dir, path)
    }

    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        match (ask, &self.memory) {
            (Ask::KvGet { scope, key }, Some(memory)) => memory.get(*scope, key),
            (Ask::KvList { scope }, Some(memory)) => memory.list(*scope),
            _ => Err(HostError::NotFound(format!(
                "this device does not offer {}",
                ask.function().name()
            ))),
        }
    }

    fn now_ms(&mut self) -> i64 {
        clock::wall_ms()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        // Only kernels before 3.17 lack the call, and on those no agent starts.
        getrandom::fill(buffer).expect("the kernel has random bytes");
    }
}
