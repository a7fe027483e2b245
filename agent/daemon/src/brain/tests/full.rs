//! A disk that is full: at every write of a run, one by one; and seen coming.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use openclaw_protocol::command::Command;
use openclaw_protocol::id::WorkflowName;
use openclaw_protocol::json::JsonText;
use redb::{BackendError, StorageBackend};

use super::peer::{Peer, now_ms};
use super::sync::{MODULE, checked, desired, install, pair};
use super::*;
use crate::limits::ROOM_LOOK_MS;

const STEPS: usize = 5;
const PLENTY: u64 = 8 * 1024 * 1024;

/// Which writes, changes of length and syncs fail, over all openings of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    done: u64,
    /// The number of the first one that fails.
    from: Option<u64>,
    /// All after it do as well, until there is room again.
    lasting: bool,
    kind: Option<io::ErrorKind>,
    hit: u64,
}

impl Faults {
    pub(super) fn at(from: u64, kind: io::ErrorKind, lasting: bool) -> Self {
        let plan = Plan { from: Some(from), lasting, kind: Some(kind), ..Plan::default() };
        Self(Arc::new(Mutex::new(plan)))
    }

    pub(super) fn backend(&self, inner: impl StorageBackend) -> Faulty {
        Faulty { inner: Box::new(inner), faults: self.clone() }
    }

    pub(super) fn relieve(&self) {
        self.0.lock().unwrap().from = None;
    }

    fn hit(&self) -> u64 {
        self.0.lock().unwrap().hit
    }

    fn next(&self) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap();
        plan.done += 1;
        let (done, lasting) = (plan.done, plan.lasting);
        if plan.from.is_some_and(|from| done == from || (lasting && done > from)) {
            plan.hit += 1;
            return Err(plan.kind.unwrap_or(io::ErrorKind::StorageFull).into());
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Faulty {
    inner: Box<dyn StorageBackend>,
    faults: Faults,
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.next()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.next()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.next()?;
        self.inner.write(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }
}

/// Whether the device can write; a person at it sees the same.
pub(super) fn is_well(device: &mut Device) -> bool {
    let state = device.status().storage.state;
    assert!(["ample", "low", "storage_full", "failing"].contains(&state.as_str()), "{state}");
    state == "ample"
}

/// There is room again, and a second passes.
pub(super) fn relieve(device: &mut Device) {
    device.faults.as_ref().unwrap().relieve();
    device.clock.advance(ROOM_LOOK_MS);
    device.turn(Vec::new()).unwrap();
    assert!(is_well(device), "{:?}", device.status().storage);
}

/// Plays a run on a disk with these faults, and makes room whenever nothing goes on. What the world
/// outside saw: idempotency key → how often.
fn play(faults: Faults) -> (Device, BTreeMap<String, u32>) {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.faults = Some(faults.clone());
    if let Err(e) = device.start() {
        // As the agent waits for room before it begins.
        assert!(matches!(e, StoreError::Full(_) | StoreError::Database(_)), "{e}");
        faults.relieve();
        if let Err(e) = device.start() {
            // The file was being made; the agent removes it (see `store::open_or_quarantine`).
            assert!(matches!(e, StoreError::Damaged(_)), "{e}");
            device.disk.wipe();
            device.start().unwrap();
        }
    }
    let (reply, mut answer) = oneshot::channel();
    if !is_well(&mut device) {
        relieve(&mut device);
    }
    let request = Request::Start { workflow: "long".into(), inputs: serde_json::Map::new() };
    device.turn(vec![Event::Local { request, reply }]).unwrap();
    let answered = match answer.try_recv() {
        Ok(answered) => answered,
        Err(_) => {
            assert!(device.calls().is_empty(), "nothing is done of what is not durable");
            relieve(&mut device);
            answer.try_recv().unwrap()
        }
    };
    assert!(matches!(answered, Answer::Accepted { .. }), "{answered:?}");
    let mut ledger = BTreeMap::new();
    loop {
        // To ask is to give it a turn.
        let is_well = is_well(&mut device);
        let calls = device.calls();
        if calls.is_empty() && is_well {
            break;
        }
        if calls.is_empty() {
            relieve(&mut device);
        }
        for call in calls {
            *ledger.entry(call.idempotency_key.clone()).or_default() += 1;
            device.answer(&call).unwrap();
        }
    }
    faults.relieve();
    (device, ledger)
}

fn judge(device: &mut Device, ledger: &BTreeMap<String, u32>, context: &str) {
    for life in ["as it is", "after a restart"] {
        let results = device.results();
        assert_eq!(results.len(), 1, "{context}, {life}: each result once");
        assert_eq!(results[0].status, RunStatus::Completed, "{context}, {life}");
        assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": STEPS }), "{context}");
        assert_eq!(device.status().unsettled, 0, "{context}, {life}");
        device.brain = None;
        device.start().unwrap();
    }
    assert_eq!(ledger.len(), STEPS, "{context}: every effect under its own key");
    assert!(ledger.values().all(|count| *count == 1), "{context}: {ledger:?}");
}

/// Every write, change of length and sync of a run fails in its turn. How many there were.
fn every_one(kind: io::ErrorKind, lasting: bool) -> u64 {
    for n in 1.. {
        let faults = Faults::at(n, kind, lasting);
        let (mut device, ledger) = play(faults.clone());
        judge(&mut device, &ledger, &format!("{kind:?} at {n}, lasting {lasting}"));
        if faults.hit() == 0 {
            return n - 1;
        }
    }
    0
}

#[test]
fn no_room_at_every_write_of_a_run() {
    let tried = every_one(io::ErrorKind::StorageFull, true);
    println!("{tried} writes, changes of length and syncs failed one by one, until there was room");
    assert!(tried >= 40, "{tried}");
}

#[test]
fn a_failure_at_every_write_of_a_run_that_is_over_at_once() {
    for kind in [io::ErrorKind::QuotaExceeded, io::ErrorKind::Other] {
        let tried = every_one(kind, false);
        assert!(tried >= 40, "{tried}");
    }
}

/// Every write fails from the next one on.
pub(super) fn fail_writes(device: &Device) {
    let mut plan = device.faults.as_ref().unwrap().0.lock().unwrap();
    (plan.from, plan.lasting) = (Some(plan.done + 1), true);
}

#[test]
fn control_a_store_that_is_not_opened_again_ends_the_brain() {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.start().unwrap();
    device.disk.cut_at_sync(1);
    assert!(device.begin("long").is_err());
}

#[test]
fn control_writes_that_are_lost_in_silence_are_seen() {
    let (mut device, ledger) = play(Faults::default());
    device.brain = None;
    let platter = device.disk.copy();
    // The last commits never came to the disk.
    device.disk.wipe();
    device.start().unwrap();
    let is_lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        judge(&mut device, &ledger, "control");
    }));
    assert!(is_lost.is_err() && platter.size() > 0);
}

