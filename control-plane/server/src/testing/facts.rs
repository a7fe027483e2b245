//! Facts as a device would tell them, and devices without a wire.

use std::collections::BTreeMap;

use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::id::{DeviceId, Digest, Epoch, RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::{Inventory, Report, ReportRecord};
use openclaw_protocol::run::{
    RunEvent, RunEventRecord, RunResult, RunStatus, StepPath, StepStatus,
};
use openclaw_protocol::sync::{Lane, Record, chain};
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};

use super::server::{START_MS, Server};
use crate::store::devices::{self, NewDevice};
use crate::store::fleet::{IngestOutcome, ingest};

pub(super) const EPOCH: Epoch = Epoch(0x1234_5678_9abc_def0);

/// A workflow that needs nothing.
pub(super) const COUNT: &str = "workflow: count
version: '1'
description: counts to one
inputs:
  limit: { type: number, maximum: 100, optional: true }
  zones: { type: array, items: { type: integer }, optional: true }
triggers:
  - id: hourly
    interval: 1h
steps:
  - id: one
    set: { n: 1 }
vars: { n: 0 }
";

/// As [`COUNT`], with other content.
pub(super) const COUNT_2: &str = "workflow: count
version: '2'
description: counts to two
triggers:
  - id: hourly
    interval: 1h
steps:
  - id: one
    set: { n: 2 }
vars: { n: 0 }
";

/// A workflow that calls a plugin.
pub(super) const CALLS: &str = "workflow: calls
version: '1'
description: calls a plugin
steps:
  - id: call
    plugin: greeter@^1
    with: { who: world }
";

/// The smallest module with an export `execute` and a page of memory.
pub(super) const MODULE: &[u8] = &[
    0, b'a', b's', b'm', 1, 0, 0, 0, // head
    1, 5, 1, 0x60, 0, 1, 0x7f, // type 0: () -> i32
    3, 2, 1, 0, // function 0 is of type 0
    5, 3, 1, 0, 1, // one memory of one page
    7, 20, 2, 7, b'e', b'x', b'e', b'c', b'u', b't', b'e', 0, 0, 6, b'm', b'e', b'm', b'o', b'r',
    b'y', 2, 0, // exports
    10, 6, 1, 4, 0, 0x41, 0, 0x0b, // returns 0
];

/// `plugin.toml` of a plugin with an action `execute`.
pub(super) fn manifest(name: &str, version: &str, more: &str) -> String {
    format!("name = '{name}'\nversion = '{version}'\ndescription = 'greets'\n{more}")
}

pub(super) fn device(id: &str) -> DeviceId {
    DeviceId::parse(id).unwrap()
}

/// Enrols a device without a wire.
pub(super) async fn enrol(server: &Server, id: &str, labels: &[(&str, &str)]) -> DeviceId {
    let id = device(id);
    let labels: BTreeMap<String, String> =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut tx = server.write().await;
    let new = NewDevice {
        id: &id,
        labels: &labels,
        certificate_fingerprint: Digest(crate::random::bytes()),
        certificate_expires_ms: START_MS + 90 * 24 * 3_600_000,
    };
    assert!(devices::insert(&mut tx, &server.tenant(), &new, server.now_ms()).await.unwrap());
    tx.commit().await.unwrap();
    id
}

/// Hands records of a device over, as its session would.
pub(super) async fn tell(
    server: &Server,
    device: &DeviceId,
    lane: Lane,
    records: Vec<Record>,
) -> IngestOutcome {
    tell_under(server, device, EPOCH, lane, records).await
}

/// As [`tell`], under a log of that name.
pub(super) async fn tell_under(
    server: &Server,
    device: &DeviceId,
    epoch: Epoch,
    lane: Lane,
    records: Vec<Record>,
) -> IngestOutcome {
    let mut tx = server.write().await;
    let (tenant, now_ms) = (server.tenant(), server.now_ms());
    let outcome = ingest(&mut tx, &tenant, device, epoch, lane, records, now_ms).await.unwrap();
    tx.commit().await.unwrap();
    server.ctx.live.publish(&tenant, outcome.changes.clone());
    outcome
}

