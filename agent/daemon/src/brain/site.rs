//! The brain's end of the site's own broker: what is to be heard, what waits to be sent, and what
//! becomes of it.
//!
//! A message is stored with the facts of the step that says it and stays in the store until the
//! broker has it, so that no power cut and no restart of the broker loses it. There is a bound: a
//! message whose sender waits for the broker is refused when it is reached, and of the others the
//! oldest goes, which is counted and told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openclaw_agent_core::{AttemptId, AttemptOutcome, Input, Publication};
use openclaw_points::{Point, reach};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::Report;
use openclaw_protocol::run::RunError;

use super::Brain;
use crate::limits;
use crate::local::LocalBrokerStatus;
use crate::local_mqtt::{Broker, Filters, FromBroker};
use crate::store::{StoreError, Waiting};

/// The site's broker as the brain sees it.
#[derive(Debug)]
pub(super) struct Site {
    broker: Option<Broker>,
    /// The connection at hand.
    connection: Option<u64>,
    /// Why there is none.
    fault: Option<String>,
    /// Topics that the broker does not let the agent hear.
    deaf: VecSet<String>,
    filters: Filters,
    /// What is to be heard may have changed.
    stale: bool,
    /// Messages that wait, durable or about to be.
    waiting: BTreeMap<u64, Box<Waiting>>,
    waiting_bytes: usize,
    /// Those that an attempt waits for.
    confirms: VecMap<AttemptId, u64>,
    next: u64,
    /// Those that are on their way.
    sent: BTreeSet<u64>,
    /// Those up to here have been sent on this connection.
    sent_upto: u64,
    /// Messages to the broker that were given up, since the start.
    dropped: u64,
    /// How much of what was dropped has been told: to the broker, from it late, from it large.
    told: (u64, u64, u64),
}

/// What became of a message that is to be published.
enum Kept {
    Stored,
    /// Instead of these, which go.
    Instead(Vec<u64>),
    /// It is not.
    Refused(AttemptId, RunError),
    Dropped,
}

impl Site {
    pub(super) fn new(broker: Option<Broker>, waiting: Vec<Waiting>) -> Self {
        let mut site = Self {
            broker,
            connection: None,
            fault: None,
            deaf: VecSet::new(),
            filters: Filters::default(),
            stale: true,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            confirms: VecMap::new(),
            next: 1,
            sent: BTreeSet::new(),
            sent_upto: 0,
            dropped: 0,
            told: (0, 0, 0),
        };
        for one in waiting {
            site.next = site.next.max(one.seq + 1);
            site.add(one);
        }
        site
    }

    /// Whether there is one to speak of.
    pub(super) fn is_there(&self) -> bool {
        self.broker.is_some()
    }

    /// What is to be heard may have changed.
    pub(super) fn is_stale(&mut self) {
        self.stale = true;
    }

    pub(super) fn status(&self) -> LocalBrokerStatus {
        let (late, large) = self.broker.as_ref().map(Broker::dropped).unwrap_or_default();
        let state = match (&self.broker, self.connection, &self.fault) {
            (None, ..) => "none".to_owned(),
            (Some(_), Some(_), _) => "connected".to_owned(),
            (Some(_), None, Some(reason)) => format!("down: {reason}"),
            (Some(_), None, None) => "down".to_owned(),
        };
        LocalBrokerStatus {
            address: self.broker.as_ref().map(|broker| broker.address().to_owned()),
            state,
            topics: self.filters.len(),
            topics_refused: self.deaf.iter().cloned().collect(),
            waiting: self.waiting.len(),
            waiting_bytes: self.waiting_bytes,
            dropped_to: self.dropped,
            dropped_from: late + large,
        }
    }

    fn add(&mut self, one: Waiting) {
        self.waiting_bytes += one.bytes;
        if let Some(attempt) = &one.confirm {
            self.confirms.insert(attempt.clone(), one.seq);
        }
        self.waiting.insert(one.seq, Box::new(one));
    }

    fn remove(&mut self, seq: u64) -> Option<Box<Waiting>> {
        self.sent.remove(&seq);
        let one = self.waiting.remove(&seq)?;
        self.waiting_bytes -= one.bytes;
        if let Some(attempt) = &one.confirm {
            self.confirms.remove(attempt);
        }
        Some(one)
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.waiting.len() >= limits::PUBLICATIONS
            || self.waiting_bytes + bytes > limits::PUBLICATIONS_BYTES
    }

