//! The bounds of expressions. All are integers that do not depend on the machine.

use super::error::Fault;
use super::value::Value;

/// A source text, in bytes.
pub const SOURCE_BYTES: usize = 4 * 1024;
/// Tokens of one source.
pub const TOKENS: usize = 2_048;
/// Nodes of one syntax tree.
pub const NODES: usize = 1_024;
/// Brackets of any kind inside each other.
pub const NESTING: usize = 32;
/// Height of the resolved tree: what evaluation needs of the native stack. Operators of one
/// chain and steps of one access path are siblings, so ordinary text stays far below it.
pub const HEIGHT: usize = 64;
/// Operators of one chain such as `a + b - c`, and steps of one path such as `a.b[0].c`.
/// Chains of `&&` and `||` are bounded by [`NODES`] alone.
pub const CHAIN: usize = 64;
/// A regular expression, in bytes.
pub const PATTERN_BYTES: usize = 256;
/// States of a regular expression's automaton, as far as its text lets one count them.
pub const PATTERN_STATES: usize = 2_048;

/// Fuel of one evaluation: 1 per node visited, 1 per 64 bytes touched, 1 per 8 entries touched.
pub const FUEL: u64 = 100_000;
/// Bytes one evaluation may build.
pub const ALLOCATION_BYTES: u64 = 256 * 1024;
/// The result of one evaluation, in bytes of about its JSON.
pub const RESULT_BYTES: u64 = 64 * 1024;
/// Depth of any value an evaluation may touch or build.
pub const VALUE_DEPTH: usize = 128;
/// Entries of a list that `lists.range` makes.
pub const RANGE_ENTRIES: usize = 10_000;

/// What an entry of a list counts for; a constant, since sizes in memory differ by machine.
const ENTRY_BYTES: usize = 24;
const BYTES_PER_FUEL: u64 = 64;
const ENTRIES_PER_FUEL: u64 = 8;

/// What an evaluation may still use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    fuel: u64,
    bytes: u64,
}

impl Budget {
    /// [`FUEL`] and [`ALLOCATION_BYTES`].
    #[must_use]
    pub fn standard() -> Self {
        Self::new(FUEL, ALLOCATION_BYTES)
    }

    /// A budget of one's own.
    #[must_use]
    pub fn new(fuel: u64, bytes: u64) -> Self {
        Self { fuel, bytes }
    }

    /// Fuel that is left.
    #[must_use]
    pub fn fuel(&self) -> u64 {
        self.fuel
    }

    /// Bytes that may still be built.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes fuel. Once it fails it fails for good.
    #[inline]
    pub(super) fn spend(&mut self, fuel: u64) -> Result<(), Fault> {
        let Some(left) = self.fuel.checked_sub(fuel) else { return Err(self.used_up()) };
        self.fuel = left;
        Ok(())
    }

    #[cold]
    fn used_up(&mut self) -> Fault {
        self.fuel = 0;
        Fault::budget("the expression does too much work: its fuel is used up")
    }

    /// Takes the fuel for reading `bytes` bytes.
    pub(super) fn touch(&mut self, bytes: usize) -> Result<(), Fault> {
        self.spend(bytes as u64 / BYTES_PER_FUEL)
    }

    /// Takes the fuel for walking over `entries` entries.
    pub(super) fn walk(&mut self, entries: usize) -> Result<(), Fault> {
        self.spend((entries as u64).div_ceil(ENTRIES_PER_FUEL))
    }

    /// Takes memory, and the fuel for filling it.
    pub(super) fn allocate(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes as u64 > self.bytes {
            self.bytes = 0;
            return Err(Fault::budget("the expression builds too much data"));
        }
        self.bytes -= bytes as u64;
        self.touch(bytes)
    }

    /// Takes memory for `entries` entries of a list.
    pub(super) fn allocate_entries(&mut self, entries: usize) -> Result<(), Fault> {
        self.allocate(entries.saturating_mul(ENTRY_BYTES))
    }
}

/// About how many bytes of JSON a result has. Refuses what is too large or too deep.
pub(super) fn weight(value: &Value) -> Result<u64, Fault> {
    let mut left = RESULT_BYTES;
    weigh(value, &mut left, 0)?;
    Ok(RESULT_BYTES - left)
}

fn weigh(value: &Value, left: &mut u64, depth: usize) -> Result<(), Fault> {
    if depth > crate::limits::VALUE_DEPTH {
        return Err(Fault::budget("the result is nested too deeply"));
    }
    let own = match value {
        Value::String(text) => text.len() + 2,
        Value::Bytes(bytes) => bytes.len().div_ceil(3) * 4 + 2,
        Value::Secret(secret) => secret.weight(),
        Value::List(items) => items.len() + 2,
        Value::Map(map) => map.iter().map(|(key, _)| key.json_bytes() + 2).sum::<usize>() + 2,
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_) => 4,
    };
    let Some(rest) = left.checked_sub(own as u64) else {
        return Err(Fault::budget(format!("the result exceeds {RESULT_BYTES} bytes")));
    };
    *left = rest;
    match value {
        Value::List(items) => items.iter().try_for_each(|item| weigh(item, left, depth + 1)),
        Value::Map(map) => map.iter().try_for_each(|(_, item)| weigh(item, left, depth + 1)),
        Value::Null
        | Value::Bool(_)
        | Value::Int(_)
        | Value::Uint(_)
        | Value::Double(_)
        | Value::String(_)
        | Value::Bytes(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_)
        | Value::Secret(_) => Ok(()),
    }
}
