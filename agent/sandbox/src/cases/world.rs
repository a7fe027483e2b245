//! The host of a case: what the case says is there, and a record of what was done with it.

use openclaw_plugin_abi::{Exit, FileStat, KvScope, WriteMode};
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{Capability, Permissions};

use super::content::{Content, shown};
use super::format::{Case, Run, Transaction};
use super::line::Line;
use super::used::Used;
use crate::ask::Ask;
use crate::host::{DirEntry, Host, HostError, HttpRequest, HttpResponse};

/// What is around the plugin.
#[derive(Debug)]
pub(super) struct World {
    http: VecMap<String, HttpResponse>,
    /// Requests in the order in which they came.
    pub(super) sent: Vec<HttpRequest>,
    pub(super) files: VecMap<String, (Vec<u8>, FileStat)>,
    /// Files as they were.
    pub(super) files_before: VecMap<String, Vec<u8>>,
    kv: [VecMap<String, Vec<u8>>; 2],
    /// By `tcp host:port` and `serial name`.
    pub(super) lines: VecMap<String, Line>,
    open: VecMap<u32, String>,
    pub(super) gpio: VecMap<String, bool>,
    pub(super) i2c: VecMap<String, Vec<Transaction>>,
    pub(super) exec: VecMap<String, Vec<Run>>,
    secrets: Vec<String>,
    now_ms: i64,
    pub(super) used: Used,
    pub(super) calls: VecMap<String, u32>,
    /// What went otherwise than the scripts say.
    pub(super) differences: Vec<String>,
}

impl World {
    pub(super) fn new(case: &Case, permissions: &Permissions) -> Self {
        let response = |r: &super::format::Response| HttpResponse {
            status: r.status,
            headers: r.headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            body: r.body.bytes(),
        };
        let mut files = VecMap::new();
        for (key, file) in &case.files {
            let bytes = file.content.bytes();
            let (size, modified_ms, inode) = (bytes.len() as u64, file.modified_ms, file.inode);
            files
                .insert(key.clone(), (bytes, FileStat { size, modified_ms, is_dir: false, inode }));
        }
        let values = |scope: &VecMap<String, Content>| {
            scope.iter().map(|(k, v)| (k.clone(), v.bytes())).collect()
        };
        let tcp = case.tcp.iter().map(|(name, steps)| (format!("tcp {name}"), Line::new(steps)));
        let serial =
            case.serial.iter().map(|(name, steps)| (format!("serial {name}"), Line::new(steps)));
        Self {
            http: case.http.iter().map(|(key, r)| (key.clone(), response(r))).collect(),
            sent: Vec::new(),
            files_before: files.iter().map(|(k, (bytes, _))| (k.clone(), bytes.clone())).collect(),
            files,
            kv: [values(&case.kv.before.workflow), values(&case.kv.before.plugin)],
            lines: tcp.chain(serial).collect(),
            open: VecMap::new(),
            gpio: case.gpio.before.iter().map(|(name, level)| (name.clone(), level.0)).collect(),
            i2c: case.i2c.clone(),
            exec: case.exec.clone(),
            secrets: case.secrets.clone(),
            now_ms: case.now_ms,
            used: Used::new(permissions),
            calls: VecMap::new(),
            differences: Vec::new(),
        }
    }

    pub(super) fn count(&mut self, function: &str) {
        let before = self.calls.get(function).copied().unwrap_or(0);
        self.calls.insert(function.to_owned(), before + 1);
    }

    /// The remembered values of a scope.
    pub(super) fn values(&mut self, scope: KvScope) -> &mut VecMap<String, Vec<u8>> {
        &mut self.kv[usize::from(scope == KvScope::Plugin)]
    }

    fn file(&self, dir: &str, path: &str) -> Result<&(Vec<u8>, FileStat), HostError> {
        let key = format!("{dir}:{path}");
        self.files.get(&key).ok_or_else(|| HostError::NotFound(format!("there is no {key}")))
    }

    fn write_file(&mut self, key: String, bytes: &[u8], mode: WriteMode) -> Result<(), HostError> {
        let before = self.files.get(&key).cloned();
        let inode = match (&before, mode) {
            (Some(_), WriteMode::Create) => {
                return Err(HostError::Invalid(format!("there is {key} already")));
            }
            (Some((_, stat)), WriteMode::Append) => stat.inode,
            (Some((_, stat)), _) => stat.inode + 1,
            (None, _) => 1,
        };
        let mut all = match (before, mode) {
            (Some((before, _)), WriteMode::Append) => before,
            _ => Vec::new(),
        };
        all.extend_from_slice(bytes);
        let size = all.len() as u64;
        let stat = FileStat { size, modified_ms: self.now_ms, is_dir: false, inode };
        self.files.insert(key, (all, stat));
        Ok(())
    }

