//! A disk that is full, and a store that fails: what the brain does until it can write again.
//!
//! What was decided and could not be written stays what it is: a batch that waits, and effects and
//! answers that wait for it. The store is closed and opened again, then either it has the batch after
//! all or gets it once more, and everything goes on as if the commit had taken long. Meanwhile nothing
//! is decided that would have to be written: events wait, wishes are refused, and `status` is answered,
//! so that a person at the device learns what is the matter. What is asked of runs is answered where
//! all that is known of them is durable; else it waits as well, and after a while is refused.

use openclaw_agent_core::{Input, STORAGE_FULL, Storage};
use openclaw_protocol::id::RunId;
use openclaw_protocol::report::{Refusal, Report};
use openclaw_protocol::sync::Lane;

use super::Brain;
use crate::event::Event;
use crate::limits;
use crate::local::{Answer, Request, RunRow, StorageStatus};
use crate::local_mqtt::FromBroker;
use crate::store::{Batch, Level, StoreError};

/// What the brain knows of the room it has.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// A commit failed, and the store has not been opened again since.
    stall: Option<Stall>,
    /// What came meanwhile.
    held: Vec<Event>,
    /// Failures one after the other.
    failures: u32,
    /// When the first of them was.
    failed_ms: u64,
    /// Times that the store was opened again.
    reopened: u64,
    /// What the engine knows.
    storage: Storage,
    /// The operator has been told that the disk is full.
    is_told: bool,
    looked_ms: u64,
}

#[derive(Debug)]
struct Stall {
    why: StoreError,
    /// What is not known to be durable.
    batch: Batch,
    again_ms: u64,
}

impl Room {
    /// When it is tried next: at once after one failure, then ever later.
    fn next_try_ms(&self, now_ms: u64, why: &StoreError) -> u64 {
        let least_ms = u64::try_from(limits::RESTART_MIN.as_millis()).unwrap_or(500);
        let is_full = matches!(why, StoreError::Full(_));
        let most_ms = if is_full { limits::ROOM_LOOK_MS } else { limits::REOPEN_MAX_MS };
        let wait_ms = match self.failures {
            0 | 1 => 0,
            failures => least_ms << (failures - 2).min(16),
        };
        now_ms.saturating_add(wait_ms.min(most_ms))
    }
}

impl Brain {
    /// Looks at the disk, and at a store that failed. Whether something may be decided now.
    pub(super) fn has_room(&mut self) -> Result<bool, StoreError> {
        let before = self.store.level();
        let level = self.store.look();
        self.room.looked_ms = self.now.boot_ms;
        if level != before && level != Level::Ample {
            tracing::warn!("{}", said(level));
        }
        if !self.recover(level)? {
            return Ok(false);
        }
        let was = self.room.storage;
        self.learn_storage();
        self.tell_of_room(level);
        if self.room.storage < was {
            self.step(Input::Tick);
        }
        if self.room.storage < was && self.room.storage == Storage::Ample {
            self.fetch_again()?;
        }
        Ok(!self.holds())
    }

    /// Tells the engine how much room there was when it was last looked at.
    pub(super) fn learn_storage(&mut self) {
        self.room.storage = match self.store.level() {
            Level::Ample => Storage::Ample,
            Level::Low => Storage::Low,
            Level::Full | Level::Out => Storage::Full,
        };
        self.engine.set_storage(self.room.storage);
    }

    /// Whether nothing can be written, so that everything waits.
    pub(super) fn holds(&self) -> bool {
        self.is_stalled() || self.store.level() == Level::Out
    }

    /// What waited while there was no room comes before what has come since.
    pub(super) fn take_all(&mut self, events: impl IntoIterator<Item = Event>) {
        let held = std::mem::take(&mut self.room.held);
        for event in held.into_iter().chain(events) {
            if self.waits_for_room(&event) {
                self.room.held.push(event);
            } else {
                self.take(event);
            }
        }
    }

    /// Whether an event waits although the store can be written to: what it would start or wake has
    /// paused. Messages hold on to their room, and files are listed again only when a listing has
    /// been taken, so they are bounded.
    fn waits_for_room(&self, event: &Event) -> bool {
        let pauses = matches!(event, Event::Broker(FromBroker::Message { .. }) | Event::Files(_));
        pauses && self.room.storage == Storage::Full
    }

