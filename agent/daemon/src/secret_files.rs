//! The site's own secrets: a directory with one file for each, named as the secret.
//!
//! It is the configuration's `secrets_dir`, or else the directory in which the service manager hands
//! over credentials (`CREDENTIALS_DIRECTORY`). A file that others than its owner may read is no
//! secret and is passed over, with an error in the log. Files are read each time they are asked for,
//! so that a rotated one counts at once.

use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use openclaw_protocol::limits::SECRET_LEAST_BYTES;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::limits;
use crate::secrets::SiteSecrets;

/// What others may never do with a file of the configuration's directory: its mode is 0600 or less.
const OTHERS: u32 = 0o077;
/// The same for one that the service manager hands over: it gives the agent's user its right by an
/// access control list, which shows as the right of a group to read.
const OTHERS_OF_CREDENTIALS: u32 = 0o037;

/// A directory of secrets.
#[derive(Debug, Clone)]
pub struct SecretFiles {
    dir: PathBuf,
    others: u32,
}

impl SecretFiles {
    /// The directory that the configuration names, or that the service manager hands over.
    #[must_use]
    pub fn of(config: &Config) -> Option<Self> {
        if let Some(dir) = &config.secrets_dir {
            return Some(Self { dir: dir.clone(), others: OTHERS });
        }
        let dir = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
        dir.is_absolute().then_some(Self { dir, others: OTHERS_OF_CREDENTIALS })
    }

    /// The same, as one of the sources of the device's secrets.
    #[must_use]
    pub fn source(self) -> SiteSecrets {
        Box::new(move |name| self.secret(name))
    }

    /// The value of a secret, without the line break at its end. `None`: there is none of that name,
    /// or none that can be used.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || b"_-.".contains(&c);
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(is_plain) {
            return None;
        }
        let path = self.dir.join(name);
        match self.read(&path) {
            Ok(value) => value,
            Err(reason) => {
                tracing::error!(path = %path.display(), reason, "a secret cannot be used");
                None
            }
        }
    }

    fn read(&self, path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        // No waiting for the other end of a pipe.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.to_string()),
        };
        let known = file.metadata().map_err(|e| e.to_string())?;
        if !known.is_file() {
            return Err("it is not a file".to_owned());
        }
        if known.mode() & self.others != 0 {
            let mode = known.mode() & 0o777;
            return Err(format!("others may read it (mode {mode:04o}); make it 0600"));
        }
        let owner = known.uid();
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            return Err("it belongs to another user".to_owned());
        }
        let mut value = Zeroizing::new(Vec::with_capacity(limits::SECRET_BYTES + 1));
        let most = limits::SECRET_BYTES as u64 + 1;
        file.take(most).read_to_end(&mut value).map_err(|e| e.to_string())?;
        if value.len() > limits::SECRET_BYTES {
            return Err(format!("it has more than {} bytes", limits::SECRET_BYTES));
        }
        if value.ends_with(b"\n") {
            value.pop();
        }
        if value.ends_with(b"\r") {
            value.pop();
        }
        if value.is_empty() {
            return Err("it is empty".to_owned());
        }
        if value.trim_ascii().len() < SECRET_LEAST_BYTES {
            let why = "it is too short to be masked in what plugins say";
            tracing::warn!(path = %path.display(), why, "a secret can be seen");
        }
        Ok(Some(value))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(dir: &Path, name: &str, value: &[u8], mode: u32) {
        let path = dir.join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn text(files: &SecretFiles, name: &str) -> Option<String> {
        files.secret(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    #[test]
    fn only_what_is_kept_from_others_is_a_secret() {
        let dir = tempfile::tempdir().unwrap();
        let files = SecretFiles { dir: dir.path().to_owned(), others: OTHERS };
        let credentials = SecretFiles { dir: dir.path().to_owned(), others: OTHERS_OF_CREDENTIALS };
        put(dir.path(), "key", b"hush\n", 0o600);
        put(dir.path(), "raw", b"a\nb", 0o400);
        put(dir.path(), "open", b"hush", 0o644);
        put(dir.path(), "handed", b"hush\r\n", 0o440);
        put(dir.path(), "empty", b"\n", 0o600);
        put(dir.path(), "long", &vec![b'x'; limits::SECRET_BYTES + 1], 0o600);
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        assert_eq!(text(&files, "key").as_deref(), Some("hush"));
        assert_eq!(text(&files, "raw").as_deref(), Some("a\nb"));
        for name in ["open", "handed", "empty", "long", "dir", "none", "", "..", "../key", "a/b"] {
            assert_eq!(text(&files, name), None, "{name}");
        }
        assert_eq!(text(&credentials, "handed").as_deref(), Some("hush"));
        assert_eq!(text(&credentials, "open"), None);
        put(dir.path(), "key", b"new", 0o600);
        assert_eq!(text(&files, "key").as_deref(), Some("new"), "at once");
    }
}
