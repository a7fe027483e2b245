//! A disk that forgets what was not synced, and counts: for tests only, here and elsewhere (feature
//! `testing`).
//!
//! The model: a write reaches the platter at a sync, or by chance before. When the power is cut,
//! each 512-byte sector of each write since the last sync is kept or lost at random, one by one; and
//! so is a new length, apart from what was written into it. (`tests/redb-control` compiles this file
//! as well, for another version of the database.)

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use redb::StorageBackend;

const SECTOR: usize = 512;
/// "Input/output error".
const EIO: i32 = 5;

/// A disk that outlives its openings. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a read sees.
    current: Vec<u8>,
    /// What a power cut leaves for certain.
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    unsynced: BTreeSet<usize>,
    /// The shortest that the file has been since the last sync, where its length was set.
    shortest: Option<usize>,
    syncs: u64,
    written: u64,
    read: u64,
    /// The sync at which the power goes, counted from the first.
    cut_at: Option<u64>,
    /// A sync answers well and does nothing.
    lying: bool,
    /// Operations so far: reads, writes, syncs, and what is about the length.
    operations: u64,
    /// The operation that fails, counted from the first, and what it was once it has.
    fail_at: Option<u64>,
    failed: Option<&'static str>,
    dead: bool,
    /// There is no room: what writes fails.
    full: bool,
    random: u64,
}

impl State {
    fn next_random(&mut self) -> u64 {
        // xorshift64* (Vigna 2016): good enough to lose sectors by.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The length reaches the platter.
    fn keep_length(&mut self) {
        if let Some(shortest) = self.shortest.take() {
            self.durable.truncate(shortest);
            self.durable.resize(self.current.len(), 0);
        }
    }

    /// A sector reaches the platter, as far as the file is that long there.
    fn keep(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.current.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.current[from..to]);
        }
    }
}

impl Disk {
    /// An empty disk whose losses follow from the seed.
    pub fn new(seed: u64) -> Self {
        let disk = Self::default();
        disk.reseed(seed);
        disk
    }

    /// From now on losses follow from this seed.
    pub fn reseed(&self, seed: u64) {
        self.state(|s| s.random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    }

    /// A backend on this disk.
    pub fn backend(&self) -> impl StorageBackend + use<> {
        Backend(self.clone())
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.state(|s| s.syncs)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.state(|s| s.written)
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.state(|s| s.read)
    }

    /// The power goes instead of the `n`-th sync from now, counted from 1.
    pub fn cut_at_sync(&self, n: u64) {
        self.state(|s| s.cut_at = Some(s.syncs + n));
    }

    /// From now on syncs do nothing: the control that must fail.
    pub fn lie(&self) {
        self.state(|s| s.lying = true);
    }

    /// The `n`-th operation from now, counted from 1, fails as a disk does that cannot read or
    /// write a sector; the next ones do not.
    pub fn fail_at(&self, n: u64) {
        self.state(|s| (s.fail_at, s.failed) = (Some(s.operations + n), None));
    }

    /// Which operation has failed.
    pub fn failed(&self) -> Option<&'static str> {
        self.state(|s| s.failed)
    }

    /// All that was not synced is lost, and the power is back.
    pub fn forget(&self) {
        self.state(|s| {
            s.current = s.durable.clone();
            s.unsynced.clear();
            (s.shortest, s.dead, s.lying) = (None, false, false);
        });
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state(|s| s.dead)
    }

    /// The power is gone, now.
    pub fn cut(&self) {
        self.state(|s| s.dead = true);
    }

    /// The power is back: unsynced sectors are kept or lost at random.
    pub fn revive(&self) {
        self.state(|s| {
            if s.shortest.is_some() && s.next_random() % 2 == 0 {
                s.keep_length();
            }
            for sector in std::mem::take(&mut s.unsynced) {
                if s.next_random() % 2 == 0 {
                    s.keep(sector);
                }
            }
            s.shortest = None;
            s.current = s.durable.clone();
            s.dead = false;
            s.cut_at = None;
        });
    }

