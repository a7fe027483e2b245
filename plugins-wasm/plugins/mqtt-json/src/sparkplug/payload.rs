//! `Payload` of `sparkplug_b.proto`.

use serde::Serialize;

use super::metric::Metric;
use super::proto::{Reader, Writer};

/// Metrics of one payload.
const METRICS: usize = 5_000;

/// Fields of `Payload`.
mod field {
    pub(super) const TIMESTAMP: u32 = 1;
    pub(super) const METRICS: u32 = 2;
    pub(super) const SEQ: u32 = 3;
    pub(super) const UUID: u32 = 4;
}

/// What a message says.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
    pub(crate) metrics: Vec<Metric>,
}

impl Payload {
    /// Fields that are not known, and `body`, are passed over.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut payload = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            match number {
                field::TIMESTAMP => payload.timestamp = Some(value.number()?),
                field::SEQ => payload.seq = Some(value.number()?),
                field::UUID => payload.uuid = Some(value.text()?),
                field::METRICS if payload.metrics.len() >= METRICS => {
                    return Err(format!("it has more than {METRICS} metrics"));
                }
                field::METRICS => payload.metrics.push(Metric::decode(value.bytes()?)?),
                _ => {}
            }
        }
        Ok(payload)
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let mut writer = Writer::default();
        if let Some(timestamp) = self.timestamp {
            writer.varint(field::TIMESTAMP, timestamp);
        }
        for metric in &self.metrics {
            writer.bytes(field::METRICS, &metric.encode()?);
        }
        if let Some(seq) = self.seq {
            writer.varint(field::SEQ, seq);
        }
        if let Some(uuid) = &self.uuid {
            writer.bytes(field::UUID, uuid.as_bytes());
        }
        Ok(writer.bytes)
    }
}
