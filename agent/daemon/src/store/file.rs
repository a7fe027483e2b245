//! The database as a file: readable by its owner alone, and set aside where it cannot be opened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_points::{Point, reach};
use openclaw_protocol::id::Epoch;
use redb::backends::FileBackend;
use rustix::fs::{Advice, fadvise};

use super::reserve::{Reserve, Volume};
use super::{Retention, Store, StoreError};

/// Opens the file, or makes it, and the reserve beside it. A file that is no database any more is set
/// aside under another name, which is returned, and a new one is begun: the control plane sees a new
/// epoch and sends what the device shall run, so a damaged card heals by itself.
///
/// # Errors
/// The file cannot be made, is held by another agent or written by a later version, or the disk
/// fails or is full.
pub fn open_or_quarantine(
    path: &Path,
    cache_bytes: usize,
    retention: Retention,
    fresh_epoch: Epoch,
) -> Result<(Store, Option<PathBuf>), StoreError> {
    let reserve = Arc::new(Reserve::open(&path.with_extension("reserve"))?);
    let open = || open(path, (cache_bytes, retention, fresh_epoch), reserve.clone());
    reach(Point::StoreOpen);
    let first = open();
    let Err(e) = first else { return first.map(|store| (store, None)) };
    if !matches!(e, StoreError::Damaged(_) | StoreError::Corrupt { .. }) {
        // A full disk, a missing right, another agent, a later version's data: the file itself
        // may be good.
        return Err(e);
    }
    let aside = free_name(path);
    reach(Point::DatabaseDamaged);
    std::fs::rename(path, &aside).map_err(|e| StoreError::of_io("cannot set aside", path, &e))?;
    reach(Point::DatabaseAside);
    Ok((open()?, Some(aside)))
}

fn open(
    path: &Path,
    with: (usize, Retention, Epoch),
    reserve: Arc<dyn Volume>,
) -> Result<Store, StoreError> {
    let is_new = std::fs::metadata(path).map_or(true, |known| known.len() == 0);
    let again = path.to_owned();
    let opened = Store::open_again(move || backend(&again), with, Some(reserve));
    if is_new && matches!(opened, Err(StoreError::Full(_))) {
        // Half a beginning would be taken for damage the next time.
        let _ = std::fs::remove_file(path);
    }
    opened
}

fn backend(path: &Path) -> Result<FileBackend, StoreError> {
    let file = open_file(path)?;
    // After a failed sync the system may show what the disk never got. What it can it forgets.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    Ok(FileBackend::new(file)?)
}

pub(super) fn open_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| StoreError::of_io("cannot open", path, &e))
}

fn free_name(path: &Path) -> PathBuf {
    let name = |n: u32| path.with_extension(format!("damaged-{n}"));
    (1..=9).map(name).find(|p| !p.exists()).unwrap_or_else(|| name(9))
}
