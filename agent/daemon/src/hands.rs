//! The hands: a pool of worker threads that run plugin calls in the sandbox.
//!
//! The engine hands out no more calls than there are slots, so the queue here is short. Threads
//! are made when they are needed and go when they have been idle for a while; each has the native
//! stack that the interpreter wants. A panic of the interpreter costs its call and its thread, not
//! the agent.

mod pool;

use std::sync::Arc;
use std::time::Duration;

use openclaw_agent_core::{AttemptId, AttemptOutcome, PluginTask, Publication, StopReason};
use openclaw_points::{Point, reach};
use openclaw_protocol::id::Digest;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::VALUE_DEPTH;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::RunError;
use openclaw_protocol::wire::{self, Kind};
use openclaw_sandbox::{
    Call, Context, Fault, KvWrite, Level, Module, Outcome, Sandbox, Stop, Tape,
};

use crate::clock;
use crate::event::{Event, Events, Kept, Recorded};
use crate::host::{HostKit, NativeHost, place};
use crate::limits;
use crate::logs::Logs;
use crate::panics;
use crate::secrets::{InCall, Secrets};
use crate::store::{Blobs, KvRow};
use pool::{CANCELLED, Flag, Job, Lost, Place, Pool, TIMED_OUT, exclusive};

/// How long a thread waits for work before it goes.
const IDLE: Duration = Duration::from_secs(20);

/// What the brain needs done. Answers come back as events.
pub trait Hands: Send {
    /// Make this call; answer with [`Event::Settled`].
    fn call(&mut self, task: PluginTask);
    /// Stop this call; it answers all the same.
    fn stop(&mut self, attempt: &AttemptId, reason: StopReason);
    /// What a call kept ([`Event::Settled`]) is durable, or is not to be: the next call that may
    /// see it can begin.
    fn free(&mut self, _attempt: &AttemptId) {}
    /// See whether this device can run a module; answer with [`Event::Checked`].
    fn check(&mut self, digest: Digest);
}

/// What workers work with.
#[derive(Debug, Clone)]
pub struct Kit {
    /// Where answers go.
    pub events: Events,
    /// Where modules come from.
    pub blobs: Blobs,
    /// What plugins log.
    pub logs: Logs,
    /// The capabilities of this device.
    pub host: HostKit,
    /// The secrets of this device.
    pub secrets: Secrets,
    /// Settings by plugin name.
    pub plugin_config: Arc<VecMap<String, VecMap<String, String>>>,
}

/// The worker pool.
#[derive(Debug)]
pub struct Workers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    kit: Kit,
    sandbox: Sandbox,
    pool: Pool,
}

/// What came of a call.
struct Attempt {
    outcome: AttemptOutcome,
    denials: Vec<String>,
    tape: Option<Box<Tape>>,
    kept: Option<Box<Kept>>,
}

impl Attempt {
    fn failed(error: RunError) -> Self {
        let (denials, outcome) = (Vec::new(), AttemptOutcome::Failed { error });
        Self { outcome, denials, tape: None, kept: None }
    }
}

impl Workers {
    /// A pool of at most `slots` threads; none is made yet.
    #[must_use]
    pub fn new(kit: Kit, slots: u16) -> Self {
        let pool = Pool::new(usize::from(slots));
        Self(Arc::new(Shared { kit, sandbox: Sandbox::new(), pool }))
    }

    fn enqueue(&self, job: Job) {
        let shared = &self.0;
        if let Some(refused) = shared.pool.add(job, &|| Shared::spawn(shared)) {
            refuse(&shared.kit.events, refused);
        }
    }
}

impl Hands for Workers {
    fn call(&mut self, task: PluginTask) {
        self.enqueue(Job::Call(Box::new(task), Arc::default()));
    }

    fn stop(&mut self, attempt: &AttemptId, reason: StopReason) {
        if let Some(flag) = self.0.pool.lock().flags.get(attempt) {
            flag.set(match reason {
                StopReason::Cancelled => CANCELLED,
                StopReason::TimedOut => TIMED_OUT,
            });
        }
    }

    fn free(&mut self, attempt: &AttemptId) {
        self.0.pool.free(attempt, &|| Shared::spawn(&self.0));
    }

    fn check(&mut self, digest: Digest) {
        self.enqueue(Job::Check(digest));
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // What they hold of the store and the sandbox goes with them, so that a start that
        // follows finds both free.
        self.0.pool.close();
        self.0.pool.drain();
    }
}

