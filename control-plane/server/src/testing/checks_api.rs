//! What the API promises: problems, versions, deployments, wishes, pages, streams.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::facts::{
    CALLS, COUNT, COUNT_2, MODULE, device, enrol, inventory, manifest, reports, results, tell,
};
use super::server::{Database, Server};
use crate::context::NudgeKind;
use crate::store::{self, args};

pub(super) async fn wrong_requests_are_problems(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let users = "/api/v1/users";
    let malformed = (400, "request.malformed");
    for (method, path, body, expected) in [
        (Method::POST, users, json!({"username": "x", "role": "king"}), malformed),
        (Method::POST, users, json!({"username": "x", "role": "viewer", "admin": true}), malformed),
        (Method::POST, users, json!([]), malformed),
        (Method::POST, users, json!({"username": "a b", "role": "viewer"}), (422, "user.name")),
        (
            Method::POST,
            users,
            json!({"username": "x", "role": "viewer", "password": "short"}),
            (422, "user.password"),
        ),
        (Method::GET, "/api/v1/devices?limit=0", Value::Null, malformed),
        (Method::GET, "/api/v1/devices?limit=x", Value::Null, malformed),
        (Method::GET, "/api/v1/devices?colour=red", Value::Null, malformed),
        (Method::GET, "/api/v1/devices?cursor=%00", Value::Null, malformed),
        (Method::GET, "/api/v1/executions?status=lost", Value::Null, malformed),
        (Method::GET, "/api/v1/devices/no%2Fdevice", Value::Null, (404, "not_found")),
        (Method::GET, "/api/v1/devices/%FF", Value::Null, (404, "not_found")),
        (Method::GET, "/api/v1/workflows/x/first", Value::Null, (404, "not_found")),
        (Method::GET, "/api/v1/nothing", Value::Null, (404, "route.unknown")),
        (Method::PATCH, users, Value::Null, (405, "route.method")),
        (
            Method::POST,
            "/api/v1/deployments",
            json!({"workflow": "x", "target": {}}),
            (404, "not_found"),
        ),
    ] {
        let body = (!body.is_null()).then_some(body);
        admin.refused(method, path, body, expected).await;
    }
    let request = admin.request(Method::POST, users).body("{}");
    assert_eq!(admin.send(request).await.0, 400, "a body without its content type");
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let json_kind = ("content-type", "application/json");
    let request = admin.request(Method::POST, users).header(json_kind.0, json_kind.1).body(deep);
    assert_eq!(admin.send(request).await.0, 400, "a body that is nested deeply");
    let huge = "x".repeat(2 * 1024 * 1024);
    let request = admin.request(Method::POST, "/api/v1/workflows").body(huge);
    assert_eq!(admin.send(request).await.0, 413);
    let huge = vec![0; openclaw_protocol::limits::MODULE_BYTES + 1];
    let (status, problem) = admin.publish(&manifest("huge", "1.0.0", ""), &huge).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("plugin.module")));
    let huge = vec![0; openclaw_protocol::limits::MODULE_BYTES + 1024 * 1024];
    assert_eq!(admin.publish(&manifest("huge", "1.0.0", ""), &huge).await.0, 413);
    admin.get("/api/v1/health").await;
    server.stop().await;
}

pub(super) async fn workflow_versions_never_change(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let first = admin.apply(COUNT).await;
    assert_eq!((&first["revision"], &first["source"]), (&json!(1), &json!(COUNT)));
    assert_eq!(first["triggers"], json!(["interval"]));
    let request = admin.request(Method::POST, "/api/v1/workflows").body(format!("# same\n{COUNT}"));
    let (status, again) = admin.send(request).await;
    assert_eq!((status.as_u16(), &again), (200, &first), "the same content is the same version");
    let second = admin.apply(COUNT_2).await;
    assert_eq!(second["revision"], 2);
    assert_ne!(first["hash"], second["hash"]);
    assert_eq!(admin.get("/api/v1/workflows/count/1").await, first);
    let versions = admin.get("/api/v1/workflows/count").await;
    let numbers: Vec<&Value> =
        versions["items"].as_array().unwrap().iter().map(|v| &v["revision"]).collect();
    assert_eq!(numbers, [2, 1]);
    let wrong = "workflow: x\nsteps:\n  - id: a\n    sett: {}\n";
    let request = admin.request(Method::POST, "/api/v1/workflows").body(wrong);
    let (status, problem) = admin.send(request).await;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("workflow.invalid")));
    assert_eq!(problem["errors"][0]["line"], 3.max(problem["errors"][0]["line"].as_u64().unwrap()));
    admin.refused(Method::GET, "/api/v1/workflows/x", None, (404, "not_found")).await;
    let request = admin.request(Method::POST, "/api/v1/workflows/validate").body(wrong);
    let (_, told) = admin.send(request).await;
    assert_eq!((&told["valid"], &told["errors"]), (&json!(false), &problem["errors"]));
    server.stop().await;
}

