//! Bytes as cases write them: a text, or `{ "hex": … }`, or `{ "json": … }`.

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;

use crate::limits;

/// Bytes, and how they are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// These bytes and no others.
    Bytes(Vec<u8>),
    /// Any JSON text of this value.
    Json(Value),
}

impl Default for Content {
    fn default() -> Self {
        Self::Bytes(Vec::new())
    }
}

impl Content {
    /// The bytes; of JSON its shortest text.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Json(value) => serde_json::to_vec(value).unwrap_or_default(),
        }
    }

    /// Whether bytes are what is meant.
    #[must_use]
    pub fn fits(&self, bytes: &[u8]) -> bool {
        match self {
            Self::Bytes(expected) => expected == bytes,
            Self::Json(expected) => {
                serde_json::from_slice::<Value>(bytes).is_ok_and(|got| got == *expected)
            }
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.bytes()))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Tagged {
            Text(String),
            Hex(String),
            Json(Value),
        }
        let shape = "bytes are a text, { \"hex\": \"0a ff\" } or { \"json\": … }";
        let value = Value::deserialize(deserializer)?;
        if let Value::String(text) = value {
            return Ok(Self::Bytes(text.into_bytes()));
        }
        match serde_json::from_value(value)
            .map_err(|e| D::Error::custom(format!("{shape}: {e}")))?
        {
            Tagged::Text(text) => Ok(Self::Bytes(text.into_bytes())),
            Tagged::Json(value) => Ok(Self::Json(value)),
            Tagged::Hex(text) => {
                let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
                HEXLOWER_PERMISSIVE
                    .decode(digits.as_bytes())
                    .map(Self::Bytes)
                    .map_err(|e| D::Error::custom(format!("`{text}` is not hexadecimal: {e}")))
            }
        }
    }
}

/// Bytes for people: a text in quotes where they are one, else hexadecimal; long ones are cut.
pub(super) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(limits::SHOWN_BYTES)];
    let more = if cut.len() < bytes.len() {
        format!(" … ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    let text = std::str::from_utf8(cut).ok();
    let text = text.filter(|t| t.chars().all(|c| !c.is_control() || c.is_ascii_whitespace()));
    match text {
        Some(text) => format!("{text:?}{more}"),
        None => format!("hex {}{more}", HEXLOWER_PERMISSIVE.encode(cut)),
    }
}
