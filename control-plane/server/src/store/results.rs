//! Results as an auditor reads them: row by row, in the order of their numbers.

use openclaw_protocol::id::{DeviceId, TenantId};

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
