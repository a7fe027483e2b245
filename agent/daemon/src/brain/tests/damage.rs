//! What a dying card does to a device, and how it heals.

use openclaw_protocol::run::{Run, RunEvent, StepStatus};

use super::peer::now_ms;
use super::sync::{MODULE, checked, desired, install, pair};
use super::*;

fn store(device: &Device) -> &Store {
    &device.brain.as_ref().unwrap().store
}

fn is_told(device: &Device, code: &str) -> usize {
    let told = |r: &&Report| matches!(r, Report::Security { code: c, .. } if c == code);
    device.reports().iter().filter(told).count()
}

#[test]
fn a_module_in_force_that_is_damaged_is_fetched_again() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 1);
    let digest = openclaw_sandbox::digest_of(MODULE);
    store(&device).spoil("blobs", &digest.0);
    assert!(store(&device).blobs().read(digest).is_err());
    device.brain = None;
    device.start().unwrap();
    assert_eq!(is_told(&device, "store.damaged"), 1);
    assert_eq!(store(&device).blobs().read(digest).unwrap(), None, "the row is gone");
    assert_eq!(device.status().desired_revision, 1, "what is in force stays in force");
    peer.connect(&mut device);
    peer.exchange(&mut device);
    assert_eq!(store(&device).blobs().read(digest).unwrap().as_deref(), Some(MODULE));
    device.brain = None;
    device.start().unwrap();
    assert_eq!(is_told(&device, "store.damaged"), 1, "it is healed, and not told again");
}

#[test]
fn the_same_module_deployed_again_takes_the_place_of_a_damaged_one() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 1);
    let digest = openclaw_sandbox::digest_of(MODULE);
    store(&device).spoil("blobs", &digest.0);
    let document = desired(&device, 2, 2, digest);
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    // It breaks once more between its coming and the try.
    store(&device).spoil("blobs", &digest.0);
    checked(&mut device, Err("the module is damaged".into()));
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    peer.exchange(&mut device);
    let status = device.status();
    assert_eq!(status.desired_revision, 2);
    assert!(status.refused.is_empty(), "{:?}", status.refused);
    assert_eq!(store(&device).blobs().read(digest).unwrap().as_deref(), Some(MODULE));
}

/// Spoils something of an open run, and looks at what becomes of the run.
fn ends_once(table: &'static str, key: impl Fn(&Deployed) -> Vec<u8>, workflow: &str) {
    let deployed = chain("w", 2);
    let key = key(&deployed);
    let mut device = Device::new(1, vec![deployed]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    store(&device).spoil(table, &key);
    device.brain = None;
    // The workflow is not deployed any more, or its definition would be written again.
    device.workflows = vec![chain("other", 1)];
    device.start().unwrap();
    let results = device.results();
    let [result] = results.as_slice() else { panic!("{table}: {results:?}") };
    assert_eq!(result.run.as_str(), run, "{table}");
    assert_eq!(result.status, RunStatus::Failed, "{table}");
    assert_eq!(result.error.as_ref().unwrap().code, "store.damaged");
    assert_eq!(result.workflow.as_str(), workflow, "{table}");
    assert_eq!(store(&device).open_runs(), 0, "{table}");
    assert_eq!(store(&device).settled(9).unwrap().len(), 1, "{table}");
    assert_eq!(is_told(&device, "store.damaged"), 1, "{table}");
    assert_eq!((device.status().damaged, device.status().unsettled), (1, 0), "{table}");

    // Whoever folds the history sees the end as well, and nothing at work in it.
    let events = events(&device);
    let seqs: Vec<u32> = events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=u32::try_from(seqs.len()).unwrap()).collect::<Vec<_>>(), "{table}");
    let mut view = Run::from_events(&events).unwrap();
    assert_eq!((view.id.as_str(), view.status), (run.as_str(), RunStatus::Failed), "{table}");
    assert_eq!(view.error, result.error, "{table}");
    let statuses: Vec<StepStatus> = view.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Succeeded, StepStatus::Cancelled], "{table}");
    let Some(Answer::Run(shown)) = device.ask(Request::Show { run: run.clone() }).unwrap() else {
        panic!("{table}: it is shown")
    };
    // Tallies aside, which are not stored.
    view = serde_json::from_str(&serde_json::to_string(&view).unwrap()).unwrap();
    assert_eq!(*shown, view, "{table}");

    device.brain = None;
    device.start().unwrap();
    assert_eq!(device.results().len(), 1, "{table}: it ends once");
    assert_eq!(self::events(&device).len(), events.len(), "{table}: it ends once");
    assert_eq!(is_told(&device, "store.damaged"), 1, "{table}: and is told once");
    assert_eq!(device.status().damaged, 0, "{table}");
}

/// What is in the history lane, but for markers.
fn events(device: &Device) -> Vec<RunEventRecord> {
    let records = store(device).load(Lane::History, 1, u64::MAX, usize::MAX).unwrap();
    let unpack = |body: &[u8]| wire::unpack(Kind::RunEvent, body, usize::MAX).ok();
    records.iter().filter_map(|record| unpack(&record.body)).collect()
}

#[test]
fn a_damaged_run_ends_as_failed_once() {
    let fact = |place: u8| vec![1, place, 1, 1];
    ends_once("journal", |_| fact(0), "w");
    ends_once("journal", |_| fact(1), "w");
    ends_once("definitions", |d| d.workflow.hash.0.as_bytes().to_vec(), "w");
    ends_once("runs", |_| 1_u64.to_be_bytes().to_vec(), "w");
}

/// A device with one run that waits for its second step, and the run.
fn at_work() -> (Device, String) {
    let mut device = Device::new(1, vec![chain("w", 2)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    (device, run)
}

#[test]
fn a_damaged_run_whose_last_event_is_damaged_ends_after_all_of_them() {
    let (mut device, run) = at_work();
    let last = store(&device).holdings()[2].next - 1;
    store(&device).spoil("journal", &[1, 0, 1, 1]);
    let key = [&[2][..], &last.to_be_bytes()].concat();
    store(&device).spoil("outbox", &key);
    device.brain = None;
    device.start().unwrap();
    let end = events(&device).pop().unwrap();
    assert_eq!((end.run.as_str(), end.seq), (run.as_str(), u32::MAX), "its number is not known");
    assert!(matches!(end.event, RunEvent::Settled { status: RunStatus::Failed, .. }));
}

#[test]
fn a_damaged_row_of_a_run_of_which_nothing_was_told_is_ended_under_another_id() {
    let (mut device, run) = at_work();
    for seq in 1..store(&device).holdings()[2].next {
        store(&device).spoil("outbox", &[&[2][..], &seq.to_be_bytes()].concat());
    }
    store(&device).spoil("runs", &1_u64.to_be_bytes());
    for _ in 0..2 {
        device.brain = None;
        device.start().unwrap();
        let results = device.results();
        let [result] = results.as_slice() else { panic!("{results:?}") };
        assert!(result.run.as_str() != run && result.run.number() == Some(1), "{}", result.run);
        assert_eq!(result.workflow.as_str(), "w", "its facts are whole");
        assert!(result.error.as_ref().unwrap().message.contains("its id is lost"));
        assert_eq!(store(&device).open_runs(), 0);
        assert_eq!(is_told(&device, "store.damaged"), 1, "once");
    }
    assert!(device.begin("w").unwrap().unwrap().ends_with("-2"), "the numbers go on");
}
