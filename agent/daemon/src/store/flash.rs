//! What the database costs the flash: syncs and bytes, counted where they leave for the disk.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{BackendError, StorageBackend};

use super::is_full;
use super::reserve::Volume;

/// Counts since the database was opened.
#[derive(Debug, Default)]
pub(super) struct Wear {
    syncs: AtomicU64,
    written_bytes: AtomicU64,
}

impl Wear {
    /// Times that the disk was made to keep what it had been given.
    pub(super) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Bytes given to the disk.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes.load(Ordering::Relaxed)
    }
}

/// A backend that counts, gives the reserve for a write that has no room, and otherwise does what the
/// one inside does.
#[derive(Debug)]
pub(super) struct Counted<B> {
    inner: B,
    wear: Arc<Wear>,
    volume: Option<Arc<dyn Volume>>,
}

impl<B> Counted<B> {
    pub(super) fn new(inner: B, wear: Arc<Wear>, volume: Option<Arc<dyn Volume>>) -> Self {
        Self { inner, wear, volume }
    }

    /// Does it once more with all of the reserve, where it failed for want of room.
    fn with_reserve(&self, act: impl Fn(&B) -> io::Result<()>) -> io::Result<()> {
        let done = act(&self.inner);
        let Some(volume) = self.volume.as_ref().filter(|volume| volume.held() > 0) else {
            return done;
        };
        if done.as_ref().is_err_and(is_full) && volume.hold(0) { act(&self.inner) } else { done }
    }
}

impl<B: StorageBackend> StorageBackend for Counted<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with_reserve(|inner| inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wear.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.wear.written_bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        self.with_reserve(|inner| inner.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
