//! `Payload.Metric` of `sparkplug_b.proto`: names, aliases, and values by their data type.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::proto::{Field, Reader, Writer};

/// Fields of `Metric`.
mod field {
    pub(super) const NAME: u32 = 1;
    pub(super) const ALIAS: u32 = 2;
    pub(super) const TIMESTAMP: u32 = 3;
    pub(super) const DATATYPE: u32 = 4;
    pub(super) const IS_HISTORICAL: u32 = 5;
    pub(super) const IS_TRANSIENT: u32 = 6;
    pub(super) const IS_NULL: u32 = 7;
    pub(super) const INT: u32 = 10;
    pub(super) const LONG: u32 = 11;
    pub(super) const FLOAT: u32 = 12;
    pub(super) const DOUBLE: u32 = 13;
    pub(super) const BOOLEAN: u32 = 14;
    pub(super) const STRING: u32 = 15;
    pub(super) const BYTES: u32 = 16;
}

/// `DataType`, by its numbers.
const TYPES: [&str; 20] = [
    "Unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float",
    "Double", "Boolean", "String", "DateTime", "Text", "UUID", "DataSet", "Bytes", "File",
    "Template",
];

/// A metric. `DataSet`, `Template`, arrays, properties and metadata are not read; `value` is `null`
/// then, and `unread` says that there is one.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Metric {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    value: Value,
    #[serde(skip_serializing_if = "is_false")]
    historical: bool,
    #[serde(skip_serializing_if = "is_false")]
    transient: bool,
    #[serde(skip_deserializing, skip_serializing_if = "is_false")]
    unread: bool,
    /// The value as it was read, until the type is known.
    #[serde(skip)]
    raw: Option<Raw>,
}

/// A value on the wire.
#[derive(Debug, Clone, PartialEq)]
enum Raw {
    Whole(u64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Text(String),
    Bytes(Vec<u8>),
}

/// What a birth message says of an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Known {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Metric {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut metric = Self::default();
        let mut reader = Reader::new(bytes);
        while let Some((number, value)) = reader.next()? {
            match (number, value) {
                (field::NAME, value) => metric.name = Some(value.text()?),
                (field::ALIAS, value) => metric.alias = Some(value.number()?),
                (field::TIMESTAMP, value) => metric.timestamp = Some(value.number()?),
                (field::DATATYPE, value) => {
                    let kind = usize::try_from(value.number()?).unwrap_or(usize::MAX);
                    let name = TYPES.get(kind).map(|name| (*name).to_owned());
                    metric.kind = Some(name.unwrap_or_else(|| format!("DataType {kind}")));
                }
                (field::IS_HISTORICAL, value) => metric.historical = value.number()? != 0,
                (field::IS_TRANSIENT, value) => metric.transient = value.number()? != 0,
                (field::IS_NULL, _) => {}
                (field::INT | field::LONG, value) => metric.raw = Some(Raw::Whole(value.number()?)),
                (field::FLOAT, Field::Fixed32(bits)) => {
                    metric.raw = Some(Raw::Float(f32::from_bits(bits)));
                }
                (field::DOUBLE, Field::Fixed64(bits)) => {
                    metric.raw = Some(Raw::Double(f64::from_bits(bits)));
                }
                (field::BOOLEAN, value) => metric.raw = Some(Raw::Boolean(value.number()? != 0)),
                (field::STRING, value) => metric.raw = Some(Raw::Text(value.text()?)),
                (field::BYTES, value) => metric.raw = Some(Raw::Bytes(value.bytes()?.to_vec())),
                (17..=19, _) => metric.unread = true,
                _ => {}
            }
        }
        metric.value = metric.json();
        Ok(metric)
    }

    /// Takes name and type from a birth message where this one leaves them out.
    pub(crate) fn fill(&mut self, aliases: &BTreeMap<u64, Known>) {
        let Some(known) = self.alias.and_then(|alias| aliases.get(&alias)) else { return };
        self.name.get_or_insert_with(|| known.name.clone());
        self.kind.get_or_insert_with(|| known.kind.clone());
        self.value = self.json();
    }

    /// What later messages may leave out.
    pub(crate) fn known(&self) -> Option<(u64, Known)> {
        let (name, kind) = (self.name.clone()?, self.kind.clone()?);
        Some((self.alias?, Known { name, kind }))
    }

    /// The value by its type. Bytes are base64; what is no number in JSON is `null`.
    fn json(&self) -> Value {
        match self.raw.as_ref() {
            None => Value::Null,
            Some(Raw::Whole(number)) => match self.kind.as_deref() {
                // Negative ones come with as many bits as the sender's language has.
                Some("Int8") => Value::from(*number as i8),
                Some("Int16") => Value::from(*number as i16),
                Some("Int32") => Value::from(*number as i32),
                Some("Int64") => Value::from(*number as i64),
                _ => Value::from(*number),
            },
            // By its shortest decimal text: 21.3 and not 21.299999237060547.
            Some(Raw::Float(number)) => {
                let shortest = number.to_string().parse().ok().and_then(Number::from_f64);
                shortest.map_or(Value::Null, Value::Number)
            }
            Some(Raw::Double(number)) => {
                Number::from_f64(*number).map_or(Value::Null, Value::Number)
            }
            Some(Raw::Boolean(truth)) => Value::Bool(*truth),
            Some(Raw::Text(text)) => Value::String(text.clone()),
            Some(Raw::Bytes(bytes)) => Value::String(BASE64.encode(bytes)),
        }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, String> {
        let what = || match (&self.name, self.alias) {
            (Some(name), _) => format!("metric `{name}`"),
            (None, alias) => format!("metric {}", alias.unwrap_or_default()),
        };
        if self.name.is_none() && self.alias.is_none() {
            return Err("a metric has neither `name` nor `alias`".to_owned());
        }
        let kind = self.kind.as_deref().ok_or_else(|| format!("{} has no `type`", what()))?;
        let number = TYPES.iter().position(|name| *name == kind).filter(|number| *number > 0);
        let number = number.ok_or_else(|| format!("{}: there is no type `{kind}`", what()))?;
        let mut writer = Writer::default();
        if let Some(name) = &self.name {
            writer.bytes(field::NAME, name.as_bytes());
        }
        if let Some(alias) = self.alias {
            writer.varint(field::ALIAS, alias);
        }
        if let Some(timestamp) = self.timestamp {
            writer.varint(field::TIMESTAMP, timestamp);
        }
        writer.varint(field::DATATYPE, number as u64);
        for (field, set) in
            [(field::IS_HISTORICAL, self.historical), (field::IS_TRANSIENT, self.transient)]
        {
            if set {
                writer.varint(field, 1);
            }
        }
        if self.value.is_null() {
            writer.varint(field::IS_NULL, 1);
            return Ok(writer.bytes);
        }
        let wrong = || format!("{}: {} is no {kind}", what(), self.value);
        write_value(&mut writer, kind, &self.value).ok_or_else(wrong)?;
        Ok(writer.bytes)
    }
}