    /// A commit failed. Its batch waits, and nothing that follows from it is done.
    ///
    /// # Errors
    /// The store cannot be opened again, or that would not help.
    pub(super) fn stall(&mut self, batch: Batch, why: StoreError) -> Result<(), StoreError> {
        use StoreError::{Database, Disk, Full};
        let may_help = matches!(why, Database(_) | Disk(_) | Full(_));
        // A start that meets it again and again copies what can be read.
        let is_lasting = matches!(why, Disk(_)) && self.room.failures >= limits::UNREAD_STARTS;
        if is_lasting || !(may_help && self.store.can_reopen()) {
            return Err(why);
        }
        tracing::error!(error = %why, "a commit failed: the store is opened again");
        if self.room.failures == 0 {
            self.room.failed_ms = self.now.boot_ms;
        }
        self.room.failures = self.room.failures.saturating_add(1);
        self.room.storage = Storage::Full;
        self.engine.set_storage(Storage::Full);
        let again_ms = self.room.next_try_ms(self.now.boot_ms, &why);
        self.room.stall = Some(Stall { why, batch, again_ms });
        Ok(())
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.room.stall.is_some()
    }

    /// Opens a store that failed again, where it is time to, and gives it what it does not have.
    /// Whether there is nothing to recover from any more.
    fn recover(&mut self, level: Level) -> Result<bool, StoreError> {
        let now_ms = self.now.boot_ms;
        // Every attempt writes, so a full disk is not tried before it has room.
        let is_due = |stall: &Stall| {
            let has_room = level == Level::Ample || !matches!(stall.why, StoreError::Full(_));
            has_room && now_ms >= stall.again_ms
        };
        let Some(stall) = self.room.stall.take_if(|stall| is_due(stall)) else {
            return Ok(!self.is_stalled());
        };
        let batch = stall.batch;
        match self.store.reopen() {
            Ok(true) => {
                tracing::warn!("the store is open again, and has what failed to be written")
            }
            Ok(false) => {
                let engine = &self.engine;
                let state_of = &mut |run: &_| engine.snapshot(run);
                if let Err(why) = self.store.commit_with(&batch, self.now, state_of) {
                    self.stall(batch, why)?;
                    return Ok(false);
                }
                tracing::warn!("the store is open again");
            }
            Err(why) => {
                self.stall(batch, why)?;
                return Ok(false);
            }
        }
        self.room.reopened += 1;
        self.has_written();
        let damaged = self.store.take_untold();
        self.tell_of_damage(damaged);
        // What has come to the next batch since.
        self.pending.needs_commit = !self.pending.batch.is_empty();
        let records = &self.pending.batch.records;
        self.pending.has_recording = records.iter().any(|(lane, _)| *lane == Lane::Telemetry);
        self.fetch_again()?;
        Ok(true)
    }

    /// A commit has worked.
    pub(super) fn has_written(&mut self) {
        self.room.failures = 0;
        self.pending.committed();
        self.committed_ms = self.now.boot_ms;
    }

    /// An event while nothing may be decided.
    pub(super) fn hold(&mut self, event: Event) {
        match event {
            Event::Local { request, reply } => match request {
                Request::Status => self.answer_question(Request::Status, reply),
                // This says nothing yet.
                Request::Wait { run }
                    if RunId::parse(&run).is_ok_and(|run| self.views.is_open(&run)) =>
                {
                    self.answer_question(Request::Wait { run }, reply);
                }
                question @ (Request::Wait { .. }
                | Request::Runs { .. }
                | Request::Show { .. }
                | Request::Results { .. }) => {
                    let asked = &mut self.pending.questions;
                    asked.retain(|(_, reply)| !reply.is_closed());
                    asked.push((question, reply));
                }
                Request::Start { .. }
                | Request::Cancel { .. }
                | Request::Signal { .. }
                | Request::Approve { .. }
                | Request::Export { .. }
                | Request::Retry { .. }
                | Request::Record { .. }
                | Request::Logs { .. } => {
                    // The asker may have hung up.
                    let _ = reply.send(Answer::Error(self.no_room()));
                }
            },
            Event::Webhook { reply, .. } => {
                let _ = reply.send(Err(self.no_room()));
            }
            // The session says again what nobody answered.
            Event::Frame(_) => {}
            Event::LinkUp => self.take_link(true),
            Event::LinkDown => self.take_link(false),
            // Nothing of these is a fact of a run.
            Event::Stop
            | Event::Broker(
                FromBroker::Up { .. } | FromBroker::Down { .. } | FromBroker::Deaf { .. },
            ) => self.take(event),
            // As many as there are calls and messages under way.
            Event::Settled { .. } | Event::Checked { .. } | Event::Broker(_) | Event::Files(_) => {
                self.room.held.push(event);
            }
        }
    }

