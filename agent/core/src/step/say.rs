//! `log` and `emit`: what a step says, to people and to other workflows.

use openclaw_protocol::definition::LogLevel;
use openclaw_protocol::expr::{Template, Value};
use openclaw_protocol::run::{RunError, RunEvent, StepPath};

use crate::fault;
use crate::limits::MESSAGE_DATA_BYTES;
use crate::run::{StepRef, Turn, outer};

impl Turn<'_> {
    pub(super) fn log(
        &mut self,
        at: &StepRef,
        path: &StepPath,
        level: LogLevel,
        message: &Template,
        fields: &Template,
    ) -> Result<Value, RunError> {
        let names = self.run.names(at, &path.0, self.at);
        let message = fault::cut(names.text("message", message)?);
        let fields = outer(&names.fill("fields", fields)?);
        if fields.len() > MESSAGE_DATA_BYTES {
            return Err(fault::payload("fields", fields.len(), MESSAGE_DATA_BYTES));
        }
        self.tell(RunEvent::Logged { step: path.clone(), level, message, fields });
        Ok(Value::Null)
    }

    pub(super) fn emit(
        &mut self,
        at: &StepRef,
        path: &StepPath,
        event: &Template,
        data: &Template,
    ) -> Result<Value, RunError> {
        let names = self.run.names(at, &path.0, self.at);
        let event = names.text("event", event)?;
        let data = outer(&names.fill("data", data)?);
        if data.len() > MESSAGE_DATA_BYTES {
            return Err(fault::payload("data", data.len(), MESSAGE_DATA_BYTES));
        }
        self.out.emitted.push((event, data));
        Ok(Value::Null)
    }
}
