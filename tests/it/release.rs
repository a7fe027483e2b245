//! The agent as devices get it: its size, and guests that mean harm on its real worker stacks.
//! What a guest can do to the interpreter differs between builds, so this is not left to the
//! development build. `make release` makes what is needed here.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use openclaw_protocol::run::{Run, RunStatus};
use serde_json::Value;

#[path = "../../agent/sandbox/tests/hostile/shapes.rs"]
mod shapes;

/// The most that the stripped program may weigh, in bytes.
const SIZE: u64 = 6_000_000;
/// When a guest is told to stop, in milliseconds; it must have stopped at twice that.
const WALL_MS: i64 = 2_000;
/// What a plugin may hold, the native stack of its worker, and the agent itself, in KiB.
const RSS_KIB: u64 = (8 + 8 + 16) * 1024;
/// How long the agent may take to come up or go down.
const SOON: Duration = Duration::from_secs(30);
/// How long all guests at once may take, on a machine that is busy with other things too.
const SETTLED: Duration = Duration::from_secs(120);
/// What the guests are granted.
const GRANTS: &str = "[permissions]\nfiles = [\"proc\"]\ntime = true\nrandom = true\nkv = \
                      [\"workflow\", \"plugin\"]\nmqtt_publish = [\"plant/+/state\"]\ntcp = \
                      [\"plc.example:502\"]\n";
