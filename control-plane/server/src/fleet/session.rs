//! One device's session: drives the pure [`Session`] with the device's frames, the database and
//! the clock, and does what it asks for. It lives as long as the device's connection.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "testing")]
use futures_util::FutureExt;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openclaw_protocol::id::{DeviceId, Digest, Epoch, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::sync::{Config, Cursor, Holding, Lane, Output, Record, Session};
use openclaw_protocol::wire::WireError;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep;

use super::intake::{Desk, Task, Work};
use crate::broker::gate::GateHandle;
use crate::broker::router::Hub;
use crate::context::Ctx;
use crate::random;
use crate::store::{self, fleet};

/// How often `last_seen` is written while frames come, milliseconds.
const SEEN_EVERY_MS: u64 = 60_000;
/// Frames that make no sense before the connection is cut. A bug, not noise: TLS lets none through.
const BAD_FRAMES: u32 = 8;

/// What a session is told.
pub(super) enum Input {
    /// A frame of the device, and its share of the memory for frames.
    Frame(Bytes, OwnedSemaphorePermit),
}

/// What a session works with.
pub(super) struct Seat {
    pub(super) ctx: Ctx,
    pub(super) hub: Hub,
    pub(super) gate: GateHandle,
    pub(super) desk: Desk,
    pub(super) look: Arc<Notify>,
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
    pub(super) connection: u64,
}

/// Serves one connection of a device until its inbox closes.
pub(super) async fn run(seat: Seat, inputs: mpsc::Receiver<Input>) {
    let (tenant, device) = (seat.tenant.clone(), seat.device.clone());
    let driver = match Driver::new(seat).await {
        Ok(driver) => driver,
        Err((seat, error)) => {
            tracing::error!(%tenant, %device, %error, "no session; the device shall come back");
            seat.gate.kick(&tenant, &device).await;
            return;
        }
    };
    driver.run(inputs).await;
}

/// What came of a hand-in: the log it belongs to, the lane, and where it stands if it was taken.
type Settled = (u64, Lane, Option<Cursor>);
type Settling = Pin<Box<dyn Future<Output = Settled> + Send + Sync>>;

/// A session and what drives it.
pub(super) struct Driver {
    seat: Seat,
    session: Session,
    /// The device's log that the session knows: its epoch, 0 for none.
    epoch: u64,
    /// The device has sent something on this connection.
    heard: bool,
    /// The session has been up once on this connection.
    online: bool,
    /// By the process's monotonic clock, as `seen_ms` by the session's.
    began_ms: u64,
    seen_ms: u64,
    bad_frames: u32,
    commits: FuturesUnordered<Settling>,
}

/// What the database knows of a device when it connects.
async fn load(seat: &Seat) -> store::Result<(Session, u64)> {
    let Seat { tenant, device, .. } = seat;
    let mut tx = seat.ctx.db.read().await?;
    let epoch = fleet::epoch(&mut tx, tenant, device).await?;
    let cursors = match epoch {
        None => Vec::new(),
        Some(epoch) => fleet::lane_cursors(&mut tx, tenant, device, epoch).await?,
    };
    let epoch = epoch.map_or(0, |epoch| epoch.0);
    let holding = fleet::commands_holding(&mut tx, tenant, device).await?;
    let desired = fleet::desired(&mut tx, tenant, device).await?;
    let mut session = Session::new(Config {
        log: seat.ctx.generation.0,
        holdings: vec![holding],
        peer_log: epoch,
        cursors,
        peer_lanes: Lane::UP.to_vec(),
        desired_revision: 0,
        seed: random::number(),
    });
    if let Some(announcement) = desired {
        session.handle_desired(announcement, 0);
    }
    Ok((session, epoch))
}

impl Driver {
    /// Begins a connection's session with what the database knows.
    pub(super) async fn new(seat: Seat) -> Result<Self, (Seat, store::StoreError)> {
        let (session, epoch) = match load(&seat).await {
            Ok(loaded) => loaded,
            Err(error) => return Err((seat, error)),
        };
        let began_ms = seat.ctx.clock.monotonic_ms();
        Ok(Self {
            seat,
            session,
            epoch,
            heard: false,
            online: false,
            began_ms,
            seen_ms: 0,
            bad_frames: 0,
            commits: FuturesUnordered::new(),
        })
    }

    async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let look = Arc::clone(&self.seat.look);
        loop {
            self.perform().await;
            let due_ms = self.due_ms();
            let rest_ms = due_ms.map_or(0, |ms| ms.saturating_sub(self.now_ms()));
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(Input::Frame(bytes, _permit)) => self.frame(&bytes).await,
                    None => break,
                },
                Some(settled) = self.commits.next() => self.settled(settled),
                () = look.notified() => self.look().await,
                () = sleep(Duration::from_millis(rest_ms)), if due_ms.is_some() => self.timeout(),
            }
        }
        self.leave().await;
    }

    /// The connection has ended.
    pub(super) async fn leave(self) {
        let Seat { ctx, tenant, device, connection, .. } = &self.seat;
        if !self.online {
            return;
        }
        ctx.presence.set_offline(tenant, device, *connection);
        self.hand_in(Task::Seen).await;
        let change = crate::context::LiveChange::Device { device: device.to_string() };
        ctx.live.publish(tenant, [change]);
    }

    fn now_ms(&self) -> u64 {
        self.seat.ctx.clock.monotonic_ms().saturating_sub(self.began_ms)
    }

    /// When the session wants to be woken, by its own time.
    fn due_ms(&self) -> Option<u64> {
        self.session.poll_timeout().map(|(ms, _)| ms)
    }

    /// Time has passed.
    pub(super) fn timeout(&mut self) {
        let now_ms = self.now_ms();
        self.session.handle_timeout(now_ms);
    }

    /// A frame of the device.
    pub(super) async fn frame(&mut self, bytes: &[u8]) {
        let now_ms = self.now_ms();
        if !std::mem::replace(&mut self.heard, true) {
            // Its first frame says that the device has subscribed: now it hears us.
            self.session.handle_connected(now_ms);
        }
        if self.online && now_ms.saturating_sub(self.seen_ms) >= SEEN_EVERY_MS {
            self.seen_ms = now_ms;
            self.hand_in(Task::Seen).await;
        }
        if let Err(error) = self.session.handle_frame(bytes, now_ms) {
            self.bad_frame(&error).await;
        }
    }

    async fn bad_frame(&mut self, error: &WireError) {
        let Seat { tenant, device, .. } = &self.seat;
        tracing::warn!(%tenant, %device, %error, "a frame is not understood");
        self.bad_frames += 1;
        if self.bad_frames != BAD_FRAMES {
            return;
        }
        let message = format!("cut off after {BAD_FRAMES} frames that make no sense: {error}");
        self.hand_in(Task::Security { code: "sync.bad_frames", message }).await;
        self.cut().await;
    }

    /// Ends the connection; the inbox closes when it has ended.
    async fn cut(&self) {
        self.seat.gate.kick(&self.seat.tenant, &self.seat.device).await;
    }

    async fn hand_in(&self, task: Task) {
        let (tenant, device) = (self.seat.tenant.clone(), self.seat.device.clone());
        self.seat.desk.hand_in(Work { tenant, device, task }).await;
    }

    /// Takes what has come of hand-ins that are settled by now.
    #[cfg(feature = "testing")]
    pub(super) fn take_settled(&mut self) {
        while let Some(Some(settled)) = self.commits.next().now_or_never() {
            self.settled(settled);
        }
    }

    /// When the session wants to be woken, by the process's monotonic clock.
    #[cfg(feature = "testing")]
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        self.due_ms().map(|ms| self.began_ms.saturating_add(ms))
    }

    /// Whether both sides have said hello on this connection.
    #[cfg(feature = "testing")]
    pub(super) fn is_up(&self) -> bool {
        self.session.is_up()
    }

    fn settled(&mut self, (log, lane, cursor): Settled) {
        // What belongs to a former epoch is here, and nobody waits for the word any more.
        if log != self.epoch {
            return;
        }
        match cursor {
            Some(cursor) => self.session.handle_committed(lane, cursor),
            None => self.session.handle_discarded(lane),
        }
    }

    /// Does everything the session asks for.
    pub(super) async fn perform(&mut self) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Send(frame) => {
                    self.seat.hub.send(&self.seat.tenant, &self.seat.device, frame).await;
                }
                Output::Load { lane, first, before, bytes } => {
                    let records = self.load_commands((first, before), bytes).await;
                    let now_ms = self.now_ms();
                    self.session.handle_loaded(lane, records, now_ms);
                }
                Output::LoadChunk { digest, offset } => {
                    let (total, bytes) = self.load_chunk(digest, offset).await;
                    self.session.handle_chunk_loaded(digest, offset, total, bytes);
                }
                Output::Deliver { log, lane, records } => self.deliver(log, lane, records).await,
                Output::Acked { cursor } => {
                    self.hand_in(Task::CommandsAcked { upto: cursor.upto }).await;
                }
                Output::Up { peer_log, holdings, desired_revision } => {
                    self.up(peer_log, holdings, desired_revision == 0).await;
                }
                Output::UnknownPeerLog { log } => self.new_epoch(log).await,
                Output::Verify { seq, digest, .. } => self.verify(seq, digest).await,
                Output::Forked { seq, .. } => self.forked(seq).await,
                Output::Dead => {
                    let Seat { tenant, device, .. } = &self.seat;
                    tracing::info!(%tenant, %device, "a device is connected but does not hear us");
                    self.cut().await;
                }
                // A device sends no desired state, and nothing is ever wanted of one.
                Output::Desired { .. } | Output::Chunk { .. } | Output::BlobMissing { .. } => {}
            }
        }
    }

    async fn deliver(&mut self, log: u64, lane: Lane, records: Vec<Record>) {
        let (committed, answer) = oneshot::channel();
        self.hand_in(Task::Records { epoch: Epoch(log), lane, records, committed }).await;
        self.commits.push(Box::pin(async move { (log, lane, answer.await.ok()) }));
    }

    /// The device has said what it has.
    async fn up(&mut self, log: u64, holdings: Vec<Holding>, is_blank: bool) {
        let Seat { ctx, tenant, device, connection, .. } = &self.seat;
        ctx.presence.set_online(tenant, device, *connection);
        self.online = true;
        self.seen_ms = self.now_ms();
        self.hand_in(Task::Hello { epoch: Epoch(log), holdings, is_blank }).await;
    }

    /// A database that the session did not know: a new one, or one it has not met on this
    /// connection.
    async fn new_epoch(&mut self, log: u64) {
        let Seat { ctx, tenant, device, .. } = &self.seat;
        let cursors = async {
            let mut tx = ctx.db.read().await?;
            fleet::lane_cursors(&mut tx, tenant, device, Epoch(log)).await
        };
        match cursors.await {
            Ok(cursors) => {
                self.epoch = log;
                self.session.handle_peer_cursors(log, cursors);
            }
            Err(error) => {
                tracing::error!(%tenant, %device, %error, "cannot look up an epoch");
                self.cut().await;
            }
        }
    }

    /// Looks at what the API has written: a revocation, a newer desired state, more commands.
    pub(super) async fn look(&mut self) {
        let Seat { ctx, tenant, device, .. } = &self.seat;
        let found = async {
            let mut tx = ctx.db.read().await?;
            let row = fleet::device(&mut tx, tenant, device).await?;
            let desired = fleet::desired(&mut tx, tenant, device).await?;
            let holding = fleet::commands_holding(&mut tx, tenant, device).await?;
            Ok::<_, store::StoreError>((row.is_some_and(|row| !row.revoked), desired, holding))
        };
        match found.await {
            Ok((true, desired, holding)) => {
                let now_ms = self.now_ms();
                if let Some(announcement) = desired {
                    self.session.handle_desired(announcement, now_ms);
                }
                self.session.handle_appended(Lane::Commands, holding.next, now_ms);
                self.session.handle_pruned(Lane::Commands, holding.oldest);
            }
            Ok((false, ..)) => self.cut().await,
            Err(error) => {
                // The device comes back, and then everything is looked at.
                tracing::error!(%tenant, %device, %error, "cannot look for news of a device");
                self.cut().await;
            }
        }
    }

    /// Commands to send; none if the database could not, and the session asks again.
    async fn load_commands(&self, span: (u64, u64), bytes: usize) -> Vec<Record> {
        let Seat { ctx, tenant, device, .. } = &self.seat;
        let found = async {
            let mut tx = ctx.db.read().await?;
            fleet::commands_from(&mut tx, tenant, device, span, bytes).await
        };
        found.await.unwrap_or_else(|error| {
            tracing::error!(%tenant, %device, %error, "cannot read commands");
            Vec::new()
        })
    }

    /// A part of a blob and the size of the whole, 0 if this device may not have it.
    async fn load_chunk(&self, digest: Digest, offset: u32) -> (u32, Vec<u8>) {
        let Seat { ctx, tenant, device, .. } = &self.seat;
        let found = async {
            let mut tx = ctx.db.read().await?;
            fleet::blob(&mut tx, tenant, device, digest, offset, limits::CHUNK_BYTES).await
        };
        match found.await {
            Ok(Some(part)) => part,
            Ok(None) => (0, Vec::new()),
            Err(error) => {
                tracing::error!(%tenant, %device, %error, "cannot read a blob");
                (0, Vec::new())
            }
        }
    }

    /// The device names the digest of the last command it has: is it ours?
    async fn verify(&mut self, seq: u64, theirs: u64) {
        let Seat { ctx, tenant, device, .. } = &self.seat;
        let found = async {
            let mut tx = ctx.db.read().await?;
            fleet::command_digest(&mut tx, tenant, device, seq).await
        };
        match found.await {
            Ok(Some(ours)) if ours != theirs => self.forked(seq).await,
            Ok(_) => {}
            Err(error) => {
                tracing::error!(%tenant, %device, %error, "cannot compare commands");
                self.cut().await;
            }
        }
    }

    /// This database is older than what the device has of it: it was put back without a new
    /// generation. Facts still come up; no commands go down until somebody gives it one, because
    /// numbers would mean two things.
    async fn forked(&mut self, seq: u64) {
        let message = format!(
            "the device has command {seq} of this control plane, which this database does not \
             have so: it was put back to an older state; stop the control plane and run \
             `openclaw-control-plane new-generation`"
        );
        let Seat { tenant, device, .. } = &self.seat;
        tracing::error!(%tenant, %device, message);
        self.hand_in(Task::Security { code: "sync.server_forked", message }).await;
    }
}
