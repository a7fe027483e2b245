//! Host functions that ask the device: each denied unless granted, bounded, recorded and answered, and
//! what is kept with a result and only with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use openclaw_plugin_abi::Status;
use openclaw_protocol::plugin::{Capability, Permissions};
use openclaw_sandbox::replay::{Verdict, play};
use openclaw_sandbox::{
    Ask, DirEntry, Host, HostError, HttpRequest, HttpResponse, KvScope, KvWrite, Module, Outcome,
    Published, STACK_BYTES, Sandbox,
};

use crate::host::{Setup, code, module};

/// A parameter as the guest gives it.
#[derive(Debug, Clone, Copy)]
enum Arg {
    /// An `i32`.
    N(i32),
    /// An `i64`.
    Long(i64),
    /// A text or bytes, as address and length.
    Text(&'static str),
    /// A span that is outside the guest's memory.
    Wild,
}
use Arg::{Long, N, Text, Wild};

/// One call of a host function, and how its result comes.
#[derive(Debug, Clone, Copy)]
struct Step(&'static str, &'static [Arg], Gives);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Gives {
    Length,
    Status,
}
use Gives::{Length, Status as Number};

/// A module whose action makes these calls in turn. Of each it writes the returned number in decimal
/// and, where there is a result, the result behind it. It fails in the end where `fails`.
fn guest(steps: &[Step], fails: bool) -> Arc<Module> {
    let (mut imports, mut data, mut body) = (String::new(), String::new(), String::new());
    let mut at = 1_024;
    for (n, Step(name, args, gives)) in steps.iter().enumerate() {
        let (mut params, mut values) = (String::new(), String::new());
        for arg in *args {
            match arg {
                N(number) => {
                    params += " i32";
                    values += &format!(" (i32.const {number})");
                }
                Long(number) => {
                    params += " i64";
                    values += &format!(" (i64.const {number})");
                }
                Text(text) => {
                    params += " i32 i32";
                    values += &format!(" (i32.const {at}) (i32.const {})", text.len());
                    let escaped: String = text.bytes().map(|b| format!("\\{b:02x}")).collect();
                    data += &format!("(data (i32.const {at}) \"{escaped}\")");
                    at += text.len() + 8;
                }
                Wild => {
                    params += " i32 i32";
                    values += " (i32.const 65530) (i32.const 100)";
                }
            }
        }
        let (result, widen) = match gives {
            Length => ("i64", ""),
            Number => ("i32", "i64.extend_i32_s"),
        };
        imports += &format!(
            "(import \"openclaw\" \"{name}\" (func $f{n} (param{params}) (result {result})))"
        );
        let widened = if widen.is_empty() {
            format!("(call $f{n}{values})")
        } else {
            format!("({widen} (call $f{n}{values}))")
        };
        body += &format!("(call $said {widened})");
    }
    let code = i32::from(fails);
    module(&format!(
        r#"(module {imports}
          (import "openclaw" "result_length" (func $length (result i32)))
          (import "openclaw" "result_read" (func $read (param i32 i32)))
          (import "openclaw" "output_write" (func $output (param i32 i32)))
          (memory (export "memory") 1) {data}
          (global $end (mut i32) (i32.const 32768))
          (func $said (param $value i64) (local $length i32)
            (i64.store (global.get $end) (local.get $value))
            (global.set $end (i32.add (global.get $end) (i32.const 8)))
            (local.set $length (call $length))
            (i64.store (global.get $end) (i64.extend_i32_u (local.get $length)))
            (global.set $end (i32.add (global.get $end) (i32.const 8)))
            (call $read (global.get $end) (local.get $length))
            (global.set $end (i32.add (global.get $end) (local.get $length))))
          (func (export "execute") (result i32) {body}
            (call $output (i32.const 32768) (i32.sub (global.get $end) (i32.const 32768)))
            (i32.const {code})))"#
    ))
}

/// What the guest above was told, call by call: the number, and what waited as the result then.
fn told(outcome: &Outcome) -> Vec<(i64, String)> {
    let mut rest = outcome.result.as_ref().unwrap().as_slice();
    let mut told = Vec::new();
    while let Some((head, behind)) = rest.split_first_chunk::<16>() {
        let (value, length) = head.split_at(8);
        let value = i64::from_le_bytes(value.try_into().unwrap());
        let length = i64::from_le_bytes(length.try_into().unwrap()) as usize;
        let (text, behind) = behind.split_at(length);
        told.push((value, String::from_utf8_lossy(text).into_owned()));
        rest = behind;
    }
    told
}

