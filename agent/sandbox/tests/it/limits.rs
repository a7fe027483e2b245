//! Where a call ends that wants too much, and that the end is the same every time.

use std::sync::atomic::{AtomicU32, Ordering};

use openclaw_protocol::plugin::CallLimits;
use openclaw_sandbox::{Sandbox, Stop, digest_of, limits};

use crate::host::{Fake, Setup, action, code, module};

const SPIN: &str = "(loop $l (br $l)) unreachable";

fn with(fuel: u64, memory_bytes: u32, output_bytes: u32) -> Setup {
    Setup { limits: CallLimits { fuel, memory_bytes, output_bytes }, ..Setup::default() }
}

#[test]
fn fuel_runs_out_and_is_counted_exactly() {
    let spin = action("", "", SPIN);
    for fuel in [0, 1, limits::FUEL_SLICE, 123_456] {
        let outcome = with(fuel, 65_536, 0).run(&spin, &mut Fake::default());
        assert_eq!((code(&outcome), outcome.fuel_used), ("plugin.fuel", fuel));
    }
}

#[test]
fn the_same_call_uses_the_same_fuel_however_it_is_sliced() {
    let count = action(
        "",
        "",
        "(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))
           (br_if $l (i32.lt_u (local.get $i) (i32.const 1000)))) (i32.const 0)",
    );
    let used: Vec<u64> =
        (0..3).map(|_| Setup::default().run(&count, &mut Fake::default()).fuel_used).collect();
    assert!(used[0] > 100 * limits::FUEL_SLICE, "many slices: {used:?}");
    assert!(used.iter().all(|u| *u == used[0]), "{used:?}");
    // Exactly enough is enough, one less is not.
    let exact = with(used[0], 65_536, 0).run(&count, &mut Fake::default());
    assert_eq!(code(&exact), "ok");
    let short = with(used[0] - 1, 65_536, 0).run(&count, &mut Fake::default());
    assert_eq!(code(&short), "plugin.fuel");
}

#[test]
fn a_stop_is_heard_between_slices() {
    let spin = action("", "", SPIN);
    for (stop, expected) in [(Stop::Timeout, "timeout"), (Stop::Cancelled, "cancelled")] {
        let asked = AtomicU32::new(0);
        let watch = || (asked.fetch_add(1, Ordering::Relaxed) >= 10).then_some(stop);
        let outcome = Setup::default().run_watched(&spin, &mut Fake::default(), &watch);
        assert_eq!(code(&outcome), expected);
        assert_eq!(asked.load(Ordering::Relaxed), 11);
        assert!(outcome.fuel_used <= 11 * limits::FUEL_SLICE);
        assert_eq!(outcome.result.unwrap_err().retryable, stop == Stop::Timeout);
    }
}

#[test]
fn memory_ends_at_the_limit_wherever_it_lies() {
    let grow = action(
        "",
        "",
        "(if (i32.eq (memory.grow (i32.const 3)) (i32.const -1)) (then unreachable)) (i32.const 0)",
    );
    let enough = with(100_000, 4 * 65_536, 0).run(&grow, &mut Fake::default());
    assert_eq!((code(&enough), enough.peak_memory_bytes), ("ok", 4 * 65_536));
    assert_eq!(
        code(&with(100_000, 4 * 65_536 - 1, 0).run(&grow, &mut Fake::default())),
        "plugin.memory"
    );
    // The first page already is too much.
    assert_eq!(code(&with(100_000, 65_535, 0).run(&grow, &mut Fake::default())), "plugin.memory");

    // Tables count too, all of them; 16,384 elements of 4 bytes here.
    let tables = action("", "(table 8192 funcref) (table 8192 funcref)", "(i32.const 0)");
    let enough = with(100_000, 2 * 65_536, 0).run(&tables, &mut Fake::default());
    assert_eq!((code(&enough), enough.peak_memory_bytes), ("ok", 2 * 65_536));
    let short = with(100_000, 2 * 65_536 - 1, 0).run(&tables, &mut Fake::default());
    assert_eq!(code(&short), "plugin.memory");

    let blocks = action(
        r#"(import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))"#,
        "",
        "(drop (call $alloc (i64.const 50000))) (drop (call $alloc (i64.const 50000))) (i32.const 0)",
    );
    let outcome = with(100_000, 65_536 + 100_128, 0).run(&blocks, &mut Fake::default());
    assert_eq!((code(&outcome), outcome.peak_memory_bytes), ("ok", 65_536 + 100_128));
    let outcome = with(100_000, 65_536 + 100_127, 0).run(&blocks, &mut Fake::default());
    assert_eq!(code(&outcome), "plugin.memory");
}

