//! Where we stand in each lane of each device: the result ledger.
//!
//! The standing is kept in numbers of its own, not derived from the rows of the results, so that
//! retention may delete rows without a gap appearing in the ledger or a repeated record being
//! taken for a new one.

use openclaw_protocol::id::{DeviceId, Epoch, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::sync::{Cursor, Lane};

use super::{Result, Row, Tx, args};

/// Committed ranges above the contiguous part that are kept. A record that would open one more is
/// not taken; the device sends it again when the gaps below are filled.
const RANGES: usize = 1_024;

/// Where we stand in one lane of one epoch of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Which epoch.
    pub(crate) epoch: Epoch,
    /// Everything up to this number is committed.
    pub(crate) upto: u64,
    /// Committed ranges above `upto`, inclusive, ascending, not touching.
    pub(crate) ranges: Vec<(u64, u64)>,
    /// Digest of record `upto`, 0 if not known.
    pub(crate) digest: u64,
    /// Records that really came.
    pub(crate) received: u64,
    /// Records that came again.
    pub(crate) repeated: u64,
    /// Records that a quota removed on the device.
    pub(crate) dropped: u64,
    /// The highest number the device has announced.
    pub(crate) announced: u64,
}

impl Standing {
    /// Whether record `seq` is committed or known to be gone.
    pub(crate) fn has(&self, seq: u64) -> bool {
        seq <= self.upto || self.ranges.iter().any(|&(first, last)| first <= seq && seq <= last)
    }

    /// How many numbers up to the announced one are not here.
    pub(crate) fn missing(&self) -> u64 {
        let above: u64 = self.ranges.iter().map(|(first, last)| last - first + 1).sum();
        self.announced.saturating_sub(self.upto).saturating_sub(above)
    }

    /// Takes `first..=last` as committed. Answers how many numbers that added; `None` where it
    /// would open more ranges than are kept.
    pub(crate) fn take(&mut self, first: u64, last: u64) -> Option<u64> {
        let before = self.covered();
        let mut ranges = self.ranges.clone();
        ranges.push((first, last));
        ranges.sort_unstable();
        let mut upto = self.upto;
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            if first <= upto.saturating_add(1) {
                upto = upto.max(last);
                continue;
            }
            match merged.last_mut() {
                Some(open) if first <= open.1.saturating_add(1) => open.1 = open.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        if merged.len() > RANGES {
            return None;
        }
        (self.upto, self.ranges) = (upto, merged);
        self.announced = self.announced.max(last);
        Some(self.covered() - before)
    }

    fn covered(&self) -> u64 {
        self.upto + self.ranges.iter().map(|(first, last)| last - first + 1).sum::<u64>()
    }

    /// The standing as a cursor of `lane`.
    pub(crate) fn cursor(&self, lane: Lane) -> Cursor {
        let ranges = self.ranges.iter().take(limits::ACK_RANGES).copied();
        let ranges = if lane.is_ordered() { Vec::new() } else { ranges.collect() };
        Cursor { lane, upto: self.upto, digest: self.digest, ranges }
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            epoch: Epoch(row.hex("epoch")?),
            upto: row.count("upto")?,
            ranges: row.json("ranges")?,
            digest: row.hex("digest")?,
            received: row.count("received")?,
            repeated: row.count("repeated")?,
            dropped: row.count("dropped")?,
            announced: row.count("announced")?,
        })
    }
}

/// Reads a lane's standing and keeps others from changing it until the transaction ends; makes it
/// if this is the first word of the lane.
pub(crate) async fn lock(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
    lane: Lane,
    now_ms: i64,
) -> Result<Standing> {
    const LOCK: &str = "INSERT INTO lanes (tenant, device, epoch, lane, first_seen_ms)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant, device, epoch, lane) DO UPDATE SET lane = excluded.lane
        RETURNING epoch, upto, ranges, digest, received, repeated, dropped, announced";
    let row = tx.row(LOCK, args![tenant, device, &epoch, lane.name(), now_ms]).await?;
    Standing::read(&row.ok_or(sqlx::Error::RowNotFound)?)
}

