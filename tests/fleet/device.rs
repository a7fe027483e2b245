//! A device: the agent's real brain on a disk in memory, with hands that only remember what they were
//! asked for. Its machine can be killed, lose its power, run out of room, and have its clock set.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openclaw_agent::brain::{Brain, Parts};
use openclaw_agent::clock::Clock;
use openclaw_agent::event::Event;
use openclaw_agent::hands::Hands;
use openclaw_agent::identity::Identity;
use openclaw_agent::link::{self, ToLink};
use openclaw_agent::local::{Answer, Request, Status};
use openclaw_agent::secrets::Secrets;
use openclaw_agent::simulated;
use openclaw_agent::store::{Retention, StoreError};
use openclaw_agent::testing::Disk;
use openclaw_agent_core::{AttemptId, PluginTask, StopReason};
use openclaw_protocol::id::{DeviceId, Digest, Epoch};
use openclaw_protocol::sync::{Lane, Record};
use openclaw_protocol::time::{ClockTrust, Stamp};
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

/// When the simulated time begins: milliseconds since 1970 UTC.
pub(crate) const START_MS: i64 = 1_800_000_000_000;
/// What a machine's boot clock shows when the agent can first ask.
const BOOTED_MS: u64 = 1_000;

/// What the hands were asked for.
#[derive(Debug, Default)]
struct Desk {
    calls: Vec<PluginTask>,
    checks: Vec<Digest>,
}

#[derive(Debug, Clone, Default)]
struct Asked(Arc<Mutex<Desk>>);

impl Asked {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hands for Asked {
    fn call(&mut self, task: PluginTask) {
        self.desk().calls.push(task);
    }

    // A fake call ends when it ends; an answer that comes too late is one that the engine knows.
    fn stop(&mut self, _attempt: &AttemptId, _reason: StopReason) {}

    fn check(&mut self, digest: Digest) {
        self.desk().checks.push(digest);
    }
}

/// A clock that the world moves.
#[derive(Debug, Clone)]
struct WorldClock(Arc<Mutex<Stamp>>);

impl Clock for WorldClock {
    fn now(&mut self) -> Stamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a device has to say after a turn.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) frames: Vec<Vec<u8>>,
    pub(crate) reconnect: bool,
    pub(crate) calls: Vec<PluginTask>,
    pub(crate) checks: Vec<Digest>,
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Done,
    /// The process or the machine is gone, as was wanted.
    Gone,
}

/// A device.
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) identity: Identity,
    pub(crate) disk: Disk,
    /// Counts lives of the process.
    pub(crate) life: u64,
    /// When it wants to be woken, by the world's time.
    pub(crate) wake_ms: u64,
    pub(crate) retention: Retention,
    /// What the site has been told is accepted.
    pub(crate) accepted: BTreeSet<String>,
    brain: Option<Brain>,
    asked: Asked,
    frames: Option<Receiver<ToLink>>,
    clock: WorldClock,
    epoch: Epoch,
    boots: u64,
    booted_at_ms: u64,
    /// How far the wall clock is off.
    skew_ms: i64,
    is_full: bool,
    has_started: bool,
    askers: Vec<oneshot::Receiver<Answer>>,
}

impl Device {
    pub(crate) fn new(identity: Identity, seed: u64) -> Self {
        let stamp = Stamp { boot: 1, boot_ms: 0, wall_ms: START_MS, trust: ClockTrust::Synced };
        Self {
            id: identity.device.clone(),
            identity,
            disk: Disk::new(seed),
            life: 0,
            wake_ms: u64::MAX,
            retention: Retention::default(),
            accepted: BTreeSet::new(),
            brain: None,
            asked: Asked::default(),
            frames: None,
            clock: WorldClock(Arc::new(Mutex::new(stamp))),
            epoch: Epoch(seed | 1),
            boots: 1,
            booted_at_ms: 0,
            skew_ms: 0,
            is_full: false,
            has_started: false,
            askers: Vec::new(),
        }
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.brain.is_some()
    }

    /// The wall clock is set.
    pub(crate) fn set_skew(&mut self, skew_ms: i64) {
        self.skew_ms = skew_ms;
    }

