//! What happens while a scenario runs: one entry of its `stimuli`.

use openclaw_protocol::time::ClockTrust;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map as Object, Value as Json};

use super::format::{Link, Shift, Span};

/// The kinds, as they are written.
const KINDS: [&str; 14] = [
    "signal",
    "mqtt",
    "webhook",
    "file",
    "event",
    "approval",
    "cancel",
    "start",
    "crash",
    "power_cut",
    "clock",
    "link",
    "broker",
    "update",
];

/// One thing that happens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stimulus {
    /// How long after the start of the scenario, or after [`Stimulus::after`].
    pub(crate) at: Span,
    /// Once this has happened.
    pub(crate) after: Option<After>,
    /// It must be refused, with this code.
    pub(crate) refused: Option<String>,
    /// What.
    pub(crate) kind: Kind,
}

/// What a step must have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct After {
    /// The step instance, or the id of a step: its first instance.
    pub(crate) step: String,
    /// How far.
    pub(crate) is: Reached,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reached {
    /// Its first attempt has begun, or it was entered.
    Started,
    /// It has settled.
    Settled,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Somebody says something to the run.
    Signal(Signal),
    /// A message on the site's local broker.
    Mqtt(Mqtt),
    /// A request to the device's own listener, whose signature is right where it needs one.
    Webhook(Request),
    /// A file in one of the device's directories comes, changes or goes.
    File(File),
    /// An event on the device's own bus.
    Event(Event),
    /// Somebody answers an `approval`.
    Approval(Approval),
    /// Somebody wants the end.
    Cancel(Cancel),
    /// Somebody wants another run of the tested workflow.
    Start(Start),
    /// The agent dies, and is started again.
    Crash(Crash),
    /// The device loses its power.
    PowerCut(PowerCut),
    /// The wall clock jumps.
    Clock(Clock),
    /// The link to the control plane.
    Link(Link),
    /// The site's local broker.
    Broker(Link),
    /// Another definition of the tested workflow comes into force, from this file.
    Update(String),
}

/// Somebody says something to a run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signal {
    /// The signal's name.
    pub(crate) name: String,
    /// What goes with it.
    #[serde(default)]
    pub(crate) data: Json,
    /// To the latest run of this workflow instead of the tested run.
    #[serde(default)]
    pub(crate) workflow: Option<String>,
}

/// A message on the site's local broker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mqtt {
    /// Topic name.
    pub(crate) topic: String,
    /// As the engine sees it: JSON, or text.
    #[serde(default)]
    pub(crate) payload: Json,
    /// Quality of service.
    #[serde(default)]
    pub(crate) qos: u8,
    /// The broker had kept it.
    #[serde(default)]
    pub(crate) retained: bool,
}

/// A request to the device's own listener.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// Its path, without a query.
    pub(crate) path: String,
    /// Its method.
    #[serde(default = "post")]
    pub(crate) method: String,
    /// The query's parts.
    #[serde(default)]
    pub(crate) query: Object<String, Json>,
    /// Names in lower case.
    #[serde(default)]
    pub(crate) headers: Object<String, Json>,
    /// As the engine sees it: JSON, or text.
    #[serde(default)]
    pub(crate) body: Json,
}

impl Request {
    /// What expressions see of it.
    pub(crate) fn data(&self) -> Json {
        let Self { path, method, query, headers, body } = self;
        serde_json::json!({
            "path": path,
            "method": method,
            "query": query,
            "headers": headers,
            "body": body,
        })
    }
}

fn post() -> String {
    "POST".to_owned()
}

/// A file in one of the device's directories.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// The name of the directory, and its path in it.
    pub(crate) path: String,
    /// Its size from now on.
    #[serde(default)]
    pub(crate) size: u64,
    /// It is not there from now on.
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// An event on the device's own bus.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// Its name.
    pub(crate) name: String,
    /// What goes with it.
    #[serde(default)]
    pub(crate) data: Json,
}

/// Somebody answers an `approval`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// The step instance, or the id of the step that waits.
    pub(crate) step: String,
    /// One of its choices.
    pub(crate) choice: String,
    /// Who.
    #[serde(default = "somebody")]
    pub(crate) by: String,
    /// The form as filled in.
    #[serde(default)]
    pub(crate) form: Object<String, Json>,
    /// In the latest run of this workflow instead of the tested run.
    #[serde(default)]
    pub(crate) workflow: Option<String>,
}

