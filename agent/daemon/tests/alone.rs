//! The agent alone: no control plane, no network, real modules, over its local socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use openclaw_agent::agent::Agent;
use openclaw_agent::config::{Config, Standalone};
use openclaw_agent::identity::{Credentials, Identity};
use openclaw_agent::local::{Answer, Client, ClientError, Request, Status};
use openclaw_agent_core::replay::Recording;
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use openclaw_protocol::run::{Run, RunStatus};
use openclaw_sandbox::Tape;

/// The smallest plugin: `execute` returns 0 and says nothing.
const NOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\
    \x07\x0b\x01\x07execute\0\0\x0a\x06\x01\x04\0\x41\0\x0b";
/// Its brother that never returns.
const LOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\
    \x07\x0b\x01\x07execute\0\0\x0a\x0b\x01\x09\0\x03\x40\x0c\0\x0b\x41\0\x0b";

const ASKS: &str = "workflow: asks
steps:
  - { id: hear, wait: { signal: go } }
  - id: ask
    approval:
      prompt: 'open ${ steps.hear.output.message.data.valve }?'
      roles: [admin]
      choices: ['yes', 'no']
      form: { why: { type: string } }
outputs: { answer: '${ steps.ask.output }' }
";

const STUMBLES: &str = "workflow: stumbles
steps:
  - { id: first, plugin: noop@1, output: done }
  - { id: second, plugin: forever@1, timeout: 1s, retry: none }
";

const WORKFLOWS: [(&str, &str); 5] = [
    ("stumbles", STUMBLES),
    ("asks", ASKS),
    (
        "boot",
        "workflow: boot\ntriggers:\n  - { id: boot, startup: {} }\nsteps:\n  - { id: a, plugin: \
         noop@1 }\n  - { id: b, plugin: noop@1 }\n",
    ),
    ("manual", "workflow: manual\nsteps:\n  - { id: a, plugin: noop@1 }\n"),
    (
        "stuck",
        "workflow: stuck\nsteps:\n  - { id: a, plugin: forever@1, timeout: 1s, retry: { \
         max_retries: 0 } }\n",
    ),
];

fn config(dir: &Path) -> Config {
    let standalone =
        Standalone { workflows: dir.join("workflows"), plugins: Some(dir.join("plugins")) };
    std::fs::create_dir_all(&standalone.workflows).unwrap();
    for (name, text) in WORKFLOWS {
        std::fs::write(standalone.workflows.join(format!("{name}.yaml")), text).unwrap();
    }
    for (name, module) in [("noop", NOOP), ("forever", LOOP)] {
        let plugin = dir.join("plugins").join(name);
        std::fs::create_dir_all(&plugin).unwrap();
        std::fs::write(plugin.join("plugin.wasm"), module).unwrap();
        let manifest = format!("name='{name}'\nversion='1.0.0'\ndescription='d'\n");
        std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
    }
    Config { data_dir: dir.join("data"), standalone: Some(standalone), ..Config::default() }
}

async fn ask(config: &Config, request: Request) -> Answer {
    let mut client = Client::connect(&config.socket_path()).await.unwrap();
    client.ask(&request).await.unwrap()
}

async fn status(config: &Config) -> Status {
    let Answer::Status(status) = ask(config, Request::Status).await else { panic!("a status") };
    *status
}

async fn start_and_wait(config: &Config, workflow: &str) -> Run {
    let request = Request::Start { workflow: workflow.into(), inputs: serde_json::Map::new() };
    let Answer::Accepted { run } = ask(config, request).await else { panic!("not accepted") };
    let Answer::Run(run) = ask(config, Request::Wait { run }).await else { panic!("a run") };
    *run
}

