//! How values cross to and from JSON.
//!
//! Two forms go out. At the outer boundary an integral double prints as an integer, as CEL's JSON
//! mapping wants; the inner, typed form keeps `21` and `21.0` apart, so what the engine stores is
//! what it reads again.

use std::fmt;

use data_encoding::BASE64;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value as Json};

use super::budget::VALUE_DEPTH;
use super::error::{EvalError, Fault, Span};
use super::map::{Key, Map};
use super::value::{Value, printed_integer};
use crate::json::JsonText;

impl Value {
    /// Takes JSON from outside: every number becomes a double, so that `21` and `21.0` from a
    /// sensor behave the same. Parts nested deeper than any accepted document become `null`.
    #[must_use]
    pub fn from_json(json: &Json) -> Self {
        from_json(json, Numbers::Doubles, 0)
    }

    /// Takes JSON of our own (variables, recorded outputs, values checked against a schema that
    /// says `integer`): integers become `int` (`uint` above `i64`), other numbers `double`.
    #[must_use]
    pub fn from_json_typed(json: &Json) -> Self {
        from_json(json, Numbers::AsWritten, 0)
    }

    /// The outer JSON form: integral doubles in ±2^53 print as integers. Bytes become base64,
    /// timestamps RFC 3339, durations seconds such as `1.5s`, map keys text, a secret
    /// `{"$secret": name}`.
    ///
    /// # Errors
    /// `expr.type`: NaN or infinity, or a map with the key `$secret` or `$join` (only `secret()` makes those, so data cannot ask
    /// for a secret).
    pub fn to_json(&self) -> Result<Json, EvalError> {
        self.json(Form::Outer).map_err(|fault| fault.at(Span::default()))
    }

    /// The inner JSON form: as [`Self::to_json`] but an integral double stays a double, so
    /// [`Self::from_json_typed`] gives the same number back.
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn to_json_typed(&self) -> Result<Json, EvalError> {
        self.json(Form::Typed).map_err(|fault| fault.at(Span::default()))
    }

    /// The text of [`Self::to_json`].
    ///
    /// # Errors
    /// As [`Self::to_json`].
    pub fn to_json_text(&self) -> Result<JsonText, EvalError> {
        let mut text = Vec::new();
        self.write(Form::Outer, &mut text).map_err(|fault| fault.at(Span::default()))?;
        Ok(JsonText::written(String::from_utf8(text).unwrap_or_default()))
    }

    /// The inner JSON form of what came from outside and is only kept, whatever its keys are called:
    /// nothing may read handles of secrets in it.
    ///
    /// # Errors
    /// `expr.type`: NaN or infinity.
    pub fn to_json_as_is(&self) -> Result<Json, EvalError> {
        self.json(Form::AsIs).map_err(|fault| fault.at(Span::default()))
    }

    /// As [`Self::from_json`], of a text.
    ///
    /// # Errors
    /// The text is not JSON, or nested too deeply.
    pub fn read(text: &str) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Deserializer::deserialize_any(&mut reader, Reader)?;
        reader.end()?;
        Ok(value)
    }

    /// Writes the text of [`Self::json`], without making that first.
    pub(super) fn write(&self, form: Form, to: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::String(text) => put(to, &**text),
            Self::List(items) => {
                to.push(b'[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        to.push(b',');
                    }
                    item.write(form, to)?;
                }
                to.push(b']');
                return Ok(());
            }
            Self::Map(map) if map.iter().all(|(key, _)| matches!(key, Key::String(_))) => {
                to.push(b'{');
                for (position, (key, value)) in map.iter().enumerate() {
                    let Key::String(name) = key else { continue };
                    refuse_reserved(form, name)?;
                    if position > 0 {
                        to.push(b',');
                    }
                    put(to, &**name);
                    to.push(b':');
                    value.write(form, to)?;
                }
                to.push(b'}');
                return Ok(());
            }
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Uint(_)
            | Self::Double(_)
            | Self::Bytes(_)
            | Self::Map(_)
            | Self::Timestamp(_)
            | Self::Duration(_)
            | Self::Type(_)
            | Self::Secret(_) => put(to, &self.json(form)?),
        }
        Ok(())
    }

    pub(super) fn json(&self, form: Form) -> Result<Json, Fault> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Int(number) => Json::from(*number),
            Self::Uint(number) => Json::from(*number),
            Self::Double(number) => Json::Number(number_of(*number, form)?),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(BASE64.encode(bytes)),
            Self::List(items) => {
                Json::Array(items.iter().map(|item| item.json(form)).collect::<Result<_, _>>()?)
            }
            Self::Map(map) => {
                let mut object = serde_json::Map::with_capacity(map.len());
                for (key, value) in map.iter() {
                    let name = key.to_string();
                    refuse_reserved(form, &name)?;
                    object.insert(name, value.json(form)?);
                }
                Json::Object(object)
            }
            Self::Timestamp(at) => Json::String(at.to_string()),
            Self::Duration(length) => Json::String(length.to_string()),
            Self::Type(name) => Json::String(name.as_str().to_owned()),
            Self::Secret(secret) => secret.to_json(),
        })
    }
}

