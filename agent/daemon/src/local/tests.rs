//! The local protocol over a real socket, with a brain made of three lines.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::*;
use crate::event::{self, Event, Inbox};
use crate::limits;
use crate::logs::Logs;

struct World {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    logs: Logs,
}

/// A server whose every request is answered by `answer`.
fn world(answer: fn(Request) -> Answer) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    let (events, receiver) = event::queue();
    let logs = Logs::default();
    let server = listen(&path, events, logs.clone()).unwrap();
    tokio::spawn(async move { server.run().await });
    std::thread::spawn(move || brain(receiver, answer));
    World { _dir: dir, path, logs }
}

fn brain(receiver: Inbox, answer: fn(Request) -> Answer) {
    while let Ok(event) = receiver.recv_timeout(Duration::from_secs(60)) {
        if let Event::Local { request, reply } = event {
            let _ = reply.send(answer(request));
        }
    }
}

fn echo(request: Request) -> Answer {
    match request {
        Request::Show { run } => Answer::Accepted { run },
        Request::Status => Answer::Status(Box::default()),
        Request::Approve { by: Some(by), .. } => Answer::Accepted { run: by },
        Request::Approve { by: None, .. }
        | Request::Signal { .. }
        | Request::Export { .. }
        | Request::Retry { .. }
        | Request::Record { .. }
        | Request::Runs { .. }
        | Request::Start { .. }
        | Request::Wait { .. }
        | Request::Cancel { .. }
        | Request::Results { .. }
        | Request::Logs { .. } => Answer::error("test.no", "not this one"),
    }
}

#[tokio::test]
async fn questions_are_answered_in_order() {
    let world = world(echo);
    let mut client = Client::connect(&world.path).await.unwrap();
    for i in 0..50 {
        let run = format!("run-{i}");
        let answer = client.ask(&Request::Show { run: run.clone() }).await.unwrap();
        assert_eq!(answer, Answer::Accepted { run });
    }
    let error = client.ask(&Request::Runs { limit: 1 }).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { code, .. } if code == "test.no"));
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_for_one_agent() {
    let world = world(echo);
    let mode = std::fs::metadata(&world.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (events, _receiver) = event::queue();
    let second = listen(&world.path, events, Logs::default());
    assert_eq!(second.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (events, _receiver) = event::queue();
    let server = listen(&path, events, Logs::default()).unwrap();
    drop(server);
    assert!(!path.exists(), "and removed at the end");
}

#[tokio::test]
async fn an_answer_is_by_whoever_is_at_the_other_end() {
    let world = world(echo);
    let mut client = Client::connect(&world.path).await.unwrap();
    let approve = |by: Option<&str>| Request::Approve {
        run: "r".into(),
        step: "ask".into(),
        choice: "approve".into(),
        form: serde_json::Map::new(),
        by: by.map(str::to_owned),
    };
    let own = std::process::Command::new("id").arg("-un").output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap().trim().to_owned();
    let answer = client.ask(&approve(None)).await.unwrap();
    assert_eq!(answer, Answer::Accepted { run: own });
    let answer = client.ask(&approve(Some("Ann"))).await.unwrap();
    assert_eq!(answer, Answer::Accepted { run: "Ann".into() });
    let refused = client.ask(&approve(Some("user:ann"))).await.unwrap_err();
    assert!(matches!(refused, ClientError::Refused { code, .. } if code == "approval.by"));
}

#[tokio::test]
async fn nonsense_is_told_and_a_flood_is_cut() {
    let world = world(echo);
    let stream = UnixStream::connect(&world.path).await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut read = tokio::io::BufReader::new(read);
    for nonsense in ["{}", "null", "{\"op\":\"format_disk\"}", "{\"op\":\"show\",\"x\":1}", "é"] {
        write.write_all(format!("{nonsense}\n").as_bytes()).await.unwrap();
        let line = server::read_line(&mut read).await.unwrap().unwrap();
        assert!(line.contains("local.request"), "{nonsense}: {line}");
    }
    let flood = vec![b'x'; limits::LOCAL_LINE_BYTES + 10];
    let _ = write.write_all(&flood).await;
    assert!(!matches!(server::read_line(&mut read).await, Ok(Some(_))), "the line is closed");
}

#[tokio::test]
async fn too_many_connections_are_closed() {
    let world = world(echo);
    let mut kept = Vec::new();
    for _ in 0..limits::LOCAL_CONNECTIONS {
        let mut client = Client::connect(&world.path).await.unwrap();
        client.ask(&Request::Status).await.unwrap();
        kept.push(client);
    }
    let mut client = Client::connect(&world.path).await.unwrap();
    assert!(client.ask(&Request::Status).await.is_err());
}

#[tokio::test]
async fn logs_follow() {
    let world = world(echo);
    world.logs.push(1, "info", "run-a", "s", "first");
    world.logs.push(1, "info", "run-b", "s", "other");
    let mut client = Client::connect(&world.path).await.unwrap();
    let follow = Request::Logs { after: 0, run: Some("run-a".into()), follow: true };
    let first = client.ask(&follow).await.unwrap();
    assert!(matches!(first, Answer::Line(l) if l.message == "first"));
    world.logs.push(2, "warn", "run-a", "s", "second");
    let second = client.next().await.unwrap();
    assert!(matches!(second, Answer::Line(l) if l.message == "second"));
    drop(client);

    let mut client = Client::connect(&world.path).await.unwrap();
    let all = Request::Logs { after: 0, run: None, follow: false };
    client.ask(&all).await.unwrap();
    client.next().await.unwrap();
    client.next().await.unwrap();
    assert_eq!(client.next().await.unwrap(), Answer::End);
}

/// What the command line of this version writes, and what any other asker may leave out.
#[test]
fn requests_are_read_as_they_are_written() {
    let run = || "run-1".to_owned();
    let some: serde_json::Map<_, _> =
        [("a".to_owned(), serde_json::json!([1, null]))].into_iter().collect();
    let (step, choice) = ("ask".to_owned(), "yes".to_owned());
    let all = [
        Request::Status,
        Request::Runs { limit: 7 },
        Request::Show { run: run() },
        Request::Start { workflow: "w".to_owned(), inputs: some.clone() },
        Request::Wait { run: run() },
        Request::Cancel { run: run(), force: true },
        Request::Signal { run: run(), name: "go".to_owned(), data: serde_json::json!({"n": 1}) },
        Request::Signal { run: run(), name: "go".to_owned(), data: serde_json::Value::Null },
        Request::Approve { run: run(), step, choice, form: some, by: Some("Ann".to_owned()) },
        Request::Export { run: run(), skip: 3, facts: None },
        Request::Export { run: run(), skip: 0, facts: Some(7) },
        Request::Retry { run: run(), whole: false },
        Request::Record { workflow: "w".to_owned(), next: 10 },
        Request::Results { limit: 0 },
        Request::Logs { after: u64::MAX, run: Some(run()), follow: true },
        Request::Logs { after: 0, run: None, follow: false },
    ];
    for request in all {
        let line = serde_json::to_string(&request).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&line).unwrap(), request, "{line}");
    }
    let line = r#"{"run":"r","step":"s","op":"approve","choice":"c"}"#;
    let Ok(Request::Approve { form, by: None, .. }) = serde_json::from_str(line) else {
        panic!("an answer without a form, in nobody's name")
    };
    assert!(form.is_empty());
}

