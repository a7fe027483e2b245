//! The fleet as a whole: real TLS, real MQTT client, gate, router, sessions and SQLite.

use std::sync::atomic::Ordering;
use std::time::Instant;

use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::id::Digest;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Report, ReportRecord};
use openclaw_protocol::run::RunResult;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};
use rcgen::KeyPair;
use rumqttc::{ConnectReturnCode, ConnectionError};

use super::ca::{self, fingerprint};
use super::testing::{Device, Plane, result, tenant};
use crate::broker::testing::{Raw, client_tls, within};
use crate::context::NudgeKind;
use crate::service::Fault;
use crate::store::{self, args, devices, fleet};
use crate::testing::postgres::Cluster;

const SQLITE: &str = "sqlite";

/// The same on the other database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_fleet_works_on_postgres() {
    let cluster = Cluster::start();
    exactly_once(&cluster.database("exactly_once").await).await;
    what_goes_down(&cluster.database("what_goes_down").await).await;
    join_code(&cluster.database("join_code").await).await;
    odd_texts(&cluster.database("odd_texts").await).await;
}

#[tokio::test]
async fn texts_that_a_database_may_not_like_hold_up_nobody() {
    odd_texts(SQLITE).await;
}

async fn odd_texts(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    let mut odd: RunResult =
        wire::unpack(Kind::RunResult, &result(device.epoch, 1), 10_000).unwrap();
    odd.version = "1\0'\u{202e}\u{feff}".to_owned();
    odd.outputs = JsonText::of(&serde_json::json!({ "\0": "\0" }));
    device.append(Lane::Results, wire::pack(Kind::RunResult, &odd));
    device.append(Lane::Results, b"no result at all".to_vec());
    let body = result(device.epoch, 3);
    device.append(Lane::Results, body);
    let report = Report::Security { code: "x\0".to_owned(), message: "a\0b".to_owned() };
    let record = ReportRecord { at: odd.settled, report };
    device.append(Lane::Control, wire::pack(Kind::Report, &record));
    let home = |device: &Device| device.is_home(Lane::Results) && device.is_home(Lane::Control);
    device.live_until("everything home", home).await;
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM results").await, 2);
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM parked_records").await, 1);
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM security_events").await, 1);
    plane.stop().await;
}

/// The promise of the whole thing: 10,000 results, the control plane stopped and started in the
/// middle, and each is in the database once.
#[tokio::test]
async fn ten_thousand_results_arrive_exactly_once_across_a_restart() {
    exactly_once(SQLITE).await;
}

async fn exactly_once(database: &str) {
    const RESULTS: u64 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    for number in 1..=RESULTS {
        let body = result(device.epoch, number);
        device.append(Lane::Results, body);
    }
    let some = |device: &Device| {
        device.acked.get(&Lane::Results).is_some_and(|c| c.upto > 0 || !c.ranges.is_empty())
    };
    device.live_until("the first acknowledgement", some).await;
    let port = plane.stop().await;
    assert!(!device.is_home(Lane::Results), "it was stopped in the middle");
    device.live_until("the end of the connection", |device| !device.ends.is_empty()).await;

    let plane = Plane::start(dir.path(), port, database).await;
    device.live_until("everything home", |device| device.is_home(Lane::Results)).await;
    let count = "SELECT COUNT(*) AS n FROM results";
    let distinct = "SELECT COUNT(DISTINCT run) AS n FROM results";
    let sum = "SELECT CAST(SUM(seq) AS BIGINT) AS n FROM results";
    let upto = "SELECT upto AS n FROM lanes WHERE lane = 'results'";
    let received = "SELECT received AS n FROM lanes WHERE lane = 'results'";
    let expected = i64::try_from(RESULTS).unwrap();
    for sql in [count, distinct, upto, received] {
        assert_eq!(plane.number(sql).await, expected, "{sql}");
    }
    assert_eq!(plane.number(sum).await, expected * (expected + 1) / 2);
    // Once more after another restart: what is acknowledged is not sent again, nor lost.
    let port = plane.stop().await;
    let plane = Plane::start(dir.path(), port, database).await;
    let body = result(device.epoch, RESULTS + 1);
    device.append(Lane::Results, body);
    device.live_until("one more", |device| device.is_home(Lane::Results)).await;
    assert_eq!(plane.number(count).await, expected + 1);
    assert_eq!(
        plane.number("SELECT announced AS n FROM lanes WHERE lane = 'results'").await,
        expected + 1
    );
    plane.stop().await;
}

