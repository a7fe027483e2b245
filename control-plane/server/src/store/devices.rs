//! Devices: who is enrolled, what they were told to run and what they say of themselves.

use std::collections::BTreeMap;

use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use openclaw_protocol::report::{Inventory, Refusal};

use super::{Result, Row, Tx, args};

/// A device's row.
#[derive(Debug, Clone)]
pub(crate) struct DeviceRow {
    /// Its id.
    pub(crate) id: DeviceId,
    /// Its labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// When it was enrolled.
    pub(crate) enrolled_ms: i64,
    /// It may not connect any more.
    pub(crate) revoked: bool,
    /// SHA-256 of its certificate's DER.
    pub(crate) certificate_fingerprint: Digest,
    /// When its certificate ends.
    pub(crate) certificate_expires_ms: i64,
    /// When it was last heard of.
    pub(crate) last_seen_ms: Option<i64>,
    /// What it said of itself.
    pub(crate) inventory: Option<Inventory>,
    /// Revision of the newest desired state made for it.
    pub(crate) desired_revision: u64,
    /// Revision it says is in force.
    pub(crate) reported_revision: u64,
    /// Workflows it refuses to run, and why.
    pub(crate) refused: BTreeMap<String, Refusal>,
    /// Number the next command will have.
    pub(crate) next_command: u64,
}

impl DeviceRow {
    fn read(row: &Row) -> Result<Self> {
        let fingerprint = row.text("certificate_fingerprint")?;
        Ok(Self {
            id: row.parsed("id")?,
            labels: row.json("labels")?,
            enrolled_ms: row.int("enrolled_ms")?,
            revoked: row.flag("revoked")?,
            certificate_fingerprint: Digest::parse(&fingerprint)
                .map_err(|e| super::row::unreadable("certificate_fingerprint", e.to_string()))?,
            certificate_expires_ms: row.int("certificate_expires_ms")?,
            last_seen_ms: row.opt_int("last_seen_ms")?,
            inventory: row.opt_json("inventory")?,
            desired_revision: row.count("desired_revision")?,
            reported_revision: row.count("reported_revision")?,
            refused: row.json("refused")?,
            next_command: row.count("next_command")?,
        })
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, labels, enrolled_ms, revoked, certificate_fingerprint,
             certificate_expires_ms, last_seen_ms, inventory, desired_revision,
             reported_revision, refused, next_command FROM devices ",
            $rest
        )
    };
}

/// A device that is being enrolled.
#[derive(Debug)]
pub(crate) struct NewDevice<'a> {
    /// Its id.
    pub(crate) id: &'a DeviceId,
    /// Its labels.
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// SHA-256 of its certificate's DER.
    pub(crate) certificate_fingerprint: Digest,
    /// When its certificate ends.
    pub(crate) certificate_expires_ms: i64,
}

/// Writes down an enrolled device. Answers `false` where the id is taken.
///
/// A device that had this id before and was removed may have kept its database, and with it the
/// revision in force and the number of its last command: both go on from where they were, or it
/// would take everything new for old.
///
/// # Errors
/// The database could not.
pub(crate) async fn insert(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &NewDevice<'_>,
    now_ms: i64,
) -> Result<bool> {
    const INSERT: &str = "INSERT INTO devices (tenant, id, labels, enrolled_ms,
        certificate_fingerprint, certificate_expires_ms, desired_revision, next_command,
        command_digest) VALUES ($1, $2, $3, $4, $5, $6,
        COALESCE((SELECT desired_revision FROM removed_devices WHERE tenant = $1 AND id = $2), 0),
        COALESCE((SELECT next_command FROM removed_devices WHERE tenant = $1 AND id = $2), 1),
        COALESCE((SELECT command_digest FROM removed_devices WHERE tenant = $1 AND id = $2),
            '0000000000000000'))
        ON CONFLICT DO NOTHING";
    let values = args![
        tenant,
        device.id,
        labels_text(device.labels),
        now_ms,
        &device.certificate_fingerprint,
        device.certificate_expires_ms
    ];
    Ok(tx.run(INSERT, values).await? == 1)
}

/// One device.
///
/// # Errors
/// The database could not, or the row is damaged.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
) -> Result<Option<DeviceRow>> {
    let row = tx.row(select!("WHERE tenant = $1 AND id = $2"), args![tenant, id]).await?;
    row.as_ref().map(DeviceRow::read).transpose()
}

/// Devices in the order of their ids, after `after`, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    after: &str,
    limit: u32,
) -> Result<Vec<DeviceRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND id > $2 ORDER BY id LIMIT $3");
    let rows = tx.rows(SELECT, args![tenant, after, limit]).await?;
    rows.iter().map(DeviceRow::read).collect()
}

/// All devices that are not revoked, in the order of their ids.
pub(crate) async fn active(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<DeviceRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND revoked = 0 ORDER BY id");
    let rows = tx.rows(SELECT, args![tenant]).await?;
    rows.iter().map(DeviceRow::read).collect()
}

/// Replaces a device's labels. Answers `false` where there is no such device.
pub(crate) async fn set_labels(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
    labels: &BTreeMap<String, String>,
) -> Result<bool> {
    const UPDATE: &str = "UPDATE devices SET labels = $3 WHERE tenant = $1 AND id = $2";
    Ok(tx.run(UPDATE, args![tenant, id, labels_text(labels)]).await? == 1)
}

