//! The outbox: what is told, by lane, numbered without gaps, with a running digest.
//!
//! Rows are appended in the transaction of the facts they tell. A row leaves only after the control
//! plane has said that it has committed it and the retention since then is over, or by quota. The
//! retention goes by the device's age (see `age.rs`), and begins with the acknowledgement: what was
//! told late must be there, too, when a control plane is restored from a backup. What a quota
//! removes unacknowledged leaves a [`Dropped`] record in its place. That marker has the number of
//! the last record it stands for, and the lane begins with the first of them: none of the numbers
//! is gone without a word, so the oldest that is told of is the marker's `first`.

use openclaw_points::{Point, reach};
use openclaw_protocol::sync::{Cursor, Dropped, Holding, Lane, Record, chain};
use openclaw_protocol::wire::{self, Kind};
use redb::{Range, ReadableTable};

use super::rows::LaneRow;
use super::space::{OUTBOX, Open, record_key, tail_u64};
use super::{Retention, StoreError};
use crate::limits;

/// The digest before a record's body.
const HEAD_BYTES: usize = 8;
/// Acknowledgements are noted in steps of this part of the retention, so that a lane's row stays
/// small; what is acknowledged stays for up to one step more than the retention.
const STEPS: u64 = 24;

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
        let empty = LaneRow {
            next: 1,
            digest: 0,
            oldest: 1,
            bytes: 0,
            acked: 0,
            ranges: vec![],
            noted: vec![],
        };
        let dirty = row.is_none();
        let mut row = row.unwrap_or(empty);
        row.ranges = believed(&row.ranges, row.acked, row.next.saturating_sub(1));
        Self { lane, dirty, row }
    }

    pub(super) fn holding(&self) -> Holding {
        Holding { lane: self.lane, oldest: self.row.oldest, next: self.row.next }
    }

    pub(super) fn append(&mut self, table: &mut Open<'_>, body: &[u8]) -> Result<u64, StoreError> {
        let seq = self.row.next;
        self.row.digest = chain(self.row.digest, body);
        put(table, self.lane, seq, self.row.digest, body)?;
        self.row.next += 1;
        self.row.bytes += body.len() as u64;
        self.dirty = true;
        reach(Point::OutboxAppended);
        Ok(seq)
    }

    /// Takes note of what the control plane has; less than before means that its database was
    /// restored. Numbers that were never given are not believed.
    pub(super) fn acknowledge(&mut self, cursor: &Cursor) {
        let last = self.row.next.saturating_sub(1);
        if cursor.upto > last {
            return;
        }
        let ranges = believed(&cursor.ranges, cursor.upto, last);
        if cursor.upto != self.row.acked || ranges != self.row.ranges {
            self.row.acked = cursor.upto;
            self.row.ranges = ranges;
            // What it has lost will be acknowledged anew, and stays for as long again.
            for (_, upto) in &mut self.row.noted {
                *upto = (*upto).min(cursor.upto);
            }
            self.row.noted.dedup_by_key(|(_, upto)| *upto);
            self.dirty = true;
        }
    }

    /// Records that the control plane is not known to have.
    pub(super) fn outstanding(&self) -> u64 {
        let length = |&(first, last): &(u64, u64)| last.saturating_sub(first).saturating_add(1);
        let have = self.row.ranges.iter().map(length).fold(0, u64::saturating_add);
        self.row.next.saturating_sub(1).saturating_sub(self.row.acked).saturating_sub(have)
    }

    /// The device's age when something was last noted: it is that old at least.
    pub(super) fn noted_age_ms(&self) -> u64 {
        self.row.noted.last().map_or(0, |(age_ms, _)| *age_ms)
    }

    /// Notes when what is acknowledged was, and answers up to which number the retention is over.
    fn note(&mut self, retention: Retention, age_ms: u64) -> u64 {
        let LaneRow { acked, noted, .. } = &mut self.row;
        let step_ms = retention.window_ms() / STEPS;
        match noted.last_mut() {
            Some((_, upto)) if *upto >= *acked => {}
            Some((since, upto)) if age_ms.saturating_sub(*since) < step_ms => *upto = *acked,
            Some(_) | None => noted.push((age_ms, *acked)),
        }
        let kept_ms = retention.window_ms() + step_ms;
        let is_over = |(since, _): &(u64, u64)| age_ms.saturating_sub(*since) >= kept_ms;
        let over = noted.iter().take_while(|note| is_over(note)).count();
        // The last of them says how far rows may go, of which each commit removes only some.
        noted.drain(..over.saturating_sub(1));
        noted.first().filter(|_| over > 0).map_or(0, |(_, upto)| *upto)
    }

    /// Removes what retention or quota says, a bounded number of rows.
    pub(super) fn prune(
        &mut self,
        table: &mut Open<'_>,
        retention: Retention,
        age_ms: u64,
    ) -> Result<(), StoreError> {
        let over_upto = self.note(retention, age_ms);
        for _ in 0..limits::PRUNED_PER_COMMIT {
            let Some(lowest) = lowest(table, self.lane, self.row.oldest)? else { return Ok(()) };
            let is_over = self.row.bytes > retention.lane_bytes;
            if lowest.seq > self.row.acked {
                return if is_over { self.drop_unacknowledged(table, retention) } else { Ok(()) };
            }
            if !is_over && lowest.seq > over_upto {
                return Ok(());
            }
            self.remove(table, lowest.seq, lowest.body_bytes)?;
        }
        Ok(())
    }

    /// Removes the lowest row, a marker with all the numbers it stands for.
    fn remove(&mut self, table: &mut Open<'_>, seq: u64, len: u64) -> Result<(), StoreError> {
        table.remove(record_key(lane_byte(self.lane), seq).as_slice())?;
        self.row.oldest = seq + 1;
        self.row.bytes = self.row.bytes.saturating_sub(len);
        self.dirty = true;
        reach(Point::OutboxDeleted);
        Ok(())
    }

    /// The quota is full of what the control plane does not have yet: the oldest goes, down to
    /// seven eighths of the quota, and the last removed number becomes the marker that tells.
    fn drop_unacknowledged(
        &mut self,
        table: &mut Open<'_>,
        retention: Retention,
    ) -> Result<(), StoreError> {
        let aim = retention.lane_bytes / 8 * 7;
        // An earlier marker is the lowest row, and the lane begins with its first number already.
        let first = self.row.oldest;
        let mut last = None;
        while self.row.bytes > aim
            && let Some(lowest) = lowest(table, self.lane, self.row.oldest)?
            && lowest.seq + 1 < self.row.next
        {
            last = Some((lowest.seq, lowest.digest));
            self.remove(table, lowest.seq, lowest.body_bytes)?;
        }
        let Some((last, digest)) = last else { return Ok(()) };
        let marker = Dropped { first, last, reason: "quota".to_owned() };
        let body = wire::pack(Kind::Dropped, &marker);
        put(table, self.lane, last, digest, &body)?;
        self.row.oldest = first;
        self.row.bytes += body.len() as u64;
        Ok(())
    }
}

