//! Who this device is, once enrolled: one file in the data directory with identity, key and
//! certificates. It is replaced as a whole or not at all, and readable by its owner alone.
//!
//! The first version kept the four in files of their own, where a power cut during a second
//! enrolment could leave the key of one and the certificate of the other. Devices that were
//! enrolled by it are read as they are.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use openclaw_points::{Point, reach};
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use openclaw_protocol::toml_text::{TomlError, from_toml};
use serde::{Deserialize, Serialize};

use crate::store::is_full;

const CREDENTIALS: &str = "credentials.toml";

/// The files of the first version.
mod apart {
    pub(super) const STATE: &str = "identity.toml";
    pub(super) const KEY: &str = "device.key.pem";
    pub(super) const CERTIFICATE: &str = "device.cert.pem";
    pub(super) const CA: &str = "fleet.ca.pem";
}

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
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The private key (PKCS #8).
    pub key_pem: String,
    /// The device's certificate.
    pub certificate_pem: String,
    /// The fleet's CA.
    pub ca_pem: String,
    /// Who.
    pub identity: Identity,
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
    /// There is no room for a file.
    #[error("{path}: {reason}; free some space on its file system")]
    Full {
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
    /// A file is there but cannot be read, or others can read the key.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(CREDENTIALS);
        if path.exists() {
            refuse_open_key(&path)?;
            return parse(&path).map(Some);
        }
        let Some(identity) = Identity::load(data_dir)? else { return Ok(None) };
        refuse_open_key(&data_dir.join(apart::KEY))?;
        Ok(Some(Self {
            identity,
            key_pem: read(&data_dir.join(apart::KEY))?,
            certificate_pem: read(&data_dir.join(apart::CERTIFICATE))?,
            ca_pem: read(&data_dir.join(apart::CA))?,
        }))
    }

    /// Writes everything, and with one rename: before it the device is who it was.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, data_dir: &Path) -> Result<(), IdentityError> {
        make_data_dir(data_dir)?;
        let path = data_dir.join(CREDENTIALS);
        let text = toml::to_string(self)
            .map_err(|e| IdentityError::State { path: path.clone(), reason: e.to_string() })?;
        write(&path, &text)?;
        for name in [apart::KEY, apart::CERTIFICATE, apart::CA, apart::STATE] {
            // Nobody reads them any more; where one cannot be removed, nothing is wrong with that.
            let _ = std::fs::remove_file(data_dir.join(name));
        }
        Ok(())
    }
}

impl Identity {
    /// Reads who the device is, whatever is wrong with its key; `None` where it is not enrolled.
    ///
    /// # Errors
    /// A file is there but cannot be read.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, IdentityError> {
        let path = data_dir.join(CREDENTIALS);
        if path.exists() {
            return parse(&path).map(|all: Credentials| Some(all.identity));
        }
        let path = data_dir.join(apart::STATE);
        if path.exists() { parse(&path).map(Some) } else { Ok(None) }
    }
}

/// The CA of the fleet that the device belongs to, as far as it can be read.
#[must_use]
pub fn known_ca_pem(data_dir: &Path) -> Option<String> {
    let path = data_dir.join(CREDENTIALS);
    if path.exists() {
        return parse(&path).ok().map(|all: Credentials| all.ca_pem);
    }
    read(&data_dir.join(apart::CA)).ok()
}

/// What the machine is called: what a device that is not enrolled goes by.
#[must_use]
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
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
        .map_err(|e| unwritten(path, &e))
}

/// A key that others can read is no longer the device's alone.
///
/// # Errors
/// Others can read it.
pub(crate) fn refuse_open_key(path: &Path) -> Result<(), IdentityError> {
    let file = |reason: String| IdentityError::File { path: path.to_owned(), reason };
    let mode = std::fs::metadata(path).map_err(|e| file(e.to_string()))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(file(format!("others may read it (mode {:o}); enrol the device again", mode & 0o777)))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, IdentityError> {
    let damaged = |e: TomlError| IdentityError::State {
        path: path.to_owned(),
        // What is wrong, and nothing of what is written there: it may be of the key.
        reason: e.message,
    };
    from_toml(&read(path)?).map_err(damaged)
}

/// A file as text.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(path: &Path) -> Result<String, IdentityError> {
    std::fs::read_to_string(path)
        .map_err(|e| IdentityError::File { path: path.to_owned(), reason: e.to_string() })
}

/// Beside it, synced, then renamed over it, and the rename synced too. Readable by its owner alone.
///
/// # Errors
/// It cannot be written; what was there before still is.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), IdentityError> {
    let beside = path.with_extension("new");
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .inspect(|()| reach(Point::FileWritten))
        .and_then(|()| std::fs::rename(&beside, path))
        .inspect(|()| reach(Point::FileRenamed))
        .and_then(|()| path.parent().map_or(Ok(()), sync_dir));
    written.map_err(|e| unwritten(path, &e))
}

