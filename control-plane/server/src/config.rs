//! What the operator chose: one TOML file, defaults for everything in it, checked once.

mod plugins;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::network::Network;

pub use plugins::Plugins;

/// The tenant of a control plane that serves one organisation.
pub const DEFAULT_TENANT: &str = "default";

/// Every key of the file, for the hint after a misspelt one.
const KEYS: &[&str] = &[
    "data_dir",
    "public_host",
    "http",
    "mqtt",
    "database",
    "retention",
    "log",
    "bind",
    "tls",
    "public_url",
    "trusted_proxies",
    "local_metrics",
    "public_port",
    "url",
    "days",
    "max_bytes",
    "filter",
    "format",
    "plugins",
    "require_signatures",
    "max_module_bytes",
    "max_fuel",
    "max_memory_bytes",
    "max_output_bytes",
];

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where database, keys and plugin modules are kept.
    pub data_dir: PathBuf,
    /// Host name or address by which devices and people reach this machine; also in the
    /// certificate.
    pub public_host: String,
    /// The API and the console.
    pub http: Http,
    /// The gate for devices.
    pub mqtt: Mqtt,
    /// Where facts are kept.
    pub database: Database,
    /// How long facts are kept.
    pub retention: Retention,
    /// What is logged.
    pub log: Log,
    /// What the registry takes.
    pub plugins: Plugins,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("/var/lib/openclaw"),
            public_host: "localhost".to_owned(),
            http: Http::default(),
            mqtt: Mqtt::default(),
            database: Database::default(),
            retention: Retention::default(),
            log: Log::default(),
            plugins: Plugins::default(),
        }
    }
}

/// `[http]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address to listen on; port 0 takes a free one.
    pub bind: SocketAddr,
    /// HTTPS with the fleet's own CA. Absent: on a loopback address off, elsewhere on.
    pub tls: Option<bool>,
    /// What people type; made from `public_host` and the port where absent.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` is believed, as addresses or networks.
    pub trusted_proxies: Vec<Network>,
    /// Whether callers on this very machine read `/metrics` without a key. Not for a machine with
    /// a proxy on it: what comes through that may look the same.
    pub local_metrics: bool,
    /// Bounds that are no operator's choice.
    #[serde(skip)]
    pub limits: HttpLimits,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            public_url: None,
            trusted_proxies: Vec::new(),
            local_metrics: false,
            limits: HttpLimits::default(),
        }
    }
}

/// Bounds of HTTP.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one host (an IPv6 /64 counts as one) that is no trusted proxy.
    pub connections_per_host: usize,
    /// How long a write may be stuck before the connection is cut.
    pub write: Duration,
    /// Event streams at once of one principal.
    pub streams: usize,
    /// How often a stream looks whether its reader may still read.
    pub recheck: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections: 1_024,
            connections_per_host: 256,
            write: Duration::from_secs(30),
            streams: 16,
            recheck: Duration::from_secs(15),
        }
    }
}

impl Http {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.unwrap_or(!self.bind.ip().is_loopback())
    }
}

/// `[mqtt]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Address to listen on (always TLS with client certificates); port 0 takes a free one.
    pub bind: SocketAddr,
    /// Port that devices are told, where it differs from the one listened on.
    pub public_port: Option<u16>,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self { bind: SocketAddr::from(([0, 0, 0, 0], 8883)), public_port: None }
    }
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `sqlite` (a file in `data_dir`) or `postgres://user:password@host:5432/name`.
    pub url: String,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: "sqlite".to_owned() }
    }
}

