//! Golden bytes: what each wire type looks like, byte for byte, as `docs/wire.md` prints it.
//!
//! Bytes that have been sent or stored once must be readable for ever, so a line of that list is
//! never changed, only added. A new variant does not compile here until it has a name, and the test
//! does not pass until it has an example.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::{Command, CommandRecord};
use crate::definition::{DefinitionHash, LogLevel, Priority};
use crate::desired::{Desired, DesiredWorkflow, PluginPin, SignedDesired};
use crate::id::{
    DeviceId, Digest, Epoch, Generation, PluginName, RequestId, RunId, TenantId, WorkflowName,
};
use crate::json::JsonText;
use crate::limits;
use crate::plugin::{CallLimits, Permissions};
use crate::recording::RecordingPart;
use crate::report::{Inventory, Refusal, Report, ReportRecord};
use crate::run::{
    ErrorCause, RunError, RunEvent, RunEventRecord, RunResult, RunStatus, StepPath, StepStatus,
};
use crate::secret::{HeldSecret, SealedSecret, SecretState};
use crate::sync::{Announcement, Cursor, Dropped, Frame, Hello, Holding, Lane};
use crate::time::{ClockTrust, Stamp};

use super::{Kind, VERSION, WireError, pack, unpack};

const DOC: &str = include_str!("../../../docs/wire.md");

/// Names the variants of an enum, once for the compiler (a new one is missing from the match) and
/// once for the test (a name without an example is missing from the list).
macro_rules! variants {
    ($names:ident, $name_of:ident, $type:ty { $($variant:ident)* }) => {
        const $names: &[&str] = &[$(stringify!($variant)),*];
        fn $name_of(value: &$type) -> &'static str {
            type This = $type;
            match value {
                $(This::$variant { .. } => stringify!($variant),)*
            }
        }
    };
}

variants!(FRAMES, frame_name, Frame { Hello Batch Ack Desired Want Chunk Part });
variants!(LANES, lane_name, Lane { Control Results History Telemetry Commands });
variants!(REPORTS, report_name, Report { Command Desired Inventory Security Dropped SealingKey Secrets Done });
variants!(COMMANDS, command_name, Command { Start Cancel Signal Decide Retry Export Record });
variants!(
    EVENTS,
    event_name,
    RunEvent {
        Accepted Began StepQueued StepStarted StepDelayed StepSettled CancelRequested Resumed Settled
        StepWaiting Logged Compensated Migrated Stayed
    }
);
variants!(
    RUN_STATUSES,
    run_status_name,
    RunStatus { Pending Running Completed Failed Cancelled Delayed }
);
variants!(
    STEP_STATUSES,
    step_status_name,
    StepStatus { Queued Running Delayed Succeeded Bypassed Failed Skipped Cancelled Waiting }
);
variants!(PRIORITIES, priority_name, Priority { Low Normal High Critical });
variants!(TRUSTS, trust_name, ClockTrust { Unset Estimated Synced });
variants!(
    KINDS,
    kind_name,
    Kind {
        Frame RunEvent RunResult Report Command Desired SignedDesired Fact Row Dropped Telemetry Batch
        Recording DesiredSecrets Facts
    }
);

/// The list: name and bytes in hexadecimal, in the order of the document.
#[derive(Default)]
struct Golden(Vec<(String, String)>);

impl Golden {
    /// Adds a value and looks that its bytes give it back.
    fn add<T>(&mut self, name: impl Into<String>, kind: Kind, value: &T)
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let bytes = pack(kind, value);
        let back: T = unpack(kind, &bytes, bytes.len()).unwrap();
        assert_eq!(&back, value);
        for cut in 0..bytes.len() {
            assert!(unpack::<T>(kind, &bytes[..cut], bytes.len()).is_err(), "cut at {cut}");
        }
        self.0.push((name.into(), data_encoding::HEXLOWER.encode(&bytes)));
    }

    /// Adds each variant of an enum: `number` is what postcard must know it by.
    fn all<T>(&mut self, what: &str, names: &[&str], name_of: fn(&T) -> &'static str, values: &[T])
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let covered: Vec<&str> = values.iter().map(name_of).collect();
        assert_eq!(covered, names, "every {what} has one example, in order");
        for (number, value) in values.iter().enumerate() {
            let bytes = pack(Kind::Row, value);
            assert_eq!(usize::from(bytes[2]), number, "{what} {value:?} keeps its number");
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, bytes)| format!("{name} {bytes}\n")).collect()
    }
}

