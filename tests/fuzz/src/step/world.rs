//! A device without a device: an engine, a clock moved by hand, a disk that forgets what was not
//! committed, and workers that answer when told.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_agent_core::{
    AttemptId, Config, Decision, Deployed, Effect, Engine, Fact, FactRecord, Input, PluginTask,
    FileChange, HoldChange, SeenKey, Told, TriggerMark,
};
use openclaw_protocol::definition::{DefinitionHash, Effects, Workflow, parse};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{Digest, Epoch, PluginName, RequestId, RunId};
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::report::Refusal;
use openclaw_protocol::time::{ClockTrust, Stamp};

pub(super) const EPOCH: Epoch = Epoch(0xabcd_ef01_2345_0000);
pub(super) const SEED: u64 = 1;
/// 2026-03-02 10:00:00 UTC, a Monday.
pub(super) const MONDAY_MS: i64 = 1_772_445_600_000;
/// How long a boot takes, in milliseconds.
const BOOT_MS: u64 = 10_000;

/// What a disk holds.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) runs: BTreeMap<u64, (RunId, Vec<FactRecord>)>,
    marks: BTreeMap<String, TriggerMark>,
    seen: Vec<SeenKey>,
    holds: Vec<HoldChange>,
    files: Vec<FileChange>,
    wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
    pub(super) told: Vec<Told>,
}

impl Disk {
    fn take(&mut self, decision: &Decision) {
        for (run, record) in &decision.facts {
            let number = run.number().expect("the engine's own run");
            let journal = self.runs.entry(number).or_insert_with(|| (run.clone(), Vec::new()));
            journal.1.push(record.clone());
        }
        for mark in &decision.marks {
            self.marks.insert(format!("{} {}", mark.workflow, mark.trigger), mark.clone());
        }
        self.seen.extend(decision.seen.iter().cloned());
        self.holds.extend(decision.holds.iter().cloned());
        self.files.extend(decision.files.iter().cloned());
        self.wishes.extend(decision.wishes.iter().cloned());
        self.told.extend(decision.told.iter().cloned());
    }
}

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Stamp,
    pub(super) workflows: Vec<Arc<Workflow>>,
    pub(super) disk: Disk,
    /// Decided, but not on the disk.
    unsynced: Vec<Decision>,
    /// With workers.
    pub(super) calls: Vec<PluginTask>,
    /// Attempts that wait for the broker; kept over restarts, as the store does.
    pub(super) confirms: Vec<AttemptId>,
    /// Every call ever made.
    pub(super) made: Vec<(AttemptId, Effects, String)>,
    pub(super) draining: bool,
    slots: u16,
}

