//! Values to the text of JSON and back, without a tree of JSON between: both ways say the same.

use serde_json::{Value as Json, json};

use super::super::{Expr, JsonScope, Template, Value};

const TEXTS: [&str; 22] = [
    "null",
    " true ",
    "[]",
    "{}",
    "0",
    "-0",
    "-0.0",
    "21",
    "21.0",
    "1e300",
    "-1.5e-7",
    "9007199254740993",
    "18446744073709551615",
    "-9223372036854775808",
    "123456789012345678901234567890",
    r#""a \"quoted\" \u00e9\n\u0000 \ud83d\ude00 text""#,
    r#"{"b": [1, {"c": null}], "a": {"": 1.25}}"#,
    r#"{"a": 1, "b": 2, "a": 3}"#,
    r#"{"a": 1, "a": {"x": 1, "x": 2}, "b": 2, "a": [4], "b": 5}"#,
    r#"[[[[[]]]], {"z": {"y": {"x": []}}}]"#,
    r#"{"id":"pump-7/t","count":8,"min":60.95,"mean":64.644}"#,
    r#"{"$secret": "x", "n": 1}"#,
];

#[test]
fn a_text_is_read_as_its_tree_is_taken() {
    for text in TEXTS {
        let tree: Json = serde_json::from_str(text).unwrap();
        let (read, taken) = (Value::read(text).unwrap(), Value::from_json(&tree));
        assert_eq!(read, taken, "{text}");
        // Maps are equal in any order; what is written has one.
        assert_eq!(format!("{read:?}"), format!("{taken:?}"), "{text}");
    }
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    for bad in ["", "1 2", "{\"a\":}", "[1,]", "1e999", "nul", "\"\u{1}\"", &nested(129)] {
        assert!(serde_json::from_str::<Json>(bad).is_err(), "{bad}");
        assert!(Value::read(bad).is_err(), "{bad}");
    }
    for depth in [100, 126, 127, 128] {
        let text = nested(depth);
        assert_eq!(Value::read(&text).is_ok(), serde_json::from_str::<Json>(&text).is_ok());
    }
}

#[test]
fn the_text_is_that_of_the_tree() {
    let written = ["{1: 'a', '1': 'b', 'c': [2]}", "[{true: 1}, {2u: 3.5}]", "b'bytes'"];
    let made = ["timestamp('2026-01-02T03:04:05Z')", "duration('90s')", "type(1)", "[1, 2u, 3.0]"];
    let failing =
        ["[0.0 / 0.0]", "{'$secret': 1}", "{'a': [{'$join': 1}]}", "{'$join': 0.0 / 0.0}"];
    for source in written.into_iter().chain(made).chain(failing) {
        let value = Expr::compile(source).unwrap().eval(&()).unwrap();
        let text = value.to_json_text().map(|text| text.as_str().to_owned());
        assert_eq!(text, value.to_json().map(|json| json.to_string()), "{source}");
    }
    for text in TEXTS {
        let value = Value::read(text).unwrap();
        let text = value.to_json_text().map(|text| text.as_str().to_owned());
        assert_eq!(text, value.to_json().map(|json| json.to_string()), "{text:?}");
    }
}

#[test]
fn a_template_gives_the_text_of_what_it_gives() {
    let names = json!({ "t": 21.0, "name": "a \"b\"", "list": [1, {"x": 2.5}] });
    for template in [
        json!({"a": [1, 2.0, "x"], "b": {"c": "plain $${"}}),
        json!({"a": "${t}", "b": ["${name}", "${list}", "t=${t}, ${name}"], "c": 1}),
        json!("${list}"),
        json!(["x ${secret('s')}", "${secret('s')}", {}]),
        json!({"ok": 1, "bad": ["${t}", "${nothing.here}"]}),
        json!({"bad": "${0.0 / 0.0}"}),
    ] {
        let compiled = Template::compile(&template).unwrap();
        let text = compiled.eval_text(&JsonScope(&names)).map(|text| text.as_str().to_owned());
        assert_eq!(text, compiled.eval(&JsonScope(&names)).map(|json| json.to_string()));
    }
}
