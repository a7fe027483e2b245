//! TOML that people write, read into types.
//!
//! The text is parsed by the `toml` crate. From the parsed values into types it is a short way of
//! our own: the crate's own one weighs about 6 KB for each type and we need a dozen types. Faults are
//! told by line and column.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor,
};
use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeString, DeTable, DeValue};

/// What is wrong with a text, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TomlError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Of which key, with its tables, and what is wrong. Quotes names and values of the wrong type,
    /// but no other part of the text.
    pub message: String,
}

/// Reads a whole text.
///
/// # Errors
/// The text is not TOML, or not what the type wants.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, TomlError> {
    let read = DeTable::parse(text)
        .map_err(|e| Fault::new(e.message().to_owned(), e.span().map(|span| span.start)))
        .and_then(|table| T::deserialize(whole(table)));
    read.map_err(|fault| fault.placed(text))
}

/// The document as a value. Its place is the beginning of the text.
fn whole(table: Spanned<DeTable<'_>>) -> Reader<'_> {
    Reader(Spanned::new(0..0, DeValue::Table(table.into_inner())))
}

/// What is wrong. Behind a pointer, since what is derived moves it at every field.
#[derive(Debug)]
struct Fault(Box<Told>);

#[derive(Debug)]
struct Told {
    message: String,
    /// At which byte of the text, once that is known.
    at: Option<usize>,
    /// Under which key, as far as it is known, with its tables.
    path: String,
}

impl Fault {
    fn new(message: String, at: Option<usize>) -> Self {
        Self(Box::new(Told { message, at, path: String::new() }))
    }

    /// The innermost place counts.
    fn within(mut self, start: usize) -> Self {
        self.0.at.get_or_insert(start);
        self
    }

    fn under(mut self, key: &str) -> Self {
        let inner = std::mem::take(&mut self.0.path);
        self.0.path = if inner.is_empty() { key.to_owned() } else { format!("{key}.{inner}") };
        self
    }

    fn placed(self, text: &str) -> TomlError {
        let Told { mut message, at, path } = *self.0;
        if !path.is_empty() {
            message = format!("`{path}`: {message}");
        }
        let before = text.get(..at.unwrap_or(0)).unwrap_or(text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        TomlError { line, column, message }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self::new(message.to_string(), None)
    }
}

/// One value.
struct Reader<'t>(Spanned<DeValue<'t>>);

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let start = self.0.span().start;
        let value = match self.0.into_inner() {
            DeValue::String(text) => visitor.visit_str(&text),
            DeValue::Integer(number) => match integer(&number) {
                Ok(Integer::Signed(number)) => visitor.visit_i64(number),
                Ok(Integer::Unsigned(number)) => visitor.visit_u64(number),
                Err(fault) => Err(fault),
            },
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => visitor.visit_f64(number),
                Err(_) => Err(Fault::custom("this number cannot be read")),
            },
            DeValue::Boolean(value) => visitor.visit_bool(value),
            DeValue::Datetime(_) => {
                Err(Fault::custom("no date or time is wanted here; write a text in quotes"))
            }
            DeValue::Array(items) => visitor.visit_seq(Items(items.into_iter())),
            DeValue::Table(table) => {
                visitor.visit_map(Entries { entries: table.into_iter(), value: None })
            }
        };
        value.map_err(|fault| fault.within(start))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// Only variants without content, which are all that our files have.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let start = self.0.span().start;
        let variant = match self.0.get_ref() {
            DeValue::String(text) => visitor.visit_enum(named(text)),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => Err(Fault::custom("a text in quotes is wanted here")),
        };
        variant.map_err(|fault| fault.within(start))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

enum Integer {
    Signed(i64),
    Unsigned(u64),
}

fn integer(number: &DeInteger<'_>) -> Result<Integer, Fault> {
    let (digits, radix) = (number.as_str(), number.radix());
    i64::from_str_radix(digits, radix)
        .map(Integer::Signed)
        .or_else(|_| u64::from_str_radix(digits, radix).map(Integer::Unsigned))
        .map_err(|_| Fault::custom("this number is too large"))
}

