//! Security events as an officer reads them: what devices and the control plane noticed.

use openclaw_protocol::id::TenantId;

use super::{Result, Row, Tx, args};

/// A security event's row.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) id: String,
    pub(crate) device: String,
    pub(crate) code: String,
    pub(crate) message: String,
    /// By the clock of whoever noticed it.
    pub(crate) at_ms: i64,
    /// By our clock.
    pub(crate) received_ms: i64,
}

impl EventRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            device: row.text("device")?,
            code: row.text("code")?,
            message: row.text("message")?,
            at_ms: row.int("at_ms")?,
            received_ms: row.int("received_ms")?,
        })
    }
}

/// Events heard of before `received_ms` (or then, with a lower id), latest first, at most `limit`;
/// of one device where one is named.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    device: Option<&str>,
    (received_ms, id): (i64, &str),
    limit: u32,
) -> Result<Vec<EventRow>> {
    const SELECT: &str = "SELECT id, device, code, message, at_ms, received_ms FROM security_events
        WHERE tenant = $1 AND ($2 IS NULL OR device = $2)
        AND (received_ms < $3 OR (received_ms = $3 AND id < $4))
        ORDER BY received_ms DESC, id DESC LIMIT $5";
    let rows = tx.rows(SELECT, args![tenant, device, received_ms, id, limit]).await?;
    rows.iter().map(EventRow::read).collect()
}
