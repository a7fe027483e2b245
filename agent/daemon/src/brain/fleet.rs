//! The brain's end of the control plane: the sync session and what it asks of the store.

use openclaw_agent_core::{Deployed, Input};
use openclaw_points::{Point, reach};
use openclaw_protocol::command::{Command, CommandRecord};
use openclaw_protocol::id::WorkflowName;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::RECORD_BYTES;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Report;
use openclaw_protocol::sync::{Config, Cursor, Dropped, Lane, Output, Record, Session};
use openclaw_protocol::wire::{self, Kind};

use super::Brain;
use super::desired::DesiredState;
use crate::identity::Identity;
use crate::limits;
use crate::link::Outgoing;
use crate::store::{Level, Store, StoreError};

/// The session with the control plane, and the desired state that comes through it.
pub(super) struct Fleet {
    pub(super) identity: Identity,
    pub(super) session: Session,
    pub(super) desired: DesiredState,
    out: Outgoing,
    connected: bool,
    /// What of the control plane's commands is decided, durable or about to be.
    commands: Cursor,
    peer_log: u64,
    /// When the first command came that waits for what the device shall run.
    early_since_ms: Option<u64>,
}

impl Fleet {
    pub(super) fn new(
        identity: Identity,
        out: Outgoing,
        store: &Store,
        seed: u64,
    ) -> Result<Self, StoreError> {
        let desired = DesiredState::restore(&identity, store)?;
        let (peer_log, cursors) = store.peer();
        let commands = commands_cursor(&cursors);
        let session = Session::new(Config {
            log: store.log(),
            holdings: store.holdings(),
            peer_log,
            cursors,
            peer_lanes: Lane::DOWN.to_vec(),
            desired_revision: desired.revision_under(peer_log),
            seed,
        });
        Ok(Self {
            identity,
            session,
            desired,
            out,
            connected: false,
            commands,
            peer_log,
            early_since_ms: None,
        })
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(super) fn deployed(&self) -> Vec<Deployed> {
        self.desired.deployed()
    }

    pub(super) fn refused(&self) -> VecMap<String, String> {
        self.desired.refused()
    }

    /// Names of the workflows that this device shall have, those that it cannot run included.
    pub(super) fn workflows(&self) -> impl Iterator<Item = &WorkflowName> {
        self.desired.named()
    }

    /// Names of the plugins that this device shall have.
    pub(super) fn plugins(&self) -> impl Iterator<Item = String> {
        self.desired.plugins()
    }

    pub(super) fn revision(&self) -> u64 {
        self.desired.revision()
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.session.poll_timeout().map(|(ms, _)| ms)
    }

    pub(super) fn is_up(&self) -> bool {
        self.connected && self.session.is_up()
    }

    pub(super) fn link_state(&self) -> &'static str {
        match (self.connected, self.session.is_up()) {
            (false, _) => "down",
            (true, false) => "connected",
            (true, true) => "in sync",
        }
    }

    /// Whether a command comes before what the device shall run, as it may where a database is new: it
    /// waits with the control plane, which repeats it, and with it all that come after. So it does not
    /// wait for ever.
    fn is_early(
        &mut self,
        record: &Record,
        in_force: &VecMap<String, String>,
        now_ms: u64,
    ) -> bool {
        if self.desired.is_known() || !wants_what_is_not(record, in_force) {
            return false;
        }
        let since_ms = *self.early_since_ms.get_or_insert(now_ms);
        now_ms.saturating_sub(since_ms) < limits::EARLY_MS
    }
}

/// Whether a command is about a workflow that is not in force.
fn wants_what_is_not(record: &Record, in_force: &VecMap<String, String>) -> bool {
    let command = wire::unpack::<CommandRecord>(Kind::Command, &record.body, RECORD_BYTES);
    command.is_ok_and(|record| match record.command {
        Command::Start { workflow, .. } | Command::Record { workflow, .. } => {
            !in_force.contains_key(workflow.as_str())
        }
        Command::Cancel { .. }
        | Command::Signal { .. }
        | Command::Decide { .. }
        | Command::Retry { .. }
        | Command::Export { .. } => false,
    })
}