/// A device whose disk can be filled.
fn roomy(mut device: Device) -> Device {
    device.faults = Some(Faults::default());
    device.volume = Some(Arc::new(Pretended::new(PLENTY)));
    device
}

fn leave(device: &mut Device, free: u64) {
    device.volume.as_ref().unwrap().leave(free);
    device.clock.advance(ROOM_LOOK_MS);
    device.turn(Vec::new()).unwrap();
}

fn fill(device: &mut Device) {
    for _ in 0..8 {
        leave(device, 0);
    }
}

fn refused(device: &mut Device, workflow: &str) -> Option<String> {
    let inputs = serde_json::Map::new();
    match device.ask(Request::Start { workflow: workflow.into(), inputs }).unwrap() {
        Some(Answer::Error(Refusal { code, message })) => {
            assert!(message.contains("free some space"), "{message}");
            Some(code)
        }
        Some(Answer::Accepted { .. }) => None,
        other => panic!("{other:?}"),
    }
}

fn waiting(device: &mut Device) -> Vec<Option<String>> {
    let Some(Answer::Runs(rows)) = device.ask(Request::Runs { limit: 10 }).unwrap() else {
        panic!("a list")
    };
    rows.into_iter().map(|row| row.waiting).collect()
}

#[test]
fn new_runs_are_refused_first_and_those_under_way_pause_last() {
    let mut device = roomy(Device::new(1, vec![chain("long", STEPS)]));
    device.start().unwrap();
    device.begin("long").unwrap().unwrap();
    leave(&mut device, 0);
    assert_eq!(device.status().storage.state, "low");
    assert_eq!(refused(&mut device, "long").as_deref(), Some("storage_full"));
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    let call = device.calls().remove(0);
    assert_eq!(waiting(&mut device), [None], "it goes on, on the reserve");

    fill(&mut device);
    assert_eq!(device.status().storage.state, "storage_full");
    leave(&mut device, 100 * 1024);
    device.answer(&call).unwrap();
    assert!(device.calls().is_empty(), "the next call waits");
    assert_eq!(waiting(&mut device), [Some("storage_full".to_owned())]);
    assert_eq!(device.status().waiting, 1);

    leave(&mut device, PLENTY);
    assert!(is_well(&mut device));
    while let [call, ..] = device.calls().as_slice() {
        device.answer(call).unwrap();
    }
    assert_eq!(device.results().len(), 1);
    assert_eq!(refused(&mut device, "long"), None);
}

