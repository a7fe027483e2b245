//! A guest's questions about its device: checked against the grants and the limits, put to the host,
//! taken down, answered.

use std::sync::Arc;

use openclaw_plugin_abi::{KvScope, Status, WriteMode};
use openclaw_protocol::limits::VALUE_BYTES;
use openclaw_protocol::plugin::Capability;
use openclaw_protocol::topic;
use wasmi::Val;

use crate::ask::Ask;
use crate::call::Fault;
use crate::grants::NetGrants;
use crate::host::HostError;
use crate::kept::{Kept, Overlay, Published};
use crate::limits;
use crate::request::{Desk, Refusal, framed, keep};
use crate::state::State;
use crate::tape::Function;
use crate::target::Host;

/// What a suspended guest wants of its device.
#[derive(Debug)]
pub(crate) enum DeviceRequest {
    FileReadAt { dir: String, path: String, offset: i64, max: usize },
    FileStat { dir: String, path: String },
    FileWrite { dir: String, path: String, bytes: Vec<u8>, mode: i32 },
    FileRemove { dir: String, path: String },
    KvGet { scope: i32, key: String },
    KvSet { scope: i32, key: String, value: Option<Vec<u8>> },
    KvKeys { scope: i32, prefix: String },
    Publish { topic: String, payload: Vec<u8>, flags: i32 },
    SecretHandle { name: String },
    TcpConnect { host: String, port: i32, timeout_ms: u32 },
    SerialOpen { name: String },
    StreamRead { stream: u32, min: usize, max: usize, timeout_ms: u32 },
    StreamWrite { stream: u32, bytes: Vec<u8>, timeout_ms: u32 },
    StreamClose { stream: u32 },
    GpioRead { name: String },
    GpioWrite { name: String, level: i32 },
    I2cTransfer { name: String, write: Vec<u8>, read: usize },
    Exec { name: String, args: Vec<u8>, stdin: Vec<u8>, timeout_ms: u32 },
}

/// What the desk knows of a call's dealings with the device.
#[derive(Default)]
pub(crate) struct Device {
    workflow: Overlay,
    plugin: Overlay,
    published: Vec<Published>,
    published_bytes: usize,
    /// Made for the first connection.
    tcp: Option<Arc<NetGrants>>,
    /// Numbers of the streams that are open.
    open: Vec<u32>,
    next_stream: u32,
}

impl Device {
    fn overlay(&mut self, scope: KvScope) -> &mut Overlay {
        match scope {
            KvScope::Workflow => &mut self.workflow,
            KvScope::Plugin => &mut self.plugin,
        }
    }

    /// Bytes that lie on the host's side until the call ends.
    fn held(&self) -> usize {
        self.workflow.held() + self.plugin.held() + self.published_bytes
    }

    /// What is to be committed with a success.
    pub(crate) fn kept(self) -> Kept {
        let kv = self.workflow.writes(KvScope::Workflow).chain(self.plugin.writes(KvScope::Plugin));
        Kept { kv: kv.collect(), published: self.published }
    }
}

type Answer = Result<Vec<u8>, Refusal>;

