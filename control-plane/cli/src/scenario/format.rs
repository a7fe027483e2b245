//! The scenario file: what people write, and how it is read. Described in `docs/scenarios.md`.
//!
//! Version 1. A key that is not known is an error, so that nothing is checked that only looks
//! checked; a later version may know more keys, and keeps the meaning of these.

use std::collections::BTreeMap;

use openclaw_protocol::time::{ClockTrust, parse_duration_ms, seconds_to_ms};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map as Object, Value as Json};

use super::expect::Expect;
use super::stimulus::{Kind, Stimulus};

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
    /// The values of secrets; `null`: the device has none.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, Option<String>>,
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

impl Scenario {
    /// The files of definitions that come into force meanwhile, from where the scenario is.
    pub fn updates(&self) -> impl Iterator<Item = &str> {
        let stimuli = self.stimuli.iter();
        stimuli.filter_map(|one| {
            if let Kind::Update(file) = &one.kind { Some(file.as_str()) } else { None }
        })
    }

    /// The files of modules that are run where an answer has a tape, from where the scenario is.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.mocks.plugins.values().filter_map(|mock| mock.get("module")?.as_str())
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
        let (back, length) = match (json.as_str(), json.as_f64()) {
            (Some(text), _) => match text.strip_prefix('-') {
                Some(rest) => (true, Json::from(rest)),
                None => (false, Json::from(text.trim_start_matches('+'))),
            },
            (None, Some(seconds)) => (seconds < 0.0, Json::from(seconds.abs())),
            (None, None) => (false, json.clone()),
        };
        let ms = span(&length).map_err(D::Error::custom)?;
        let ms = i64::try_from(ms).map_err(D::Error::custom)?;
        Ok(Self(if back { -ms } else { ms }))
    }
}

pub(super) fn span(json: &Json) -> Result<u64, String> {
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
