//! Files in directories that the device's configuration names. Reading needs `permissions.files`
//! with the directory, writing and removing `permissions.files_write`.
//!
//! ```no_run
//! use openclaw_plugin_sdk::files;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let size = files::stat("logs", "press.log")?.size;
//! let tail = files::read_at("logs", "press.log", size.saturating_sub(100), 100)?;
//! files::write("reports", "last.txt", &tail)
//! # }
//! ```

pub use openclaw_plugin_abi::FileStat;
use openclaw_plugin_abi::WriteMode;

use crate::host::device;
use crate::{Error, Result, host};

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without a path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// The first `max` bytes of a file in the logical directory `dir`.
///
/// # Errors
/// `permission.denied`, `user.not_found`, or `plugin.error` where reading failed.
pub fn read(dir: &str, path: &str, max: u32) -> Result<Vec<u8>> {
    host::read_file(dir, path, max)
}

/// As [`read`], for text in UTF-8.
///
/// # Errors
/// As [`read`], and `user.not_text`.
pub fn read_text(dir: &str, path: &str, max: u32) -> Result<String> {
    String::from_utf8(read(dir, path, max)?)
        .map_err(|_| Error::new("user.not_text", format!("{dir}:{path} is not text in UTF-8")))
}

/// The entries of a directory, sorted by name. An empty `path` is the directory itself.
///
/// # Errors
/// As [`read`].
pub fn list(dir: &str, path: &str) -> Result<Vec<Entry>> {
    let names = host::list_dir(dir, path)?;
    let entries = names.split(|b| *b == 0).filter_map(|name| std::str::from_utf8(name).ok());
    Ok(entries
        .filter(|name| !name.is_empty())
        .map(|name| Entry {
            name: name.trim_end_matches('/').to_string(),
            is_dir: name.ends_with('/'),
        })
        .collect())
}

/// At most `max` bytes from `offset` on; none at or behind the end of the file.
///
/// # Errors
/// As [`read`].
pub fn read_at(dir: &str, path: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    let offset = i64::try_from(offset)
        .map_err(|_| Error::new("inputs.invalid", format!("{offset} is behind any file's end")))?;
    device::read_file_at(dir, path, offset, max)
}

/// Size, time, and the number of the file itself, by which a rotation is noticed.
///
/// # Errors
/// As [`read`].
pub fn stat(dir: &str, path: &str) -> Result<FileStat> {
    let json = device::stat_file(dir, path)?;
    serde_json::from_slice(&json)
        .map_err(|e| Error::new("plugin.error", format!("the host's answer cannot be read: {e}")))
}

/// Writes a whole file at once, in the place of one that is there: after a power cut either is
/// there, and nothing between them.
///
/// # Errors
/// `permission.denied`, `user.too_large` over 1 MiB, or `plugin.error` where writing failed.
pub fn write(dir: &str, path: &str, bytes: &[u8]) -> Result<()> {
    device::write_file(dir, path, bytes, WriteMode::Replace as i32)
}

/// Adds to the end of a file, which is made where there is none.
///
/// # Errors
/// As [`write`].
pub fn append(dir: &str, path: &str, bytes: &[u8]) -> Result<()> {
    device::write_file(dir, path, bytes, WriteMode::Append as i32)
}

/// Makes a new file.
///
/// # Errors
/// As [`write`], and `inputs.invalid` where there is one.
pub fn create(dir: &str, path: &str, bytes: &[u8]) -> Result<()> {
    device::write_file(dir, path, bytes, WriteMode::Create as i32)
}

/// Removes a file.
///
/// # Errors
/// As [`write`], and `user.not_found` where there is none.
pub fn remove(dir: &str, path: &str) -> Result<()> {
    device::remove_file(dir, path)
}
