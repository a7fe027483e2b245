//! Answers to local requests.

use openclaw_agent_core::{Input, StartRequest, Told};
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits::EVENT_NAME_BYTES;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::StepPath;
use openclaw_protocol::sync::Lane;
use serde_json::{Map, Value};

use super::Brain;
use super::fleet::Fleet;
use super::views;
use crate::event::Reply;
use crate::limits;
use crate::local::{Answer, Request, RunRow, Status};

/// People who wait for the end of runs.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    run: RunId,
    until_ms: u64,
    settled: bool,
    reply: Reply,
}

impl Waiters {
    fn add(&mut self, run: RunId, until_ms: u64, reply: Reply) {
        self.waiting.retain(|w| !w.reply.is_closed());
        if self.waiting.len() >= limits::WAITERS {
            let _ = reply.send(Answer::error("local.busy", "too many are waiting; ask again"));
            return;
        }
        self.waiting.push(Waiter { run, until_ms, settled: false, reply });
    }

    pub(super) fn settled(&mut self, run: &RunId) {
        for waiter in self.waiting.iter_mut().filter(|w| w.run == *run) {
            waiter.settled = true;
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.waiting.iter().map(|w| w.until_ms).min()
    }

    /// Those who have waited long enough are told this, and nothing of their runs.
    pub(super) fn refuse_late(&mut self, now_ms: u64, answer: &Answer) {
        for waiter in self.waiting.extract_if(.., |w| w.until_ms <= now_ms) {
            let _ = waiter.reply.send(answer.clone());
        }
    }
}

impl Brain {
    /// Wishes are decided at once and answered when they are durable; questions are answered
    /// after the commit of this turn, so that nobody is shown what a power cut could take back.
    pub(super) fn take_local(&mut self, request: Request, reply: Reply) {
        let answer = match request {
            Request::Start { workflow, inputs } => self.start_run(&workflow, inputs),
            Request::Cancel { run, force } => self.cancel_run(&run, force),
            Request::Signal { run, name, data } => self.signal_run(&run, name, &data),
            Request::Approve { run, step, choice, form, by } => {
                let by = by.unwrap_or_else(|| "unknown".to_owned());
                self.decide(&run, StepPath(step), (choice, by), form)
            }
            Request::Retry { run, whole } => self.retry_run(&run, whole),
            Request::Record { workflow, next } => self.record_locally(&workflow, next),
            question @ (Request::Status
            | Request::Export { .. }
            | Request::Runs { .. }
            | Request::Show { .. }
            | Request::Wait { .. }
            | Request::Results { .. }
            | Request::Logs { .. }) => return self.pending.questions.push((question, reply)),
        };
        self.pending.replies.push((reply, answer));
    }

    pub(super) fn answer_question(&mut self, question: Request, reply: Reply) {
        let answer = match question {
            Request::Status => Answer::Status(Box::new(self.status())),
            Request::Runs { limit } => Answer::Runs(self.rows(limit.min(limits::LOCAL_RUNS))),
            Request::Show { run } => self.show(&run),
            Request::Wait { run } => match RunId::parse(&run) {
                Ok(id) if self.views.is_open(&id) => {
                    let wait_ms = u64::try_from(limits::LOCAL_WAIT.as_millis()).unwrap_or(60_000);
                    let until_ms = self.now.boot_ms.saturating_add(wait_ms);
                    return self.waiters.add(id, until_ms, reply);
                }
                Ok(_) | Err(_) => self.show(&run),
            },
            Request::Results { limit } => {
                match self.store.settled(limit.min(limits::LOCAL_RESULTS)) {
                    Ok(rows) => Answer::Results(rows),
                    Err(e) => Answer::error("store.failed", e.to_string()),
                }
            }
            Request::Export { run, skip, facts } => self.export(&run, skip, facts),
            Request::Start { .. }
            | Request::Retry { .. }
            | Request::Record { .. }
            | Request::Cancel { .. }
            | Request::Signal { .. }
            | Request::Approve { .. }
            | Request::Logs { .. } => Answer::error("local.request", "this is not answered here"),
        };
        // The asker may have hung up.
        let _ = reply.send(answer);
    }

    /// After a commit: those whose run has settled, and those who have waited long enough.
    pub(super) fn answer_waiters(&mut self) {
        let now_ms = self.now.boot_ms;
        let due = |w: &mut Waiter| w.settled || w.until_ms <= now_ms;
        let due: Vec<Waiter> = self.waiters.waiting.extract_if(.., due).collect();
        for waiter in due {
            let answer = self.show(waiter.run.as_str());
            let _ = waiter.reply.send(answer);
        }
    }

    fn start_run(&mut self, workflow: &str, inputs: Map<String, Value>) -> Answer {
        let workflow = match WorkflowName::parse(workflow) {
            Ok(workflow) => workflow,
            Err(e) => return Answer::error("workflow.unknown", e.to_string()),
        };
        let request = StartRequest {
            workflow,
            inputs: JsonText::of(&Value::Object(inputs)),
            priority: None,
            request: None,
            again: None,
        };
        let told = self.step(Input::Start(request));
        answer_of(told)
    }

