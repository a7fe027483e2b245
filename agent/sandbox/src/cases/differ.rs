//! What differs between two values of JSON, place by place.

use serde_json::Value;

use crate::limits;

/// Adds a line for each place at which `got` is not `expected`. Where `partial`, an object may have
/// more fields than are expected.
pub(super) fn differ(
    at: &str,
    expected: &Value,
    got: &Value,
    partial: bool,
    lines: &mut Vec<String>,
) {
    if lines.len() >= limits::DIFFERENCES {
        return;
    }
    match (expected, got) {
        (Value::Object(expected), Value::Object(got)) => {
            for (key, expected) in expected {
                let at = format!("{at}.{key}");
                match got.get(key) {
                    Some(got) => differ(&at, expected, got, partial, lines),
                    None => lines.push(format!("{at}: expected {}, got nothing", short(expected))),
                }
            }
            let more = got.iter().filter(|(key, _)| !partial && !expected.contains_key(*key));
            for (key, value) in more {
                lines.push(format!("{at}.{key}: expected nothing, got {}", short(value)));
            }
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
                differ(&format!("{at}[{index}]"), expected, got, partial, lines);
            }
        }
        (expected, got) if expected == got => {}
        (expected, got) => {
            lines.push(format!("{at}: expected {}, got {}", short(expected), short(got)));
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= limits::SHOWN_BYTES {
        return text;
    }
    format!("{} … ({} bytes)", crate::call::cut(&text, limits::SHOWN_BYTES), text.len())
}