/// Answers by the label of a question, and remembers what was asked.
#[derive(Debug, Default)]
struct World {
    answers: BTreeMap<String, Result<Vec<u8>, HostError>>,
    asked: Vec<String>,
}

impl World {
    fn with(answers: &[(&str, &str)]) -> Self {
        let answer =
            |(what, answer): &(&str, &str)| ((*what).to_owned(), Ok(answer.as_bytes().to_vec()));
        Self { answers: answers.iter().map(answer).collect(), asked: Vec::new() }
    }
}

impl Host for World {
    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        unreachable!("no guest here speaks HTTP")
    }
    fn read_file(&mut self, _: &str, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        unreachable!("no guest here reads a file that way")
    }
    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        unreachable!("no guest here lists a directory")
    }
    fn now_ms(&mut self) -> i64 {
        0
    }
    fn random(&mut self, _: &mut [u8]) {}
    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        let what = format!("{} {}", ask.function().name(), ask.label());
        self.asked.push(what.clone());
        self.answers.get(&what).cloned().unwrap_or(Ok(Vec::new()))
    }
}

fn on_a_worker<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
        worker.spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn run(module: &Arc<Module>, setup: &Setup, world: &mut World) -> Outcome {
    on_a_worker(|| Sandbox::new().run(module, setup.call(), world, &|| None))
}

/// Every name that the calls below use.
fn granted() -> Permissions {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Permissions {
        tcp: names(&["plc.example:502"]),
        files: names(&["logs"]),
        files_write: names(&["out"]),
        kv: names(&["workflow", "plugin"]),
        mqtt_publish: names(&["plant/+/state"]),
        secrets: names(&["token"]),
        serial: names(&["meter"]),
        gpio: names(&["door"]),
        i2c: names(&["sensor"]),
        exec: names(&["ping"]),
        ..Permissions::NONE
    }
}

fn setup(permissions: Permissions) -> Setup {
    Setup { permissions, record: Some(Arc::default()), ..Setup::default() }
}

/// Each function that needs a permission, with arguments that make sense, the permission, and what
/// is denied without it.
const NEED: [(Step, Capability, &str); 15] = [
    (
        Step("file_read_at", &[Text("logs"), Text("a/b"), Long(7), N(10)], Length),
        Capability::Files,
        "files:logs",
    ),
    (Step("file_stat", &[Text("logs"), Text("a")], Length), Capability::Files, "files:logs"),
    (
        Step("file_write", &[Text("out"), Text("a"), Text("bytes"), N(1)], Number),
        Capability::FilesWrite,
        "files_write:out",
    ),
    (
        Step("file_remove", &[Text("out"), Text("a")], Number),
        Capability::FilesWrite,
        "files_write:out",
    ),
    (Step("kv_get", &[N(0), Text("k")], Length), Capability::Kv, "kv:workflow"),
    (Step("kv_set", &[N(1), Text("k"), Text("v")], Number), Capability::Kv, "kv:plugin"),
    (Step("kv_remove", &[N(1), Text("k")], Number), Capability::Kv, "kv:plugin"),
    (Step("kv_keys", &[N(0), Text("")], Length), Capability::Kv, "kv:workflow"),
    (
        Step("mqtt_publish", &[Text("plant/a/state"), Text("1"), N(0)], Number),
        Capability::MqttPublish,
        "mqtt_publish:plant/a/state",
    ),
    (Step("secret_handle", &[Text("token")], Length), Capability::Secrets, "secrets:token"),
    (
        Step("tcp_connect", &[Text("plc.example"), N(502), N(1_000)], Number),
        Capability::Tcp,
        "tcp:plc.example:502",
    ),
    (Step("serial_open", &[Text("meter")], Number), Capability::Serial, "serial:meter"),
    (Step("gpio_write", &[Text("door"), N(1)], Number), Capability::Gpio, "gpio:door"),
    (
        Step("i2c_transfer", &[Text("sensor"), Text("\u{1}"), N(2)], Length),
        Capability::I2c,
        "i2c:sensor",
    ),
    (
        Step("exec", &[Text("ping"), Text("-c\u{0}1\u{0}"), Text(""), N(1_000)], Length),
        Capability::Exec,
        "exec:ping",
    ),
];

