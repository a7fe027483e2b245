//! Tests of devices that come back otherwise than they went: enrolled again, wiped, cloned, with an
//! old certificate; and of a control plane that comes back and can read more than before.

use openclaw_protocol::api::{CreateDeployment, Role, Target};
use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::id::{DeviceId, Epoch, RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Refusal, Report, ReportRecord};
use openclaw_protocol::run::{RunEvent, RunEventRecord, RunResult, StepPath, StepStatus, StepView};
use openclaw_protocol::sync::{Lane, chain};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};
use rumqttc::{ConnectReturnCode, ConnectionError};

use super::testing::{Device, Plane, result, tenant};
use crate::identity::{Credential, Principal};
use crate::service;
use crate::store::args;
use crate::testing::postgres::Cluster;

const SQLITE: &str = "sqlite";
const COUNT: &str = "workflow: count
version: '1'
steps:
  - id: one
    set: { n: 1 }
vars: { n: 0 }
";

/// The same on the other database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_come_back_on_postgres() {
    let cluster = Cluster::start();
    enrolled_again(&cluster.database("enrolled_again").await).await;
    answered_commands(&cluster.database("answered_commands").await).await;
    lost_runs(&cluster.database("lost_runs").await).await;
    old_certificate(&cluster.database("old_certificate").await).await;
    parked_records(&cluster.database("parked_records").await).await;
}

fn somebody() -> Principal {
    Principal {
        tenant: tenant(),
        actor: "user:ann".to_owned(),
        role: Role::Admin,
        username: Some("ann".to_owned()),
        credential: Credential::Session("none".to_owned()),
    }
}

async fn deploy(plane: &Plane, device: &DeviceId) {
    let (ctx, who) = (&plane.ctx, somebody());
    service::workflows::apply(ctx, &who, COUNT.to_owned()).await.unwrap();
    let target = Target { devices: vec![device.to_string()], labels: Default::default() };
    let body = CreateDeployment { workflow: "count".to_owned(), revision: None, target };
    service::deployments::create(ctx, &who, body, None).await.unwrap();
}

fn has_workflows(device: &Device, count: usize) -> bool {
    device.desired.as_ref().is_some_and(|(desired, _)| desired.workflows.len() == count)
}

fn stamp() -> Stamp {
    Stamp { boot: 1, boot_ms: 1, wall_ms: 1_790_000_000_000, trust: ClockTrust::Synced }
}

#[tokio::test]
async fn a_device_that_is_removed_and_enrolled_again_hears_us() {
    enrolled_again(SQLITE).await;
}

/// It keeps its database: the revision in force and the number of its last command.
async fn enrolled_again(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    let id = device.credentials.device.clone();
    deploy(&plane, &id).await;
    plane.wish(&id, 1).await;
    plane.wish(&id, 2).await;
    let ready = |device: &Device| device.wishes() == [1, 2] && has_workflows(device, 1);
    device.live_until("a workflow and two commands", ready).await;
    let (before, last) = (device.desired.clone().unwrap().0, device.commands[1].digest);

    service::devices::remove(&plane.ctx, &somebody(), "pump-7").await.unwrap();
    device.live_until("the cut", |device| !device.ends.is_empty()).await;
    let (credentials, _) = plane.credentials("pump-7").await;
    device.rejoin(credentials);
    // The deployment names it, so it is told to go on; a higher revision says so.
    let anew = |device: &Device| {
        device.desired.as_ref().is_some_and(|(desired, _)| desired.revision > before.revision)
    };
    device.live_until("a desired state of its new life", anew).await;
    plane.wish(&id, 3).await;
    device.live_until("a command", |device| device.wishes() == [1, 2, 3]).await;
    let third = &device.commands[2];
    assert_eq!(third.digest, chain(last, &third.body), "one chain");
    let body = result(device.epoch, 1);
    device.append(Lane::Results, body);
    device.live_until("a result home", |device| device.is_home(Lane::Results)).await;
    plane.stop().await;
}

#[tokio::test]
async fn a_wiped_device_does_not_do_again_what_it_has_answered() {
    answered_commands(SQLITE).await;
}

