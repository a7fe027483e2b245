//! The database as a file: readable by its owner alone, and set aside where it cannot be opened.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_points::{Point, reach};
use openclaw_protocol::id::Epoch;
use rustix::fs::{Advice, fadvise};

use super::doubt::Doubt;
use super::rebuild::rebuild;
use super::reserve::{Reserve, Volume};
use super::restore::Restored;
use super::{Retention, Store, StoreError, is_of_disk};
use crate::{limits, panics};

/// A database that is open, and what it knew.
pub struct Opened {
    /// It.
    pub store: Store,
    /// What it had to say at its start.
    pub restored: Restored,
    /// Where the one before was put, if that was damaged.
    pub aside: Option<PathBuf>,
}

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Its file.
    pub path: &'a Path,
    /// Memory for its pages.
    pub cache_bytes: usize,
    /// How long what is done is kept.
    pub retention: Retention,
    /// The name of a new one.
    pub fresh_epoch: Epoch,
    /// The boot that this start is in.
    pub boot_id: &'a str,
}

/// Opens the file, or makes it, and the reserve beside it, and starts the store. The rows of a damaged
/// file are copied into a new one where they are all there (`rebuild.rs`), and it is set aside under
/// another name; else a new one is begun: the control plane sees a new epoch and sends what the device
/// shall run. So a damaged card heals by itself. One that has meant trouble again and again
/// (`doubt.rs`) is not even read.
///
/// # Errors
/// The file cannot be made, is held by another agent or written by a later version, or the disk
/// fails or is full.
pub fn open_or_quarantine(opening: Opening<'_>) -> Result<Opened, StoreError> {
    let path = opening.path;
    let reserve: Arc<dyn Volume> = Arc::new(Reserve::open(&path.with_extension("reserve"))?);
    finish_healing(path)?;
    let doubt = Doubt::of(path).opens(opening.boot_id);
    if doubt.is_too_much() {
        tracing::error!(?doubt, "the database means trouble again and again");
        let aside = set_aside(path)?;
        return Ok(Opened { aside, ..open(opening, &reserve)? });
    }
    let is_unreadable = doubt.is_unreadable();
    doubt.note(path);
    reach(Point::StoreOpen);
    let healed = |opened: Result<Opened, StoreError>| match opened {
        Err(e) if e.is_damage() => heal(opening, &reserve, &e),
        opened => opened,
    };
    let opened = match healed(open(opening, &reserve)) {
        Err(StoreError::Disk(why)) if is_unreadable => {
            rescue(path, &reserve, &why).and_then(|rescued| {
                let mut opened = healed(open(opening, &reserve))?;
                opened.restored.damaged.push(rescued.said);
                Ok(Opened { aside: opened.aside.or(rescued.aside), ..opened })
            })
        }
        opened => opened,
    };
    // A start that ended is none that came to no end. Other errors are a full disk, a missing right,
    // another agent, a later version's data: the file itself may be good.
    let could_read = !matches!(opened, Err(StoreError::Disk(_)));
    Doubt::of(path).opened().read(could_read).note(path);
    opened
}

/// Sets the file aside and makes a new one, with all that is still to be had.
fn heal(
    opening: Opening<'_>,
    reserve: &Arc<dyn Volume>,
    damage: &StoreError,
) -> Result<Opened, StoreError> {
    tracing::error!(error = %damage, "the database is damaged");
    let path = opening.path;
    has_room_for_copy(path, reserve.free())?;
    // The copy is whole before the damaged file loses its name, so a death leaves one or the other.
    let copied = match rebuilt(opening) {
        Ok(said) => Some(said),
        Err(e) if e.is_damage() => {
            tracing::error!(error = %e, "the rows of the damaged database cannot be copied");
            None
        }
        // There is no room for the copy, or the like. A later start does better.
        Err(e) => return Err(e),
    };
    let aside = set_aside(path)?;
    if let Some(said) = copied {
        name_copy(path)?;
        match open(opening, reserve) {
            Ok(mut opened) => {
                opened.restored.damaged.extend(said);
                return Ok(Opened { aside, ..opened });
            }
            Err(e) if e.is_damage() => {
                tracing::error!(error = %e, "the copy of the damaged database cannot be used");
                remove(path)?;
            }
            // A full disk or the like: the copy is there for a later start.
            Err(e) => return Err(e),
        }
    }
    Ok(Opened { aside, ..open(opening, reserve)? })
}