impl Desk<'_> {
    /// Fulfils a request and gives the value that the guest's call returns.
    ///
    /// # Errors
    /// The call is over: its memory is full.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others are answered with a number")]
    pub(crate) fn device_answer(
        &mut self,
        state: &mut State,
        request: DeviceRequest,
    ) -> Result<Val, Fault> {
        match request {
            DeviceRequest::FileReadAt { .. }
            | DeviceRequest::FileStat { .. }
            | DeviceRequest::KvGet { .. }
            | DeviceRequest::KvKeys { .. }
            | DeviceRequest::SecretHandle { .. }
            | DeviceRequest::StreamRead { .. }
            | DeviceRequest::I2cTransfer { .. }
            | DeviceRequest::Exec { .. } => {
                let answer = self.device_bytes(state, request);
                keep(state, answer)
            }
            _ => {
                let number = self.device_number(state, request);
                state.hold(self.device.held())?;
                Ok(Val::I32(number.unwrap_or_else(|Refusal { status, message }| {
                    state.keep_status(status, &message)
                })))
            }
        }
    }

    /// Those that are answered with bytes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are answered with a number")]
    fn device_bytes(&mut self, state: &mut State, request: DeviceRequest) -> Answer {
        match request {
            DeviceRequest::FileReadAt { dir, path, offset, max } => {
                let path = self.path(state, Capability::Files, &dir, &path)?;
                let offset =
                    u64::try_from(offset).map_err(|_| invalid("a file has no negative place"))?;
                let max = max.min(limits::FILE_BYTES).min(state.room() / 2);
                self.ask(state, &Ask::FileReadAt { dir: &dir, path: &path, offset, max })
            }
            DeviceRequest::FileStat { dir, path } => {
                let path = self.path(state, Capability::Files, &dir, &path)?;
                self.ask(state, &Ask::FileStat { dir: &dir, path: &path })
            }
            DeviceRequest::KvGet { scope, key } => self.kv_get(state, scope, &key),
            DeviceRequest::KvKeys { scope, prefix } => {
                let scope = self.scope(state, scope)?;
                self.learn(state, scope)?;
                Ok(self.device.overlay(scope).keys(&prefix))
            }
            DeviceRequest::SecretHandle { name } => {
                self.granted(state, Capability::Secrets, &name)?;
                self.ask(state, &Ask::SecretHandle { name: &name })
            }
            DeviceRequest::StreamRead { stream, min, max, timeout_ms } => {
                self.is_open(stream)?;
                let max = max.min(limits::STREAM_BYTES).min(state.room() / 2);
                if min > max {
                    let most = format!("at most {max} bytes are read at once, not {min}");
                    return Err(Refusal::new(Status::TooLarge, most));
                }
                self.ask(state, &Ask::StreamRead { stream, min, max, timeout_ms })
            }
            DeviceRequest::I2cTransfer { name, write, read } => {
                self.granted(state, Capability::I2c, &name)?;
                bounded("an I2C transaction", read.max(write.len()), limits::I2C_BYTES)?;
                self.ask(state, &Ask::I2cTransfer { name: &name, write: &write, read })
            }
            DeviceRequest::Exec { name, args, stdin, timeout_ms } => {
                self.exec(state, &name, &args, &stdin, timeout_ms)
            }
            _ => Err(invalid("no such question")),
        }
    }

    /// Those that are answered with a number.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are answered with bytes")]
    fn device_number(&mut self, state: &mut State, request: DeviceRequest) -> Result<i32, Refusal> {
        match request {
            DeviceRequest::FileWrite { dir, path, bytes, mode } => {
                let path = self.path(state, Capability::FilesWrite, &dir, &path)?;
                let mode = WriteMode::from_code(mode).ok_or_else(|| {
                    invalid("a file is written at mode 0 (replace), 1 (append) or 2 (create)")
                })?;
                bounded("a write", bytes.len(), limits::FILE_WRITE_BYTES)?;
                self.ask(state, &Ask::FileWrite { dir: &dir, path: &path, bytes: &bytes, mode })?;
            }
            DeviceRequest::FileRemove { dir, path } => {
                let path = self.path(state, Capability::FilesWrite, &dir, &path)?;
                self.ask(state, &Ask::FileRemove { dir: &dir, path: &path })?;
            }
            DeviceRequest::KvSet { scope, key, value } => self.kv_set(state, scope, &key, value)?,
            DeviceRequest::Publish { topic, payload, flags } => {
                self.publish(state, topic, payload, flags)?;
            }
            DeviceRequest::TcpConnect { host, port, timeout_ms } => {
                return self.tcp_connect(state, &host, port, timeout_ms);
            }
            DeviceRequest::SerialOpen { name } => {
                self.granted(state, Capability::Serial, &name)?;
                let stream = self.new_stream()?;
                self.ask(state, &Ask::SerialOpen { stream, name: &name })?;
                return Ok(self.opened(stream));
            }
            DeviceRequest::StreamWrite { stream, bytes, timeout_ms } => {
                self.is_open(stream)?;
                bounded("a write", bytes.len(), limits::STREAM_BYTES)?;
                self.ask(state, &Ask::StreamWrite { stream, bytes: &bytes, timeout_ms })?;
            }
            DeviceRequest::StreamClose { stream } => {
                self.is_open(stream)?;
                self.device.open.retain(|open| *open != stream);
                self.ask(state, &Ask::StreamClose { stream })?;
            }
            DeviceRequest::GpioRead { name } => {
                self.granted(state, Capability::Gpio, &name)?;
                let level = self.ask(state, &Ask::GpioRead { name: &name })?;
                return Ok(i32::from(level == b"1"));
            }
            DeviceRequest::GpioWrite { name, level } => {
                self.granted(state, Capability::Gpio, &name)?;
                let level = match level {
                    0 => false,
                    1 => true,
                    _ => return Err(invalid("a level is 0 or 1")),
                };
                self.ask(state, &Ask::GpioWrite { name: &name, level })?;
            }
            _ => return Err(invalid("no such question")),
        }
        Ok(0)
    }

    /// Puts a question to the host and takes it down.
    fn ask(&mut self, state: &mut State, ask: &Ask<'_>) -> Answer {
        let mut answer = self.host.ask(ask);
        if let Ok(bytes) = &mut answer {
            bytes.truncate(ask.cut_at());
        }
        if let Some(recorder) = &mut state.recorder {
            let answer = answer.as_ref().map(Vec::as_slice);
            let (label, cut_at) = (ask.label(), ask.cut_at());
            let named = label.as_bytes();
            let arguments: Vec<&[u8]> = [named].into_iter().chain(ask.arguments()).collect();
            recorder.note(ask.function(), &label, &arguments, answer, cut_at);
        }
        if let Err(HostError::Denied(_)) = &answer {
            state.deny(format!("{}:{}", ask.function().name(), ask.label()));
        }
        Ok(answer?)
    }

    /// Whether a logical name is granted.
    fn granted(&self, state: &mut State, kind: Capability, name: &str) -> Result<(), Refusal> {
        if self.permissions.names(kind, name) {
            return Ok(());
        }
        let kind = kind.name();
        state.deny(format!("{kind}:{name}"));
        let message = format!("`{name}` is not granted; permissions.{kind} has to name it");
        Err(Refusal::new(Status::Denied, message))
    }

    fn scope(&self, state: &mut State, scope: i32) -> Result<KvScope, Refusal> {
        let scope = KvScope::from_code(scope)
            .ok_or_else(|| invalid("a scope is 0 (workflow) or 1 (plugin)"))?;
        self.granted(state, Capability::Kv, scope.name())?;
        Ok(scope)
    }

    /// Sees to it that the overlay knows what is there.
    fn learn(&mut self, state: &mut State, scope: KvScope) -> Result<(), Refusal> {
        if self.device.overlay(scope).knows() {
            return Ok(());
        }
        let list = self.ask(state, &Ask::KvList { scope })?;
        let learnt = self.device.overlay(scope).learn(&list);
        learnt.map_err(|why| Refusal::new(Status::Failed, why))
    }

    fn kv_get(&mut self, state: &mut State, scope: i32, key: &str) -> Answer {
        let scope = self.scope(state, scope)?;
        check_key(key)?;
        let none = || Refusal::new(Status::NotFound, "no such key");
        match self.device.overlay(scope).changed(key) {
            Some(value) => value.map(<[u8]>::to_vec).ok_or_else(none),
            None => self.ask(state, &Ask::KvGet { scope, key }),
        }
    }

    fn kv_set(
        &mut self,
        state: &mut State,
        scope: i32,
        key: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), Refusal> {
        let scope = self.scope(state, scope)?;
        check_key(key)?;
        bounded("a value", value.as_ref().map_or(0, Vec::len), limits::KV_VALUE_BYTES)?;
        self.learn(state, scope)?;
        let function = if value.is_some() { Function::KvSet } else { Function::KvRemove };
        note_kept(state, function, &format!("{}:{key}", scope.name()), value.as_deref());
        let changed = self.device.overlay(scope).change(key, value);
        changed.map_err(|message| Refusal::new(Status::TooLarge, message))
    }

    fn publish(
        &mut self,
        state: &mut State,
        topic: String,
        payload: Vec<u8>,
        flags: i32,
    ) -> Result<(), Refusal> {
        topic::check_name(&topic).map_err(|why| invalid(&format!("topic `{topic}`: {why}")))?;
        let filters = self.permissions.list(Capability::MqttPublish);
        if !filters.iter().any(|filter| topic::matches(filter, &topic)) {
            state.deny(format!("mqtt_publish:{topic}"));
            let message = format!(
                "publishing at `{topic}` is not granted; permissions.mqtt_publish has to cover it"
            );
            return Err(Refusal::new(Status::Denied, message));
        }
        if !(0..=3).contains(&flags) {
            return Err(invalid(
                "of the flags, only bit 0 (quality of service 1) and bit 1 (retain) are there",
            ));
        }
        bounded("a message", payload.len(), VALUE_BYTES)?;
        let bytes = self.device.published_bytes + topic.len() + payload.len();
        if self.device.published.len() >= limits::MESSAGES || bytes > limits::MESSAGES_BYTES {
            let (most, all) = (limits::MESSAGES, limits::MESSAGES_BYTES);
            let message = format!("a call publishes at most {most} messages with {all} bytes");
            return Err(Refusal::new(Status::TooLarge, message));
        }
        note_kept(state, Function::MqttPublish, &topic, Some(&payload));
        self.device.published_bytes = bytes;
        let (qos, retain) = ((flags & 1) as u8, flags & 2 != 0);
        self.device.published.push(Published { topic, payload, qos, retain });
        Ok(())
    }

    fn tcp_connect(
        &mut self,
        state: &mut State,
        host: &str,
        port: i32,
        timeout_ms: u32,
    ) -> Result<i32, Refusal> {
        let host = Host::parse(host).map_err(|why| invalid(&why))?;
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(|| invalid("a port is 1 to 65535"))?;
        let make = || Arc::new(NetGrants::new(self.permissions.list(Capability::Tcp)));
        let grants = Arc::clone(self.device.tcp.get_or_insert_with(make));
        if !grants.allows(&host, port) {
            state.deny(format!("tcp:{host}:{port}"));
            let message =
                format!("TCP to {host}:{port} is not granted; permissions.tcp has to name it");
            return Err(Refusal::new(Status::Denied, message));
        }
        let stream = self.new_stream()?;
        let ask = Ask::TcpConnect { stream, host: &host, port, timeout_ms, grants: &grants };
        self.ask(state, &ask)?;
        Ok(self.opened(stream))
    }

    /// The number of the next stream, which counts once it is open.
    fn new_stream(&mut self) -> Result<u32, Refusal> {
        if self.device.open.len() as u32 >= limits::STREAMS {
            let message = format!("at most {} streams are open at once", limits::STREAMS);
            return Err(Refusal::new(Status::TooLarge, message));
        }
        let stream = self.device.next_stream;
        self.device.next_stream = stream.saturating_add(1).min(i32::MAX as u32);
        Ok(stream)
    }

    fn opened(&mut self, stream: u32) -> i32 {
        self.device.open.push(stream);
        stream as i32
    }

    fn is_open(&self, stream: u32) -> Result<(), Refusal> {
        if self.device.open.contains(&stream) {
            return Ok(());
        }
        Err(invalid(&format!("stream {} is not open", stream as i32)))
    }

    fn exec(
        &mut self,
        state: &mut State,
        name: &str,
        args: &[u8],
        stdin: &[u8],
        timeout_ms: u32,
    ) -> Answer {
        self.granted(state, Capability::Exec, name)?;
        bounded("the arguments", args.len(), limits::ARGS_BYTES)?;
        bounded("standard input", stdin.len(), limits::STDIN_BYTES)?;
        let text = std::str::from_utf8(args).map_err(|_| invalid("the arguments are not UTF-8"))?;
        let args: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
        let max = limits::STDOUT_BYTES.min(state.room() / 2);
        let ask = Ask::Exec { name, args: &args, stdin, timeout_ms, max };
        let answer = self.ask(state, &ask)?;
        let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or(answer.len());
        let (head, output) = answer.split_at(end);
        Ok(framed(head, output.get(1..).unwrap_or_default()))
    }

    /// A path in a directory that is granted.
    pub(crate) fn path(
        &self,
        state: &mut State,
        kind: Capability,
        dir: &str,
        path: &str,
    ) -> Result<String, Refusal> {
        self.granted(state, kind, dir)?;
        crate::grants::clean_path(path)
            .ok_or_else(|| invalid(&format!("`{path}` is not a path inside a directory")))
    }
}

/// Takes down what is kept until the call has succeeded.
fn note_kept(state: &mut State, function: Function, what: &str, value: Option<&[u8]>) {
    if let Some(recorder) = &mut state.recorder {
        let asked = [what.as_bytes(), value.unwrap_or_default()];
        recorder.note(function, what, &asked, Ok(&[]), usize::MAX);
    }
}

fn check_key(key: &str) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > limits::KV_KEY_BYTES || key.contains('\0') {
        let most = limits::KV_KEY_BYTES;
        return Err(invalid(&format!("a key has 1 to {most} bytes and no NUL")));
    }
    Ok(())
}

fn bounded(what: &str, bytes: usize, most: usize) -> Result<(), Refusal> {
    if bytes <= most {
        return Ok(());
    }
    Err(Refusal::new(Status::TooLarge, format!("{what} of {bytes} bytes; the most is {most}")))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Status::Invalid, message)
}