pub(super) async fn plugins_are_inspected_and_never_change(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let good = manifest("greeter", "1.0.0", "");
    let (status, first) = admin.publish(&good, MODULE).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(first["exports"][0], "execute");
    assert_eq!(admin.publish(&good, MODULE).await, (200.try_into().unwrap(), first.clone()));
    let changed = manifest("greeter", "1.0.0", "author = 'somebody else'");
    assert_eq!(admin.publish(&changed, MODULE).await.1["code"], "plugin.exists");
    let missing = manifest("greeter", "1.1.0", "[actions.dance]");
    let (_, problem) = admin.publish(&missing, MODULE).await;
    assert_eq!(problem["code"], "plugin.export_missing");
    assert!(problem["detail"].as_str().unwrap().contains("`dance`"), "{problem}");
    let (_, problem) = admin.publish(&manifest("g2", "1.0.0", ""), b"not wasm").await;
    assert_eq!(problem["code"], "plugin.module");
    let small = manifest("g3", "1.0.0", "[limits]\nmemory_bytes = 1000");
    assert_eq!(admin.publish(&small, MODULE).await.1["code"], "plugin.memory");
    assert_eq!(admin.publish("name = ", MODULE).await.1["code"], "plugin.manifest");
    let request = admin.request(Method::POST, "/api/v1/plugins").body("x");
    assert_eq!(admin.send(request).await.0, 400);
    let all = admin.get("/api/v1/plugins").await;
    assert_eq!(all["items"], json!([first]), "what was refused left nothing behind");
    assert_eq!(admin.get("/api/v1/plugins/greeter/1.0.0").await, first);
    let module = "/api/v1/plugins/greeter/1.0.0/module";
    assert_eq!(admin.get(module).await, String::from_utf8_lossy(MODULE).as_ref());
    let other = "/api/v1/plugins/greeter/1.0.1/module";
    admin.refused(Method::GET, other, None, (404, "not_found")).await;
    server.stop().await;
}

/// The newest desired state of a device, with its signature checked as a device would.
async fn desired(server: &Server, id: &str) -> Desired {
    let mut tx = server.ctx.db.read().await.unwrap();
    let found = store::devices::desired_document(&mut tx, &server.tenant(), &device(id)).await;
    let bytes = found.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    let key = data_encoding::HEXLOWER.decode(server.ctx.ca.desired_key_hex().as_bytes()).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
    key.verify(&signed.document, &signed.signature).unwrap();
    wire::unpack(Kind::Desired, &signed.document, DESIRED_BYTES).unwrap()
}

