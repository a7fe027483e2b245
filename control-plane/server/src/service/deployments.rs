//! Deployments: this workflow on those devices. Made, rolled back, deleted, shown.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use openclaw_points::{Point, reach};
use openclaw_protocol::api::{
    CreateDeployment, Deployment, DeploymentDevice, DeploymentState, Page, Target,
};
use openclaw_protocol::definition::{self, Workflow};
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::report::Refusal;

use super::idempotency::Key;
use super::page::{PageQuery, page};
use super::resolve::{check_devices, check_secrets, covers, resolve};
use super::{Fault, Outcome, audit, desired, devices};
use crate::clock::rfc3339;
use crate::context::{Context, LiveChange, NudgeKind};
use crate::identity::Principal;
use crate::random;
use crate::store::deployments::{DeploymentDeviceRow, DeploymentRow, Pins};
use crate::store::devices::DeviceRow;
use crate::store::workflows::WorkflowRow;
use crate::store::{self, Tx};

/// Devices that may be named in one target.
const NAMED_DEVICES: usize = 1_000;

/// Lists deployments, newest first.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<Deployment>> {
    let limit = query.limit()?;
    let below = match query.after()? {
        Some([below]) => {
            let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
            below.parse().map_err(wrong)?
        }
        None => i64::MAX,
    };
    let mut tx = ctx.db.read().await?;
    let rows = store::deployments::list(&mut tx, &who.tenant, below, limit + 1).await?;
    let rows = page(rows, limit, |row| vec![row.number.to_string()], |row| row);
    let mut items = Vec::with_capacity(rows.items.len());
    for row in rows.items {
        items.push(view(&mut tx, &who.tenant, row).await?);
    }
    Ok(Page { items, next_cursor: rows.next_cursor })
}

/// One deployment.
pub(crate) async fn find(ctx: &Context, who: &Principal, id: &str) -> Outcome<Deployment> {
    let mut tx = ctx.db.read().await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    view(&mut tx, &who.tenant, row).await
}

/// Puts a workflow on devices: pins its plugins, checks what the devices offer, and signs what
/// each of them shall run, all or nothing.
pub(crate) async fn create(
    ctx: &Context,
    who: &Principal,
    request: CreateDeployment,
    key: Option<Key>,
) -> Outcome<Deployment> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    if let Some(answer) = super::idempotency::replay(&mut tx, who, key.as_ref()).await? {
        return Ok(answer);
    }
    let CreateDeployment { workflow, revision, target } = request;
    let stored = stored_workflow(&mut tx, &who.tenant, &workflow, revision).await?;
    let definition = checked(&stored)?;
    let (pins, plugins) = resolve(&mut tx, &who.tenant, &definition).await?;
    check_secrets(&mut tx, &who.tenant, &definition).await?;
    let covered = covered(&mut tx, &who.tenant, &target).await?;
    check_devices(&covered, &plugins)?;
    let previous = previous(&mut tx, &who.tenant, &workflow, &covered).await?;
    let row = DeploymentRow {
        id: random::ordered_id(now_ms),
        number: 0,
        workflow,
        revision: stored.revision,
        // The same revision with other plugins is something to go back from as well.
        previous: previous.filter(|before| (before.0, &before.1) != (stored.revision, &pins)),
        pins,
        target,
        created_by: who.actor.clone(),
        created_ms: now_ms,
    };
    store::deployments::insert(&mut tx, &who.tenant, &row).await?;
    let detail = json!({ "workflow": row.workflow, "revision": row.revision, "target": row.target,
        "pins": row.pins });
    audit::note(&mut tx, who, "deployment.create", &row.id, detail, now_ms).await?;
    let ids: Vec<DeviceId> = covered.into_iter().map(|device| device.id).collect();
    let changed = desired::refresh(ctx, &mut tx, &who.tenant, &ids).await?;
    let id = row.id.clone();
    let view = view(&mut tx, &who.tenant, row).await?;
    super::idempotency::keep(&mut tx, who, key.as_ref(), 201, &view, now_ms).await?;
    reach(Point::DeployCommit);
    tx.commit().await?;
    reach(Point::DeployCommitted);
    announce(ctx, &who.tenant, &changed, &id);
    Ok(view)
}

