//! Playing a scenario: the virtual device, what answers it, and what happens to it, in the order
//! of virtual time.
//!
//! Deterministic: what is due at the same moment happens in the order in which it was put on the
//! agenda (the scenario's own stimuli first), and the engine's deadlines come after it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openclaw_agent_core::{
    AttemptId, AttemptOutcome, FactRecord, Input, Message, Publication, Told,
};
use openclaw_protocol::definition::Workflow;
use openclaw_protocol::id::RunId;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::{RunEvent, RunEventRecord};
use serde_json::Value as Json;

use super::device::{Device, Outcome};
use super::files::Files;
use super::format::{Link, Scenario};
use super::log::RunLog;
use super::mocks::Mocks;
use super::secrets::TestSecrets;
use super::stimulus::{PowerCut, Reached};

/// Inputs that one scenario may take.
const INPUTS: u64 = 5_000_000;
/// Where `until` is not said: 30 days, in milliseconds.
const UNTIL_MS: u64 = 30 * 86_400_000;

/// How a scenario went.
#[derive(Debug, Default)]
pub(crate) struct Played {
    /// All runs of workflows that are not mocks, in the order in which they were accepted.
    pub(crate) runs: Vec<RunLog>,
    /// The tested one.
    pub(crate) main: Option<RunId>,
    /// Why no run came of the start.
    pub(crate) refused: Option<Refusal>,
    /// Why firings and starts made no run.
    pub(crate) dropped: Vec<String>,
    /// The plugin calls made, in order.
    pub(crate) calls: Vec<CallLog>,
    /// Messages that the site's local broker got, in order.
    pub(crate) published: Vec<Publication>,
    /// What makes the test fail whatever is expected, with what to write where that would help.
    pub(crate) faults: Vec<(String, String)>,
    /// What the author may want to know.
    pub(crate) notes: Vec<String>,
    /// The tested run's facts, as they were committed.
    pub(crate) journal: Vec<FactRecord>,
}

/// One plugin call.
#[derive(Debug, Clone)]
pub(crate) struct CallLog {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// Its action.
    pub(crate) action: String,
    /// What it was given.
    pub(crate) input: Json,
}

/// The game at hand.
#[derive(Debug)]
pub(super) struct Play<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) tested: Arc<Workflow>,
    pub(super) device: Device,
    pub(super) mocks: Mocks,
    pub(super) secrets: TestSecrets,
    /// Definitions of the tested workflow that come into force meanwhile, by file.
    pub(super) updates: BTreeMap<String, Arc<Workflow>>,
    /// Modules of plugins, by file.
    pub(super) modules: BTreeMap<String, Vec<u8>>,
    /// Workflows that are on the device, and whether each is only a mock.
    workflows: Vec<(Arc<Workflow>, bool)>,
    /// A trigger makes the run.
    pub(super) by_trigger: bool,
    /// That trigger fires again and again.
    pub(super) endless: bool,
    pub(super) agenda: BTreeMap<(u64, u64), Item>,
    entries: u64,
    /// The start of the scenario, in milliseconds since the device was made.
    pub(super) zero_ms: u64,
    pub(super) down: bool,
    pub(super) broker: Link,
    /// In the device's directories.
    pub(super) files: Files,
    /// Calls that are not answered yet, with their place on the agenda if they will be.
    pub(super) in_flight: BTreeMap<AttemptId, Flight>,
    /// Messages that the broker has not got.
    pub(super) outbox: Vec<Publication>,
    /// Ids of those that it has.
    pub(super) sent: BTreeSet<String>,
    /// Runs of mocked workflows.
    pub(super) mocked_runs: BTreeMap<RunId, String>,
    /// Stimuli that wait for a step.
    waiting: Vec<usize>,
    /// Stimuli that wait for the agent to come back.
    held: Vec<usize>,
    /// Runs that the scenario asked for, besides the tested one.
    pub(super) asked: Vec<RunId>,
    pub(super) played: Played,
}