pub(super) async fn a_deployment_pins_and_signs_what_each_device_runs(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    for id in ["pump-1", "pump-2"] {
        enrol(&server, id, &[("site", "a")]).await;
    }
    for version in ["1.0.0", "1.2.0", "2.0.0"] {
        admin.publish(&manifest("greeter", version, "[permissions]\ntime = true"), MODULE).await;
    }
    admin.apply(CALLS).await;
    let mut nudges = server.ctx.nudges.subscribe();
    let body = json!({ "workflow": "calls", "target": { "labels": { "site": "a" } } });
    let deployment = admin.post("/api/v1/deployments", body).await;
    assert_eq!(deployment["devices"].as_array().unwrap().len(), 2);
    assert_eq!(deployment["devices"][0]["state"], "pending");
    for id in ["pump-1", "pump-2"] {
        let nudge = nudges.try_recv().unwrap();
        assert_eq!((nudge.device.as_str(), nudge.kind), (id, NudgeKind::Desired));
        let desired = desired(&server, id).await;
        assert_eq!((desired.revision, desired.generation), (1, server.ctx.generation));
        assert_eq!(desired.device.as_str(), id);
        let [pin] = desired.plugins.as_slice() else { panic!("{:?}", desired.plugins) };
        assert_eq!((pin.version.as_str(), pin.granted.time), ("1.2.0", true));
        assert_eq!(pin.actions, [("execute".to_owned(), "execute".to_owned())]);
        assert_eq!(desired.workflows[0].pins, [("greeter.execute@^1".to_owned(), 0)]);
    }
    // A newer version does not slip in by itself, and nothing changes without a cause.
    admin.publish(&manifest("greeter", "1.3.0", ""), MODULE).await;
    admin.apply(COUNT).await;
    let body = json!({ "workflow": "count", "target": { "devices": ["pump-1"] } });
    admin.post("/api/v1/deployments", body).await;
    let (one, two) = (desired(&server, "pump-1").await, desired(&server, "pump-2").await);
    assert_eq!((one.revision, one.workflows.len(), two.revision), (2, 2, 1));
    assert_eq!(one.plugins[0].version, "1.2.0");
    // The devices say what is in force.
    let said = openclaw_protocol::report::Report::Desired { revision: 2, refused: Vec::new() };
    tell(&server, &device("pump-1"), Lane::Control, reports(vec![said])).await;
    let path = format!("/api/v1/deployments/{}", deployment["id"].as_str().unwrap());
    let seen = admin.get(&path).await;
    assert_eq!(seen["devices"][0]["state"], "active");
    assert_eq!(seen["devices"][1]["state"], "pending");
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    assert!(desired(&server, "pump-2").await.workflows.is_empty());
    assert_eq!(desired(&server, "pump-1").await.workflows.len(), 1);
    server.stop().await;
}

pub(super) async fn what_a_device_lacks_is_refused_by_name(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.apply(CALLS).await;
    let deployments = "/api/v1/deployments";
    let body = Some(json!({ "workflow": "calls", "target": { "devices": ["pump-1"] } }));
    let missing = (422, "deployment.plugin_missing");
    let refused = |code| admin.refused(Method::POST, deployments, body.clone(), code);
    let problem = refused(missing).await;
    assert_eq!(problem["errors"][0]["code"], "E_PLUGIN_MISSING");
    admin.publish(&manifest("greeter", "2.0.0", ""), MODULE).await;
    let problem = refused(missing).await;
    assert_eq!(problem["errors"][0]["code"], "E_PLUGIN_VERSION");
    let other = manifest("greeter", "1.0.0", "[actions.wave]\nexport = 'execute'");
    admin.publish(&other, MODULE).await;
    let problem = refused(missing).await;
    assert_eq!(problem["errors"][0]["code"], "E_ACTION_MISSING");
    let reads = manifest("greeter", "1.5.0", "[permissions]\nfiles = ['proc', 'sys']");
    admin.publish(&reads, MODULE).await;
    tell(&server, &device("pump-1"), Lane::Control, reports(vec![inventory(&["proc"])])).await;
    let problem = refused((422, "deployment.permission_missing")).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`pump-1`") && detail.contains("`sys`"), "{detail}");
    assert_eq!(admin.get(deployments).await["items"], json!([]), "nothing half-stored");
    assert_eq!(admin.get("/api/v1/devices/pump-1").await["desired_revision"], 0);
    let body = Some(json!({ "workflow": "calls", "target": { "devices": ["pump-9"] } }));
    admin.publish(&manifest("greeter", "1.6.0", ""), MODULE).await;
    admin.refused(Method::POST, deployments, body, (404, "not_found")).await;
    let body = Some(json!({ "workflow": "calls", "target": {} }));
    admin.refused(Method::POST, deployments, body, (422, "deployment.target")).await;
    server.stop().await;
}

