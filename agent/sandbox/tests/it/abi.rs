//! What host functions do for a guest that behaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Permissions;
use openclaw_sandbox::{HttpResponse, Level, LoadError, Sandbox, Stop, digest_of};

use crate::host::{Fake, Setup, action, code, module};

const OPENCLAW: &str = r#"
  (import "openclaw" "input_length" (func $input_length (result i32)))
  (import "openclaw" "input_read" (func $input_read (param i32 i32)))
  (import "openclaw" "output_write" (func $output_write (param i32 i32)))
  (import "openclaw" "error_write" (func $error_write (param i32 i32)))
  (import "openclaw" "log" (func $log (param i32 i32 i32)))
  (import "openclaw" "result_length" (func $result_length (result i32)))
  (import "openclaw" "result_read" (func $result_read (param i32 i32)))
  (import "openclaw" "context" (func $context (result i64)))
  (import "openclaw" "config_get" (func $config_get (param i32 i32) (result i64)))
  (import "openclaw" "var_get" (func $var_get (param i32 i32) (result i64)))
  (import "openclaw" "var_set" (func $var_set (param i32 i32 i32 i32) (result i32)))
  (import "openclaw" "http_request" (func $http (param i32 i32 i32 i32) (result i64)))
  (import "openclaw" "file_read" (func $file_read (param i32 i32 i32 i32 i32) (result i64)))
  (import "openclaw" "now_ms" (func $now_ms (result i64)))
  (import "openclaw" "random" (func $random (param i32 i32) (result i32)))"#;

/// Writes the waiting result as the output.
const SHOW: &str = r#"(func $show
    (call $result_read (i32.const 4096) (call $result_length))
    (call $output_write (i32.const 4096) (call $result_length)))"#;

fn granted(http: &[&str], files: &[&str]) -> Permissions {
    Permissions {
        http: http.iter().map(|s| (*s).to_owned()).collect(),
        files: files.iter().map(|s| (*s).to_owned()).collect(),
        time: false,
        random: false,
        ..Permissions::NONE
    }
}

#[test]
fn input_comes_in_and_output_goes_out() {
    let echo = action(
        OPENCLAW,
        "",
        "(call $input_read (i32.const 8) (call $input_length))
         (call $output_write (i32.const 8) (call $input_length)) (i32.const 0)",
    );
    let setup = Setup { input: b"[1,2]".to_vec(), ..Setup::default() };
    let outcome = setup.run(&echo, &mut Fake::default());
    assert_eq!(outcome.result.unwrap(), b"[1,2]");
    assert_eq!(outcome.peak_memory_bytes, 65_536);
    assert!(outcome.fuel_used > 0 && outcome.host_calls == 0);
}

#[test]
fn the_context_says_where_and_why() {
    let module = action(OPENCLAW, SHOW, "(drop (call $context)) (call $show) (i32.const 0)");
    let outcome = Setup::default().run(&module, &mut Fake::default());
    let json: serde_json::Value = serde_json::from_slice(&outcome.result.unwrap()).unwrap();
    assert_eq!(json["idempotency_key"], "key-1");
    assert_eq!(json["attempt"], 2);
    assert_eq!(json["interrupted"], true);
    assert_eq!(json["deadline_ms"], 9);
}

#[test]
fn a_reported_failure_has_its_code_and_the_vars_as_they_are() {
    let module = action(
        OPENCLAW,
        r#"(data (i32.const 0) "{\"code\":\"cold\",\"message\":\"too cold\",\"retryable\":true}k1")"#,
        "(drop (call $var_set (i32.const 53) (i32.const 2) (i32.const 0) (i32.const 3)))
         (call $error_write (i32.const 0) (i32.const 53)) (i32.const 7)",
    );
    let outcome = Setup::default().run(&module, &mut Fake::default());
    let fault = outcome.result.unwrap_err();
    assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("user.cold", "too cold"));
    assert!(fault.retryable);
    assert_eq!(outcome.vars["k1"], b"{\"c");
}