/// A call that is not answered yet.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) place: Option<(u64, u64)>,
    pub(super) ignores_stop: bool,
}

/// What is on the agenda.
#[derive(Debug)]
pub(super) enum Item {
    Stimulus(usize),
    Answer(AttemptId, AttemptOutcome),
    Deliver(Message),
    /// The agent looks for files.
    Look,
    Up {
        reboot: Option<PowerCut>,
        unclean: bool,
    },
}

impl<'a> Play<'a> {
    pub(super) fn new(
        scenario: &'a Scenario,
        tested: Arc<Workflow>,
        workflows: Vec<(Arc<Workflow>, bool)>,
        device: Device,
        mocks: Mocks,
    ) -> Self {
        Self {
            scenario,
            tested,
            device,
            mocks,
            secrets: TestSecrets::default(),
            updates: BTreeMap::new(),
            modules: BTreeMap::new(),
            workflows,
            by_trigger: scenario.trigger.is_some(),
            endless: false,
            agenda: BTreeMap::new(),
            entries: 0,
            zero_ms: 0,
            down: false,
            broker: scenario.device.broker,
            files: Files::default(),
            in_flight: BTreeMap::new(),
            outbox: Vec::new(),
            sent: BTreeSet::new(),
            mocked_runs: BTreeMap::new(),
            waiting: Vec::new(),
            held: Vec::new(),
            asked: Vec::new(),
            played: Played::default(),
        }
    }

    /// Plays to the end.
    pub(super) fn play(mut self) -> Played {
        for (n, stimulus) in self.scenario.stimuli.iter().enumerate() {
            if stimulus.after.is_some() {
                self.waiting.push(n);
            } else {
                self.put(self.zero_ms.saturating_add(stimulus.at.0), Item::Stimulus(n));
            }
        }
        self.begin();
        let until = self.scenario.until.map_or(UNTIL_MS, |until| until.0);
        let until_ms = self.zero_ms.saturating_add(until);
        let mut inputs = 0;
        while self.played.faults.is_empty() && !self.has_ended() {
            let Some(at_ms) = self.next_moment().filter(|at_ms| *at_ms <= until_ms) else { break };
            inputs += 1;
            if inputs > INPUTS {
                self.fault(format!("the scenario takes more than {INPUTS} inputs"));
                break;
            }
            self.device.pass_until(at_ms);
            let due = self.agenda.first_key_value().map(|(place, _)| *place);
            match due.filter(|(due_ms, _)| *due_ms <= at_ms) {
                Some(place) => {
                    if let Some(item) = self.agenda.remove(&place) {
                        self.happen(item);
                    }
                }
                None => {
                    self.feed(Input::Tick);
                }
            }
        }
        self.conclude(until);
        if let Some(main) = &self.played.main {
            let facts = self.device.journal().find(|(run, _)| *run == main);
            self.played.journal = facts.map_or_else(Vec::new, |(_, facts)| facts.to_vec());
        }
        self.played
    }

    /// Says what became of the run if it has not ended, and what never happened.
    fn conclude(&mut self, until: u64) {
        let none_expected = self.scenario.expect.runs.as_ref().is_some_and(Vec::is_empty)
            || self.scenario.expect.refused.is_some();
        let passed_ms = self.device.elapsed_ms().saturating_sub(self.zero_ms);
        if self.played.faults.is_empty() {
            match self.main() {
                None if self.played.refused.is_none() && !none_expected => {
                    self.fault(format!("no run was started within {until} ms"));
                }
                Some(run) if run.end.is_none() => {
                    let waits: Vec<String> = run
                        .waiting
                        .iter()
                        .map(|(step, reason)| format!("`{step}` waits for {reason}"))
                        .collect();
                    let waits = if waits.is_empty() {
                        String::new()
                    } else {
                        format!(": {}", waits.join(", "))
                    };
                    let why = if self.next_moment().is_none() {
                        format!(
                            "nothing more happens after {passed_ms} ms, and the run has not ended"
                        )
                    } else {
                        format!("the run has not ended within {until} ms")
                    };
                    self.fault(format!("{why}{waits}"));
                }
                None | Some(_) => {}
            }
        }
        let left = self.agenda.values().filter(|item| matches!(item, Item::Stimulus(_))).count();
        let left = left + self.waiting.len() + self.held.len();
        if left > 0 {
            self.played.notes.push(format!("{left} of the stimuli did not happen before the end"));
        }
    }

