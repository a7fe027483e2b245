//! What people say to runs: signals, decisions, and the approvals that wait for them.

use reqwest::Method;
use serde_json::{Value, json};

use openclaw_protocol::api::Role;
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::definition::LogLevel;
use openclaw_protocol::id::{DeviceId, Epoch};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::RECORD_BYTES;
use openclaw_protocol::run::{RunEvent, RunEventRecord, RunStatus, StepPath, StepStatus};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::facts::{enrol, events, history, lane, result, run_id, stamp, tell};
use super::server::{Client, Database, Server};
use crate::config::DEFAULT_TENANT;
use crate::store::{self, args};

/// The events of a run whose first step asks people, after its beginning.
fn asking(number: u64, steps: &[(&str, Value)]) -> Vec<RunEventRecord> {
    let mut told = events(number)[..2].to_vec();
    for (step, details) in steps {
        let step = StepPath((*step).to_owned());
        let kind = "approval".to_owned();
        let started =
            RunEvent::StepStarted { step: step.clone(), kind, attempt: 1, interrupted: false };
        let (reason, details) = ("approval".to_owned(), Some(JsonText::of(details)));
        let waits = RunEvent::StepWaiting { step, reason, details };
        for event in [started, waits] {
            push(&mut told, event);
        }
    }
    told
}

fn push(told: &mut Vec<RunEventRecord>, event: RunEvent) {
    let seq = told.last().unwrap().seq + 1;
    let at = stamp(i64::from(seq) * 100);
    told.push(RunEventRecord { run: told[0].run.clone(), seq, at, event });
}

fn question(prompt: &str, roles: &[&str]) -> Value {
    json!({ "prompt": prompt, "roles": roles, "choices": ["approve", "reject"],
        "form": { "reason": { "type": "string", "maxLength": 20 },
            "litres": { "type": "number", "optional": true } } })
}

fn settled(step: &str) -> RunEvent {
    RunEvent::StepSettled {
        step: StepPath(step.to_owned()),
        status: StepStatus::Succeeded,
        attempts: 1,
        output: Some(JsonText::null()),
        error: None,
    }
}

/// Tells runs one after the other, as one lane.
async fn tell_all(server: &Server, device: &DeviceId, runs: &[Vec<RunEventRecord>]) {
    let told: Vec<RunEventRecord> = runs.iter().flatten().cloned().collect();
    tell(server, device, Lane::History, history(&told)).await;
}

async fn open(client: &Client<'_>, query: &str) -> Vec<(Value, Value)> {
    let page = client.get(&format!("/api/v1/approvals{query}")).await;
    let items = page["items"].as_array().unwrap();
    items.iter().map(|one| (one["run"].clone(), one["step"].clone())).collect()
}

/// The newest command in a device's log.
async fn newest_command(server: &Server, device: &DeviceId) -> Command {
    let mut tx = server.write().await;
    let tenant = server.tenant();
    let holding = store::fleet::commands_holding(&mut tx, &tenant, device).await.unwrap();
    let last = holding.next - 1;
    let range = (last, last + 1);
    let records = store::fleet::commands_from(&mut tx, &tenant, device, range, 1).await.unwrap();
    let record: CommandRecord =
        wire::unpack(Kind::Command, &records[0].body, RECORD_BYTES).unwrap();
    record.command
}

