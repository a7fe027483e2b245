//! The closed list of what can wake the brain, and the one bounded way to it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openclaw_agent_core::{AttemptId, AttemptOutcome, Listing, Publication};
use openclaw_protocol::id::{Digest, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_sandbox::Tape;

use crate::limits;
use crate::local::{Answer, Request};
use crate::local_mqtt::FromBroker;
use crate::store::KvRow;

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
        /// What is to be kept with its success. Where there is one, the hands wait to hear that it
        /// is durable ([`crate::hands::Hands::free`]).
        kept: Option<Box<Kept>>,
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
    /// The files of a trigger have been listed.
    Files(Listing),
    /// Stop cleanly.
    Stop,
}

/// What a call wants remembered and sent, if it counts as a success.
#[derive(Debug, Default)]
pub struct Kept {
    /// Remembered and forgotten values.
    pub kv: Vec<KvRow>,
    /// Messages for the site's own broker.
    pub publications: Vec<Publication>,
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
pub struct Events(Arc<Sender>);

/// The receiving end: the brain's. What waits is taken together, and whoever waits says how much
/// it waits for, so that sixteen results that come within a moment wake one thread once.
#[derive(Debug)]
pub struct Inbox(Arc<Shared>);

/// The brain is gone; so will be the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent is stopping")]
pub struct Gone;

/// Why nothing was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nothing {
    /// Not in this time.
    #[error("nothing has come yet")]
    Yet,
    /// Everybody who could send is gone, and nothing waits.
    #[error("nobody is left who could send")]
    Ever,
}

/// All senders together.
#[derive(Debug)]
struct Sender(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// As many wait as the receiver wants, or nobody can send any more.
    arrived: Condvar,
    /// There is room again, or nobody receives any more.
    room: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// How many the receiver waits for; 0 where it does not wait.
    wanted: usize,
    /// Senders that wait for room.
    crowd: usize,
    no_sender: bool,
    no_receiver: bool,
}

/// A bounded queue of events.
#[must_use]
pub fn queue() -> (Events, Inbox) {
    let shared = Arc::<Shared>::default();
    (Events(Arc::new(Sender(Arc::clone(&shared)))), Inbox(shared))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, queue: &mut Queue, event: Event) {
        queue.events.push_back(event);
        if queue.wanted > 0 && queue.events.len() >= queue.wanted {
            queue.wanted = 0;
            self.arrived.notify_one();
        }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.lock().no_sender = true;
        self.0.arrived.notify_one();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.no_receiver = true;
        let left = std::mem::take(&mut queue.events);
        drop(queue);
        self.0.room.notify_all();
        // Not under the lock: an event holds ways to answer, whose other ends wake up.
        drop(left);
    }
}

impl Events {
    /// Sends from a thread of its own, waiting where the queue is full.
    ///
    /// # Errors
    /// The brain is gone.
    pub fn send(&self, event: Event) -> Result<(), Gone> {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        while queue.events.len() >= limits::EVENTS_WAITING && !queue.no_receiver {
            queue.crowd += 1;
            queue = shared.room.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.crowd -= 1;
        }
        if queue.no_receiver {
            return Err(Gone);
        }
        shared.push(&mut queue, event);
        Ok(())
    }

    /// Sends from a task, without blocking its thread.
    ///
    /// # Errors
    /// The brain is gone.
    pub async fn send_async(&self, event: Event) -> Result<(), Gone> {
        let mut event = Some(event);
        loop {
            {
                let mut queue = self.0.0.lock();
                if queue.no_receiver {
                    return Err(Gone);
                }
                if queue.events.len() < limits::EVENTS_WAITING {
                    if let Some(event) = event.take() {
                        self.0.0.push(&mut queue, event);
                    }
                    return Ok(());
                }
            }
            // The brain is at a sync; this queue has no way to wait for it in a task.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Inbox {
    /// Waits until so many events are there, or until then, and takes all that are, at most so many
    /// that `batch` holds `most`.
    ///
    /// # Errors
    /// Nothing was there to take.
    pub fn take(
        &self,
        batch: &mut Vec<Event>,
        most: usize,
        wanted: usize,
        until: Instant,
    ) -> Result<(), Nothing> {
        let room = most.saturating_sub(batch.len());
        let wanted = wanted.min(room).min(limits::EVENTS_WAITING);
        let mut queue = self.0.lock();
        while queue.events.len() < wanted && !queue.no_sender {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            queue.wanted = wanted;
            let waited = self.0.arrived.wait_timeout(queue, left);
            (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.wanted = 0;
        }
        if queue.events.is_empty() {
            return Err(if queue.no_sender { Nothing::Ever } else { Nothing::Yet });
        }
        let count = room.min(queue.events.len());
        batch.extend(queue.events.drain(..count));
        if queue.crowd > 0 {
            self.0.room.notify_all();
        }
        Ok(())
    }

    /// The next event, within this time.
    ///
    /// # Errors
    /// There was none.
    pub fn recv_timeout(&self, time: Duration) -> Result<Event, Nothing> {
        let mut one = Vec::with_capacity(1);
        self.take(&mut one, 1, 1, Instant::now() + time)?;
        one.pop().ok_or(Nothing::Yet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(inbox: &Inbox) -> usize {
        let mut batch = Vec::new();
        let _ = inbox.take(&mut batch, usize::MAX, 1, Instant::now());
        batch.len()
    }

    #[test]
    fn who_waits_for_three_is_woken_by_the_third() {
        let (events, inbox) = queue();
        let waits = std::thread::spawn(move || {
            let mut batch = Vec::new();
            let until = Instant::now() + Duration::from_secs(60);
            inbox.take(&mut batch, 128, 3, until).unwrap();
            (batch.len(), inbox)
        });
        for _ in 0..3 {
            events.send(Event::LinkUp).unwrap();
        }
        let (count, inbox) = waits.join().unwrap();
        assert_eq!(count, 3);
        events.send(Event::LinkDown).unwrap();
        assert_eq!(told(&inbox), 1);
    }

    #[test]
    fn time_ends_the_wait_for_more_and_what_is_there_is_taken() {
        let (events, inbox) = queue();
        events.send(Event::LinkUp).unwrap();
        let mut batch = Vec::new();
        inbox.take(&mut batch, 128, 2, Instant::now() + Duration::from_millis(1)).unwrap();
        assert_eq!(batch.len(), 1);
        let nothing = inbox.take(&mut batch, 128, 1, Instant::now());
        assert_eq!(nothing, Err(Nothing::Yet));
        drop(events);
        assert_eq!(inbox.recv_timeout(Duration::from_secs(60)).unwrap_err(), Nothing::Ever);
    }

    #[test]
    fn a_full_queue_lets_senders_wait_and_an_end_lets_them_go() {
        let (events, inbox) = queue();
        for _ in 0..limits::EVENTS_WAITING {
            events.send(Event::LinkUp).unwrap();
        }
        let sender = events.clone();
        let crowd = std::thread::spawn(move || sender.send(Event::LinkDown));
        let mut batch = Vec::new();
        // However many are wanted, no more can be there.
        let wanted = limits::EVENTS_WAITING + 1;
        let until = Instant::now() + Duration::from_secs(60);
        inbox.take(&mut batch, wanted, wanted, until).unwrap();
        crowd.join().unwrap().unwrap();
        assert!(batch.len() + told(&inbox) == limits::EVENTS_WAITING + 1);
        drop(inbox);
        assert_eq!(events.send(Event::LinkUp), Err(Gone));
    }
}