#[test]
fn settings_and_variables_are_found_or_not() {
    let module = action(
        OPENCLAW,
        &format!(r#"{SHOW} (data (i32.const 0) "unitnone")"#),
        "(if (i64.ne (call $config_get (i32.const 4) (i32.const 4)) (i64.const -2))
            (then (return (i32.const 1))))
         (if (i64.ne (call $var_get (i32.const 0) (i32.const 4)) (i64.const 2))
            (then (return (i32.const 2))))
         (drop (call $config_get (i32.const 0) (i32.const 4))) (call $show) (i32.const 0)",
    );
    let setup = Setup {
        config: VecMap::from([("unit".into(), "celsius".into())]),
        vars: VecMap::from([("unit".into(), b"ab".to_vec())]),
        ..Setup::default()
    };
    assert_eq!(setup.run(&module, &mut Fake::default()).result.unwrap(), b"celsius");
}

#[test]
fn files_only_from_granted_directories_and_inside_them() {
    let module = action(
        OPENCLAW,
        &format!(r#"{SHOW} (data (i32.const 0) "proc./a//b")"#),
        "(drop (call $file_read (i32.const 0) (i32.const 4) (i32.const 4) (i32.const 6)
                (i32.const 3)))
         (call $show) (i32.const 0)",
    );
    let mut host =
        Fake { files: BTreeMap::from([("proc:a/b".into(), b"12345".to_vec())]), ..Fake::default() };
    let setup = Setup { permissions: granted(&[], &["proc"]), ..Setup::default() };
    let outcome = setup.run(&module, &mut host);
    assert_eq!((outcome.result.unwrap(), outcome.host_calls), (b"123".to_vec(), 1));

    let outcome = Setup::default().run(&module, &mut host);
    assert_eq!(outcome.denials, ["files:proc"]);
    assert!(String::from_utf8(outcome.result.unwrap()).unwrap().contains("not granted"));
}

