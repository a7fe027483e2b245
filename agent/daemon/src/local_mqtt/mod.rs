//! The site's own broker: MQTT 3.1.1, for `mqtt` triggers, `wait` on mqtt, and `publish`.
//!
//! Nothing is believed of the broker's memory: sessions are clean, the client is thrown away at
//! every disconnect and built anew, and what is to be subscribed and sent is told again by the
//! brain, whose store it stays in until it has been sent. The brain is never waited for: a message
//! that it has no room for within a moment is dropped and counted.

mod line;
mod task;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openclaw_agent_core::{Message, Publication};
use openclaw_protocol::definition::{StepKind, TriggerKind, Wait, WaitSource, Workflow};
use openclaw_protocol::ordered::VecMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

pub use task::LocalMqtt;

use crate::config::LocalBroker;
use crate::event::Events;
use crate::limits;
use crate::tls::TlsTime;

/// Topic filters and the quality of service that is asked for.
pub type Filters = Arc<VecMap<String, u8>>;

/// What the site's broker says.
#[derive(Debug)]
pub enum FromBroker {
    /// It can be sent to.
    Up {
        /// Counts connections, from 1.
        connection: u64,
    },
    /// It cannot.
    Down {
        /// Why.
        reason: String,
    },
    /// It does not let the agent hear these topics.
    Deaf {
        /// The filters.
        filters: Vec<String>,
    },
    /// A message was sent (quality of service 0) or acknowledged (1).
    Published {
        /// Its number.
        seq: u64,
    },
    /// A message cost one connection after the other.
    Refused {
        /// Its number.
        seq: u64,
        /// How the last connection ended.
        reason: String,
    },
    /// Somebody said something.
    Message {
        /// What.
        message: Message,
        /// What it takes of the room for waiting messages; free again when this is dropped.
        room: OwnedSemaphorePermit,
    },
}

/// A message to send.
#[derive(Debug)]
struct ToSend {
    /// On this connection and no other.
    connection: u64,
    seq: u64,
    publication: Publication,
}

/// What was delivered and dropped, since the start.
#[derive(Debug, Default)]
struct Dropped {
    late: AtomicU64,
    large: AtomicU64,
}

/// The brain's end.
#[derive(Debug)]
pub struct Broker {
    address: String,
    wanted: watch::Sender<Filters>,
    out: mpsc::Sender<ToSend>,
    dropped: Arc<Dropped>,
}

impl Broker {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What is to be heard, instead of what was.
    pub fn subscribe(&self, filters: Filters) {
        self.wanted.send_replace(filters);
    }

    /// Hands a message over, for one connection. Whether it was taken.
    #[must_use]
    pub fn publish(&self, connection: u64, seq: u64, publication: Publication) -> bool {
        self.out.try_send(ToSend { connection, seq, publication }).is_ok()
    }

    /// Messages that were delivered and dropped since the start: those that the brain had no room
    /// for, and those that were too large.
    #[must_use]
    pub fn dropped(&self) -> (u64, u64) {
        let Dropped { late, large } = &*self.dropped;
        (late.load(Ordering::Relaxed), large.load(Ordering::Relaxed))
    }
}

/// What of a workflow needs the site's broker, if anything does.
#[must_use]
pub fn needs_broker(workflow: &Workflow) -> Option<String> {
    let trigger =
        workflow.triggers.iter().find(|trigger| matches!(trigger.kind, TriggerKind::Mqtt { .. }));
    let hears = |wait: &Wait| matches!(wait.source, WaitSource::Mqtt { .. });
    let step = workflow.steps.iter().find(|step| {
        matches!(step.kind, StepKind::Publish(_))
            || matches!(&step.kind, StepKind::Wait(wait) if hears(wait))
    });
    let trigger = trigger.map(|trigger| format!("trigger `{}`", trigger.id));
    trigger.or_else(|| step.map(|step| format!("step `{}`", step.id)))
}

/// Why a workflow cannot run where there is no broker of the site.
#[must_use]
pub fn without_broker(what: &str) -> String {
    format!(
        "{what} needs the site's MQTT broker, and this device knows none; add [local_broker] to \
         its configuration"
    )
}

/// Both ends. Nothing is connected yet.
#[must_use]
pub fn new(
    config: &LocalBroker,
    agent: &str,
    time: TlsTime,
    seed: u64,
    events: Events,
) -> (Broker, LocalMqtt) {
    let (broker, ours) = ends(&config.address);
    (broker, LocalMqtt::new(config, agent, time, seed, events, ours))
}

/// What the brain's end leads to.
#[derive(Debug)]
struct Ends {
    wanted: watch::Receiver<Filters>,
    outgoing: mpsc::Receiver<ToSend>,
    dropped: Arc<Dropped>,
}

fn ends(address: &str) -> (Broker, Ends) {
    let (wanted, wishes) = watch::channel(Filters::default());
    // Those of a former connection may not have been passed over yet.
    let (out, outgoing) = mpsc::channel(2 * limits::PUBLICATIONS_SENT);
    let dropped = Arc::<Dropped>::default();
    let ours = Ends { wanted: wishes, outgoing, dropped: Arc::clone(&dropped) };
    (Broker { address: address.to_owned(), wanted, out, dropped }, ours)
}