/// Writes a value of a type; `None` where it is not of that type, or the type is not written.
fn write_value(writer: &mut Writer, kind: &str, value: &Value) -> Option<()> {
    let signed = |low: i64, high: i64| value.as_i64().filter(|n| (low..=high).contains(n));
    let unsigned = |high: u64| value.as_u64().filter(|n| *n <= high);
    match kind {
        "Int8" => writer.varint(field::INT, u64::from(signed(-128, 127)? as i32 as u32)),
        "Int16" => writer.varint(field::INT, u64::from(signed(-32_768, 32_767)? as i32 as u32)),
        "Int32" => {
            let number = i32::try_from(value.as_i64()?).ok()?;
            writer.varint(field::INT, u64::from(number as u32));
        }
        "UInt8" => writer.varint(field::INT, unsigned(255)?),
        "UInt16" => writer.varint(field::INT, unsigned(65_535)?),
        // The specification has it in `long_value` where it could be over 31 bits in Java; both are
        // read everywhere, and `int_value` is what the type says.
        "UInt32" => writer.varint(field::INT, unsigned(u64::from(u32::MAX))?),
        "Int64" => writer.varint(field::LONG, value.as_i64()? as u64),
        "UInt64" | "DateTime" => writer.varint(field::LONG, value.as_u64()?),
        "Float" => writer.float(field::FLOAT, value.as_f64()? as f32),
        "Double" => writer.double(field::DOUBLE, value.as_f64()?),
        "Boolean" => writer.varint(field::BOOLEAN, u64::from(value.as_bool()?)),
        "String" | "Text" | "UUID" => writer.bytes(field::STRING, value.as_str()?.as_bytes()),
        "Bytes" | "File" => {
            writer.bytes(field::BYTES, &BASE64.decode(value.as_str()?.as_bytes()).ok()?);
        }
        _ => return None,
    }
    Some(())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_of_every_type_come_back() {
        for (kind, value) in [
            ("Int8", json!(-128)),
            ("Int16", json!(-32_768)),
            ("Int32", json!(-2_147_483_648_i64)),
            ("Int64", json!(i64::MIN)),
            ("UInt8", json!(255)),
            ("UInt16", json!(65_535)),
            ("UInt32", json!(u32::MAX)),
            ("UInt64", json!(u64::MAX)),
            ("Float", json!(21.3)),
            ("Double", json!(0.1)),
            ("Boolean", json!(false)),
            ("String", json!("é")),
            ("DateTime", json!(1_767_225_600_000_u64)),
            ("Text", json!("")),
            ("UUID", json!("b9a0")),
            ("Bytes", json!("AAH/")),
            ("Double", Value::Null),
        ] {
            let (name, kind) = (Some("a/b".to_owned()), Some(kind.to_owned()));
            let metric = Metric { name, kind, value, ..Metric::default() };
            let back = metric.encode().and_then(|bytes| Metric::decode(&bytes));
            let back = back.map(|back| Metric { raw: None, ..back });
            assert_eq!(back, Ok(metric));
        }
    }

    #[test]
    fn what_is_not_of_its_type_is_refused() {
        for (kind, value) in [
            ("Int8", json!(128)),
            ("Int16", json!(1.5)),
            ("UInt8", json!(-1)),
            ("Int32", json!(2_147_483_648_i64)),
            ("Boolean", json!(1)),
            ("Bytes", json!("?")),
            ("String", json!(1)),
            ("DataSet", json!([])),
            ("Unknown", json!(1)),
            ("Colour", json!(1)),
        ] {
            let (name, kind) = (Some("a".to_owned()), Some(kind.to_owned()));
            let metric = Metric { name, kind, value, ..Metric::default() };
            assert!(metric.encode().is_err(), "{metric:?}");
        }
        assert!(Metric::default().encode().is_err());
    }
}
