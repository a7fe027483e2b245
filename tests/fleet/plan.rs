//! What a seed has in store: work, and what goes wrong. Most of both comes in storms of ten minutes,
//! so that things go wrong while something is going on.

use crate::draw::Draw;
use crate::wire::Weather;

pub(crate) const HOUR_MS: u64 = 3_600_000;
const STORM_MS: u64 = 600_000;
const MINUTE_MS: u64 = 60_000;

/// Where in its work the control plane is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doom {
    Now,
    /// With something received and not written.
    Received,
    /// With something written of which nobody was told.
    Committed,
    /// As the acknowledgements go out, before any of them is on the wire.
    Acknowledging,
}

/// Something that goes wrong. Devices are numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// The process of an agent dies, or its machine loses its power.
    Die { device: usize, power: bool },
    /// The same at one of the next syncs of its store, in the midst of a commit.
    DieAtSync { device: usize, sync: u64, power: bool },
    /// Its disk is full for a while.
    Full { device: usize, for_ms: u64 },
    /// Nothing passes.
    Cut { device: usize, for_ms: u64 },
    /// The wire loses, doubles, delays, reorders.
    Foul { device: usize, weather: Weather, for_ms: u64 },
    /// Nothing passes and nothing is lost.
    Clog { device: usize, for_ms: u64 },
    /// Its wall clock is wrong from now on.
    Clock { device: usize, skew_ms: i64 },
    /// All connections end.
    Broker,
    /// The control plane is killed, and starts again after a while.
    Plane { doom: Doom, for_ms: u64 },
    /// The control plane's database takes up to this long for each transaction.
    Slow { by_ms: u64, for_ms: u64 },
    /// The control plane's wall clock is wrong from now on.
    PlaneClock { skew_ms: i64 },
}

impl Fault {
    /// All names.
    pub(crate) const NAMES: [&str; 16] = [
        "agent killed",
        "power cut",
        "agent killed in a commit",
        "power cut in a commit",
        "disk full",
        "partition",
        "loss, delay, doubles, reordering",
        "swizzle-clog",
        "clock of a device",
        "broker restarted",
        "control plane killed",
        "control plane killed before the commit",
        "control plane killed after the commit",
        "control plane killed before the acknowledgement",
        "database slow",
        "clock of the control plane",
    ];

    /// Its name in counts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Die { power: false, .. } => "agent killed",
            Self::Die { power: true, .. } => "power cut",
            Self::DieAtSync { power: false, .. } => "agent killed in a commit",
            Self::DieAtSync { power: true, .. } => "power cut in a commit",
            Self::Full { .. } => "disk full",
            Self::Cut { .. } => "partition",
            Self::Foul { .. } => "loss, delay, doubles, reordering",
            Self::Clog { .. } => "swizzle-clog",
            Self::Clock { .. } => "clock of a device",
            Self::Broker => "broker restarted",
            Self::Plane { doom: Doom::Now, .. } => "control plane killed",
            Self::Plane { doom: Doom::Received, .. } => "control plane killed before the commit",
            Self::Plane { doom: Doom::Committed, .. } => "control plane killed after the commit",
            Self::Plane { doom: Doom::Acknowledging, .. } => {
                "control plane killed before the acknowledgement"
            }
            Self::Slow { .. } => "database slow",
            Self::PlaneClock { .. } => "clock of the control plane",
        }
    }
}

/// Something that somebody wants.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Somebody at the site starts a run.
    AtSite { device: usize },
    /// An operator wishes for one, under a key of this number.
    Wish { device: usize, key: u64 },
    /// Another version is rolled out.
    Deploy { revision: u32 },
}

/// All of it, with the times.
pub(crate) struct Plan {
    pub(crate) devices: usize,
    pub(crate) faults: Vec<(u64, Fault)>,
    pub(crate) work: Vec<(u64, Work)>,
}

