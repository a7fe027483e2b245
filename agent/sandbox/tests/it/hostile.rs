//! Guests that mean harm. Each costs one call: it ends with a named code, about when it is told
//! to, and the next call of another plugin is as if nothing had been.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_protocol::plugin::Permissions;
use openclaw_sandbox::{LoadError, Module, Outcome, STACK_BYTES, Sandbox, Stop, limits};

use crate::host::{Fake, Setup, action, code, module};

/// When a guest is told to stop.
const WALL: Duration = Duration::from_millis(500);
/// When it must have stopped: twice that, and what a busy machine may take to notice.
const STOPPED: Duration = Duration::from_millis(2 * 500 + 500);

fn hostile(name: &str) -> Arc<Module> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    module(&std::fs::read_to_string(dir.join(name).with_extension("wat")).unwrap())
}

/// Runs with the wall limit, and checks that it was heard and that the neighbours are well.
fn run(module: &Arc<Module>, setup: &Setup, host: &mut Fake) -> Outcome {
    let started = Instant::now();
    let watch = || (started.elapsed() >= WALL).then_some(Stop::Timeout);
    let outcome = setup.run_watched(module, host, &watch);
    let took = started.elapsed();
    assert!(took <= STOPPED, "took {took:?}");
    assert!(outcome.peak_memory_bytes <= u64::from(setup.limits.memory_bytes));
    if let Err(fault) = &outcome.result {
        assert!(!fault.message.contains("engine failed"), "{fault}");
    }
    let neighbour = action("", "", "(i32.const 0)");
    assert_eq!(code(&Setup::default().run(&neighbour, &mut Fake::default())), "ok");
    outcome
}

/// With more fuel than it can use before the wall limit, and with so little that it runs out.
fn both_ways(name: &str, with_time: &str, with_fuel: &str) {
    let module = hostile(name);
    let mut setup = Setup { permissions: everything(), ..Setup::default() };
    setup.limits.fuel = u64::MAX;
    assert_eq!(code(&run(&module, &setup, &mut world())), with_time, "{name} on time");
    setup.limits.fuel = 300_000;
    assert_eq!(code(&run(&module, &setup, &mut world())), with_fuel, "{name} on fuel");
}

fn everything() -> Permissions {
    Permissions { files: vec!["proc".into()], time: true, random: true, ..Permissions::NONE }
}

fn world() -> Fake {
    let big = ("proc:big".to_owned(), vec![b'x'; 8 * 1024 * 1024]);
    Fake { files: BTreeMap::from([big]), ..Fake::default() }
}

#[test]
fn loops_end_on_time_or_fuel() {
    for name in ["endless-loop", "endless-set-up", "fill-storm", "table-storm"] {
        both_ways(name, "timeout", "plugin.fuel");
    }
}

#[test]
fn growing_without_end_overflows_nothing() {
    for name in [
        "grow-fails",
        "grow-over-own-maximum",
        "grow-by-nothing",
        "grow-and-fill",
        "grow-in-recursion",
    ] {
        both_ways(name, "timeout", "plugin.fuel");
    }
}

/// The control of the test above: the same guest without our slices kills its process.
#[test]
fn without_slices_the_process_dies() {
    let tests = std::env::current_exe().unwrap();
    let control = tests.parent().unwrap().parent().unwrap().join("examples/one_big_slice");
    let status = Command::new(&control)
        .stderr(Stdio::null())
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}; build the examples too", control.display()));
    assert!(status.signal().is_some(), "the control ended by itself: {status}");
}

#[test]
fn recursion_ends_at_its_depth() {
    for name in ["deep-recursion", "deep-recursion-wide", "indirect-recursion"] {
        both_ways(name, "plugin.trap", "plugin.trap");
    }
}

#[test]
fn floods_of_output_and_log_end() {
    both_ways("output-gibibyte", "plugin.output", "plugin.output");
    both_ways("output-over-and-over", "timeout", "plugin.fuel");
    for name in ["log-flood", "log-without-end-of-line", "vectors-storm"] {
        both_ways(name, "timeout", "plugin.fuel");
    }
    let outcome = run(&hostile("log-flood"), &Setup::default(), &mut world());
    assert!(outcome.logs.iter().all(|l| l.message.len() <= limits::LOG_LINE_BYTES));
    assert!(outcome.logs.iter().map(|l| l.message.len()).sum::<usize>() <= limits::LOG_BYTES);
    assert!(outcome.logs_dropped > 0);
}

#[test]
fn storms_of_host_calls_end() {
    for name in ["clock-storm", "file-storm", "block-storm", "request-flood"] {
        both_ways(name, "timeout", "plugin.fuel");
    }
    let outcome = run(&hostile("request-flood"), &Setup::default(), &mut world());
    assert_eq!(outcome.denials, ["http:169.254.169.254:80"]);
}