#[test]
fn without_its_permission_nothing_reaches_the_host() {
    for (step, kind, denied) in &NEED {
        let name = step.0;
        let module = guest(&[*step], false);
        // All others are granted: one is not taken for another.
        let mut others = serde_json::to_value(granted()).unwrap();
        others.as_object_mut().unwrap().remove(kind.name());
        let others: Permissions = serde_json::from_value(others).unwrap();
        let mut world = World::default();
        let outcome = run(&module, &setup(others), &mut world);
        let [(value, message)] = &told(&outcome)[..] else { panic!("{name}") };
        assert_eq!(*value, i64::from(Status::Denied.code()), "{name}: {message}");
        assert!(message.contains(&format!("permissions.{}", kind.name())), "{name}: {message}");
        assert_eq!(outcome.denials, [*denied], "{name}");
        assert!(world.asked.is_empty() && outcome.kept.is_empty(), "{name}: {:?}", world.asked);

        let mut world = World::default();
        let outcome = run(&module, &setup(granted()), &mut world);
        let [(value, message)] = &told(&outcome)[..] else { panic!("{name}") };
        assert!(*value >= 0, "{name}: {value} {message}");
        assert!(outcome.denials.is_empty(), "{name}");
    }
}

#[test]
fn pointers_outside_the_guest_end_its_call_before_the_host_is_asked() {
    for (Step(name, args, gives), ..) in &NEED {
        let texts = args.iter().enumerate().filter(|(_, arg)| matches!(arg, Text(_)));
        for (place, _) in texts {
            let mut wild = args.to_vec();
            wild[place] = Wild;
            let module = guest(&[Step(name, wild.leak(), *gives)], false);
            let mut world = World::default();
            let outcome = run(&module, &setup(granted()), &mut world);
            assert_eq!(code(&outcome), "plugin.trap", "{name} {place}");
            assert!(world.asked.is_empty(), "{name} {place}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_what_would() {
    let cases: &[(Step, Status, &str)] = &[
        (
            Step("file_read_at", &[Text("logs"), Text("../x"), Long(0), N(1)], Length),
            Status::Invalid,
            "inside",
        ),
        (
            Step("file_read_at", &[Text("logs"), Text("x"), Long(-1), N(1)], Length),
            Status::Invalid,
            "negative",
        ),
        (
            Step("file_write", &[Text("out"), Text("/x"), Text(""), N(0)], Number),
            Status::Invalid,
            "inside",
        ),
        (
            Step("file_write", &[Text("out"), Text("x"), Text(""), N(3)], Number),
            Status::Invalid,
            "replace",
        ),
        (Step("kv_get", &[N(2), Text("k")], Length), Status::Invalid, "workflow"),
        (Step("kv_get", &[N(0), Text("")], Length), Status::Invalid, "1 to 256"),
        (Step("kv_set", &[N(0), Text("a\u{0}b"), Text("")], Number), Status::Invalid, "NUL"),
        (
            Step("mqtt_publish", &[Text("plant/+/state"), Text(""), N(0)], Number),
            Status::Invalid,
            "topic",
        ),
        (
            Step("mqtt_publish", &[Text("plant/a/state"), Text(""), N(4)], Number),
            Status::Invalid,
            "bit 0",
        ),
        (
            Step("mqtt_publish", &[Text("plant/a/b/state"), Text(""), N(0)], Number),
            Status::Denied,
            "cover",
        ),
        (
            Step("tcp_connect", &[Text("plc.example"), N(0), N(1)], Number),
            Status::Invalid,
            "1 to 65535",
        ),
        (Step("tcp_connect", &[Text("0x7f.1"), N(502), N(1)], Number), Status::Invalid, "0x7f.1"),
        (Step("tcp_connect", &[Text("plc.example"), N(503), N(1)], Number), Status::Denied, "503"),
        (Step("gpio_write", &[Text("door"), N(2)], Number), Status::Invalid, "0 or 1"),
        (
            Step("i2c_transfer", &[Text("sensor"), Text(""), N(9_000)], Length),
            Status::TooLarge,
            "8192",
        ),
        (Step("stream_read", &[N(0), N(0), N(1), N(0)], Length), Status::Invalid, "not open"),
        (Step("stream_write", &[N(-1), Text("x"), N(0)], Number), Status::Invalid, "not open"),
        (Step("stream_close", &[N(7)], Number), Status::Invalid, "not open"),
    ];
    for (step, status, part) in cases {
        let mut world = World::default();
        let outcome = run(&guest(&[*step], false), &setup(granted()), &mut world);
        let [(value, message)] = &told(&outcome)[..] else { panic!("{step:?}") };
        assert_eq!(*value, i64::from(status.code()), "{step:?}: {message}");
        assert!(message.contains(part), "{step:?}: {message}");
        assert!(world.asked.is_empty(), "{step:?}");
    }
}

#[test]
fn a_call_sees_what_it_has_changed_over_what_is_there() {
    let module = guest(
        &[
            Step("kv_get", &[N(0), Text("count")], Length),
            Step("kv_set", &[N(0), Text("count"), Text("8")], Number),
            Step("kv_get", &[N(0), Text("count")], Length),
            Step("kv_set", &[N(0), Text("also"), Text("x")], Number),
            Step("kv_keys", &[N(0), Text("")], Length),
            Step("kv_remove", &[N(0), Text("count")], Number),
            Step("kv_get", &[N(0), Text("count")], Length),
            Step("kv_keys", &[N(0), Text("")], Length),
            Step("kv_get", &[N(1), Text("count")], Length),
        ],
        false,
    );
    let mut world = World::with(&[
        ("kv_get workflow:count", "7"),
        ("kv_keys workflow", "count\x001\x00other\x003\x00"),
        ("kv_get plugin:count", "shared"),
    ]);
    let outcome = run(&module, &setup(granted()), &mut world);
    let said: Vec<String> = told(&outcome).into_iter().map(|(_, text)| text).collect();
    assert_eq!(said[0], "7");
    assert_eq!(said[2], "8");
    assert_eq!(said[4], "also\0count\0other\0");
    assert_eq!(said[6], "no such key");
    assert_eq!(said[7], "also\0other\0");
    assert_eq!(said[8], "shared");
    let write = |key: &str, value: Option<&str>| KvWrite {
        scope: KvScope::Workflow,
        key: key.to_owned(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    assert_eq!(outcome.kept.kv, [write("also", Some("x")), write("count", None)]);
    // What is there is asked for once a scope.
    assert_eq!(world.asked.iter().filter(|what| what.starts_with("kv_keys")).count(), 1);
}

#[test]
fn a_call_that_fails_keeps_and_sends_nothing() {
    let steps = [
        Step("kv_set", &[N(1), Text("k"), Text("v")], Number),
        Step("mqtt_publish", &[Text("plant/a/state"), Text("on"), N(3)], Number),
    ];
    let failed = run(&guest(&steps, true), &setup(granted()), &mut World::default());
    assert_eq!(code(&failed), "plugin.error");
    assert!(failed.kept.is_empty());
    let done = run(&guest(&steps, false), &setup(granted()), &mut World::default());
    assert_eq!(done.kept.kv.len(), 1);
    let (topic, payload) = ("plant/a/state".to_owned(), b"on".to_vec());
    assert_eq!(done.kept.published, [Published { topic, payload, qos: 1, retain: true }]);
}

#[test]
fn streams_have_numbers_until_they_are_closed() {
    let connect = Step("tcp_connect", &[Text("plc.example"), N(502), N(100)], Number);
    let steps = [
        connect,
        Step("serial_open", &[Text("meter")], Number),
        Step("stream_write", &[N(0), Text("ping"), N(10)], Number),
        Step("stream_read", &[N(0), N(2), N(4), N(10)], Length),
        Step("stream_close", &[N(0)], Number),
        Step("stream_read", &[N(0), N(2), N(4), N(10)], Length),
        Step("stream_read", &[N(1), N(5), N(4), N(10)], Length),
        connect,
    ];
    // More than was asked for is cut, should a host give it.
    let mut world = World::with(&[("stream_read 0: 2 to 4 bytes", "pong!")]);
    let outcome = run(&guest(&steps, false), &setup(granted()), &mut world);
    let told = told(&outcome);
    let numbers: Vec<i64> = told.iter().map(|(number, _)| *number).collect();
    let (invalid, large) = (Status::Invalid.code().into(), Status::TooLarge.code().into());
    assert_eq!(numbers, [0, 1, 0, 4, 0, invalid, large, 2]);
    assert_eq!(told[3].1, "pong");

    let many = run(&guest(&[connect; 9], false), &setup(granted()), &mut World::default());
    let last = self::told(&many).pop().unwrap();
    assert_eq!(last.0, i64::from(Status::TooLarge.code()));
    assert!(last.1.contains("8 streams"), "{}", last.1);
}

#[test]
fn a_command_comes_back_framed_and_a_level_as_a_number() {
    let steps = [
        NEED[14].0,
        Step("gpio_read", &[Text("door")], Number),
        Step("gpio_read", &[Text("door")], Number),
    ];
    let mut world = World::with(&[
        ("exec ping", "{\"code\":0,\"truncated\":false}\nhello\nworld"),
        ("gpio_read door", "1"),
    ]);
    let told = told(&run(&guest(&steps, false), &setup(granted()), &mut world));
    assert_eq!(told[0].1, "\u{1c}\0\0\0{\"code\":0,\"truncated\":false}hello\nworld");
    assert_eq!(told[1].0, 1);
}

#[test]
fn what_the_host_refuses_is_said_and_counted() {
    let step = Step("tcp_connect", &[Text("plc.example"), N(502), N(100)], Number);
    let mut world = World::default();
    let leads_in = HostError::Denied("plc.example leads to 127.0.0.1".to_owned());
    world.answers.insert("tcp_connect plc.example:502".to_owned(), Err(leads_in));
    let outcome = run(&guest(&[step], false), &setup(granted()), &mut world);
    assert_eq!(outcome.denials, ["tcp_connect:plc.example:502"]);
    assert_eq!(told(&outcome)[0].0, i64::from(Status::Denied.code()));
    let mut world = World::default();
    let late = HostError::TimedOut("3 of 7 bytes came".to_owned());
    world.answers.insert("i2c_transfer sensor".to_owned(), Err(late));
    let outcome = run(&guest(&[NEED[13].0], false), &setup(granted()), &mut world);
    assert_eq!(
        told(&outcome),
        [(i64::from(Status::TimedOut.code()), "3 of 7 bytes came".to_owned())]
    );
}

#[test]
fn all_of_it_is_played_again_at_the_desk() {
    let steps: Vec<Step> = NEED.iter().map(|(step, ..)| *step).collect();
    let module = guest(&steps, false);
    let answers = [
        ("file_read_at logs:a/b at 7", "part"),
        ("kv_get workflow:k", "seven"),
        ("exec ping", "{\"code\":0}\nout"),
        ("secret_handle token", "handle-1"),
    ];
    let setup = setup(granted());
    let outcome = run(&module, &setup, &mut World::with(&answers));
    let tape = outcome.tape.clone().unwrap();
    assert_eq!(tape.entries().count(), NEED.len() + 1, "the keys of a scope are asked for as well");
    let again = || on_a_worker(|| play(&Sandbox::new(), &module, setup.call(), &tape));
    let played = again();
    assert_eq!(played.verdict, Verdict::Same);
    assert_eq!(played.outcome.result, outcome.result);
    assert_eq!(played.outcome.kept, outcome.kept);

    // A module that would write another value, or to another place, is found out.
    let mut others = steps.clone();
    others[5] = Step("kv_set", &[N(1), Text("k"), Text("w")], Number);
    let other = guest(&others, false);
    let played = on_a_worker(|| play(&Sandbox::new(), &other, setup.call(), &tape));
    let Verdict::Mismatch { message, .. } = played.verdict else { panic!("taken for the same") };
    assert!(message.contains("kv_set plugin:k"), "{message}");
}

#[test]
fn what_waits_for_the_end_counts_as_the_call_s_memory() {
    let big: &'static str = Box::leak("x".repeat(30_000).into_boxed_str());
    let args: &'static [Arg] = Box::leak(Box::new([N(0), Text("k"), Text(big)]));
    let mut setup = setup(granted());
    // One page, and room for one copy of the value beside the tape's own bounds.
    setup.limits.memory_bytes = 65_536 + 20_000;
    let module = guest(&[Step("kv_set", args, Number)], false);
    let outcome = run(&module, &setup, &mut World::default());
    assert_eq!(code(&outcome), "plugin.memory");
    setup.limits.memory_bytes = 65_536 + 40_000;
    let outcome = run(&module, &setup, &mut World::default());
    assert_eq!(code(&outcome), "ok");
    assert!(outcome.peak_memory_bytes > 65_536 + 30_000);
}
