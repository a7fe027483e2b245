//! The pair: a device and a control plane, a wire that does what it likes, and virtual time.

use std::collections::BTreeMap;

use crate::sync::batch::is_marker;
use crate::sync::{Announcement, Lane, Record};
use crate::wire::{self, Kind};

use super::store::{Act, Dice, OwnLane, Sabotage, Side, Store, digest_of, first_of};

/// Which side. Also the direction of what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Device = 0,
    Plane = 1,
}

pub(super) const ENDS: [End; 2] = [End::Device, End::Plane];

impl End {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Device => Self::Plane,
            Self::Plane => Self::Device,
        }
    }
}

/// What the wire does to frames.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    pub(super) loss_percent: u64,
    pub(super) double_percent: u64,
    pub(super) least_ms: u64,
    /// Delays differ by this much, which reorders.
    pub(super) spread_ms: u64,
    /// One in a hundred of this many is held back for up to two minutes.
    pub(super) straggler_percent: u64,
}

pub(super) const CLEAN: Wire =
    Wire { loss_percent: 0, double_percent: 0, least_ms: 20, spread_ms: 0, straggler_percent: 0 };

#[derive(Debug)]
enum Event {
    Arrive(End, Vec<u8>),
    Commit(End, u32),
    Loaded(End, u32, Lane, Vec<Record>),
    Connect(End, u32),
}

/// Two sides and everything between them.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) now_ms: u64,
    pub(super) sides: [Side; 2],
    pub(super) wire: Wire,
    /// Frames sent by this side are lost: a half-dead link.
    pub(super) mute: [bool; 2],
    pub(super) connected: [bool; 2],
    pub(super) dice: Dice,
    /// One commit in a hundred of this many fails.
    pub(super) failing_commits_percent: u64,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
}

impl Pair {
    pub(super) fn new(seed: u64, wire: Wire) -> Self {
        let mut dice = Dice::new(seed);
        let lanes = |lanes: &[Lane]| lanes.iter().map(|l| (*l, OwnLane::default())).collect();
        let device = Store { log: dice.next() | 1, own: lanes(&Lane::UP), ..Store::default() };
        let plane = Store { log: dice.next() | 1, own: lanes(&Lane::DOWN), ..Store::default() };
        let sides = [
            Side::new("device", device, &Lane::DOWN, dice.next()),
            Side::new("plane", plane, &Lane::UP, dice.next()),
        ];
        Self {
            now_ms: 1_000,
            sides,
            wire,
            mute: [false; 2],
            connected: [false; 2],
            dice,
            failing_commits_percent: 0,
            events: BTreeMap::new(),
            count: 0,
        }
    }

    pub(super) fn side(&mut self, end: End) -> &mut Side {
        &mut self.sides[end as usize]
    }

    pub(super) fn device(&self) -> &Side {
        &self.sides[0]
    }

    pub(super) fn plane(&self) -> &Side {
        &self.sides[1]
    }

    pub(super) fn sabotage(&mut self, sabotage: Sabotage) {
        for side in &mut self.sides {
            side.sabotage = sabotage;
        }
    }

    /// Says something on a lane, packed like any record of a lane.
    pub(super) fn append(&mut self, lane: Lane, mut body: Vec<u8>) {
        body.splice(..0, [wire::VERSION, Kind::Telemetry as u8]);
        let end = if Lane::UP.contains(&lane) { End::Device } else { End::Plane };
        let now_ms = self.now_ms;
        self.side(end).append(lane, body, now_ms);
        self.act(end);
    }

    /// A new desired state: a document that names modules, all of them blobs of the plane.
    pub(super) fn desire(&mut self, modules: &[Vec<u8>], length: usize) {
        let mut document = vec![modules.len() as u8];
        for module in modules {
            document.extend(digest_of(module).0);
        }
        document.extend(self.dice.bytes(length));
        let now_ms = self.now_ms;
        let plane = self.side(End::Plane);
        let revision = plane.store.newest.map_or(0, |newest| newest.revision) + 1;
        let (digest, size) = (digest_of(&document), document.len() as u32);
        let announcement = Announcement { revision, digest, size };
        plane.store.newest = Some(announcement);
        for blob in modules.iter().chain([&document]) {
            plane.store.blobs.insert(digest_of(blob), blob.clone());
        }
        plane.session.handle_desired(announcement, now_ms);
        self.act(End::Plane);
    }

