//! A device without a device: an engine, a clock that is moved by hand, a journal that forgets
//! what was not committed, and workers that answer when told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use openclaw_protocol::definition::{DefinitionHash, Effects, Workflow, parse};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{Digest, Epoch, PluginName, RequestId, RunId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::{RunError, RunEvent, RunEventRecord, RunStatus, StepPath};
use openclaw_protocol::time::{ClockTrust, Stamp};

use crate::names::status_text;
use crate::{
    AttemptId, AttemptOutcome, Config, Decision, Deployed, Effect, Engine, Fact, FactRecord,
    FileChange, HoldChange, Input, PluginTask, SeenKey, StartRequest, Told, TriggerMark,
};

pub(super) const EPOCH: Epoch = Epoch(0xabcd_ef01_2345_0000);

/// 2026-03-02 10:00:00 UTC, a Monday.
pub(super) const MONDAY_MS: i64 = 1_772_445_600_000;

pub(super) fn seconds(count: u64) -> u64 {
    count * 1_000
}

pub(super) fn minutes(count: u64) -> u64 {
    count * 60_000
}

pub(super) fn workflow(text: &str) -> Arc<Workflow> {
    Arc::new(parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

/// A deployment with a pin for every plugin it names.
pub(super) fn deployed(workflow: &Arc<Workflow>) -> Deployed {
    let pins = workflow.plugin_refs().into_iter().map(|(reference, call)| {
        let pin = PluginPin {
            name: PluginName::parse(call.plugin.as_str()).unwrap(),
            version: "1.0.0".to_owned(),
            digest: Digest([7; 32]),
            size: 1,
            actions: vec![(call.action.clone(), call.action.clone())],
            granted: Permissions::default(),
            limits: CallLimits::default(),
        };
        (reference, Arc::new(pin))
    });
    Deployed { pins: pins.collect(), workflow: Arc::clone(workflow), triggers_enabled: true }
}

/// What a disk holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) runs: BTreeMap<u64, (RunId, Vec<FactRecord>)>,
    pub(super) marks: BTreeMap<String, TriggerMark>,
    pub(super) seen: Vec<SeenKey>,
    pub(super) holds: Vec<HoldChange>,
    pub(super) files: Vec<FileChange>,
    pub(super) told: Vec<Told>,
    pub(super) wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Stamp,
    pub(super) workflows: Vec<Arc<Workflow>>,
    pub(super) disk: Disk,
    /// Decided, but not on the disk.
    pub(super) unsynced: Vec<Decision>,
    /// With workers.
    pub(super) calls: Vec<PluginTask>,
    /// Attempts that wait for the broker; kept over restarts, as the store does.
    pub(super) confirms: Vec<AttemptId>,
    pub(super) commits: u32,
    /// When the agent was last known to be alive, as the store notes it.
    pub(super) alive: Option<Stamp>,
    /// All calls ever made.
    pub(super) made: Vec<(AttemptId, Effects, String)>,
    slots: u16,
    transcript: String,
}

impl World {
    /// A device that has just been started for the first time, with this workflow.
    pub(super) fn new(text: &str) -> Self {
        Self::with(&[text], 4)
    }

    pub(super) fn with(texts: &[&str], slots: u16) -> Self {
        let mut world = Self {
            engine: engine(slots),
            now: Stamp {
                boot: 1,
                boot_ms: seconds(10),
                wall_ms: MONDAY_MS,
                trust: ClockTrust::Synced,
            },
            workflows: texts.iter().map(|text| workflow(text)).collect(),
            disk: Disk::default(),
            unsynced: Vec::new(),
            calls: Vec::new(),
            confirms: Vec::new(),
            commits: 0,
            alive: None,
            made: Vec::new(),
            slots,
            transcript: String::new(),
        };
        world.deploy();
        world.input("", Input::Restarted { unclean: false });
        world
    }

    pub(super) fn deploy(&mut self) {
        let all = self.workflows.iter().map(deployed).collect();
        self.input("", Input::Deploy(all));
    }

    /// What has been written since the last call.
    pub(super) fn transcript(&mut self) -> String {
        std::mem::take(&mut self.transcript)
    }

    pub(super) fn start(&mut self, inputs: &str) -> &mut Self {
        let workflow = self.workflows[0].name.clone();
        let inputs = JsonText::parse(inputs).unwrap();
        let wish = StartRequest { workflow, inputs, priority: None, request: None, again: None };
        self.input("start", Input::Start(wish))
    }

    /// A worker answers: the attempt of that step succeeded.
    pub(super) fn ok(&mut self, step: &str, output: &str) -> &mut Self {
        let output = JsonText::parse(output).unwrap();
        let outcome = AttemptOutcome::Succeeded { output, vars: None };
        self.answer(step, outcome, &format!("ok {step}"))
    }

    /// A worker answers: the attempt of that step failed.
    pub(super) fn err(&mut self, step: &str, code: &str) -> &mut Self {
        let outcome = AttemptOutcome::Failed { error: error(code) };
        self.answer(step, outcome, &format!("err {step} {code}"))
    }

    fn answer(&mut self, step: &str, outcome: AttemptOutcome, said: &str) -> &mut Self {
        let at = self.calls.iter().position(|call| call.attempt.step.0 == step);
        let at = at.unwrap_or_else(|| panic!("no call of {step} is under way"));
        let attempt = self.calls.remove(at).attempt;
        self.input(said, Input::Settled { attempt, outcome })
    }

    pub(super) fn cancel(&mut self, number: u64, force: bool) -> &mut Self {
        let run = RunId::of(EPOCH, number);
        let said = if force { "cancel force" } else { "cancel" };
        self.input(said, Input::Cancel { run, force, request: None })
    }

    /// Time passes: both clocks go on together.
    pub(super) fn pass(&mut self, ms: u64) -> &mut Self {
        self.now.boot_ms += ms;
        self.now.wall_ms += i64::try_from(ms).unwrap();
        self.input(&format!("+{ms}ms"), Input::Tick)
    }

    /// Sleeps until the engine wants to be woken, as long as it wants to; not longer than `most`.
    pub(super) fn sleep(&mut self, most_ms: u64) -> &mut Self {
        let end = self.now.boot_ms + most_ms;
        loop {
            let due = self.engine.next_deadline().map_or(end, |(due_ms, _)| due_ms);
            let due = due.max(self.now.boot_ms).min(end);
            self.pass(due - self.now.boot_ms);
            if due == end {
                return self;
            }
        }
    }

    /// The agent dies and comes back. What was not committed is gone, workers too.
    pub(super) fn restart(&mut self, unclean: bool) -> &mut Self {
        self.lose();
        self.revive(unclean)
    }

    /// The device goes down and comes back after a while.
    pub(super) fn reboot(&mut self, down_ms: u64) -> &mut Self {
        self.lose();
        self.now.boot += 1;
        self.now.boot_ms = seconds(10);
        self.now.wall_ms += i64::try_from(down_ms + seconds(10)).unwrap();
        self.revive(true)
    }

    pub(super) fn lose(&mut self) {
        self.unsynced.clear();
        self.calls.clear();
    }

    pub(super) fn revive(&mut self, unclean: bool) -> &mut Self {
        self.engine = self.restored();
        self.deploy();
        let said = if unclean { "restarted unclean" } else { "restarted" };
        self.input(said, Input::Restarted { unclean })
    }

    /// An engine with what is on the disk.
    pub(super) fn restored(&self) -> Engine {
        self.restored_from(&self.disk)
    }

    pub(super) fn restored_from(&self, disk: &Disk) -> Engine {
        let mut engine = engine(self.slots);
        engine.restore_marks(disk.marks.values().cloned());
        engine.restore_seen(disk.seen.iter().cloned());
        engine.restore_holds(disk.holds.iter().cloned());
        engine.restore_files(disk.files.iter().cloned());
        if let Some(alive) = self.alive {
            engine.set_last_alive(alive);
        }
        engine.restore_wishes(disk.wishes.iter().cloned());
        for (run, facts) in disk.runs.values() {
            let definition = self.definition_of(facts);
            let definition_of = |hash: &DefinitionHash| {
                self.workflows.iter().find(|workflow| workflow.hash == *hash).cloned()
            };
            // Every restart of every test goes by a snapshot, each at another cut.
            let cut = 1 + (facts.len() * 7 + disk.told.len()) % facts.len();
            let mut before = super::world::engine(self.slots);
            let past = facts[..cut].to_vec();
            before.restore_run(run.clone(), Arc::clone(&definition), &past, definition_of).unwrap();
            let (snapshot, facts) = match before.snapshot(run) {
                Some(bytes) => (Some(bytes), [&facts[..1], &facts[cut..]].concat()),
                // It has settled.
                None => (None, facts.clone()),
            };
            engine
                .restore_run_at(
                    run.clone(),
                    definition,
                    snapshot.as_deref(),
                    &facts,
                    &definition_of,
                )
                .unwrap();
        }
        engine
    }

    fn definition_of(&self, facts: &[FactRecord]) -> Arc<Workflow> {
        let Fact::Accepted { definition, .. } = &facts[0].fact else { panic!("no acceptance") };
        let found = self.workflows.iter().find(|workflow| workflow.hash == *definition);
        Arc::clone(found.unwrap())
    }

    /// Feeds an input, commits what must be, and does what is asked.
    pub(super) fn input(&mut self, said: &str, input: Input) -> &mut Self {
        let decision = self.engine.step(input, self.now);
        self.write(said, &decision);
        self.perform(decision);
        self
    }

    pub(super) fn perform(&mut self, decision: Decision) {
        let needs_commit = decision.needs_commit;
        for effect in &decision.effects {
            if let Effect::Call(task) = effect {
                assert!(
                    needs_commit || task.effects != Effects::AtMostOnce,
                    "{} must be durable before the call",
                    task.attempt.step
                );
                let key = task.idempotency_key.clone();
                self.made.push((task.attempt.clone(), task.effects, key));
                self.calls.push(task.clone());
            }
        }
        let confirms = decision.publications.iter().filter_map(|one| one.confirm.clone());
        self.confirms.extend(confirms);
        self.unsynced.push(decision);
        if needs_commit {
            self.sync();
        }
    }

    pub(super) fn sync(&mut self) {
        self.commits += 1;
        for decision in std::mem::take(&mut self.unsynced) {
            for (run, record) in decision.facts {
                let number = run.number().unwrap();
                let journal = self.disk.runs.entry(number).or_insert_with(|| (run, Vec::new()));
                journal.1.push(record);
            }
            for mark in decision.marks {
                self.disk.marks.insert(format!("{} {}", mark.workflow, mark.trigger), mark);
            }
            self.disk.seen.extend(decision.seen);
            self.disk.holds.extend(decision.holds);
            self.disk.files.extend(decision.files);
            self.disk.told.extend(decision.told);
            self.disk.wishes.extend(decision.wishes);
        }
    }

    fn write(&mut self, said: &str, decision: &Decision) {
        if said.is_empty() {
            return;
        }
        let _ = writeln!(self.transcript, "> {said}");
        let facts: Vec<String> = decision.facts.iter().map(|(_, one)| fact(&one.fact)).collect();
        let told: Vec<String> = decision.told.iter().map(tell).collect();
        let mut effects: Vec<String> = decision.effects.iter().filter_map(effect).collect();
        if !facts.is_empty() && !decision.needs_commit {
            effects.push("(lazily)".to_owned());
        }
        for (name, lines) in [("fact", facts), ("told", told), ("do  ", effects)] {
            if !lines.is_empty() {
                let _ = writeln!(self.transcript, "  {name} {}", lines.join("; "));
            }
        }
    }

    /// All events on the disk, of all runs.
    pub(super) fn events(&self) -> Vec<RunEventRecord> {
        let event =
            |told: &Told| if let Told::Event(event, _) = told { Some(event.clone()) } else { None };
        self.disk.told.iter().filter_map(event).collect()
    }

    /// How the runs on the disk ended.
    pub(super) fn results(&self) -> Vec<(u64, RunStatus)> {
        let result = |told: &Told| {
            if let Told::Result(result) = told {
                Some((result.run.number()?, result.status))
            } else {
                None
            }
        };
        self.disk.told.iter().filter_map(result).collect()
    }
}

fn engine(slots: u16) -> Engine {
    Engine::new(Config { epoch: EPOCH, slots, seed: 1 })
}

pub(super) fn error(code: &str) -> RunError {
    RunError { retryable: true, ..RunError::new(code, "it did not work") }
}

fn attempt_text(attempt: &AttemptId) -> String {
    format!("{}({})", attempt.step, attempt.attempt)
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Accepted { .. } => "accepted".to_owned(),
        Fact::Began => "began".to_owned(),
        Fact::AttemptStarted { step, attempt } => format!("start {step}({attempt})"),
        Fact::AttemptSettled { step, attempt, outcome } => match outcome {
            AttemptOutcome::Succeeded { .. } => format!("end {step}({attempt}) ok"),
            AttemptOutcome::Failed { error } => format!("end {step}({attempt}) {}", error.code),
        },
        Fact::TimerFired { step, what } => format!("timer {step} {}", what.reason()),
        Fact::CancelRequested { force } => format!("cancel{}", if *force { " force" } else { "" }),
        Fact::Restarted { .. } => "restarted".to_owned(),
        Fact::Settled { .. } => "settled".to_owned(),
        Fact::Continued => "continued".to_owned(),
        Fact::Alive => "alive".to_owned(),
        Fact::Signalled { name, .. } => format!("signal {name}"),
        Fact::Message { step, message } => format!("message {step} {}", message.as_str()),
        Fact::Decided { step, choice, by, .. } => format!("decided {step} {choice} by {by}"),
        Fact::ChildStarted { step, attempt, child } => {
            format!("child {step}({attempt}) {}", child.number().unwrap())
        }
        Fact::Refused { .. } => "refused".to_owned(),
        Fact::Migrated { .. } => "migrated".to_owned(),
        Fact::Stayed { reason, .. } => format!("stayed: {reason}"),
    }
}

