//! What the agent must not forget: one redb file, one writer, one transaction per group of events.
//!
//! Facts, what is told of them, and every cursor are written in the same transaction, and nothing
//! is acted on before it is durable. Acknowledged records and settled journals are removed later,
//! riding along with other commits, so forgetting never costs a sync of its own. Every stored
//! value carries its own checksum (`space.rs`): a wrong value is never returned.

mod age;
mod batch;
mod blobs;
mod doubt;
mod file;
mod files;
mod flash;
mod fork;
mod format;
mod handle;
mod holds;
mod journal;
mod kv;
mod migrated;
mod outbox;
mod read;
mod rebuild;
mod reopen;
pub(crate) mod reserve;
mod restore;
mod room;
mod rows;
mod salvage;
mod snapshots;
mod space;
mod tapes;
#[cfg(test)]
pub(crate) mod tests;
mod waiting;
#[cfg(test)]
mod worn_tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_points::{Point, reach};
use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::id::Epoch;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::sync::{Cursor, Holding, Lane};
use openclaw_protocol::time::Stamp;
use openclaw_protocol::wire::WireError;
use redb::{Database, ReadableTable, StorageBackend};

pub use batch::{Batch, Chunk, Keep};
pub use blobs::{Blobs, Kept};
pub use doubt::{doubt, trust};
pub use file::{Opened, Opening, open_or_quarantine};
pub use kv::{KeepKv, KvPlace, KvRow};
pub use restore::{OpenRun, Restored};
pub use room::Level;
pub use snapshots::{Past, StateOf};
pub use tapes::KeptTape;
pub use waiting::Waiting;

use crate::limits;
use age::Age;
use flash::{Counted, Wear};
use format::{FORMAT, note_format, part_wanted};
use handle::Handle;
use outbox::Head;
use reopen::{Reach, Settings};
use room::Room;
use rows::{LaneRow, PeerRow};
use snapshots::OpenState;
use space::{JOURNAL, META, fact_key_parts};

/// One fact or record as kept, at most; protects the decoder.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database or the disk below it failed. After a failed commit the store must be opened
    /// anew.
    #[error("the database failed: {0}; check the disk and its free space")]
    Database(String),
    /// The disk says that it cannot read or write a place of the database: a bad sector, or a cable.
    #[error("the disk failed under the database: {0}; check the disk and how it is connected")]
    Disk(String),
    /// The disk, or the quota, below the database is full. After a failed commit the store must be
    /// opened anew.
    #[error("the disk is full: {0}; free some space on the file system of the data directory")]
    Full(String),
    /// The file is no database any more.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A stored value is not what was written.
    #[error("table {table}, key {key}: the value is damaged")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which key, in hexadecimal digits.
        key: String,
    },
    /// The database was written by a version that this one does not read. Nothing was changed.
    #[error(
        "the database was written by agent {writer} in format {found}, and this agent ({}) reads \
         format {FORMAT}; install agent {writer} or a later one, or move the database away to \
         begin anew without its open runs and unsent results",
        env!("CARGO_PKG_VERSION")
    )]
    Version {
        /// The version byte.
        found: u8,
        /// The agent's version, where it is known.
        writer: String,
    },
    /// A stored value is as it was written, but is not what it should be.
    #[error("table {table}: {reason}")]
    Unreadable {
        /// Which table.
        table: &'static str,
        /// What the decoder said.
        reason: String,
    },
}

impl StoreError {
    /// Bytes that are as they were written could not be read.
    fn of_wire(table: &'static str, error: &WireError) -> Self {
        match error {
            WireError::Version(found) => {
                Self::Version { found: *found, writer: "of another version".to_owned() }
            }
            WireError::Size { .. } | WireError::Kind { .. } | WireError::Body(_) => {
                Self::Unreadable { table, reason: error.to_string() }
            }
        }
    }

    /// What could not be done with a file, and why.
    fn of_io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        let text = format!("{what} {}: {error}", path.display());
        if is_full(error) {
            Self::Full(text)
        } else if is_of_disk(error) {
            Self::Disk(text)
        } else {
            Self::Database(text)
        }
    }

    /// Whether what is stored is not what was written: reading it once more makes it no better.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::Corrupt { .. })
    }

    /// What is to be said of a value that can be left out because it is damaged.
    ///
    /// # Errors
    /// It is not damaged: the disk fails, or another version wrote it.
    pub(crate) fn damage(self) -> Result<String, Self> {
        match self {
            Self::Damaged(_) | Self::Corrupt { .. } | Self::Unreadable { .. } => {
                Ok(self.to_string())
            }
            Self::Database(_) | Self::Disk(_) | Self::Full(_) | Self::Version { .. } => Err(self),
        }
    }
}