#[test]
fn output_over_its_limit_is_a_failure_and_not_a_cut() {
    let write = action(
        r#"(import "openclaw" "output_write" (func $w (param i32 i32)))"#,
        "",
        "(call $w (i32.const 0) (i32.const 11)) (i32.const 0)",
    );
    assert_eq!(code(&with(10_000, 65_536, 11).run(&write, &mut Fake::default())), "ok");
    assert_eq!(code(&with(10_000, 65_536, 10).run(&write, &mut Fake::default())), "plugin.output");
}

#[test]
fn a_panic_message_survives_the_trap() {
    let panics = action(
        r#"(import "openclaw" "error_write" (func $e (param i32 i32)))"#,
        r#"(data (i32.const 0) "panicked at src/lib.rs:1: no")"#,
        "(call $e (i32.const 0) (i32.const 28)) unreachable",
    );
    let fault = Setup::default().run(&panics, &mut Fake::default()).result.unwrap_err();
    assert_eq!(
        (fault.code.as_ref(), fault.message.as_str()),
        ("plugin.trap", "panicked at src/lib.rs:1: no")
    );
}

#[test]
fn host_functions_work_when_called_through_a_table_and_across_slices() {
    let m = module(
        r#"(module
          (import "openclaw" "now_ms" (func $now (result i64)))
          (type $t (func (result i64)))
          (memory (export "memory") 1) (table 1 funcref) (elem (i32.const 0) $now)
          (func (export "execute") (result i32) (local $i i32) (local $sum i64)
            (loop $l
              (local.set $sum (i64.add (local.get $sum) (call_indirect (type $t) (i32.const 0))))
              (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                (i32.const 1000))))
            (i32.wrap_i64 (i64.sub (local.get $sum) (i64.const 3000)))))"#,
    );
    let mut setup = Setup::default();
    setup.permissions.time = true;
    let outcome = setup.run(&m, &mut Fake { now_ms: 3, ..Fake::default() });
    assert_eq!((code(&outcome), outcome.host_calls), ("ok", 1000));
}

#[test]
fn logs_are_bounded_and_what_is_dropped_is_counted() {
    let chatty = action(
        r#"(import "openclaw" "log" (func $log (param i32 i32 i32)))"#,
        "",
        "(local $i i32) (loop $l (call $log (i32.const 2) (i32.const 0) (i32.const 10))
           (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
             (i32.const 1000)))) (i32.const 0)",
    );
    let outcome = Setup::default().run(&chatty, &mut Fake::default());
    assert_eq!(outcome.logs.len(), limits::LOG_LINES);
    assert_eq!(outcome.logs_dropped as usize, 1000 - limits::LOG_LINES);
}

#[test]
fn a_panic_below_costs_one_call_and_the_module_is_made_anew() {
    let wasm = wat::parse_str(include_str!("../hostile/clock-storm.wat")).unwrap();
    let sandbox = Sandbox::new();
    let broken = sandbox.load(digest_of(&wasm), &wasm).unwrap();
    let mut setup = with(100_000, 65_536, 0);
    setup.permissions.time = true;
    let fault =
        setup.run(&broken, &mut Fake { panics: true, ..Fake::default() }).result.unwrap_err();
    assert!(fault.code == "plugin.trap" && fault.retryable, "{fault}");
    // What is left of it is not trusted again, and nobody has to know.
    assert!(setup.run(&broken, &mut Fake::default()).result.unwrap_err().retryable);
    assert!(sandbox.cached(digest_of(&wasm)).is_none());
    let anew = sandbox.load(digest_of(&wasm), &wasm).unwrap();
    assert_eq!(code(&setup.run(&anew, &mut Fake::default())), "plugin.fuel");
}
