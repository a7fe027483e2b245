//! Names and identities. Each is checked where it enters and cannot be wrong afterwards. Their texts
//! are shared: a run's id goes with everything that is said of it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {reason}")]
pub struct IdError {
    /// The kind of id, such as `device id`.
    pub what: &'static str,
    /// The offending text, cut to a readable length.
    pub text: String,
    /// What is wrong and what is allowed.
    pub reason: &'static str,
}

/// Lower-case letters, digits and dashes, 1 to 64 bytes, neither first nor last a dash: safe in
/// an MQTT topic, a URL, a file name and an SQL text without escaping.
fn check_slug(what: &'static str, text: &str) -> Result<(), IdError> {
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > limits::ID_BYTES {
        "it is longer than 64 bytes"
    } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        "use lower-case letters, digits and dashes"
    } else if text.starts_with('-') || text.ends_with('-') {
        "it must not begin or end with a dash"
    } else {
        return Ok(());
    };
    Err(IdError { what, text: text.chars().take(80).collect(), reason })
}

/// As [`check_slug`], with underscores: names inside a document, which expressions refer to.
fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    let first_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let reason = if text.is_empty() {
        "it is empty"
    } else if text.len() > limits::ID_BYTES {
        "it is longer than 64 bytes"
    } else if !first_ok || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        "use letters, digits and underscores, beginning with a letter, so that expressions can \
         name it"
    } else {
        return Ok(());
    };
    Err(IdError { what, text: text.chars().take(80).collect(), reason })
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a text and takes it as an id.
            ///
            /// # Errors
            /// The text breaks the rules; the error says which.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $check($what, text)?;
                Ok(Self(text.into()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// Whose fleet this is. Part of every topic, every table's key and every query.
    TenantId, "tenant id", check_slug
);
text_id!(
    /// One enrolled machine; also its MQTT client id and its certificate's subject.
    DeviceId, "device id", check_slug
);
text_id!(
    /// A workflow's name, unique in a tenant.
    WorkflowName, "workflow name", check_slug
);
text_id!(
    /// A plugin's name, unique in a tenant's registry. Also used for logical device resources.
    PluginName, "plugin name", check_slug
);
text_id!(
    /// A step's id, unique in its document.
    StepId, "step id", check_name
);
text_id!(
    /// A trigger's id, unique in its document.
    TriggerId, "trigger id", check_name
);
text_id!(
    /// Which run: `<prefix, 12 hex digits>-<number>`. Made on the device, so that runs begin
    /// offline; unique because the prefix is drawn at every start of the agent, so that not even
    /// two copies of one device database give one id to two runs.
    RunId, "run id", check_slug
);
text_id!(
    /// Names one wish of an operator (run this, cancel that), so that a repeated wish is one wish.
    RequestId, "request id", check_slug
);

impl RunId {
    /// The id of a device's `number`-th run (from 1) under the first 48 bits of `epoch`.
    #[must_use]
    pub fn of(epoch: Epoch, number: u64) -> Self {
        Self(format!("{:012x}-{number}", epoch.0 >> 16).into())
    }

    /// The run's number on its device, from 1.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.0.rsplit_once('-')?.1.parse().ok()
    }
}

/// The random identity of one device database file. A wiped or cloned disk gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The random identity of one control-plane database. It changes at a restore, so that a rewound
/// server cannot reuse a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A SHA-256 digest: of a plugin module, of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// Not 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        bytes.and_then(|b| b.try_into().ok()).map(Self).ok_or_else(|| IdError {
            what: "digest",
            text: text.chars().take(80).collect(),
            reason: "it must be 64 hexadecimal digits (SHA-256)",
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if !d.is_human_readable() {
            return <[u8; 32]>::deserialize(d).map(Self);
        }
        let text = String::deserialize(d)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_safe_in_a_topic() {
        for bad in ["", "A", "a/b", "a+", "#", "é", "-a", "a-", "a b", "a\u{feff}"] {
            assert!(DeviceId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(DeviceId::parse(&"a".repeat(65)).is_err());
        assert_eq!(DeviceId::parse("pump-7").unwrap().as_str(), "pump-7");
    }

    #[test]
    fn step_ids_can_be_named_in_expressions() {
        for bad in ["", "1st", "a-b", "a.b", "a b"] {
            assert!(StepId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(StepId::parse("read_2").is_ok());
    }

    #[test]
    fn run_ids_carry_their_number() {
        let run = RunId::of(Epoch(0x1234_5678_9abc_def0), 42);
        assert_eq!(run.as_str(), "123456789abc-42");
        assert_eq!(run.number(), Some(42));
        assert_eq!(RunId::parse(run.as_str()).unwrap(), run);
    }
}
