//! The CEL project's own conformance cases, as far as they need no protobuf message.
//!
//! The corpus is theirs (`protocol/tests/cel/README.md` says from where and under which licence).
//! Every case that misses must be named here with its reason, and every name here must miss.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::expr::{Expr, Key, Map, TypeName, Value};
use crate::ordered::VecMap;

const CASES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cel/cel-json-subset.jsonl"));

/// Files of the corpus whose features the language has.
const FILES: [&str; 17] = [
    "basic",
    "bindings_ext",
    "comparisons",
    "conversions",
    "fields",
    "fp_math",
    "integer_math",
    "lists",
    "logic",
    "macros",
    "macros2",
    "math_ext",
    "namespace",
    "parse",
    "string",
    "string_ext",
    "timestamps",
];

/// Files whose features the language leaves out, and why.
const LEFT_OUT: [(&str, &str); 3] = [
    ("block_ext", "`cel.block` is what an optimiser writes, not an author"),
    ("network_ext", "IP addresses are not a type of the language"),
    ("optionals", "there are no optionals: `get` and `has` take their place"),
];

/// Cases of [`FILES`] that miss, and why.
const MISSES: [(&str, &str); 0] = [];

#[derive(Default)]
struct Count {
    passed: usize,
    all: usize,
}

#[test]
fn conformance() {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let mut missed = BTreeSet::new();
    let mut report = String::new();
    for line in CASES.lines().filter(|line| !line.is_empty()) {
        let case: Json = serde_json::from_str(line).unwrap();
        let file = case["file"].as_str().unwrap();
        let count = counts.entry(file.to_owned()).or_default();
        count.all += 1;
        match check(&case) {
            Ok(()) => count.passed += 1,
            Err(why) if FILES.contains(&file) || file == "type_deduction" => {
                let name = format!("{file}/{}/{}", text(&case, "section"), text(&case, "name"));
                writeln!(report, "{name}: {}\n    {why}", text(&case, "expr")).unwrap();
                missed.insert(name);
            }
            Err(_) => assert!(LEFT_OUT.iter().any(|(left_out, _)| *left_out == file), "{file}"),
        }
    }
    for (file, Count { passed, all }) in &counts {
        writeln!(report, "{file}: {passed} of {all}").unwrap();
    }
    let known: BTreeSet<String> = MISSES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(missed, known, "{report}");
    let (passed, all) = FILES.iter().fold((0, 0), |(passed, all), file| {
        (passed + counts[*file].passed, all + counts[*file].all)
    });
    assert!(all > 400, "the corpus shrank to {all} cases");
    assert!(passed * 100 >= all * 99, "{report}");
}

fn check(case: &Json) -> Result<(), String> {
    let mut scope = VecMap::new();
    for (name, value) in case["bindings"].as_object().into_iter().flatten() {
        scope.insert(name.clone(), value_of(value));
    }
    let fails = case["eval_error"].as_bool().unwrap_or(false);
    let result = Expr::compile(text(case, "expr"))
        .map_err(|error| error.to_string())
        .and_then(|expr| expr.eval(&scope).map_err(|error| error.to_string()));
    match result {
        Err(_) if fails => Ok(()),
        Err(error) => Err(format!("failed: {error}")),
        Ok(value) if fails => Err(format!("expected an error, got {value:?}")),
        Ok(value) => {
            let expected = value_of(&case["value"]);
            let same = same(&value, &expected);
            if same { Ok(()) } else { Err(format!("expected {expected:?}, got {value:?}")) }
        }
    }
}

/// Equal with the same types; NaN equals NaN here.
fn same(left: &Value, right: &Value) -> bool {
    format!("{left:?}") == format!("{right:?}") || left == right
}

fn text<'a>(case: &'a Json, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

fn value_of(typed: &Json) -> Value {
    let value = &typed["value"];
    match typed["type"].as_str().unwrap() {
        "null" => Value::Null,
        "bool" => Value::Bool(value.as_bool().unwrap()),
        "int" => Value::Int(value.as_str().unwrap().parse().unwrap()),
        "uint" => Value::Uint(value.as_str().unwrap().parse().unwrap()),
        "double" => Value::Double(value.as_str().unwrap().parse().unwrap()),
        "string" => Value::from(value.as_str().unwrap()),
        "bytes" => Value::Bytes(bytes_of(value).into()),
        "list" => value.as_array().unwrap().iter().map(value_of).collect::<Vec<_>>().into(),
        "map" => {
            let entries = value.as_array().unwrap().iter();
            let entries = entries.map(|pair| (key_of(&pair[0]), value_of(&pair[1])));
            Map::new(entries.collect()).unwrap().into()
        }
        "type" => Value::Type(TypeName::parse(value.as_str().unwrap()).unwrap()),
        other => panic!("the corpus has a new type: {other}"),
    }
}

fn key_of(typed: &Json) -> Key {
    Key::of_literal(&value_of(typed)).unwrap()
}

fn bytes_of(value: &Json) -> Vec<u8> {
    match value.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let hex = value["$bytes_hex"].as_str().unwrap();
            data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()
        }
    }
}
