//! `openclaw secret`, and secrets in scenarios.

use serde_json::json;

use crate::stub::Stub;
use crate::{Desk, err, out};

const TELLS: &str = "workflow: tells
secrets: [token, user]
steps:
  - id: send
    plugin: p
    with: { auth: \"Bearer ${ secret('token') }\", who: \"${ secret('user') }\" }
    retry: none
  - { id: say, log: \"answer ${ steps.send.output }\" }
outputs: { said: \"${ steps.send.output }\" }
";

fn play(scenario: &serde_json::Value) -> (bool, String) {
    let desk = Desk::new();
    std::fs::write(desk.path().join("d.yaml"), TELLS).unwrap();
    std::fs::write(desk.path().join("s.json"), scenario.to_string()).unwrap();
    let args = ["workflow", "test", "-d", "d.yaml", "-s", "s.json", "--trace", "t.jsonl"];
    let done = desk.run(&args);
    let trace = std::fs::read_to_string(desk.path().join("t.jsonl")).unwrap_or_default();
    (done.status.success(), out(&done) + &err(&done) + &trace)
}

#[test]
fn mocks_see_values_and_traces_do_not() {
    let echo = json!({ "p": { "compute": "input" } });
    let masked = json!({ "outputs": { "said": { "auth": "Bearer ***", "who": "***" } } });
    let auth = json!({ "$join": ["Bearer ", { "$secret": "token" }] });
    let handles = json!({ "p": { "inputs": [{ "auth": auth, "who": { "$secret": "user" } }] } });
    let (passed, said) = play(&json!({
        "scenario": 1,
        "secrets": { "token": "my-very-own" },
        "mocks": { "plugins": echo },
        "expect": { "outputs": masked["outputs"], "calls": handles },
    }));
    assert!(passed, "{said}");
    assert!(!said.contains("my-very-own") && !said.contains("test-secret-user"), "{said}");

    // A mock that waits for a value gets it, the placeholder where none is given.
    let by_value = json!({ "p": { "answers": [
        { "input": { "auth": "Bearer test-secret-token", "who": "ann-e" }, "output": "found" },
    ] } });
    let (passed, said) = play(&json!({
        "scenario": 1,
        "secrets": { "user": "ann-e" },
        "mocks": { "plugins": by_value },
        "expect": { "outputs": { "said": "found" } },
    }));
    assert!(passed, "{said}");
    assert!(!said.contains("ann-e"), "{said}");
}

#[test]
fn a_device_may_lack_a_secret_and_a_name_may_be_wrong() {
    let mocks = json!({ "plugins": { "p": { "output": 1 } } });
    let (passed, said) = play(&json!({
        "scenario": 1,
        "secrets": { "token": null },
        "mocks": mocks,
        "expect": { "status": "failed", "error": "secret.missing" },
    }));
    assert!(passed, "{said}");
    let (passed, said) = play(&json!({
        "scenario": 1, "secrets": { "tokn": "x" }, "mocks": mocks,
    }));
    assert!(!passed && said.contains("secrets.tokn: no definition declares"), "{said}");
}

#[test]
fn a_value_is_read_and_not_typed_as_an_argument() {
    let secret = json!({ "name": "token", "version": 2, "updated_at": "2026", "updated_by":
        "user:ann", "devices": 2, "devices_ready": 1 });
    let device = json!({ "device": "pump-7", "version": 1, "state": "pending", "online": false,
        "last_seen_at": "2026-01-01T00:00:00Z" });
    let ready = json!({ "device": "pump-8", "version": 2, "state": "ready", "online": true,
        "last_seen_at": null });
    let stub = Stub::start(vec![
        ("PUT /api/v1/secrets/token", 200, secret.clone()),
        ("GET /api/v1/secrets/token", 200, json!({ "secret": secret, "devices": [device, ready] })),
        ("GET /api/v1/secrets?", 200, json!({ "items": [secret] })),
    ]);
    let desk = Desk::new();
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    // Standard input says `secret`, with a newline that is not meant.
    let done = desk.run_with(&["secret", "set", "token"], &here);
    assert!(done.status.success(), "{}", err(&done));
    assert!(err(&done).contains("token has version 2"), "{}", err(&done));
    std::fs::write(desk.path().join("v"), "of a file\n\n").unwrap();
    let args = ["secret", "rotate", "token", "--from-file", "v", "--wait", "0"];
    let done = desk.run_with(&args, &here);
    assert!(done.status.success(), "{}", err(&done));
    assert!(err(&done).contains("1 of 2 devices have it"), "{}", err(&done));
    let shown = out(&done);
    assert!(shown.contains("pump-7") && !shown.contains("pump-8"), "{shown}");
    let puts: Vec<String> = stub
        .asked()
        .into_iter()
        .filter(|(asked, _)| asked.starts_with("PUT"))
        .map(|(_, body)| body)
        .collect();
    assert_eq!(puts, [r#"{"value":"secret"}"#, r#"{"value":"of a file\n"}"#]);
    let done = desk.run_with(&["secret", "ls"], &here);
    assert!(out(&done).contains("1 of 2"), "{}", out(&done));
    let done = desk.run_with(&["secret", "set", "token", "s3cret"], &here);
    assert_eq!(done.status.code(), Some(2), "no value on the command line");
    let done = desk.run_with(&["secret", "rotate", "absent"], &here);
    assert!(!done.status.success());
    assert!(!stub.asked().iter().any(|(asked, _)| asked == "PUT /api/v1/secrets/absent"));
}