#[test]
fn what_is_kept_on_the_host_s_side_is_bounded() {
    let mut setup = Setup { input: vec![b' '; 60_000], ..Setup::default() };
    setup.limits.fuel = u64::MAX;
    for name in ["block-hoard", "input-hoard"] {
        let outcome = run(&hostile(name), &setup, &mut world());
        // A slow machine may be told to stop before it has made its last block.
        assert!(["plugin.memory", "timeout"].contains(&code(&outcome)), "{name}: {outcome:?}");
    }
    let outcome = run(&hostile("variable-hoard"), &setup, &mut world());
    assert_eq!(code(&outcome), "timeout");
    let bytes: usize = outcome.vars.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(outcome.vars.len() <= limits::VARS && bytes <= limits::VARS_BYTES);
}

#[test]
fn every_trap_is_a_named_failure() {
    let traps = hostile("traps");
    assert_eq!(traps.info().exports.len(), 12);
    for export in &traps.info().exports {
        let export: &'static str = Box::leak(export.clone().into_boxed_str());
        let outcome = run(&traps, &Setup { export, ..Setup::default() }, &mut world());
        assert_eq!(code(&outcome), "plugin.trap", "{export}");
    }
}

/// Every host function, with every argument at the edges: before, at and behind the end of
/// memory, wrapping around, and as handles that nobody gave out.
#[test]
fn wrong_pointers_and_handles_harm_nobody() {
    const I32: [i64; 6] = [0, -1, i32::MAX as i64, i32::MIN as i64, 65_535, 65_536];
    const I64: [i64; 6] = [0, 1, -1, i64::MAX, i64::MIN, 65_536];
    let mut calls = 0;
    for (from, name, params, result) in HOST_FUNCTIONS {
        let types: Vec<&str> = params.split_whitespace().collect();
        let drop = if result.is_empty() { "" } else { "drop" };
        for round in 0..I32.len() * types.len().max(1) {
            let args: String = types
                .iter()
                .enumerate()
                .map(|(n, ty)| {
                    // One argument sits at an edge while the others move along.
                    let edge = (round / (n + 1) + n * round) % I32.len();
                    let value = if *ty == "i32" { I32[edge] } else { I64[edge] };
                    format!("({ty}.const {value})")
                })
                .collect();
            let guest = action(
                &format!(
                    r#"(import "{from}" "{name}" (func $f (param {params}) (result {result})))"#
                ),
                "",
                &format!("(call $f {args}) {drop} (i32.const 0)"),
            );
            let setup = Setup { permissions: everything(), ..Setup::default() };
            let outcome = run(&guest, &setup, &mut world());
            let known = [
                "ok",
                "plugin.trap",
                "plugin.memory",
                "plugin.output",
                "plugin.error",
                "inputs.invalid",
            ];
            assert!(known.contains(&code(&outcome)), "{name} {args}: {outcome:?}");
            calls += 1;
        }
    }
    assert!(calls > 400, "{calls} calls");
}