#[test]
fn two_hundred_times_full_and_free_and_nothing_is_lost() {
    let mut device = roomy(Device::new(1, vec![chain("long", STEPS)]));
    device.start().unwrap();
    let (mut accepted, mut refusals) = (Vec::new(), 0);
    for cycle in 0..200_usize {
        accepted.push(device.begin("long").unwrap().unwrap());
        for step in 0..STEPS {
            if step == cycle % STEPS {
                // Now and then so suddenly that the writes themselves fail.
                if cycle % 3 == 0 {
                    let faults = device.faults.clone().unwrap();
                    let mut plan = faults.0.lock().unwrap();
                    (plan.from, plan.lasting) = (Some(plan.done + 1 + (cycle % 7) as u64), true);
                }
                let call = device.calls().remove(0);
                device.answer(&call).unwrap();
                fill(&mut device);
                assert!(!is_well(&mut device));
                refusals += usize::from(device.begin_or_refusal());
                device.faults.as_ref().unwrap().relieve();
                // Within five seconds: here it is one look.
                leave(&mut device, PLENTY);
                assert!(is_well(&mut device), "cycle {cycle}: {:?}", device.status().storage);
                continue;
            }
            let call = device.calls().remove(0);
            device.answer(&call).unwrap();
        }
    }
    let results: BTreeMap<String, RunStatus> =
        device.results().into_iter().map(|one| (one.run.to_string(), one.status)).collect();
    assert_eq!((results.len(), refusals, accepted.len()), (200, 200, 200));
    assert!(accepted.iter().all(|run| results[run] == RunStatus::Completed));
    assert_eq!(device.results().len(), 200, "each once");
    assert!(device.faults.as_ref().unwrap().hit() > 0, "writes have failed as well");
}

/// A device on a disk with a reserve, and the control plane that it talks with.
fn roomy_pair() -> (Device, Peer) {
    let (device, mut peer) = pair();
    let mut device = roomy(device);
    device.brain = None;
    device.start().unwrap();
    peer.connect(&mut device);
    (device, peer)
}

impl Device {
    fn begin_or_refusal(&mut self) -> bool {
        let inputs = serde_json::Map::new();
        let answer = self.ask(Request::Start { workflow: "long".into(), inputs }).unwrap();
        matches!(answer, Some(Answer::Error(refusal)) if refusal.code == "storage_full")
    }
}

#[test]
fn a_wish_does_not_wait_for_a_workflow_for_which_there_is_no_room() {
    let (mut device, mut peer) = roomy_pair();
    leave(&mut device, 0);
    assert_eq!(device.status().storage.state, "low");
    let (workflow, inputs) = (WorkflowName::parse("w").unwrap(), JsonText::parse("{}").unwrap());
    let wish = Command::Start { workflow, inputs, priority: None };
    peer.command("wish-1", wish, now_ms(&device));
    peer.exchange(&mut device);
    let refused = |report: &Report| matches!(report, Report::Command { outcome: Err(_), .. });
    assert!(peer.reports.iter().any(refused), "{:?}", peer.reports);
}

