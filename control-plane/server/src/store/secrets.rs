//! Secrets as they are kept, encrypted, and which device wants and holds which.

use data_encoding::HEXLOWER;
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::secret::{HeldSecret, SecretState};

use super::{Result, Row, Tx, args, row};

/// A secret's row.
#[derive(Debug, Clone)]
pub(crate) struct SecretRow {
    pub(crate) name: String,
    pub(crate) version: u64,
    /// Encrypted.
    pub(crate) value: Vec<u8>,
    pub(crate) updated_ms: i64,
    pub(crate) updated_by: String,
    /// Devices that are to have it.
    pub(crate) devices: u64,
    /// Devices that say that they can use this very version.
    pub(crate) ready: u64,
}

impl SecretRow {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            version: row.count("version")?,
            value: row.bytes("value")?,
            updated_ms: row.int("updated_ms")?,
            updated_by: row.text("updated_by")?,
            devices: row.count("devices")?,
            ready: row.count("ready")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT s.name, s.version, s.value, s.updated_ms, s.updated_by,
             (SELECT COUNT(*) FROM device_secrets d WHERE d.tenant = s.tenant AND d.name = s.name
              AND d.wanted IS NOT NULL) AS devices,
             (SELECT COUNT(*) FROM device_secrets d WHERE d.tenant = s.tenant AND d.name = s.name
              AND d.wanted = s.version AND d.held = s.version AND d.state = 'ready') AS ready
             FROM secrets s ",
            $rest
        )
    };
}

/// How a secret stands on one device.
#[derive(Debug, Clone)]
pub(crate) struct DeviceSecretRow {
    pub(crate) device: DeviceId,
    /// The version it is to have; 0 where there is no value.
    pub(crate) wanted: u64,
    /// The version it says it has.
    pub(crate) held: Option<i64>,
    /// What it says of it.
    pub(crate) state: Option<String>,
    /// It has told a key to seal to.
    pub(crate) has_key: bool,
    /// When it was last heard of.
    pub(crate) last_seen_ms: Option<i64>,
}

/// One secret that has a value.
pub(crate) async fn find(tx: &mut Tx, tenant: &TenantId, name: &str) -> Result<Option<SecretRow>> {
    const SELECT: &str = select!("WHERE s.tenant = $1 AND s.name = $2 AND s.value IS NOT NULL");
    tx.row(SELECT, args![tenant, name]).await?.as_ref().map(SecretRow::read).transpose()
}

/// Secrets in the order of their names, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    after: &str,
    limit: u32,
) -> Result<Vec<SecretRow>> {
    const SELECT: &str = select!(
        "WHERE s.tenant = $1 AND s.name > $2 AND s.value IS NOT NULL ORDER BY s.name LIMIT $3"
    );
    tx.rows(SELECT, args![tenant, after, limit]).await?.iter().map(SecretRow::read).collect()
}

/// How many secrets a tenant has.
pub(crate) async fn count(tx: &mut Tx, tenant: &TenantId) -> Result<u64> {
    const COUNT: &str = "SELECT COUNT(*) AS n FROM secrets WHERE tenant = $1 AND value IS NOT NULL";
    tx.row(COUNT, args![tenant]).await?.map_or(Ok(0), |row| row.count("n"))
}

/// Whether any tenant has a secret, so that the key in the data folder is needed.
///
/// # Errors
/// The database could not.
pub(crate) async fn any(tx: &mut Tx) -> Result<bool> {
    // Of no one tenant: the key is for all of them.
    const SELECT: &str = "SELECT tenant FROM secrets WHERE value IS NOT NULL LIMIT 1";
    Ok(tx.row(SELECT, args![]).await?.is_some())
}

/// The version that the next value of a secret has. Versions count up across a deletion.
pub(crate) async fn next_version(tx: &mut Tx, tenant: &TenantId, name: &str) -> Result<u64> {
    const SELECT: &str = "SELECT version FROM secrets WHERE tenant = $1 AND name = $2";
    let row = tx.row(SELECT, args![tenant, name]).await?;
    row.map_or(Ok(1), |row| Ok(row.count("version")? + 1))
}

/// Keeps a value.
pub(crate) async fn put(
    tx: &mut Tx,
    tenant: &TenantId,
    (name, version): (&str, u64),
    value: Vec<u8>,
    (by, now_ms): (&str, i64),
) -> Result<()> {
    const PUT: &str = "INSERT INTO secrets (tenant, name, version, value, updated_ms, updated_by)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, name) DO UPDATE SET
        version = excluded.version, value = excluded.value, updated_ms = excluded.updated_ms,
        updated_by = excluded.updated_by";
    tx.run(PUT, args![tenant, name, version, value, now_ms, by]).await?;
    Ok(())
}

/// Wipes a value. Its version stays, so that no later value has the same one. Answers `false` where
/// there is none.
pub(crate) async fn delete(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    (by, now_ms): (&str, i64),
) -> Result<bool> {
    const UPDATE: &str = "UPDATE secrets SET value = NULL, updated_ms = $3, updated_by = $4
        WHERE tenant = $1 AND name = $2 AND value IS NOT NULL";
    Ok(tx.run(UPDATE, args![tenant, name, now_ms, by]).await? == 1)
}

