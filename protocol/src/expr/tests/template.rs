//! Tests of templates.

use serde_json::{Value as Json, json};

use super::*;

fn render(template: &Json) -> Result<Json, String> {
    let names = json!({"n": 3, "x": 21.0, "s": "text", "m": {"b": 1, "a": [null, 0.5]}});
    let template = Template::compile(template).map_err(|error| error.to_string())?;
    template.eval(&JsonScope(&names)).map_err(|failure| format!("{} {failure}", failure.code()))
}

#[test]
fn a_single_expression_keeps_its_type() {
    let template = json!({"a": "${ n + 1 }", "b": ["${m}", "${ x }"], "c": 5, "d": "${null}"});
    let expected = json!({"a": 4, "b": [{"b": 1, "a": [null, 0.5]}, 21], "c": 5, "d": null});
    assert_eq!(render(&template).unwrap().to_string(), expected.to_string());
}

#[test]
fn other_text_is_joined() {
    let cases = [
        ("n=${n} x=${x} s=${s}", "n=3 x=21 s=text"),
        ("${m} ${null} ${m.a[1]}", r#"{"b":1,"a":[null,0.5]} null 0.5"#),
        (" ${n}", " 3"),
        ("${n}${n}", "33"),
        ("${timestamp(0)} ${duration('90s')} ${b'hi'}", "1970-01-01T00:00:00Z 90s aGk="),
        ("$${n} $n $ {n} $", "${n} $n $ {n} $"),
        ("$${ ${n}", "${ 3"),
        ("${ {'}': '${'}['}'] }!", "${!"),
        ("no expression", "no expression"),
        ("", ""),
    ];
    for (template, expected) in cases {
        assert_eq!(render(&json!(template)), Ok(json!(expected)), "{template}");
    }
}

#[test]
fn the_typed_form_keeps_doubles() {
    let template = Template::compile(&json!(["${x}", "${n}", 5, 5.0])).unwrap();
    let names = json!({"n": 3, "x": 21.0});
    assert_eq!(template.eval(&JsonScope(&names)).unwrap().to_string(), "[21,3,5,5.0]");
    assert_eq!(template.eval_typed(&JsonScope(&names)).unwrap().to_string(), "[21.0,3,5,5.0]");
}

#[test]
fn errors_point_into_the_document() {
    let template = json!({"a/b": [0, {"~": "n is ${n +}"}]});
    let error = Template::compile(&template).unwrap_err();
    assert_eq!(error.pointer, "/a~1b/1/~0");
    assert_eq!(error.error.span, Span::new(10, 10));
    let open = Template::compile(&json!("x ${ n")).unwrap_err();
    assert_eq!(open.error.message, "`${` is never closed by `}`");
    let template = Template::compile(&json!({"a": ["ok", "now ${ nope.x }"]})).unwrap();
    let failure = template.eval(&()).unwrap_err();
    assert_eq!((failure.pointer.as_str(), failure.code()), ("/a/1", "expr.key"));
    assert_eq!(failure.error.span, Span::new(7, 13));
    assert_eq!(
        render(&json!("${0.0 / 0.0}")).unwrap_err(),
        "expr.type at ``: NaN cannot be written as JSON (at byte 2)"
    );
}

#[test]
fn references_and_literals() {
    let template =
        Template::compile(&json!({"a": "${steps.x.output} ${n}", "b": ["${n}"]})).unwrap();
    assert_eq!(template.references(), [vec!["steps", "x", "output"], vec!["n"]]);
    let places: Vec<String> = template.expressions().into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["/a", "/a", "/b/0"]);
    assert!(!template.is_literal());
    assert!(Template::compile(&json!({"a": ["$${n}", 1]})).unwrap().is_literal());
}

#[test]
fn secrets_stay_apart_from_text() {
    let template = json!({"auth": "Bearer ${secret('token')}", "key": "${secret('k')}"});
    assert_eq!(
        render(&template),
        Ok(json!({
            "auth": {"$join": ["Bearer ", {"$secret": "token"}]},
            "key": {"$secret": "k"},
        }))
    );
    assert!(render(&json!("${ {'$join': []} }")).unwrap_err().starts_with("expr.type"));
}

#[test]
fn templates_are_bounded() {
    let mut deep = json!("${1}");
    for _ in 0..crate::limits::VALUE_DEPTH + 1 {
        deep = json!([deep]);
    }
    assert!(Template::compile(&deep).is_err());
    let large = "${ lists.range(2000).map(x, 'abcdefghij') }";
    let template = Template::compile(&json!(vec![large; 100])).unwrap();
    let failure = template.eval(&()).unwrap_err();
    assert_eq!(failure.code(), "expr.budget");
}

#[test]
fn the_source_compiles_to_the_same_template() {
    for text in
        ["a ${n} b", "${ n }", "$${n} ${n}", "$$${n}", "$$$${n}", "${'$'}${n}", "$", "${'}'}"]
    {
        let template = Template::compile(&json!({"a": [text, 1]})).unwrap();
        assert_eq!(Template::compile(&template.source()).as_ref(), Ok(&template), "{text}");
    }
}
