//! Translated definitions run by the real engine, for what no recorded execution shows.

use std::sync::Arc;

use openclaw::asl::{errors, translate};
use openclaw::scenario::{self, Around, Scenario};
use openclaw_protocol::definition;
use serde_json::{Value as Json, json};

/// How a run ended: its output or the name of its error, and after how many virtual milliseconds.
#[derive(Debug, PartialEq)]
struct End {
    output: Result<Json, Option<String>>,
    ms: u64,
    trace: Vec<Json>,
}

impl End {
    fn attempts(&self, path: &str) -> u64 {
        let line = self.trace.iter().find(|line| line["path"] == path);
        line.unwrap_or_else(|| panic!("no {path}"))["attempts"].as_u64().unwrap()
    }
}

fn run(definition: &Json, input: Json, mocks: Json, stimuli: Json) -> End {
    let translated = translate(definition, "case");
    let translated = translated.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let text = translated.document.to_string();
    let workflow = definition::parse(&text).unwrap();
    let scenario = json!({
        "scenario": 1,
        "inputs": {"input": input},
        "mocks": {"plugins": mocks},
        "stimuli": stimuli,
        "until": "1000d",
    });
    let scenario = Scenario::parse(&scenario.to_string()).unwrap();
    let report = scenario::run(&scenario, &Arc::new(workflow), &Around::default()).unwrap();
    assert!(report.faults.is_empty(), "{:?}\n{text}", report.faults);
    let run = report.run.unwrap();
    let output = match &run.error {
        Some(error) => Err(errors::name_of(error["code"].as_str().unwrap())),
        None => Ok(run.outputs["output"].clone()),
    };
    End { output, ms: run.ms.unwrap(), trace: report.trace }
}

fn ended(definition: &Json, input: Json) -> Result<Json, Option<String>> {
    run(definition, input, json!({}), json!([])).output
}

fn machine(states: Json) -> Json {
    json!({"StartAt": "A", "States": states})
}

fn error(name: &str) -> Json {
    let details = json!({"Error": name});
    json!({"error": {"code": errors::code_of(name), "message": "because", "details": details}})
}

/// A task with these fields, then a state that says how it ended.
fn task(fields: Json) -> Json {
    let mut task = json!({"Type": "Task", "Resource": "arn:aws:states:::do:it", "End": true});
    task.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    machine(json!({"A": task, "H": {"Type": "Pass", "End": true}}))
}

const DO: &str = "asl-do.it";

#[test]
fn results_go_where_the_path_says() {
    let placed = |input: Json, path: &str| {
        let pass = json!({"Type": "Pass", "Result": {"r": 1}, "ResultPath": path, "End": true});
        ended(&machine(json!({"A": pass})), input)
    };
    assert_eq!(placed(json!({"x": 1}), "$.a.b"), Ok(json!({"x": 1, "a": {"b": {"r": 1}}})));
    assert_eq!(
        placed(json!({"a": {"b": 0, "c": 2}}), "$.a.b"),
        Ok(json!({"a": {"b": {"r": 1}, "c": 2}}))
    );
    assert_eq!(placed(json!({}), "$['x.y'].z"), Ok(json!({"x.y": {"z": {"r": 1}}})));
    assert_eq!(
        placed(json!({"x.y": {"q": 0}}), "$['x.y'].z.w"),
        Ok(json!({"x.y": {"q": 0, "z": {"w": {"r": 1}}}}))
    );
    assert_eq!(placed(json!([1]), "$.a"), Err(Some("States.Runtime".to_owned())));
    assert_eq!(placed(json!({"x": 1}), "$"), Ok(json!({"r": 1})));
}

#[test]
fn paths_filter_what_goes_in_and_out() {
    let states = json!({
        "A": {
            "Type": "Pass", "InputPath": "$.in", "Parameters": {"n.$": "$.list[-1]", "s": "${x}"},
            "ResultPath": "$.out", "OutputPath": "$.out", "Next": "B",
        },
        "B": {"Type": "Succeed", "InputPath": "$.n"},
    });
    let input = json!({"in": {"list": [1, 2, 3]}});
    assert_eq!(ended(&machine(states), input), Ok(json!(3)));
}

