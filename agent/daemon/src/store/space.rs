//! The tables, and the checksum that every stored value carries.
//!
//! Keys are bytes in big-endian order, so that ranges are ranges of numbers. A value is eight
//! bytes of BLAKE3 over table name, key and body, then the body: a flipped bit, a torn page or a
//! value under a wrong key is noticed when it is read and never believed.

use redb::{ReadableTable, Table, TableDefinition};

use super::StoreError;

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space(pub(super) &'static str);

/// Single values by name: epoch, boot, cursors.
pub(super) const META: Space = Space("meta");
/// Facts by place and run number.
pub(super) const JOURNAL: Space = Space("journal");
/// Runs that are not settled, by number.
pub(super) const RUNS: Space = Space("runs");
/// Settled runs whose journal is still kept, by number.
pub(super) const SETTLED: Space = Space("settled");
/// Views of settled runs for the local command line, by number.
pub(super) const RECENT: Space = Space("recent");
/// Records by lane and number.
pub(super) const OUTBOX: Space = Space("outbox");
/// Canonical definitions by hash.
pub(super) const DEFINITIONS: Space = Space("definitions");
/// Plugin modules and documents by digest.
pub(super) const BLOBS: Space = Space("blobs");
/// Parts of blobs that are not whole yet, by digest and offset.
pub(super) const CHUNKS: Space = Space("chunks");
/// Trigger positions by workflow and trigger.
pub(super) const MARKS: Space = Space("marks");
/// What became of operators' wishes, by order of arrival.
pub(super) const WISHES: Space = Space("wishes");

/// Keys of trigger firings that start nothing again, by trigger and order of arrival.
pub(super) const SEEN: Space = Space("seen");
/// Messages for the site's broker that are not known to be sent, by number.
pub(super) const PUBLICATIONS: Space = Space("publications");
/// How long conditions of triggers have held, by trigger and topic.
pub(super) const HOLDS: Space = Space("holds");

/// What plugins were told from outside, by run and order of arrival.
pub(super) const TAPES: Space = Space("tapes");

/// All of them, in the order in which they are made.
pub(super) const ALL: [Space; 15] = [
    META,
    JOURNAL,
    RUNS,
    SETTLED,
    RECENT,
    OUTBOX,
    DEFINITIONS,
    BLOBS,
    CHUNKS,
    MARKS,
    WISHES,
    SEEN,
    PUBLICATIONS,
    HOLDS,
    TAPES,
];

const CHECK_BYTES: usize = 8;

/// A table that is open for writing.
pub(super) type Open<'t> = Table<'t, &'static [u8], &'static [u8]>;

impl Space {
    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.0)
    }

    fn check(self, key: &[u8], body: &[u8]) -> [u8; CHECK_BYTES] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes());
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(body);
        let mut check = [0; CHECK_BYTES];
        hasher.finalize_xof().fill(&mut check);
        check
    }

    /// Writes a row; its length, key and value, in bytes.
    pub(super) fn put(
        self,
        table: &mut Open<'_>,
        key: &[u8],
        body: &[u8],
    ) -> Result<u64, StoreError> {
        let mut value = Vec::with_capacity(CHECK_BYTES + body.len());
        value.extend_from_slice(&self.check(key, body));
        value.extend_from_slice(body);
        table.insert(key, value.as_slice())?;
        Ok((key.len() + value.len()) as u64)
    }

    /// The body of a stored value.
    pub(super) fn unseal<'v>(self, key: &[u8], value: &'v [u8]) -> Result<&'v [u8], StoreError> {
        match value.split_first_chunk::<CHECK_BYTES>() {
            Some((check, body)) if *check == self.check(key, body) => Ok(body),
            _ => {
                Err(StoreError::Corrupt { table: self.0, key: data_encoding::HEXLOWER.encode(key) })
            }
        }
    }

    pub(super) fn fetch(
        self,
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        match table.get(key)? {
            Some(value) => self.unseal(key, value.value()).map(|body| Some(body.to_vec())),
            None => Ok(None),
        }
    }
}

pub(super) fn fact_key(place: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&place.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Place in the journal and run number.
pub(super) fn fact_key_parts(key: &[u8]) -> Option<(u64, u64)> {
    let place = key.first_chunk::<8>()?;
    Some((u64::from_be_bytes(*place), tail_u64(key)?))
}

pub(super) fn record_key(lane: u8, seq: u64) -> [u8; 9] {
    let mut key = [0; 9];
    key[0] = lane;
    key[1..].copy_from_slice(&seq.to_be_bytes());
    key
}

pub(super) fn chunk_key(digest: [u8; 32], offset: u32) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(&digest);
    key[32..].copy_from_slice(&offset.to_be_bytes());
    key
}

/// The number at the end of a key, where the key has that shape.
pub(super) fn tail_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_believed_only_as_written_where_written() {
        let body = b"body".as_slice();
        let mut value = JOURNAL.check(b"k", body).to_vec();
        value.extend_from_slice(body);
        assert_eq!(JOURNAL.unseal(b"k", &value).unwrap(), body);
        assert!(JOURNAL.unseal(b"l", &value).is_err());
        assert!(RUNS.unseal(b"k", &value).is_err());
        assert!(JOURNAL.unseal(b"k", &value[..5]).is_err());
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(JOURNAL.unseal(b"k", &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn keys_are_ordered_as_their_numbers() {
        assert!(fact_key(1, 300) < fact_key(2, 0));
        assert_eq!(fact_key_parts(&fact_key(7, 300)), Some((7, 300)));
        assert!(record_key(1, 255) < record_key(1, 256));
        assert_eq!(tail_u64(&record_key(3, 77)), Some(77));
    }
}
