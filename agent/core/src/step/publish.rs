//! `publish`: a message to the site's local broker, by way of the device's own store.

use openclaw_protocol::definition::Publish;
use openclaw_protocol::expr::Value;
use openclaw_protocol::limits;
use openclaw_protocol::run::{RunError, StepPath};
use openclaw_protocol::topic;

use super::{Begun, Work};
use crate::effect::Publication;
use crate::run::{StepRef, Turn, outer};
use crate::scope::Stage;
use crate::{fault, key, names};

impl Turn<'_> {
    pub(super) fn publish(&mut self, at: &StepRef, path: &StepPath, publish: &Publish) -> Begun {
        let publication = match self.publication(at, path, publish) {
            Ok(publication) => publication,
            Err(error) => return Begun::Done(Err(error)),
        };
        let result = message_id(&publication.message_id);
        self.out.publications.push(publication);
        if publish.confirm_broker {
            self.set_work(at, Work::None, Stage::Publishing);
            self.tell_waiting(path, "broker", None);
            return Begun::Waits;
        }
        Begun::Done(Ok(result))
    }

    fn publication(
        &self,
        at: &StepRef,
        path: &StepPath,
        publish: &Publish,
    ) -> Result<Publication, RunError> {
        let names = self.run.names(at, &path.0, self.at);
        let topic = names.text("topic", &publish.topic)?;
        topic::check_name(&topic).map_err(|why| fault::topic(&topic, why))?;
        let value = names.fill("payload", &publish.payload)?;
        let payload = if let Value::String(text) = &value {
            text.as_bytes().to_vec()
        } else if let Value::Bytes(bytes) = &value {
            bytes.to_vec()
        } else {
            outer(&value).as_str().as_bytes().to_vec()
        };
        if payload.len() > limits::VALUE_BYTES {
            return Err(fault::payload("payload", payload.len(), limits::VALUE_BYTES));
        }
        let attempt = self.run.active(at).map_or(1, |active| active.attempt);
        Ok(Publication {
            message_id: key::idempotency_key(&self.run.head.id, &path.0),
            topic,
            qos: publish.qos,
            retain: publish.retain,
            payload,
            confirm: publish.confirm_broker.then(|| self.run.attempt_id(at, attempt)),
        })
    }

    /// The broker has the message, or it cannot be had.
    pub(crate) fn published(&mut self, at: &StepRef, result: Result<(), RunError>) {
        let path = self.run.path(at);
        let id = key::idempotency_key(&self.run.head.id, &path.0);
        self.attempt_ended(at, result.map(|()| message_id(&id)));
    }
}

fn message_id(id: &str) -> Value {
    names::object([("message_id", Value::from(id))])
}
