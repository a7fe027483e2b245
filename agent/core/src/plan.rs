//! A definition made ready to run: the checked workflow and the look-ups the engine needs of it.

use std::fmt;
use std::sync::Arc;

use openclaw_protocol::definition::{PluginCall, Scope, ScopeIx, Step, StepIx, StepKind, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::expr::Value;
use openclaw_protocol::ordered::VecMap;

use crate::view::View;

/// Plugin references as written, and the versions they are pinned to.
pub(crate) type Pins = Arc<Vec<(String, Arc<PluginPin>)>>;

/// A workflow with its steps by id and by place in their scope. Shared by all its runs.
pub(crate) struct Plan {
    pub(crate) workflow: Arc<Workflow>,
    ids: VecMap<String, StepIx>,
    positions: Vec<usize>,
    /// What a run sees at first: its variables as the document has them. Shared until it writes.
    pub(crate) view: View,
}

impl Plan {
    pub(crate) fn new(workflow: Arc<Workflow>) -> Self {
        let mut ids = VecMap::new();
        for (at, step) in workflow.steps.iter().enumerate() {
            ids.insert(step.id.as_str().to_owned(), StepIx(u16::try_from(at).unwrap_or(u16::MAX)));
        }
        let mut positions = vec![0; workflow.steps.len()];
        for scope in &workflow.scopes {
            for (position, ix) in scope.steps.iter().enumerate() {
                positions[usize::from(ix.0)] = position;
            }
        }
        let vars = workflow.vars.iter();
        let view = View::new(vars.map(|(name, json)| (name.clone(), Value::from_json_typed(json))));
        Self { workflow, ids, positions, view }
    }

    pub(crate) fn step(&self, ix: StepIx) -> &Step {
        self.workflow.step(ix)
    }

    pub(crate) fn scope(&self, ix: ScopeIx) -> &Scope {
        self.workflow.scope(ix)
    }

    /// The step's place in its scope.
    pub(crate) fn position(&self, ix: StepIx) -> usize {
        self.positions[usize::from(ix.0)]
    }

    pub(crate) fn find(&self, id: &str) -> Option<StepIx> {
        self.ids.get(id).copied()
    }

    /// The pins that the workflow's plugin steps refer to, out of those that are offered.
    pub(crate) fn pins_used(
        &self,
        offered: &VecMap<String, Arc<PluginPin>>,
    ) -> Vec<(String, Arc<PluginPin>)> {
        let calls: Vec<&PluginCall> = self.workflow.steps.iter().filter_map(call_of).collect();
        offered
            .iter()
            .filter(|(reference, _)| calls.iter().any(|call| refers_to(reference, call)))
            .map(|(reference, pin)| (reference.clone(), Arc::clone(pin)))
            .collect()
    }
}

impl fmt::Debug for Plan {
    /// The content hash stands for the whole definition.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plan({})", self.workflow.hash.0)
    }
}

fn call_of(step: &Step) -> Option<&PluginCall> {
    if let StepKind::Plugin(call) = &step.kind { Some(call) } else { None }
}

/// Whether a reference as written (`name[.action][@range]`) means this call. The range is compared
/// as a range, because `@1` and `@^1` are two spellings of one thing.
pub(crate) fn refers_to(reference: &str, call: &PluginCall) -> bool {
    let (target, range) = reference.split_once('@').unwrap_or((reference, "*"));
    let (name, action) = target.split_once('.').unwrap_or((target, "execute"));
    name == call.plugin.as_str()
        && action == call.action
        && semver::VersionReq::parse(range).is_ok_and(|range| range == call.range)
}
