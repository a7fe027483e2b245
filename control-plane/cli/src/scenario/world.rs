//! The world around the virtual device: who answers its calls, and the site's local broker.

use openclaw_agent_core::{AttemptId, AttemptOutcome, Message};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunError;
use serde_json::Value as Json;

use super::format::Link;
use super::mocks::{Asked, Reply, Target};
use super::play::{CallLog, Flight, Item, Play};
use super::tape::Again;

impl Play<'_> {
    pub(super) fn call(&mut self, attempt: AttemptId, plugin: &str, action: &str, input: Json) {
        let mocked = self.mocked_runs.get(&attempt.run).cloned();
        let target = match &mocked {
            Some(name) => Target::Workflow(name),
            None => Target::Plugin(plugin, action),
        };
        let reply = match self.secrets.fill(&input) {
            Ok(filled) => self.mocks.answer(Asked { target, attempt: &attempt, input: &filled }),
            Err(error) => {
                let outcome = Some(AttemptOutcome::Failed { error });
                Ok(Reply { outcome, latency_ms: 0, ignores_stop: false, tape: None })
            }
        };
        let Reply { mut outcome, latency_ms, ignores_stop, tape } = match reply {
            Ok(reply) => reply,
            Err(unanswered) => {
                let message = self.secrets.clean_text(unanswered.message);
                return self.played.faults.push((message, unanswered.snippet));
            }
        };
        if let Some((kept, file)) = tape
            && let Some(module) = self.modules.get(&file)
        {
            match kept.play(module, &JsonText::of(&input)) {
                Again::Same => {}
                Again::Otherwise(other) => outcome = Some(other),
                Again::Differs(why) => {
                    let (step, number) = (&attempt.step, attempt.attempt);
                    let message = format!("replay.mismatch: step {step}, attempt {number}, {why}");
                    return self.fault(self.secrets.clean_text(message));
                }
            }
        }
        let outcome = outcome.map(|outcome| self.secrets.clean(outcome));
        if mocked.is_none() {
            let (plugin, action) = (plugin.to_owned(), action.to_owned());
            self.played.calls.push(CallLog { plugin, action, input });
        }
        let at_ms = self.device.elapsed_ms().saturating_add(latency_ms);
        let place = outcome.map(|outcome| self.put(at_ms, Item::Answer(attempt.clone(), outcome)));
        self.in_flight.insert(attempt, Flight { place, ignores_stop });
    }

    /// A call is told to stop: it does so at once, unless its mock says that it does not.
    pub(super) fn stop(&mut self, attempt: AttemptId) {
        let Some(flight) = self.in_flight.get(&attempt).filter(|flight| !flight.ignores_stop)
        else {
            return;
        };
        if let Some(place) = flight.place {
            self.agenda.remove(&place);
        }
        let error = RunError::new("cancelled", "the call was stopped");
        let answer = Item::Answer(attempt, AttemptOutcome::Failed { error });
        self.put(self.device.elapsed_ms(), answer);
    }

    /// Sends what is in the outbox, if the broker is there. Its subscribers get it, the device
    /// among them.
    pub(super) fn send(&mut self) {
        if self.broker == Link::Down || self.down {
            return;
        }
        let now_ms = self.device.elapsed_ms();
        for publication in std::mem::take(&mut self.outbox) {
            if let Some(attempt) = publication.confirm.clone() {
                let output = JsonText::null();
                let outcome = AttemptOutcome::Succeeded { output, vars: None };
                self.put(now_ms, Item::Answer(attempt, outcome));
            }
            if !self.sent.insert(publication.message_id.clone()) {
                continue;
            }
            let message = Message {
                topic: publication.topic.clone(),
                payload: JsonText::of(&payload(&publication.payload)),
                qos: publication.qos,
                retained: false,
            };
            self.put(now_ms, Item::Deliver(message));
            self.played.published.push(publication);
        }
    }

    pub(super) fn set_broker(&mut self, link: Link) {
        self.broker = link;
        self.send();
    }
}

/// A message's payload as people see it: JSON, or its text, or its bytes in base64.
#[must_use]
pub(crate) fn payload(bytes: &[u8]) -> Json {
    if let Ok(json) = serde_json::from_slice(bytes) {
        return json;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::from(text),
        Err(_) => Json::from(data_encoding::BASE64.encode(bytes)),
    }
}
