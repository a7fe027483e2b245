//! JSON kept as text where it is only carried: in journal records and on the wire.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

/// A JSON value as its text. Postcard cannot carry self-describing values, and text keeps the
/// difference between `21` and `21.0`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(String);

impl JsonText {
    /// The text of a value.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.to_string())
    }

    /// Takes a text that came from outside.
    ///
    /// # Errors
    /// Not JSON.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<serde::de::IgnoredAny>(text)?;
        Ok(Self(text.to_owned()))
    }

    /// Takes a text that is JSON for certain, because it has just been written as such.
    pub(crate) fn written(text: String) -> Self {
        Self(text)
    }

    /// Takes back a text that was one when it was kept. It is not looked at.
    #[must_use]
    pub fn kept(text: String) -> Self {
        Self(text)
    }

    /// Takes a text that came from outside, or gives it back where it is not JSON.
    ///
    /// # Errors
    /// The text.
    pub fn checked(text: String) -> Result<Self, String> {
        let read = serde_json::from_str::<serde::de::IgnoredAny>(&text);
        if read.is_ok() { Ok(Self(text)) } else { Err(text) }
    }

    /// How deep its lists and objects lie in one another. Reading it as a value ends at a depth, and
    /// looking at it does not.
    #[must_use]
    pub fn depth(&self) -> usize {
        let (mut depth, mut deepest) = (0_usize, 0);
        let (mut quoted, mut escaped) = (false, false);
        for byte in self.0.bytes() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'[' | b'{' if !quoted => depth += 1,
                b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    }

    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// The value. A text that turns out not to be JSON (only corruption can do that) is `null`.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Reads the text as a typed value.
    ///
    /// # Errors
    /// The JSON has another shape.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The text itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Length of the text in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty, which no JSON is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