/// Goes back to the revision and the plugins before, if the devices offer what those need. Rolling
/// back twice goes forth again.
pub(crate) async fn rollback(ctx: &Context, who: &Principal, id: &str) -> Outcome<Deployment> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let mut row = require(&mut tx, &who.tenant, id).await?;
    let Some((revision, pins)) = row.previous.take() else {
        let detail = "there was no other revision on these devices before; delete the deployment, \
                      or deploy the revision you want";
        return Err(Fault::conflict("deployment.no_previous", detail));
    };
    let detail = json!({ "from": row.revision, "to": revision });
    row.previous = Some((row.revision, std::mem::replace(&mut row.pins, pins)));
    row.revision = revision;
    check_again(&mut tx, &who.tenant, &row).await?;
    store::deployments::set_revision(&mut tx, &who.tenant, &row).await?;
    audit::note(&mut tx, who, "deployment.rollback", id, detail, now_ms).await?;
    let changed = desired::refresh_all(ctx, &mut tx, &who.tenant).await?;
    let view = view(&mut tx, &who.tenant, row).await?;
    tx.commit().await?;
    announce(ctx, &who.tenant, &changed, id);
    Ok(view)
}

/// Takes a workflow off the devices, unless another deployment puts it there.
pub(crate) async fn delete(ctx: &Context, who: &Principal, id: &str) -> Outcome<()> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    store::deployments::delete(&mut tx, &who.tenant, id).await?;
    let detail = json!({ "workflow": row.workflow, "revision": row.revision });
    audit::note(&mut tx, who, "deployment.delete", id, detail, now_ms).await?;
    let changed = desired::refresh_all(ctx, &mut tx, &who.tenant).await?;
    tx.commit().await?;
    announce(ctx, &who.tenant, &changed, id);
    Ok(())
}

fn announce(ctx: &Context, tenant: &TenantId, devices: &[DeviceId], deployment: &str) {
    for device in devices {
        ctx.nudges.send(tenant, device, NudgeKind::Desired);
    }
    ctx.live.publish(tenant, [LiveChange::Deployment { deployment: deployment.to_owned() }]);
}

async fn stored_workflow(
    tx: &mut Tx,
    tenant: &TenantId,
    name: &str,
    revision: Option<u32>,
) -> Outcome<WorkflowRow> {
    let found = match revision {
        Some(revision) => store::workflows::find(tx, tenant, name, revision).await?,
        None => store::workflows::newest(tx, tenant, name).await?,
    };
    let asked = revision.map_or_else(|| name.to_owned(), |number| format!("{name}/{number}"));
    found.ok_or_else(|| Fault::not_found("workflow", asked))
}

fn checked(row: &WorkflowRow) -> Outcome<Workflow> {
    definition::parse(&row.canonical).map_err(|error| {
        Fault::Internal(format!("stored workflow `{}/{}`: {error}", row.name, row.revision))
    })
}

/// Refuses if a device that a deployment covers now does not offer what its plugins need.
async fn check_again(tx: &mut Tx, tenant: &TenantId, row: &DeploymentRow) -> Outcome<()> {
    let mut plugins = Vec::with_capacity(row.pins.len());
    for (name, version) in row.pins.values() {
        let found = store::plugins::find(tx, tenant, name, version).await?;
        plugins.push(found.ok_or_else(|| Fault::not_found("plugin", format!("{name}@{version}")))?);
    }
    let stored = stored_workflow(tx, tenant, &row.workflow, Some(row.revision)).await?;
    check_secrets(tx, tenant, &checked(&stored)?).await?;
    let active = store::devices::active(tx, tenant).await?;
    let covered: Vec<DeviceRow> =
        active.into_iter().filter(|device| covers(&row.target, device)).collect();
    check_devices(&covered, &plugins)
}

