//! Executions recorded on AWS Step Functions, translated and run by the real engine.
//!
//! The cases are described in `tests/cases/asl/README.md`. What tasks gave is in the recorded
//! history and answers in their place. Compared are the final status, the output or the error's
//! name, and the order in which states are entered, within each branch and iteration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use openclaw::asl::{Translation, errors, plugin_of, translate};
use openclaw::scenario::{self, Around, Scenario};
use openclaw_protocol::definition;
use serde_json::{Value as Json, json};

use crate::{Desk, err, json as data, out};

/// Portable executions, without the one that has a cycle.
const COUNTED: usize = 64;
/// What stands for something that differs from run to run, beside texts with `<…>` in them.
const MASKS: [&str; 4] = ["date", "start-time", "entered-time", "snf_role_arn"];

/// Rows of a file of cases.
pub(crate) struct Rows {
    pub(crate) rows: Vec<Json>,
}

pub(crate) fn rows(file: &str) -> Rows {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases/asl").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    Rows { rows: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect() }
}

/// The names of states by branch and iteration, in the order in which they were entered.
type Entered = BTreeMap<String, Vec<String>>;

#[test]
fn recorded_executions_go_as_recorded() {
    let mut cyclic = Vec::new();
    let mut missed = Vec::new();
    let mut right = 0;
    for file in ["pure.jsonl", "task.jsonl"] {
        for row in rows(file).rows.iter().filter(|row| row["portable"] == true) {
            let id = row["id"].as_str().unwrap();
            match play(row) {
                Ok(()) => right += 1,
                Err(reason) if reason.contains("no cycles") => cyclic.push(id.to_owned()),
                Err(reason) => missed.push((id.to_owned(), reason)),
            }
        }
    }
    let told: Vec<String> =
        missed.iter().map(|(id, reason)| format!("{id}\n    {reason}")).collect();
    assert!(missed.is_empty(), "{right} of {COUNTED} right\n{}", told.join("\n"));
    assert_eq!(right, COUNTED);
    assert_eq!(cyclic.len(), 1, "{cyclic:?}");
}

/// What cannot be translated is named by its place, for every case that says it cannot be.
#[test]
fn what_is_not_portable_is_named() {
    let mut named = 0;
    for file in ["pure.jsonl", "task.jsonl"] {
        for row in rows(file).rows.iter().filter(|row| row["portable"] != true) {
            match translate(&row["definition"], "case") {
                Ok(_) => {}
                Err(problems) => {
                    named += 1;
                    for problem in problems {
                        assert!(problem.path.starts_with('$'), "{problem}");
                        assert!(
                            [
                                "JSONata",
                                "intrinsic",
                                "JSONPath of names",
                                "distributed",
                                "JSONPath"
                            ]
                            .iter()
                            .any(|reason| problem.reason.contains(reason))
                                || problem.reason.contains("no field of"),
                            "{}: {problem}",
                            row["id"]
                        );
                    }
                }
            }
        }
    }
    assert!(named > 40, "{named}");
}

/// Translates, runs and compares one case.
fn play(row: &Json) -> Result<(), String> {
    let translation = translate(&row["definition"], "case").map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    })?;
    let workflow = definition::parse(&translation.document.to_string()).unwrap();
    let history = History::of(row);
    let scenario = json!({
        "scenario": 1,
        "inputs": {"input": row["input"]},
        "device": {"clock": "2026-11-22T06:00:00Z"},
        "mocks": {"plugins": history.mocks(&row["definition"])},
        "stimuli": history.answers(&translation),
    });
    let scenario = Scenario::parse(&scenario.to_string()).unwrap();
    let report = scenario::run(&scenario, &Arc::new(workflow), &Around::default())?;
    if let Some(fault) = report.faults.first() {
        return Err(fault.message.clone());
    }
    let run = report.run.ok_or("no run came of it")?;
    let expected = &row["expected"];
    let error = run.error.as_ref().map(|error| error["code"].as_str().unwrap().to_owned());
    let status = match run.status.as_str() {
        "completed" => "SUCCEEDED",
        "failed" => "FAILED",
        other => other,
    };
    if expected["status"] != status {
        return Err(format!("{status}, not {}: {:?}", expected["status"], run.error));
    }
    if status == "FAILED" {
        let name = error.as_deref().and_then(errors::name_of);
        if expected["error"].as_str() != name.as_deref() {
            return Err(format!("error {name:?}, not {}: {:?}", expected["error"], run.error));
        }
    } else if !alike(&expected["output"], &run.outputs["output"]) {
        return Err(format!("{}, not {}", run.outputs["output"], expected["output"]));
    }
    let entered = entered(&translation, &report.trace);
    let recorded = history.entered(&row["definition"]);
    if entered != recorded {
        return Err(format!("entered {entered:?}, not {recorded:?}"));
    }
    Ok(())
}

