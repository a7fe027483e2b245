//! The API's description as a contract: every answer that a test sees is held to it.

use jsonschema::Validator;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::identity::TABLE;
use crate::openapi_json;

pub(super) struct Contract {
    document: Value,
}

impl Contract {
    pub(super) fn load() -> Self {
        let mut document: Value = serde_json::from_str(&openapi_json()).unwrap();
        // An answer must not hold what the description does not name.
        let schemas = document["components"]["schemas"].as_object_mut().unwrap();
        schemas.values_mut().for_each(close);
        Self { document }
    }

    /// Panics if an answer is not as described.
    pub(super) fn hold(
        &self,
        method: &Method,
        path: &str,
        status: StatusCode,
        kind: &str,
        body: &Value,
    ) {
        let what = format!("{method} {path}: {status}: {body}");
        assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{what}");
        let Some(operation) = self.operation(method, path) else {
            assert!([404, 405].contains(&status.as_u16()) || !path.starts_with("/api/"), "{what}");
            return;
        };
        let responses = &operation["responses"];
        let described = responses.get(status.as_str()).or_else(|| responses.get("default"));
        let content = &described.unwrap_or_else(|| panic!("not described: {what}"))["content"];
        let essence = kind.split(';').next().unwrap_or_default();
        if content.is_null() {
            assert!(body.as_str().is_some_and(str::is_empty), "{what}");
            return;
        }
        let schema = &content[essence]["schema"];
        assert!(schema.is_object(), "content type `{essence}` is not described: {what}");
        if essence == "text/event-stream" {
            return;
        }
        let validator = self.validator(schema);
        let errors: Vec<String> = validator
            .iter_errors(body)
            .map(|e| format!("{} at {}", e, e.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{errors:#?}\n{what}");
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.clone();
        root["components"] = self.document["components"].clone();
        root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        jsonschema::validator_for(&root).unwrap()
    }

    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let paths = self.document["paths"].as_object().unwrap();
        let fits = |template: &str| {
            let (mut given, mut named) = (path.split('/'), template.split('/'));
            loop {
                match (given.next(), named.next()) {
                    (None, None) => return true,
                    (Some(part), Some(name)) if part == name || name.starts_with('{') => {}
                    _ => return false,
                }
            }
        };
        // A literal address goes before one with variable parts.
        let mut found: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
        found.sort_by_key(|template| template.matches('{').count());
        paths.get(*found.first()?)?.get(method.as_str().to_ascii_lowercase())
    }
}

fn close(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    if object.contains_key("properties") && !object.contains_key("additionalProperties") {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    object.values_mut().for_each(close);
}

#[test]
fn the_committed_description_is_the_real_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == openapi_json(),
        "openapi.json is out of date: run `openclaw-control-plane openapi > {path}`"
    );
}

#[test]
fn the_access_table_and_the_description_name_the_same_routes() {
    /// Pages for browsers, which are no part of the API.
    const PAGES: [&str; 3] = ["/", "/console/{file}", "/status.html"];
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let empty = Map::new();
    let paths = document["paths"].as_object().unwrap();
    let mut described: Vec<String> = Vec::new();
    for (path, item) in paths {
        let methods = item.as_object().unwrap_or(&empty).keys();
        let methods =
            methods.filter(|key| ["get", "put", "post", "delete"].contains(&key.as_str()));
        described.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let mut declared: Vec<String> = TABLE
        .iter()
        .filter(|(_, route, _)| !PAGES.contains(route))
        .map(|(method, route, _)| format!("{method} {route}"))
        .collect();
    described.sort();
    declared.sort();
    assert_eq!(described, declared);
}

#[test]
fn the_description_is_openapi_3_1_and_names_each_operation_once() {
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["responses"].is_object(), "{method} {path}");
            assert!(operation["summary"].is_string() || operation["description"].is_string());
        }
    }
}