#[test]
fn a_full_device_acknowledges_lets_go_and_says_so_and_a_wish_is_answered() {
    let (device, mut peer) = pair();
    let mut device = roomy(device);
    // What is acknowledged may go at once.
    device.retention = Retention { hours: 0, ..Retention::default() };
    device.brain = None;
    device.start().unwrap();
    peer.connect(&mut device);
    install(&mut device, &mut peer, 1, 2);
    let run = device.begin("w").unwrap().unwrap();
    device.calls();
    fill(&mut device);
    leave(&mut device, 100 * 1024);
    assert_eq!(device.status().storage.state, "storage_full");
    let (workflow, inputs) = (WorkflowName::parse("w").unwrap(), JsonText::parse("{}").unwrap());
    let wish = Command::Start { workflow, inputs, priority: None };
    peer.command("wish-1", wish, now_ms(&device));
    for _ in 0..10 {
        device.clock.advance(1_000);
        peer.exchange(&mut device);
    }
    let told = |peer: &Peer, code: &str| {
        let is = |report: &&Report| matches!(report, Report::Security { code: c, .. } if c == code);
        peer.reports.iter().filter(is).count()
    };
    assert_eq!((told(&peer, "storage.full"), told(&peer, "storage.ample")), (1, 0));
    let answered = peer.reports.iter().any(|report| {
        matches!(report, Report::Command { outcome: Err(refusal), .. } if refusal.code == "storage_full")
    });
    assert!(answered);
    let oldest = |device: &Device, lane: Lane| {
        let holdings = device.brain.as_ref().unwrap().store.holdings();
        holdings.iter().find(|holding| holding.lane == lane).unwrap().oldest
    };
    let before = oldest(&device, Lane::History);
    // An end is taken, and what is acknowledged goes with it.
    for request in [Request::Cancel { run, force: true }, Request::Status] {
        device.ask(request).unwrap().unwrap();
        device.clock.advance(limits::LAZY_MS);
        peer.exchange(&mut device);
    }
    assert_eq!(device.status().backlog, 0);
    assert!(oldest(&device, Lane::History) > before, "what is acknowledged is let go of");
    assert_eq!(device.status().storage.state, "storage_full");
    device.brain = None;
    device.start().unwrap();
    let (_, cursors) = device.brain.as_ref().unwrap().store.peer();
    assert_eq!(cursors[0].upto, 1, "that the wish was heard is durable");

    leave(&mut device, PLENTY);
    peer.session.handle_disconnected();
    peer.connect(&mut device);
    for _ in 0..10 {
        device.clock.advance(1_000);
        peer.exchange(&mut device);
    }
    assert_eq!(told(&peer, "storage.ample"), 1);
}

#[test]
fn a_module_is_fetched_once_there_is_room_for_it() {
    let (mut device, mut peer) = roomy_pair();
    leave(&mut device, 0);
    let module = peer.add_blob([MODULE, &[0], &vec![7; 300 * 1024]].concat());
    peer.desire(&desired(&device, 1, 2, module), now_ms(&device));
    let settle = |device: &mut Device, peer: &mut Peer| {
        for _ in 0..30 {
            device.clock.advance(1_000);
            peer.exchange(device);
        }
    };
    settle(&mut device, &mut peer);
    assert_eq!(device.status().desired_revision, 0);
    let before = device.disk.written();
    settle(&mut device, &mut peer);
    assert!(device.disk.written() - before < 100 * 1024, "nothing is fetched in vain");
    leave(&mut device, PLENTY);
    settle(&mut device, &mut peer);
    checked(&mut device, Ok(()));
    settle(&mut device, &mut peer);
    assert_eq!(device.status().desired_revision, 1);
}

#[test]
fn a_failure_that_the_process_survives_is_no_death_of_a_call() {
    let ends = |survives: bool| {
        let mut device = Device::new(1, vec![chain("w", 1)]);
        device.start().unwrap();
        device.begin("w").unwrap().unwrap();
        for _ in 0..5 {
            // Under one boot: only the process, or only its store, begins anew.
            device.brain = None;
            device.survives = survives;
            device.boots -= u32::from(!survives);
            device.start().unwrap();
        }
        if let [call, ..] = device.calls().as_slice() {
            device.answer(call).unwrap();
        }
        let result = device.results().remove(0);
        (result.status, result.error.map(|error| error.code))
    };
    assert_eq!(ends(true), (RunStatus::Completed, None));
    let counted = ends(false);
    assert_eq!(counted, (RunStatus::Failed, Some("plugin.trap".to_owned())), "a death is counted");
}
