//! A wire that only delays: everything arrives at once, and with few frames.

use crate::sync::Lane;

use super::pair::{CLEAN, End, Pair};
use super::store::Store;

fn body(lane: Lane, number: usize) -> Vec<u8> {
    format!("{}: record {number} says something of the usual length", lane.name()).into_bytes()
}

#[test]
fn everything_arrives_with_few_frames() {
    let mut pair = Pair::new(1, CLEAN);
    for lane in Lane::UP.into_iter().chain(Lane::DOWN) {
        (0..300).for_each(|n| pair.append(lane, body(lane, n)));
    }
    let module = pair.module(200_000);
    pair.desire(&[module], 50_000);
    pair.connect_both();
    let took_ms = pair.settle(60_000).unwrap();
    assert_eq!(pair.audit(), Ok(0));
    assert!(took_ms < 2_000, "{took_ms} ms");
    let frames = pair.device().counts.sent + pair.plane().counts.sent;
    assert!(frames < 60, "{frames} frames");
    assert_eq!(pair.plane().counts.repeated + pair.device().counts.repeated, 0);
    assert!(pair.device().session.is_up() && pair.plane().session.is_up());
}

#[test]
fn what_is_recorded_while_up_arrives_after_one_trip() {
    let mut pair = Pair::new(2, CLEAN);
    pair.connect_both();
    pair.run_for(1_000);
    for n in 0..50 {
        pair.append(Lane::Results, body(Lane::Results, n));
        pair.append(Lane::Commands, body(Lane::Commands, n));
        let took_ms = pair.settle(1_000).unwrap();
        assert!(took_ms <= 140, "{took_ms} ms for record {n}");
    }
    assert_eq!(pair.audit(), Ok(0));
}

/// A shell may name no lane at the start: they begin when something is recorded.
#[test]
fn a_lane_that_begins_later_begins_with_its_first_record() {
    let mut pair = Pair::new(4, CLEAN);
    pair.restore(End::Device, Store { log: 12, ..Store::default() });
    pair.restore(End::Plane, Store { log: 13, ..Store::default() });
    pair.run_for(5_000);
    for lane in Lane::UP.into_iter().chain(Lane::DOWN) {
        (0..3).for_each(|n| pair.append(lane, body(lane, n)));
    }
    pair.settle(5_000).unwrap();
    assert_eq!(pair.audit(), Ok(0));
}

#[test]
fn a_lost_acknowledgement_comes_again_with_the_records() {
    let mut pair = Pair::new(14, CLEAN);
    pair.connect_both();
    pair.run_for(1_000);
    for lane in [Lane::Control, Lane::Results] {
        pair.mute[End::Plane as usize] = true;
        pair.append(lane, body(lane, 0));
        pair.run_for(300);
        pair.mute[End::Plane as usize] = false;
        assert_eq!(pair.device().session.unacked(lane), 1);
        pair.run_for(1_000);
        assert_eq!(pair.device().session.unacked(lane), 0);
    }
    assert_eq!(pair.plane().counts.delivered, 2);
}

#[test]
fn an_idle_hour_costs_a_few_frames_and_nobody_is_taken_for_dead() {
    let mut pair = Pair::new(3, CLEAN);
    pair.connect_both();
    pair.run_for(3_600_000);
    let (device, plane) = (&pair.device().counts, &pair.plane().counts);
    assert_eq!((device.dead, plane.dead), (0, 0));
    assert_eq!((device.ups, plane.ups), (1, 1));
    // Each side asks about every 40 s, and is answered.
    assert!((150..500).contains(&(device.sent + plane.sent)), "{device:?} {plane:?}");
}
