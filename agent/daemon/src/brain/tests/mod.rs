//! The brain on a disk that can lose its power, with hands that do nothing but remember, and with
//! a control plane made of the same session.

mod again;
mod corruption;
mod damage;
mod eio;
mod files;
mod flash;
mod full;
mod keep;
mod lying;
mod peer;
mod power;
mod record;
mod remembered;
mod runs;
mod secrets;
mod site;
mod snapshots;
mod stalled;
mod sync;
mod update;
mod watch;

use std::sync::{Arc, Mutex};

use openclaw_agent_core::{AttemptOutcome, PluginTask, StopReason};
use openclaw_protocol::definition;
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{DeviceId, Epoch, PluginName, TenantId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_protocol::report::{Refusal, ReportRecord};
use openclaw_protocol::run::{RunEventRecord, RunResult, RunStatus};
use tokio::sync::mpsc::Receiver as LinkReceiver;
use tokio::sync::oneshot;

use super::*;
use crate::link::{self, ToLink};
use crate::local::{Answer, Request, Status};
use crate::local_mqtt::FromBroker;
use crate::local_mqtt::tests::{Line, pair as broker_pair};
use crate::store::Retention;
use crate::store::reserve::Volume;
use crate::store::reserve::tests::Pretended;
use crate::testing::Disk;

/// A clock that is moved by hand.
#[derive(Debug, Clone)]
struct HandClock(Arc<Mutex<Stamp>>);

impl HandClock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(Stamp {
            boot: 1,
            boot_ms: 1_000,
            wall_ms: 1_800_000_000_000,
            trust: ClockTrust::Estimated,
        })))
    }

    fn advance(&self, ms: u64) {
        let mut now = self.0.lock().unwrap();
        now.boot_ms += ms;
        now.wall_ms += ms.cast_signed();
    }
}

impl Clock for HandClock {
    fn now(&mut self) -> Stamp {
        *self.0.lock().unwrap()
    }
}

/// Hands that remember what they were asked for.
#[derive(Debug, Clone, Default)]
struct Asked {
    calls: Arc<Mutex<Vec<PluginTask>>>,
    checks: Arc<Mutex<Vec<openclaw_protocol::id::Digest>>>,
    stops: Arc<Mutex<Vec<AttemptId>>>,
    freed: Arc<Mutex<Vec<AttemptId>>>,
}

impl Hands for Asked {
    fn call(&mut self, task: PluginTask) {
        self.calls.lock().unwrap().push(task);
    }

    fn stop(&mut self, attempt: &AttemptId, _reason: StopReason) {
        self.stops.lock().unwrap().push(attempt.clone());
    }

    fn free(&mut self, attempt: &AttemptId) {
        self.freed.lock().unwrap().push(attempt.clone());
    }

    fn check(&mut self, digest: openclaw_protocol::id::Digest) {
        self.checks.lock().unwrap().push(digest);
    }
}

/// A device: what outlives a power cut, and a brain while there is power.
struct Device {
    disk: Disk,
    clock: HandClock,
    asked: Asked,
    brain: Option<Brain>,
    boots: u32,
    ever_started: bool,
    identity: Option<Identity>,
    frames: Option<LinkReceiver<ToLink>>,
    link_fault: Option<String>,
    workflows: Vec<Deployed>,
    retention: Retention,
    /// The site has a broker of its own.
    has_broker: bool,
    line: Option<Line>,
    secrets: Secrets,
    /// The way to webhooks, for the next start.
    webhook: Option<crate::webhook::Listener>,
    /// What writes fail, where the store is to be opened again after that.
    faults: Option<full::Faults>,
    /// What there is room for, in the same way.
    volume: Option<Arc<Pretended>>,
    /// The process goes on: the next start is one after a failure of the store.
    survives: bool,
}

impl Device {
    /// After a power cut, what was durable is there. A file that was cut while it was being made is
    /// no database yet.
    fn survive(&mut self, e: &StoreError) {
        let is_damaged = matches!(e, StoreError::Damaged(_));
        assert!(self.disk.is_dead() || is_damaged, "{e}");
        if is_damaged && !self.ever_started {
            self.disk.wipe();
        }
        self.brain = None;
        self.disk.revive();
    }

