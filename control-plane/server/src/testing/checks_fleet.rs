//! Facts of devices: each once, whatever the wire did.

use reqwest::Method;
use serde_json::json;

use openclaw_protocol::api::Role;
use openclaw_protocol::id::{Digest, Epoch};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Refusal, Report};
use openclaw_protocol::run::{RunEvent, RunEventRecord, RunStatus, StepPath, StepStatus};
use openclaw_protocol::sync::{Dropped, Holding, Lane, Record};
use openclaw_protocol::wire::{self, Kind};

use super::facts::{
    COUNT, EPOCH, MODULE, answer, device, enrol, events, history, inventory, lane, manifest,
    reports, result, results, run_id, tell, tell_under,
};
use super::server::{Database, START_MS, Server};
use crate::random;
use crate::store::join_codes::JoinCodeRow;
use crate::store::{self, args};

async fn count(server: &Server, sql: &'static str) -> i64 {
    let mut tx = server.ctx.db.read().await.unwrap();
    tx.row(sql, args![]).await.unwrap().unwrap().int("n").unwrap()
}

pub(super) async fn each_result_is_here_once_whatever_the_order(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let all = results(30);
    let mut tx = server.write().await;
    let holding = Holding { lane: Lane::Results, oldest: 1, next: 31 };
    let (tenant, now_ms) = (server.tenant(), server.now_ms());
    store::fleet::announce(&mut tx, &tenant, &pump, EPOCH, &holding, now_ms).await.unwrap();
    tx.commit().await.unwrap();

    // Newest first, overlapping, and again.
    let outcome = tell(&server, &pump, Lane::Results, all[20..30].to_vec()).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (10, 0));
    assert_eq!(outcome.cursor.ranges, [(21, 30)]);
    assert_eq!(outcome.changes.len(), 10);
    let ledger = |device: serde_json::Value| device["ledger"][0].clone();
    let seen = ledger(admin.get("/api/v1/devices/pump-1").await);
    assert_eq!((&seen["complete_to"], &seen["missing"]), (&json!(0), &json!(20)));
    let outcome = tell(&server, &pump, Lane::Results, all[15..25].to_vec()).await;
    assert_eq!((outcome.inserted, outcome.repeated), (5, 5));
    let outcome = tell(&server, &pump, Lane::Results, all[0..15].to_vec()).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (15, 30));
    assert_eq!(outcome.cursor.digest, all[29].digest, "found in an earlier batch's row");
    let outcome = tell(&server, &pump, Lane::Results, all.clone()).await;
    assert_eq!((outcome.inserted, outcome.repeated), (0, 30));
    assert!(outcome.changes.is_empty());

    let seen = ledger(admin.get("/api/v1/devices/pump-1").await);
    let expected = json!({ "epoch": EPOCH.to_string(), "received": 30, "complete_to": 30,
        "announced": 30, "missing": 0, "repeated": 35, "dropped": 0 });
    assert_eq!(seen, expected);
    assert_eq!(count(&server, "SELECT COUNT(*) AS n FROM results").await, 30);
    let mut tx = server.write().await;
    let cursors = store::fleet::lane_cursors(&mut tx, &tenant, &pump, EPOCH).await.unwrap();
    assert_eq!(cursors[1].upto, 30);
    assert_eq!((cursors[0].lane, cursors[0].upto), (Lane::Control, 0));
    drop(tx);
    server.stop().await;
}

/// A card that was put back numbers what it keeps anew, and tells it again.
pub(super) async fn a_result_told_again_under_a_new_log_is_one_row(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let body = |n, status| wire::pack(Kind::RunResult, &result(n, status));
    let rows = async || count(&server, "SELECT COUNT(*) AS n FROM results").await;
    tell(&server, &pump, Lane::Results, results(5)).await;
    let kept = lane([3, 4, 5, 6].map(|n| body(n, RunStatus::Completed)).to_vec());
    let new_log = Epoch(EPOCH.0 + 1);
    let outcome = tell_under(&server, &pump, new_log, Lane::Results, kept.clone()).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (4, 4), "all is acknowledged");
    assert_eq!(outcome.cursor.digest, kept[3].digest);
    assert_eq!(outcome.changes.len(), 4);
    assert_eq!(rows().await, 6, "one row a run");
    // Two copies at work: what the other says of the same run is kept beside it.
    let other = lane(vec![body(1, RunStatus::Failed), body(2, RunStatus::Completed)]);
    tell_under(&server, &pump, Epoch(EPOCH.0 + 2), Lane::Results, other).await;
    assert_eq!(rows().await, 7);
    server.stop().await;
}

