//! Who this device is, once enrolled: the state file, the key and the certificates in the data
//! directory. Each file is written whole or not at all, readable by its owner alone.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use serde::{Deserialize, Serialize};

const STATE: &str = "identity.toml";
const KEY: &str = "device.key.pem";
const CERTIFICATE: &str = "device.cert.pem";
const CA: &str = "fleet.ca.pem";

/// What an enrolled device knows of itself and its fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its id.
    pub device: DeviceId,
    /// The control plane's URL, for renewal.
    pub server: String,
    /// Host of MQTT over TLS.
    pub mqtt_host: String,
    /// Port of MQTT over TLS.
    pub mqtt_port: u16,
    /// Ed25519 public key that signs desired state (32 bytes, in hexadecimal digits).
    pub desired_key: Digest,
}

/// The identity with its secrets, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub identity: Identity,
    /// The private key (PKCS #8).
    pub key_pem: String,
    /// The device's certificate.
    pub certificate_pem: String,
    /// The fleet's CA.
    pub ca_pem: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why an identity cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The state file is not what enrolment writes.
    #[error("{path} is damaged ({reason}); enrol the device again")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Credentials {
    /// Reads what enrolment wrote; `None` where the device is not enrolled.
    ///
    /// # Errors
    /// A file is there but cannot be read.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(STATE);
        if !path.exists() {
            return Ok(None);
        }
        let text = read(&path)?;
        refuse_open_key(&data_dir.join(KEY))?;
        let identity = toml::from_str(&text)
            .map_err(|e| IdentityError::State { path, reason: e.to_string() })?;
        Ok(Some(Self {
            identity,
            key_pem: read(&data_dir.join(KEY))?,
            certificate_pem: read(&data_dir.join(CERTIFICATE))?,
            ca_pem: read(&data_dir.join(CA))?,
        }))
    }

    /// Writes everything, the state file last: it is what makes the device enrolled.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn store(&self, data_dir: &Path) -> Result<(), IdentityError> {
        make_data_dir(data_dir)?;
        write(&data_dir.join(KEY), &self.key_pem)?;
        write(&data_dir.join(CERTIFICATE), &self.certificate_pem)?;
        write(&data_dir.join(CA), &self.ca_pem)?;
        let path = data_dir.join(STATE);
        let text = toml::to_string(&self.identity)
            .map_err(|e| IdentityError::State { path: path.clone(), reason: e.to_string() })?;
        write(&path, &text)
    }
}

/// Makes the data directory, for its owner alone.
///
/// # Errors
/// It cannot be made.
pub fn make_data_dir(path: &Path) -> Result<(), IdentityError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| IdentityError::File { path: path.to_owned(), reason: e.to_string() })
}

/// A key that others can read is no longer the device's alone.
fn refuse_open_key(path: &Path) -> Result<(), IdentityError> {
    let file = |reason: String| IdentityError::File { path: path.to_owned(), reason };
    let mode = std::fs::metadata(path).map_err(|e| file(e.to_string()))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(file(format!("others may read it (mode {:o}); enrol the device again", mode & 0o777)))
}

fn read(path: &Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path)
        .map_err(|e| IdentityError::File { path: path.to_owned(), reason: e.to_string() })
}

/// Beside it, synced, then renamed over it, and the rename synced too.
fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let beside = path.with_extension("new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path))
        .and_then(|()| match path.parent() {
            Some(dir) => std::fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        });
    written.map_err(|e| IdentityError::File { path: path.to_owned(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials {
            identity: Identity {
                tenant: TenantId::parse("acme").unwrap(),
                device: DeviceId::parse("pump-7").unwrap(),
                server: "https://control.example".into(),
                mqtt_host: "control.example".into(),
                mqtt_port: 8883,
                desired_key: Digest([7; 32]),
            },
            key_pem: "key".into(),
            certificate_pem: "certificate".into(),
            ca_pem: "ca".into(),
        }
    }

    #[test]
    fn an_identity_survives_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert_eq!(Credentials::load(&data).unwrap(), None);
        credentials().store(&data).unwrap();
        credentials().store(&data).unwrap();
        assert_eq!(Credentials::load(&data).unwrap(), Some(credentials()));
        for entry in std::fs::read_dir(&data).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!format!("{:?}", credentials()).contains("key_pem"), "secrets stay out of logs");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        credentials().store(dir.path()).unwrap();
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(dir.path().join(KEY), open).unwrap();
        let error = Credentials::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("640"), "{error}");
    }

    #[test]
    fn a_damaged_state_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        credentials().store(dir.path()).unwrap();
        std::fs::write(dir.path().join(STATE), "tenant = 'A B'").unwrap();
        let error = Credentials::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("enrol the device again"), "{error}");
    }
}
