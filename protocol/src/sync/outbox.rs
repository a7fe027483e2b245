//! The outbox: one own lane on its way to the peer.
//!
//! Holds numbers, never records. What is neither acknowledged nor on its way is missing, and the
//! session asks the shell for it. An ordered lane takes the lowest missing numbers and, when
//! nothing is acknowledged in time, starts over behind the last acknowledged one. An unordered lane
//! takes turns between the newest and the oldest missing, so that after an outage what is new shows
//! at once and nothing starves; only what was lost is repeated.

use crate::limits::{
    ACK_RANGES, BATCH_RECORDS, LOAD_BYTES, RESEND_MAX_MS, RESEND_MS, WINDOW_BATCHES,
};

use super::batch::USUAL_RATIO;
use super::pace::Pace;
use super::ranges::Ranges;
use super::{Cursor, Holding, Lane};

/// What to do next for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pick {
    /// Tell that these numbers are gone.
    Gone { first: u64, last: u64 },
    /// Read these records, `before` not included.
    Load { first: u64, before: u64 },
}

/// What a cursor of the peer means for a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stand {
    /// It acknowledges something new.
    Progress,
    /// Nothing new.
    Same,
    /// The peer has a record this lane has not reached.
    Beyond(u64),
    /// The peer has another record under this number.
    Differs,
}

#[derive(Debug, Clone)]
struct Flight {
    first: u64,
    last: u64,
    digest: u64,
    sent_ms: u64,
    resend_ms: u64,
    /// Not measured: the acknowledgement may belong to an earlier sending.
    repeated: bool,
}

/// One own lane. See the module's words.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    lane: Lane,
    oldest: u64,
    next: u64,
    acked: Ranges,
    /// Where the peer stands is known, so that sending makes sense.
    known: bool,
    /// The peer has what this lane does not: nothing can be sent under this log any more.
    forked: bool,
    flights: Vec<Flight>,
    /// Resends in vain since the last acknowledgement.
    tries: u32,
    /// Nothing is loaded before this: the shell had nothing at the last time.
    hold_until_ms: u64,
    rtt_ms: u64,
    newest_turn: bool,
    /// Usual length of a record, to guess how many to load from the top.
    record_bytes: usize,
    /// How many hundredths of their size records take once packed.
    pub(super) ratio: usize,
    /// Numbers below it were there before the session came up.
    backlog_below: u64,
    /// Numbers below it have been sent before in this session.
    sent_below: u64,
}

impl Outbox {
    pub(super) fn new(holding: Holding) -> Self {
        let mut acked = Ranges::default();
        acked.insert(1, holding.oldest.min(holding.next).saturating_sub(1));
        Self {
            lane: holding.lane,
            oldest: holding.oldest.max(1),
            next: holding.next.max(1),
            acked,
            known: false,
            forked: false,
            flights: Vec::new(),
            tries: 0,
            hold_until_ms: 0,
            rtt_ms: 0,
            newest_turn: true,
            record_bytes: 512,
            ratio: USUAL_RATIO,
            backlog_below: 0,
            sent_below: 0,
        }
    }

    pub(super) fn holding(&self) -> Holding {
        Holding { lane: self.lane, oldest: self.oldest.min(self.next), next: self.next }
    }

    /// Records that the peer is not known to have.
    pub(super) fn unacked(&self) -> u64 {
        (self.next - 1).saturating_sub(self.acked.count())
    }

    /// Nothing was heard of where the peer stands in it.
    pub(super) fn is_new(&self) -> bool {
        !self.known && !self.forked
    }

    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn grow(&mut self, next: u64) {
        self.next = self.next.max(next);
        self.hold_until_ms = 0;
    }

    pub(super) fn prune(&mut self, oldest: u64) {
        self.oldest = self.oldest.max(oldest);
        self.hold_until_ms = 0;
    }

    /// The connection is gone, or the peer starts anew: what is on its way counts for nothing, and
    /// where the peer stands is to be heard again.
    pub(super) fn forget(&mut self) {
        self.known = false;
        self.flights.clear();
        self.tries = 0;
        self.hold_until_ms = 0;
    }

    /// The peer has said in a fresh hello where it stands. Believed even where it is lower than
    /// before: its database may have been restored.
    pub(super) fn stand(&mut self, cursor: &Cursor) -> Stand {
        let tries = self.tries;
        self.forget();
        if let Some(beyond) = self.beyond(cursor) {
            self.forked = true;
            return Stand::Beyond(beyond);
        }
        let acked = Ranges::of(cursor, self.next);
        if acked == self.acked {
            // The peer hears us but does not get on: no reason to press it more.
            self.tries = tries;
        }
        self.acked = acked;
        self.forked = false;
        self.known = true;
        self.backlog_below = self.next;
        self.sent_below = 0;
        Stand::Progress
    }

