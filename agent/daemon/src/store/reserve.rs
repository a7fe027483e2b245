//! The reserve: a file beside the database that takes room on the disk and does not use it.
//!
//! Free space that is merely looked at may be gone when it is written to. What the reserve holds is
//! there: it is counted against quotas like the database itself, and given back by making the file
//! shorter. The database has it in small steps before its commits (see `room.rs`), or all of it at the
//! moment a write fails for want of room.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use openclaw_points::{Point, reach};
use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::StoreError;
use super::file::open_file;

/// The file system below a store, and the reserve on it.
pub(crate) trait Volume: std::fmt::Debug + Send + Sync {
    /// Bytes that anybody may take.
    fn free(&self) -> u64;
    /// Bytes that the reserve holds.
    fn held(&self) -> u64;
    /// Lets the reserve hold so many; whether it does.
    fn hold(&self, bytes: u64) -> bool;
}

/// A reserve in a file.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    held: Mutex<u64>,
}

impl Reserve {
    /// Opens the file, or makes an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = open_file(path)?;
        let known = file.metadata().map_err(|e| StoreError::of_io("cannot look at", path, &e))?;
        // One that was cut short while it was being made holds nothing.
        let held = if known.blocks() * 512 >= known.len() { known.len() } else { 0 };
        Ok(Self { file, held: Mutex::new(held) })
    }

    fn take(&self, from: u64, to: u64) -> bool {
        let taken = match fallocate(&self.file, FallocateFlags::empty(), 0, to) {
            Ok(()) => true,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.fill(from, to).is_ok(),
            Err(_) => false,
        };
        if !taken {
            // Part of it may have been taken.
            let _ = self.file.set_len(from);
        }
        reach(Point::ReserveTaken);
        taken
    }

    /// For file systems that take room only for bytes, and perhaps less for those that repeat.
    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let mut block = [0; 4096];
        let mut at = from;
        while at < to {
            getrandom::fill(&mut block).map_err(|_| io::Error::other("no random bytes"))?;
            self.file.write_all_at(&block, at)?;
            at += block.len() as u64;
        }
        self.file.sync_data()
    }
}

impl Volume for Reserve {
    fn free(&self) -> u64 {
        // What cannot say how large it is cannot say how full it is either.
        let known = fstatvfs(&self.file).ok().filter(|known| known.f_blocks > 0);
        known.map_or(u64::MAX, |known| known.f_bavail.saturating_mul(known.f_frsize))
    }

    fn held(&self) -> u64 {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold(&self, bytes: u64) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match bytes.cmp(&held) {
            std::cmp::Ordering::Less => self.file.set_len(bytes).is_ok(),
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => self.take(*held, bytes),
        };
        if done {
            *held = bytes;
        }
        done
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::limits::RESERVE_BYTES;

    /// A disk that is full as far as it says so.
    #[derive(Debug)]
    pub(crate) struct Pretended {
        /// Free, held, and that no more can be held.
        state: Mutex<(u64, u64, bool)>,
    }

    impl Pretended {
        pub(crate) fn new(free: u64) -> Self {
            Self { state: Mutex::new((free, 0, false)) }
        }

        pub(crate) fn leave(&self, free: u64) {
            self.state.lock().unwrap().0 = free;
        }

        pub(crate) fn refuse(&self, refuses: bool) {
            self.state.lock().unwrap().2 = refuses;
        }
    }

    impl Volume for Pretended {
        fn free(&self) -> u64 {
            self.state.lock().unwrap().0
        }

        fn held(&self) -> u64 {
            self.state.lock().unwrap().1
        }

        fn hold(&self, bytes: u64) -> bool {
            let mut state = self.state.lock().unwrap();
            let all = state.0 + state.1;
            if bytes > all || (bytes > state.1 && state.2) {
                return false;
            }
            (state.0, state.1) = (all - bytes, bytes);
            true
        }
    }

    #[test]
    fn it_holds_room_on_the_disk_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.reserve");
        let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
        let reserve = Reserve::open(&path).unwrap();
        assert_eq!((reserve.held(), blocks()), (0, 0));
        assert!(reserve.hold(RESERVE_BYTES) && blocks() >= RESERVE_BYTES);
        assert!(reserve.free() > 0);
        drop(reserve);
        let reserve = Reserve::open(&path).unwrap();
        assert_eq!(reserve.held(), RESERVE_BYTES, "it outlives the agent");
        assert!(reserve.hold(4_096) && blocks() <= 8_192);
        // Beyond what any disk has: nothing is kept of the attempt.
        assert!(!reserve.hold(1 << 60));
        assert_eq!((reserve.held(), blocks() <= 8_192), (4_096, true));
        // As on file systems that know no other way.
        reserve.fill(4_096, RESERVE_BYTES).unwrap();
        assert!(blocks() >= RESERVE_BYTES);
    }

    #[test]
    fn a_length_without_room_behind_it_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.reserve");
        File::create(&path).unwrap().set_len(RESERVE_BYTES).unwrap();
        assert_eq!(Reserve::open(&path).unwrap().held(), 0);
    }
}
