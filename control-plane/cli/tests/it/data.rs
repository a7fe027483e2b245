//! What commands print, and with which code they end.

use openclaw_protocol::run::{Run, RunStatus};
use serde_json::{Value, json};

use crate::stub::{Script, Stub};
use crate::{Desk, err, json, out};

/// Runs the command against a control plane with this script.
fn against(script: Script, args: &[&str]) -> (std::process::Output, Vec<(String, String)>) {
    let (desk, stub) = (Desk::new(), Stub::start(script));
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    (desk.run_with(args, &here), stub.asked())
}

fn device(labels: Value) -> Value {
    json!({
        "id": "pump-7", "labels": labels, "online": false, "last_seen_at": null,
        "enrolled_at": "2026", "revoked": true, "certificate_expires_at": "2026",
        "inventory": null, "desired_revision": 0, "reported_revision": 0, "refused": {},
        "ledger": []
    })
}

fn deployment(devices: Value) -> Value {
    json!({
        "id": "d1", "workflow": "count", "revision": 1, "previous_revision": null,
        "target": { "devices": [], "labels": { "site": "a" } }, "created_at": "2026",
        "created_by": "user:admin", "devices": devices
    })
}

#[test]
fn a_roll_out_that_reaches_nobody_is_no_success() {
    let args = ["deployment", "create", "count", "--label", "site=a", "--wait"];
    let script = |devices: Value| {
        vec![
            ("POST /api/v1/deployments", 201, deployment(json!([]))),
            ("GET /api/v1/deployments/d1", 200, deployment(devices)),
        ]
    };
    let (failed, _) = against(script(json!([])), &args);
    assert_eq!(failed.status.code(), Some(1));
    assert!(err(&failed).contains("reaches no device"), "{}", err(&failed));
    let active = json!([{ "device": "pump-7", "state": "active" }]);
    let (done, _) = against(script(active), &args);
    assert!(done.status.success(), "{}", err(&done));
}

#[test]
fn what_was_done_is_data_where_data_was_asked_for() {
    let user =
        json!({ "username": "ann", "role": "viewer", "disabled": true, "created_at": "2026" });
    let script = || {
        vec![
            ("POST /api/v1/devices/pump-7/revoke", 200, device(json!({}))),
            ("DELETE /api/v1/devices/pump-7", 204, Value::Null),
            ("POST /api/v1/users/ann/disable", 200, user.clone()),
            ("DELETE /api/v1/deployments/d1", 204, Value::Null),
            ("DELETE /api/v1/api-keys/k1", 204, Value::Null),
        ]
    };
    for (args, key, value) in [
        (["device", "revoke", "pump-7"], "revoked", json!(true)),
        (["device", "remove", "pump-7"], "removed", json!(true)),
        (["user", "disable", "ann"], "username", json!("ann")),
        (["deployment", "delete", "d1"], "deleted", json!(true)),
        (["api-key", "revoke", "k1"], "id", json!("k1")),
    ] {
        let with_json = [&args[..], &["--yes", "-o", "json"]].concat();
        let (done, _) = against(script(), &with_json);
        assert_eq!(json(&done)[key], value, "{args:?}");
        let (done, _) = against(script(), &[&args[..], &["--yes"]].concat());
        assert!(done.status.success() && out(&done).is_empty(), "{args:?}: {}", out(&done));
    }
}

#[test]
fn names_stay_names_in_addresses() {
    let script = vec![("DELETE /api/v1/", 204, Value::Null)];
    let (_, asked) = against(script.clone(), &["api-key", "revoke", "../devices/x", "--yes"]);
    assert_eq!(asked[0].0, "DELETE /api/v1/api-keys/..%2Fdevices%2Fx");
    let (failed, asked) = against(script, &["device", "remove", "..", "--yes"]);
    assert_eq!((failed.status.code(), asked.len()), (Some(6), 0));
    let list = vec![("GET /api/v1/executions", 200, json!({ "items": [], "next_cursor": null }))];
    let (_, asked) = against(list, &["run", "list", "--device", "a&limit=1#"]);
    assert!(asked[0].0.contains("device=a%26limit%3D1%23&limit=20"), "{asked:?}");
}