/// Waits until nothing is open any more.
async fn calm(config: &Config) {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while status(config).await.unsettled > 0 {
        assert!(tokio::time::Instant::now() < until, "the agent does not come to rest");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_agent_needs_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let agent = Agent::start(&config).unwrap();
    assert_eq!(status(&config).await.workflows, 5);
    assert_eq!(status(&config).await.link, "none");
    calm(&config).await;
    let Answer::Runs(runs) = ask(&config, Request::Runs { limit: 10 }).await else {
        panic!("a list");
    };
    assert_eq!((runs.len(), runs[0].workflow.as_str()), (1, "boot"));
    assert_eq!(runs[0].status, RunStatus::Completed);

    let run = start_and_wait(&config, "manual").await;
    assert_eq!((run.status, run.steps.len()), (RunStatus::Completed, 1));
    let run = start_and_wait(&config, "stuck").await;
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(run.error.unwrap().code, "timeout");
    agent.stop().await.unwrap();

    let agent = Agent::start(&config).unwrap();
    let now = status(&config).await;
    assert!(!now.unclean, "the stop was clean");
    calm(&config).await;
    let Answer::Results(results) = ask(&config, Request::Results { limit: 10 }).await else {
        panic!("a list");
    };
    assert_eq!(results.len(), 3, "the same boot: its startup trigger does not fire again");
    agent.stop().await.unwrap();
}

/// Asks for a run until its step waits for this.
async fn waits_for(config: &Config, run: &str, reason: &str) -> Run {
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ask(config, Request::Show { run: run.into() }).await;
        let Answer::Run(view) = answer else { panic!("a run") };
        let waiting = view.steps.iter().filter_map(|step| step.waiting.as_ref());
        if waiting.map(|waiting| waiting.reason.as_str()).any(|known| known == reason) {
            return *view;
        }
        assert!(tokio::time::Instant::now() < until, "no step waits for {reason}");
        tokio::task::yield_now().await;
    }
}

async fn refused(config: &Config, request: Request) -> String {
    let mut client = Client::connect(&config.socket_path()).await.unwrap();
    let error = client.ask(&request).await.unwrap_err();
    let ClientError::Refused { code, .. } = error else { panic!("{error}") };
    code
}

#[tokio::test]
async fn people_speak_to_runs_and_answer_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let agent = Agent::start(&config).unwrap();
    let request = Request::Start { workflow: "asks".into(), inputs: serde_json::Map::new() };
    let Answer::Accepted { run } = ask(&config, request).await else { panic!("not accepted") };
    waits_for(&config, &run, "signal").await;
    let signal = |run: &str| Request::Signal {
        run: run.into(),
        name: "go".into(),
        data: serde_json::json!({ "valve": 7 }),
    };
    assert_eq!(refused(&config, signal("000000000000-9")).await, "run.unknown");
    assert_eq!(ask(&config, signal(&run)).await, Answer::Accepted { run: run.clone() });
    let view = waits_for(&config, &run, "approval").await;
    let waiting = view.steps[1].waiting.as_ref().unwrap();
    assert_eq!(waiting.to_string(), "approval: open 7? (yes | no)");
    assert_eq!(view.status, RunStatus::Running);

    let form = serde_json::json!({ "why": "dry" });
    let approve = |step: &str, choice: &str, form: &serde_json::Value| Request::Approve {
        run: run.clone(),
        step: step.into(),
        choice: choice.into(),
        form: form.as_object().unwrap().clone(),
        by: Some("Ann".into()),
    };
    let empty = serde_json::json!({});
    assert_eq!(refused(&config, approve("asks", "yes", &form)).await, "approval.unknown");
    assert_eq!(refused(&config, approve("ask", "perhaps", &form)).await, "approval.choice");
    assert_eq!(refused(&config, approve("ask", "yes", &empty)).await, "approval.form");
    // An answer outlives the agent: it is durable before it is accepted.
    let answer = ask(&config, approve("ask", "yes", &form)).await;
    assert_eq!(answer, Answer::Accepted { run: run.clone() });
    agent.stop().await.unwrap();
    let agent = Agent::start(&config).unwrap();
    let Answer::Run(view) = ask(&config, Request::Wait { run }).await else { panic!("a run") };
    let answer = &view.outputs.unwrap()["answer"];
    assert_eq!((&answer["choice"], &answer["by"]), (&"yes".into(), &"Ann".into()));
    assert_eq!(answer["form"], form);
    agent.stop().await.unwrap();
}