#[test]
fn time_and_random_need_a_grant() {
    let module = action(
        OPENCLAW,
        "",
        "(if (i32.lt_s (call $random (i32.const 0) (i32.const 4)) (i32.const 0))
            (then (return (i32.const 1))))
         (i64.store (i32.const 4) (call $now_ms))
         (call $output_write (i32.const 0) (i32.const 12)) (i32.const 0)",
    );
    let mut host = Fake { now_ms: 5, ..Fake::default() };
    let denied = Setup::default().run(&module, &mut host);
    assert_eq!(
        (code(&denied), denied.denials.as_slice()),
        ("plugin.error", &["random".to_owned()][..])
    );
    let permissions = Permissions { time: true, random: true, ..Permissions::default() };
    let outcome = Setup { permissions, ..Setup::default() }.run(&module, &mut host);
    assert_eq!(outcome.result.unwrap(), [7, 7, 7, 7, 5, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn http_goes_only_where_granted_and_carries_the_key() {
    let module = action(
        OPENCLAW,
        &format!(
            r#"{SHOW} (data (i32.const 0) "{{\"url\":\"http://a.example/x\",\"method\":\"POST\"}}body")"#
        ),
        "(drop (call $http (i32.const 0) (i32.const 44) (i32.const 44) (i32.const 4)))
         (call $show) (i32.const 0)",
    );
    let response = HttpResponse { status: 201, headers: BTreeMap::new(), body: b"made".to_vec() };
    let mut host = Fake {
        http: BTreeMap::from([("POST http://a.example:80/x".into(), response)]),
        ..Fake::default()
    };
    let setup = Setup { permissions: granted(&["a.example:80"], &[]), ..Setup::default() };
    let outcome = setup.run(&module, &mut host);
    let bytes = outcome.result.unwrap();
    assert_eq!(&bytes[..4], &27_u32.to_le_bytes());
    assert!(bytes.ends_with(b"{\"status\":201,\"headers\":{}}made"));
    assert_eq!(host.sent[0].headers["idempotency-key"], "key-1");
    assert_eq!(host.sent[0].body, b"body");

    let setup = Setup { permissions: granted(&["b.example:80"], &[]), ..Setup::default() };
    let outcome = setup.run(&module, &mut host);
    assert_eq!(outcome.denials, ["http:a.example:80"]);
    assert_eq!(host.sent.len(), 1, "a denied request reaches nobody");
}

#[test]
fn an_extism_guest_speaks_in_blocks() {
    let m = module(
        r#"(module
          (import "extism:host/env" "input_length" (func $input_length (result i64)))
          (import "extism:host/env" "input_load_u64" (func $input_u64 (param i64) (result i64)))
          (import "extism:host/env" "input_load_u8" (func $input_u8 (param i64) (result i32)))
          (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
          (import "extism:host/env" "length" (func $length (param i64) (result i64)))
          (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
          (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
          (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
          (import "extism:host/env" "log_info" (func $log_info (param i64)))
          (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
          (import "extism:host/env" "var_get" (func $var_get (param i64) (result i64)))
          (import "extism:host/env" "error_set" (func $error_set (param i64)))
          (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
          (func (export "execute") (result i32) (local $b i64)
            (local.set $b (call $alloc (i64.const 9)))
            (call $store_u64 (local.get $b) (call $input_u64 (i64.const 0)))
            (call $store_u8 (i64.add (local.get $b) (i64.const 8)) (call $input_u8 (i64.const 8)))
            (call $log_info (local.get $b))
            (call $var_set (local.get $b) (local.get $b))
            (local.set $b (call $var_get (local.get $b)))
            (call $output_set (local.get $b) (call $length (local.get $b)))
            (i32.const 0))
          (func (export "fails") (local $b i64)
            (local.set $b (call $alloc (i64.const 1)))
            (call $store_u8 (local.get $b) (i32.const 33))
            (call $error_set (local.get $b)))
          (func (export "really_fails") (result i32) (local $b i64)
            (local.set $b (call $alloc (i64.const 1)))
            (call $store_u8 (local.get $b) (i32.const 33))
            (call $error_set (local.get $b)) (i32.const -1)))"#,
    );
    let setup = Setup { input: b"123456789".to_vec(), ..Setup::default() };
    let outcome = setup.run(&m, &mut Fake::default());
    assert_eq!(outcome.result.unwrap(), b"123456789");
    assert_eq!(outcome.logs[0].message, "123456789");
    assert_eq!(outcome.vars["123456789"], b"123456789");

    let fails = Setup { export: "really_fails", ..Setup::default() };
    let fault = fails.run(&m, &mut Fake::default()).result.unwrap_err();
    assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("plugin.error", "!"));
}

#[test]
fn an_extism_request_that_is_denied_ends_the_call() {
    let m = module(
        r#"(module
          (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
          (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
          (import "extism:host/env" "http_request" (func $http (param i64 i64) (result i64)))
          (import "extism:host/env" "http_status_code" (func $status (result i32)))
          (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
          (import "extism:host/env" "length" (func $length (param i64) (result i64)))
          (memory 1) (data (i32.const 0) "{\"url\":\"http://a.example/\"}")
          (func (export "execute") (result i32) (local $b i64) (local $i i32)
            (local.set $b (call $alloc (i64.const 27)))
            (loop $next
              (call $store_u8 (i64.add (local.get $b) (i64.extend_i32_u (local.get $i)))
                (i32.load8_u (local.get $i)))
              (br_if $next (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 27))))
            (local.set $b (call $http (local.get $b) (i64.const 0)))
            (call $output_set (local.get $b) (call $length (local.get $b)))
            (i32.sub (call $status) (i32.const 200))))"#,
    );
    let ok = HttpResponse { status: 200, headers: BTreeMap::new(), body: b"hi".to_vec() };
    let mut host =
        Fake { http: BTreeMap::from([("GET http://a.example:80/".into(), ok)]), ..Fake::default() };
    let setup = Setup { permissions: granted(&["a.example:80"], &[]), ..Setup::default() };
    assert_eq!(setup.run(&m, &mut host).result.unwrap(), b"hi");
    assert_eq!(code(&Setup::default().run(&m, &mut host)), "permission.denied");
    host.http.clear();
    let fault = setup.run(&m, &mut host).result.unwrap_err();
    assert!(fault.code == "http.connect" && fault.retryable);

    // The host only hears that it shall stop; why, the watch knows.
    for (stop, expected) in [(Stop::Timeout, "timeout"), (Stop::Cancelled, "cancelled")] {
        let stopped = Arc::new(AtomicBool::new(false));
        let mut host = Fake { stopped: Some(Arc::clone(&stopped)), ..Fake::default() };
        let watch = || stopped.load(Ordering::Relaxed).then_some(stop);
        let fault = setup.run_watched(&m, &mut host, &watch).result.unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.retryable), (expected, stop == Stop::Timeout));
    }
}

#[test]
fn wasi_output_is_the_log_and_unknown_functions_are_enosys() {
    let m = module(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "openclaw" "output_write" (func $output_write (param i32 i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\10\00\00\00\06\00\00\00\16\00\00\00\05\00\00\00one\ntwo...")
          (global $ready (mut i32) (i32.const 0))
          (func (export "_initialize") (global.set $ready (i32.const 1)))
          (func (export "execute") (result i32)
            (if (i32.eqz (global.get $ready)) (then (return (i32.const 9))))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 2) (i32.const 64)))
            (if (i32.ne (i32.load (i32.const 64)) (i32.const 11)) (then (return (i32.const 8))))
            (i32.store8 (i32.const 80) (call $open (i32.const 3) (i32.const 0) (i32.const 0)
              (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
            (i32.store8 (i32.const 81) (call $clock (i32.const 0) (i64.const 0) (i32.const 72)))
            (call $output_write (i32.const 80) (i32.const 2))
            (call $exit (i32.const 0)) unreachable))"#,
    );
    let outcome = Setup::default().run(&m, &mut Fake::default());
    assert_eq!(outcome.result.unwrap(), [52, 76]);
    let lines: Vec<_> = outcome.logs.iter().map(|l| (l.level, l.message.as_str())).collect();
    assert_eq!(lines, [(Level::Info, "one"), (Level::Info, "two...\0")]);
}

#[test]
fn a_module_that_cannot_run_here_is_refused_with_the_reason() {
    for (wat, part) in [
        (r#"(module (import "env" "f" (func)) (import "x" "y" (func)))"#, "env.f, x.y"),
        (r#"(module (import "openclaw" "log" (func (param i64))))"#, "instantiated"),
        (r#"(module (import "env" "memory" (memory 1)))"#, "not a function"),
        (r#"(module (func $s) (start $s))"#, "start function"),
        (r#"(module (memory 129))"#, "129 pages"),
        (r#"(module (memory 1) (data (i32.const 65536) "x"))"#, "instantiated"),
        (
            r#"(module (import "openclaw" "input_length" (func $f (result i32))) (export "execute" (func $f)))"#,
            "handed on",
        ),
        (
            r#"(module (table 1 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1)))))"#,
            "table.grow",
        ),
        (r#"(module (func (result i32) (i64.const 0)))"#, "not a valid"),
        (r#"(module (memory 1) (memory 1))"#, "not a valid"),
        (r#"(module (func $f (return_call $f)))"#, "not a valid"),
        (r#"(module (func (result v128) (v128.const i64x2 0 0)))"#, "not a valid"),
        (r#"(component)"#, "component"),
    ] {
        let wasm = wat::parse_str(wat).unwrap();
        let error = Sandbox::inspect(&wasm).unwrap_err().to_string();
        assert!(error.contains(part), "{wat}: {error}");
    }
    assert!(matches!(Sandbox::inspect(b"not wasm"), Err(LoadError::Invalid(_))));
    let huge = vec![0; openclaw_protocol::limits::MODULE_BYTES + 1];
    assert!(matches!(Sandbox::inspect(&huge), Err(LoadError::TooLarge { .. })));
}

#[test]
fn modules_are_known_by_their_digest_and_kept() {
    let sandbox = Sandbox::new();
    let wasm = wat::parse_str(r#"(module (func (export "execute")))"#).unwrap();
    assert!(matches!(sandbox.load(digest_of(b"else"), &wasm), Err(LoadError::Digest { .. })));
    let module = sandbox.load(digest_of(&wasm), &wasm).unwrap();
    assert!(module.is_action("execute") && !module.is_action("other"));
    assert!(sandbox.cached(module.digest()).is_some());
    for n in 0..100 {
        let other = wat::parse_str(format!("(module (func (export \"f{n}\")))")).unwrap();
        sandbox.load(digest_of(&other), &other).unwrap();
        assert!(sandbox.cached(module.digest()).is_some(), "the one in use stays");
    }
    assert_eq!(sandbox.loaded(), openclaw_sandbox::limits::CACHED_MODULES);
}

#[test]
fn only_an_action_can_be_called() {
    let m = module(r#"(module (memory (export "memory") 1) (func (export "f") (param i32)))"#);
    for export in ["f", "memory", "nothing"] {
        let setup = Setup { export, ..Setup::default() };
        assert_eq!(code(&setup.run(&m, &mut Fake::default())), "plugin.missing");
    }
}
