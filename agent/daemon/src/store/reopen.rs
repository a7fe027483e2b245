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
use super::restore::Restored;
use super::rows;
use super::space::META;
use super::{Retention, Store, StoreError};
use crate::panics;
use openclaw_protocol::id::Epoch;
use openclaw_protocol::sync::Cursor;

/// How a store gets at its disk, again and again.
pub(super) type Reach = Box<dyn Fn(&Opening) -> Result<Store, StoreError> + Send>;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub(super) struct Opening {
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
        let opening = Opening { cache_bytes, retention, fresh_epoch, wear, volume, whole };
        let reach: Reach = Box::new(move |opening| {
            let (backend, opening) = (backend()?, opening.clone());
            // The engine may panic on a file that was damaged on purpose or by a dying card.
            let opened = panics::apart(move || Self::open_on(backend, opening)).map_err(|e| {
                StoreError::Database(format!("there is no room for a thread to open it: {e}"))
            })?;
            let stopped = || StoreError::Damaged("the database engine stopped on it".to_owned());
            opened.unwrap_or_else(|| Err(stopped()))
        });
        let mut store = reach(&opening)?;
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
    /// It cannot be opened now, and is closed until a later call can; or it is damaged.
    pub(crate) fn reopen(&mut self) -> Result<bool, StoreError> {
        self.db.close();
        let closed = || StoreError::Database("it cannot be opened again".to_owned());
        let opening = Opening {
            cache_bytes: self.cache_bytes,
            retention: self.retention,
            fresh_epoch: self.epoch,
            wear: Arc::clone(&self.wear),
            volume: self.room.volume(),
            whole: true,
        };
        let mut fresh = self.reach.as_ref().ok_or_else(closed)?(&opening)?;
        if fresh.epoch != self.epoch {
            return Err(StoreError::Damaged("it is another database than before".to_owned()));
        }
        // Of what is in memory alone, what still holds goes on.
        for (lane, head) in &self.heads {
            let (upto, ranges) = (head.row.acked, head.row.ranges.clone());
            fresh.acknowledge(&Cursor { lane: *lane, upto, digest: 0, ranges });
        }
        let doubted = self.open.values().filter(|state| state.snap.is_none());
        let doubted: Vec<_> = doubted.map(|state| state.row.run.clone()).collect();
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
        self.settled_bytes = fresh.settled_bytes;
        self.past_bytes = fresh.past_bytes;
        self.useless_bytes = fresh.useless_bytes;
        std::mem::swap(&mut self.age, &mut fresh.age);
        self.journal_next = fresh.journal_next;
        (self.prune_from, self.has_passed) = (0, false);
        self.db.replace(fresh.db);
        Ok(has_landed)
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