/// Whether an output is the recorded one, where what differs from run to run is masked.
fn alike(recorded: &Json, found: &Json) -> bool {
    match (recorded, found) {
        (Json::Object(recorded), Json::Object(found)) => {
            recorded.len() == found.len()
                && recorded
                    .iter()
                    .all(|(key, value)| found.get(key).is_some_and(|other| alike(value, other)))
        }
        (Json::Array(recorded), Json::Array(found)) => {
            recorded.len() == found.len()
                && recorded.iter().zip(found).all(|(recorded, found)| alike(recorded, found))
        }
        (Json::Number(recorded), Json::Number(found)) => recorded.as_f64() == found.as_f64(),
        (Json::String(recorded), Json::String(found)) => {
            let json = |text: &str| serde_json::from_str::<Json>(text).ok().filter(Json::is_object);
            let is_masked = MASKS.contains(&recorded.as_str())
                || recorded.find('<').is_some_and(|at| recorded[at..].contains('>'));
            recorded == found
                || is_masked
                || json(recorded).is_some_and(|recorded| Some(recorded) == json(found))
        }
        (recorded, found) => recorded == found,
    }
}

/// The states that a trace says were entered.
fn entered(translation: &Translation, trace: &[Json]) -> Entered {
    let mut entered = Entered::new();
    for line in trace {
        let Some(path) = line["path"].as_str() else { continue };
        let mut parts: Vec<&str> = path.split('/').collect();
        let last = parts.pop().unwrap();
        let Some(name) = translation.states.get(id_of(last)) else { continue };
        if line["started_ms"].is_null() && line["status"] != "failed" {
            continue;
        }
        let branch: String = parts
            .iter()
            .filter_map(|part| {
                let name = translation.states.get(id_of(part))?;
                let at = part.find(['[', '#'])?;
                Some(format!("/{name}{}", &part[at..]))
            })
            .collect();
        entered.entry(branch).or_default().push(name.clone());
    }
    entered
}

/// `d` of `d~2[x]` or `d~2#3`.
fn id_of(part: &str) -> &str {
    part.split(['[', '#', '~']).next().unwrap()
}

/// The recorded events of an execution.
struct History<'a> {
    events: &'a [Json],
}

impl<'a> History<'a> {
    fn of(row: &'a Json) -> Self {
        Self { events: row["history"].as_array().unwrap() }
    }

