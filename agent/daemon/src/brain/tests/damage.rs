//! What a dying card does to a device, and how it heals.

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
    assert_eq!((result.run.to_string(), result.status), (run, RunStatus::Failed), "{table}");
    assert_eq!(result.error.as_ref().unwrap().code, "store.damaged");
    assert_eq!(result.workflow.as_str(), workflow, "{table}");
    assert_eq!(store(&device).open_runs(), 0, "{table}");
    assert_eq!(store(&device).settled(9).unwrap().len(), 1, "{table}");
    assert_eq!(is_told(&device, "store.damaged"), 1, "{table}");

    device.brain = None;
    device.start().unwrap();
    assert_eq!(device.results().len(), 1, "{table}: it ends once");
    assert_eq!(is_told(&device, "store.damaged"), 1, "{table}: and is told once");
}

#[test]
fn a_damaged_run_ends_as_failed_once() {
    let fact = |place: u64| [place.to_be_bytes(), 1_u64.to_be_bytes()].concat();
    ends_once("journal", |_| fact(0), "w");
    ends_once("journal", |_| fact(1), "w");
    ends_once("definitions", |d| d.workflow.hash.0.as_bytes().to_vec(), "w");
}
