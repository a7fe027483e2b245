//! From what a workflow asks for to what the registry has: plugin references to versions, and
//! what a device lacks for them.

use std::collections::BTreeMap;

use openclaw_protocol::api::{ProblemItem, Target};
use openclaw_protocol::definition::{PluginCall, Workflow};
use openclaw_protocol::id::TenantId;

use super::plugins::needs::{self, Shelf};
use super::{Fault, Outcome};
use crate::store::Tx;
use crate::store::deployments::Pins;
use crate::store::devices::DeviceRow;
use crate::store::plugins::PluginRow;
use crate::store::secrets;

/// The calls of a workflow, by reference.
pub(super) fn calls(workflow: &Workflow) -> BTreeMap<String, &PluginCall> {
    workflow.plugin_refs().into_iter().collect()
}

/// Resolves each reference to the newest published version that fits, may be taken and has the
/// action, and what those need in turn.
///
/// # Errors
/// Names every plugin, version or action that is missing.
pub(super) async fn resolve(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &Workflow,
) -> Outcome<(Pins, Vec<PluginRow>)> {
    let (mut pins, mut plugins, mut errors) = (Pins::new(), Vec::new(), Vec::new());
    let mut shelf = Shelf::default();
    for (reference, call) in calls(workflow) {
        let versions = shelf.versions(tx, tenant, call.plugin.as_str()).await?;
        match called(versions, call) {
            Ok(plugin) => {
                pins.insert(reference, pin(plugin));
                plugins.push(plugin.clone());
            }
            Err((code, message)) => errors.push(item(code, message)),
        }
    }
    // What is needed is looked at as well, and may need more; what is there twice is not.
    let mut at = 0;
    while let Some(plugin) = plugins.get(at).cloned() {
        at += 1;
        for (name, range) in needs::ranges(&plugin.manifest) {
            let reference = format!("needs {name}@{range}");
            if pins.contains_key(&reference) {
                continue;
            }
            let versions = shelf.versions(tx, tenant, name).await?;
            match needs::choose(name, &range, versions) {
                Ok(needed) => {
                    pins.insert(reference, pin(needed));
                    plugins.push(needed.clone());
                }
                Err((code, message)) => {
                    errors.push(item(code, format!("`{}` needs it: {message}", plugin.title())));
                }
            }
        }
    }
    refuse_if_any("deployment.plugin_missing", "the workflow needs what is not published", errors)?;
    Ok((pins, plugins))
}

fn pin(plugin: &PluginRow) -> (String, String) {
    (plugin.manifest.name.to_string(), plugin.manifest.version.to_string())
}

/// The version that a call gets.
fn called<'a>(
    versions: &'a [PluginRow],
    call: &PluginCall,
) -> Result<&'a PluginRow, (&'static str, String)> {
    let name = &call.plugin;
    let plugin = needs::choose(name.as_str(), &call.range, versions)?;
    if plugin.manifest.export_of(&call.action).is_none() {
        let has: Vec<&str> = plugin.manifest.actions.keys().map(String::as_str).collect();
        let version = &plugin.manifest.version;
        let message = format!(
            "plugin `{name}` {version} has no action `{}`; it has {}",
            call.action,
            has.join(", ")
        );
        return Err(("E_ACTION_MISSING", message));
    }
    Ok(plugin)
}

/// Refuses if a device says that it does not offer what the plugins need. A device that has not
/// spoken yet is not asked: it refuses by itself where it must.
///
/// # Errors
/// Names every device with what it lacks.
pub(super) fn check_devices(devices: &[DeviceRow], plugins: &[PluginRow]) -> Outcome<()> {
    let mut errors = Vec::new();
    for device in devices {
        let Some(inventory) = &device.inventory else { continue };
        for plugin in plugins {
            for name in &plugin.manifest.permissions.files {
                if !inventory.files.contains(name) {
                    let message = format!(
                        "device `{}` does not offer the directory `{name}` that plugin `{}` reads; \
                         add it to the agent's configuration",
                        device.id, plugin.manifest.name
                    );
                    errors.push(item("E_PERMISSION", message));
                }
            }
        }
    }
    errors.dedup();
    errors.truncate(50);
    refuse_if_any("deployment.permission_missing", "a device lacks what the workflow needs", errors)
}

/// Refuses if a workflow declares secrets that have no value. What its plugins may use besides is asked
/// for when they use it: one that knows six services is not asked for the keys of all six.
///
/// # Errors
/// Names every one of them.
pub(super) async fn check_secrets(
    tx: &mut Tx,
    tenant: &TenantId,
    workflow: &Workflow,
) -> Outcome<()> {
    let (mut errors, mut names) = (Vec::new(), Vec::new());
    for name in &workflow.secrets {
        if secrets::find(tx, tenant, name).await?.is_none() {
            names.push(format!("`{name}`"));
            let message =
                format!("the secret `{name}` has no value; run `openclaw secret set {name}`");
            errors.push(item("E_SECRET_MISSING", message));
        }
    }
    let what = format!("the workflow declares secrets that are not set ({})", names.join(", "));
    refuse_if_any("deployment.secret_missing", &what, errors)
}

/// Whether a target covers a device.
pub(super) fn covers(target: &Target, device: &DeviceRow) -> bool {
    let has = |(key, value): (&String, &String)| device.labels.get(key) == Some(value);
    target.devices.iter().any(|id| id == device.id.as_str())
        || (!target.labels.is_empty() && target.labels.iter().all(has))
}

fn refuse_if_any(code: &'static str, what: &str, errors: Vec<ProblemItem>) -> Outcome<()> {
    let Some(first) = errors.first() else { return Ok(()) };
    let detail = format!("{what}: {}", first.message);
    Err(Fault::Invalid { code, detail, errors })
}

fn item(code: &str, message: String) -> ProblemItem {
    ProblemItem {
        code: code.to_owned(),
        message,
        line: 0,
        column: 0,
        suggestion: None,
        pointer: None,
    }
}
