//! Wall clocks that jump by years, in either direction, and begin before or after what fits into 31
//! bits: what counts elapsed time does not care, and nothing fires twice.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::run::RunEvent;
use openclaw_protocol::time::ClockTrust;

use super::simulate::Draw;
use super::{World, minutes, seconds};
use crate::{Fact, TimerKind, Told};

/// 1970-01-01, and 2038-01-20, the day after 32-bit seconds have run out.
const STARTS_MS: [i64; 2] = [0, 2_147_558_400_000];
const TEN_YEARS_MS: u64 = 3_652 * 86_400_000;
const JUMPS: usize = 1_000;

/// Every kind of wait that counts elapsed time, a bound that is reached and one that is not, and
/// triggers.
const WAITS: &str = "
workflow: w
mode: parallel
max: 1000
inputs: { s: { type: integer, default: 1 } }
triggers:
  - { id: beat, interval: 1m }
  - { id: slot, cron: { at: '* * * * *', catch_up: all } }
steps:
  - id: all
    parallel:
      mode: wait_all
      branches:
        sleeps: [{ id: d, delay: '${ inputs.s }' }]
        beats: [{ id: l, loop: { times: 3, every: 7s }, do: [{ id: n, set: { n: '${ loop.index }' } }] }]
        hears: [{ id: e, wait: { event: never, on_timeout: continue }, timeout: 90s }]
        ends: [{ id: o, delay: 9s, timeout: 200s }]
";

