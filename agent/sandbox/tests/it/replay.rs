//! Calls that are recorded, and made again from the record: the plugins of this repository, and
//! guests that ask for everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Permissions;
use openclaw_protocol::secret::Mask;
use openclaw_sandbox::replay::{Verdict, play};
use openclaw_sandbox::{
    Call, Function, HttpResponse, Module, Outcome, STACK_BYTES, Sandbox, Stop, Tape, limits,
};
use serde_json::Value;

use crate::host::{Fake, Setup, action, code};
use crate::plugins::{built, this_machine};

/// Imports of a guest that asks for everything.
const ALL: &str = r#"
  (import "openclaw" "output_write" (func $output_write (param i32 i32)))
  (import "openclaw" "result_length" (func $result_length (result i32)))
  (import "openclaw" "result_read" (func $result_read (param i32 i32)))
  (import "openclaw" "context" (func $context (result i64)))
  (import "openclaw" "config_get" (func $config_get (param i32 i32) (result i64)))
  (import "openclaw" "var_get" (func $var_get (param i32 i32) (result i64)))
  (import "openclaw" "http_request" (func $http (param i32 i32 i32 i32) (result i64)))
  (import "openclaw" "file_read" (func $file_read (param i32 i32 i32 i32 i32) (result i64)))
  (import "openclaw" "dir_list" (func $dir_list (param i32 i32 i32 i32) (result i64)))
  (import "openclaw" "now_ms" (func $now_ms (result i64)))
  (import "openclaw" "random" (func $random (param i32 i32) (result i32)))"#;

/// Adds whatever was answered to the output, which begins at 8192 and whose length stands at 4.
const KEEP: &str = r#"
  (func $keep
    (call $result_read
      (i32.add (i32.const 8192) (i32.load (i32.const 4))) (call $result_length))
    (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (call $result_length))))
  (data (i32.const 100) "unit") (data (i32.const 110) "seen") (data (i32.const 120) "proc")
  (data (i32.const 130) "uptime") (data (i32.const 140) "{\"url\":\"http://10.0.0.7/state\"}")"#;

const ASK: &str = r#"
  (drop (call $context)) (call $keep)
  (drop (call $config_get (i32.const 100) (i32.const 4))) (call $keep)
  (drop (call $var_get (i32.const 110) (i32.const 4))) (call $keep)
  (drop (call $http (i32.const 140) (i32.const 31) (i32.const 0) (i32.const 0))) (call $keep)
  (drop (call $file_read (i32.const 120) (i32.const 4) (i32.const 130) (i32.const 6)
    (i32.const 100))) (call $keep)
  (drop (call $dir_list (i32.const 120) (i32.const 4) (i32.const 0) (i32.const 0))) (call $keep)
  (i64.store (i32.add (i32.const 8192) (i32.load (i32.const 4))) (call $now_ms))
  (drop (call $random (i32.add (i32.const 8200) (i32.load (i32.const 4))) (i32.const 8)))
  (call $output_write (i32.const 8192) (i32.add (i32.load (i32.const 4)) (i32.const 16)))
  (i32.const 0)"#;

fn everything() -> Arc<Module> {
    action(ALL, KEEP, ASK)
}

fn mask(secret: &str) -> Arc<Mask> {
    let mut mask = Mask::default();
    mask.add([secret].into_iter());
    Arc::new(mask)
}

/// A world in which there is an answer to everything, and `said` is in each of them.
fn world(said: &str) -> (Setup, Fake) {
    let body = format!("all is {said}").into_bytes();
    let response = HttpResponse { status: 200, headers: BTreeMap::new(), body };
    let host = Fake {
        http: [("GET http://10.0.0.7:80/state".to_owned(), response)].into(),
        files: [
            ("proc:uptime".to_owned(), format!("up {said}").into_bytes()),
            (format!("proc:net/{said}"), Vec::new()),
            (format!("proc:{said}.txt"), Vec::new()),
        ]
        .into(),
        now_ms: 1_700_000_000_123,
        ..Fake::default()
    };
    let setup = Setup {
        config: VecMap::from([("unit".to_owned(), said.to_owned())]),
        vars: VecMap::from([("seen".to_owned(), said.as_bytes().to_vec())]),
        permissions: Permissions {
            http: vec!["10.0.0.7:80".to_owned()],
            files: vec!["proc".to_owned()],
            time: true,
            random: true,
            ..Permissions::NONE
        },
        record: Some(Arc::default()),
        ..Setup::default()
    };
    (setup, host)
}

