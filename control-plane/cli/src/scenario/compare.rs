//! Comparing what was expected with what came, and saying where they differ.

use serde_json::Value as Json;

/// Differences told of one comparison.
const TOLD: usize = 20;
/// A value in a message, in characters.
const SHOWN: usize = 120;

/// Where two values differ, as lines for people; nothing where they are the same. Numbers are the
/// same by value: `1` and `1.0`.
#[must_use]
pub(crate) fn differences(what: &str, expected: &Json, actual: &Json) -> Vec<String> {
    let mut found = Vec::new();
    compare(what.to_owned(), expected, actual, false, &mut found);
    cut(found)
}

/// Where a value lacks what a part of it must be: maps may have more keys, lists no more items.
#[must_use]
pub(crate) fn lacks(what: &str, part: &Json, actual: &Json) -> Vec<String> {
    let mut found = Vec::new();
    compare(what.to_owned(), part, actual, true, &mut found);
    cut(found)
}

/// Whether a value contains a part.
#[must_use]
pub(crate) fn contains(part: &Json, actual: &Json) -> bool {
    lacks("", part, actual).is_empty()
}

/// A value, cut for a message.
#[must_use]
pub(crate) fn short(json: &Json) -> String {
    let text = json.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn cut(mut found: Vec<String>) -> Vec<String> {
    if found.len() > TOLD {
        let more = found.len() - TOLD;
        found.truncate(TOLD);
        found.push(format!("and {more} more"));
    }
    found
}

fn compare(at: String, expected: &Json, actual: &Json, partly: bool, found: &mut Vec<String>) {
    match (expected, actual) {
        (Json::Object(expected), Json::Object(actual)) => {
            for (key, value) in expected {
                let here = format!("{at}.{key}");
                match actual.get(key) {
                    Some(other) => compare(here, value, other, partly, found),
                    None => found.push(format!("{here}: expected {}, is not there", short(value))),
                }
            }
            for (key, value) in
                actual.iter().filter(|(key, _)| !partly && !expected.contains_key(*key))
            {
                found.push(format!("{at}.{key}: not expected, is {}", short(value)));
            }
        }
        (Json::Array(expected), Json::Array(actual)) => {
            for (n, (value, other)) in expected.iter().zip(actual).enumerate() {
                compare(format!("{at}[{n}]"), value, other, partly, found);
            }
            if expected.len() != actual.len() {
                let (wanted, came) = (expected.len(), actual.len());
                found.push(format!("{at}: expected {wanted} items, there are {came}"));
            }
        }
        _ if same(expected, actual) => {}
        _ => found.push(format!("{at}: expected {}, is {}", short(expected), short(actual))),
    }
}

fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => {
            left == right
                // Integers beyond what doubles hold exactly differ by their text.
                || (left.as_f64() == right.as_f64() && (left.is_f64() || right.is_f64()))
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_by_value() {
        for (left, right) in [
            (json!(1), json!(1.0)),
            (json!({ "a": 1, "b": [2.0] }), json!({ "b": [2], "a": 1 })),
            (json!(null), json!(null)),
        ] {
            assert_eq!(differences("x", &left, &right), Vec::<String>::new());
        }
        assert!(
            !differences("x", &json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64))
                .is_empty()
        );
        assert!(!differences("x", &json!("1"), &json!(1)).is_empty());
    }

    #[test]
    fn differences_say_where() {
        let expected = json!({ "a": { "b": [1, 2] }, "c": 1, "d": 1 });
        let actual = json!({ "a": { "b": [1, 3, 4] }, "c": 1, "e": 1 });
        assert_eq!(
            differences("outputs", &expected, &actual),
            [
                "outputs.a.b[1]: expected 2, is 3",
                "outputs.a.b: expected 2 items, there are 3",
                "outputs.d: expected 1, is not there",
                "outputs.e: not expected, is 1",
            ]
        );
    }

    #[test]
    fn a_part_may_leave_keys_out() {
        assert!(contains(&json!({ "a": { "b": 1 } }), &json!({ "a": { "b": 1, "c": 2 }, "d": 3 })));
        assert!(!contains(&json!({ "a": { "b": 1 } }), &json!({ "a": { "c": 2 } })));
        assert!(!contains(&json!([1]), &json!([1, 2])));
        assert!(contains(&json!([{ "a": 1 }]), &json!([{ "a": 1, "b": 2 }])));
    }
}
