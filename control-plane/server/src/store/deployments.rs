//! Deployments: which workflow shall run where, and what that resolved to.

use std::collections::BTreeMap;

use openclaw_protocol::api::Target;
use openclaw_protocol::id::{DeviceId, TenantId};

use super::{Arg, Result, Row, Tx, args};

/// Plugin reference (`name.action@range`) to the name and version it was resolved to.
pub(crate) type Pins = BTreeMap<String, (String, String)>;

/// A deployment's row.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentRow {
    pub(crate) id: String,
    /// Its place among the tenant's deployments, by which the latest decides; 0 until stored.
    pub(crate) number: u64,
    pub(crate) workflow: String,
    pub(crate) revision: u32,
    /// Plugin reference to the version it was resolved to when this was deployed.
    pub(crate) pins: Pins,
    pub(crate) previous: Option<(u32, Pins)>,
    pub(crate) target: Target,
    pub(crate) created_by: String,
    pub(crate) created_ms: i64,
}

impl DeploymentRow {
    fn read(row: &Row) -> Result<Self> {
        let previous_revision = row.opt_int("previous_revision")?;
        let previous_pins: Option<Pins> = row.opt_json("previous_pins")?;
        let previous_revision = previous_revision.and_then(|number| u32::try_from(number).ok());
        Ok(Self {
            id: row.text("id")?,
            number: row.count("number")?,
            workflow: row.text("workflow")?,
            revision: row.small("revision")?,
            pins: row.json("pins")?,
            previous: previous_revision.zip(previous_pins),
            target: row.json("target")?,
            created_by: row.text("created_by")?,
            created_ms: row.int("created_ms")?,
        })
    }
}

/// Where a deployment stands on one device.
#[derive(Debug, Clone)]
pub(crate) struct DeploymentDeviceRow {
    pub(crate) device: DeviceId,
    /// First desired revision that holds it.
    pub(crate) desired_revision: u64,
    /// Revision the device says is in force.
    pub(crate) reported_revision: u64,
    /// Workflows the device refuses, JSON.
    pub(crate) refused: String,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, number, workflow, revision, pins, previous_revision, previous_pins, target,
             created_by, created_ms FROM deployments ",
            $rest
        )
    };
}

/// Writes down a deployment as the latest. The caller holds the tenant's lock, so no two get one
/// number, whatever any clock says.
pub(crate) async fn insert(tx: &mut Tx, tenant: &TenantId, row: &DeploymentRow) -> Result<()> {
    const INSERT: &str = "INSERT INTO deployments (tenant, id, workflow, revision, pins,
        previous_revision, previous_pins, target, created_by, created_ms, number)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
        (SELECT COALESCE(MAX(number), 0) + 1 FROM deployments WHERE tenant = $1))";
    let key = args![tenant, &row.id, &row.workflow];
    let target = serde_json::json!(row.target).to_string();
    let values = args![target, &row.created_by, row.created_ms];
    tx.run(INSERT, [key, revisions(row), values].concat()).await?;
    Ok(())
}

/// Moves a deployment to the revision in `row`.
pub(crate) async fn set_revision(
    tx: &mut Tx,
    tenant: &TenantId,
    row: &DeploymentRow,
) -> Result<()> {
    const UPDATE: &str = "UPDATE deployments SET revision = $3, pins = $4,
        previous_revision = $5, previous_pins = $6 WHERE tenant = $1 AND id = $2";
    tx.run(UPDATE, [args![tenant, &row.id], revisions(row)].concat()).await?;
    Ok(())
}

fn revisions(row: &DeploymentRow) -> Vec<Arg> {
    let text = |pins: &Pins| serde_json::json!(pins).to_string();
    let previous = row.previous.as_ref();
    args![
        row.revision,
        text(&row.pins),
        previous.map(|(revision, _)| *revision),
        previous.map(|(_, pins)| text(pins))
    ]
}

/// Removes a deployment.
pub(crate) async fn delete(tx: &mut Tx, tenant: &TenantId, id: &str) -> Result<()> {
    const DEVICES: &str = "DELETE FROM deployment_devices WHERE tenant = $1 AND deployment = $2";
    tx.run(DEVICES, args![tenant, id]).await?;
    tx.run("DELETE FROM deployments WHERE tenant = $1 AND id = $2", args![tenant, id]).await?;
    Ok(())
}

