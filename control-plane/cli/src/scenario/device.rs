//! A device without a device: the real engine, a clock that is moved by hand, and a journal in
//! memory that forgets what was not committed.
//!
//! It keeps the order of the agent: decide, commit, act. What is not committed when the agent dies
//! is gone, and what a decision asks for is handed out only once it may be: at once where the
//! decision may be lost, else after the commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_agent_core::{
    AttemptId, Config, Decision, Deployed, Effect, Engine, Fact, FactRecord, FileChange,
    HoldChange, Input, PluginTask, Publication, RestoreError, RunSummary, SeenKey, Told,
    TriggerMark,
};
use openclaw_protocol::definition::{DefinitionHash, Trigger, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{Digest, Epoch, RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::report::Refusal;
use openclaw_protocol::time::{ClockTrust, Stamp};

/// Part of the id of every run.
const EPOCH: Epoch = Epoch(0x5ce0_0000_0001_0000);
/// How long after the first boot the agent starts, in milliseconds.
const BOOT_MS: u64 = 10_000;
/// How often the agent writes down that it is alive where nothing else is written, in
/// milliseconds.
const CHECKPOINT_MS: u64 = 300_000;

/// What a virtual device is made with.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Plugin calls at the same time.
    pub slots: u16,
    /// What jitter, `rand(tag)` and `uuid(tag)` derive from.
    pub seed: u64,
    /// The wall clock at the start, milliseconds since 1970 UTC.
    pub wall_ms: i64,
    /// How far it is to be believed.
    pub trust: ClockTrust,
    /// What expressions see as `agent`, a JSON object.
    pub agent: JsonText,
}

/// What one input led to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was decided to tell. It may still be lost.
    pub decided: Vec<Told>,
    /// What is told for good, of this decision and of earlier ones.
    pub told: Vec<Told>,
    /// Calls to make.
    pub calls: Vec<PluginTask>,
    /// Calls to stop.
    pub stops: Vec<AttemptId>,
    /// Messages to send to the site's local broker.
    pub publications: Vec<Publication>,
}

/// The virtual device.
#[derive(Debug)]
pub struct Device {
    setup: Setup,
    deployed: Vec<Deployed>,
    /// Definitions that were in force before, which runs may still have.
    before: Vec<Arc<Workflow>>,
    engine: Engine,
    clock: Clock,
    disk: Disk,
    /// Decided, but not on the disk.
    unsynced: Vec<Decision>,
    /// The last commit, or the start where that is later.
    written: Stamp,
}

/// What survives.
#[derive(Debug, Default)]
struct Disk {
    runs: BTreeMap<u64, (RunId, Vec<FactRecord>)>,
    marks: BTreeMap<String, TriggerMark>,
    seen: Vec<SeenKey>,
    holds: Vec<HoldChange>,
    files: Vec<FileChange>,
    wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
    alive: Option<Stamp>,
}

/// The virtual clocks.
#[derive(Debug)]
struct Clock {
    /// Since the device was made, in milliseconds; never goes back.
    elapsed_ms: u64,
    /// For each boot, [`Clock::elapsed_ms`] at its beginning; before it was made for the first.
    boots: Vec<i64>,
    start_wall_ms: i64,
    /// How far the wall clock is from the true time.
    skew_ms: i64,
    trust: ClockTrust,
}

impl Device {
    /// A device whose agent has not been started yet.
    #[must_use]
    pub fn new(setup: Setup, deployed: Vec<Deployed>) -> Self {
        let clock = Clock {
            elapsed_ms: 0,
            boots: vec![-to_i64(BOOT_MS)],
            start_wall_ms: setup.wall_ms,
            skew_ms: 0,
            trust: setup.trust,
        };
        let written = clock.now();
        Self {
            engine: engine(&setup),
            setup,
            deployed,
            before: Vec::new(),
            clock,
            disk: Disk::default(),
            unsynced: Vec::new(),
            written,
        }
    }

