//! Guests that mean harm. Each costs one call: it ends with a named code, about when it is told
//! to, and the next call of another plugin is as if nothing had been.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_protocol::plugin::Permissions;
use openclaw_sandbox::{Module, Outcome, Stop, limits};

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

pub(crate) fn everything() -> Permissions {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Permissions {
        files: names(&["proc"]),
        kv: names(&["workflow", "plugin"]),
        mqtt_publish: names(&["plant/+/state"]),
        tcp: names(&["plc.example:502"]),
        time: true,
        random: true,
        ..Permissions::NONE
    }
}

pub(crate) fn world() -> Fake {
    let big = ("proc:big".to_owned(), vec![b'x'; 8 * 1024 * 1024]);
    Fake { files: BTreeMap::from([big]), ..Fake::default() }
}

#[test]
fn loops_end_on_time_or_fuel() {
    for name in ["endless-loop", "endless-set-up", "fill-storm", "table-storm", "segment-storm"] {
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
    for name in
        ["deep-recursion", "deep-recursion-wide", "indirect-recursion", "recursion-with-locals"]
    {
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
    for name in [
        "clock-storm",
        "file-storm",
        "block-storm",
        "request-flood",
        "random-storm",
        "setting-storm",
        "slow-drip",
        "cheap-calls",
        "deep-request",
        "input-hoard",
    ] {
        both_ways(name, "timeout", "plugin.fuel");
    }
    let outcome = run(&hostile("request-flood"), &Setup::default(), &mut world());
    assert_eq!(outcome.denials, ["http:169.254.169.254:80"]);
}

#[test]
fn what_is_kept_on_the_host_s_side_is_bounded() {
    let mut setup = Setup { input: vec![b' '; 60_000], ..Setup::default() };
    setup.limits.fuel = u64::MAX;
    let outcome = run(&hostile("block-hoard"), &setup, &mut world());
    // A slow machine may be told to stop before it has made its last block.
    assert!(["plugin.memory", "timeout"].contains(&code(&outcome)), "{outcome:?}");
    let outcome = run(&hostile("variable-hoard"), &setup, &mut world());
    assert_eq!(code(&outcome), "timeout");
    let bytes: usize = outcome.vars.iter().map(|(k, v)| k.len() + v.len()).sum();
    assert!(outcome.vars.len() <= limits::VARS && bytes <= limits::VARS_BYTES);
}

#[test]
fn floods_of_what_a_device_may_do_end() {
    for name in ["kv-flood", "publish-flood", "stream-flood", "device-flood"] {
        both_ways(name, "timeout", "plugin.fuel");
    }
    let setup = Setup { permissions: everything(), ..Setup::default() };
    for name in ["kv-flood", "publish-flood"] {
        let outcome = run(&hostile(name), &setup, &mut world());
        assert!(outcome.host_calls > limits::KV_KEYS as u32, "{name} was stopped early");
        assert!(outcome.kept.is_empty(), "{name} failed and keeps something");
    }
    let asked = run(&hostile("device-flood"), &setup, &mut world()).denials;
    let denied = ["secrets:root", "serial:root", "gpio:root", "i2c:root", "exec:root"];
    assert!(denied.iter().all(|what| asked.iter().any(|asked| asked == what)), "{asked:?}");
}

/// Every action of these modules ends in the same way.
#[test]
fn every_trap_is_a_named_failure() {
    for (name, actions) in [("traps", 12), ("bad-names", 8)] {
        let module = hostile(name);
        assert_eq!(module.info().exports.len(), actions);
        for export in &module.info().exports {
            let export: &'static str = Box::leak(export.clone().into_boxed_str());
            let setup = Setup { export, permissions: everything(), ..Setup::default() };
            let outcome = run(&module, &setup, &mut world());
            assert_eq!(code(&outcome), "plugin.trap", "{name} {export}: {outcome:?}");
        }
    }
}

#[test]
fn a_guest_that_ends_itself_ends_its_call() {
    for name in ["exits", "deep-report"] {
        both_ways(name, "plugin.error", "plugin.error");
    }
    // What this one has done wrong is not the sandbox's to see.
    both_ways("deep-output", "ok", "ok");
}

/// The set is whole: each file is played above, and there are as many as are promised.
#[test]
fn every_hostile_guest_is_played() {
    let source = include_str!("hostile.rs");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let guests: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "wat")).collect();
    assert!(guests.len() >= 38, "{} guests", guests.len());
    for guest in guests {
        let name = guest.file_stem().unwrap().to_str().unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{name} is played by no test");
    }
}
