//! The outbox: what is told, by lane, numbered without gaps, with a running digest.
//!
//! Rows are appended in the transaction of the facts they tell. A row leaves only after the
//! control plane has said that it has committed it and the retention is over, or by quota; what a
//! quota removes unacknowledged leaves a [`Dropped`] record in its place.

use openclaw_protocol::sync::{Cursor, Dropped, Holding, Lane, Record, chain};
use openclaw_protocol::wire::{self, Kind};
use redb::ReadableTable;

use super::rows::LaneRow;
use super::space::{OUTBOX, Open, record_key, tail_u64};
use super::{Retention, StoreError};
use crate::limits;

/// Digest and wall time before a record's body.
const HEAD_BYTES: usize = 16;

/// The byte that names a lane in keys. Never changed.
pub(super) fn lane_byte(lane: Lane) -> u8 {
    match lane {
        Lane::Control => 0,
        Lane::Results => 1,
        Lane::History => 2,
        Lane::Telemetry => 3,
        Lane::Commands => 4,
    }
}

/// One lane's head, in memory; its row is written with each commit that changes it.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) lane: Lane,
    pub(super) row: LaneRow,
    pub(super) dirty: bool,
}

impl Head {
    pub(super) fn new(lane: Lane, row: Option<LaneRow>) -> Self {
        let empty = LaneRow { next: 1, digest: 0, oldest: 1, bytes: 0, acked: 0, ranges: vec![] };
        Self { lane, dirty: row.is_none(), row: row.unwrap_or(empty) }
    }

    pub(super) fn holding(&self) -> Holding {
        Holding { lane: self.lane, oldest: self.row.oldest, next: self.row.next }
    }

    pub(super) fn append(
        &mut self,
        table: &mut Open<'_>,
        body: &[u8],
        wall_ms: i64,
    ) -> Result<u64, StoreError> {
        let seq = self.row.next;
        self.row.digest = chain(self.row.digest, body);
        put(table, self.lane, seq, self.row.digest, wall_ms, body)?;
        self.row.next += 1;
        self.row.bytes += body.len() as u64;
        self.dirty = true;
        Ok(seq)
    }

    /// Takes note of what the control plane has; less than before means that its database was
    /// restored. Numbers that were never given are not believed.
    pub(super) fn acknowledge(&mut self, cursor: &Cursor) {
        let last = self.row.next - 1;
        if cursor.upto > last {
            return;
        }
        let ranges: Vec<_> =
            cursor.ranges.iter().copied().filter(|&(_, end)| end <= last).collect();
        if cursor.upto != self.row.acked || ranges != self.row.ranges {
            self.row.acked = cursor.upto;
            self.row.ranges = ranges;
            self.dirty = true;
        }
    }

    /// Records that the control plane is not known to have.
    pub(super) fn outstanding(&self) -> u64 {
        let have: u64 = self.row.ranges.iter().map(|&(first, last)| last + 1 - first).sum();
        (self.row.next - 1 - self.row.acked).saturating_sub(have)
    }

    /// Removes what retention or quota says, a bounded number of rows.
    pub(super) fn prune(
        &mut self,
        table: &mut Open<'_>,
        retention: Retention,
        wall_ms: i64,
    ) -> Result<(), StoreError> {
        let expired_before = wall_ms.saturating_sub(i64::from(retention.hours) * 3_600_000);
        let mut removed = 0;
        while removed < limits::PRUNED_PER_COMMIT && self.row.oldest <= self.row.acked {
            let (row_wall_ms, len) = peek(table, self.lane, self.row.oldest)?;
            if self.row.bytes <= retention.lane_bytes && row_wall_ms >= expired_before {
                break;
            }
            self.remove_oldest(table, len)?;
            removed += 1;
        }
        if self.row.bytes > retention.lane_bytes && self.row.oldest > self.row.acked {
            self.drop_unacknowledged(table, retention, wall_ms)?;
        }
        Ok(())
    }

    fn remove_oldest(&mut self, table: &mut Open<'_>, len: u64) -> Result<(), StoreError> {
        table.remove(record_key(lane_byte(self.lane), self.row.oldest).as_slice())?;
        self.row.oldest += 1;
        self.row.bytes = self.row.bytes.saturating_sub(len);
        self.dirty = true;
        Ok(())
    }

