//! Wiring: what an agent is made of, in the order of its start and its stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use openclaw_agent_core::Deployed;
use openclaw_protocol::id::Epoch;
use openclaw_protocol::time::Stamp;
use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::brain::{Brain, Parts};
use crate::clock::{self, Clock as _, SystemClock};
use crate::config::Config;
use crate::event::{self, Event, Events, Inbox};
use crate::hands::{Kit, Workers};
use crate::host::{Gpio, HostKit};
use crate::identity::{self, Credentials, Identity};
use crate::limits;
use crate::link::{self, Link, ToLink};
use crate::local;
use crate::local_mqtt;
use crate::logs::Logs;
use crate::looker::Looker;
use crate::panics;
use crate::secret_files::SecretFiles;
use crate::secrets::{DeviceKey, Secrets};
use crate::standalone::{self, Loaded};
use crate::store::{self, Batch, Opened, Opening, Restored, Retention, Store, StoreError};
use crate::tls::{self, TlsTime};
use crate::waiting::{self, Doorkeeper};
use crate::webhook;

/// The database's name in the data directory.
pub const DATABASE: &str = "agent.redb";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    events: Events,
    tasks: Tasks,
    brain: oneshot::Receiver<Result<(), StoreError>>,
    socket: PathBuf,
    database: PathBuf,
}

/// What runs beside the brain, and no longer than this is held: an agent that did not come up leaves
/// nobody at its socket.
#[derive(Debug, Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Agent {
    /// Starts everything. Needs no network, and does not wait for one.
    ///
    /// # Errors
    /// Another agent runs here, the store cannot be opened, or what the configuration names
    /// cannot be used. Credentials that cannot be used are no reason: the agent then runs without
    /// a link, and `status` says why.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        local::be_alone(&config.socket_path())?;
        Self::begin(config, open(config, &mut None)?, &lines(config))
    }

    /// Everything but what had to be written first.
    fn begin(config: &Config, ground: Ground, lines: &Arc<Gpio>) -> anyhow::Result<Self> {
        let Ground { store, restored, clock, standalone } = ground;
        tls::install_provider();
        let (events, receiver) = event::queue();
        let logs = Logs::default();
        let socket = config.socket_path();
        let server = local::listen(&socket, events.clone(), logs.clone())
            .with_context(|| format!("cannot listen on {}", socket.display()))?;
        let mut running = Tasks(vec![tokio::spawn(async move { server.run().await })]);
        let tasks = &mut running.0;
        let time = TlsTime::new(restored.high_water_wall_ms, &config.clock.synced_file);
        let (outgoing, queue) = link::queue();
        let mut link_fault = None;
        match open_link(config, time.clone(), events.clone(), queue, random_u64()?) {
            Ok(link) => tasks.extend(link.map(|link| tokio::spawn(link.run()))),
            Err(e) => {
                tracing::error!(error = format!("{e:#}"), "running without a link");
                link_fault = Some(format!("{e:#}"));
            }
        }
        // Who this is does not hang on the key: what the fleet deployed goes on without a link.
        let identity = Identity::load(&config.data_dir).unwrap_or_default();
        let agent = match &identity {
            Some(identity) => identity.device.to_string(),
            None => identity::host_name(),
        };
        let broker = join_broker(config, &agent, &time, &events, tasks)?;
        let secrets = secrets_of(config, identity.is_some())?;
        let webhook = listen_for_webhooks(config, &secrets, &events, tasks);
        let link = identity.map(|identity| (identity, outgoing));
        let mut host = HostKit::new(config, time, tokio::runtime::Handle::current());
        host.gpio = Arc::clone(lines);
        let files = host.files.names();
        let looker = look_for_files(&host, &events)?;
        let kit = Kit {
            events: events.clone(),
            blobs: store.blobs().patient(),
            logs,
            host,
            secrets: secrets.clone(),
            plugin_config: Arc::new(config.plugin_config.clone()),
        };
        let parts = Parts {
            store,
            restored,
            clock: Box::new(clock),
            hands: Box::new(Workers::new(kit, config.slots)),
            link,
            link_fault,
            standalone,
            slots: config.slots,
            files,
            broker,
            webhook,
            looker,
            secrets,
            agent,
            seed: random_u64()?,
        };
        let brain = begin_brain(parts, receiver)?;
        Ok(Self { events, tasks: running, brain, socket, database: database_of(config) })
    }

    /// The local socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Waits until the brain has ended, which without [`Agent::stop`] only a failing store does.
    ///
    /// # Errors
    /// The store failed, or the brain panicked.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        match (&mut self.brain).await {
            Ok(result) => result.context("the store failed"),
            Err(_) => anyhow::bail!("the brain stopped unexpectedly"),
        }
    }

    /// Stops cleanly: calls under way may end, everything is committed, the stop is noted.
    ///
    /// # Errors
    /// As [`Agent::ended`].
    pub async fn stop(mut self) -> anyhow::Result<()> {
        // Where the brain is gone already, its end says why.
        let _ = self.events.send_async(Event::Stop).await;
        let ended = self.ended().await;
        for task in self.tasks.0.drain(..) {
            task.abort();
            // Gone for certain, and with it the socket's file.
            let _ = task.await;
        }
        if ended.is_ok() {
            store::trust(&self.database);
        }
        ended
    }
}