/// `[retention]`: results, run events and finished runs beyond either bound are deleted,
/// oldest first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days to keep, at least 1.
    pub days: u32,
    /// Bytes of results and run events to keep, at least 1 MiB.
    pub max_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, max_bytes: 10 * 1024 * 1024 * 1024 }
    }
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Levels, such as `info` or `info,openclaw_control_plane=debug`.
    pub filter: String,
    /// How lines look.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { filter: "info,sqlx=warn,rumqttd=warn".to_owned(), format: LogFormat::Text }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Not TOML, an unknown key, or a value of the wrong kind.
    #[error("{path}:{line}: {message}{hint}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
        /// What to write instead, if something is near.
        hint: String,
    },
    /// A value that cannot work.
    #[error("{key}: {reason}")]
    Value {
        /// The key with its table, such as `http.tls`.
        key: &'static str,
        /// What is wrong and what to write.
        reason: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Says what is wrong, in which line, and what to write.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    /// Reads and checks the text of a file called `path`.
    ///
    /// # Errors
    /// Says what is wrong, in which line, and what to write.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let line = 1 + text.get(..span.start).unwrap_or("").matches('\n').count();
            let message = error.message().lines().next().unwrap_or_default().to_owned();
            let unknown = message.starts_with("unknown field");
            let hint = text.get(span).filter(|_| unknown).and_then(nearest_key);
            let hint = hint.map(|key| format!("; did you mean `{key}`?")).unwrap_or_default();
            ConfigError::Syntax { path: path.to_owned(), line, message, hint }
        })?;
        config.check()?;
        Ok(config)
    }

    /// Checks what the types alone cannot.
    ///
    /// # Errors
    /// Names the first value that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, reason: &str| Err(ConfigError::Value { key, reason: reason.to_owned() });
        if self.http.tls == Some(false) && !self.http.bind.ip().is_loopback() {
            return wrong(
                "http.tls",
                "plain HTTP is only allowed on a loopback address; leave `tls` out, or bind to \
                 127.0.0.1 behind a proxy that encrypts",
            );
        }
        if self.public_host.is_empty() || self.public_host.contains([' ', '/', ':']) {
            return wrong("public_host", "write a host name or an IPv4 address, without a port");
        }
        let url = &self.database.url;
        if !(url == "sqlite" || url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            return wrong("database.url", "write `sqlite` or `postgres://user@host:5432/name`");
        }
        if self.retention.days == 0 || self.retention.days > 36_500 {
            return wrong("retention.days", "write a number of days from 1 to 36500");
        }
        if self.retention.max_bytes < 1024 * 1024 {
            return wrong("retention.max_bytes", "write at least 1048576");
        }
        if let Some(public) = &self.http.public_url
            && !(public.starts_with("https://") || public.starts_with("http://"))
        {
            return wrong("http.public_url", "write `https://host:port`");
        }
        Ok(())
    }

    /// Whether the database is PostgreSQL.
    #[must_use]
    pub fn is_postgres(&self) -> bool {
        self.database.url != "sqlite"
    }

    /// The SQLite file.
    #[must_use]
    pub fn sqlite_path(&self) -> PathBuf {
        self.data_dir.join("openclaw.db")
    }

    /// The folder of the fleet's CA and of the key that signs desired state.
    #[must_use]
    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// The names in the server's certificate.
    #[must_use]
    pub fn server_names(&self) -> Vec<String> {
        let mut names = vec![self.public_host.clone()];
        for name in ["localhost", "127.0.0.1"] {
            if self.public_host != name {
                names.push(name.to_owned());
            }
        }
        names
    }
}

fn nearest_key(written: &str) -> Option<&'static str> {
    let near = |key: &&str| strsim::damerau_levenshtein(written.trim(), key);
    KEYS.iter().min_by_key(|key| near(key)).filter(|key| near(key) <= 3).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("c.toml"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_a_configuration() {
        let config = parse("").unwrap();
        assert!(!config.http.is_tls());
        assert!(!config.is_postgres());
    }

    #[test]
    fn off_loopback_there_is_always_tls() {
        assert!(parse("[http]\nbind = '0.0.0.0:80'").unwrap().http.is_tls());
        assert!(parse("[http]\nbind='0.0.0.0:80'\ntls=false").unwrap_err().contains("loopback"));
        assert!(parse("[http]\ntls = true").unwrap().http.is_tls());
    }

    #[test]
    fn trusted_proxies_are_networks() {
        let config = parse("[http]\ntrusted_proxies = ['127.0.0.1', '10.0.0.0/8']").unwrap();
        assert!(config.http.trusted_proxies[1].contains([10, 9, 8, 7].into()));
        let error = parse("[http]\ntrusted_proxies = ['10.0.0.0/40']").unwrap_err();
        assert!(error.contains("c.toml:2: `10.0.0.0/40` is no network"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_line_and_hint() {
        for (text, part) in [
            ("\n[htpp]\n", "c.toml:2: unknown field `htpp`"),
            ("\n[htpp]\n", "did you mean `http`?"),
            ("[retention]\ndays = 1\nmax_byte = 3", "c.toml:3:"),
            ("[retention]\nmax_byte = 3", "did you mean `max_bytes`?"),
            ("[http]\nbind = 'here'", "c.toml:2:"),
            ("[database]\nurl = 'mysql://x'", "postgres://"),
            ("[retention]\ndays = 0", "1 to 36500"),
            ("public_host = 'a b'", "host name"),
            ("data_dir = ", "c.toml:1:"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn every_key_of_the_hint_list_is_a_key() {
        for key in KEYS {
            let known = [
                format!("{key} = {{}}"),
                format!("[http]\n{key} = []"),
                format!("[mqtt]\n{key} = []"),
                format!("[database]\n{key} = []"),
                format!("[retention]\n{key} = []"),
                format!("[log]\n{key} = []"),
                format!("[plugins]\n{key} = []"),
            ]
            .iter()
            .any(|text| parse(text).map_or_else(|e| !e.contains("unknown field"), |_| true));
            assert!(known, "{key}");
        }
    }
}