fn named<'n>(name: &'n DeString<'_>) -> StrDeserializer<'n, Fault> {
    name.as_ref().into_deserializer()
}

struct Items<'t>(<DeArray<'t> as IntoIterator>::IntoIter);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        self.0.next().map(|item| seed.deserialize(Reader(item))).transpose()
    }
}

struct Entries<'t> {
    entries: <DeTable<'t> as IntoIterator>::IntoIter,
    /// The value to come, and its key.
    value: Option<(DeString<'t>, Spanned<DeValue<'t>>)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        let start = key.span().start;
        let (key, _) = self.value.insert((key.into_inner(), value));
        seed.deserialize(named(key)).map(Some).map_err(|fault| fault.within(start))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let entry = self.value.take();
        let (key, value) = entry.ok_or_else(|| Fault::custom("a value before its key"))?;
        seed.deserialize(Reader(value)).map_err(|fault| fault.under(&key))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Machine {
        name: String,
        port: Option<u16>,
        kind: Kind,
        #[serde(default)]
        parts: Vec<Part>,
        #[serde(default)]
        marks: BTreeMap<String, bool>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Pump,
        Valve,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Part {
        weight: f64,
    }

    const MACHINE: &str = "name = 'a'\nkind = \"valve\"\nport = 0x1_F\n[[parts]]\nweight = 1.5\n\
                           [[parts]]\nweight = 2e3\n[marks]\n'ö' = true\n";

    #[test]
    fn a_text_becomes_a_type() {
        let machine: Machine = from_toml(MACHINE).unwrap();
        assert_eq!(machine, toml::from_str(MACHINE).unwrap());
        assert_eq!((machine.port, machine.parts.len()), (Some(31), 2));
    }

    #[test]
    fn what_is_wrong_is_told_by_its_place() {
        for (text, line, column, part) in [
            ("name = 'a'\nkind = 'tap'", 2, 8, "unknown variant `tap`, expected `pump` or `valve`"),
            ("name = 'a'\nkind = 7", 2, 8, "a text in quotes"),
            ("kind = 'pump'", 1, 1, "missing field `name`"),
            ("name = 'a'\nkind = 'pump'\nöl = 1", 3, 1, ""),
            ("name = 'a'\nkind = 'pump'\n  oil = 1", 3, 3, "unknown field `oil`"),
            (
                "name = 'a'\nkind = 'pump'\nport = 70000",
                3,
                8,
                "`port`: invalid value: integer `70000`",
            ),
            ("name = 'a'\nkind = 'pump'\nport = 99999999999999999999", 3, 8, "too large"),
            ("name = 1979-05-27\nkind = 'pump'", 1, 8, "no date"),
            ("name = 'a'\nkind = 'pump'\n[marks]\n'ä' = 1", 4, 7, "`marks.ä`: invalid type"),
            ("name = 'a'\nkind = 'pump'\n[[parts]]\nwait = 1", 3, 1, "missing field `weight`"),
            ("name = 'a'\nname = 'b'\nkind = 'pump'", 2, 1, "duplicate key"),
        ] {
            let error = from_toml::<Machine>(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text:?} said: {error}");
            assert!(error.message.contains(part), "{text:?} said: {error}");
        }
    }

    fn value() -> impl Strategy<Value = toml::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(toml::Value::Integer),
            any::<bool>().prop_map(toml::Value::Boolean),
            (-1e300..1e300).prop_map(toml::Value::Float),
            any::<String>().prop_map(toml::Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|entries| toml::Value::Table(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_read_as_the_crate_reads_it(
            entries in prop::collection::vec(("[a-z]{1,4}", value()), 0..5),
        ) {
            let table: toml::Table = entries.into_iter().collect();
            let text = toml::to_string(&table).unwrap();
            prop_assert_eq!(
                from_toml::<Value>(&text).unwrap(),
                toml::from_str::<Value>(&text).unwrap()
            );
        }

        #[test]
        fn no_text_brings_it_down(text in ".{0,80}") {
            let ours = from_toml::<Value>(&text).is_ok();
            prop_assert_eq!(ours, toml::from_str::<Value>(&text).is_ok());
        }
    }
}