/// What makes sense of acknowledged ranges: those of numbers above `upto` that were given, in
/// order, merged where they touch, and no more than may be named.
fn believed(ranges: &[(u64, u64)], upto: u64, last: u64) -> Vec<(u64, u64)> {
    let mut sound: Vec<_> = ranges
        .iter()
        .filter(|(first, end)| first <= end && *end > upto && *end <= last)
        .map(|(first, end)| ((*first).max(upto + 1), *end))
        .collect();
    openclaw_protocol::ordered::sort(&mut sound);
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (first, end) in sound {
        match merged.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(end),
            Some(_) | None => merged.push((first, end)),
        }
    }
    merged.truncate(openclaw_protocol::limits::ACK_RANGES);
    merged
}

/// Reads `first..before`, at most so many bytes of bodies (but at least one record) and records. A
/// marker that stands for `first` comes whatever its own number.
pub(super) fn load(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    first: u64,
    before: u64,
    bytes: usize,
) -> Result<Vec<Record>, StoreError> {
    let mut records = Vec::new();
    let mut total = 0;
    if first >= before {
        return Ok(records);
    }
    let mut expected = first;
    for entry in rows_from(table, lane, first)? {
        let (key, value) = entry?;
        let Some(seq) = tail_u64(key.value()) else { continue };
        let record = match OUTBOX.unseal(key.value(), value.value()).map(split) {
            Ok(Some((digest, body))) => Record { seq, digest, body: body.to_vec() },
            // A damaged record must not hold up the lane for ever: it is told as gone, with all
            // that it stood for if it was a marker.
            Ok(None) | Err(_) => damaged(expected, seq),
        };
        if seq >= before && !(records.is_empty() && stands_for(&record, first)) {
            break;
        }
        expected = seq + 1;
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

/// The rows of a lane from a number on.
fn rows_from<'t>(
    table: &'t impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    first: u64,
) -> Result<Range<'t, &'static [u8], &'static [u8]>, StoreError> {
    let (from, to) = (record_key(lane_byte(lane), first), record_key(lane_byte(lane), u64::MAX));
    Ok(table.range(from.as_slice()..to.as_slice())?)
}

fn damaged(first: u64, last: u64) -> Record {
    let marker = Dropped { first, last, reason: "damaged".to_owned() };
    // Digest 0 says that it is not known.
    Record { seq: last, digest: 0, body: wire::pack(Kind::Dropped, &marker) }
}

/// Whether a record is a marker that tells what became of a number.
fn stands_for(record: &Record, number: u64) -> bool {
    let marker = wire::unpack::<Dropped>(
        Kind::Dropped,
        &record.body,
        openclaw_protocol::limits::RECORD_BYTES,
    );
    marker.is_ok_and(|marker| marker.first <= number && number <= record.seq)
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
    Ok(split(&row).map(|(digest, body)| Record { seq, digest, body: body.to_vec() }))
}

/// A lane's lowest row. A damaged one counts as empty.
struct Lowest {
    seq: u64,
    digest: u64,
    body_bytes: u64,
}

fn lowest(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    lane: Lane,
    oldest: u64,
) -> Result<Option<Lowest>, StoreError> {
    let Some(entry) = rows_from(table, lane, oldest)?.next() else { return Ok(None) };
    let (key, value) = entry?;
    let Some(seq) = tail_u64(key.value()) else { return Ok(None) };
    let known = OUTBOX.unseal(key.value(), value.value()).ok().and_then(split);
    Ok(Some(match known {
        Some((digest, body)) => Lowest { seq, digest, body_bytes: body.len() as u64 },
        None => Lowest { seq, digest: 0, body_bytes: 0 },
    }))
}

fn put(
    table: &mut Open<'_>,
    lane: Lane,
    seq: u64,
    digest: u64,
    body: &[u8],
) -> Result<(), StoreError> {
    let key = record_key(lane_byte(lane), seq);
    OUTBOX.put_behind(table, &key, &digest.to_le_bytes(), body)?;
    Ok(())
}

fn split(row: &[u8]) -> Option<(u64, &[u8])> {
    let (digest, body) = row.split_first_chunk::<HEAD_BYTES>()?;
    Some((u64::from_le_bytes(*digest), body))
}
