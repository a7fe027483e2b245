//! At the desk there is no host: whatever is asked for is denied, and nothing panics.

use crate::{exec, files, gpio, i2c, kv, mqtt, secrets, serial, tcp};

#[test]
fn outside_a_sandbox_everything_is_denied() {
    let denied = [
        kv::WORKFLOW.get("k").map(drop),
        kv::PLUGIN.set("k", b"v"),
        kv::PLUGIN.remove("k"),
        kv::WORKFLOW.keys("").map(drop),
        mqtt::Message::new("a/b", "x").publish(),
        secrets::handle("token").map(drop),
        tcp::connect("127.0.0.1", 502, 10).map(drop),
        serial::open("meter").map(drop),
        gpio::read("door").map(drop),
        gpio::write("lamp", true),
        i2c::transfer("sensor", &[0], 2).map(drop),
        exec::Command::new("date").run().map(drop),
        files::read_at("logs", "a", 0, 10).map(drop),
        files::stat("logs", "a").map(drop),
        files::write("logs", "a", b""),
        files::remove("logs", "a"),
    ];
    for (which, answer) in denied.into_iter().enumerate() {
        assert_eq!(answer.map_err(|e| e.code), Err("permission.denied".to_owned()), "{which}");
    }
}

#[test]
fn what_cannot_be_asked_is_not() {
    let nul = exec::Command::new("date").arg("a\0b").run();
    assert_eq!(nul.map_err(|e| e.code), Err("inputs.invalid".to_owned()));
    let far = files::read_at("logs", "a", u64::MAX, 1);
    assert_eq!(far.map_err(|e| e.code), Err("inputs.invalid".to_owned()));
}

#[test]
fn errors_have_the_kinds_of_the_standard_library() {
    let error = tcp::connect("127.0.0.1", 502, 10).map(drop).map_err(std::io::Error::from);
    assert_eq!(error.map_err(|e| e.kind()), Err(std::io::ErrorKind::PermissionDenied));
}
