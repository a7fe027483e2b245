//! What is said on the device: messages of the local broker, events, ends of runs; and who hears it.

use openclaw_protocol::definition::{StepKind, Trigger, TriggerKind};
use openclaw_protocol::expr::Value;
use openclaw_protocol::id::{RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::{RunError, RunStatus, StepPath};
use openclaw_protocol::time::Stamp;
use openclaw_protocol::topic;
use serde_json::{Value as Json, json};

use crate::effect::{Decision, Told};
use crate::engine::Engine;
use crate::fact::Fact;
use crate::gate::Fired;
use crate::input::Message;
use crate::limits::{EVENTS_PER_DECISION, MESSAGE_DATA_BYTES, SIGNALS};
use crate::step::Source;

/// Something for the device's own bus.
#[derive(Debug)]
pub(crate) enum Said {
    /// An event.
    Event {
        /// The workflow that emitted it; `None`: the device itself.
        from: Option<WorkflowName>,
        name: String,
        data: JsonText,
    },
    /// A run has ended.
    Ended {
        run: RunId,
        workflow: WorkflowName,
        status: RunStatus,
        outputs: JsonText,
        error: Option<RunError>,
    },
}

impl Engine {
    /// The topic filters that the shell is to subscribe to on the local broker, each with the
    /// highest quality of service that somebody asks for.
    #[must_use]
    pub fn subscriptions(&self) -> VecSet<(String, u8)> {
        let triggers = self.deployed.values().filter(|one| one.triggers_enabled).flat_map(|one| {
            one.plan.workflow.triggers.iter().filter(|trigger| trigger.enabled).filter_map(
                |trigger| {
                    let TriggerKind::Mqtt { topic, qos, .. } = &trigger.kind else { return None };
                    Some((topic.clone(), *qos))
                },
            )
        });
        let waits = self.listeners.iter().filter_map(|number| self.runs.get(number));
        let waits = waits.flat_map(|held| {
            held.run.listening.iter().filter_map(|at| match held.run.source(at)? {
                Source::Mqtt(filter, qos) => Some((filter.to_string(), *qos)),
                Source::Event(_) | Source::Signal(_) => None,
            })
        });
        let mut wanted = VecMap::new();
        for (filter, qos) in triggers.chain(waits) {
            let known = wanted.entry(filter).or_insert(qos);
            *known = qos.max(*known);
        }
        wanted.into_iter().collect()
    }

    /// The triggers in force that the shell is to watch for: webhooks.
    pub fn watched(&self) -> impl Iterator<Item = (&WorkflowName, &Trigger)> {
        let deployed = self.deployed.iter().filter(|(_, one)| one.triggers_enabled);
        deployed.flat_map(|(name, one)| {
            let watched = one.plan.workflow.triggers.iter().filter(|trigger| {
                trigger.enabled && matches!(trigger.kind, TriggerKind::Webhook { .. })
            });
            watched.map(move |trigger| (name, trigger))
        })
    }

    /// The local broker has delivered a message.
    pub(crate) fn delivered(&mut self, message: &Message, now: Stamp, decision: &mut Decision) {
        let parts: Vec<&str> = message.topic.split('/').collect();
        let data = json!({
            "topic": message.topic,
            "topic_parts": parts,
            "payload": message.payload.value(),
            "qos": message.qos,
            "retained": message.retained,
        });
        let is_for = |source: &Source| match source {
            Source::Mqtt(filter, _) => topic::matches(filter, &message.topic),
            Source::Event(_) | Source::Signal(_) => false,
        };
        self.hear(&data, is_for, now, decision);
        let fires = |kind: &TriggerKind| {
            matches!(kind, TriggerKind::Mqtt { topic, retained, .. }
                if (*retained || !message.retained) && topic::matches(topic, &message.topic))
        };
        self.set_off(&data, fires, now, decision);
    }

    /// Lets everybody hear what was said on the device's own bus. What that says in turn is heard
    /// as well, up to a bound.
    pub(crate) fn deliver(&mut self, now: Stamp, decision: &mut Decision) {
        for _ in 0..EVENTS_PER_DECISION {
            let Some(said) = self.bus.pop_front() else { return };
            match said {
                Said::Event { name, data, .. } => {
                    let data = json!({ "event": name, "data": data.value() });
                    let is_for = |source: &Source| match source {
                        Source::Event(wanted) => **wanted == *name,
                        Source::Mqtt(..) | Source::Signal(_) => false,
                    };
                    self.hear(&data, is_for, now, decision);
                    let fires = |kind: &TriggerKind| matches!(kind, TriggerKind::Event { name: wanted } if *wanted == name);
                    self.set_off(&data, fires, now, decision);
                }
                Said::Ended { run, workflow, status, outputs, error } => {
                    let data = json!({
                        "run": run,
                        "workflow": workflow,
                        "status": status,
                        "outputs": outputs.value(),
                        "error": error,
                    });
                    let fires = |kind: &TriggerKind| {
                        matches!(kind, TriggerKind::Workflow { workflow: wanted, status: ends }
                            if *wanted == workflow && (ends.is_empty() || ends.contains(&status)))
                    };
                    self.set_off(&data, fires, now, decision);
                }
            }
            self.begin_runs(now, decision);
        }
        for said in std::mem::take(&mut self.bus) {
            if let Said::Event { from: Some(workflow), .. } = said {
                decision.told.push(Told::Dropped { workflow, reason: "events" });
            }
        }
    }

    /// Offers a message to every wait that it may be for.
    fn hear(
        &mut self,
        data: &Json,
        is_for: impl Fn(&Source) -> bool,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let text = JsonText::of(data);
        if text.len() > MESSAGE_DATA_BYTES {
            return;
        }
        let value = Value::from_json(data);
        for number in self.listeners.clone() {
            let Some(held) = self.runs.get(&number) else { continue };
            let run = &held.run;
            let taken: Vec<StepPath> = run
                .listening
                .iter()
                .filter(|at| run.source(at).is_some_and(&is_for))
                .filter(|at| {
                    matches!(&run.plan.step(at.ix).kind, StepKind::Wait(wait)
                        if run.would_take(at, wait, &value, now))
                })
                .map(|at| run.path(at))
                .collect();
            for step in taken {
                let fact = Fact::Message { step, message: text.clone() };
                self.commit(number, fact, now, decision);
            }
        }
    }

    /// Fires the triggers that a message sets off.
    fn set_off(
        &mut self,
        data: &Json,
        fires: impl Fn(&TriggerKind) -> bool,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let mut fired: Vec<(WorkflowName, TriggerId, &'static str)> = Vec::new();
        for (name, deployment) in &self.deployed {
            let triggers = deployment.plan.workflow.triggers.iter();
            let set_off = triggers
                .filter(|trigger| deployment.triggers_enabled && trigger.enabled)
                .filter(|trigger| fires(&trigger.kind));
            fired.extend(set_off.map(|one| (name.clone(), one.id.clone(), one.kind.key())));
        }
        for (workflow, trigger, kind) in fired {
            let mut data = data.clone();
            if let Some(map) = data.as_object_mut() {
                map.insert("id".to_owned(), json!(trigger.as_str()));
                map.insert("kind".to_owned(), json!(kind));
            }
            self.fire_gated(&workflow, &trigger, &Value::from_json(&data), now, decision);
        }
    }

    /// A trigger that the shell watches for has fired.
    pub(crate) fn fire_watched(
        &mut self,
        workflow: &WorkflowName,
        trigger: &TriggerId,
        data: &JsonText,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let refusal = |code: &str, message: String| Err(Refusal { code: code.to_owned(), message });
        let deployment = self.deployed.get(workflow).filter(|one| one.triggers_enabled);
        let mut triggers = deployment.into_iter().flat_map(|one| &one.plan.workflow.triggers);
        let kind = triggers.find(|one| one.id == *trigger && one.enabled).map(|one| &one.kind);
        let watched = kind.filter(|kind| matches!(kind, TriggerKind::Webhook { .. }));
        let outcome = if let Some(kind) = watched {
            let mut data = data.value();
            if let Some(map) = data.as_object_mut() {
                map.insert("id".to_owned(), json!(trigger.as_str()));
                map.insert("kind".to_owned(), json!(kind.key()));
            }
            match self.fire_gated(workflow, trigger, &Value::from_json(&data), now, decision) {
                Fired::Run(run) => Ok(run),
                Fired::Later => refusal("trigger.later", format!("`{trigger}` waits")),
                Fired::Other => refusal("trigger.other", format!("`{trigger}` is not for this")),
                Fired::Dropped(refused) => refusal(refused.code, refused.message),
            }
        } else {
            refusal("trigger.unknown", format!("`{workflow}` has no trigger `{trigger}` in force"))
        };
        self.answer(None, outcome, decision);
    }

    /// Somebody says something to a run.
    pub(crate) fn signal(
        &mut self,
        id: &RunId,
        name: String,
        data: JsonText,
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<RunId, Refusal> {
        let number = self.open_run(id)?;
        let refuse = |code: &str, message: String| Err(Refusal { code: code.to_owned(), message });
        if data.len() > MESSAGE_DATA_BYTES {
            let message =
                format!("the data has {} bytes; at most {MESSAGE_DATA_BYTES}", data.len());
            return refuse("limit.payload", message);
        }
        if self.runs[&number].run.signals.len() >= SIGNALS {
            let message = format!("run {id} has {SIGNALS} signals that nothing has taken");
            return refuse("signal.full", message);
        }
        self.commit(number, Fact::Signalled { name, data }, now, decision);
        Ok(id.clone())
    }

    /// Somebody answers an approval.
    pub(crate) fn decide(
        &mut self,
        id: &RunId,
        answer: (StepPath, String, String, JsonText),
        now: Stamp,
        decision: &mut Decision,
    ) -> Result<RunId, Refusal> {
        let number = self.open_run(id)?;
        let (step, choice, by, form) = answer;
        let refuse = |code: &str, message: String| Err(Refusal { code: code.to_owned(), message });
        let run = &self.runs[&number].run;
        let asking = run.find(&step).filter(|at| run.is_asking(at));
        let kind = asking.map(|at| &run.plan.step(at.ix).kind);
        let Some(StepKind::Approval(approval)) = kind else {
            let message = format!("step `{step}` of run {id} waits for no answer (any more)");
            return refuse("approval.unknown", message);
        };
        if !approval.choices.contains(&choice) {
            let choices = approval.choices.join(", ");
            let message = format!("`{choice}` is not one of the choices: {choices}");
            return refuse("approval.choice", message);
        }
        let form = openclaw_protocol::definition::check_against(&approval.form, &form);
        let form = match form {
            Ok(form) if form.len() <= MESSAGE_DATA_BYTES => form,
            Ok(_) => return refuse("limit.payload", "the form is too large".to_owned()),
            Err(problems) => {
                let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
                return refuse("approval.form", crate::fault::cut(texts.join("; ")));
            }
        };
        self.commit(number, Fact::Decided { step, choice, by, form }, now, decision);
        Ok(id.clone())
    }

    fn open_run(&self, id: &RunId) -> Result<u64, Refusal> {
        self.number_of(id).ok_or_else(|| Refusal {
            code: "run.unknown".to_owned(),
            message: format!("run {id} is not under way on this device; it may have settled"),
        })
    }

    /// Answers a wish to a run that is under way, once.
    pub(crate) fn answered(
        &mut self,
        request: Option<RequestId>,
        decision: &mut Decision,
        act: impl FnOnce(&mut Self, &mut Decision) -> Result<RunId, Refusal>,
    ) {
        if self.answer_again(request.as_ref(), decision) {
            return;
        }
        let outcome = self.has_storage_for_words().and_then(|()| act(self, decision));
        self.answer(request, outcome, decision);
    }
}
