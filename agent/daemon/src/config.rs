//! The configuration file: TOML, parsed once into typed values, unknown keys refused.
//!
//! Everything has a default, so an empty file is a configuration. What an enrolled device knows
//! of its fleet is not here but in the state file that enrolment writes (`identity.rs`).

mod devices;

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use openclaw_protocol::id::PluginName;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::toml_text::from_toml;
use serde::Deserialize;

use crate::limits;
use crate::offers::Offers;
use crate::webhook;

pub use devices::{Command, Direction, Flow, GpioLine, I2cDevice, Parity, SerialPort};

/// How much the agent says on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what needs a person.
    Error,
    /// Also what may need one.
    Warn,
    /// Also what changes.
    #[default]
    Info,
    /// Also why.
    Debug,
    /// Everything.
    Trace,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where database, key and certificate are; made if absent, readable by the owner alone.
    pub data_dir: PathBuf,
    /// The local socket; `agent.sock` in `data_dir` where absent.
    pub socket: Option<PathBuf>,
    /// Plugin calls at once.
    pub slots: u16,
    /// What is said on standard error.
    pub log_level: LogLevel,
    /// Logical directories offered to plugins: name → absolute path.
    pub files: VecMap<String, PathBuf>,
    /// Logical directories in which plugins may write: name → absolute path.
    pub files_write: VecMap<String, PathBuf>,
    /// Narrows the HTTP grants of plugins.
    pub http: Reach,
    /// Narrows the TCP grants of plugins.
    pub tcp: Reach,
    /// Serial ports by logical name.
    pub serial: VecMap<String, SerialPort>,
    /// Digital inputs and outputs by logical name.
    pub gpio: VecMap<String, GpioLine>,
    /// Devices on I²C buses by logical name.
    pub i2c: VecMap<String, I2cDevice>,
    /// Commands by logical name.
    pub exec: VecMap<String, Command>,
    /// How the connection behaves.
    pub link: Link,
    /// The site's own MQTT broker; absent: workflows that need one are refused.
    pub local_broker: Option<LocalBroker>,
    /// The agent's own HTTP listener; absent: workflows with webhooks are refused.
    pub webhook: Option<Webhook>,
    /// The site's own secrets: a directory, a file of mode 0600 for each; where absent, the
    /// directory of credentials that the service manager names.
    pub secrets_dir: Option<PathBuf>,
    /// The database.
    pub store: Store,
    /// How long what is done is kept.
    pub retention: Retention,
    /// Workflows and plugins from directories, with no control plane at all.
    pub standalone: Option<Standalone>,
    /// How far the wall clock is believed.
    pub clock: Clock,
    /// Settings that plugins may read, by plugin name.
    pub plugin_config: VecMap<String, VecMap<String, String>>,
}

/// `[http]`, `[tcp]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reach {
    /// A destination must match one of these as well as the plugin's grant; absent: the grant
    /// alone decides. Same notation as in a manifest: `host:port`, `cidr:port`, `*:port`.
    pub allow: Option<Vec<String>>,
}

/// `[link]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Connect here (`host:port`) instead of where enrolment said; the certificate must still be
    /// that of the control plane. For relays and tests.
    pub connect: Option<String>,
    /// The longest wait before a new connection, milliseconds.
    pub backoff_max_ms: u64,
}

/// `[local_broker]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalBroker {
    /// Where it listens, `host:port`.
    pub address: String,
    /// Name to log in with.
    pub username: Option<String>,
    /// The file that holds the password, in its first line.
    pub password_file: Option<PathBuf>,
    /// Certificates (PEM) of whoever vouches for the broker; absent: no TLS.
    pub tls_ca_file: Option<PathBuf>,
    /// What the broker knows this agent by; `openclaw-` and the agent's id where absent.
    pub client_id: Option<String>,
    /// The longest wait before a new connection, milliseconds.
    #[serde(default = "backoff_max_ms")]
    pub backoff_max_ms: u64,
}

fn backoff_max_ms() -> u64 {
    limits::BACKOFF_MAX_MS
}