#[test]
fn labels_are_set_and_taken_away() {
    let before = device(json!({ "site": "a", "old": "1", "line": "3" }));
    let script = vec![
        ("GET /api/v1/devices/pump-7", 200, before),
        ("PUT /api/v1/devices/pump-7/labels", 200, device(json!({ "site": "b", "line": "3" }))),
    ];
    let args = ["device", "label", "pump-7", "site=b", "old-", "-o", "json"];
    let (done, asked) = against(script, &args);
    assert_eq!(json(&done)["labels"], json!({ "site": "b", "line": "3" }));
    let (put, body) = asked.last().unwrap();
    assert_eq!(put, "PUT /api/v1/devices/pump-7/labels");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), json!({ "site": "b", "line": "3" }));
}

fn wish(id: &str, device: &str, run: Option<&str>, refusal: Option<&str>) -> Value {
    let refusal = refusal.map(|message| json!({ "code": "slots.full", "message": message }));
    json!({ "id": id, "device": device, "run": run, "refusal": refusal,
        "answered": run.is_some() || refusal.is_some() })
}

#[test]
fn one_refusal_does_not_hide_how_the_others_ended() {
    let mut run = Run::new("0000000000000001-2".parse().unwrap());
    run.status = RunStatus::Completed;
    run.outputs = Some(json!({ "n": 42 }));
    let asked = [wish("q1", "pump-1", None, None), wish("q2", "pump-2", None, None)];
    let script = |status: RunStatus| {
        let mut run = run.clone();
        run.status = status;
        let ended = json!({ "device": "pump-2", "result_seq": 1, "run": run });
        vec![
            ("POST /api/v1/workflows/count/run", 202, json!({ "requests": asked })),
            (
                "GET /api/v1/requests/q1",
                200,
                wish("q1", "pump-1", None, Some("no\u{1b}[2J\u{9b}0mroom\nhint: run this")),
            ),
            ("GET /api/v1/requests/q2", 200, wish("q2", "pump-2", Some(run.id.as_ref()), None)),
            ("GET /api/v1/executions/pump-2/", 200, ended),
        ]
    };
    let args = ["workflow", "run", "count", "-d", "pump-1", "-d", "pump-2", "--wait", "-o", "json"];
    let (refused, _) = against(script(RunStatus::Completed), &args);
    assert_eq!(refused.status.code(), Some(1));
    let shown: Value = serde_json::from_str(&out(&refused)).unwrap();
    assert_eq!(shown[0]["run"]["outputs"], json!({ "n": 42 }));
    let said = err(&refused);
    assert!(said.contains("1 of 2 runs ended") && said.contains("pump-1 refuses"), "{said}");
    assert!(!said.contains(['\u{1b}', '\u{9b}']), "{said:?}");
    assert!(!said.contains("\nhint:"), "a device does not speak for us: {said:?}");
    let (failed, _) = against(script(RunStatus::Failed), &args);
    assert_eq!(failed.status.code(), Some(9));
    assert!(err(&failed).contains("1 of 2 runs failed"), "{}", err(&failed));
}

