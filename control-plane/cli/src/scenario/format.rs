//! The scenario file: what people write, and how it is read. Described in `docs/scenarios.md`.
//!
//! Version 1. A key that is not known is an error, so that nothing is checked that only looks
//! checked; a later version may know more keys, and keeps the meaning of these.

use std::collections::BTreeMap;

use openclaw_protocol::definition::LogLevel;
use openclaw_protocol::run::{RunStatus, StepStatus};
use openclaw_protocol::time::{ClockTrust, parse_duration_ms, seconds_to_ms};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map as Object, Value as Json};

use super::stimulus::Stimulus;

/// The version of the file format.
pub(crate) const VERSION: u32 = 1;
/// A scenario file, in bytes.
pub(crate) const FILE_BYTES: usize = 8 * 1024 * 1024;

/// A scenario as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The version of the format; says that the file is a scenario.
    pub(crate) scenario: u32,
    /// What it shows, for people.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// For people.
    #[serde(default)]
    pub(crate) description: Option<String>,
    /// The file of the tested definition, from where the scenario is.
    #[serde(default)]
    pub(crate) definition: Option<String>,
    /// Files of other definitions that are deployed beside it.
    #[serde(default)]
    pub(crate) with: Vec<String>,
    /// The run's inputs.
    #[serde(default)]
    pub(crate) inputs: Object<String, Json>,
    /// What starts the run, if not somebody by hand.
    #[serde(default)]
    pub(crate) trigger: Option<Trigger>,
    /// The device it runs on.
    #[serde(default)]
    pub(crate) device: DeviceSpec,
    /// What stands for the world outside.
    #[serde(default)]
    pub(crate) mocks: MockSpecs,
    /// What happens meanwhile.
    #[serde(default)]
    pub(crate) stimuli: Vec<Stimulus>,
    /// The run must have ended by then.
    #[serde(default)]
    pub(crate) until: Option<Span>,
    /// What must come of it.
    #[serde(default)]
    pub(crate) expect: Expect,
}

impl Scenario {
    /// Reads a scenario, YAML 1.2 or JSON.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > FILE_BYTES {
            return Err(format!("it has {} bytes, the most is {FILE_BYTES}", text.len()));
        }
        let scenario: Self = match serde_json::from_str::<Json>(text) {
            Ok(json) => serde_json::from_value(json).map_err(|error| error.to_string())?,
            Err(_) => {
                let options = serde_saphyr::options! {
                    strict_booleans: true,
                    merge_keys: serde_saphyr::MergeKeyPolicy::Error,
                    with_snippet: false,
                };
                serde_saphyr::from_str_with_options(text, options)
                    .map_err(|error| error.to_string())?
            }
        };
        if scenario.scenario != VERSION {
            let found = scenario.scenario;
            return Err(format!(
                "`scenario: {found}` is not a version known here: it is {VERSION}"
            ));
        }
        Ok(scenario)
    }
}

/// A length of time: seconds as a number, or text such as `1h30m`. In milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub u64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(d)?;
        span(&json).map(Self).map_err(D::Error::custom)
    }
}

/// A length of time forwards or backwards: `+1h`, `-30m`. In milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Shift(pub i64);

impl<'de> Deserialize<'de> for Shift {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let json = Json::deserialize(d)?;
        let (back, length) = match &json {
            Json::String(text) if text.starts_with('-') => (true, Json::from(&text[1..])),
            Json::String(text) => (false, Json::from(text.trim_start_matches('+'))),
            Json::Number(number) if number.as_f64().is_some_and(|n| n < 0.0) => {
                (true, Json::from(-number.as_f64().unwrap_or(0.0)))
            }
            other => (false, other.clone()),
        };
        let ms = span(&length).map_err(D::Error::custom)?;
        let ms = i64::try_from(ms).map_err(D::Error::custom)?;
        Ok(Self(if back { -ms } else { ms }))
    }
}

fn span(json: &Json) -> Result<u64, String> {
    let ms = match json {
        Json::Number(number) => number.as_f64().and_then(seconds_to_ms),
        Json::String(text) => Some(parse_duration_ms(text).map_err(|error| error.to_string())?),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    ms.ok_or_else(|| format!("{json} is not a duration: write seconds, or text such as `5m`"))
}

/// A value that may be `null` and is still there.
pub(super) fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(d).map(Some)
}

/// Which trigger fires, and what it carries.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Trigger {
    /// Its id in the definition.
    pub(crate) id: String,
    /// What it depends on the trigger's kind.
    pub(crate) data: Json,
}

impl<'de> Deserialize<'de> for Trigger {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            id: String,
            #[serde(default)]
            data: Json,
        }
        let json = Json::deserialize(d)?;
        if let Json::String(id) = json {
            return Ok(Self { id, data: Json::Null });
        }
        let Long { id, data } = serde_json::from_value(json).map_err(D::Error::custom)?;
        Ok(Self { id, data })
    }
}

/// The device that a scenario runs on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DeviceSpec {
    /// What its wall clock says at the start, RFC 3339.
    pub(crate) clock: String,
    /// How far that is to be believed.
    pub(crate) trust: ClockTrust,
    /// Plugin calls at the same time.
    pub(crate) slots: u16,
    /// What jitter, `rand(tag)` and `uuid(tag)` derive from.
    pub(crate) seed: u64,
    /// Whether the site's local broker is there at the start.
    pub(crate) broker: Link,
    /// Its id, which expressions see as `agent.id`.
    pub(crate) id: String,
    /// Its labels, which expressions see as `agent.labels`.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            clock: "2026-01-05T08:00:00Z".to_owned(),
            trust: ClockTrust::Synced,
            slots: 64,
            seed: 1,
            broker: Link::Up,
            id: "test-device".to_owned(),
            labels: BTreeMap::new(),
        }
    }
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Link {
    /// It is.
    Up,
    /// It is not.
    Down,
}

/// What answers in place of plugins and other workflows. Read further in `mocks.rs`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MockSpecs {
    /// By `name` or `name.action`.
    #[serde(default)]
    pub(crate) plugins: BTreeMap<String, Json>,
    /// By name.
    #[serde(default)]
    pub(crate) workflows: BTreeMap<String, Json>,
}

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