    fn open(&mut self, stream: u32, key: String) -> Result<Vec<u8>, HostError> {
        let refused = || HostError::Failed(format!("{key} refuses: the case has no script for it"));
        self.lines.get_mut(&key).ok_or_else(refused)?.open();
        self.open.insert(stream, key);
        Ok(Vec::new())
    }

    fn line(&mut self, stream: u32) -> Result<(&str, &mut Line), HostError> {
        let gone = || HostError::Failed(format!("stream {stream} is not open"));
        let key = self.open.get(&stream).ok_or_else(gone)?;
        Ok((key, self.lines.get_mut(key).ok_or_else(gone)?))
    }

    fn stream_write(&mut self, stream: u32, bytes: &[u8]) -> Result<Vec<u8>, HostError> {
        let (key, line) = self.line(stream)?;
        let wrong = line.write(bytes).map_err(|why| format!("{key}: {why}"));
        wrong.map(|()| Vec::new()).map_err(|why| self.unexpected(why))
    }

    /// Takes down that a script was left, and fails the plugin's call.
    fn unexpected(&mut self, why: String) -> HostError {
        self.differences.push(why.clone());
        HostError::Failed(why)
    }

    fn pin(&self, name: &str) -> Result<bool, HostError> {
        let none = || HostError::NotFound(format!("the case has no gpio `{name}`"));
        self.gpio.get(name).copied().ok_or_else(none)
    }

    fn i2c(&mut self, name: &str, write: &[u8], read: usize) -> Result<Vec<u8>, HostError> {
        let none = || HostError::NotFound(format!("the case has no i2c `{name}`"));
        let transactions = self.i2c.get_mut(name).ok_or_else(none)?;
        if transactions.is_empty() {
            return Err(self.unexpected(format!("i2c {name}: one transaction too many")));
        }
        let next = transactions.remove(0);
        if !next.write.fits(write) {
            let got = shown(write);
            return Err(self.unexpected(format!("i2c {name}: expected {}, got {got}", next.write)));
        }
        if let Some(error) = next.error {
            return Err(HostError::Failed(error));
        }
        let bytes = next.read.bytes();
        if bytes.len() == read {
            return Ok(bytes);
        }
        let there = bytes.len();
        Err(self.unexpected(format!("i2c {name}: {read} bytes were asked for, {there} are there")))
    }

    fn run(&mut self, name: &str, args: &[String], stdin: &[u8]) -> Result<Vec<u8>, HostError> {
        let none = || HostError::NotFound(format!("the case has no exec `{name}`"));
        let runs = self.exec.get_mut(name).ok_or_else(none)?;
        if runs.is_empty() {
            return Err(self.unexpected(format!("exec {name}: one run too many")));
        }
        let next = runs.remove(0);
        if next.args != args {
            let wanted = &next.args;
            let why = format!("exec {name}: expected arguments {wanted:?}, got {args:?}");
            return Err(self.unexpected(why));
        }
        if !next.stdin.fits(stdin) {
            let (wanted, got) = (&next.stdin, shown(stdin));
            let why = format!("exec {name}: expected {wanted} as standard input, got {got}");
            return Err(self.unexpected(why));
        }
        if next.times_out {
            return Err(HostError::TimedOut(format!("{name} was not done in time")));
        }
        if let Some(error) = next.error {
            return Err(HostError::Failed(error));
        }
        let code = if next.signal.is_none() { next.code.or(Some(0)) } else { next.code };
        let exit = Exit { code, signal: next.signal, stderr: next.stderr, truncated: false };
        let mut answer = serde_json::to_vec(&exit).unwrap_or_default();
        answer.push(b'\n');
        answer.extend(next.stdout.bytes());
        Ok(answer)
    }

