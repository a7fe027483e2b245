//! What stays on the flash and what goes: for ever is too long, and too early is a loss.

use openclaw_protocol::id::Digest;

use super::peer::{GENERATION, Peer, now_ms};
use super::sync::{MODULE, checked, desired, install, pair};
use super::*;
use crate::store::Batch;

fn store(device: &Device) -> &Store {
    &device.brain.as_ref().unwrap().store
}

fn restart(device: &mut Device) {
    device.brain = None;
    device.start().unwrap();
}

/// A workflow of the device's own with a module, which is kept as the agent does before a start.
fn own(device: &mut Device, version: u8) -> (Deployed, Digest) {
    let module = Digest([version; 32]);
    let mut deployed = chain("w", usize::from(version));
    deployed.pins = [("count.execute@^1".to_owned(), Arc::new(pin(module)))].into();
    let now = device.clock.now();
    let blobs = vec![(module, MODULE.to_vec())];
    let store = &mut device.brain.as_mut().unwrap().store;
    store.commit(&Batch { blobs, ..Batch::default() }, now).unwrap();
    device.workflows = vec![deployed.clone()];
    (deployed, module)
}

/// Whether definition and module are here.
fn has(device: &Device, (deployed, module): &(Deployed, Digest)) -> (bool, bool) {
    let text = store(device).definition(&deployed.workflow.hash).unwrap();
    (text.is_some(), store(device).blobs().has(*module).unwrap())
}

#[test]
fn an_agent_alone_forgets_its_own_old_workflows_but_for_open_runs() {
    let mut device = Device::new(1, Vec::new());
    device.start().unwrap();
    let first = own(&mut device, 2);
    restart(&mut device);
    assert_eq!(has(&device, &first), (true, true));
    device.begin("w").unwrap().unwrap();
    assert_eq!(device.calls().len(), 1);

    let second = own(&mut device, 3);
    restart(&mut device);
    assert_eq!(has(&device, &second), (true, true));
    assert_eq!(has(&device, &first), (true, true), "a run that is not settled is pinned to it");
    while let [call, ..] = device.calls().as_slice() {
        device.answer(call).unwrap();
    }
    assert_eq!(device.results()[0].status, RunStatus::Completed);
    restart(&mut device);
    assert_eq!(has(&device, &first), (true, false), "what it meant stays, for a replay");
    assert_eq!(has(&device, &second), (true, true));

    // One that was enrolled and does not know by whom had better keep what it has.
    device.workflows.clear();
    device.link_fault = Some("the key cannot be read".into());
    restart(&mut device);
    assert_eq!(has(&device, &second), (true, true));
    device.link_fault = None;
    restart(&mut device);
    assert_eq!(has(&device, &second), (false, false));
}

#[test]
fn what_lies_beside_the_state_in_force_goes_at_a_start() {
    let (mut device, mut peer) = pair();
    let stale = own(&mut device, 2);
    device.workflows.clear();
    restart(&mut device);
    assert!(has(&device, &stale).1, "nothing is in force yet, and it may be wanted again");
    peer.connect(&mut device);
    install(&mut device, &mut peer, 1, 1);
    assert_eq!(has(&device, &stale), (false, false));

    // The next state's module has come, and has not been tried when the power goes.
    let next = peer.add_blob([MODULE, &[0, 2, 1, 1]].concat());
    peer.desire(&desired(&device, 2, 2, next), now_ms(&device));
    peer.exchange(&mut device);
    device.asked.checks.lock().unwrap().clear();
    let (stale, own) = (own(&mut device, 3), own(&mut device, 4));
    restart(&mut device);
    let blobs = store(&device).blobs();
    assert!(blobs.has(openclaw_sandbox::digest_of(MODULE)).unwrap() && blobs.has(next).unwrap());
    assert!(!has(&device, &stale).1 && has(&device, &own).1);
    assert_eq!(blobs.count().unwrap(), 3);

    // It is superseded before it was ever in force.
    peer.connect(&mut device);
    let third = peer.add_blob([MODULE, &[0, 2, 1, 2]].concat());
    peer.desire(&desired(&device, 3, 3, third), now_ms(&device));
    peer.exchange(&mut device);
    let blobs = store(&device).blobs();
    assert!(!blobs.has(next).unwrap());
    checked(&mut device, Ok(()));
    peer.exchange(&mut device);
    assert_eq!(device.status().desired_revision, 3);
    assert_eq!(blobs.count().unwrap(), 2);
}

#[test]
fn a_start_writes_no_module_anew() {
    let (mut device, mut peer) = pair();
    let large = large_module(&mut peer, 0x41);
    peer.desire(&desired(&device, 1, 2, large), now_ms(&device));
    settle(&mut device, &mut peer);
    checked(&mut device, Ok(()));
    settle(&mut device, &mut peer);
    assert_eq!(device.status().desired_revision, 1);
    restart(&mut device);
    let before = device.disk.written();
    for _ in 0..3 {
        restart(&mut device);
    }
    let kib = (device.disk.written() - before) / 1024 / 3;
    assert!(kib <= 512, "{kib} KiB a start, with a module of 1,200 KiB");
}

