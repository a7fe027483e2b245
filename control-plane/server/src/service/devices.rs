//! Devices: seen, labelled, let in by a join code, shut out.

use std::collections::BTreeMap;

use serde_json::json;

use openclaw_protocol::api::{CreateJoinCode, Device, JoinCode, Ledger, Page, ResultEntry};
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::sync::Lane;

use super::page::{PageQuery, page};
use super::{Fault, Outcome, audit, desired};
use crate::clock::rfc3339;
use crate::context::{Context, LiveChange, NudgeKind};
use crate::identity::Principal;
use crate::random;
use crate::store::devices::DeviceRow;
use crate::store::join_codes::JoinCodeRow;
use crate::store::results::ResultRow;
use crate::store::{self, Tx};

/// Life of a join code where none is asked for, in minutes.
const DEFAULT_MINUTES: u32 = 60;
/// Life of a join code at most, in minutes: a week.
const MOST_MINUTES: u32 = 10_080;
/// Labels a device may have.
const LABELS: usize = 32;
/// Characters of a label's key or value.
const LABEL_CHARS: usize = 64;

/// Lists devices by id.
pub(crate) async fn list(
    ctx: &Context,
    who: &Principal,
    query: &PageQuery,
) -> Outcome<Page<Device>> {
    let limit = query.limit()?;
    let [after] = query.after()?.unwrap_or_default();
    let mut tx = ctx.db.read().await?;
    let rows = store::devices::list(&mut tx, &who.tenant, &after, limit + 1).await?;
    let rows = page(rows, limit, |row| vec![row.id.to_string()], |row| row);
    let mut items = Vec::with_capacity(rows.items.len());
    for row in rows.items {
        items.push(view(ctx, &mut tx, &who.tenant, row).await?);
    }
    Ok(Page { items, next_cursor: rows.next_cursor })
}

/// One device.
pub(crate) async fn find(ctx: &Context, who: &Principal, id: &str) -> Outcome<Device> {
    let mut tx = ctx.db.read().await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    view(ctx, &mut tx, &who.tenant, row).await
}

/// A device's results, row by row, by epoch and number.
pub(crate) async fn results(
    ctx: &Context,
    who: &Principal,
    id: &str,
    query: &PageQuery,
) -> Outcome<Page<ResultEntry>> {
    let limit = query.limit()?;
    let (epoch, seq) = match query.after::<2>()? {
        Some([epoch, seq]) => {
            let wrong = |_| Fault::BadRequest("`cursor` is not one of ours".to_owned());
            (epoch, seq.parse().map_err(wrong)?)
        }
        None => (String::new(), 0),
    };
    let mut tx = ctx.db.read().await?;
    let device = require(&mut tx, &who.tenant, id).await?.id;
    let rows = store::results::list(&mut tx, &who.tenant, &device, &epoch, seq, limit + 1).await?;
    let key = |row: &ResultRow| vec![row.epoch.clone(), row.seq.to_string()];
    let page = page(rows, limit, key, result_entry);
    let items = page.items.into_iter().collect::<Outcome<_>>()?;
    Ok(Page { items, next_cursor: page.next_cursor })
}

fn result_entry(row: ResultRow) -> Outcome<ResultEntry> {
    let status = serde_json::from_value(serde_json::Value::String(row.status))
        .map_err(|error| Fault::Internal(format!("status of a result: {error}")))?;
    Ok(ResultEntry {
        epoch: row.epoch,
        seq: row.seq,
        run: row.run,
        workflow: row.workflow,
        status,
        received_at: rfc3339(row.received_ms),
    })
}

/// Makes a code with which one machine can enrol, once.
pub(crate) async fn create_join_code(
    ctx: &Context,
    who: &Principal,
    request: CreateJoinCode,
) -> Outcome<JoinCode> {
    let CreateJoinCode { device_id, labels, minutes } = request;
    let minutes = minutes.unwrap_or(DEFAULT_MINUTES);
    if !(1..=MOST_MINUTES).contains(&minutes) {
        let detail = format!("`minutes` is a number from 1 to {MOST_MINUTES}");
        return Err(Fault::invalid("join_code.minutes", detail));
    }
    check_labels(&labels)?;
    let made = || format!("device-{}", data_encoding::HEXLOWER.encode(&random::bytes::<4>()));
    let device = DeviceId::parse(&device_id.unwrap_or_else(made))?;
    let now_ms = ctx.clock.now_ms();
    let expires_ms = now_ms + i64::from(minutes) * 60_000;
    let mut tx = ctx.db.write().await?;
    if store::devices::find(&mut tx, &who.tenant, &device).await?.is_some() {
        let detail =
            format!("there is a device `{device}` already; remove it first, or choose another id");
        return Err(Fault::conflict("device.exists", detail));
    }
    let secret = random::secret();
    let tenant = who.tenant.clone();
    let row = JoinCodeRow { tenant, device, labels, created_by: who.actor.clone() };
    let hash = random::hash(&secret);
    store::join_codes::insert(&mut tx, &hash, &row, now_ms, expires_ms).await?;
    let detail = json!({ "labels": row.labels, "minutes": minutes });
    audit::note(&mut tx, who, "join_code.create", row.device.as_str(), detail, now_ms).await?;
    tx.commit().await?;
    let code = format!("{secret}.{}", ctx.ca.fingerprint());
    let command = format!("openclaw-agent enroll --server {} --code {code}", ctx.public_url());
    Ok(JoinCode { code, expires_at: rfc3339(expires_ms), command })
}