    fn new(seed: u64, workflows: Vec<Deployed>) -> Self {
        Self {
            disk: Disk::new(seed),
            clock: HandClock::new(),
            asked: Asked::default(),
            brain: None,
            boots: 0,
            ever_started: false,
            identity: None,
            frames: None,
            link_fault: None,
            workflows,
            retention: Retention::default(),
            has_broker: false,
            line: None,
            secrets: Secrets::default(),
            webhook: None,
            faults: None,
            volume: None,
            survives: false,
        }
    }

    /// An enrolled device that trusts this key.
    fn enrolled(seed: u64, desired_key: [u8; 32]) -> Self {
        let mut device = Self::new(seed, Vec::new());
        device.identity = Some(Identity {
            tenant: TenantId::parse("acme").unwrap(),
            device: DeviceId::parse("pump-7").unwrap(),
            server: "https://control.example".into(),
            mqtt_host: "control.example".into(),
            mqtt_port: 8883,
            desired_key: openclaw_protocol::id::Digest(desired_key),
        });
        device
    }

    /// Switches the power on.
    fn start(&mut self) -> Result<(), StoreError> {
        self.boots += u32::from(!self.survives);
        let epoch = Epoch(0x0123_4567_89ab_0000);
        let with = (limits::CACHE_BYTES, self.retention, epoch);
        let mut store = match self.faults.clone() {
            None => Store::open(self.disk.backend(), with.0, with.1, with.2)?,
            Some(faults) => {
                let (disk, volume) = (self.disk.clone(), self.volume.clone());
                let volume = volume.map(|volume| -> Arc<dyn Volume> { volume });
                Store::open_again(move || Ok(faults.backend(disk.backend())), with, volume)?
            }
        };
        let mut restored = store.start(&format!("boot-{}", self.boots))?;
        restored.unclean &= !self.survives;
        self.start_with(store, restored)
    }

    /// Begins with a store that is open.
    fn start_with(&mut self, store: Store, restored: Restored) -> Result<(), StoreError> {
        self.asked.calls.lock().unwrap().clear();
        self.ever_started = true;
        self.clock.0.lock().unwrap().boot = restored.boot;
        let link = self.identity.clone().map(|identity| {
            let (out, frames) = link::queue();
            self.frames = Some(frames);
            (identity, out)
        });
        let broker = self.has_broker.then(|| {
            let (broker, line) = broker_pair();
            self.line = Some(line);
            broker
        });
        self.brain = Some(Brain::new(Parts {
            store,
            restored,
            clock: Box::new(self.clock.clone()),
            hands: Box::new(self.asked.clone()),
            link,
            link_fault: self.link_fault.clone(),
            standalone: self.workflows.clone(),
            slots: 16,
            files: vec!["proc".into()],
            broker,
            webhook: self.webhook.take(),
            looker: None,
            secrets: self.secrets.clone(),
            agent: "pump-7".into(),
            seed: 7,
        })?);
        self.turn(Vec::new())
    }

    fn turn(&mut self, events: Vec<Event>) -> Result<(), StoreError> {
        self.brain.as_mut().unwrap().turn(events)
    }

    /// Asks as the local socket does. `None` where the brain has not answered.
    fn ask(&mut self, request: Request) -> Result<Option<Answer>, StoreError> {
        let (reply, mut answer) = oneshot::channel();
        self.turn(vec![Event::Local { request, reply }])?;
        Ok(answer.try_recv().ok())
    }

    /// The text of a recording, in as many parts as it takes.
    fn export(&mut self, run: &str) -> (String, usize) {
        let (mut whole, mut parts, mut known) = (String::new(), 0, None);
        loop {
            let (skip, facts) = (whole.len(), known);
            let request = Request::Export { run: run.to_owned(), skip, facts };
            let answer = self.ask(request).unwrap();
            let line = serde_json::to_string(&answer).unwrap();
            assert!(line.len() < limits::LOCAL_LINE_BYTES, "a line of {} bytes", line.len());
            let Some(Answer::Recording { part, bytes, facts, .. }) = answer else {
                panic!("{answer:?}")
            };
            known = Some(facts);
            whole.push_str(&part);
            parts += 1;
            if whole.len() >= bytes {
                return (whole, parts);
            }
        }
    }

