//! What each comparison of a Choice rule gives for odd values, as recorded on the real service.

use openclaw::asl::translate;
use openclaw_protocol::expr::{Expr, JsonScope, Value};
use serde_json::{Value as Json, json};

use crate::asl::{Rows, rows};

/// `test_numeric_equals_path` as `NumericEqualsPath`.
fn operator(test: &str) -> String {
    let words = test.strip_prefix("test_").unwrap().split('_');
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

/// The expression that a rule becomes.
fn expression(rule: &Json) -> String {
    let mut rule = rule.clone();
    rule["Next"] = json!("Yes");
    let definition = json!({"StartAt": "Ask", "States": {
        "Ask": {"Type": "Choice", "Choices": [rule], "Default": "No"},
        "Yes": {"Type": "Succeed"},
        "No": {"Type": "Succeed"},
    }});
    let translated = translate(&definition, "choice");
    let document = translated.unwrap_or_else(|problems| panic!("{problems:#?}")).document;
    document["steps"][0]["cases"][0]["when"].as_str().unwrap().to_owned()
}

/// Whether a rule matches an input that came from outside.
fn matches(rule: &Json, input: &Json) -> Result<bool, String> {
    let source = expression(rule);
    // From outside, numbers are doubles.
    let input = Value::from_json(&json!({"input": input})).to_json().unwrap();
    let names = json!({"inputs": input, "vars": {}});
    let expr = Expr::compile(&source).unwrap_or_else(|error| panic!("{source}: {error}"));
    match expr.eval(&JsonScope(&names)) {
        Ok(value) => Ok(value.as_bool().unwrap_or_else(|| panic!("{source} gives {value:?}"))),
        Err(error) => Err(error.code().to_owned()),
    }
}

#[test]
fn every_recorded_comparison_is_as_recorded() {
    let Rows { rows, .. } = rows("choice_operators.jsonl");
    assert_eq!(rows.len(), 127);
    let mut wrong = Vec::new();
    for row in &rows {
        let operator = operator(row["test"].as_str().unwrap());
        let by_path = operator.ends_with("Path");
        let operand = if by_path { json!("$.Value") } else { row["value"].clone() };
        let rule = json!({"Variable": "$.Variable", operator: operand});
        let input = json!({"Variable": row["variable"], "Value": row["value"]});
        let found = matches(&rule, &input);
        if found != Ok(row["matched"].as_bool().unwrap()) {
            wrong.push(format!("{row}: {found:?} by {}", expression(&rule)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn what_is_not_there_is_an_error_except_to_is_present() {
    let missing = json!({"other": 1});
    for rule in [
        json!({"Variable": "$.a", "IsNull": true}),
        json!({"Variable": "$.a", "StringEquals": "x"}),
        json!({"Variable": "$.a.b", "NumericLessThan": 1}),
        json!({"Variable": "$.other", "NumericEqualsPath": "$.a"}),
    ] {
        assert_eq!(matches(&rule, &missing), Err("expr.key".to_owned()), "{rule}");
    }
    for (path, input, present) in [
        ("$.a", json!({"a": null}), true),
        ("$.a", json!({}), false),
        ("$.a", json!("text"), false),
        ("$.a.b", json!({"a": null}), false),
        ("$.a.b[1]", json!({"a": {"b": [0, 1]}}), true),
        ("$.a.b[2]", json!({"a": {"b": [0, 1]}}), false),
        ("$.a[-1]", json!({"a": []}), false),
        ("$.a[-1]", json!({"a": [0]}), true),
        ("$['x.y']", json!({"x.y": 0}), true),
        ("$['x.y']", json!({"x": {"y": 0}}), false),
        ("$", json!({}), true),
    ] {
        let rule = json!({"Variable": path, "IsPresent": true});
        assert_eq!(matches(&rule, &input), Ok(present), "{path} in {input}");
        let rule = json!({"Variable": path, "IsPresent": false});
        assert_eq!(matches(&rule, &input), Ok(!present), "no {path} in {input}");
    }
}

#[test]
fn patterns_have_one_wildcard() {
    for (pattern, text, matched) in [
        ("log-*.txt", "log-1.txt", true),
        ("log-*.txt", "log-1xtxt", false),
        ("*", "any\nthing", true),
        ("a", "ab", false),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        ("a\\\\*", "a\\x", true),
        ("(é)", "(é)", true),
    ] {
        let rule = json!({"Variable": "$", "StringMatches": pattern});
        assert_eq!(matches(&rule, &json!(text)), Ok(matched), "{pattern} {text}");
    }
    assert_eq!(matches(&json!({"Variable": "$", "StringMatches": "*"}), &json!(1)), Ok(false));
}

#[test]
fn times_are_compared_as_times() {
    let at = "2026-01-31T12:00:00Z";
    for (text, expected) in [
        ("2026-01-31T13:00:00+01:00", true),
        ("2026-01-31T12:00:00.000Z", true),
        ("2026-01-31T12:00:00", false),
        ("2026-13-31T12:00:00Z", false),
        ("yesterday", false),
    ] {
        let rule = json!({"Variable": "$", "TimestampEquals": at});
        assert_eq!(matches(&rule, &json!(text)), Ok(expected), "{text}");
        let rule = json!({"Variable": "$", "IsTimestamp": true});
        assert_eq!(
            matches(&rule, &json!(text)),
            Ok(text.ends_with("00Z") && expected || text.ends_with("+01:00")),
            "{text}"
        );
    }
}

#[test]
fn rules_are_joined() {
    let number = |n: i32| json!({"Variable": "$.n", "NumericEquals": n});
    for (rule, n, matched) in [
        (json!({"Or": [number(1), number(2)]}), 2, true),
        (json!({"And": [number(1), {"Not": number(2)}]}), 1, true),
        (json!({"Not": {"Or": [number(1), number(2)]}}), 1, false),
        (json!({"And": [{"Or": [number(1), number(2)]}, {"Not": number(2)}]}), 2, false),
        (json!({"And": [number(1)]}), 1, true),
    ] {
        assert_eq!(matches(&rule, &json!({"n": n})), Ok(matched), "{rule}");
    }
}