fn record(setup: &Setup, module: &Arc<Module>, host: &mut Fake) -> (Outcome, Tape) {
    let mut outcome = setup.run(module, host);
    let tape = *outcome.tape.take().expect("the call was recorded");
    (outcome, tape)
}

/// Plays a tape at a desk where there is nothing but the module, on a thread like a worker's.
fn replay(setup: &Setup, module: &Arc<Module>, tape: &Tape) -> Verdict {
    let none = VecMap::new();
    let call = || Call {
        export: setup.export,
        input: &setup.input,
        config: &none,
        vars: setup.vars.clone(),
        limits: setup.limits,
        permissions: &setup.permissions,
        context: setup.context.clone(),
        record: Some(setup.record.clone().unwrap_or_default()),
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || play(&Sandbox::new(), module, call(), tape).verdict)
            .unwrap()
            .join()
            .unwrap()
    })
}

/// The tape with the answer to one question changed, as somebody would in the file.
fn altered(tape: &Tape, call: usize) -> Tape {
    let mut json = tape.to_json();
    let one = &mut json["calls"][call - 1];
    match one["result"].as_str() {
        Some(text) => one["result"] = format!("{text}1").into(),
        None => one["result_base64"] = "AAECAw==".into(),
    }
    Tape::from_json(&json).unwrap()
}

fn named(verdict: &Verdict) -> Option<u32> {
    match verdict {
        Verdict::Mismatch { call, .. } => Some(*call),
        Verdict::Same | Verdict::SameUntil(_) => None,
    }
}

/// What the record of a real call must do: read back, play the same, and tell what was altered.
fn check(setup: &Setup, module: &Arc<Module>, tape: &Tape, calls: u32) {
    assert_eq!(tape.calls, calls, "{:#}", tape.to_json());
    assert_eq!(Tape::from_json(&tape.to_json()).as_ref(), Ok(tape));
    assert_eq!(replay(setup, module, tape), Verdict::Same);
    for call in 1..=calls {
        let verdict = replay(setup, module, &altered(tape, call as usize));
        assert_eq!(named(&verdict), Some(call), "{verdict:?}");
    }
    let mut other = tape.to_json();
    other["end"]["sum"] = "0000000000000000".into();
    let verdict = replay(setup, module, &Tape::from_json(&other).unwrap());
    assert_eq!(named(&verdict), Some(0), "only the end differs: {verdict:?}");
}

#[test]
fn every_question_is_recorded_and_answered_the_same_again() {
    let (setup, mut host) = world("well");
    let module = everything();
    let (outcome, tape) = record(&setup, &module, &mut host);
    assert!(outcome.result.is_ok(), "{outcome:?}");
    let asked: Vec<Function> = tape.entries().map(|entry| entry.function).collect();
    use Function::{Config, Context, Http, ListDir, Now, Random, ReadFile, Var};
    assert_eq!(asked, [Context, Config, Var, Http, ReadFile, ListDir, Now, Random]);
    check(&setup, &module, &tape, 8);
}

#[test]
fn a_real_reading_of_system_metrics_is_the_same_again() {
    let (manifest, module) = built("system-metrics");
    let mut host = this_machine();
    let setup = Setup {
        limits: manifest.limits,
        permissions: manifest.permissions.clone(),
        record: Some(Arc::default()),
        ..Setup::default()
    };
    let (outcome, tape) = record(&setup, &module, &mut host);
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert!(tape.calls >= 5 && tape.cut == 0, "{:#}", tape.to_json());
    check(&setup, &module, &tape, tape.calls);
}

