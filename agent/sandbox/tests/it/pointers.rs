//! Every host function with addresses, lengths and handles that are wrong: before, at and behind the
//! end of memory, wrapping around, never given out. The table holds every function that the sandbox
//! offers; one that is offered and not in it fails a test.

use std::collections::BTreeSet;
use std::sync::Arc;

use openclaw_sandbox::{LoadError, Module, Sandbox, digest_of};

use crate::host::{Setup, code, module};
use crate::hostile::{everything, world};

#[path = "../hostile/offered.rs"]
mod offered;
pub(crate) use offered::imports_of_all;
use offered::{EXTISM, OFFERED, OPENCLAW, Offered, WASI, params};

/// Spans that are not in a memory of one page: behind its end, over it, wrapping around.
const SPANS: [(i64, i64); 8] = [
    (65_535, 2),
    (65_536, 1),
    (65_537, 0),
    (0, 65_537),
    (-1, 2),
    (0x8000_0000 - (1 << 32), 0x8000_0000 - (1 << 32)),
    (16, -1),
    (-16, 32),
];
/// Addresses of which not even one byte is there.
const ADDRESSES: [i64; 4] = [65_536, i32::MAX as i64, i32::MIN as i64, -1];
/// Handles that nobody gave out.
const HANDLES: [i64; 6] = [1 << 40, i64::MAX, i64::MIN, -1, -8, 0xffff_ffff];
/// Numbers that can be anything.
const NUMBERS: [i64; 4] = [0, 1, i32::MAX as i64, -1];

/// One argument, as the guest gives it.
fn good(letter: char) -> &'static str {
    match letter {
        's' | 'S' => "(i32.const 8) (i32.const 1)",
        'I' | 'h' | 'H' => "(i64.const 0)",
        _ => "(i32.const 0)",
    }
}

fn wrong(letter: char) -> Vec<String> {
    match letter.to_ascii_lowercase() {
        's' => SPANS.map(|(at, len)| format!("(i32.const {at}) (i32.const {len})")).to_vec(),
        'p' => ADDRESSES.map(|at| format!("(i32.const {at})")).to_vec(),
        'h' => HANDLES.map(|at| format!("(i64.const {at})")).to_vec(),
        _ if letter == 'I' => HANDLES.map(|n| format!("(i64.const {n})")).to_vec(),
        _ => NUMBERS.map(|n| format!("(i32.const {n})")).to_vec(),
    }
}

fn calling((from, name, takes, gives): Offered, args: &str) -> Arc<Module> {
    let drop = if gives.is_empty() { "" } else { "drop" };
    module(&format!(
        r#"(module (import "{from}" "{name}" (func $f (param {}) (result {gives})))
            (memory (export "memory") 1) (data (i32.const 8) "k")
            (func (export "execute") (result i32) (call $f {args}) {drop} (i32.const 0)))"#,
        params(takes)
    ))
}

#[test]
fn wrong_pointers_and_handles_harm_nobody() {
    let known =
        ["ok", "plugin.trap", "plugin.memory", "plugin.output", "plugin.error", "inputs.invalid"];
    let setup = Setup { permissions: everything(), ..Setup::default() };
    let mut calls = 0;
    for offered in OFFERED {
        let (from, name, takes, _) = *offered;
        for (place, letter) in takes.chars().enumerate() {
            for wrong in wrong(letter) {
                let args: Vec<String> = (takes.chars().enumerate())
                    .map(|(n, of)| if n == place { wrong.clone() } else { good(of).to_owned() })
                    .collect();
                let outcome = setup.run(&calling(*offered, &args.join(" ")), &mut world());
                let ended = code(&outcome);
                assert!(known.contains(&ended), "{from}.{name} {args:?}: {outcome:?}");
                // A span that is not there ends the call, or the copy that it asks for is too big.
                let must = matches!(letter, 's' | 'p' | 'h');
                let ends = ["plugin.trap", "plugin.memory"].contains(&ended);
                assert!(!must || ends, "{from}.{name} {args:?}: {outcome:?}");
                assert!(!outcome.result.is_err_and(|f| f.message.contains("engine failed")));
                calls += 1;
            }
        }
    }
    assert!(calls > 600, "{calls} calls");
}

/// Whether the sandbox has such a function, whatever its type is.
fn is_offered(from: &str, name: &str) -> bool {
    // No function gives two floats, so that nothing stands in for it as it would in WASI.
    let text = format!(r#"(module (import "{from}" "{name}" (func (result f32 f32))))"#);
    let wasm = wat::parse_str(text).unwrap();
    match Sandbox::new().load(digest_of(&wasm), &wasm) {
        Err(LoadError::Imports(missing)) => {
            assert_eq!(missing.len(), 1);
            false
        }
        Err(LoadError::Unsupported(why)) => {
            assert!(why.contains("type"), "{why}");
            true
        }
        other => panic!("{from}.{name}: {other:?}"),
    }
}

/// Each function is defined by a name that is written down in the sources: whatever is written in
/// quotes there and turns out to be offered has to be in the table, with its type.
#[test]
fn the_table_has_every_function_that_is_offered() {
    let sources = [
        include_str!("../../src/abi_extism.rs"),
        include_str!("../../src/abi_openclaw.rs"),
        include_str!("../../src/abi_device.rs"),
        include_str!("../../src/wasi.rs"),
        include_str!("../../../../plugins-wasm/abi/src/lib.rs"),
    ];
    let is_name = |text: &&str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let names: BTreeSet<&str> = sources.iter().flat_map(|s| s.split('"')).filter(is_name).collect();
    let offered: BTreeSet<(&str, &str)> = [OPENCLAW, EXTISM, WASI]
        .iter()
        .flat_map(|from| names.iter().map(move |name| (*from, *name)))
        .filter(|(from, name)| is_offered(from, name))
        .collect();
    let table: BTreeSet<(&str, &str)> = OFFERED.iter().map(|o| (o.0, o.1)).collect();
    assert_eq!(offered, table);
    for offered in OFFERED {
        let args: Vec<&str> = offered.2.chars().map(good).collect();
        calling(*offered, &args.join(" "));
    }
}