/// Whether it failed for want of room: of blocks, inodes, quota or length.
pub fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Whether the disk, or the file system's own checksum, says that a place cannot be read.
pub(super) fn is_of_disk(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::IO, Errno::UCLEAN, Errno::BADMSG].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|raw| known.contains(&raw))
}

impl From<redb::Error> for StoreError {
    fn from(e: redb::Error) -> Self {
        if matches!(&e, redb::Error::Io(io) if is_full(io)) {
            return Self::Full(e.to_string());
        }
        if matches!(&e, redb::Error::Io(io) if is_of_disk(io)) {
            return Self::Disk(e.to_string());
        }
        // What is not known to be damage is the disk's or the system's doing.
        let invalid_data = |io: &std::io::Error| io.kind() == std::io::ErrorKind::InvalidData;
        let damaged = matches!(&e, redb::Error::Io(io) if invalid_data(io))
            || matches!(
                e,
                redb::Error::Corrupted(_)
                    | redb::Error::TableTypeMismatch { .. }
                    | redb::Error::TypeDefinitionChanged { .. }
                    | redb::Error::TableDoesNotExist(_)
            );
        if damaged { Self::Damaged(e.to_string()) } else { Self::Database(e.to_string()) }
    }
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for StoreError {
            fn from(e: redb::$error) -> Self {
                redb::Error::from(e).into()
            }
        })*
    };
}
from_redb!(DatabaseError, TransactionError, TableError, StorageError, CommitError);

/// How long what is done is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Hours that records are kept after they were acknowledged; of time that has certainly passed,
    /// whatever a clock shows.
    pub hours: u32,
    /// Hours that journals are kept after their runs have settled, in the same way.
    pub journal_hours: u32,
    /// Bytes of one lane.
    pub lane_bytes: u64,
    /// Bytes of the journals of settled runs, and of facts of others that snapshots stand for.
    pub journal_bytes: u64,
}

impl Retention {
    /// The window in milliseconds.
    fn window_ms(self) -> u64 {
        u64::from(self.hours) * 3_600_000
    }

    /// The window of journals in milliseconds.
    fn journal_window_ms(self) -> u64 {
        u64::from(self.journal_hours) * 3_600_000
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            hours: limits::RETENTION_HOURS,
            journal_hours: limits::JOURNAL_HOURS,
            lane_bytes: limits::LANE_BYTES,
            journal_bytes: limits::JOURNAL_BYTES,
        }
    }
}

/// The store. Owned by the brain; see [`Blobs`] for what workers may read.
pub struct Store {
    db: Handle,
    /// How it is opened again, where it can be.
    reach: Option<Reach>,
    room: Room,
    cache_bytes: usize,
    /// Number of the last commit.
    serial: u64,
    epoch: Epoch,
    run_epoch: Epoch,
    log: u64,
    retention: Retention,
    heads: VecMap<Lane, Head>,
    peer: PeerRow,
    next_run: u64,
    /// The age at which the first command came that waits for what the device shall run.
    early_since_ms: Option<u64>,
    open: BTreeMap<u64, Box<OpenState>>,
    settled_bytes: u64,
    /// Bytes of facts of open runs that snapshots stand for.
    past_bytes: u64,
    /// Bytes of those among them that are of no use, for earlier ones have gone.
    useless_bytes: u64,
    age: Age,
    /// Place of the next fact in the journal.
    journal_next: u64,
    /// Bytes of the journal's rows, keys and values, that were written since the start.
    journal_bytes: u64,
    /// Bytes of the snapshots that were written since the start, as rows.
    snapshot_bytes: u64,
    /// Where retention goes on.
    prune_from: u64,
    /// It has been to where there is nothing more to remove, and may look at the front again.
    has_passed: bool,
    commits: u64,
    /// Numbers of runs that were found damaged when it was read.
    broken: Vec<u64>,
    /// What else was found damaged then.
    left_out: Vec<String>,
    /// Of those, what nobody has been told of.
    untold: Vec<String>,
    wear: Arc<Wear>,
}

