//! The plugins of this repository, as they are shipped, run with the cases beside their sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{Manifest, Permissions};
use openclaw_sandbox::{HttpResponse, Module, Outcome, Sandbox, digest_of};
use serde::Deserialize;
use serde_json::Value;

use crate::host::{Fake, Setup};

/// One example: what goes in, what the world is like, what must come out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// For the reader.
    #[serde(default, rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    action: Option<String>,
    input: Value,
    #[serde(default)]
    config: VecMap<String, String>,
    /// In place of what the manifest asks for.
    #[serde(default)]
    permissions: Option<Permissions>,
    /// Texts by `directory:path`.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Responses by `METHOD url`.
    #[serde(default)]
    http: BTreeMap<String, Response>,
    /// The requests that must be sent, in order.
    #[serde(default)]
    sent: Option<Vec<Sent>>,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Response {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sent {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expect {
    /// The whole output.
    Output(Value),
    /// Fields that the output has.
    Contains(Value),
    /// A failure with this code whose message holds this text.
    Error {
        code: String,
        #[serde(default)]
        message: String,
    },
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn built(name: &str) -> (Manifest, Arc<Module>) {
    let dir = repository().join("target/plugins").join(name);
    let module = loaded(&dir.join("plugin.wasm"));
    let manifest = std::fs::read_to_string(dir.join("plugin.toml")).unwrap();
    (Manifest::from_toml(&manifest).unwrap(), module)
}

fn loaded(path: &Path) -> Arc<Module> {
    let wasm = std::fs::read(path)
        .unwrap_or_else(|e| panic!("{}: {e}; run `make plugins` first", path.display()));
    Sandbox::new().load(digest_of(&wasm), &wasm).unwrap()
}

fn run(manifest: &Manifest, module: &Arc<Module>, case: &Case) -> (Outcome, Fake) {
    let action = case.action.as_deref().unwrap_or("execute");
    let export = manifest.export_of(action).expect("the manifest has the case's action");
    let http = case.http.iter().map(|(key, r)| {
        let body = r.body.clone().into_bytes();
        (key.clone(), HttpResponse { status: r.status, headers: r.headers.clone(), body })
    });
    let mut host = Fake {
        http: http.collect(),
        files: case.files.iter().map(|(k, v)| (k.clone(), v.clone().into_bytes())).collect(),
        ..Fake::default()
    };
    let setup = Setup {
        export: Box::leak(export.into_boxed_str()),
        input: serde_json::to_vec(&case.input).unwrap(),
        config: case.config.clone(),
        limits: manifest.limits,
        permissions: case.permissions.clone().unwrap_or_else(|| manifest.permissions.clone()),
        ..Setup::default()
    };
    (setup.run(module, &mut host), host)
}

/// Whether `whole` has all that `part` has.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(k, p)| whole.get(k).is_some_and(|w| contains(w, p)))
        }
        (whole, part) => whole == part,
    }
}

fn check(name: &str, least_cases: usize) {
    let (manifest, module) = built(name);
    assert_eq!(manifest.name.as_str(), name);
    for action in manifest.actions.keys() {
        let export = manifest.export_of(action).unwrap();
        assert!(module.is_action(&export), "{name} has no export for its action {action}");
    }
    assert_eq!(module.info().initial_pages, initial_pages(name), "of {name}");
    let cases = repository().join("plugins-wasm/plugins").join(name).join("cases");
    let mut seen = 0;
    for entry in std::fs::read_dir(&cases).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let case: Case =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (outcome, host) = run(&manifest, &module, &case);
        judge(&path, &case, &outcome, &host);
        seen += 1;
    }
    assert!(seen >= least_cases, "{name} has {seen} cases");
}

fn judge(path: &Path, case: &Case, outcome: &Outcome, host: &Fake) {
    let at = path.display();
    match (&case.expect, &outcome.result) {
        (Expect::Output(expected), Ok(bytes)) => {
            let output: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(&output, expected, "{at}");
        }
        (Expect::Contains(part), Ok(bytes)) => {
            let output: Value = serde_json::from_slice(bytes).unwrap();
            assert!(contains(&output, part), "{at}: {output:#}");
        }
        (Expect::Error { code, message }, Err(fault)) => {
            assert_eq!(&fault.code, code, "{at}: {}", fault.message);
            assert!(fault.message.contains(message), "{at}: {}", fault.message);
        }
        (expected, got) => panic!("{at}: expected {expected:?}, got {got:?}"),
    }
    let Some(expected) = &case.sent else { return };
    let sent: Vec<Sent> = host
        .sent
        .iter()
        .map(|r| Sent {
            method: r.method.clone(),
            url: r.target.to_string(),
            headers: r.headers.clone(),
            body: String::from_utf8(r.body.clone()).unwrap(),
        })
        .collect();
    assert_eq!(&sent, expected, "{at}");
}

