//! Tests of the translator by what it writes, and by what it says it cannot.

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

fn notes(definition: &Json) -> Vec<String> {
    translate(definition, "test").unwrap().notes.iter().map(ToString::to_string).collect()
}

fn machine(states: Json) -> Json {
    json!({"StartAt": "A", "States": states})
}

/// Whether exactly these are named, each by its path and part of the reason.
#[track_caller]
fn assert_named(found: &[String], expected: &[(&str, &str)]) {
    let matches = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, (path, reason))| {
            found
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(": ") && rest.contains(reason))
        });
    assert!(matches, "{found:#?}");
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
                    "io": "${merge(inputs.input, \
                           {'a': merge(get(inputs.input, 'a', {}), {'b': vars.result})})}",
                },
            },
            {"id": "My_B", "name": "My B", "delay": "5s"},
        ])
    );
    assert_eq!(document["outputs"], json!({"output": {"value": "${vars.io}"}}));
}

#[test]
fn a_choice_leads_by_id_and_sets_on_the_way() {
    let document = document(&machine(json!({
        "A": {"Type": "Choice", "Default": "B", "Assign": {"why": "default"}, "Choices": [
            {"Variable": "$.n", "NumericEquals": 1, "Next": "B"},
            {"Variable": "$.n", "NumericEquals": 2, "Next": "B", "Assign": {"why.$": "$.text"}},
        ]},
        "B": {"Type": "Succeed"},
    })));
    let steps = &document["steps"];
    assert_eq!(steps[0]["cases"][0], json!({"when": "inputs.input.n == 1", "do": "B"}));
    assert_eq!(steps[0]["cases"][1]["do"], "A_case_2");
    assert_eq!(steps[0]["default"], "A_default");
    assert_eq!(steps[0]["export"], json!({"io": "${inputs.input}"}));
    assert_eq!(
        steps[1],
        json!({"id": "A_case_2", "set": {"why": "${vars.io.text}"}, "next_steps": ["B"]})
    );
}

#[test]
fn names_of_ours_give_way_to_those_of_the_definition() {
    let document = document(&machine(json!({
        "A": {"Type": "Pass", "Assign": {"io": 1, "result": 2}, "Result": {}, "Next": "B"},
        "B": {"Type": "Pass", "Parameters": {"x.$": "$io", "y.$": "$result.z"}, "End": true},
    })));
    assert_eq!(document["steps"][0]["set"], json!({"result_": {}}));
    let export = json!({"io_": "${vars.result_}", "io": 1, "result": 2});
    assert_eq!(document["steps"][0]["export"], export);
    assert_eq!(
        document["steps"][1]["set"]["io_"],
        json!({"x": "${vars.io}", "y": "${vars.result.z}"})
    );
}

#[test]
fn states_of_any_name_are_told_apart() {
    let definition = machine(json!({
        "A": {"Type": "Pass", "Next": "é?"},
        "é?": {"Type": "Pass", "Next": "è!"},
        "è!": {"Type": "Pass", "End": true},
    }));
    let states = translate(&definition, "test").unwrap().states;
    let states: Vec<(&str, &str)> =
        states.iter().map(|(id, name)| (id.as_str(), name.as_str())).collect();
    assert_eq!(states, [("A", "A"), ("__", "é?"), ("___2", "è!")]);
}

