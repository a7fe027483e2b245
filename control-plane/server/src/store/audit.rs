//! Who changed what: one row for each change of state, in the same transaction.

use serde_json::Value;

use super::{Result, Tx, args};

/// A change.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// Whose control plane.
    pub(crate) tenant: &'a str,
    /// Who: `user:<name>`, `key:<id>`, `device:<id>` or `system`.
    pub(crate) actor: &'a str,
    /// What was done, such as `device.revoke`.
    pub(crate) action: &'a str,
    /// To what.
    pub(crate) subject: &'a str,
    /// With which particulars; never a secret.
    pub(crate) detail: Value,
}

/// Writes down a change.
pub(crate) async fn record(tx: &mut Tx, entry: Entry<'_>, now_ms: i64) -> Result<()> {
    const INSERT: &str = "INSERT INTO audit (id, tenant, at_ms, actor, action, subject, detail)
        VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let Entry { tenant, actor, action, subject, detail } = entry;
    let id = crate::random::ordered_id(now_ms);
    tx.run(INSERT, args![id, tenant, now_ms, actor, action, subject, detail.to_string()]).await?;
    Ok(())
}
