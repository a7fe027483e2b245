//! The intake: what all sessions have received is written here, whatever is waiting in one
//! transaction, and only after its commit does anybody hear that it is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use openclaw_points::{Point, reach};
use openclaw_protocol::id::{DeviceId, Epoch, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::report::{Report, ReportRecord};
use openclaw_protocol::sync::{Cursor, Holding, Lane, Record};
use openclaw_protocol::wire::{self, Kind};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::context::{Ctx, LiveChange};
use crate::service::secrets;
use crate::store::fleet::IngestOutcome;
use crate::store::{self, Tx, fleet};

/// Pieces of work that may wait.
const QUEUE: usize = 1_024;
/// Records that may wait, in KiB of bodies. Sessions beyond it wait, and so do their devices.
const QUEUE_KIB: usize = 64 * 1024;
/// Work of one transaction: pieces, and KiB of bodies.
const GROUP: usize = 256;
const GROUP_KIB: usize = 8 * 1024;

/// Something to write.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) tenant: TenantId,
    pub(super) device: DeviceId,
    pub(super) task: Task,
}

/// What.
#[derive(Debug)]
pub(super) enum Task {
    /// Records of one lane; the answer comes after the commit.
    Records {
        epoch: Epoch,
        lane: Lane,
        records: Vec<Record>,
        /// Told where the lane stands; dropped if it could not be written.
        committed: oneshot::Sender<Cursor>,
    },
    /// The device has said hello under this epoch, and what it can send.
    Hello {
        epoch: Epoch,
        holdings: Vec<Holding>,
        /// It has no desired state in force: its database has never heard of us. One that was only
        /// restored or cloned has, and goes on with the runs it holds.
        is_blank: bool,
    },
    /// The device was heard of.
    Seen,
    /// The device has committed its commands up to this number.
    CommandsAcked { upto: u64 },
    /// Something a security officer wants to know.
    Security { code: &'static str, message: String },
}

impl Task {
    fn kib(&self) -> usize {
        match self {
            Self::Records { records, .. } => {
                let bytes: usize = records.iter().map(|record| record.body.len()).sum();
                (1 + bytes / 1024).min(QUEUE_KIB)
            }
            Self::Hello { .. }
            | Self::Seen
            | Self::CommandsAcked { .. }
            | Self::Security { .. } => 1,
        }
    }
}

/// Where sessions hand their work in.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    queue: mpsc::Sender<(Work, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
}

impl Desk {
    /// Hands work in, waiting for room. It is lost if the process ends, which is harmless for all
    /// kinds of work: records come again, and so do hellos.
    pub(super) async fn hand_in(&self, work: Work) {
        let kib = u32::try_from(work.task.kib()).unwrap_or(u32::MAX);
        // Closed only when the process ends; then nobody waits for an answer any more.
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(kib).await else { return };
        drop(self.queue.send((work, permit)).await);
    }

    /// Hands work in if there is room this moment.
    pub(super) fn try_hand_in(&self, work: Work) {
        let kib = u32::try_from(work.task.kib()).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(kib) else { return };
        drop(self.queue.try_send((work, permit)));
    }
}

/// A desk, and where what is handed in comes out.
pub(super) fn desk() -> (Desk, mpsc::Receiver<(Work, OwnedSemaphorePermit)>) {
    let (queue, waiting) = mpsc::channel(QUEUE);
    (Desk { queue, room: Arc::new(Semaphore::new(QUEUE_KIB)) }, waiting)
}

/// Starts the task that writes. It ends when all desks are gone and all work is done.
pub(super) fn start(ctx: Ctx) -> (Desk, JoinHandle<()>) {
    let (desk, mut waiting) = desk();
    let task = tokio::spawn(async move {
        let mut group: Vec<(Work, OwnedSemaphorePermit)> = Vec::new();
        while waiting.recv_many(&mut group, 1).await > 0 {
            let mut kib = group.iter().map(|(work, _)| work.task.kib()).sum::<usize>();
            while group.len() < GROUP && kib < GROUP_KIB {
                let Ok(next) = waiting.try_recv() else { break };
                kib += next.0.task.kib();
                group.push(next);
            }
            let (works, permits): (Vec<_>, Vec<_>) = group.drain(..).unzip();
            let told_keys: Vec<_> = works.iter().filter_map(told_key).collect();
            write_group(&ctx, works).await;
            drop(permits);
            for (tenant, device) in told_keys {
                if let Err(error) = secrets::reseal(&ctx, &tenant, &device).await {
                    // The next deployment, value, or start of the device tries again.
                    tracing::error!(%tenant, %device, %error, "cannot seal a device's secrets");
                }
            }
        }
    });
    (desk, task)
}

/// The device, where it has told the key that its secrets are sealed to.
fn told_key(work: &Work) -> Option<(TenantId, DeviceId)> {
    let Task::Records { lane: Lane::Control, records, .. } = &work.task else { return None };
    let is_key = |record: &Record| {
        let read = wire::unpack(Kind::Report, &record.body, limits::RECORD_BYTES);
        read.is_ok_and(|it: ReportRecord| matches!(it.report, Report::SealingKey { .. }))
    };
    records.iter().any(is_key).then(|| (work.tenant.clone(), work.device.clone()))
}

