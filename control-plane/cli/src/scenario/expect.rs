//! What must come of a scenario: its `expect`.

use std::collections::BTreeMap;

use openclaw_protocol::definition::LogLevel;
use openclaw_protocol::run::{RunStatus, StepStatus};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::format::{Span, present, span};

/// What must come of it. Only what is said is checked.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// How the run ends.
    #[serde(default)]
    pub(crate) status: Option<RunStatus>,
    /// Its outputs, exactly.
    #[serde(default)]
    pub(crate) outputs: Option<Json>,
    /// Part of its outputs.
    #[serde(default)]
    pub(crate) outputs_contain: Option<Json>,
    /// Its error.
    #[serde(default)]
    pub(crate) error: Option<ErrorExpect>,
    /// Why no run came of it.
    #[serde(default)]
    pub(crate) refused: Option<String>,
    /// How single steps end.
    #[serde(default)]
    pub(crate) steps: Vec<StepExpect>,
    /// Step instances that settle in this order, others between them or not.
    #[serde(default)]
    pub(crate) order: Option<Vec<String>>,
    /// All step instances in the order in which they settle, the skipped ones left out.
    #[serde(default)]
    pub(crate) exact_order: Option<Vec<String>>,
    /// Plugin calls made.
    #[serde(default)]
    pub(crate) calls: Option<CallsExpect>,
    /// Messages sent to the site's local broker, in order.
    #[serde(default)]
    pub(crate) published: Option<Vec<PublishedExpect>>,
    /// What `log` steps said, in order, others between them or not.
    #[serde(default)]
    pub(crate) logged: Option<Vec<LoggedExpect>>,
    /// From the run's start to its end.
    #[serde(default)]
    pub(crate) took: Option<TookExpect>,
    /// All runs of the tested workflow, in the order in which they were accepted.
    #[serde(default)]
    pub(crate) runs: Option<Vec<RunExpect>>,
    /// Firings and starts of which no run came.
    #[serde(default)]
    pub(crate) dropped: Option<usize>,
    /// Whether the compensations that ran all succeeded.
    #[serde(default)]
    pub(crate) compensation: Option<CompensationExpect>,
}

/// What an error must be; a text is its code.
#[derive(Debug, Clone, Default)]
pub(crate) struct ErrorExpect {
    /// Its code.
    pub(crate) code: Option<String>,
    /// Its whole message.
    pub(crate) message: Option<String>,
    /// Part of its message.
    pub(crate) message_contains: Option<String>,
    /// The step instance it arose in.
    pub(crate) step: Option<String>,
    /// What goes with it, exactly.
    pub(crate) details: Option<Json>,
}

impl<'de> Deserialize<'de> for ErrorExpect {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(default)]
            code: Option<String>,
            #[serde(default)]
            message: Option<String>,
            #[serde(default)]
            message_contains: Option<String>,
            #[serde(default)]
            step: Option<String>,
            #[serde(default, deserialize_with = "present")]
            details: Option<Json>,
        }
        let json = Json::deserialize(d)?;
        if let Json::String(code) = json {
            return Ok(Self { code: Some(code), ..Self::default() });
        }
        let Long { code, message, message_contains, step, details } =
            serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { code, message, message_contains, step, details })
    }
}

/// How one step instance must end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepExpect {
    /// Which.
    pub(crate) path: String,
    /// How; `absent`: it does not settle at all.
    #[serde(default)]
    pub(crate) status: Option<StepEnd>,
    /// Attempts made.
    #[serde(default)]
    pub(crate) attempts: Option<u32>,
    /// Its output, exactly.
    #[serde(default, deserialize_with = "present")]
    pub(crate) output: Option<Json>,
    /// Part of its output.
    #[serde(default, deserialize_with = "present")]
    pub(crate) output_contains: Option<Json>,
    /// Its error.
    #[serde(default)]
    pub(crate) error: Option<ErrorExpect>,
}

/// How a step instance ends, or that it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepEnd {
    /// Ended well.
    Succeeded,
    /// Switched off by its own `if`.
    Bypassed,
    /// Failed for good.
    Failed,
    /// Not reached.
    Skipped,
    /// Ended by a cancellation.
    Cancelled,
    /// There is no such instance.
    Absent,
}