/// The devices a target covers now; named ones must exist.
async fn covered(tx: &mut Tx, tenant: &TenantId, target: &Target) -> Outcome<Vec<DeviceRow>> {
    if target.devices.is_empty() && target.labels.is_empty() {
        let detail = "the target is empty; name devices, or labels that devices must have";
        return Err(Fault::invalid("deployment.target", detail));
    }
    if target.devices.len() > NAMED_DEVICES {
        let detail = format!("a target names at most {NAMED_DEVICES} devices; use labels");
        return Err(Fault::invalid("deployment.target", detail));
    }
    devices::check_labels(&target.labels)?;
    for id in &target.devices {
        let device = devices::require(tx, tenant, id).await?;
        if device.revoked {
            let detail = format!("device `{id}` is revoked; leave it out");
            return Err(Fault::conflict("device.revoked", detail));
        }
    }
    let active = store::devices::active(tx, tenant).await?;
    Ok(active.into_iter().filter(|device| covers(target, device)).collect())
}

/// What ran on the first of these devices that had this workflow: where a roll-back leads.
async fn previous(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &str,
    devices: &[DeviceRow],
) -> Outcome<Option<(u32, Pins)>> {
    let all = store::deployments::all(tx, tenant).await?;
    let before = devices.iter().find_map(|device| {
        desired::in_force(&all, device).get(workflow).map(|d| (d.revision, d.pins.clone()))
    });
    Ok(before)
}

async fn require(tx: &mut Tx, tenant: &TenantId, id: &str) -> Outcome<DeploymentRow> {
    let found = store::deployments::find(tx, tenant, id).await?;
    found.ok_or_else(|| Fault::not_found("deployment", id))
}

async fn view(tx: &mut Tx, tenant: &TenantId, row: DeploymentRow) -> Outcome<Deployment> {
    let devices = store::deployments::devices(tx, tenant, &row.id).await?;
    let devices = devices.into_iter().map(|device| stand(device, &row.workflow)).collect();
    let notices = notices(tx, tenant, &row.pins).await?;
    Ok(Deployment {
        id: row.id,
        workflow: row.workflow,
        revision: row.revision,
        previous_revision: row.previous.map(|(revision, _)| revision),
        target: row.target,
        created_at: rfc3339(row.created_ms),
        created_by: row.created_by,
        devices,
        notices,
    })
}

/// What is to be said of the plugins that a deployment is pinned to.
async fn notices(tx: &mut Tx, tenant: &TenantId, pins: &Pins) -> Outcome<Vec<String>> {
    let pinned: BTreeSet<&(String, String)> = pins.values().collect();
    let mut notices = Vec::new();
    for (name, version) in pinned {
        let Some(plugin) = store::plugins::find(tx, tenant, name, version).await? else { continue };
        if let Some(message) = plugin.deprecated {
            notices.push(format!("plugin `{name}` {version} is deprecated: {message}"));
        }
        if let Some(reason) = plugin.yanked {
            notices.push(format!(
                "plugin `{name}` {version} is yanked ({reason}); it goes on here until you deploy \
                 again"
            ));
        }
    }
    Ok(notices)
}

fn stand(row: DeploymentDeviceRow, workflow: &str) -> DeploymentDevice {
    let is_reported = row.reported_revision >= row.desired_revision;
    let refusal = is_reported.then(|| refusal(&row.refused, workflow)).flatten();
    let state = match (is_reported, &refusal) {
        (false, _) => DeploymentState::Pending,
        (true, None) => DeploymentState::Active,
        (true, Some(_)) => DeploymentState::Refused,
    };
    DeploymentDevice { device: row.device.to_string(), state, refusal }
}

fn refusal(refused: &str, workflow: &str) -> Option<Refusal> {
    let refused: BTreeMap<String, Refusal> = serde_json::from_str(refused).ok()?;
    refused.get(workflow).cloned()
}
