//! Requests of a guest to the outside: checked against the grants, put to the host, answered.
//!
//! A guest that asks is suspended, so nothing of it is on the native stack while the host works.

use std::sync::Arc;

use openclaw_plugin_abi::{self as abi, Status};
use openclaw_protocol::plugin::{Capability, Permissions};
use wasmi::{Store, Val};

use crate::call::Fault;
use crate::device::{Device, DeviceRequest};
use crate::grants::NetGrants;
use crate::host::{DirEntry, Host, HostError, HttpRequest, HttpResponse};
use crate::http_head;
use crate::limits;
use crate::replay;
use crate::state::State;
use crate::tape::Function;

/// What a suspended guest waits for.
#[derive(Debug)]
pub(crate) enum Request {
    Http { head: Vec<u8>, body: Vec<u8>, reply: HttpReply },
    ReadFile { dir: String, path: String, max: usize },
    ListDir { dir: String, path: String },
    Now(NowReply),
    Random { ptr: i32, len: i32, reply: RandomReply },
    Device(Box<DeviceRequest>),
}

/// How a guest wants its response.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HttpReply {
    /// As the result, head and body together; refusals are statuses.
    Result,
    /// As an Extism block; that ABI cannot express a refusal, so it ends the call.
    Block,
}

/// How a guest wants the time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum NowReply {
    Millis,
    /// Nanoseconds written to this address; answered with a WASI error number.
    Wasi {
        ptr: i32,
    },
}

/// How a guest wants to hear about its random bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RandomReply {
    Status,
    Wasi,
}

/// WASI's error numbers that matter here (`errno` in its preview 1 witx).
pub(crate) mod errno {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const BADF: i32 = 8;
    pub(crate) const INVAL: i32 = 28;
    pub(crate) const NOSYS: i32 = 52;
    pub(crate) const SPIPE: i32 = 70;
    pub(crate) const NOTCAPABLE: i32 = 76;
}

/// Why a request was not fulfilled, for the guest.
pub(crate) struct Refusal {
    pub(crate) status: Status,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<HostError> for Refusal {
    fn from(error: HostError) -> Self {
        let status = match &error {
            HostError::Denied(_) => Status::Denied,
            HostError::NotFound(_) => Status::NotFound,
            HostError::TooLarge(_) => Status::TooLarge,
            HostError::Failed(_) => Status::Failed,
            HostError::Invalid(_) => Status::Invalid,
            HostError::TimedOut(_) => Status::TimedOut,
            HostError::Cancelled => Status::Cancelled,
        };
        Self { status, message: error.to_string() }
    }
}

/// Answers the requests of one call.
pub(crate) struct Desk<'a> {
    pub(crate) host: &'a mut dyn Host,
    pub(crate) permissions: &'a Permissions,
    /// Dealings with the device.
    pub(crate) device: Device,
    /// Made for the first request: most calls ask for nothing.
    grants: Option<Arc<NetGrants>>,
    /// Requests so far.
    pub(crate) requests: u32,
    /// HTTP requests so far that may change something on the other side.
    effects: u32,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(host: &'a mut dyn Host, permissions: &'a Permissions) -> Self {
        Self { host, permissions, device: Device::default(), grants: None, requests: 0, effects: 0 }
    }

    /// Fulfils a request and gives the value that the guest's call returns.
    ///
    /// # Errors
    /// The call is over: its memory is full, or its ABI has no way to hear of a refusal.
    pub(crate) fn answer(
        &mut self,
        store: &mut Store<State>,
        request: Request,
    ) -> Result<Val, Fault> {
        self.requests = self.requests.saturating_add(1);
        store.data_mut().fuel_debt += limits::FUEL_PER_REQUEST;
        match request {
            Request::Http { head, body, reply } => self.answer_http(store, &head, body, reply),
            Request::ReadFile { dir, path, max } => {
                let bytes = self.read_file(store.data_mut(), &dir, &path, max);
                keep(store.data_mut(), bytes)
            }
            Request::ListDir { dir, path } => {
                let names = self.list_dir(store.data_mut(), &dir, &path);
                keep(store.data_mut(), names)
            }
            Request::Now(reply) => Ok(self.now(store, reply)),
            Request::Random { ptr, len, reply } => Ok(self.random(store, ptr, len, reply)),
            Request::Device(request) => self.device_answer(store.data_mut(), *request),
        }
    }

