//! Power cuts at random syncs of the database itself, below the agent's store: what a commit has
//! acknowledged is there afterwards, whole, and nothing else. Every cut follows from its seed.
//!
//! `tests/redb-control` compiles this file with redb 4.1.0, which it must find a fault in.

use std::collections::BTreeMap;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::testing::Disk;

const TABLE: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("rows");
const CACHE_BYTES: usize = 1024 * 1024;

/// Where the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// While the file grows with every commit.
    Growth,
    /// In a file that has all the room it needs.
    Single,
    /// There, and once more while the database recovers from that.
    Double,
    /// As [`Cut::Single`], on a disk that says it has kept what it has not: the control.
    Lying,
}

/// What came of many cuts.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Cuts after which everything was as it should be.
    pub(crate) well: u64,
    /// Seeds after which something was not, and what.
    pub(crate) failed: Vec<(u64, String)>,
}

/// Key → length and filling of its value.
type Rows = BTreeMap<u64, (usize, u8)>;

/// Cuts the power so many times, with seeds from `first` on.
pub(crate) fn cuts(kind: Cut, first: u64, count: u64) -> Outcome {
    let (base, rows) = base(kind);
    let mut outcome = Outcome::default();
    for seed in first..first + count {
        // An engine may panic on what it finds, or when it is dropped after a failed commit.
        let one = std::panic::catch_unwind(|| cut(kind, seed, &base, &rows));
        match one.unwrap_or_else(|panic| Err(format!("panicked: {}", said(&*panic)))) {
            Ok(()) => outcome.well += 1,
            Err(e) => outcome.failed.push((seed, e)),
        }
    }
    outcome
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
}

fn open(disk: &Disk) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    Ok(builder.set_cache_size(CACHE_BYTES).create_with_backend(disk.backend())?)
}

/// A database to begin with.
fn base(kind: Cut) -> (Disk, Rows) {
    let disk = Disk::new(1);
    let mut rows = Rows::new();
    let database = open(&disk).unwrap();
    let count = if kind == Cut::Growth { 1 } else { 300 };
    let write = database.begin_write().unwrap();
    for key in 0..count {
        put(&write, &mut rows, key, 40 + (key as usize * 37) % 900, key as u8).unwrap();
    }
    write.commit().unwrap();
    drop(database);
    (disk, rows)
}

fn put(
    write: &redb::WriteTransaction,
    rows: &mut Rows,
    key: u64,
    length: usize,
    filling: u8,
) -> Result<(), redb::Error> {
    write.open_table(TABLE)?.insert(key, vec![filling; length].as_slice())?;
    rows.insert(key, (length, if length == 0 { 0 } else { filling }));
    Ok(())
}

/// One life and its end.
fn cut(kind: Cut, seed: u64, base: &Disk, rows: &Rows) -> Result<(), String> {
    let disk = base.copy();
    disk.reseed(seed);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let database = open(&disk).map_err(|e| format!("it did not open before: {e}"))?;
    if kind == Cut::Lying {
        disk.lie();
    }
    disk.cut_at_sync(1 + random.below(14));
    let (mut acknowledged, mut attempted) = (rows.clone(), rows.clone());
    for n in 0..10 {
        if write(kind, &database, &mut attempted, n, &mut random).is_err() {
            break;
        }
        acknowledged.clone_from(&attempted);
    }
    disk.cut();
    drop(database);
    disk.revive();
    if kind == Cut::Double {
        disk.cut_at_sync(1 + random.below(3));
        // Whether it got through before the power went makes no difference.
        drop(open(&disk));
        disk.cut();
        disk.revive();
    }
    judge(&disk, &acknowledged, &attempted)
}

/// One commit, of which `rows` says what is in the table after it.
fn write(
    kind: Cut,
    database: &Database,
    rows: &mut Rows,
    n: u64,
    random: &mut Random,
) -> Result<(), redb::Error> {
    let write = database.begin_write()?;
    match kind {
        Cut::Growth => {
            let (count, length) = (1 + random.below(6), 200 << random.below(10));
            for i in 0..count {
                put(&write, rows, 1_000 + n * 10 + i, length, n as u8)?;
            }
        }
        Cut::Single | Cut::Double | Cut::Lying => {
            for _ in 0..1 + random.below(5) {
                let (key, length) = (random.below(320), random.below(1_000) as usize);
                put(&write, rows, key, length, 100 + n as u8)?;
            }
            let key = random.below(320);
            write.open_table(TABLE)?.remove(key)?;
            rows.remove(&key);
        }
    }
    write.commit()?;
    Ok(())
}

/// The database opens, verifies, has what was acknowledged (or what was attempted last, as a whole),
/// and can be written to.
fn judge(disk: &Disk, acknowledged: &Rows, attempted: &Rows) -> Result<(), String> {
    let mut database = open(disk).map_err(|e| format!("it does not open: {e}"))?;
    let found = read(&database).map_err(|e| format!("it cannot be read: {e}"))?;
    if found != *acknowledged && found != *attempted {
        return Err("what was committed is lost or torn".to_owned());
    }
    match database.check_integrity() {
        Ok(true) => {}
        Ok(false) => return Err("its integrity had to be repaired".to_owned()),
        Err(e) => return Err(format!("it has no integrity: {e}")),
    }
    let mut rows = found;
    write(Cut::Growth, &database, &mut rows, 20, &mut Random(7))
        .map_err(|e| format!("it cannot be written to: {e}"))?;
    drop(database);
    let database = open(disk).map_err(|e| format!("it does not open again: {e}"))?;
    let found = read(&database).map_err(|e| format!("it cannot be read again: {e}"))?;
    if found == rows { Ok(()) } else { Err("what was committed afterwards is lost".to_owned()) }
}

fn read(database: &Database) -> Result<Rows, redb::Error> {
    let read = database.begin_read()?;
    let table = read.open_table(TABLE)?;
    let mut rows = Rows::new();
    for entry in table.iter()? {
        let (key, value) = entry?;
        let filling = value.value().first().copied().unwrap_or(0);
        let is_whole = value.value().iter().all(|byte| *byte == filling);
        // A torn value is none that was ever written.
        let length = if is_whole { value.value().len() } else { usize::MAX };
        rows.insert(key.value(), (length, if length == 0 { 0 } else { filling }));
    }
    Ok(rows)
}

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }
}
