//! Choices out of bytes.

use serde_json::{Value as Json, json};

/// Bytes to choose by; zeros when they are used up.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    left: &'a [u8],
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { left: data }
    }

    /// Whether there are none left.
    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        *first
    }

    /// The next `count`, or what is left.
    pub(crate) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.left.split_at(count.min(self.left.len()));
        self.left = rest;
        taken
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// One of several.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()].clone()
    }

    /// A JSON value, at most three deep.
    pub(crate) fn json(&mut self) -> Json {
        self.json_below(3)
    }

    fn json_below(&mut self, depth: u8) -> Json {
        let kinds = if depth == 0 { 7 } else { 9 };
        match self.byte() % kinds {
            0 => Json::Null,
            1 => json!(self.byte().is_multiple_of(2)),
            2 => json!(self.byte().cast_signed()),
            3 => json!(self.u64().cast_signed()),
            4 => json!(self.u64()),
            // What is no number in JSON comes out as `null`.
            5 => json!(f64::from_bits(self.u64())),
            6 => {
                let length = usize::from(self.byte() % 16);
                json!(String::from_utf8_lossy(self.take(length)))
            }
            7 => (0..self.byte() % 5).map(|_| self.json_below(depth - 1)).collect(),
            _ => {
                let names = ["a", "b", "n", "", "$secret", "x.y", "é"];
                (0..self.byte() % 5)
                    .map(|_| (self.one_of(&names).to_owned(), self.json_below(depth - 1)))
                    .collect()
            }
        }
    }
}