/// Makes the brain on the thread that it lives on. The usual C library keeps a heap for each thread and
/// gives that of the thread that read the store to the next one: the runs of very many go where what was
/// read of them is freed, instead of beside it.
fn begin_brain(
    parts: Parts,
    events: Inbox,
) -> anyhow::Result<oneshot::Receiver<Result<(), StoreError>>> {
    let (done, ended) = oneshot::channel();
    let (made, begun) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name("brain".to_owned()).spawn(move || {
        let brain = match Brain::new(parts) {
            Ok(brain) => brain,
            Err(e) => return drop(made.send(Err(e))),
        };
        // Nobody listens any more where the process is ending.
        drop(made.send(Ok(())));
        drop(done.send(brain.run(&events)));
    })?;
    begun.recv().context("the brain stopped unexpectedly")??;
    Ok(ended)
}

/// The way to the site's broker, where the configuration has one.
fn join_broker(
    config: &Config,
    agent: &str,
    time: &TlsTime,
    events: &Events,
    tasks: &mut Vec<JoinHandle<()>>,
) -> anyhow::Result<Option<local_mqtt::Broker>> {
    let Some(known) = &config.local_broker else { return Ok(None) };
    let (time, seed) = (time.clone(), random_u64()?);
    let (broker, task) = local_mqtt::new(known, agent, time, seed, events.clone());
    tasks.push(tokio::spawn(task.run()));
    Ok(Some(broker))
}

/// The site's own secrets, and those that the control plane seals to an enrolled device.
fn secrets_of(config: &Config, is_enrolled: bool) -> anyhow::Result<Secrets> {
    let key = if is_enrolled { Some(DeviceKey::load_or_make(&config.data_dir)?) } else { None };
    Ok(Secrets::new(SecretFiles::of(config).map(SecretFiles::source), key))
}

/// The listener for webhooks, where the configuration has one.
fn listen_for_webhooks(
    config: &Config,
    secrets: &Secrets,
    events: &Events,
    tasks: &mut Vec<JoinHandle<()>>,
) -> Option<webhook::Listener> {
    let known = config.webhook.as_ref()?;
    let (listener, server) = webhook::listen(known, secrets.clone(), events.clone());
    tasks.push(tokio::spawn(server.run()));
    Some(listener)
}

/// Who looks for files, where the configuration offers directories.
fn look_for_files(host: &HostKit, events: &Events) -> anyhow::Result<Option<Looker>> {
    if host.files.names().is_empty() {
        return Ok(None);
    }
    Ok(Some(Looker::new(Arc::clone(&host.files), events.clone())?))
}

/// The link of an enrolled device; of another there is none.
fn open_link(
    config: &Config,
    time: TlsTime,
    events: Events,
    queue: Receiver<ToLink>,
    seed: u64,
) -> anyhow::Result<Option<Link>> {
    let Some(credentials) = Credentials::load(&config.data_dir)? else { return Ok(None) };
    Ok(Some(Link::new(&credentials, &config.link, time, seed, events, queue)?))
}

/// What a start writes to the disk.
struct Ground {
    store: Store,
    restored: Restored,
    clock: SystemClock,
    standalone: Vec<Deployed>,
}

/// Does all of a start that needs room on the disk. What died before this process did so once, however
/// often it tries: `died` says whether something had, as soon as that is known.
fn open(config: &Config, died: &mut Option<bool>) -> anyhow::Result<Ground> {
    identity::make_data_dir(&config.data_dir)?;
    let loaded = match &config.standalone {
        Some(standalone) => standalone::load(standalone, config.offers(&config.dirs()))?,
        None => Loaded::default(),
    };
    let (mut store, mut restored) = open_store(config)?;
    restored.unclean = *died.get_or_insert(restored.unclean);
    let synced_file = &config.clock.synced_file;
    let mut clock = SystemClock::new(restored.boot, restored.high_water_wall_ms, synced_file);
    let standalone = keep_modules(&mut store, loaded, clock.now())?;
    Ok(Ground { store, restored, clock, standalone })
}

fn database_of(config: &Config) -> PathBuf {
    config.data_dir.join(DATABASE)
}

fn open_store(config: &Config) -> anyhow::Result<(Store, Restored)> {
    let retention = Retention {
        hours: config.retention.hours,
        journal_hours: config.retention.journal_hours,
        lane_bytes: config.retention.lane_bytes,
        journal_bytes: config.retention.journal_bytes,
    };
    let path = database_of(config);
    panics::doubt_database(&path);
    let Opened { store, restored, aside: _ } = store::open_or_quarantine(Opening {
        path: &path,
        cache_bytes: config.store.cache_bytes,
        retention,
        fresh_epoch: Epoch(random_u64()?),
        boot_id: &clock::boot_id(),
    })?;
    Ok((store, restored))
}