fn commands_cursor(cursors: &[Cursor]) -> Cursor {
    let found = cursors.iter().find(|c| c.lane == Lane::Commands).cloned();
    found.unwrap_or(Cursor { lane: Lane::Commands, upto: 0, digest: 0, ranges: Vec::new() })
}

impl Brain {
    pub(super) fn take_link(&mut self, up: bool) {
        let Some(fleet) = &mut self.fleet else { return };
        fleet.connected = up;
        if up {
            fleet.session.handle_connected(self.now.boot_ms);
        } else {
            fleet.session.handle_disconnected();
        }
    }

    pub(super) fn take_frame(&mut self, bytes: &[u8]) {
        let Some(fleet) = &mut self.fleet else { return };
        if let Err(e) = fleet.session.handle_frame(bytes, self.now.boot_ms) {
            tracing::warn!(error = %e, "a frame of the control plane was refused");
        }
    }

    /// Lets the session say and ask what it has to, until it is content for now.
    pub(super) fn converse(&mut self) -> Result<(), StoreError> {
        let now_ms = self.now.boot_ms;
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        if fleet.deadline().is_some_and(|due_ms| due_ms <= now_ms) {
            fleet.session.handle_timeout(now_ms);
        }
        // What a store that failed has no answer for waits in the session.
        while !self.is_stalled()
            && let Some(output) = self.fleet.as_mut().and_then(|f| f.session.poll_output())
        {
            self.carry_out(output)?;
        }
        self.tell_link();
        Ok(())
    }

    /// Says on the device's own bus that the control plane is there, or not any more.
    fn tell_link(&mut self) {
        let linked = self.fleet.as_ref().is_some_and(Fleet::is_up);
        if linked != self.linked {
            self.linked = linked;
            let name = if linked { "link.up" } else { "link.down" };
            let data = JsonText::of(&serde_json::json!({}));
            self.step(Input::Event { name: name.to_owned(), data });
        }
    }

    fn carry_out(&mut self, output: Output) -> Result<(), StoreError> {
        let now_ms = self.now.boot_ms;
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        match output {
            Output::Send(frame) => {
                if !fleet.out.send(frame) {
                    tracing::debug!("the link is busy: a frame was dropped");
                }
            }
            Output::Load { lane, first, before, bytes } => {
                let records = self.store.load(lane, first, before, bytes)?;
                fleet.session.handle_loaded(lane, records, now_ms);
            }
            Output::Acked { cursor } => {
                reach(Point::AckTaken);
                self.store.acknowledge(&cursor);
            }
            Output::Verify { lane, seq, digest } => {
                let own = self.store.digest_at(lane, seq).unwrap_or(None);
                if own.is_some_and(|own| own != digest) {
                    self.fork()?;
                }
            }
            Output::Forked { .. } => self.fork()?,
            Output::Deliver { log, lane: Lane::Commands, records } => {
                self.take_commands(log, records)?;
            }
            Output::Deliver { lane, .. } => fleet.session.handle_discarded(lane),
            Output::UnknownPeerLog { log } => {
                let (known, cursors) = self.store.peer();
                let cursors = if known == log { cursors } else { Vec::new() };
                fleet.commands = commands_cursor(&cursors);
                fleet.peer_log = log;
                // What was handed over under the former log must not be acknowledged any more.
                self.pending.cursors.clear();
                fleet.session.handle_peer_cursors(log, cursors);
                let revision = fleet.desired.revision_under(log);
                fleet.session.handle_desired_in_force(revision);
            }
            Output::Desired { log, announcement } => self.want_desired(log, announcement)?,
            Output::Chunk { digest, offset, total, bytes } => {
                self.take_chunk(digest, offset, total, bytes)?;
            }
            Output::BlobMissing { digest } => {
                tracing::debug!(%digest, "the control plane does not have a blob yet");
            }
            // The device holds no blobs that the control plane lacks.
            Output::LoadChunk { digest, offset } => {
                fleet.session.handle_chunk_loaded(digest, offset, 0, Vec::new());
            }
            Output::Up { .. } => {
                tracing::info!("in sync");
                self.want_pending()?;
            }
            Output::Dead => {
                tracing::warn!("the control plane is silent");
                fleet.connected = false;
                fleet.out.reconnect();
            }
        }
        Ok(())
    }

