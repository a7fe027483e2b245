//! The brain: one thread that takes what happened, lets the engine decide, commits, and acts.
//!
//! A turn is: drain what is waiting (bounded) → step the engine once for each event → one
//! transaction, if anything needs one → perform the effects. Facts that need not be durable at
//! once ride along with the next commit. The sync session lives here too: it is pure, and its
//! frames go through bounded queues to and from the link.

mod again;
mod answer;
mod broken;
mod denials;
mod desired;
mod fleet;
mod keep;
mod pending;
mod prepare;
mod record;
mod restore;
mod room;
mod sealed;
#[cfg(feature = "testing")]
mod simulated;
mod site;
mod tell;
#[cfg(test)]
mod tests;
mod views;
mod watch;
mod wishes;

use std::time::{Duration, Instant};

use openclaw_agent_core::{
    AttemptId, Config as EngineConfig, Decision, Deployed, Effect, Engine, Input, Told,
};
use openclaw_points::{Point, reach};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::{Inventory, Report};
use openclaw_protocol::secret::HeldSecret;
use openclaw_protocol::sync::Lane;
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};
use serde_json::json;

use crate::clock::Clock;
use crate::event::{Event, Inbox, Nothing};
use crate::hands::Hands;
use crate::identity::Identity;
use crate::limits;
use crate::link::Outgoing;
use crate::local_mqtt::Broker;
use crate::looker::Looker;
use crate::secrets::Secrets;
use crate::store::{Restored, Store, StoreError};
use crate::webhook::Listener;

use answer::Waiters;
use denials::Denials;
use fleet::Fleet;
use pending::Pending;
use record::Recordings;
use restore::{Definitions, restore_run};
use room::Room;
use site::Site;
use views::Views;
use watch::Watched;

/// While a timer is armed, the store notes at most this often that the agent is alive.
const ALIVE_MS: u64 = 300_000;
/// What a brain is made of.
pub struct Parts {
    /// The store, started.
    pub store: Store,
    /// What it had to say.
    pub restored: Restored,
    /// Where stamps come from.
    pub clock: Box<dyn Clock>,
    /// Who makes calls.
    pub hands: Box<dyn Hands>,
    /// The way to the control plane, once enrolled.
    pub link: Option<(Identity, Outgoing)>,
    /// Why there is no way there although the device was enrolled.
    pub link_fault: Option<String>,
    /// Workflows from the device's own directories.
    pub standalone: Vec<Deployed>,
    /// Calls at once.
    pub slots: u16,
    /// Logical directories that are offered.
    pub files: Vec<String>,
    /// The way to the site's own broker, where there is one.
    pub broker: Option<Broker>,
    /// The listener for webhooks, where there is one.
    pub webhook: Option<Listener>,
    /// Who looks for files, where there are directories.
    pub looker: Option<Looker>,
    /// The secrets of this device.
    pub secrets: Secrets,
    /// What expressions see as the agent's id.
    pub agent: String,
    /// Spreads the timers of many devices.
    pub seed: u64,
}

