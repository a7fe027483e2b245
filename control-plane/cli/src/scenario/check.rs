//! Holding what came of a scenario against what was expected.

use openclaw_protocol::run::{RunError, StepStatus};
use serde::Serialize;
use serde_json::{Value as Json, json};

use super::compare::{differences, lacks, short};
use super::expect::{
    CallExpect, CallsExpect, CompensationExpect, ErrorExpect, Expect, LoggedExpect,
    PublishedExpect, RunExpect, StepExpect,
};
use super::log::{RunLog, StepLog};
use super::play::{CallLog, Played};
use super::world::payload;
use crate::output::name_of;

/// One expectation, and where it is not met.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// Which: `status`, `steps.fetch`.
    pub what: String,
    /// Whether it is met.
    pub passed: bool,
    /// Where not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// Checks everything that is expected.
#[must_use]
pub(crate) fn check(expect: &Expect, played: &Played) -> Vec<Check> {
    let mut checks = Checks::default();
    if let Some(code) = &expect.refused {
        let refused = played.refused.as_ref().map(|refusal| refusal.code.as_str());
        checks.equal("refused", &json!(code), &json!(refused));
    }
    let main = played.main.as_ref();
    let main = played.runs.iter().find(|run| Some(&run.id) == main);
    if let Some(run) = main {
        of_run(expect, run, &mut checks);
    } else if asks_about_run(expect) {
        checks.add("run", vec!["there is no run".to_owned()]);
    }
    if let Some(calls) = &expect.calls {
        of_calls(calls, &played.calls, &mut checks);
    }
    if let Some(published) = &expect.published {
        checks.add("published", of_published(published, played));
    }
    if let Some(expected) = &expect.runs {
        let tested = main.map(|run| run.workflow.name.clone());
        let runs: Vec<&RunLog> =
            played.runs.iter().filter(|run| Some(&run.workflow.name) == tested.as_ref()).collect();
        checks.add("runs", of_runs(expected, &runs));
    }
    if let Some(expected) = expect.dropped {
        checks.equal("dropped", &json!(expected), &json!(played.dropped.len()));
    }
    checks.0
}

fn asks_about_run(expect: &Expect) -> bool {
    expect.status.is_some()
        || expect.outputs.is_some()
        || expect.outputs_contain.is_some()
        || expect.error.is_some()
        || !expect.steps.is_empty()
        || expect.order.is_some()
        || expect.exact_order.is_some()
        || expect.logged.is_some()
        || expect.took.is_some()
        || expect.compensation.is_some()
}

#[derive(Debug, Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, what: impl Into<String>, problems: Vec<String>) {
        self.0.push(Check { what: what.into(), passed: problems.is_empty(), problems });
    }

    fn equal(&mut self, what: &str, expected: &Json, actual: &Json) {
        self.add(what, differences(what, expected, actual));
    }
}

fn of_run(expect: &Expect, run: &RunLog, checks: &mut Checks) {
    if let Some(status) = &expect.status {
        let mut problems = differences("status", &json!(status), &json!(run.status));
        if let (false, Some(error)) =
            (problems.is_empty(), run.end.as_ref().and_then(|e| e.error.as_ref()))
        {
            problems.push(told(error));
        }
        checks.add("status", problems);
    }
    let outputs = run.end.as_ref().map_or(&Json::Null, |end| &end.outputs);
    if let Some(expected) = &expect.outputs {
        checks.equal("outputs", expected, outputs);
    }
    if let Some(part) = &expect.outputs_contain {
        checks.add("outputs_contain", lacks("outputs", part, outputs));
    }
    if let Some(expected) = &expect.error {
        let error = run.end.as_ref().and_then(|end| end.error.as_ref());
        checks.add("error", of_error("error", expected, error));
    }
    for expected in &expect.steps {
        checks.add(format!("steps.{}", expected.path), of_step(expected, run));
    }
    if let Some(expected) = &expect.order {
        checks.add("order", of_order(expected, run));
    }
    if let Some(expected) = &expect.exact_order {
        let settled: Vec<&StepLog> = reached(run).collect();
        let is_so = expected.len() == settled.len()
            && expected.iter().zip(&settled).all(|(name, step)| step.is(name));
        let paths: Vec<&str> = settled.iter().map(|step| step.path.as_str()).collect();
        let problems = if is_so {
            Vec::new()
        } else {
            vec![
                format!("exact_order: expected {}", expected.join(", ")),
                format!("exact_order: is {}", paths.join(", ")),
            ]
        };
        checks.add("exact_order", problems);
    }
    if let Some(expected) = &expect.logged {
        checks.add("logged", of_logged(expected, run));
    }
    if let Some(took) = expect.took {
        let ms = run.end.as_ref().map(|end| end.at_ms.saturating_sub(run.accepted_ms));
        let too_short = took.at_least.is_some_and(|least| ms.is_some_and(|ms| ms < least.0));
        let too_long = took.at_most.is_some_and(|most| ms.is_none_or(|ms| ms > most.0));
        let bounds = |bound: Option<super::format::Span>| {
            bound.map_or("any".to_owned(), |b| format!("{} ms", b.0))
        };
        let problem = || {
            format!(
                "took: expected {} to {}, is {}",
                bounds(took.at_least),
                bounds(took.at_most),
                ms.map_or("not over".to_owned(), |ms| format!("{ms} ms")),
            )
        };
        checks.add("took", (too_short || too_long).then(problem).into_iter().collect());
    }
    if let Some(expected) = expect.compensation {
        checks.add("compensation", of_compensation(expected, run));
    }
}