impl Store {
    /// Opens a database on any backend: a file, memory, or a test's failing disk. An empty one
    /// gets the given epoch. All of it is read and every checksum of the engine is compared, not
    /// only after a life that did not close it: a flipped bit in its order would hide rows
    /// (docs/decisions/0016-every-start-reads-the-whole-file.md).
    ///
    /// # Errors
    /// The backend fails, or what it holds is no database of this version, or was changed since it
    /// was written.
    pub fn open(
        backend: impl StorageBackend,
        cache_bytes: usize,
        retention: Retention,
        fresh_epoch: Epoch,
    ) -> Result<Self, StoreError> {
        let (wear, volume, whole) = (Arc::default(), None, false);
        let settings = Settings { cache_bytes, retention, fresh_epoch, wear, volume, whole };
        Self::open_on(backend, settings)
    }

    fn open_on(backend: impl StorageBackend, settings: Settings) -> Result<Self, StoreError> {
        let Settings { cache_bytes, retention, fresh_epoch, wear, volume, whole } = settings;
        let backend = Counted::new(backend, Arc::clone(&wear), volume.clone());
        let db = Database::builder()
            .set_cache_size(cache_bytes)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)?;
        let mut store = Self {
            db: Handle::new(db),
            reach: None,
            room: Room::of(volume),
            cache_bytes,
            serial: 0,
            epoch: fresh_epoch,
            run_epoch: fresh_epoch,
            log: fresh_epoch.0,
            retention,
            heads: VecMap::new(),
            peer: PeerRow::default(),
            next_run: 1,
            early_since_ms: None,
            open: BTreeMap::new(),
            settled_bytes: 0,
            past_bytes: 0,
            useless_bytes: 0,
            age: Age::unknown(),
            journal_next: 0,
            journal_bytes: 0,
            snapshot_bytes: 0,
            prune_from: 0,
            has_passed: false,
            commits: 0,
            broken: Vec::new(),
            left_out: Vec::new(),
            untold: Vec::new(),
            wear,
        };
        store.prepare()?;
        if whole {
            store.take_up()?;
        }
        Ok(store)
    }

    /// Makes the tables and the epoch where they are absent, then reads heads and cursors.
    fn prepare(&mut self) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        let mut unwritten = false;
        {
            for space in space::ALL {
                write.open_table(space.definition())?;
            }
            let mut meta = write.open_table(META.definition())?;
            if note_format(&mut meta)? {
                unwritten = true;
                part_wanted(&write, &mut meta)?;
            }
            match fetch_u64(&meta, b"epoch")? {
                Some(epoch) => self.epoch = Epoch(epoch),
                None => {
                    unwritten = true;
                    META.put(&mut meta, b"epoch", &self.epoch.0.to_le_bytes())?;
                }
            }
            self.serial = fetch_u64(&meta, b"serial")?.unwrap_or(0);
            self.log = fetch_u64(&meta, b"log")?.unwrap_or(self.epoch.0);
            for lane in Lane::UP {
                let row = META
                    .fetch(&meta, lane_meta(lane).as_bytes())?
                    .map(|row| rows::unpack::<LaneRow>(META.0, &row))
                    .transpose()?;
                self.heads.insert(lane, Head::new(lane, row));
            }
            if let Some(row) = META.fetch(&meta, b"peer")? {
                self.peer = rows::unpack(META.0, &row)?;
            }
            self.next_run = fetch_u64(&meta, b"next_run")?.unwrap_or(1);
            self.early_since_ms = fetch_u64(&meta, b"early")?;
            let journal = write.open_table(JOURNAL.definition())?;
            let last = journal.last()?.and_then(|(key, _)| fact_key_parts(key.value()));
            self.journal_next = last.map_or(0, |(place, _)| place + 1);
        }
        if unwritten {
            reach(Point::StoreTables);
            write.commit()?;
            reach(Point::StoreTabled);
        } else {
            write.abort()?;
        }
        Ok(())
    }

    /// Writes everything in the batch, durably, in one transaction, and that the agent was alive
    /// then.
    ///
    /// # Errors
    /// Nothing of the batch is durable. The store must be opened anew.
    pub fn commit(&mut self, batch: &Batch, now: Stamp) -> Result<(), StoreError> {
        self.commit_with(batch, now, &mut |_| None)
    }

    /// As [`Self::commit`]; runs that have gone on for long are asked for the state that the facts
    /// so far, with those of the batch, have led to.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_with(
        &mut self,
        batch: &Batch,
        now: Stamp,
        state_of: &mut StateOf<'_>,
    ) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        self.age.advance(now);
        self.write_batch(&write, batch, state_of)?;
        reach(Point::JournalCommit);
        write.commit()?;
        reach(Point::JournalCommitted);
        for head in self.heads.values_mut() {
            head.dirty = false;
        }
        self.commits += 1;
        self.serial += 1;
        Ok(())
    }

    /// Looks at the disk: what there is room for. To be asked before every commit.
    pub fn look(&mut self) -> Level {
        self.room.look()
    }

    /// What there was room for when it was last looked at.
    #[must_use]
    pub fn level(&self) -> Level {
        self.room.level()
    }

    /// The random identity of this database.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What new runs are named under: drawn at every [`Store::start`] and at a fork. A database
    /// that was put back or cloned may live for long before that is noticed, so no two lives may
    /// give one id, and what derives from it, to two runs. Runs that there are keep their names.
    #[must_use]
    pub fn run_epoch(&self) -> Epoch {
        self.run_epoch
    }

    /// The name of the log that the lanes are numbered under: the epoch, until a fork.
    #[must_use]
    pub fn log(&self) -> u64 {
        self.log
    }

    /// What each lane holds.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holding> {
        self.heads.values().map(Head::holding).collect()
    }

    /// Records of a lane that the control plane is not known to have.
    #[must_use]
    pub fn outstanding(&self, lane: Lane) -> u64 {
        self.heads.get(&lane).map_or(0, Head::outstanding)
    }

    /// Whether so many more records of at most so many bytes can wait in a lane without pushing out
    /// what the control plane does not have yet.
    #[must_use]
    pub fn has_room(&self, lane: Lane, records: u64, bytes_each: u64) -> bool {
        let all = self.outstanding(lane).saturating_add(records);
        all.saturating_mul(bytes_each) <= self.retention.lane_bytes
    }

    /// The control plane's log as last known (0 for none) and what is committed of its lanes.
    #[must_use]
    pub fn peer(&self) -> (u64, Vec<Cursor>) {
        (self.peer.log, self.peer.cursors.clone())
    }

    /// Commits so far, for tests and `status`.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// Times that the disk was made to keep what it had been given, since the start.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.wear.syncs()
    }

    /// Bytes given to the disk since the start.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.wear.written_bytes()
    }

    /// Rows added to the journal since the start, keys and values, in bytes.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.journal_bytes
    }

    /// Snapshots written since the start, keys and values, in bytes: beside those of the journal.
    #[must_use]
    pub fn snapshot_bytes(&self) -> u64 {
        self.snapshot_bytes
    }

    /// Takes note of what the control plane has. Written with the next commit.
    pub fn acknowledge(&mut self, cursor: &Cursor) {
        if let Some(head) = self.heads.get_mut(&cursor.lane) {
            head.acknowledge(cursor);
        }
    }

    /// A handle by which other threads read blobs.
    #[must_use]
    pub fn blobs(&self) -> Blobs {
        Blobs { shown: self.db.shown(), is_patient: false }
    }

    /// Runs that are not settled.
    #[must_use]
    pub fn open_runs(&self) -> usize {
        self.open.len()
    }

    /// Digests of modules and hashes of definitions that unsettled runs are pinned to, and those
    /// of the workflows that they may call.
    #[must_use]
    pub fn pinned(&self) -> Keep {
        let mut keep = Keep { definitions: VecSet::new(), blobs: VecSet::new() };
        for state in self.open.values() {
            keep.definitions.insert(DefinitionHash::clone(&state.definition));
            keep.blobs.extend(state.modules.iter().copied());
            if let Some(callees) = &state.callees {
                keep.definitions.extend(callees.definitions.iter().cloned());
                keep.blobs.extend(callees.blobs.iter().copied());
            }
            state.migrated.iter().for_each(|row| row.keep(&mut keep));
        }
        keep
    }
}

/// A number of the `meta` table.
fn fetch_u64(
    meta: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<u64>, StoreError> {
    META.fetch(meta, key)?.map(|bytes| unpack_u64(&bytes)).transpose()
}

fn unpack_u64(bytes: &[u8]) -> Result<u64, StoreError> {
    let bytes = <[u8; 8]>::try_from(bytes).map_err(|_| StoreError::Unreadable {
        table: META.0,
        reason: format!("a number has {} bytes", bytes.len()),
    })?;
    Ok(u64::from_le_bytes(bytes))
}

fn lane_meta(lane: Lane) -> String {
    format!("lane.{}", lane.name())
}