/// How a call of a hostile guest may end. None of these guests is ever content.
const ENDS: [&str; 7] = [
    "timeout",
    "plugin.fuel",
    "plugin.trap",
    "plugin.memory",
    "plugin.output",
    "plugin.error",
    "plugin.load",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn built(path: &str) -> PathBuf {
    let base =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let path = base.join("release").join(path);
    assert!(path.exists(), "{} is not there: `make release` builds it", path.display());
    path
}

#[test]
fn the_agent_is_small() {
    let bytes = std::fs::metadata(built("openclaw-agent")).expect("a file").len();
    assert!(bytes <= SIZE, "{bytes} bytes");
}

/// The control of the hostile set: without our slices this very build of the interpreter is
/// killed by a guest.
#[test]
fn control_without_slices_the_release_build_dies() {
    let status = Command::new(built("examples/one_big_slice"))
        .stderr(Stdio::null())
        .status()
        .expect("the control runs");
    assert!(status.signal().is_some(), "the control ended by itself: {status}");
}

/// An agent alone, of the release build, with the hostile guests and one that means well.
struct Alone {
    process: Child,
    config: PathBuf,
}

impl Alone {
    fn start(dir: &Path) -> Self {
        let config = dir.join("agent.toml");
        let text = format!(
            "data_dir = {:?}\n[standalone]\nworkflows = {:?}\nplugins = {:?}\n[files]\nproc = \
             \"/proc\"\n",
            dir.join("data"),
            dir.join("workflows"),
            dir.join("plugins"),
        );
        std::fs::write(&config, text).expect("the configuration");
        let log = std::fs::File::create(dir.join("agent.log")).expect("a log");
        let process = Command::new(built("openclaw-agent"))
            .args(["run", "--config"])
            .arg(&config)
            .stderr(log)
            .spawn()
            .expect("the agent starts");
        let agent = Self { process, config };
        let until = Instant::now() + SOON;
        while !agent.ask(&["status"]).status.success() {
            assert!(Instant::now() < until, "the agent does not come up");
            std::thread::yield_now();
        }
        agent
    }

    fn ask(&self, words: &[&str]) -> Output {
        Command::new(built("openclaw-agent"))
            .args(words)
            .args(["-o", "json", "--config"])
            .arg(&self.config)
            .output()
            .expect("the agent's command line runs")
    }

    fn run(&self, workflow: &str) -> Run {
        let output = self.ask(&["run", workflow, "--wait"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("{workflow}: {e}: {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Starts a run and does not wait for it; gives its id.
    fn begin(&self, workflow: &str) -> String {
        let answer: Value =
            serde_json::from_slice(&self.ask(&["run", workflow]).stdout).expect("an answer");
        answer["run"].as_str().expect("the id of a run").to_owned()
    }

    /// The run at its end. The agent may be starting anew meanwhile.
    fn settled(&self, run: &str) -> Run {
        let until = Instant::now() + SETTLED;
        loop {
            let shown = serde_json::from_slice::<Run>(&self.ask(&["show", run]).stdout);
            if let Ok(shown) = shown
                && shown.status.is_settled()
            {
                return shown;
            }
            assert!(Instant::now() < until, "{run} does not settle");
        }
    }

    /// Its process as it says itself, and its resident memory in KiB.
    fn health(&self) -> (u64, u64) {
        let status: Value =
            serde_json::from_slice(&self.ask(&["status"]).stdout).expect("a status");
        let rss = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.process.id()))
            .expect("the agent lives");
        let line = rss.lines().find(|l| l.starts_with("Rss:")).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|n| n.parse().ok());
        (status["pid"].as_u64().unwrap_or_default(), kib.expect("a number of KiB"))
    }

    fn neighbour_is_well(&self, after: &str) {
        let run = self.run("neighbour");
        assert_eq!(run.status, RunStatus::Completed, "after {after}: {:?}", run.error);
    }
}

impl Alone {
    /// Ends the process, cleanly or not.
    fn end(mut self, cleanly: bool) {
        assert!(self.process.try_wait().expect("its state").is_none(), "the agent has died");
        if cleanly {
            let pid = self.process.id().to_string();
            let told = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
            assert!(told.success());
            assert!(self.process.wait().expect("its end").success(), "it stops cleanly");
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(path: PathBuf, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("the directory");
    std::fs::write(path, bytes).expect("a file");
}

fn manifest(name: &str, more: &str) -> String {
    format!("name = {name:?}\nversion = \"1.0.0\"\ndescription = \"means harm\"\n{more}")
}

/// A plugin that means well, and its workflow.
fn lay_out_neighbour(dir: &Path) {
    for file in ["plugin.toml", "plugin.wasm"] {
        let from = root().join("target/plugins/json-transform").join(file);
        let bytes = std::fs::read(&from).expect("a plugin: `make plugins` builds it");
        write(dir.join("plugins/json-transform").join(file), bytes);
    }
    let good = serde_json::json!({"device": "d", "sensor": "s", "samples": [1, 2, 3]});
    workflow(dir, "neighbour", "json-transform", &good);
}

fn workflow(dir: &Path, name: &str, call: &str, with: &Value) {
    let text = format!(
        "workflow: {name}\nmode: parallel\nmax: 64\nsteps:\n  - {{ id: only, plugin: {call}, \
         timeout: {WALL_MS}ms, retry: {{ max_retries: 0 }}, with: {with} }}\n"
    );
    write(dir.join(format!("workflows/{name}.yaml")), text);
}

/// Lays out all guests, and a workflow for each of their actions; gives the workflows' names, and
/// whether the module must be refused.
fn lay_out(dir: &Path) -> Vec<(String, bool)> {
    let mut guests: BTreeMap<String, (Vec<u8>, bool)> = BTreeMap::new();
    let hostile = root().join("agent/sandbox/tests/hostile");
    for entry in std::fs::read_dir(hostile).expect("the hostile set") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "wat") {
            continue;
        }
        let name = path.file_stem().and_then(|n| n.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("a guest");
        guests.insert(name, (wat::parse_str(&text).expect("valid text"), false));
    }
    for shape in shapes::shapes() {
        guests.insert(shape.name.to_owned(), (shape.wasm, shape.refused.is_some()));
    }
    let mut names = Vec::new();
    for (name, (module, refused)) in guests {
        // Where it cannot be loaded, that is its end, whatever is called.
        let exports = match name.as_str() {
            "traps" | "bad-names" => {
                openclaw_sandbox::Sandbox::inspect(&module).expect("a module").exports
            }
            _ => vec!["execute".to_owned()],
        };
        let actions: String = exports.iter().map(|e| format!("[actions.{e}]\n")).collect();
        let manifest = manifest(&name, &format!("{GRANTS}{actions}"));
        write(dir.join(format!("plugins/{name}/plugin.toml")), manifest);
        write(dir.join(format!("plugins/{name}/plugin.wasm")), module);
        for export in exports {
            let workflow_name = format!("{name}-{}", export.replace('_', "-"));
            workflow(dir, &workflow_name, &format!("{name}.{export}"), &Value::Null);
            names.push((workflow_name, refused));
        }
    }
    lay_out_neighbour(dir);
    names
}

#[test]
fn hostile_guests_cost_one_step_each() {
    let dir = tempfile::tempdir().expect("a directory");
    let names = lay_out(dir.path());
    assert!(names.len() >= 85, "{} guests", names.len());
    let agent = Alone::start(dir.path());
    agent.neighbour_is_well("the start");
    let (pid, _) = agent.health();
    for (name, refused) in &names {
        let run = agent.run(name);
        assert_eq!((run.status, run.steps.len()), (RunStatus::Failed, 1), "{name}");
        let step = &run.steps[0];
        let code = step.error.as_ref().map(|e| e.code.as_str()).unwrap_or_default();
        assert!(ENDS.contains(&code), "{name}: {:?}", step.error);
        assert_eq!(code == "plugin.load", *refused, "{name}: {:?}", step.error);
        let took = step.settled_wall_ms.zip(step.started_wall_ms).map(|(end, begun)| end - begun);
        assert!(took.is_some_and(|ms| ms <= 2 * WALL_MS), "{name} took {took:?} ms");
        agent.neighbour_is_well(name);
        let (same, rss_kib) = agent.health();
        assert_eq!(same, pid, "{name} took the agent with it");
        assert!(rss_kib <= 10 * RSS_KIB, "after {name} the agent holds {rss_kib} KiB");
    }
    // And all of them at once.
    let runs: Vec<String> = names.iter().map(|(name, _)| agent.begin(name)).collect();
    for run in runs {
        let run = agent.settled(&run);
        assert_eq!(run.status, RunStatus::Failed, "{}: {:?}", run.workflow, run.error);
    }
    agent.neighbour_is_well("all at once");
    assert_eq!(agent.health().0, pid);
}

/// A module on which the interpreter itself panics. It costs its step and a thread, and where that
/// has gone on for a while the process starts anew, as the same process and with nothing lost.
#[test]
fn a_panic_of_the_interpreter_costs_one_step() {
    let dir = tempfile::tempdir().expect("a directory");
    // One local as address and as value, far up in memory: in wasmi 2.0.0 there is no such store.
    let store = "(local i32) i32.const 1 local.tee 0 local.get 0 i32.add local.tee 0 local.get 0";
    let text =
        format!(r#"(module (memory 2) (func (export "execute") {store} i32.store offset=70000))"#);
    let module = wat::parse_str(text).expect("valid text");
    let inspected = openclaw_sandbox::Sandbox::inspect(&module);
    assert!(matches!(inspected, Err(openclaw_sandbox::LoadError::Engine)), "{inspected:?}");
    write(dir.path().join("plugins/panics/plugin.toml"), manifest("panics", ""));
    write(dir.path().join("plugins/panics/plugin.wasm"), module);
    workflow(dir.path(), "panics", "panics", &Value::Null);
    lay_out_neighbour(dir.path());
    let agent = Alone::start(dir.path());
    let (pid, _) = agent.health();
    let mut resumed = Vec::new();
    for _ in 0..6 {
        let run = agent.settled(&agent.begin("panics"));
        assert_eq!((run.status, run.steps.len()), (RunStatus::Failed, 1));
        let step = &run.steps[0];
        let code = step.error.as_ref().map(|e| e.code.as_str());
        assert_eq!(code, Some("plugin.trap"), "{:?}", step.error);
        resumed.push(run.resumed);
        agent.neighbour_is_well("a panic");
        assert_eq!(agent.health().0, pid);
    }
    assert_eq!(resumed, [0, 0, 0, 0, 1, 0], "the fifth met a process with too many lost threads");
}

/// Spoils a file: bits flip, it ends too early, a page is zero.
fn spoil(path: &Path, number: usize) {
    let mut bytes = std::fs::read(path).expect("the database");
    let place = |n: usize| (number * 7_919 + n * 104_729) % bytes.len();
    let (places, page): (Vec<usize>, usize) = ((0..4).map(place).collect(), place(9) / 4_096);
    match number % 4 {
        0 => bytes.truncate(places[0]),
        1 => bytes[page * 4_096..][..4_096].fill(0),
        _ => places.iter().for_each(|at| bytes[*at] ^= 1 << (at % 8)),
    }
    std::fs::write(path, bytes).expect("a damaged database");
}

/// The release build does not unwind: what the database's engine makes of a damaged file must not
/// end it.
#[test]
fn damages_of_the_database_cost_no_process() {
    let dir = tempfile::tempdir().expect("a directory");
    lay_out_neighbour(dir.path());
    let database = dir.path().join("data/agent.redb");
    for number in 0..24 {
        let agent = Alone::start(dir.path());
        agent.neighbour_is_well(&format!("damage {number}"));
        assert_eq!(agent.health().0, u64::from(agent.process.id()), "it is the process it was");
        agent.end(number % 3 > 0);
        spoil(&database, number);
    }
    Alone::start(dir.path()).neighbour_is_well("all damages");
    let names = std::fs::read_dir(dir.path().join("data")).expect("the data folder");
    let is_aside = |name: &std::ffi::OsStr| name.to_string_lossy().contains("damaged");
    let aside = names.filter(|entry| is_aside(&entry.as_ref().expect("an entry").file_name()));
    assert!(aside.count() > 0, "something was damaged");
}
