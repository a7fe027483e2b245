//! People speak to runs, with the programs they have: a signal from the desk, an answer from the
//! desk through a link that was cut, and an answer on the device while the control plane is gone.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use openclaw::dev::find_program;
use openclaw::dev::world::World;
use openclaw_protocol::run::{Run, RunStatus, StepStatus};
use serde_json::Value;

const ASKS: &str = "workflow: asks
mode: parallel
steps:
  - { id: hear, wait: { signal: go } }
  - { id: say, log: { level: warn, message: 'valve ${ steps.hear.output.message.data.valve }' } }
  - id: ask
    approval:
      prompt: 'open ${ steps.hear.output.message.data.valve }?'
      roles: [operator]
      choices: ['yes', 'no']
      form: { why: { type: string } }
outputs: { choice: '${ steps.ask.output.choice }', by: '${ steps.ask.output.by }' }
";
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The desk's program, logged in as an admin.
struct Desk<'a> {
    dir: &'a Path,
}

impl Desk<'_> {
    fn try_run(&self, args: &[&str]) -> Output {
        Command::new(find_program("openclaw").expect("it is built"))
            .args(args)
            .env("OPENCLAW_CONFIG_DIR", self.dir)
            .output()
            .expect("it runs")
    }

    fn run(&self, args: &[&str]) -> String {
        let done = self.try_run(args);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{args:?}: {said}");
        String::from_utf8(done.stdout).expect("text") + &said
    }

    fn data(&self, args: &[&str]) -> Value {
        let done = self.try_run(&[args, &["-o", "json"]].concat());
        serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&done.stderr)))
    }

    /// The open approvals, as soon as there are so many.
    fn approvals(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Value::Array(open) = self.data(&["run", "approvals"]) else { panic!("a list") };
            if open.len() == count {
                return open;
            }
            assert!(Instant::now() < deadline, "not {count}: {open:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// On the device itself.
fn on_device(world: &Path, args: &[&str]) -> String {
    let done = Command::new(find_program("openclaw-agent").expect("it is built"))
        .arg("--config")
        .arg(world.join("agents/agent-1/config.toml"))
        .args(args)
        .output()
        .expect("it runs");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

fn log_in(world: &World, desk: &Desk<'_>) {
    use std::io::Write as _;

    let mut child = Command::new(find_program("openclaw").expect("it is built"))
        .args(["login", &world.url, "--password-stdin"])
        .env("OPENCLAW_CONFIG_DIR", desk.dir)
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(world.password.as_bytes()).expect("it reads");
    drop(stdin);
    assert!(child.wait().expect("it is ours").success());
}

fn waits(run: &Run) -> bool {
    run.steps.iter().any(|step| step.status == StepStatus::Waiting)
}

async fn play(world: &mut World, dir: &Path) {
    world.add_agent().await.expect("an agent");
    world.apply(ASKS).await.expect("it is a workflow");
    world.deploy("asks").await.expect("it is in force");
    let home = dir.join("desk");
    std::fs::create_dir_all(&home).expect("a directory");
    let desk = Desk { dir: &home };
    log_in(world, &desk);
    let (first, second) = (start(world).await, start(world).await);
    let name = format!("agent-1/{first}");
    assert!(desk.run(&["run", "get", &name]).contains("signal"), "it waits for a signal");
    desk.run(&["run", "signal", &name, "go", "--data", "{\"valve\": 7}"]);
    on_device(dir, &["signal", &second, "go", "{\"valve\": 8}"]);

    let open = desk.approvals(2);
    let one = open.iter().find(|one| one["run"] == first.as_str()).expect("the first asks");
    assert_eq!((&one["prompt"], &one["step"]), (&"open 7?".into(), &"ask".into()));
    let shown = desk.run(&["run", "get", &name]);
    assert!(shown.contains("WAITING FOR") && shown.contains("approval: open 7? (yes | no)"));
    assert!(shown.contains("warn  say: valve 7"), "{shown}");

    // An answer that finds the link cut goes when it is there again.
    world.agents[0].wire.cut();
    desk.run(&["run", "approve", &name, "ask", "--choice", "yes", "--form", "{\"why\": \"dry\"}"]);
    world.agents[0].wire.mend();
    let watched = desk.run(&["run", "watch", &name]);
    assert!(watched.contains("warn  say: valve 7"), "{watched}");
    let end = desk.data(&["run", "get", &name]);
    assert_eq!(end["run"]["outputs"], serde_json::json!({ "choice": "yes", "by": "user:admin" }));
    let late = desk.try_run(&["run", "approve", &name, "ask", "--choice", "no"]);
    assert_eq!(late.status.code(), Some(7), "{}", String::from_utf8_lossy(&late.stderr));

    // With the control plane gone, whoever stands at the device answers.
    world.stop_server(true).await;
    let shown = on_device(dir, &["show", &second]);
    assert!(shown.contains("for approval: open 8? (yes | no)"), "{shown}");
    on_device(
        dir,
        &["approve", &second, "ask", "no", "--form", "{\"why\": \"wet\"}", "--by", "Ann"],
    );
    world.start_server().await.expect("it is there again");
    let run = world.watch_run(0, &second, |run| run.status.is_settled()).await.expect("it ends");
    assert_eq!(run.status, RunStatus::Completed);
    let outputs = run.outputs.expect("it has some");
    assert_eq!(outputs, serde_json::json!({ "choice": "no", "by": "Ann" }));
    desk.approvals(0);
}

async fn start(world: &World) -> String {
    let run = world.start_run("asks", 0).await.expect("it is accepted");
    world.watch_run(0, &run, waits).await.expect("it waits");
    run
}

#[test]
fn signals_and_answers_reach_runs_from_the_desk_and_on_the_device() {
    crate::in_world(play);
}