pub(super) async fn approvals_are_listed_while_they_are_open(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let (pump, tank) = (enrol(&server, "pump-1", &[]).await, enrol(&server, "tank-1", &[]).await);
    let two = [("shut[pump]/ask", question("Open?", &[])), ("also", question("And this?", &[]))];
    let mut first = asking(1, &two);
    tell_all(&server, &pump, std::slice::from_ref(&first)).await;
    // What a device of another make says of whom to ask is not guessed at.
    let odd = [("odd", json!({ "prompt": "Open?", "choices": ["yes"] }))];
    tell_all(
        &server,
        &tank,
        &[asking(2, &[("ask", question("Drain?", &["admin"]))]), asking(3, &odd)],
    )
    .await;
    let page = admin.get("/api/v1/approvals?device=pump-1").await;
    let one = page["items"].as_array().unwrap().iter().find(|one| one["step"] != "also").unwrap();
    assert_eq!(
        one,
        &json!({ "device": "pump-1", "run": run_id(1), "step": "shut[pump]/ask",
            "workflow": "count", "prompt": "Open?", "roles": [], "choices": ["approve", "reject"],
            "form": question("", &[])["form"], "asked_at": "2027-01-15T08:00:00.3Z" })
    );
    let mut seen = Vec::new();
    let mut query = "?limit=1".to_owned();
    loop {
        let page = admin.get(&format!("/api/v1/approvals{query}")).await;
        seen.extend(page["items"].as_array().unwrap().iter().map(|one| one["step"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("?limit=1&cursor={cursor}");
    }
    assert_eq!((seen.len(), &seen[2]), (3, &json!("also")), "asked first, listed first: {seen:?}");
    let stranger = server.session("other", Role::Admin).await;
    assert_eq!(open(&stranger, "").await, []);

    // The view says what a step waits for, and the run is running while it does.
    let view = admin.get(&format!("/api/v1/executions/pump-1/{}", run_id(1))).await;
    assert_eq!(
        (&view["run"]["status"], &view["run"]["steps"][0]["status"]),
        (&json!("running"), &json!("waiting"))
    );
    assert_eq!(view["run"]["steps"][0]["waiting"]["details"]["prompt"], "Open?");

    push(&mut first, settled("shut[pump]/ask"));
    tell_all(&server, &pump, std::slice::from_ref(&first)).await;
    assert_eq!(open(&admin, "?device=pump-1").await, [(json!(run_id(1)), json!("also"))]);
    // A result ends what is open in its run, although the history is not here yet.
    let over = result(1, RunStatus::Cancelled);
    tell(&server, &pump, Lane::Results, lane(vec![wire::pack(Kind::RunResult, &over)])).await;
    assert_eq!(open(&admin, "?device=pump-1").await, []);
    push(&mut first, asking(1, &two)[3].event.clone());
    tell_all(&server, &pump, std::slice::from_ref(&first)).await;
    assert_eq!(open(&admin, "?device=pump-1").await, [], "and late history does not open it again");

    // Runs of a lost database wait for nobody, until a word of them comes after all.
    let mut tx = server.write().await;
    let (tenant, now_ms) = (server.tenant(), server.now_ms());
    store::projection::lose(&mut tx, &tenant, &tank, Epoch(7), now_ms).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(open(&admin, "").await, []);
    let mut again = asking(2, &[("ask", question("Drain?", &["admin"]))]);
    push(&mut again, RunEvent::Resumed { unclean: true });
    let last = again.pop().unwrap();
    let records = history(&[again, asking(3, &odd), vec![last]].concat());
    tell(&server, &tank, Lane::History, records).await;
    assert_eq!(open(&admin, "").await, [(json!(run_id(2)), json!("ask"))]);
    admin.call(Method::DELETE, "/api/v1/devices/tank-1", None).await;
    assert_eq!(open(&admin, "").await, []);
    server.stop().await;
}

pub(super) async fn decisions_are_for_those_whom_the_approval_names(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let roles: [(&str, &[&str], Role); 5] = [
        ("anybody-who-may-cancel", &[], Role::Operator),
        ("viewers", &["viewer"], Role::Viewer),
        ("operators", &["operator", "plumber"], Role::Operator),
        ("admins", &["admin"], Role::Admin),
        ("plumbers", &["plumber"], Role::Admin),
    ];
    let steps: Vec<(&str, Value)> =
        roles.iter().map(|(step, named, _)| (*step, question("Open?", named))).collect();
    tell_all(&server, &pump, &[asking(1, &steps)]).await;
    let path = format!("/api/v1/executions/pump-1/{}/decisions", run_id(1));
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let client = server.session(DEFAULT_TENANT, role).await;
        for (step, named, least) in roles {
            let body = json!({ "step": step, "choice": "approve", "form": { "reason": "dry" } });
            let (status, answer) = client.call(Method::POST, &path, Some(body)).await;
            let expected = if role >= least { 202 } else { 403 };
            assert_eq!(status.as_u16(), expected, "{role:?} of {named:?}: {answer}");
            if role < least {
                continue;
            }
            let Command::Decide { run, step: of, choice, by, form } =
                newest_command(&server, &pump).await
            else {
                panic!("a decision")
            };
            assert_eq!((run, of.0.as_str(), choice.as_str()), (run_id(1), step, "approve"));
            assert_eq!(by, format!("user:{}", client.username), "nobody speaks for others");
            assert_eq!(form.as_str(), "{\"reason\":\"dry\"}");
        }
    }
    let body = Some(json!({ "step": "viewers", "choice": "approve", "by": "user:admin" }));
    admin.refused(Method::POST, &path, body, (400, "request.malformed")).await;
    server.stop().await;
}

pub(super) async fn an_answer_that_a_device_would_refuse_is_refused(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let mut told = asking(1, &[("ask", question("Open?", &[]))]);
    tell_all(&server, &pump, std::slice::from_ref(&told)).await;
    let run = format!("/api/v1/executions/pump-1/{}", run_id(1));
    let path = format!("{run}/decisions");
    let answer = |step: &str, choice: &str, form: Value| {
        Some(json!({ "step": step, "choice": choice, "form": form }))
    };
    let good = answer("ask", "reject", json!({ "reason": "dry", "litres": 2 }));
    let (closed, form) = ((409, "approval.not_open"), (422, "approval.form"));
    for (body, expected, part) in [
        (answer("asks", "approve", json!({})), closed, "`asks`"),
        (answer("ask", "perhaps", json!({})), (422, "approval.choice"), "approve, reject"),
        (answer("ask", "reject", json!({})), form, "`reason` is missing"),
        (answer("ask", "reject", json!({ "reason": 3 })), form, "must be of type string"),
        (answer("ask", "reject", json!({ "reason": "x", "more": 1 })), form, "`more`"),
    ] {
        let problem = admin.refused(Method::POST, &path, body, expected).await;
        assert!(problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    let problem =
        admin.refused(Method::POST, &path, answer("ask", "reject", json!({ "reason": 3 })), form);
    assert_eq!(problem.await["errors"][0]["pointer"], "/form/reason");
    let unknown = "/api/v1/executions/pump-1/000000000000-9/decisions";
    admin.refused(Method::POST, unknown, good.clone(), (404, "not_found")).await;

    // The same key is the same wish, also when the approval is not open any more.
    let request = || admin.request(Method::POST, &path).header("idempotency-key", "k1");
    let (status, first) = admin.send(request().json(&good)).await;
    assert_eq!(status.as_u16(), 202);
    assert_eq!(first["requests"][0]["run"], json!(run_id(1)));
    push(&mut told, settled("ask"));
    tell_all(&server, &pump, std::slice::from_ref(&told)).await;
    assert_eq!(admin.send(request().json(&good)).await, (status, first));
    let other = answer("ask", "approve", json!({ "reason": "dry" }));
    assert_eq!(admin.send(request().json(&other)).await.1["code"], "idempotency.reused");
    admin.refused(Method::POST, &path, good.clone(), closed).await;
    let over = result(1, RunStatus::Completed);
    tell(&server, &pump, Lane::Results, lane(vec![wire::pack(Kind::RunResult, &over)])).await;
    admin.refused(Method::POST, &path, good, (409, "run.settled")).await;

    let mut tx = server.ctx.db.read().await.unwrap();
    const TRAIL: &str = "SELECT subject, detail FROM audit WHERE action = 'run.decide'";
    let rows = tx.rows(TRAIL, args![]).await.unwrap();
    assert_eq!(rows.len(), 1);
    let detail: Value = rows[0].json("detail").unwrap();
    assert_eq!((&detail["step"], &detail["choice"]), (&json!("ask"), &json!("reject")));
    assert_eq!(rows[0].text("subject").unwrap(), format!("pump-1/{}", run_id(1)));
    drop(tx);
    server.stop().await;
}

pub(super) async fn signals_go_to_runs_that_are_not_over(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    tell_all(&server, &pump, &[events(1)[..2].to_vec()]).await;
    let path = format!("/api/v1/executions/pump-1/{}/signals", run_id(1));
    let signal = Some(json!({ "name": "valve-open", "data": { "litres": 2.0 } }));
    let viewer = server.session(DEFAULT_TENANT, Role::Viewer).await;
    viewer.refused(Method::POST, &path, signal.clone(), (403, "auth.forbidden")).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    for (body, expected) in [
        (json!({ "name": "" }), (422, "signal.name")),
        (json!({ "name": "x".repeat(129) }), (422, "signal.name")),
        (json!({ "name": "x", "data": "x".repeat(70_000) }), (422, "signal.data")),
        (json!({ "data": 1 }), (400, "request.malformed")),
    ] {
        operator.refused(Method::POST, &path, Some(body), expected).await;
    }
    let request = || operator.request(Method::POST, &path).header("idempotency-key", "k1");
    let (status, first) = operator.send(request().json(&signal)).await;
    assert_eq!(status.as_u16(), 202);
    assert_eq!(operator.send(request().json(&signal)).await, (status, first));
    let Command::Signal { run, name, data } = newest_command(&server, &pump).await else {
        panic!("a signal")
    };
    assert_eq!((run, name.as_str()), (run_id(1), "valve-open"));
    assert_eq!(data.as_str(), "{\"litres\":2.0}");
    operator.post(&path, json!({ "name": "go" })).await;
    let Command::Signal { data, .. } = newest_command(&server, &pump).await else {
        panic!("a signal")
    };
    assert_eq!(data, JsonText::null());
    let over = result(1, RunStatus::Completed);
    tell(&server, &pump, Lane::Results, lane(vec![wire::pack(Kind::RunResult, &over)])).await;
    operator.refused(Method::POST, &path, signal, (409, "run.settled")).await;
    server.stop().await;
}

pub(super) async fn events_are_found_by_name(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let mut told = asking(1, &[("ask", question("Open?", &[]))]);
    for n in 0..5 {
        let step = StepPath(format!("loop#{n}/say"));
        let (message, fields) = (format!("<b>{n}</b>"), JsonText::of(&json!({ "n": n })));
        push(&mut told, RunEvent::Logged { step, level: LogLevel::Warn, message, fields });
        push(&mut told, RunEvent::Resumed { unclean: false });
    }
    let step = StepPath("saga".to_owned());
    push(&mut told, RunEvent::Compensated { step, complete: false });
    tell_all(&server, &pump, std::slice::from_ref(&told)).await;
    let path = format!("/api/v1/executions/pump-1/{}/events", run_id(1));
    let seqs = |page: &Value| -> Vec<u64> {
        page["items"].as_array().unwrap().iter().map(|e| e["seq"].as_u64().unwrap()).collect()
    };
    let names = "?name=logged,compensated";
    let all = admin.get(&format!("{path}{names}")).await;
    assert_eq!((seqs(&all), &all["next_cursor"]), (vec![5, 7, 9, 11, 13, 15], &Value::Null));
    assert_eq!(
        (&all["items"][1]["name"], &all["items"][1]["data"]),
        (
            &json!("logged"),
            &json!({ "step": "loop#1/say", "level": "warn", "message": "<b>1</b>",
                "fields": { "n": 1 } })
        )
    );
    assert_eq!(all["items"][5]["data"], json!({ "step": "saga", "complete": false }));
    let mut seen = Vec::new();
    let mut query = format!("{names}&limit=2");
    loop {
        let page = admin.get(&format!("{path}{query}")).await;
        seen.extend(seqs(&page));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("{names}&limit=2&cursor={cursor}");
    }
    assert_eq!(seen, [5, 7, 9, 11, 13, 15]);
    assert_eq!(seqs(&admin.get(&format!("{path}{names}&after=11")).await), [13, 15]);
    assert_eq!(seqs(&admin.get(&format!("{path}?after=13")).await), [14, 15]);
    assert_eq!(
        admin.get(&format!("{path}?name=step_waiting")).await["items"][0]["data"]["reason"],
        "approval"
    );
    let wrong = format!("{path}?name=logged,sung");
    let problem = admin.refused(Method::GET, &wrong, None, (400, "request.malformed")).await;
    assert!(problem["detail"].as_str().unwrap().contains("`sung`"), "{problem}");
    server.stop().await;
}
