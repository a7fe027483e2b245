//! The control plane, one step at a time: for simulations of a whole fleet in one process (feature
//! `testing`).
//!
//! Sessions, intake, services and tables are those of the program, on a SQLite file. What is left
//! out is what the simulation has of its own: the gate with its sockets and the router, the roster
//! that passes frames on, HTTP, and the tasks that would run at moments nobody chose. So receiving,
//! committing and acknowledging are three calls, and between them it can be killed.

mod prepare;
mod tables;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use openclaw_protocol::api::{CreateDeployment, Role, StartRuns, Target};
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use openclaw_protocol::sync::Lane;
use tokio::runtime::Runtime;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, broadcast, mpsc};

pub use prepare::{Setup, prepare};
pub use tables::{EventsRow, RequestRow, ResultRow, RunRow, Tables};

use super::intake::{self, Desk, Task, Work};
use super::session::{Driver, Seat};
use crate::broker::gate::{Ask, GateHandle};
use crate::broker::router::{DownFrame, Hub};
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TENANT};
use crate::context::{Ctx, Nudge, NudgeKind};
use crate::identity::{Credential, Principal};
use crate::init;
use crate::random;
use crate::service::{self, Fault, Outcome, idempotency::Key};
use crate::store::fleet::IngestOutcome;

/// Pieces of work that one transaction takes.
const GROUP: usize = 256;

/// Works that were written, and what came of each.
type Written = (Vec<Work>, Vec<Option<IngestOutcome>>);

/// A control plane that does nothing of itself.
pub struct Plane {
    ctx: Ctx,
    runtime: Runtime,
    hub: Hub,
    gate: GateHandle,
    desk: Desk,
    handed_in: mpsc::Receiver<(Work, OwnedSemaphorePermit)>,
    down: mpsc::Receiver<DownFrame>,
    asks: mpsc::Receiver<Ask>,
    nudges: broadcast::Receiver<Nudge>,
    seats: BTreeMap<DeviceId, Driver>,
    connections: u64,
    received: VecDeque<Work>,
    written: VecDeque<Written>,
    doubles: Option<i64>,
}

/// The tenant that everything belongs to.
///
/// # Panics
/// Never: its name is one.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant of our own")]
pub fn tenant() -> TenantId {
    TenantId::parse(DEFAULT_TENANT).expect("a name")
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().build()?)
}

/// In whose name things are wished for.
fn operator() -> Principal {
    Principal {
        tenant: tenant(),
        actor: "user:simulation".to_owned(),
        role: Role::Admin,
        username: None,
        credential: Credential::Session(String::new()),
    }
}

fn done<T>(outcome: Outcome<T>) -> anyhow::Result<T> {
    outcome.map_err(|fault: Fault| anyhow::anyhow!("{fault}"))
}