/// The step instances that were reached, in the order in which they settled.
fn reached(run: &RunLog) -> impl Iterator<Item = &StepLog> {
    run.steps.iter().filter(|step| step.status != StepStatus::Skipped)
}

fn told(error: &RunError) -> String {
    let step = error.step.as_ref().map_or_else(String::new, |step| format!(" at {step}"));
    format!("error {}{step}: {}", error.code, error.message)
}

fn of_error(what: &str, expected: &ErrorExpect, error: Option<&RunError>) -> Vec<String> {
    let Some(error) = error else {
        return vec![format!("{what}: expected an error, there is none")];
    };
    let mut problems = Vec::new();
    let mut field = |name: &str, expected: Option<Json>, actual: Json| {
        if let Some(expected) = expected {
            problems.extend(differences(&format!("{what}.{name}"), &expected, &actual));
        }
    };
    field("code", expected.code.as_ref().map(|text| json!(text)), json!(error.code));
    field("message", expected.message.as_ref().map(|text| json!(text)), json!(error.message));
    let step = error.step.as_ref().map(|step| step.0.as_str());
    field("step", expected.step.as_ref().map(|text| json!(text)), json!(step));
    let details = error.details.as_ref().map_or(Json::Null, |details| details.value());
    field("details", expected.details.clone(), details);
    if let Some(part) =
        expected.message_contains.as_ref().filter(|part| !error.message.contains(*part))
    {
        problems
            .push(format!("{what}.message: expected to contain {part:?}, is {:?}", error.message));
    }
    if !problems.is_empty() {
        problems.push(told(error));
    }
    problems
}

fn of_step(expected: &StepExpect, run: &RunLog) -> Vec<String> {
    let what = &expected.path;
    let wants_absence = expected.status.is_some_and(|end| end.status().is_none());
    let step = match (run.step(what), wants_absence) {
        (None, true) => return Vec::new(),
        (Some(step), true) => {
            return vec![format!("{what}: expected not to settle, is {}", name_of(&step.status))];
        }
        (None, false) => return vec![format!("{what}: did not settle; {}", those_that_did(run))],
        (Some(step), false) => step,
    };
    let mut problems = Vec::new();
    if let Some(status) = expected.status.and_then(super::expect::StepEnd::status) {
        let differ = differences(&format!("{what}.status"), &json!(status), &json!(step.status));
        if !differ.is_empty() {
            problems.extend(differ);
            problems.extend(step.error.as_ref().map(told));
        }
    }
    if let Some(attempts) = expected.attempts {
        let name = format!("{what}.attempts");
        problems.extend(differences(&name, &json!(attempts), &json!(step.attempts)));
    }
    let output = step.output.as_ref().unwrap_or(&Json::Null);
    if let Some(whole) = &expected.output {
        problems.extend(differences(&format!("{what}.output"), whole, output));
    }
    if let Some(part) = &expected.output_contains {
        problems.extend(lacks(&format!("{what}.output"), part, output));
    }
    if let Some(error) = &expected.error {
        problems.extend(of_error(&format!("{what}.error"), error, step.error.as_ref()));
    }
    problems
}

/// The last few steps that settled, so that a mistyped path is seen.
fn those_that_did(run: &RunLog) -> String {
    const SHOWN: usize = 12;
    let paths: Vec<&str> = reached(run).map(|step| step.path.as_str()).collect();
    let from = paths.len().saturating_sub(SHOWN);
    let more = if from > 0 { "…, " } else { "" };
    format!("those that did: {more}{}", paths[from..].join(", "))
}

fn of_order(expected: &[String], run: &RunLog) -> Vec<String> {
    let mut rest = reached(run);
    for path in expected {
        if !rest.any(|settled| settled.is(path)) {
            let is = if run.step(path).is_some() {
                "settled before those named before it"
            } else {
                "did not settle"
            };
            return vec![format!("order: {path} {is}; {}", those_that_did(run))];
        }
    }
    Vec::new()
}

