//! A damaged file written anew. Where the damage is in what was stored and not in the order that the
//! engine keeps it in, every row is copied as it is into a new file, the damaged ones too: each has
//! its own checksum (`space.rs`), so whoever reads one knows, and does without it or ends its run. So
//! one bad sector costs what was in it.
//!
//! Where rows are missing or out of order, nothing of the file is believed: what is not there any
//! more would be missed by nobody.

use std::path::Path;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableError,
    WriteTransaction,
};

use super::StoreError;
use super::space::{self, Space};

/// Copies all rows from one file into another, which it makes; gives what is to be said of it.
///
/// # Errors
/// Damage: the rows are not all there or cannot be read, or the file was not closed. Anything else:
/// the other file cannot be written.
pub(super) fn rebuild(
    from: &Path,
    to: &Path,
    cache_bytes: usize,
) -> Result<Vec<String>, StoreError> {
    let old = Database::builder().set_cache_size(cache_bytes).open_read_only(from);
    let old = old.map_err(unread)?;
    let read = old.begin_read().map_err(unread)?;
    let new = Database::builder().set_cache_size(cache_bytes).create(to)?;
    let write = new.begin_write()?;
    let mut said = vec!["the database was damaged, and all its rows were copied".to_owned()];
    for space in space::ALL {
        let damaged = copy(&read, &write, space)?;
        if damaged > 0 {
            said.push(format!("table {}: {damaged} damaged rows", space.0));
        }
    }
    write.commit()?;
    Ok(said)
}

/// Copies a table; gives how many of its rows are damaged.
fn copy(read: &ReadTransaction, write: &WriteTransaction, space: Space) -> Result<u64, StoreError> {
    let from = match read.open_table(space.definition()) {
        // An earlier version did not have it.
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        from => from.map_err(unread)?,
    };
    let mut to = write.open_table(space.definition())?;
    let (mut copied, mut damaged) = (0, 0);
    let mut before: Option<Vec<u8>> = None;
    for entry in from.iter().map_err(unread)? {
        let (key, value) = entry.map_err(unread)?;
        let (key, value) = (key.value(), value.value());
        if before.as_deref().is_some_and(|before| before >= key) {
            return Err(StoreError::Damaged(format!("table {} is out of order", space.0)));
        }
        damaged += u64::from(space.unseal(key, value).is_err());
        to.insert(key, value)?;
        before = Some(key.to_vec());
        copied += 1;
    }
    if copied != from.len().map_err(unread)? {
        return Err(StoreError::Damaged(format!("rows of table {} are missing", space.0)));
    }
    Ok(damaged)
}

/// What cannot be read is as good as damaged here.
fn unread(e: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged(e.to_string())
}