/// Which JSON numbers a conversion makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Integral doubles as integers.
    Outer,
    /// Integral doubles as doubles.
    Typed,
    /// The same, and keys that are reserved for secrets as they are.
    AsIs,
}

/// The key of the JSON object that stands for a secret.
pub(crate) const SECRET_KEY: &str = "$secret";

/// The key of the JSON object that stands for text with secrets in it, to be joined by the host:
/// `{"$join": ["Bearer ", {"$secret": "token"}]}`.
pub(crate) const JOIN_KEY: &str = "$join";

fn number_of(number: f64, form: Form) -> Result<Number, Fault> {
    if let (Form::Outer, Some(integer)) = (form, printed_integer(number)) {
        return Ok(Number::from(integer));
    }
    Number::from_f64(number)
        .ok_or_else(|| Fault::wrong_type(format!("{number} cannot be written as JSON")))
}

fn refuse_reserved(form: Form, name: &str) -> Result<(), Fault> {
    if form != Form::AsIs && (name == SECRET_KEY || name == JOIN_KEY) {
        return Err(Fault::wrong_type(format!("the key `{name}` is reserved")));
    }
    Ok(())
}

/// Writes what cannot fail: a buffer takes everything, and the keys are text.
pub(super) fn put<T: serde::Serialize + ?Sized>(to: &mut Vec<u8>, value: &T) {
    let _ = serde_json::to_writer(to, value);
}

/// Reads JSON as [`Value::from_json`] takes it, without making a tree of JSON first.
struct Reader;

impl<'de> serde::de::DeserializeSeed<'de> for Reader {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers from outside are doubles")]
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Double(number as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "numbers from outside are doubles")]
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Double(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Reader)? {
            list.push(item);
        }
        Ok(Value::List(list.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        while let Some(name) = members.next_key_seed(Reader)? {
            let Value::String(name) = name else { return Err(A::Error::custom("no name")) };
            entries.push((Key::String(name), members.next_value_seed(Reader)?));
        }
        Ok(Map::of_last(entries).into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Doubles,
    AsWritten,
}

fn from_json(json: &Json, numbers: Numbers, depth: usize) -> Value {
    if depth > VALUE_DEPTH {
        return Value::Null;
    }
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => from_number(number, numbers),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => {
            Value::List(items.iter().map(|item| from_json(item, numbers, depth + 1)).collect())
        }
        Json::Object(object) => {
            let entries = object.iter().map(|(name, value)| {
                (Key::String(name.as_str().into()), from_json(value, numbers, depth + 1))
            });
            // A JSON object has each key once, so this is never the empty map of `default`.
            Map::new(entries.collect()).unwrap_or_default().into()
        }
    }
}

fn from_number(number: &Number, numbers: Numbers) -> Value {
    if numbers == Numbers::AsWritten {
        if let Some(integer) = number.as_i64() {
            return Value::Int(integer);
        }
        if let Some(integer) = number.as_u64() {
            return Value::Uint(integer);
        }
    }
    Value::Double(number.as_f64().unwrap_or(f64::NAN))
}
