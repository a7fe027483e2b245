//! The engine: takes one input, answers with one decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use openclaw_protocol::definition::{DefinitionHash, Workflow};
use openclaw_protocol::id::{Epoch, RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::RunStatus;
use openclaw_protocol::time::{ClockTrust, Stamp};

use crate::admission::{Lane, LaneKey};
use crate::alike::Alike;
use crate::bus::Said;
use crate::effect::{AttemptId, Decision, Effect, Told, TriggerMark};
use crate::fact::{AttemptOutcome, Fact};
use crate::files::Files;
use crate::gate::Gates;
use crate::hold::Holds;
use crate::input::{Deployed, Input};
use crate::limits;
use crate::plan::{Pins, Plan};
use crate::queue::{FailedRun, Queue, QueueView};
use crate::run::Run;
use crate::scope::Stage;
use crate::step::bounded;
use crate::storage::Storage;
use crate::trigger::{Armed, Marks};

/// What an engine is made with. The same seed after each restart, or the past comes out
/// differently.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Drawn for this life of the agent; part of the id of every run that is accepted from now
    /// on.
    pub epoch: Epoch,
    /// Plugin calls at the same time.
    pub slots: u16,
    /// What jitter and `rand(tag)` derive from.
    pub seed: u64,
}

/// The workflow engine of one device.
///
/// Order of calls: [`Engine::new`]; before the first step [`Engine::restore_marks`],
/// [`Engine::restore_wishes`], [`Engine::restore_holds`], [`Engine::restore_files`],
/// [`Engine::restore_run`] for each run that is not settled,
/// [`Engine::set_next_run_number`]; then [`Engine::step`] with [`Input::Deploy`] and with [`Input::Restarted`] (also at the very
/// first start, and again while [`Engine::is_restarting`]), from where on triggers fire and calls are made; then as things happen, and
/// [`Input::Tick`] at the latest at [`Engine::next_deadline`].
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: Config,
    pub(crate) deployed: VecMap<WorkflowName, Deployment>,
    pub(crate) marks: Marks,
    /// Runs that are not settled, by number.
    pub(crate) runs: BTreeMap<u64, Box<Held>>,
    /// Their numbers by lane.
    pub(crate) lanes: BTreeMap<LaneKey, Lane>,
    /// Lanes in which a waiting run may be due.
    pub(crate) moved: BTreeSet<LaneKey>,
    /// Runs in which a step listens.
    pub(crate) listeners: BTreeSet<u64>,
    /// What has been said on the device's own bus and not been heard yet.
    pub(crate) bus: VecDeque<Said>,
    /// What holds triggers back.
    pub(crate) gates: Gates,
    /// How long their conditions have held.
    pub(crate) holds: Holds,
    /// What is known of the files that triggers are about.
    pub(crate) files: Files,
    /// What expressions see as `agent`, a JSON object.
    pub(crate) agent: JsonText,
    pub(crate) queue: Queue,
    /// The earliest deadline of each run that has one, in milliseconds of this boot.
    pub(crate) deadlines: BTreeSet<(u64, u64)>,
    /// Runs with work left over.
    pub(crate) unfinished: BTreeSet<u64>,
    /// Steps that wait for a point in time, over all runs.
    pub(crate) delayed: usize,
    /// What became of operators' wishes.
    pub(crate) requests: VecMap<RequestId, Result<RunId, Refusal>>,
    pub(crate) request_order: VecDeque<RequestId>,
    pub(crate) plans: VecMap<DefinitionHash, Arc<Plan>>,
    pub(crate) alike: Alike,
    pub(crate) next_run: u64,
    pub(crate) last_alive: Option<Stamp>,
    /// `Restarted` has been seen by all runs, and whether it was unclean.
    pub(crate) started: Option<bool>,
    /// The number from which on runs have not seen it yet, where it is on its way.
    restarting: Option<u64>,
    /// What is in force has changed, and runs under way have not been looked at since.
    pub(crate) deployed_anew: bool,
    /// The agent is about to stop: no attempt begins any more.
    pub(crate) draining: bool,
    /// How much room there is on the disk.
    pub(crate) storage: Storage,
    pub(crate) now: Stamp,
}

/// A workflow that is in force.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) plan: Arc<Plan>,
    /// Those that its steps refer to.
    pub(crate) pins: Pins,
    pub(crate) triggers: Vec<Armed>,
    pub(crate) triggers_enabled: bool,
}