    /// After what came while nothing may be decided: answers what is asked of runs, where nothing that
    /// is known of them could be taken back by a power cut. Else it waits, but not for ever.
    pub(super) fn answer_held(&mut self) {
        let (now_ms, refusal) = (self.now.boot_ms, Answer::Error(self.no_room()));
        let is_durable = !self.is_stalled() && !self.pending.needs_commit;
        if is_durable {
            self.answer_waiters();
        }
        self.waiters.refuse_late(now_ms, &refusal);
        let is_late = now_ms.saturating_sub(self.room.failed_ms) >= limits::QUESTION_WAIT_MS;
        if !is_durable && !is_late {
            return;
        }
        for (question, reply) in std::mem::take(&mut self.pending.questions) {
            if is_durable || matches!(question, Request::Status) {
                self.answer_question(question, reply);
            } else {
                // The asker may have hung up.
                let _ = reply.send(refusal.clone());
            }
        }
    }

    /// When somebody has waited long enough while nothing may be decided.
    pub(super) fn held_due_ms(&self) -> Option<u64> {
        let is_asked = !self.pending.questions.is_empty();
        let late_ms = self.room.failed_ms.saturating_add(limits::QUESTION_WAIT_MS);
        self.waiters.deadline().into_iter().chain(is_asked.then_some(late_ms)).min()
    }

    /// When the disk is looked at next, where it is not as it should be.
    pub(super) fn room_due_ms(&self) -> Option<u64> {
        let look_ms = self.room.looked_ms.saturating_add(limits::ROOM_LOOK_MS);
        match &self.room.stall {
            Some(Stall { why: StoreError::Full(_), .. }) => Some(look_ms),
            Some(stall) => Some(stall.again_ms),
            None => (self.store.level() != Level::Ample).then_some(look_ms),
        }
    }

    /// Tells the operator, once it is full and once it is not any more.
    fn tell_of_room(&mut self, level: Level) {
        let is_full = level != Level::Ample;
        if is_full == self.room.is_told {
            return;
        }
        self.room.is_told = is_full;
        if !is_full {
            tracing::warn!("{}", said(level));
        }
        let code = if is_full { "storage.full" } else { "storage.ample" }.to_owned();
        self.report(Report::Security { code, message: said(level).to_owned() });
    }

    fn no_room(&self) -> Refusal {
        let message = match &self.room.stall {
            Some(stall) => format!("the agent cannot write now: {}", stall.why),
            None => said(Level::Out).to_owned(),
        };
        Refusal { code: STORAGE_FULL.to_owned(), message }
    }

    pub(super) fn storage_status(&self) -> StorageStatus {
        let level = self.store.level();
        let (state, message) = match &self.room.stall {
            Some(stall) if !matches!(stall.why, StoreError::Full(_)) => {
                ("failing", stall.why.to_string())
            }
            Some(_) => (STORAGE_FULL, said(Level::Out).to_owned()),
            None if level == Level::Ample => ("ample", String::new()),
            None if level == Level::Low => ("low", said(level).to_owned()),
            None => (STORAGE_FULL, said(level).to_owned()),
        };
        StorageStatus { state: state.to_owned(), message, reopened: self.room.reopened }
    }

    /// Why a run does not go on although it could.
    pub(super) fn note_pause(&self, row: RunRow) -> RunRow {
        let is_open = !row.status.is_settled();
        let pauses = self.is_stalled() || self.store.level() >= Level::Full;
        let waiting = (is_open && pauses).then(|| STORAGE_FULL.to_owned());
        RunRow { waiting, ..row }
    }
}

/// What that means for people.
fn said(level: Level) -> &'static str {
    match level {
        Level::Ample => "the disk has room again: what waited goes on",
        Level::Low => {
            "the disk is nearly full: no new run is accepted, and those under way go on; free some \
             space on the file system of the data directory"
        }
        Level::Full | Level::Out => {
            "the disk is full: runs have paused, and go on by themselves once there is room; free \
             some space on the file system of the data directory"
        }
    }
}