/// Small stacks and little static data keep a fresh instance cheap, so a page more is a decision.
fn initial_pages(name: &str) -> u64 {
    match name {
        "web-scraping" => 6,
        _ => 1,
    }
}

#[test]
fn json_transform() {
    check("json-transform", 5);
}

#[test]
fn the_benchmark_s_input_has_295_bytes() {
    let path = "plugins-wasm/plugins/json-transform/cases/a-batch-of-295-bytes.json";
    let text = std::fs::read_to_string(repository().join(path)).unwrap();
    let case: Case = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&case.input).unwrap().len(), 295);
}

#[test]
fn system_metrics() {
    check("system-metrics", 5);
}

/// A host that has the real kernel's texts, by the names under which a device offers them.
pub(crate) fn this_machine() -> Fake {
    let mut host = Fake::default();
    for file in ["loadavg", "stat", "meminfo", "uptime", "net/dev"] {
        let text = std::fs::read(Path::new("/proc").join(file)).unwrap();
        host.files.insert(format!("proc:{file}"), text);
    }
    host
}

#[test]
fn system_metrics_of_this_very_machine() {
    let (manifest, module) = built("system-metrics");
    let mut host = this_machine();
    let setup = Setup {
        limits: manifest.limits,
        permissions: manifest.permissions.clone(),
        ..Setup::default()
    };
    let outcome = setup.run(&module, &mut host);
    let output: Value = serde_json::from_slice(&outcome.result.unwrap()).unwrap();
    let memory = &output["memory"];
    let (total, used) =
        (memory["total_bytes"].as_u64().unwrap(), memory["used_bytes"].as_u64().unwrap());
    assert!(used > 0 && used < total && total > 64 * 1024 * 1024, "{output:#}");
    assert!(output["uptime_s"].as_f64().unwrap() > 0.0, "{output:#}");
    assert!(output["cpu"]["count"].as_u64().unwrap() > 0, "{output:#}");
}

#[test]
fn http() {
    check("http", 10);
}

#[test]
fn web_scraping() {
    check("web-scraping", 11);
}

/// A guest made with the public Extism PDK, unchanged.
#[test]
fn a_plugin_of_the_extism_kit_runs_as_it_is() {
    let module = loaded(&repository().join("target/plugins-interop/extism-rust.wasm"));
    let greet = Setup {
        input: br#"{"name":"Ada"}"#.to_vec(),
        config: VecMap::from([("greeting".into(), "good day".into())]),
        vars: VecMap::from([("calls".into(), 41_u32.to_le_bytes().to_vec())]),
        ..Setup::default()
    };
    let outcome = greet.run(&module, &mut Fake::default());
    let output: Value = serde_json::from_slice(&outcome.result.unwrap()).unwrap();
    assert_eq!(output, serde_json::json!({ "greeting": "good day Ada", "calls": 42 }));
    assert_eq!(outcome.vars["calls"], 42_u32.to_le_bytes());
    assert_eq!(outcome.logs[0].message, "greeting Ada");

    let url = "http://127.0.0.1:8080/state";
    let headers = BTreeMap::from([("content-type".to_owned(), "text/plain".to_owned())]);
    let response = HttpResponse { status: 200, headers, body: b"all is well".to_vec() };
    let mut host =
        Fake { http: BTreeMap::from([(format!("GET {url}"), response)]), ..Fake::default() };
    let permissions = Permissions { http: vec!["127.0.0.1:8080".into()], ..Permissions::default() };
    let fetch = Setup { export: "fetch", input: url.into(), permissions, ..Setup::default() };
    let outcome = fetch.run(&module, &mut host);
    assert_eq!(outcome.result.unwrap(), b"200 text/plain all is well");

    let fail = Setup { export: "fail", ..Setup::default() };
    let fault = fail.run(&module, &mut Fake::default()).result.unwrap_err();
    assert_eq!(fault.code, "plugin.error");
    assert!(fault.message.contains("the sensor is missing"), "{fault}");
}
