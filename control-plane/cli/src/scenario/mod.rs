//! Testing a workflow without a device: the real engine under virtual time.
//!
//! A scenario (`format`, `stimulus`, `expect`) says what a run is given, what answers its calls (`mocks`),
//! what happens meanwhile, and what must come of it. [`run`] plays it on a virtual [`device`]
//! (`play`, `world`, `happen`), folds what was told (`log`) and holds it against what was expected
//! (`check`). The file format is described in `docs/scenarios.md`.

mod check;
mod children;
mod compare;
pub mod device;
mod expect;
mod files;
mod format;
mod happen;
mod log;
mod mocks;
mod play;
mod secrets;
mod stimulus;
mod tape;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_agent_core::replay::{RECORDING, Recording};
use openclaw_agent_core::{Fact, FactRecord};
use openclaw_protocol::definition::{TriggerKind, Workflow};
use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::zone::TZDB;
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::output::name_of;

pub use check::Check;
pub use format::Scenario;
pub(crate) use tape::Kept;

use device::{Device, Setup, deploy};
use log::error_json;
use mocks::Mocks;
use play::{Play, Played};
use secrets::TestSecrets;

/// How long before a cron slot the device is started, in milliseconds.
const BEFORE_SLOT_MS: u64 = 1_000;

/// How a scenario went, for people and for programs.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether it ended, and as was expected.
    pub passed: bool,
    /// How the tested run ended.
    pub run: Option<RunReport>,
    /// What was expected, and whether it is so.
    pub checks: Vec<Check>,
    /// What makes the test fail whatever is expected.
    pub faults: Vec<Fault>,
    /// What the author may want to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The trace: one object for each step instance that settled, and one for the run.
    #[serde(skip)]
    pub trace: Vec<Json>,
    /// The tested run as a device would export it.
    #[serde(skip)]
    pub recording: Option<Recording>,
}

/// How a run ended.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// How; where it has not, where it stands.
    pub status: String,
    /// Its outputs.
    pub outputs: Json,
    /// Its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Json>,
    /// Virtual milliseconds from its acceptance to its end.
    pub ms: Option<u64>,
    /// Step instances that settled.
    pub steps: usize,
}

/// What makes a test fail whatever is expected.
#[derive(Debug, Serialize)]
pub struct Fault {
    /// What, and why.
    pub message: String,
    /// What to write into the scenario.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub snippet: String,
}

/// What a scenario is played with, beside the tested definition.
#[derive(Debug, Default)]
pub struct Around {
    /// Other definitions that are deployed.
    pub beside: Vec<Arc<Workflow>>,
    /// Definitions of the tested workflow that come into force meanwhile, by [`Scenario::updates`].
    pub updates: BTreeMap<String, Arc<Workflow>>,
    /// Modules of plugins, by [`Scenario::modules`].
    pub modules: BTreeMap<String, Vec<u8>>,
}

/// Plays a scenario with a definition and what is around it, and says how it went.
///
/// # Errors
/// What is wrong with the scenario, for people.
pub fn run(scenario: &Scenario, tested: &Arc<Workflow>, around: &Around) -> Result<Report, String> {
    let played = prepare(scenario, tested, around)?.play();
    let mut report = report(scenario, &played);
    report.recording = played.main.map(|run| {
        let mut recording = Recording {
            recording: RECORDING,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            tzdb: TZDB.to_owned(),
            run,
            seed: scenario.device.seed,
            definition: tested.canonical.clone(),
            migrated: migrated(&played.journal, around),
            snapshot: None,
            facts: played.journal,
            tapes: Vec::new(),
        };
        recording.recording = recording.format();
        recording
    });
    Ok(report)
}

/// The definitions that a run has gone on with, in canonical form.
fn migrated(journal: &[FactRecord], around: &Around) -> Vec<String> {
    let of = |record: &FactRecord| {
        let Fact::Migrated { definition, .. } = &record.fact else { return None };
        let workflow = around.updates.values().find(|one| one.hash == *definition)?;
        Some(workflow.canonical.clone())
    };
    journal.iter().filter_map(of).collect()
}

