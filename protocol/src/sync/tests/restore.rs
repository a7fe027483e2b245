//! Databases that are not what they were: restored from a backup, cloned, wiped, pruned.

use crate::sync::batch::is_marker;
use crate::sync::{Cursor, Frame, Lane};
use crate::wire::{self, Kind};

use super::pair::{End, Pair, Wire};
use super::store::{Dice, OwnLane, Sabotage, Store};

const BAD: Wire = Wire {
    loss_percent: 15,
    double_percent: 10,
    least_ms: 30,
    spread_ms: 400,
    straggler_percent: 0,
};
const QUIET_MS: u64 = 900_000;

fn all_lanes() -> impl Iterator<Item = Lane> {
    Lane::UP.into_iter().chain(Lane::DOWN)
}

/// A while of ordinary life; `tag` makes what is said then differ from other whiles.
fn live(pair: &mut Pair, dice: &mut Dice, tag: &str, rounds: u64) {
    for round in 0..rounds {
        for lane in all_lanes() {
            for n in 0..dice.below(4) {
                pair.append(lane, format!("{tag} {round}.{n}: {}", lane.name()).into_bytes());
            }
        }
        pair.run_for(dice.below(4_000));
    }
}

fn begin(seed: u64) -> (Pair, Dice) {
    let mut pair = Pair::new(seed, BAD);
    pair.connect_both();
    (pair, Dice::new(seed ^ 0xface))
}

/// The plane comes back from an older backup: under another generation, as `restore` makes it.
#[test]
fn a_restored_plane_is_filled_again() {
    let mut told_gone = 0;
    for seed in 0..60 {
        let (mut pair, mut dice) = begin(seed);
        live(&mut pair, &mut dice, "before", 20);
        pair.desire(&[], 3_000);
        let mut backup = pair.plane().store.clone();
        live(&mut pair, &mut dice, "after", 20);
        pair.settle(QUIET_MS).unwrap();
        // The device keeps some of what is acknowledged, in some lives not all that is needed.
        let keep = dice.below(120);
        pair.sides[0].retain(keep);
        backup.fork(dice.next() | 1);
        pair.restore(End::Plane, backup);
        live(&mut pair, &mut dice, "restored", 10);
        pair.settle(QUIET_MS).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        told_gone += pair.audit().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(pair.device().counts.forks + pair.plane().counts.forks, 0, "seed {seed}");
    }
    assert!(told_gone > 0, "no life needed a marker");
}

/// One side's database file is put back without a word: the same log, but what was said since is
/// forgotten and something else is said under the same numbers.
fn put_back(seed: u64, end: End, sabotage: Sabotage) -> Result<Pair, String> {
    let (mut pair, mut dice) = begin(seed);
    pair.sabotage(sabotage);
    live(&mut pair, &mut dice, "before", 15);
    let backup = pair.side(end).store.clone();
    live(&mut pair, &mut dice, "after", 15);
    pair.settle(QUIET_MS)?;
    let log = pair.side(end).store.log;
    let told = pair.side(end).store.own.clone();
    pair.restore(end, backup);
    // In some lives it has said less than before when it meets its peer, in some more.
    if dice.chance(50) {
        for lane in all_lanes().filter(|lane| told.contains_key(lane)) {
            for n in 0..dice.below(80) {
                pair.side(end).store.append(lane, format!("alone {n}").into_bytes());
            }
        }
        let now_ms = pair.now_ms;
        pair.side(end).restart(now_ms);
        pair.connect_later(end);
    }
    live(&mut pair, &mut dice, "restored", 10);
    pair.settle(QUIET_MS)?;
    pair.audit()?;
    same_as_told(&pair, end, log, &told)?;
    Ok(pair)
}

/// What the peer has under the former log is what was said under it, and nothing else.
fn same_as_told(
    pair: &Pair,
    end: End,
    log: u64,
    told: &std::collections::BTreeMap<Lane, OwnLane>,
) -> Result<(), String> {
    let peer = &pair.sides[end.other() as usize].store;
    for (lane, own) in told {
        for (seq, here) in peer.taken.get(&(log, *lane)).into_iter().flatten() {
            if own.records.get(seq) != Some(here) {
                return Err(format!("{lane:?} {seq} under the former log is foreign"));
            }
        }
    }
    Ok(())
}

