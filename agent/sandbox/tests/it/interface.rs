//! Holds docs/plugin-abi.md to the code: a module for each function of its tables, with the signature
//! that stands there, is loaded; every function of the code is in them; and so are the limits.

use std::collections::BTreeSet;
use std::path::Path;

use openclaw_protocol::limits as shared;
use openclaw_sandbox::{LoadError, Sandbox, limits};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// Module, function and signature of each row.
fn rows() -> Vec<(String, String, String)> {
    let (mut module, mut rows) = (String::new(), Vec::new());
    for line in read("docs/plugin-abi.md").lines() {
        if let Some(title) = line.strip_prefix("## ") {
            module = title.split('`').nth(1).unwrap_or_default().to_owned();
        }
        let cells: Vec<&str> =
            line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        if let [name, signature, ..] = cells[..]
            && signature.starts_with("`(")
        {
            let plain = |cell: &str| cell.trim_matches('`').to_owned();
            rows.push((module.clone(), plain(name), plain(signature)));
        }
    }
    rows
}

/// `(a: i32, b: i64) -> i32` as WebAssembly's text has it.
fn signature_in_wat(signature: &str) -> String {
    let (params, result) = signature.split_once(')').unwrap();
    let types =
        params.trim_start_matches('(').split(',').filter_map(|param| param.split(": ").nth(1));
    let types: Vec<&str> = types.collect();
    let result = result.strip_prefix(" -> ").map(|ty| format!("(result {ty})")).unwrap_or_default();
    format!("(param {}) {result}", types.join(" "))
}

fn load(module: &str, name: &str, signature: &str) -> Result<(), LoadError> {
    let text = format!(
        r#"(module (import "{module}" "{name}" (func {signature})) (memory (export "memory") 1))"#
    );
    Sandbox::inspect(&wat::parse_str(text).unwrap()).map(|_| ())
}

#[test]
fn every_function_of_the_page_is_there_with_its_signature() {
    let rows = rows();
    assert!(rows.len() > 70, "{} rows were read", rows.len());
    for (module, name, signature) in &rows {
        let wat = signature_in_wat(signature);
        load(module, name, &wat).unwrap_or_else(|e| panic!("{module}.{name} {signature}: {e}"));
        // The signature is looked at: with one more parameter it is another function.
        let more = wat.replacen("(param", "(param f32", 1);
        assert!(load(module, name, &more).is_err(), "{module}.{name} takes anything");
    }
}

#[test]
fn every_function_of_the_code_is_on_the_page() {
    let rows = rows();
    let on_page = |of: &str| -> BTreeSet<String> {
        let of_module = rows.iter().filter(|(module, ..)| module == of);
        of_module.map(|(_, name, _)| name.clone()).collect()
    };
    let contract = read("plugins-wasm/abi/src/lib.rs");
    let (_, names) = contract.split_once("pub mod openclaw {").unwrap();
    let (names, _) = names.split_once("\n}").unwrap();
    let own: BTreeSet<String> = quoted(names, "&str = ");
    assert_eq!(own, on_page("openclaw"));
    for (module, file) in
        [("extism:host/env", "abi_extism.rs"), ("wasi_snapshot_preview1", "wasi.rs")]
    {
        let code = read(&format!("agent/sandbox/src/{file}"));
        for name in on_page(module) {
            assert!(code.contains(&format!("\"{name}\"")), "{module}.{name} is not in {file}");
        }
        let missing: Vec<String> =
            quoted(&code, "func_wrap(m, ").difference(&on_page(module)).cloned().collect();
        assert!(missing.is_empty(), "{module}: {missing:?}");
    }
}

/// All that stands in quotes right behind a text.
fn quoted(code: &str, behind: &str) -> BTreeSet<String> {
    let pieces = code.split(behind).skip(1).filter_map(|rest| rest.strip_prefix('"'));
    pieces.filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
}

#[test]
fn the_limits_on_the_page_are_those_of_the_code() {
    let page = read("docs/plugin-abi.md");
    let (_, table) = page.split_once("## 6. Limits").unwrap();
    for (what, numbers) in [
        ("module", vec![shared::MODULE_BYTES]),
        ("memory from the start", vec![limits::INITIAL_PAGES as usize]),
        ("elements of all tables", vec![limits::TABLE_ELEMENTS]),
        ("calls inside calls", vec![limits::RECURSION]),
        ("fuel of a call", vec![shared::PLUGIN_FUEL as usize]),
        ("memory of a call", vec![shared::PLUGIN_MEMORY_BYTES as usize]),
        ("output", vec![shared::PLUGIN_OUTPUT_BYTES as usize]),
        ("lines logged", vec![limits::LOG_LINES, limits::LOG_LINE_BYTES, limits::LOG_BYTES]),
        ("variables of a run", vec![limits::VARS, limits::VARS_BYTES]),
        ("one read or write of a file", vec![limits::FILE_BYTES]),
        ("one read or write of a file", vec![limits::FILE_WRITE_BYTES]),
        ("a remembered value", vec![limits::KV_VALUE_BYTES, limits::KV_KEY_BYTES]),
        ("all values of one scope", vec![limits::KV_KEYS, limits::KV_SCOPE_BYTES]),
        ("messages of a call", vec![limits::MESSAGES, limits::MESSAGES_BYTES]),
        ("open streams", vec![limits::STREAMS as usize]),
        ("one read or write of a stream", vec![limits::STREAM_BYTES]),
        ("an I2C transaction", vec![limits::I2C_BYTES]),
        ("standard output of a command", vec![limits::STDOUT_BYTES]),
        ("body of an HTTP answer", vec![limits::RESPONSE_BYTES]),
    ] {
        let line = table.lines().find(|line| line.starts_with(&format!("| {what}")));
        let line = line.unwrap_or_else(|| panic!("no row `{what}`"));
        let words: Vec<&str> = line.split([' ', ',', '|']).collect();
        for number in numbers {
            assert!(words.contains(&number.to_string().as_str()), "{what}: {number}: {line}");
        }
    }
}
