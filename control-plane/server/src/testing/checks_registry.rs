//! The registry: what it refuses, what it chooses, who approves, who signs.

use reqwest::Method;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use openclaw_protocol::api::Role;
use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::plugin::{Manifest, statement};
use openclaw_protocol::wire::{self, Kind};
use openclaw_sandbox::digest_of;

use super::facts::{CALLS, MODULE, device, enrol, manifest};
use super::server::{Client, Database, Server};
use crate::config::DEFAULT_TENANT;
use crate::store::{self, args};

const PLUGINS: &str = "/api/v1/plugins";
const DEPLOYMENTS: &str = "/api/v1/deployments";

async fn desired(server: &Server, id: &str) -> Desired {
    let mut tx = server.ctx.db.read().await.unwrap();
    let found = store::devices::desired_document(&mut tx, &server.tenant(), &device(id)).await;
    let bytes = found.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    wire::unpack(Kind::Desired, &signed.document, DESIRED_BYTES).unwrap()
}

fn deploys() -> Value {
    json!({ "workflow": "calls", "target": { "devices": ["pump-1"] } })
}

async fn published(client: &Client<'_>, manifest: &str) -> Value {
    let (status, plugin) = client.publish(manifest, MODULE).await;
    assert_eq!(status, 201, "{plugin}");
    plugin
}

async fn audited(server: &Server, action: &str) -> i64 {
    let mut tx = server.ctx.db.read().await.unwrap();
    let count = "SELECT COUNT(*) AS n FROM audit WHERE action = $1";
    tx.row(count, args![action]).await.unwrap().unwrap().int("n").unwrap()
}