    fn begin(&mut self, workflow: &str) -> Result<Option<String>, StoreError> {
        let inputs = serde_json::Map::new();
        match self.ask(Request::Start { workflow: workflow.into(), inputs })? {
            Some(Answer::Accepted { run }) => Ok(Some(run)),
            None => Ok(None),
            other => panic!("{other:?}"),
        }
    }

    fn status(&mut self) -> Status {
        match self.ask(Request::Status) {
            Ok(Some(Answer::Status(status))) => *status,
            other => panic!("{other:?}"),
        }
    }

    /// The calls that were made since this was last asked.
    fn calls(&self) -> Vec<PluginTask> {
        std::mem::take(&mut *self.asked.calls.lock().unwrap())
    }

    /// Answers one call as the plugin `count` does: one more than it was given.
    fn answer(&mut self, task: &PluginTask) -> Result<(), StoreError> {
        self.turn(vec![settled(task)])
    }

    /// Settled runs in the outbox.
    fn results(&self) -> Vec<RunResult> {
        let store = &self.brain.as_ref().unwrap().store;
        let records = store.load(Lane::Results, 1, u64::MAX, usize::MAX).unwrap();
        let unpack = |body: &[u8]| wire::unpack(Kind::RunResult, body, usize::MAX).unwrap();
        records.iter().map(|record| unpack(&record.body)).collect()
    }

    fn reports(&self) -> Vec<Report> {
        let store = &self.brain.as_ref().unwrap().store;
        let records = store.load(Lane::Control, 1, u64::MAX, usize::MAX).unwrap();
        let unpack = |body: &[u8]| wire::unpack::<ReportRecord>(Kind::Report, body, usize::MAX);
        records.iter().map(|record| unpack(&record.body).unwrap().report).collect()
    }
}

fn settled(task: &PluginTask) -> Event {
    let input: serde_json::Value = task.input.value();
    let n = input["n"].as_i64().unwrap_or(0) + 1;
    Event::Settled {
        attempt: task.attempt.clone(),
        outcome: AttemptOutcome::Succeeded {
            output: JsonText::of(&serde_json::json!({ "n": n })),
            vars: None,
        },
        denials: Vec::new(),
        tape: None,
        kept: None,
    }
}

fn pin(digest: openclaw_protocol::id::Digest) -> PluginPin {
    PluginPin {
        name: PluginName::parse("count").unwrap(),
        version: "1.0.0".into(),
        digest,
        size: 8,
        actions: vec![("execute".into(), "execute".into())],
        granted: Permissions::default(),
        limits: CallLimits::default(),
    }
}

/// A chain of plugin steps, each counting on from the one before.
fn chain_text(name: &str, steps: usize) -> String {
    let mut text = format!("workflow: {name}\nversion: 1\nmode: parallel\nmax: 1000\n");
    text.push_str("outputs:\n");
    text.push_str(&format!("  n: ${{ steps.s{steps}.output.n }}\nsteps:\n"));
    for i in 1..=steps {
        let before =
            if i == 1 { "0".into() } else { format!("'${{ steps.s{}.output.n }}'", i - 1) };
        text.push_str(&format!("  - {{ id: s{i}, plugin: count@^1, with: {{ n: {before} }} }}\n"));
    }
    text
}

fn deployed(text: &str) -> Deployed {
    let workflow = match definition::parse(text) {
        Ok(workflow) => workflow,
        Err(e) => panic!("{e}\n{text}"),
    };
    let digest = openclaw_protocol::id::Digest([7; 32]);
    let pins = [("count.execute@^1".to_owned(), Arc::new(pin(digest)))].into();
    Deployed { workflow: Arc::new(workflow), pins, triggers_enabled: true }
}

fn chain(name: &str, steps: usize) -> Deployed {
    deployed(&chain_text(name, steps))
}
