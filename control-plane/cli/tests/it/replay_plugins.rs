//! `openclaw replay` of runs whose plugins are made to run again: the real `http` plugin, with what
//! it was answered on a device.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openclaw_agent_core::Fact;
use openclaw_agent_core::replay::Recording;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Manifest;
use openclaw_protocol::secret::Mask;
use openclaw_sandbox::{
    Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, STACK_BYTES, Sandbox,
    Tape, digest_of,
};
use serde_json::{Value, json};

use crate::{Desk, err, json as answer, out};

const SECRET: &str = "s3cret-of-the-device";
const WORKFLOW: &str = "workflow: fetch
secrets: [token]
steps:
  - id: ask
    plugin: http@^0.1
    with:
      url: https://api.example/pumps/7
      headers: { authorization: \"Bearer ${ secret('token') }\" }
outputs: { rpm: '${ steps.ask.output.body.rpm }' }
";
const SCENARIO: &str = "scenario: 1
mocks:
  plugins:
    http: { answers: [{ output: { status: 200, headers: {}, body: { rpm: 3 } } }] }
expect: { status: completed }
";

fn built() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins")
}

/// A server that says how fast the pump turns, and what it was sent.
struct Server;

impl Host for Server {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        let sent = request.headers.get("authorization").cloned().unwrap_or_default();
        assert_eq!(sent, format!("Bearer {SECRET}"), "the plugin has the value on the device");
        let headers = BTreeMap::from([("x-seen".to_owned(), sent)]);
        Ok(HttpResponse { status: 200, headers, body: b"{\"rpm\":3}".to_vec() })
    }

    fn read_file(&mut self, _: &str, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Err(HostError::Invalid("no files".to_owned()))
    }

    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        Err(HostError::Invalid("no files".to_owned()))
    }

    fn now_ms(&mut self) -> i64 {
        0
    }

    fn random(&mut self, _: &mut [u8]) {}
}

