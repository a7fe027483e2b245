//! The world: devices, wires and a control plane in one process and one loop, in virtual time. Whatever
//! happens is drawn from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use openclaw_agent::event::Event;
use openclaw_agent::identity::Identity;
use openclaw_agent::simulated;
use openclaw_agent_core::{AttemptOutcome, PluginTask};
use openclaw_control_plane::fleet::stepped::{Plane, tenant};
use openclaw_protocol::id::Digest;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunError;
use openclaw_protocol::sync::Lane;

use crate::device::{Device, START_MS, Turn};
use crate::draw::{Draw, Trace};
use crate::ground::{self, Ground};
use crate::judge::Judge;
use crate::plan::{Doom, Fault, HOUR_MS, Plan, Work};
use crate::wire::{End, Flight, Wire};

/// How long after all was healed everything must have come to rest.
const REST_MS: u64 = 30 * 60_000;
/// How long a healthy database takes at most.
pub(crate) const QUICK_MS: u64 = 20;
/// How often it is looked whether it has.
const LOOK_MS: u64 = 20_000;
/// Things that happen at most.
const MOST: u64 = 1_000_000;

/// What is done wrong on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Sabotage {
    #[default]
    None,
    /// A device takes a result for delivered as soon as the broker has it, and keeps none after that.
    /// Unless it is watched, only the end is judged.
    TrustsTheBroker { watched: bool },
    /// The control plane writes a result again that comes again.
    WritesAgain,
}

/// What happens at a moment.
#[derive(Debug)]
pub(crate) enum What {
    Arrives {
        device: usize,
        flight: Flight,
    },
    CallEnds {
        device: usize,
        life: u64,
        task: Box<PluginTask>,
    },
    CheckEnds {
        device: usize,
        life: u64,
        digest: Digest,
    },
    Starts {
        device: usize,
    },
    Connects {
        device: usize,
    },
    /// An end notices that a connection is dead.
    Notices {
        device: usize,
        end: End,
        connection: u64,
    },
    PlaneStarts,
    PlaneWrites {
        life: u64,
    },
    PlaneTells {
        life: u64,
    },
    Goes(Fault),
    /// It has lasted long enough.
    Ends(Fault),
    Wanted(Work),
}

/// What came of a seed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Story {
    pub(crate) trace: u64,
    pub(crate) events: u64,
    pub(crate) results: usize,
    /// Calls that were made again after their device had died in them.
    pub(crate) repeated: u64,
    pub(crate) simulated_ms: u64,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// See [the module](self).
pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) draw: Draw,
    pub(crate) trace: Trace,
    pub(crate) devices: Vec<Device>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) plane: Option<Plane>,
    pub(crate) judge: Judge,
    pub(crate) story: Story,
    pub(crate) doom: Option<Doom>,
    /// Whether a death at a sync is one of the machine.
    pub(crate) dying: Vec<Option<bool>>,
    pub(crate) down_ms: u64,
    /// How long the control plane's database may take.
    pub(crate) slow_ms: u64,
    pub(crate) sabotage: Sabotage,
    pub(crate) plane_skew_ms: i64,
    pub(crate) healed: bool,
    queue: BTreeMap<(u64, u64), What>,
    number: u64,
    pub(crate) plane_life: u64,
    pub(crate) is_writing: bool,
    pub(crate) seed: u64,
    pub(crate) ground: Ground,
    pub(crate) clocks: (Arc<AtomicI64>, Arc<AtomicU64>),
}

impl World {
    /// So many simulated hours, and the rest after them.
    pub(crate) fn play(seed: u64, hours: u64, sabotage: Sabotage) -> Result<Story, String> {
        let mut world = Self::new(seed, hours, sabotage)?;
        let played = world.live(hours * HOUR_MS);
        world.story.trace = world.trace.0;
        world.story.results = world.judge.results();
        world.story.repeated = world.judge.repeated;
        world.story.simulated_ms = world.now_ms;
        played.map(|()| world.story)
    }