    /// Starts the agent with what is on the disk.
    ///
    /// # Errors
    /// The journal cannot be folded, which is a fault of the engine.
    pub fn start(&mut self, unclean: bool) -> Result<Outcome, RestoreError> {
        self.engine = self.restored()?;
        self.written = self.clock.now();
        let mut outcome = self.feed(Input::Deploy(self.deployed.clone()));
        outcome.extend(self.feed(Input::Restarted { unclean }));
        Ok(outcome)
    }

    /// Another definition of a workflow comes into force.
    pub fn deploy(&mut self, newer: Deployed) -> Outcome {
        for one in &mut self.deployed {
            if one.workflow.name == newer.workflow.name {
                let before = std::mem::replace(one, newer.clone());
                self.before.push(before.workflow);
            }
        }
        self.feed(Input::Deploy(self.deployed.clone()))
    }

    /// The agent takes an input.
    pub fn feed(&mut self, input: Input) -> Outcome {
        let mut decision = self.engine.step(input, self.clock.now());
        let mut outcome = Outcome { decided: decision.told.clone(), ..Outcome::default() };
        for effect in std::mem::take(&mut decision.effects) {
            match effect {
                Effect::Call(task) => outcome.calls.push(task),
                Effect::Stop { attempt, .. } => outcome.stops.push(attempt),
                Effect::Forget(_) => {}
            }
        }
        let needs_commit = decision.needs_commit;
        self.unsynced.push(decision);
        if needs_commit {
            self.commit(&mut outcome);
        }
        outcome
    }

    /// The agent dies; what was not committed is gone.
    pub fn crash(&mut self) {
        self.unsynced.clear();
        self.note_alive();
    }

    /// The agent is stopped in order.
    pub fn stop(&mut self) -> Outcome {
        let mut outcome = self.feed(Input::Drain);
        self.commit(&mut outcome);
        self.note_alive();
        outcome
    }

    /// The device, whose agent is dead, boots: its boot clock begins anew, a moment ago.
    pub fn reboot(&mut self, trust: Option<ClockTrust>) {
        let now = to_i64(self.clock.elapsed_ms);
        let last = self.clock.boots.last().copied().unwrap_or_default();
        // Not before the boot that it follows.
        self.clock.boots.push((now - 1_000).max(last));
        self.clock.believe(trust);
    }

    /// Sets the wall clock: first to the true time if so asked, then by so many milliseconds.
    pub fn set_clock(&mut self, right: bool, by_ms: i64, trust: Option<ClockTrust>) {
        if right {
            self.clock.skew_ms = 0;
        }
        if let Some(trust) = trust {
            self.clock.trust = trust;
        }
        self.clock.skew_ms = self.clock.skew_ms.saturating_add(by_ms);
    }

    /// Time passes, up to so many milliseconds since the device was made.
    pub fn pass_until(&mut self, elapsed_ms: u64) {
        self.clock.elapsed_ms = self.clock.elapsed_ms.max(elapsed_ms);
    }