impl LocalBroker {
    /// Host and port.
    #[must_use]
    pub fn target(&self) -> Option<(String, u16)> {
        let (host, port) = Link::split(&self.address)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Some((bare.map_or(host.clone(), str::to_owned), port))
    }

    /// The first value that cannot be, if any: its key and what is wrong.
    fn fault(&self) -> Option<(String, String)> {
        let fault =
            |key: &str, reason: &str| Some((format!("local_broker.{key}"), reason.to_owned()));
        if self.target().is_none() {
            return fault("address", "must be `host:port`");
        }
        if self.password_file.is_some() && self.username.is_none() {
            return fault("username", "must be given with a password");
        }
        for (key, path) in
            [("password_file", &self.password_file), ("tls_ca_file", &self.tls_ca_file)]
        {
            if path.as_ref().is_some_and(|path| path.is_relative()) {
                return fault(key, "must be an absolute path");
            }
        }
        if self.client_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > CLIENT_ID_BYTES) {
            return fault("client_id", "must have 1 to 128 bytes");
        }
        if self.backoff_max_ms < 100 {
            return fault("backoff_max_ms", "must be at least 100");
        }
        None
    }
}

/// `[webhook]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to listen, an address of this device and a port. There is no TLS: other machines
    /// belong behind a proxy that has it.
    pub listen: SocketAddr,
    /// Webhooks without a signature may be used although the address is not a loopback one.
    #[serde(default)]
    pub allow_unsigned: bool,
}

/// The longest client id.
const CLIENT_ID_BYTES: usize = 128;

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Cache in memory, bytes.
    pub cache_bytes: usize,
}

/// `[retention]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// How long acknowledged records are kept, hours.
    pub hours: u32,
    /// How long journals of settled runs are kept, hours.
    pub journal_hours: u32,
    /// Bytes of one lane in the outbox; beyond it the lane's acknowledged records go first, then
    /// its own oldest, and each gap is told.
    pub lane_bytes: u64,
    /// Bytes of the journals of settled runs, and of facts of long runs that their latest snapshots
    /// stand for; beyond it the oldest go.
    pub journal_bytes: u64,
}

/// `[standalone]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standalone {
    /// Directory of workflow documents (`*.yaml`, `*.yml`, `*.json`).
    pub workflows: PathBuf,
    /// Directory of plugin directories (`plugin.toml` and `plugin.wasm` in each).
    pub plugins: Option<PathBuf>,
}

/// `[clock]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clock {
    /// This file exists while the system says that its clock is synchronised.
    pub synced_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/openclaw-agent"),
            socket: None,
            slots: limits::SLOTS,
            log_level: LogLevel::default(),
            files: VecMap::new(),
            files_write: VecMap::new(),
            http: Reach::default(),
            tcp: Reach::default(),
            serial: VecMap::new(),
            gpio: VecMap::new(),
            i2c: VecMap::new(),
            exec: VecMap::new(),
            link: Link::default(),
            local_broker: None,
            webhook: None,
            secrets_dir: None,
            store: Store::default(),
            retention: Retention::default(),
            standalone: None,
            clock: Clock::default(),
            plugin_config: VecMap::new(),
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Self { connect: None, backoff_max_ms: limits::BACKOFF_MAX_MS }
    }
}

impl Link {
    /// Host and port to connect to instead, where that is configured.
    #[must_use]
    pub fn target(&self) -> Option<(String, u16)> {
        self.connect.as_deref().and_then(Self::split)
    }