/// Module, name, parameters, result of every function that the sandbox offers.
const HOST_FUNCTIONS: &[(&str, &str, &str, &str)] = &[
    ("openclaw", "input_length", "", "i32"),
    ("openclaw", "input_read", "i32 i32", ""),
    ("openclaw", "output_write", "i32 i32", ""),
    ("openclaw", "error_write", "i32 i32", ""),
    ("openclaw", "log", "i32 i32 i32", ""),
    ("openclaw", "result_length", "", "i32"),
    ("openclaw", "result_read", "i32 i32", ""),
    ("openclaw", "context", "", "i64"),
    ("openclaw", "config_get", "i32 i32", "i64"),
    ("openclaw", "var_get", "i32 i32", "i64"),
    ("openclaw", "var_set", "i32 i32 i32 i32", "i32"),
    ("openclaw", "var_remove", "i32 i32", ""),
    ("openclaw", "http_request", "i32 i32 i32 i32", "i64"),
    ("openclaw", "file_read", "i32 i32 i32 i32 i32", "i64"),
    ("openclaw", "dir_list", "i32 i32 i32 i32", "i64"),
    ("openclaw", "now_ms", "", "i64"),
    ("openclaw", "random", "i32 i32", "i32"),
    ("extism:host/env", "alloc", "i64", "i64"),
    ("extism:host/env", "free", "i64", ""),
    ("extism:host/env", "length", "i64", "i64"),
    ("extism:host/env", "length_unsafe", "i64", "i64"),
    ("extism:host/env", "load_u8", "i64", "i32"),
    ("extism:host/env", "load_u64", "i64", "i64"),
    ("extism:host/env", "store_u8", "i64 i32", ""),
    ("extism:host/env", "store_u64", "i64 i64", ""),
    ("extism:host/env", "input_length", "", "i64"),
    ("extism:host/env", "input_offset", "", "i64"),
    ("extism:host/env", "input_load_u8", "i64", "i32"),
    ("extism:host/env", "input_load_u64", "i64", "i64"),
    ("extism:host/env", "output_set", "i64 i64", ""),
    ("extism:host/env", "error_set", "i64", ""),
    ("extism:host/env", "config_get", "i64", "i64"),
    ("extism:host/env", "var_get", "i64", "i64"),
    ("extism:host/env", "var_set", "i64 i64", ""),
    ("extism:host/env", "http_request", "i64 i64", "i64"),
    ("extism:host/env", "http_status_code", "", "i32"),
    ("extism:host/env", "http_headers", "", "i64"),
    ("extism:host/env", "log_trace", "i64", ""),
    ("extism:host/env", "log_debug", "i64", ""),
    ("extism:host/env", "log_info", "i64", ""),
    ("extism:host/env", "log_warn", "i64", ""),
    ("extism:host/env", "log_error", "i64", ""),
    ("extism:host/env", "get_log_level", "", "i32"),
    ("wasi_snapshot_preview1", "fd_write", "i32 i32 i32 i32", "i32"),
    ("wasi_snapshot_preview1", "fd_read", "i32 i32 i32 i32", "i32"),
    ("wasi_snapshot_preview1", "fd_fdstat_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "fd_seek", "i32 i64 i32 i32", "i32"),
    ("wasi_snapshot_preview1", "fd_close", "i32", "i32"),
    ("wasi_snapshot_preview1", "fd_prestat_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "args_sizes_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "args_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "environ_sizes_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "environ_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "clock_res_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "clock_time_get", "i32 i64 i32", "i32"),
    ("wasi_snapshot_preview1", "random_get", "i32 i32", "i32"),
    ("wasi_snapshot_preview1", "sched_yield", "", "i32"),
    ("wasi_snapshot_preview1", "proc_exit", "i32", ""),
];

/// Modules whose danger is their shape. They are made here, since as text they would be long.
#[test]
fn shapes_that_cost_too_much_are_refused_or_cheap() {
    let many = |n: usize, piece: &str| piece.repeat(n);
    let (blocks, ends) = (many(20_000, "(block "), many(20_000, ")"));
    let targets = many(60_000, "0 ");
    let shapes: [(&str, String, bool); 11] = [
        ("memory of a gibibyte", "(module (memory 16384))".into(), false),
        ("a table of ten million", "(module (table 10000000 funcref))".into(), false),
        (
            "a hundred thousand locals",
            format!("(module (func (local {})))", many(100_000, "i64 ")),
            false,
        ),
        ("forty thousand functions", format!("(module {})", many(40_000, "(func)")), false),
        ("a hundred parameters", format!("(module (func (param {})))", many(100, "i64 ")), false),
        (
            "two thousand globals",
            format!("(module {})", many(2_000, "(global i32 (i32.const 0))")),
            false,
        ),
        (
            "two thousand imports",
            format!(
                "(module {})",
                many(2_000, r#"(import "openclaw" "input_length" (func (result i32)))"#)
            ),
            false,
        ),
        (
            "a row of grows",
            format!(
                "(module (memory 1) (func {}))",
                many(65, "(drop (memory.grow (i32.const 1)))")
            ),
            false,
        ),
        (
            "twenty thousand blocks deep",
            format!(r#"(module (func (export "execute") {blocks}{ends}))"#),
            true,
        ),
        (
            "a table of branches",
            format!(
                r#"(module (func (export "execute") (block (br_table {targets} (i32.const 7)))))"#
            ),
            true,
        ),
        (
            "a million instructions in a row",
            format!(
                r#"(module (func (export "execute") {}))"#,
                many(400_000, "(drop (i32.const 1))")
            ),
            true,
        ),
    ];
    for (name, wat, taken) in shapes {
        let wasm = wat::parse_str(&wat).unwrap();
        let started = Instant::now();
        let loaded =
            on_a_worker(move || Sandbox::new().load(openclaw_sandbox::digest_of(&wasm), &wasm));
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
        match loaded {
            Ok(module) => {
                assert!(taken, "{name} was taken");
                assert_eq!(code(&run(&module, &Setup::default(), &mut world())), "ok", "{name}");
            }
            Err(error) => assert!(!taken && !matches!(error, LoadError::Engine), "{name}: {error}"),
        }
    }
}

#[test]
fn half_a_module_and_noise_are_refused() {
    let whole = wat::parse_str(include_str!("../hostile/traps.wat")).unwrap();
    for end in 0..whole.len() {
        // A module may end between two sections; what matters is that nothing panics.
        let cut = whole[..end].to_vec();
        assert!(!matches!(Sandbox::inspect(&cut), Err(LoadError::Engine)));
    }
    for at in 8..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            assert!(
                !matches!(Sandbox::inspect(&bent), Err(LoadError::Engine)),
                "byte {at} bit {bit}"
            );
        }
    }
}

fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap()
}
