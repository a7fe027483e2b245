//! The capabilities of this device behind the sandbox's host trait: network, files, what is plugged
//! in, commands, time, random.

mod exec;
mod files;
mod find;
mod gpio;
mod handles;
mod http;
mod i2c;
mod kv;
mod net;
mod serial;
#[cfg(test)]
mod ssrf_tests;
mod streams;
mod wait;
mod write;

use std::sync::Arc;
use std::time::Duration;

use openclaw_agent_core::PluginTask;
use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::grants::NetGrants;
use openclaw_sandbox::{Ask, DirEntry, Host, HostError, HttpRequest, HttpResponse, Stop};

use crate::clock;
use crate::config::{Command, Config, SerialPort};
use crate::store::Blobs;
use crate::tls::TlsTime;
use handles::{Handles, Place};
use streams::{End, Streams};
use wait::{Wait, Watch};

use kv::Memory;
pub(crate) use kv::place;

pub use files::Files;
pub use gpio::Gpio;
pub use handles::Granted;
pub use http::Http;
pub use i2c::I2c;
pub use net::{Net, Resolver, Resolving};
pub use streams::Tcp;
pub use write::Written;

/// What all calls share.
#[derive(Debug, Clone)]
pub struct HostKit {
    /// Logical directories to read.
    pub files: Arc<Files>,
    /// Logical directories to write in.
    pub written: Arc<Written>,
    /// HTTP.
    pub http: Arc<Http>,
    /// TCP.
    pub tcp: Arc<Tcp>,
    /// Digital inputs and outputs.
    pub gpio: Arc<Gpio>,
    /// Devices on I²C buses.
    pub i2c: Arc<I2c>,
    /// Serial ports and commands.
    tables: Arc<Tables>,
}

/// What needs nothing but its configuration.
#[derive(Debug)]
struct Tables {
    serial: VecMap<String, SerialPort>,
    exec: VecMap<String, Command>,
}

impl HostKit {
    /// The capabilities that a configuration offers. By `time` the certificates of servers are
    /// judged; `runtime` carries the network.
    #[must_use]
    pub fn new(config: &Config, time: TlsTime, runtime: tokio::runtime::Handle) -> Self {
        Self::on(config, time, Net::new(runtime))
    }

    /// The same on a way to the network of one's own.
    #[must_use]
    pub fn on(config: &Config, time: TlsTime, net: Net) -> Self {
        let narrowed = |allow: &Option<Vec<String>>| allow.as_deref().map(NetGrants::new);
        let tables = Tables { serial: config.serial.clone(), exec: config.exec.clone() };
        Self {
            files: Arc::new(Files::new(config.files.clone())),
            written: Arc::new(Written::new(config.files_write.clone())),
            http: Arc::new(Http::new(narrowed(&config.http.allow), time, net.clone())),
            tcp: Arc::new(Tcp::new(narrowed(&config.tcp.allow), net)),
            gpio: Arc::new(Gpio::new(config.gpio.clone())),
            i2c: Arc::new(I2c::new(config.i2c.clone())),
            tables: Arc::new(tables),
        }
    }
}

