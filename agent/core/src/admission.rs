//! How runs come to be: wishes, triggers, and the concurrency mode that lets them in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openclaw_protocol::definition::{Mode, Priority, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::expr::{Template, Value};
use openclaw_protocol::id::{RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::time::Stamp;
use serde_json::{Map, Value as Json};

use crate::effect::{Decision, Told};
use crate::engine::Engine;
use crate::fact::{Fact, FactRecord};
use crate::input::StartRequest;
use crate::plan::Pins;
use crate::run::{Head, Run};
use crate::{fault, limits};

/// The origin of runs that no trigger made.
const MANUAL: &str = "manual";

/// A run that somebody or something wants.
struct Wanted {
    workflow: WorkflowName,
    trigger: String,
    trigger_data: JsonText,
    inputs: JsonText,
    priority: Option<Priority>,
    request: Option<RequestId>,
}

/// Why no run came of it.
struct Refused {
    code: &'static str,
    message: String,
}

/// The runs of one workflow that are not settled, by number.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// Waiting for their turn.
    pub(crate) pending: BTreeSet<u64>,
    pub(crate) running: BTreeSet<u64>,
}

impl Engine {
    /// Somebody wants a run.
    pub(crate) fn start(&mut self, wish: StartRequest, now: Stamp, decision: &mut Decision) {
        if self.answer_again(wish.request.as_ref(), decision) {
            return;
        }
        let request = wish.request.clone();
        let wanted = Wanted {
            workflow: wish.workflow,
            trigger: MANUAL.to_owned(),
            trigger_data: JsonText::of(&serde_json::json!({ "id": MANUAL, "kind": MANUAL })),
            inputs: wish.inputs,
            priority: wish.priority,
            request: wish.request,
        };
        let outcome = self
            .accept(wanted, now, decision)
            .map_err(|refused| Refusal { code: refused.code.to_owned(), message: refused.message });
        self.answer(request, outcome, decision);
    }

    /// Somebody wants an end.
    pub(crate) fn cancel(
        &mut self,
        id: &RunId,
        force: bool,
        request: Option<RequestId>,
        now: Stamp,
        decision: &mut Decision,
    ) {
        if self.answer_again(request.as_ref(), decision) {
            return;
        }
        let Some(number) = self.number_of(id) else {
            let message = format!("run {id} is not under way on this device; it may have settled");
            let outcome = Err(Refusal { code: "run.unknown".to_owned(), message });
            return self.answer(request, outcome, decision);
        };
        let asked = self.runs[&number].run.cancelled;
        // Asked for already, and no more urgently now.
        if asked.is_none() || (asked == Some(false) && force) {
            self.commit(number, Fact::CancelRequested { force }, now, decision);
        }
        self.answer(request, Ok(id.clone()), decision);
    }

    /// Whether the wish has been answered before; then it gets the same answer and does nothing.
    fn answer_again(&self, request: Option<&RequestId>, decision: &mut Decision) -> bool {
        let known = request.and_then(|request| self.requests.get_key_value(request));
        let Some((request, outcome)) = known else { return false };
        let (request, outcome) = (Some(request.clone()), outcome.clone());
        decision.told.push(Told::Answer { request, outcome });
        true
    }

    /// Answers a wish, and remembers the answer where the wish has a name.
    fn answer(
        &mut self,
        request: Option<RequestId>,
        outcome: Result<RunId, Refusal>,
        decision: &mut Decision,
    ) {
        if let Some(request) = &request {
            let kept = outcome.clone().map_err(|refusal| {
                let message = fault::cut_to(refusal.message, limits::REQUEST_MESSAGE_BYTES);
                Refusal { message, ..refusal }
            });
            decision.wishes.push((request.clone(), kept.clone()));
            self.remember_request(request.clone(), kept);
        }
        decision.told.push(Told::Answer { request, outcome });
    }

