//! The first words: who hears whom, and since when.
//!
//! Each side draws a nonce when it connects. A hello that echoes it was said after that moment, so
//! its cursors are the truth and may even be lower than before (a restored database). A hello that
//! does not is only answered. Both sides are content once they have a fresh hello that knows their
//! log; a content side's hello needs no answer, which is what ends the exchange.

use crate::limits::{
    DEAD_AFTER_MS, DESIRED_BYTES, PROBE_AFTER_MS, PROBE_AGAIN_MS, RENEW_AFTER_MS, RESEND_MS,
};
use crate::wire::{VERSION, WireError};

use super::inbox::Inbox;
use super::outbox::{Outbox, Stand};
use super::pace::Pace;
use super::register::Offer;
use super::{Announcement, Cursor, Hello, Output, Session};

/// Where the exchange of first words stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) connected: bool,
    nonce: u32,
    /// The peer's nonce to echo: the last one heard that asks for it.
    heard: u32,
    /// The peer's nonce of the last fresh hello.
    peer_nonce: u32,
    /// A hello that echoes `nonce` has come.
    pub(super) fresh: bool,
    /// And it knew our log.
    content: bool,
    /// The peer's log we have asked the shell about.
    asked_log: Option<u64>,
    tries: u32,
    /// When to say hello again, while not content.
    hello_ms: u64,
    /// When the peer last showed that it hears us.
    proof_ms: u64,
    /// When to ask it to show that again.
    probe_ms: u64,
    /// When the exchange was last begun anew on suspicion.
    renewed_ms: u64,
    /// A hello is due.
    pub(super) due: bool,
    /// And it asks for an answer.
    asks: bool,
}

impl Link {
    /// A hello is due; one that `asks` is answered by all means.
    pub(super) fn say(&mut self, asks: bool) {
        self.due = true;
        self.asks |= asks;
    }

    fn begin(&mut self, now_ms: u64, pace: &mut Pace) {
        pace.stir(now_ms);
        self.nonce = pace.nonce(self.nonce);
        self.fresh = false;
        self.content = false;
        self.asked_log = None;
        self.tries = 0;
        self.hello_ms = now_ms + pace.backoff(RESEND_MS, 0);
        self.say(true);
    }

    pub(super) fn connect(&mut self, now_ms: u64, pace: &mut Pace) {
        self.connected = true;
        self.heard = 0;
        self.peer_nonce = 0;
        self.begin(now_ms, pace);
        self.prove(now_ms, pace);
    }

    pub(super) fn disconnect(&mut self) {
        *self = Self { nonce: self.nonce, ..Self::default() };
    }

    /// The peer has shown that it hears us.
    pub(super) fn prove(&mut self, now_ms: u64, pace: &mut Pace) {
        self.proof_ms = now_ms;
        self.probe_ms = now_ms + pace.spread(PROBE_AFTER_MS);
    }

    pub(super) fn timer(&self) -> (u64, &'static str) {
        let dead = (self.proof_ms + DEAD_AFTER_MS, "the peer is taken for dead");
        let next = if self.content {
            (self.probe_ms, "ask whether the peer hears us")
        } else {
            (self.hello_ms, "say hello again")
        };
        if dead.0 <= next.0 { dead } else { next }
    }

    /// Says what is due; `false` where the peer is taken for dead.
    pub(super) fn handle_timeout(&mut self, now_ms: u64, pace: &mut Pace) -> bool {
        if now_ms >= self.proof_ms + DEAD_AFTER_MS {
            return false;
        }
        if !self.content && now_ms >= self.hello_ms {
            self.tries += 1;
            self.hello_ms = now_ms + pace.backoff(RESEND_MS, self.tries);
            self.say(true);
        }
        if self.content && now_ms >= self.probe_ms {
            self.probe_ms = now_ms + pace.spread(PROBE_AGAIN_MS);
            self.say(true);
        }
        true
    }
}

impl Session {
    /// Says what we have, as of now.
    pub(super) fn hello(&mut self) -> Hello {
        let link = &mut self.link;
        link.due = false;
        let asks = std::mem::take(&mut link.asks);
        Hello {
            versions: (VERSION, VERSION),
            nonce: link.nonce,
            echo: link.heard,
            log: self.log,
            holdings: self.outboxes.values().map(Outbox::holding).collect(),
            peer_log: self.peer_log,
            cursors: self.inboxes.values().map(|inbox| inbox.cursor().clone()).collect(),
            desired_revision: self.register.in_force(),
            answered: link.content && !asks,
        }
    }

    /// Answers [`Output::UnknownPeerLog`]: what is committed of the peer's lanes under `log`,
    /// nothing for a log never heard of. The desired-state revision in force starts at 0 as well,
    /// until [`Session::handle_desired_in_force`]. Records of the former log that were handed over
    /// must not be reported to [`Session::handle_committed`] any more.
    pub fn handle_peer_cursors(&mut self, log: u64, cursors: Vec<Cursor>) {
        if self.link.asked_log != Some(log) {
            return;
        }
        self.link.asked_log = None;
        self.peer_log = log;
        self.register.set_in_force(0);
        self.outputs.retain(|output| !matches!(output, Output::Deliver { .. }));
        self.acks_due.clear();
        for (lane, inbox) in &mut self.inboxes {
            *inbox = Inbox::new(*lane, cursors.iter().find(|c| c.lane == *lane).cloned());
        }
        self.link.say(false);
    }