fn parts_of(device: &Device, digest: Digest) -> u32 {
    store(device).chunks_length(digest).unwrap()
}

/// Carries frames until some parts of a blob are kept, and not all.
fn break_off(device: &mut Device, peer: &mut Peer, digest: Digest) {
    for _ in 0..64 {
        let now = now_ms(device);
        let frames = peer.frames(now);
        device.turn(frames.into_iter().map(Event::Frame).collect()).unwrap();
        peer.hear(device, now);
        device.clock.advance(100);
        let have = parts_of(device, digest);
        if have > 0 {
            assert!((have as usize) < peer.blobs[&digest].len());
            return;
        }
    }
    panic!("nothing of it is kept");
}

/// Half a minute of conversation.
fn settle(device: &mut Device, peer: &mut Peer) {
    for _ in 0..60 {
        peer.exchange(device);
        device.clock.advance(500);
    }
}

/// A module of 1.2 MiB, of which nothing is code.
fn large_module(peer: &mut Peer, fill: u8) -> Digest {
    peer.add_blob([MODULE, &[0], &vec![fill; 1_200 * 1024]].concat())
}

#[test]
fn parts_of_a_module_that_nobody_wants_any_more_go() {
    for has_power_cut in [false, true] {
        let (mut device, mut peer) = pair();
        install(&mut device, &mut peer, 1, 1);
        let large = large_module(&mut peer, 0x41);
        peer.desire(&desired(&device, 2, 2, large), now_ms(&device));
        break_off(&mut device, &mut peer, large);
        if has_power_cut {
            restart(&mut device);
            assert!(parts_of(&device, large) > 0, "it is to go on where it was");
            peer.session.handle_disconnected();
        }
        // Nobody has the rest of it.
        peer.blobs.remove(&large);
        let small = peer.add_blob(MODULE.to_vec());
        peer.desire(&desired(&device, 3, 3, small), now_ms(&device));
        if has_power_cut {
            peer.connect(&mut device);
        }
        settle(&mut device, &mut peer);
        checked(&mut device, Ok(()));
        settle(&mut device, &mut peer);
        assert_eq!(device.status().desired_revision, 3);
        assert_eq!(parts_of(&device, large), 0, "after a power cut: {has_power_cut}");
        assert_eq!(store(&device).parts_kept(), 0);
    }
}

#[test]
fn parts_of_a_document_that_was_superseded_go_also_after_a_power_cut() {
    let (mut device, mut peer) = pair();
    let module = peer.add_blob(MODULE.to_vec());
    let mut document = desired(&device, 1, 1, module);
    document.plugins = vec![pin(module); 8_000];
    peer.desire(&document, now_ms(&device));
    let first = peer.blobs.iter().max_by_key(|(_, blob)| blob.len()).map(|(d, _)| *d).unwrap();
    break_off(&mut device, &mut peer, first);
    restart(&mut device);
    assert!(parts_of(&device, first) > 0, "it is to go on where it was");
    peer.session.handle_disconnected();
    // The next one breaks off as well.
    document.revision = 2;
    peer.desire(&document, now_ms(&device));
    let others = peer.blobs.iter().filter(|(digest, _)| **digest != first);
    let second = others.max_by_key(|(_, blob)| blob.len()).map(|(d, _)| *d).unwrap();
    peer.session.handle_connected(now_ms(&device));
    device.turn(vec![Event::LinkUp]).unwrap();
    break_off(&mut device, &mut peer, second);
    assert_eq!(parts_of(&device, first), 0);
}

#[test]
fn a_clock_that_finds_itself_leaves_what_refills_a_restored_control_plane() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows = vec![chain("w", 1)];
    {
        let mut now = device.clock.0.lock().unwrap();
        (now.wall_ms, now.trust) = (60_000, ClockTrust::Unset);
    }
    let run_some = |device: &mut Device, n: usize| {
        for _ in 0..n {
            device.begin("w").unwrap().unwrap();
            let [call] = &device.calls()[..] else { panic!("one call") };
            device.answer(call).unwrap();
        }
    };
    device.start().unwrap();
    peer.connect(&mut device);
    run_some(&mut device, 5);
    peer.exchange(&mut device);
    run_some(&mut device, 1);
    peer.exchange(&mut device);
    assert_eq!((peer.results.len(), device.status().backlog), (6, 0));

    // Minutes later the network tells the time.
    for _ in 0..6 {
        settle(&mut device, &mut peer);
    }
    {
        let mut now = device.clock.0.lock().unwrap();
        (now.wall_ms, now.trust) = (1_800_000_000_000, ClockTrust::Synced);
    }
    run_some(&mut device, 50);
    settle(&mut device, &mut peer);
    assert_eq!((peer.results.len(), device.status().backlog), (56, 0));
    restart(&mut device);
    let mut restored = Peer::of(GENERATION + 1);
    restored.connect(&mut device);
    settle(&mut device, &mut restored);
    assert_eq!(restored.results.len(), 56);
}
