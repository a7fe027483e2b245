//! Sessions of people: only the hash of a token is kept.

use super::{Result, Tx, args};

/// Whose session a token is.
#[derive(Debug, Clone)]
pub(crate) struct SessionUser {
    pub(crate) tenant: String,
    pub(crate) username: String,
    pub(crate) role: String,
}

/// Begins a session.
pub(crate) async fn insert(
    tx: &mut Tx,
    token_hash: &str,
    tenant: &str,
    username: &str,
    now_ms: i64,
    expires_ms: i64,
) -> Result<()> {
    const INSERT: &str =
        "INSERT INTO sessions (token_hash, tenant, username, created_ms, expires_ms)
        VALUES ($1, $2, $3, $4, $5)";
    tx.run(INSERT, args![token_hash, tenant, username, now_ms, expires_ms]).await?;
    Ok(())
}

/// Whose token this is, if its session has not ended and its user may still log in.
pub(crate) async fn find(
    tx: &mut Tx,
    token_hash: &str,
    now_ms: i64,
) -> Result<Option<SessionUser>> {
    const SELECT: &str = "SELECT u.tenant, u.username, u.role FROM sessions s
        JOIN users u ON u.tenant = s.tenant AND u.username = s.username
        WHERE s.token_hash = $1 AND s.expires_ms > $2 AND u.disabled = 0";
    let row = tx.row(SELECT, args![token_hash, now_ms]).await?;
    row.map(|row| {
        Ok(SessionUser {
            tenant: row.text("tenant")?,
            username: row.text("username")?,
            role: row.text("role")?,
        })
    })
    .transpose()
}

/// Ends a session.
pub(crate) async fn delete(tx: &mut Tx, token_hash: &str) -> Result<()> {
    tx.run("DELETE FROM sessions WHERE token_hash = $1", args![token_hash]).await?;
    Ok(())
}

/// Ends all sessions of a user.
pub(crate) async fn delete_of_user(tx: &mut Tx, tenant: &str, username: &str) -> Result<()> {
    const DELETE: &str = "DELETE FROM sessions WHERE tenant = $1 AND username = $2";
    tx.run(DELETE, args![tenant, username]).await?;
    Ok(())
}

/// Ends the oldest sessions of a user, so that at most `keep` remain.
pub(crate) async fn delete_oldest(
    tx: &mut Tx,
    tenant: &str,
    username: &str,
    keep: u32,
) -> Result<()> {
    const DELETE: &str = "DELETE FROM sessions WHERE tenant = $1 AND username = $2
        AND token_hash NOT IN (SELECT token_hash FROM sessions
            WHERE tenant = $1 AND username = $2 ORDER BY created_ms DESC, token_hash LIMIT $3)";
    tx.run(DELETE, args![tenant, username, keep]).await?;
    Ok(())
}
