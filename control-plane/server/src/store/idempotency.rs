//! Answers to requests that carried an `Idempotency-Key`, kept for a day.

use super::{Result, Tx, args};

/// An answer that was given before.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) request_hash: String,
    pub(crate) status: u16,
    pub(crate) response: String,
}

/// The answer given under a key.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &str,
    actor: &str,
    key: &str,
) -> Result<Option<Answer>> {
    const SELECT: &str = "SELECT request_hash, status, response FROM idempotency
        WHERE tenant = $1 AND actor = $2 AND idempotency_key = $3";
    let row = tx.row(SELECT, args![tenant, actor, key]).await?;
    row.map(|row| {
        Ok(Answer {
            request_hash: row.text("request_hash")?,
            status: u16::try_from(row.int("status")?).unwrap_or(500),
            response: row.text("response")?,
        })
    })
    .transpose()
}

/// Keeps an answer, in the transaction of what it answers. Answers `false` where another request
/// with that key was faster.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: &str,
    actor: &str,
    key: &str,
    answer: &Answer,
    now_ms: i64,
) -> Result<bool> {
    const INSERT: &str = "INSERT INTO idempotency
        (tenant, actor, idempotency_key, request_hash, status, response, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let Answer { request_hash, status, response } = answer;
    let values = args![tenant, actor, key, request_hash, u32::from(*status), response, now_ms];
    Ok(tx.run(INSERT, values).await? == 1)
}