pub(super) async fn history_is_taken_in_order(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let records = history(&events(1));
    let outcome = tell(&server, &pump, Lane::History, records[2..].to_vec()).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (0, 0), "nothing beyond a gap");
    let status = async |run: &str| admin.get(&format!("/api/v1/executions/pump-1/{run}")).await;
    let run = run_id(1);
    for (upto, expected) in [(1, "pending"), (2, "running"), (4, "running"), (5, "completed")] {
        let outcome = tell(&server, &pump, Lane::History, records[..upto].to_vec()).await;
        assert_eq!(outcome.cursor.upto, upto as u64);
        assert_eq!(outcome.cursor.digest, records[upto - 1].digest);
        assert_eq!(status(run.as_str()).await["run"]["status"], expected);
        let list = admin.get("/api/v1/executions").await;
        assert_eq!(list["items"][0]["status"], expected);
    }
    let events = admin.get(&format!("/api/v1/executions/pump-1/{run}/events?limit=3")).await;
    assert_eq!(events["items"][2]["name"], "step_started");
    let cursor = events["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/executions/pump-1/{run}/events?limit=3&cursor={cursor}");
    let rest = admin.get(&path).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let view = status(run.as_str()).await;
    assert_eq!(view["run"]["steps"][0]["status"], "succeeded");
    assert_eq!(view["run"]["inputs"].to_string(), "{\"limit\":21.0}");
    assert_eq!(view["result_seq"], json!(null));
    server.stop().await;
}

pub(super) async fn results_and_history_agree(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let mut failed = result(1, RunStatus::Failed);
    failed.error = Some(openclaw_protocol::run::RunError {
        attempt: 1,
        ..openclaw_protocol::run::RunError::new("plugin.trap", "<script>alert(1)</script>")
    });
    tell(&server, &pump, Lane::Results, lane(vec![wire::pack(Kind::RunResult, &failed)])).await;
    let path = format!("/api/v1/executions/pump-1/{}", run_id(1));
    let seen = admin.get(&path).await;
    assert_eq!((&seen["run"]["status"], &seen["result_seq"]), (&json!("failed"), &json!(1)));
    assert_eq!(seen["run"]["steps"], json!([]));
    // History that comes late fills in the steps and does not unsettle the run.
    tell(&server, &pump, Lane::History, history(&events(1)[..3])).await;
    let seen = admin.get(&path).await;
    assert_eq!(seen["run"]["status"], "failed");
    assert_eq!(seen["run"]["steps"].as_array().unwrap().len(), 1);
    let list = admin.get("/api/v1/executions?status=failed").await;
    assert_eq!(list["items"][0]["error"]["code"], "plugin.trap");
    server.stop().await;
}

pub(super) async fn reports_answer_wishes(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let wishes = admin.post("/api/v1/workflows/count/run", json!({ "target": target })).await;
    let id = wishes["requests"][0]["id"].as_str().unwrap();
    let refusal = Refusal { code: "plugin.missing".to_owned(), message: "no greeter".to_owned() };
    let said = vec![
        inventory(&["proc"]),
        answer(id, run_id(4)),
        Report::Desired { revision: 1, refused: vec![("count".to_owned(), refusal)] },
        Report::Security { code: "permission.denied".to_owned(), message: "http".to_owned() },
    ];
    let outcome = tell(&server, &pump, Lane::Control, reports(said)).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (4, 4));
    let wish = admin.get(&format!("/api/v1/requests/{id}")).await;
    assert_eq!((&wish["run"], &wish["answered"]), (&json!(run_id(4).as_str()), &json!(true)));
    let seen = admin.get("/api/v1/devices/pump-1").await;
    assert_eq!(seen["inventory"]["files"], json!(["proc"]));
    assert_eq!(seen["refused"]["count"]["code"], "plugin.missing");
    let deployments = admin.get("/api/v1/deployments").await;
    assert_eq!(deployments["items"][0]["devices"][0]["state"], "refused");
    let events = "SELECT COUNT(*) AS n FROM security_events WHERE code = 'permission.denied'";
    assert_eq!(count(&server, events).await, 1);
    server.stop().await;
}