#[test]
fn what_the_http_plugin_was_answered_is_answered_again() {
    let (manifest, module) = built("http");
    let url = "https://api.example/pumps/7";
    let headers = BTreeMap::from([("content-type".to_owned(), "application/json".to_owned())]);
    for (status, body, ends) in [(200, "{\"rpm\":3}", "ok"), (503, "later", "http.status")] {
        let response = HttpResponse { status, headers: headers.clone(), body: body.into() };
        let mut host = Fake {
            http: [("GET https://api.example:443/pumps/7".to_owned(), response)].into(),
            ..Fake::default()
        };
        let setup = Setup {
            input: format!("{{\"url\":\"{url}\"}}").into_bytes(),
            limits: manifest.limits,
            permissions: manifest.permissions.clone(),
            record: Some(Arc::default()),
            ..Setup::default()
        };
        let (outcome, tape) = record(&setup, &module, &mut host);
        assert_eq!(code(&outcome), ends);
        check(&setup, &module, &tape, 1);
        // Another request than the recorded one is told by its number.
        let other = Setup { input: b"{\"url\":\"https://api.example/8\"}".to_vec(), ..setup };
        let Verdict::Mismatch { call: 1, message } = replay(&other, &module, &tape) else {
            panic!("it asks for something else")
        };
        assert!(message.contains("pumps/7") && message.contains("/8"), "{message}");
    }
}

#[test]
fn an_answer_that_was_changed_with_its_sum_shows_in_what_follows() {
    let (setup, mut host) = world("well");
    let module = everything();
    let (_, tape) = record(&setup, &module, &mut host);
    host.files.insert("proc:uptime".to_owned(), b"up badly".to_vec());
    let (_, other) = record(&setup, &module, &mut host);
    assert_eq!(named(&replay(&setup, &module, &other)), None, "it is a record of its own");
    let mut mixed = tape.to_json();
    mixed["calls"][4] = other.to_json()["calls"][4].clone();
    let verdict = replay(&setup, &module, &Tape::from_json(&mixed).unwrap());
    assert_eq!(named(&verdict), Some(0), "the output is another: {verdict:?}");
    let Value::Array(mut calls) = mixed["calls"].take() else { panic!("a list") };
    calls.swap(4, 5);
    mixed["calls"] = calls.into();
    let verdict = replay(&setup, &module, &Tape::from_json(&mixed).unwrap());
    assert_eq!(named(&verdict), Some(5), "{verdict:?}");
}

#[test]
fn what_does_not_fit_is_left_out_and_the_record_says_from_where() {
    let read = "(drop (call $file_read (i32.const 120) (i32.const 4) (i32.const 130) (i32.const 6)
        (i32.const 40000))) (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0))
        (call $result_length)))";
    let module = action(
        ALL,
        KEEP,
        &format!(
            "{read} {read} {read} (call $output_write (i32.const 0) (i32.const 4)) (i32.const 0)"
        ),
    );
    let (setup, mut host) = world("well");
    host.files.insert("proc:uptime".to_owned(), vec![b'7'; 40_000]);
    let (outcome, tape) = record(&setup, &module, &mut host);
    assert_eq!(outcome.result.unwrap(), 120_000_u32.to_le_bytes());
    assert_eq!((tape.calls, tape.cut), (3, 2));
    assert!(tape.bytes() <= limits::TAPE_BYTES, "{}", tape.bytes());
    assert_eq!(Tape::from_json(&tape.to_json()).as_ref(), Ok(&tape));
    assert_eq!(replay(&setup, &module, &tape), Verdict::SameUntil(2));
    assert_eq!(named(&replay(&setup, &module, &altered(&tape, 1))), Some(1));
    // A guest that would not have asked again is not the one that was recorded.
    let brief = action(ALL, KEEP, &format!("{read} (i32.const 0)"));
    assert_eq!(named(&replay(&setup, &brief, &tape)), Some(2));
}