#[test]
fn what_is_no_request_is_told_why() {
    for (line, part) in [
        (r#"{"op":"dance"}"#, "`dance`"),
        (r#"{"limit":1}"#, "missing field `op`"),
        (r#"{"op":"runs"}"#, "missing field `limit`"),
        (r#"{"op":"runs","limit":-1}"#, "`limit`"),
        (r#"{"op":"show","run":"r","steps":1}"#, "`steps`"),
        (r#"{"op":"approve","run":"r","step":"s","choice":"c","form":null}"#, "`form`"),
        (r#"["op"]"#, "a map"),
        (r#"{"op":"status""#, "EOF"),
    ] {
        let error = serde_json::from_str::<Request>(line).unwrap_err().to_string();
        assert!(error.contains(part), "{line} said: {error}");
    }
}

#[test]
fn answers_are_read_as_they_are_written() {
    let status = Status {
        version: "1.2.3".to_owned(),
        device: Some("pump-7".to_owned()),
        in_force: [("w".to_owned(), "1.0.0".to_owned())].into(),
        outstanding: [("history".to_owned(), u64::MAX)].into(),
        local_broker: LocalBrokerStatus {
            topics_refused: vec!["a/#".to_owned()],
            ..LocalBrokerStatus::default()
        },
        ..Status::default()
    };
    let run = openclaw_protocol::run::Run::new(
        openclaw_protocol::id::RunId::parse("0123456789ab-1").unwrap(),
    );
    let row = RunRow { error: Some("e".to_owned()), settled_wall_ms: Some(-1), ..RunRow::of(&run) };
    let settled_wall_ms = 5;
    let line = "what".to_owned();
    let logs = Logs::default();
    logs.push(7, "info", "r", "s", &line);
    let all = [
        Answer::Status(Box::new(status)),
        Answer::Runs(vec![row, RunRow::of(&run)]),
        Answer::Results(vec![ResultRow { run: "r".to_owned(), settled_wall_ms }]),
        Answer::Run(Box::new(run)),
        Answer::Accepted { run: "r".to_owned() },
        Answer::Line(logs.after(0, None).remove(0)),
        Answer::Recording { part: "{\"".into(), bytes: 9, facts: 3, check: "ab".into() },
        Answer::End,
        Answer::error("a.b", "no"),
    ];
    for answer in all {
        let line = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&line).unwrap(), answer, "{line}");
    }
}

/// An agent of another version may say more, and one of an older version less.
#[test]
fn answers_of_other_versions_are_read_as_far_as_they_go() {
    let mut status = serde_json::to_value(Answer::Status(Box::default())).unwrap();
    let fields = status["status"].as_object_mut().unwrap();
    fields.insert("weather".to_owned(), "fine".into());
    for late in ["damaged", "local_broker", "device"] {
        fields.remove(late).unwrap();
    }
    assert_eq!(serde_json::from_value::<Answer>(status).unwrap(), Answer::Status(Box::default()));
    for (line, part) in [
        (r#"{"dance":1}"#, "`dance`"),
        (r#"{"accepted":{}}"#, "missing field `run`"),
        (r#"{"status":{"version":"1"}}"#, "missing field `pid`"),
        (r#"{"runs":[{"run":"r","workflow":"w","status":"flying"}]}"#, "`flying`"),
    ] {
        let error = serde_json::from_str::<Answer>(line).unwrap_err().to_string();
        assert!(error.contains(part), "{line} said: {error}");
    }
}
