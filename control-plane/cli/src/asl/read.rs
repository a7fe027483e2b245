//! Reading the fields of states, machines, retriers and catchers; what is not read is named.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use super::Translator;
use super::path::shown_name;

/// Fields that only JSONata states have.
const JSONATA: [&str; 4] = ["Arguments", "Output", "Items", "Condition"];

/// The fields of one object, and which of them have been read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    fields: &'a Map<String, Json>,
    at: String,
    read: BTreeSet<&'a str>,
}

impl<'a> Reader<'a> {
    /// A reader of an object at a JSON path.
    pub(super) fn new(fields: &'a Map<String, Json>, at: &str) -> Self {
        Self { fields, at: at.to_owned(), read: BTreeSet::new() }
    }

    /// The object's own JSON path.
    pub(super) fn here(&self) -> &str {
        &self.at
    }

    /// All fields.
    pub(super) fn fields(&self) -> &'a Map<String, Json> {
        self.fields
    }

    /// The JSON path of a field.
    pub(super) fn at(&self, key: &str) -> String {
        format!("{}{}", self.at, shown_name(key))
    }

    /// A field, marked as read.
    pub(super) fn take(&mut self, key: &str) -> Option<&'a Json> {
        let (key, value) = self.fields.get_key_value(key)?;
        self.read.insert(key);
        Some(value)
    }

    /// Whether there is such a field.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// Marks fields as read that mean nothing here.
    pub(super) fn ignore(&mut self, keys: &[&str]) {
        for key in keys {
            self.take(key);
        }
    }

    /// A text.
    pub(super) fn text(&mut self, to: &mut Translator, key: &str) -> Option<String> {
        let value = self.take(key)?;
        if value.as_str().is_none() {
            to.problem(&self.at(key), format!("this must be a text, not {value}"));
        }
        value.as_str().map(str::to_owned)
    }

    /// A list.
    pub(super) fn list(&mut self, to: &mut Translator, key: &str) -> &'a [Json] {
        let Some(value) = self.take(key) else { return &[] };
        if value.as_array().is_none() {
            to.problem(&self.at(key), "this must be a list");
        }
        value.as_array().map_or(&[], Vec::as_slice)
    }

    /// An object.
    pub(super) fn object(
        &mut self,
        to: &mut Translator,
        key: &str,
    ) -> Option<&'a Map<String, Json>> {
        let value = self.take(key)?;
        if value.as_object().is_none() {
            to.problem(&self.at(key), "this must be an object");
        }
        value.as_object()
    }

    /// A whole number from 0.
    pub(super) fn whole(&mut self, to: &mut Translator, key: &str) -> Option<u64> {
        let value = self.take(key)?;
        let whole = value.as_u64();
        if whole.is_none() {
            to.problem(&self.at(key), format!("this must be a whole number from 0, not {value}"));
        }
        whole
    }

    /// A number of seconds above 0.
    pub(super) fn seconds(&mut self, to: &mut Translator, key: &str) -> Option<u64> {
        let seconds = self.whole(to, key)?;
        if seconds == 0 {
            to.problem(&self.at(key), "this must be more than 0 seconds");
            return None;
        }
        Some(seconds)
    }

    /// Names what has not been read; `what` says whose fields these are.
    pub(super) fn finish(&self, to: &mut Translator, what: &str) {
        for key in self.fields.keys().filter(|key| !self.read.contains(key.as_str())) {
            let reason = if JSONATA.contains(&key.as_str()) {
                format!("`{key}` belongs to JSONata, which is not translated")
            } else {
                format!("`{key}` is no field of {what} that is translated")
            };
            to.problem(&self.at(key), reason);
        }
    }
}
