//! Secrets in a scenario: values that mocks see and the trace does not.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_agent_core::AttemptOutcome;
use openclaw_protocol::run::RunError;
use openclaw_protocol::secret::{self, Mask};
use serde_json::Value as Json;
use zeroize::Zeroizing;

/// The values of a scenario's secrets.
#[derive(Debug, Default)]
pub(super) struct TestSecrets {
    values: Vec<(String, Zeroizing<String>)>,
    mask: Mask,
}

impl TestSecrets {
    /// The values that the scenario gives, and for other declared names `test-secret-NAME`. A name
    /// with `null` has no value on this device.
    ///
    /// # Errors
    /// A value is given for a name that no definition declares.
    pub(super) fn new<'a>(
        given: &BTreeMap<String, Option<String>>,
        declared: impl Iterator<Item = &'a String>,
    ) -> Result<Self, String> {
        let declared: BTreeSet<&String> = declared.collect();
        if let Some(unknown) = given.keys().find(|name| !declared.contains(name)) {
            return Err(format!("secrets.{unknown}: no definition declares a secret of that name"));
        }
        let mut values = Vec::new();
        for name in declared {
            let value = match given.get(name) {
                Some(None) => continue,
                Some(Some(value)) => value.clone(),
                None => format!("test-secret-{name}"),
            };
            values.push((name.clone(), Zeroizing::new(value)));
        }
        let mut mask = Mask::default();
        mask.add(values.iter().map(|(_, value)| value.as_str()));
        Ok(Self { values, mask })
    }

    /// An input as the plugin gets it.
    ///
    /// # Errors
    /// A secret has no value: the error that the step gets.
    pub(super) fn fill(&self, input: &Json) -> Result<Json, RunError> {
        if secret::names(input).is_empty() {
            return Ok(input.clone());
        }
        let failed = |message: String| {
            let mut error = RunError::new("secret.missing", message);
            error.retryable = true;
            error
        };
        let filled = secret::fill(input, &self.values).map_err(|e| failed(e.to_string()))?;
        serde_json::from_slice(&filled).map_err(|e| failed(e.to_string()))
    }

    /// Masks what a mock says.
    pub(super) fn clean(&self, outcome: AttemptOutcome) -> AttemptOutcome {
        match outcome {
            AttemptOutcome::Succeeded { output, vars } => {
                let output = self.mask.json(&output).unwrap_or(output);
                AttemptOutcome::Succeeded { output, vars }
            }
            AttemptOutcome::Failed { mut error } => {
                self.mask.clean(&mut error.message);
                if let Some(masked) = error.details.as_ref().and_then(|d| self.mask.json(d)) {
                    error.details = Some(masked);
                }
                AttemptOutcome::Failed { error }
            }
        }
    }

    /// Masks a text for people.
    pub(super) fn clean_text(&self, mut text: String) -> String {
        self.mask.clean(&mut text);
        text
    }
}