fn unwritten(path: &Path, error: &std::io::Error) -> IdentityError {
    let (path, reason) = (path.to_owned(), error.to_string());
    if is_full(error) {
        IdentityError::Full { path, reason }
    } else {
        IdentityError::File { path, reason }
    }
}

/// Makes renames in a directory durable.
///
/// # Errors
/// The system's.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(of: &str) -> Credentials {
        Credentials {
            identity: Identity {
                tenant: TenantId::parse("acme").unwrap(),
                device: DeviceId::parse(of).unwrap(),
                server: "https://control.example".into(),
                mqtt_host: "control.example".into(),
                mqtt_port: 8883,
                desired_key: Digest([7; 32]),
            },
            key_pem: format!("key of {of}\n"),
            certificate_pem: format!("certificate of {of}\n"),
            ca_pem: format!("ca of {of}\n"),
        }
    }

    fn store_whole(credentials: &Credentials, data_dir: &Path) {
        credentials.store(data_dir).unwrap();
    }

    /// As the first version wrote them.
    fn store_apart(credentials: &Credentials, data_dir: &Path) {
        make_data_dir(data_dir).unwrap();
        let state = toml::to_string(&credentials.identity).unwrap();
        for (name, text) in [
            (apart::KEY, &credentials.key_pem),
            (apart::CERTIFICATE, &credentials.certificate_pem),
            (apart::CA, &credentials.ca_pem),
            (apart::STATE, &state),
        ] {
            write(&data_dir.join(name), text).unwrap();
        }
    }

    #[test]
    fn an_identity_survives_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        assert_eq!(Credentials::load(&data).unwrap(), None);
        assert_eq!(Identity::load(&data).unwrap(), None);
        let credentials = credentials("pump-7");
        credentials.store(&data).unwrap();
        credentials.store(&data).unwrap();
        assert_eq!(Credentials::load(&data).unwrap(), Some(credentials.clone()));
        assert_eq!(Identity::load(&data).unwrap(), Some(credentials.identity.clone()));
        assert_eq!(known_ca_pem(&data), Some(credentials.ca_pem.clone()));
        for entry in std::fs::read_dir(&data).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!format!("{credentials:?}").contains("key_pem"), "secrets stay out of logs");
    }

    #[test]
    fn what_the_first_version_wrote_is_read_and_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (credentials("pump-7"), credentials("pump-8"));
        store_apart(&old, dir.path());
        assert_eq!(Credentials::load(dir.path()).unwrap(), Some(old.clone()));
        assert_eq!(known_ca_pem(dir.path()), Some(old.ca_pem));
        new.store(dir.path()).unwrap();
        assert_eq!(Credentials::load(dir.path()).unwrap(), Some(new));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no old key lies about");
    }

    /// A cut can come between any two operations on the directory; here it comes as a failure of
    /// each of them in turn.
    #[test]
    fn a_device_is_never_half_of_two() {
        let (old, new) = (credentials("pump-7"), credentials("pump-8"));
        for first in [store_whole as fn(&_, &_), store_apart] {
            for name in [apart::STATE, apart::KEY, apart::CERTIFICATE, apart::CA, CREDENTIALS] {
                let dir = tempfile::tempdir().unwrap();
                first(&old, dir.path());
                std::fs::create_dir(dir.path().join(name).with_extension("new")).unwrap();
                let stored = new.store(dir.path());
                let found = Credentials::load(dir.path()).unwrap().unwrap();
                assert_eq!(found, if stored.is_ok() { new.clone() } else { old.clone() }, "{name}");
            }
        }
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_but_tells_who() {
        let layouts = [(store_whole as fn(&_, &_), CREDENTIALS), (store_apart, apart::KEY)];
        for (first, name) in layouts {
            let dir = tempfile::tempdir().unwrap();
            first(&credentials("pump-7"), dir.path());
            let open = std::fs::Permissions::from_mode(0o640);
            std::fs::set_permissions(dir.path().join(name), open).unwrap();
            let error = Credentials::load(dir.path()).unwrap_err().to_string();
            assert!(error.contains("640"), "{error}");
            let who = Identity::load(dir.path()).unwrap().unwrap();
            assert_eq!(who.device.as_str(), "pump-7");
        }
    }

    #[test]
    fn a_damaged_state_says_what_to_do_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        credentials("pump-7").store(dir.path()).unwrap();
        let text = "key_pem = 'hush'\nhush hush";
        std::fs::write(dir.path().join(CREDENTIALS), text).unwrap();
        let error = Credentials::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains("enrol the device again"), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
}