pub(super) async fn what_is_wrong_with_an_upload_is_told_at_once(database: Database) {
    let server = Server::start_with(&database, |config| config.plugins.max_fuel = 1_000_000).await;
    let admin = server.admin().await;
    let wrong = manifest(
        "greeter",
        "1.0.0",
        "[limits]\nfuel = 2000000\n[actions.dance]\ninput = { type = 'strin' }",
    );
    let (status, problem) = admin.publish(&wrong, MODULE).await;
    assert_eq!(status, 422, "{problem}");
    let codes: Vec<&str> =
        problem["errors"].as_array().unwrap().iter().map(|e| e["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["plugin.export_missing", "plugin.schema", "plugin.policy"]);
    assert_eq!(problem["code"], "plugin.export_missing");
    let unknown = manifest("greeter", "1.0.0", "[permissions]\nbluetooth = ['x']");
    let (_, problem) = admin.publish(&unknown, MODULE).await;
    assert_eq!(problem["code"], "plugin.manifest");
    assert!(problem["detail"].as_str().unwrap().contains("expected one of `http`"), "{problem}");
    let importing = wat_import("openclaw", "teleport");
    let (_, problem) = admin.publish(&manifest("greeter", "1.0.0", LOW), &importing).await;
    assert_eq!(problem["code"], "plugin.imports", "{problem}");
    // Cut off anywhere, the module is refused; and so is the form that carries it.
    for cut in [0, 4, 8, 20, MODULE.len() - 1] {
        let (_, problem) = admin.publish(&manifest("greeter", "1.0.0", LOW), &MODULE[..cut]).await;
        assert!(
            ["plugin.module", "plugin.export_missing"].contains(&problem["code"].as_str().unwrap()),
            "{cut}: {problem}"
        );
    }
    let request = admin
        .request(Method::POST, PLUGINS)
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\nname = 'x'");
    assert_eq!(admin.send(request).await.1["code"], "request.malformed");
    assert_eq!(admin.get(PLUGINS).await["items"], json!([]), "nothing is left behind");
    let mut tx = server.ctx.db.read().await.unwrap();
    assert!(tx.row("SELECT digest FROM blobs", args![]).await.unwrap().is_none());
    drop(tx);
    server.stop().await;
}

/// Limits below those of the server of that test.
const LOW: &str = "[limits]\nfuel = 1000";

/// A module like [`MODULE`] that imports a function.
fn wat_import(module: &str, name: &str) -> Vec<u8> {
    let mut section = vec![1, u8::try_from(module.len()).unwrap()];
    section.extend_from_slice(module.as_bytes());
    section.push(u8::try_from(name.len()).unwrap());
    section.extend_from_slice(name.as_bytes());
    section.extend_from_slice(&[0, 1]); // a function of type 1
    let mut wasm = vec![0, b'a', b's', b'm', 1, 0, 0, 0];
    // type 0: () -> i32; type 1: () -> i64
    wasm.extend_from_slice(&[1, 9, 2, 0x60, 0, 1, 0x7f, 0x60, 0, 1, 0x7e]);
    wasm.extend_from_slice(&[2, u8::try_from(section.len()).unwrap()]);
    wasm.extend_from_slice(&section);
    wasm.extend_from_slice(&[3, 2, 1, 0, 5, 3, 1, 0, 1]);
    wasm.extend_from_slice(&[7, 11, 1, 7]);
    wasm.extend_from_slice(b"execute");
    wasm.extend_from_slice(&[0, 1, 10, 6, 1, 4, 0, 0x41, 0, 0x0b]);
    wasm
}

pub(super) async fn what_is_odd_about_an_upload_stays_with_it(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let asks = manifest("greeter", "1.0.0", "[permissions]\ntcp = ['plc.local:502']");
    let (status, plugin) = admin.publish(&asks, &wat_import("openclaw", "now_ms")).await;
    assert_eq!(status, 201, "{plugin}");
    let codes: Vec<&str> = plugin["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["plugin.permission_unused", "plugin.permission_missing"]);
    let again = admin.get("/api/v1/plugins/greeter/1.0.0").await;
    assert_eq!(again, plugin);
    let source = admin.get("/api/v1/plugins/greeter/1.0.0/manifest").await;
    assert_eq!(source, json!(asks), "as its author wrote it");
    server.stop().await;
}

pub(super) async fn a_yanked_version_is_chosen_no_more_and_goes_on_where_it_is(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    for id in ["pump-1", "pump-2"] {
        enrol(&server, id, &[]).await;
    }
    published(&admin, &manifest("greeter", "1.0.0", "")).await;
    published(&admin, &manifest("greeter", "1.1.0", "")).await;
    admin.apply(CALLS).await;
    let first = admin.post(DEPLOYMENTS, deploys()).await;
    let version = async |id| desired(&server, id).await.plugins[0].version.clone();
    assert_eq!(version("pump-1").await, "1.1.0");

    let yank = "/api/v1/plugins/greeter/1.1.0/yank";
    let yanked = admin.post(yank, json!({ "reason": "leaks memory" })).await;
    assert_eq!((&yanked["state"], &yanked["yanked"]), (&json!("yanked"), &json!("leaks memory")));
    assert_eq!(version("pump-1").await, "1.1.0", "what is deployed goes on");
    let seen = admin.get(&format!("{DEPLOYMENTS}/{}", first["id"].as_str().unwrap())).await;
    assert!(seen["notices"][0].as_str().unwrap().contains("leaks memory"), "{seen}");
    let other = json!({ "workflow": "calls", "target": { "devices": ["pump-2"] } });
    admin.post(DEPLOYMENTS, other.clone()).await;
    assert_eq!(version("pump-2").await, "1.0.0", "the newest that is not yanked");
    admin.post("/api/v1/plugins/greeter/1.0.0/yank", json!({ "reason": "old" })).await;
    let missing = (422, "deployment.plugin_missing");
    let problem = admin.refused(Method::POST, DEPLOYMENTS, Some(other.clone()), missing).await;
    assert_eq!(problem["errors"][0]["code"], "E_PLUGIN_YANKED");
    let back = admin.post("/api/v1/plugins/greeter/1.1.0/unyank", json!({})).await;
    assert_eq!((&back["state"], &back["yanked"]), (&json!("ready"), &Value::Null));
    admin.post(DEPLOYMENTS, other).await;
    assert_eq!(version("pump-2").await, "1.1.0");
    server.stop().await;
}

pub(super) async fn a_deprecation_is_shown_wherever_the_version_is_used(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    published(&admin, &manifest("greeter", "1.0.0", "")).await;
    admin.apply(CALLS).await;
    let deprecate = "/api/v1/plugins/greeter/1.0.0/deprecate";
    admin.post(deprecate, json!({ "message": "use greeter-2" })).await;
    let made = admin.post(DEPLOYMENTS, deploys()).await;
    let notice = "plugin `greeter` 1.0.0 is deprecated: use greeter-2";
    assert_eq!(made["notices"], json!([notice]), "it is chosen, and that is said");
    assert_eq!(admin.get(DEPLOYMENTS).await["items"][0]["notices"], json!([notice]));
    assert_eq!(admin.get(PLUGINS).await["items"][0]["deprecated"], "use greeter-2");
    admin.post(deprecate, json!({ "message": null })).await;
    assert!(admin.get(DEPLOYMENTS).await["items"][0]["notices"].is_null());
    let long = Some(json!({ "message": "x".repeat(501) }));
    admin.refused(Method::POST, deprecate, long, (422, "plugin.text")).await;
    server.stop().await;
}

pub(super) async fn each_standing_is_set_once_and_audited_once(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let asks = manifest("greeter", "1.0.0", "[permissions]\ntime = true");
    admin.upload("", &asks, MODULE, None).await;
    for (verb, action, body) in [
        ("approve", "plugin.approve", json!({})),
        ("yank", "plugin.yank", json!({ "reason": "r" })),
        ("unyank", "plugin.unyank", json!({})),
        ("deprecate", "plugin.deprecate", json!({ "message": "m" })),
        ("deprecate", "plugin.undeprecate", json!({ "message": null })),
    ] {
        let path = format!("/api/v1/plugins/greeter/1.0.0/{verb}");
        let once = admin.post(&path, body.clone()).await;
        assert_eq!(admin.post(&path, body.clone()).await, once, "{verb}");
        assert_eq!(audited(&server, action).await, 1, "{verb}");
        let none = format!("/api/v1/plugins/greeter/2.0.0/{verb}");
        admin.refused(Method::POST, &none, Some(body), (404, "not_found")).await;
    }
    server.stop().await;
}

pub(super) async fn more_permissions_wait_for_an_admin(database: Database) {
    let server = Server::start(&database).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.apply(CALLS).await;
    // Nothing to approve.
    let (_, plain) = operator.upload("", &manifest("greeter", "1.0.0", ""), MODULE, None).await;
    assert_eq!(plain["state"], "ready");
    let asks = manifest("greeter", "1.1.0", "[permissions]\nhttp = ['a.example:443']\ntime = true");
    let (status, problem) = operator.upload("?approve=true", &asks, MODULE, None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("auth.forbidden")));
    let (status, waits) = operator.upload("", &asks, MODULE, None).await;
    assert_eq!((status.as_u16(), &waits["state"]), (201, &json!("pending_approval")));
    assert_eq!(waits["unapproved"], json!(["http:a.example:443", "time"]));
    let pending = admin.get("/api/v1/plugins?state=pending_approval").await;
    assert_eq!(pending["items"], json!([waits]));

    operator.post(DEPLOYMENTS, deploys()).await;
    assert_eq!(desired(&server, "pump-1").await.plugins[0].version, "1.0.0");
    let only = CALLS.replace("^1", "^1.1");
    admin.apply(&only).await;
    let missing = (422, "deployment.plugin_missing");
    let problem = operator.refused(Method::POST, DEPLOYMENTS, Some(deploys()), missing).await;
    assert_eq!(problem["errors"][0]["code"], "E_PLUGIN_UNAPPROVED");
    assert!(problem["detail"].as_str().unwrap().contains("http:a.example:443"), "{problem}");

    let approve = "/api/v1/plugins/greeter/1.1.0/approve";
    operator.refused(Method::POST, approve, None, (403, "auth.forbidden")).await;
    let approved = admin.post(approve, json!({})).await;
    assert_eq!(approved["state"], "ready");
    assert_eq!(approved["approved_by"], format!("user:{}", admin.username));
    operator.post(DEPLOYMENTS, deploys()).await;
    let pinned = desired(&server, "pump-1").await;
    assert_eq!((&*pinned.plugins[0].version, pinned.plugins[0].granted.time), ("1.1.0", true));
    // What one tenant has approved is not approved for another.
    let stranger = server.session("other", Role::Admin).await;
    let (_, theirs) = stranger.upload("", &asks, MODULE, None).await;
    assert_eq!(theirs["state"], "pending_approval");
    stranger
        .refused(Method::POST, "/api/v1/plugins/greeter/1.0.0/approve", None, (404, "not_found"))
        .await;
    server.stop().await;
}

pub(super) async fn an_approval_covers_the_versions_that_ask_for_no_more(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let asks = |version: &str, what: &str| {
        manifest("greeter", version, &format!("[permissions]\nhttp = [{what}]"))
    };
    for (version, what) in
        [("1.0.0", "'a:1'"), ("1.1.0", "'a:1', 'b:2'"), ("1.2.0", "'c:3', 'b:2'")]
    {
        admin.upload("", &asks(version, what), MODULE, None).await;
    }
    admin.post("/api/v1/plugins/greeter/1.1.0/approve", json!({})).await;
    let at = async |version: &str| admin.get(&format!("/api/v1/plugins/greeter/{version}")).await;
    assert_eq!(at("1.0.0").await["state"], "ready", "it asks for less");
    assert_eq!(at("1.2.0").await["unapproved"], json!(["http:c:3"]), "only what is new waits");
    // What two approvals hold together needs no third.
    admin.post("/api/v1/plugins/greeter/1.2.0/approve", json!({})).await;
    let (_, both) = admin.upload("", &asks("1.3.0", "'a:1', 'c:3'"), MODULE, None).await;
    assert_eq!((&both["state"], &both["approved_by"]), (&json!("ready"), &Value::Null));
    // Another plugin's approval is nobody's.
    let other = manifest("other", "1.0.0", "[permissions]\nhttp = ['a:1']");
    assert_eq!(admin.upload("", &other, MODULE, None).await.1["state"], "pending_approval");
    server.stop().await;
}

pub(super) async fn what_a_plugin_needs_comes_with_it(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.apply(CALLS).await;
    let needs = |name: &str, version: &str, what: &str| {
        manifest(name, version, &format!("[dependencies]\n{what}"))
    };
    let greeter = needs("greeter", "1.0.0", "base = '^1.1'");
    assert_eq!(admin.publish(&greeter, MODULE).await.1["code"], "plugin.dependency_missing");
    published(&admin, &manifest("base", "1.0.0", "")).await;
    let problem = admin.publish(&greeter, MODULE).await.1;
    assert_eq!(problem["code"], "plugin.dependency_version");
    assert!(problem["detail"].as_str().unwrap().contains("there is 1.0.0"), "{problem}");
    published(&admin, &manifest("root", "3.0.0", "")).await;
    published(&admin, &needs("base", "1.1.0", "root = '>=2'")).await;
    published(&admin, &needs("base", "1.2.0", "root = '>=2'")).await;
    published(&admin, &greeter).await;
    admin.post(DEPLOYMENTS, deploys()).await;
    let document = desired(&server, "pump-1").await;
    let mut pinned: Vec<String> =
        document.plugins.iter().map(|pin| format!("{}@{}", pin.name, pin.version)).collect();
    pinned.sort();
    assert_eq!(pinned, ["base@1.2.0", "greeter@1.0.0", "root@3.0.0"]);
    // A dependency that is gone is named with who needs it.
    for version in ["1.1.0", "1.2.0"] {
        let yank = format!("/api/v1/plugins/base/{version}/yank");
        admin.post(&yank, json!({ "reason": "broken" })).await;
    }
    let missing = (422, "deployment.plugin_missing");
    let problem = admin.refused(Method::POST, DEPLOYMENTS, Some(deploys()), missing).await;
    assert!(problem["detail"].as_str().unwrap().contains("`greeter@1.0.0` needs it"), "{problem}");
    server.stop().await;
}

pub(super) async fn a_loop_of_dependencies_is_refused(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let needs = |name: &str, version: &str, what: &str| {
        manifest(name, version, &format!("[dependencies]\n{what} = '*'"))
    };
    published(&admin, &manifest("a", "1.0.0", "")).await;
    published(&admin, &needs("b", "1.0.0", "a")).await;
    published(&admin, &needs("c", "1.0.0", "b")).await;
    let (_, problem) = admin.publish(&needs("a", "1.1.0", "c"), MODULE).await;
    assert_eq!(problem["code"], "plugin.dependency_loop", "{problem}");
    let way = "a@1.1.0 needs c@1.0.0 needs b@1.0.0 needs a@1.1.0";
    assert!(problem["detail"].as_str().unwrap().contains(way), "{problem}");
    let itself = needs("a", "1.2.0", "a");
    assert_eq!(admin.publish(&itself, MODULE).await.1["code"], "plugin.manifest");
    // That c needs b, which needs some a, is no loop for a version that none of their ranges takes.
    published(&admin, &manifest("d", "1.0.0", "[dependencies]\na = '<1.1'")).await;
    published(&admin, &needs("a", "2.0.0", "d")).await;
    server.stop().await;
}

pub(super) async fn plugins_are_found_by_words_category_and_tag(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    for (name, version, more) in [
        ("modbus", "1.0.0", "category = 'Industrial'\ntags = ['PLC', 'field bus']\nauthor = 'Ann'"),
        ("modbus", "1.1.0", "category = 'Industrial'\ntags = ['PLC', 'field bus']"),
        ("opc", "0.1.0", "category = 'industrial'\ntags = ['plc-new']"),
        ("mail", "1.0.0", "category = 'messages'\nlicense = 'MIT'\nhomepage = 'https://x.example'"),
        ("odd", "1.0.0", "author = '100%_!'"),
    ] {
        published(&admin, &manifest(name, version, more)).await;
    }
    admin.post("/api/v1/plugins/mail/1.0.0/yank", json!({ "reason": "r" })).await;
    for (query, expected) in [
        ("", &["mail@1.0.0", "modbus@1.0.0", "modbus@1.1.0", "odd@1.0.0", "opc@0.1.0"][..]),
        ("q=MODBUS", &["modbus@1.0.0", "modbus@1.1.0"]),
        ("q=modbus%20ann", &["modbus@1.0.0"]),
        ("q=greets%20field", &["modbus@1.0.0", "modbus@1.1.0"]),
        ("category=INDUSTRIAL", &["modbus@1.0.0", "modbus@1.1.0", "opc@0.1.0"]),
        ("tag=plc", &["modbus@1.0.0", "modbus@1.1.0"]),
        ("tag=Field%20Bus&q=ann", &["modbus@1.0.0"]),
        ("state=yanked", &["mail@1.0.0"]),
        ("q=%25_!", &["odd@1.0.0"]),
        ("q=%27%20OR%201=1", &[]),
    ] {
        let page = admin.get(&format!("{PLUGINS}?{query}")).await;
        assert_eq!(titles(&page), expected, "{query}");
    }
    let mut cursor = String::new();
    let mut seen = Vec::new();
    loop {
        let page = admin.get(&format!("{PLUGINS}?category=industrial&limit=1{cursor}")).await;
        seen.extend(titles(&page));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, ["modbus@1.0.0", "modbus@1.1.0", "opc@0.1.0"], "page by page, once each");
    admin
        .refused(Method::GET, &format!("{PLUGINS}?q=a+b+c+d+e"), None, (400, "request.malformed"))
        .await;
    server.stop().await;
}

fn titles(page: &Value) -> Vec<String> {
    let title = |item: &Value| {
        let manifest = &item["manifest"];
        format!("{}@{}", manifest["name"].as_str().unwrap(), manifest["version"].as_str().unwrap())
    };
    page["items"].as_array().unwrap().iter().map(title).collect()
}

/// A publisher's key.
struct Publisher(Ed25519KeyPair);

impl Publisher {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    fn public(&self) -> String {
        data_encoding::HEXLOWER.encode(self.0.public_key().as_ref())
    }

    fn sign(&self, key: &str, source: &str, module: &[u8]) -> Value {
        let manifest = Manifest::from_toml(source).unwrap();
        let manifest_digest = digest_of(source.as_bytes());
        let said = statement(&manifest.name, &manifest.version, digest_of(module), manifest_digest);
        let signature = data_encoding::HEXLOWER.encode(self.0.sign(said.as_bytes()).as_ref());
        json!({ "key": key, "signature": signature })
    }
}

pub(super) async fn a_signature_is_over_everything_and_by_a_key_that_is_good(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let (ann, eve) = (Publisher::new(1), Publisher::new(2));
    let body = json!({ "name": "ann", "public_key": ann.public() });
    let key = admin.post("/api/v1/publisher-keys", body.clone()).await;
    assert_eq!(admin.post("/api/v1/publisher-keys", body.clone()).await, key);
    let id = key["id"].as_str().unwrap();
    let (one, two) = (manifest("greeter", "1.0.0", ""), manifest("greeter", "1.0.1", ""));
    let other = wat_import("openclaw", "now_ms");
    let good = ann.sign(id, &one, MODULE);
    let wrong = |signature: Value| {
        let (admin, one) = (&admin, &one);
        async move {
            let (status, problem) = admin.upload("", one, MODULE, Some(signature)).await;
            assert_eq!((status.as_u16(), &problem["code"]), (422, &json!("plugin.signature")));
        }
    };
    wrong(eve.sign(id, &one, MODULE)).await; // somebody else's
    wrong(eve.sign("0123456789abcdef", &one, MODULE)).await; // of a key that nobody has added
    wrong(ann.sign(id, &two, MODULE)).await; // of another version
    wrong(ann.sign(id, &one, &other)).await; // of another module
    wrong(ann.sign(id, &format!("{one}\n"), MODULE)).await; // of a manifest with another byte
    let cut = json!({ "key": id, "signature": &good["signature"].as_str().unwrap()[..126] });
    wrong(cut).await;
    let (status, plugin) = admin.upload("", &one, MODULE, Some(good.clone())).await;
    assert_eq!((status.as_u16(), &plugin["signature"]), (201, &good));

    let path = format!("/api/v1/publisher-keys/{id}");
    for _ in 0..2 {
        assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    }
    assert_eq!(audited(&server, "publisher_key.revoke").await, 1);
    let late = ann.sign(id, &two, MODULE);
    assert_eq!(admin.upload("", &two, MODULE, Some(late)).await.1["code"], "plugin.signature");
    let keys = "/api/v1/publisher-keys";
    admin.refused(Method::POST, keys, Some(body), (409, "publisher_key.revoked")).await;
    let bad = json!({ "name": "x", "public_key": "abcd" });
    admin.refused(Method::POST, keys, Some(bad), (422, "publisher_key.public_key")).await;
    assert!(admin.get(keys).await["items"][0]["revoked_at"].is_string());
    server.stop().await;
}

pub(super) async fn where_signatures_are_required_nothing_else_is_published(database: Database) {
    let require = |config: &mut crate::config::Config| config.plugins.require_signatures = true;
    let server = Server::start_with(&database, require).await;
    let admin = server.admin().await;
    let one = manifest("greeter", "1.0.0", "");
    assert_eq!(admin.publish(&one, MODULE).await.1["code"], "plugin.unsigned");
    let ann = Publisher::new(3);
    let body = json!({ "name": "ann", "public_key": ann.public() });
    let key = admin.post("/api/v1/publisher-keys", body).await;
    let signature = ann.sign(key["id"].as_str().unwrap(), &one, MODULE);
    assert_eq!(admin.upload("", &one, MODULE, Some(signature)).await.0, 201);
    // A key is its tenant's own.
    let stranger = server.session("other", Role::Admin).await;
    let signature = ann.sign(key["id"].as_str().unwrap(), &one, MODULE);
    let (_, problem) = stranger.upload("", &one, MODULE, Some(signature)).await;
    assert_eq!(problem["code"], "plugin.signature");
    server.stop().await;
}

pub(super) async fn a_download_goes_on_where_it_broke_off(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let plugin = published(&admin, &manifest("greeter", "1.0.0", "")).await;
    let digest = plugin["digest"].as_str().unwrap();
    let by_digest = format!("/api/v1/modules/{digest}");
    let text = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
    let tag = format!("\"{digest}\"");
    for path in [by_digest.as_str(), "/api/v1/plugins/greeter/1.0.0/module"] {
        assert_eq!(admin.get(path).await, text(MODULE));
        let (status, first) =
            admin.send(admin.request(Method::GET, path).header("range", "bytes=0-29")).await;
        assert_eq!((status.as_u16(), first), (206, text(&MODULE[..30])));
        let rest = admin.request(Method::GET, path).header("range", "bytes=30-");
        let (status, rest) = admin.send(rest.header("if-range", &tag)).await;
        assert_eq!((status.as_u16(), rest), (206, text(&MODULE[30..])));
        let other = admin.request(Method::GET, path).header("range", "bytes=30-");
        let (status, all) = admin.send(other.header("if-range", "\"other\"")).await;
        assert_eq!((status.as_u16(), all), (200, text(MODULE)), "the rest is of something else");
        let behind = admin.request(Method::GET, path).header("range", "bytes=5000-");
        assert_eq!(admin.send(behind).await.1["code"], "request.range");
        let known = admin.request(Method::GET, path).header("if-none-match", &tag);
        assert_eq!(admin.send(known).await.0, 304);
    }
    let stranger = server.session("other", Role::Admin).await;
    stranger.refused(Method::GET, &by_digest, None, (404, "not_found")).await;
    admin.refused(Method::GET, "/api/v1/modules/xyz", None, (404, "not_found")).await;
    server.stop().await;
}

/// A row as the version before wrote it, and the migration over it.
pub(super) async fn what_was_published_before_is_approved_and_found(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let asks = manifest("greeter", "1.0.0", "tags = ['A b', 'c']\n[permissions]\ntime = true");
    admin.upload("", &asks, MODULE, None).await;
    let file = match database {
        Database::Sqlite => include_str!("../../migrations/sqlite/0006_registry.sql"),
        Database::Postgres(_) => include_str!("../../migrations/postgres/0006_registry.sql"),
    };
    let mut tx = server.write().await;
    tx.run("UPDATE plugins SET category = '', tags = '|', words = '', unapproved = '[]'", args![])
        .await
        .unwrap();
    let updates: Vec<&'static str> =
        file.split(';').filter(|part| part.contains("UPDATE plugins")).collect();
    assert_eq!(updates.len(), 3);
    for update in updates {
        tx.run(update, args![]).await.unwrap();
    }
    tx.commit().await.unwrap();
    for query in ["tag=a%20B", "tag=C", "q=greets%20greeter"] {
        let found = admin.get(&format!("{PLUGINS}?{query}&state=ready")).await;
        assert_eq!(titles(&found), ["greeter@1.0.0"], "{query}");
    }
    let more = manifest("greeter", "1.1.0", "[permissions]\ntime = true");
    let (_, plugin) = admin.upload("", &more, MODULE, None).await;
    assert_eq!(plugin["state"], "ready", "what was published then was approved by that");
    server.stop().await;
}
