//! Blobs as workers see them: whole, by digest, read in short transactions of their own.

use std::sync::{Arc, Weak};

use openclaw_protocol::id::Digest;
use redb::{Database, ReadableDatabase, ReadableTableMetadata};

use super::StoreError;
use super::space::BLOBS;

/// Reads blobs from any thread, each time in a short transaction of its own.
///
/// Does not keep the database open: when the store is gone, so are its blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    pub(super) db: Weak<Database>,
}

impl Blobs {
    /// A blob's bytes, where it is here and whole.
    ///
    /// # Errors
    /// The database fails or the blob is damaged.
    pub fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let db = self.database()?;
        let read = db.begin_read()?;
        BLOBS.fetch(&read.open_table(BLOBS.definition())?, &digest.0)
    }

    /// Whether a blob is here.
    ///
    /// # Errors
    /// The database fails.
    pub fn has(&self, digest: Digest) -> Result<bool, StoreError> {
        let db = self.database()?;
        let read = db.begin_read()?;
        Ok(read.open_table(BLOBS.definition())?.get(digest.0.as_slice())?.is_some())
    }

    /// How many blobs are kept.
    ///
    /// # Errors
    /// The database fails.
    pub fn count(&self) -> Result<u64, StoreError> {
        let db = self.database()?;
        let read = db.begin_read()?;
        Ok(read.open_table(BLOBS.definition())?.len()?)
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        self.db.upgrade().ok_or_else(|| StoreError::Database("it is closed".to_owned()))
    }
}
