//! A disk that says it has kept what it has not, and forgets the last commits: the device has gone
//! back, and the control plane hears of it, because the device's records part from those it has.

use super::peer::Peer;
use super::*;

fn is_flagged(peer: &Peer) -> bool {
    let is_fork = |r: &Report| matches!(r, Report::Security { code, .. } if code == "sync.forked");
    peer.reports.iter().any(is_fork)
}

/// So many runs, each told as soon as it ends.
fn run_some(device: &mut Device, peer: &mut Peer, runs: u64) {
    for _ in 0..runs {
        device.begin("w").unwrap().unwrap();
        for _ in 0..2 {
            for call in device.calls() {
                device.answer(&call).unwrap();
            }
        }
        peer.exchange(device);
    }
}

/// A life in which the last runs vanish, or none; then so many more before it hears of the control
/// plane. What the control plane has heard in the end.
fn lives(seed: u64, vanish: u64, more: u64, lie: bool) -> Peer {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(seed, peer.key());
    device.workflows = vec![chain("w", 2)];
    device.start().unwrap();
    peer.connect(&mut device);
    run_some(&mut device, &mut peer, 1 + seed % 3);
    // What rides along with later commits is durable too.
    device.clock.advance(60_000);
    device.turn(Vec::new()).unwrap();
    peer.exchange(&mut device);
    if lie {
        device.disk.lie();
    }
    run_some(&mut device, &mut peer, vanish);
    device.disk.cut();
    device.brain = None;
    device.disk.forget();

    device.start().unwrap();
    peer.session.handle_disconnected();
    for _ in 0..more {
        device.begin("w").unwrap().unwrap();
        for call in device.calls() {
            device.answer(&call).unwrap();
        }
    }
    peer.connect(&mut device);
    for _ in 0..60 {
        peer.exchange(&mut device);
        device.clock.advance(1_000);
    }
    assert_eq!(device.status().backlog, 0, "seed {seed}: everything is told");
    peer
}

#[test]
fn a_device_whose_disk_lied_is_flagged_100_times_of_100() {
    let mut flagged = 0;
    for seed in 0..100 {
        // Fewer, as many and more runs than have vanished.
        let peer = lives(seed, 1 + seed % 5, seed % 8, true);
        assert!(is_flagged(&peer), "seed {seed}: nobody notices");
        flagged += 1;
    }
    assert_eq!(flagged, 100);
}

#[test]
fn control_a_device_whose_disk_did_not_lie_is_not_flagged() {
    for seed in 0..20 {
        assert!(!is_flagged(&lives(seed, 1 + seed % 5, seed % 8, false)), "seed {seed}");
    }
}
