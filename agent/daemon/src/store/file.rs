//! The database as a file: readable by its owner alone, and set aside where it cannot be opened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use openclaw_points::{Point, reach};
use openclaw_protocol::id::Epoch;
use redb::backends::FileBackend;

use super::{Retention, Store, StoreError};
use crate::panics;

/// Opens the file, or makes it. A file that is no database any more is set aside under another
/// name, which is returned, and a new one is begun: the control plane sees a new epoch and sends
/// what the device shall run, so a damaged card heals by itself.
///
/// # Errors
/// The file cannot be made, is held by another agent or written by a later version, or the disk
/// fails.
pub fn open_or_quarantine(
    path: &Path,
    cache_bytes: usize,
    retention: Retention,
    fresh_epoch: Epoch,
) -> Result<(Store, Option<PathBuf>), StoreError> {
    reach(Point::StoreOpen);
    let first = open(path, cache_bytes, retention, fresh_epoch);
    let Err(e) = first else { return first.map(|store| (store, None)) };
    if !matches!(e, StoreError::Damaged(_) | StoreError::Corrupt { .. }) {
        // A full disk, a missing right, another agent, a later version's data: the file itself
        // may be good.
        return Err(e);
    }
    let aside = free_name(path);
    reach(Point::DatabaseDamaged);
    std::fs::rename(path, &aside)
        .map_err(|e| StoreError::Database(format!("cannot set {} aside: {e}", path.display())))?;
    reach(Point::DatabaseAside);
    Ok((open(path, cache_bytes, retention, fresh_epoch)?, Some(aside)))
}

fn open(
    path: &Path,
    cache_bytes: usize,
    retention: Retention,
    fresh_epoch: Epoch,
) -> Result<Store, StoreError> {
    let file = open_file(path)?;
    // The engine may panic on a file that was damaged on purpose or by a dying card.
    let opened = panics::apart(move || {
        let backend = FileBackend::new(file)?;
        Store::open(backend, cache_bytes, retention, fresh_epoch)
    })
    .map_err(|e| StoreError::Database(format!("there is no room for a thread to open it: {e}")))?;
    opened.unwrap_or_else(|| Err(StoreError::Damaged("the database engine stopped on it".into())))
}

fn open_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| StoreError::Database(format!("cannot open {}: {e}", path.display())))
}

fn free_name(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    (1..=9).map(name).find(|p| !p.exists()).unwrap_or_else(|| name(9))
}