    fn has_ended(&self) -> bool {
        if self.played.refused.is_some() {
            return true;
        }
        let ended =
            |run: &RunId| self.played.runs.iter().any(|log| log.id == *run && log.end.is_some());
        let expect = &self.scenario.expect;
        let counts = expect.runs.is_some() || expect.dropped.is_some();
        let more_to_come = self.agenda.values().any(|item| {
            matches!(item, Item::Stimulus(n) if self.is_awaited(*n))
                || (counts && matches!(item, Item::Look))
        }) || self.held.iter().any(|n| self.is_awaited(*n));
        let Some(main) = &self.played.main else { return false };
        ended(main)
            && self.asked.iter().all(ended)
            && !more_to_come
            // Others that it left behind may still do something.
            && (self.endless || self.down || self.device.runs().next().is_none())
    }

    /// When something happens next, in milliseconds since the device was made.
    fn next_moment(&self) -> Option<u64> {
        let planned = self.agenda.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let wanted = if self.down { None } else { self.device.next_deadline() };
        planned.into_iter().chain(wanted).min()
    }

    fn happen(&mut self, item: Item) {
        match item {
            Item::Stimulus(n) if self.down && !self.waits_for_nobody(n) => {
                if self.is_lost_while_down(n) {
                    self.played
                        .notes
                        .push(format!("stimulus {} was lost: the agent was down", n + 1));
                } else {
                    self.held.push(n);
                }
            }
            Item::Stimulus(n) => self.stimulate(n),
            Item::Answer(attempt, outcome) => {
                self.in_flight.remove(&attempt);
                self.feed(Input::Settled { attempt, outcome });
            }
            Item::Deliver(message) => {
                if !self.down {
                    self.feed(Input::Message(message));
                }
            }
            Item::Look => self.look_for_files(),
            Item::Up { reboot, unclean } => self.come_up(reboot.as_ref(), unclean),
        }
    }

    /// Gives the agent an input; the answer, if it was a wish.
    pub(super) fn feed(&mut self, input: Input) -> Option<Result<RunId, Refusal>> {
        let outcome = self.device.feed(input);
        self.absorb(outcome)
    }

    pub(super) fn absorb(&mut self, outcome: Outcome) -> Option<Result<RunId, Refusal>> {
        let Outcome { decided, told, calls, stops, publications } = outcome;
        for told in &told {
            self.take(told);
        }
        let mut answer = None;
        for told in decided {
            match told {
                Told::Answer { outcome, .. } => answer = Some(outcome),
                Told::Event(record, _) => self.look(&record),
                Told::Result(_) | Told::Dropped { .. } => {}
            }
        }
        for task in calls {
            let input = task.input.value();
            let (plugin, action) = (task.pin.name.as_str(), task.export.as_str());
            self.call(task.attempt, plugin, action, input);
        }
        for attempt in stops {
            self.stop(attempt);
        }
        self.outbox.extend(publications);
        self.send();
        answer
    }

    /// Takes in what is told for good.
    fn take(&mut self, told: &Told) {
        match told {
            Told::Event(record, _) => self.take_event(record),
            Told::Dropped { reason, .. } => {
                self.played.dropped.push((*reason).to_owned());
                if self.by_trigger && self.played.main.is_none() {
                    let message = "its trigger fired, and no run came of it".to_owned();
                    self.played.refused = Some(Refusal { code: (*reason).to_owned(), message });
                }
            }
            Told::Result(_) | Told::Answer { .. } => {}
        }
    }

