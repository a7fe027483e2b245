//! What an author of plugins types at the desk, without a compiler and without a control plane.

use std::fs;

use crate::{Desk, err, json, out};

const MANIFEST: &str = "name = 'hand-made'\nversion = '0.1.0'\ndescription = 'x'\n";
/// Says `{}` and remembers nothing, though it could.
const MODULE: &str = r#"(module
    (import "openclaw" "output_write" (func $out (param i32 i32)))
    (import "openclaw" "kv_set" (func (param i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2 4)
    (data (i32.const 8) "{\"n\":1}")
    (func (export "execute") (result i32) (call $out (i32.const 8) (i32.const 7)) (i32.const 0)))"#;

/// A desk with a plugin in `p` that another tool built.
fn desk(manifest: &str, module: &str, cases: &[(&str, &str)]) -> Desk {
    let desk = Desk::new();
    let dir = desk.path().join("p");
    fs::create_dir_all(dir.join("cases")).unwrap();
    fs::write(dir.join("plugin.toml"), manifest).unwrap();
    fs::write(dir.join("plugin.wasm"), wat::parse_str(module).unwrap()).unwrap();
    for (name, text) in cases {
        fs::write(dir.join(format!("cases/{name}.json")), text).unwrap();
    }
    desk
}

#[test]
fn new_begins_a_plugin_and_overwrites_none() {
    let desk = Desk::new();
    for (lang, source) in [
        ("rust", "src/lib.rs"),
        ("assemblyscript", "assembly/index.ts"),
        ("c", "src/plugin.c"),
        ("zig", "src/main.zig"),
    ] {
        let name = format!("my-{lang}");
        let begun = desk.run(&["plugin", "new", &name, "--lang", lang]);
        assert_eq!(begun.status.code(), Some(0), "{}", err(&begun));
        assert!(err(&begun).contains(&format!("my-{lang}/{source}")), "{}", err(&begun));
        for file in ["plugin.toml", "README.md", ".gitignore", "cases/below-zero.json", source] {
            assert!(desk.path().join(&name).join(file).is_file(), "{lang}: {file}");
        }
        let again = desk.run(&["plugin", "new", &name, "--lang", lang]);
        assert_eq!(again.status.code(), Some(7), "{}", err(&again));
    }
    let told =
        desk.run(&["plugin", "new", "t", "--lang", "c", "--dir", "else/where", "-o", "json"]);
    assert_eq!(json(&told)["dir"], "else/where");
    assert!(desk.path().join("else/where/src/openclaw.h").is_file());
    let bad = desk.run(&["plugin", "new", "My Plugin", "--lang", "c"]);
    assert_eq!(bad.status.code(), Some(6));
    assert!(err(&bad).contains("lower-case"), "{}", err(&bad));
}

#[test]
fn build_says_what_to_install_where_a_compiler_is_missing() {
    let desk = Desk::new();
    let none = desk.path().join("no-programs");
    let path = none.to_string_lossy().into_owned();
    for (lang, hint) in [
        ("rust", "https://rustup.rs"),
        ("assemblyscript", "npm install"),
        ("c", "pip install ziglang"),
        ("zig", "pip install ziglang"),
    ] {
        assert_eq!(desk.run(&["plugin", "new", lang, "--lang", lang]).status.code(), Some(0));
        let built = desk.run_with(&["plugin", "build", lang], &[("PATH", &path)]);
        assert_eq!(built.status.code(), Some(1), "{}", err(&built));
        assert!(err(&built).contains(hint), "{lang}: {}", err(&built));
    }
    let nothing = desk.run(&["plugin", "build", "gone"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(err(&nothing).contains("openclaw plugin new"), "{}", err(&nothing));
}

#[test]
fn test_says_what_each_case_cost_and_fails_with_the_first_difference() {
    let good = ("good", r#"{ "input": {}, "expect": { "output": { "n": 1 } } }"#);
    let passed = desk(MANIFEST, MODULE, &[good]).run(&["plugin", "test", "p"]);
    assert_eq!(passed.status.code(), Some(0), "{}", err(&passed));
    assert!(out(&passed).trim_start().starts_with("CASE"), "{}", out(&passed));
    assert!(err(&passed).contains("1 of 1 cases passed"), "{}", err(&passed));

    let asks = format!("{MANIFEST}[permissions]\nkv = ['plugin']\n");
    let bad = ("other", r#"{ "input": {}, "expect": { "output": { "n": 2 } } }"#);
    let here = desk(&asks, MODULE, &[good, bad]);
    let failed = here.run(&["plugin", "test", "p"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(err(&failed).contains("1 of 2 cases failed"), "{}", err(&failed));
    assert!(err(&failed).contains("output.n"), "{}", err(&failed));
    assert!(err(&failed).contains("kv:plugin, and no case needs it"), "{}", err(&failed));

    let told = here.run(&["plugin", "test", "p", "-o", "json"]);
    assert_eq!(told.status.code(), Some(1));
    let told: serde_json::Value = serde_json::from_str(&out(&told)).unwrap();
    assert_eq!((&told["passed"], &told["cases"][1]["passed"]), (&false.into(), &false.into()));
    let first = &told["cases"][0];
    assert!(first["fuel"].as_u64() > Some(0), "{first}");
    assert!(first["peak_memory_bytes"].as_u64() >= Some(2 * 64 * 1024), "{first}");
    assert_eq!(first["permissions_unused"][0], "kv:plugin");
}

#[test]
fn test_refuses_what_is_no_case_and_what_has_none() {
    let none = desk(MANIFEST, MODULE, &[]).run(&["plugin", "test", "p"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(err(&none).contains("has no cases"), "{}", err(&none));
    for wrong in
        ["{", r#"{ "input": 1 }"#, r#"{ "action": "x", "input": 1, "expect": { "output": 1 } }"#]
    {
        let refused = desk(MANIFEST, MODULE, &[("wrong", wrong)]).run(&["plugin", "test", "p"]);
        assert_eq!(refused.status.code(), Some(6), "{wrong}: {}", err(&refused));
    }
}

#[test]
fn inspect_looks_at_a_module_that_is_here() {
    let here = desk(MANIFEST, MODULE, &[]);
    let told = json(&here.run(&["plugin", "inspect", "p", "-o", "json"]));
    assert_eq!(told["plugin"], "hand-made@0.1.0");
    assert_eq!(told["imports"][1], "openclaw.kv_set");
    assert_eq!(told["exports"], serde_json::json!(["execute"]));
    assert_eq!(
        (&told["memory_bytes"], &told["memory_bytes_max"]),
        (&131_072.into(), &262_144.into())
    );
    assert_eq!(told["permissions_needed"], serde_json::json!(["kv"]));
    assert!(told["warnings"][0].as_str().unwrap().contains("kv"), "{told}");

    fs::copy(here.path().join("p/plugin.wasm"), here.path().join("alone.wasm")).unwrap();
    let alone = json(&here.run(&["plugin", "inspect", "alone.wasm", "-o", "json"]));
    assert_eq!((alone.get("plugin"), alone.get("permissions_asked")), (None, None));
    assert_eq!(alone["sha256"], told["sha256"]);
    let table = here.run(&["plugin", "inspect", "./p"]);
    assert!(out(&table).contains("openclaw.kv_set"), "{}", out(&table));
    assert!(err(&table).contains("warning: the module can ask for kv"), "{}", err(&table));
}

#[test]
fn inspect_refuses_what_no_device_takes() {
    let gone = Desk::new().run(&["plugin", "inspect", "gone.wasm"]);
    assert_eq!(gone.status.code(), Some(3));
    let foreign = r#"(module (import "env" "printf" (func)) (memory 1) (func (export "execute")))"#;
    let refused = desk(MANIFEST, foreign, &[]).run(&["plugin", "inspect", "p"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(err(&refused).contains("env.printf"), "{}", err(&refused));
    let acts = format!("{MANIFEST}[actions.read]\n");
    let refused = desk(&acts, MODULE, &[]).run(&["plugin", "inspect", "p"]);
    assert_eq!(refused.status.code(), Some(6));
    assert!(err(&refused).contains("read: no export `read`"), "{}", err(&refused));
    let half = desk(MANIFEST, MODULE, &[]);
    fs::write(half.path().join("p/plugin.wasm"), b"\0asm").unwrap();
    assert_eq!(half.run(&["plugin", "inspect", "p"]).status.code(), Some(6));
}
