//! The inbox: one lane of the peer on its way into the own database.
//!
//! Knows what is committed and what has been handed over and is not committed yet. Of an ordered
//! lane only what follows is taken, and only where its digest follows as well; a gap is dropped,
//! since the peer repeats it. Of an unordered lane anything new is taken.

use crate::limits::{
    ACK_RANGES, BATCH_RECORDS, BATCH_UNPACKED_BYTES, CHUNK_BYTES, RECORD_BYTES, REDELIVER_MS,
    WINDOW_BATCHES,
};
use crate::ordered::VecMap;

use super::batch::{Numbered, is_marker};
use super::ranges::Ranges;
use super::{Cursor, Lane, Record, chain};

/// What became of records that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// To be handed over: runs of records without gaps.
    pub(super) deliver: Vec<Vec<Record>>,
    /// The peer does not seem to know where we stand.
    pub(super) ack: bool,
    /// The records do not follow from what we have: one of the two databases is not what it was.
    pub(super) broken: bool,
}

/// One lane of the peer. See the module's words.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    committed: Cursor,
    /// Committed or handed over.
    have: Ranges,
    /// Handed over, by last number: the first number, digest and length.
    pending: VecMap<u64, (u64, u64, usize)>,
    pending_bytes: usize,
    /// When something was last handed over or committed.
    moved_ms: u64,
    /// Records that come in parts, oldest first.
    parts: Vec<Parts>,
}

/// A part of one record, as it came.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) seq: u64,
    pub(super) digest: u64,
    pub(super) offset: u32,
    pub(super) total: u32,
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Parts {
    seq: u64,
    digest: u64,
    total: u32,
    chunks: Vec<Vec<u8>>,
}

impl Inbox {
    pub(super) fn new(lane: Lane, cursor: Option<Cursor>) -> Self {
        let nothing = Cursor { lane, upto: 0, digest: 0, ranges: Vec::new() };
        let mut committed = cursor.unwrap_or(nothing);
        committed.ranges.truncate(ACK_RANGES);
        Self {
            have: Ranges::of(&committed, u64::MAX),
            committed,
            pending: VecMap::new(),
            pending_bytes: 0,
            moved_ms: 0,
            parts: Vec::new(),
        }
    }

    pub(super) fn cursor(&self) -> &Cursor {
        &self.committed
    }

    /// Takes what is new of some records of one batch.
    pub(super) fn take(&mut self, records: Vec<Numbered>, now_ms: u64) -> Taken {
        let Some((first, last)) = span_of(&records) else { return Taken::default() };
        self.forget_stale(now_ms);
        if self.have.covers(first, last) {
            return Taken { ack: self.has_committed(first), ..Taken::default() };
        }
        if self.committed.lane.is_ordered() {
            if first > self.have.upto() + 1 {
                return Taken { ack: true, ..Taken::default() };
            }
            if !self.follows(&records) {
                return Taken { broken: true, ..Taken::default() };
            }
        }
        self.keep(records, now_ms)
    }

    /// What was handed over long ago and never committed must have failed in the shell: it is
    /// taken anew.
    fn forget_stale(&mut self, now_ms: u64) {
        if now_ms >= self.moved_ms.saturating_add(REDELIVER_MS) && !self.pending.is_empty() {
            self.discard();
        }
    }

    /// What was handed over and not committed is gone.
    pub(super) fn discard(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
        self.have = Ranges::of(&self.committed, u64::MAX);
    }

    /// Whether this number is committed, so that an acknowledgement of it would be news.
    fn has_committed(&self, seq: u64) -> bool {
        Ranges::of(&self.committed, u64::MAX).covers(seq, seq)
    }

    /// Whether the records continue what is here: the same digest where they overlap, or a digest
    /// made from the one before. A marker's digest, and one nobody knows, prove nothing.
    fn follows(&self, records: &[Numbered]) -> bool {
        let (upto, digest) = self.tip();
        if digest == 0 {
            return true;
        }
        records.iter().all(|Numbered { start, record }| {
            if is_marker(&record.body) || record.digest == 0 {
                return true;
            }
            let overlaps_otherwise = record.seq == upto && record.digest != digest;
            let continues_otherwise =
                *start == upto + 1 && record.digest != chain(digest, &record.body);
            !overlaps_otherwise && !continues_otherwise
        })
    }

    /// The highest number without a gap below it, and its digest, 0 where not known.
    fn tip(&self) -> (u64, u64) {
        match self.pending.last_key_value() {
            Some((seq, (_, digest, _))) => (*seq, *digest),
            None => (self.committed.upto, self.committed.digest),
        }
    }