/// Whether it was the database that ended a life, or a start, by being damaged. It is noted, so that a
/// file that does so again and again is set aside.
fn is_damage(config: &Config, error: &anyhow::Error, up: Duration) -> bool {
    let is_damage = error.downcast_ref().is_some_and(StoreError::is_damage);
    if is_damage {
        store::doubt(&database_of(config), up);
    }
    is_damage
}

/// Whether the disk could not read the database: it may be there again in a moment, and is asked again.
fn is_of_disk(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(|error| matches!(error, StoreError::Disk(_)))
}

/// Modules from the device's own directories go the way of all modules: into the store.
fn keep_modules(store: &mut Store, loaded: Loaded, now: Stamp) -> anyhow::Result<Vec<Deployed>> {
    let blobs = store.blobs();
    let mut batch = Batch::default();
    for (digest, module) in loaded.modules {
        if !blobs.has(digest)? {
            batch.blobs.push((digest, module));
        }
    }
    if !batch.is_empty() {
        store.commit(&batch, now)?;
    }
    Ok(loaded.deployed)
}

fn random_u64() -> anyhow::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("no random bytes: {e}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Runs an agent until `stop` resolves. A full disk is waited for from the first start on. A failing
/// store (a card that went away) ends everything that stands on it; after a wait the agent starts anew
/// from what is durable.
///
/// # Errors
/// The first start failed, and neither for want of room nor by a damaged database or a disk that cannot
/// read it; later ones are tried again and again.
pub async fn run(config: &Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::pin!(stop);
    let mut died = None;
    let lines = lines(config);
    let first = tokio::select! {
        () = &mut stop => return Ok(()),
        first = first(config, &mut died, &lines) => first,
    };
    let mut next = match first {
        Ok(agent) => Some(agent),
        Err(e) if is_damage(config, &e, Duration::ZERO) || is_of_disk(&e) => {
            tracing::error!(error = format!("{e:#}"), "cannot start yet");
            None
        }
        Err(e) => return Err(e),
    };
    let mut wait = limits::RESTART_MIN;
    loop {
        let began = tokio::time::Instant::now();
        if let Some(mut agent) = next.take() {
            tracing::info!(socket = %agent.socket().display(), "the agent is running");
            tokio::select! {
                () = &mut stop => {
                    tracing::info!("stopping");
                    return agent.stop().await;
                }
                ended = agent.ended() => if let Err(e) = ended {
                    is_damage(config, &e, began.elapsed());
                    tracing::error!(error = format!("{e:#}"), "starting anew from what is durable");
                },
            }
            // Nothing of it has died, so no call that was under way has done any harm.
            died = Some(false);
        }
        if began.elapsed() > limits::RESTART_MAX {
            wait = limits::RESTART_MIN;
        }
        tokio::select! {
            () = &mut stop => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(limits::RESTART_MAX);
        match start(config, &mut died, &mut None, &lines).await {
            Ok(agent) => next = Some(agent),
            Err(e) => {
                is_damage(config, &e, Duration::ZERO);
                tracing::error!(error = format!("{e:#}"), "cannot start yet");
            }
        }
    }
}

/// The first start. Where there is no room for it, it is tried again and again, and who asks is told.
async fn first(
    config: &Config,
    died: &mut Option<bool>,
    lines: &Arc<Gpio>,
) -> anyhow::Result<Agent> {
    local::be_alone(&config.socket_path())?;
    let mut doorkeeper = None;
    let mut wait = limits::RESTART_MIN;
    loop {
        let why = match start(config, died, &mut doorkeeper, lines).await {
            Err(e) if waiting::is_for_room(&e) => e,
            ended => return ended,
        };
        if doorkeeper.is_none() {
            tracing::error!(error = format!("{why:#}"), "waiting for room on the disk");
            doorkeeper = Some(Doorkeeper::begin(config, &why));
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(limits::FIRST_START_MAX);
    }
}

/// Starts an agent, after whoever answers for one that has not started.
async fn start(
    config: &Config,
    died: &mut Option<bool>,
    doorkeeper: &mut Option<Doorkeeper>,
    lines: &Arc<Gpio>,
) -> anyhow::Result<Agent> {
    let ground = open(config, died)?;
    if let Some(doorkeeper) = doorkeeper.take() {
        doorkeeper.end().await;
    }
    Agent::begin(config, ground, lines)
}

/// The outputs of this device outlive a start anew: none of them moves because a disk has failed.
fn lines(config: &Config) -> Arc<Gpio> {
    Arc::new(Gpio::new(config.gpio.clone()))
}
