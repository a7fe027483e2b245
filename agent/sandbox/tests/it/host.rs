//! A host that is not one: fixtures in, a record of what was asked out. And how tests make a call.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::secret::Mask;
use openclaw_sandbox::{
    Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, Module, Outcome,
    STACK_BYTES, Sandbox, Stop, digest_of,
};

/// Answers from fixtures.
#[derive(Debug, Default)]
pub(crate) struct Fake {
    /// Responses by `METHOD url`.
    pub(crate) http: BTreeMap<String, HttpResponse>,
    /// Files by `dir:path`.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Requests in the order in which they came.
    pub(crate) sent: Vec<HttpRequest>,
    pub(crate) now_ms: i64,
    /// Whether it panics when it is asked for the time.
    pub(crate) panics: bool,
    /// Set where the call is told to stop while a request waits for its answer.
    pub(crate) stopped: Option<Arc<AtomicBool>>,
}

impl Host for Fake {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        self.sent.push(request.clone());
        if let Some(stopped) = &self.stopped {
            stopped.store(true, Ordering::Relaxed);
            return Err(HostError::Cancelled);
        }
        let key = format!("{} {}", request.method, request.target);
        self.http.get(&key).cloned().ok_or_else(|| HostError::Failed(format!("no answer: {key}")))
    }

    fn read_file(&mut self, dir: &str, path: &str, max: usize) -> Result<Vec<u8>, HostError> {
        let key = format!("{dir}:{path}");
        let bytes = self.files.get(&key).ok_or(HostError::NotFound(key))?;
        Ok(bytes[..bytes.len().min(max)].to_vec())
    }

    fn list_dir(&mut self, dir: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        let prefix = if path.is_empty() { format!("{dir}:") } else { format!("{dir}:{path}/") };
        let mut entries: Vec<DirEntry> = Vec::new();
        for rest in self.files.keys().filter_map(|k| k.strip_prefix(&prefix)) {
            let (name, is_dir) = match rest.split_once('/') {
                Some((name, _)) => (name, true),
                None => (rest, false),
            };
            if entries.iter().all(|e| e.name != name) {
                entries.push(DirEntry { name: name.to_owned(), is_dir });
            }
        }
        if entries.is_empty() { Err(HostError::NotFound(prefix)) } else { Ok(entries) }
    }

    fn now_ms(&mut self) -> i64 {
        assert!(!self.panics, "a fault of the host");
        self.now_ms
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}

/// What a test varies of a call.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) export: &'static str,
    pub(crate) input: Vec<u8>,
    pub(crate) config: VecMap<String, String>,
    pub(crate) vars: VecMap<String, Vec<u8>>,
    pub(crate) limits: CallLimits,
    pub(crate) permissions: Permissions,
    pub(crate) context: Context,
    pub(crate) record: Option<Arc<Mask>>,
}

impl Default for Setup {
    fn default() -> Self {
        let context = Context {
            run: "run-1".into(),
            step: "read".into(),
            attempt: 2,
            idempotency_key: "key-1".into(),
            interrupted: true,
            deadline_ms: Some(9),
        };
        Self {
            export: "execute",
            input: b"{}".to_vec(),
            config: VecMap::new(),
            vars: VecMap::new(),
            limits: CallLimits::default(),
            permissions: Permissions::default(),
            context,
            record: None,
        }
    }
}

impl Setup {
    pub(crate) fn call(&self) -> Call<'_> {
        Call {
            export: self.export,
            input: &self.input,
            config: &self.config,
            vars: self.vars.clone(),
            limits: self.limits,
            permissions: &self.permissions,
            context: self.context.clone(),
            record: self.record.clone(),
        }
    }

    pub(crate) fn run(&self, module: &Arc<Module>, host: &mut Fake) -> Outcome {
        self.run_watched(module, host, &|| None)
    }

    /// Runs on a thread with the native stack that the sandbox asks for, as a worker does.
    pub(crate) fn run_watched(
        &self,
        module: &Arc<Module>,
        host: &mut Fake,
        watch: &(dyn Fn() -> Option<Stop> + Sync),
    ) -> Outcome {
        std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || Sandbox::new().run(module, self.call(), host, &watch))
                .unwrap()
                .join()
                .unwrap()
        })
    }
}

/// Loads a module written as text.
pub(crate) fn module(wat: &str) -> Arc<Module> {
    let wasm = wat::parse_str(wat).unwrap();
    Sandbox::new().load(digest_of(&wasm), &wasm).unwrap()
}

/// A module with one page of memory, `body` as its action, and `extra` beside it.
pub(crate) fn action(imports: &str, extra: &str, body: &str) -> Arc<Module> {
    module(&format!(
        r#"(module {imports} (memory (export "memory") 1) {extra}
            (func (export "execute") (result i32) {body}))"#
    ))
}

/// The code of a failed call.
pub(crate) fn code(outcome: &Outcome) -> &str {
    match &outcome.result {
        Ok(_) => "ok",
        Err(fault) => &fault.code,
    }
}
