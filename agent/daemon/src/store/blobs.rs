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

/// What there is of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Absent,
    /// Something that is not what was written.
    Damaged,
    /// All of it.
    Whole,
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

    /// Whether a blob is here and whole. A damaged one is as good as none: it must be fetched or
    /// written again.
    ///
    /// # Errors
    /// The database fails.
    pub fn has(&self, digest: Digest) -> Result<bool, StoreError> {
        Ok(self.look(digest)? == Kept::Whole)
    }

    /// What there is of a blob, by reading it.
    ///
    /// # Errors
    /// The database fails.
    pub fn look(&self, digest: Digest) -> Result<Kept, StoreError> {
        let db = self.database()?;
        let read = db.begin_read()?;
        let table = read.open_table(BLOBS.definition())?;
        let Some(value) = table.get(digest.0.as_slice())? else { return Ok(Kept::Absent) };
        let whole = BLOBS.unseal(&digest.0, value.value()).is_ok();
        Ok(if whole { Kept::Whole } else { Kept::Damaged })
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
