//! `openclaw expr`: one expression for people, thousands for tools.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::{Desk, err, json, out};

const CASES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../protocol/tests/cel/cel-json-subset.jsonl");

/// Files of the corpus whose features the language leaves out (see `docs/expressions.md`).
const LEFT_OUT: [&str; 3] = ["block_ext", "network_ext", "optionals"];

/// What `openclaw expr ARGS` answers to these lines.
fn answers(args: &[&str], input: String) -> Vec<Value> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_openclaw"))
        .arg("expr")
        .args(args)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // From a thread of its own: the answers come while the requests are still being written.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Equal with the same types; doubles by value, maps in any order.
fn same(expected: &Value, actual: &Value) -> bool {
    if expected["type"] != actual["type"] {
        return false;
    }
    let (expected, actual) = (&expected["value"], &actual["value"]);
    match (expected.as_array(), actual.as_array()) {
        (Some(left), Some(right)) if left.iter().all(Value::is_array) => {
            let has = |pair: &Value| {
                right.iter().any(|other| same(&pair[0], &other[0]) && same(&pair[1], &other[1]))
            };
            left.len() == right.len() && left.iter().all(has)
        }
        (Some(left), Some(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        _ => {
            let number = |text: &Value| text.as_str().and_then(|text| text.parse::<f64>().ok());
            expected == actual || (number(expected).is_some() && number(expected) == number(actual))
        }
    }
}

#[test]
fn the_conformance_cases_as_they_are_through_one_process() {
    let corpus = std::fs::read_to_string(CASES).unwrap();
    let cases: Vec<Value> = corpus
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|case| !LEFT_OUT.contains(&case["file"].as_str().unwrap()))
        .collect();
    assert!(cases.len() > 400, "only {} cases", cases.len());
    let input: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let answers = answers(&["--json"], input);
    assert_eq!(answers.len(), cases.len());
    let mut wrong = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        let right = match case.get("value") {
            Some(expected) => same(expected, &answer["typed"]),
            None => answer["error"]["code"].is_string(),
        };
        if !right {
            wrong.push(format!("{}: {answer}", case["expr"]));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn people_get_a_value_or_the_place_of_the_error() {
    let desk = Desk::new();
    let done = desk.run(&["expr", "a + size(b)", "--bind", "a=1", "--bind", "b=text"]);
    assert_eq!((done.status.code(), out(&done).as_str()), (Some(0), "5\n"), "{}", err(&done));
    let done = desk.run(&["expr", "-1 + x", "-b", "x=2.5", "-o", "json"]);
    assert_eq!(
        json(&done),
        json!({ "value": 1.5, "type": "double",
        "typed": { "type": "double", "value": "1.5" } })
    );
    // Standard input of these is one line, `secret`.
    let done = desk.run(&["expr", "-", "-b", "secret={\"n\": [1]}"]);
    assert_eq!(out(&done), "{\"n\":[1]}\n");
    let wrong = desk.run(&["expr", "1 + 2 +"]);
    assert_eq!(wrong.status.code(), Some(6), "{}", err(&wrong));
    let wrong = desk.run(&["expr", "1 + nowhere.x"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(err(&wrong).contains("error: expr.key: "), "{}", err(&wrong));
    assert!(err(&wrong).contains("  1 + nowhere.x\n      ^"), "{}", err(&wrong));
    assert_eq!(desk.run(&["expr"]).status.code(), Some(2));
}

#[test]
fn an_expression_on_the_command_line_takes_its_names_from_standard_input() {
    let lines = "{\"a\": 1, \"b\": 2}\n{\"bindings\": {\"a\": 5}, \"id\": \"x\"}\n[]\n".to_owned();
    let found = answers(&["--json", "a + b", "--bind", "b=10"], lines);
    assert_eq!((&found[0]["value"], &found[1]["value"]), (&json!(3), &json!(15)));
    assert_eq!(found[1]["id"], "x");
    assert_eq!(found[2]["error"]["code"], "request.invalid");
    assert_eq!(answers(&["--json", "1 + 1"], String::new())[0]["value"], 2);
}