pub(super) async fn a_rollback_leads_back_and_forth(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    let target = json!({ "devices": ["pump-1"] });
    let body = json!({ "workflow": "count", "target": target });
    admin.apply(COUNT).await;
    let first = admin.post("/api/v1/deployments", body.clone()).await;
    let first_rollback = format!("/api/v1/deployments/{}/rollback", first["id"].as_str().unwrap());
    let none = (409, "deployment.no_previous");
    admin.refused(Method::POST, &first_rollback, None, none).await;
    admin.apply(COUNT_2).await;
    server.pass_ms(1);
    let second = admin.post("/api/v1/deployments", body).await;
    assert_eq!((&second["revision"], &second["previous_revision"]), (&json!(2), &json!(1)));
    let version = |desired: Desired| desired.workflows[0].version.clone();
    assert_eq!(version(desired(&server, "pump-1").await), "2");
    let rollback = format!("/api/v1/deployments/{}/rollback", second["id"].as_str().unwrap());
    let back = admin.post(&rollback, json!({})).await;
    assert_eq!((&back["revision"], &back["previous_revision"]), (&json!(1), &json!(2)));
    let after = desired(&server, "pump-1").await;
    assert_eq!((after.revision, version(after)), (3, "1".to_owned()));
    admin.post(&rollback, json!({})).await;
    assert_eq!(version(desired(&server, "pump-1").await), "2");
    server.stop().await;
}

pub(super) async fn labels_move_deployments(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.apply(COUNT).await;
    let labels = json!({ "site": "a", "line": "3" });
    let body = json!({ "workflow": "count", "target": { "labels": { "site": "a" } } });
    let deployment = admin.post("/api/v1/deployments", body).await;
    assert_eq!(deployment["devices"], json!([]));
    let put =
        |labels: Value| admin.call(Method::PUT, "/api/v1/devices/pump-1/labels", Some(labels));
    let (status, seen) = put(labels.clone()).await;
    assert_eq!(
        (status.as_u16(), &seen["labels"], &seen["desired_revision"]),
        (200, &labels, &json!(1))
    );
    assert_eq!(desired(&server, "pump-1").await.workflows.len(), 1);
    let (_, seen) = put(json!({ "site": "b" })).await;
    assert_eq!(seen["desired_revision"], 2);
    assert!(desired(&server, "pump-1").await.workflows.is_empty());
    let (status, _) = put(json!({ "site": "<script>" })).await;
    assert_eq!(status, 422);
    server.stop().await;
}

pub(super) async fn wishes_are_written_down_in_order(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    enrol(&server, "pump-2", &[]).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    let run = "/api/v1/workflows/count/run";
    let body = json!({ "target": target, "inputs": { "limit": 21.0 } });
    let not_there = (409, "run.not_deployed");
    admin.refused(Method::POST, run, Some(body.clone()), not_there).await;
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let mut nudges = server.ctx.nudges.subscribe();
    let first = admin.post(run, body.clone()).await;
    let second = admin.post(run, body).await;
    assert_eq!(nudges.try_recv().unwrap().kind, NudgeKind::Commands);
    let request = &first["requests"][0];
    assert_eq!((&request["device"], &request["answered"]), (&json!("pump-1"), &json!(false)));

    let mut tx = server.write().await;
    let tenant = server.tenant();
    let records =
        store::fleet::commands_from(&mut tx, &tenant, &pump, (1, 3), 1 << 20).await.unwrap();
    assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), [1, 2]);
    let mut digest = 0;
    for record in &records {
        digest = openclaw_protocol::sync::chain(digest, &record.body);
        assert_eq!(record.digest, digest);
    }
    let one = store::fleet::commands_from(&mut tx, &tenant, &pump, (2, 3), 1).await.unwrap();
    assert_eq!(one, records[1..], "at least one, however large");
    let holding = store::fleet::commands_holding(&mut tx, &tenant, &pump).await.unwrap();
    assert_eq!((holding.oldest, holding.next), (1, 3));
    store::fleet::set_commands_acked(&mut tx, &tenant, &pump, 2).await.unwrap();
    store::fleet::set_commands_acked(&mut tx, &tenant, &pump, 1).await.unwrap();
    const ACKED: &str = "SELECT commands_acked AS n FROM devices WHERE tenant = $1 AND id = $2";
    let row = tx.row(ACKED, args![&tenant, &pump]).await.unwrap().unwrap();
    assert_eq!(row.count("n").unwrap(), 2, "never back");
    drop(tx);

    // A run that is known can be cancelled while it lasts, and retried after.
    tell(&server, &pump, Lane::Results, results(1)).await;
    let run = format!("/api/v1/executions/pump-1/{}", super::facts::run_id(1));
    let cancel = format!("{run}/cancel");
    admin.refused(Method::POST, &cancel, None, (409, "run.settled")).await;
    let again = admin.post(&format!("{run}/retry"), json!({})).await;
    assert_ne!(again["requests"][0]["id"], second["requests"][0]["id"]);
    let unknown = "/api/v1/executions/pump-1/000000000000-9/cancel";
    admin.refused(Method::POST, unknown, None, (404, "not_found")).await;
    let id = again["requests"][0]["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/api/v1/requests/{id}")).await, again["requests"][0]);
    server.stop().await;
}