/// What came of a file that the disk cannot read all of.
struct Rescued {
    /// Where it was put.
    aside: Option<PathBuf>,
    /// What is to be said of it.
    said: String,
}

/// Copies what can be read of a file that the disk has refused to read for long, with zeros in place of
/// the rest, and sets the file aside. What was lost the checksums of the copy tell, as of any damaged
/// file (docs/decisions/0021-what-a-disk-cannot-read.md).
fn rescue(path: &Path, reserve: &Arc<dyn Volume>, why: &str) -> Result<Rescued, StoreError> {
    tracing::error!(error = %why, "the disk cannot read the database, start after start");
    has_room_for_copy(path, reserve.free())?;
    let (new, failed) =
        (copy_of(path), |e: &std::io::Error| StoreError::of_io("cannot copy", path, e));
    remove(&new)?;
    let from = File::open(path).map_err(|e| failed(&e))?;
    let to = open_file(&new)?;
    let length = from.metadata().map_err(|e| failed(&e))?.len();
    let lost = copy_readable(|block, at| read_block(&from, block, at), &to, length)
        .and_then(|lost| to.sync_all().map(|()| lost));
    let lost = match lost {
        Ok(lost) => lost,
        Err(e) => {
            remove(&new)?;
            return Err(failed(&e));
        }
    };
    drop(to);
    let aside = set_aside(path)?;
    name_copy(path)?;
    let shown = aside.as_deref().unwrap_or(path).display();
    let said = format!(
        "the disk could not read {lost} of {length} bytes of the database; the rest was copied, and the \
         file is kept as {shown}: {why}"
    );
    tracing::error!("{said}");
    Ok(Rescued { aside, said })
}

/// Copies a file block by block; gives how many bytes could not be read.
fn copy_readable(
    read: impl Fn(&mut [u8], u64) -> std::io::Result<()>,
    to: &File,
    length: u64,
) -> std::io::Result<u64> {
    let mut block = [0; limits::RESCUE_BYTES];
    let (mut at, mut lost) = (0, 0);
    while at < length {
        let left = usize::try_from(length - at).unwrap_or(usize::MAX);
        let part = &mut block[..left.min(limits::RESCUE_BYTES)];
        match read(part, at) {
            Ok(()) => {}
            Err(e) if is_of_disk(&e) => {
                part.fill(0);
                lost += part.len() as u64;
            }
            Err(e) => return Err(e),
        }
        to.write_all_at(part, at)?;
        at += part.len() as u64;
    }
    Ok(lost)
}

#[cfg(not(test))]
fn read_block(file: &File, block: &mut [u8], at: u64) -> std::io::Result<()> {
    file.read_exact_at(block, at)
}

#[cfg(test)]
fn read_block(file: &File, block: &mut [u8], at: u64) -> std::io::Result<()> {
    crate::store::worn_tests::worn(file, at, block.len())?;
    file.read_exact_at(block, at)
}

/// A copy that ends for want of room is not begun: it would be tried, and written, again and again.
fn has_room_for_copy(path: &Path, free: u64) -> Result<(), StoreError> {
    let bytes = std::fs::metadata(path).map_or(0, |known| known.len());
    if free >= bytes {
        return Ok(());
    }
    let path = path.display();
    Err(StoreError::Full(format!(
        "{path} is damaged, and a copy of what is whole in it takes up to {bytes} bytes; {free} are \
         free. Files beside it with `damaged` in their names were set aside before and may go"
    )))
}

/// Where a damaged file is copied to.
fn copy_of(path: &Path) -> PathBuf {
    path.with_extension("redb-new")
}

/// The copy takes the name of the file that was set aside.
fn name_copy(path: &Path) -> Result<(), StoreError> {
    std::fs::rename(copy_of(path), path).map_err(|e| StoreError::of_io("cannot name", path, &e))
}