/// Commands 1, 2, 4 are answered, the row of 2 is gone; after the wipe only 3 comes, and 5 after it.
async fn answered_commands(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    let id = device.credentials.device.clone();
    for n in 1..=4 {
        plane.wish(&id, n).await;
    }
    device.live_until("four commands", |device| device.wishes() == [1, 2, 3, 4]).await;
    for (n, outcome) in [
        (1, Ok(RunId::parse("abc-1").unwrap())),
        (2, Ok(RunId::parse("abc-2").unwrap())),
        (4, Err(Refusal { code: "run.unknown".to_owned(), message: "no such run".to_owned() })),
    ] {
        let request = RequestId::parse(&format!("wish-{n}")).unwrap();
        let record = ReportRecord { at: stamp(), report: Report::Command { request, outcome } };
        device.append(Lane::Control, wire::pack(Kind::Report, &record));
    }
    device.live_until("the answers home", |device| device.is_home(Lane::Control)).await;
    assert_eq!(plane.change("DELETE FROM requests WHERE id = 'wish-2'", args![]).await, 1);

    let mut device = device.wiped();
    device.live_until("the open command", |device| device.wishes() == [3]).await;
    plane.wish(&id, 5).await;
    device.live_until("one more", |device| device.wishes() == [3, 5]).await;
    plane.stop().await;
}

#[tokio::test]
async fn runs_of_a_lost_database_end_and_those_of_a_cloned_one_do_not() {
    lost_runs(SQLITE).await;
}

/// A run with a step under way.
fn begin(device: &mut Device, run: RunId) {
    let accepted = RunEvent::Accepted {
        workflow: WorkflowName::parse("measure").unwrap(),
        version: "1".to_owned(),
        definition: DefinitionHash("0".repeat(64)),
        trigger: "every".to_owned(),
        inputs: JsonText::of(&serde_json::json!({})),
        priority: Priority::Normal,
        request: None,
    };
    let step = StepPath("read".to_owned());
    let started =
        RunEvent::StepStarted { step, kind: "plugin".to_owned(), attempt: 1, interrupted: false };
    for (seq, event) in [(1, accepted), (2, RunEvent::Began), (3, started)] {
        let record = RunEventRecord { run: run.clone(), seq, at: stamp(), event };
        device.append(Lane::History, wire::pack(Kind::RunEvent, &record));
    }
}

async fn lost_runs(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    device.live_until("its desired state", |device| device.desired.is_some()).await;
    let first = Epoch(device.epoch);
    for number in [1, 2] {
        begin(&mut device, RunId::of(first, number));
    }
    device.live_until("the beginning home", |device| device.is_home(Lane::History)).await;
    let running = "SELECT COUNT(*) AS n FROM runs WHERE status = 'running'";
    assert_eq!(plane.number(running).await, 2);

    let mut device = device.cloned();
    let told = "SELECT COUNT(*) AS n FROM security_events WHERE code = 'sync.new_epoch'";
    let body = result(device.epoch, 1);
    device.append(Lane::Results, body);
    device.live_until("a result home", |device| device.is_home(Lane::Results)).await;
    assert_eq!(plane.number(told).await, 1);
    assert_eq!(plane.number(running).await, 2, "the clone goes on with them");

    let mut device = device.wiped();
    let body = result(device.epoch, 1);
    device.append(Lane::Results, body);
    device.live_until("a result home", |device| device.is_home(Lane::Results)).await;
    assert_eq!(plane.number(told).await, 2);
    assert_eq!(plane.number(running).await, 0);
    let lost = "SELECT COUNT(*) AS n FROM runs WHERE status = 'failed' AND error LIKE '%run.lost%'";
    assert_eq!(plane.number(lost).await, 2);
    let run = RunId::of(first, 1);
    let shown = service::executions::find(&plane.ctx, &somebody(), "pump-7", run.as_str()).await;
    let shown = shown.unwrap().run;
    let expected = (openclaw_protocol::run::RunStatus::Failed, "run.lost");
    assert_eq!((shown.status, shown.error.unwrap().code.as_str()), expected);
    assert_eq!(shown.steps[0].status, StepStatus::Cancelled, "nothing is at work in it");

    // A word of one that comes after all is believed, be it news or the end.
    let resumed = RunEvent::Resumed { unclean: true };
    let record = RunEventRecord { run: RunId::of(first, 1), seq: 4, at: stamp(), event: resumed };
    device.append(Lane::History, wire::pack(Kind::RunEvent, &record));
    let mut end: RunResult = wire::unpack(Kind::RunResult, &result(first.0, 2), 10_000).unwrap();
    end.run = RunId::of(first, 2);
    device.append(Lane::Results, wire::pack(Kind::RunResult, &end));
    let home = |device: &Device| device.is_home(Lane::Results) && device.is_home(Lane::History);
    device.live_until("a late word home", home).await;
    assert_eq!((plane.number(running).await, plane.number(lost).await), (1, 0));
    let steps = async |run: u64| -> Vec<StepView> {
        let (run, who) = (RunId::of(first, run), somebody());
        let shown = service::executions::find(&plane.ctx, &who, "pump-7", run.as_str());
        shown.await.unwrap().run.steps
    };
    assert_eq!(steps(1).await[0].status, StepStatus::Running);
    assert_eq!(steps(2).await[0].status, StepStatus::Cancelled, "its result has come");
    let more = "UPDATE lanes SET announced = announced + 1 WHERE lane = 'history'";
    plane.change(more, args![]).await;
    assert_eq!(steps(2).await[0].status, StepStatus::Running, "its history may still come");
    plane.stop().await;
}