/// Many devices at once: each result once, and far fewer transactions than batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_devices_share_transactions() {
    const DEVICES: i64 = 40;
    const RESULTS: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let mut lives = tokio::task::JoinSet::new();
    for n in 0..DEVICES {
        let mut device = plane.device(&format!("pump-{n}")).await;
        lives.spawn(async move {
            device.live_until("the session", Device::is_up).await;
            for number in 1..=RESULTS {
                let body = result(device.epoch, number);
                device.append(Lane::Results, body);
                device.append(Lane::Telemetry, number.to_le_bytes().to_vec());
            }
            let home = |d: &Device| d.is_home(Lane::Results) && d.is_home(Lane::Telemetry);
            device.live_until("everything home", home).await;
        });
    }
    within("all devices", lives.join_all()).await;
    let expected = DEVICES * i64::try_from(RESULTS).unwrap();
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM results").await, expected);
    let complete = "SELECT COUNT(*) AS n FROM lanes WHERE upto = 100 AND received = 100";
    assert_eq!(plane.number(complete).await, DEVICES * 2, "results and telemetry of each");
    let metrics = &plane.ctx.metrics;
    let commits = metrics.ingest_commits.load(Ordering::Relaxed);
    // Each device says hello and sends at least one batch in each of two lanes.
    let least_works = u64::try_from(DEVICES * 3).unwrap();
    assert!(commits < least_works, "{commits} transactions");
    plane.stop().await;
}

/// What was not committed is not acknowledged.
#[tokio::test]
async fn a_database_that_cannot_write_acknowledges_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let mut device = plane.device("pump-7").await;
    device.live_until("the session", Device::is_up).await;
    let mut feed = plane.ctx.live.watch(&tenant(), None).receiver;
    // The one writer is taken: what comes waits.
    let tx = plane.ctx.db.write().await.unwrap();
    let body = result(device.epoch, 1);
    device.append(Lane::Results, body);
    let unacked = device.live_for(std::time::Duration::from_millis(300)).await;
    assert!(unacked.iter().all(|cursor| cursor.upto == 0), "{unacked:?}");
    assert!(!device.is_home(Lane::Results));
    while let Ok(event) = feed.try_recv() {
        assert_ne!(event.change.name(), "run", "nobody is told before the commit");
    }
    drop(tx);
    device.live_until("the result home", |device| device.is_home(Lane::Results)).await;
    plane.stop().await;
}

#[tokio::test]
async fn presence_and_changes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let mut device = plane.device("pump-7").await;
    let id = device.credentials.device.clone();
    let mut feed = plane.ctx.live.watch(&tenant(), None).receiver;
    assert!(!plane.ctx.presence.is_online(&tenant(), &id));
    let body = result(device.epoch, 1);
    device.append(Lane::Results, body);
    device.live_until("the result home", |device| device.is_home(Lane::Results)).await;
    assert!(plane.ctx.presence.is_online(&tenant(), &id));
    let mut names = Vec::new();
    while let Ok(event) = feed.try_recv() {
        names.push(event.change.name());
    }
    assert!(names.contains(&"device") && names.contains(&"run"), "{names:?}");
    assert_eq!(plane.ctx.metrics.records_ingested.load(Ordering::Relaxed), 1);
    drop(device);
    within("the device's absence", async {
        while plane.ctx.presence.is_online(&tenant(), &id) {
            feed.recv().await.unwrap();
        }
    })
    .await;
    assert_eq!(plane.number("SELECT COUNT(last_seen_ms) AS n FROM devices").await, 1);
    plane.stop().await;
}

#[tokio::test]
async fn commands_desired_state_and_modules_go_down() {
    what_goes_down(SQLITE).await;
}