/// One deployment.
pub(crate) async fn find(
    tx: &mut Tx,
    tenant: &TenantId,
    id: &str,
) -> Result<Option<DeploymentRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND id = $2");
    tx.row(SELECT, args![tenant, id]).await?.as_ref().map(DeploymentRow::read).transpose()
}

/// Deployments with numbers below `below`, latest first, at most `limit`.
pub(crate) async fn list(
    tx: &mut Tx,
    tenant: &TenantId,
    below: i64,
    limit: u32,
) -> Result<Vec<DeploymentRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 AND number < $2 ORDER BY number DESC LIMIT $3");
    tx.rows(SELECT, args![tenant, below, limit]).await?.iter().map(DeploymentRow::read).collect()
}

/// All deployments of a tenant in the order they were made: where two name the same workflow for a device, the
/// later one decides.
pub(crate) async fn all(tx: &mut Tx, tenant: &TenantId) -> Result<Vec<DeploymentRow>> {
    const SELECT: &str = select!("WHERE tenant = $1 ORDER BY number");
    tx.rows(SELECT, args![tenant]).await?.iter().map(DeploymentRow::read).collect()
}

/// Notes that a deployment is part of a device's desired state from `desired_revision` on.
pub(crate) async fn set_device(
    tx: &mut Tx,
    tenant: &TenantId,
    deployment: &DeploymentRow,
    device: &DeviceId,
    desired_revision: u64,
) -> Result<()> {
    const INSERT: &str = "INSERT INTO deployment_devices
        (tenant, deployment, device, workflow, desired_revision) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (tenant, deployment, device)
        DO UPDATE SET desired_revision = excluded.desired_revision";
    let values = args![tenant, &deployment.id, device, &deployment.workflow, desired_revision];
    tx.run(INSERT, values).await?;
    Ok(())
}

/// The deployments that are part of a device's desired state, and since which revision.
pub(crate) async fn of_device(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Vec<(String, u64)>> {
    const SELECT: &str = "SELECT deployment, desired_revision FROM deployment_devices
        WHERE tenant = $1 AND device = $2 ORDER BY deployment";
    let rows = tx.rows(SELECT, args![tenant, device]).await?;
    rows.iter().map(|row| Ok((row.text("deployment")?, row.count("desired_revision")?))).collect()
}

/// Notes that a deployment is no longer part of a device's desired state.
pub(crate) async fn unset_device(
    tx: &mut Tx,
    tenant: &TenantId,
    deployment: &str,
    device: &DeviceId,
) -> Result<()> {
    const DELETE: &str = "DELETE FROM deployment_devices
        WHERE tenant = $1 AND deployment = $2 AND device = $3";
    tx.run(DELETE, args![tenant, deployment, device]).await?;
    Ok(())
}

/// Where a deployment stands, device by device.
pub(crate) async fn devices(
    tx: &mut Tx,
    tenant: &TenantId,
    deployment: &str,
) -> Result<Vec<DeploymentDeviceRow>> {
    const SELECT: &str = "SELECT d.id AS device, p.desired_revision, d.reported_revision, d.refused
        FROM deployment_devices p JOIN devices d ON d.tenant = p.tenant AND d.id = p.device
        WHERE p.tenant = $1 AND p.deployment = $2 ORDER BY d.id";
    let rows = tx.rows(SELECT, args![tenant, deployment]).await?;
    rows.iter()
        .map(|row| {
            Ok(DeploymentDeviceRow {
                device: row.parsed("device")?,
                desired_revision: row.count("desired_revision")?,
                reported_revision: row.count("reported_revision")?,
                refused: row.text("refused")?,
            })
        })
        .collect()
}

/// Devices whose desired state holds a workflow.
pub(crate) async fn devices_of_workflow(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &str,
) -> Result<Vec<DeviceId>> {
    const SELECT: &str = "SELECT DISTINCT device FROM deployment_devices
        WHERE tenant = $1 AND workflow = $2 ORDER BY device";
    let rows = tx.rows(SELECT, args![tenant, workflow]).await?;
    rows.iter().map(|row| row.parsed("device")).collect()
}