fn stamp() -> Stamp {
    Stamp { boot: 3, boot_ms: 90_000, wall_ms: 1_700_000_000_123, trust: ClockTrust::Synced }
}

fn run() -> RunId {
    RunId::of(Epoch(0x1234_5678_9abc_def0), 42)
}

fn error() -> RunError {
    let step = Some(StepPath("cool#3/count".to_owned()));
    RunError {
        code: "plugin.trap".to_owned(),
        message: "unreachable".to_owned(),
        step,
        attempt: 2,
        retryable: true,
        details: None,
        causes: Vec::new(),
    }
}

fn refusal() -> Refusal {
    Refusal { code: "plugin.missing".to_owned(), message: "publish it".to_owned() }
}

fn hash() -> DefinitionHash {
    DefinitionHash("ab".repeat(32))
}

fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

fn workflow() -> WorkflowName {
    WorkflowName::parse("watch-pump").unwrap()
}

fn request() -> RequestId {
    RequestId::parse("wish-1").unwrap()
}

fn frames() -> Vec<Frame> {
    let log = 0x1122_3344_5566_7788;
    let cursor = |lane, ranges| Cursor { lane, upto: 300, digest: 0xfeed, ranges };
    let announcement = Announcement { revision: 9, digest: Digest([0xd1; 32]), size: 70_000 };
    vec![
        Frame::Hello(Hello {
            versions: (1, 1),
            nonce: 0xaabb_ccdd,
            echo: 5,
            log,
            holdings: vec![Holding { lane: Lane::Results, oldest: 1, next: 301 }],
            peer_log: 77,
            cursors: vec![cursor(Lane::Commands, Vec::new())],
            desired_revision: 8,
            answered: true,
        }),
        Frame::Batch {
            log,
            lane: Lane::History,
            first: 128,
            deflated: false,
            body: vec![1, 12, 1, 1, 1, 0x2a, 3, 1, 4, 9],
        },
        Frame::Ack { log, by: 77, cursor: cursor(Lane::Results, vec![(302, 310), (400, 401)]) },
        Frame::Desired { log: 77, announcement },
        Frame::Want { digest: Digest([0xd1; 32]), offset: 32_768 },
        Frame::Chunk { digest: Digest([0xd1; 32]), offset: 0, total: 3, bytes: vec![7, 8, 9] },
        Frame::Part {
            log,
            lane: Lane::Control,
            seq: 5,
            digest: 0xfeed,
            offset: 32_768,
            total: 32_770,
            bytes: vec![1, 2],
        },
    ]
}

fn events() -> Vec<RunEvent> {
    let step = || StepPath("guard/shut[pump]".to_owned());
    vec![
        RunEvent::Accepted {
            workflow: workflow(),
            version: "1.2".to_owned(),
            definition: hash(),
            trigger: "manual".to_owned(),
            inputs: json("{\"limit\":21.0}"),
            priority: Priority::High,
            request: Some(request()),
        },
        RunEvent::Began,
        RunEvent::StepQueued { step: step(), attempt: 1 },
        RunEvent::StepStarted {
            step: step(),
            kind: "plugin".to_owned(),
            attempt: 1,
            interrupted: true,
        },
        RunEvent::StepDelayed { step: step(), attempt: 1, wait_ms: 60_000, error: Some(error()) },
        RunEvent::StepSettled {
            step: step(),
            status: StepStatus::Failed,
            attempts: 4,
            output: Some(json("[1]")),
            error: None,
        },
        RunEvent::CancelRequested { force: true },
        RunEvent::Resumed { unclean: true },
        RunEvent::Settled { status: RunStatus::Failed, outputs: json("{}"), error: Some(error()) },
        RunEvent::StepWaiting {
            step: step(),
            reason: "approval".to_owned(),
            details: Some(json("{\"prompt\":\"go on?\"}")),
        },
        RunEvent::Logged {
            step: step(),
            level: LogLevel::Warn,
            message: "too hot".to_owned(),
            fields: json("{\"celsius\":81.5}"),
        },
        RunEvent::Compensated { step: StepPath(String::new()), complete: false },
        RunEvent::Migrated { version: "1.3".to_owned(), definition: hash() },
        RunEvent::Stayed {
            version: "1.3".to_owned(),
            definition: hash(),
            reason: "`cool` has begun, and is gone".to_owned(),
        },
    ]
}

