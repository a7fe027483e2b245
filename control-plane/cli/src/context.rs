//! Contexts: which control plane, as whom. Kept in `contexts.toml` in the user's configuration
//! directory, readable by the user alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::{FAILED, Failure, NOT_AUTHENTICATED, NOT_FOUND};

/// The file: named contexts, one of them current.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// Name of the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// Contexts by name.
    #[serde(default)]
    pub(crate) context: BTreeMap<String, Context>,
}

/// One control plane, and the login there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Such as `https://fleet.example:8443`.
    pub(crate) url: String,
    /// Session token or API key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// PEM file of the CA that the server's certificate must come from, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl Context {
    /// Takes another CA, where one is named. Kept absolute: the next command may be typed
    /// elsewhere.
    pub(crate) fn set_ca_file(&mut self, path: Option<&Path>) -> Result<(), Failure> {
        if let Some(path) = path {
            self.ca_file = Some(std::path::absolute(path)?);
        }
        Ok(())
    }
}

/// Where the file is: `$OPENCLAW_CONFIG_DIR`, else `$XDG_CONFIG_HOME/openclaw`, else
/// `~/.config/openclaw`.
pub(crate) fn file() -> PathBuf {
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from);
    std::env::var_os("OPENCLAW_CONFIG_DIR")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("XDG_CONFIG_HOME").map(|d| PathBuf::from(d).join("openclaw")))
        .unwrap_or_else(|| home().join(".config/openclaw"))
        .join("contexts.toml")
}

impl Contexts {
    /// Reads the file; an absent one is empty.
    pub(crate) fn load() -> Result<Self, Failure> {
        let path = file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(Failure::new(
                    FAILED,
                    format!("cannot read {}: {error}", path.display()),
                ));
            }
        };
        toml::from_str(&text).map_err(|error| {
            Failure::new(FAILED, format!("{}: {error}", path.display()))
                .hint("mend the file, or remove it and log in again")
        })
    }

    /// Writes the file, whole or not at all, readable by its owner alone.
    pub(crate) fn save(&self) -> Result<(), Failure> {
        let path = file();
        let text = toml::to_string_pretty(self)
            .map_err(|error| Failure::new(FAILED, format!("cannot write contexts: {error}")))?;
        let write = || -> std::io::Result<()> {
            if let Some(dir) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            }
            let beside = path.with_extension("toml.new");
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, &path)
        };
        write().map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", path.display())))
    }

    /// The context to use: by name, or the current one.
    pub(crate) fn pick(&self, name: Option<&str>) -> Result<&Context, Failure> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Err(Failure::new(NOT_AUTHENTICATED, "no control plane is set")
                .hint("log in with `openclaw login URL`, or try `openclaw dev`"));
        };
        self.context.get(name).ok_or_else(|| {
            Failure::new(NOT_FOUND, format!("there is no context `{name}`"))
                .hint("see `openclaw context list`")
        })
    }
}