/// How a secret stands on the devices that are to have it, by device, at most `limit`.
pub(crate) async fn devices(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    limit: u32,
) -> Result<Vec<DeviceSecretRow>> {
    const SELECT: &str = "SELECT s.device, s.wanted, s.held, s.state, d.last_seen_ms,
        (SELECT COUNT(*) FROM sealing_keys k WHERE k.tenant = s.tenant AND k.device = s.device)
            AS keys
        FROM device_secrets s JOIN devices d ON d.tenant = s.tenant AND d.id = s.device
        WHERE s.tenant = $1 AND s.name = $2 AND s.wanted IS NOT NULL ORDER BY s.device LIMIT $3";
    let rows = tx.rows(SELECT, args![tenant, name, limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(DeviceSecretRow {
                device: row.parsed("device")?,
                wanted: row.count("wanted")?,
                held: row.opt_int("held")?,
                state: row.opt_text("state")?,
                has_key: row.count("keys")? > 0,
                last_seen_ms: row.opt_int("last_seen_ms")?,
            })
        })
        .collect()
}

/// The devices that are to have a secret.
pub(crate) async fn wanted_by(tx: &mut Tx, tenant: &TenantId, name: &str) -> Result<Vec<DeviceId>> {
    const SELECT: &str = "SELECT device FROM device_secrets
        WHERE tenant = $1 AND name = $2 AND wanted IS NOT NULL ORDER BY device";
    let rows = tx.rows(SELECT, args![tenant, name]).await?;
    rows.iter().map(|row| row.parsed("device")).collect()
}

/// What a device is to have: names and versions, by name.
pub(crate) async fn wanted(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Vec<(String, u64)>> {
    const SELECT: &str = "SELECT name, wanted FROM device_secrets
        WHERE tenant = $1 AND device = $2 AND wanted IS NOT NULL ORDER BY name";
    let rows = tx.rows(SELECT, args![tenant, device]).await?;
    rows.iter().map(|row| Ok((row.text("name")?, row.count("wanted")?))).collect()
}

/// Notes what a device is to have, and nothing else.
pub(crate) async fn want(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    wanted: &[(String, u64)],
) -> Result<()> {
    const NONE: &str = "UPDATE device_secrets SET wanted = NULL WHERE tenant = $1 AND device = $2";
    const WANT: &str = "INSERT INTO device_secrets (tenant, device, name, wanted)
        VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, device, name)
        DO UPDATE SET wanted = excluded.wanted";
    tx.run(NONE, args![tenant, device]).await?;
    for (name, version) in wanted {
        tx.run(WANT, args![tenant, device, name, *version]).await?;
    }
    forget_idle(tx, tenant, device).await
}

/// Notes what a device says it has, and nothing else.
pub(super) async fn hold(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    held: &[HeldSecret],
) -> Result<()> {
    const NONE: &str = "UPDATE device_secrets SET held = NULL, state = NULL
        WHERE tenant = $1 AND device = $2";
    const HOLD: &str = "INSERT INTO device_secrets (tenant, device, name, held, state)
        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, device, name)
        DO UPDATE SET held = excluded.held, state = excluded.state";
    tx.run(NONE, args![tenant, device]).await?;
    for HeldSecret { name, version, state } in held {
        let state = match state {
            SecretState::Ready => "ready",
            SecretState::OtherKey => "other_key",
            SecretState::Unopened => "unopened",
        };
        tx.run(HOLD, args![tenant, device, name, *version, state]).await?;
    }
    forget_idle(tx, tenant, device).await
}

async fn forget_idle(tx: &mut Tx, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    const DELETE: &str = "DELETE FROM device_secrets
        WHERE tenant = $1 AND device = $2 AND wanted IS NULL AND held IS NULL";
    tx.run(DELETE, args![tenant, device]).await?;
    Ok(())
}

/// Notes a device's public key. One that comes late is taken only where there is none.
pub(super) async fn set_sealing_key(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    key: &[u8; 32],
    (is_late, now_ms): (bool, i64),
) -> Result<()> {
    const SET: &str = "INSERT INTO sealing_keys (tenant, device, public_key, told_ms)
        VALUES ($1, $2, $3, $4) ON CONFLICT (tenant, device) DO UPDATE SET
        public_key = excluded.public_key, told_ms = excluded.told_ms WHERE $5 = 0";
    tx.run(SET, args![tenant, device, HEXLOWER.encode(key), now_ms, is_late]).await?;
    Ok(())
}

/// A device's public key, once it has told it.
pub(crate) async fn sealing_key(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Option<[u8; 32]>> {
    const SELECT: &str = "SELECT public_key FROM sealing_keys WHERE tenant = $1 AND device = $2";
    let Some(row) = tx.row(SELECT, args![tenant, device]).await? else { return Ok(None) };
    let wrong = |reason: String| row::unreadable("public_key", reason);
    let bytes = HEXLOWER.decode(row.text("public_key")?.as_bytes());
    let bytes = bytes.map_err(|e| wrong(e.to_string()))?;
    let length = bytes.len();
    bytes.try_into().map(Some).map_err(|_| wrong(format!("{length} bytes")))
}
