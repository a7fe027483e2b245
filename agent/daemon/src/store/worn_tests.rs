//! Files with places that cannot be read, as a worn card has them: for tests only.

use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

/// "Input/output error".
const EIO: i32 = 5;

/// Places of files that cannot be read, each by the file's number and the place.
static BAD: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// A place that cannot be read until this is dropped.
#[derive(Debug)]
pub(crate) struct Bad(u64, u64);

impl Drop for Bad {
    fn drop(&mut self) {
        let mut bad = BAD.lock().unwrap_or_else(PoisonError::into_inner);
        bad.retain(|known| *known != (self.0, self.1));
    }
}

/// Wears out a place of a file, whatever its name will be.
pub(crate) fn wear_out(path: &std::path::Path, at: u64) -> Bad {
    let number = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap());
    BAD.lock().unwrap_or_else(PoisonError::into_inner).push((number, at));
    Bad(number, at)
}

/// What reading there comes to.
pub(crate) fn worn(file: &std::fs::File, at: u64, length: usize) -> std::io::Result<()> {
    let number = std::os::unix::fs::MetadataExt::ino(&file.metadata()?);
    let bad = BAD.lock().unwrap_or_else(PoisonError::into_inner);
    let is_bad =
        |(of, place): &(u64, u64)| *of == number && (at..at + length as u64).contains(place);
    if bad.iter().any(is_bad) { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
}

/// A file that may have such places.
#[derive(Debug)]
pub(crate) struct Worn(redb::backends::FileBackend, std::fs::File);

impl Worn {
    pub(crate) fn new(file: std::fs::File) -> Result<Self, redb::DatabaseError> {
        let other = file.try_clone().map_err(redb::StorageError::Io)?;
        Ok(Self(redb::backends::FileBackend::new(file)?, other))
    }
}

impl StorageBackend for Worn {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        worn(&self.1, offset, out.len())?;
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

    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<(), redb::BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<(), redb::BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<(), redb::BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(
        &self,
        start: std::ops::Bound<u64>,
        end: std::ops::Bound<u64>,
    ) -> Result<bool, redb::BackendError> {
        self.0.query_lock_range(start, end)
    }
}