#[test]
fn a_secret_is_in_no_record_whatever_brings_it() {
    let secret = "s3cret\"va lue\"-1";
    let forms = |tape: &Tape| {
        let json = tape.to_json().to_string();
        let quoted = serde_json::json!(secret).to_string();
        [secret, quoted.trim_matches('"'), "czNjcmV0", "s3cret%22"]
            .iter()
            .filter(|form| json.contains(**form) || format!("{tape:?}").contains(**form))
            .count()
    };
    let module = everything();
    let (open, mut host) = world(secret);
    let (_, tape) = record(&open, &module, &mut host);
    assert!(forms(&tape) > 0, "the control: unmasked it is there");
    let asked_openly: Vec<u64> = tape.entries().map(|entry| entry.arguments).collect();

    let masked = Setup { record: Some(mask(secret)), ..open };
    let (outcome, tape) = record(&masked, &module, &mut host);
    assert!(outcome.result.is_ok(), "{outcome:?}");
    assert_eq!(forms(&tape), 0, "{:#}", tape.to_json());
    let told = tape.entries().filter(|entry| entry.result.windows(3).any(|part| part == b"***"));
    assert_eq!(told.count(), 5, "setting, variable, response, file and directory: {tape:?}");
    assert_eq!(asked_openly.len(), tape.entries().count());

    // What the plugin sends: not even its hash.
    let (manifest, module) = built("http");
    let sends = |secret: &str| {
        let input = serde_json::json!({
            "url": format!("https://api.example/{}", secret.len()),
            "headers": { "authorization": format!("Bearer {secret}") },
            "body": { "token": secret },
        });
        let mut host = Fake::default();
        host.http.insert(
            format!("POST https://api.example:443/{}", secret.len()),
            HttpResponse { status: 200, headers: BTreeMap::new(), body: secret.into() },
        );
        let setup = Setup {
            input: input.to_string().into_bytes(),
            limits: manifest.limits,
            permissions: manifest.permissions.clone(),
            record: Some(mask(secret)),
            ..Setup::default()
        };
        let (outcome, tape) = record(&setup, &module, &mut host);
        assert_eq!(code(&outcome), "ok");
        tape
    };
    let (one, two) = (sends("first-secret"), sends("other-secret"));
    assert_eq!(one.entries().collect::<Vec<_>>(), two.entries().collect::<Vec<_>>());
    assert_eq!(one.end, two.end);
    assert!(!format!("{:#}", one.to_json()).contains("first"), "{:#}", one.to_json());
}

#[test]
fn a_file_that_ends_within_a_secret_ends_before_it() {
    let (setup, mut host) = world("well");
    let text = format!("{}s3cret-value", "x".repeat(92));
    host.files.insert("proc:uptime".to_owned(), text.into_bytes());
    let setup = Setup { record: Some(mask("s3cret-value")), ..setup };
    let (_, tape) = record(&setup, &everything(), &mut host);
    let read = tape.entries().find(|entry| entry.function == Function::ReadFile).unwrap();
    assert!(read.result.ends_with(b"xx***"), "{:?}", String::from_utf8_lossy(read.result));
}

#[test]
fn traps_and_stops_from_outside_are_the_same_again() {
    let (setup, mut host) = world("well");
    let trap = action(ALL, KEEP, "(drop (call $now_ms)) unreachable");
    let (outcome, tape) = record(&setup, &trap, &mut host);
    assert_eq!(code(&outcome), "plugin.trap");
    check(&setup, &trap, &tape, 1);

    let greedy = action(ALL, KEEP, "(loop $on (br $on)) (i32.const 0)");
    let mut short = setup.clone();
    short.limits.fuel = 500_000;
    let (outcome, tape) = record(&short, &greedy, &mut host);
    assert_eq!((code(&outcome), tape.code.as_str()), ("plugin.fuel", "plugin.fuel"));
    assert_eq!(replay(&short, &greedy, &tape), Verdict::Same);

    // Stopped while it computes, and while it waits for an answer.
    let asked = AtomicBool::new(false);
    let late = || asked.swap(true, Ordering::Relaxed).then_some(Stop::Timeout);
    let mut outcome = setup.run_watched(&greedy, &mut host, &late);
    let tape = *outcome.tape.take().unwrap();
    assert_eq!((code(&outcome), tape.code.as_str()), ("timeout", "timeout"));
    assert_eq!(replay(&setup, &greedy, &tape), Verdict::Same);

    let stopped = Arc::new(AtomicBool::new(false));
    host.stopped = Some(Arc::clone(&stopped));
    let watch = || stopped.load(Ordering::Relaxed).then_some(Stop::Cancelled);
    let mut outcome = setup.run_watched(&everything(), &mut host, &watch);
    let tape = *outcome.tape.take().unwrap();
    assert_eq!((code(&outcome), tape.calls), ("cancelled", 4));
    assert_eq!(replay(&setup, &everything(), &tape), Verdict::Same);
}

#[test]
fn nothing_is_recorded_that_nobody_wants() {
    let (setup, mut host) = world("well");
    let outcome = Setup { record: None, ..setup }.run(&everything(), &mut host);
    assert_eq!((outcome.tape, outcome.host_calls), (None, 5));
}