async fn exported(config: &Config, run: &str) -> Recording {
    let (mut whole, mut known) = (String::new(), None);
    loop {
        let request = Request::Export { run: run.to_owned(), skip: whole.len(), facts: known };
        let Answer::Recording { part, bytes, facts, .. } = ask(config, request).await else {
            panic!("no recording");
        };
        assert!(!part.is_empty());
        known = Some(facts);
        whole.push_str(&part);
        if whole.len() == bytes {
            return serde_json::from_str(&whole).unwrap();
        }
    }
}

#[tokio::test]
async fn a_run_is_exported_replayed_and_done_again_from_where_it_failed() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let agent = Agent::start(&config).unwrap();
    let run = start_and_wait(&config, "stumbles").await;
    assert_eq!(run.status, RunStatus::Failed);
    let id = run.id.to_string();
    let recording = exported(&config, &id).await;
    let replay = recording.replay().unwrap();
    assert_eq!(replay.divergence, None);
    assert!(replay.is_settled);
    assert_eq!(replay.calls.len(), 2);
    // Of the call that failed it is kept what it was told: nothing, until it was stopped.
    let [tape] = &recording.tapes[..] else { panic!("one tape: {:?}", recording.tapes) };
    assert_eq!((&tape["step"], &tape["attempt"]), (&"second".into(), &1.into()));
    let tape = Tape::from_json(tape).unwrap();
    assert_eq!((tape.code.as_str(), tape.calls), ("timeout", 0));

    // Also after the agent was started anew.
    agent.stop().await.unwrap();
    let agent = Agent::start(&config).unwrap();
    assert_eq!(exported(&config, &id).await, recording);
    let retry = |whole| Request::Retry { run: id.clone(), whole };
    let Answer::Accepted { run } = ask(&config, retry(false)).await else { panic!("not accepted") };
    let Answer::Run(again) = ask(&config, Request::Wait { run: run.clone() }).await else {
        panic!("a run");
    };
    let first = &again.steps[0];
    assert_eq!((first.path.0.as_str(), first.output.as_ref().unwrap()), ("first", &"done".into()));
    let calls = exported(&config, &run).await.replay().unwrap().calls;
    assert_eq!(calls.len(), 1, "what had succeeded is not called again");
    let Answer::Accepted { run } = ask(&config, retry(true)).await else { panic!("not accepted") };
    ask(&config, Request::Wait { run: run.clone() }).await;
    assert_eq!(exported(&config, &run).await.replay().unwrap().calls.len(), 2);

    let unknown = Request::Export { run: "abcdef012345-99".into(), skip: 0, facts: None };
    assert_eq!(refused(&config, unknown).await, "run.unknown");
    let completed = start_and_wait(&config, "manual").await.id.to_string();
    let retry = Request::Retry { run: completed, whole: false };
    assert_eq!(refused(&config, retry).await, "run.completed");
    agent.stop().await.unwrap();
}

#[tokio::test]
async fn one_agent_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let agent = Agent::start(&config).unwrap();
    let second = Agent::start(&config).unwrap_err();
    assert!(format!("{second:#}").contains("another agent"), "{second:#}");
    // Even by another socket: the database is held.
    let elsewhere = Config { socket: Some(dir.path().join("other.sock")), ..config.clone() };
    let second = Agent::start(&elsewhere).unwrap_err();
    assert!(format!("{second:#}").contains("already open"), "{second:#}");
    agent.stop().await.unwrap();
    assert!(!config.socket_path().exists());
}

