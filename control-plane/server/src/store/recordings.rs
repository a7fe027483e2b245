//! Recordings of runs, in the parts in which they came.

use openclaw_protocol::id::{DeviceId, RunId, TenantId};
use openclaw_protocol::recording::RecordingPart;

use super::ingest::Source;
use super::{Column, Result, Tx, args, insert_many};

/// Recordings of one device that are kept; the oldest go as new ones come.
const KEPT: u32 = 100;

/// Takes parts. A repeated one is a no-op.
pub(super) async fn add(tx: &mut Tx, source: &Source<'_>, parts: Vec<RecordingPart>) -> Result<()> {
    const OLDER: &str = "DELETE FROM recordings WHERE tenant = $1 AND device = $2
        AND request NOT IN (SELECT request FROM recordings WHERE tenant = $1 AND device = $2
        GROUP BY request ORDER BY MAX(received_ms) DESC, request DESC LIMIT $3)";
    let Source { tenant, device, now_ms, .. } = *source;
    let rows = parts.len();
    if rows == 0 {
        return Ok(());
    }
    let begins = parts.iter().any(|part| part.part == 0);
    let int = |of: fn(&RecordingPart) -> u32| {
        parts.iter().map(|part| Some(i64::from(of(part)))).collect::<Vec<_>>()
    };
    let columns = vec![
        Column::same("tenant", tenant.as_str(), rows),
        Column::same("device", device.as_str(), rows),
        Column::Text("run", parts.iter().map(|part| Some(part.run.to_string())).collect()),
        Column::Text("request", parts.iter().map(|part| Some(part.request.to_string())).collect()),
        Column::Int("part", int(|part| part.part)),
        Column::Int("parts", int(|part| part.parts)),
        Column::Int("received_ms", vec![Some(now_ms); rows]),
        Column::Bytes("bytes", parts.into_iter().map(|part| part.bytes).collect()),
    ];
    insert_many(tx, "recordings", columns, "ON CONFLICT DO NOTHING RETURNING part").await?;
    if begins {
        tx.run(OLDER, args![tenant, device, KEPT]).await?;
    }
    Ok(())
}

/// The parts of the newest whole recording of a run, in order, or of that which a wish asked for;
/// none where there is none.
pub(crate) async fn newest(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    run: &RunId,
    request: Option<&str>,
) -> Result<Vec<Vec<u8>>> {
    const WHOLE: &str = "SELECT request FROM recordings
        WHERE tenant = $1 AND device = $2 AND run = $3
        AND ($4 IS NULL OR request = $4) GROUP BY request
        HAVING COUNT(*) = MAX(parts) ORDER BY MAX(received_ms) DESC, request DESC LIMIT 1";
    const PARTS: &str = "SELECT bytes FROM recordings
        WHERE tenant = $1 AND device = $2 AND run = $3 AND request = $4 ORDER BY part";
    let Some(row) = tx.row(WHOLE, args![tenant, device, run, request]).await? else {
        return Ok(Vec::new());
    };
    let rows = tx.rows(PARTS, args![tenant, device, run, row.text("request")?]).await?;
    rows.iter().map(|row| row.bytes("bytes")).collect()
}
