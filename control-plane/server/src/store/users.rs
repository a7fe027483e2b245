//! People.

use super::{Result, Row, Tx, args};

/// A user's row.
#[derive(Debug, Clone)]
pub(crate) struct UserRow {
    pub(crate) username: String,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) disabled: bool,
    pub(crate) created_ms: i64,
}

impl UserRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            username: row.text("username")?,
            password_hash: row.text("password_hash")?,
            role: row.text("role")?,
            disabled: row.flag("disabled")?,
            created_ms: row.int("created_ms")?,
        })
    }
}

/// Writes down a user. Answers `false` where the name is taken.
pub(crate) async fn insert(tx: &mut Tx, tenant: &str, user: &UserRow) -> Result<bool> {
    const INSERT: &str = "INSERT INTO users
        (tenant, username, password_hash, role, disabled, created_ms)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let values = args![
        tenant,
        &user.username,
        &user.password_hash,
        &user.role,
        user.disabled,
        user.created_ms
    ];
    Ok(tx.run(INSERT, values).await? == 1)
}

/// One user.
pub(crate) async fn find(tx: &mut Tx, tenant: &str, username: &str) -> Result<Option<UserRow>> {
    const SELECT: &str = "SELECT username, password_hash, role, disabled, created_ms
        FROM users WHERE tenant = $1 AND username = $2";
    tx.row(SELECT, args![tenant, username]).await?.as_ref().map(UserRow::read).transpose()
}

/// Users in the order of their names, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &str,
    after: &str,
    limit: u32,
) -> Result<Vec<UserRow>> {
    const SELECT: &str = "SELECT username, password_hash, role, disabled, created_ms
        FROM users WHERE tenant = $1 AND username > $2 ORDER BY username LIMIT $3";
    tx.rows(SELECT, args![tenant, after, limit]).await?.iter().map(UserRow::read).collect()
}

/// Disables a user. Answers `false` where there is none.
pub(crate) async fn disable(tx: &mut Tx, tenant: &str, username: &str) -> Result<bool> {
    const UPDATE: &str = "UPDATE users SET disabled = 1 WHERE tenant = $1 AND username = $2";
    Ok(tx.run(UPDATE, args![tenant, username]).await? == 1)
}

/// Gives a user who is not disabled another password. Answers `false` where there is none.
pub(crate) async fn set_password(
    tx: &mut Tx,
    tenant: &str,
    username: &str,
    hash: &str,
) -> Result<bool> {
    const UPDATE: &str = "UPDATE users SET password_hash = $3
        WHERE tenant = $1 AND username = $2 AND disabled = 0";
    Ok(tx.run(UPDATE, args![tenant, username, hash]).await? == 1)
}

/// How many admins there are who can log in.
pub(crate) async fn enabled_admins(tx: &mut Tx, tenant: &str) -> Result<u64> {
    const COUNT: &str = "SELECT COUNT(*) AS n FROM users
        WHERE tenant = $1 AND role = 'admin' AND disabled = 0";
    tx.row(COUNT, args![tenant]).await?.map_or(Ok(0), |row| row.count("n"))
}
