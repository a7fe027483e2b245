//! Results as an auditor reads them: row by row, in the order of their numbers.

use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::run::RunResult;
use openclaw_protocol::sync::{Lane, Record};

use super::ingest::Source;
use super::{Result, Row, Tx, args};

/// A row of a device's results.
#[derive(Debug, Clone)]
pub(crate) struct ResultRow {
    pub(crate) epoch: String,
    pub(crate) seq: u64,
    pub(crate) run: String,
    pub(crate) workflow: String,
    pub(crate) status: String,
    pub(crate) received_ms: i64,
}

impl ResultRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            epoch: row.text("epoch")?,
            seq: row.count("seq")?,
            run: row.text("run")?,
            workflow: row.text("workflow")?,
            status: row.text("status")?,
            received_ms: row.int("received_ms")?,
        })
    }
}

/// Results of a device after number `seq` of `epoch`, by epoch and number, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    epoch: &str,
    seq: u64,
    limit: u32,
) -> Result<Vec<ResultRow>> {
    const SELECT: &str = "SELECT epoch, seq, run, workflow, status, received_ms FROM results
        WHERE tenant = $1 AND device = $2 AND (epoch > $3 OR (epoch = $3 AND seq > $4))
        ORDER BY epoch, seq LIMIT $5";
    let rows = tx.rows(SELECT, args![tenant, device, epoch, seq, limit]).await?;
    rows.iter().map(ResultRow::read).collect()
}

/// A result, as it came and as it is read.
type Read = (Record, RunResult);

/// Takes apart what is here under another log already, and what is new. A device whose database was put
/// back or cloned numbers everything anew and tells it again: the same word of the same run is one
/// row. Another word of the same run stays beside it, for then two copies of the device are at work.
pub(super) async fn told_before(
    tx: &mut Tx,
    source: &Source<'_>,
    read: Vec<Read>,
) -> Result<(Vec<Read>, Vec<Read>)> {
    const OTHER_LOGS: &str = "SELECT COUNT(*) AS n FROM lanes WHERE tenant = $1 AND device = $2
        AND lane = $3 AND epoch <> $4 AND received > 0";
    const SAME: &str = "SELECT COUNT(*) AS n FROM results
        WHERE tenant = $1 AND run = $2 AND device = $3 AND epoch <> $4 AND result = $5";
    let Source { tenant, device, epoch, .. } = source;
    let key = args![*tenant, *device, Lane::Results.name(), epoch];
    let others = tx.row(OTHER_LOGS, key).await?.map_or(Ok(0), |row| row.int("n"))?;
    if others == 0 {
        return Ok((Vec::new(), read));
    }
    let (mut told, mut new) = (Vec::new(), Vec::new());
    for (record, result) in read {
        let text = serde_json::json!(result).to_string();
        let key = args![*tenant, &result.run, *device, epoch, text];
        let same = tx.row(SAME, key).await?.map_or(Ok(0), |row| row.int("n"))?;
        if same > 0 { told.push((record, result)) } else { new.push((record, result)) }
    }
    Ok((told, new))
}
