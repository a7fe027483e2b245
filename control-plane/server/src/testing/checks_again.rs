//! Runs once more: retried, one or many, and recorded for the desk.

use reqwest::Method;
use serde_json::{Value, json};

use openclaw_protocol::api::Role;
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::id::{DeviceId, RequestId, WorkflowName};
use openclaw_protocol::limits::{RECORD_BYTES, RECORDING_PART_BYTES};
use openclaw_protocol::recording;
use openclaw_protocol::report::Report;
use openclaw_protocol::run::{RunError, RunResult, RunStatus};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::facts::{COUNT, enrol, lane, reports, result, run_id, tell};
use super::server::{Database, Server};
use crate::config::DEFAULT_TENANT;
use crate::store;

/// A run of `count` that failed with this error.
fn failed(number: u64, code: &str) -> RunResult {
    RunResult {
        error: Some(RunError::new(code, "it did not work")),
        ..result(number, RunStatus::Failed)
    }
}

async fn tell_results(server: &Server, device: &DeviceId, results: &[RunResult]) {
    let bodies = results.iter().map(|result| wire::pack(Kind::RunResult, result));
    tell(server, device, Lane::Results, lane(bodies.collect())).await;
}

/// All commands of a device, in order.
async fn commands(server: &Server, device: &DeviceId) -> Vec<Command> {
    let mut tx = server.write().await;
    let tenant = server.tenant();
    let holding = store::fleet::commands_holding(&mut tx, &tenant, device).await.unwrap();
    let range = (holding.oldest, holding.next);
    let found = store::fleet::commands_from(&mut tx, &tenant, device, range, 1 << 20).await;
    let read = |body: &[u8]| wire::unpack::<CommandRecord>(Kind::Command, body, RECORD_BYTES);
    found.unwrap().iter().map(|record| read(&record.body).unwrap().command).collect()
}

fn runs(answer: &Value) -> Vec<&Value> {
    answer["runs"].as_array().unwrap().iter().map(|run| &run["run"]).collect()
}

async fn deploy_count(server: &Server) {
    let admin = server.admin().await;
    admin.apply(COUNT).await;
    let body = json!({ "workflow": "count", "target": { "devices": ["pump-1"] } });
    admin.post("/api/v1/deployments", body).await;
}

pub(super) async fn a_failed_run_is_retried_where_it_failed(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    deploy_count(&server).await;
    let done = result(2, RunStatus::Completed);
    tell_results(&server, &pump, &[failed(1, "http.status"), done]).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    let path = |number| format!("/api/v1/executions/pump-1/{}/retry", run_id(number));
    operator.post(&format!("{}?from_failed=true", path(1)), json!({})).await;
    operator.post(&path(1), json!({})).await;
    let told = commands(&server, &pump).await;
    assert_eq!(told[0], Command::Retry { run: run_id(1) });
    let Command::Start { inputs, .. } = &told[1] else { panic!("a start") };
    assert_eq!(inputs.as_str(), "{\"limit\":21.0}");
    let whole = format!("{}?from_failed=true", path(2));
    operator.refused(Method::POST, &whole, None, (409, "run.completed")).await;
    assert_eq!(commands(&server, &pump).await.len(), 2, "a refused wish leaves nothing");
    server.stop().await;
}

pub(super) async fn all_that_failed_alike_are_retried_at_once(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let other = enrol(&server, "pump-2", &[]).await;
    deploy_count(&server).await;
    let late = RunResult { settled: super::facts::stamp(9_000), ..failed(3, "http.connect") };
    let told =
        [failed(1, "http.status"), failed(2, "plugin.trap"), late, result(4, RunStatus::Cancelled)];
    tell_results(&server, &pump, &told).await;
    tell_results(&server, &other, &[failed(5, "http.status")]).await;
    let path = "/api/v1/executions/retry";
    let viewer = server.session(DEFAULT_TENANT, Role::Viewer).await;
    viewer.refused(Method::POST, path, Some(json!({})), (403, "auth.forbidden")).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    for (body, expected) in [
        (json!({ "status": "completed" }), (422, "run.status")),
        (json!({ "errors": "http.*" }), (400, "request.malformed")),
    ] {
        operator.refused(Method::POST, path, Some(body), expected).await;
    }

    // What is only asked for changes nothing, and says what would not be done.
    let asked = json!({ "workflow": "count", "error": "http.*", "dry_run": true });
    let meant = operator.post(path, asked).await;
    let (one, three, five) = (json!(run_id(1)), json!(run_id(3)), json!(run_id(5)));
    let mut found = runs(&meant);
    found.sort_by_key(|run| run.to_string());
    assert_eq!(found, [&one, &three, &five]);
    let refused = meant["runs"].as_array().unwrap().iter().find(|run| run["device"] == "pump-2");
    assert_eq!(refused.unwrap()["refusal"]["code"], "run.not_deployed");
    assert!(commands(&server, &pump).await.is_empty());

    let wrong = json!({ "cursor": "nonsense" });
    operator.refused(Method::POST, path, Some(wrong), (400, "request.malformed")).await;
    assert!(meant["next_cursor"].is_null(), "that was all");

    let settled_ms = super::facts::stamp(9_000).wall_ms;
    let latest = operator.post(path, json!({ "since_ms": settled_ms, "dry_run": true })).await;
    assert_eq!(runs(&latest), [&three]);
    let cancelled = operator.post(path, json!({ "status": "cancelled", "dry_run": true })).await;
    assert_eq!(runs(&cancelled), [&json!(run_id(4))]);

    // Said twice under one key, it is done once.
    let wish = json!({ "error": "http.*", "from_failed": true });
    let request = || operator.request(Method::POST, path).header("idempotency-key", "all");
    let (status, first) = operator.send(request().json(&wish)).await;
    assert_eq!(status.as_u16(), 202);
    assert_eq!(operator.send(request().json(&wish)).await, (status, first.clone()));
    let mut told = commands(&server, &pump).await;
    told.sort_by_key(|command| format!("{command:?}"));
    assert_eq!(told, [Command::Retry { run: run_id(1) }, Command::Retry { run: run_id(3) }]);
    for run in first["runs"].as_array().unwrap() {
        assert_eq!(run["request"].is_string(), run["device"] == "pump-1", "{run}");
    }
    operator.post(path, json!({ "error": "plugin.trap" })).await;
    let Some(Command::Start { workflow, .. }) = commands(&server, &pump).await.pop() else {
        panic!("a start")
    };
    assert_eq!(workflow.as_str(), "count");
    server.stop().await;
}

