//! Files in directories that the device's configuration names and the manifest asks for under
//! `permissions.files`. Reading only.

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
