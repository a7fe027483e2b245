//! How a scenario begins, and what each stimulus does to the device.

use openclaw_agent_core::{Input, Message, StartRequest};
use openclaw_protocol::definition::TriggerKind;
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::StepPath;
use serde_json::{Map as Object, Value as Json, json};

use super::device::deploy;
use super::format::Link;
use super::log::RunLog;
use super::play::Play;
use super::stimulus::{Approval, Kind};

impl Play<'_> {
    /// Starts the agent, and the run by hand or by its trigger.
    pub(super) fn begin(&mut self) {
        match self.device.start(false) {
            Ok(outcome) => {
                self.absorb(outcome);
            }
            Err(error) => return self.fault(error.to_string()),
        }
        self.device.pass_until(self.zero_ms);
        let Some(trigger) = &self.scenario.trigger else { return self.start_by_hand() };
        let (id, data) = (trigger.id.clone(), trigger.data.clone());
        let tested = std::sync::Arc::clone(&self.tested);
        let Some(trigger) = tested.triggers.iter().find(|one| one.id.as_str() == id) else {
            return self.fault(format!("the definition has no trigger `{id}`"));
        };
        match &trigger.kind {
            TriggerKind::Manual => self.start_by_hand(),
            TriggerKind::Mqtt { topic, .. } => {
                let topic = data.get("topic").and_then(Json::as_str).unwrap_or(topic).to_owned();
                if topic.contains(['+', '#']) {
                    let message = format!("trigger `{id}` needs a topic: `data: {{topic: …}}`");
                    return self.fault(message);
                }
                self.feed(Input::Message(Message {
                    topic,
                    payload: text(data.get("payload")),
                    qos: data.get("qos").and_then(Json::as_u64).map_or(0, |qos| u8::from(qos > 0)),
                    retained: data.get("retained") == Some(&json!(true)),
                }));
            }
            TriggerKind::Webhook { path, methods, .. } => {
                let method = methods.first().map_or("POST", String::as_str);
                let part = |key: &str| data.get(key).cloned().unwrap_or_else(|| json!({}));
                let request = json!({
                    "path": path,
                    "method": data.get("method").cloned().unwrap_or_else(|| json!(method)),
                    "query": part("query"),
                    "headers": part("headers"),
                    "body": part("body"),
                });
                if let Some(Err(refusal)) = self.request(&request) {
                    self.played.refused = Some(refusal);
                }
            }
            TriggerKind::Event { name } => {
                let data = text(data.get("data"));
                self.feed(Input::Event { name: name.clone(), data });
            }
            TriggerKind::Workflow { workflow, .. } => {
                let inputs = data.get("inputs").cloned().unwrap_or_else(|| json!({}));
                let outcome = self.start(workflow.clone(), JsonText::of(&inputs));
                if let Some(Err(refusal)) = outcome {
                    self.fault(format!(
                        "workflow `{workflow}` was not started: {}",
                        refusal.message
                    ));
                }
            }
            TriggerKind::File { path, .. } => self.begin_with_file(&id, path, &data),
            // These fire by themselves, when their time comes.
            TriggerKind::Interval { .. } | TriggerKind::Cron { .. } | TriggerKind::Startup => {}
        }
    }

    /// A request comes to the device's own listener.
    fn request(&mut self, request: &Json) -> Option<Result<RunId, Refusal>> {
        let text = |key: &str| request.get(key).and_then(Json::as_str).unwrap_or_default();
        let (path, method) = (text("path"), text("method"));
        let hook = self.device.watched().find(|(_, trigger)| {
            matches!(&trigger.kind, TriggerKind::Webhook { path: wanted, methods, .. }
                if wanted == path && methods.iter().any(|one| one == method))
        });
        let Some((workflow, trigger)) = hook else {
            let message = format!("no trigger in force listens to {method} {path}");
            return Some(Err(Refusal { code: "webhook.unknown".to_owned(), message }));
        };
        let (workflow, trigger) = (workflow.clone(), trigger.id.clone());
        let data = JsonText::of(request);
        // The device answers 202 to what waits and to what the trigger is not for.
        let is_fine = |refusal: &Refusal| {
            matches!(refusal.code.as_str(), "trigger.later" | "trigger.other" | "duplicate")
        };
        let answer = self.feed(Input::Fire { workflow, trigger, data });
        answer.filter(|outcome| !outcome.as_ref().is_err_and(is_fine))
    }

    fn start_by_hand(&mut self) {
        let inputs = JsonText::of(&Json::Object(self.scenario.inputs.clone()));
        if let Some(Err(refusal)) = self.start(self.tested.name.clone(), inputs) {
            self.played.refused = Some(refusal);
        }
    }

    fn start(
        &mut self,
        workflow: WorkflowName,
        inputs: JsonText,
    ) -> Option<Result<RunId, Refusal>> {
        let request = StartRequest { workflow, inputs, priority: None, request: None, again: None };
        self.feed(Input::Start(request))
    }

    /// Whether the scenario is not over before this stimulus, although its runs are.
    pub(super) fn is_awaited(&self, n: usize) -> bool {
        let (stimulus, expect) = (&self.scenario.stimuli[n], &self.scenario.expect);
        stimulus.refused.is_some()
            || matches!(stimulus.kind, Kind::Start(_))
            || expect.runs.is_some()
            || expect.dropped.is_some()
    }

    /// Whether the stimulus happens to the device rather than to its agent.
    pub(super) fn waits_for_nobody(&self, n: usize) -> bool {
        match self.scenario.stimuli[n].kind {
            Kind::Crash(_)
            | Kind::PowerCut(_)
            | Kind::Clock(_)
            | Kind::Broker(_)
            | Kind::File(_) => true,
            Kind::Signal(_)
            | Kind::Mqtt(_)
            | Kind::Webhook(_)
            | Kind::Event(_)
            | Kind::Approval(_)
            | Kind::Cancel(_)
            | Kind::Start(_)
            | Kind::Update(_)
            | Kind::Link(_) => false,
        }
    }

    /// Whether nobody keeps the stimulus for an agent that is not there. Wishes are kept.
    pub(super) fn is_lost_while_down(&self, n: usize) -> bool {
        matches!(
            self.scenario.stimuli[n].kind,
            Kind::Mqtt(_) | Kind::Webhook(_) | Kind::Event(_) | Kind::Link(_)
        )
    }

    /// One stimulus happens.
    pub(super) fn stimulate(&mut self, n: usize) {
        let stimulus = self.scenario.stimuli[n].clone();
        let answer = match stimulus.kind {
            Kind::Signal(signal) => {
                self.with_run(signal.workflow.as_deref(), |run| Input::Signal {
                    run,
                    name: signal.name,
                    data: JsonText::of(&signal.data),
                    request: None,
                })
            }
            Kind::Approval(approval) => self.decide(approval),
            Kind::Cancel(cancel) => self.with_run(cancel.workflow.as_deref(), |run| {
                Input::Cancel { run, force: cancel.force, request: None }
            }),
            Kind::Start(start) => self.start_another(start.inputs),
            Kind::Mqtt(message) => self.feed(Input::Message(Message {
                topic: message.topic,
                payload: JsonText::of(&message.payload),
                qos: message.qos.min(1),
                retained: message.retained,
            })),
            Kind::Webhook(request) => self.request(&request.data()),
            Kind::File(file) => {
                self.write_file(file);
                None
            }
            Kind::Event(event) => {
                self.feed(Input::Event { name: event.name, data: JsonText::of(&event.data) })
            }
            Kind::Link(link) => {
                let name = if link == Link::Up { "link.up" } else { "link.down" };
                let data = JsonText::of(&json!({}));
                self.feed(Input::Event { name: name.to_owned(), data })
            }
            Kind::Broker(link) => {
                self.set_broker(link);
                None
            }
            Kind::Update(file) => self.update(&file),
            Kind::Clock(clock) => {
                self.device.set_clock(clock.right, clock.by.0, clock.trust);
                if self.down { None } else { self.feed(Input::Tick) }
            }
            Kind::Crash(_) | Kind::PowerCut(_) if self.down => {
                self.played.notes.push(format!("stimulus {}: the agent was down already", n + 1));
                None
            }
            Kind::Crash(crash) => {
                if crash.clean {
                    let outcome = self.device.stop();
                    self.absorb(outcome);
                }
                self.go_down(crash.down.0, None, !crash.clean);
                None
            }
            Kind::PowerCut(cut) => {
                self.go_down(cut.down.0, Some(cut), true);
                None
            }
        };
        self.judge(n, stimulus.refused.as_deref(), answer);
    }

    /// Another definition of the tested workflow comes into force.
    fn update(&mut self, file: &str) -> Option<Result<RunId, Refusal>> {
        if let Some(workflow) = self.updates.get(file).cloned() {
            let outcome = self.device.deploy(deploy(&workflow, self.by_trigger));
            self.absorb(outcome);
        }
        None
    }

    /// Somebody wants another run of the tested workflow.
    fn start_another(
        &mut self,
        inputs: Option<Object<String, Json>>,
    ) -> Option<Result<RunId, Refusal>> {
        let inputs = inputs.unwrap_or_else(|| self.scenario.inputs.clone());
        let inputs = JsonText::of(&Json::Object(inputs));
        let answer = self.start(self.tested.name.clone(), inputs);
        if let Some(Ok(run)) = &answer {
            self.asked.push(run.clone());
        } else {
            self.played.dropped.push("refused".to_owned());
        }
        answer
    }

    /// Whether a wish was answered as the scenario says.
    fn judge(&mut self, n: usize, refused: Option<&str>, answer: Option<Result<RunId, Refusal>>) {
        let n = n + 1;
        match (refused, answer) {
            (None, Some(Err(refusal))) => {
                let Refusal { code, message } = refusal;
                self.fault(format!("stimulus {n} was refused: {code}: {message}"));
            }
            (Some(expected), Some(Err(refusal))) if refusal.code != expected => {
                let Refusal { code, message } = refusal;
                self.fault(format!(
                    "stimulus {n}: expected to be refused with {expected}, is {code}: {message}"
                ));
            }
            (Some(expected), Some(Ok(_)) | None) => {
                self.fault(format!("stimulus {n}: expected to be refused with {expected}, is not"));
            }
            (None, _) | (Some(_), Some(Err(_))) => {}
        }
    }

    fn with_run(
        &mut self,
        workflow: Option<&str>,
        input: impl FnOnce(RunId) -> Input,
    ) -> Option<Result<RunId, Refusal>> {
        match self.run_of(workflow).map(|run| run.id.clone()) {
            Some(run) => self.feed(input(run)),
            None => Some(Err(no_run(workflow))),
        }
    }

    fn decide(&mut self, approval: Approval) -> Option<Result<RunId, Refusal>> {
        let Some(run) = self.run_of(approval.workflow.as_deref()) else {
            return Some(Err(no_run(approval.workflow.as_deref())));
        };
        // A step is named by its id where that says which instance is meant.
        let named = |path: &&String| super::last_id(path) == approval.step;
        let step = if run.waiting.contains_key(&approval.step) {
            approval.step.clone()
        } else {
            run.waiting.keys().find(named).unwrap_or(&approval.step).clone()
        };
        let input = Input::Decide {
            run: run.id.clone(),
            step: StepPath(step),
            choice: approval.choice,
            by: approval.by,
            form: JsonText::of(&Json::Object(approval.form)),
            request: None,
        };
        self.feed(input)
    }

    /// The tested run, or the latest of a workflow.
    fn run_of(&self, workflow: Option<&str>) -> Option<&RunLog> {
        match workflow {
            None => self.main(),
            Some(name) => {
                let mut runs = self.played.runs.iter().rev();
                runs.find(|run| run.workflow.name.as_str() == name)
            }
        }
    }
}

fn no_run(workflow: Option<&str>) -> Refusal {
    let of = workflow.map_or_else(|| "the tested workflow".to_owned(), |name| format!("`{name}`"));
    Refusal { code: "run.unknown".to_owned(), message: format!("there is no run of {of} yet") }
}

/// A value for the engine; an empty map where there is none.
fn text(json: Option<&Json>) -> JsonText {
    json.map_or_else(|| JsonText::of(&Json::Object(Object::new())), JsonText::of)
}
