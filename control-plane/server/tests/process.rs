//! The program itself: what it leaves in files at its first start.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_ready_file_holds_addresses_and_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready.json");
    // What an earlier, killed start may have left.
    std::fs::write(dir.path().join("ready.new"), "{").unwrap();
    let mut server = Command::new(env!("CARGO_BIN_EXE_openclaw-control-plane"))
        .args(["serve", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data"])
        .arg(dir.path().join("data"))
        .arg("--ready-file")
        .arg(&ready)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !ready.exists() {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < deadline, "not ready: {ended:?}");
        std::thread::yield_now();
    }
    let text = std::fs::read_to_string(&ready).unwrap();
    let mode = std::fs::metadata(&ready).unwrap().permissions().mode();
    let stopped = Command::new("kill").arg(server.id().to_string()).status().unwrap();
    assert!(stopped.success());
    let said = server.wait_with_output().unwrap();
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    let password = said.split("the password `").nth(1).and_then(|rest| rest.split('`').next());
    let password = password.expect("the first start shows the password");
    assert!(!text.contains(password) && !text.contains("admin"), "{text}");
    let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(addresses["http"].is_string() && addresses["mqtt"].is_string(), "{text}");
    assert_eq!(mode & 0o777, 0o600);
}
