//! Cases that pass, cases that name what differs, and files that are no case.

use std::fmt::Write as _;

use super::*;
use crate::digest_of;

/// A guest that reads `door`, sets `lamp` to it, and answers with its input; it fails where it is
/// denied.
const LAMP: &str = r#"(module
  (import "openclaw" "gpio_read" (func $read (param i32 i32) (result i32)))
  (import "openclaw" "gpio_write" (func $write (param i32 i32 i32) (result i32)))
  (import "openclaw" "input_length" (func $length (result i32)))
  (import "openclaw" "input_read" (func $input (param i32 i32)))
  (import "openclaw" "output_write" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "doorlamp")
  (func (export "execute") (result i32)
    (if (i32.lt_s (call $write (i32.const 4) (i32.const 4)
        (call $read (i32.const 0) (i32.const 4))) (i32.const 0)) (then (return (i32.const 1))))
    (call $input (i32.const 64) (call $length))
    (call $output (i32.const 64) (call $length))
    (i32.const 0)))"#;

fn report(case: &str) -> Report {
    let manifest = "name='lamp'\nversion='1.0.0'\ndescription='d'\n\
                    [permissions]\ngpio=['door','lamp','spare']";
    let manifest = Manifest::from_toml(manifest).unwrap();
    let wasm = wat::parse_str(LAMP).unwrap();
    let module = Sandbox::new().load(digest_of(&wasm), &wasm).unwrap();
    Case::from_json("lamp", case).unwrap().run(&manifest, &module).unwrap()
}

#[test]
fn a_report_says_what_was_called_used_and_not_used() {
    let report = report(
        r#"{ "input": { "a": 1 }, "expect": { "output": { "a": 1 } },
             "gpio": { "before": { "door": 1, "lamp": 0 }, "after": { "lamp": 1 } } }"#,
    );
    assert_eq!(report.differences, Vec::<String>::new());
    assert!(report.passed() && report.outcome.fuel_used > 0);
    assert!(report.outcome.peak_memory_bytes >= 65_536);
    let calls: Vec<(&str, u32)> = report.host_calls.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(calls, [("gpio_read", 1), ("gpio_write", 1)]);
    assert_eq!(report.permissions_used, ["gpio:door", "gpio:lamp"]);
    assert_eq!(report.permissions_unused, ["gpio:spare"]);
}

#[test]
fn what_differs_is_named_by_its_place() {
    let report = report(
        r#"{ "input": { "a": [1, 2], "b": "x" }, "expect": { "output": { "a": [1, 3], "c": 1 } },
             "gpio": { "before": { "door": 0, "lamp": 0 }, "after": { "lamp": 1 } },
             "tcp": { "10.0.0.1:502": [ { "expect": "x" } ] }, "mqtt": [ { "topic": "a" } ],
             "kv": { "after": { "plugin": { "k": "v" } } }, "exec": { "date": [ {} ] } }"#,
    );
    let expected = [
        "output.a[1]: expected 3, got 2",
        "output.c: expected 1, got nothing",
        "output.b: expected nothing, got \"x\"",
        "mqtt: expected 1 messages, got []",
        "kv.plugin.k: expected \"v\", got nothing",
        "gpio.lamp: expected 1, got 0",
        "tcp 10.0.0.1:502: 1 of 1 steps were not reached",
        "exec date: 1 runs left",
    ];
    assert_eq!(report.differences, expected);
}