    pub(super) fn connect(&mut self, end: End) {
        let now_ms = self.now_ms;
        self.connected[end as usize] = true;
        self.side(end).session.handle_connected(now_ms);
        self.act(end);
    }

    pub(super) fn connect_both(&mut self) {
        ENDS.into_iter().for_each(|end| self.connect(end));
    }

    pub(super) fn cut(&mut self, end: End) {
        self.connected[end as usize] = false;
        self.side(end).session.handle_disconnected();
        self.act(end);
    }

    /// The process dies and starts again; it connects a little later.
    pub(super) fn crash(&mut self, end: End) {
        self.connected[end as usize] = false;
        let now_ms = self.now_ms;
        self.side(end).restart(now_ms);
        self.connect_later(end);
    }

    /// The database of a side is replaced, and the side starts from it.
    pub(super) fn restore(&mut self, end: End, store: Store) {
        self.side(end).store = store;
        self.crash(end);
    }

    pub(super) fn connect_later(&mut self, end: End) {
        let (wait_ms, life) = (200 + self.dice.below(3_000), self.side(end).life);
        self.schedule(wait_ms, Event::Connect(end, life));
    }

    fn schedule(&mut self, wait_ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((self.now_ms + wait_ms, self.count), event);
    }

    /// Drains a side's session and does what it asks for.
    pub(super) fn act(&mut self, end: End) {
        let now_ms = self.now_ms;
        self.side(end).drain(now_ms);
        while let Some(act) = self.side(end).acts.pop_front() {
            let life = self.side(end).life;
            match act {
                Act::Transmit(frame) => self.transmit(end, frame),
                Act::Loaded(lane, records) => {
                    let wait_ms = self.dice.below(15);
                    self.schedule(wait_ms, Event::Loaded(end, life, lane, records));
                }
                Act::Commit => {
                    let wait_ms = self.dice.below(80);
                    self.schedule(wait_ms, Event::Commit(end, life));
                }
                Act::Reconnect => {
                    self.connected[end as usize] = false;
                    self.connect_later(end);
                }
            }
        }
    }

    fn transmit(&mut self, from: End, frame: Vec<u8>) {
        assert!(self.connected[from as usize], "{from:?} sends while disconnected");
        let wire = self.wire;
        if self.mute[from as usize] || self.dice.chance(wire.loss_percent) {
            return;
        }
        let copies = if self.dice.chance(wire.double_percent) { 2 } else { 1 };
        for _ in 0..copies {
            let mut wait_ms = wire.least_ms + self.dice.below(wire.spread_ms + 1);
            if self.dice.chance(wire.straggler_percent) {
                wait_ms += self.dice.below(120_000);
            }
            self.schedule(wait_ms, Event::Arrive(from.other(), frame.clone()));
        }
    }

    /// Goes on to the next thing that happens, but not past `until_ms`. `false` at the end.
    pub(super) fn step(&mut self, until_ms: u64) -> bool {
        let timers = ENDS.iter().filter_map(|e| self.sides[*e as usize].session.poll_timeout());
        let timer = timers.map(|(ms, _)| ms).min();
        let event = self.events.keys().next().map(|(ms, _)| *ms);
        let next = [timer, event].into_iter().flatten().min().unwrap_or(until_ms).max(self.now_ms);
        if next >= until_ms {
            self.now_ms = self.now_ms.max(until_ms);
            return false;
        }
        self.now_ms = next;
        if event == Some(next) {
            let (_, event) = self.events.pop_first().unwrap();
            self.happen(event);
        } else {
            self.fire_timers();
        }
        true
    }

    fn fire_timers(&mut self) {
        let now_ms = self.now_ms;
        for end in ENDS {
            let due = self.side(end).session.poll_timeout().filter(|(ms, _)| *ms <= now_ms);
            let Some((_, reason)) = due else { continue };
            self.side(end).session.handle_timeout(now_ms);
            self.act(end);
            let after = self.side(end).session.poll_timeout();
            assert!(after.is_none_or(|(ms, _)| ms > now_ms), "{end:?} spins: {reason}, {after:?}");
        }
    }

