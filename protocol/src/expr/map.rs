//! Maps and their keys.

use std::cmp::Ordering;
use std::sync::Arc;

use super::value::{Value, integer_of};

/// A map's key. Keys order as `bool` < numbers by value < text; `1` and `1u` are the same key.
#[derive(Debug, Clone)]
pub enum Key {
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

impl Key {
    /// The key that a value stands for when a map is asked: an integral double stands for the
    /// integer. `None` where no map can have such a key.
    pub(super) fn of_value(value: &Value) -> Option<Self> {
        if let Value::Double(number) = value {
            return integer_of(*number).map(Self::Int);
        }
        Self::of_literal(value)
    }

    /// The key that a value makes in a new map; doubles make none.
    pub(super) fn of_literal(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Bool(*flag)),
            Value::Int(number) => Some(Self::Int(*number)),
            Value::Uint(number) => Some(Self::Uint(*number)),
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Null
            | Value::Double(_)
            | Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Type(_)
            | Value::Secret(_) => None,
        }
    }

    /// The key as a value, which is what iteration gives.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Bool(flag) => Value::Bool(*flag),
            Self::Int(number) => Value::Int(*number),
            Self::Uint(number) => Value::Uint(*number),
            Self::String(text) => Value::String(text.clone()),
        }
    }

    pub(super) fn json_bytes(&self) -> usize {
        if let Self::String(text) = self { text.len() + 2 } else { 8 }
    }

    fn rank(&self) -> (u8, i128, &str) {
        match self {
            Self::Bool(flag) => (0, i128::from(*flag), ""),
            Self::Int(number) => (1, i128::from(*number), ""),
            Self::Uint(number) => (1, i128::from(*number), ""),
            Self::String(text) => (2, 0, text),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Uint(number) => write!(f, "{number}"),
            Self::String(text) => f.write_str(text),
        }
    }
}

/// A map: entries in the order they were written, found and iterated over by sorted key.
#[derive(Debug, Clone, Default)]
pub struct Map {
    entries: Vec<(Key, Value)>,
    /// Positions in `entries`, sorted by key.
    sorted: Vec<u32>,
}

impl Map {
    /// A map of these entries.
    ///
    /// # Errors
    /// The first key that occurs twice.
    pub fn new(entries: Vec<(Key, Value)>) -> Result<Self, Key> {
        let sorted = places(&entries);
        let twice = sorted
            .windows(2)
            .find(|pair| entries[pair[0] as usize].0 == entries[pair[1] as usize].0)
            .map(|pair| entries[pair[1] as usize].0.clone());
        twice.map_or(Ok(Self { entries, sorted }), Err)
    }

    /// A map of these entries; of those with one key the last counts, in the place of the first.
    pub(super) fn of_last(mut entries: Vec<(Key, Value)>) -> Self {
        let mut sorted = places(&entries);
        let mut gone = Vec::new();
        for pair in (1..sorted.len()).rev() {
            let (first, later) = (sorted[pair - 1] as usize, sorted[pair] as usize);
            if entries[first].0 == entries[later].0 {
                entries[first].1 = std::mem::replace(&mut entries[later].1, Value::Null);
                gone.resize(entries.len(), false);
                gone[later] = true;
            }
        }
        if !gone.is_empty() {
            let mut gone = gone.into_iter();
            entries.retain(|_| gone.next() != Some(true));
            sorted = places(&entries);
        }
        Self { entries, sorted }
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.find(|other| other.cmp(key))
    }

    /// The value of a text key.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.find(|other| other.rank().cmp(&(2, 0, name)))
    }

    /// The entries as written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Key, &Value)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The entries by sorted key.
    pub fn iter_sorted(&self) -> impl ExactSizeIterator<Item = (&Key, &Value)> {
        self.sorted.iter().map(|at| {
            let (key, value) = &self.entries[*at as usize];
            (key, value)
        })
    }

    fn find(&self, order: impl Fn(&Key) -> Ordering) -> Option<&Value> {
        let found = self.sorted.binary_search_by(|at| order(&self.entries[*at as usize].0)).ok()?;
        Some(&self.entries[self.sorted[found] as usize].1)
    }
}

/// Positions of entries in the order of their keys; those with one key as they stand.
fn places(entries: &[(Key, Value)]) -> Vec<u32> {
    let mut places: Vec<u32> = (0..entries.len()).filter_map(|at| at.try_into().ok()).collect();
    places.sort_unstable_by(|left, right| {
        entries[*left as usize].0.cmp(&entries[*right as usize].0).then(left.cmp(right))
    });
    places
}

impl PartialEq for Map {
    /// The same keys with the same values, in whatever order they were written.
    fn eq(&self, other: &Self) -> bool {
        self.iter_sorted().eq(other.iter_sorted())
    }
}
