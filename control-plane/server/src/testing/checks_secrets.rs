//! Secrets: who may set them, what is kept, and what goes to which device.

use reqwest::Method;
use serde_json::{Value, json};

use openclaw_protocol::api::Role;
use openclaw_protocol::desired::{self, Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::report::Report;
use openclaw_protocol::secret::{HeldSecret, INFO, SealedSecret, SecretState, bound_to};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use super::facts::{CALLS, COUNT, MODULE, device, enrol, manifest, reports, tell};
use super::server::{Client, Database, Server};
use crate::config::DEFAULT_TENANT;
use crate::service;
use crate::store::{self, args};

const SECRETS: &str = "/api/v1/secrets";
const DEPLOYMENTS: &str = "/api/v1/deployments";
const VALUE: &str = "correct-horse-battery";

const DECLARES: &str = "workflow: tells
version: '1'
description: tells somebody
secrets: [token, user]
steps:
  - id: call
    plugin: greeter@^1
    with: { who: \"${ secret('user') + ':' + secret('token') }\" }
";

async fn put(client: &Client<'_>, name: &str, value: &str) -> Value {
    let path = format!("{SECRETS}/{name}");
    let (status, body) = client.call(Method::PUT, &path, Some(json!({ "value": value }))).await;
    assert!(status.is_success(), "{status}: {body}");
    body
}

async fn document(server: &Server, id: &str) -> (Desired, Vec<SealedSecret>) {
    let mut tx = server.ctx.db.read().await.unwrap();
    let found = store::devices::desired_document(&mut tx, &server.tenant(), &device(id)).await;
    let bytes = found.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    desired::unpack(&signed.document).unwrap()
}

type Kem = hpke::kem::X25519HkdfSha256;
type PrivateKey = <Kem as hpke::Kem>::PrivateKey;

/// A device's key pair.
fn key_pair() -> (PrivateKey, [u8; 32]) {
    use hpke::Serializable as _;
    let (private, public) = <Kem as hpke::Kem>::gen_keypair();
    (private, public.to_bytes().as_slice().try_into().unwrap())
}

fn open(key: &PrivateKey, id: &str, one: &SealedSecret) -> Option<Vec<u8>> {
    use hpke::Deserializable as _;
    let bound = bound_to(&DEFAULT_TENANT.parse().unwrap(), &device(id), &one.name, one.version);
    let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(&one.sealed[..32]).unwrap();
    hpke::single_shot_open::<hpke::aead::ChaCha20Poly1305, hpke::kdf::HkdfSha256, Kem>(
        &hpke::OpModeR::Base,
        key,
        &encapsulated,
        INFO,
        &one.sealed[32..],
        &bound,
    )
    .ok()
}

pub(super) async fn values_go_in_and_never_come_out(database: Database) {
    let server = Server::start(&database).await;
    let operator = server.session(DEFAULT_TENANT, Role::Operator).await;
    let viewer = server.session(DEFAULT_TENANT, Role::Viewer).await;
    let first = put(&operator, "token", VALUE).await;
    assert_eq!((&first["version"], &first["devices"]), (&json!(1), &json!(0)));
    assert_eq!(put(&operator, "token", "the-second-value").await["version"], 2);
    let body = Some(json!({ "value": VALUE }));
    let path = format!("{SECRETS}/token");
    viewer.refused(Method::PUT, &path, body.clone(), (403, "auth.forbidden")).await;
    viewer.refused(Method::DELETE, &path, None, (403, "auth.forbidden")).await;
    let (listed, one) = (viewer.get(SECRETS).await, viewer.get(&path).await);
    assert_eq!(
        (&listed["items"][0]["name"], &one["secret"]["version"]),
        (&json!("token"), &json!(2))
    );

    for (name, value, code) in [
        ("token", "abc", "secret.value"),
        ("token", " \t abc \n ", "secret.value"),
        ("token", &"x".repeat(16 * 1024 + 1), "secret.value"),
        ("to-ken", VALUE, "secret.name"),
        ("1token", VALUE, "secret.name"),
    ] {
        let path = format!("{SECRETS}/{name}");
        let body = Some(json!({ "value": value }));
        let problem = operator.refused(Method::PUT, &path, body, (422, code)).await;
        assert!(!problem.to_string().contains(VALUE), "{problem}");
    }
    // Of another tenant there is nothing to see.
    let stranger = server.session("other", Role::Admin).await;
    stranger.refused(Method::GET, &path, None, (404, "not_found")).await;
    assert_eq!(stranger.get(SECRETS).await["items"], json!([]));

    // At rest there is no value, in no column; the trail names who and which version.
    let mut tx = server.ctx.db.read().await.unwrap();
    let row = store::secrets::find(&mut tx, &server.tenant(), "token").await.unwrap().unwrap();
    assert!(!row.value.windows(8).any(|part| b"the-second-value".windows(8).any(|v| v == part)));
    // Both of one moment: their order is not told.
    let trail = "SELECT actor, detail FROM audit WHERE action = 'secret.set' ORDER BY detail";
    let rows = tx.rows(trail, args![]).await.unwrap();
    let details: Vec<String> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
    assert_eq!(details, [r#"{"version":1}"#, r#"{"version":2}"#]);
    assert_eq!(rows[1].text("actor").unwrap(), format!("user:{}", operator.username));
    drop(tx);

    // A version is never used twice.
    assert_eq!(operator.call(Method::DELETE, &path, None).await.0, 204);
    viewer.refused(Method::GET, &path, None, (404, "not_found")).await;
    operator.refused(Method::DELETE, &path, None, (404, "not_found")).await;
    assert_eq!(put(&operator, "token", VALUE).await["version"], 3);
    server.stop().await;
}

pub(super) async fn a_device_gets_what_its_workflows_declare_sealed_to_its_key(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    enrol(&server, "pump-2", &[]).await;
    admin.publish(&manifest("greeter", "1.0.0", ""), MODULE).await;
    admin.apply(DECLARES).await;
    for name in ["token", "user", "unrelated"] {
        put(&admin, name, &format!("{VALUE}-{name}")).await;
    }
    let target = json!({ "devices": ["pump-1", "pump-2"] });
    admin.post(DEPLOYMENTS, json!({ "workflow": "tells", "target": target })).await;
    let state = async |id: usize| {
        let seen = admin.get(&format!("{SECRETS}/token")).await;
        (seen["devices"][id]["state"].clone(), seen["secret"]["devices_ready"].clone())
    };
    // Nobody has told a key yet: nothing is sealed, and it is seen who has none.
    assert!(document(&server, "pump-1").await.1.is_empty());
    assert_eq!(state(0).await, (json!("no_key"), json!(0)));

    let (private, public) = key_pair();
    // What the device has said so far, all of it again each time: what is known is passed over.
    let said = std::cell::RefCell::new(Vec::new());
    let says = async |report| {
        said.borrow_mut().push(report);
        let all = said.borrow().clone();
        tell(&server, &pump, Lane::Control, reports(all)).await;
        service::secrets::reseal(&server.ctx, &server.tenant(), &pump).await.unwrap();
    };
    let told = async |key| says(Report::SealingKey { key }).await;
    told(public).await;
    let (first, sealed) = document(&server, "pump-1").await;
    let names: Vec<&str> = sealed.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["token", "user"], "what is declared, and nothing else");
    for one in &sealed {
        let value = format!("{VALUE}-{}", one.name).into_bytes();
        assert_eq!(open(&private, "pump-1", one).unwrap(), value);
        assert!(open(&private, "pump-2", one).is_none() && one.key == public);
    }
    assert!(document(&server, "pump-2").await.1.is_empty());
    assert_eq!(state(0).await.0, json!("pending"));

    // It says what it holds. The same key again changes nothing.
    let (name, state_told) = ("token".to_owned(), SecretState::Ready);
    let held = vec![HeldSecret { name, version: 1, state: state_told }];
    says(Report::Secrets { held }).await;
    told(public).await;
    assert_eq!(state(0).await, (json!("ready"), json!(1)));
    assert_eq!(document(&server, "pump-1").await, (first.clone(), sealed.clone()));

    // A newer value: only that is sealed anew, and the device is behind until it says otherwise.
    put(&admin, "token", "rotated-value").await;
    let (second, resealed) = document(&server, "pump-1").await;
    assert_eq!(second.revision, first.revision + 1);
    assert_eq!((resealed[0].version, &resealed[1]), (2, &sealed[1]));
    assert_eq!(open(&private, "pump-1", &resealed[0]).unwrap(), b"rotated-value");
    assert_eq!(state(0).await, (json!("pending"), json!(0)));
    assert_eq!(admin.get(&format!("{SECRETS}/token")).await["devices"][0]["version"], 1);

    // Another key, as after a new enrolment: everything is sealed to that.
    let (other, other_public) = key_pair();
    told(other_public).await;
    let (_, again) = document(&server, "pump-1").await;
    assert!(again.iter().all(|one| one.key == other_public));
    assert_eq!(open(&other, "pump-1", &again[0]).unwrap(), b"rotated-value");
    assert!(open(&private, "pump-1", &again[0]).is_none());

    assert_eq!(admin.call(Method::DELETE, "/api/v1/devices/pump-1", None).await.0, 204);
    let left = admin.get(&format!("{SECRETS}/token")).await;
    assert_eq!(left["devices"].as_array().unwrap().len(), 1);
    server.stop().await;
}

pub(super) async fn what_is_not_set_is_not_deployed_and_what_is_in_use_stays(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-1", &[]).await;
    admin.publish(&manifest("greeter", "1.0.0", ""), MODULE).await;
    admin.apply(DECLARES).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    let body = json!({ "workflow": "tells", "target": target });
    let missing = (422, "deployment.secret_missing");
    let problem = admin.refused(Method::POST, DEPLOYMENTS, Some(body.clone()), missing).await;
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("`token`") && detail.contains("`user`"), "{detail}");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 2);
    assert_eq!(admin.get(DEPLOYMENTS).await["items"], json!([]), "nothing has changed");

    for name in ["token", "user"] {
        put(&admin, name, VALUE).await;
    }
    let deployment = admin.post(DEPLOYMENTS, body).await;
    let path = format!("{SECRETS}/token");
    let problem = admin.refused(Method::DELETE, &path, None, (409, "secret.in_use")).await;
    assert!(problem["detail"].as_str().unwrap().contains("`pump-1`"), "{problem}");
    let deployment = format!("{DEPLOYMENTS}/{}", deployment["id"].as_str().unwrap());
    assert_eq!(admin.call(Method::DELETE, &deployment, None).await.0, 204);
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);

    // A device that is shut out holds nothing back.
    put(&admin, "token", VALUE).await;
    let body = json!({ "workflow": "tells", "target": { "devices": ["pump-1"] } });
    admin.post(DEPLOYMENTS, body).await;
    admin.refused(Method::DELETE, &path, None, (409, "secret.in_use")).await;
    admin.post("/api/v1/devices/pump-1/revoke", json!({})).await;
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    server.stop().await;
}

pub(super) async fn what_a_plugin_may_use_goes_to_its_devices_where_it_is_set(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let uses = manifest("greeter", "1.0.0", "[permissions]\nsecrets = ['api_key']");
    admin.publish(&uses, MODULE).await;
    admin.apply(CALLS).await;
    let body = json!({ "workflow": "calls", "target": { "devices": ["pump-1"] } });
    admin.post(DEPLOYMENTS, body).await;
    put(&admin, "api_key", VALUE).await;
    let (private, key) = key_pair();
    tell(&server, &pump, Lane::Control, reports(vec![Report::SealingKey { key }])).await;
    service::secrets::reseal(&server.ctx, &server.tenant(), &pump).await.unwrap();
    let (document, sealed) = document(&server, "pump-1").await;
    assert_eq!(document.plugins[0].granted.secrets, ["api_key"]);
    let [one] = &sealed[..] else { panic!("{} are sealed", sealed.len()) };
    assert_eq!(open(&private, "pump-1", one).unwrap(), VALUE.as_bytes());
    admin
        .refused(Method::DELETE, &format!("{SECRETS}/api_key"), None, (409, "secret.in_use"))
        .await;
    server.stop().await;
}