    fn new(seed: u64, hours: u64, sabotage: Sabotage) -> Result<Self, String> {
        simulated::seed(seed);
        let mut draw = Draw(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let plan = Plan::draw(hours * HOUR_MS, &mut draw);
        let ground = Ground::new();
        let devices = plan.devices;
        let mut world = Self {
            now_ms: 0,
            draw,
            trace: Trace::new(),
            devices: Vec::new(),
            wires: (0..devices).map(|_| Wire::default()).collect(),
            plane: None,
            judge: Judge::new(devices),
            story: Story::default(),
            doom: None,
            dying: vec![None; devices],
            down_ms: 0,
            slow_ms: QUICK_MS,
            sabotage,
            plane_skew_ms: 0,
            healed: false,
            queue: BTreeMap::new(),
            number: 0,
            plane_life: 0,
            is_writing: false,
            seed,
            ground,
            clocks: (Arc::new(AtomicI64::new(START_MS)), Arc::new(AtomicU64::new(0))),
        };
        world.judge.is_blind = sabotage == Sabotage::TrustsTheBroker { watched: false };
        world.open_plane()?;
        world.make_devices(devices)?;
        for (at_ms, work) in plan.work {
            world.at(at_ms, What::Wanted(work));
        }
        for (at_ms, fault) in plan.faults {
            world.at(at_ms, What::Goes(fault));
        }
        Ok(world)
    }

    fn make_devices(&mut self, count: usize) -> Result<(), String> {
        let plane = self.plane.as_mut().ok_or("no control plane")?;
        let ids = &ground::devices()[..count];
        for workflow in ["chain", "beat"] {
            plane.deploy(workflow, 1, ids).map_err(|e| format!("{e:#}"))?;
        }
        let desired_key = plane.desired_key().map_err(|e| format!("{e:#}"))?;
        for id in ids {
            let identity = Identity {
                tenant: tenant(),
                device: id.clone(),
                server: "https://control.example".to_owned(),
                mqtt_host: "control.example".to_owned(),
                mqtt_port: 8883,
                desired_key,
            };
            let mut device = Device::new(identity, self.draw.next());
            if matches!(self.sabotage, Sabotage::TrustsTheBroker { .. }) {
                device.retention.hours = 0;
            }
            self.devices.push(device);
            let (number, at_ms) = (self.devices.len() - 1, self.draw.below(60_000));
            self.at(at_ms, What::Starts { device: number });
        }
        Ok(())
    }

    pub(crate) fn at(&mut self, at_ms: u64, what: What) {
        self.number += 1;
        self.queue.insert((at_ms, self.number), what);
    }

    pub(crate) fn after(&mut self, ms: u64, what: What) {
        self.at(self.now_ms + ms, what);
    }

    fn live(&mut self, end_ms: u64) -> Result<(), String> {
        self.until(end_ms)?;
        self.heal()?;
        loop {
            self.until(self.now_ms + LOOK_MS)?;
            let Some(why) = self.unrest()? else { break };
            if self.now_ms > end_ms + REST_MS {
                return Err(format!("no rest within half an hour after all was healed: {why}"));
            }
        }
        self.look_at_tables()?;
        self.judge.end(&self.devices)?;
        let tables = format!("{:?}", self.judge.tables);
        self.trace.note(tables.as_bytes());
        Ok(())
    }

    /// Why it is not quiet, if it is not.
    fn unrest(&mut self) -> Result<Option<String>, String> {
        for number in 0..self.devices.len() {
            let now_ms = self.now_ms;
            let status = self.devices[number].status(now_ms)?;
            self.hear(number)?;
            let device = &self.devices[number];
            let Some(status) = status else { return Ok(Some(format!("{} is down", device.id))) };
            let waits = Lane::UP.map(|lane| (lane, device.outstanding(lane)));
            let is_up = self.plane.as_ref().is_some_and(|plane| plane.is_up(&device.id));
            if status.unsettled > 0 || waits.iter().any(|(_, count)| *count > 0) || !is_up {
                let (open, link) = (status.unsettled, status.link);
                return Ok(Some(format!("{}: {open} open, {link}, waits {waits:?}", device.id)));
            }
        }
        let Some(plane) = &self.plane else { return Ok(Some("no control plane".to_owned())) };
        if plane.waiting() != (0, 0) {
            return Ok(Some("the control plane has not written all".to_owned()));
        }
        let unanswered = self.judge.tables.requests.iter().find(|request| !request.answered);
        Ok(unanswered.map(|request| format!("wish {} is not answered", request.id)))
    }

    /// Lets time pass.
    fn until(&mut self, end_ms: u64) -> Result<(), String> {
        loop {
            let queued = self.queue.first_key_value().map(|(key, _)| key.0);
            let device = (0..self.devices.len()).min_by_key(|it| self.devices[*it].wake_ms);
            let device = device.map(|it| (self.devices[it].wake_ms, it));
            let session = self.next_session();
            let moments = [queued, device.map(|it| it.0), session.map(|it| it.0)];
            let next_ms = moments.into_iter().flatten().min().unwrap_or(u64::MAX);
            if next_ms > end_ms {
                self.pass_to(end_ms);
                return Ok(());
            }
            self.pass_to(next_ms.max(self.now_ms));
            self.story.events += 1;
            if self.story.events > MOST {
                return Err(format!("more than {MOST} things happen"));
            }
            self.trace.number(self.now_ms);
            if queued == Some(next_ms) {
                if let Some((_, what)) = self.queue.pop_first() {
                    self.happen(what)?;
                }
            } else if let Some((_, number)) = device.filter(|it| it.0 == next_ms) {
                self.turn(number, Vec::new())?;
            } else if let (Some((_, number)), Some(plane)) = (session, &mut self.plane) {
                plane.wake(&self.devices[number].id);
                self.hear_plane()?;
            }
        }
    }

    fn pass_to(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.clocks
            .0
            .store(START_MS + now_ms.cast_signed() + self.plane_skew_ms, Ordering::Relaxed);
        self.clocks.1.store(now_ms, Ordering::Relaxed);
    }

    fn next_session(&self) -> Option<(u64, usize)> {
        let plane = self.plane.as_ref()?;
        let due = self.devices.iter().enumerate();
        due.filter_map(|(number, device)| Some((plane.deadline_ms(&device.id)?, number))).min()
    }

    fn happen(&mut self, what: What) -> Result<(), String> {
        match what {
            What::Arrives { device, flight } => self.arrive(device, flight),
            What::CallEnds { device, life, task } => {
                if self.devices[device].life != life {
                    return Ok(());
                }
                self.trace.note(task.idempotency_key.as_bytes());
                // So that calls are repeated which nobody interrupted, too.
                let fails = task.attempt.attempt == 1 && self.draw.one_in(8);
                self.turn(device, vec![settled(&task, fails)])
            }
            What::CheckEnds { device, life, digest } => {
                if self.devices[device].life != life {
                    return Ok(());
                }
                self.turn(device, vec![Event::Checked { digest, result: Ok(()) }])
            }
            What::Starts { device } => self.start(device),
            What::Connects { device } => self.connect(device),
            What::Notices { device, end, connection } => {
                if self.wires[device].connection == connection {
                    self.lose(device, end)?;
                }
                Ok(())
            }
            What::PlaneStarts => self.open_plane(),
            What::PlaneWrites { life } if life == self.plane_life => self.plane_writes(),
            What::PlaneTells { life } if life == self.plane_life => self.plane_tells(),
            What::PlaneWrites { .. } | What::PlaneTells { .. } => Ok(()),
            What::Goes(fault) => {
                *self.story.faults.entry(fault.name()).or_default() += 1;
                self.go_wrong(fault)
            }
            What::Ends(fault) => self.end(fault),
            What::Wanted(work) => self.want(work),
        }
    }

    /// One turn of a device, if it lives.
    pub(crate) fn turn(&mut self, number: usize, events: Vec<Event>) -> Result<(), String> {
        let device = &mut self.devices[number];
        if !device.is_alive() {
            return Ok(());
        }
        match device.turn(events, self.now_ms)? {
            Turn::Done => self.hear(number),
            Turn::Gone => self.died(number),
        }
    }

    /// Takes what a device has to say.
    fn hear(&mut self, number: usize) -> Result<(), String> {
        let said = self.devices[number].said();
        let life = self.devices[number].life;
        for frame in said.frames {
            self.send(number, End::Plane, frame);
        }
        for task in said.calls {
            self.judge.effect(number, &task)?;
            let ms = 1 + self.draw.below([20, 1_000, 60_000][self.draw.clone().index(3)]);
            self.after(ms, What::CallEnds { device: number, life, task: Box::new(task) });
        }
        for digest in said.checks {
            self.after(5, What::CheckEnds { device: number, life, digest });
        }
        self.judge.device(number, &self.devices[number])?;
        if said.reconnect {
            self.lose(number, End::Device)?;
        }
        Ok(())
    }

    fn start(&mut self, number: usize) -> Result<(), String> {
        if self.devices[number].is_alive() {
            return Ok(());
        }
        match self.devices[number].start(self.now_ms)? {
            Turn::Done => {
                self.hear(number)?;
                let ms = self.draw.between(10, 2_000);
                self.after(ms, What::Connects { device: number });
                Ok(())
            }
            Turn::Gone => self.died(number),
        }
    }

    /// Its process or machine is gone, in the midst of a turn. What it did before that was done.
    pub(crate) fn died(&mut self, number: usize) -> Result<(), String> {
        let said = self.devices[number].said();
        for frame in said.frames {
            self.send(number, End::Plane, frame);
        }
        for task in said.calls {
            self.judge.effect(number, &task)?;
        }
        let power = self.dying[number].take().unwrap_or(false);
        self.die(number, power)
    }

    pub(crate) fn die(&mut self, number: usize, power: bool) -> Result<(), String> {
        self.trace.number(0xdead);
        self.devices[number].die(power, self.now_ms);
        self.wires[number].device_up = false;
        let connection = self.wires[number].connection;
        // A process that dies leaves a closed connection; a machine leaves silence.
        let notice_ms = if power { self.draw.between(1, 90_000) } else { self.draw.below(100) };
        let end = End::Plane;
        self.after(notice_ms, What::Notices { device: number, end, connection });
        let ms = if self.healed { 1_000 } else { self.draw.between(500, 300_000) };
        self.after(ms, What::Starts { device: number });
        Ok(())
    }
}

/// What the plugin `count` answers: one more than it was given, or that it should be tried again.
fn settled(task: &PluginTask, fails: bool) -> Event {
    let n = task.input.value()["n"].as_i64().unwrap_or(0) + 1;
    let output = JsonText::of(&serde_json::json!({ "n": n }));
    let outcome = if fails {
        let error = RunError::new("plugin.busy", "not now");
        AttemptOutcome::Failed { error: RunError { retryable: true, ..error } }
    } else {
        AttemptOutcome::Succeeded { output, vars: None }
    };
    Event::Settled {
        attempt: task.attempt.clone(),
        outcome,
        denials: Vec::new(),
        tape: None,
        kept: None,
    }
}
