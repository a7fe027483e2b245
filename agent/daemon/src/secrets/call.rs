//! Secrets around one plugin call: values into its input, and out of all that comes back.

use std::sync::{Arc, PoisonError};

use openclaw_protocol::json::JsonText;
use openclaw_protocol::secret::{self, Mask};
use openclaw_sandbox::Outcome;
use openclaw_sandbox::limits::{LOG_LINE_BYTES, MESSAGE_BYTES};
use zeroize::Zeroizing;

use super::Secrets;

/// What a call needs to know of secrets: its input with values in it, and what to mask. Wiped when
/// it goes.
pub(crate) struct InCall {
    filled: Option<Zeroizing<Vec<u8>>>,
    /// What its plugin may use without seeing it, as far as there is a value.
    granted: Vec<(String, Zeroizing<String>)>,
    mask: Arc<Mask>,
}

impl Secrets {
    /// Prepares a call: looks up what its input asks for, and what its plugin is `granted`. Of the
    /// latter nothing needs to be there before the plugin asks.
    ///
    /// # Errors
    /// What is missing, for people.
    pub(crate) fn for_call(&self, input: &JsonText, granted: &[String]) -> Result<InCall, String> {
        let granted: Vec<_> = granted.iter().filter_map(|name| self.granted(name)).collect();
        let known = {
            let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&opened.mask)
        };
        if !secret::asks(input.as_str()) {
            let mask = if granted.is_empty() { known } else { self.mask_with(&granted) };
            return Ok(InCall { filled: None, granted, mask });
        }
        let input = input.value();
        let mut values = Vec::new();
        for name in secret::names(&input) {
            let value = self.secret(&name).ok_or_else(|| {
                format!(
                    "the secret `{name}` has no value on this device; set it at the control plane, \
                     or put it into the device's own secrets"
                )
            })?;
            let value = super::text(value)
                .ok_or_else(|| format!("the secret `{name}` is not text in UTF-8"))?;
            values.push((name, value));
        }
        let filled = secret::fill(&input, &values).map_err(|e| e.to_string())?;
        values.extend(granted.iter().cloned());
        let mask = self.mask_with(&values);
        Ok(InCall { filled: Some(filled), granted, mask })
    }

    /// A secret that is not put into the input.
    fn granted(&self, name: &str) -> Option<(String, Zeroizing<String>)> {
        let Some(value) = super::text(self.secret(name)?) else {
            tracing::error!(name, "a secret is not text in UTF-8, so no plugin can use it");
            return None;
        };
        Some((name.to_owned(), value))
    }

    /// All values of the control plane, and those that this call has from elsewhere.
    fn mask_with(&self, values: &[(String, Zeroizing<String>)]) -> Arc<Mask> {
        let opened = self.0.opened.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = |value: &(String, Zeroizing<String>)| opened.values.contains(value);
        if values.iter().all(is_known) {
            // Not the mask from before: the values may be newer than it.
            return Arc::clone(&opened.mask);
        }
        let mut mask = Mask::default();
        mask.add(opened.values.iter().chain(values).map(|(_, value)| value.as_str()));
        Arc::new(mask)
    }
}

impl InCall {
    /// The input as the plugin gets it.
    pub(crate) fn input<'a>(&'a self, handles: &'a JsonText) -> &'a [u8] {
        self.filled.as_ref().map_or(handles.as_str().as_bytes(), |filled| filled.as_slice())
    }

    /// What the call may use without seeing it.
    pub(crate) fn granted(&self) -> &[(String, Zeroizing<String>)] {
        &self.granted
    }

    /// What must not be seen of this call.
    pub(crate) fn mask(&self) -> Arc<Mask> {
        Arc::clone(&self.mask)
    }

    /// Masks what a call has said beside its output.
    pub(crate) fn clean(&self, outcome: &mut Outcome) {
        if self.mask.is_empty() {
            return;
        }
        for line in &mut outcome.logs {
            self.clean_message(&mut line.message, LOG_LINE_BYTES);
        }
        for denial in &mut outcome.denials {
            self.mask.clean(denial);
        }
        for (mut key, mut value) in std::mem::take(&mut outcome.vars) {
            self.mask.clean(&mut key);
            if let Some(masked) = self.mask.bytes(&value) {
                value = masked;
            }
            outcome.vars.insert(key, value);
        }
        for write in &mut outcome.kept.kv {
            self.mask.clean(&mut write.key);
            if let Some(masked) = write.value.as_deref().and_then(|value| self.mask.bytes(value)) {
                write.value = Some(masked);
            }
        }
        for message in &mut outcome.kept.published {
            self.mask.clean(&mut message.topic);
            if let Some(masked) = self.mask.bytes(&message.payload) {
                message.payload = masked;
            }
        }
        if let Err(fault) = &mut outcome.result {
            self.clean_message(&mut fault.message, MESSAGE_BYTES);
            if let Some(masked) = self.mask.text(&fault.code) {
                fault.code = masked.into();
            }
        }
    }

    /// A text that was cut may end within a value.
    fn clean_message(&self, message: &mut String, cut_at: usize) {
        // A cut falls between characters, up to three bytes before the limit.
        let is_cut = message.len() + 3 >= cut_at;
        self.mask.clean(message);
        if is_cut {
            self.mask.clean_end(message);
        }
    }

    /// Masks an output.
    pub(crate) fn clean_output(&self, output: JsonText) -> JsonText {
        self.mask.json(&output).unwrap_or(output)
    }
}
