//! Expressions and templates: any text at all, with names that have values of every type.
//!
//! An input is a text; what follows a zero byte chooses the budget and the values of some names.

use std::collections::BTreeMap;
use std::time::Duration;

use openclaw_protocol::expr::budget::{ALLOCATION_BYTES, Budget, FUEL};
use openclaw_protocol::expr::{
    ErrorKind, EvalError, Expr, Lent, Scope, Span, Template, Timestamp, Value, resolve_in,
};
use serde_json::{Value as Json, json};

use crate::bytes::Bytes;
use crate::patience::within;

/// For one evaluation or compilation; ten times what a device may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Compiles and evaluates a text as an expression, as a template, and as JSON full of templates.
pub fn check(data: &[u8]) {
    let zero = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let text = String::from_utf8_lossy(&data[..zero]);
    let mut knobs = Bytes::new(data.get(zero + 1..).unwrap_or_default());
    let (fuel, bytes) = (knobs.u16(), knobs.u16());
    let names = Names::new(&mut knobs);
    let value = expression(&text, &names, (fuel.into(), bytes.into()));
    template(&Json::String(text.to_string()), &names);
    if let Some(Ok(value)) = &value {
        same_in_a_template(&text, value, &names);
    }
    if let Ok(json) = serde_json::from_str::<Json>(&text) {
        template(&json, &names);
    }
}

fn expression(
    text: &str,
    names: &Names,
    (fuel, bytes): (u64, u64),
) -> Option<Result<Value, EvalError>> {
    let expr = match within(PATIENCE, "compiling", || Expr::compile(text)) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(!error.message.is_empty());
            in_text(error.span, text);
            return None;
        }
    };
    assert_eq!(expr.source(), text);
    for problem in expr.problems() {
        in_text(problem.span, text);
    }
    assert!(expr.references().iter().all(|path| !path.is_empty()));
    let mut budget = Budget::standard();
    let whole = within(PATIENCE, "evaluating", || expr.eval_within(names, &mut budget));
    if let Err(error) = &whole {
        assert!(!error.message.is_empty());
        in_text(error.span, text);
    }
    same(&expr.eval(names), &whole, "the second time");
    same(&expr.eval(&OneByOne(names)), &whole, "where names are looked up one by one");
    let used = (FUEL - budget.fuel(), ALLOCATION_BYTES - budget.bytes());
    less(&expr, names, &whole, used, (fuel, bytes));
    if let Ok(value) = &whole {
        crosses(value);
    }
    Some(whole)
}

/// With a smaller budget the outcome is the same if it is enough, and `expr.budget` if not.
fn less(
    expr: &Expr,
    names: &Names,
    whole: &Result<Value, EvalError>,
    used: (u64, u64),
    chosen: (u64, u64),
) {
    // The choice, brought to where it matters; and the two edges.
    let fuel = chosen.0 % (used.0 + 2);
    let bytes = chosen.1 % (used.1 + 2);
    let edge = used.0.saturating_sub(1);
    for (fuel, bytes) in
        [(fuel, ALLOCATION_BYTES), (FUEL, bytes), (fuel, bytes), (edge, ALLOCATION_BYTES), used]
    {
        let outcome = expr.eval_within(names, &mut Budget::new(fuel, bytes));
        if fuel >= used.0 && bytes >= used.1 {
            same(&outcome, whole, "with just enough");
        } else {
            let kind = outcome.as_ref().map_err(|error| error.kind);
            let given = format!("{fuel} fuel and {bytes} bytes of {used:?}");
            assert_eq!(kind, Err(ErrorKind::Budget), "{given}: {expr}");
        }
    }
}

/// A value that left as JSON in the typed form comes back as it was.
fn crosses(value: &Value) {
    let (outer, typed) = (value.to_json(), value.to_json_typed());
    assert_eq!(outer.is_ok(), typed.is_ok(), "{value:?}");
    let Ok(typed) = typed else { return };
    // A secret goes to the host alone, and nothing takes it back.
    if typed.to_string().contains("$secret") {
        return;
    }
    assert_eq!(Value::from_json_typed(&typed).to_json_typed().as_ref(), Ok(&typed), "{value:?}");
    // The journal keeps it as text.
    let text = typed.to_string();
    let again: Json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(again, typed, "{value:?}");
}