    fn happen(&mut self, event: Event) {
        let now_ms = self.now_ms;
        match event {
            Event::Arrive(end, frame) => {
                if !self.connected[end as usize] {
                    return;
                }
                self.side(end).session.handle_frame(&frame, now_ms).unwrap();
                self.act(end);
            }
            Event::Commit(end, life) => {
                let fails = self.dice.chance(self.failing_commits_percent);
                let side = self.side(end);
                if side.life == life && fails {
                    side.fail_commit();
                } else if side.life == life {
                    side.commit();
                }
                self.act(end);
            }
            Event::Loaded(end, life, lane, records) => {
                if self.side(end).life == life {
                    self.side(end).session.handle_loaded(lane, records, now_ms);
                    self.act(end);
                }
            }
            Event::Connect(end, life) => {
                if self.side(end).life == life && !self.connected[end as usize] {
                    self.connect(end);
                }
            }
        }
    }

    pub(super) fn run_for(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while self.step(until_ms) {}
    }

    /// Runs until nothing is outstanding. `Err` says what is, at the deadline.
    pub(super) fn settle(&mut self, within_ms: u64) -> Result<u64, String> {
        let (begin_ms, until_ms) = (self.now_ms, self.now_ms + within_ms);
        loop {
            let Some(outstanding) = self.outstanding() else { return Ok(self.now_ms - begin_ms) };
            if !self.step(until_ms) {
                return Err(format!("after {within_ms} ms: {outstanding}"));
            }
        }
    }

    /// What has not arrived, or whose arrival the sender does not know.
    fn outstanding(&self) -> Option<String> {
        for end in ENDS {
            let (from, to) = (&self.sides[end as usize], &self.sides[end.other() as usize]);
            for (lane, own) in &from.store.own {
                let upto = to.store.upto(from.store.log, *lane);
                if upto != own.last || from.session.unacked(*lane) > 0 {
                    let unacked = from.session.unacked(*lane);
                    return Some(format!("{lane:?} {upto} of {}, {unacked} unacked", own.last));
                }
            }
        }
        let newest = self.plane().store.newest.map_or(0, |newest| newest.revision);
        if self.device().store.in_force != newest {
            return Some(format!("revision {} of {newest}", self.device().store.in_force));
        }
        let part = self.device().store.partial.iter().next();
        part.map(|(digest, bytes)| format!("blob {digest} at {}", bytes.len()))
    }

    /// Compares what was sent with what was taken under the present logs: nothing lost, nothing
    /// foreign, nothing out of order. `Ok` says for how many numbers a marker stands, each of which
    /// the sender has really removed.
    pub(super) fn audit(&self) -> Result<u64, String> {
        let mut gone = 0;
        for end in ENDS {
            let (from, to) = (&self.sides[end as usize], &self.sides[end.other() as usize]);
            if let Some(fault) = to.faults.first() {
                return Err(format!("{}: {fault}", to.name));
            }
            for (lane, own) in &from.store.own {
                gone += self.audit_lane(end, *lane, own)?;
            }
        }
        Ok(gone)
    }

    fn audit_lane(&self, from: End, lane: Lane, own: &OwnLane) -> Result<u64, String> {
        let (log, to) = (self.sides[from as usize].store.log, &self.sides[from.other() as usize]);
        let nothing = BTreeMap::new();
        let taken = to.store.taken.get(&(log, lane)).unwrap_or(&nothing);
        let mut gone = 0;
        for seq in 1..=own.last {
            let sent = own.records.get(&seq);
            match taken.get(&seq) {
                Some(here) if !is_marker(&here.body) => {
                    if sent.is_some_and(|sent| sent != here) {
                        return Err(format!("{lane:?} {seq} was swapped"));
                    }
                }
                Some(_) | None => {
                    let after = taken.range(seq..).next();
                    let told = after.is_some_and(|(_, marker)| first_of(marker) <= seq);
                    if !told || sent.is_some() {
                        return Err(format!("{lane:?} {seq} of {} was lost", own.last));
                    }
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }

    /// A blob that names no other.
    pub(super) fn module(&mut self, length: usize) -> Vec<u8> {
        let mut module = self.dice.bytes(length);
        module[0] = 0;
        module
    }
}
