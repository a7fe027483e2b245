//! Tests of the translator by what it writes.

use serde_json::json;

use super::*;

fn document(definition: &Json) -> Json {
    let translated = translate(definition, "test");
    translated.unwrap_or_else(|problems| panic!("{problems:#?}")).document
}

fn problems(definition: &Json) -> Vec<String> {
    let problems = translate(definition, "test").unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn machine(states: Json) -> Json {
    json!({"StartAt": "A", "States": states})
}

#[test]
fn a_chain_is_a_list() {
    let document = document(&machine(json!({
        "A": {"Type": "Pass", "Result": {"x": 1, "y": "${z}"}, "ResultPath": "$.a.b", "Next": "My B"},
        "My B": {"Type": "Wait", "Seconds": 5, "End": true},
    })));
    assert_eq!(
        document["steps"],
        json!([
            {
                "id": "A", "name": "A",
                "set": {"result": {"x": 1, "y": "$${z}"}},
                "export": {
                    "io": "${merge(inputs.input, {\"a\": merge(get(inputs.input, \"a\", {}), \
                           {\"b\": vars.result})})}",
                },
            },
            {"id": "My_B", "name": "My B", "delay": "5s"},
        ])
    );
}