    /// A new process looks at it after one that was killed: nothing that was written is lost.
    pub fn reopen(&self) {
        self.state(|s| (s.dead, s.cut_at) = (false, None));
    }

    /// Whether there is no room, from now on.
    pub fn set_full(&self, full: bool) {
        self.state(|s| s.full = full);
    }

    /// The disk is empty again.
    pub fn wipe(&self) {
        self.state(|s| {
            s.current.clear();
            s.durable.clear();
            s.unsynced.clear();
            s.shortest = None;
        });
    }

    /// Another disk with the same bytes on its platter.
    pub fn copy(&self) -> Self {
        let other = Self::new(99);
        let bytes = self.state(|s| s.durable.clone());
        other.state(|s| {
            s.current.clone_from(&bytes);
            s.durable = bytes;
        });
        other
    }

    /// Flips one bit of what is on the platter.
    pub fn flip(&self, bit: usize) {
        self.state(|s| {
            s.current[bit / 8] ^= 1 << (bit % 8);
            s.durable[bit / 8] ^= 1 << (bit % 8);
        });
    }

    /// Whether these bytes are anywhere on the platter, or were written and not synced.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let within = |platter: &[u8]| platter.windows(bytes.len()).any(|part| part == bytes);
        self.state(|s| within(&s.durable) || within(&s.current))
    }

    /// What is on the platter.
    pub fn bytes(&self) -> Vec<u8> {
        self.state(|s| s.durable.clone())
    }

    /// Bytes on the platter.
    #[must_use]
    pub fn size(&self) -> usize {
        self.state(|s| s.current.len())
    }

    fn state<R>(&self, use_it: impl FnOnce(&mut State) -> R) -> R {
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn alive<R>(
        &self,
        operation: &'static str,
        use_it: impl FnOnce(&mut State) -> R,
    ) -> std::io::Result<R> {
        self.state(|s| {
            if s.dead {
                return Err(std::io::Error::other("the power is gone"));
            }
            s.operations += 1;
            if s.fail_at == Some(s.operations) {
                s.failed = Some(operation);
                return Err(std::io::Error::from_raw_os_error(EIO));
            }
            if s.full && ["set length", "sync", "write"].contains(&operation) {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            Ok(use_it(s))
        })
    }
}

/// A disk is in memory, so every place on it is one there.
#[expect(clippy::expect_used, reason = "a disk larger than memory cannot be")]
fn place(number: u64) -> usize {
    usize::try_from(number).expect("it is in memory")
}

#[derive(Debug)]
struct Backend(Disk);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.alive("length", |s| s.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let from = place(offset);
        self.0.alive("read", |s| match s.current.get(from..from + out.len()) {
            Some(bytes) => {
                out.copy_from_slice(bytes);
                s.read += out.len() as u64;
                Ok(())
            }
            None => Err(std::io::ErrorKind::UnexpectedEof.into()),
        })?
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.alive("set length", |s| {
            let len = place(len);
            let before = s.shortest.unwrap_or(s.current.len());
            s.shortest = Some(before.min(len));
            s.current.resize(len, 0);
            s.unsynced.retain(|sector| sector * SECTOR < len);
        })
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.alive("sync", |s| {
            s.syncs += 1;
            if s.cut_at == Some(s.syncs) {
                s.dead = true;
                return Err(std::io::Error::other("the power is gone"));
            }
            if !s.lying {
                s.keep_length();
                for sector in std::mem::take(&mut s.unsynced) {
                    s.keep(sector);
                }
            }
            Ok(())
        })?
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let from = place(offset);
        self.0.alive("write", |s| {
            s.current[from..from + data.len()].copy_from_slice(data);
            s.written += data.len() as u64;
            s.unsynced.extend(from / SECTOR..=(from + data.len() - 1) / SECTOR);
        })
    }
}