    fn event(&self, id: &Json) -> Option<&'a Json> {
        self.events.iter().find(|event| event["id"] == *id)
    }

    fn before(&self, event: &Json) -> Option<&'a Json> {
        self.event(&event["previousEventId"])
    }

    /// The state that an event of a task belongs to.
    fn state_of(&self, event: &'a Json) -> &'a str {
        let mut here = event;
        while !kind(here).ends_with("StateEntered") {
            here = self.before(here).unwrap();
        }
        name(here)
    }

    /// How tasks ended, in order: the state, and the event that says so.
    fn ends(&self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.events
            .iter()
            .filter(|event| is_end(kind(event)))
            .map(|event| (self.state_of(event), event))
    }

    /// What answers in place of the tasks: each plugin's answers in turn.
    fn mocks(&self, definition: &Json) -> Json {
        let mut mocks: BTreeMap<String, Vec<Json>> = BTreeMap::new();
        for (state, end) in self.ends() {
            let resource = resource_of(definition, state).unwrap();
            // With a task token, what the call gives is that it was submitted.
            let submitted = self.before(end).filter(|_| resource.ends_with(".waitForTaskToken"));
            let reply = answer(submitted.unwrap_or(end));
            mocks.entry(plugin_of(resource)).or_default().push(reply);
        }
        json!(mocks)
    }

    /// What is sent back for task tokens.
    fn answers(&self, translation: &Translation) -> Json {
        let mut stimuli = Vec::new();
        for (state, end) in self.ends() {
            let submitted = self.before(end).is_some_and(|event| kind(event) == "TaskSubmitted");
            if kind(end).ends_with("TimedOut") {
                continue;
            }
            let mut data = answer(end);
            if data.get("output").is_none() {
                data = json!({"error": details(end)["error"], "cause": details(end)["cause"]});
            }
            let waits = translation.document.to_string().contains("\"signal\"");
            if submitted && waits {
                let id = translation.states.iter().find(|(_, name)| *name == state).unwrap().0;
                stimuli.push(json!({"at": "1s", "signal": {"name": id, "data": data}}));
            }
        }
        json!(stimuli)
    }

    /// The states that were entered.
    fn entered(&self, definition: &Json) -> Entered {
        let mut entered = Entered::new();
        for event in self.events.iter().filter(|event| kind(event).ends_with("StateEntered")) {
            let branch = self.branch(event, definition);
            entered.entry(branch).or_default().push(name(event).to_owned());
        }
        entered
    }

    /// The branches and iterations around an event.
    fn branch(&self, event: &Json, definition: &Json) -> String {
        if !event["id"].is_number() {
            // Events of branches have no numbers in the records; the state tells its branch.
            return branch_of(definition, name(event)).unwrap();
        }
        let Some(before) = self.before(event) else { return String::new() };
        match kind(before) {
            "MapIterationStarted" => {
                let map = details(before)["name"].as_str().unwrap();
                let around = self.branch(self.entered_before(before, map), definition);
                format!("{around}/{map}#{}", details(before)["index"])
            }
            "ParallelStateStarted" if kind(event).ends_with("StateEntered") => {
                let parallel = self.state_of(before);
                let around = self.branch(self.entered_before(before, parallel), definition);
                let branches = state(definition, parallel).unwrap()["Branches"].as_array().unwrap();
                let is_this = |branch: &&Json| branch["StartAt"] == name(event);
                let number = branches.iter().position(|branch| is_this(&branch)).unwrap();
                format!("{around}/{parallel}[{number}]")
            }
            "MapStateExited" | "ParallelStateExited" => {
                self.branch(self.entered_before(before, name(before)), definition)
            }
            _ => self.branch(before, definition),
        }
    }

    /// The last time that a state was entered before an event.
    fn entered_before(&self, event: &Json, state: &str) -> &'a Json {
        let id = event["id"].as_u64();
        let is_this = |other: &&Json| {
            kind(other).ends_with("StateEntered")
                && name(other) == state
                && other["id"].as_u64() < id
        };
        self.events.iter().rev().find(is_this).unwrap()
    }
}

fn kind(event: &Json) -> &str {
    event["type"].as_str().unwrap()
}

/// The state that an event names.
fn name(event: &Json) -> &str {
    details(event)["name"].as_str().unwrap()
}

/// What an event says beside its type.
fn details(event: &Json) -> &Json {
    let found = event.as_object().unwrap().iter().find(|(key, _)| key.ends_with("EventDetails"));
    found.map_or(&Json::Null, |(_, details)| details)
}

fn is_end(kind: &str) -> bool {
    let is_task = ["Task", "LambdaFunction", "Activity"].iter().any(|of| kind.starts_with(of));
    is_task && ["Succeeded", "Failed", "TimedOut"].iter().any(|end| kind.ends_with(end))
}

