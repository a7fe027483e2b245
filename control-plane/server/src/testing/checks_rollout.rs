//! Which deployment decides, and where a roll-back leads.

use reqwest::Method;
use serde_json::{Value, json};

use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::facts::{
    CALLS, COUNT, COUNT_2, MODULE, device, enrol, inventory, manifest, reports, tell,
};
use super::server::{Client, Database, Server};
use crate::store;

const DEPLOYMENTS: &str = "/api/v1/deployments";

async fn desired(server: &Server, id: &str) -> Desired {
    let mut tx = server.ctx.db.read().await.unwrap();
    let found = store::devices::desired_document(&mut tx, &server.tenant(), &device(id)).await;
    let bytes = found.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    wire::unpack(Kind::Desired, &signed.document, DESIRED_BYTES).unwrap()
}

async fn deploy(admin: &Client<'_>, workflow: &str, revision: Option<u32>) -> Value {
    let target = json!({ "devices": ["pump-1"] });
    let body = json!({ "workflow": workflow, "revision": revision, "target": target });
    admin.post(DEPLOYMENTS, body).await
}

/// The clock is set back between the two.
pub(super) async fn the_later_deployment_decides_whatever_the_clock_says(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.apply(COUNT).await;
    admin.apply(COUNT_2).await;
    let first = deploy(&admin, "count", Some(1)).await;
    server.pass_ms(-3_600_000);
    let second = deploy(&admin, "count", Some(2)).await;
    assert_eq!(second["previous_revision"], 1);
    assert_eq!(desired(&server, "pump-1").await.workflows[0].version, "2");
    let listed = admin.get(&format!("{DEPLOYMENTS}?limit=1")).await;
    assert_eq!(listed["items"][0]["id"], second["id"], "the latest first");
    let cursor = listed["next_cursor"].as_str().unwrap();
    let rest = admin.get(&format!("{DEPLOYMENTS}?limit=1&cursor={cursor}")).await;
    assert_eq!((&rest["items"][0]["id"], &rest["next_cursor"]), (&first["id"], &Value::Null));
    let path = format!("{DEPLOYMENTS}/{}", second["id"].as_str().unwrap());
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(desired(&server, "pump-1").await.workflows[0].version, "1");
    server.stop().await;
}

pub(super) async fn a_rollback_leads_back_to_the_plugins_before(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    let reads = manifest("greeter", "1.0.0", "[permissions]\nfiles = ['proc']");
    admin.publish(&reads, MODULE).await;
    admin.apply(CALLS).await;
    deploy(&admin, "calls", None).await;
    admin.publish(&manifest("greeter", "1.1.0", ""), MODULE).await;
    let second = deploy(&admin, "calls", None).await;
    let version = async || desired(&server, "pump-1").await.plugins[0].version.clone();
    assert_eq!(version().await, "1.1.0");
    let rollback = format!("{DEPLOYMENTS}/{}/rollback", second["id"].as_str().unwrap());
    admin.post(&rollback, json!({})).await;
    assert_eq!(version().await, "1.0.0", "the same revision, other plugins");
    admin.post(&rollback, json!({})).await;
    assert_eq!(version().await, "1.1.0");
    // The same once more is nothing to go back from.
    let third = deploy(&admin, "calls", None).await;
    let path = format!("{DEPLOYMENTS}/{}/rollback", third["id"].as_str().unwrap());
    admin.refused(Method::POST, &path, None, (409, "deployment.no_previous")).await;

    // The device no longer offers what the old version reads.
    let said = reports(vec![inventory(&["sys"])]);
    tell(&server, &device("pump-1"), Lane::Control, said).await;
    let missing = (422, "deployment.permission_missing");
    let problem = admin.refused(Method::POST, &rollback, None, missing).await;
    assert!(problem["detail"].as_str().unwrap().contains("`proc`"), "{problem}");
    assert_eq!(version().await, "1.1.0", "nothing has changed");
    server.stop().await;
}
