//! What fits, what does not, and how that is told.

use serde_json::json;

use super::*;
use crate::definition::parse;

fn workflow(inputs: &str) -> Workflow {
    let text = format!("workflow: w\ninputs: {inputs}\nsteps: [{{id: a, delay: 1}}]\n");
    parse(&text).unwrap_or_else(|error| panic!("{error}"))
}

fn checked(inputs: &str, given: Json) -> Result<String, String> {
    match workflow(inputs).check_inputs(&JsonText::of(&given)) {
        Ok(text) => Ok(text.as_str().to_owned()),
        Err(problems) => {
            Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        }
    }
}

#[test]
fn defaults_are_filled_in_and_numbers_get_their_type() {
    let inputs = "{device: {type: string}, limit: {type: number, default: 80}, \
                  n: {type: integer}, note: {type: string, optional: true}, any: {}, \
                  zones: {type: array, items: {type: integer}, default: []}}";
    let given = json!({"device": "p", "n": 5.0, "any": {"x": [1, true]}, "zones": [2]});
    let expected = r#"{"any":{"x":[1.0,true]},"device":"p","limit":80.0,"n":5,"zones":[2]}"#;
    assert_eq!(checked(inputs, given), Ok(expected.to_owned()));
    assert_eq!(checked("{}", Json::Null), Ok("{}".to_owned()));
}

#[test]
fn what_is_refused() {
    let cases = [
        ("{a: {type: string}}", json!({}), "input `a` is missing and has no default"),
        ("{alpha: {}}", json!({"alpha": 1, "alhpa": 2}), "did you mean `alpha`?"),
        ("{}", json!([]), "the inputs must be a map from names to values"),
        ("{a: {type: string}}", json!({"a": 1}), "input `a` must be of type string, not number"),
        ("{a: {type: integer}}", json!({"a": 1.5}), "must be of type integer, not number"),
        ("{a: {type: integer}}", json!({"a": u64::MAX}), "must be of type integer"),
        ("{a: {type: number}}", json!({"a": "1"}), "must be of type number, not string"),
        ("{a: {type: boolean}}", json!({"a": null}), "must be of type boolean, not null"),
        ("{a: {enum: [1, x]}}", json!({"a": 2}), "must be one of 1, \"x\""),
        ("{a: {const: 5}}", json!({"a": 6}), "must be 5"),
        ("{a: {minimum: 1}}", json!({"a": 0.5}), "must be at least 1"),
        ("{a: {exclusiveMaximum: 1}}", json!({"a": 1}), "must be below 1"),
        ("{a: {minLength: 3}}", json!({"a": "éé"}), "at least 3 characters, not 2"),
        ("{a: {pattern: '^p-[0-9]+$'}}", json!({"a": "q-1"}), "must match `^p-[0-9]+$`"),
        ("{a: {maxItems: 1}}", json!({"a": [1, 2]}), "at most 1 items, not 2"),
        (
            "{a: {items: {properties: {n: {type: string}}}}}",
            json!({"a": [{"n": "x"}, {"n": 1}]}),
            "input `a[1].n` must be of type string",
        ),
        ("{a: {required: [n]}}", json!({"a": {}}), "input `a` has no `n`"),
        (
            "{a: {properties: {n: {}}, additionalProperties: false}}",
            json!({"a": {"m": 1}}),
            "input `a` must not have `m`",
        ),
    ];
    for (inputs, given, part) in cases {
        let error = checked(inputs, given.clone()).unwrap_err();
        assert!(error.contains(part), "{inputs} {given}: {error}");
    }
}

#[test]
fn what_fits() {
    for (inputs, given) in [
        ("{a: {enum: [1, x]}}", json!({"a": 1.0})),
        ("{a: {pattern: '[0-9]'}}", json!({"a": "x7y"})),
        ("{a: {pattern: \"\\\"\\\\\\\\$\"}}", json!({"a": "\"\\"})),
        ("{a: {type: integer}}", json!({"a": i64::MIN})),
        ("{a: {type: integer}}", json!({"a": 1e3})),
        ("{a: {maximum: 1}}", json!({"a": "not a number"})),
        ("{a: {type: object, properties: {n: {type: integer}}}}", json!({"a": {"n": 1, "m": 2}})),
    ] {
        checked(inputs, given.clone()).unwrap_or_else(|error| panic!("{inputs}: {error}"));
    }
}

#[test]
fn a_problem_names_its_place_for_people_and_for_programs() {
    let inputs = "{zones: {items: {properties: {\"a/b~c\": {type: integer}}}}, n: {type: integer}}";
    let given = json!({"zones": [{}, {"a/b~c": "x"}], "n": "1", "m": 1});
    let problems = workflow(inputs).check_inputs(&JsonText::of(&given)).unwrap_err();
    let places: Vec<(&str, &str)> =
        problems.iter().map(|one| (one.input.as_str(), one.pointer.as_str())).collect();
    assert_eq!(places, [("n", "/n"), ("zones[1].a/b~c", "/zones/1/a~1b~0c"), ("m", "/m")]);
    for pointer in ["/n", "/zones/1/a~1b~0c", "/m"] {
        assert!(given.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn what_is_told_is_bounded() {
    let numbers = workflow("{a: {optional: true, items: {type: integer}}}");
    let check = |given: Json| numbers.check_inputs(&JsonText::of(&given));
    let problems = check(json!({"a": vec!["x"; 5_000]})).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS);
    let long = "k".repeat(10_000);
    let problems = check(json!({ long: 1 })).unwrap_err();
    assert_eq!(problems[0].pointer, "");
    let problems = check(json!({"a": vec![1; limits::VALUE_BYTES]})).unwrap_err();
    assert!(problems[0].to_string().starts_with("the inputs have 131"), "{}", problems[0]);
    // What is small as it was sent may be too large once its numbers are doubles.
    let doubles = workflow("{a: {items: {type: number}}}");
    let given = JsonText::of(&json!({"a": vec![1; limits::VALUE_BYTES / 3]}));
    assert!(given.len() <= limits::VALUE_BYTES);
    assert!(doubles.check_inputs(&given).unwrap_err()[0].message.contains("the most is 65536"));
}
