//! API keys: only the hash of the secret is kept.

use super::{Result, Row, Tx, args};

/// An API key's row.
#[derive(Debug, Clone)]
pub(crate) struct ApiKeyRow {
    pub(crate) tenant: String,
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) secret_hash: String,
    pub(crate) role: String,
    pub(crate) created_by: String,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) revoked: bool,
}

impl ApiKeyRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            tenant: row.text("tenant")?,
            id: row.text("id")?,
            name: row.text("name")?,
            secret_hash: row.text("secret_hash")?,
            role: row.text("role")?,
            created_by: row.text("created_by")?,
            created_ms: row.int("created_ms")?,
            expires_ms: row.int("expires_ms")?,
            revoked: row.flag("revoked")?,
        })
    }
}

/// Writes down a key.
pub(crate) async fn insert(tx: &mut Tx, key: &ApiKeyRow) -> Result<()> {
    const INSERT: &str = "INSERT INTO api_keys (tenant, id, name, secret_hash, role, created_by,
        created_ms, expires_ms, revoked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let values = args![
        &key.tenant,
        &key.id,
        &key.name,
        &key.secret_hash,
        &key.role,
        &key.created_by,
        key.created_ms,
        key.expires_ms,
        key.revoked
    ];
    tx.run(INSERT, values).await?;
    Ok(())
}

/// The key with this secret, if it may still be used and its maker, where that is a user, may
/// still log in.
pub(crate) async fn find_usable(
    tx: &mut Tx,
    secret_hash: &str,
    now_ms: i64,
) -> Result<Option<ApiKeyRow>> {
    const SELECT: &str = "SELECT k.tenant, k.id, k.name, k.secret_hash, k.role, k.created_by,
        k.created_ms, k.expires_ms, k.revoked FROM api_keys k
        LEFT JOIN users u ON u.tenant = k.tenant AND k.created_by = 'user:' || u.username
        WHERE k.secret_hash = $1 AND k.revoked = 0 AND k.expires_ms > $2
        AND COALESCE(u.disabled, 0) = 0";
    tx.row(SELECT, args![secret_hash, now_ms]).await?.as_ref().map(ApiKeyRow::read).transpose()
}

/// Keys in the order of their ids, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<ApiKeyRow>> {
    const SELECT: &str = "SELECT tenant, id, name, secret_hash, role, created_by, created_ms,
        expires_ms, revoked FROM api_keys WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3";
    tx.rows(SELECT, args![tenant, after, limit]).await?.iter().map(ApiKeyRow::read).collect()
}

/// Revokes a key. Answers `false` where there is none.
pub(crate) async fn revoke(tx: &mut Tx, tenant: &str, id: &str) -> Result<bool> {
    const UPDATE: &str = "UPDATE api_keys SET revoked = 1 WHERE tenant = $1 AND id = $2";
    Ok(tx.run(UPDATE, args![tenant, id]).await? == 1)
}
