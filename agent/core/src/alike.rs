//! Values that many runs have alike, each read once: the agent that expressions see, inputs and
//! trigger data that say little.

use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;

use crate::limits;

/// The values that were asked for last. They are shared, so each costs a run a reference.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    /// Text, how its numbers are read, value; the oldest gives way to the next.
    known: Vec<(JsonText, bool, Value)>,
    oldest: usize,
}

impl Alike {
    /// As [`Value::from_json`].
    pub(crate) fn plain(&mut self, text: &JsonText) -> Value {
        self.read(text, false)
    }

    /// As [`Value::from_json_typed`].
    pub(crate) fn typed(&mut self, text: &JsonText) -> Value {
        self.read(text, true)
    }

    fn read(&mut self, text: &JsonText, typed: bool) -> Value {
        let same = |one: &&(JsonText, bool, Value)| one.1 == typed && one.0 == *text;
        if let Some((_, _, value)) = self.known.iter().find(same) {
            return value.clone();
        }
        let json = text.value();
        let value = if typed { Value::from_json_typed(&json) } else { Value::from_json(&json) };
        if text.len() > limits::ALIKE_BYTES {
            return value;
        }
        let one = (text.clone(), typed, value.clone());
        if self.known.len() < limits::ALIKE {
            self.known.push(one);
        } else {
            self.known[self.oldest] = one;
            self.oldest = (self.oldest + 1) % limits::ALIKE;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_alike_is_shared_read_as_asked_for_and_bounded() {
        let mut alike = Alike::default();
        let text = JsonText::of(&json!({ "n": 21 }));
        let is_shared = |one: &Value, other: &Value| match (one, other) {
            (Value::Map(one), Value::Map(other)) => std::sync::Arc::ptr_eq(one, other),
            _ => false,
        };
        let typed = alike.typed(&text);
        let plain = alike.plain(&text);
        assert_eq!(typed, Value::from_json_typed(&text.value()));
        assert_eq!(plain, Value::from_json(&text.value()));
        assert_ne!(typed, plain, "a number of our own stays an integer");
        assert!(is_shared(&typed, &alike.typed(&text)));
        let long = JsonText::of(&json!({ "text": "x".repeat(limits::ALIKE_BYTES) }));
        let first = alike.plain(&long);
        assert!(!is_shared(&first, &alike.plain(&long)), "what is long is not kept");
        for n in 0..3 * limits::ALIKE {
            let text = JsonText::of(&json!({ "n": n }));
            assert_eq!(alike.plain(&text), Value::from_json(&text.value()));
        }
        assert_eq!(alike.known.len(), limits::ALIKE);
        assert!(!is_shared(&typed, &alike.typed(&text)), "the oldest has gone");
    }
}
