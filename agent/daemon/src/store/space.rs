//! The tables, and the checksum that every stored value carries.
//!
//! Keys are bytes in big-endian order, so that ranges are ranges of numbers. A value is eight
//! bytes of BLAKE3 over table name, key and body, then the body: a flipped bit, a torn page or a
//! value under a wrong key is noticed when it is read and never believed.

use redb::{AccessGuard, ReadableTable, StorageError, Table, TableDefinition};

use super::StoreError;

/// One table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space(pub(super) &'static str);

/// Single values by name: epoch, boot, cursors.
pub(super) const META: Space = Space("meta");
/// Facts by place and run number.
pub(super) const JOURNAL: Space = Space("journal");
/// Runs as states that facts led to, by number; and bytes of facts dropped under them.
pub(super) const SNAPSHOTS: Space = Space("snapshots");
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
/// What is known of files that triggers are about, by trigger and path.
pub(super) const FILES: Space = Space("files");
/// What plugins were told from outside, by run and order of arrival.
pub(super) const TAPES: Space = Space("tapes");
/// What runs need that have gone on with another definition, by number.
pub(super) const MIGRATED: Space = Space("migrated");
/// What plugins remember beyond one run, by plugin, workflow and key.
pub(super) const KV: Space = Space("kv");

/// All of them, in the order in which they are made.
pub(super) const ALL: [Space; 19] = [
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
    FILES,
    SNAPSHOTS,
    TAPES,
    MIGRATED,
    KV,
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
        self.put_behind(table, key, &[], body)
    }

    /// As [`Self::put`], of a body that begins with `head`.
    pub(super) fn put_behind(
        self,
        table: &mut Open<'_>,
        key: &[u8],
        head: &[u8],
        body: &[u8],
    ) -> Result<u64, StoreError> {
        let mut value = Vec::with_capacity(CHECK_BYTES + head.len() + body.len());
        value.extend_from_slice(&[0; CHECK_BYTES]);
        value.extend_from_slice(head);
        value.extend_from_slice(body);
        let (check, body) = value.split_at_mut(CHECK_BYTES);
        check.copy_from_slice(&self.check(key, body));
        table.insert(key, value.as_slice())?;
        Ok((key.len() + value.len()) as u64)
    }

    /// Bytes of the body of a stored value, which need not be whole.
    pub(super) const fn body_length(self, value: &[u8]) -> usize {
        value.len().saturating_sub(CHECK_BYTES)
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

/// The key of a row of the journal: place and run number, each as its length in bytes, from 1, and
/// so many bytes, which are in the order of the numbers.
pub(super) fn fact_key(place: u64, number: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(18);
    for part in [place, number] {
        let bytes = part.to_be_bytes();
        let from = bytes.iter().position(|byte| *byte != 0).unwrap_or(7);
        key.push((8 - from) as u8);
        key.extend_from_slice(&bytes[from..]);
    }
    key
}

/// The key that a fact had when each had a row of its own. All of these are before those of
/// [`fact_key`], for a place that began with another byte than 0 was never reached.
pub(super) fn single_fact_key(place: u64, number: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&place.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Whether a key is one of [`single_fact_key`].
pub(super) fn is_single_fact(key: &[u8]) -> bool {
    key.first() == Some(&0)
}

/// Place in the journal and run number.
pub(super) fn fact_key_parts(key: &[u8]) -> Option<(u64, u64)> {
    if is_single_fact(key) {
        let place = key.first_chunk::<8>()?;
        return Some((u64::from_be_bytes(*place), tail_u64(key)?));
    }
    let (place, rest) = key_part(key)?;
    let (number, rest) = key_part(rest)?;
    rest.is_empty().then_some((place, number))
}

fn key_part(key: &[u8]) -> Option<(u64, &[u8])> {
    let (length, rest) = key.split_first()?;
    let (part, rest) = rest.split_at_checked(usize::from(*length))?;
    let mut bytes = [0; 8];
    bytes.get_mut(8_usize.checked_sub(part.len())?..)?.copy_from_slice(part);
    Some((u64::from_be_bytes(bytes), rest))
}

/// The rows of the journal from a place on.
pub(super) fn facts_from<'t>(
    journal: &'t impl ReadableTable<&'static [u8], &'static [u8]>,
    place: u64,
) -> Result<impl Iterator<Item = RowResult<'t>>, StoreError> {
    let (single, end) = (single_fact_key(place, 0), [1]);
    let old = journal.range(single.as_slice()..end.as_slice())?;
    Ok(old.chain(journal.range(fact_key(place, 0).as_slice()..)?))
}

/// A row as the database gives it.
pub(super) type RowResult<'t> =
    Result<(AccessGuard<'t, &'static [u8]>, AccessGuard<'t, &'static [u8]>), StorageError>;

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
        let numbers = [0, 1, 255, 256, 300, 65_535, 65_536, 1 << 40, u64::MAX];
        for place in numbers {
            for number in numbers {
                let (key, single) = (fact_key(place, number), single_fact_key(place, number));
                assert_eq!(fact_key_parts(&key), Some((place, number)));
                if place < 1 << 56 {
                    assert_eq!(fact_key_parts(&single), Some((place, number)));
                    assert!(single.as_slice() < fact_key(0, 0).as_slice());
                }
                for later in numbers.into_iter().filter(|later| *later > place) {
                    assert!(key < fact_key(later, 0));
                }
            }
        }
        for bad in [&[][..], &[1], &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1], &[1, 1, 1, 1, 1]] {
            assert_eq!(fact_key_parts(bad), None);
        }
        assert!(record_key(1, 255) < record_key(1, 256));
        assert_eq!(tail_u64(&record_key(3, 77)), Some(77));
    }
}