impl Shared {
    fn spawn(shared: &Arc<Self>) -> std::io::Result<()> {
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name("worker".to_owned())
            .stack_size(limits::WORKER_STACK_BYTES)
            .spawn(move || Self::work(&shared))
            .map(|_| ())
    }

    fn work(shared: &Arc<Self>) {
        let spawn = || Self::spawn(shared);
        shared.pool.arrive();
        while let Some((job, place)) = shared.pool.next(IDLE, &spawn) {
            let (of_lost, lost) = (Arc::clone(shared), job.lost(&place));
            let work = || shared.work_on(job, &place);
            let done = panics::guarded(work, move || Self::replace(&of_lost, lost));
            let Some(event) = done else { return };
            let is_behind = place.is_long();
            drop(place);
            if shared.kit.events.send(event).is_err() {
                // Nobody listens any more: no thread has anything left to do.
                shared.pool.close();
            }
            if is_behind {
                return shared.pool.retire(&spawn);
            }
        }
    }

    fn work_on(&self, job: Job, place: &Place<'_>) -> Event {
        match job {
            Job::Call(task, flag) => {
                reach(Point::CallBegin);
                let Attempt { outcome, denials, tape, kept } = self.attempt(&task, &flag, place);
                reach(Point::CallEnded);
                let tape = tape.map(|tape| Recorded { tape, traced: task.traced });
                let attempt = task.attempt;
                self.pool.lock().flags.remove(&attempt);
                Event::Settled { attempt, outcome, denials, tape, kept }
            }
            // Only looked at: what no run asks for takes no memory.
            Job::Check(digest) => Event::Checked { digest, result: self.inspect(digest) },
        }
    }

    /// What is left to do on a thread whose interpreter panicked: its job is answered, and another
    /// thread comes for the jobs that wait.
    fn replace(shared: &Arc<Self>, lost: Lost) {
        shared.sandbox.forget(lost.module);
        shared.pool.lose(&lost, &|| Self::spawn(shared));
        let message = "the interpreter stopped on it";
        let event = match lost.attempt {
            Some(attempt) => {
                let error = failure(&attempt, "plugin.trap", message);
                let outcome = AttemptOutcome::Failed { error };
                let kept = Some(Box::default());
                Event::Settled { attempt, outcome, denials: Vec::new(), tape: None, kept }
            }
            None => Event::Checked { digest: lost.module, result: Err(message.to_owned()) },
        };
        // Nobody may listen any more.
        let _ = shared.kit.events.send(event);
    }

    fn attempt(&self, task: &PluginTask, flag: &Flag, place: &Place<'_>) -> Attempt {
        let secrets = match self.kit.secrets.for_call(&task.input, &task.pin.granted.secrets) {
            Ok(secrets) => secrets,
            Err(message) => {
                // A value may be on its way, so another attempt may go better.
                let error = RunError {
                    retryable: true,
                    ..failure(&task.attempt, "secret.missing", &message)
                };
                return Attempt::failed(error);
            }
        };
        let mut outcome = match self.run(task, flag, place, &secrets) {
            Ok(outcome) => outcome,
            Err(error) => return Attempt::failed(*error),
        };
        secrets.clean(&mut outcome);
        self.log(task, &outcome);
        let denials = std::mem::take(&mut outcome.denials);
        let tape = outcome.tape.take();
        let kept = kept(task, std::mem::take(&mut outcome.kept));
        Attempt { outcome: settle(task, outcome, &secrets), denials, tape, kept }
    }

    fn run(
        &self,
        task: &PluginTask,
        flag: &Flag,
        place: &Place<'_>,
        secrets: &InCall,
    ) -> Result<Outcome, Box<RunError>> {
        let module = self
            .module(task.pin.digest)
            .map_err(|message| Box::new(failure(&task.attempt, "plugin.load", &message)))?;
        let deadline_ms = clock::boot_ms().saturating_add(task.timeout_ms);
        let watch = || {
            let now_ms = clock::boot_ms();
            if place.share(now_ms) {
                step_back();
            }
            flag.stop().or_else(|| (now_ms >= deadline_ms).then_some(Stop::Timeout))
        };
        let none = VecMap::new();
        let vars = task.vars.as_deref().map(unpack_vars).transpose();
        let call = Call {
            export: &task.export,
            input: secrets.input(&task.input),
            config: self.kit.plugin_config.get(task.pin.name.as_str()).unwrap_or(&none),
            vars: vars
                .map_err(|e| Box::new(failure(&task.attempt, "plugin.vars", &e)))?
                .unwrap_or_default(),
            limits: task.pin.limits,
            permissions: &task.pin.granted,
            context: Context {
                run: task.attempt.run.to_string(),
                step: task.attempt.step.to_string(),
                attempt: task.attempt.attempt,
                idempotency_key: task.idempotency_key.clone(),
                interrupted: task.interrupted,
                deadline_ms: Some(deadline_wall_ms(task.timeout_ms)),
            },
            record: Some(secrets.mask()),
        };
        let leave = || place.leave();
        let mut host = NativeHost::new(&self.kit.host, deadline_ms, &watch, &leave)
            .remembering(&self.kit.blobs, task)
            .with_secrets(secrets.granted());
        Ok(self.sandbox.run(&module, call, &mut host, &watch))
    }

