//! The session: one side of the sync, as a pure state machine.

use std::collections::VecDeque;

use crate::id::Digest;
use crate::limits::{CHUNK_BYTES, FRAME_BYTES};
use crate::ordered::{VecMap, VecSet};
use crate::wire::{self, Kind, WireError};

use super::batch;
use super::blob::{Fetches, Serving};
use super::hello::Link;
use super::inbox::{Inbox, Part, Taken};
use super::outbox::Outbox;
use super::pace::{Budget, Pace};
use super::register::Register;
use super::{Config, Cursor, Frame, Lane, Output};

/// How many resends in vain make us ask anew where the peer stands.
const TRIES_BEFORE_RENEWAL: u32 = 3;

/// One side of a sync. See [the module](super) for the rules and the order of calls.
#[derive(Debug)]
pub struct Session {
    pub(super) log: u64,
    pub(super) peer_log: u64,
    /// Own lanes, most urgent first.
    pub(super) outboxes: VecMap<Lane, Outbox>,
    /// The peer's lanes.
    pub(super) inboxes: VecMap<Lane, Inbox>,
    pub(super) link: Link,
    pub(super) register: Register,
    pub(super) fetches: Fetches,
    serving: Serving,
    pub(super) pace: Pace,
    pub(super) budget: Budget,
    /// What the shell is reading. One at a time, so that the most urgent lane always goes first.
    pub(super) loading: Option<(Lane, u64, u64)>,
    /// Lanes of the peer whose cursor has moved or seems unknown to it.
    pub(super) acks_due: VecSet<Lane>,
    pub(super) outputs: VecDeque<Output>,
}

impl Session {
    /// A session that is not connected.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let outboxes = config.holdings.into_iter().map(|h| (h.lane, Outbox::new(h))).collect();
        let cursors = config.cursors;
        let cursor_of = |lane| cursors.iter().find(|cursor| cursor.lane == lane).cloned();
        let lanes = config.peer_lanes.into_iter();
        Self {
            log: config.log,
            peer_log: config.peer_log,
            outboxes,
            inboxes: lanes.map(|lane| (lane, Inbox::new(lane, cursor_of(lane)))).collect(),
            link: Link::default(),
            register: Register::new(config.desired_revision),
            fetches: Fetches::default(),
            serving: Serving::default(),
            pace: Pace::new(config.seed),
            budget: Budget::new(),
            loading: None,
            acks_due: VecSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// The transport is up and subscribed: says hello. What was in flight before is forgotten.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.handle_disconnected();
        self.link.connect(now_ms, &mut self.pace);
    }

    /// The transport is down: forgets what was in flight. Nothing is sent or loaded until
    /// [`Session::handle_connected`]; frames that still come are ignored.
    pub fn handle_disconnected(&mut self) {
        self.link.disconnect();
        self.drop_unsent();
        self.acks_due.clear();
        self.loading = None;
        self.outboxes.values_mut().for_each(Outbox::forget);
        self.register.forget();
        self.fetches.forget();
        self.serving.forget();
    }

    /// Takes a frame of the peer.
    ///
    /// # Errors
    /// The bytes are not a frame this build understands. They have changed nothing.
    pub fn handle_frame(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), WireError> {
        let frame = wire::unpack(Kind::Frame, bytes, FRAME_BYTES)?;
        if !self.link.connected {
            return Ok(());
        }
        match frame {
            Frame::Hello(hello) => self.take_hello(hello, now_ms)?,
            Frame::Batch { log, lane, first, deflated, body } => {
                let records = batch::unpack(first, deflated, body)?;
                self.take_records(log, lane, now_ms, |inbox| inbox.take(records, now_ms));
            }
            Frame::Part { log, lane, seq, digest, offset, total, bytes } => {
                let part = Part { seq, digest, offset, total, bytes };
                self.take_records(log, lane, now_ms, |inbox| inbox.take_part(part, now_ms));
            }
            Frame::Ack { log, by, cursor } => self.take_ack(log, by, cursor, now_ms),
            Frame::Desired { log, announcement } => self.take_desired(log, announcement, now_ms)?,
            Frame::Want { digest, offset } => self.take_want(digest, offset, now_ms),
            Frame::Chunk { digest, offset, total, bytes } => {
                self.take_chunk(digest, (offset, total), bytes, now_ms);
            }
        }
        Ok(())
    }

    /// Records of [`Output::Deliver`] are committed under the peer's present log, and `cursor` is
    /// where its lane stands now. The peer is told. A cursor that covers less than one before is
    /// an answer that came late, and changes nothing.
    pub fn handle_committed(&mut self, lane: Lane, cursor: Cursor) {
        let Some(inbox) = self.inboxes.get_mut(&lane) else { return };
        if cursor.lane == lane && inbox.commit(cursor) && self.link.connected {
            self.acks_due.insert(lane);
        }
    }

    /// Records of [`Output::Deliver`] could not be committed and were thrown away: whatever of this
    /// lane is not committed is handed over again when the peer repeats it. (Without this call that
    /// happens after [`crate::limits::REDELIVER_MS`], and until then what is delivered may begin
    /// behind a gap, which the shell must not commit.)
    pub fn handle_discarded(&mut self, lane: Lane) {
        let of_lane =
            |output: &Output| matches!(output, Output::Deliver { lane: l, .. } if *l == lane);
        self.outputs.retain(|output| !of_lane(output));
        if let Some(inbox) = self.inboxes.get_mut(&lane) {
            inbox.discard();
        }
    }

