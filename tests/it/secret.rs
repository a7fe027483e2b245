//! A secret from the desk to a plugin, with the programs people have: set, deployed, used, rotated,
//! used again; and no file of the control plane or of the agent holds a value, nor does the recording of
//! a run that used it, with which the plugin does the same at the desk.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use openclaw::dev::find_program;
use openclaw::dev::world::World;
use openclaw_protocol::run::{Run, RunStatus};

const FIRST: &str = "the-first-value-of-it";
const SECOND: &str = "and-then-the-second-one";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

fn workflow(port: u16) -> String {
    format!(
        "workflow: tells
secrets: [api_token]
steps:
  - id: send
    plugin: http@^0.1
    with:
      url: 'http://127.0.0.1:{port}/hook'
      headers: {{ x-plain: seen-by-all, authorization: \"Bearer ${{ secret('api_token') }}\" }}
outputs: {{ said: '${{ steps.send.output.body }}' }}
"
    )
}

/// A service that says back what it was sent as authorization, and passes it on.
fn service() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(said) = answer(stream) else { continue };
            if told.send(said).is_err() {
                return;
            }
        }
    });
    (port, heard)
}

fn answer(stream: TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut said = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            said = value.trim().to_owned();
        }
    }
    let body = format!("{{\"echo\": \"{said}\", \"plain\": \"seen-by-all\"}}");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: \
         close\r\n\r\n",
        body.len()
    );
    reader.get_mut().write_all((head + &body).as_bytes()).ok()?;
    Some(said)
}

/// Types a command at the desk, with something on its standard input.
fn desk(home: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(find_program("openclaw").expect("it is built"))
        .args(args)
        .env("OPENCLAW_CONFIG_DIR", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it is ours")
}

fn does(home: &Path, args: &[&str], input: &str) -> String {
    let done = desk(home, args, input);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{args:?}: {said}");
    String::from_utf8(done.stdout).expect("text") + &said
}

/// Every file below a directory that holds these bytes.
fn holding(dir: &Path, bytes: &[u8], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("it is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            holding(&path, bytes, found);
        } else if path.is_file() {
            let mut content = Vec::new();
            let read = std::fs::File::open(&path).and_then(|mut f| f.read_to_end(&mut content));
            if read.is_ok() && content.windows(bytes.len()).any(|part| part == bytes) {
                found.push(path.display().to_string());
            }
        }
    }
}

async fn once(world: &World, heard: &Receiver<String>) -> (String, Run) {
    let run = world.start_run("tells", 0).await.expect("it is accepted");
    let run = world.watch_run(0, &run, |run| run.status.is_settled()).await.expect("it ends");
    assert_eq!(run.status, RunStatus::Completed, "{:?}", run.error);
    (heard.recv_timeout(PATIENCE).expect("it was called"), run)
}

async fn play(world: &mut World, dir: &Path) {
    let (port, heard) = service();
    world.add_agent().await.expect("an agent");
    world.apply(&workflow(port)).await.expect("it is a workflow");
    let home = dir.join("desk");
    std::fs::create_dir_all(&home).expect("a directory");
    does(&home, &["login", &world.url, "--password-stdin"], &world.password.clone());

    let refused = desk(&home, &["deployment", "create", "tells", "--device", "agent-1"], "");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("`api_token`"), "{said}");
    let rotated = desk(&home, &["secret", "rotate", "api_token"], FIRST);
    assert!(!rotated.status.success(), "what is not there is not rotated");
    does(&home, &["secret", "set", "api_token"], &format!("{FIRST}\n"));
    world.deploy("tells").await.expect("it is in force");

    does(&home, &["run", "record", "-d", "agent-1", "-w", "tells", "--next", "1"], "");
    let (header, run) = once(world, &heard).await;
    assert_eq!(header, format!("Bearer {FIRST}"));
    let outputs = run.outputs.expect("it has some");
    let masked = serde_json::json!({ "said": { "echo": "Bearer ***", "plain": "seen-by-all" } });
    assert_eq!(outputs, masked);

    // The plugin once more, at the desk, with its module from the control plane, and no secret.
    let file = home.join("run.ocr").display().to_string();
    does(&home, &["run", "export", run.id.as_ref(), "--file", &file], "");
    let said = does(&home, &["replay", &file], "");
    assert!(said.contains("| http.execute did the same, over 1 calls"), "{said}");

    let said = does(&home, &["secret", "rotate", "api_token", "--wait", "60"], SECOND);
    assert!(said.contains("all 1 devices have it"), "{said}");
    assert_eq!(once(world, &heard).await.0, format!("Bearer {SECOND}"));
    let listed = does(&home, &["secret", "list"], "");
    assert!(listed.contains("api_token") && listed.contains("1 of 1"), "{listed}");
    assert!(!listed.contains(SECOND), "{listed}");

    // The values are in no file; what is no secret is, where it should be.
    for value in [FIRST, SECOND] {
        let mut found = Vec::new();
        holding(dir, value.as_bytes(), &mut found);
        assert!(found.is_empty(), "{value}: {found:?}");
    }
    let mut found = Vec::new();
    holding(dir, b"seen-by-all", &mut found);
    for file in ["agent.redb", "run.ocr"] {
        assert!(found.iter().any(|path| path.ends_with(file)), "{found:?}");
    }
}

#[test]
fn a_secret_is_set_used_and_rotated() {
    crate::in_world(play);
}