/// Writes back what [`lock`] read.
pub(crate) async fn save(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    lane: Lane,
    standing: &Standing,
) -> Result<()> {
    const SAVE: &str = "UPDATE lanes SET upto = $5, ranges = $6, digest = $7, received = $8,
        repeated = $9, dropped = $10, announced = $11
        WHERE tenant = $1 AND device = $2 AND epoch = $3 AND lane = $4";
    let ranges = serde_json::json!(standing.ranges).to_string();
    let digest = format!("{:016x}", standing.digest);
    let key = args![tenant, device, &standing.epoch, lane.name()];
    let values = args![
        standing.upto,
        ranges,
        digest,
        standing.received,
        standing.repeated,
        standing.dropped,
        standing.announced
    ];
    tx.run(SAVE, [key, values].concat()).await?;
    Ok(())
}

/// The standing of one lane under every epoch of a device, newest epoch first.
pub(crate) async fn of_device(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    lane: Lane,
) -> Result<Vec<Standing>> {
    const SELECT: &str =
        "SELECT epoch, upto, ranges, digest, received, repeated, dropped, announced
        FROM lanes WHERE tenant = $1 AND device = $2 AND lane = $3
        ORDER BY first_seen_ms DESC, epoch";
    let rows = tx.rows(SELECT, args![tenant, device, lane.name()]).await?;
    rows.iter().map(Standing::read).collect()
}

/// The standing of one lane, if it is known.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: Epoch,
    lane: Lane,
) -> Result<Option<Standing>> {
    const SELECT: &str =
        "SELECT epoch, upto, ranges, digest, received, repeated, dropped, announced
        FROM lanes WHERE tenant = $1 AND device = $2 AND epoch = $3 AND lane = $4";
    let row = tx.row(SELECT, args![tenant, device, &epoch, lane.name()]).await?;
    row.as_ref().map(Standing::read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Standing {
        Standing {
            epoch: Epoch(1),
            upto: 0,
            ranges: Vec::new(),
            digest: 0,
            received: 0,
            repeated: 0,
            dropped: 0,
            announced: 0,
        }
    }

    #[test]
    fn ranges_merge_whatever_the_order() {
        let mut standing = empty();
        assert_eq!(standing.take(5, 6), Some(2));
        assert_eq!(standing.take(9, 9), Some(1));
        assert_eq!(standing.ranges, [(5, 6), (9, 9)]);
        assert_eq!(standing.take(6, 8), Some(2));
        assert_eq!(standing.ranges, [(5, 9)]);
        assert_eq!((standing.has(4), standing.has(9), standing.missing()), (false, true, 4));
        assert_eq!(standing.take(1, 4), Some(4));
        assert_eq!((standing.upto, standing.ranges.len(), standing.missing()), (9, 0, 0));
        assert_eq!(standing.take(3, 9), Some(0));
    }

    #[test]
    fn a_naive_model_agrees() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        for _ in 0..200 {
            let (mut standing, mut model) = (empty(), [false; 64]);
            for _ in 0..20 {
                let first = 1 + random(60);
                let last = first + random(3);
                standing.take(first, last).unwrap();
                model[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()].fill(true);
            }
            for seq in 1..64_u64 {
                assert_eq!(standing.has(seq), model[usize::try_from(seq).unwrap()], "{standing:?}");
            }
            let contiguous = (1..64).take_while(|&seq| model[seq]).count();
            assert_eq!(standing.upto, contiguous as u64);
        }
    }

    #[test]
    fn ranges_are_bounded() {
        let mut standing = empty();
        for n in 1..=RANGES as u64 {
            assert_eq!(standing.take(n * 2 + 1, n * 2 + 1), Some(1));
        }
        assert_eq!(standing.take(1_000_000, 1_000_000), None);
        assert!(!standing.has(1_000_000));
        assert_eq!(standing.take(1, 2), Some(2), "a gap can still be filled");
    }
}