    fn answer_http(
        &mut self,
        store: &mut Store<State>,
        head: &[u8],
        body: Vec<u8>,
        reply: HttpReply,
    ) -> Result<Val, Fault> {
        let response = self.http(store.data_mut(), head, body);
        let state = store.data_mut();
        match (reply, response) {
            (HttpReply::Result, response) => keep(state, response.map(|r| framed_response(&r))),
            (HttpReply::Block, Ok(response)) => {
                state.http_status = i32::from(response.status);
                state.http_headers = serde_json::to_vec(&response.headers).unwrap_or_default();
                state.fuel_debt += response.body.len() as u64 / limits::BYTES_PER_FUEL;
                Ok(Val::I64(state.keep_block(response.body)? as i64))
            }
            (HttpReply::Block, Err(refusal)) => Err(match refusal.status {
                Status::Denied => Fault::new("permission.denied", refusal.message),
                Status::Cancelled => Fault::new("cancelled", refusal.message),
                Status::Failed | Status::TimedOut => {
                    Fault::new("http.connect", refusal.message).retryable()
                }
                Status::Invalid => Fault::new("inputs.invalid", refusal.message),
                Status::NotFound | Status::TooLarge => Fault::new("plugin.error", refusal.message),
            }),
        }
    }

    fn http(
        &mut self,
        state: &mut State,
        head: &[u8],
        body: Vec<u8>,
    ) -> Result<HttpResponse, Refusal> {
        let invalid = |message: String| Refusal::new(Status::Invalid, message);
        let head: abi::HttpRequest = serde_json::from_slice(head)
            .map_err(|e| invalid(format!("the request's head cannot be read: {e}")))?;
        let (method, target, mut headers) = http_head::checked(head).map_err(invalid)?;
        let to = format!("{}:{}", target.host, target.port);
        let make = || Arc::new(NetGrants::new(&self.permissions.http));
        let grants = Arc::clone(self.grants.get_or_insert_with(make));
        if !grants.allows(&target.host, target.port) {
            state.deny(format!("http:{to}"));
            let message = format!("HTTP to {to} is not granted; permissions.http has to name it");
            return Err(Refusal::new(Status::Denied, message));
        }
        if http_head::has_effect(&method) {
            // The first effect of every attempt carries the same key, and so on: the other side
            // can tell a repetition from a second request.
            self.effects += 1;
            let key = &state.context.idempotency_key;
            http_head::add_key(&mut headers, key, self.effects);
        }
        // The guest needs room for a copy of its own.
        let max_response_bytes = limits::RESPONSE_BYTES.min(state.limiter.room() / 2);
        let request = HttpRequest { method, target, headers, body, max_response_bytes, grants };
        let response = self.host.http(&request);
        note_http(state, &request, &response);
        let response = response.map_err(|error| {
            if matches!(error, HostError::Denied(_)) {
                state.deny(format!("http:{to}"));
            }
            error
        })?;
        if response.body.len() > max_response_bytes {
            let message = format!("the response is over {max_response_bytes} bytes");
            return Err(Refusal::new(Status::TooLarge, message));
        }
        Ok(response)
    }

    fn read_file(
        &mut self,
        state: &mut State,
        dir: &str,
        path: &str,
        max: usize,
    ) -> Result<Vec<u8>, Refusal> {
        let path = self.path(state, Capability::Files, dir, path)?;
        let max = max.min(limits::FILE_BYTES).min(state.limiter.room() / 2);
        let mut bytes = self.host.read_file(dir, &path, max);
        if let Ok(bytes) = &mut bytes {
            bytes.truncate(max);
        }
        note_path(state, Function::ReadFile, dir, &path, (&bytes, max));
        Ok(bytes?)
    }

    fn list_dir(&mut self, state: &mut State, dir: &str, path: &str) -> Result<Vec<u8>, Refusal> {
        let path = self.path(state, Capability::Files, dir, path)?;
        let names = self.host.list_dir(dir, &path).map(names);
        note_path(state, Function::ListDir, dir, &path, (&names, usize::MAX));
        Ok(names?)
    }

    fn now(&mut self, store: &mut Store<State>, reply: NowReply) -> Val {
        if !self.permissions.time {
            let code = denied(store.data_mut(), "time");
            return match reply {
                NowReply::Millis => Val::I64(i64::from(code)),
                NowReply::Wasi { .. } => Val::I32(errno::NOTCAPABLE),
            };
        }
        let now = self.host.now_ms().max(0);
        if let Some(recorder) = &mut store.data_mut().recorder {
            recorder.note(Function::Now, "", &[], Ok(now.to_string().as_bytes()), usize::MAX);
        }
        match reply {
            NowReply::Millis => Val::I64(now),
            NowReply::Wasi { ptr } => {
                let nanos = (now as u64).saturating_mul(1_000_000).to_le_bytes();
                Val::I32(write(store, ptr, &nanos))
            }
        }
    }

