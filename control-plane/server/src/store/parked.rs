//! Records that this build could not read when they came: kept, and looked at again at each start,
//! because a newer build may read them.

use openclaw_protocol::id::{DeviceId, Epoch, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::recording::RecordingPart;
use openclaw_protocol::report::ReportRecord;
use openclaw_protocol::run::{RunEventRecord, RunResult};
use openclaw_protocol::sync::{Lane, Record};
use openclaw_protocol::wire::{self, Kind, WireError};

use super::ingest::{self, Source};
use super::{Result, Row, Tx, args};

/// Records looked at in one transaction.
const AT_ONCE: u32 = 32;

/// A record that could not be read, and why.
pub(super) type Unreadable = (Record, WireError);

/// Where a record lies: tenant, device, epoch, lane, number. Looking begins after the default.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place(String, String, String, String, i64);

/// What came of looking at some records.
#[derive(Debug)]
pub(crate) struct Reread {
    /// How many were read and stored as what they are.
    pub(crate) stored: u64,
    /// Where to go on; `None` where all are looked at.
    pub(crate) next: Option<Place>,
}

/// Keeps what this build cannot read.
pub(super) async fn park(
    tx: &mut Tx,
    source: &Source<'_>,
    lane: Lane,
    parked: Vec<Unreadable>,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO parked_records
        (tenant, device, epoch, lane, seq, reason, body, received_ms, digest)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    let Source { tenant, device, epoch, now_ms, .. } = *source;
    for (record, error) in parked {
        let key = args![tenant, device, &epoch, lane.name(), record.seq];
        let digest = format!("{:016x}", record.digest);
        let values = args![error.to_string(), record.body, now_ms, digest];
        tx.run(INSERT, [key, values].concat()).await?;
    }
    Ok(())
}

/// Looks at some parked records after `after` again: what can be read now is stored as if it had
/// just come, and is parked no more. The caller commits, and goes on where the answer says.
///
/// # Errors
/// The database could not.
pub(crate) async fn reread(tx: &mut Tx, after: &Place, now_ms: i64) -> Result<Reread> {
    const SELECT: &str = "SELECT tenant, device, epoch, lane, seq, body, digest FROM parked_records
        WHERE (tenant, device, epoch, lane, seq) > ($1, $2, $3, $4, $5)
        ORDER BY tenant, device, epoch, lane, seq LIMIT $6";
    let Place(tenant, device, epoch, lane, seq) = after;
    let rows = tx.rows(SELECT, args![tenant, device, epoch, lane, *seq, AT_ONCE]).await?;
    let mut reread = Reread { stored: 0, next: None };
    for row in &rows {
        // A row that is damaged stays where it is and keeps nobody from starting.
        match reread_one(tx, row, now_ms).await {
            Ok(is_stored) => reread.stored += u64::from(is_stored),
            Err(error @ super::StoreError::Unreadable { .. }) => {
                tracing::warn!(%error, "a parked record is damaged");
            }
            Err(error) => return Err(error),
        }
    }
    if rows.len() as u64 == u64::from(AT_ONCE)
        && let Some(last) = rows.last()
    {
        let text = |column| last.text(column);
        let (tenant, device, epoch) = (text("tenant")?, text("device")?, text("epoch")?);
        reread.next = Some(Place(tenant, device, epoch, text("lane")?, last.int("seq")?));
    }
    Ok(reread)
}

async fn reread_one(tx: &mut Tx, row: &Row, now_ms: i64) -> Result<bool> {
    const DELETE: &str = "DELETE FROM parked_records
        WHERE tenant = $1 AND device = $2 AND epoch = $3 AND lane = $4 AND seq = $5";
    let (tenant, device): (TenantId, DeviceId) = (row.parsed("tenant")?, row.parsed("device")?);
    let (epoch, lane) = (Epoch(row.hex("epoch")?), row.text("lane")?);
    let record =
        Record { seq: row.count("seq")?, digest: row.hex("digest")?, body: row.bytes("body")? };
    let Some(lane) = Lane::UP.into_iter().find(|known| known.name() == lane) else {
        return Ok(false);
    };
    if !can_read(lane, &record.body) {
        return Ok(false);
    }
    let seq = record.seq;
    let source = Source { tenant: &tenant, device: &device, epoch, now_ms, is_late: true };
    // Nobody watches yet: the control plane is only starting.
    ingest::store(tx, &source, lane, vec![record]).await?;
    tx.run(DELETE, args![&tenant, &device, &epoch, lane.name(), seq]).await?;
    Ok(true)
}

fn can_read(lane: Lane, body: &[u8]) -> bool {
    fn is<T: serde::de::DeserializeOwned>(kind: Kind, body: &[u8]) -> bool {
        wire::unpack::<T>(kind, body, limits::RECORD_BYTES).is_ok()
    }
    match lane {
        Lane::Results => is::<RunResult>(Kind::RunResult, body),
        Lane::History => is::<RunEventRecord>(Kind::RunEvent, body),
        Lane::Control => is::<ReportRecord>(Kind::Report, body),
        Lane::Telemetry => is::<RecordingPart>(Kind::Recording, body),
        Lane::Commands => false,
    }
}
