//! The values expressions compute with. They are cheap to clone: text, lists and maps are shared.

use std::sync::Arc;

use super::budget::Budget;
use super::map::{Key, Map};
use super::secret::SecretText;
use super::time::{Duration, Timestamp};

/// Integral doubles up to this print as integers at the JSON boundary: 2^53.
const EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// One value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed 64-bit integer; overflow is an error.
    Int(i64),
    /// An unsigned 64-bit integer; overflow is an error.
    Uint(u64),
    /// An IEEE 754 double.
    Double(f64),
    /// Text; positions in it count code points.
    String(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<[Value]>),
    /// A map.
    Map(Arc<Map>),
    /// A point in time with nanoseconds, year 1 to 9999.
    Timestamp(Timestamp),
    /// A signed length of time, up to about 292 years.
    Duration(Duration),
    /// The type of a value, as `type(x)` gives it.
    Type(TypeName),
    /// A secret by name, or text joined with one. The value is known to the host alone, which puts
    /// it in where it is used; of the operators only `+` with text takes it.
    Secret(SecretText),
}

impl Value {
    /// Whether `==` holds: numbers by value whatever their type. Values that are too large to be
    /// compared within one evaluation's budget count as different.
    #[must_use]
    pub fn equals(&self, other: &Self) -> bool {
        matches!(super::ops::equal(&mut Budget::standard(), self, other), Ok(true))
    }

    /// The name of the value's type, as `type(x)` prints it.
    #[must_use]
    pub fn type_name(&self) -> TypeName {
        match self {
            Self::Null => TypeName::Null,
            Self::Bool(_) => TypeName::Bool,
            Self::Int(_) => TypeName::Int,
            Self::Uint(_) => TypeName::Uint,
            Self::Double(_) => TypeName::Double,
            Self::String(_) => TypeName::String,
            Self::Bytes(_) => TypeName::Bytes,
            Self::List(_) => TypeName::List,
            Self::Map(_) => TypeName::Map,
            Self::Timestamp(_) => TypeName::Timestamp,
            Self::Duration(_) => TypeName::Duration,
            Self::Type(_) => TypeName::Type,
            Self::Secret(_) => TypeName::Secret,
        }
    }

    /// The truth value, if it is one: conditions take nothing else.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(flag) = self { Some(*flag) } else { None }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The elements, if it is a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Value]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// The entries, if it is a map.
    #[must_use]
    pub fn as_map(&self) -> Option<&Map> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }

    /// The integer, if it is `int`, or `uint` or an integral double of the same value.
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match Key::of_value(self)? {
            Key::Int(number) => Some(number),
            Key::Uint(number) => i64::try_from(number).ok(),
            Key::Bool(_) | Key::String(_) => None,
        }
    }

    /// The number as a double, whatever its numeric type.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "promotion to double is the rule")]
        if let Self::Int(number) = self {
            Some(*number as f64)
        } else if let Self::Uint(number) = self {
            Some(*number as f64)
        } else if let Self::Double(number) = self {
            Some(*number)
        } else {
            None
        }
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Double(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(items.into())
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(Arc::new(map))
    }
}

/// The types of values, which are values themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeName {
    /// `null_type`.
    Null,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`.
    Bytes,
    /// `list`.
    List,
    /// `map`.
    Map,
    /// `google.protobuf.Timestamp`, CEL's name for it.
    Timestamp,
    /// `google.protobuf.Duration`, CEL's name for it.
    Duration,
    /// `type`.
    Type,
    /// `secret`.
    Secret,
}

impl TypeName {
    const ALL: [Self; 13] = [
        Self::Null,
        Self::Bool,
        Self::Int,
        Self::Uint,
        Self::Double,
        Self::String,
        Self::Bytes,
        Self::List,
        Self::Map,
        Self::Timestamp,
        Self::Duration,
        Self::Type,
        Self::Secret,
    ];

    /// The name as expressions write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::List => "list",
            Self::Map => "map",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::Type => "type",
            Self::Secret => "secret",
        }
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl std::fmt::Display for TypeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The integer that a double is exactly, within `i64`.
pub(super) fn integer_of(number: f64) -> Option<i64> {
    // Both bounds are exact powers of two; the upper one is the first double beyond `i64`.
    let fits = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    #[expect(clippy::cast_possible_truncation, reason = "in range and integral")]
    (fits && number.fract() == 0.0).then_some(number as i64)
}

/// The integer as which a double prints: exact and within ±2^53.
pub(super) fn printed_integer(number: f64) -> Option<i64> {
    if number.abs() <= EXACT_INTEGER { integer_of(number) } else { None }
}