    /// Fetches a blob from `offset` on; again from another offset if it is wanted already. At most
    /// [`crate::limits::WANTS`] at once, more are ignored.
    pub fn want(&mut self, digest: Digest, offset: u32, now_ms: u64) {
        self.fetches.want(digest, offset);
        self.pump(now_ms);
    }

    /// The blob is not wanted any more.
    pub fn drop_want(&mut self, digest: Digest) {
        self.fetches.drop_want(digest);
    }

    /// Answers [`Output::LoadChunk`]. `total` is the size of the whole blob, 0 if it is not here.
    pub fn handle_chunk_loaded(
        &mut self,
        digest: Digest,
        offset: u32,
        total: u32,
        mut bytes: Vec<u8>,
    ) {
        if !self.serving.end(digest, offset) {
            return;
        }
        bytes.truncate(if total == 0 { 0 } else { CHUNK_BYTES });
        self.push_frame(&Frame::Chunk { digest, offset, total, bytes });
    }

    /// Something of [`Session::poll_timeout`] is due. May be called too early.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if !self.link.connected {
            return;
        }
        if !self.link.handle_timeout(now_ms, &mut self.pace) {
            self.handle_disconnected();
            self.outputs.push_back(Output::Dead);
            return;
        }
        if !self.link.fresh {
            return;
        }
        let mut in_vain = false;
        for outbox in self.outboxes.values_mut() {
            let tries = outbox.handle_timeout(now_ms);
            in_vain |= tries >= TRIES_BEFORE_RENEWAL;
        }
        if in_vain {
            self.renew(now_ms);
        }
        self.pump(now_ms);
    }

    /// What the shell shall do next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.link.due {
            let hello = Frame::Hello(self.hello());
            return Some(Output::Send(wire::pack(Kind::Frame, &hello)));
        }
        if let Some(inbox) = self.acks_due.pop_first().and_then(|lane| self.inboxes.get(&lane)) {
            let (log, by, cursor) = (self.peer_log, self.log, inbox.cursor().clone());
            return Some(Output::Send(wire::pack(Kind::Frame, &Frame::Ack { log, by, cursor })));
        }
        self.outputs.pop_front()
    }

    /// When [`Session::handle_timeout`] is due, and why; `None` while not connected.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(u64, &'static str)> {
        if !self.link.connected {
            return None;
        }
        let link = self.link.timer();
        if !self.link.fresh {
            return Some(link);
        }
        let resends = self.outboxes.values().filter_map(Outbox::resend_at).min();
        let loads = self.outboxes.values().filter_map(Outbox::hold_until).min();
        let timers = [
            Some(link),
            resends.map(|ms| (ms, "no acknowledgement: send again")),
            loads.map(|ms| (ms, "nothing could be loaded: try again")),
            self.waiting_backlog().map(|ms| (ms, "the backlog may go on")),
            self.register.announce_at().map(|ms| (ms, "announce the desired state")),
            self.fetches.ask_at().map(|ms| (ms, "ask for a blob again")),
        ];
        timers.into_iter().flatten().min_by_key(|(ms, _)| *ms)
    }

    /// Whether the peer has said hello on this connection.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link.connected && self.link.fresh
    }

    fn take_records(
        &mut self,
        log: u64,
        lane: Lane,
        now_ms: u64,
        take: impl FnOnce(&mut Inbox) -> Taken,
    ) {
        let Some(inbox) = self.inboxes.get_mut(&lane).filter(|_| log == self.peer_log) else {
            return;
        };
        let taken = take(inbox);
        let runs = taken.deliver.into_iter();
        self.outputs.extend(runs.map(|records| Output::Deliver { log, lane, records }));
        if taken.ack {
            self.acks_due.insert(lane);
        }
        if taken.broken {
            self.renew(now_ms);
        }
    }

    fn take_want(&mut self, digest: Digest, offset: u32, now_ms: u64) {
        if self.register.announced().is_some_and(|announced| announced.digest == digest) {
            self.register.peer_fetches(now_ms);
        }
        if self.serving.begin(digest, offset) {
            self.outputs.push_back(Output::LoadChunk { digest, offset });
        }
    }

    fn take_chunk(&mut self, digest: Digest, place: (u32, u32), bytes: Vec<u8>, now_ms: u64) {
        if let Some(outputs) = self.fetches.take(digest, place, bytes, now_ms) {
            self.outputs.extend(outputs);
            self.link.prove(now_ms, &mut self.pace);
            self.pump(now_ms);
        }
    }

    pub(super) fn push_frame(&mut self, frame: &Frame) {
        if self.link.connected {
            self.outputs.push_back(Output::Send(wire::pack(Kind::Frame, frame)));
        }
    }

    /// Takes back what the shell has not got yet and what no longer holds. What was to be sent is
    /// repeated by the rules; what is for the shell's own database stays.
    pub(super) fn drop_unsent(&mut self) {
        self.outputs.retain(|output| match output {
            Output::Send(_)
            | Output::Load { .. }
            | Output::LoadChunk { .. }
            | Output::Verify { .. }
            | Output::Forked { .. } => false,
            Output::Deliver { .. }
            | Output::Acked { .. }
            | Output::Desired { .. }
            | Output::Chunk { .. }
            | Output::BlobMissing { .. }
            | Output::Up { .. }
            | Output::Dead
            | Output::UnknownPeerLog { .. } => true,
        });
    }
}