#[test]
fn a_failure_is_expected_by_its_code() {
    let case = |expect: &str| {
        report(&format!(
            r#"{{ "input": {{}}, "permissions": {{}}, "expect": {expect},
                  "gpio": {{ "before": {{ "door": 0, "lamp": 0 }} }} }}"#
        ))
    };
    let failed = case(r#"{ "error": { "code": "plugin.error" } }"#);
    assert_eq!(failed.differences, Vec::<String>::new());
    assert_eq!(failed.outcome.denials, ["gpio:door", "gpio:lamp"]);
    assert!(failed.permissions_used.is_empty() && failed.host_calls.is_empty());
    let other = case(r#"{ "error": { "code": "user.cold" } }"#);
    assert!(other.differences[0].contains("`user.cold`"), "{:?}", other.differences);
    let output = case(r#"{ "output": {} }"#);
    assert!(output.differences[0].contains("got the failure"), "{:?}", output.differences);
}

#[test]
fn a_file_that_is_no_case_is_refused_with_the_reason() {
    for (text, part) in [
        ("{", "EOF"),
        (r#"{ "expect": { "output": 1 } }"#, "missing field `input`"),
        (r#"{ "input": 1 }"#, "missing field `expect`"),
        (r#"{ "input": 1, "expect": { "outputs": 1 } }"#, "unknown variant `outputs`"),
        (r#"{ "input": 1, "expect": { "output": 1 }, "colour": 1 }"#, "unknown field `colour`"),
        (r#"{ "input": 1, "expect": { "output": 1 }, "files": { "x": "" } }"#, "directory:path"),
        (
            r#"{ "input": 1, "expect": { "output": 1 }, "http": { "x": { "status": 1 } } }"#,
            "METHOD",
        ),
        (r#"{ "input": 1, "expect": { "output": 1 }, "tcp": { "x": [] } }"#, "host:port"),
        (
            r#"{ "input": 1, "expect": { "output": 1 }, "gpio": { "before": { "x": 2 } } }"#,
            "0 or 1",
        ),
        (
            r#"{ "input": 1, "expect": { "output": 1 }, "mqtt": [ { "topic": "a", "payload": { "hex": "0g" } } ] }"#,
            "not hexadecimal",
        ),
        (
            r#"{ "input": 1, "expect": { "output": 1 }, "serial": { "p": [ { "reply": 5 } ] } }"#,
            "bytes are a text",
        ),
    ] {
        let error = Case::from_json("a-case", text).unwrap_err().to_string();
        assert!(error.starts_with("a-case: ") && error.contains(part), "{error}");
    }
    let missing = load_dir(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(missing.contains("/nowhere/at/all"), "{missing}");
}

#[test]
fn an_action_that_there_is_not_is_named_with_those_that_there_are() {
    let manifest = Manifest::from_toml("name='x'\nversion='1.0.0'\ndescription='d'").unwrap();
    let wasm = wat::parse_str(LAMP).unwrap();
    let module = Sandbox::new().load(digest_of(&wasm), &wasm).unwrap();
    let case = r#"{ "action": "go", "input": 1, "expect": { "output": 1 } }"#;
    let error = Case::from_json("x", case).unwrap().run(&manifest, &module).unwrap_err();
    assert!(error.to_string().contains("`go`; it has execute"), "{error}");
}

#[test]
fn a_script_answers_what_it_expects_and_names_what_it_does_not() {
    let steps = r#"[ { "reply": "hello " }, { "expect": { "hex": "01 02" }, "reply": "a" },
                     { "expect": "q", "end": true } ]"#;
    let mut line = line::Line::new(&serde_json::from_str::<Vec<format::Step>>(steps).unwrap());
    line.open();
    assert_eq!(line.read(1, 100).unwrap(), b"hello ");
    line.write(&[1]).unwrap();
    assert!(line.read(1, 1).is_err(), "half of a step is no answer");
    line.write(&[2]).unwrap();
    assert_eq!(line.read(1, 1).unwrap(), b"a");
    assert_eq!(line.write(b"x").unwrap_err(), r#"step 3: expected "q", got "x""#);
    assert_eq!(line.left().unwrap(), "1 of 3 steps were not reached");
    let mut line = line::Line::new(&serde_json::from_str::<Vec<format::Step>>(steps).unwrap());
    line.open();
    line.write(&[1, 2, b'q']).unwrap();
    assert_eq!(line.read(50, 50).unwrap(), b"hello a", "fewer only at the end");
    assert_eq!(line.left(), None);
    assert!(line.write(b"more").unwrap_err().contains("behind the script's end"));
}

#[test]
fn long_and_binary_values_are_shown_short() {
    assert_eq!(content::shown(b"a\nb"), r#""a\nb""#);
    assert_eq!(content::shown(&[0, 255]), "hex 00ff");
    let mut long = String::new();
    for n in 0..1_000 {
        write!(long, "{n}").unwrap();
    }
    assert!(content::shown(long.as_bytes()).len() < 300);
}