#[test]
fn ways_meet_again_and_the_order_is_kept() {
    let states = json!({
        "A": {"Type": "Choice", "Default": "C", "Choices": [
            {"Variable": "$.n", "NumericLessThan": 1, "Next": "B"},
            {"Variable": "$.n", "NumericEquals": 1, "Next": "D"},
        ]},
        "B": {"Type": "Pass", "Parameters": {"by": "b"}, "Next": "D"},
        "C": {"Type": "Pass", "Parameters": {"by": "c"}, "Next": "E"},
        "D": {"Type": "Pass", "Next": "E"},
        "E": {"Type": "Pass", "End": true},
    });
    for (n, output) in [(0, json!({"by": "b"})), (1, json!({"n": 1})), (2, json!({"by": "c"}))] {
        assert_eq!(ended(&machine(states.clone()), json!({"n": n})), Ok(output));
    }
    let none = json!({"A": {"Type": "Choice", "Choices": [
        {"Variable": "$.n", "NumericEquals": 1, "Next": "E"}]}, "E": {"Type": "Succeed"}});
    let ended = ended(&machine(none), json!({"n": 2}));
    assert_eq!(ended, Err(Some("States.NoChoiceMatched".to_owned())));
}

#[test]
fn retries_wait_as_the_arithmetic_says() {
    let definition = task(json!({"Retry": [
        {"ErrorEquals": ["Slow", "States.Timeout"], "IntervalSeconds": 2, "BackoffRate": 3,
         "MaxAttempts": 4, "MaxDelaySeconds": 10},
        {"ErrorEquals": ["Never"], "MaxAttempts": 0},
        {"ErrorEquals": ["States.ALL"], "MaxAttempts": 1, "IntervalSeconds": 5, "BackoffRate": 1},
    ]}));
    let slow = run(&definition, json!({}), json!({DO: error("Slow")}), json!([]));
    // 2, 6, and then the cap twice.
    assert_eq!((slow.output.clone(), slow.ms), (Err(Some("Slow".to_owned())), 28_000));
    assert_eq!(slow.attempts("A"), 5);
    let other = run(&definition, json!({}), json!({DO: error("Other")}), json!([]));
    assert_eq!((other.attempts("A"), other.ms), (2, 5_000));
    let never = run(&definition, json!({}), json!({DO: error("Never")}), json!([]));
    assert_eq!((never.attempts("A"), never.ms), (1, 0));
    // Each retrier counts for itself.
    let mixed = json!({DO: [error("Slow"), error("Other"), error("Slow"), {"output": 7}]});
    let mixed = run(&definition, json!({}), mixed, json!([]));
    assert_eq!((mixed.output.clone(), mixed.ms), (Ok(json!(7)), 13_000));
}

#[test]
fn what_nobody_retries_is_not_retried() {
    let definition = task(json!({
        "Parameters": {"x.$": "$.missing"},
        "Retry": [{"ErrorEquals": ["States.ALL"]}],
        "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "H"}],
    }));
    let end = run(&definition, json!({}), json!({DO: {"output": 1}}), json!([]));
    assert_eq!((end.output, end.ms), (Err(Some("States.Runtime".to_owned())), 0));
}

#[test]
fn errors_are_caught_by_name() {
    let definition = task(json!({"ResultPath": "$.r", "Catch": [
        {"ErrorEquals": ["Not Found", "a-b"], "ResultPath": "$.named", "Next": "H"},
        {"ErrorEquals": ["States.Timeout"], "ResultPath": null, "Next": "H"},
        {"ErrorEquals": ["States.TaskFailed"], "ResultPath": "$.failed.deep", "Next": "H"},
    ], "TimeoutSeconds": 3}));
    let with = |mock: Json| run(&definition, json!({"i": 1}), json!({DO: mock}), json!([]));
    let caught = |name: &str| json!({"Error": name, "Cause": "because"});
    for name in ["Not Found", "a-b"] {
        let end = with(error(name));
        assert_eq!(end.output, Ok(json!({"i": 1, "named": caught(name)})), "{name}");
    }
    // As a plugin spells it.
    let dashed = json!({"error": {"code": "user.a-b", "message": "because"}});
    assert_eq!(with(dashed).output, Ok(json!({"i": 1, "named": caught("a-b")})));
    let late = with(json!({"hang": true}));
    assert_eq!(late.output, Ok(json!({"i": 1})));
    assert!((3_000..14_000).contains(&late.ms), "{}", late.ms);
    let other = with(error("Other"));
    assert_eq!(other.output, Ok(json!({"i": 1, "failed": {"deep": caught("Other")}})));
    let plain = with(json!({"error": {"code": "plugin.trap", "message": "because"}}));
    assert_eq!(plain.output, Ok(json!({"i": 1, "failed": {"deep": caught("States.TaskFailed")}})));
    assert_eq!(with(json!({"output": 5})).output, Ok(json!({"i": 1, "r": 5})));
}

