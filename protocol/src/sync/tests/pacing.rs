//! Who goes first, how fast, and when a link counts as dead.

use crate::limits::{BACKLOG_BURST_BYTES, BACKLOG_BYTES_PER_S, DEAD_AFTER_MS};
use crate::sync::Lane;

use super::pair::{CLEAN, End, Pair};
use super::store::Dice;

/// A device that was offline for long: `count` records of `length` bytes that do not compress.
fn after_an_outage(lane: Lane, count: usize, length: usize) -> Pair {
    let mut pair = Pair::new(11, CLEAN);
    let mut dice = Dice::new(12);
    for _ in 0..count {
        pair.append(lane, dice.bytes(length));
    }
    pair
}

fn taken(pair: &Pair, lane: Lane) -> Vec<u64> {
    let taken = pair.plane().store.taken.get(&(pair.device().store.log, lane));
    taken.into_iter().flatten().map(|(seq, _)| *seq).collect()
}

#[test]
fn after_an_outage_the_newest_results_go_first_and_the_oldest_do_not_starve() {
    let mut pair = after_an_outage(Lane::Results, 5_000, 300);
    pair.connect_both();
    pair.run_for(200);
    let first = taken(&pair, Lane::Results);
    assert!(first.contains(&5_000) && first.contains(&1) && first.len() < 2_000, "{first:?}");
    // What happens now does not wait for what happened then.
    for n in 0..5 {
        pair.append(Lane::Results, format!("live {n}").into_bytes());
        pair.run_for(150);
        let (last, now) = (5_001 + n, taken(&pair, Lane::Results));
        assert!(now.contains(&last), "{last} is not among {} results", now.len());
        assert!(pair.device().session.unacked(Lane::Results) > 1_000);
    }
    pair.settle(60_000).unwrap();
    assert_eq!(pair.audit(), Ok(0));
}

#[test]
fn a_backlog_keeps_to_its_budget_and_holds_up_nothing_urgent() {
    let mut pair = after_an_outage(Lane::History, 2_000, 4_000);
    pair.connect_both();
    pair.run_for(5_000);
    let sent = pair.device().counts.bytes;
    let most = BACKLOG_BURST_BYTES + 6 * BACKLOG_BYTES_PER_S;
    assert!((BACKLOG_BURST_BYTES..most).contains(&sent), "{sent} bytes in 5 s");
    for n in 1..=5 {
        pair.append(Lane::Control, b"carried out".to_vec());
        pair.append(Lane::Results, b"settled".to_vec());
        pair.append(Lane::Commands, b"start".to_vec());
        pair.run_for(150);
        for lane in [Lane::Control, Lane::Results] {
            assert_eq!(taken(&pair, lane).len(), n, "{lane:?}");
        }
    }
    assert!(pair.device().session.unacked(Lane::History) > 0);
    let took_ms = pair.settle(120_000).unwrap();
    assert!(took_ms < 8_000_000_000 / BACKLOG_BYTES_PER_S, "{took_ms} ms");
    assert_eq!(pair.audit(), Ok(0));
}

/// One direction falls silent while the other lives and is even used. Both sides notice: whoever
/// can cut the connection does.
#[test]
fn a_half_dead_link_is_seen_by_both_sides() {
    for mute in [End::Device, End::Plane] {
        for seed in 0..20 {
            let mut pair = Pair::new(seed, CLEAN);
            pair.connect_both();
            pair.run_for(seed * 9_000);
            pair.mute[mute as usize] = true;
            let until_ms = pair.now_ms + DEAD_AFTER_MS + 1_000;
            let mut seen = [false; 2];
            while pair.now_ms < until_ms {
                pair.append(Lane::Control, b"up".to_vec());
                pair.append(Lane::Commands, b"down".to_vec());
                pair.run_for(2_000);
                for (seen, side) in seen.iter_mut().zip(&pair.sides) {
                    *seen |= side.counts.dead > 0;
                }
            }
            assert_eq!(seen, [true; 2], "seed {seed}, {mute:?} is silent");
            pair.mute = [false; 2];
            pair.settle(70_000).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert_eq!(pair.audit(), Ok(0));
        }
    }
}

#[test]
fn a_missing_blob_holds_up_no_other_and_comes_when_it_is_there() {
    let mut pair = Pair::new(5, CLEAN);
    let modules = [pair.module(100_000), pair.module(40_000)];
    pair.desire(&modules, 100);
    let late = super::store::digest_of(&modules[0]);
    let blob = pair.side(End::Plane).store.blobs.remove(&late).unwrap();
    pair.connect_both();
    pair.run_for(10_000);
    assert_eq!(pair.device().store.partial.keys().collect::<Vec<_>>(), [&late]);
    assert!(pair.device().counts.blobs_missing >= 1);
    pair.side(End::Plane).store.blobs.insert(late, blob);
    pair.settle(40_000).unwrap();
}

#[test]
fn a_blob_goes_on_where_it_was_interrupted() {
    let mut pair = Pair::new(6, CLEAN);
    let module = pair.module(1_000_000);
    pair.desire(&[module], 100);
    pair.connect_both();
    for crash in 0..6 {
        pair.run_for(330);
        pair.crash(if crash % 2 == 0 { End::Device } else { End::Plane });
        pair.run_for(3_500);
    }
    pair.settle(30_000).unwrap();
    let bytes = pair.plane().counts.bytes;
    assert!(bytes < 1_900_000, "{bytes} bytes for a megabyte");
}

#[test]
fn the_newest_desired_state_wins_whatever_came_before() {
    let mut pair = Pair::new(8, CLEAN);
    pair.connect_both();
    for _ in 0..20 {
        pair.desire(&[], 70_000);
        pair.run_for(30);
    }
    pair.settle(30_000).unwrap();
    assert_eq!(pair.device().store.in_force, 20);
    pair.run_for(600_000);
    let before = pair.plane().counts.sent;
    pair.run_for(600_000);
    // Nothing but the probes: what is in force is not announced any more.
    assert!(pair.plane().counts.sent - before < 80, "{}", pair.plane().counts.sent - before);
}

/// A plane whose database is down hears and answers, but commits nothing: the device presses it
/// less and less.
#[test]
fn a_stalled_receiver_is_pressed_less_and_less() {
    let mut pair = Pair::new(13, CLEAN);
    pair.failing_commits_percent = 100;
    pair.connect_both();
    for _ in 0..100 {
        pair.append(Lane::History, vec![b'x'; 3_000]);
    }
    pair.run_for(120_000);
    let before = pair.device().counts.sent;
    pair.run_for(600_000);
    let frames = pair.device().counts.sent - before;
    assert!(frames < 80, "{frames} frames in ten minutes");
    assert_eq!(pair.device().counts.dead, 0);
    pair.failing_commits_percent = 0;
    pair.settle(70_000).unwrap();
    assert_eq!(pair.audit(), Ok(0));
}