fn template(json: &Json, names: &Names) {
    let template = match within(PATIENCE, "compiling a template", || Template::compile(json)) {
        Ok(template) => template,
        Err(error) => {
            if let Some(text) = json.pointer(&error.pointer).and_then(Json::as_str) {
                in_text(error.error.span, text);
            }
            return;
        }
    };
    let again = Template::compile(&template.source());
    assert_eq!(again.as_ref(), Ok(&template), "{json}");
    let expressions = template.expressions();
    assert_eq!(template.is_literal(), expressions.is_empty(), "{json}");
    for (pointer, expr) in &expressions {
        let text = json.pointer(pointer).and_then(Json::as_str).unwrap_or_default();
        assert!(text.contains(expr.source()), "{expr} is not at {pointer} of {json}");
    }
    let most = PATIENCE * u32::try_from(expressions.len()).unwrap_or(u32::MAX).max(1);
    let outer = within(most, "evaluating a template", || template.eval(names));
    let typed = template.eval_typed(names);
    match (&outer, &typed) {
        (Ok(_), Ok(typed)) => {
            // What is read again is what was written.
            let text = typed.to_string();
            assert_eq!(serde_json::from_str::<Json>(&text).ok().as_ref(), Some(typed));
        }
        (Err(outer), Err(typed)) => {
            assert_eq!(outer, typed, "{json}");
            let text = json.pointer(&outer.pointer).and_then(Json::as_str);
            let text = text.unwrap_or_else(|| panic!("nothing at `{}`: {json}", outer.pointer));
            in_text(outer.error.span, text);
        }
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => panic!("{outer:?} is not {typed:?}"),
    }
}

/// A string that is one expression gives that expression's value.
fn same_in_a_template(text: &str, value: &Value, names: &Names) {
    let Ok(template) = Template::compile(&json!(format!("${{{text}}}"))) else { return };
    let is_whole = matches!(template.expressions().as_slice(), [(_, one)] if one.source() == text);
    if is_whole && !text.contains("$${") {
        let given = template.eval_typed(names).ok();
        assert_eq!(given, value.to_json_typed().ok(), "{text}");
    }
}

fn same(one: &Result<Value, EvalError>, other: &Result<Value, EvalError>, when: &str) {
    // As text, because NaN does not equal itself.
    assert_eq!(format!("{one:?}"), format!("{other:?}"), "{when}");
}

fn in_text(span: Span, text: &str) {
    let (start, end) = (span.start as usize, span.end as usize);
    assert!(start <= end && end <= text.len(), "{span} in {} bytes: {text}", text.len());
    assert!(text.is_char_boundary(start) && text.is_char_boundary(end), "{span}: {text}");
}

/// Names as a run has them, some with values that are chosen, and some that JSON has not.
#[derive(Debug)]
struct Names {
    json: Json,
    more: BTreeMap<&'static str, Value>,
    seed: Option<[u8; 32]>,
}

impl Names {
    fn new(knobs: &mut Bytes<'_>) -> Self {
        let json = json!({
            "inputs": {"device": "press-7", "n": 80, "ratio": 0.5, "list": [1, 2.0, "x", null]},
            "vars": {"n": 3, "tags": ["a", "b"], "deep": {"a": {"b": {"c": [true, false]}}}},
            "steps": {"read": {"status": "succeeded", "attempts": 1, "error": null,
                "output": {"celsius": 71.5, "ok": true, "text": "größer 🐱"}}},
            "trigger": {"id": "hot", "kind": "mqtt", "topic_parts": ["a", "b"], "payload": 1},
            "agent": {"id": "edge-1", "labels": {"site": "north"}},
            "item": {"key": "k", "value": 7}, "loop": {"index": 0, "first": true},
            "big": u64::MAX, "small": i64::MIN, "t": 71, "empty": {},
            "x": knobs.json(), "y": knobs.json(), "z": knobs.json(),
        });
        let more = BTreeMap::from([
            (
                "now",
                Timestamp::from_millis(1_772_445_600_123).map_or(Value::Null, Value::Timestamp),
            ),
            ("d", Value::Int(5)),
            ("nan", Value::Double(f64::NAN)),
            ("inf", Value::Double(f64::INFINITY)),
            ("raw", Value::Bytes(vec![0, 159, 146, 150].into())),
            ("u", Value::Uint(7)),
            ("a.b.c", Value::from("dotted")),
        ]);
        let seed = (knobs.byte() % 4 != 1).then_some([knobs.byte(); 32]);
        Self { json, more, seed }
    }
}

impl Scope for Names {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        let more = || self.more.get(name).map(Lent::Borrowed);
        self.json.get(name).map(Value::from_json_typed).map(Lent::Owned).or_else(more)
    }

    fn resolve(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        let (first, rest) = path.split_first()?;
        let Some(json) = self.json.get(first) else {
            let slowly = OneByOne(self);
            let (used, value) = slowly.resolve(path)?;
            return Some((used, Lent::Owned(value.into_owned())));
        };
        let (used, value) = resolve_in(json, rest);
        Some((used + 1, Lent::Owned(value)))
    }

    fn seed(&self) -> Option<[u8; 32]> {
        self.seed
    }
}

/// The same names, without a short way to what lies deep.
struct OneByOne<'a>(&'a Names);

impl Scope for OneByOne<'_> {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.0.lookup(name)
    }

    fn seed(&self) -> Option<[u8; 32]> {
        self.0.seed
    }
}