#[test]
fn what_is_not_caught_ends_the_execution_as_it_is() {
    let definition = task(json!({"Catch": [{"ErrorEquals": ["A"], "Next": "H"}]}));
    let end = run(&definition, json!({}), json!({DO: error("B")}), json!([]));
    assert_eq!(end.output, Err(Some("B".to_owned())));
}

#[test]
fn names_of_errors_come_through_fail_states() {
    let inner = json!({"StartAt": "F", "States": {
        "F": {"Type": "Fail", "ErrorPath": "$.name", "CausePath": "$.why"}}});
    let definition = machine(json!({
        "A": {"Type": "Parallel", "Branches": [inner], "End": true, "Catch": [
            {"ErrorEquals": ["It is so"], "Next": "H", "ResultPath": "$.caught"},
            {"ErrorEquals": ["States.ALL"], "Next": "H"},
        ]},
        "H": {"Type": "Pass", "End": true},
    }));
    let input = |name: &str| json!({"name": name, "why": "so"});
    let output = ended(&definition, input("It is so")).unwrap();
    assert_eq!(output["caught"], json!({"Error": "It is so", "Cause": "so"}));
    let output = ended(&definition, input("It's: else")).unwrap();
    assert_eq!(output, json!({"Error": "It's: else", "Cause": "so"}));
}

#[test]
fn maps_take_lists_only_and_fail_with_the_item() {
    let map = |inner: Json| {
        machine(json!({"A": {
            "Type": "Map", "ItemsPath": "$.items", "MaxConcurrency": 2, "End": true,
            "ItemProcessor": {"StartAt": "I", "States": {
                "I": {"Type": "Choice", "Default": "J", "Choices": [
                    {"Variable": "$", "NumericGreaterThan": 2, "Next": "K"}]},
                "J": inner,
                "K": {"Type": "Fail", "Error": "TooMuch", "Cause": "of it"},
            }},
        }}))
    };
    let pass = json!({"Type": "Pass", "Parameters": {"n.$": "$", "at.$": "$$.Map.Item.Index"}, "End": true});
    let output = ended(&map(pass.clone()), json!({"items": [1, 2]}));
    assert_eq!(output, Ok(json!([{"n": 1, "at": 0}, {"n": 2, "at": 1}])));
    assert_eq!(ended(&map(pass.clone()), json!({"items": []})), Ok(json!([])));
    assert_eq!(
        ended(&map(pass.clone()), json!({"items": [1, 3]})),
        Err(Some("TooMuch".to_owned()))
    );
    for items in [json!({"a": 1}), json!(1), json!("abc"), Json::Null] {
        let output = ended(&map(pass.clone()), json!({"items": items}));
        assert_eq!(output, Err(Some("States.Runtime".to_owned())));
    }
}

#[test]
fn scopes_keep_their_documents_and_see_outer_variables() {
    let branch = |assign: Json| {
        json!({"StartAt": "P", "States": {
            "P": {"Type": "Pass", "Assign": assign, "Next": "Q"},
            "Q": {"Type": "Task", "Resource": "arn:aws:states:::do:it", "ResultPath": "$.r", "Next": "R"},
            "R": {"Type": "Pass", "Parameters": {"own.$": "$own", "outer.$": "$x", "r.$": "$.r"}, "End": true},
        }})
    };
    let mut other = branch(json!({"own": "second"}));
    // Names of states are unique in a definition.
    for (from, to) in [("P", "P2"), ("Q", "Q2"), ("R", "R2")] {
        let text = other.to_string().replace(&format!("\"{from}\""), &format!("\"{to}\""));
        other = serde_json::from_str(&text).unwrap();
    }
    let definition = machine(json!({
        "A": {"Type": "Pass", "Assign": {"x.$": "$.n"}, "Next": "B"},
        "B": {"Type": "Parallel", "Parameters": {"given.$": "$x"}, "ResultPath": "$.both",
              "Branches": [branch(json!({"own.$": "$.given"})), other], "Next": "C"},
        "C": {"Type": "Pass", "End": true},
    }));
    let end = run(&definition, json!({"n": 5}), json!({DO: {"output": "done"}}), json!([]));
    assert_eq!(
        end.output,
        Ok(json!({"n": 5, "both": [
            {"own": 5, "outer": 5, "r": "done"},
            {"own": "second", "outer": 5, "r": "done"},
        ]}))
    );
}