fn of_logged(expected: &[LoggedExpect], run: &RunLog) -> Vec<String> {
    let mut rest = run.said.iter();
    for (n, want) in expected.iter().enumerate() {
        let found = rest.any(|said| {
            want.level.is_none_or(|level| level == said.level)
                && want.message.as_ref().is_none_or(|text| *text == said.message)
                && want.message_contains.as_ref().is_none_or(|part| said.message.contains(part))
                && want
                    .fields
                    .as_ref()
                    .is_none_or(|all| differences("", all, &said.fields).is_empty())
        });
        if !found {
            let said: Vec<String> =
                run.said.iter().map(|said| format!("{:?}", said.message)).collect();
            return vec![format!(
                "logged[{n}]: was not said in this order; said was: {}",
                said.join(", ")
            )];
        }
    }
    Vec::new()
}

fn of_compensation(expected: CompensationExpect, run: &RunLog) -> Vec<String> {
    let incomplete: Vec<&str> = run
        .compensated
        .iter()
        .filter(|(_, complete)| !complete)
        .map(|(step, _)| if step.is_empty() { "the run" } else { step.as_str() })
        .collect();
    match expected {
        CompensationExpect::None if run.compensated.is_empty() => Vec::new(),
        CompensationExpect::None => vec!["compensation: expected none, some were run".to_owned()],
        _ if run.compensated.is_empty() => vec!["compensation: none was run".to_owned()],
        CompensationExpect::Complete if incomplete.is_empty() => Vec::new(),
        CompensationExpect::Complete => {
            vec![format!("compensation: incomplete in {}", incomplete.join(", "))]
        }
        CompensationExpect::Incomplete if incomplete.is_empty() => {
            vec!["compensation: expected incomplete, is complete".to_owned()]
        }
        CompensationExpect::Incomplete => Vec::new(),
    }
}

fn of_calls(expected: &CallsExpect, calls: &[CallLog], checks: &mut Checks) {
    match expected {
        CallsExpect::All(count) => checks.equal("calls", &json!(count), &json!(calls.len())),
        CallsExpect::By(plugins) => {
            for (name, expected) in plugins {
                let inputs: Vec<&Json> = calls
                    .iter()
                    .filter(|call| {
                        call.plugin == *name || format!("{}.{}", call.plugin, call.action) == *name
                    })
                    .map(|call| &call.input)
                    .collect();
                let what = format!("calls.{name}");
                let problems = of_call(&what, expected, &inputs);
                checks.add(what, problems);
            }
        }
    }
}

fn of_call(what: &str, expected: &CallExpect, inputs: &[&Json]) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(count) = expected.count {
        problems.extend(differences(what, &json!(count), &json!(inputs.len())));
    }
    if let Some(all) = &expected.inputs {
        problems.extend(differences(what, &json!(all), &json!(inputs)));
    }
    if let Some(parts) = &expected.inputs_contain {
        problems.extend(lacks(what, &json!(parts), &json!(inputs)));
    }
    problems
}

fn of_published(expected: &[PublishedExpect], played: &Played) -> Vec<String> {
    let mut problems = Vec::new();
    for (n, (want, sent)) in expected.iter().zip(&played.published).enumerate() {
        let mut field = |name: &str, expected: Option<Json>, actual: Json| {
            if let Some(expected) = expected {
                problems.extend(differences(&format!("published[{n}].{name}"), &expected, &actual));
            }
        };
        field("topic", want.topic.as_ref().map(|text| json!(text)), json!(sent.topic));
        field("qos", want.qos.map(|qos| json!(qos)), json!(sent.qos));
        field("retain", want.retain.map(|retain| json!(retain)), json!(sent.retain));
        let came = payload(&sent.payload);
        field("payload", want.payload.clone(), came.clone());
        if let Some(part) = &want.payload_contains {
            problems.extend(lacks(&format!("published[{n}].payload"), part, &came));
        }
    }
    if expected.len() != played.published.len() {
        let sent: Vec<String> = played
            .published
            .iter()
            .map(|sent| format!("{} {}", sent.topic, short(&payload(&sent.payload))))
            .collect();
        problems.push(format!(
            "published: expected {} messages, there are {}: {}",
            expected.len(),
            sent.len(),
            sent.join("; ")
        ));
    }
    problems
}

fn of_runs(expected: &[RunExpect], runs: &[&RunLog]) -> Vec<String> {
    let mut problems = Vec::new();
    for (n, (want, run)) in expected.iter().zip(runs).enumerate() {
        let what = format!("runs[{n}]");
        if let Some(status) = &want.status {
            problems.extend(differences(
                &format!("{what}.status"),
                &json!(status),
                &json!(run.status),
            ));
        }
        if let Some(outputs) = &want.outputs {
            let came = run.end.as_ref().map_or(&Json::Null, |end| &end.outputs);
            problems.extend(differences(&format!("{what}.outputs"), outputs, came));
        }
        if let Some(error) = &want.error {
            let came = run.end.as_ref().and_then(|end| end.error.as_ref());
            problems.extend(of_error(&format!("{what}.error"), error, came));
        }
    }
    if expected.len() != runs.len() {
        problems.push(format!("runs: expected {}, there are {}", expected.len(), runs.len()));
    }
    problems
}