/// Replaces a device's labels; deployments by label follow.
pub(crate) async fn set_labels(
    ctx: &Context,
    who: &Principal,
    id: &str,
    labels: BTreeMap<String, String>,
) -> Outcome<Device> {
    check_labels(&labels)?;
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    let detail = json!({ "before": row.labels, "after": labels });
    store::devices::set_labels(&mut tx, &who.tenant, &row.id, &labels).await?;
    audit::note(&mut tx, who, "device.labels", id, detail, now_ms).await?;
    desired::refresh(ctx, &mut tx, &who.tenant, std::slice::from_ref(&row.id)).await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    let device = row.id.clone();
    let view = view(ctx, &mut tx, &who.tenant, row).await?;
    tx.commit().await?;
    ctx.nudges.send(&who.tenant, &device, NudgeKind::Desired);
    changed(ctx, &who.tenant, &device);
    Ok(view)
}

/// Shuts a device out, at once and for good.
pub(crate) async fn revoke(ctx: &Context, who: &Principal, id: &str) -> Outcome<Device> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    let device = row.id.clone();
    shut_out(&mut tx, &who.tenant, &row, now_ms).await?;
    audit::note(&mut tx, who, "device.revoke", id, json!({}), now_ms).await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    let view = view(ctx, &mut tx, &who.tenant, row).await?;
    tx.commit().await?;
    ctx.nudges.send(&who.tenant, &device, NudgeKind::Revoked);
    changed(ctx, &who.tenant, &device);
    Ok(view)
}

/// Removes a device and all facts of it. Its certificate stays revoked.
pub(crate) async fn remove(ctx: &Context, who: &Principal, id: &str) -> Outcome<()> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    let row = require(&mut tx, &who.tenant, id).await?;
    shut_out(&mut tx, &who.tenant, &row, now_ms).await?;
    store::devices::remove(&mut tx, &who.tenant, &row.id).await?;
    audit::note(&mut tx, who, "device.remove", id, json!({}), now_ms).await?;
    tx.commit().await?;
    ctx.nudges.send(&who.tenant, &row.id, NudgeKind::Revoked);
    changed(ctx, &who.tenant, &row.id);
    Ok(())
}

async fn shut_out(tx: &mut Tx, tenant: &TenantId, row: &DeviceRow, now_ms: i64) -> Outcome<()> {
    let fingerprint = row.certificate_fingerprint;
    Ok(store::devices::revoke(tx, tenant, &row.id, fingerprint, now_ms).await?)
}

fn changed(ctx: &Context, tenant: &TenantId, device: &DeviceId) {
    ctx.live.publish(tenant, [LiveChange::Device { device: device.to_string() }]);
}

/// The device of this id, or the fault that there is none.
pub(super) async fn require(tx: &mut Tx, tenant: &TenantId, id: &str) -> Outcome<DeviceRow> {
    let none = || Fault::not_found("device", id);
    let parsed = DeviceId::parse(id).map_err(|_| none())?;
    store::devices::find(tx, tenant, &parsed).await?.ok_or_else(none)
}

async fn view(ctx: &Context, tx: &mut Tx, tenant: &TenantId, row: DeviceRow) -> Outcome<Device> {
    let standings = store::lanes::of_device(tx, tenant, &row.id, Lane::Results).await?;
    let ledger = standings.iter().map(|standing| Ledger {
        epoch: standing.epoch.to_string(),
        received: standing.received,
        complete_to: standing.upto,
        announced: standing.announced,
        missing: standing.missing(),
        repeated: standing.repeated,
        dropped: standing.dropped,
    });
    Ok(Device {
        ledger: ledger.collect(),
        online: ctx.presence.is_online(tenant, &row.id),
        id: row.id.to_string(),
        labels: row.labels,
        last_seen_at: row.last_seen_ms.map(rfc3339),
        enrolled_at: rfc3339(row.enrolled_ms),
        revoked: row.revoked,
        certificate_expires_at: rfc3339(row.certificate_expires_ms),
        inventory: row.inventory,
        desired_revision: row.desired_revision,
        reported_revision: row.reported_revision,
        refused: row.refused,
    })
}

/// Refuses labels that are too many, too long, or hold what a shell or page could stumble over.
pub(super) fn check_labels(labels: &BTreeMap<String, String>) -> Outcome<()> {
    let wrong = |detail: String| Err(Fault::invalid("device.labels", detail));
    if labels.len() > LABELS {
        return wrong(format!("a device has at most {LABELS} labels"));
    }
    for (key, value) in labels {
        let plain = |c: char| c.is_alphanumeric() || "._-/".contains(c);
        let fits = |text: &str| text.chars().count() <= LABEL_CHARS && text.chars().all(plain);
        if key.is_empty() || !fits(key) || !fits(value) {
            let shown: String = format!("{key}={value}").chars().take(80).collect();
            return wrong(format!(
                "label `{shown}`: key and value are up to {LABEL_CHARS} letters, digits, dots, \
                 dashes, underscores or slashes"
            ));
        }
    }
    Ok(())
}