    fn cancel_run(&mut self, run: &str, force: bool) -> Answer {
        match RunId::parse(run) {
            Ok(run) => answer_of(self.step(Input::Cancel { run, force, request: None })),
            Err(e) => Answer::error("run.unknown", e.to_string()),
        }
    }

    fn signal_run(&mut self, run: &str, name: String, data: &Value) -> Answer {
        let run = match RunId::parse(run) {
            Ok(run) => run,
            Err(e) => return Answer::error("run.unknown", e.to_string()),
        };
        if name.is_empty() || name.len() > EVENT_NAME_BYTES {
            let message = format!("a signal's name has 1 to {EVENT_NAME_BYTES} bytes");
            return Answer::error("signal.name", message);
        }
        let data = JsonText::of(data);
        answer_of(self.step(Input::Signal { run, name, data, request: None }))
    }

    fn decide(
        &mut self,
        run: &str,
        step: StepPath,
        (choice, by): (String, String),
        form: Map<String, Value>,
    ) -> Answer {
        let run = match RunId::parse(run) {
            Ok(run) => run,
            Err(e) => return Answer::error("run.unknown", e.to_string()),
        };
        let form = JsonText::of(&Value::Object(form));
        answer_of(self.step(Input::Decide { run, step, choice, by, form, request: None }))
    }

    fn record_locally(&mut self, workflow: &str, next: u32) -> Answer {
        let wanted = WorkflowName::parse(workflow)
            .map_err(|e| Refusal { code: "workflow.unknown".to_owned(), message: e.to_string() });
        match wanted.and_then(|workflow| self.record_next(workflow, next)) {
            Ok(()) => Answer::End,
            Err(refusal) => Answer::Error(refusal),
        }
    }

    fn show(&mut self, run: &str) -> Answer {
        let unknown = || Answer::error("run.unknown", format!("there is no run `{run}` here"));
        let Ok(id) = RunId::parse(run) else { return unknown() };
        if let Some(view) = self.views.open(&id) {
            return Answer::Run(Box::new(view.clone()));
        }
        let stored = id.number().and_then(|number| self.store.recent_run(number).ok().flatten());
        match stored.and_then(|stored| views::read(&stored)) {
            Some(view) if view.id == id => Answer::Run(Box::new(view)),
            Some(_) | None => unknown(),
        }
    }

    fn rows(&mut self, limit: usize) -> Vec<RunRow> {
        let open: Vec<RunRow> = self.views.newest().take(limit).map(RunRow::of).collect();
        let mut rows: Vec<RunRow> = open.into_iter().map(|row| self.note_pause(row)).collect();
        let settled = self.store.recent(limit - rows.len()).unwrap_or_default();
        let settled = settled.iter().filter_map(|stored| views::read(stored));
        rows.extend(settled.map(|run| RunRow::of(&run)));
        rows
    }

    fn status(&self) -> Status {
        let queue = self.engine.queue();
        let identity = self.fleet.as_ref().map(Fleet::identity);
        let outstanding = [Lane::Control, Lane::Results, Lane::History]
            .map(|lane| (lane.name().to_owned(), self.store.outstanding(lane)));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            device: identity.map(|i| i.device.to_string()),
            tenant: identity.map(|i| i.tenant.to_string()),
            link: match &self.link_fault {
                Some(reason) => format!("unusable: {reason}"),
                None => self.fleet.as_ref().map_or("none", Fleet::link_state).to_owned(),
            },
            linked: self.fleet.as_ref().is_some_and(Fleet::is_up),
            epoch: self.store.epoch().to_string(),
            boot: self.now.boot,
            unclean: self.unclean,
            clock: format!("{:?}", self.now.trust).to_lowercase(),
            workflows: self.in_force.len(),
            in_force: self.in_force.clone(),
            refused: self.fleet.as_ref().map(Fleet::refused).unwrap_or_default(),
            desired_revision: self.fleet.as_ref().map_or(0, Fleet::revision),
            unsettled: self.engine.unsettled(),
            damaged: self.ended_damaged,
            waiting: queue.waiting,
            running: queue.running,
            delayed: queue.delayed,
            slots: self.slots,
            backlog: outstanding.iter().map(|(_, count)| count).sum(),
            outstanding: VecMap::from(outstanding),
            local_broker: self.site.status(),
            storage: self.storage_status(),
            commits: self.store.commits(),
            syncs: self.store.syncs(),
            written_bytes: self.store.written_bytes(),
            journal_bytes: self.store.journal_bytes(),
            snapshot_bytes: self.store.snapshot_bytes(),
        }
    }
}

pub(super) fn answer_of(told: Vec<Told>) -> Answer {
    let outcome = told.into_iter().find_map(|told| match told {
        Told::Answer { outcome, .. } => Some(outcome),
        Told::Event(..) | Told::Result(_) | Told::Dropped { .. } => None,
    });
    match outcome {
        Some(Ok(run)) => Answer::Accepted { run: run.to_string() },
        Some(Err(Refusal { code, message })) => Answer::error(&code, message),
        None => Answer::error("agent.internal", "the engine did not answer"),
    }
}