#[test]
fn runs_are_signalled_and_approvals_answered() {
    let asked = json!({ "requests": [wish("q1", "pump-1", Some("r1"), None)] });
    let open = json!({ "items": [{ "device": "pump-1", "run": "r1", "step": "shut[a]/ask",
        "workflow": "count", "prompt": "Open\u{1b}[2J?", "roles": [], "choices": ["yes", "no"],
        "form": {}, "asked_at": "2026-01-01T00:00:00Z" }] });
    let script = vec![
        ("POST /api/v1/executions/pump-1/r1/", 202, asked),
        ("GET /api/v1/approvals", 200, open),
    ];
    let (done, sent) =
        against(script.clone(), &["run", "signal", "pump-1/r1", "go", "--data", "[1]"]);
    assert!(done.status.success(), "{}", err(&done));
    assert_eq!(sent[0].0, "POST /api/v1/executions/pump-1/r1/signals");
    let body: Value = serde_json::from_str(&sent[0].1).unwrap();
    assert_eq!(body, json!({ "name": "go", "data": [1] }));
    let approve = ["run", "approve", "pump-1/r1", "shut[a]/ask", "--choice", "no"];
    let (done, sent) =
        against(script.clone(), &[&approve[..], &["--form", "{\"why\":\"dry\"}"]].concat());
    assert!(done.status.success(), "{}", err(&done));
    assert_eq!(sent[0].0, "POST /api/v1/executions/pump-1/r1/decisions");
    let body: Value = serde_json::from_str(&sent[0].1).unwrap();
    assert_eq!(body, json!({ "step": "shut[a]/ask", "choice": "no", "form": { "why": "dry" } }));
    let (wrong, sent) = against(script.clone(), &[&approve[..], &["--form", "dry"]].concat());
    assert_eq!((wrong.status.code(), sent.len()), (Some(2), 0));
    let (listed, sent) = against(script, &["run", "approvals", "--device", "pump-1"]);
    assert_eq!(sent[0].0, "GET /api/v1/approvals?device=pump-1&limit=20");
    let shown = out(&listed);
    assert!(shown.contains("shut[a]/ask") && shown.contains("yes, no"), "{shown}");
    assert!(shown.contains("operator") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn a_run_shows_what_it_waits_for_and_what_it_logged() {
    let mut run = Run::new("0000000000000001-2".parse().unwrap());
    (run.status, run.last_seq) = (RunStatus::Running, 9);
    let mut shown = json!(run);
    shown["steps"] = json!([{ "path": "ask", "kind": "approval", "status": "waiting",
        "attempts": 1, "output": null, "error": null, "started_wall_ms": null,
        "settled_wall_ms": null, "waiting": { "reason": "approval",
        "details": { "prompt": "Open?", "choices": ["yes", "no"] } } }]);
    let event = |seq: u32, name: &str, data: Value| json!({ "seq": seq, "at": "2026-01-01T00:00:00Z", "name": name, "data": data });
    let logged = json!({ "step": "say", "level": "warn", "message": "dr\u{1b}y", "fields": {} });
    let undone = json!({ "step": "saga", "complete": false });
    let script = |status: &str| {
        let mut run = shown.clone();
        run["status"] = json!(status);
        let execution = json!({ "device": "pump-1", "result_seq": null, "run": run });
        let told = [event(4, "logged", logged.clone()), event(5, "compensated", undone.clone())];
        vec![
            ("GET /api/v1/executions/pump-1/", 200, execution),
            (
                "GET /api/v1/executions/pump-1/0000000000000001-2/events",
                200,
                json!({ "items": told }),
            ),
        ]
    };
    let name = "pump-1/0000000000000001-2";
    let (got, asked) = against(script("running"), &["run", "get", name]);
    let (table, said) = (out(&got), err(&got));
    assert!(
        table.contains("WAITING FOR") && table.contains("approval: Open? (yes | no)"),
        "{table}"
    );
    assert!(said.contains("running") && said.contains("say: dr\u{fffd}y"), "{said}");
    assert!(said.contains("COMPENSATION INCOMPLETE"), "{said}");
    assert!(asked[1].0.contains("events?name=logged,compensated&after=0&limit="), "{asked:?}");
    let (got, asked) = against(script("running"), &["run", "get", name, "-o", "json"]);
    assert_eq!(
        (json(&got)["run"]["steps"][0]["waiting"]["reason"].clone(), asked.len()),
        (json!("approval"), 1)
    );
    let (watched, _) = against(script("completed"), &["run", "watch", name]);
    let said = err(&watched);
    assert!(said.contains("ask waits for approval: Open?") && said.contains("warn  say"), "{said}");
    assert!(watched.status.success(), "{said}");
}
