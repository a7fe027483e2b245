//! Blobs as workers see them: whole, by digest, read in short transactions of their own.

use std::sync::Arc;

use openclaw_protocol::id::Digest;
use redb::{ReadTransaction, ReadableDatabase as _, ReadableTableMetadata as _};

use super::StoreError;
use super::handle::Shown;
use super::space::BLOBS;

/// Reads blobs, and what plugins remember, from any thread, each time in a short transaction of its own.
///
/// Does not keep the database open: when the store is gone, so are its blobs.
#[derive(Debug, Clone)]
pub struct Blobs {
    pub(super) shown: Arc<Shown>,
    pub(super) is_patient: bool,
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
    /// As workers read them: a database that failed is waited for until it is opened again, so that
    /// no call fails with it.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// A blob's bytes, where it is here and whole.
    ///
    /// # Errors
    /// The database fails or the blob is damaged.
    pub fn read(&self, digest: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        self.reading(|read| BLOBS.fetch(&read.open_table(BLOBS.definition())?, &digest.0))
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
        self.reading(|read| {
            let table = read.open_table(BLOBS.definition())?;
            let Some(value) = table.get(digest.0.as_slice())? else { return Ok(Kept::Absent) };
            let whole = BLOBS.unseal(&digest.0, value.value()).is_ok();
            Ok(if whole { Kept::Whole } else { Kept::Damaged })
        })
    }

    /// How many blobs are kept.
    ///
    /// # Errors
    /// The database fails.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.reading(|read| Ok(read.open_table(BLOBS.definition())?.len()?))
    }

    pub(super) fn reading<T>(
        &self,
        look: impl Fn(&ReadTransaction) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        loop {
            let (db, opening) = self.shown.database(self.is_patient)?;
            let result = db.begin_read().map_err(StoreError::from).and_then(|read| look(&read));
            // It can be opened again only when nobody has it open any more.
            drop(db);
            let failed = matches!(result, Err(StoreError::Database(_) | StoreError::Full(_)));
            if !(failed && self.is_patient && self.shown.is_opened_after(opening)) {
                return result;
            }
        }
    }
}