async fn what_goes_down(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    let id = device.credentials.device.clone();
    device.live_until("the session", Device::is_up).await;

    // Wishes, some before and some after the device has asked.
    for n in 1..=150 {
        plane.wish(&id, n).await;
    }
    device.live_until("150 commands", |device| device.commands.len() == 150).await;
    let numbers: Vec<u64> = device.commands.iter().map(|record| record.seq).collect();
    assert_eq!(numbers, (1..=150).collect::<Vec<_>>(), "each once and in order");
    let has = |device: &Device, revision| {
        device.desired.as_ref().is_some_and(|(desired, _)| desired.revision == revision)
    };
    device.live_until("a document that says to run nothing", |device| has(device, 1)).await;

    // A module and a document that is larger than a frame.
    let module: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let digest = ca::sha256(&module);
    let desired = Desired {
        tenant: tenant(),
        device: id.clone(),
        generation: plane.ctx.generation,
        revision: 2,
        issued_wall_ms: 1,
        workflows: Vec::new(),
        plugins: Vec::new(),
    };
    let document = wire::pack(Kind::Desired, &desired);
    let signature = plane.ctx.ca.sign_desired(&document).unwrap();
    let packed = wire::pack(Kind::SignedDesired, &SignedDesired { document, signature });
    let mut tx = plane.ctx.db.write().await.unwrap();
    let blob = "INSERT INTO blobs (tenant, digest, bytes) VALUES ($1, $2, $3)";
    tx.run(blob, args![&tenant(), &digest, module.clone()]).await.unwrap();
    let revision = devices::next_desired_revision(&mut tx, &tenant(), &id).await.unwrap();
    assert_eq!(revision, Some(2));
    devices::set_desired(&mut tx, &tenant(), &id, ca::sha256(&packed), packed).await.unwrap();
    tx.commit().await.unwrap();
    plane.ctx.nudges.send(&tenant(), &id, NudgeKind::Desired);
    device.live_until("the desired state", |device| has(device, 2)).await;
    let (got, signed) = device.desired.clone().unwrap();
    assert_eq!(got, desired);
    let key = data_encoding::HEXLOWER.decode(plane.ctx.ca.desired_key_hex().as_bytes()).unwrap();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
        .verify(&signed.document, &signed.signature)
        .unwrap();
    device.want(digest);
    let whole =
        |device: &Device| device.blobs.get(&digest).is_some_and(|b| b.len() == module.len());
    device.live_until("the module", whole).await;
    assert_eq!(device.blobs[&digest], module);
    // What is not there, or is another device's document, is not given out.
    device.want(Digest([7; 32]));
    device.live_until("the acknowledgement of the commands", |device| device.is_up()).await;
    within("the cursor of the commands", async {
        let sql = "SELECT commands_acked AS n FROM devices";
        while plane.number(sql).await != 150 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!device.blobs.contains_key(&Digest([7; 32])));
    plane.stop().await;
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_and_stays_out_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let mut device = plane.device("pump-7").await;
    let mut other = plane.device("pump-8").await;
    let id = device.credentials.device.clone();
    device.live_until("the session", Device::is_up).await;
    other.live_until("the other's session", Device::is_up).await;
    let mut tx = plane.ctx.db.write().await.unwrap();
    let row = fleet::device(&mut tx, &tenant(), &id).await.unwrap().unwrap();
    devices::revoke(&mut tx, &tenant(), &id, row.certificate_fingerprint, 1).await.unwrap();
    tx.commit().await.unwrap();
    let told = Instant::now();
    plane.ctx.nudges.send(&tenant(), &id, NudgeKind::Revoked);
    device.live_until("the cut", |device| !device.ends.is_empty()).await;
    assert!(told.elapsed().as_secs() < 5);
    let refused = |end: &ConnectionError| {
        matches!(end, ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized))
    };
    device.live_until("the refusal", |device| device.ends.iter().any(refused)).await;
    let port = plane.stop().await;
    let plane = Plane::start(dir.path(), port, SQLITE).await;
    device.ends.clear();
    device.live_until("the refusal", |device| device.ends.iter().any(refused)).await;
    // Removed altogether: the certificate stays revoked, whoever shows it.
    let mut tx = plane.ctx.db.write().await.unwrap();
    devices::remove(&mut tx, &tenant(), &id).await.unwrap();
    tx.commit().await.unwrap();
    device.ends.clear();
    device.live_until("the refusal", |device| device.ends.iter().any(refused)).await;
    let body = result(other.epoch, 1);
    other.append(Lane::Results, body);
    other.live_until("the other's result", |other| other.is_home(Lane::Results)).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_wiped_device_speaks_under_a_new_epoch_and_the_operator_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let mut device = plane.device("pump-7").await;
    for round in 0..2 {
        for number in 1..=5 {
            let body = result(device.epoch, number);
            device.append(Lane::Results, body);
        }
        device.live_until("results home", |device| device.is_home(Lane::Results)).await;
        if round == 0 {
            device = device.wiped();
        }
    }
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM results").await, 10, "nothing is mixed up");
    let told = "SELECT COUNT(*) AS n FROM security_events WHERE code = 'sync.new_epoch'";
    assert_eq!(plane.number(told).await, 1);
    plane.stop().await;
}