fn result() -> RunResult {
    RunResult {
        run: run(),
        workflow: workflow(),
        version: "1.2".to_owned(),
        definition: hash(),
        trigger: "tick".to_owned(),
        request: None,
        priority: Priority::Normal,
        status: RunStatus::Completed,
        accepted: stamp(),
        settled: Stamp { boot_ms: 91_500, trust: ClockTrust::Unset, wall_ms: -1, ..stamp() },
        inputs: json("{}"),
        outputs: json("{\"ok\":true}"),
        error: None,
        steps: 20,
    }
}

/// With an error that has all its parts.
fn failed() -> RunResult {
    let cause =
        ErrorCause { code: "timeout".to_owned(), message: "late".to_owned(), step: error().step };
    let error = RunError { details: Some(json("[1]")), causes: vec![cause], ..error() };
    RunResult { status: RunStatus::Failed, error: Some(error), ..result() }
}

fn reports() -> Vec<Report> {
    vec![
        Report::Command { request: request(), outcome: Err(refusal()) },
        Report::Desired { revision: 9, refused: vec![("watch-pump".to_owned(), refusal())] },
        Report::Inventory(Inventory {
            agent_version: "0.1.0".to_owned(),
            arch: "aarch64".to_owned(),
            os: "linux".to_owned(),
            files: vec!["proc".to_owned()],
            slots: 4,
            boot: 3,
            unclean: true,
        }),
        Report::Security { code: "permission.denied".to_owned(), message: "http".to_owned() },
        Report::Dropped {
            workflow: "watch-pump".to_owned(),
            reason: "queue_full".to_owned(),
            count: 12,
        },
        Report::SealingKey { key: [0x25; 32] },
        Report::Secrets {
            held: vec![
                HeldSecret { name: "token".to_owned(), version: 300, state: SecretState::Ready },
                HeldSecret { name: "pin".to_owned(), version: 1, state: SecretState::OtherKey },
                HeldSecret { name: "k".to_owned(), version: 2, state: SecretState::Unopened },
            ],
        },
        Report::Done { request: request() },
    ]
}

fn commands() -> Vec<Command> {
    let start = Command::Start {
        workflow: workflow(),
        inputs: json("{\"limit\":21}"),
        priority: Some(Priority::Critical),
    };
    let signal = Command::Signal {
        run: run(),
        name: "door-closed".to_owned(),
        data: json("{\"by\":\"ada\"}"),
    };
    let decide = Command::Decide {
        run: run(),
        step: StepPath("ask".to_owned()),
        choice: "approve".to_owned(),
        by: "ada".to_owned(),
        form: json("{\"note\":\"ok\"}"),
    };
    let retry = Command::Retry { run: run() };
    let export = Command::Export { run: run() };
    let record = Command::Record { workflow: workflow(), next: 300 };
    vec![start, Command::Cancel { run: run(), force: true }, signal, decide, retry, export, record]
}

/// Half of its optional fields are empty: nothing may be left out for that.
fn desired() -> Desired {
    let permissions = Permissions { http: vec!["10.0.0.7:502".to_owned()], ..Default::default() };
    let pin = |name: &str, granted| PluginPin {
        name: PluginName::parse(name).unwrap(),
        version: "1.0.0".to_owned(),
        digest: Digest([0xd2; 32]),
        size: 40_000,
        actions: vec![("execute".to_owned(), "execute".to_owned())],
        granted,
        limits: CallLimits { fuel: 1_000, memory_bytes: 65_536, output_bytes: 256 },
    };
    Desired {
        tenant: TenantId::parse("acme").unwrap(),
        device: DeviceId::parse("pump-7").unwrap(),
        generation: Generation(77),
        revision: 9,
        issued_wall_ms: 1_700_000_000_123,
        workflows: vec![DesiredWorkflow {
            name: workflow(),
            version: "1.2".to_owned(),
            hash: hash(),
            definition: json("{\"name\":\"watch-pump\"}"),
            pins: vec![("modbus@1".to_owned(), 0)],
            triggers_enabled: true,
        }],
        plugins: vec![pin("modbus", permissions), pin("clock", Permissions::default())],
    }
}