pub(super) fn stamp(ms: i64) -> Stamp {
    let boot_ms = u64::try_from(ms).unwrap();
    Stamp { boot: 1, boot_ms, wall_ms: START_MS + ms, trust: ClockTrust::Synced }
}

pub(super) fn run_id(number: u64) -> RunId {
    RunId::of(EPOCH, number)
}

/// Bodies as records of one lane, from number 1 on.
pub(super) fn lane(bodies: Vec<Vec<u8>>) -> Vec<Record> {
    let mut digest = 0;
    let numbered = (1..).zip(bodies);
    numbered
        .map(|(seq, body)| {
            digest = chain(digest, &body);
            Record { seq, digest, body }
        })
        .collect()
}

pub(super) fn result(number: u64, status: RunStatus) -> RunResult {
    RunResult {
        run: run_id(number),
        workflow: WorkflowName::parse("count").unwrap(),
        version: "1".to_owned(),
        definition: DefinitionHash("00".repeat(32)),
        trigger: "hourly".to_owned(),
        request: None,
        priority: Priority::Normal,
        status,
        accepted: stamp(1_000),
        settled: stamp(2_000),
        inputs: JsonText::parse("{\"limit\":21.0}").unwrap(),
        outputs: JsonText::parse("{\"n\":1}").unwrap(),
        error: None,
        steps: 1,
    }
}

/// The results of runs 1 to `count`, as records.
pub(super) fn results(count: u64) -> Vec<Record> {
    let bodies = (1..=count).map(|n| wire::pack(Kind::RunResult, &result(n, RunStatus::Completed)));
    lane(bodies.collect())
}

/// What a device tells of one run, up to its end.
pub(super) fn events(number: u64) -> Vec<RunEventRecord> {
    let step = StepPath("one".to_owned());
    let said = [
        RunEvent::Accepted {
            workflow: WorkflowName::parse("count").unwrap(),
            version: "1".to_owned(),
            definition: DefinitionHash("00".repeat(32)),
            trigger: "hourly".to_owned(),
            inputs: JsonText::parse("{\"limit\":21.0}").unwrap(),
            priority: Priority::Normal,
            request: None,
        },
        RunEvent::Began,
        RunEvent::StepStarted {
            step: step.clone(),
            kind: "set".to_owned(),
            attempt: 1,
            interrupted: false,
        },
        RunEvent::StepSettled {
            step,
            status: StepStatus::Succeeded,
            attempts: 1,
            output: Some(JsonText::parse("{\"n\":1}").unwrap()),
            error: None,
        },
        RunEvent::Settled {
            status: RunStatus::Completed,
            outputs: JsonText::parse("{\"n\":1}").unwrap(),
            error: None,
        },
    ];
    let numbered = (1_u32..).zip(said);
    numbered
        .map(|(seq, event)| RunEventRecord {
            run: run_id(number),
            seq,
            at: stamp(i64::from(seq) * 100),
            event,
        })
        .collect()
}

pub(super) fn history(events: &[RunEventRecord]) -> Vec<Record> {
    lane(events.iter().map(|event| wire::pack(Kind::RunEvent, event)).collect())
}

pub(super) fn reports(reports: Vec<Report>) -> Vec<Record> {
    let pack = |report| wire::pack(Kind::Report, &ReportRecord { at: stamp(500), report });
    lane(reports.into_iter().map(pack).collect())
}

pub(super) fn inventory(files: &[&str]) -> Report {
    Report::Inventory(Inventory {
        agent_version: "0.1.0".to_owned(),
        arch: "aarch64".to_owned(),
        os: "linux".to_owned(),
        files: files.iter().map(|&name| name.to_owned()).collect(),
        slots: 4,
        boot: 1,
        unclean: false,
    })
}

pub(super) fn answer(request: &str, run: RunId) -> Report {
    Report::Command { request: RequestId::parse(request).unwrap(), outcome: Ok(run) }
}
