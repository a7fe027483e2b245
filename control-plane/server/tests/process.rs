//! The program itself: what it leaves in files at its first start.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A control plane that is ready.
#[expect(clippy::unwrap_used, reason = "a helper of a test fails its test")]
fn serving(data: &Path, ready: &Path, output: Stdio) -> Child {
    let mut server = Command::new(env!("CARGO_BIN_EXE_openclaw-control-plane"))
        .args(["serve", "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--ready-file")
        .arg(ready)
        .stdout(output)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !ready.exists() {
        let ended = server.try_wait().unwrap();
        assert!(ended.is_none() && Instant::now() < deadline, "not ready: {ended:?}");
        std::thread::yield_now();
    }
    server
}

#[test]
fn the_ready_file_holds_addresses_and_no_password() {
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready.json");
    // What an earlier, killed start may have left.
    std::fs::write(dir.path().join("ready.new"), "{").unwrap();
    let server = serving(&dir.path().join("data"), &ready, Stdio::piped());
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

fn program(data: &std::path::Path, args: &[&str]) -> (bool, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_openclaw-control-plane"))
        .args(args)
        .arg("--data")
        .arg(data)
        .output()
        .expect("it can be started");
    let text = [done.stdout, done.stderr].concat();
    (done.status.success(), String::from_utf8(text).expect("text"))
}

fn quoted(text: &str) -> String {
    let quoted = text.split("the password `").nth(1).and_then(|rest| rest.split('`').next());
    quoted.expect("a password is shown").to_owned()
}

/// Whether the admin may log in with it.
async fn logs_in(http: &str, password: &str) -> bool {
    _ = rustls::crypto::ring::default_provider().install_default();
    let body = serde_json::json!({ "username": "admin", "password": password });
    let url = format!("http://{http}/api/v1/auth/login");
    let request = reqwest::Client::new().post(url).header("x-openclaw-csrf", "1").json(&body);
    let status = request.send().await.expect("an answer").status().as_u16();
    assert!([200, 201, 401].contains(&status), "{status}");
    status != 401
}

#[tokio::test]
async fn a_password_that_nobody_saw_is_set_anew_while_the_control_plane_runs() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (done, said) = program(&data, &["reset-password"]);
    assert!(!done && said.contains("there is no database"), "{said}");
    let (done, said) = program(&data, &["init"]);
    assert!(done, "{said}");
    let lost = quoted(&said);
    let (done, said) = program(&data, &["init"]);
    assert!(done && said.contains("reset-password"), "it says what to do: {said}");
    let (done, said) = program(&data, &["reset-password", "--user", "nobody"]);
    assert!(!done && said.contains("no user `nobody`"), "{said}");

    let ready = dir.path().join("ready.json");
    let mut server = serving(&data, &ready, Stdio::null());
    let text = std::fs::read_to_string(&ready).unwrap();
    let addresses: serde_json::Value = serde_json::from_str(&text).unwrap();
    let http = addresses["http"].as_str().unwrap();
    let before = logs_in(http, &lost).await;
    let (done, said) = program(&data, &["reset-password"]);
    let fresh = quoted(&said);
    let (old, new) = (logs_in(http, &lost).await, logs_in(http, &fresh).await);
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(done && before && !old && new, "{said} {before} {old} {new}");
}
