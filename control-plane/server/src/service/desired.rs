//! What each device shall run: from the deployments that cover it to one signed document.
//!
//! A device's document is made anew, in the transaction of whatever changed, by [`refresh`]; it
//! gets a new revision only if its content differs. From its enrolment on every device has one, if
//! only to say that it shall run nothing: a device that was here before may still run something.

mod sealing;

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::definition::DefinitionHash;
use openclaw_protocol::desired::{self, Desired, DesiredWorkflow, PluginPin, SignedDesired};
use openclaw_protocol::id::{DeviceId, Digest, TenantId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::secret::SealedSecret;
use openclaw_protocol::wire::{self, Kind};
use sha2::{Digest as _, Sha256};

use super::resolve::covers;
use super::{Fault, Outcome};
use crate::context::Context;
use crate::store::deployments::DeploymentRow;
use crate::store::devices::DeviceRow;
use crate::store::{self, Tx};

/// Makes the desired states of these devices anew, where they change. The caller holds the
/// tenant's lock, commits, and nudges the devices that are answered.
pub(crate) async fn refresh(
    ctx: &Context,
    tx: &mut Tx,
    tenant: &TenantId,
    devices: &[DeviceId],
) -> Outcome<Vec<DeviceId>> {
    let deployments = store::deployments::all(tx, tenant).await?;
    let mut changed = Vec::new();
    for device in devices {
        let found = store::devices::find(tx, tenant, device).await?;
        let Some(row) = found.filter(|row| !row.revoked) else { continue };
        if refresh_one(ctx, tx, tenant, &row, &deployments).await? {
            changed.push(device.clone());
        }
    }
    Ok(changed)
}

/// As [`refresh`], for every device of the tenant.
pub(crate) async fn refresh_all(
    ctx: &Context,
    tx: &mut Tx,
    tenant: &TenantId,
) -> Outcome<Vec<DeviceId>> {
    let devices = store::devices::active(tx, tenant).await?;
    let ids: Vec<DeviceId> = devices.into_iter().map(|row| row.id).collect();
    refresh(ctx, tx, tenant, &ids).await
}

/// The deployments in force on a device, by workflow: where several cover it, the latest decides.
pub(super) fn in_force<'a>(
    deployments: &'a [DeploymentRow],
    device: &DeviceRow,
) -> BTreeMap<&'a str, &'a DeploymentRow> {
    let covering = deployments.iter().filter(|deployment| covers(&deployment.target, device));
    covering.map(|deployment| (deployment.workflow.as_str(), deployment)).collect()
}

async fn refresh_one(
    ctx: &Context,
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceRow,
    deployments: &[DeploymentRow],
) -> Outcome<bool> {
    let in_force = in_force(deployments, device);
    let (workflows, plugins, declared) = content(tx, tenant, &in_force).await?;
    let wanted = sealing::wanted(tx, tenant, &device.id, declared).await?;
    let (before, sealed) = current(tx, tenant, &device.id).await?.unzip();
    let sealed = sealed.unwrap_or_default();
    let unchanged = match &before {
        Some(old) => {
            old.generation == ctx.generation
                && old.workflows == workflows
                && old.plugins == plugins
                && wanted.is_what(&sealed)
        }
        None => false,
    };
    let revision = if unchanged {
        device.desired_revision
    } else {
        let next = store::devices::next_desired_revision(tx, tenant, &device.id).await?;
        next.ok_or_else(|| Fault::not_found("device", device.id.as_str()))?
    };
    let known: BTreeMap<String, u64> =
        store::deployments::of_device(tx, tenant, &device.id).await?.into_iter().collect();
    for id in known.keys().filter(|id| !in_force.values().any(|d| d.id == **id)) {
        store::deployments::unset_device(tx, tenant, id, &device.id).await?;
    }
    for (name, deployment) in &in_force {
        let same = |old: &Desired| find(&old.workflows, name) == find(&workflows, name);
        if !known.contains_key(&deployment.id) || !before.as_ref().is_some_and(same) {
            store::deployments::set_device(tx, tenant, deployment, &device.id, revision).await?;
        }
    }
    if unchanged {
        return Ok(false);
    }
    let desired = Desired {
        tenant: tenant.clone(),
        device: device.id.clone(),
        generation: ctx.generation,
        revision,
        issued_wall_ms: ctx.clock.now_ms(),
        workflows,
        plugins,
    };
    let secrets = wanted.sealed(ctx, tenant, &device.id, &sealed)?;
    let document = sign(ctx, &desired, &secrets)?;
    let digest = Digest(Sha256::digest(&document).into());
    store::devices::set_desired(tx, tenant, &device.id, digest, document).await?;
    Ok(true)
}