impl Plane {
    /// Starts on a folder that was [prepared](prepare); all that is random on this thread follows
    /// from the seed.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(dir: &Path, clock: Clock, seed: u64) -> anyhow::Result<Self> {
        random::drawn::seed(seed);
        let runtime = runtime()?;
        let config = Config { data_dir: dir.to_owned(), ..Config::default() };
        let ctx = runtime.block_on(async {
            let db = init::open_database(&config).await?;
            let ctx = Arc::new(init::context(config, clock, db).await?);
            intake::reread(&ctx).await;
            Ok::<_, anyhow::Error>(ctx)
        })?;
        let (hub, down) = Hub::detached();
        let (gate, asks) = GateHandle::detached();
        let (desk, handed_in) = intake::desk();
        let nudges = ctx.nudges.subscribe();
        Ok(Self {
            ctx,
            runtime,
            hub,
            gate,
            desk,
            handed_in,
            down,
            asks,
            nudges,
            seats: BTreeMap::new(),
            connections: 0,
            received: VecDeque::new(),
            written: VecDeque::new(),
            doubles: None,
        })
    }

    /// Ends as a process does that is killed: what is committed is there, and nothing else. The
    /// file and its log are left as they are at this moment.
    ///
    /// # Errors
    /// The files cannot be copied.
    pub fn kill(self) -> anyhow::Result<()> {
        let files = database_files(&self.ctx.config);
        let mut images = Vec::new();
        for path in &files {
            images.push(path.exists().then(|| fs::read(path)).transpose()?);
        }
        let Self { ctx, runtime, seats, .. } = self;
        drop(seats);
        // Only so that nobody holds the files any more: what this writes is put back.
        runtime.block_on(ctx.db.close());
        for (path, image) in files.iter().zip(images) {
            match image {
                Some(bytes) => fs::write(path, bytes)?,
                None if path.exists() => fs::remove_file(path)?,
                None => {}
            }
        }
        Ok(())
    }

    /// The public key that devices of this control plane trust.
    ///
    /// # Errors
    /// The key is none.
    pub fn desired_key(&self) -> anyhow::Result<Digest> {
        Digest::parse(&self.ctx.ca.desired_key_hex()).map_err(|e| anyhow::anyhow!("{e}"))
    }

    /// Which database this is.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.ctx.generation.0
    }

    /// A device has connected.
    ///
    /// # Errors
    /// The database could not.
    pub fn connect(&mut self, device: &DeviceId) -> anyhow::Result<()> {
        self.disconnect(device);
        self.connections += 1;
        let seat = Seat {
            ctx: Arc::clone(&self.ctx),
            hub: self.hub.clone(),
            gate: self.gate.clone(),
            desk: self.desk.clone(),
            look: Arc::new(Notify::new()),
            tenant: tenant(),
            device: device.clone(),
            connection: self.connections,
        };
        let driver = self.runtime.block_on(async {
            let mut driver = Driver::new(seat).await.map_err(|(_, error)| error)?;
            driver.perform().await;
            Ok::<_, crate::store::StoreError>(driver)
        });
        self.seats.insert(device.clone(), driver.context("no session")?);
        self.receive();
        Ok(())
    }

    /// A device's connection has ended.
    pub fn disconnect(&mut self, device: &DeviceId) {
        if let Some(driver) = self.seats.remove(device) {
            self.runtime.block_on(driver.leave());
            self.receive();
        }
    }

    /// A frame of a device.
    pub fn frame(&mut self, device: &DeviceId, bytes: Vec<u8>) {
        let Some(driver) = self.seats.get_mut(device) else { return };
        self.runtime.block_on(async {
            driver.frame(&Bytes::from(bytes)).await;
            driver.perform().await;
        });
        self.receive();
    }

    /// When a session wants to be woken, by the monotonic clock.
    #[must_use]
    pub fn deadline_ms(&self, device: &DeviceId) -> Option<u64> {
        self.seats.get(device).and_then(Driver::deadline_ms)
    }

    /// Wakes a session.
    pub fn wake(&mut self, device: &DeviceId) {
        let Some(driver) = self.seats.get_mut(device) else { return };
        driver.timeout();
        self.runtime.block_on(driver.perform());
        self.receive();
    }

    /// Whether a device and this control plane have said hello on this connection.
    #[must_use]
    pub fn is_up(&self, device: &DeviceId) -> bool {
        self.seats.get(device).is_some_and(Driver::is_up)
    }

    /// Takes what sessions have handed in.
    fn receive(&mut self) {
        while let Ok((work, _room)) = self.handed_in.try_recv() {
            self.received.push_back(work);
        }
    }

    /// Pieces of work that are not written, and groups that are and of which nobody has heard.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.received.len(), self.written.len())
    }

    /// Writes what was received, in one transaction, and tells nobody. Whether there were records.
    ///
    /// # Errors
    /// The database could not.
    pub fn write(&mut self) -> anyhow::Result<bool> {
        let count = self.received.len().min(GROUP);
        let works: Vec<Work> = self.received.drain(..count).collect();
        if works.is_empty() {
            return Ok(false);
        }
        let has_records = works.iter().any(|work| matches!(work.task, Task::Records { .. }));
        let again = match self.doubles {
            Some(_) => self.runtime.block_on(tables::known(&self.ctx, &works))?,
            None => Vec::new(),
        };
        let outcomes = self.runtime.block_on(intake::write(&self.ctx, &works))?;
        for result in again {
            let number = self.doubles.get_or_insert(0);
            *number += 1;
            self.runtime.block_on(tables::double(&self.ctx, &result, *number))?;
        }
        self.written.push_back((works, outcomes));
        Ok(has_records)
    }

    /// Tells of the oldest group that is written: acknowledgements go out.
    pub fn tell(&mut self) {
        let Some((works, outcomes)) = self.written.pop_front() else { return };
        let devices: Vec<DeviceId> = works.iter().map(|work| work.device.clone()).collect();
        intake::tell(&self.ctx, works, outcomes);
        for device in devices {
            let Some(driver) = self.seats.get_mut(&device) else { continue };
            driver.take_settled();
            self.runtime.block_on(driver.perform());
        }
        self.receive();
    }

    /// Frames to devices, in the order in which they were sent.
    pub fn take_down(&mut self) -> Vec<(DeviceId, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Ok(DownFrame { topic, bytes }) = self.down.try_recv() {
            let device = topic.split('/').nth(3).and_then(|id| DeviceId::parse(id).ok());
            frames.extend(device.map(|device| (device, bytes)));
        }
        frames
    }

    /// Devices whose connection shall be cut.
    pub fn take_kicks(&mut self) -> Vec<DeviceId> {
        let mut kicked = Vec::new();
        while let Ok(ask) = self.asks.try_recv() {
            if let Ask::Kick { device, .. } = ask {
                kicked.push(device);
            }
        }
        kicked
    }

    /// Lets sessions look at what the API has written.
    pub fn pass_nudges(&mut self) {
        loop {
            let devices: Vec<DeviceId> = match self.nudges.try_recv() {
                Ok(Nudge { kind: NudgeKind::Revoked, .. }) => continue,
                Ok(nudge) => vec![nudge.device],
                Err(TryRecvError::Lagged(_)) => self.seats.keys().cloned().collect(),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            };
            for device in devices {
                let Some(driver) = self.seats.get_mut(&device) else { continue };
                self.runtime.block_on(async {
                    driver.look().await;
                    driver.perform().await;
                });
            }
        }
        self.receive();
    }

    /// Puts a workflow on devices.
    ///
    /// # Errors
    /// It is refused.
    pub fn deploy(
        &mut self,
        workflow: &str,
        revision: u32,
        devices: &[DeviceId],
    ) -> anyhow::Result<()> {
        let request = CreateDeployment {
            workflow: workflow.to_owned(),
            revision: Some(revision),
            target: target(devices),
        };
        let who = operator();
        let create = service::deployments::create(&self.ctx, &who, request, None);
        done(self.runtime.block_on(create))?;
        self.pass_nudges();
        Ok(())
    }

    /// Wishes a run on a device, as a client does that repeats itself under the same key. The
    /// wish's name.
    ///
    /// # Errors
    /// It is refused.
    pub fn start(
        &mut self,
        workflow: &str,
        device: &DeviceId,
        key: &str,
    ) -> anyhow::Result<String> {
        let target = target(std::slice::from_ref(device));
        let request = StartRuns { target, inputs: serde_json::Map::new(), priority: None };
        let key = done(Key::new(key, &format!("{workflow} {device}")))?;
        let who = operator();
        let start = service::requests::start(&self.ctx, &who, workflow, request, Some(key));
        let answer = done(self.runtime.block_on(start))?;
        self.pass_nudges();
        match answer.requests.as_slice() {
            [one] => Ok(one.id.clone()),
            other => bail!("one wish became {}", other.len()),
        }
    }

    /// What the tables say.
    ///
    /// # Errors
    /// The database could not.
    pub fn tables(&self) -> anyhow::Result<Tables> {
        Ok(self.runtime.block_on(tables::read(&self.ctx))?)
    }

    /// From now on a result that comes again is written again: the control that must fail.
    pub fn double(&mut self) {
        self.doubles = Some(0);
    }
}

fn target(devices: &[DeviceId]) -> Target {
    let devices = devices.iter().map(ToString::to_string).collect();
    Target { devices, labels: BTreeMap::new() }
}

fn database_files(config: &Config) -> [PathBuf; 3] {
    let path = config.sqlite_path();
    ["", "-wal", "-shm"].map(|end| {
        let mut name = path.clone().into_os_string();
        name.push(end);
        name.into()
    })
}

/// Whether results are in this work.
fn has_results(task: &Task) -> bool {
    matches!(task, Task::Records { lane: Lane::Results, .. })
}