#[test]
fn task_tokens_are_answered_by_signals() {
    let processor = json!({"StartAt": "T", "States": {"T": {
        "Type": "Task", "Resource": "arn:aws:states:::do:it.waitForTaskToken", "End": true,
        "Parameters": {"token.$": "$$.Task.Token", "item.$": "$"},
        "Retry": [{"ErrorEquals": ["Again"], "IntervalSeconds": 1}],
    }}});
    let definition = machine(json!({"A": {
        "Type": "Map", "MaxConcurrency": 1, "ItemProcessor": processor, "End": true}}));
    let signal = |at: &str, name: &str, data: Json| json!({"at": at, "signal": {"name": name, "data": data}});
    let stimuli = json!([
        signal("2s", "T/0", json!({"output": "first"})),
        signal("1s", "T/1", json!({"error": "Again", "cause": "try"})),
        signal("9s", "T/1", json!({"output": {"n": 2}})),
    ]);
    let end = run(&definition, json!(["a", "b"]), json!({DO: {"output": "sent"}}), stimuli);
    assert_eq!((end.output, end.ms), (Ok(json!(["first", {"n": 2}])), 9_000));
}

#[test]
fn timeouts_may_come_from_the_input() {
    let definition = task(json!({
        "TimeoutSecondsPath": "$.most", "HeartbeatSeconds": 60,
        "ResultSelector": {"got.$": "$.x"}, "ResultPath": "$.r",
        "Catch": [{"ErrorEquals": ["States.Timeout"], "Next": "H", "ResultPath": "$.late"}],
    }));
    let mock = |latency: u32| json!({DO: {"output": {"x": 1}, "latency": latency}});
    let in_time = run(&definition, json!({"most": 9}), mock(5), json!([]));
    assert_eq!((in_time.output, in_time.ms), (Ok(json!({"most": 9, "r": {"got": 1}})), 5_000));
    let late = run(&definition, json!({"most": 3}), mock(5), json!([]));
    assert_eq!(late.output.unwrap()["late"]["Error"], "States.Timeout");
    let failed = run(&definition, json!({"most": 9}), json!({DO: error("B")}), json!([]));
    assert_eq!((failed.output, failed.ms), (Err(Some("B".to_owned())), 0));
    let wrong = run(&definition, json!({"most": -1}), mock(5), json!([]));
    assert_eq!(wrong.output, Err(Some("States.Runtime".to_owned())));
}

#[test]
fn waits_last_as_long_as_they_say() {
    let wait = |fields: Json| {
        let mut wait = json!({"Type": "Wait", "End": true});
        wait.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let end = run(
            &machine(json!({"A": wait})),
            json!({"s": 7, "half": 0.5, "at": "2026-01-05T08:00:20Z"}),
            json!({}),
            json!([]),
        );
        (end.output.is_ok(), end.ms)
    };
    assert_eq!(wait(json!({"Seconds": 90})), (true, 90_000));
    assert_eq!(wait(json!({"SecondsPath": "$.s"})), (true, 7_000));
    assert_eq!(wait(json!({"SecondsPath": "$.half"})), (false, 0));
    assert_eq!(wait(json!({"Timestamp": "2026-01-05T08:00:10Z"})), (true, 10_000));
    assert_eq!(wait(json!({"TimestampPath": "$.at"})), (true, 20_000));
    assert_eq!(wait(json!({"Timestamp": "2020-01-05T08:00:10Z"})), (true, 0));
}

#[test]
fn the_whole_execution_may_be_bounded() {
    let mut definition = machine(json!({"A": {"Type": "Wait", "Seconds": 90, "End": true}}));
    definition["TimeoutSeconds"] = json!(30);
    let end = run(&definition, json!({}), json!({}), json!([]));
    assert_eq!((end.output, end.ms), (Err(Some("States.Timeout".to_owned())), 30_000));
}