    fn random(&mut self, store: &mut Store<State>, ptr: i32, len: i32, reply: RandomReply) -> Val {
        if !self.permissions.random {
            let code = denied(store.data_mut(), "random");
            return Val::I32(match reply {
                RandomReply::Status => code,
                RandomReply::Wasi => errno::NOTCAPABLE,
            });
        }
        let len = len as u32 as usize;
        if len > limits::RANDOM_BYTES {
            let message = format!("at most {} random bytes at once", limits::RANDOM_BYTES);
            let code = store.data_mut().keep_status(Status::TooLarge, &message);
            return Val::I32(match reply {
                RandomReply::Status => code,
                RandomReply::Wasi => errno::INVAL,
            });
        }
        let mut bytes = vec![0; len];
        self.host.random(&mut bytes);
        if let Some(recorder) = &mut store.data_mut().recorder {
            let (asked, label) = ((len as u32).to_le_bytes(), format!("{len} bytes"));
            recorder.note(Function::Random, &label, &[&asked], Ok(&bytes), usize::MAX);
        }
        Val::I32(write(store, ptr, &bytes))
    }
}

/// Records a request and its response, where that is wanted.
fn note_http(state: &mut State, request: &HttpRequest, response: &Result<HttpResponse, HostError>) {
    let Some(recorder) = &mut state.recorder else { return };
    let label = format!("{} {}", request.method, request.target);
    let mut asked: Vec<&[u8]> = vec![label.as_bytes(), &request.body];
    asked.extend(
        request.headers.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]),
    );
    let text;
    let answer = match response {
        Ok(response) if response.body.len() > limits::TAPE_BYTES => return recorder.leave_out(),
        Ok(response) => {
            text = replay::http_text(response);
            Ok(text.as_slice())
        }
        Err(error) => Err(error),
    };
    recorder.note(Function::Http, &label, &asked, answer, usize::MAX);
}

/// Notes a denial that only the host could see, and records what was asked of a logical directory,
/// where that is wanted. An answer of the second
/// number's length may have been cut there.
fn note_path(
    state: &mut State,
    function: Function,
    dir: &str,
    path: &str,
    (answer, cut_at): (&Result<Vec<u8>, HostError>, usize),
) {
    if let Err(HostError::Denied(_)) = answer {
        state.deny(format!("{}:{dir}:{path}", function.name()));
    }
    let Some(recorder) = &mut state.recorder else { return };
    let answer = answer.as_ref().map(Vec::as_slice);
    let asked = [dir.as_bytes(), path.as_bytes()];
    recorder.note(function, &format!("{dir}:{path}"), &asked, answer, cut_at);
}

/// Sorted names, each with a zero byte behind it; those of directories with a slash before that.
fn names(mut entries: Vec<DirEntry>) -> Vec<u8> {
    openclaw_protocol::ordered::sort(&mut entries);
    let mut names = Vec::new();
    for DirEntry { name, is_dir } in entries {
        if names.len() + name.len() + 2 > limits::LISTING_BYTES {
            break;
        }
        names.extend_from_slice(name.as_bytes());
        names.extend_from_slice(if is_dir { b"/\0" } else { b"\0" });
    }
    names
}

/// Keeps what a request brought, or why it brought nothing.
pub(crate) fn keep(state: &mut State, answer: Result<Vec<u8>, Refusal>) -> Result<Val, Fault> {
    match answer {
        Ok(bytes) => {
            state.fuel_debt += bytes.len() as u64 / limits::BYTES_PER_FUEL;
            Ok(Val::I64(state.keep_result(bytes)?))
        }
        Err(Refusal { status, message }) => {
            Ok(Val::I64(i64::from(state.keep_status(status, &message))))
        }
    }
}

fn denied(state: &mut State, what: &str) -> i32 {
    state.deny(what.to_owned());
    let message = format!("`{what}` is not granted; permissions.{what} has to be true");
    state.keep_status(Status::Denied, &message)
}

/// Writes to the guest. The span was checked before the guest was suspended, and memory never
/// shrinks.
fn write(store: &mut Store<State>, ptr: i32, bytes: &[u8]) -> i32 {
    let Some(memory) = store.data().memory else { return errno::INVAL };
    match memory.write(store, ptr as u32 as usize, bytes) {
        Ok(()) => errno::SUCCESS,
        Err(_) => errno::INVAL,
    }
}

fn framed_response(response: &HttpResponse) -> Vec<u8> {
    let head = abi::HttpResponse { status: response.status, headers: response.headers.clone() };
    framed(&serde_json::to_vec(&head).unwrap_or_default(), &response.body)
}

/// Head and body in one: see `http_request` in the ABI.
pub(crate) fn framed(head: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + head.len() + body.len());
    bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
    bytes.extend_from_slice(head);
    bytes.extend_from_slice(body);
    bytes
}
