//! Keys that sign plugins: who may, and who may no more.

use openclaw_protocol::id::TenantId;

use super::{Result, Row, Tx, args};

/// A key.
#[derive(Debug, Clone)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Ed25519, in hexadecimal.
    pub(crate) public_key: String,
    pub(crate) added_by: String,
    pub(crate) added_ms: i64,
    pub(crate) revoked_ms: Option<i64>,
}

impl KeyRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            id: row.text("id")?,
            name: row.text("name")?,
            public_key: row.text("public_key")?,
            added_by: row.text("added_by")?,
            added_ms: row.int("added_ms")?,
            revoked_ms: row.opt_int("revoked_ms")?,
        })
    }
}

/// Adds a key. Answers `false` where it is there, revoked or not.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, key: &KeyRow) -> Result<bool> {
    const INSERT: &str = "INSERT INTO publisher_keys (tenant, id, name, public_key, added_by,
        added_ms) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let KeyRow { id, name, public_key, added_by, added_ms, .. } = key;
    let values = args![tenant, id, name, public_key, added_by, *added_ms];
    Ok(tx.run(INSERT, values).await? > 0)
}

/// One key.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, id: &str) -> Result<Option<KeyRow>> {
    const SELECT: &str = "SELECT id, name, public_key, added_by, added_ms, revoked_ms
        FROM publisher_keys WHERE tenant = $1 AND id = $2";
    tx.row(SELECT, args![tenant, id]).await?.as_ref().map(KeyRow::read).transpose()
}

/// Keys in the order of their ids, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    after: &str,
    limit: u32,
) -> Result<Vec<KeyRow>> {
    const SELECT: &str = "SELECT id, name, public_key, added_by, added_ms, revoked_ms
        FROM publisher_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
    tx.rows(SELECT, args![tenant, after, limit]).await?.iter().map(KeyRow::read).collect()
}

/// A key signs nothing more. It keeps its row, so that it cannot be added again.
pub(crate) async fn revoke(tx: &mut Tx, tenant: &TenantId, id: &str, now_ms: i64) -> Result<()> {
    const UPDATE: &str = "UPDATE publisher_keys SET revoked_ms = $3
        WHERE tenant = $1 AND id = $2 AND revoked_ms IS NULL";
    tx.run(UPDATE, args![tenant, id, now_ms]).await.map(drop)
}