#[test]
fn cycles_are_named_where_they_close() {
    let named = problems(&machine(json!({
        "A": {"Type": "Pass", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.x", "IsNull": true, "Next": "A"}], "Default": "C"},
        "C": {"Type": "Task", "Resource": "r", "End": true,
              "Catch": [{"ErrorEquals": ["E"], "Next": "C"}]},
    })));
    assert_named(
        &named,
        &[("$.States.C.Catch[0].Next", "back to `C`"), ("$.States.B.Choices[0].Next", "no cycles")],
    );
}

#[test]
fn what_belongs_to_another_language_is_named() {
    let pass = |fields: Json| {
        let mut pass = json!({"Type": "Pass", "End": true});
        pass.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        machine(json!({"A": pass}))
    };
    let mut whole = pass(json!({}));
    whole["QueryLanguage"] = json!("JSONata");
    assert_named(&problems(&whole), &[("$.QueryLanguage", "JSONata")]);
    let one = pass(json!({"QueryLanguage": "JSONata", "Output": "{% 1 %}"}));
    assert_named(&problems(&one), &[("$.States.A.QueryLanguage", "JSONata")]);
    let output = pass(json!({"Output": "{% 1 %}"}));
    assert_named(&problems(&output), &[("$.States.A.Output", "JSONata")]);
    let intrinsic = pass(json!({"Parameters": {"a b": [{"x.$": "States.UUID()"}]}}));
    let path = "$.States.A.Parameters['a b'][0]['x.$']";
    assert_named(&problems(&intrinsic), &[(path, "intrinsic")]);
    let wildcard = pass(json!({"InputPath": "$.a[*]"}));
    assert_named(&problems(&wildcard), &[("$.States.A.InputPath", "names and indices")]);
    let unknown = pass(json!({"Parameters": {"x.$": "$nothing"}, "Fancy": 1}));
    assert_named(
        &problems(&unknown),
        &[("$.States.A.Parameters['x.$']", "assigns"), ("$.States.A.Fancy", "no field of a Pass")],
    );
    let deep = pass(json!({"Result": 1, "ResultPath": format!("${}", "['x.y']".repeat(40))}));
    assert_named(&problems(&deep), &[("$.States.A.ResultPath", "8 objects deep")]);
    let list = pass(json!({"Result": 1, "ResultPath": "$.a[0]"}));
    assert_named(&problems(&list), &[("$.States.A.ResultPath", "not into lists")]);
    let context = pass(json!({"Parameters": {"x.$": "$$.Task.Token"}}));
    assert_named(&problems(&context), &[("$.States.A.Parameters['x.$']", "leads to nothing")]);
}

#[test]
fn maps_that_start_runs_of_their_own_are_named() {
    let processor = json!({
        "StartAt": "I", "States": {"I": {"Type": "Pass", "End": true}},
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
    });
    let map = json!({
        "Type": "Map", "ItemProcessor": processor, "End": true, "ItemReader": {}, "Label": "x",
    });
    assert_named(
        &problems(&machine(json!({"A": map}))),
        &[
            ("$.States.A.ItemProcessor.ProcessorConfig.Mode", "distributed"),
            ("$.States.A.ItemReader", "no field of a Map"),
            ("$.States.A.Label", "no field of a Map"),
        ],
    );
}

#[test]
fn what_is_wrong_in_its_own_language_is_named() {
    assert_named(&problems(&json!([])), &[("$", "JSON object")]);
    assert_named(&problems(&json!({})), &[("$", "`StartAt` and `States`")]);
    assert_named(&problems(&json!({"StartAt": "B", "States": {}})), &[("$.StartAt", "no state")]);
    let odd = machine(json!({
        "A": {"Type": "Pass", "Next": "Z"},
        "B": {"Type": "Magic", "End": true},
    }));
    assert_named(&problems(&odd)[..1], &[("$.States.A.Next", "no state `Z`")]);
    let odd = machine(json!({
        "A": {"Type": "Wait", "Next": "B"},
        "B": {"Type": "Choice", "Next": "C", "Choices": [
            {"Variable": "$.x", "NumericEquals": "1", "Next": "C"}, {"Next": "C"}]},
        "C": {"Type": "Task", "Resource": "r", "Retry": [{"ErrorEquals": [], "BackoffRate": 0}]},
    }));
    assert_named(
        &problems(&odd),
        &[
            ("$.States.A", "one length or time"),
            ("$.States.B.Choices[0].NumericEquals", "compared"),
            ("$.States.B.Choices[1]", "needs `Variable`"),
            ("$.States.C.Retry[0].ErrorEquals", "list of error names"),
            ("$.States.C.Retry[0].BackoffRate", "from 1 to 100"),
            ("$.States.C", "`Next` or `End`"),
        ],
    );
}

#[test]
fn bounds_of_our_language_are_told() {
    let branches: Vec<Json> = (0..65)
        .map(|n| json!({"StartAt": format!("S{n}"), "States": {format!("S{n}"): {"Type": "Succeed"}}}))
        .collect();
    let wide = machine(json!({"A": {"Type": "Parallel", "Branches": branches, "End": true}}));
    assert_named(&problems(&wide), &[("$", "not valid: `parallel` takes 1 to 64 branches")]);
}

#[test]
fn what_is_not_quite_the_same_is_noted() {
    let definition = machine(json!({
        "A": {
            "Type": "Task", "Resource": "arn:aws:states:::sns:publish", "End": true,
            "Credentials": {"RoleArn": "x"}, "HeartbeatSeconds": 5, "TimeoutSeconds": 60,
            "Catch": [{"ErrorEquals": ["States.Runtime"], "Next": "B"}],
        },
        "B": {"Type": "Pass", "End": true},
    }));
    assert_named(
        &notes(&definition),
        &[
            ("$.States.B", "left out"),
            ("$.States.A.Credentials", "grants"),
            ("$.States.A.HeartbeatSeconds", "signs of life"),
            ("$.States.A.Catch[0].ErrorEquals[0]", "cannot be caught"),
        ],
    );
    let step = &document(&definition)["steps"][0];
    assert_eq!((&step["plugin"], &step["timeout"]), (&json!("asl-sns.publish"), &json!("5s")));
}

#[test]
fn both_spellings_of_the_document_are_one_workflow() {
    let definition = machine(json!({
        "A": {"Type": "Pass", "Comment": "on: 12:30:00", "Result": {"yes": "no", "t": "12:30", "n": "0x1f",
              "m": "a: b # c\n\n  d ", "e": "", "q": "'\"${x}"}, "ResultPath": "$.x", "Next": "B"},
        "B": {"Type": "Choice", "Choices": [{"Variable": "$.x.q", "StringMatches": "'*\"", "Next": "C"}],
              "Default": "C"},
        "C": {"Type": "Fail", "Error": "It's: so", "Cause": "~"},
    }));
    let document = document(&definition);
    let yaml = serde_saphyr::to_string(&document).unwrap();
    let from_yaml = definition::parse(&yaml).unwrap_or_else(|error| panic!("{yaml}\n{error:?}"));
    assert_eq!(from_yaml.hash, definition::parse(&document.to_string()).unwrap().hash);
}

/// The example of `docs/asl-import.md` is what the translator makes of it.
#[test]
fn the_example_of_the_documentation_is_right() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/asl-import.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let block = |language: &str| {
        let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
        rest.split_once("```").unwrap().0.to_owned()
    };
    let definition = serde_json::from_str(&block("json")).unwrap();
    let document = translate(&definition, "order").unwrap().document;
    assert_eq!(serde_saphyr::to_string(&document).unwrap(), block("yaml"));
}