pub(super) async fn inputs_that_a_device_would_refuse_are_refused(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    enrol(&server, "pump-2", &[]).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let run = "/api/v1/workflows/count/run";
    for (inputs, pointer, reason) in [
        (json!({ "limit": 101 }), "/inputs/limit", "input `limit` must be at most 100"),
        (json!({ "zones": [1, "2"] }), "/inputs/zones/1", "must be of type integer"),
        (json!({ "limits": 1 }), "/inputs/limits", "did you mean `limit`?"),
        (json!({ "zones": vec![1; 40_000] }), "/inputs", "the most is 65536"),
    ] {
        let body = json!({ "target": target, "inputs": inputs });
        let invalid = (422, "inputs.invalid");
        let problem = admin.refused(Method::POST, run, Some(body), invalid).await;
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], pointer, "{problem}");
        assert!(error["message"].as_str().unwrap().contains(reason), "{problem}");
    }
    // What another device runs does not matter; what this one shall run does.
    admin.apply(COUNT_2).await;
    let other = json!({ "devices": ["pump-2"] });
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": other })).await;
    let limit = json!({ "limit": 21 });
    admin.post(run, json!({ "target": target, "inputs": limit })).await;
    let both = json!({ "target": { "devices": ["pump-1", "pump-2"] }, "inputs": limit });
    let problem = admin.refused(Method::POST, run, Some(both), (422, "inputs.invalid")).await;
    assert!(problem["detail"].as_str().unwrap().starts_with("version 2 of workflow `count`"));
    let mut tx = server.write().await;
    let holding = store::fleet::commands_holding(&mut tx, &server.tenant(), &pump).await.unwrap();
    assert_eq!(holding.next, 2, "one wish was written down");
    drop(tx);
    server.stop().await;
}

pub(super) async fn the_same_key_is_the_same_wish(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    let send = |path: &'static str, key: &'static str, body: Value| {
        admin.send(admin.request(Method::POST, path).header("idempotency-key", key).json(&body))
    };
    let deployment = json!({ "workflow": "count", "target": target });
    let first = send("/api/v1/deployments", "d1", deployment.clone()).await;
    assert_eq!(send("/api/v1/deployments", "d1", deployment).await, first);
    let body = json!({ "target": target });
    let run = "/api/v1/workflows/count/run";
    let first = send(run, "r1", body.clone()).await;
    assert_eq!(first.0, 202);
    assert_eq!(send(run, "r1", body.clone()).await, first);
    let other = json!({ "target": target, "inputs": { "n": 1 } });
    assert_eq!(send(run, "r1", other).await.1["code"], "idempotency.reused");
    assert_ne!(send(run, "r2", body.clone()).await.1, first.1);
    assert_eq!(send(run, "", body).await.0, 400);
    let mut tx = server.write().await;
    let tenant = server.tenant();
    let holding = store::fleet::commands_holding(&mut tx, &tenant, &pump).await.unwrap();
    assert_eq!(holding.next, 3, "two wishes");
    drop(tx);
    server.stop().await;
}