    fn inspect(&self, digest: Digest) -> Result<(), String> {
        let bytes = self.bytes(digest)?;
        Sandbox::inspect(&bytes).map(|_| ()).map_err(|e| e.to_string())
    }

    fn bytes(&self, digest: Digest) -> Result<Vec<u8>, String> {
        let bytes = self.kit.blobs.read(digest).map_err(|e| e.to_string())?;
        bytes.ok_or_else(|| format!("module {digest} is not on this device"))
    }

    fn module(&self, digest: Digest) -> Result<Arc<Module>, String> {
        if let Some(module) = self.sandbox.cached(digest) {
            return Ok(module);
        }
        let bytes = self.bytes(digest)?;
        self.sandbox.load(digest, &bytes).map_err(|e| e.to_string())
    }

    fn log(&self, task: &PluginTask, outcome: &Outcome) {
        let wall_ms = clock::wall_ms();
        let (run, step) = (task.attempt.run.as_str(), task.attempt.step.0.as_str());
        for line in &outcome.logs {
            self.kit.logs.push(wall_ms, level_name(line.level), run, step, &line.message);
        }
        if outcome.logs_dropped > 0 {
            let message = format!("{} more lines were dropped", outcome.logs_dropped);
            self.kit.logs.push(wall_ms, "warn", run, step, &message);
        }
    }
}

/// This thread computes on where no other wants to, so that a short call does not take turns with one
/// that has computed for long.
fn step_back() {
    // Linux takes "this process" for the thread that asks. Where it is not allowed, turns are taken.
    let _ = rustix::process::setpriority_process(None, limits::LONG_NICE);
}

fn refuse(events: &Events, job: Job) {
    let event = match job {
        Job::Call(task, _) => {
            let mut error =
                failure(&task.attempt, "worker.busy", "too many calls wait on this device");
            error.retryable = true;
            let attempt = task.attempt;
            Event::Settled {
                attempt,
                outcome: AttemptOutcome::Failed { error },
                denials: Vec::new(),
                tape: None,
                kept: None,
            }
        }
        Job::Check(digest) => {
            Event::Checked { digest, result: Err("too many calls wait on this device".into()) }
        }
    };
    let events = events.clone();
    // The brain itself is asking: it must not wait for its own queue.
    std::thread::spawn(move || events.send(event));
}

/// What is to be kept of a call, with the names of whose it is. There is one where the next call
/// has to wait for it, even if it is empty.
fn kept(task: &PluginTask, kept: openclaw_sandbox::Kept) -> Option<Box<Kept>> {
    if kept.is_empty() && exclusive(task).is_none() {
        return None;
    }
    let row = |write: KvWrite| KvRow {
        place: place(task, write.scope),
        key: write.key,
        value: write.value,
    };
    let publications = (1..).zip(kept.published).map(|(number, message)| Publication {
        message_id: format!("{}.{number}", task.idempotency_key),
        topic: message.topic,
        qos: message.qos,
        retain: message.retain,
        payload: message.payload,
        confirm: None,
    });
    let (kv, publications) = (kept.kv.into_iter().map(row).collect(), publications.collect());
    Some(Box::new(Kept { kv, publications }))
}

fn settle(task: &PluginTask, outcome: Outcome, secrets: &InCall) -> AttemptOutcome {
    let output = match outcome.result {
        Ok(bytes) => bytes,
        Err(Fault { code, message, retryable }) => {
            let mut error = failure(&task.attempt, &code, &message);
            error.retryable = retryable;
            return AttemptOutcome::Failed { error };
        }
    };
    match output_json(output) {
        Ok(output) => {
            let empty = outcome.vars.is_empty() && task.vars.is_none();
            let vars = (!empty).then(|| wire::pack(Kind::Row, &outcome.vars));
            let vars = vars.filter(|vars| task.vars.as_ref() != Some(vars));
            AttemptOutcome::Succeeded { output: secrets.clean_output(output), vars }
        }
        Err(message) => {
            AttemptOutcome::Failed { error: failure(&task.attempt, "plugin.output", &message) }
        }
    }
}