impl World {
    /// A device that is started for the first time.
    pub(super) fn new(texts: &[&str], slots: u16) -> Self {
        let workflow =
            |text: &&str| Arc::new(parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")));
        let trust = ClockTrust::Synced;
        let mut world = Self {
            engine: engine(slots),
            now: Stamp { boot: 1, boot_ms: BOOT_MS, wall_ms: MONDAY_MS, trust },
            workflows: texts.iter().map(workflow).collect(),
            disk: Disk::default(),
            unsynced: Vec::new(),
            calls: Vec::new(),
            confirms: Vec::new(),
            made: Vec::new(),
            draining: false,
            slots,
        };
        world.deploy(true);
        world.input(Input::Restarted { unclean: false });
        world
    }

    pub(super) fn deploy(&mut self, triggers_enabled: bool) {
        let all = self.workflows.iter().map(|workflow| deployed(workflow, triggers_enabled));
        let all = all.collect();
        self.input(Input::Deploy(all));
    }

    /// Feeds an input, commits what must be, and does what is asked.
    pub(super) fn input(&mut self, input: Input) {
        let decision = self.engine.step(input, self.now);
        self.perform(decision);
        // What the shell and local status ask after every step.
        let _ = self.engine.next_deadline();
        let _ = self.engine.queue();
    }

    pub(super) fn perform(&mut self, decision: Decision) {
        for effect in &decision.effects {
            if let Effect::Call(task) = effect {
                assert!(
                    decision.needs_commit || task.effects != Effects::AtMostOnce,
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
        let needs_commit = decision.needs_commit;
        self.unsynced.push(decision);
        if needs_commit {
            self.sync();
        }
    }

    pub(super) fn sync(&mut self) {
        for decision in std::mem::take(&mut self.unsynced) {
            self.disk.take(&decision);
        }
    }

    /// Time passes: both clocks go on together.
    pub(super) fn pass(&mut self, ms: u64) {
        self.now.boot_ms = self.now.boot_ms.saturating_add(ms);
        self.now.wall_ms = self.now.wall_ms.saturating_add(ms.try_into().unwrap_or(i64::MAX));
        self.input(Input::Tick);
    }

    /// The agent dies and comes back: what was not committed is gone, workers too. With `down_ms`
    /// the device does, after that long.
    pub(super) fn restart(&mut self, unclean: bool, down_ms: Option<u64>, knows_alive: bool) {
        let alive = self.now;
        self.unsynced.clear();
        self.calls.clear();
        self.draining = false;
        if let Some(down_ms) = down_ms {
            self.now.boot += 1;
            self.now.boot_ms = BOOT_MS;
            let ms = i64::try_from(down_ms + BOOT_MS).unwrap_or(i64::MAX);
            self.now.wall_ms = self.now.wall_ms.saturating_add(ms);
        }
        self.engine = self.restored();
        if knows_alive {
            self.engine.set_last_alive(alive);
        }
        self.deploy(true);
        self.input(Input::Restarted { unclean });
    }

    /// An engine with what is on the disk.
    fn restored(&self) -> Engine {
        let mut engine = engine(self.slots);
        engine.restore_marks(self.disk.marks.values().cloned());
        engine.restore_seen(self.disk.seen.iter().cloned());
        engine.restore_holds(self.disk.holds.iter().cloned());
        engine.restore_files(self.disk.files.iter().cloned());
        engine.restore_wishes(self.disk.wishes.iter().cloned());
        for (run, facts) in self.disk.runs.values() {
            self.restore(&mut engine, run, facts);
        }
        engine
    }

    /// An engine with all facts so far, also those that are not on the disk yet.
    pub(super) fn folded(&self) -> Engine {
        let mut runs: BTreeMap<u64, (RunId, Vec<FactRecord>)> = self.disk.runs.clone();
        for (run, record) in self.unsynced.iter().flat_map(|decision| &decision.facts) {
            let number = run.number().expect("the engine's own run");
            runs.entry(number).or_insert_with(|| (run.clone(), Vec::new())).1.push(record.clone());
        }
        let mut engine = engine(self.slots);
        for (run, facts) in runs.values() {
            self.restore(&mut engine, run, facts);
        }
        engine
    }

    fn restore(&self, engine: &mut Engine, run: &RunId, facts: &[FactRecord]) {
        let Some(Fact::Accepted { definition, .. }) = facts.first().map(|first| &first.fact) else {
            panic!("the journal of {run} does not begin with its acceptance");
        };
        let of = |hash: &DefinitionHash| {
            self.workflows.iter().find(|workflow| workflow.hash == *hash).cloned()
        };
        let definition = of(definition).expect("a definition that was deployed");
        engine.restore_run(run.clone(), definition, facts, of).expect("a journal of our own");
    }

    /// The runs that are not settled.
    pub(super) fn live(&self) -> Vec<RunId> {
        self.engine.runs().map(|summary| summary.id).collect()
    }
}

fn engine(slots: u16) -> Engine {
    Engine::new(Config { epoch: EPOCH, slots, seed: SEED })
}

/// A deployment with a pin for every plugin it names.
fn deployed(workflow: &Arc<Workflow>, triggers_enabled: bool) -> Deployed {
    let pins = workflow.plugin_refs().into_iter().map(|(reference, call)| {
        let pin = PluginPin {
            name: PluginName::parse(call.plugin.as_str()).expect("a plugin's name"),
            version: "1.0.0".to_owned(),
            digest: Digest([7; 32]),
            size: 1,
            actions: vec![(call.action.clone(), call.action.clone())],
            granted: Permissions::default(),
            limits: CallLimits::default(),
        };
        (reference, Arc::new(pin))
    });
    Deployed { pins: pins.collect(), workflow: Arc::clone(workflow), triggers_enabled }
}