#[tokio::test]
async fn a_certificate_of_an_earlier_enrolment_is_no_good() {
    old_certificate(SQLITE).await;
}

/// After an old backup was restored nobody knows that it was revoked.
async fn old_certificate(database: &str) {
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut old = plane.device("pump-7").await;
    old.live_until("the session", Device::is_up).await;
    service::devices::remove(&plane.ctx, &somebody(), "pump-7").await.unwrap();
    let mut new = plane.device("pump-7").await;
    assert_eq!(plane.change("DELETE FROM revoked_certificates", args![]).await, 1);
    new.live_until("the session", Device::is_up).await;
    let refused = |end: &ConnectionError| {
        matches!(end, ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized))
    };
    old.live_until("the refusal", |old| old.ends.iter().any(refused)).await;
    let body = result(new.epoch, 1);
    new.append(Lane::Results, body);
    new.live_until("a result home", |new| new.is_home(Lane::Results)).await;
    plane.stop().await;
}

#[tokio::test]
async fn what_a_newer_build_can_read_is_read_at_its_start() {
    parked_records(SQLITE).await;
}

/// More than are looked at in one transaction, one of them of no use to this build either.
async fn parked_records(database: &str) {
    const PARK: &str = "INSERT INTO parked_records
        (tenant, device, epoch, lane, seq, reason, body, received_ms)
        VALUES ($1, $2, $3, $4, $5, 'of a newer version', $6, 1)";
    let dir = tempfile::tempdir().unwrap();
    let plane = Plane::start(dir.path(), 0, database).await;
    let mut device = plane.device("pump-7").await;
    let (id, epoch) = (device.credentials.device.clone(), Epoch(device.epoch));
    device.append(Lane::Results, b"no result at all".to_vec());
    device.live_until("it home", |device| device.is_home(Lane::Results)).await;
    for number in 2..=80 {
        let body = result(epoch.0, number);
        let values = args![&tenant(), &id, &epoch, "results", number, body];
        plane.change(PARK, values).await;
    }
    let report = Report::Security { code: "plugin.denied".to_owned(), message: "m".to_owned() };
    let report = wire::pack(Kind::Report, &ReportRecord { at: stamp(), report });
    plane.change(PARK, args![&tenant(), &id, &epoch, "control", 1_u64, report]).await;
    let stale = Report::Desired { revision: 0, refused: Vec::new() };
    let stale = wire::pack(Kind::Report, &ReportRecord { at: stamp(), report: stale });
    plane.change(PARK, args![&tenant(), &id, &epoch, "control", 2_u64, stale]).await;
    plane.change("UPDATE devices SET reported_revision = 1", args![]).await;
    plane.stop().await;

    let plane = Plane::start(dir.path(), 0, database).await;
    let results = "SELECT COUNT(*) AS n FROM results WHERE seq BETWEEN 2 AND 80";
    assert_eq!(plane.number(results).await, 79);
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM runs").await, 79);
    assert_eq!(plane.number("SELECT COUNT(*) AS n FROM parked_records").await, 1);
    assert_eq!(plane.number("SELECT seq AS n FROM parked_records").await, 1);
    let told = "SELECT COUNT(*) AS n FROM security_events WHERE code = 'plugin.denied'";
    assert_eq!(plane.number(told).await, 1);
    let reported = "SELECT reported_revision AS n FROM devices";
    assert_eq!(plane.number(reported).await, 1, "what was said later stays");
    plane.stop().await;
}
