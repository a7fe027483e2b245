//! What was told of the runs of a life, against what they should come to.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::definition::Effects;
use openclaw_protocol::id::RunId;
use openclaw_protocol::run::{RunEvent, RunStatus};
use serde_json::Value as Json;

use super::super::reference::{Called, Ended, Reading, word};
use super::life::Life;

/// A run as the engine told of it.
#[derive(Debug, Default)]
struct Told {
    workflow: String,
    inputs: Json,
    status: Option<RunStatus>,
    outputs: Json,
    error: Option<String>,
    ended: Vec<Ended>,
    logs: Vec<(String, String)>,
}

impl Life {
    pub(super) fn compare(
        &mut self,
        starts: &[Json],
        readings: Vec<Reading>,
    ) -> Result<(), String> {
        let mut expected: BTreeMap<(String, String), (usize, Reading)> = BTreeMap::new();
        let mut stack: Vec<(String, Json, Reading)> = Vec::new();
        for (inputs, reading) in starts.iter().zip(readings) {
            stack.push(("w".to_owned(), inputs.clone(), reading));
        }
        while let Some((workflow, inputs, reading)) = stack.pop() {
            stack.extend(reading.children.iter().cloned());
            let known = expected.entry((workflow, inputs.to_string())).or_insert((0, reading));
            known.0 += 1;
        }
        let told = self.told();
        for (run, told) in &told {
            let key = (told.workflow.clone(), told.inputs.to_string());
            let Some((left, reading)) = expected.get_mut(&key) else {
                return Err(format!("{run}: nobody should run {key:?}"));
            };
            if *left == 0 {
                return Err(format!("{run}: {key:?} runs more often than it should"));
            }
            *left -= 1;
            agree(told, reading).map_err(|difference| format!("{run} of {key:?}: {difference}"))?;
            self.agree_on_calls(run, reading)
                .map_err(|what| format!("{run} of {key:?}: {what}"))?;
            self.figures.runs += 1;
            self.figures.failed += usize::from(told.status == Some(RunStatus::Failed));
            self.figures.steps += told.ended.len();
            let more = told.ended.iter().map(|ended| ended.attempts.saturating_sub(1) as usize);
            self.figures.attempts_more += more.sum::<usize>();
        }
        if let Some((key, (left, _))) = expected.iter().find(|(_, (left, _))| *left > 0) {
            return Err(format!("{left} runs of {key:?} are missing"));
        }
        self.figures.calls += self.made.len();
        self.agree_on_keys()
    }

    fn told(&self) -> BTreeMap<RunId, Told> {
        let mut all: BTreeMap<RunId, Told> = BTreeMap::new();
        for record in self.world.events() {
            let told = all.entry(record.run).or_default();
            match record.event {
                RunEvent::Accepted { workflow, inputs, .. } => {
                    told.workflow = workflow.as_str().to_owned();
                    told.inputs = inputs.value();
                }
                RunEvent::StepSettled { step, status, attempts, output, error } => {
                    told.ended.push(Ended {
                        path: step.0,
                        status: word(status),
                        attempts,
                        output: output.map(|output| output.value().to_string()),
                        error: error.map(|error| error.code),
                    });
                }
                RunEvent::Logged { step, message, .. } => told.logs.push((step.0, message)),
                RunEvent::Settled { status, outputs, error } => {
                    told.status = Some(status);
                    told.outputs = outputs.value();
                    told.error = error.map(|error| error.code);
                }
                RunEvent::Began
                | RunEvent::StepQueued { .. }
                | RunEvent::StepStarted { .. }
                | RunEvent::StepDelayed { .. }
                | RunEvent::StepWaiting { .. }
                | RunEvent::Compensated { .. }
                | RunEvent::CancelRequested { .. }
                | RunEvent::Resumed { .. }
                | RunEvent::Migrated { .. }
                | RunEvent::Stayed { .. } => {}
            }
        }
        all
    }