pub(super) async fn what_cannot_be_read_is_kept(database: Database) {
    let server = Server::start(&database).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let good = |n| wire::pack(Kind::RunResult, &result(n, RunStatus::Completed));
    let records = lane(vec![good(1), vec![9, 9, 9], good(3)]);
    let outcome = tell(&server, &pump, Lane::Results, records).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (3, 3));
    assert_eq!(count(&server, "SELECT COUNT(*) AS n FROM results").await, 2);
    assert_eq!(count(&server, "SELECT seq AS n FROM parked_records").await, 2);
    // Records that do not follow each other are taken, and somebody is told.
    let mut strange = history(&events(1));
    strange[1].digest ^= 1;
    tell(&server, &pump, Lane::History, strange).await;
    let forks = "SELECT COUNT(*) AS n FROM security_events WHERE code = 'sync.fork'";
    assert_eq!(count(&server, forks).await, 1);
    server.stop().await;
}

pub(super) async fn what_a_quota_dropped_leaves_no_gap(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let all = results(6);
    let gone = Dropped { first: 2, last: 4, reason: "quota".to_owned() };
    let marker = Record { seq: 4, digest: all[3].digest, body: wire::pack(Kind::Dropped, &gone) };
    tell(&server, &pump, Lane::Results, all[4..].to_vec()).await;
    let outcome = tell(&server, &pump, Lane::Results, vec![all[0].clone()]).await;
    assert_eq!(outcome.cursor.upto, 1);
    let outcome = tell(&server, &pump, Lane::Results, vec![marker.clone()]).await;
    assert_eq!((outcome.inserted, outcome.cursor.upto), (0, 6));
    let outcome = tell(&server, &pump, Lane::Results, vec![marker]).await;
    assert_eq!(outcome.repeated, 1);
    let seen = &admin.get("/api/v1/devices/pump-1").await["ledger"][0];
    assert_eq!(
        (&seen["received"], &seen["dropped"], &seen["missing"]),
        (&json!(3), &json!(3), &json!(0))
    );
    server.stop().await;
}

pub(super) async fn blobs_are_read_in_parts(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    enrol(&server, "pump-2", &[]).await;
    let (_, plugin) = admin.publish(&manifest("greeter", "1.0.0", ""), MODULE).await;
    let digest = Digest::parse(plugin["digest"].as_str().unwrap()).unwrap();
    let tenant = server.tenant();
    let mut tx = server.write().await;
    let mut read = Vec::new();
    while read.len() < MODULE.len() {
        let offset = u32::try_from(read.len()).unwrap();
        let part = store::fleet::blob(&mut tx, &tenant, &pump, digest, offset, 7).await.unwrap();
        let (total, bytes) = part.unwrap();
        assert_eq!(total as usize, MODULE.len());
        read.extend(bytes);
    }
    assert_eq!(read, MODULE);
    let beyond = store::fleet::blob(&mut tx, &tenant, &pump, digest, 10_000, 7).await.unwrap();
    assert_eq!(beyond, Some((u32::try_from(MODULE.len()).unwrap(), Vec::new())));
    let unknown = store::fleet::blob(&mut tx, &tenant, &pump, Digest([7; 32]), 0, 7).await.unwrap();
    assert_eq!(unknown, None);
    drop(tx);
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let mut tx = server.write().await;
    let announced = store::fleet::desired(&mut tx, &tenant, &pump).await.unwrap().unwrap();
    let own = store::fleet::blob(&mut tx, &tenant, &pump, announced.digest, 0, 1 << 20);
    let (total, bytes) = own.await.unwrap().unwrap();
    assert_eq!((total, bytes.len()), (announced.size, announced.size as usize));
    let other = device("pump-2");
    let others = store::fleet::blob(&mut tx, &tenant, &other, announced.digest, 0, 10);
    assert_eq!(others.await.unwrap(), None, "another device's document is none of its business");
    drop(tx);
    server.stop().await;
}

pub(super) async fn a_join_code_is_good_once(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let body = json!({ "device_id": "pump-1", "labels": { "site": "a" }, "minutes": 5 });
    let made = admin.post("/api/v1/devices/enroll-codes", body).await;
    let code = made["code"].as_str().unwrap();
    let (secret, fingerprint) = code.split_once('.').unwrap();
    assert_eq!(fingerprint, server.ctx.ca.fingerprint().to_string());
    assert!(made["command"].as_str().unwrap().contains(&server.ctx.public_url()));
    let hash = random::hash(secret);
    let take = async |at_ms| {
        let mut tx = server.write().await;
        let taken = store::join_codes::take(&mut tx, &hash, at_ms).await.unwrap();
        tx.commit().await.unwrap();
        taken
    };
    let now_ms = server.now_ms();
    assert!(take(now_ms + 5 * 60_000).await.is_none(), "ended");
    let row: JoinCodeRow = take(now_ms + 5 * 60_000 - 1).await.unwrap();
    assert_eq!((row.device.as_str(), row.labels["site"].as_str()), ("pump-1", "a"));
    assert!(take(now_ms).await.is_none(), "used");
    enrol(&server, "pump-1", &[]).await;
    let body = Some(json!({ "device_id": "pump-1" }));
    let exists = (409, "device.exists");
    admin.refused(Method::POST, "/api/v1/devices/enroll-codes", body, exists).await;
    server.stop().await;
}

