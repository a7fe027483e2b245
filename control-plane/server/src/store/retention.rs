//! Forgetting: bounded deletes of old facts. The ledger's numbers (`lanes`) are never touched.

use super::{Result, Tx, args};

/// Rows that one statement deletes at most, so that no transaction grows long.
pub(crate) const AT_ONCE: u32 = 1_000;

/// Deletes up to [`AT_ONCE`] results received before `before_ms`, oldest first.
pub(crate) async fn results(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM results WHERE (tenant, device, epoch, seq) IN
        (SELECT tenant, device, epoch, seq FROM results WHERE received_ms < $1
         ORDER BY received_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] run events received before `before_ms`, oldest first.
pub(crate) async fn run_events(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM run_events WHERE (tenant, device, run, seq) IN
        (SELECT tenant, device, run, seq FROM run_events WHERE received_ms < $1
         ORDER BY received_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] settled runs that have not changed since `before_ms`.
pub(crate) async fn runs(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM runs WHERE (tenant, device, id) IN
        (SELECT tenant, device, id FROM runs WHERE updated_ms < $1
         AND status IN ('completed', 'failed', 'cancelled') ORDER BY updated_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] answered wishes that their device has acknowledged, or that belong to
/// a former generation.
pub(crate) async fn requests(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM requests WHERE (tenant, id) IN
        (SELECT r.tenant, r.id FROM requests r
         JOIN devices d ON d.tenant = r.tenant AND d.id = r.device
         WHERE r.created_ms < $1 AND r.answered_ms IS NOT NULL
         AND (r.seq IS NULL OR r.seq < d.commands_acked) ORDER BY r.created_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] security events heard of before `before_ms`, by our clock: a device
/// whose clock is wrong neither loses nor keeps them by that.
pub(crate) async fn security_events(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM security_events WHERE id IN
        (SELECT id FROM security_events WHERE received_ms < $1 ORDER BY received_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] lines of the audit trail written before `before_ms`.
pub(crate) async fn audit(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM audit WHERE id IN
        (SELECT id FROM audit WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] records that nobody could read and that came before `before_ms`.
pub(crate) async fn parked(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM parked_records WHERE (tenant, device, epoch, lane, seq) IN
        (SELECT tenant, device, epoch, lane, seq FROM parked_records WHERE received_ms < $1
         ORDER BY received_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes up to [`AT_ONCE`] parts of recordings received before `before_ms`, oldest first.
pub(crate) async fn recordings(tx: &mut Tx, before_ms: i64) -> Result<u64> {
    const DELETE: &str = "DELETE FROM recordings WHERE (tenant, device, run, request, part) IN
        (SELECT tenant, device, run, request, part FROM recordings WHERE received_ms < $1
         ORDER BY received_ms LIMIT $2)";
    tx.run(DELETE, args![before_ms, AT_ONCE]).await
}

/// Deletes what has ended: sessions, join codes a day past their end, kept answers a day old.
pub(crate) async fn ended(tx: &mut Tx, now_ms: i64) -> Result<u64> {
    const DAY_MS: i64 = 24 * 3_600_000;
    let sessions = tx.run("DELETE FROM sessions WHERE expires_ms <= $1", args![now_ms]).await?;
    let day_ago = now_ms - DAY_MS;
    let codes = tx.run("DELETE FROM join_codes WHERE expires_ms <= $1", args![day_ago]).await?;
    let answers = tx.run("DELETE FROM idempotency WHERE created_ms <= $1", args![day_ago]).await?;
    Ok(sessions + codes + answers)
}

/// What a table takes, about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Rows in it.
    pub(crate) rows: u64,
    /// Bytes of one row, on average over the newest thousand.
    pub(crate) row_bytes: u64,
}

impl Size {
    /// All rows together.
    pub(crate) fn bytes(self) -> u64 {
        self.rows.saturating_mul(self.row_bytes)
    }
}

/// About how much the results take.
pub(crate) async fn results_size(tx: &mut Tx) -> Result<Size> {
    const COUNT: &str = "SELECT COUNT(*) AS n FROM results";
    const AVERAGE: &str = "SELECT CAST(COALESCE(AVG(n), 0) AS BIGINT) AS n FROM
        (SELECT length(result) + 250 AS n FROM results ORDER BY received_ms DESC LIMIT 1000) AS s";
    size(tx, COUNT, AVERAGE).await
}

/// About how much the run events take.
pub(crate) async fn run_events_size(tx: &mut Tx) -> Result<Size> {
    const COUNT: &str = "SELECT COUNT(*) AS n FROM run_events";
    const AVERAGE: &str = "SELECT CAST(COALESCE(AVG(n), 0) AS BIGINT) AS n FROM
        (SELECT length(body) + 150 AS n FROM run_events ORDER BY received_ms DESC LIMIT 1000) AS s";
    size(tx, COUNT, AVERAGE).await
}

/// About how much the records take that nobody could read.
pub(crate) async fn parked_size(tx: &mut Tx) -> Result<Size> {
    const COUNT: &str = "SELECT COUNT(*) AS n FROM parked_records";
    const AVERAGE: &str = "SELECT CAST(COALESCE(AVG(n), 0) AS BIGINT) AS n FROM
        (SELECT length(body) + 200 AS n FROM parked_records
         ORDER BY received_ms DESC LIMIT 1000) AS s";
    size(tx, COUNT, AVERAGE).await
}

async fn size(tx: &mut Tx, count: &'static str, average: &'static str) -> Result<Size> {
    let rows = tx.row(count, args![]).await?.map_or(Ok(0), |row| row.count("n"))?;
    let row_bytes = tx.row(average, args![]).await?.map_or(Ok(0), |row| row.count("n"))?;
    Ok(Size { rows, row_bytes })
}
