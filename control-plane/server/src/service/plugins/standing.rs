//! What may change about a version that is published: approved, yanked, deprecated. Each twice is
//! the same as once, and only a change is written down in the audit.

use serde_json::json;

use openclaw_protocol::api::Plugin;
use openclaw_protocol::id::TenantId;
use openclaw_protocol::plugin::{Manifest, Permissions};

use super::{require, view};
use crate::context::Context;
use crate::identity::Principal;
use crate::service::{Fault, Outcome, audit};
use crate::store::plugins::{self, PluginRow};
use crate::store::{self, Tx};

/// Bytes of a reason or a message at most.
const TEXT_BYTES: usize = 500;

/// Which of the permissions that a manifest asks for nobody has approved yet for this plugin: those
/// beyond what the approved ones of `versions` ask for, taken together.
pub(super) fn beyond(manifest: &Manifest, versions: &[PluginRow]) -> Vec<String> {
    let mut beyond = manifest.permissions.missing_from(&Permissions::NONE);
    for approved in versions.iter().filter(|version| version.approved.is_some()) {
        let missing = manifest.permissions.missing_from(&approved.manifest.permissions);
        beyond.retain(|permission| missing.contains(permission));
    }
    beyond
}

/// Approves what a version may touch, for this plugin's other versions too.
pub(crate) async fn approve(
    ctx: &Context,
    who: &Principal,
    name: &str,
    version: &str,
) -> Outcome<Plugin> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let row = require(&mut tx, &who.tenant, name, version).await?;
    if row.unapproved.is_empty() {
        return Ok(view(row));
    }
    let detail = json!({ "permissions": row.unapproved });
    let mut approved = row;
    approved.unapproved.clear();
    approved.approved = Some((who.actor.clone(), now_ms));
    plugins::set_standing(&mut tx, &who.tenant, &approved).await?;
    lift_others(&mut tx, &who.tenant, name).await?;
    audit::note(&mut tx, who, "plugin.approve", &approved.title(), detail, now_ms).await?;
    tx.commit().await?;
    Ok(view(approved))
}

/// What has just been approved is approved for the other versions that wait.
pub(super) async fn lift_others(tx: &mut Tx, tenant: &TenantId, name: &str) -> Outcome<()> {
    let versions = store::plugins::versions(tx, tenant, name).await?;
    for row in versions.iter().filter(|row| !row.unapproved.is_empty()) {
        let mut row = row.clone();
        row.unapproved = beyond(&row.manifest, &versions);
        plugins::set_standing(tx, tenant, &row).await?;
    }
    Ok(())
}

/// Takes a version off the shelf, with the reason, or puts it back. What is deployed goes on.
pub(crate) async fn yank(
    ctx: &Context,
    who: &Principal,
    (name, version): (&str, &str),
    reason: Option<String>,
) -> Outcome<Plugin> {
    let reason = reason.map(|text| checked("reason", text)).transpose()?;
    let action = if reason.is_some() { "plugin.yank" } else { "plugin.unyank" };
    let detail = json!({ "reason": reason });
    set(ctx, who, (name, version), (action, detail), |row| {
        std::mem::replace(&mut row.yanked, reason)
    })
    .await
}

/// Says what to use instead, or takes that back. The version goes on being chosen.
pub(crate) async fn deprecate(
    ctx: &Context,
    who: &Principal,
    (name, version): (&str, &str),
    message: Option<String>,
) -> Outcome<Plugin> {
    let message = message.map(|text| checked("message", text)).transpose()?;
    let action = if message.is_some() { "plugin.deprecate" } else { "plugin.undeprecate" };
    let detail = json!({ "message": message });
    let change = |row: &mut PluginRow| std::mem::replace(&mut row.deprecated, message);
    set(ctx, who, (name, version), (action, detail), change).await
}

async fn set(
    ctx: &Context,
    who: &Principal,
    (name, version): (&str, &str),
    (action, detail): (&str, serde_json::Value),
    change: impl FnOnce(&mut PluginRow) -> Option<String>,
) -> Outcome<Plugin> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    tx.lock_tenant(who.tenant.as_str()).await?;
    let mut row = require(&mut tx, &who.tenant, name, version).await?;
    let before = (row.yanked.clone(), row.deprecated.clone());
    change(&mut row);
    if before != (row.yanked.clone(), row.deprecated.clone()) {
        plugins::set_standing(&mut tx, &who.tenant, &row).await?;
        audit::note(&mut tx, who, action, &row.title(), detail, now_ms).await?;
        tx.commit().await?;
    }
    Ok(view(row))
}

fn checked(what: &str, text: String) -> Outcome<String> {
    let text = text.trim().to_owned();
    if (1..=TEXT_BYTES).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(text);
    }
    let detail =
        format!("`{what}` has 1 to {TEXT_BYTES} bytes of text on one line; say why in short");
    Err(Fault::invalid("plugin.text", detail))
}