    /// The peer has acknowledged.
    pub(super) fn ack(&mut self, cursor: &Cursor, now_ms: u64) -> Stand {
        if !self.known {
            return Stand::Same;
        }
        if let Some(beyond) = self.beyond(cursor) {
            return Stand::Beyond(beyond);
        }
        let here = self.flights.iter().find(|f| f.last == cursor.upto && f.digest != 0);
        if cursor.digest != 0 && here.is_some_and(|f| f.digest != cursor.digest) {
            return Stand::Differs;
        }
        let before = self.acked.count();
        self.acked.join(&Ranges::of(cursor, self.next));
        if self.acked.len() > 2 * ACK_RANGES {
            // The peer names its ranges anew each time, so older ones need not be remembered.
            self.acked = Ranges::of(cursor, self.next);
        }
        if self.acked.count() <= before {
            return Stand::Same;
        }
        self.tries = 0;
        let (acked, rtt_ms) = (&self.acked, &mut self.rtt_ms);
        self.flights.retain(|flight| {
            let here = acked.covers(flight.first, flight.last);
            if here && !flight.repeated {
                let took_ms = now_ms.saturating_sub(flight.sent_ms);
                *rtt_ms = if *rtt_ms == 0 { took_ms } else { (*rtt_ms * 7 + took_ms) / 8 };
            }
            !here
        });
        Stand::Progress
    }

    fn beyond(&self, cursor: &Cursor) -> Option<u64> {
        let tops = cursor.ranges.iter().filter(|_| !self.lane.is_ordered()).map(|range| range.1);
        tops.chain([cursor.upto]).max().filter(|top| *top >= self.next)
    }

    /// What to do next; `None` where all is said, the window is full, or it is not the time.
    /// A backlog waits where `backlog` is false.
    pub(super) fn pick(&self, now_ms: u64, backlog: bool) -> Option<Pick> {
        // After a resend one batch at a time, until the peer is heard again.
        let window = if self.tries > 0 { 1 } else { WINDOW_BATCHES };
        if !self.known || self.flights.len() >= window || now_ms < self.hold_until_ms {
            return None;
        }
        let mut busy = self.acked.clone();
        for flight in &self.flights {
            busy.insert(flight.first, flight.last);
        }
        let lowest = busy.lowest_gap(self.next)?;
        if self.lane.is_ordered() {
            return self.allowed(lowest, backlog);
        }
        let highest = self.top_of(busy.highest_gap(self.next)?);
        let (wanted, other) = if self.newest_turn { (highest, lowest) } else { (lowest, highest) };
        self.allowed(wanted, backlog).or_else(|| self.allowed(other, backlog))
    }

    /// The upper end of a gap, about as much as goes into one load, and nothing old with new.
    fn top_of(&self, (first, before): (u64, u64)) -> (u64, u64) {
        let count = (LOAD_BYTES / self.record_bytes.max(1)).clamp(1, BATCH_RECORDS) as u64;
        let first = first.max(before.saturating_sub(count));
        if before > self.backlog_below {
            (first.max(self.backlog_below), before)
        } else {
            (first, before)
        }
    }

    fn allowed(&self, (first, before): (u64, u64), backlog: bool) -> Option<Pick> {
        if first < self.oldest {
            return Some(Pick::Gone { first, last: before.min(self.oldest) - 1 });
        }
        let free = backlog || !self.is_backlog(first);
        free.then_some(Pick::Load { first, before })
    }

    /// Whether sending from this number on is charged to the budget. The urgent lanes never are.
    pub(super) fn is_backlog(&self, first: u64) -> bool {
        match self.lane {
            Lane::Control | Lane::Commands => false,
            Lane::Results | Lane::History | Lane::Telemetry => first < self.backlog_below,
        }
    }

    /// A batch is on its way.
    pub(super) fn sent(
        &mut self,
        (first, last): (u64, u64),
        digest: u64,
        now_ms: u64,
        pace: &mut Pace,
    ) {
        let first_wait_ms = (self.rtt_ms * 3).clamp(RESEND_MS, RESEND_MAX_MS);
        let resend_ms = now_ms + pace.backoff(first_wait_ms, self.tries);
        let repeated = first < self.sent_below;
        self.flights.push(Flight { first, last, digest, sent_ms: now_ms, resend_ms, repeated });
        self.sent_below = self.sent_below.max(last + 1);
        self.newest_turn = !self.newest_turn;
    }

    /// Learns how long records usually are.
    pub(super) fn weigh(&mut self, records: usize, bytes: usize) {
        self.record_bytes = (self.record_bytes * 3 + bytes / records.max(1)) / 4;
    }

    pub(super) fn has_room(&self) -> bool {
        let window = if self.tries > 0 { 1 } else { WINDOW_BATCHES };
        self.known && self.flights.len() < window
    }

    /// The shell had nothing to load: it is asked again later.
    pub(super) fn hold(&mut self, until_ms: u64) {
        self.hold_until_ms = until_ms;
    }

    /// Takes back what was not acknowledged in time. Returns how many times in a row that has
    /// happened, 0 where it has not now.
    pub(super) fn handle_timeout(&mut self, now_ms: u64) -> u32 {
        if self.hold_until_ms <= now_ms {
            self.hold_until_ms = 0;
        }
        if self.flights.iter().all(|flight| flight.resend_ms > now_ms) {
            return 0;
        }
        if self.lane.is_ordered() {
            self.flights.clear();
        } else {
            self.flights.retain(|flight| flight.resend_ms > now_ms);
        }
        self.tries = self.tries.saturating_add(1);
        self.tries
    }

    pub(super) fn resend_at(&self) -> Option<u64> {
        self.flights.iter().map(|flight| flight.resend_ms).min()
    }

    pub(super) fn hold_until(&self) -> Option<u64> {
        (self.known && self.hold_until_ms > 0).then_some(self.hold_until_ms)
    }
}