/// What a death has left of a healing: a copy that is whole if the damaged file has no name any more,
/// and else is none.
fn finish_healing(path: &Path) -> Result<(), StoreError> {
    match (path.exists(), copy_of(path).exists()) {
        (false, true) => name_copy(path),
        (true, true) => remove(&copy_of(path)),
        (_, false) => Ok(()),
    }
}

/// Copies all rows of a damaged file into a new one beside it; gives what is to be said of it.
fn rebuilt(opening: Opening<'_>) -> Result<Vec<String>, StoreError> {
    let (old, cache_bytes) = (opening.path.to_owned(), opening.cache_bytes);
    let new = copy_of(opening.path);
    remove(&new)?;
    let made = new.clone();
    let copied = panics::apart(move || {
        open_file(&made)?;
        rebuild(&old, &made, cache_bytes)
    });
    let copied = copied.map_err(|e| StoreError::Database(format!("there is no thread: {e}")))?;
    let copied =
        copied.unwrap_or_else(|| Err(StoreError::Damaged("the engine stopped on it".into())));
    if copied.is_err() {
        remove(&new)?;
    }
    copied
}

/// Moves the file away; gives its new name, where there was one.
fn set_aside(path: &Path) -> Result<Option<PathBuf>, StoreError> {
    let aside = free_name(path);
    reach(Point::DatabaseDamaged);
    let moved = match std::fs::rename(path, &aside) {
        Ok(()) => Some(aside),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(StoreError::of_io("cannot set aside", path, &e)),
    };
    if let Some(aside) = &moved {
        tracing::error!(aside = %aside.display(), "the damaged database is set aside");
    }
    reach(Point::DatabaseAside);
    Doubt::default().note(path);
    Ok(moved)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(StoreError::of_io("cannot remove", path, &e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn open(opening: Opening<'_>, reserve: &Arc<dyn Volume>) -> Result<Opened, StoreError> {
    let Opening { path, cache_bytes, retention, fresh_epoch, boot_id } = opening;
    let is_new = std::fs::metadata(path).map_or(true, |known| known.len() == 0);
    let (again, reserve) = (path.to_owned(), Arc::clone(reserve));
    let with = (cache_bytes, retention, fresh_epoch);
    let opened =
        Store::open_again(move || backend(&again), with, Some(reserve)).and_then(|store| {
            let boot_id = boot_id.to_owned();
            // The engine may panic on a file that was damaged on purpose or by a dying card.
            panics::apart(move || start(store, &boot_id))
                .map_err(|e| StoreError::Database(format!("there is no room for a thread: {e}")))?
                .unwrap_or_else(|| Err(StoreError::Damaged("the engine stopped on it".into())))
        });
    if is_new && matches!(opened, Err(StoreError::Full(_))) {
        // Half a beginning would be taken for damage the next time.
        remove(path)?;
    }
    opened
}

fn start(mut store: Store, boot_id: &str) -> Result<Opened, StoreError> {
    let restored = store.start(boot_id)?;
    Ok(Opened { store, restored, aside: None })
}

#[cfg(not(test))]
type Backing = redb::backends::FileBackend;
/// A file that a test may wear out.
#[cfg(test)]
type Backing = crate::store::worn_tests::Worn;

fn backend(path: &Path) -> Result<Backing, StoreError> {
    let file = open_file(path)?;
    // After a failed sync the system may show what the disk never got. What it can it forgets.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    Ok(Backing::new(file)?)
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
    let most = limits::DAMAGED_KEPT;
    (1..=most).map(name).find(|p| !p.exists()).unwrap_or_else(|| name(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_begun_where_it_would_end_for_want_of_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        std::fs::write(&path, [0; 4_096]).unwrap();
        assert!(has_room_for_copy(&path, 4_096).is_ok());
        let refused = has_room_for_copy(&path, 4_095);
        assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    }

    fn opening(path: &Path, epoch: u64) -> Opening<'_> {
        Opening {
            path,
            cache_bytes: limits::CACHE_BYTES,
            retention: Retention::default(),
            fresh_epoch: Epoch(epoch),
            boot_id: "boot",
        }
    }

    /// Blobs in it.
    const BLOBS: u8 = 40;
    /// Bytes of each: several pages.
    const BYTES: usize = 20_000;

    /// A database with some blobs; a place in the middle of one of them, and which that is.
    fn filled(path: &Path) -> (u64, openclaw_protocol::id::Digest) {
        let mut store = open_or_quarantine(opening(path, 1)).unwrap().store;
        let digest = |n: u8| openclaw_protocol::id::Digest([n; 32]);
        let now = openclaw_protocol::time::Stamp {
            boot: 1,
            boot_ms: 1,
            wall_ms: 1,
            trust: openclaw_protocol::time::ClockTrust::Unset,
        };
        let blobs = (0..BLOBS).map(|n| (digest(n), vec![n; BYTES])).collect();
        store.commit(&super::super::Batch { blobs, ..Default::default() }, now).unwrap();
        drop(store);
        let bytes = std::fs::read(path).unwrap();
        let at = bytes.windows(64).position(|part| part == [17; 64]).unwrap();
        ((at + BYTES / 2) as u64, digest(17))
    }

    #[test]
    fn a_place_that_cannot_be_read_costs_what_was_in_it_and_not_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let (at, lost) = filled(&path);
        let bad = crate::store::worn_tests::wear_out(&path, at);
        for start in 1..=limits::UNREAD_STARTS {
            let refused = open_or_quarantine(opening(&path, 2)).map(|_| ()).unwrap_err();
            assert!(matches!(refused, StoreError::Disk(_)), "{start}: {refused}");
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "file, reserve and note");
        }
        let Opened { store, restored, aside } = open_or_quarantine(opening(&path, 2)).unwrap();
        assert!(aside.is_some_and(|aside| aside.exists()), "the file is kept");
        let told = |word: &str| restored.damaged.iter().any(|said| said.contains(word));
        assert!(told("could not read 4096 of"), "{:?}", restored.damaged);
        assert_eq!(store.epoch(), Epoch(1), "it is the same database");
        let whole = (0..BLOBS).filter(|n| {
            let digest = openclaw_protocol::id::Digest([*n; 32]);
            matches!(store.blobs().read(digest), Ok(Some(bytes)) if bytes == vec![*n; BYTES])
        });
        assert_eq!(whole.count(), usize::from(BLOBS) - 1);
        assert!(!matches!(store.blobs().read(lost), Ok(Some(_))));
        drop(store);
        drop(bad);
        let again = open_or_quarantine(opening(&path, 3)).unwrap();
        assert_eq!((again.aside, again.store.epoch()), (None, Epoch(1)));
    }

    #[test]
    fn where_the_rest_cannot_be_gone_through_a_new_one_is_begun_and_the_file_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        filled(&path);
        let before = std::fs::read(&path).unwrap();
        let _bad = crate::store::worn_tests::wear_out(&path, 0);
        for _ in 0..limits::UNREAD_STARTS {
            assert!(open_or_quarantine(opening(&path, 2)).is_err());
        }
        let Opened { store, restored, aside } = open_or_quarantine(opening(&path, 2)).unwrap();
        assert_eq!(store.epoch(), Epoch(2));
        assert!(restored.damaged.iter().any(|said| said.contains("could not read")));
        assert!(aside.is_some_and(|aside| aside.exists()));
        let kept = path.with_extension("damaged-1");
        assert_eq!(std::fs::read(kept).unwrap().len(), before.len(), "as it was");
    }

    #[test]
    fn a_disk_that_comes_back_in_time_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let (at, digest) = filled(&path);
        for _ in 0..3 {
            let bad = crate::store::worn_tests::wear_out(&path, at);
            for _ in 1..limits::UNREAD_STARTS {
                assert!(open_or_quarantine(opening(&path, 2)).is_err());
            }
            drop(bad);
            let Opened { store, restored, aside } = open_or_quarantine(opening(&path, 2)).unwrap();
            assert_eq!((aside, restored.damaged), (None, Vec::new()));
            assert_eq!(store.blobs().read(digest).unwrap().unwrap(), vec![17; BYTES]);
        }
    }
}