fn sealed() -> Vec<SealedSecret> {
    let (name, key) = ("token".to_owned(), [0x25; 32]);
    vec![SealedSecret { name, version: 300, key, sealed: vec![0x5e; 3] }]
}

#[test]
fn a_document_without_secrets_is_what_it_was_before_there_were_any() {
    let plain = crate::desired::pack(&desired(), &[]);
    assert_eq!(plain, pack(Kind::Desired, &desired()));
    assert_eq!(crate::desired::unpack(&plain).unwrap(), (desired(), Vec::new()));
    let with = crate::desired::pack(&desired(), &sealed());
    assert_eq!(crate::desired::unpack(&with).unwrap(), (desired(), sealed()));
    let many = vec![sealed().remove(0); limits::DEVICE_SECRETS + 1];
    let error = crate::desired::unpack(&crate::desired::pack(&desired(), &many)).unwrap_err();
    assert!(matches!(error, WireError::Body(_)), "{error}");
}

fn golden() -> Golden {
    let mut golden = Golden::default();
    golden.all("lane", LANES, lane_name, &[Lane::UP.as_slice(), &Lane::DOWN].concat());
    golden.all("frame", FRAMES, frame_name, &frames());
    golden.all("event", EVENTS, event_name, &events());
    golden.all("report", REPORTS, report_name, &reports());
    golden.all("command", COMMANDS, command_name, &commands());
    for frame in frames() {
        golden.add(format!("Frame::{}", frame_name(&frame)), Kind::Frame, &frame);
    }
    for (seq, event) in (1..).zip(events()) {
        let name = format!("RunEvent::{}", event_name(&event));
        let record = RunEventRecord { run: run(), seq, at: stamp(), event };
        golden.add(name, Kind::RunEvent, &record);
    }
    golden.add("RunResult", Kind::RunResult, &result());
    for report in reports() {
        let name = format!("Report::{}", report_name(&report));
        golden.add(name, Kind::Report, &ReportRecord { at: stamp(), report });
    }
    for command in commands() {
        let name = format!("Command::{}", command_name(&command));
        golden.add(name, Kind::Command, &CommandRecord { request: request(), command });
    }
    golden.add("Desired", Kind::Desired, &desired());
    let signed = SignedDesired { document: vec![1, 6, 0], signature: vec![0x51; 64] };
    golden.add("SignedDesired", Kind::SignedDesired, &signed);
    let dropped = Dropped { first: 5, last: 300, reason: "quota".to_owned() };
    golden.add("Dropped", Kind::Dropped, &dropped);
    golden.add("RunResult (failed)", Kind::RunResult, &failed());
    let (part, parts) = (1, 3);
    let bytes = vec![0x4b, 0x04, 0x00];
    let part = RecordingPart { request: request(), run: run(), part, parts, bytes };
    golden.add("RecordingPart", Kind::Recording, &part);
    golden.add("Desired (with secrets)", Kind::DesiredSecrets, &(desired(), sealed()));
    golden
}

#[test]
fn wire_types_have_the_bytes_that_the_document_prints() {
    let golden = golden().text();
    let printed = block("golden");
    assert!(printed == golden, "docs/wire.md should print, after ```golden:\n{golden}");
}

/// Enums inside other types, which have no line of their own.
#[test]
fn small_enums_keep_their_numbers() {
    use {Priority as P, RunStatus as R, StepStatus as S};
    let mut none = Golden::default();
    let statuses = [R::Pending, R::Running, R::Completed, R::Failed, R::Cancelled, R::Delayed];
    none.all("run status", RUN_STATUSES, run_status_name, &statuses);
    let statuses = [
        S::Queued,
        S::Running,
        S::Delayed,
        S::Succeeded,
        S::Bypassed,
        S::Failed,
        S::Skipped,
        S::Cancelled,
        S::Waiting,
    ];
    none.all("step status", STEP_STATUSES, step_status_name, &statuses);
    none.all("priority", PRIORITIES, priority_name, &[P::Low, P::Normal, P::High, P::Critical]);
    let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
    none.all("clock trust", TRUSTS, trust_name, &trusts);
}