    fn split(text: &str) -> Option<(String, u16)> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        (!host.is_empty()).then(|| (host.to_owned(), port))
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { cache_bytes: limits::CACHE_BYTES }
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            hours: limits::RETENTION_HOURS,
            journal_hours: limits::JOURNAL_HOURS,
            lane_bytes: limits::LANE_BYTES,
            journal_bytes: limits::JOURNAL_BYTES,
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self { synced_file: PathBuf::from("/run/systemd/timesync/synchronized") }
    }
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}; name another file with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Not TOML, an unknown key, or a value of the wrong type; the text carries line and column.
    #[error("{path}: {reason}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// What and where.
        reason: String,
    },
    /// A value that cannot be.
    #[error("{path}: `{key}` {reason}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key with its tables.
        key: String,
        /// What is wrong and what to write.
        reason: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to write instead.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let read =
            |e: std::io::Error| ConfigError::Read { path: path.to_owned(), reason: e.to_string() };
        let mut text = String::new();
        std::fs::File::open(path)
            .and_then(|f| f.take(limits::CONFIG_BYTES + 1).read_to_string(&mut text))
            .map_err(read)?;
        if text.len() as u64 > limits::CONFIG_BYTES {
            // What is cut off might have been what narrows a right.
            let reason = format!("it has more than {} bytes", limits::CONFIG_BYTES);
            return Err(ConfigError::Read { path: path.to_owned(), reason });
        }
        let config = Self::parse(path, &text)?;
        match config.real_fault(path) {
            None => Ok(config),
            Some((key, reason)) => Err(ConfigError::Value { path: path.to_owned(), key, reason }),
        }
    }

    /// Reads and checks a text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = from_toml(text)
            .map_err(|e| ConfigError::Toml { path: path.to_owned(), reason: e.to_string() })?;
        match config.fault() {
            None => Ok(config),
            Some((key, reason)) => Err(ConfigError::Value { path: path.to_owned(), key, reason }),
        }
    }

    /// The names of the logical directories.
    #[must_use]
    pub fn dirs(&self) -> Vec<String> {
        self.files.keys().cloned().collect()
    }

    /// What it has for workflows; `dirs` are [`Config::dirs`].
    #[must_use]
    pub fn offers<'a>(&self, dirs: &'a [String]) -> Offers<'a> {
        let webhook = webhook::Offer::of(self.webhook.as_ref());
        Offers { files: dirs, mqtt: self.local_broker.is_some(), webhook }
    }

    /// The local socket.
    #[must_use]
    pub fn socket_path(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| self.data_dir.join("agent.sock"))
    }

    /// The first value that cannot be, if any: its key and what is wrong.
    fn fault(&self) -> Option<(String, String)> {
        if !(1..=limits::SLOTS_MAX).contains(&self.slots) {
            return Some(("slots".into(), format!("must be 1 to {}", limits::SLOTS_MAX)));
        }
        if self.data_dir.is_relative() {
            return Some(("data_dir".into(), "must be an absolute path".into()));
        }
        if self.store.cache_bytes < 64 * 1024 {
            return Some(("store.cache_bytes".into(), "must be at least 65536".into()));
        }
        if self.link.backoff_max_ms < 100 {
            return Some(("link.backoff_max_ms".into(), "must be at least 100".into()));
        }
        let connect = self.link.connect.as_deref();
        if connect.is_some_and(|c| Link::split(c).is_none()) {
            return Some(("link.connect".into(), "must be `host:port`".into()));
        }
        if let Some(fault) = self.local_broker.as_ref().and_then(LocalBroker::fault) {
            return Some(fault);
        }
        if self.secrets_dir.as_ref().is_some_and(|dir| dir.is_relative()) {
            return Some(("secrets_dir".into(), "must be an absolute path".into()));
        }
        for (key, bytes) in [
            ("retention.lane_bytes", self.retention.lane_bytes),
            ("retention.journal_bytes", self.retention.journal_bytes),
        ] {
            if bytes < 1024 * 1024 {
                return Some((key.into(), "must be at least 1048576 (1 MiB)".into()));
            }
        }
        for (table, dirs) in [("files", &self.files), ("files_write", &self.files_write)] {
            for (name, path) in dirs {
                if let Err(e) = PluginName::parse(name) {
                    return Some((format!("{table}.{name}"), format!("has a bad name: {e}")));
                }
                if path.is_relative() {
                    return Some((format!("{table}.{name}"), "must be an absolute path".into()));
                }
            }
        }
        let reached = self.http.fault("http").or_else(|| self.tcp.fault("tcp"));
        reached.or_else(|| self.device_fault())
    }
}