/// The mock that ends as an event says.
fn answer(event: &Json) -> Json {
    let details = details(event);
    let kind = kind(event);
    if kind.ends_with("TimedOut") {
        return json!({"hang": true});
    }
    if kind.ends_with("Failed") {
        let name = details["error"].as_str().unwrap_or("States.TaskFailed");
        let cause = &details["cause"];
        let message = cause.as_str().map_or_else(|| cause.to_string(), str::to_owned);
        let code = if name == "States.DataLimitExceeded" {
            "limit.payload".to_owned()
        } else {
            errors::code_of(name)
        };
        return json!({"error": {"code": code, "message": message, "details": {"Error": name}}});
    }
    // Objects are recorded as they are, everything else as its JSON text.
    let output = &details["output"];
    let scalar = output.as_str().and_then(|text| serde_json::from_str::<Json>(text).ok());
    json!({"output": scalar.unwrap_or_else(|| output.clone())})
}

/// The fields of a state, at whatever depth.
fn state<'a>(json: &'a Json, wanted: &str) -> Option<&'a Json> {
    if let Some(map) = json.as_object() {
        let here = map.get("States").and_then(|states| states.get(wanted));
        return here.or_else(|| map.values().find_map(|value| state(value, wanted)));
    }
    json.as_array()?.iter().find_map(|item| state(item, wanted))
}

/// The branches around a state.
fn branch_of(machine: &Json, wanted: &str) -> Option<String> {
    let states = machine["States"].as_object()?;
    if states.contains_key(wanted) {
        return Some(String::new());
    }
    states.iter().find_map(|(name, state)| {
        let branches = state["Branches"].as_array().into_iter().flatten().enumerate();
        branches
            .into_iter()
            .find_map(|(n, branch)| Some(format!("/{name}[{n}]{}", branch_of(branch, wanted)?)))
    })
}

fn resource_of<'a>(definition: &'a Json, wanted: &str) -> Option<&'a str> {
    state(definition, wanted)?["Resource"].as_str()
}

#[test]
fn the_command_writes_a_valid_workflow() {
    let desk = Desk::new();
    let definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Task", "Resource": "arn:aws:states:::sns:publish", "HeartbeatSeconds": 9, "End": true}}});
    std::fs::write(desk.path().join("My Flow.asl.json"), definition.to_string()).unwrap();
    let import = ["workflow", "import", "--from", "asl", "My Flow.asl.json"];
    let printed = desk.run(&import);
    assert_eq!(printed.status.code(), Some(0), "{}", err(&printed));
    assert!(out(&printed).starts_with("workflow: my-flow\n"), "{}", out(&printed));
    assert!(err(&printed).starts_with("note: $.States.A.HeartbeatSeconds: "), "{}", err(&printed));
    let as_json = data(&desk.run(&[&import[..], &["-o", "json", "--name", "other"]].concat()));
    assert_eq!(as_json["workflow"], "other");
    for file in ["out.yaml", "out.json"] {
        let written = desk.run(&[&import[..], &["--out", file]].concat());
        assert_eq!(written.status.code(), Some(0), "{}", err(&written));
        assert_eq!(out(&written), "");
        let valid = desk.run(&["workflow", "validate", file]);
        assert_eq!(valid.status.code(), Some(0), "{}", err(&valid));
    }
    assert!(std::fs::read_to_string(desk.path().join("out.json")).unwrap().starts_with('{'));
}

#[test]
fn the_command_names_what_it_cannot_translate() {
    let desk = Desk::new();
    let definition = json!({"StartAt": "A", "States": {
        "A": {"Type": "Pass", "InputPath": "$..x", "Next": "B"},
        "B": {"Type": "Wait", "Seconds": 1, "Next": "A"}}});
    std::fs::write(desk.path().join("flow.json"), definition.to_string()).unwrap();
    let refused =
        desk.run(&["workflow", "import", "--from", "asl", "flow.json", "--out", "x.yaml"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(err(&refused).contains("$.States.B.Next: this leads back to `A`"), "{}", err(&refused));
    assert!(!desk.path().join("x.yaml").exists());
    std::fs::write(desk.path().join("flow.json"), "no JSON").unwrap();
    let refused = desk.run(&["workflow", "import", "--from", "asl", "flow.json"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(err(&refused).contains("not JSON"), "{}", err(&refused));
}