/// The brain. See [the module](self).
pub struct Brain {
    engine: Engine,
    store: Store,
    clock: Box<dyn Clock>,
    hands: Box<dyn Hands>,
    fleet: Option<Fleet>,
    link_fault: Option<String>,
    standalone: Vec<Deployed>,
    in_force: VecMap<String, String>,
    slots: u16,
    files: Vec<String>,
    secrets: Secrets,
    /// What the control plane was last told of its secrets, in this life.
    secrets_told: Vec<HeldSecret>,
    site: Site,
    watched: Watched,
    unclean: bool,
    pending: Pending,
    room: Room,
    views: Views,
    waiters: Waiters,
    /// Runs that were ended at this start because what was kept of them is damaged.
    ended_damaged: usize,
    /// Calls that were made and not answered, and when they were made.
    in_flight: VecMap<AttemptId, u64>,
    /// The control plane is there, as the device's own bus has heard.
    linked: bool,
    denials: Denials,
    recordings: Recordings,
    dropped: VecMap<(String, &'static str), u32>,
    dropped_told_ms: u64,
    committed_ms: u64,
    high_water_wall_ms: i64,
    now: Stamp,
    stopping: Option<u64>,
}

impl Brain {
    /// Restores everything and issues what is outstanding. Nothing has been performed when this
    /// returns; the first turn does.
    ///
    /// # Errors
    /// The store fails.
    pub fn new(parts: Parts) -> Result<Self, StoreError> {
        let Parts { mut store, restored, mut clock, hands, link, standalone, .. } = parts;
        let now = clock.now();
        let config =
            EngineConfig { epoch: store.run_epoch(), slots: parts.slots, seed: store.epoch().0 };
        let mut engine = Engine::new(config);
        engine.restore_marks(restored.marks);
        engine.restore_wishes(restored.wishes);
        engine.restore_seen(restored.seen);
        engine.restore_holds(restored.holds);
        engine.restore_files(restored.files);
        // The control plane's labels of a device are not known to it.
        engine.set_agent(JsonText::of(&json!({ "id": parts.agent, "labels": {} })));
        engine.set_next_run_number(restored.next_run);
        if let Some(alive) = restored.alive {
            engine.set_last_alive(alive);
        }
        let mut broken = restored.broken;
        let broken_runs = broken.iter().map(|(open, _)| &open.run);
        let open_runs = restored.runs.iter().map(|open| &open.run).chain(broken_runs);
        let views = Views::restore(&store, open_runs)?;
        let definitions = Definitions::new(&store);
        for open in restored.runs {
            if let Err(reason) = restore_run(&mut engine, &definitions, &open)? {
                broken.push((open, reason));
            }
        }
        let folded = definitions.into_folded();
        store.distrust(&folded);
        let fleet = match link {
            Some((identity, out)) => Some(Fleet::new(identity, out, &store, parts.seed)?),
            None => None,
        };
        let mut brain = Self {
            engine,
            store,
            clock,
            hands,
            fleet,
            link_fault: parts.link_fault,
            standalone,
            in_force: VecMap::new(),
            slots: parts.slots,
            files: parts.files,
            secrets: parts.secrets,
            secrets_told: Vec::new(),
            site: Site::new(parts.broker, restored.publications),
            watched: Watched::new(parts.webhook, parts.looker),
            unclean: restored.unclean,
            pending: Pending::default(),
            room: Room::default(),
            views,
            waiters: Waiters::default(),
            ended_damaged: broken.len(),
            in_flight: VecMap::new(),
            linked: false,
            denials: Denials::default(),
            recordings: Recordings::new(restored.to_record, restored.recorded),
            dropped: VecMap::new(),
            dropped_told_ms: now.boot_ms,
            committed_ms: now.boot_ms,
            high_water_wall_ms: restored.high_water_wall_ms,
            now,
            stopping: None,
        };
        brain.pending.batch.published.extend(restored.publications_gone);
        for (open, reason) in broken {
            brain.end_broken(&open, &reason)?;
        }
        brain.tell_of_damage(restored.damaged);
        brain.begin(restored.unclean)?;
        Ok(brain)
    }

    /// Tells of what was found damaged and left out.
    fn tell_of_damage(&mut self, damaged: Vec<String>) {
        for reason in damaged {
            tracing::error!(reason, "something stored is damaged and was left out");
            self.report(Report::Security { code: "store.damaged".to_owned(), message: reason });
        }
    }

    fn begin(&mut self, unclean: bool) -> Result<(), StoreError> {
        self.views.begun();
        self.learn_storage();
        let inventory = Inventory {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            os: std::env::consts::OS.to_owned(),
            files: self.files.clone(),
            slots: self.slots,
            boot: self.now.boot,
            unclean,
        };
        self.report(Report::Inventory(inventory));
        self.tell_sealing_key();
        self.pending.needs_commit = true;
        self.prepare_in_force();
        self.sweep();
        if self.fleet.is_none() {
            self.sweep_chunks();
        }
        self.redeploy();
        self.step(Input::Restarted { unclean });
        while self.engine.is_restarting() {
            // Very many runs are told a part at a time, for what they all say takes more memory than
            // they do. Nothing is performed before the last has been told.
            if self.has_room()? {
                self.flush()?;
            }
            self.step(Input::Restarted { unclean });
        }
        Ok(())
    }

    /// Takes events until it is stopped or everybody who could send one is gone.
    ///
    /// # Errors
    /// The store fails. Nothing uncommitted has been acted upon; start anew.
    pub fn run(mut self, events: &Inbox) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        loop {
            self.turn(batch.drain(..))?;
            if self.is_drained() {
                return self.finish();
            }
            let until = Instant::now() + self.sleep();
            match events.take(&mut batch, limits::EVENTS_PER_TURN, 1, until) {
                Ok(()) | Err(Nothing::Yet) => self.gather(events, &mut batch),
                Err(Nothing::Ever) => return self.finish(),
            }
        }
    }