/// A run, and what the engine keeps about it for speed.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) run: Run,
    pub(crate) lane: LaneKey,
    pub(crate) due_ms: Option<u64>,
    pub(crate) delayed: usize,
}

/// A run as local status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSummary {
    /// Which run.
    pub id: RunId,
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Where it stands.
    pub status: RunStatus,
    /// What it waits for, if it waits: `turn`, `slot`, `answer` (a message, a decision, another
    /// run, the broker), `delay`, `retry`.
    pub waiting: Option<&'static str>,
    /// Step instances that are under way.
    pub steps_open: usize,
    /// Step instances that have settled.
    pub steps_settled: u32,
    /// When it was accepted.
    pub accepted: Stamp,
}

impl Engine {
    /// An engine that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            deployed: VecMap::new(),
            marks: Marks::new(),
            runs: BTreeMap::new(),
            lanes: BTreeMap::new(),
            moved: BTreeSet::new(),
            listeners: BTreeSet::new(),
            bus: VecDeque::new(),
            gates: Gates::default(),
            holds: Holds::default(),
            files: Files::default(),
            agent: JsonText::of(&serde_json::json!({})),
            queue: Queue::new(config.slots),
            deadlines: BTreeSet::new(),
            unfinished: BTreeSet::new(),
            delayed: 0,
            requests: VecMap::new(),
            request_order: VecDeque::new(),
            plans: VecMap::new(),
            alike: Alike::default(),
            next_run: 1,
            last_alive: None,
            started: None,
            restarting: None,
            deployed_anew: false,
            draining: false,
            storage: Storage::Ample,
            now: Stamp { boot: 0, boot_ms: 0, wall_ms: 0, trust: ClockTrust::Unset },
            config,
        }
    }

    /// Takes one input and decides everything that follows from it.
    pub fn step(&mut self, input: Input, now: Stamp) -> Decision {
        self.now = now;
        let mut decision = Decision::default();
        match input {
            Input::Deploy(deployed) => {
                self.deploy(deployed);
                self.drop_stale_holds(&mut decision);
                self.drop_stale_files(&mut decision);
            }
            Input::Start(request) => self.start(request, now, &mut decision),
            Input::Settled { attempt, outcome } => {
                self.settled(&attempt, outcome, now, &mut decision);
            }
            Input::Cancel { run, force, request } => {
                self.cancel(&run, force, request, now, &mut decision);
            }
            Input::Signal { run, name, data, request } => {
                self.answered(request, &mut decision, |engine, decision| {
                    engine.signal(&run, name, data, now, decision)
                });
            }
            Input::Decide { run, step, choice, by, form, request } => {
                self.answered(request, &mut decision, |engine, decision| {
                    engine.decide(&run, (step, choice, by, form), now, decision)
                });
            }
            Input::Message(message) => self.delivered(&message, now, &mut decision),
            Input::Event { name, data } => {
                self.bus.push_back(Said::Event { from: None, name, data });
            }
            Input::Fire { workflow, trigger, data } => {
                self.fire_watched(&workflow, &trigger, &data, now, &mut decision);
            }
            Input::Files(listing) => self.take_listing(listing, now, &mut decision),
            Input::Tick => {}
            Input::Unheard => self.doubt_heard(now, &mut decision),
            Input::Drain => self.draining = true,
            Input::Restarted { unclean } => self.restarted(unclean, now, &mut decision),
        }
        if self.started.is_some() && self.storage != Storage::Full {
            self.update_outdated(now, &mut decision);
            self.continue_runs(now, &mut decision);
            self.fire_timers(now, &mut decision);
            self.fire_triggers(now, &mut decision);
            self.begin_runs(now, &mut decision);
            self.deliver(now, &mut decision);
            self.dispatch(now, &mut decision);
        }
        decision.needs_commit |= !decision.marks.is_empty()
            || !decision.seen.is_empty()
            || decision.told.iter().any(|told| match told {
                // Nothing is kept of what nobody can ask for again.
                Told::Event(..) | Told::Answer { request: None, outcome: Err(_) } => false,
                Told::Answer { .. } | Told::Result(_) | Told::Dropped { .. } => true,
            });
        decision
    }

    /// What a wish was answered, where it is remembered.
    #[must_use]
    pub fn answer_to(&self, request: &RequestId) -> Option<&Result<RunId, Refusal>> {
        self.requests.get(request)
    }

    /// When the engine wants an [`Input::Tick`] at the latest, in milliseconds of this boot, and
    /// what for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(u64, &'static str)> {
        self.started?;
        if self.storage == Storage::Full {
            return None;
        }
        let outdated = self.deployed_anew && self.storage == Storage::Ample;
        if !self.unfinished.is_empty() || !self.moved.is_empty() || outdated {
            return Some((self.now.boot_ms, "work left over"));
        }
        let run = self.deadlines.first().and_then(|(due_ms, number)| {
            let reason = self.runs.get(number)?.run.next_deadline(self.now)?.1;
            Some((*due_ms, reason))
        });
        let triggers = self.deployed.values().flat_map(|deployment| &deployment.triggers);
        let trigger = triggers
            .filter_map(|armed| armed.deadline(self.now))
            .chain(self.gates.deadline(self.now))
            .chain(self.holds.deadline(self.now))
            .map(|due_ms| (due_ms, "trigger"));
        run.into_iter().chain(trigger).min()
    }

    /// The runs that are not settled, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = RunSummary> {
        self.runs.values().map(|held| held.run.summary())
    }

    /// How many runs are not settled.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.runs.len()
    }

    /// How full the queues are.
    #[must_use]
    pub fn queue(&self) -> QueueView {
        self.queue.view(self.delayed)
    }

    /// Runs that have failed since the agent was started, oldest first: what can be re-driven.
    pub fn failed_runs(&self) -> impl Iterator<Item = &FailedRun> {
        self.queue.failed()
    }

    fn deploy(&mut self, deployed: Vec<Deployed>) {
        let mut before = std::mem::take(&mut self.deployed);
        let agent = self.agent.value();
        let device = agent.get("id").and_then(|id| id.as_str()).unwrap_or_default();
        for one in deployed {
            let plan = self.plan_of(&one.workflow);
            let name = one.workflow.name.clone();
            let old = before.remove(&name).map(|old| old.triggers).unwrap_or_default();
            let mut triggers: Vec<Armed> = if one.triggers_enabled {
                let triggers = one.workflow.triggers.iter();
                triggers.filter_map(|written| Armed::new(written, &name, device)).collect()
            } else {
                Vec::new()
            };
            for armed in &mut triggers {
                if let Some(old) = old.iter().find(|old| old.id == armed.id) {
                    armed.keep_beat(old);
                }
            }
            let lanes = self.lanes.keys().filter(|key| key.0 == name);
            self.moved.extend(lanes.cloned());
            let triggers_enabled = one.triggers_enabled;
            let pins = Arc::new(plan.pins_used(&one.pins));
            self.deployed.insert(name, Deployment { plan, pins, triggers, triggers_enabled });
        }
        self.plans.retain(|_, plan| Arc::strong_count(plan) > 1);
        self.deployed_anew = true;
    }

    /// The one plan of a definition, shared by deployment and runs.
    pub(crate) fn plan_of(&mut self, workflow: &Arc<Workflow>) -> Arc<Plan> {
        let fresh = || Arc::new(Plan::new(Arc::clone(workflow)));
        Arc::clone(self.plans.entry(workflow.hash.clone()).or_insert_with(fresh))
    }

    fn settled(
        &mut self,
        attempt: &AttemptId,
        outcome: AttemptOutcome,
        now: Stamp,
        decision: &mut Decision,
    ) {
        self.queue.finish(attempt);
        let Some(number) = self.number_of(&attempt.run) else { return };
        let run = &self.runs[&number].run;
        let expected = run.find(&attempt.step).is_some_and(|at| run.expects(&at, attempt.attempt));
        if !expected {
            return;
        }
        let (outcome, output) = bounded(outcome);
        let (step, attempt) = (attempt.step.clone(), attempt.attempt);
        let fact = Fact::AttemptSettled { step, attempt, outcome };
        self.commit_read(number, fact, output, now, decision);
    }

    /// Tells a bounded number of runs: what all of them say at once takes more memory than they do.
    fn restarted(&mut self, unclean: bool, now: Stamp, decision: &mut Decision) {
        let from = self.restarting.take().unwrap_or_else(|| {
            self.doubt_holds(now, decision);
            0
        });
        let left: Vec<u64> = self
            .runs
            .range(from..)
            .take(limits::RESTARTED_PER_DECISION + 1)
            .map(|(number, _)| *number)
            .collect();
        let (these, next) = match left.split_last() {
            Some((next, these)) if these.len() == limits::RESTARTED_PER_DECISION => {
                (these, Some(*next))
            }
            _ => (left.as_slice(), None),
        };
        for number in these {
            self.restarted_run(*number, unclean, now, decision);
        }
        self.restarting = next;
        if next.is_none() {
            self.started = Some(unclean);
        }
    }

    fn restarted_run(&mut self, number: u64, unclean: bool, now: Stamp, decision: &mut Decision) {
        // The end of another one may have ended this one too.
        let Some(held) = self.runs.get(&number) else { return };
        let run = &held.run;
        let alive = self.last_alive.filter(|alive| {
            alive.boot == run.last.boot
                && alive.boot_ms > run.last.boot_ms
                && !run.timers.is_empty()
        });
        if let Some(alive) = alive {
            self.commit(number, Fact::Alive, alive, decision);
        }
        self.commit(number, Fact::Restarted { unclean }, now, decision);
    }

    /// Whether [`Input::Restarted`] is to be given once more before anything else: runs are left that
    /// have not seen it.
    #[must_use]
    pub fn is_restarting(&self) -> bool {
        self.restarting.is_some()
    }

    fn continue_runs(&mut self, now: Stamp, decision: &mut Decision) {
        for number in std::mem::take(&mut self.unfinished) {
            let left = self.runs.get(&number).is_some_and(|held| held.run.is_unfinished());
            // What this very decision left over goes on in the next one.
            let fresh = self
                .runs
                .get(&number)
                .is_some_and(|held| decision.facts.iter().any(|(run, _)| *run == held.run.head.id));
            if left && fresh {
                self.unfinished.insert(number);
            } else if left {
                self.commit(number, Fact::Continued, now, decision);
            }
        }
    }

    fn fire_timers(&mut self, now: Stamp, decision: &mut Decision) {
        let due: Vec<u64> = self
            .deadlines
            .iter()
            .take_while(|(due_ms, _)| *due_ms <= now.boot_ms)
            .take(limits::RUNS_PER_DECISION)
            .map(|(_, number)| *number)
            .collect();
        for number in due {
            let Some(held) = self.runs.get(&number) else { continue };
            for (step, what) in held.run.due(now) {
                // An earlier one of these may have ended what this one is for.
                let still = self.runs.get(&number).is_some_and(|h| h.run.is_due(&step, what, now));
                if still {
                    self.commit(number, Fact::TimerFired { step, what }, now, decision);
                }
            }
            // A deadline of the wall clock may have to be looked at once more.
            self.rearm(number);
        }
    }

    /// Hands out attempts while there are slots.
    fn dispatch(&mut self, now: Stamp, decision: &mut Decision) {
        if self.draining {
            return;
        }
        while let Some((number, at)) = self.queue.pop(now.boot_ms) {
            let Some(run) = self.runs.get(&number).map(|held| &held.run) else { continue };
            let Some(active) = run.active(&at).filter(|_| run.stage(&at) == Some(Stage::Ready))
            else {
                continue;
            };
            let attempt = run.attempt_id(&at, active.attempt);
            let fact =
                Fact::AttemptStarted { step: attempt.step.clone(), attempt: attempt.attempt };
            self.commit(number, fact, now, decision);
            let task = self.runs.get(&number).and_then(|held| held.run.plugin_task(&at));
            if let Some(task) = task {
                self.queue.start(attempt);
                decision.effects.push(Effect::Call(task));
            }
        }
    }

    /// The number of a run that is not settled.
    pub(crate) fn number_of(&self, id: &RunId) -> Option<u64> {
        let number = id.number()?;
        self.runs.get(&number).filter(|held| held.run.head.id == *id).map(|_| number)
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.runs.keys().copied().collect()
    }

    pub(crate) fn set_marks(&mut self, marks: impl IntoIterator<Item = TriggerMark>) {
        for mark in marks {
            self.marks.insert((mark.workflow.clone(), mark.trigger.clone()), mark);
        }
    }
}
