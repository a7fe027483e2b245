//! The closed list of what can wake the brain, and the one bounded way to it.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use openclaw_agent_core::{AttemptId, AttemptOutcome};
use openclaw_protocol::id::{Digest, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_sandbox::Tape;

use crate::limits;
use crate::local::{Answer, Request};
use crate::local_mqtt::FromBroker;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// A plugin call ended.
    Settled {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
        /// What it asked for and was denied.
        denials: Vec<String>,
        /// What it was told from outside.
        tape: Option<Recorded>,
    },
    /// A module was tried: whether this device can run it.
    Checked {
        /// Which.
        digest: Digest,
        /// Why not, where not.
        result: Result<(), String>,
    },
    /// Somebody asks over the local socket.
    Local {
        /// What.
        request: Request,
        /// Where the answer goes. Nobody may be listening any more.
        reply: Reply,
    },
    /// The connection is up: subscribed, ready for frames.
    LinkUp,
    /// The connection is down.
    LinkDown,
    /// A frame came.
    Frame(Vec<u8>),
    /// Something of the site's own broker.
    Broker(FromBroker),
    /// A request to a webhook, which has been believed.
    Webhook {
        /// Of which workflow.
        workflow: WorkflowName,
        /// Which trigger.
        trigger: TriggerId,
        /// What expressions see.
        data: JsonText,
        /// Where the answer goes, after the commit. The caller may have hung up.
        reply: tokio::sync::oneshot::Sender<Result<RunId, Refusal>>,
    },
    /// Stop cleanly.
    Stop,
}

/// What a call was told from outside.
#[derive(Debug)]
pub struct Recorded {
    /// Question by question.
    pub tape: Box<Tape>,
    /// To be kept however the call ended.
    pub traced: bool,
}

/// Where an answer to a local request goes.
pub type Reply = tokio::sync::oneshot::Sender<Answer>;

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events(SyncSender<Event>);

/// The brain is gone; so will be the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Gone;

/// A bounded queue of events.
#[must_use]
pub fn queue() -> (Events, Receiver<Event>) {
    let (sender, receiver) = sync_channel(limits::EVENTS_WAITING);
    (Events(sender), receiver)
}

impl Events {
    /// Sends from a thread of its own, waiting where the queue is full.
    ///
    /// # Errors
    /// The brain is gone.
    pub fn send(&self, event: Event) -> Result<(), Gone> {
        self.0.send(event).map_err(|_| Gone)
    }

    /// Sends from a task, without blocking its thread.
    ///
    /// # Errors
    /// The brain is gone.
    pub async fn send_async(&self, event: Event) -> Result<(), Gone> {
        let mut event = event;
        loop {
            match self.0.try_send(event) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Gone),
                Err(TrySendError::Full(back)) => event = back,
            }
            // The brain is at a sync; the standard queue has no way to wait for it in a task.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}