fn tell(told: &Told) -> String {
    match told {
        Told::Event(record, _) => format!("{} {}", record.seq, event(&record.event)),
        Told::Result(result) => format!("result {:?}", result.status),
        Told::Answer { outcome: Ok(run), .. } => format!("answer {}", run.number().unwrap()),
        Told::Answer { outcome: Err(refusal), .. } => format!("refused {}", refusal.code),
        Told::Dropped { reason, .. } => format!("dropped {reason}"),
    }
}

fn event(event: &RunEvent) -> String {
    let path = |step: &StepPath| step.0.clone();
    match event {
        RunEvent::Accepted { trigger, inputs, .. } => {
            format!("accepted {trigger} {}", inputs.as_str())
        }
        RunEvent::Began => "began".to_owned(),
        RunEvent::StepQueued { step, attempt } => format!("{} queued({attempt})", path(step)),
        RunEvent::StepStarted { step, kind, attempt, interrupted } => {
            let again = if *interrupted { " again" } else { "" };
            format!("{} started {kind}({attempt}){again}", path(step))
        }
        RunEvent::StepDelayed { step, attempt, wait_ms, error } => {
            let why = error.as_ref().map(|e| format!(" after {}", e.code)).unwrap_or_default();
            format!("{} delayed({attempt}) {wait_ms}ms{why}", path(step))
        }
        RunEvent::StepSettled { step, status, attempts, output, error } => {
            let output = output.as_ref().map(|o| format!(" {}", o.as_str())).unwrap_or_default();
            let error = error.as_ref().map(|e| format!(" {}", e.code)).unwrap_or_default();
            format!("{} {}({attempts}){output}{error}", path(step), status_text(*status))
        }
        RunEvent::StepWaiting { step, reason, .. } => format!("{} waits for {reason}", path(step)),
        RunEvent::Logged { step, message, .. } => format!("{} says {message}", path(step)),
        RunEvent::Compensated { step, complete } => format!("{} undone {complete}", path(step)),
        RunEvent::Migrated { version, .. } => format!("Migrated {version}"),
        RunEvent::Stayed { version, reason, .. } => format!("Stayed, not {version}: {reason}"),
        RunEvent::CancelRequested { .. } => "cancel".to_owned(),
        RunEvent::Resumed { .. } => "resumed".to_owned(),
        RunEvent::Settled { status, outputs, error } => {
            let error =
                error.as_ref().map(|e| format!(" {}: {}", e.code, e.message)).unwrap_or_default();
            format!("{status:?} {}{error}", outputs.as_str())
        }
    }
}

fn effect(effect: &Effect) -> Option<String> {
    match effect {
        Effect::Call(task) => {
            let again = if task.interrupted { " again" } else { "" };
            Some(format!("call {}{again} {}", attempt_text(&task.attempt), task.input.as_str()))
        }
        Effect::Stop { attempt, reason } => {
            Some(format!("stop {} {reason:?}", attempt_text(attempt)))
        }
        Effect::Forget(_) => None,
    }
}