    fn note(&mut self, ask: &Ask<'_>) {
        self.count(ask.function().name());
        match ask {
            Ask::FileReadAt { dir, .. } | Ask::FileStat { dir, .. } => {
                self.used.name(Capability::Files, dir);
            }
            Ask::FileWrite { dir, .. } | Ask::FileRemove { dir, .. } => {
                self.used.name(Capability::FilesWrite, dir);
            }
            Ask::KvGet { scope, .. } | Ask::KvList { scope } => {
                self.used.name(Capability::Kv, scope.name());
            }
            Ask::SecretHandle { name } => self.used.name(Capability::Secrets, name),
            Ask::TcpConnect { host, port, .. } => self.used.net(Capability::Tcp, host, *port),
            Ask::SerialOpen { name, .. } => self.used.name(Capability::Serial, name),
            Ask::GpioRead { name } | Ask::GpioWrite { name, .. } => {
                self.used.name(Capability::Gpio, name);
            }
            Ask::I2cTransfer { name, .. } => self.used.name(Capability::I2c, name),
            Ask::Exec { name, .. } => self.used.name(Capability::Exec, name),
            Ask::StreamRead { .. } | Ask::StreamWrite { .. } | Ask::StreamClose { .. } => {}
        }
    }
}

impl Host for World {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        self.count("http_request");
        self.used.net(Capability::Http, &request.target.host, request.target.port);
        self.sent.push(request.clone());
        let key = format!("{} {}", request.method, request.target);
        let none = || HostError::Failed(format!("no answer: the case has none for {key}"));
        self.http.get(&key).cloned().ok_or_else(none)
    }

    fn read_file(&mut self, dir: &str, path: &str, max: usize) -> Result<Vec<u8>, HostError> {
        self.count("file_read");
        self.used.name(Capability::Files, dir);
        let (bytes, _) = self.file(dir, path)?;
        Ok(bytes[..bytes.len().min(max)].to_vec())
    }

    fn list_dir(&mut self, dir: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        self.count("dir_list");
        self.used.name(Capability::Files, dir);
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

    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        self.note(ask);
        match *ask {
            Ask::FileReadAt { dir, path, offset, max } => {
                let (bytes, _) = self.file(dir, path)?;
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes[from..].iter().take(max).copied().collect())
            }
            Ask::FileStat { dir, path } => {
                Ok(serde_json::to_vec(&self.file(dir, path)?.1).unwrap_or_default())
            }
            Ask::FileWrite { dir, path, bytes, mode } => {
                self.write_file(format!("{dir}:{path}"), bytes, mode).map(|()| Vec::new())
            }
            Ask::FileRemove { dir, path } => {
                self.file(dir, path)?;
                self.files.remove(&format!("{dir}:{path}"));
                Ok(Vec::new())
            }
            Ask::KvGet { scope, key } => {
                let none = || HostError::NotFound("no such key".to_owned());
                self.values(scope).get(key).cloned().ok_or_else(none)
            }
            Ask::KvList { scope } => {
                let values = self.values(scope).iter();
                let parts = values.map(|(key, value)| format!("{key}\0{}\0", value.len()));
                Ok(parts.collect::<String>().into_bytes())
            }
            Ask::SecretHandle { name } => {
                if self.secrets.iter().any(|secret| secret == name) {
                    return Ok(format!("secret-handle-{name}").into_bytes());
                }
                Err(HostError::NotFound(format!("the case has no secret `{name}`")))
            }
            Ask::TcpConnect { stream, host, port, .. } => {
                self.open(stream, format!("tcp {host}:{port}"))
            }
            Ask::SerialOpen { stream, name } => self.open(stream, format!("serial {name}")),
            Ask::StreamRead { stream, min, max, .. } => self.line(stream)?.1.read(min, max),
            Ask::StreamWrite { stream, bytes, .. } => self.stream_write(stream, bytes),
            Ask::StreamClose { stream } => {
                self.open.remove(&stream);
                Ok(Vec::new())
            }
            Ask::GpioRead { name } => self.pin(name).map(|level| vec![b'0' + u8::from(level)]),
            Ask::GpioWrite { name, level } => {
                self.pin(name)?;
                self.gpio.insert(name.to_owned(), level);
                Ok(Vec::new())
            }
            Ask::I2cTransfer { name, write, read } => self.i2c(name, write, read),
            Ask::Exec { name, args, stdin, .. } => self.run(name, args, stdin),
        }
    }

    fn now_ms(&mut self) -> i64 {
        self.count("now_ms");
        self.used.time();
        self.now_ms
    }

    fn random(&mut self, buffer: &mut [u8]) {
        self.count("random");
        self.used.random();
        buffer.fill(7);
    }
}