/// Looks at what earlier builds could not read, before anybody connects. What does not work out is
/// no reason not to start.
pub(super) async fn reread(ctx: &Ctx) {
    let (mut place, mut stored) = (store::parked::Place::default(), 0);
    let done = async {
        loop {
            let mut tx = ctx.db.write().await?;
            let reread = store::parked::reread(&mut tx, &place, ctx.clock.now_ms()).await?;
            tx.commit().await?;
            stored += reread.stored;
            match reread.next {
                Some(next) => place = next,
                None => return Ok::<_, store::StoreError>(()),
            }
        }
    };
    if let Err(error) = done.await {
        tracing::error!(%error, "cannot look at parked records; it is tried again at the next start");
    }
    if stored > 0 {
        tracing::info!(stored, "parked records could be read now");
    }
}

/// Writes a group in one transaction; if that fails, each piece in its own, so that one that the
/// database does not take holds up nobody else.
async fn write_group(ctx: &Ctx, mut works: Vec<Work>) {
    match write(ctx, &works).await {
        Ok(outcomes) => tell(ctx, works, outcomes),
        Err(error) if works.len() > 1 => {
            tracing::warn!(%error, pieces = works.len(), "a group was not taken; trying one by one");
            for work in works.drain(..) {
                let one = [work];
                match write(ctx, &one).await {
                    Ok(outcomes) => tell(ctx, one.into(), outcomes),
                    Err(error) => failed(ctx, &one[0], &error),
                }
            }
        }
        Err(error) => works.iter().for_each(|work| failed(ctx, work, &error)),
    }
}

fn failed(ctx: &Ctx, work: &Work, error: &store::StoreError) {
    let Work { tenant, device, task } = work;
    ctx.metrics.ingest_failures.fetch_add(1, Ordering::Relaxed);
    let what = match task {
        Task::Records { lane, .. } => lane.name(),
        Task::Hello { .. } => "hello",
        Task::Seen => "seen",
        Task::CommandsAcked { .. } => "commands acked",
        Task::Security { .. } => "security event",
    };
    tracing::error!(%tenant, %device, what, %error, "the database did not take it");
}

/// Writes pieces of work in one transaction.
pub(super) async fn write(ctx: &Ctx, works: &[Work]) -> store::Result<Vec<Option<IngestOutcome>>> {
    let now_ms = ctx.clock.now_ms();
    let mut tx = ctx.db.write().await?;
    let mut outcomes = Vec::with_capacity(works.len());
    for work in works {
        outcomes.push(write_one(&mut tx, work, now_ms).await?);
    }
    reach(Point::IngestCommit);
    tx.commit().await?;
    reach(Point::IngestCommitted);
    ctx.metrics.ingest_commits.fetch_add(1, Ordering::Relaxed);
    Ok(outcomes)
}

async fn write_one(tx: &mut Tx, work: &Work, now_ms: i64) -> store::Result<Option<IngestOutcome>> {
    let Work { tenant, device, task } = work;
    match task {
        Task::Records { epoch, lane, records, .. } => {
            let records = records.clone();
            return fleet::ingest(tx, tenant, device, *epoch, *lane, records, now_ms)
                .await
                .map(Some);
        }
        Task::Hello { epoch, holdings, is_blank } => {
            let before = fleet::epoch(tx, tenant, device).await?;
            if let Some(before) = before.filter(|before| before != epoch) {
                let message = format!(
                    "the device's database is another one now (epoch {epoch}, before {before}): \
                     it was wiped, restored or cloned; results under the old epoch are kept"
                );
                let at = (now_ms, now_ms);
                fleet::security_event(tx, tenant, device, at, "sync.new_epoch", &message).await?;
                if *is_blank {
                    let lost = store::projection::lose(tx, tenant, device, *epoch, now_ms).await?;
                    tracing::warn!(%tenant, %device, lost, "a device has a new database");
                }
            }
            fleet::set_epoch(tx, tenant, device, *epoch).await?;
            fleet::set_seen(tx, tenant, device, now_ms).await?;
            for holding in holdings.iter().filter(|h| Lane::UP.contains(&h.lane)) {
                fleet::announce(tx, tenant, device, *epoch, holding, now_ms).await?;
            }
        }
        Task::Seen => fleet::set_seen(tx, tenant, device, now_ms).await?,
        Task::CommandsAcked { upto } => {
            fleet::set_commands_acked(tx, tenant, device, *upto).await?;
        }
        Task::Security { code, message } => {
            let at = (now_ms, now_ms);
            fleet::security_event(tx, tenant, device, at, code, message).await?;
        }
    }
    Ok(None)
}

/// After the commit: sessions first, so that acknowledgements go out; then whoever watches.
pub(super) fn tell(ctx: &Ctx, works: Vec<Work>, outcomes: Vec<Option<IngestOutcome>>) {
    let mut changes: Vec<(TenantId, LiveChange)> = Vec::new();
    for (work, outcome) in works.into_iter().zip(outcomes) {
        let Work { tenant, device, task } = work;
        match task {
            Task::Records { committed, .. } => {
                let Some(outcome) = outcome else { continue };
                ctx.metrics.count_ingest(outcome.inserted, outcome.repeated);
                // A session that is gone says hello again some day.
                drop(committed.send(outcome.cursor));
                changes.extend(outcome.changes.into_iter().map(|change| (tenant.clone(), change)));
            }
            Task::Hello { .. } | Task::Security { .. } => {
                changes.push((tenant, LiveChange::Device { device: device.to_string() }));
            }
            Task::Seen | Task::CommandsAcked { .. } => {}
        }
    }
    reach(Point::IngestTold);
    let mut told: Vec<(TenantId, LiveChange)> = Vec::with_capacity(changes.len());
    for change in changes {
        // A group often has many events of one run.
        if told.iter().rev().take(32).all(|before| *before != change) {
            told.push(change);
        }
    }
    for (tenant, change) in told {
        ctx.live.publish(&tenant, [change]);
    }
}
