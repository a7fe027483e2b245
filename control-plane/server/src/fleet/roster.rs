//! The roster: who is connected. It hands frames and nudges to the right session and waits for
//! nobody, so that one slow device holds up no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use openclaw_protocol::id::{DeviceId, TenantId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::intake::{Desk, Task, Work};
use super::session::{self, Input};
use crate::broker::acl::Violation;
use crate::broker::gate::{GateEvent, GateHandle};
use crate::broker::router::{Hub, UpFrame};
use crate::context::{Ctx, Nudge, NudgeKind};

/// Inputs that may wait for one session.
const INBOX: usize = 64;
/// Frames that may wait for all sessions together, in KiB. What comes beyond is dropped like any
/// lost datagram; the device sends it again.
const FRAMES_KIB: usize = 64 * 1024;
/// How long sessions may take to end when the process does.
const DRAIN: Duration = Duration::from_secs(5);
/// The same misdeed of the same device is written down this often at most.
const VIOLATION_PAUSE: Duration = Duration::from_secs(60);
/// Misdeeds remembered for that.
const VIOLATIONS: usize = 4_096;

type Key = (TenantId, DeviceId);

struct Seat {
    connection: u64,
    inbox: mpsc::Sender<Input>,
    /// The session shall look at the database again. Never lost, however full the inbox is.
    look: Arc<Notify>,
}

/// Who is connected.
pub(super) struct Roster {
    ctx: Ctx,
    hub: Hub,
    gate: GateHandle,
    desk: Desk,
    seats: BTreeMap<Key, Seat>,
    sessions: TaskTracker,
    room: Arc<Semaphore>,
    /// When a misdeed was last written down, and how often it happened since.
    violations: BTreeMap<(Key, Violation), (Instant, u64)>,
}

impl Roster {
    pub(super) fn new(ctx: Ctx, hub: Hub, gate: GateHandle, desk: Desk) -> Self {
        Self {
            ctx,
            hub,
            gate,
            desk,
            seats: BTreeMap::new(),
            sessions: TaskTracker::new(),
            room: Arc::new(Semaphore::new(FRAMES_KIB)),
            violations: BTreeMap::new(),
        }
    }

    /// Works until the gate has ended.
    pub(super) async fn run(
        mut self,
        mut news: mpsc::Receiver<GateEvent>,
        mut frames: mpsc::Receiver<UpFrame>,
    ) {
        let mut nudges = self.ctx.nudges.subscribe();
        loop {
            tokio::select! {
                // In this order: a device's seat is there before its frames.
                biased;
                event = news.recv() => match event {
                    Some(event) => self.gate_says(event),
                    None => break,
                },
                nudge = nudges.recv() => match nudge {
                    Ok(nudge) => self.nudge(&nudge),
                    Err(RecvError::Lagged(missed)) => {
                        tracing::warn!(missed, "nudges were missed; every session looks again");
                        self.seats.values().for_each(|seat| seat.look.notify_one());
                    }
                    // The context outlives us.
                    Err(RecvError::Closed) => {}
                },
                Some(frame) = frames.recv() => self.frame(frame),
            }
        }
        self.seats.clear();
        self.sessions.close();
        if timeout(DRAIN, self.sessions.wait()).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
    }

    fn gate_says(&mut self, event: GateEvent) {
        match event {
            GateEvent::Connected { tenant, device, connection } => {
                let (inbox, inputs) = mpsc::channel(INBOX);
                let look = Arc::new(Notify::new());
                let seat = session::Seat {
                    look: Arc::clone(&look),
                    ctx: Arc::clone(&self.ctx),
                    hub: self.hub.clone(),
                    gate: self.gate.clone(),
                    desk: self.desk.clone(),
                    tenant: tenant.clone(),
                    device: device.clone(),
                    connection,
                };
                self.sessions.spawn(session::run(seat, inputs));
                // An older seat's inbox closes with this, and its session ends.
                self.seats.insert((tenant, device), Seat { connection, inbox, look });
            }
            GateEvent::Disconnected { tenant, device, connection } => {
                let key = (tenant, device);
                if self.seats.get(&key).is_some_and(|seat| seat.connection == connection) {
                    self.seats.remove(&key);
                }
            }
            GateEvent::Violation { tenant, device, violation, peer } => {
                let message = format!("cut off for {violation}, from {peer}");
                self.violation((tenant, device), violation, message);
            }
        }
    }

    fn frame(&mut self, frame: UpFrame) {
        let Some(seat) = self.seats.get(&(frame.tenant, frame.device)) else { return };
        let kib = u32::try_from(1 + frame.bytes.len() / 1024).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            tracing::debug!("frames are dropped: too many wait for their sessions");
            return;
        };
        // A full inbox means that this session waits for the intake: the device repeats.
        drop(seat.inbox.try_send(Input::Frame(frame.bytes, permit)));
    }

    fn nudge(&mut self, nudge: &Nudge) {
        let key = (nudge.tenant.clone(), nudge.device.clone());
        match nudge.kind {
            NudgeKind::Desired | NudgeKind::Commands => {
                if let Some(seat) = self.seats.get(&key) {
                    seat.look.notify_one();
                }
            }
            NudgeKind::Revoked => {
                let gate = self.gate.clone();
                // Not awaited here: the gate may itself be waiting to tell us something.
                self.sessions.spawn(async move { gate.kick(&key.0, &key.1).await });
            }
        }
    }

    /// Writes a misdeed down, but not every one of a device that keeps at it.
    fn violation(&mut self, key: Key, violation: Violation, message: String) {
        let now = Instant::now();
        let seen = self.violations.entry((key.clone(), violation)).or_insert((now, 0));
        seen.1 += 1;
        if seen.1 > 1 && now.duration_since(seen.0) < VIOLATION_PAUSE {
            return;
        }
        let times = std::mem::replace(seen, (now, 1)).1;
        let message = if times > 1 { format!("{message} ({times} times)") } else { message };
        if self.violations.len() > VIOLATIONS {
            self.violations.retain(|_, (at, _)| now.duration_since(*at) < VIOLATION_PAUSE);
        }
        if self.violations.len() > VIOLATIONS {
            self.violations.clear();
        }
        let (tenant, device) = key;
        let task = Task::Security { code: violation.code(), message };
        self.desk.try_hand_in(Work { tenant, device, task });
    }
}