#[tokio::test]
async fn credentials_that_are_of_no_use_stop_the_link_alone() {
    let good = Credentials {
        key_pem: "nonsense".into(),
        certificate_pem: "nonsense".into(),
        ca_pem: "nonsense".into(),
        identity: Identity {
            tenant: TenantId::parse("acme").unwrap(),
            device: DeviceId::parse("pump-7").unwrap(),
            server: "https://control.example".into(),
            mqtt_host: "control.example".into(),
            mqtt_port: 8883,
            desired_key: Digest([7; 32]),
        },
    };
    let spoil = [
        |_: &Path| {},
        |file: &Path| {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o640)).unwrap();
        },
        |file: &Path| std::fs::write(file, "half a fi").unwrap(),
    ];
    for (spoil, device) in spoil.into_iter().zip([Some("pump-7"), Some("pump-7"), None]) {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        good.store(&config.data_dir).unwrap();
        spoil(&config.data_dir.join("credentials.toml"));
        let agent = Agent::start(&config).unwrap();
        let status = status(&config).await;
        assert!(status.link.starts_with("unusable: "), "{}", status.link);
        assert!(status.link.contains("enrol the device again") && !status.linked);
        assert_eq!(status.device.as_deref(), device);
        assert_eq!(start_and_wait(&config, "manual").await.status, RunStatus::Completed);
        agent.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_wrong_workflow_stops_the_start_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let path = dir.path().join("workflows/bad.yaml");
    std::fs::write(path, "workflow: bad\nsteps:\n  - { id: a, delya: 1m }\n").unwrap();
    let error = Agent::start(&config).unwrap_err().to_string();
    assert!(error.contains("bad.yaml") && error.contains("delay"), "{error}");
}

const CAME: &str = "workflow: came
mode: parallel
max: 1000
triggers:
  - { id: t, file: { path: 'inbox/*.csv', settle: 0 }, inputs: { name: '${ trigger.event + \" \" + trigger.name }' } }
inputs: { name: { type: string } }
steps: [{ id: a, set: { x: 1 } }]
outputs: { name: '${ inputs.name }' }
";

/// What the files that have come were called.
async fn came(config: &Config) -> Vec<String> {
    let Answer::Runs(rows) = ask(config, Request::Runs { limit: 100 }).await else {
        panic!("a list");
    };
    let mut names = Vec::new();
    for row in rows {
        let Answer::Run(run) = ask(config, Request::Show { run: row.run }).await else {
            panic!("a run");
        };
        names.extend(run.outputs.map(|one| one["name"].as_str().unwrap().to_owned()));
    }
    names
}

/// Writes files until one of them has started a run: what is there at the first look does not.
async fn write_until_seen(config: &Config, inbox: &Path) {
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    for n in 0.. {
        std::fs::write(inbox.join(format!("{n}.csv")), "x").unwrap();
        let next = tokio::time::Instant::now() + Duration::from_secs(3);
        while tokio::time::Instant::now() < next {
            if !came(config).await.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
        assert!(next < until, "no file has started a run");
    }
}

#[tokio::test]
async fn files_start_runs_also_those_that_came_while_the_agent_was_down() {
    let dir = tempfile::tempdir().unwrap();
    let inbox = dir.path().join("inbox");
    std::fs::create_dir_all(dir.path().join("workflows")).unwrap();
    std::fs::create_dir(&inbox).unwrap();
    std::fs::write(dir.path().join("workflows/came.yaml"), CAME).unwrap();
    let workflows = dir.path().join("workflows");
    let config = Config {
        data_dir: dir.path().join("data"),
        standalone: Some(Standalone { workflows, plugins: None }),
        ..Config::default()
    };
    let refused = Agent::start(&config).unwrap_err();
    assert!(format!("{refused:#}").contains("[files]"), "{refused:#}");
    let files = [("inbox".to_owned(), inbox.clone())].into();
    let config = Config { files, ..config };
    let agent = Agent::start(&config).unwrap();
    write_until_seen(&config, &inbox).await;
    agent.stop().await.unwrap();
    std::fs::write(inbox.join("down.csv"), "1").unwrap();
    let agent = Agent::start(&config).unwrap();
    let until = tokio::time::Instant::now() + Duration::from_secs(60);
    let names = loop {
        let names = came(&config).await;
        if names.contains(&"created down.csv".to_owned()) {
            break names;
        }
        assert!(tokio::time::Instant::now() < until, "{names:?}");
        tokio::task::yield_now().await;
    };
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "none twice: {names:?}");
    agent.stop().await.unwrap();
}