pub(super) async fn recordings_come_in_parts_and_are_kept_whole(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    tell_results(&server, &pump, &[result(1, RunStatus::Failed)]).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    let path = format!("/api/v1/executions/pump-1/{}/recording", run_id(1));
    operator.refused(Method::GET, &path, None, (404, "not_found")).await;
    let asked = operator.post(&path, json!({})).await;
    let request = RequestId::parse(asked["requests"][0]["id"].as_str().unwrap()).unwrap();
    assert_eq!(commands(&server, &pump).await, [Command::Export { run: run_id(1) }]);

    // Digits that no compressor makes much of.
    let noise: String =
        (0..60_000_u64).map(|n| format!("{:x}", n.wrapping_mul(n ^ 0x9e37_79b9))).collect();
    let text = json!({ "recording": 1, "noise": noise }).to_string();
    let parts = recording::split(&request, &run_id(1), &text).unwrap();
    assert!(parts.len() > 1 && parts[0].bytes.len() == RECORDING_PART_BYTES);
    let records = lane(parts.iter().map(|part| wire::pack(Kind::Recording, part)).collect());
    let (last, first) = records.split_last().unwrap();
    tell(&server, &pump, Lane::Telemetry, first.to_vec()).await;
    operator.refused(Method::GET, &path, None, (404, "not_found")).await;
    tell(&server, &pump, Lane::Telemetry, vec![last.clone()]).await;
    let viewer = server.session(DEFAULT_TENANT, Role::Viewer).await;
    let whole: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(viewer.get(&path).await, whole);
    assert_eq!(viewer.get(&format!("{path}?request={request}")).await, whole);
    let other = format!("{path}?request=another");
    viewer.refused(Method::GET, &other, None, (404, "not_found")).await;
    server.stop().await;
}

pub(super) async fn the_next_runs_are_recorded_at_a_wish(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    enrol(&server, "pump-2", &[]).await;
    deploy_count(&server).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    let path = "/api/v1/devices/pump-1/recordings";
    let wish = |next: u32| json!({ "workflow": "count", "next": next });
    let viewer = server.session(DEFAULT_TENANT, Role::Viewer).await;
    viewer.refused(Method::POST, path, Some(wish(1)), (403, "auth.forbidden")).await;
    operator.refused(Method::POST, path, Some(wish(101)), (422, "record.runs")).await;
    let other = path.replace("pump-1", "pump-2");
    operator.refused(Method::POST, &other, Some(wish(1)), (409, "run.not_deployed")).await;
    let absent = path.replace("pump-1", "pump-9");
    operator.refused(Method::POST, &absent, Some(wish(1)), (404, "not_found")).await;

    let mut asked = Vec::new();
    for next in [2, 5] {
        let answer = operator.post(path, wish(next)).await;
        asked.push(answer["requests"][0]["id"].as_str().unwrap().to_owned());
    }
    let workflow = WorkflowName::parse("count").unwrap();
    let record = |next| Command::Record { workflow: workflow.clone(), next };
    assert_eq!(commands(&server, &pump).await, [record(2), record(5)]);
    let view = async |id: &str| viewer.get(&format!("/api/v1/requests/{id}")).await;
    assert_eq!(view(&asked[0]).await["answered"], false);

    // A device that knows how; and one whose agent is of a version before that.
    let done = Report::Done { request: RequestId::parse(&asked[0]).unwrap() };
    let message = "a command could not be read".to_owned();
    let unread = Report::Security { code: "command.unreadable".to_owned(), message };
    tell(&server, &pump, Lane::Control, reports(vec![done, unread])).await;
    let first = view(&asked[0]).await;
    assert_eq!((&first["answered"], &first["refusal"]), (&json!(true), &Value::Null));
    let second = view(&asked[1]).await;
    assert_eq!(second["refusal"]["code"], "command.unknown", "{second}");
    server.stop().await;
}