    /// Milliseconds since the device was made.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.clock.elapsed_ms
    }

    /// What its wall clock shows.
    #[must_use]
    pub fn wall_ms(&self) -> i64 {
        self.clock.now().wall_ms
    }

    /// The same at the moment of a stamp.
    #[must_use]
    pub fn elapsed_at(&self, stamp: Stamp) -> u64 {
        let boot = usize::try_from(stamp.boot).unwrap_or(usize::MAX).saturating_sub(1);
        let begun = self.clock.boots.get(boot).copied().unwrap_or_default();
        u64::try_from(begun.saturating_add(to_i64(stamp.boot_ms))).unwrap_or(0)
    }

    /// When the engine wants a tick at the latest, in milliseconds since the device was made.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let (due_ms, _) = self.engine.next_deadline()?;
        let stamp = Stamp { boot_ms: due_ms, ..self.clock.now() };
        Some(self.elapsed_at(stamp).max(self.clock.elapsed_ms))
    }

    /// The runs that are not settled, oldest first.
    pub fn runs(&self) -> impl Iterator<Item = RunSummary> {
        self.engine.runs()
    }

    /// The triggers in force that the shell watches for.
    pub fn watched(&self) -> impl Iterator<Item = (&WorkflowName, &Trigger)> {
        self.engine.watched()
    }

    /// The triggers whose files the shell lists, each with its `path`, and whether it is to list them
    /// again.
    pub fn listed(&self) -> impl Iterator<Item = (&WorkflowName, &TriggerId, &str, bool)> {
        self.engine.listed()
    }

    /// The journal: each run's facts as they were committed.
    pub fn journal(&self) -> impl Iterator<Item = (&RunId, &[FactRecord])> {
        self.disk.runs.values().map(|(run, facts)| (run, facts.as_slice()))
    }

    fn commit(&mut self, outcome: &mut Outcome) {
        self.written = self.clock.now();
        for decision in std::mem::take(&mut self.unsynced) {
            for (run, record) in decision.facts {
                let number = run.number().unwrap_or_default();
                let journal = self.disk.runs.entry(number).or_insert_with(|| (run, Vec::new()));
                journal.1.push(record);
            }
            for mark in decision.marks {
                self.disk.marks.insert(format!("{} {}", mark.workflow, mark.trigger), mark);
            }
            self.disk.seen.extend(decision.seen);
            self.disk.holds.extend(decision.holds);
            self.disk.files.extend(decision.files);
            self.disk.wishes.extend(decision.wishes);
            outcome.told.extend(decision.told);
            outcome.publications.extend(decision.publications);
        }
    }

    /// Notes when the agent last wrote that it is alive.
    fn note_alive(&mut self) {
        let now = self.clock.now();
        let since = now.boot_ms.saturating_sub(self.written.boot_ms);
        let late = since % CHECKPOINT_MS;
        let alive = Stamp {
            boot_ms: now.boot_ms.saturating_sub(late),
            wall_ms: now.wall_ms.saturating_sub(to_i64(late)),
            ..now
        };
        self.disk.alive = Some(if since < CHECKPOINT_MS { self.written } else { alive });
    }

    fn restored(&self) -> Result<Engine, RestoreError> {
        let mut engine = engine(&self.setup);
        engine.restore_marks(self.disk.marks.values().cloned());
        engine.restore_seen(self.disk.seen.iter().cloned());
        engine.restore_holds(self.disk.holds.iter().cloned());
        engine.restore_files(self.disk.files.iter().cloned());
        engine.restore_wishes(self.disk.wishes.iter().cloned());
        if let Some(alive) = self.disk.alive {
            engine.set_last_alive(alive);
        }
        for (run, facts) in self.disk.runs.values() {
            let Some(definition) = self.definition_of(facts) else {
                return Err(RestoreError::NoBeginning(run.clone()));
            };
            engine.restore_run(run.clone(), definition, facts, |hash| self.definition(hash))?;
        }
        Ok(engine)
    }

    fn definition_of(&self, facts: &[FactRecord]) -> Option<Arc<Workflow>> {
        let Fact::Accepted { definition, .. } = &facts.first()?.fact else { return None };
        self.definition(definition)
    }

    fn definition(&self, hash: &DefinitionHash) -> Option<Arc<Workflow>> {
        let deployed = self.deployed.iter().map(|one| &one.workflow);
        let mut known = deployed.chain(&self.before);
        known.find(|workflow| workflow.hash == *hash).cloned()
    }
}

impl Outcome {
    /// Adds what came after.
    pub fn extend(&mut self, later: Self) {
        self.decided.extend(later.decided);
        self.told.extend(later.told);
        self.calls.extend(later.calls);
        self.stops.extend(later.stops);
        self.publications.extend(later.publications);
    }
}

impl Clock {
    fn now(&self) -> Stamp {
        let begun = self.boots.last().copied().unwrap_or_default();
        let elapsed = to_i64(self.elapsed_ms);
        Stamp {
            boot: u32::try_from(self.boots.len()).unwrap_or(u32::MAX),
            boot_ms: u64::try_from(elapsed - begun).unwrap_or(0),
            wall_ms: self.start_wall_ms.saturating_add(elapsed).saturating_add(self.skew_ms),
            trust: self.trust,
        }
    }

    /// After a boot: a clock without a battery begins again in 1970.
    fn believe(&mut self, trust: Option<ClockTrust>) {
        let Some(trust) = trust else { return };
        self.trust = trust;
        if trust == ClockTrust::Unset {
            let now = self.now();
            self.skew_ms = self.skew_ms.saturating_sub(now.wall_ms - to_i64(now.boot_ms));
        }
    }
}

