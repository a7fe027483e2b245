//! Secrets: set, listed by name, deleted. No value is ever given back.

use openclaw_protocol::api::{
    Page, PutSecret, Secret, SecretDetail, SecretDevice, SecretDeviceState,
};
use openclaw_protocol::id::{DeviceId, StepId, TenantId};
use openclaw_protocol::limits::{SECRET_BYTES, SECRET_LEAST_BYTES};
use serde_json::json;

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit, desired};
use crate::clock::rfc3339;
use crate::context::{Context, LiveChange, NudgeKind};
use crate::identity::Principal;
use crate::store;
use crate::store::secrets::{DeviceSecretRow, SecretRow};

/// Secrets of one tenant at most.
const MOST: u64 = 1_000;
/// Devices that are named in one answer at most.
const DEVICES: u32 = 1_000;

/// Lists names, versions, and how many devices have them.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<Secret>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = store::secrets::list(&mut tx, &who.tenant, &after, limit + 1).await?;
    Ok(page(rows, limit, |row| vec![row.name.clone()], view))
}

/// One secret, device by device.
pub(crate) async fn find(ctx: &Context, who: &Principal, name: &str) -> Outcome<SecretDetail> {
    let mut tx = ctx.db.read().await?;
    let found = store::secrets::find(&mut tx, &who.tenant, name).await?;
    let row = found.ok_or_else(|| Fault::not_found("secret", name))?;
    let rows = store::secrets::devices(&mut tx, &who.tenant, name, DEVICES).await?;
    let stand = |device| stand(ctx, &who.tenant, device, row.version);
    let devices = rows.into_iter().map(stand).collect();
    Ok(SecretDetail { secret: view(row), devices })
}

/// Sets a value, the first one or a newer one, and sends it to the devices that are to have it.
pub(crate) async fn put(
    ctx: &Context,
    who: &Principal,
    name: &str,
    request: PutSecret,
) -> Outcome<Secret> {
    check_name(name)?;
    check_value(&request.value)?;
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let is_new = store::secrets::find(&mut tx, &who.tenant, name).await?.is_none();
    if is_new && store::secrets::count(&mut tx, &who.tenant).await? >= MOST {
        let detail = format!("there are {MOST} secrets, and no more fit; delete some first");
        return Err(Fault::conflict("secret.too_many", detail));
    }
    let version = store::secrets::next_version(&mut tx, &who.tenant, name).await?;
    let locked = ctx.vault.lock(&who.tenant, name, version, &request.value);
    let locked = locked.map_err(|error| Fault::Internal(error.to_string()))?;
    let by = (who.actor.as_str(), now_ms);
    store::secrets::put(&mut tx, &who.tenant, (name, version), locked, by).await?;
    let detail = json!({ "version": version });
    audit::note(&mut tx, who, "secret.set", name, detail, now_ms).await?;
    let wanting = store::secrets::wanted_by(&mut tx, &who.tenant, name).await?;
    let changed = desired::refresh(ctx, &mut tx, &who.tenant, &wanting).await?;
    let found = store::secrets::find(&mut tx, &who.tenant, name).await?;
    let row = found.ok_or_else(|| Fault::not_found("secret", name))?;
    tx.commit().await?;
    announce(ctx, &who.tenant, &changed);
    Ok(view(row))
}

/// Wipes a value, unless a deployed workflow declares it.
pub(crate) async fn delete(ctx: &Context, who: &Principal, name: &str) -> Outcome<()> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let wanting = store::secrets::wanted_by(&mut tx, &who.tenant, name).await?;
    let exists = store::secrets::find(&mut tx, &who.tenant, name).await?.is_some();
    if !exists {
        return Err(Fault::not_found("secret", name));
    }
    if let Some(device) = wanting.first() {
        let detail = format!(
            "workflows on {} devices (`{device}` is one) declare the secret `{name}`; delete their \
             deployments first, or deploy versions that do not declare it",
            wanting.len()
        );
        return Err(Fault::conflict("secret.in_use", detail));
    }
    let by = (who.actor.as_str(), now_ms);
    store::secrets::delete(&mut tx, &who.tenant, name, by).await?;
    audit::note(&mut tx, who, "secret.delete", name, json!({}), now_ms).await?;
    Ok(tx.commit().await?)
}

/// A device has told its key: what it is to have is sealed to that, where it is another one.
///
/// # Errors
/// The database could not.
pub(crate) async fn reseal(ctx: &Context, tenant: &TenantId, device: &DeviceId) -> Outcome<()> {
    let mut tx = ctx.db.read().await?;
    let wanted = store::secrets::wanted(&mut tx, tenant, device).await?;
    drop(tx);
    if wanted.is_empty() {
        return Ok(());
    }
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(tenant.as_str()).await?;
    let changed = desired::refresh(ctx, &mut tx, tenant, std::slice::from_ref(device)).await?;
    tx.commit().await?;
    announce(ctx, tenant, &changed);
    Ok(())
}

fn announce(ctx: &Context, tenant: &TenantId, devices: &[DeviceId]) {
    for device in devices {
        ctx.nudges.send(tenant, device, NudgeKind::Desired);
    }
    let changes = devices.iter().map(|id| LiveChange::Device { device: id.to_string() });
    ctx.live.publish(tenant, changes);
}

/// Names are what `secret('name')` can name.
fn check_name(name: &str) -> Outcome<()> {
    StepId::parse(name).map(drop).map_err(|error| {
        let detail = format!("`{}` is no name for a secret: {}", error.text, error.reason);
        Fault::invalid("secret.name", detail)
    })
}

fn check_value(value: &str) -> Outcome<()> {
    // White space around it hides nothing.
    let counted = value.trim().len();
    if counted >= SECRET_LEAST_BYTES && value.len() <= SECRET_BYTES {
        return Ok(());
    }
    let detail = format!(
        "a secret's value has {SECRET_LEAST_BYTES} to {SECRET_BYTES} bytes, white space around it not \
         counted; this one has {counted}: a shorter one is guessed in no time, and could not be masked \
         in what plugins say",
    );
    Err(Fault::invalid("secret.value", detail))
}

fn view(row: SecretRow) -> Secret {
    Secret {
        name: row.name,
        version: row.version,
        updated_at: rfc3339(row.updated_ms),
        updated_by: row.updated_by,
        devices: row.devices,
        devices_ready: row.ready,
    }
}

fn stand(ctx: &Context, tenant: &TenantId, row: DeviceSecretRow, version: u64) -> SecretDevice {
    let is_held = row.held.and_then(|held| u64::try_from(held).ok()) == Some(version);
    let is_ready = row.state.as_deref() == Some("ready");
    let state = match (is_held && row.wanted == version, is_ready) {
        (true, true) => SecretDeviceState::Ready,
        (true, false) => SecretDeviceState::Failed,
        (false, _) if !row.has_key => SecretDeviceState::NoKey,
        (false, _) => SecretDeviceState::Pending,
    };
    SecretDevice {
        online: ctx.presence.is_online(tenant, &row.device),
        device: row.device.to_string(),
        version: row.held.and_then(|held| u64::try_from(held).ok()),
        state,
        last_seen_at: row.last_seen_ms.map(rfc3339),
    }
}