fn somebody() -> String {
    "user:tester".to_owned()
}

/// Somebody wants the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Cancel {
    /// Without waiting for grace periods.
    pub(crate) force: bool,
    /// Of the latest run of this workflow instead of the tested run.
    pub(crate) workflow: Option<String>,
}

/// Somebody wants another run of the tested workflow.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Start {
    /// Its inputs; those of the scenario where absent.
    pub(crate) inputs: Option<Object<String, Json>>,
}

/// The agent dies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Crash {
    /// Until it is started again.
    pub(crate) down: Span,
    /// It was stopped in order: what was decided is on the disk.
    pub(crate) clean: bool,
}

/// The device loses its power.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PowerCut {
    /// Until the agent runs again, in another boot.
    pub(crate) down: Span,
    /// How far its wall clock can be believed then; as before where absent. `unset`: it begins
    /// again in 1970.
    pub(crate) trust: Option<ClockTrust>,
}

/// The wall clock is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Clock {
    /// By so much.
    pub(crate) by: Shift,
    /// To the true time, before it is shifted.
    pub(crate) right: bool,
    /// How far it can be believed from now on.
    pub(crate) trust: Option<ClockTrust>,
}

impl<'de> Deserialize<'de> for Stimulus {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let entries = Object::<String, Json>::deserialize(d)?;
        read(entries).map_err(D::Error::custom)
    }
}

fn read(mut entries: Object<String, Json>) -> Result<Stimulus, String> {
    let at = entries.remove("at").map(|json| value("at", json)).transpose()?;
    let after = entries.remove("after").map(after).transpose()?;
    let refused = entries.remove("refused").map(|json| value("refused", json)).transpose()?;
    if at.is_none() && after.is_none() {
        return Err("a stimulus needs `at` or `after`".to_owned());
    }
    let mut rest = entries.into_iter();
    let (Some((key, what)), None) = (rest.next(), rest.next()) else {
        return Err(format!("a stimulus has `at` and exactly one of {}", KINDS.join(", ")));
    };
    let kind = kind(&key, what)?;
    Ok(Stimulus { at: at.unwrap_or_default(), after, refused, kind })
}

fn after(json: Json) -> Result<After, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Long {
        step: String,
        is: Reached,
    }
    if let Json::String(step) = json {
        return Ok(After { step, is: Reached::Settled });
    }
    let Long { step, is } = value("after", json)?;
    Ok(After { step, is })
}

fn kind(key: &str, json: Json) -> Result<Kind, String> {
    Ok(match key {
        "signal" => Kind::Signal(value(key, named(json))?),
        "mqtt" => Kind::Mqtt(value(key, json)?),
        "webhook" => Kind::Webhook(value(key, json)?),
        "file" => Kind::File(value(key, file(json))?),
        "event" => Kind::Event(value(key, named(json))?),
        "approval" => Kind::Approval(value(key, json)?),
        "cancel" => Kind::Cancel(value(key, plain(json))?),
        "start" => Kind::Start(value(key, plain(json))?),
        "crash" => Kind::Crash(value(key, plain(json))?),
        "power_cut" => Kind::PowerCut(value(key, plain(json))?),
        "clock" => Kind::Clock(value(key, json)?),
        "link" => Kind::Link(value(key, json)?),
        "broker" => Kind::Broker(value(key, json)?),
        "update" => Kind::Update(value(key, json)?),
        other => return Err(format!("`{other}` is no stimulus: use one of {}", KINDS.join(", "))),
    })
}

fn value<T: DeserializeOwned>(key: &str, json: Json) -> Result<T, String> {
    serde_json::from_value(json).map_err(|error| format!("`{key}`: {error}"))
}

/// A text is a name without data.
fn named(json: Json) -> Json {
    if json.is_string() { serde_json::json!({ "name": json }) } else { json }
}

/// A text is the path of a file that is written.
fn file(json: Json) -> Json {
    if json.is_string() { serde_json::json!({ "path": json }) } else { json }
}

/// Nothing, or `true`, is the usual.
fn plain(json: Json) -> Json {
    if json.is_null() || json == Json::Bool(true) { serde_json::json!({}) } else { json }
}