    /// Commands are decided at once; their effects, their reports and the cursor share a commit.
    ///
    /// A recording may have megabytes, and an operator may wish for a hundred of them: each is
    /// written before the next is made.
    fn take_commands(&mut self, log: u64, records: Vec<Record>) -> Result<(), StoreError> {
        for record in records {
            if self.pending.has_recording && !self.flush()? {
                if let Some(fleet) = &mut self.fleet {
                    fleet.session.handle_discarded(Lane::Commands);
                }
                return Ok(());
            }
            let Some(fleet) = &mut self.fleet else { return Ok(()) };
            if log != fleet.peer_log && fleet.peer_log != 0 {
                return Ok(());
            }
            fleet.peer_log = log;
            let upto = fleet.commands.upto;
            let marker = wire::unpack::<Dropped>(Kind::Dropped, &record.body, RECORD_BYTES).ok();
            let is_marker_next = marker.as_ref().is_some_and(|m| m.first <= upto + 1);
            let follows = record.seq == upto + 1 || is_marker_next;
            if record.seq <= upto {
                continue;
            }
            // A nearly full disk does not let in what the device shall run, so nothing waits for it.
            let may_come = self.store.level() == Level::Ample;
            let is_early = may_come && fleet.is_early(&record, &self.in_force, self.now.boot_ms);
            if !follows || is_early {
                fleet.session.handle_discarded(Lane::Commands);
                return Ok(());
            }
            fleet.commands.upto = record.seq;
            fleet.commands.digest = record.digest;
            let cursor = fleet.commands.clone();
            self.pending.batch.cursor = Some((log, cursor.clone()));
            self.pending.cursors.push((Lane::Commands, cursor));
            self.pending.needs_commit = true;
            match marker {
                Some(marker) => self.pass_over(upto + 1, record.seq, &marker.reason),
                None => self.take_command(&record.body),
            }
            reach(Point::CommandTaken);
        }
        Ok(())
    }

    /// The control plane does not send these commands any more, and says why.
    fn pass_over(&mut self, first: u64, last: u64, reason: &str) {
        let which = if first == last {
            format!("command {first} does")
        } else {
            format!("commands {first} to {last} do")
        };
        let message = format!(
            "{which} not come any more: the control plane says `{reason}`, and nothing was done \
             for it here"
        );
        self.report(Report::Security { code: "command.gone".to_owned(), message });
    }

    /// After a commit: what is new in the lanes, and what of the control plane's is durable.
    pub(super) fn tell_committed(&mut self) {
        let cursors = std::mem::take(&mut self.pending.cursors);
        let in_force = self.pending.in_force.take();
        let Some(fleet) = &mut self.fleet else { return };
        for (lane, cursor) in cursors {
            fleet.session.handle_committed(lane, cursor);
        }
        if let Some(revision) = in_force {
            fleet.session.handle_desired_in_force(revision);
        }
        for holding in self.store.holdings() {
            fleet.session.handle_pruned(holding.lane, holding.oldest);
            fleet.session.handle_appended(holding.lane, holding.next, self.now.boot_ms);
        }
    }

    /// Another copy of this database has spoken under the same log: number everything anew.
    fn fork(&mut self) -> Result<(), StoreError> {
        let mut bytes = [0; 8];
        // Without random bytes a name that differs from the old one has to do.
        let new_log = match getrandom::fill(&mut bytes) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => self.store.log().rotate_left(17) ^ self.now.boot_ms,
        };
        self.store.fork(new_log)?;
        // The other copy goes on under the old names: new runs must not be taken for its own.
        self.engine.set_epoch(self.store.run_epoch());
        let message = "this database was restored or cloned: its records parted from those the \
                       control plane has, and were numbered anew"
            .to_owned();
        tracing::warn!("{message}");
        self.report(Report::Security { code: "sync.forked".to_owned(), message });
        self.pending.needs_commit = true;
        if let Some(fleet) = &mut self.fleet {
            fleet.session.handle_fork(new_log, self.store.holdings(), self.now.boot_ms);
        }
        Ok(())
    }
}