impl Reach {
    /// The first entry that cannot be, if any.
    fn fault(&self, table: &str) -> Option<(String, String)> {
        self.allow.iter().flatten().find_map(|entry| {
            let port = entry.rsplit_once(':').map(|(_, port)| port);
            let good = port.is_some_and(|p| p == "*" || p.parse::<u16>().is_ok());
            let reason = format!("`{entry}` has no port; write `host:port` or `cidr:port`");
            (!good).then_some((format!("{table}.allow"), reason))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("agent.toml"), text)
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.socket_path(), Path::new("/var/lib/openclaw-agent/agent.sock"));
        assert_eq!(config.store.cache_bytes, 1024 * 1024);
    }

    #[test]
    fn wrong_ones_say_what_and_where() {
        for (text, part) in [
            ("colour = 'red'", "colour"),
            ("[http]\nalow = []", "alow"),
            ("slots = 'many'", "slots"),
            ("slots = 0", "`slots` must be 1 to"),
            ("data_dir = 'here'", "absolute"),
            ("[files]\nproc = 'proc'", "files.proc"),
            ("[files]\n'../x' = '/proc'", "bad name"),
            ("[http]\nallow = ['example.com']", "host:port"),
            ("[retention]\nlane_bytes = 1", "1 MiB"),
            ("[link]\nbackoff_max_ms = 1", "at least 100"),
            ("[link]\nconnect = 'nowhere'", "host:port"),
            ("[standalone]\nplugins = '/p'", "workflows"),
            ("[local_broker]\nusername = 'a'", "address"),
            ("[local_broker]\naddress = 'broker'", "host:port"),
            ("[local_broker]\naddress = 'b:1883'\npassword_file = '/p'", "username"),
            ("[local_broker]\naddress = 'b:1883'\ntls_ca_file = 'ca.pem'", "absolute"),
            ("[local_broker]\naddress = 'b:1883'\nclient_id = ''", "1 to 128"),
            ("[local_broker]\naddress = 'b:1883'\nqos = 2", "qos"),
            ("[webhook]\nallow_unsigned = true", "listen"),
            ("[webhook]\nlisten = 'localhost'", "socket address"),
            ("secrets_dir = 'secrets'", "absolute"),
            ("log_level = 'loud'", "loud"),
            ("slots = ", "line 1"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?} said: {error}");
            assert!(error.starts_with("agent.toml"), "{error}");
        }
    }

    #[test]
    fn the_example_is_good_and_names_every_default() {
        let example = parse(include_str!("../agent.example.toml")).unwrap();
        let defaults = Config {
            socket: example.socket.clone(),
            files: example.files.clone(),
            files_write: example.files_write.clone(),
            http: example.http.clone(),
            tcp: example.tcp.clone(),
            serial: example.serial.clone(),
            gpio: example.gpio.clone(),
            i2c: example.i2c.clone(),
            exec: example.exec.clone(),
            link: Link { connect: example.link.connect.clone(), ..Link::default() },
            local_broker: example.local_broker.clone(),
            webhook: example.webhook.clone(),
            secrets_dir: example.secrets_dir.clone(),
            standalone: example.standalone.clone(),
            plugin_config: example.plugin_config.clone(),
            ..Config::default()
        };
        assert_eq!(example, defaults);
        assert!(example.standalone.is_some() && !example.plugin_config.is_empty());
        let broker = example.local_broker.unwrap();
        assert_eq!(broker.backoff_max_ms, limits::BACKOFF_MAX_MS);
        assert_eq!(broker.target(), Some(("broker.site.example".to_owned(), 8883)));
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        let most = usize::try_from(limits::CONFIG_BYTES).unwrap();
        let narrows = "[http]\nallow = []\n";
        let fill = |bytes: usize| format!("{}\n{narrows}", "#".repeat(bytes - narrows.len() - 1));
        std::fs::write(&path, fill(most)).unwrap();
        assert_eq!(Config::load(&path).unwrap().http.allow, Some(Vec::new()));
        for long in [fill(most + 1), fill(most + narrows.len()), fill(3 * most)] {
            std::fs::write(&path, long).unwrap();
            let error = Config::load(&path).unwrap_err().to_string();
            assert!(error.contains("262144 bytes"), "{error}");
        }
    }

    #[test]
    fn a_missing_file_says_so() {
        let error = Config::load(Path::new("/nowhere/agent.toml")).unwrap_err().to_string();
        assert!(error.contains("--config"), "{error}");
    }
}
