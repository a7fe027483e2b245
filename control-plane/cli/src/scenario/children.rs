//! Workflows that stand for other workflows: one step, which the scenario's mock answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openclaw_protocol::definition::{StepKind, TriggerKind, Workflow, parse};
use serde_json::{Map as Object, Value as Json, json};

/// The plugin that the one step calls.
const PLUGIN: &str = "mocked-workflow";

/// The workflows that these call, or are set off by, and that are not among them: one in place of
/// each. `inputs` adds names of inputs that the calls do not show.
///
/// # Errors
/// One of them cannot be made.
pub(crate) fn stand_ins(
    workflows: &[Arc<Workflow>],
    inputs: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Arc<Workflow>>, String> {
    let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for workflow in workflows {
        for step in &workflow.steps {
            if let StepKind::Call(call) = &step.kind {
                let names = wanted.entry(call.workflow.as_str()).or_default();
                if let Json::Object(with) = call.with.source() {
                    names.extend(with.into_iter().map(|(name, _)| name));
                }
            }
        }
        for trigger in &workflow.triggers {
            if let TriggerKind::Workflow { workflow, .. } = &trigger.kind {
                wanted.entry(workflow.as_str()).or_default();
            }
        }
    }
    wanted.retain(|name, _| workflows.iter().all(|workflow| workflow.name.as_str() != *name));
    let made = wanted.into_iter().map(|(name, mut names)| {
        names.extend(inputs.get(name).into_iter().flatten().cloned());
        stand_in(name, &names).map(Arc::new)
    });
    made.collect()
}

fn stand_in(name: &str, inputs: &BTreeSet<String>) -> Result<Workflow, String> {
    let inputs: Object<String, Json> =
        inputs.iter().map(|name| (name.clone(), json!({ "optional": true }))).collect();
    let document = json!({
        "workflow": name,
        "mode": "parallel",
        "max": 1_000,
        "inputs": inputs,
        "steps": [
            {
                "id": "answer",
                "plugin": PLUGIN,
                "with": "${ inputs }",
                "timeout": "3650d",
                "retry": "none",
            },
            { "id": "done", "succeed": "${ steps.answer.output }" },
        ],
    });
    parse(&document.to_string()).map_err(|error| format!("cannot mock workflow `{name}`: {error}"))
}