#[tokio::test]
async fn a_misdeed_is_written_down_once_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let device = plane.device("pump-7").await;
    let tls = client_tls(plane.ctx.ca.certificate_pem(), Some(&device.credentials));
    for _ in 0..10 {
        let mut raw = Raw::open(plane.addr(), tls.clone()).await.unwrap();
        raw.send(&crate::broker::testing::connect_packet("pump-7", 60)).await;
        assert_eq!(raw.read(4).await, [0x20, 2, 0, 0]);
        raw.send(&crate::broker::testing::publish_packet("é/1", 0, b"x")).await;
        assert!(raw.rest().await.0.is_empty());
    }
    let ctx = plane.ctx.clone();
    plane.stop().await;
    let db = store::Db::open_sqlite(&ctx.config.sqlite_path()).await.unwrap();
    let mut tx = db.read().await.unwrap();
    let sql = "SELECT code, message FROM security_events";
    let rows = tx.rows(sql, args![]).await.unwrap();
    assert_eq!(rows.len(), 1, "ten misdeeds, one line");
    assert_eq!(rows[0].text("code").unwrap(), "mqtt.topic_not_ascii");
    assert!(rows[0].text("message").unwrap().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_join_code_is_good_once_whoever_tries() {
    join_code(SQLITE).await;
}

async fn join_code(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let invalid = |fault: &Fault| matches!(fault, Fault::Invalid { code: "join_code.invalid", .. });
    let key = KeyPair::generate().unwrap();
    for wrong in ["", ".", "nonsense", &"x".repeat(10_000)] {
        let fault = plane.enroll(wrong, &key, 2).await.unwrap_err();
        assert!(invalid(&fault), "{fault}");
    }
    let ended = plane.join_code("late", -1).await;
    assert!(invalid(&plane.enroll(&ended, &key, 2).await.unwrap_err()));
    // A bad request does not use the code up.
    let code = plane.join_code("pump-7", 60_000).await;
    let bad = openclaw_protocol::api::EnrollRequest { code: code.clone(), csr_pem: "x".to_owned() };
    let fault = super::enroll(&plane.ctx, bad, [192, 0, 2, 9].into()).await.unwrap_err();
    assert!(matches!(fault, Fault::Invalid { code: "enroll.csr", .. }), "{fault}");
    // Nor does it matter whether the fingerprint part comes along.
    let whole = format!("{code}.{}", plane.ctx.ca.fingerprint());
    let tries = (0..100).map(|n| plane.enroll(&whole, &key, n));
    let answers = futures_util::future::join_all(tries).await;
    let good: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(good.len(), 1, "exactly one of a hundred");
    let limited = answers.iter().filter(|a| matches!(a, Err(Fault::TooMany { .. }))).count();
    assert!(limited >= 80, "{limited} were slowed down");
    assert_eq!(good[0].ca_pem, plane.ctx.ca.certificate_pem());
    assert_eq!(good[0].mqtt_port, plane.addr().port(), "the port that devices are told");
    // The id is taken now, also for another good code.
    let second = plane.join_code("pump-7", 60_000).await;
    let fault = plane.enroll(&second, &key, 3).await.unwrap_err();
    assert!(matches!(fault, Fault::Conflict { code: "device.exists", .. }), "{fault}");
    let mut tx = plane.ctx.db.read().await.unwrap();
    let device = good[0].device.parse().unwrap();
    let row = fleet::device(&mut tx, &tenant(), &device).await.unwrap().unwrap();
    assert_eq!(row.labels["site"], "north");
    drop(tx);
    assert_eq!(
        plane.number("SELECT COUNT(*) AS n FROM audit WHERE action = 'device.enroll'").await,
        1
    );
    plane.stop().await;
}

#[tokio::test]
async fn guessing_join_codes_is_slowed_down() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    plane.join_code("pump-7", 60_000).await;
    let key = KeyPair::generate().unwrap();
    let (mut tried, mut limited) = (0, 0);
    for n in 0..1_000 {
        match plane.enroll(&format!("guess-{n}"), &key, 1).await {
            Err(Fault::TooMany { .. }) => limited += 1,
            Err(_) => tried += 1,
            Ok(answer) => panic!("a hit: {answer:?}"),
        }
    }
    assert!(tried < 100 && limited > 900, "{tried} tried, {limited} refused");
    plane.stop().await;
}

/// What an enrolling device checks: the chain that the gate sends holds the authority whose
/// fingerprint stands in the join code.
#[tokio::test]
async fn the_gate_sends_the_authority_along() {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, SQLITE).await;
    let device = plane.device("pump-7").await;
    let tls = client_tls(plane.ctx.ca.certificate_pem(), Some(&device.credentials));
    let raw = Raw::open(plane.addr(), tls).await.unwrap();
    let chain = raw.server_chain();
    assert_eq!(chain.len(), 2);
    assert_eq!(fingerprint(&chain[1]), plane.ctx.ca.fingerprint());
    plane.stop().await;
}