impl Plan {
    /// For so much time; the last storm may last into the healing.
    pub(crate) fn draw(time_ms: u64, draw: &mut Draw) -> Self {
        let devices = 3 + draw.index(8);
        let mut plan = Self { devices, faults: Vec::new(), work: Vec::new() };
        let mut key = 0;
        for _ in 0..draw.between(1, 2 + time_ms / (4 * HOUR_MS)) {
            let from_ms = draw.between(STORM_MS / 5, time_ms - STORM_MS / 2);
            for _ in 0..draw.between(3, 12) {
                plan.draw_work(from_ms, &mut key, draw);
            }
            for _ in 0..draw.between(2, 16) {
                let at_ms = from_ms + draw.below(STORM_MS);
                plan.draw_fault(at_ms, draw);
            }
        }
        plan.faults.retain(|(at_ms, _)| *at_ms < time_ms);
        let at_ms = draw.below(time_ms);
        plan.work.push((at_ms, Work::Deploy { revision: 2 }));
        plan
    }

    fn draw_work(&mut self, from_ms: u64, key: &mut u64, draw: &mut Draw) {
        let at_ms = from_ms + draw.below(STORM_MS);
        let device = draw.index(self.devices);
        if draw.one_in(2) {
            self.work.push((at_ms, Work::AtSite { device }));
            return;
        }
        *key += 1;
        self.work.push((at_ms, Work::Wish { device, key: *key }));
        if draw.one_in(3) {
            // The client has not heard the answer, and asks again.
            let again_ms = at_ms + draw.below(STORM_MS);
            self.work.push((again_ms, Work::Wish { device, key: *key }));
        }
    }

    fn draw_fault(&mut self, at_ms: u64, draw: &mut Draw) {
        let (device, power) = (draw.index(self.devices), draw.one_in(2));
        let for_ms = draw.between(1_000, 20 * MINUTE_MS);
        let fault = match draw.below(14) {
            0 => Fault::Die { device, power },
            1 | 2 => Fault::DieAtSync { device, sync: draw.between(1, 6), power },
            3 => Fault::Full { device, for_ms },
            4 => Fault::Cut { device, for_ms },
            5 | 6 => {
                let weather = Weather {
                    delay_ms: draw.below(30_000),
                    double: draw.between(2, 6),
                    lose: draw.between(3, 10),
                    reorder: draw.one_in(2),
                };
                Fault::Foul { device, weather, for_ms }
            }
            7 => return self.draw_swizzle(at_ms, draw),
            8 => Fault::Clock { device, skew_ms: skew_ms(draw) },
            9 => Fault::Broker,
            10 | 11 => Fault::Slow { by_ms: draw.between(1_000, 120_000), for_ms },
            12 if draw.one_in(3) => Fault::PlaneClock { skew_ms: skew_ms(draw) },
            _ => {
                let dooms = [Doom::Now, Doom::Received, Doom::Committed, Doom::Acknowledging];
                let doom = dooms[draw.index(dooms.len())];
                Fault::Plane { doom, for_ms: draw.between(500, 5 * MINUTE_MS) }
            }
        };
        self.faults.push((at_ms, fault));
    }

    /// A part of the wires is clogged one after the other, and freed in another order.
    fn draw_swizzle(&mut self, at_ms: u64, draw: &mut Draw) {
        for device in 0..self.devices {
            if draw.one_in(2) {
                let (after_ms, for_ms) =
                    (draw.below(MINUTE_MS), draw.between(1_000, 2 * MINUTE_MS));
                self.faults.push((at_ms + after_ms, Fault::Clog { device, for_ms }));
            }
        }
    }
}

/// Up to ten years before or after; small ones too.
fn skew_ms(draw: &mut Draw) -> i64 {
    let most_ms = [5_000, 3_600_000, 10 * 365 * 24 * HOUR_MS][draw.index(3)];
    let skew_ms = draw.below(most_ms).cast_signed();
    if draw.one_in(2) { skew_ms } else { -skew_ms }
}
