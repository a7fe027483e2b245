//! Types of columns.

use serde::Deserialize;
use serde_json::{Number, Value};

/// What the fields of a column are. An empty field is `null`, but in a column of texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Type {
    /// As it is.
    #[default]
    Text,
    /// A number, with a point.
    Number,
    /// A whole number.
    Integer,
    /// `true` or `false`, `1` or `0`, `yes` or `no`, in any case.
    Boolean,
}

impl Type {
    /// The value of a field, or the field where it is not of this type.
    pub(crate) fn value(self, field: String) -> Result<Value, String> {
        if self == Self::Text {
            return Ok(Value::String(field));
        }
        let text = field.trim();
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let value = match self {
            Self::Text => None,
            Self::Number => text.parse().ok().and_then(Number::from_f64).map(Value::Number),
            Self::Integer => text.parse::<i64>().ok().map(Value::from),
            Self::Boolean => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" => Some(Value::Bool(true)),
                "false" | "0" | "no" => Some(Value::Bool(false)),
                _ => None,
            },
        };
        value.ok_or(field)
    }
}