/// The host of one call.
pub struct NativeHost<'a> {
    kit: &'a HostKit,
    deadline_boot_ms: u64,
    watch: Watch<'a>,
    /// Called before everything that may take long.
    leave: &'a (dyn Fn() + Sync),
    handles: Handles<'a>,
    streams: Streams,
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
        let (handles, streams) = (Handles::new(&[]), Streams::default());
        Self { kit, deadline_boot_ms, watch, leave, handles, streams, memory: None }
    }

    /// The same, for a call whose plugin may remember something.
    #[must_use]
    pub fn remembering(self, store: &'a Blobs, task: &'a PluginTask) -> Self {
        Self { memory: Some(Memory { store, task }), ..self }
    }

    /// With secrets that the call may use and not see.
    #[must_use]
    pub fn with_secrets(self, granted: &'a Granted) -> Self {
        Self { handles: Handles::new(granted), ..self }
    }

    fn wait(&self, timeout_ms: u32) -> Wait<'a> {
        Wait::new(timeout_ms, self.deadline_boot_ms, self.watch)
    }

    fn memory(&self, ask: &Ask<'_>) -> Result<&Memory<'a>, HostError> {
        self.memory.as_ref().ok_or_else(|| not_here(ask))
    }

    fn left(&self) -> Duration {
        Duration::from_millis(self.deadline_boot_ms.saturating_sub(clock::boot_ms()))
    }

    /// Those about streams.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are asked elsewhere")]
    fn ask_stream(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        match ask {
            Ask::TcpConnect { stream, host, port, timeout_ms, grants } => {
                let time = Duration::from_millis((*timeout_ms).into()).min(self.left());
                let end = self.kit.tcp.connect((host, *port), grants, time, self.watch)?;
                self.streams.add(*stream, end);
            }
            Ask::SerialOpen { stream, name } => {
                let port = serial::open(&self.kit.tables.serial, name)?;
                self.streams.add(*stream, End::Serial(port));
            }
            Ask::StreamRead { stream, min, max, timeout_ms } => {
                let wait = self.wait(*timeout_ms);
                let mut bytes = self.streams.read(*stream, (*min, *max), &wait)?;
                self.handles.clean_bytes(&mut bytes);
                return Ok(bytes);
            }
            Ask::StreamWrite { stream, bytes, timeout_ms } => {
                let wait = self.wait(*timeout_ms);
                let bytes = self.handles.fill(bytes, Place::Plain)?;
                self.streams.write(*stream, &bytes, &wait)?;
            }
            Ask::StreamClose { stream } => self.streams.close(*stream)?,
            _ => return Err(not_here(ask)),
        }
        Ok(Vec::new())
    }

    /// Those about files that are written.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are asked elsewhere")]
    fn ask_written(&self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        match ask {
            Ask::FileWrite { dir, path, bytes, mode } => {
                self.kit.written.write(dir, path, bytes, *mode)?;
            }
            Ask::FileRemove { dir, path } => self.kit.written.remove(dir, path)?,
            _ => return Err(not_here(ask)),
        }
        Ok(Vec::new())
    }
}

fn not_here(ask: &Ask<'_>) -> HostError {
    HostError::NotFound(format!("{} is not to be had here", ask.function().name()))
}

impl Host for NativeHost<'_> {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        (self.leave)();
        self.kit.http.fetch(request, &self.handles, self.left(), self.watch)
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
        (self.leave)();
        match ask {
            Ask::FileReadAt { dir, path, offset, max } => {
                self.kit.files.read_at(dir, path, *offset, *max)
            }
            Ask::FileStat { dir, path } => {
                let stat = self.kit.files.stat(dir, path)?;
                serde_json::to_vec(&stat).map_err(|e| HostError::Failed(e.to_string()))
            }
            Ask::FileWrite { .. } | Ask::FileRemove { .. } => self.ask_written(ask),
            Ask::SecretHandle { name } => self.handles.issue(name, &random),
            Ask::GpioRead { name } => {
                self.kit.gpio.read(name).map(|level| if level { b"1" } else { b"0" }.to_vec())
            }
            Ask::GpioWrite { name, level } => {
                self.kit.gpio.write(name, *level).map(|()| Vec::new())
            }
            Ask::I2cTransfer { name, write, read } => self.kit.i2c.transfer(name, write, *read),
            Ask::Exec { name, args, stdin, timeout_ms, max } => {
                let order = exec::Order { name, args, stdin, max: *max };
                let command = exec::find(&self.kit.tables.exec, &order)?;
                exec::run(command, &order, &self.wait(command.timeout_ms.min(*timeout_ms)))
            }
            Ask::TcpConnect { .. }
            | Ask::SerialOpen { .. }
            | Ask::StreamRead { .. }
            | Ask::StreamWrite { .. }
            | Ask::StreamClose { .. } => self.ask_stream(ask),
            Ask::KvGet { scope, key } => self.memory(ask)?.get(*scope, key),
            Ask::KvList { scope } => self.memory(ask)?.list(*scope),
        }
    }

    fn now_ms(&mut self) -> i64 {
        clock::wall_ms()
    }

    fn random(&mut self, buffer: &mut [u8]) {
        random(buffer);
    }
}

fn random(buffer: &mut [u8]) {
    // Only kernels before 3.17 lack the call, and on those no agent starts.
    getrandom::fill(buffer).expect("the kernel has random bytes");
}
