//! Sending: what the own lanes ask for, and what becomes of it.

use crate::limits::{BATCH_RECORDS, LOAD_BYTES, RECORD_BYTES, RESEND_MS};

use super::batch::{self, Numbered};
use super::outbox::{Outbox, Pick, Stand};
use super::{Cursor, Frame, Holding, Lane, Output, Record, Session};

impl Session {
    /// The own lane has durable records below `next`. A lane that [`Config::holdings`] did not name
    /// begins with record 1.
    pub fn handle_appended(&mut self, lane: Lane, next: u64, now_ms: u64) {
        let begins = !self.outboxes.contains_key(&lane);
        let holding = Holding { lane, oldest: 1, next };
        self.outboxes.entry(lane).or_insert_with(|| Outbox::new(holding)).grow(next);
        if begins && self.is_up() {
            // Where the peer stands in this lane is in the answer.
            self.link.say(true);
        }
        self.pump(now_ms);
    }

    /// The own lane no longer keeps records below `oldest`. If the peer turns out to lack some of
    /// them, the session tells it so with a [`super::Dropped`] marker.
    pub fn handle_pruned(&mut self, lane: Lane, oldest: u64) {
        if let Some(outbox) = self.outboxes.get_mut(&lane) {
            outbox.prune(oldest);
        }
    }

    /// Answers [`Output::Load`]. Records that do not continue what was asked for are not used:
    /// neither those behind a gap that no marker stands for, nor an answer that came too late.
    pub fn handle_loaded(&mut self, lane: Lane, records: Vec<Record>, now_ms: u64) {
        let Some((_, first, before)) = self.loading.take_if(|loading| loading.0 == lane) else {
            return;
        };
        let numbered = continuing(records, first, before);
        let Some(outbox) = self.outboxes.get_mut(&lane) else { return };
        if numbered.is_empty() {
            outbox.hold(now_ms + self.pace.backoff(RESEND_MS, 0));
        } else {
            let bytes = numbered.iter().map(|n| n.record.body.len()).sum();
            outbox.weigh(numbered.len(), bytes);
            self.send(lane, &numbered, now_ms);
        }
        self.pump(now_ms);
    }

    /// The own database has parted from what the peer knows under the present log: what it holds is
    /// numbered anew, from 1, under `new_log`. Answer to [`Output::Verify`] or [`Output::Forked`].
    pub fn handle_fork(&mut self, new_log: u64, holdings: Vec<Holding>, now_ms: u64) {
        self.drop_unsent();
        self.loading = None;
        self.outboxes = holdings.into_iter().map(|h| (h.lane, Outbox::new(h))).collect();
        self.register.restart();
        self.rename(new_log, now_ms);
    }

    /// How many records of an own lane the peer is not known to have committed.
    #[must_use]
    pub fn unacked(&self, lane: Lane) -> u64 {
        self.outboxes.get(&lane).map_or(0, Outbox::unacked)
    }

    /// Says and asks for whatever the present state allows.
    pub(super) fn pump(&mut self, now_ms: u64) {
        if !self.is_up() {
            return;
        }
        let log = self.log;
        if let Some(announcement) = self.register.announce(now_ms, &mut self.pace) {
            self.push_frame(&Frame::Desired { log, announcement });
        }
        for frame in self.fetches.ask(now_ms, &mut self.pace) {
            self.push_frame(&frame);
        }
        while self.loading.is_none() {
            let backlog = self.budget.allows(now_ms);
            let picks = self.outboxes.iter().map(|(lane, o)| (*lane, o.pick(now_ms, backlog)));
            match picks.filter_map(|(lane, pick)| Some((lane, pick?))).next() {
                Some((lane, Pick::Gone { first, last })) => {
                    self.send(lane, &[batch::marker(first, last, "gone", 0)], now_ms);
                }
                Some((lane, Pick::Load { first, before })) => {
                    self.loading = Some((lane, first, before));
                    self.outputs.push_back(Output::Load { lane, first, before, bytes: LOAD_BYTES });
                }
                None => return,
            }
        }
    }

    /// Sends as many of the records as the window has room for.
    fn send(&mut self, lane: Lane, mut records: &[Numbered], now_ms: u64) {
        while let Some(head) = records.first()
            && let Some(outbox) = self.outboxes.get_mut(&lane).filter(|outbox| outbox.has_room())
        {
            let packed = batch::pack(self.log, lane, records, outbox.ratio);
            outbox.ratio = (outbox.ratio + packed.ratio).div_ceil(2);
            let (batch, rest) = records.split_at(packed.records.clamp(1, records.len()));
            let end = batch.last().unwrap_or(head);
            if outbox.is_backlog(head.start) {
                self.budget.spend(packed.frames.iter().map(Vec::len).sum());
            }
            let span = (head.start, end.record.seq);
            outbox.sent(span, end.record.digest, now_ms, &mut self.pace);
            self.outputs.extend(packed.frames.into_iter().map(Output::Send));
            records = rest;
        }
    }

    /// When a backlog that only waits for the budget may go on.
    pub(super) fn waiting_backlog(&self) -> Option<u64> {
        let opens_ms = self.budget.opens_at()?;
        let waits = |outbox: &Outbox| outbox.pick(u64::MAX, true).is_some();
        (self.loading.is_none() && self.outboxes.values().any(waits)).then_some(opens_ms)
    }

    pub(super) fn take_ack(&mut self, log: u64, by: u64, cursor: Cursor, now_ms: u64) {
        if log != self.log || by != self.peer_log || !self.is_up() {
            return;
        }
        let Some(outbox) = self.outboxes.get_mut(&cursor.lane) else { return };
        let stand = outbox.ack(&cursor, now_ms);
        self.link.prove(now_ms, &mut self.pace);
        match stand {
            Stand::Progress => self.outputs.push_back(Output::Acked { cursor }),
            Stand::Same => {}
            Stand::Beyond(_) | Stand::Differs => self.renew(now_ms),
        }
        self.pump(now_ms);
    }
}

/// Those of the loaded records that continue one another from `first` on, each with the number it
/// stands for; a record too long to travel is replaced by a marker.
fn continuing(records: Vec<Record>, first: u64, before: u64) -> Vec<Numbered> {
    let mut expected = first;
    let mut numbered = Vec::with_capacity(records.len().min(BATCH_RECORDS));
    for record in records.into_iter().take(BATCH_RECORDS) {
        let stands = record.seq == expected
            || batch::dropped(&record).is_some_and(|dropped| {
                dropped.first <= expected && expected < record.seq && dropped.last == record.seq
            });
        if !stands || (record.seq >= before && record.seq == expected) {
            break;
        }
        let (start, seq) = (expected, record.seq);
        expected = seq.saturating_add(1);
        numbered.push(if record.body.len() > RECORD_BYTES {
            batch::marker(start, seq, "too long", record.digest)
        } else {
            Numbered { start, record }
        });
        if expected >= before {
            break;
        }
    }
    numbered
}