pub(super) async fn pages_hold_everything_once(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    for n in 0..7 {
        enrol(&server, &format!("pump-{n}"), &[]).await;
    }
    let pump = device("pump-0");
    for record in results(5) {
        // Two in each millisecond, so that the order needs more than the time.
        tell(&server, &pump, Lane::Results, vec![record.clone()]).await;
        server.pass_ms(i64::try_from(record.seq % 2).unwrap());
    }
    for (list, count) in [("devices", 7), ("executions", 5)] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin.get(&format!("/api/v1/{list}?limit=2{cursor}")).await;
            let items = page["items"].as_array().unwrap();
            assert!(items.len() <= 2);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let mut once = seen.clone();
        once.sort();
        once.dedup();
        assert_eq!((seen.len(), once.len()), (count, count), "{list}: {seen:?}");
    }
    let page = admin.get("/api/v1/devices/pump-0/results?limit=3").await;
    let rest =
        format!("/api/v1/devices/pump-0/results?cursor={}", page["next_cursor"].as_str().unwrap());
    let rest = admin.get(&rest).await;
    let rows =
        [page["items"].as_array().unwrap().clone(), rest["items"].as_array().unwrap().clone()];
    let numbers: Vec<u64> = rows.concat().iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let filtered = admin.get("/api/v1/executions?device=pump-1").await;
    assert_eq!(filtered["items"], json!([]));
    let filtered = admin.get("/api/v1/executions?workflow=count&status=completed&device=pump-0");
    assert_eq!(filtered.await["items"].as_array().unwrap().len(), 5);
    server.stop().await;
}

pub(super) async fn changes_are_streamed_and_resumed(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let open = async |last: &str| {
        let request = admin.request(Method::GET, "/api/v1/events").header("last-event-id", last);
        request.send().await.unwrap()
    };
    let mut live = admin.request(Method::GET, "/api/v1/events").send().await.unwrap();
    assert_eq!(live.headers()["content-type"], "text/event-stream");
    tell(&server, &pump, Lane::Results, results(2)).await;
    let text = read_until(&mut live, "id: 2").await;
    assert!(
        text.contains("event: run\ndata: {\"device\":\"pump-1\"") || text.contains("event: run")
    );
    let mut resumed = open("1").await;
    let text = read_until(&mut resumed, "id: 2").await;
    assert!(!text.contains("id: 1\n"), "{text}");
    let mut strange = open("77").await;
    assert!(read_until(&mut strange, "event: reset").await.contains("event: reset"));
    // The streams do not keep the server from stopping.
    let stopping = tokio::time::timeout(Duration::from_secs(8), server.stop());
    assert!(stopping.await.is_ok(), "stopping took too long");
}

async fn read_until(response: &mut reqwest::Response, wanted: &str) -> String {
    let read = async {
        let mut text = String::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if text.contains(wanted) {
                return text;
            }
        }
        panic!("the stream ended before `{wanted}`: {text}")
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap()
}

pub(super) async fn pages_and_probes_are_served(database: Database) {
    let server = Server::start(&database).await;
    let nobody = server.nobody();
    for (path, part) in [
        ("/", "/console/console.js"),
        ("/console/console.js", "EventSource"),
        ("/console/words.js", "工作流"),
        ("/console/talk.js", "/decisions"),
        ("/console/record.js", "/recordings"),
        ("/console/console.css", ".badge"),
        ("/status.html", "class=\"value online\">0</td>"),
        ("/livez", "ok"),
        ("/readyz", "ok"),
        ("/api/openapi.json", "\"3.1.0\""),
    ] {
        let response = nobody.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.contains("script-src 'self';") && !policy.contains("unsafe"), "{policy}");
        let text = response.text().await.unwrap();
        assert!(text.contains(part), "{path}: {text}");
    }
    assert_eq!(nobody.call(Method::GET, "/metrics", None).await.0, 401, "a proxy may be local");
    assert_eq!(nobody.call(Method::GET, "/console/nothing.js", None).await.0, 404);
    let mut tx = server.ctx.db.read().await.unwrap();
    assert!(tx.row("SELECT id FROM audit LIMIT 1", args![]).await.unwrap().is_some());
    drop(tx);
    server.stop().await;
}
