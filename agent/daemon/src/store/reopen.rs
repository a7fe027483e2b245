//! A database that failed is closed and opened again: its handle refuses everything after the first
//! failed write, and what it has in memory may be ahead of the disk or behind it.
//!
//! Each commit has a number, which it writes as well, so that what is found tells whether the one that
//! failed became durable after all.

use std::sync::Arc;

use redb::StorageBackend;

use super::age::Age;
use super::flash::Wear;
use super::reserve::Volume;
use super::restore::{Restored, drawn_epoch};
use super::rows;
use super::space::META;
use super::{Retention, Store, StoreError};
use crate::panics;
use openclaw_protocol::id::Epoch;
use openclaw_protocol::sync::Cursor;

/// How a store gets at its disk, again and again.
pub(super) type Reach = Box<dyn Fn(&Settings) -> Result<Store, StoreError> + Send>;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) cache_bytes: usize,
    pub(super) retention: Retention,
    pub(super) fresh_epoch: Epoch,
    pub(super) wear: Arc<Wear>,
    pub(super) volume: Option<Arc<dyn Volume>>,
    /// Everything is read as well, as a start does.
    pub(super) whole: bool,
}

impl Store {
    /// Opens a database that can be opened again: each time on a new backend.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub(crate) fn open_again<B: StorageBackend>(
        backend: impl Fn() -> Result<B, StoreError> + Send + 'static,
        (cache_bytes, retention, fresh_epoch): (usize, Retention, Epoch),
        volume: Option<Arc<dyn Volume>>,
    ) -> Result<Self, StoreError> {
        let (wear, whole) = (Arc::default(), false);
        let settings = Settings { cache_bytes, retention, fresh_epoch, wear, volume, whole };
        let reach: Reach = Box::new(move |settings| {
            let (backend, settings) = (backend()?, settings.clone());
            if settings.whole {
                // Where the engine panics on it now, the process has to start anew: a thread that is
                // left would hold the file's lock, so that nobody could ever open it again.
                return Self::open_on(backend, settings);
            }
            // The engine may panic on a file that was damaged on purpose or by a dying card.
            let opened = panics::apart(move || Self::open_on(backend, settings)).map_err(|e| {
                StoreError::Database(format!("there is no room for a thread to open it: {e}"))
            })?;
            let stopped = || StoreError::Damaged("the database engine stopped on it".to_owned());
            opened.unwrap_or_else(|| Err(stopped()))
        });
        let mut store = reach(&settings)?;
        store.reach = Some(reach);
        store.look();
        Ok(store)
    }

    /// Whether it can be opened again after a failure.
    pub(crate) fn can_reopen(&self) -> bool {
        self.reach.is_some()
    }

    /// After a failed commit: closes the database, opens it again and goes on from what is durable.
    /// Whether that commit became durable after all; otherwise its batch is to be committed anew.
    ///
    /// # Errors
    /// It cannot be opened now, and is closed until a later call can; or it is damaged, or not what
    /// this store has written, and only a start can go on with it.
    pub(crate) fn reopen(&mut self) -> Result<bool, StoreError> {
        self.db.close();
        let closed = || StoreError::Database("it cannot be opened again".to_owned());
        let settings = Settings {
            cache_bytes: self.cache_bytes,
            retention: self.retention,
            // A file that is empty now is another database, even where nothing was committed yet.
            fresh_epoch: drawn_epoch()?,
            wear: Arc::clone(&self.wear),
            volume: self.room.volume(),
            whole: true,
        };
        let mut fresh = self.reach.as_ref().ok_or_else(closed)?(&settings)?;
        if fresh.epoch != self.epoch {
            return Err(StoreError::Damaged("it is another database than before".to_owned()));
        }
        if fresh.serial < self.serial {
            return Err(StoreError::Damaged("it has lost what was durable".to_owned()));
        }
        if let Some(run) = fresh.broken.iter().find(|run| !self.broken.contains(run)) {
            return Err(StoreError::Damaged(format!(
                "what is kept of run number {run} is damaged"
            )));
        }
        let is_new = |one: &String| !self.left_out.contains(one);
        self.untold.extend(fresh.left_out.iter().filter(|one| is_new(one)).cloned());
        std::mem::swap(&mut self.left_out, &mut fresh.left_out);
        // Of what is in memory alone, what still holds goes on.
        for (lane, head) in &self.heads {
            let (upto, ranges) = (head.row.acked, head.row.ranges.clone());
            fresh.acknowledge(&Cursor { lane: *lane, upto, digest: 0, ranges });
        }
        let doubted = self.open.values().filter(|state| state.snap.is_none());
        let doubted: Vec<_> = doubted.map(|state| state.run.clone()).collect();
        fresh.distrust(&doubted);
        let has_landed = fresh.serial > self.serial;
        if has_landed {
            self.commits += 1;
        }
        self.serial = fresh.serial;
        self.log = fresh.log;
        std::mem::swap(&mut self.heads, &mut fresh.heads);
        std::mem::swap(&mut self.peer, &mut fresh.peer);
        std::mem::swap(&mut self.open, &mut fresh.open);
        self.next_run = fresh.next_run;
        self.early_since_ms = fresh.early_since_ms;
        self.settled_bytes = fresh.settled_bytes;
        self.past_bytes = fresh.past_bytes;
        self.useless_bytes = fresh.useless_bytes;
        std::mem::swap(&mut self.age, &mut fresh.age);
        self.journal_next = fresh.journal_next;
        (self.prune_from, self.has_passed) = (0, false);
        self.db.replace(fresh.db);
        Ok(has_landed)
    }

    /// What was found damaged when it was opened again, and was not before.
    pub(crate) fn take_untold(&mut self) -> Vec<String> {
        std::mem::take(&mut self.untold)
    }

    /// Reads what a start would, without noting one.
    pub(super) fn take_up(&mut self) -> Result<(), StoreError> {
        let read = self.db.begin_read()?;
        let row = META.fetch(&read.open_table(META.definition())?, b"alive");
        let age = row.and_then(|row| row.map(|row| rows::unpack::<Age>(META.0, &row)).transpose());
        self.age = match age {
            Ok(age) => age.unwrap_or_else(Age::unknown),
            Err(e) => e.damage().map(|_| Age::unknown())?,
        };
        for head in self.heads.values() {
            self.age.at_least(head.noted_age_ms());
        }
        self.restore(&mut Restored::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use openclaw_protocol::id::Digest;
    use openclaw_protocol::time::{ClockTrust, Stamp};

    use super::super::Batch;
    use super::*;
    use crate::limits;
    use crate::testing::Disk;

    const NOW: Stamp = Stamp { boot: 1, boot_ms: 1_000, wall_ms: 0, trust: ClockTrust::Unset };

    fn store(disk: &Disk) -> Store {
        let disk = disk.clone();
        let with = (limits::CACHE_BYTES, Retention::default(), Epoch(7));
        Store::open_again(move || Ok(disk.backend()), with, None).unwrap()
    }

    fn with_blob(digest: Digest) -> Batch {
        Batch { blobs: vec![(digest, b"module".to_vec())], ..Batch::default() }
    }

    #[test]
    fn whoever_has_time_waits_for_a_blob_while_the_database_is_opened_again() {
        let mut store = store(&Disk::new(1));
        let digest = Digest([1; 32]);
        store.commit(&with_blob(digest), NOW).unwrap();
        let (patient, hasty) = (store.blobs().patient(), store.blobs());
        store.db.close();
        assert!(hasty.read(digest).is_err());
        let waits = patient.clone();
        let reads = std::thread::spawn(move || waits.read(digest));
        assert!(!store.reopen().unwrap(), "no commit had failed");
        assert_eq!(reads.join().unwrap().unwrap().unwrap(), b"module");
        drop(store);
        assert!(patient.read(digest).is_err(), "it is gone for good");
    }

    /// Opens whatever disk is in place.
    fn exchangeable(disk: Disk) -> (Store, Arc<Mutex<Disk>>) {
        let place = Arc::new(Mutex::new(disk));
        let at = Arc::clone(&place);
        let with = (limits::CACHE_BYTES, Retention::default(), Epoch(7));
        let open = move || Ok(at.lock().unwrap().backend());
        (Store::open_again(open, with, None).unwrap(), place)
    }

    #[test]
    fn a_disk_that_went_back_is_not_gone_on_with() {
        let disk = Disk::new(1);
        let (mut store, place) = exchangeable(disk.clone());
        store.commit(&Batch::default(), NOW).unwrap();
        let before = disk.copy();
        store.commit(&Batch::default(), NOW).unwrap();
        assert!(!store.reopen().unwrap(), "control: the same disk");
        *place.lock().unwrap() = before;
        let error = store.reopen().unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("lost"), "{error}");
        assert_eq!(store.serial, 2, "nothing of it was taken over");
    }

    #[test]
    fn nor_is_one_that_went_back_before_a_start_or_a_fork() {
        type Change = fn(&mut Store);
        let changes: [Change; 2] =
            [|store| drop(store.start("boot").unwrap()), |store| store.fork(99).unwrap()];
        for change in changes {
            let disk = Disk::new(1);
            let (mut store, place) = exchangeable(disk.clone());
            store.commit(&Batch::default(), NOW).unwrap();
            let before = disk.copy();
            change(&mut store);
            assert!(!store.reopen().unwrap(), "control: the same disk, and no commit had failed");
            *place.lock().unwrap() = before;
            let error = store.reopen().unwrap_err();
            assert!(error.is_damage() && error.to_string().contains("lost"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_empty_now_is_another_database() {
        for commits in [0, 3] {
            let (mut store, place) = exchangeable(Disk::new(1));
            for _ in 0..commits {
                store.commit(&Batch::default(), NOW).unwrap();
            }
            assert!(!store.reopen().unwrap(), "control: the same disk");
            *place.lock().unwrap() = Disk::new(2);
            let error = store.reopen().unwrap_err();
            assert!(error.is_damage() && error.to_string().contains("another"), "{error}");
            assert_eq!((store.serial, store.epoch), (commits, Epoch(7)));
        }
    }

    /// Where it is told to, the engine's first question ends it.
    #[derive(Debug)]
    struct Deadly(Box<dyn StorageBackend>, Arc<AtomicBool>);

    impl StorageBackend for Deadly {
        fn len(&self) -> std::io::Result<u64> {
            assert!(!self.1.load(Ordering::Relaxed), "on purpose");
            self.0.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            self.0.read(offset, out)
        }

        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.0.set_len(len)
        }

        fn sync_data(&self) -> std::io::Result<()> {
            self.0.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
            self.0.write(offset, data)
        }
    }

    /// A thread that is left holds the file's lock, so this one has to panic: its process starts anew.
    #[test]
    fn a_panic_while_it_is_opened_again_leaves_no_thread_behind() {
        let (disk, is_deadly) = (Disk::new(1), Arc::<AtomicBool>::default());
        let told = Arc::clone(&is_deadly);
        let open = move || Ok(Deadly(Box::new(disk.backend()), Arc::clone(&told)));
        let with = (limits::CACHE_BYTES, Retention::default(), Epoch(7));
        let mut store = Store::open_again(open, with, None).unwrap();
        assert!(!store.reopen().unwrap(), "control: an engine that goes on");
        is_deadly.store(true, Ordering::Relaxed);
        let reopened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.reopen()));
        assert!(reopened.is_err(), "{reopened:?}");
    }

    #[test]
    fn what_is_found_tells_whether_the_failed_commit_is_there() {
        let disk = Disk::new(1);
        let mut first = store(&disk);
        first.commit(&Batch::default(), NOW).unwrap();
        // Another handle did what this one does not know of, as a sync that failed too late.
        let known = first.serial;
        first.commit(&with_blob(Digest([1; 32])), NOW).unwrap();
        first.serial = known;
        assert!(first.reopen().unwrap());
        assert!(first.blobs().has(Digest([1; 32])).unwrap());
        assert!(!first.reopen().unwrap());
        first.commit(&Batch::default(), NOW).unwrap();
        assert_eq!(first.serial, known + 2);
    }
}
