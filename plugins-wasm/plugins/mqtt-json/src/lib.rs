//! Payloads of MQTT messages: JSON, and Sparkplug B.

mod sparkplug;

use std::collections::BTreeMap;

use data_encoding::BASE64;
use openclaw_plugin_sdk::mqtt::Message;
use openclaw_plugin_sdk::{Error, Result, export, now_ms};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sparkplug::metric::{Known, Metric};
use crate::sparkplug::payload::Payload;
use crate::sparkplug::topic::Topic;

/// A payload as a trigger or a step hands it out: text, or base64 where it is none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decode {
    payload: Value,
}

/// What a payload says.
#[derive(Debug, Serialize)]
pub struct Decoded {
    value: Value,
}

/// A value to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encode {
    value: Value,
}

/// A payload to send.
#[derive(Debug, Serialize)]
pub struct Encoded {
    payload: String,
}

/// A payload of Sparkplug B.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparkplugDecode {
    payload: String,
    #[serde(default)]
    topic: Option<String>,
    /// Names and types by alias, as decoding a birth message gave them.
    #[serde(default)]
    aliases: BTreeMap<u64, Known>,
}

/// What is in it.
#[derive(Debug, Serialize)]
pub struct SparkplugDecoded {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<Topic>,
    #[serde(flatten)]
    payload: Payload,
    /// Names and types of the metrics that have an alias.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    aliases: BTreeMap<u64, Known>,
}

/// Metrics to send.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparkplugEncode {
    metrics: Vec<Metric>,
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    seq: Option<u64>,
    #[serde(default)]
    uuid: Option<String>,
    /// Where it is published, if at all.
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    qos: u8,
}

/// The payload, and whether it was published.
#[derive(Debug, Serialize)]
pub struct SparkplugEncoded {
    payload_base64: String,
    bytes: usize,
    published: bool,
}

export!(decode, decode_json);
export!(encode, encode_json);
export!(sparkplug_decode, decode_sparkplug);
export!(sparkplug_encode, encode_sparkplug);

/// Reads JSON. What is no text is JSON already and is given back.
///
/// # Errors
/// `user.not_json`.
pub fn decode_json(input: Decode) -> Result<Decoded> {
    let Value::String(text) = input.payload else { return Ok(Decoded { value: input.payload }) };
    let said = match serde_json::from_str(&text) {
        Ok(value) => return Ok(Decoded { value }),
        Err(e) => e,
    };
    let bytes = BASE64.decode(text.as_bytes()).ok();
    let value = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    value.map(|value| Decoded { value }).ok_or_else(|| {
        let start: String = text.chars().take(60).collect();
        Error::new("user.not_json", format!("`{start}` is neither JSON nor base64 of it: {said}"))
    })
}

/// Writes JSON in its shortest form.
///
/// # Errors
/// None that a value could cause.
pub fn encode_json(input: Encode) -> Result<Encoded> {
    Ok(Encoded { payload: input.value.to_string() })
}

/// Takes a payload apart.
///
/// # Errors
/// `user.sparkplug` for what is none, `inputs.invalid` for a topic that is none.
pub fn decode_sparkplug(input: SparkplugDecode) -> Result<SparkplugDecoded> {
    let topic = input.topic.as_deref().map(Topic::parse).transpose().map_err(invalid)?;
    let mut payload = parse_payload(&input.payload)?;
    let mut aliases = BTreeMap::new();
    for metric in &mut payload.metrics {
        metric.fill(&input.aliases);
        aliases.extend(metric.known());
    }
    Ok(SparkplugDecoded { topic, payload, aliases })
}

/// A payload comes as base64, or as it is where its bytes happen to be a text. What reads as base64
/// and is no payload then is taken as it is.
fn parse_payload(text: &str) -> Result<Payload> {
    let wrong = |why: String| Error::new("user.sparkplug", format!("the payload: {why}"));
    match BASE64.decode(text.as_bytes()) {
        Ok(bytes) => Payload::decode(&bytes)
            .or_else(|why| Payload::decode(text.as_bytes()).map_err(|_| wrong(why))),
        Err(_) => Payload::decode(text.as_bytes()).map_err(wrong),
    }
}

/// Puts a payload together, and publishes it where a topic is given.
///
/// # Errors
/// `inputs.invalid` for a value that is not of its type or a topic that is none; `permission.denied`.
pub fn encode_sparkplug(input: SparkplugEncode) -> Result<SparkplugEncoded> {
    if let Some(topic) = &input.topic {
        Topic::parse(topic).map_err(invalid)?;
    }
    let timestamp = match input.timestamp {
        Some(timestamp) => timestamp,
        None => now_ms()?.unsigned_abs(),
    };
    let (metrics, seq, uuid) = (input.metrics, input.seq, input.uuid);
    let payload = Payload { timestamp: Some(timestamp), metrics, seq, uuid };
    let bytes = payload.encode().map_err(invalid)?;
    let published = input.topic.is_some();
    if let Some(topic) = input.topic {
        let message = Message::new(topic, bytes.clone());
        let message = if input.qos == 0 { message } else { message.at_least_once() };
        message.publish()?;
    }
    Ok(SparkplugEncoded { payload_base64: BASE64.encode(&bytes), bytes: bytes.len(), published })
}

fn invalid(why: String) -> Error {
    Error::new("inputs.invalid", why)
}
