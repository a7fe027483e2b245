//! Join codes: only the hash of the secret is kept; each is good once.

use std::collections::BTreeMap;

use openclaw_protocol::id::{DeviceId, TenantId};

use super::{Result, Tx, args};

/// What a join code is good for.
#[derive(Debug, Clone)]
pub(crate) struct JoinCodeRow {
    /// Whose fleet.
    pub(crate) tenant: TenantId,
    /// The id the device shall have.
    pub(crate) device: DeviceId,
    /// The labels it shall have.
    pub(crate) labels: BTreeMap<String, String>,
    /// Who made the code.
    pub(crate) created_by: String,
}

/// Writes down a code.
pub(crate) async fn insert(
    tx: &mut Tx,
    code_hash: &str,
    code: &JoinCodeRow,
    now_ms: i64,
    expires_ms: i64,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO join_codes
        (code_hash, tenant, device, labels, created_by, created_ms, expires_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let JoinCodeRow { tenant, device, labels, created_by } = code;
    let labels = serde_json::json!(labels).to_string();
    let values = args![code_hash, tenant, device, labels, created_by, now_ms, expires_ms];
    tx.run(INSERT, values).await?;
    Ok(())
}

/// Uses a code up: whoever asks first gets it, if it has not ended.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn take(tx: &mut Tx, code_hash: &str, now_ms: i64) -> Result<Option<JoinCodeRow>> {
    const TAKE: &str = "UPDATE join_codes SET used_ms = $2
        WHERE code_hash = $1 AND used_ms IS NULL AND expires_ms > $2
        RETURNING tenant, device, labels, created_by";
    let row = tx.row(TAKE, args![code_hash, now_ms]).await?;
    row.map(|row| {
        Ok(JoinCodeRow {
            tenant: row.parsed("tenant")?,
            device: row.parsed("device")?,
            labels: row.json("labels")?,
            created_by: row.text("created_by")?,
        })
    })
    .transpose()
}
