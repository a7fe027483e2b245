//! `set`: assigns variables, all right sides against the old values.

use openclaw_protocol::expr::{Template, Value};
use openclaw_protocol::run::{RunError, StepPath};

use crate::run::{StepRef, Turn};

impl Turn<'_> {
    pub(super) fn set(
        &mut self,
        at: &StepRef,
        path: &StepPath,
        entries: &[(String, Template)],
    ) -> Result<Value, RunError> {
        let names = self.run.names(at, &path.0, self.at);
        let mut values = Vec::with_capacity(entries.len());
        for (name, template) in entries {
            values.push((name.clone(), names.fill(&format!("`{name}`"), template)?));
        }
        let view = self.run.view_of(at);
        self.run.views.entry(view).or_default().assign(values, false)?;
        Ok(Value::Null)
    }
}