    /// Begins the exchange anew because something does not fit: cursors that do not move, records
    /// that do not follow. Not more often than once in a while.
    pub(super) fn renew(&mut self, now_ms: u64) {
        if self.link.fresh && now_ms >= self.link.renewed_ms.saturating_add(RENEW_AFTER_MS) {
            self.link.renewed_ms = now_ms;
            self.link.begin(now_ms, &mut self.pace);
        }
    }

    /// The own log has another id now: everything is said anew under it.
    pub(super) fn rename(&mut self, log: u64, now_ms: u64) {
        self.log = log;
        if self.link.connected {
            self.link.begin(now_ms, &mut self.pace);
        }
    }

    pub(super) fn take_hello(&mut self, hello: Hello, now_ms: u64) -> Result<(), WireError> {
        if hello.versions.0 > VERSION || hello.versions.1 < VERSION {
            return Err(WireError::Version(hello.versions.0));
        }
        if hello.nonce == 0 {
            return Err(WireError::Body("a hello without a nonce".to_owned()));
        }
        if hello.echo != self.link.nonce {
            if !hello.answered {
                self.link.heard = hello.nonce;
                self.link.say(false);
            }
            return Ok(());
        }
        let anew = !self.link.fresh || hello.nonce != self.link.peer_nonce;
        // That the peer begins anew does not show that it has heard us lately.
        if !self.link.fresh || hello.answered {
            self.link.prove(now_ms, &mut self.pace);
        }
        self.link.fresh = true;
        self.link.heard = hello.nonce;
        self.link.peer_nonce = hello.nonce;
        self.take_stand(&hello, anew, now_ms);
        let unknown = hello.log != self.peer_log;
        if unknown && self.link.asked_log != Some(hello.log) {
            self.link.asked_log = Some(hello.log);
            self.outputs.push_back(Output::UnknownPeerLog { log: hello.log });
        }
        if anew {
            let (peer_log, desired_revision) = (hello.log, hello.desired_revision);
            let holdings = hello.holdings;
            self.outputs.push_back(Output::Up { peer_log, holdings, desired_revision });
            self.register.forget();
            self.fetches.forget();
        }
        // With the shell's answer about an unknown log goes ours.
        if !hello.answered && !unknown {
            self.link.say(false);
        }
        self.pump(now_ms);
        Ok(())
    }

    /// What the peer has of ours.
    fn take_stand(&mut self, hello: &Hello, anew: bool, now_ms: u64) {
        let knows_us = hello.peer_log == self.log;
        if anew || knows_us {
            self.register.peer_has(if knows_us { hello.desired_revision } else { 0 });
        }
        if !knows_us {
            if anew {
                self.link.content = false;
                self.outboxes.values_mut().for_each(Outbox::forget);
            }
            return;
        }
        let first = anew || !self.link.content;
        self.link.content = true;
        if first {
            self.loading = None;
            self.drop_unsent();
        }
        for (lane, outbox) in &mut self.outboxes {
            let nothing = Cursor { lane: *lane, upto: 0, digest: 0, ranges: Vec::new() };
            let named = hello.cursors.iter().find(|cursor| cursor.lane == *lane);
            let cursor = named.cloned().unwrap_or(nothing);
            let first = first || outbox.is_new();
            let stand = if first { outbox.stand(&cursor) } else { outbox.ack(&cursor, now_ms) };
            let (upto, digest) = (cursor.upto, cursor.digest);
            match stand {
                Stand::Beyond(seq) if first => {
                    self.outputs.push_back(Output::Forked { lane: *lane, seq });
                }
                Stand::Progress => self.outputs.push_back(Output::Acked { cursor }),
                Stand::Beyond(_) | Stand::Same | Stand::Differs => {}
            }
            if first && upto > 0 && digest != 0 && upto < outbox.next() {
                self.outputs.push_back(Output::Verify { lane: *lane, seq: upto, digest });
            }
        }
    }

    pub(super) fn take_desired(
        &mut self,
        log: u64,
        announcement: Announcement,
        now_ms: u64,
    ) -> Result<(), WireError> {
        if announcement.size as usize > DESIRED_BYTES {
            return Err(WireError::Size { len: announcement.size as usize, most: DESIRED_BYTES });
        }
        if log != self.peer_log {
            return Ok(());
        }
        match self.register.offer(announcement, now_ms) {
            Offer::Newer => self.outputs.push_back(Output::Desired { log, announcement }),
            Offer::Known => {}
            Offer::Old => self.link.say(false),
        }
        Ok(())
    }

    /// Control plane: the newest desired state of this device. Announced until the device says
    /// that it is in force.
    pub fn handle_desired(&mut self, announcement: Announcement, now_ms: u64) {
        self.register.set_newest(announcement);
        self.pump(now_ms);
    }

    /// Device: this revision is in force now. The control plane is told.
    pub fn handle_desired_in_force(&mut self, revision: u64) {
        self.register.set_in_force(revision);
        if self.is_up() {
            self.link.say(false);
        }
    }
}