    /// Looks at all triggers and starts what fires.
    pub(crate) fn fire_triggers(&mut self, now: Stamp, decision: &mut Decision) {
        let unclean = self.started == Some(true);
        let mut fired = Vec::new();
        for (workflow, deployment) in &mut self.deployed {
            for armed in &mut deployment.triggers {
                let (firings, mark) = armed.look(workflow, &mut self.marks, now, unclean);
                decision.marks.extend(mark);
                fired.extend(firings.into_iter().map(|firing| (workflow.clone(), firing)));
            }
        }
        for (workflow, firing) in fired {
            let outcome = self.fire(&workflow, &firing.trigger, &firing.data, now, decision);
            if let Err(refused) = outcome {
                decision.told.push(Told::Dropped { workflow, reason: refused.code });
            }
        }
    }

    fn fire(
        &mut self,
        name: &WorkflowName,
        trigger: &TriggerId,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<RunId, Refused> {
        let workflow = self.deployed.get(name).map(|one| Arc::clone(&one.plan.workflow));
        let templates = workflow.as_deref().and_then(|workflow| {
            workflow.triggers.iter().find(|one| one.id == *trigger).map(|one| &one.inputs)
        });
        let inputs = trigger_inputs(templates, data)?;
        let wanted = Wanted {
            workflow: name.clone(),
            trigger: trigger.as_str().to_owned(),
            trigger_data: data
                .to_json_typed()
                .map_or_else(|_| JsonText::null(), |j| JsonText::of(&j)),
            inputs,
            priority: None,
            request: None,
        };
        self.accept(wanted, now, decision)
    }

    /// Lets a run in, if its workflow's mode and its inputs allow it.
    fn accept(
        &mut self,
        wanted: Wanted,
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<RunId, Refused> {
        let Some(deployment) = self.deployed.get(&wanted.workflow) else {
            let message = format!("workflow `{}` is not deployed on this device", wanted.workflow);
            return Err(Refused { code: "workflow.unknown", message });
        };
        let plan = Arc::clone(&deployment.plan);
        let pins = Arc::clone(&deployment.pins);
        let inputs = plan.workflow.check_inputs(&wanted.inputs).map_err(|problems| {
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Refused { code: "inputs.invalid", message: fault::cut(texts.join("; ")) }
        })?;
        self.admit(&plan.workflow)?;
        if plan.workflow.mode == Mode::Restart {
            self.supersede(&wanted.workflow, now, decision);
        }
        let number = self.next_run;
        self.next_run += 1;
        let id = RunId::of(self.config.epoch, number);
        let fact = Fact::Accepted {
            workflow: wanted.workflow,
            definition: plan.workflow.hash.clone(),
            pins: pins.iter().map(|(name, pin)| (name.clone(), PluginPin::clone(pin))).collect(),
            trigger: wanted.trigger,
            trigger_data: wanted.trigger_data,
            inputs,
            priority: wanted.priority.unwrap_or(plan.workflow.priority),
            request: wanted.request,
        };
        let record = FactRecord { at: now, fact };
        if let Some(head) = Head::read(id.clone(), self.config.seed, &record, pins) {
            let (run, out) = Run::new(head, plan);
            decision.needs_commit = true;
            decision.facts.push((id.clone(), record));
            self.hold(number, run);
            self.absorb(number, out, decision);
        }
        Ok(id)
    }

    fn admit(&self, workflow: &Workflow) -> Result<(), Refused> {
        let name = &workflow.name;
        let lane = self.lanes.get(name);
        let pending = lane.map_or(0, |lane| lane.pending.len());
        let running = lane.map_or(0, |lane| lane.running.len());
        let most = workflow.max.max(1) as usize;
        let full = |message: String| Err(Refused { code: "queue_full", message });
        if self.runs.len() >= limits::LIVE_RUNS {
            return full(format!("{} runs are under way on this device", self.runs.len()));
        }
        match workflow.mode {
            Mode::Single if pending + running > 0 => Err(Refused {
                code: "single",
                message: format!("a run of `{name}` is under way, and its mode is `single`"),
            }),
            Mode::Queued if pending >= most && running > 0 => {
                full(format!("{most} runs of `{name}` wait already; raise `max` or wait"))
            }
            Mode::Parallel if pending + running >= most => {
                full(format!("{most} runs of `{name}` are under way already; raise `max` or wait"))
            }
            Mode::Single | Mode::Queued | Mode::Parallel | Mode::Restart => Ok(()),
        }
    }

    /// `restart`: those before make room.
    fn supersede(&mut self, name: &WorkflowName, now: Stamp, decision: &mut Decision) {
        let lane = self.lanes.get(name);
        let before: Vec<u64> = lane
            .into_iter()
            .flat_map(|lane| lane.running.iter().chain(&lane.pending))
            .copied()
            .collect();
        for number in before {
            if self.runs.get(&number).is_some_and(|held| held.run.cancelled.is_none()) {
                self.commit(number, Fact::CancelRequested { force: false }, now, decision);
            }
        }
    }

    /// Lets waiting runs begin whose turn has come, in the order in which they were accepted.
    pub(crate) fn begin_runs(&mut self, now: Stamp, decision: &mut Decision) {
        // A run that settles at once makes room for the next one.
        while let Some(name) = self.moved.pop_first() {
            let Some(lane) = self.lanes.get(&name) else { continue };
            let Some(number) = lane.pending.first().copied() else { continue };
            let running = lane.running.len();
            let workflow = self.deployed.get(&name).map(|one| Arc::clone(&one.plan.workflow));
            let workflow =
                workflow.unwrap_or_else(|| Arc::clone(&self.runs[&number].run.plan.workflow));
            let most =
                if workflow.mode == Mode::Parallel { workflow.max.max(1) as usize } else { 1 };
            if running >= most {
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.pending.remove(&number);
                lane.running.insert(number);
            }
            self.commit(number, Fact::Began, now, decision);
            self.moved.insert(name);
            if decision.facts.len() > limits::FACTS_PER_DECISION {
                return;
            }
        }
    }

    /// Notes what became of a wish; the oldest wishes are forgotten.
    pub(crate) fn remember_request(&mut self, request: RequestId, outcome: Result<RunId, Refusal>) {
        if self.requests.insert(request.clone(), outcome).is_some() {
            return;
        }
        self.request_order.push_back(request);
        if self.request_order.len() > limits::REQUESTS
            && let Some(oldest) = self.request_order.pop_front()
        {
            self.requests.remove(&oldest);
        }
    }
}

/// What a trigger gives as inputs.
fn trigger_inputs(
    templates: Option<&BTreeMap<String, Template>>,
    data: &Value,
) -> Result<JsonText, Refused> {
    let names = BTreeMap::from([("trigger".to_owned(), data.clone())]);
    let mut inputs = Map::new();
    for (name, template) in templates.into_iter().flatten() {
        let json = template.eval_typed(&names).map_err(|failure| Refused {
            code: "inputs.invalid",
            message: format!("input `{name}`: {failure}"),
        })?;
        inputs.insert(name.clone(), json);
    }
    Ok(JsonText::of(&Json::Object(inputs)))
}

impl Head {
    /// What a run was accepted with, from its first fact. `None`: it is another fact.
    pub(crate) fn read(id: RunId, seed: u64, record: &FactRecord, pins: Pins) -> Option<Self> {
        let Fact::Accepted { trigger, trigger_data, inputs, priority, request, .. } = &record.fact
        else {
            return None;
        };
        Some(Self {
            id,
            seed,
            pins,
            trigger: trigger.clone(),
            trigger_data: Value::from_json_typed(&trigger_data.value()),
            inputs: Value::from_json_typed(&inputs.value()),
            priority: *priority,
            request: request.clone(),
            accepted: record.at,
        })
    }
}
