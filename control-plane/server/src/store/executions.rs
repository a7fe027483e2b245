//! Executions as people read them: the list, the events of one, its result.

use openclaw_protocol::id::{DeviceId, RunId, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, RunEventRecord, RunResult};
use openclaw_protocol::wire::{self, Kind};

use super::{Result, Row, Tx, args};

/// A row of the list.
#[derive(Debug, Clone)]
pub(crate) struct RunRow {
    pub(crate) device: String,
    pub(crate) id: String,
    pub(crate) workflow: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) trigger: String,
    pub(crate) accepted_ms: Option<i64>,
    pub(crate) settled_ms: Option<i64>,
    pub(crate) updated_ms: i64,
    pub(crate) error: Option<RunError>,
}

impl RunRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            device: row.text("device")?,
            id: row.text("id")?,
            workflow: row.text("workflow")?,
            version: row.text("version")?,
            status: row.text("status")?,
            trigger: row.text("trigger_id")?,
            accepted_ms: row.opt_int("accepted_ms")?,
            settled_ms: row.opt_int("settled_ms")?,
            updated_ms: row.int("updated_ms")?,
            error: row.opt_json("error")?,
        })
    }
}

/// Which executions a list is of.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) device: Option<String>,
    pub(crate) workflow: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) run: Option<String>,
}

/// Where a page begins: before the execution changed then, on that device, with that id.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    pub(crate) updated_ms: i64,
    pub(crate) device: String,
    pub(crate) id: String,
}

/// Executions, latest change first, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    filter: &Filter,
    before: &Before,
    limit: u32,
) -> Result<Vec<RunRow>> {
    const SELECT: &str = "SELECT device, id, workflow, version, status, trigger_id, accepted_ms,
        settled_ms, updated_ms, error FROM runs WHERE tenant = $1
        AND ($2 IS NULL OR device = $2) AND ($3 IS NULL OR workflow = $3)
        AND ($4 IS NULL OR status = $4) AND updated_ms <= $5
        AND (updated_ms < $5 OR device < $6 OR (device = $6 AND id < $7))
        AND ($8 IS NULL OR id = $8)
        ORDER BY updated_ms DESC, device DESC, id DESC LIMIT $9";
    let values = args![
        tenant,
        filter.device.as_deref(),
        filter.workflow.as_deref(),
        filter.status.as_deref(),
        before.updated_ms,
        &before.device,
        &before.id,
        filter.run.as_deref(),
        limit
    ];
    tx.rows(SELECT, values).await?.iter().map(RunRow::read).collect()
}

/// One row of the list.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    run: &RunId,
) -> Result<Option<RunRow>> {
    const SELECT: &str = "SELECT device, id, workflow, version, status, trigger_id, accepted_ms,
        settled_ms, updated_ms, error FROM runs WHERE tenant = $1 AND device = $2 AND id = $3";
    tx.row(SELECT, args![tenant, device, run]).await?.as_ref().map(RunRow::read).transpose()
}

/// Some of a run's events.
#[derive(Debug)]
pub(crate) struct Events {
    /// In order.
    pub(crate) events: Vec<RunEventRecord>,
    /// Bytes they take in the database.
    pub(crate) bytes: u64,
    /// There are more.
    pub(crate) more: bool,
}

/// Events of a run after number `after`, in order, at most `limit` and about `bytes` of them (at
/// least one, if there is one).
pub(crate) async fn events(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    run: &RunId,
    after: u32,
    (limit, bytes): (u32, u64),
) -> Result<Events> {
    // Sizes first, so that what is not wanted is never read into memory.
    const SIZES: &str = "SELECT seq, CAST(length(body) AS BIGINT) AS size FROM run_events
        WHERE tenant = $1 AND device = $2 AND run = $3 AND seq > $4 ORDER BY seq LIMIT $5";
    const SELECT: &str = "SELECT body FROM run_events
        WHERE tenant = $1 AND device = $2 AND run = $3 AND seq > $4 AND seq <= $5 ORDER BY seq";
    let rows = tx.rows(SIZES, args![tenant, device, run, after, limit.saturating_add(1)]).await?;
    let (mut last, mut taken, mut size) = (after, 0_u32, 0);
    for row in rows.iter().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        let more = row.count("size")?;
        if taken > 0 && size + more > bytes {
            break;
        }
        (last, taken, size) = (row.small("seq")?, taken + 1, size + more);
    }
    let more = rows.len() as u64 > u64::from(taken);
    let rows = tx.rows(SELECT, args![tenant, device, run, after, last]).await?;
    let events = rows.iter().map(|row| {
        let event = wire::unpack(Kind::RunEvent, &row.bytes("body")?, limits::RECORD_BYTES);
        event.map_err(|e| super::row::unreadable("body", e.to_string()))
    });
    Ok(Events { events: events.collect::<Result<_>>()?, bytes: size, more })
}

/// A run's result and its number in the results lane, once that is here.
pub(crate) async fn result(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    run: &RunId,
) -> Result<Option<(u64, RunResult)>> {
    const SELECT: &str = "SELECT seq, result FROM results
        WHERE tenant = $1 AND run = $2 AND device = $3";
    let row = tx.row(SELECT, args![tenant, run, device]).await?;
    row.map(|row| Ok((row.count("seq")?, row.json("result")?))).transpose()
}

/// How many results are kept, of all tenants.
pub(crate) async fn count_results(tx: &mut Tx) -> Result<u64> {
    // From the ledger, so that it costs nothing on a large table and survives retention.
    const COUNT: &str = "SELECT CAST(COALESCE(SUM(received), 0) AS BIGINT) AS n FROM lanes
        WHERE lane = 'results'";
    tx.row(COUNT, args![]).await?.map_or(Ok(0), |row| row.count("n"))
}