    /// The quota is full of what the control plane does not have yet: the oldest goes, down to
    /// seven eighths of the quota, and the last removed number becomes the marker that tells.
    fn drop_unacknowledged(
        &mut self,
        table: &mut Open<'_>,
        retention: Retention,
        wall_ms: i64,
    ) -> Result<(), StoreError> {
        let aim = retention.lane_bytes / 8 * 7;
        let mut first = self.row.oldest;
        let mut last = None;
        while self.row.bytes > aim && self.row.oldest + 1 < self.row.next {
            let seq = self.row.oldest;
            let stored = match read(table, self.lane, seq) {
                Ok(Some(stored)) => stored,
                Ok(None) | Err(StoreError::Corrupt { .. }) => damaged(seq),
                Err(e) => return Err(e),
            };
            if let Ok(earlier) = wire::unpack::<Dropped>(Kind::Dropped, &stored.body, usize::MAX) {
                first = first.min(earlier.first);
            }
            last = Some((seq, stored.digest));
            self.remove_oldest(table, stored.body.len() as u64)?;
        }
        let Some((last, digest)) = last else { return Ok(()) };
        let marker = Dropped { first, last, reason: "quota".to_owned() };
        let body = wire::pack(Kind::Dropped, &marker);
        put(table, self.lane, last, digest, wall_ms, &body)?;
        self.row.oldest = last;
        self.row.bytes += body.len() as u64;
        Ok(())
    }
}

/// Reads `first..before`, at most so many bytes of bodies (but at least one record) and records.
pub(super) fn load(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    first: u64,
    before: u64,
    bytes: usize,
) -> Result<Vec<Record>, StoreError> {
    let (from, to) = (record_key(lane_byte(lane), first), record_key(lane_byte(lane), before));
    let mut records = Vec::new();
    let mut total = 0;
    if first >= before {
        return Ok(records);
    }
    for entry in table.range(from.as_slice()..to.as_slice())? {
        let (key, value) = entry?;
        let Some(seq) = tail_u64(key.value()) else { continue };
        let record = match OUTBOX.unseal(key.value(), value.value()).map(split) {
            Ok(Some((digest, _, body))) => Record { seq, digest, body: body.to_vec() },
            // A damaged record must not hold up the lane for ever: it is told as gone.
            Ok(None) | Err(_) => damaged(seq),
        };
        total += record.body.len();
        if !records.is_empty() && total > bytes {
            break;
        }
        records.push(record);
        if records.len() >= openclaw_protocol::limits::BATCH_RECORDS {
            break;
        }
    }
    Ok(records)
}

fn damaged(seq: u64) -> Record {
    let marker = Dropped { first: seq, last: seq, reason: "damaged".to_owned() };
    // Digest 0 says that it is not known.
    Record { seq, digest: 0, body: wire::pack(Kind::Dropped, &marker) }
}

/// One record, where it is kept.
pub(super) fn read(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    seq: u64,
) -> Result<Option<Record>, StoreError> {
    let Some(row) = OUTBOX.fetch(table, &record_key(lane_byte(lane), seq))? else {
        return Ok(None);
    };
    Ok(split(&row).map(|(digest, _, body)| Record { seq, digest, body: body.to_vec() }))
}

/// When a record was written and how long it is; a damaged or missing one is of no use to anyone.
fn peek(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    seq: u64,
) -> Result<(i64, u64), StoreError> {
    let key = record_key(lane_byte(lane), seq);
    let row = table.get(key.as_slice())?;
    let body = row.as_ref().and_then(|value| OUTBOX.unseal(&key, value.value()).ok());
    let known = body.and_then(split).map(|(_, wall_ms, body)| (wall_ms, body.len() as u64));
    Ok(known.unwrap_or((i64::MIN, 0)))
}

fn put(
    table: &mut Open<'_>,
    lane: Lane,
    seq: u64,
    digest: u64,
    wall_ms: i64,
    body: &[u8],
) -> Result<(), StoreError> {
    let mut row = Vec::with_capacity(HEAD_BYTES + body.len());
    row.extend_from_slice(&digest.to_le_bytes());
    row.extend_from_slice(&wall_ms.to_le_bytes());
    row.extend_from_slice(body);
    OUTBOX.put(table, &record_key(lane_byte(lane), seq), &row)
}

fn split(row: &[u8]) -> Option<(u64, i64, &[u8])> {
    let (digest, rest) = row.split_first_chunk::<8>()?;
    let (wall_ms, body) = rest.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*digest), i64::from_le_bytes(*wall_ms), body))
}
