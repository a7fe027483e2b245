//! How runs come to be: wishes, triggers, and the concurrency mode that lets them in.

use std::collections::BTreeSet;
use std::sync::Arc;

use openclaw_protocol::definition::{MaxExceeded, Mode, Priority, StepKind, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::expr::{Template, Value};
use openclaw_protocol::id::{RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::StepPath;
use openclaw_protocol::time::Stamp;
use serde_json::{Map, Value as Json};

use crate::alike::Alike;
use crate::effect::{Decision, Told};
use crate::engine::Engine;
use crate::fact::{Callee, Fact, FactRecord, Parent};
use crate::input::StartRequest;
use crate::plan::{Pins, Plan};
use crate::run::{Head, Pinned, Run};
use crate::storage::STORAGE_FULL;
use crate::{fault, limits};

/// The origin of runs that no trigger made.
const MANUAL: &str = "manual";

/// A run that somebody or something wants.
pub(crate) struct Wanted {
    pub(crate) workflow: WorkflowName,
    pub(crate) trigger: String,
    pub(crate) trigger_data: JsonText,
    pub(crate) inputs: JsonText,
    pub(crate) priority: Option<Priority>,
    pub(crate) request: Option<RequestId>,
    pub(crate) parent: Option<Parent>,
    /// Results that steps are given instead of being run.
    pub(crate) given: Vec<(StepPath, JsonText)>,
    /// It comes instead of another one, which goes: its place is free.
    pub(crate) instead: bool,
    /// The definition to take, where it is not the one in force.
    pub(crate) pinned: Option<(Arc<Plan>, Pins)>,
}

impl Wanted {
    /// What everything that wants a run says.
    pub(crate) fn new(
        workflow: WorkflowName,
        trigger: &str,
        trigger_data: &Json,
        inputs: JsonText,
    ) -> Self {
        Self {
            workflow,
            trigger: trigger.to_owned(),
            trigger_data: JsonText::of(trigger_data),
            inputs,
            priority: None,
            request: None,
            parent: None,
            given: Vec::new(),
            instead: false,
            pinned: None,
        }
    }
}

/// Why no run came of it.
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Refused {
    /// Whether there was no room for the run, which may be otherwise soon.
    pub(crate) fn is_for_room(&self) -> bool {
        matches!(self.code, "queue_full" | "single" | STORAGE_FULL)
    }
}

/// The runs that wait for one another: of a workflow and, where it has one, of one value of its
/// `concurrency_key`.
pub(crate) type LaneKey = (WorkflowName, String);

/// The runs of one lane that are not settled, by number.
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
        let mut data = serde_json::json!({ "id": MANUAL, "kind": MANUAL });
        if let Some(again) = &wish.again {
            data["again"] = serde_json::json!(again.of);
        }
        let wanted = Wanted {
            priority: wish.priority,
            request: wish.request,
            given: wish.again.map(|again| again.given).unwrap_or_default(),
            ..Wanted::new(wish.workflow, MANUAL, &data, wish.inputs)
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
    pub(crate) fn answer_again(
        &self,
        request: Option<&RequestId>,
        decision: &mut Decision,
    ) -> bool {
        let known = request.and_then(|request| self.requests.get_key_value(request));
        let Some((request, outcome)) = known else { return false };
        let (request, outcome) = (Some(request.clone()), outcome.clone());
        decision.told.push(Told::Answer { request, outcome });
        true
    }

    /// Answers a wish, and remembers the answer where the wish has a name.
    pub(crate) fn answer(
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
            let (trigger, data) = (&firing.trigger, &firing.data);
            self.fire_gated(&workflow, trigger, data, now, decision);
        }
        self.fire_held_back(now, decision);
    }

    /// A trigger sets a run off.
    pub(crate) fn fire(
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
        // Journaled as it came: a message may say `$secret` as well, and only `with` asks for one.
        let data = data.to_json_as_is().unwrap_or(Json::Null);
        let wanted = Wanted::new(name.clone(), trigger.as_str(), &data, inputs);
        self.accept(wanted, now, decision)
    }

    /// Lets a run in, if its workflow's mode and its inputs allow it.
    pub(crate) fn accept(
        &mut self,
        wanted: Wanted,
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<RunId, Refused> {
        let in_force = self.deployed.get(&wanted.workflow);
        let in_force = in_force.map(|one| (Arc::clone(&one.plan), Arc::clone(&one.pins)));
        let Some((plan, pins)) = wanted.pinned.or(in_force) else {
            let message = format!("workflow `{}` is not deployed on this device", wanted.workflow);
            return Err(Refused { code: "workflow.unknown", message });
        };
        let inputs = plan.workflow.check_inputs(&wanted.inputs).map_err(|problems| {
            let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Refused { code: "inputs.invalid", message: fault::cut(texts.join("; ")) }
        })?;
        self.has_storage_for_run(wanted.parent.is_some())?;
        let above =
            wanted.parent.as_ref().is_some_and(|parent| self.is_above(parent, &wanted.workflow));
        let lane = (wanted.workflow.clone(), lane_of_json(&plan, &inputs, &wanted.trigger_data)?);
        let mut no_room = None;
        if !above && !wanted.instead {
            no_room = self.make_room(&plan.workflow, &lane, now, decision)?;
            if plan.workflow.mode == Mode::Restart {
                self.supersede(&lane, now, decision);
            }
        }
        let callees = self.callees_of(&plan);
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
            parent: wanted.parent,
            callees: callees.iter().map(Pinned::written).collect(),
            agent: self.agent.clone(),
            given: wanted.given,
        };
        let record = FactRecord { at: now, check: 0, fact };
        let (seed, with) = (self.config.seed, (pins, callees));
        if let Some(head) = Head::read(id.clone(), seed, &record, with, &mut self.alike) {
            let (run, out) = Run::new(head, plan);
            decision.needs_commit = true;
            decision.facts.push((id.clone(), record));
            self.hold(number, run);
            self.absorb(number, out, decision);
        }
        if let Some(message) = no_room {
            self.commit(number, Fact::Refused { message }, now, decision);
        } else if above {
            // It would wait for its own caller.
            self.begin(number, &lane, now, decision);
        }
        Ok(id)
    }

    /// The workflows that a workflow calls, as far as they are in force.
    pub(crate) fn callees_of(&self, plan: &Plan) -> Vec<Pinned> {
        let mut callees: Vec<Pinned> = Vec::new();
        for step in &plan.workflow.steps {
            let StepKind::Call(call) = &step.kind else { continue };
            let known = callees.iter().any(|one| one.workflow == call.workflow);
            if let Some(one) = self.deployed.get(&call.workflow).filter(|_| !known) {
                callees.push(Pinned {
                    workflow: call.workflow.clone(),
                    plan: Arc::clone(&one.plan),
                    pins: Arc::clone(&one.pins),
                });
            }
        }
        callees
    }

    /// Sees that a run may come in. Where there is no room for it, the workflow says what follows:
    /// another one goes, this one is refused, or it comes in to fail at once with this message.
    fn make_room(
        &mut self,
        workflow: &Workflow,
        lane: &LaneKey,
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<Option<String>, Refused> {
        let Err(refused) = self.admit(workflow, lane) else { return Ok(None) };
        match workflow.max_exceeded {
            MaxExceeded::Fail if self.runs.len() < limits::LIVE_RUNS => Ok(Some(refused.message)),
            MaxExceeded::DropOldest if refused.code == "queue_full" => {
                let oldest = self.lanes.get(lane).and_then(|lane| lane.pending.first().copied());
                let Some(oldest) = oldest else { return Err(refused) };
                self.commit(oldest, Fact::CancelRequested { force: false }, now, decision);
                let dropped = lane.0.clone();
                decision.told.push(Told::Dropped { workflow: dropped, reason: "queue_full" });
                self.admit(workflow, lane).map(|()| None)
            }
            MaxExceeded::DropNewest | MaxExceeded::DropOldest | MaxExceeded::Fail => Err(refused),
        }
    }

    fn admit(&self, workflow: &Workflow, lane: &LaneKey) -> Result<(), Refused> {
        let name = &workflow.name;
        let lane = self.lanes.get(lane);
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
            // Where none is running, the first of those that wait begins with this very decision.
            Mode::Queued if pending >= most + usize::from(running == 0) => {
                full(format!("{most} runs of `{name}` wait already; raise `max` or wait"))
            }
            Mode::Parallel if pending + running >= most => {
                full(format!("{most} runs of `{name}` are under way already; raise `max` or wait"))
            }
            Mode::Single | Mode::Queued | Mode::Parallel | Mode::Restart => Ok(()),
        }
    }

    /// `restart`: those before make room.
    fn supersede(&mut self, lane: &LaneKey, now: Stamp, decision: &mut Decision) {
        let lane = self.lanes.get(lane);
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
        while let Some(key) = self.moved.pop_first() {
            let name = &key.0;
            let Some(lane) = self.lanes.get(&key) else { continue };
            let Some(number) = lane.pending.first().copied() else { continue };
            let running = lane.running.len();
            let workflow = self.deployed.get(name).map(|one| Arc::clone(&one.plan.workflow));
            let workflow =
                workflow.unwrap_or_else(|| Arc::clone(&self.runs[&number].run.plan.workflow));
            let most =
                if workflow.mode == Mode::Parallel { workflow.max.max(1) as usize } else { 1 };
            if running >= most {
                continue;
            }
            self.begin(number, &key, now, decision);
            self.moved.insert(key);
            if decision.facts.len() > limits::FACTS_PER_DECISION {
                return;
            }
        }
    }

    fn begin(&mut self, number: u64, key: &LaneKey, now: Stamp, decision: &mut Decision) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.pending.remove(&number);
            lane.running.insert(number);
        }
        self.commit(number, Fact::Began, now, decision);
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

/// The names that expressions of a trigger see.
pub(crate) fn trigger_names(data: &Value) -> VecMap<String, Value> {
    let mut names = VecMap::new();
    names.insert("trigger".to_owned(), data.clone());
    names
}

/// What a trigger gives as inputs.
fn trigger_inputs(
    templates: Option<&VecMap<String, Template>>,
    data: &Value,
) -> Result<JsonText, Refused> {
    let names = trigger_names(data);
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
    pub(crate) fn read(
        id: RunId,
        seed: u64,
        record: &FactRecord,
        (pins, callees): (Pins, Vec<Pinned>),
        alike: &mut Alike,
    ) -> Option<Self> {
        let Fact::Accepted {
            trigger,
            trigger_data,
            inputs,
            priority,
            request,
            parent,
            agent,
            given,
            ..
        } = &record.fact
        else {
            return None;
        };
        Some(Self {
            id,
            seed,
            pins,
            trigger: trigger.clone(),
            trigger_data: alike.typed(trigger_data),
            agent: alike.plain(agent),
            inputs: alike.typed(inputs),
            priority: *priority,
            request: request.clone(),
            parent: parent.clone().map(Box::new),
            callees,
            given: given.iter().map(|(step, result)| (step.clone(), result.clone())).collect(),
            accepted: record.at,
        })
    }
}

impl Pinned {
    pub(crate) fn written(&self) -> Callee {
        let pin = |(name, pin): &(String, Arc<PluginPin>)| (name.clone(), PluginPin::clone(pin));
        Callee {
            workflow: self.workflow.clone(),
            definition: self.plan.workflow.hash.clone(),
            pins: self.pins.iter().map(pin).collect(),
        }
    }
}

/// The longest key of a lane that is kept as it is, in bytes; longer ones are hashed.
const LANE_KEY_BYTES: usize = 64;

/// Which of a workflow's lanes a run belongs to; the empty text where it has but one.
///
/// # Errors
/// The `concurrency_key` has no value for these inputs.
pub(crate) fn lane_of(
    workflow: &Workflow,
    inputs: &Value,
    trigger: &Value,
) -> Result<String, Refused> {
    let Some(expr) = &workflow.concurrency_key else { return Ok(String::new()) };
    let mut names = trigger_names(trigger);
    names.insert("inputs".to_owned(), inputs.clone());
    let wrong = |message: String| Refused { code: "inputs.invalid", message };
    let value = expr.eval(&names).map_err(|error| wrong(format!("concurrency_key: {error}")))?;
    let json = value.to_json().map_err(|error| wrong(format!("concurrency_key: {error}")))?;
    let text = json.to_string();
    if text.len() <= LANE_KEY_BYTES {
        return Ok(text);
    }
    Ok(blake3::hash(text.as_bytes()).to_hex().to_string())
}

fn lane_of_json(plan: &Plan, inputs: &JsonText, trigger: &JsonText) -> Result<String, Refused> {
    if plan.workflow.concurrency_key.is_none() {
        return Ok(String::new());
    }
    let inputs = Value::from_json_typed(&inputs.value());
    lane_of(&plan.workflow, &inputs, &Value::from_json_typed(&trigger.value()))
}