pub(super) async fn security_events_are_shown(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let (one, two) = (enrol(&server, "pump-1", &[]).await, enrol(&server, "pump-2", &[]).await);
    let noticed = |code: &str| {
        reports(vec![Report::Security { code: code.to_owned(), message: "<b>".to_owned() }])
    };
    tell(&server, &one, Lane::Control, noticed("first")).await;
    server.pass_ms(60_000);
    tell(&server, &two, Lane::Control, noticed("second")).await;
    server.pass_ms(60_000);
    let mut third = noticed("first");
    third.extend(noticed("third"));
    let third = lane(third.into_iter().map(|record| record.body).collect());
    tell(&server, &one, Lane::Control, third).await;
    let path = "/api/v1/security-events";
    let viewer = server.session(crate::config::DEFAULT_TENANT, Role::Viewer).await;
    let first_page = viewer.get(&format!("{path}?limit=2")).await;
    let codes = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(codes(&first_page), ["third", "second"], "latest first");
    let event = &first_page["items"][1];
    assert_eq!((&event["device"], &event["message"]), (&json!("pump-2"), &json!("<b>")));
    assert_eq!(event["received_at"], crate::clock::rfc3339(START_MS + 60_000));
    assert_eq!(event["at"], crate::clock::rfc3339(START_MS + 500), "by the device's clock");
    let cursor = first_page["next_cursor"].as_str().unwrap();
    let rest = viewer.get(&format!("{path}?limit=2&cursor={cursor}")).await;
    assert_eq!((codes(&rest), &rest["next_cursor"]), (vec!["first".to_owned()], &json!(null)));
    let of_one = admin.get(&format!("{path}?device=pump-1")).await;
    assert_eq!(codes(&of_one), ["third", "first"]);
    let stranger = server.session("other", Role::Admin).await;
    assert_eq!(stranger.get(path).await["items"], json!([]));
    let malformed = (400, "request.malformed");
    admin.refused(Method::GET, &format!("{path}?cursor=x"), None, malformed).await;
    server.stop().await;
}

/// By bytes, not only by events; and it says so.
pub(super) async fn a_view_of_a_long_run_is_bounded(database: Database) {
    const STEPS: u32 = 120;
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let all = events(1);
    let large = "x".repeat(100_000);
    let settled = |n: u32| RunEventRecord {
        run: run_id(1),
        seq: 3 + n,
        at: super::facts::stamp(1_000),
        event: RunEvent::StepSettled {
            step: StepPath(format!("one#{n}")),
            status: StepStatus::Succeeded,
            attempts: 1,
            output: Some(JsonText::of(&json!(large))),
            error: None,
        },
    };
    let mut told = all[..3].to_vec();
    told.extend((1..=STEPS).map(settled));
    told.push(RunEventRecord { seq: 4 + STEPS, ..all[4].clone() });
    tell(&server, &pump, Lane::History, history(&told)).await;
    let path = format!("/api/v1/executions/pump-1/{}", run_id(1));
    let seen = admin.get(&path).await;
    assert_eq!((&seen["truncated"], &seen["run"]["status"]), (&json!(true), &json!("completed")));
    let steps = seen["run"]["steps"].as_array().unwrap().len();
    assert!((2..STEPS as usize).contains(&steps), "{steps}");
    assert!(seen.to_string().len() < 9 * 1024 * 1024);
    // Its events are all there, page by page.
    let (mut events, mut cursor) = (0, String::new());
    loop {
        let page = admin.get(&format!("{path}/events?limit=200{cursor}")).await;
        assert!(page.to_string().len() < 5 * 1024 * 1024);
        events += page["items"].as_array().unwrap().len();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(events, told.len());
    tell(&server, &pump, Lane::Results, results(2)).await;
    assert_eq!(admin.get(&path).await["truncated"], true);
    let other = admin.get(&format!("/api/v1/executions/pump-1/{}", run_id(2))).await;
    assert_eq!(other["truncated"], false);
    server.stop().await;
}