/// What was waited, of which kind and for how long, in milliseconds.
fn waits(seconds_slept: u64) -> [(&'static str, u64); 4] {
    [
        ("all[sleeps]/d", seconds(seconds_slept)),
        ("all[beats]/l", seconds(21)),
        ("all[hears]/e", seconds(90)),
        ("all[ends]/o", seconds(9)),
    ]
}

/// A device whose wall clock jumps.
struct Device {
    world: World,
    draw: Draw,
    start_ms: i64,
    /// Milliseconds that it was up, over all boots.
    up_ms: u64,
    /// When each run began, and how long it sleeps, in seconds.
    begun: BTreeMap<u64, (u64, u64)>,
    ended: BTreeSet<(u64, String)>,
    /// Runs that have seen a reboot: what is not known to have passed is waited for again.
    rebooted: BTreeSet<u64>,
    seen: usize,
}

impl Device {
    /// So much time passes; the engine is woken whenever it wants to be.
    fn sleep(&mut self, ms: u64) {
        let end = self.up_ms + ms;
        while self.up_ms < end {
            let now = self.world.now.boot_ms;
            let due = self.world.engine.next_deadline().map_or(u64::MAX, |(due, _)| due);
            let step = due.saturating_sub(now).clamp(1, end - self.up_ms);
            self.up_ms += step;
            self.world.pass(step);
            self.look();
        }
    }

    /// What has ended since the last look must have ended now: not early, and not late either.
    fn look(&mut self) {
        self.world.sync();
        for told in &self.world.disk.told[self.seen..] {
            let Told::Event(record, _) = told else { continue };
            let number = record.run.number().unwrap();
            if matches!(record.event, RunEvent::Began) {
                let slept = self.begun.get(&number).map_or(1, |(_, slept)| *slept);
                self.begun.insert(number, (self.up_ms, slept));
            }
            if let RunEvent::StepSettled { step, .. } = &record.event {
                let (since, slept) = self.begun[&number];
                let is_new = self.ended.insert((number, step.0.clone()));
                assert!(is_new, "{step} of run {number} has ended twice");
                let wait = waits(slept).into_iter().find(|(path, _)| *path == step.0);
                let Some((_, wait_ms)) = wait else { continue };
                let waited = self.up_ms - since;
                assert!(waited + 1_000 >= wait_ms, "{step} ended {waited} of {wait_ms} ms");
                let late = waited.saturating_sub(wait_ms);
                let most = if self.rebooted.contains(&number) { u64::MAX } else { 1_000 };
                assert!(late <= most, "{step} ended {late} ms late");
            }
        }
        self.seen = self.world.disk.told.len();
    }

    fn start(&mut self) {
        let slept = 1 + self.draw.below(600) as u64;
        let number = self.world.engine.next_run;
        self.begun.insert(number, (self.up_ms, slept));
        self.world.start(&format!("{{\"s\": {slept}}}"));
        self.look();
    }

    /// The wall clock jumps, and is believed more or less: for certain only where it is right.
    fn jump(&mut self, to_ms: Option<i64>) {
        let by = self.draw.below(usize::try_from(2 * TEN_YEARS_MS).unwrap());
        let by = i64::try_from(by).unwrap() - i64::try_from(TEN_YEARS_MS).unwrap();
        let true_ms = self.start_ms + i64::try_from(self.up_ms).unwrap();
        let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
        let trust = *self.draw.pick(&trusts);
        let is_right = trust == ClockTrust::Synced;
        self.world.now.trust = trust;
        self.world.now.wall_ms = if is_right { true_ms } else { to_ms.unwrap_or(true_ms + by) };
    }

    /// The agent goes down, or the machine, of which nobody knows for how long.
    fn disturb(&mut self) {
        if self.draw.one_in(2) {
            self.world.restart(false);
        } else {
            self.world.now.trust = ClockTrust::Estimated;
            self.world.alive = Some(self.world.now);
            self.rebooted.extend(self.world.engine.runs.keys());
            // What it takes to boot has certainly passed.
            self.up_ms += seconds(10);
            self.world.reboot(0);
        }
        self.look();
    }
}

/// A device of a seed, after so many jumps, when all that was under way has ended.
fn jumped(seed: u64, start_ms: i64, jumps: usize) -> Device {
    let mut world = World::new(WAITS);
    world.now.wall_ms = start_ms;
    world.now.trust = ClockTrust::Unset;
    let mut device = Device {
        world,
        draw: Draw(seed),
        start_ms,
        up_ms: 0,
        begun: BTreeMap::new(),
        ended: BTreeSet::new(),
        rebooted: BTreeSet::new(),
        seen: 0,
    };
    for _ in 0..jumps {
        if device.draw.one_in(3) {
            device.start();
        }
        let to = device.draw.one_in(10).then_some(start_ms);
        device.jump(to);
        if device.draw.one_in(20) {
            device.disturb();
        }
        let ms = device.draw.below(20_000) as u64;
        device.sleep(ms);
    }
    device
}

#[test]
fn a_thousand_jumps_lose_no_timer_and_fire_none_twice_or_early() {
    for (seed, start_ms) in (1..).zip(STARTS_MS) {
        let mut device = jumped(seed, start_ms, JUMPS);
        let manual: Vec<u64> = device.begun.keys().copied().collect();
        device.sleep(minutes(16));
        // None is lost.
        for number in &manual {
            let (_, slept) = device.begun[number];
            for (path, _) in waits(slept) {
                assert!(device.ended.contains(&(*number, path.to_owned())), "{path} of {number}");
            }
        }
        assert!(manual.len() > 500, "{} runs", manual.len());
        let mut slots = BTreeSet::new();
        let mut beats: Vec<(u32, u64)> = Vec::new();
        for (_, facts) in device.world.disk.runs.values() {
            let Fact::Accepted { trigger, trigger_data, .. } = &facts[0].fact else { continue };
            if trigger == "slot" {
                let slot = trigger_data.value()["slot"].to_string();
                assert!(slots.insert(slot.clone()), "slot {slot} has fired twice");
            } else if trigger == "beat" {
                beats.push((facts[0].at.boot, facts[0].at.boot_ms));
            }
            let mut fired = BTreeSet::new();
            for record in facts {
                if let Fact::TimerFired { step, what: what @ TimerKind::Delay } = &record.fact {
                    assert!(fired.insert((step.clone(), *what)), "{step} has fired twice");
                }
            }
        }
        assert!(slots.len() > 5, "{} slots", slots.len());
        // Of each boot, in which beats come a minute after the other.
        for pair in beats.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let apart = pair[1].1 - pair[0].1;
            assert!((59_000..=121_000).contains(&apart), "beats are {apart} ms apart");
        }
        assert!(beats.len() > 100, "{} beats", beats.len());
    }
}

#[test]
fn a_clock_that_goes_back_during_a_sleep_changes_nothing_of_it() {
    for by_ms in [TEN_YEARS_MS, seconds(1), 86_400_000] {
        for start_ms in STARTS_MS {
            let mut world = World::new("{workflow: w, steps: [{id: d, delay: 10m}]}");
            world.now.wall_ms = start_ms;
            world.start("{}").sleep(minutes(5));
            world.now.wall_ms -= i64::try_from(by_ms).unwrap();
            world.sleep(minutes(5) - 1);
            assert!(world.results().is_empty(), "{by_ms} ms back");
            world.sleep(1);
            assert_eq!(world.results().len(), 1, "{by_ms} ms back");
        }
    }
}

/// A seed is a device: the same jumps, the same facts at the same times.
#[test]
fn the_same_seed_twice_is_the_same_device() {
    let trace = |seed: u64| {
        let device = jumped(seed, STARTS_MS[usize::from(seed % 2 == 1)], 20);
        let text = format!("{:?}", device.world.disk.runs);
        *blake3::hash(text.as_bytes()).as_bytes()
    };
    let traces: BTreeSet<[u8; 32]> = (0..100)
        .map(|seed| {
            let one = trace(seed);
            assert_eq!(one, trace(seed), "seed {seed}");
            one
        })
        .collect();
    assert_eq!(traces.len(), 100);
}