#[test]
fn the_document_lists_every_kind_lane_and_frame() {
    let kinds = [
        Kind::Frame,
        Kind::RunEvent,
        Kind::RunResult,
        Kind::Report,
        Kind::Command,
        Kind::Desired,
        Kind::SignedDesired,
        Kind::Fact,
        Kind::Row,
        Kind::Dropped,
        Kind::Telemetry,
        Kind::Batch,
        Kind::Recording,
        Kind::DesiredSecrets,
        Kind::Facts,
    ];
    let named: Vec<&str> = kinds.iter().map(kind_name).collect();
    assert_eq!(named, KINDS);
    for kind in kinds {
        let row = format!("| {} | `{}` |", kind as u8, kind_name(&kind));
        assert!(DOC.contains(&row), "no row {row}");
    }
    for (number, name) in FRAMES.iter().enumerate() {
        let heading = format!("### {number} `{name}`");
        assert!(DOC.contains(&heading), "no heading {heading}");
    }
    for (number, lane) in Lane::UP.into_iter().chain(Lane::DOWN).enumerate() {
        let row = format!("| {number} | `{}` |", lane.name());
        assert!(DOC.contains(&row), "no row {row}");
    }
}

#[test]
fn the_document_prints_the_limits_in_force() {
    let limits: BTreeMap<&str, u64> = BTreeMap::from([
        ("FRAME_BYTES", limits::FRAME_BYTES as u64),
        ("BATCH_UNPACKED_BYTES", limits::BATCH_UNPACKED_BYTES as u64),
        ("BATCH_RECORDS", limits::BATCH_RECORDS as u64),
        ("RECORD_BYTES", limits::RECORD_BYTES as u64),
        ("WINDOW_BATCHES", limits::WINDOW_BATCHES as u64),
        ("ACK_RANGES", limits::ACK_RANGES as u64),
        ("LANES", limits::LANES as u64),
        ("CHUNK_BYTES", limits::CHUNK_BYTES as u64),
        ("CHUNKS_AHEAD", limits::CHUNKS_AHEAD as u64),
        ("CHUNKS_SERVED", limits::CHUNKS_SERVED as u64),
        ("DESIRED_BYTES", limits::DESIRED_BYTES as u64),
        ("MODULE_BYTES", limits::MODULE_BYTES as u64),
        ("BACKLOG_BYTES_PER_S", limits::BACKLOG_BYTES_PER_S),
        ("BACKLOG_BURST_BYTES", limits::BACKLOG_BURST_BYTES),
        ("RESEND_MS", limits::RESEND_MS),
        ("RESEND_MAX_MS", limits::RESEND_MAX_MS),
        ("RENEW_AFTER_MS", limits::RENEW_AFTER_MS),
        ("PROBE_AFTER_MS", limits::PROBE_AFTER_MS),
        ("PROBE_AGAIN_MS", limits::PROBE_AGAIN_MS),
        ("DEAD_AFTER_MS", limits::DEAD_AFTER_MS),
        ("REDELIVER_MS", limits::REDELIVER_MS),
        ("MISSING_BLOB_MS", limits::MISSING_BLOB_MS),
    ]);
    let rows = limits.iter().map(|(name, value)| format!("| `{name}` | {value} |"));
    let missing: Vec<String> = rows.filter(|row| !DOC.contains(row)).collect();
    assert!(missing.is_empty(), "docs/wire.md lacks the rows {missing:#?}");
}

#[test]
fn bytes_that_are_something_else_are_refused() {
    let bytes = pack(Kind::Dropped, &Dropped { first: 1, last: 2, reason: String::new() });
    let read = |bytes: &[u8]| unpack::<Dropped>(Kind::Dropped, bytes, 100).unwrap_err();
    assert_eq!(read(&[]), WireError::Size { len: 0, most: 100 });
    assert_eq!(read(&[0; 101]), WireError::Size { len: 101, most: 100 });
    assert_eq!(read(&[VERSION + 1, 10, 0]), WireError::Version(VERSION + 1));
    assert_eq!(read(&[VERSION, 1, 0]), WireError::Kind { found: 1, expected: Kind::Dropped });
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(read(&longer), WireError::Body("1 bytes too many".to_owned()));
    // A length that the bytes cannot hold takes no memory.
    let huge = [VERSION, 10, 1, 2, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert!(matches!(read(&huge), WireError::Body(_)));
}

/// The lines of a fenced block of the document.
fn block(name: &str) -> String {
    let fence = format!("```{name}\n");
    let (_, rest) = DOC.split_once(&fence).unwrap_or_else(|| panic!("no block {name}"));
    rest.split_once("```").map(|(block, _)| block.to_owned()).unwrap_or_default()
}
