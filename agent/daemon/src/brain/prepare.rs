//! Which workflows of a desired state this device can run, and why it cannot run the others.

use std::sync::Arc;

use openclaw_agent_core::Deployed;
use openclaw_protocol::definition;
use openclaw_protocol::desired::{Desired, DesiredWorkflow};
use openclaw_protocol::id::Digest;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;

use crate::offers::Offers;

/// The workflows of a document that this device can run, and the others with the reason.
pub(super) fn prepare(
    document: &Desired,
    offers: Offers<'_>,
    unusable: &VecMap<Digest, String>,
) -> (Vec<Deployed>, Vec<(String, Refusal)>) {
    let mut workflows = Vec::new();
    let mut refused = Vec::new();
    for one in &document.workflows {
        match prepare_one(document, one, offers, unusable) {
            Ok(deployed) => workflows.push(deployed),
            Err(refusal) => refused.push((one.name.to_string(), refusal)),
        }
    }
    (workflows, refused)
}

fn prepare_one(
    document: &Desired,
    one: &DesiredWorkflow,
    offers: Offers<'_>,
    unusable: &VecMap<Digest, String>,
) -> Result<Deployed, Refusal> {
    let refuse = |code: &str, message: String| Refusal { code: code.to_owned(), message };
    let workflow = definition::parse(one.definition.as_str())
        .map_err(|e| refuse("workflow.invalid", format!("this agent cannot read it: {e}")))?;
    if workflow.hash != one.hash || workflow.name != one.name {
        let message = "this agent understands it differently; update the agent".to_owned();
        return Err(refuse("workflow.hash", message));
    }
    if let Some((code, message)) = offers.lacks(&workflow) {
        return Err(refuse(code, message));
    }
    let mut pins = VecMap::new();
    for (reference, index) in &one.pins {
        let Some(pin) = document.plugins.get(usize::from(*index)) else {
            let message = format!("`{reference}` points at no plugin");
            return Err(refuse("plugin.missing", message));
        };
        if let Some(reason) = unusable.get(&pin.digest) {
            let message = format!("plugin {} {}: {reason}", pin.name, pin.version);
            return Err(refuse("plugin.load", message));
        }
        if let Some(dir) = pin.granted.files.iter().find(|dir| !offers.files.contains(dir)) {
            let message = format!(
                "plugin {} needs the directory `{dir}`, which this device does not offer; add it \
                 to [files] of its configuration",
                pin.name
            );
            return Err(refuse("files.missing", message));
        }
        pins.insert(reference.clone(), Arc::new(pin.clone()));
    }
    Ok(Deployed { workflow: Arc::new(workflow), pins, triggers_enabled: one.triggers_enabled })
}