    /// Finds a message its place.
    fn keep(&mut self, publication: &Publication) -> Kept {
        let one = Waiting::of(self.next, publication);
        let offline = |message: String| RunError {
            retryable: true,
            ..RunError::new("mqtt.offline", message)
        };
        if let Some(attempt) = publication.confirm.clone() {
            if self.broker.is_none() {
                let message = "this device has no [local_broker] in its configuration";
                return Kept::Refused(attempt, offline(message.to_owned()));
            }
            if self.is_full(one.bytes) {
                let count = self.waiting.len();
                let message = format!("{count} messages wait for the site's broker already");
                return Kept::Refused(attempt, offline(message));
            }
        }
        let mut gone = Vec::new();
        while self.is_full(one.bytes) {
            let unwanted = self.waiting.iter().find(|(_, one)| one.confirm.is_none());
            let Some(oldest) = unwanted.map(|(seq, _)| *seq) else {
                // All that is kept is waited for by its sender, and nobody waits for this.
                self.dropped += 1;
                return Kept::Dropped;
            };
            self.remove(oldest);
            self.dropped += 1;
            gone.push(oldest);
        }
        self.next += 1;
        self.add(one);
        if gone.is_empty() { Kept::Stored } else { Kept::Instead(gone) }
    }
}

impl Brain {
    /// Messages that steps want to send: into the batch of their facts.
    pub(super) fn take_publications(&mut self, publications: Vec<Publication>) {
        let mut refused = Vec::new();
        for publication in publications {
            let seq = self.site.next;
            let kept = self.site.keep(&publication);
            match kept {
                Kept::Refused(attempt, error) => refused.push((attempt, error)),
                Kept::Dropped => {}
                Kept::Stored => self.pending.batch.publications.push((seq, publication)),
                Kept::Instead(gone) => {
                    self.pending.batch.publications.push((seq, publication));
                    self.pending.batch.published.extend(gone);
                }
            }
        }
        for (attempt, error) in refused {
            self.step(Input::Settled { attempt, outcome: AttemptOutcome::Failed { error } });
        }
    }

    /// Nobody waits for the broker's acknowledgement any more: the message is not to be sent.
    pub(super) fn withdraw(&mut self, attempt: &AttemptId) {
        if let Some(seq) = self.site.confirms.get(attempt).copied() {
            self.site.remove(seq);
            self.pending.batch.published.push(seq);
        }
    }

    pub(super) fn take_broker(&mut self, event: FromBroker) {
        match event {
            FromBroker::Up { connection } => {
                self.site.connection = Some(connection);
                self.site.fault = None;
                self.forget_sent();
            }
            FromBroker::Down { reason } => {
                self.site.connection = None;
                self.site.fault = Some(reason);
                self.forget_sent();
                self.step(Input::Unheard);
            }
            FromBroker::Deaf { filters } => self.site.deaf.extend(filters),
            FromBroker::Published { seq } => {
                self.sent(seq, Ok(()));
                reach(Point::MessageAcknowledged);
            }
            FromBroker::Refused { seq, reason } => {
                let message = format!("the site's broker hung up on it again and again: {reason}");
                self.lose(seq, RunError::new("mqtt.refused", message));
            }
            FromBroker::Message { message, room } => {
                self.step(Input::Message(message));
                drop(room);
            }
        }
    }

    /// A connection begins or ends: what is on its way may not arrive, and goes again.
    fn forget_sent(&mut self) {
        self.site.sent.clear();
        self.site.sent_upto = 0;
        self.site.deaf.clear();
    }

    fn sent(&mut self, seq: u64, result: Result<(), RunError>) {
        let Some(one) = self.site.remove(seq) else { return };
        self.pending.batch.published.push(seq);
        let Some(attempt) = one.confirm else { return };
        let outcome = match result {
            Ok(()) => AttemptOutcome::Succeeded { output: JsonText::null(), vars: None },
            Err(error) => AttemptOutcome::Failed { error },
        };
        self.step(Input::Settled { attempt, outcome });
    }

    /// A message cannot be sent, ever.
    fn lose(&mut self, seq: u64, error: RunError) {
        tracing::error!(reason = error.message, "a message for the site's broker is given up");
        self.site.dropped += 1;
        self.sent(seq, Err(error));
    }

