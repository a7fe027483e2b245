//! Why something failed, and how that is written.
//!
//! Text (JSON) has all fields by name. Bytes (postcard) know fields only by their order, and errors
//! were stored and sent before they had details and causes. So these follow only where there are
//! any, and bit 1 of the byte that says `retryable` in bit 0 tells of them: bytes without them are
//! what they always were.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StepPath;
use crate::json::JsonText;

/// Another attempt could help.
const RETRYABLE: u8 = 1;
/// Details and causes follow.
const MORE: u8 = 2;
/// Fields without details and causes, and with them.
const FIELDS: (usize, usize) = (5, 7);

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunError {
    /// Stable code, such as `plugin.trap`.
    pub code: String,
    /// For people.
    pub message: String,
    /// The step instance it arose in.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub step: Option<StepPath>,
    /// The attempt it arose in, from 1; 0 where there was none.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub attempt: u32,
    /// Whether another attempt could help.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub retryable: bool,
    /// Whatever the author of the error adds.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>, required = false))]
    pub details: Option<JsonText>,
    /// Other errors that belong to it: of the other branches, of a `finally`; a few at most.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub causes: Vec<ErrorCause>,
}

impl RunError {
    /// An error that another attempt would not mend, not yet of any step.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            step: None,
            attempt: 0,
            retryable: false,
            details: None,
            causes: Vec::new(),
        }
    }
}

/// An error beside another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorCause {
    /// Stable code.
    pub code: String,
    /// For people.
    pub message: String,
    /// The step instance it arose in.
    #[serde(default)]
    pub step: Option<StepPath>,
}

/// [`RunError`] in text.
#[derive(Serialize, Deserialize)]
#[serde(remote = "RunError")]
struct Named {
    code: String,
    message: String,
    #[serde(default)]
    step: Option<StepPath>,
    #[serde(default)]
    attempt: u32,
    #[serde(default)]
    retryable: bool,
    #[serde(default)]
    details: Option<JsonText>,
    #[serde(default)]
    causes: Vec<ErrorCause>,
}

impl Serialize for RunError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Named::serialize(self, serializer);
        }
        let more = self.details.is_some() || !self.causes.is_empty();
        let flags = if self.retryable { RETRYABLE } else { 0 } | if more { MORE } else { 0 };
        let mut fields = serializer.serialize_tuple(if more { FIELDS.1 } else { FIELDS.0 })?;
        fields.serialize_element(&self.code)?;
        fields.serialize_element(&self.message)?;
        fields.serialize_element(&self.step)?;
        fields.serialize_element(&self.attempt)?;
        fields.serialize_element(&flags)?;
        if more {
            fields.serialize_element(&self.details)?;
            fields.serialize_element(&self.causes)?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for RunError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Named::deserialize(deserializer);
        }
        deserializer.deserialize_tuple(FIELDS.1, Ordered)
    }
}

/// Reads [`RunError`] from bytes.
struct Ordered;

impl<'de> Visitor<'de> for Ordered {
    type Value = RunError;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an error of a run")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<RunError, A::Error> {
        let mut error =
            RunError::new(next::<String, A>(&mut fields)?, next::<String, A>(&mut fields)?);
        error.step = next(&mut fields)?;
        error.attempt = next(&mut fields)?;
        let flags: u8 = next(&mut fields)?;
        if flags & !(RETRYABLE | MORE) != 0 {
            return Err(A::Error::custom("an error of a run with parts that are not known"));
        }
        error.retryable = flags & RETRYABLE != 0;
        if flags & MORE != 0 {
            error.details = next(&mut fields)?;
            error.causes = next(&mut fields)?;
        }
        Ok(error)
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(fields: &mut A) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| A::Error::custom("an error of a run is cut off"))
}

#[cfg(test)]
mod tests;