/// An output is JSON; nothing at all is `null`, and other text is a text.
fn output_json(bytes: Vec<u8>) -> Result<JsonText, String> {
    if bytes.is_empty() {
        return Ok(JsonText::null());
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| "the output is neither JSON nor text in UTF-8".to_owned())?;
    match JsonText::checked(text) {
        Ok(json) if json.depth() > VALUE_DEPTH => Err(format!(
            "the output is JSON of {} levels, the limit is {VALUE_DEPTH}; send less of it",
            json.depth()
        )),
        Ok(json) => Ok(json),
        Err(text) => Ok(JsonText::of(&serde_json::Value::String(text))),
    }
}

fn unpack_vars(bytes: &[u8]) -> Result<VecMap<String, Vec<u8>>, String> {
    wire::unpack(Kind::Row, bytes, 2 * openclaw_sandbox::limits::VARS_BYTES)
        .map_err(|e| format!("the run's variables cannot be read: {e}"))
}

fn failure(attempt: &AttemptId, code: &str, message: &str) -> RunError {
    RunError {
        step: Some(attempt.step.clone()),
        attempt: attempt.attempt,
        ..RunError::new(code, message)
    }
}

fn deadline_wall_ms(timeout_ms: u64) -> i64 {
    clock::wall_ms().saturating_add(i64::try_from(timeout_ms).unwrap_or(i64::MAX))
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::{Retention, Store};
    use crate::testing::Disk;
    use crate::tls::TlsTime;

    #[test]
    fn an_output_is_json_or_text() {
        assert_eq!(output_json(Vec::new()).unwrap(), JsonText::null());
        assert_eq!(output_json(b"{\"a\":1}".to_vec()).unwrap().as_str(), "{\"a\":1}");
        assert_eq!(output_json(b"hello".to_vec()).unwrap().as_str(), "\"hello\"");
        assert!(output_json(vec![0xff]).is_err());
        let nested = |levels: usize| ["[".repeat(levels), "]".repeat(levels)].concat().into_bytes();
        let kept = output_json(nested(VALUE_DEPTH)).unwrap();
        assert_ne!(kept.value(), serde_json::Value::Null);
        for levels in [VALUE_DEPTH + 1, 200, 100_000] {
            let said = output_json(nested(levels)).unwrap_err();
            assert!(said.contains(&format!("{levels} levels")), "{said}");
        }
        let flat = br#"{"a":"[[[[\\\"[[[[","b":[{}]}"#;
        assert_eq!(output_json(flat.to_vec()).unwrap().depth(), 3);
    }

    #[tokio::test]
    async fn a_thread_that_goes_is_not_counted_on() {
        let (events, receiver) = crate::event::queue();
        let store = Store::open(
            Disk::new(1).backend(),
            limits::CACHE_BYTES,
            Retention::default(),
            openclaw_protocol::id::Epoch(1),
        );
        let config = Config::default();
        let kit = Kit {
            events,
            blobs: store.unwrap().blobs(),
            logs: Logs::default(),
            host: HostKit::new(&config, TlsTime::default(), tokio::runtime::Handle::current()),
            secrets: Secrets::default(),
            plugin_config: Arc::default(),
        };
        let mut workers = Workers::new(kit, 1);
        // The only thread there may be has been idle for long enough.
        workers.0.pool.lock().threads = 1;
        assert!(workers.0.pool.next(Duration::ZERO, &|| Ok(())).is_none());
        assert_eq!(workers.0.pool.lock().threads, 0, "it is gone for whoever locks next");
        let digest = Digest([7; 32]);
        workers.check(digest);
        match receiver.recv_timeout(Duration::from_secs(20)) {
            Ok(Event::Checked { digest: checked, result: Err(_) }) => assert_eq!(checked, digest),
            other => panic!("the job was left without a thread: {other:?}"),
        }
    }

    #[test]
    fn variables_survive_packing() {
        let vars = VecMap::from([("a".to_owned(), vec![1, 2])]);
        assert_eq!(unpack_vars(&wire::pack(Kind::Row, &vars)).unwrap(), vars);
        assert!(unpack_vars(b"nonsense").is_err());
    }
}