    /// After a commit: what is durable goes out, a few at a time and in order, and what is to be
    /// heard is asked for.
    pub(super) fn tell_broker(&mut self) {
        if self.site.broker.is_none() {
            return;
        }
        if std::mem::take(&mut self.site.stale) {
            self.subscribe();
        }
        while let Some(connection) = self.site.connection {
            let room = self.site.sent.len() < limits::PUBLICATIONS_SENT;
            let after = self.site.sent_upto + 1;
            let next = self.site.waiting.range(after..).next().map(|(seq, _)| *seq);
            let Some(seq) = next.filter(|_| room) else { return };
            let publication = match self.store.publication(seq).map_err(StoreError::damage) {
                Ok(Some(publication)) => publication,
                Ok(None) => {
                    self.lose(seq, RunError::new("store.damaged", "the message is gone"));
                    continue;
                }
                Err(Ok(damage)) => {
                    self.lose(seq, RunError::new("store.damaged", damage));
                    continue;
                }
                // A failing disk shows itself with the next commit.
                Err(Err(e)) => return tracing::error!(error = %e, "a message cannot be read"),
            };
            let taken = self
                .site
                .broker
                .as_ref()
                .is_some_and(|broker| broker.publish(connection, seq, publication));
            if !taken {
                return;
            }
            self.site.sent.insert(seq);
            self.site.sent_upto = seq;
        }
    }

    fn subscribe(&mut self) {
        let filters = wanted(self.engine.subscriptions());
        if filters != *self.site.filters {
            self.site.filters = Arc::new(filters);
            self.site.deaf.retain(|filter| self.site.filters.contains_key(filter));
            if let Some(broker) = &self.site.broker {
                broker.subscribe(Arc::clone(&self.site.filters));
            }
        }
    }

    /// What was dropped since it was last told.
    pub(super) fn tell_dropped_messages(&mut self) {
        let (late, large) = self.site.broker.as_ref().map(Broker::dropped).unwrap_or_default();
        let now = (self.site.dropped, late, large);
        let before = std::mem::replace(&mut self.site.told, now);
        for (count, what) in [
            (
                now.0 - before.0,
                "for the site's broker were given up, the oldest first: it was \
                                away for too long, or refused them",
            ),
            (
                now.1 - before.1,
                "of the site's broker came faster than the device can take them, \
                                and were dropped",
            ),
            (now.2 - before.2, "of the site's broker were too large, and were dropped"),
        ] {
            if count > 0 {
                let message = format!("{count} messages {what}");
                tracing::warn!("{message}");
                self.report(Report::Security { code: "mqtt.dropped".to_owned(), message });
            }
        }
    }
}

/// What to subscribe to so that everything is heard that is asked for, and nothing twice: brokers
/// may deliver a message once for each filter that it matches, so a filter goes that another one
/// covers. What is too much goes by the end of the alphabet.
fn wanted(asked: VecSet<(String, u8)>) -> VecMap<String, u8> {
    if asked.len() > limits::FILTERS {
        tracing::error!(asked = asked.len(), most = limits::FILTERS, "too many topics to hear");
    }
    let mut filters: VecMap<String, u8> = asked.into_iter().take(limits::FILTERS).collect();
    let wide: Vec<String> =
        filters.keys().filter(|filter| filter.contains(['+', '#'])).cloned().collect();
    for cover in wide {
        let Some(mut qos) = filters.remove(&cover) else { continue };
        filters.retain(|filter, asked| {
            let covered = covers(&cover, filter);
            qos = if covered { qos.max(*asked) } else { qos };
            !covered
        });
        filters.insert(cover, qos);
    }
    filters
}

/// Whether a filter means every topic that another one means (MQTT 3.1.1, 4.7).
fn covers(wide: &str, narrow: &str) -> bool {
    if narrow.starts_with('$') && wide.starts_with(['#', '+']) {
        return false;
    }
    let mut narrow = narrow.split('/');
    for level in wide.split('/') {
        match (level, narrow.next()) {
            ("#", _) => return true,
            ("+", Some(other)) if other != "#" => {}
            (level, Some(other)) if level == other => {}
            (_, _) => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_another_one_covers_is_not_asked_for() {
        for (wide, narrow, expected) in [
            ("a/#", "a/b", true),
            ("a/#", "a", true),
            ("a/#", "a/#", true),
            ("a/+", "a/b", true),
            ("a/+", "a/#", false),
            ("a/+", "a/+", true),
            ("a/b", "a/+", false),
            ("#", "a/+/c", true),
            ("#", "$SYS/#", false),
            ("+/b", "$SYS/b", false),
            ("+/b", "a/b", true),
            ("a/+/c", "a/+/+", false),
            ("a", "a/b", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
        let asked = [("a/b", 1), ("a/#", 0), ("a/+/c", 0), ("b/+", 0), ("+/x", 0), ("c", 1)];
        let asked = asked.map(|(filter, qos)| (filter.to_owned(), qos)).into();
        let expected = [("+/x", 0), ("a/#", 1), ("b/+", 0), ("c", 1)];
        let expected = expected.map(|(filter, qos)| (filter.to_owned(), qos)).into();
        assert_eq!(wanted(asked), expected);
    }
}