/// A deployment with a pin for every plugin that the workflow names. There is no module behind it.
#[must_use]
pub fn deploy(workflow: &Arc<Workflow>, triggers_enabled: bool) -> Deployed {
    let pins = workflow.plugin_refs().into_iter().map(|(reference, call)| {
        let pin = PluginPin {
            name: call.plugin.clone(),
            version: "0.0.0".to_owned(),
            digest: Digest([0; 32]),
            size: 0,
            actions: vec![(call.action.clone(), call.action.clone())],
            granted: Permissions::default(),
            limits: CallLimits::default(),
        };
        (reference, Arc::new(pin))
    });
    Deployed { pins: pins.collect(), workflow: Arc::clone(workflow), triggers_enabled }
}

fn engine(setup: &Setup) -> Engine {
    let mut engine = Engine::new(Config { epoch: EPOCH, slots: setup.slots, seed: setup.seed });
    engine.set_agent(setup.agent.clone());
    engine
}

fn to_i64(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use openclaw_agent_core::{AttemptOutcome, StartRequest};
    use openclaw_protocol::definition::parse;
    use openclaw_protocol::json::JsonText;

    use super::*;

    fn device(text: &str) -> Device {
        let workflow = Arc::new(parse(text).unwrap());
        let setup = Setup {
            slots: 4,
            seed: 1,
            wall_ms: 1_767_600_000_000,
            trust: ClockTrust::Synced,
            agent: JsonText::parse("{}").unwrap(),
        };
        let mut device = Device::new(setup, vec![deploy(&workflow, false)]);
        device.start(false).unwrap();
        let request = StartRequest {
            workflow: workflow.name.clone(),
            inputs: JsonText::parse("{}").unwrap(),
            priority: None,
            request: None,
            again: None,
        };
        let begun = device.feed(Input::Start(request));
        assert!(!begun.told.is_empty());
        device
    }

    fn results(outcome: &Outcome) -> usize {
        outcome.told.iter().filter(|told| matches!(told, Told::Result(_))).count()
    }

    #[test]
    fn what_was_not_committed_is_gone() {
        let mut device =
            device("{workflow: w, steps: [{id: a, plugin: p@1}, {id: b, plugin: p@1}]}");
        device.crash();
        let again = device.start(true).unwrap();
        assert_eq!(again.calls.len(), 1, "the call is made again");
        let attempt = again.calls[0].attempt.clone();
        assert_eq!(attempt.attempt, 1);
        let outcome = AttemptOutcome::Succeeded { output: JsonText::null(), vars: None };
        let next = device.feed(Input::Settled { attempt, outcome });
        assert_eq!(next.calls[0].attempt.step.0, "b");
        device.crash();
        let again = device.start(true).unwrap();
        assert_eq!(again.calls[0].attempt.step.0, "b", "a's end was on the disk");
    }

    #[test]
    fn a_delay_survives_a_power_cut() {
        let mut device = device("{workflow: w, steps: [{id: d, delay: 10m}]}");
        assert_eq!(device.next_deadline(), Some(600_000));
        device.pass_until(240_000);
        device.crash();
        device.pass_until(300_000);
        device.reboot(None);
        device.start(true).unwrap();
        assert_eq!(
            device.next_deadline(),
            Some(600_000),
            "the clocks prove the minute without power"
        );
        device.pass_until(600_000);
        assert_eq!(results(&device.feed(Input::Tick)), 1);
    }

    #[test]
    fn a_clock_without_a_battery_begins_again() {
        let mut device = device("{workflow: w, steps: [{id: d, delay: 10m}]}");
        device.pass_until(60_000);
        device.crash();
        device.reboot(Some(ClockTrust::Unset));
        assert_eq!(device.clock.now().wall_ms, 1_000);
        device.set_clock(true, 0, Some(ClockTrust::Synced));
        assert_eq!(device.clock.now().wall_ms, 1_767_600_060_000);
        assert_eq!(device.elapsed_at(device.clock.now()), 60_000);
    }
}