    /// One turn: take the events, decide, commit, act.
    ///
    /// # Errors
    /// The store fails.
    pub fn turn(&mut self, events: impl IntoIterator<Item = Event>) -> Result<(), StoreError> {
        self.look_at_clock();
        if !self.has_room()? {
            events.into_iter().for_each(|event| self.hold(event));
            self.answer_held();
            return Ok(());
        }
        self.take_all(events);
        if self.engine.next_deadline().is_some_and(|(due_ms, _)| due_ms <= self.now.boot_ms) {
            self.step(Input::Tick);
        }
        self.tell_dropped();
        self.tell_denials();
        self.converse()?;
        loop {
            if !self.flush()? {
                return Ok(());
            }
            self.perform();
            if !std::mem::take(&mut self.pending.untold) && !self.pending.needs_commit {
                return Ok(());
            }
            // The control plane hears of what is durable now, and may have more to say.
            self.tell_committed();
            self.converse()?;
        }
    }

    /// What comes within a moment while more calls are under way: results that come together share
    /// one sync. A call that has taken long already will not come just now.
    fn gather(&self, events: &Inbox, batch: &mut Vec<Event>) {
        let until = Instant::now() + limits::GATHER;
        let is_young =
            |made_ms: &&u64| self.now.boot_ms.saturating_sub(**made_ms) < limits::GATHER_FOR_MS;
        let young = self.in_flight.values().filter(is_young).count();
        loop {
            let settled = batch.iter().filter(|e| matches!(e, Event::Settled { .. })).count();
            let missing = young.saturating_sub(settled);
            if settled == 0 || missing == 0 || batch.len() >= limits::EVENTS_PER_TURN {
                return;
            }
            if events.take(batch, limits::EVENTS_PER_TURN, missing, until).is_err()
                || Instant::now() >= until
            {
                return;
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Settled { attempt, outcome, denials, tape, kept } => {
                self.in_flight.remove(&attempt);
                self.note_denials(&attempt, denials);
                self.settle_attempt(attempt, outcome, tape, kept);
                reach(Point::CallSettled);
            }
            Event::Checked { digest, result } => {
                reach(Point::ModuleChecked);
                self.take_checked(digest, result);
            }
            Event::Local { request, reply } => self.take_local(request, reply),
            Event::LinkUp => self.take_link(true),
            Event::LinkDown => self.take_link(false),
            Event::Frame(bytes) => {
                self.take_frame(&bytes);
                reach(Point::FrameTaken);
            }
            Event::Broker(event) => self.take_broker(event),
            Event::Webhook { workflow, trigger, data, reply } => {
                self.take_webhook(workflow, trigger, data, reply);
            }
            Event::Files(listing) => self.take_listing(listing),
            Event::Stop => {
                let drain_ms = u64::try_from(limits::DRAIN.as_millis()).unwrap_or(u64::MAX);
                self.stopping.get_or_insert(self.now.boot_ms.saturating_add(drain_ms));
                self.step(Input::Drain);
            }
        }
    }

    /// Lets the engine decide, and takes in what it decided. What it answered comes back.
    fn step(&mut self, input: Input) -> Vec<Told> {
        let decision = self.engine.step(input, self.now);
        let Decision {
            facts,
            marks,
            seen,
            holds,
            files,
            told,
            wishes,
            publications,
            effects,
            needs_commit,
        } = decision;
        if !facts.is_empty() {
            self.site.is_stale();
            self.recordings.note(&facts, &mut self.pending.batch);
        }
        let pending = &mut self.pending;
        pending.needs_commit |= needs_commit;
        pending.batch.facts.extend(facts);
        pending.batch.marks.extend(marks);
        pending.batch.seen.extend(seen);
        pending.batch.holds.extend(holds);
        pending.batch.files.extend(files);
        pending.batch.wishes.extend(wishes);
        for effect in effects {
            if let Effect::Stop { attempt, .. } = &effect {
                self.withdraw(attempt);
            }
            self.pending.effects.push(effect);
        }
        let mut answers = Vec::new();
        for told in told {
            match told {
                Told::Event(event, packed) => self.tell_event(&event, packed),
                Told::Result(result) => {
                    let body = wire::pack(Kind::RunResult, &result);
                    self.pending.batch.records.push((Lane::Results, body));
                    if let Some(view) = self.views.settle(&result) {
                        self.pending.batch.views.push((result.run.clone(), view));
                    }
                    self.waiters.settled(&result.run);
                }
                Told::Dropped { workflow, reason } => {
                    *self.dropped.entry((workflow.to_string(), reason)).or_default() += 1;
                }
                Told::Answer { .. } => answers.push(told),
            }
        }
        self.take_publications(publications);
        answers
    }

    /// Puts into force what the control plane and the device's own directories say. Where both
    /// have a name, the control plane's is meant.
    fn redeploy(&mut self) {
        let mut deployed = self.fleet.as_ref().map(Fleet::deployed).unwrap_or_default();
        let names: VecSet<_> = deployed.iter().map(|d| d.workflow.name.clone()).collect();
        deployed
            .extend(self.standalone.iter().filter(|d| !names.contains(&d.workflow.name)).cloned());
        self.in_force = deployed
            .iter()
            .map(|d| (d.workflow.name.to_string(), d.workflow.version.clone()))
            .collect();
        for one in &deployed {
            let workflow = &one.workflow;
            let text = (workflow.hash.clone(), workflow.canonical.clone());
            self.pending.batch.definitions.push(text);
        }
        self.site.is_stale();
        self.watched.is_stale = true;
        self.step(Input::Deploy(deployed));
    }

    fn perform(&mut self) {
        for effect in std::mem::take(&mut self.pending.effects) {
            reach(Point::EffectsBegin);
            match effect {
                // While stopping, too: the engine begins nothing then, so this was begun before.
                Effect::Call(task) => {
                    self.in_flight.insert(task.attempt.clone(), self.now.boot_ms);
                    self.hands.call(task);
                }
                Effect::Stop { attempt, reason } => self.hands.stop(&attempt, reason),
                // The store removes journals by its own retention.
                Effect::Forget(_) => {}
            }
            reach(Point::EffectsHanded);
        }
        for attempt in std::mem::take(&mut self.pending.to_free) {
            self.hands.free(&attempt);
        }
        for (reply, answer) in std::mem::take(&mut self.pending.replies) {
            // The asker may have hung up.
            let _ = reply.send(answer);
            reach(Point::ReplyTold);
        }
        for (question, reply) in std::mem::take(&mut self.pending.questions) {
            self.answer_question(question, reply);
        }
        self.answer_waiters();
        self.tell_broker();
        self.tell_watchers();
    }

    /// How long nothing is due.
    fn sleep(&self) -> Duration {
        let engine = self.engine.next_deadline().map(|(ms, _)| ms);
        let session = self.fleet.as_ref().and_then(Fleet::deadline);
        let lazy = self.pending.lazy_due_ms();
        let waiters = self.waiters.deadline();
        let denials = self.denials.deadline();
        let mut due = [engine, session, lazy, waiters, denials];
        if self.holds() {
            // All the others wait.
            due = [None, None, None, self.held_due_ms(), None];
        }
        let due = due.into_iter().chain([self.stopping, self.room_due_ms()]).flatten().min();
        let left = due.map_or(u64::MAX, |ms| ms.saturating_sub(self.now.boot_ms));
        Duration::from_millis(left).min(limits::SLEEP)
    }

    fn is_drained(&self) -> bool {
        self.stopping.is_some_and(|until| self.in_flight.is_empty() || self.now.boot_ms >= until)
    }

    /// The last commit. The stop was clean if nothing was cut off by it.
    fn finish(mut self) -> Result<(), StoreError> {
        self.pending.batch.clean = self.in_flight.is_empty();
        self.pending.needs_commit = true;
        reach(Point::StopCommit);
        if self.flush()? {
            reach(Point::StopCommitted);
            self.perform();
        } else {
            tracing::error!("stopping without a last commit, for there is no room for it");
        }
        Ok(())
    }

    /// What rides along with every commit.
    fn stamp_batch(&mut self) {
        let batch = &mut self.pending.batch;
        if self.now.trust == ClockTrust::Synced
            && self.now.wall_ms > self.high_water_wall_ms.saturating_add(60_000)
        {
            self.high_water_wall_ms = self.now.wall_ms;
            batch.high_water_wall_ms = Some(self.now.wall_ms);
        }
    }

    /// Commits what must be durable, or what has waited long enough. `false`: it cannot be written
    /// now, and nothing that follows from it may be done.
    fn flush(&mut self) -> Result<bool, StoreError> {
        if self.is_stalled() {
            return Ok(false);
        }
        let alive_due = self.engine.next_deadline().is_some()
            && self.now.boot_ms.saturating_sub(self.committed_ms) >= ALIVE_MS;
        if !self.pending.is_due(self.now.boot_ms) && !alive_due {
            return Ok(true);
        }
        self.stamp_batch();
        let batch = std::mem::take(&mut self.pending.batch);
        let engine = &self.engine;
        match self.store.commit_with(&batch, self.now, &mut |run| engine.snapshot(run)) {
            Ok(()) => self.has_written(),
            Err(why) => self.stall(batch, why)?,
        }
        Ok(!self.is_stalled())
    }
}