/// The call as a device makes it, recorded.
fn recorded(recording: &Recording, manifest: &Manifest, module: &[u8]) -> Tape {
    let call = recording.replay().unwrap().calls.remove(0);
    let handle = json!({ "$join": ["Bearer ", { "$secret": "token" }] });
    let mut input = call.input.value();
    assert_eq!(input["headers"]["authorization"], handle, "a recording has handles");
    input["headers"]["authorization"] = json!(format!("Bearer {SECRET}"));
    let input = input.to_string();
    let mut mask = Mask::default();
    mask.add([SECRET].into_iter());
    let work = || {
        let sandbox = Sandbox::new();
        let module = sandbox.load(digest_of(module), module).unwrap();
        let config = VecMap::new();
        let call = Call {
            export: "execute",
            input: input.as_bytes(),
            config: &config,
            vars: VecMap::new(),
            limits: manifest.limits,
            permissions: &manifest.permissions,
            context: Context {
                run: recording.run.to_string(),
                step: "ask".to_owned(),
                attempt: 1,
                idempotency_key: call.idempotency_key.clone(),
                interrupted: false,
                deadline_ms: Some(99),
            },
            record: Some(Arc::new(mask)),
        };
        *sandbox.run(&module, call, &mut Server, &|| None).tape.unwrap()
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
        worker.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

/// A recording as a device sends it whose run called the real plugin.
fn desk() -> (Desk, Value) {
    let desk = Desk::new();
    std::fs::write(desk.path().join("d.yaml"), WORKFLOW).unwrap();
    std::fs::write(desk.path().join("s.yaml"), SCENARIO).unwrap();
    let made =
        desk.run(&["workflow", "test", "-d", "d.yaml", "-s", "s.yaml", "--record", "run.ocr"]);
    assert!(made.status.success(), "{}{}", out(&made), err(&made));
    let text = std::fs::read_to_string(desk.path().join("run.ocr")).unwrap();
    let mut recording: Recording = serde_json::from_str(&text).unwrap();
    let dir = built().join("http");
    let manifest =
        Manifest::from_toml(&std::fs::read_to_string(dir.join("plugin.toml")).unwrap()).unwrap();
    let module = std::fs::read(dir.join("plugin.wasm")).unwrap();
    // Scenarios have no modules; a device pins the one that it runs.
    let Fact::Accepted { pins, .. } = &mut recording.facts[0].fact else { panic!("accepted") };
    let pin = &mut pins[0].1;
    pin.digest = digest_of(&module);
    pin.limits = manifest.limits;
    pin.granted = manifest.permissions.clone();
    let mut tape = recorded(&recording, &manifest, &module).to_json();
    tape["step"] = json!("ask");
    tape["attempt"] = json!(1);
    recording.tapes = vec![tape];
    let whole = json!(recording);
    assert!(!whole.to_string().contains(SECRET), "{whole:#}");
    (desk, whole)
}

fn write(desk: &Desk, recording: &Value) {
    std::fs::write(desk.path().join("run.ocr"), recording.to_string()).unwrap();
}

#[test]
fn a_plugin_does_the_same_at_the_desk_without_the_secret() {
    let (desk, recording) = desk();
    write(&desk, &recording);
    let plugins = built().display().to_string();
    let done = desk.run(&["replay", "run.ocr", "--plugins", &plugins, "-o", "json"]);
    let told = answer(&done);
    assert_eq!((&told["same"], &told["plugins"][0]["verdict"]), (&json!(true), &json!("same")));
    let done = desk.run(&["replay", "run.ocr", "--plugins", &plugins, "--step"]);
    let said = out(&done);
    assert!(said.contains("   1 http_request GET https://api.example:443/pumps/7: ok"), "{said}");
    assert!(said.contains("http.execute did the same, over 1 calls"), "{said}");
}

#[test]
fn an_altered_answer_is_named_by_step_attempt_and_number() {
    let (desk, mut recording) = desk();
    let plugins = built().display().to_string();
    let result = recording["tapes"][0]["calls"][0]["result"].as_str().unwrap().replace('3', "4");
    recording["tapes"][0]["calls"][0]["result"] = json!(result);
    write(&desk, &recording);
    let done = desk.run(&["replay", "run.ocr", "--plugins", &plugins, "-o", "json"]);
    assert_eq!(done.status.code(), Some(1), "{}", err(&done));
    assert!(err(&done).contains("replay.mismatch: step ask, attempt 1, call 1"), "{}", err(&done));
    let told: Value = serde_json::from_str(&out(&done)).unwrap();
    assert_eq!((&told["same"], &told["divergence"]), (&json!(false), &Value::Null));
    let played = &told["plugins"][0];
    assert_eq!((&played["verdict"], &played["call"]), (&json!("mismatch"), &json!(1)));
}

#[test]
fn a_plugin_that_is_not_at_hand_is_said_to_be_missing() {
    let (desk, recording) = desk();
    write(&desk, &recording);
    std::fs::create_dir(desk.path().join("none")).unwrap();
    for more in [&["--plugins", "none"][..], &[]] {
        let done = desk.run(&[&["replay", "run.ocr"], more].concat());
        assert_eq!(done.status.code(), Some(0), "{}", err(&done));
        let said = out(&done);
        assert!(said.contains("http.execute is not run again: its module "), "{said}");
        assert!(said.contains("the same as on the device"), "{said}");
    }
}

#[test]
fn a_tape_that_does_not_read_or_fit_is_refused() {
    let (desk, whole) = desk();
    for (place, value, why) in [
        ("/tapes/0/calls/0/function", json!("dance"), "`function`"),
        ("/tapes/0/calls", json!(7), "`calls`"),
        ("/tapes/0/attempt", json!(2), "no such call"),
        ("/tapes/0/attempt", json!("x"), "no attempt"),
    ] {
        let mut recording = whole.clone();
        *recording.pointer_mut(place).unwrap() = value;
        write(&desk, &recording);
        let done = desk.run(&["replay", "run.ocr"]);
        assert_eq!(done.status.code(), Some(6), "{}", err(&done));
        assert!(err(&done).contains(why), "{}", err(&done));
    }
}

/// Saves the recording as a test; where it is, and as JSON.
fn save_test(desk: &Desk, plugins: &str) -> (PathBuf, Value) {
    let done = desk.run(&["replay", "run.ocr", "--plugins", plugins, "--save-test", "saved"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    let files = std::fs::read_dir(desk.path().join("saved")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let path = files.find(|path| path.to_string_lossy().ends_with(".scenario.json")).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    (path, serde_json::from_str(&text).unwrap())
}

#[test]
fn a_saved_test_runs_the_module_with_what_it_was_told() {
    let (desk, recording) = desk();
    write(&desk, &recording);
    let (path, scenario) = save_test(&desk, &built().display().to_string());
    let mock = &scenario["mocks"]["plugins"]["http.execute"];
    let module = desk.path().join("saved").join(mock["module"].as_str().unwrap());
    assert_eq!(
        std::fs::read(module).unwrap(),
        std::fs::read(built().join("http/plugin.wasm")).unwrap()
    );
    let test = |scenario: &Value| {
        std::fs::write(&path, scenario.to_string()).unwrap();
        desk.run(&["workflow", "test", "-s", "saved"])
    };
    let done = test(&scenario);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));

    let answer = "/mocks/plugins/http.execute/answers/0";
    let mut altered = scenario.clone();
    let result = altered.pointer_mut(&format!("{answer}/tape/calls/0/result")).unwrap();
    *result = json!(result.as_str().unwrap().replace('3', "4"));
    let said = out(&test(&altered));
    assert!(said.contains("replay.mismatch: step ask, attempt 1, call 1: the answer"), "{said}");

    // What the module gives counts, and not what is written beside it; else nothing would be run.
    let mut altered = scenario.clone();
    let end = altered.pointer_mut(&format!("{answer}/tape/end/sum")).unwrap();
    *end = json!("0000000000000001");
    *altered.pointer_mut(&format!("{answer}/output")).unwrap() = json!({ "status": 500 });
    let done = test(&altered);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));

    // Another question than the recorded one.
    let definition = path.with_file_name(scenario["definition"].as_str().unwrap());
    let text = std::fs::read_to_string(&definition).unwrap();
    std::fs::write(&definition, text.replace("/pumps/7", "/pumps/8")).unwrap();
    let said = out(&test(&scenario));
    assert!(said.contains("replay.mismatch: step ask, attempt 1, call 1: it asked"), "{said}");
}

#[test]
fn without_its_module_a_saved_test_takes_what_was_recorded() {
    let (desk, recording) = desk();
    write(&desk, &recording);
    std::fs::create_dir(desk.path().join("none")).unwrap();
    let (path, mut scenario) = save_test(&desk, "none");
    let mock = &scenario["mocks"]["plugins"]["http.execute"];
    assert_eq!((mock.get("module"), mock["answers"][0].get("tape").is_some()), (None, true));
    let done = desk.run(&["workflow", "test", "-s", "saved"]);
    assert!(done.status.success(), "{}{}", out(&done), err(&done));
    *scenario.pointer_mut("/mocks/plugins/http.execute/answers/0/output/body/rpm").unwrap() =
        json!(4);
    std::fs::write(&path, scenario.to_string()).unwrap();
    let done = desk.run(&["workflow", "test", "-s", "saved"]);
    assert_eq!(done.status.code(), Some(1), "{}", out(&done));
}