    /// Each call once at least, more often only after the agent went down, and none besides.
    fn agree_on_calls(&self, run: &RunId, reading: &Reading) -> Result<(), String> {
        let mut made: BTreeMap<Called, u64> = BTreeMap::new();
        for task in self.made.iter().filter(|task| task.attempt.run == *run) {
            let input = task.input.value().to_string();
            let path = task.attempt.step.0.clone();
            *made.entry(Called { path, attempt: task.attempt.attempt, input }).or_default() += 1;
        }
        let most = 1 + self.figures.kills + self.figures.cuts + self.figures.stops;
        if let Some((call, times)) = made.iter().find(|(_, times)| **times > most as u64) {
            return Err(format!("{call:?} was made {times} times"));
        }
        let made: BTreeSet<&Called> = made.keys().collect();
        let expected: BTreeSet<&Called> = reading.calls.iter().collect();
        if made == expected {
            return Ok(());
        }
        let missing: Vec<_> = expected.difference(&made).collect();
        let wrong: Vec<_> = made.difference(&expected).collect();
        Err(format!("calls missing: {missing:?}; not expected: {wrong:?}"))
    }

    /// One key for each step instance, and no key for two; nothing twice that must not be.
    fn agree_on_keys(&self) -> Result<(), String> {
        let mut keys = BTreeMap::new();
        let mut instances = BTreeMap::new();
        let mut once = BTreeSet::new();
        for task in &self.made {
            let instance = (&task.attempt.run, &task.attempt.step);
            let key = &task.idempotency_key;
            if *keys.entry(key).or_insert(instance) != instance
                || *instances.entry(instance).or_insert(key) != key
            {
                return Err(format!("the key of {} is not its own", task.attempt.step));
            }
            if task.effects == Effects::AtMostOnce && !once.insert(&task.attempt) {
                return Err(format!("{} was called twice", task.attempt.step));
            }
        }
        Ok(())
    }
}

fn agree(told: &Told, reading: &Reading) -> Result<(), String> {
    let mut ended: Vec<&Ended> = told.ended.iter().collect();
    let mut expected: Vec<&Ended> = reading.ended.iter().collect();
    ended.sort();
    expected.sort();
    if ended != expected {
        let only = |these: &[&Ended], others: &[&Ended]| -> String {
            let only = these.iter().filter(|one| !others.contains(one));
            only.map(|one| format!("\n  {one}")).collect()
        };
        let (missing, wrong) = (only(&expected, &ended), only(&ended, &expected));
        return Err(format!("steps ended as{wrong}\nnot as{missing}"));
    }
    if (told.status, &told.error) != (Some(reading.status), &reading.error) {
        let (status, error) = (reading.status, &reading.error);
        return Err(format!("{:?} {:?}, not {status:?} {error:?}", told.status, told.error));
    }
    if told.outputs != reading.outputs {
        return Err(format!("outputs {}, not {}", told.outputs, reading.outputs));
    }
    let (mut logs, mut expected) = (told.logs.clone(), reading.logs.clone());
    logs.sort();
    expected.sort();
    if logs != expected {
        return Err(format!("said {logs:?}, not {expected:?}"));
    }
    agree_on_order(told, reading)
}

fn agree_on_order(told: &Told, reading: &Reading) -> Result<(), String> {
    let places: BTreeMap<&str, usize> =
        told.ended.iter().enumerate().map(|(at, ended)| (ended.path.as_str(), at)).collect();
    let place = |at: usize| places[reading.ended[at].path.as_str()];
    for (first, second) in &reading.before {
        let latest = first.clone().max_by_key(|at| place(*at));
        let earliest = second.clone().min_by_key(|at| place(*at));
        if let (Some(latest), Some(earliest)) = (latest, earliest)
            && place(latest) > place(earliest)
        {
            let (latest, earliest) = (&reading.ended[latest].path, &reading.ended[earliest].path);
            return Err(format!("{latest} must end before {earliest}"));
        }
    }
    Ok(())
}
