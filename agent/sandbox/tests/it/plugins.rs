//! The plugins of this repository, as they are shipped, run with the cases beside their sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{Manifest, Permissions};
use openclaw_sandbox::cases::{self, Case};
use openclaw_sandbox::{HttpResponse, Module, Sandbox, digest_of};
use serde_json::Value;

use crate::host::{Fake, Setup};

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

fn check(name: &str, least_cases: usize) {
    let (manifest, module) = built(name);
    assert_eq!(manifest.name.as_str(), name);
    for action in manifest.actions.keys() {
        let export = manifest.export_of(action).unwrap();
        assert!(module.is_action(&export), "{name} has no export for its action {action}");
    }
    assert_eq!(module.info().initial_pages, initial_pages(name), "of {name}");
    let mut used = Vec::new();
    let cases = cases_of(name);
    assert!(cases.len() >= least_cases, "{name} has {} cases", cases.len());
    for (case_name, case) in cases {
        let report = case.run(&manifest, &module).unwrap();
        assert!(report.passed(), "{name}/{case_name}: {:#?}", report.differences);
        used.extend(report.permissions_used);
    }
    // Of destinations one will do: the others of a list differ in their address alone.
    let kind = |entry: &str| entry.split(':').next().unwrap().to_owned();
    for asked in manifest.permissions.missing_from(&Permissions::default()) {
        let is_kind = ["http", "tcp"].contains(&kind(&asked).as_str());
        let needed = used.iter().any(|u| *u == asked || is_kind && kind(u) == kind(&asked));
        assert!(needed, "{name} asks for {asked}, which no case of it needs");
    }
}

fn cases_of(name: &str) -> Vec<(String, Case)> {
    let dir = repository().join("plugins-wasm/plugins").join(name).join("cases");
    cases::load_dir(&dir).unwrap()
}

/// Small stacks and little static data keep a fresh instance cheap, so a page more is a decision.
fn initial_pages(name: &str) -> u64 {
    match name {
        "web-scraping" => 6,
        "transform" => 2,
        _ => 1,
    }
}

/// A device fetches each module over its link. An interpreter and a parser of HTML are larger.
#[test]
fn modules_are_small_and_as_large_as_the_documentation_says() {
    let table = std::fs::read_to_string(repository().join("docs/plugins.md")).unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(repository().join("plugins-wasm/plugins")).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let module = repository().join("target/plugins").join(&name).join("plugin.wasm");
        let bytes = std::fs::metadata(module).unwrap().len();
        let most = if ["transform", "web-scraping"].contains(&name.as_str()) { 720 } else { 300 };
        assert!(bytes <= most * 1_024, "{name} has {bytes} bytes");
        let row = table.lines().find(|line| line.starts_with(&format!("| [{name}]("))).unwrap();
        let said = row.trim_end_matches(" KiB |").rsplit(' ').next().unwrap();
        let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
        assert!(readme.contains(&format!("The module has {said} KiB.")), "README of {name}");
        // Compilers differ a little.
        let is = bytes as f64 / 1_024.0 / said.parse::<f64>().unwrap();
        assert!(
            (0.9..1.1).contains(&is),
            "{name} has {bytes} bytes, docs/plugins.md says {said} KiB"
        );
        seen += 1;
    }
    assert_eq!(seen, table.lines().filter(|line| line.ends_with(" KiB |")).count());
}

#[test]
fn json_transform() {
    check("json-transform", 5);
}

#[test]
fn the_benchmark_s_input_has_295_bytes() {
    let cases = cases_of("json-transform");
    let (_, case) = cases.iter().find(|(name, _)| name == "a-batch-of-295-bytes").unwrap();
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

#[test]
fn threshold() {
    check("threshold", 5);
}

#[test]
fn aggregate() {
    check("aggregate", 5);
}

#[test]
fn transform() {
    check("transform", 5);
}

#[test]
fn modbus_tcp() {
    check("modbus-tcp", 5);
}

#[test]
fn csv() {
    check("csv", 5);
}

#[test]
fn mqtt_json() {
    check("mqtt-json", 5);
}

#[test]
fn file_tail() {
    check("file-tail", 5);
}

#[test]
fn notify() {
    check("notify", 5);
}

#[test]
fn anomaly() {
    check("anomaly", 5);
}

#[test]
fn serial_line() {
    check("serial-line", 5);
}

#[test]
fn gpio() {
    check("gpio", 5);
}

#[test]
fn exec() {
    check("exec", 5);
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