fn find<'a>(workflows: &'a [DesiredWorkflow], name: &str) -> Option<&'a DesiredWorkflow> {
    workflows.iter().find(|workflow| workflow.name.as_str() == name)
}

/// The workflows, the plugins they are pinned to, and the secrets they declare.
async fn content(
    tx: &mut Tx,
    tenant: &TenantId,
    in_force: &BTreeMap<&str, &DeploymentRow>,
) -> Outcome<(Vec<DesiredWorkflow>, Vec<PluginPin>, BTreeSet<String>)> {
    let (mut workflows, mut plugins) = (Vec::new(), Vec::<PluginPin>::new());
    let mut declared = BTreeSet::new();
    for (name, deployment) in in_force {
        let row = store::workflows::find(tx, tenant, name, deployment.revision).await?;
        let row = row.ok_or_else(|| Fault::not_found("workflow", *name))?;
        let mut pins = Vec::new();
        for (reference, (plugin, version)) in &deployment.pins {
            let is_it = |pin: &PluginPin| pin.name.as_str() == plugin && pin.version == *version;
            let at = match plugins.iter().position(is_it) {
                Some(at) => at,
                None => {
                    let pin = pin(tx, tenant, plugin, version).await?;
                    // It may use these without an input that names them.
                    declared.extend(pin.granted.secrets.iter().cloned());
                    plugins.push(pin);
                    plugins.len() - 1
                }
            };
            let at = u16::try_from(at).map_err(|_| too_large())?;
            pins.push((reference.clone(), at));
        }
        declared.extend(sealing::declared(&row.canonical));
        workflows.push(DesiredWorkflow {
            name: WorkflowName::parse(name)?,
            version: row.version,
            hash: DefinitionHash(row.hash),
            definition: JsonText::parse(&row.canonical)
                .map_err(|e| Fault::Internal(format!("stored workflow `{name}`: {e}")))?,
            pins,
            triggers_enabled: true,
        });
    }
    Ok((workflows, plugins, declared))
}

async fn pin(tx: &mut Tx, tenant: &TenantId, name: &str, version: &str) -> Outcome<PluginPin> {
    let found = store::plugins::find(tx, tenant, name, version).await?;
    let row = found.ok_or_else(|| Fault::not_found("plugin", format!("{name}@{version}")))?;
    let manifest = row.manifest;
    let actions = manifest.actions.keys();
    Ok(PluginPin {
        actions: actions.filter_map(|a| Some((a.clone(), manifest.export_of(a)?))).collect(),
        name: manifest.name,
        version: manifest.version.to_string(),
        digest: row.digest,
        size: u32::try_from(row.size).unwrap_or(u32::MAX),
        // Publishing a plugin approves what its manifest asks for.
        granted: manifest.permissions,
        limits: manifest.limits,
    })
}

/// The newest document of a device, as it was signed.
async fn current(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Outcome<Option<(Desired, Vec<SealedSecret>)>> {
    let Some(bytes) = store::devices::desired_document(tx, tenant, device).await? else {
        return Ok(None);
    };
    // One that this build cannot read counts as absent: it is made anew, with a higher revision.
    let signed: Option<SignedDesired> =
        wire::unpack(Kind::SignedDesired, &bytes, limits::DESIRED_BYTES).ok();
    Ok(signed.and_then(|signed| desired::unpack(&signed.document).ok()))
}

fn sign(ctx: &Context, desired: &Desired, secrets: &[SealedSecret]) -> Outcome<Vec<u8>> {
    let document = desired::pack(desired, secrets);
    let signature =
        ctx.ca.sign_desired(&document).map_err(|error| Fault::Internal(error.to_string()))?;
    let signed = wire::pack(Kind::SignedDesired, &SignedDesired { document, signature });
    if signed.len() > limits::DESIRED_BYTES {
        return Err(too_large());
    }
    Ok(signed)
}

fn too_large() -> Fault {
    let detail = format!(
        "the device would have to run more than {} KiB of definitions and secrets; remove a deployment from it",
        limits::DESIRED_BYTES / 1024
    );
    Fault::conflict("deployment.too_large", detail)
}