#[test]
fn a_database_put_back_is_seen_as_a_fork() {
    for seed in 0..60 {
        for end in [End::Device, End::Plane] {
            let pair = put_back(seed, end, Sabotage::None)
                .unwrap_or_else(|e| panic!("seed {seed}, {end:?}: {e}"));
            assert_eq!(pair.sides[end as usize].counts.forks, 1, "seed {seed}, {end:?}");
            assert_eq!(pair.sides[end.other() as usize].counts.forks, 0, "seed {seed}, {end:?}");
        }
    }
}

#[test]
fn control_a_shell_that_ignores_forks_is_caught() {
    for end in [End::Device, End::Plane] {
        let lives = (0..20).map(|seed| put_back(seed, end, Sabotage::IgnoreForks));
        let caught = lives.filter(Result::is_err).count();
        assert_eq!(caught, 20, "{end:?}");
    }
}

#[test]
fn a_wiped_device_starts_anew_beside_its_former_self() {
    for seed in 0..20 {
        let (mut pair, mut dice) = begin(seed);
        live(&mut pair, &mut dice, "before", 15);
        pair.desire(&[], 2_000);
        pair.settle(QUIET_MS).unwrap();
        let former = pair.device().store.clone();
        let own = Lane::UP.iter().map(|lane| (*lane, OwnLane::default())).collect();
        let wiped = Store { log: dice.next() | 1, own, ..Store::default() };
        pair.restore(End::Device, wiped);
        live(&mut pair, &mut dice, "anew", 15);
        pair.settle(QUIET_MS).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(pair.audit(), Ok(0), "seed {seed}");
        same_as_told(&pair, End::Device, former.log, &former.own).unwrap();
        assert_eq!(pair.device().store.in_force, 1);
    }
}

/// A late word from before a restore makes the sender believe that the peer has more than it has.
/// Nothing moves then, so it asks anew where the peer stands.
#[test]
fn a_sender_that_believes_too_much_finds_out() {
    let mut pair = Pair::new(9, super::pair::CLEAN);
    pair.connect_both();
    pair.run_for(1_000);
    pair.mute[End::Device as usize] = true;
    for n in 0..30 {
        pair.append(Lane::History, format!("event {n}").into_bytes());
    }
    let (log, by) = (pair.device().store.log, pair.plane().store.log);
    let cursor = Cursor { lane: Lane::History, upto: 20, digest: 0, ranges: Vec::new() };
    let late = wire::pack(Kind::Frame, &Frame::Ack { log, by, cursor });
    let now_ms = pair.now_ms;
    pair.side(End::Device).session.handle_frame(&late, now_ms).unwrap();
    pair.act(End::Device);
    assert_eq!(pair.device().session.unacked(Lane::History), 10);
    pair.mute[End::Device as usize] = false;
    let took_ms = pair.settle(60_000).unwrap();
    assert!(took_ms < 30_000, "{took_ms} ms");
    assert_eq!(pair.audit(), Ok(0));
    assert_eq!(pair.device().counts.dead, 0, "without another connection");
}

#[test]
fn what_a_quota_removed_is_told_and_nothing_waits_for_it() {
    let mut pair = Pair::new(7, super::pair::CLEAN);
    for n in 0..500 {
        pair.append(Lane::Telemetry, format!("sample {n}").into_bytes());
    }
    let device = pair.side(End::Device);
    device.store.prune(Lane::Telemetry, 301);
    device.session.handle_pruned(Lane::Telemetry, 301);
    pair.connect_both();
    pair.settle(10_000).unwrap();
    assert_eq!(pair.audit(), Ok(300));
    let plane = pair.plane();
    let taken = &plane.store.taken[&(pair.device().store.log, Lane::Telemetry)];
    let (seq, marker) = taken.first_key_value().unwrap();
    assert!(*seq == 300 && is_marker(&marker.body), "{marker:?}");
}