fn prepare<'a>(
    scenario: &'a Scenario,
    tested: &Arc<Workflow>,
    around: &Around,
) -> Result<Play<'a>, String> {
    let mut mocks = Mocks::read(&scenario.mocks)?;
    let tested = with_trigger(scenario, tested)?;
    let mut wall_ms = read_time(&scenario.device.clock)
        .ok_or_else(|| format!("device.clock: `{}` is no RFC 3339 time", scenario.device.clock))?;
    let (mut zero_ms, mut endless) = (0, false);
    if let Some(trigger) = &scenario.trigger {
        let found = tested.triggers.iter().find(|one| one.id.as_str() == trigger.id);
        match found.map(|found| &found.kind) {
            Some(TriggerKind::Interval { .. }) => endless = true,
            Some(TriggerKind::Cron { .. }) => {
                endless = true;
                if let Some(slot) = trigger.data.get("slot") {
                    let slot_ms = slot.as_str().and_then(read_time);
                    let slot_ms = slot_ms.ok_or("trigger.data.slot: must be an RFC 3339 time")?;
                    zero_ms = BEFORE_SLOT_MS;
                    wall_ms = slot_ms.saturating_sub(1_000);
                }
            }
            Some(TriggerKind::Workflow { workflow, .. }) => {
                // What set it off is of no further interest, unless there is a mock for it.
                let outputs = trigger.data.get("outputs").cloned().unwrap_or_else(|| json!({}));
                let answer = match trigger.data.get("error") {
                    Some(error) => json!({ "error": error }),
                    None => json!({ "output": outputs }),
                };
                mocks.add_workflow(workflow.as_str(), &answer)?;
            }
            Some(
                TriggerKind::Startup
                | TriggerKind::Manual
                | TriggerKind::Mqtt { .. }
                | TriggerKind::Webhook { .. }
                | TriggerKind::File { .. }
                | TriggerKind::Event { .. },
            )
            | None => {}
        }
    }
    let mut real: Vec<Arc<Workflow>> = vec![Arc::clone(&tested)];
    real.extend(around.beside.iter().filter(|one| one.name != tested.name).cloned());
    let updates = updates(scenario, &tested, around)?;
    let all: Vec<Arc<Workflow>> = real.iter().chain(updates.values()).cloned().collect();
    let declared = all.iter().flat_map(|one| &one.secrets);
    let secrets = TestSecrets::new(&scenario.secrets, declared)?;
    let inputs = mocks.workflows().map(|(name, inputs)| (name.to_owned(), inputs.to_vec()));
    let inputs: BTreeMap<String, Vec<String>> = inputs.collect();
    let stand_ins = children::stand_ins(&all, &inputs)?;
    let by_trigger = scenario.trigger.is_some();
    let deployed = real
        .iter()
        .map(|one| deploy(one, by_trigger && one.name == tested.name))
        .chain(stand_ins.iter().map(|one| deploy(one, false)));
    let setup = Setup {
        slots: scenario.device.slots.max(1),
        seed: scenario.device.seed,
        wall_ms,
        trust: scenario.device.trust,
        agent: JsonText::of(&json!({
            "id": scenario.device.id,
            "labels": scenario.device.labels,
        })),
    };
    let device = Device::new(setup, deployed.collect());
    let workflows = real.into_iter().map(|one| (one, false));
    let workflows = workflows.chain(stand_ins.into_iter().map(|one| (one, true))).collect();
    let mut play = Play::new(scenario, tested, workflows, device, mocks);
    (play.zero_ms, play.endless, play.secrets) = (zero_ms, endless, secrets);
    (play.updates, play.modules) = (updates, around.modules.clone());
    Ok(play)
}

/// The definitions that come into force meanwhile, by file.
fn updates(
    scenario: &Scenario,
    tested: &Workflow,
    around: &Around,
) -> Result<BTreeMap<String, Arc<Workflow>>, String> {
    let mut updates = BTreeMap::new();
    for (file, workflow) in &around.updates {
        if workflow.name != tested.name {
            let (name, other) = (&tested.name, &workflow.name);
            return Err(format!("update: {file} is of workflow `{other}`, not of `{name}`"));
        }
        let armed = with_trigger(scenario, workflow).unwrap_or_else(|_| Arc::clone(workflow));
        updates.insert(file.clone(), armed);
    }
    Ok(updates)
}

/// The tested workflow with no other trigger than the one that the scenario names.
fn with_trigger(scenario: &Scenario, tested: &Arc<Workflow>) -> Result<Arc<Workflow>, String> {
    let Some(trigger) = &scenario.trigger else { return Ok(Arc::clone(tested)) };
    let mut workflow = Workflow::clone(tested);
    let mut found = false;
    for one in &mut workflow.triggers {
        one.enabled = one.id.as_str() == trigger.id;
        found |= one.enabled;
    }
    if found {
        return Ok(Arc::new(workflow));
    }
    let known: Vec<&str> = tested.triggers.iter().map(|one| one.id.as_str()).collect();
    Err(format!("trigger: the definition has no `{}`; it has: {}", trigger.id, known.join(", ")))
}

/// Milliseconds since 1970 UTC.
fn read_time(text: &str) -> Option<i64> {
    let names = BTreeMap::from([("text".to_owned(), Value::from(text))]);
    let value = Expr::compile("timestamp(text)").ok()?.eval(&names).ok()?;
    if let Value::Timestamp(at) = value { Some(at.as_millis()) } else { None }
}

fn report(scenario: &Scenario, played: &Played) -> Report {
    let checks = check::check(&scenario.expect, played);
    let mut faults: Vec<Fault> = played
        .faults
        .iter()
        .map(|(message, snippet)| Fault { message: message.clone(), snippet: snippet.clone() })
        .collect();
    if let (Some(refusal), None) = (&played.refused, &scenario.expect.refused) {
        let message = format!("no run came of it: {}: {}", refusal.code, refusal.message);
        faults.push(Fault { message, snippet: String::new() });
    }
    let main = played.runs.iter().find(|run| Some(&run.id) == played.main.as_ref());
    let mut trace = Vec::new();
    for run in &played.runs {
        let is_main = Some(&run.id) == played.main.as_ref();
        trace.extend(run.trace().map(|mut line| {
            if let (false, Some(object)) = (is_main, line.as_object_mut()) {
                object.insert("of".to_owned(), json!(format!("{} {}", run.workflow.name, run.id)));
            }
            line
        }));
    }
    trace.extend(main.map(log::RunLog::trace_end));
    let run = main.map(|run| RunReport {
        status: name_of(&run.status),
        outputs: run.end.as_ref().map_or(Json::Null, |end| end.outputs.clone()),
        error: run.end.as_ref().and_then(|end| end.error.as_ref()).map(error_json),
        ms: run.end.as_ref().map(|end| end.at_ms.saturating_sub(run.accepted_ms)),
        steps: run.steps.len(),
    });
    Report {
        passed: faults.is_empty() && checks.iter().all(|check| check.passed),
        run,
        checks,
        faults,
        notes: played.notes.clone(),
        trace,
        recording: None,
    }
}

/// The id of the step that a path leads to: `a/b[x]/c#3/d~2` is of step `d`.
fn last_id(path: &str) -> &str {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.split(['[', '#', '~']).next().unwrap_or(last)
}