    fn keep(&mut self, records: Vec<Numbered>, now_ms: u64) -> Taken {
        let ordered = self.committed.lane.is_ordered();
        let mut have = self.have.clone();
        let fresh: Vec<Numbered> = records
            .into_iter()
            .filter(|Numbered { start, record }| {
                let here = if ordered {
                    record.seq <= have.upto()
                } else {
                    have.covers(*start, record.seq)
                };
                have.insert(*start, record.seq);
                !here
            })
            .collect();
        let bytes: usize = fresh.iter().map(|numbered| numbered.record.body.len()).sum();
        let over = self.pending.len() + fresh.len() > WINDOW_BATCHES * BATCH_RECORDS
            || self.pending_bytes + bytes > WINDOW_BATCHES * BATCH_UNPACKED_BYTES
            || have.len() > ACK_RANGES;
        if over {
            // More than the peer may have on its way at once: it repeats it when there is room.
            return Taken { ack: true, ..Taken::default() };
        }
        let mut taken = Taken::default();
        let mut expected = 0;
        for Numbered { start, record } in fresh {
            self.pending.insert(record.seq, (start, record.digest_or_none(), record.body.len()));
            let follows = start == expected;
            expected = record.seq + 1;
            match taken.deliver.last_mut() {
                Some(run) if follows => run.push(record),
                _ => taken.deliver.push(vec![record]),
            }
        }
        self.pending_bytes += bytes;
        self.have = have;
        self.moved_ms = now_ms;
        taken
    }

    /// Takes a part of a record, and the record itself once it is whole.
    pub(super) fn take_part(&mut self, part: Part, now_ms: u64) -> Taken {
        self.forget_stale(now_ms);
        let ordered = self.committed.lane.is_ordered();
        let due = !ordered || part.seq <= self.have.upto() + 1;
        if !due || self.have.covers(part.seq, part.seq) {
            let ack = !due || self.has_committed(part.seq);
            return Taken { ack, ..Taken::default() };
        }
        match self.assemble(part) {
            Some(whole) => self.take(vec![whole], now_ms),
            None => Taken::default(),
        }
    }

    fn assemble(&mut self, part: Part) -> Option<Numbered> {
        let Part { seq, digest, offset, total, bytes } = part;
        let (at, size) = (usize::try_from(offset).ok()?, usize::try_from(total).ok()?);
        let fits = size <= RECORD_BYTES
            && at < size
            && at % CHUNK_BYTES == 0
            && bytes.len() == CHUNK_BYTES.min(size - at);
        if !fits || seq == 0 || seq == u64::MAX {
            return None;
        }
        let found =
            self.parts.iter().position(|p| (p.seq, p.digest, p.total) == (seq, digest, total));
        let index = found.unwrap_or_else(|| {
            if self.parts.len() == WINDOW_BATCHES {
                self.parts.remove(0);
            }
            let chunks = vec![Vec::new(); size.div_ceil(CHUNK_BYTES)];
            self.parts.push(Parts { seq, digest, total, chunks });
            self.parts.len() - 1
        });
        let parts = self.parts.get_mut(index)?;
        *parts.chunks.get_mut(at / CHUNK_BYTES)? = bytes;
        if parts.chunks.iter().any(Vec::is_empty) {
            return None;
        }
        let body = self.parts.remove(index).chunks.concat();
        Some(Numbered { start: seq, record: Record { seq, digest, body } })
    }

    /// The shell stands here now. `false` where that cannot be: it speaks of another log.
    pub(super) fn commit(&mut self, mut cursor: Cursor) -> bool {
        let known = self.pending.get(&cursor.upto).map_or(0, |(_, digest, _)| *digest);
        if known != 0 && cursor.digest != 0 && known != cursor.digest {
            return false;
        }
        cursor.ranges.truncate(ACK_RANGES);
        let committed = Ranges::of(&cursor, u64::MAX);
        if committed.count() < Ranges::of(&self.committed, u64::MAX).count() {
            return true;
        }
        self.pending.retain(|last, (first, _, _)| !committed.covers(*first, *last));
        self.pending_bytes = self.pending.values().map(|(_, _, bytes)| bytes).sum();
        self.have = committed;
        for (last, (first, _, _)) in &self.pending {
            self.have.insert(*first, *last);
        }
        let have = &self.have;
        self.parts.retain(|parts| !have.covers(parts.seq, parts.seq));
        self.committed = cursor;
        true
    }
}

impl Record {
    /// A marker's digest proves nothing about what it replaced.
    fn digest_or_none(&self) -> u64 {
        if is_marker(&self.body) { 0 } else { self.digest }
    }
}

fn span_of(records: &[Numbered]) -> Option<(u64, u64)> {
    Some((records.first()?.start, records.last()?.record.seq))
}