/// Shuts a device out for good, with the certificate it has.
pub(crate) async fn revoke(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
    fingerprint: Digest,
    now_ms: i64,
) -> Result<()> {
    const UPDATE: &str = "UPDATE devices SET revoked = 1 WHERE tenant = $1 AND id = $2";
    const SECRETS: &str = "DELETE FROM device_secrets WHERE tenant = $1 AND device = $2";
    const INSERT: &str =
        "INSERT INTO revoked_certificates (fingerprint, tenant, device, revoked_ms)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    tx.run(UPDATE, args![tenant, id]).await?;
    tx.run(SECRETS, args![tenant, id]).await?;
    tx.run(INSERT, args![&fingerprint, tenant, id, now_ms]).await?;
    Ok(())
}

/// Whether a certificate was revoked, also of a device that was removed since.
///
/// # Errors
/// The database could not.
pub(crate) async fn is_certificate_revoked(tx: &mut Tx, fingerprint: Digest) -> Result<bool> {
    const SELECT: &str = "SELECT tenant FROM revoked_certificates WHERE fingerprint = $1";
    Ok(tx.row(SELECT, args![&fingerprint]).await?.is_some())
}

/// Removes a device and all facts of it; the numbers it has reached stay, for [`insert`].
pub(crate) async fn remove(tx: &mut Tx, tenant: &TenantId, id: &DeviceId) -> Result<()> {
    // First, because it locks the row: nobody counts up behind it.
    const REMOVE: &str = "DELETE FROM devices WHERE tenant = $1 AND id = $2
        RETURNING desired_revision, next_command, command_digest";
    const KEEP: &str = "INSERT INTO removed_devices
        (tenant, id, desired_revision, next_command, command_digest) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant, id) DO UPDATE SET desired_revision = excluded.desired_revision,
        next_command = excluded.next_command, command_digest = excluded.command_digest";
    const DELETES: &[&str] = &[
        "DELETE FROM deployment_devices WHERE tenant = $1 AND device = $2",
        "DELETE FROM requests WHERE tenant = $1 AND device = $2",
        "DELETE FROM lanes WHERE tenant = $1 AND device = $2",
        "DELETE FROM results WHERE tenant = $1 AND device = $2",
        "DELETE FROM run_events WHERE tenant = $1 AND device = $2",
        "DELETE FROM runs WHERE tenant = $1 AND device = $2",
        "DELETE FROM approvals WHERE tenant = $1 AND device = $2",
        "DELETE FROM recordings WHERE tenant = $1 AND device = $2",
        "DELETE FROM parked_records WHERE tenant = $1 AND device = $2",
        "DELETE FROM join_codes WHERE tenant = $1 AND device = $2",
        "DELETE FROM device_secrets WHERE tenant = $1 AND device = $2",
        "DELETE FROM sealing_keys WHERE tenant = $1 AND device = $2",
    ];
    if let Some(row) = tx.row(REMOVE, args![tenant, id]).await? {
        let (revision, command) = (row.count("desired_revision")?, row.count("next_command")?);
        let digest = row.text("command_digest")?;
        tx.run(KEEP, args![tenant, id, revision, command, digest]).await?;
    }
    for delete in DELETES {
        tx.run(delete, args![tenant, id]).await?;
    }
    Ok(())
}

/// Counts up a device's desired revision and answers the new one; locks the row.
pub(crate) async fn next_desired_revision(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
) -> Result<Option<u64>> {
    const NEXT: &str = "UPDATE devices SET desired_revision = desired_revision + 1
        WHERE tenant = $1 AND id = $2 RETURNING desired_revision";
    let row = tx.row(NEXT, args![tenant, id]).await?;
    row.map(|row| row.count("desired_revision")).transpose()
}

/// Keeps the newest desired state of a device.
pub(crate) async fn set_desired(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
    digest: Digest,
    document: Vec<u8>,
) -> Result<()> {
    const UPDATE: &str = "UPDATE devices SET desired_digest = $3, desired_document = $4
        WHERE tenant = $1 AND id = $2";
    tx.run(UPDATE, args![tenant, id, &digest, document]).await?;
    Ok(())
}

/// The newest desired state of a device, packed and signed.
pub(crate) async fn desired_document(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &DeviceId,
) -> Result<Option<Vec<u8>>> {
    const SELECT: &str = "SELECT desired_document FROM devices
        WHERE tenant = $1 AND id = $2 AND desired_document IS NOT NULL";
    let row = tx.row(SELECT, args![tenant, id]).await?;
    row.map(|row| row.bytes("desired_document")).transpose()
}

/// How many devices there are, of all tenants.
pub(crate) async fn count(tx: &mut Tx) -> Result<u64> {
    let row = tx.row("SELECT COUNT(*) AS n FROM devices WHERE revoked = 0", args![]).await?;
    row.map_or(Ok(0), |row| row.count("n"))
}

fn labels_text(labels: &BTreeMap<String, String>) -> String {
    serde_json::json!(labels).to_string()
}