    fn take_event(&mut self, record: &RunEventRecord) {
        let at_ms = self.device.elapsed_at(record.at);
        if let RunEvent::Accepted { workflow, .. } = &record.event {
            let found = self.workflows.iter().find(|(one, _)| one.name == *workflow).cloned();
            match found {
                Some((workflow, false)) => {
                    let is_tested = workflow.name == self.tested.name;
                    if is_tested && self.played.main.is_none() {
                        self.played.main = Some(record.run.clone());
                    }
                    let log = RunLog::new(record.run.clone(), workflow, at_ms);
                    self.played.runs.push(log);
                }
                Some((_, true)) | None => {
                    let name = workflow.as_str().to_owned();
                    self.mocked_runs.insert(record.run.clone(), name);
                }
            }
        }
        if let Some(log) = self.played.runs.iter_mut().rev().find(|log| log.id == record.run) {
            if let RunEvent::Migrated { definition, .. } = &record.event
                && let Some(workflow) = self.updates.values().find(|one| one.hash == *definition)
            {
                log.workflow = Arc::clone(workflow);
            }
            log.take(record, at_ms);
        }
    }

    /// Looks whether a stimulus waits for what has just happened.
    fn look(&mut self, record: &RunEventRecord) {
        if self.waiting.is_empty() || self.played.main.as_ref() != Some(&record.run) {
            return;
        }
        let (path, reached) = if let RunEvent::StepStarted { step, .. } = &record.event {
            (&step.0, Reached::Started)
        } else if let RunEvent::StepSettled { step, .. } = &record.event {
            (&step.0, Reached::Settled)
        } else {
            return;
        };
        let now_ms = self.device.elapsed_ms();
        for n in std::mem::take(&mut self.waiting) {
            let stimulus = &self.scenario.stimuli[n];
            let fits = stimulus.after.as_ref().is_some_and(|after| {
                after.is == reached && (after.step == *path || after.step == super::last_id(path))
            });
            if fits {
                self.put(now_ms.saturating_add(stimulus.at.0), Item::Stimulus(n));
            } else {
                self.waiting.push(n);
            }
        }
    }

    /// The agent is gone, with all that it had under way.
    pub(super) fn go_down(&mut self, for_ms: u64, reboot: Option<PowerCut>, unclean: bool) {
        self.device.crash();
        self.down = true;
        self.in_flight.clear();
        self.agenda.retain(|_, item| match item {
            // The broker's acknowledgement is asked for again with the message.
            Item::Answer(..) | Item::Deliver(_) | Item::Look => false,
            Item::Stimulus(_) | Item::Up { .. } => true,
        });
        if for_ms == 0 && reboot.is_none() {
            return self.come_up(None, unclean);
        }
        self.put(self.device.elapsed_ms().saturating_add(for_ms), Item::Up { reboot, unclean });
    }

    fn come_up(&mut self, reboot: Option<&PowerCut>, unclean: bool) {
        self.down = false;
        if let Some(cut) = reboot {
            self.device.reboot(cut.trust);
        }
        match self.device.start(unclean) {
            Ok(outcome) => {
                self.absorb(outcome);
            }
            Err(error) => self.fault(error.to_string()),
        }
        self.send();
        self.look_for_files();
        for n in std::mem::take(&mut self.held) {
            self.stimulate(n);
        }
    }

    pub(super) fn put(&mut self, at_ms: u64, item: Item) -> (u64, u64) {
        self.entries += 1;
        let place = (at_ms, self.entries);
        self.agenda.insert(place, item);
        place
    }

    /// The tested run.
    pub(super) fn main(&self) -> Option<&RunLog> {
        let main = self.played.main.as_ref()?;
        self.played.runs.iter().find(|log| log.id == *main)
    }

    pub(super) fn fault(&mut self, message: String) {
        self.played.faults.push((message, String::new()));
    }
}