    /// Whether there is no room on the disk.
    pub(crate) fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
        self.disk.set_full(is_full);
    }

    fn set_clock(&self, now_ms: u64) {
        let mut stamp = self.clock.0.lock().unwrap_or_else(PoisonError::into_inner);
        stamp.boot_ms = now_ms - self.booted_at_ms + BOOTED_MS;
        stamp.wall_ms = START_MS + now_ms.cast_signed() + self.skew_ms;
        let is_right = self.skew_ms == 0;
        stamp.trust = if is_right { ClockTrust::Synced } else { ClockTrust::Estimated };
    }

    /// Starts the process.
    pub(crate) fn start(&mut self, now_ms: u64) -> Result<Turn, String> {
        self.life += 1;
        self.set_clock(now_ms);
        let begun = self.begin(now_ms);
        self.outcome(begun, now_ms)
    }

    fn begin(&mut self, now_ms: u64) -> Result<(), StoreError> {
        let mut store = simulated::open(&self.disk, self.retention, self.epoch)?;
        let restored = store.start(&format!("boot-{}", self.boots))?;
        self.has_started = true;
        *self.asked.desk() = Desk::default();
        self.clock.0.lock().unwrap_or_else(PoisonError::into_inner).boot = restored.boot;
        let (out, frames) = link::queue();
        self.frames = Some(frames);
        self.brain = Some(Brain::new(Parts {
            store,
            restored,
            clock: Box::new(self.clock.clone()),
            hands: Box::new(self.asked.clone()),
            link: Some((self.identity.clone(), out)),
            link_fault: None,
            standalone: Vec::new(),
            slots: 8,
            files: Vec::new(),
            broker: None,
            webhook: None,
            looker: None,
            secrets: Secrets::default(),
            agent: self.id.to_string(),
            seed: self.epoch.0 ^ self.life,
        })?);
        self.step(Vec::new(), now_ms)
    }

    fn step(&mut self, events: Vec<Event>, now_ms: u64) -> Result<(), StoreError> {
        let Some(brain) = &mut self.brain else { return Ok(()) };
        brain.turn(events)?;
        let rest_ms = u64::try_from(brain.rest().as_millis()).unwrap_or(u64::MAX);
        self.wake_ms = now_ms.saturating_add(rest_ms.max(1));
        Ok(())
    }

    /// One turn of the brain.
    pub(crate) fn turn(&mut self, events: Vec<Event>, now_ms: u64) -> Result<Turn, String> {
        self.set_clock(now_ms);
        let done = self.step(events, now_ms);
        self.outcome(done, now_ms)
    }

    /// What a failure of the store means: that the process has ended, if that was wanted.
    fn outcome(&mut self, done: Result<(), StoreError>, now_ms: u64) -> Result<Turn, String> {
        // A brain on a disk that is gone waits for it to come back, as with one that fails; but this
        // machine has no power.
        if self.disk.is_dead() {
            return Ok(Turn::Gone);
        }
        let Err(error) = done else { return Ok(Turn::Done) };
        // The file was being made when it was cut; the agent sets it aside.
        let is_half_made = matches!(error, StoreError::Damaged(_)) && !self.has_started;
        if is_half_made {
            self.disk.wipe();
        }
        let is_wanted = is_half_made || self.is_full;
        self.brain = None;
        self.wake_ms = u64::MAX;
        if is_wanted { Ok(Turn::Gone) } else { Err(format!("{} at {now_ms}: {error}", self.id)) }
    }

    /// The process is killed, or the machine loses its power: then a part of what was not synced is
    /// lost, and the boot clock begins anew. What nobody was told is forgotten with it.
    pub(crate) fn die(&mut self, power: bool, now_ms: u64) {
        self.disk.cut();
        self.brain = None;
        self.frames = None;
        self.askers.clear();
        self.wake_ms = u64::MAX;
        if power {
            self.disk.revive();
            self.boots += 1;
            self.booted_at_ms = now_ms;
        } else {
            self.disk.reopen();
        }
    }

    /// What it has to say; answers to those who asked at the site are heard.
    pub(crate) fn said(&mut self) -> Said {
        let mut said = Said::default();
        while let Some(word) = self.frames.as_mut().and_then(|frames| frames.try_recv().ok()) {
            match word {
                ToLink::Frame(frame) => said.frames.push(frame),
                ToLink::Reconnect => said.reconnect = true,
            }
        }
        let mut desk = self.asked.desk();
        said.calls = std::mem::take(&mut desk.calls);
        said.checks = std::mem::take(&mut desk.checks);
        drop(desk);
        let accepted = &mut self.accepted;
        self.askers.retain_mut(|asker| match asker.try_recv() {
            Ok(Answer::Accepted { run }) => {
                accepted.insert(run);
                false
            }
            Ok(_) | Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        said
    }

    /// Somebody at the site starts a run.
    pub(crate) fn begin_run(&mut self, workflow: &str) -> Event {
        let (reply, asker) = oneshot::channel();
        self.askers.push(asker);
        let inputs = serde_json::Map::new();
        let request = Request::Start { workflow: workflow.to_owned(), inputs };
        Event::Local { request, reply }
    }

    /// What the agent says of itself.
    pub(crate) fn status(&mut self, now_ms: u64) -> Result<Option<Status>, String> {
        let (reply, mut answer) = oneshot::channel();
        let event = Event::Local { request: Request::Status, reply };
        if self.turn(vec![event], now_ms)? == Turn::Gone {
            return Ok(None);
        }
        match answer.try_recv() {
            Ok(Answer::Status(status)) => Ok(Some(*status)),
            _ => Ok(None),
        }
    }

    /// The number that the next record of a lane will have.
    pub(crate) fn next(&self, lane: Lane) -> u64 {
        let holdings = self.brain.as_ref().map(|brain| brain.store().holdings());
        let found = holdings.into_iter().flatten().find(|holding| holding.lane == lane);
        found.map_or(1, |holding| holding.next)
    }

    /// Records of a lane that the control plane is not known to have.
    pub(crate) fn outstanding(&self, lane: Lane) -> u64 {
        self.brain.as_ref().map_or(0, |brain| brain.store().outstanding(lane))
    }

    /// The name of its log.
    pub(crate) fn log(&self) -> u64 {
        self.brain.as_ref().map_or(0, |brain| brain.store().log())
    }

    /// Records from a number on, as they are on the disk; none while the store waits to be opened
    /// again.
    pub(crate) fn records(&self, lane: Lane, from: u64) -> Vec<Record> {
        let records =
            self.brain.as_ref().map(|brain| brain.store().load(lane, from, u64::MAX, usize::MAX));
        records.and_then(Result::ok).unwrap_or_default()
    }
}