impl StepEnd {
    /// The status of an instance that ends so.
    #[must_use]
    pub(crate) fn status(self) -> Option<StepStatus> {
        match self {
            Self::Succeeded => Some(StepStatus::Succeeded),
            Self::Bypassed => Some(StepStatus::Bypassed),
            Self::Failed => Some(StepStatus::Failed),
            Self::Skipped => Some(StepStatus::Skipped),
            Self::Cancelled => Some(StepStatus::Cancelled),
            Self::Absent => None,
        }
    }
}

/// How many calls: in all, or by plugin.
#[derive(Debug, Clone)]
pub(crate) enum CallsExpect {
    /// In all.
    All(usize),
    /// By `name` or `name.action`.
    By(BTreeMap<String, CallExpect>),
}

impl<'de> Deserialize<'de> for CallsExpect {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(d)?;
        if json.is_object() {
            return serde_json::from_value(json).map(Self::By).map_err(D::Error::custom);
        }
        serde_json::from_value(json).map(Self::All).map_err(D::Error::custom)
    }
}

/// The calls of one plugin; a number is their count.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallExpect {
    /// How many.
    pub(crate) count: Option<usize>,
    /// Their inputs in order, exactly.
    pub(crate) inputs: Option<Vec<Json>>,
    /// Parts of their inputs, in order.
    pub(crate) inputs_contain: Option<Vec<Json>>,
}

impl<'de> Deserialize<'de> for CallExpect {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(default)]
            count: Option<usize>,
            #[serde(default)]
            inputs: Option<Vec<Json>>,
            #[serde(default)]
            inputs_contain: Option<Vec<Json>>,
        }
        let json = Json::deserialize(d)?;
        if json.is_number() {
            let count = serde_json::from_value(json).map_err(D::Error::custom)?;
            return Ok(Self { count: Some(count), ..Self::default() });
        }
        let Long { count, inputs, inputs_contain } =
            serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { count, inputs, inputs_contain })
    }
}

/// A message for the site's local broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishedExpect {
    /// Topic name.
    #[serde(default)]
    pub(crate) topic: Option<String>,
    /// JSON where it reads as such, else its text; exactly.
    #[serde(default, deserialize_with = "present")]
    pub(crate) payload: Option<Json>,
    /// Part of the payload.
    #[serde(default, deserialize_with = "present")]
    pub(crate) payload_contains: Option<Json>,
    /// Quality of service.
    #[serde(default)]
    pub(crate) qos: Option<u8>,
    /// Whether the broker keeps it.
    #[serde(default)]
    pub(crate) retain: Option<bool>,
}

/// What a `log` step must say; a text is its whole message.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggedExpect {
    /// How important.
    pub(crate) level: Option<LogLevel>,
    /// The whole message.
    pub(crate) message: Option<String>,
    /// Part of the message.
    pub(crate) message_contains: Option<String>,
    /// What goes with it, exactly.
    pub(crate) fields: Option<Json>,
}

impl<'de> Deserialize<'de> for LoggedExpect {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(default)]
            level: Option<LogLevel>,
            #[serde(default)]
            message: Option<String>,
            #[serde(default)]
            message_contains: Option<String>,
            #[serde(default)]
            fields: Option<Json>,
        }
        let json = Json::deserialize(d)?;
        if let Json::String(message) = json {
            return Ok(Self { message: Some(message), ..Self::default() });
        }
        let Long { level, message, message_contains, fields } =
            serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { level, message, message_contains, fields })
    }
}

/// How long a run must take; a duration means exactly that.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TookExpect {
    /// Not less.
    pub(crate) at_least: Option<Span>,
    /// Not more.
    pub(crate) at_most: Option<Span>,
}

impl<'de> Deserialize<'de> for TookExpect {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(default)]
            at_least: Option<Span>,
            #[serde(default)]
            at_most: Option<Span>,
        }
        let json = Json::deserialize(d)?;
        if !json.is_object() {
            let exactly = span(&json).map(Span).map_err(D::Error::custom)?;
            return Ok(Self { at_least: Some(exactly), at_most: Some(exactly) });
        }
        let Long { at_least, at_most } = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { at_least, at_most })
    }
}

/// How one of several runs must end.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunExpect {
    /// How it ends; where it has not, where it stands.
    #[serde(default)]
    pub(crate) status: Option<RunStatus>,
    /// Its outputs, exactly.
    #[serde(default)]
    pub(crate) outputs: Option<Json>,
    /// Its error.
    #[serde(default)]
    pub(crate) error: Option<ErrorExpect>,
}

/// Whether compensations succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CompensationExpect {
    /// All that were run.
    Complete,
    /// Not all of them.
    Incomplete,
    /// None was run.
    None,
}
