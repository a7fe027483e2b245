//! An agent with no network at all: its start, and very many runs that wait.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::machine::rss_bytes;
use crate::steps::{At, FIVE, Measured, run_at_once, start_runs};
use crate::{FIVES, RUNS};

/// Workflows whose runs wait, and runs of each: as many as one agent has at most.
const WORKFLOWS: u64 = 100;
const RUNS_OF_EACH: u64 = 1_000;
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// An agent of its own directory, ended with this value.
pub(crate) struct Alone {
    process: Child,
    pub(crate) at: At,
}

impl Alone {
    /// Makes a configuration; `plugins` may be absent.
    pub(crate) fn configure(dir: &Path, plugins: Option<&Path>) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(dir.join("workflows"))?;
        let mut text = format!(
            "data_dir = {:?}\n[standalone]\nworkflows = {:?}\n",
            dir.join("data"),
            dir.join("workflows")
        );
        if let Some(plugins) = plugins {
            text.push_str(&format!("plugins = {:?}\n", plugins.canonicalize()?));
        }
        let config = dir.join("config.toml");
        std::fs::write(&config, text)?;
        Ok(config)
    }

    pub(crate) fn start(agent: &Path, dir: &Path, config: &Path) -> std::io::Result<Self> {
        let process = Command::new(agent)
            .args(["run", "--config", &config.to_string_lossy()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let at = At { pid: process.id(), socket: dir.join("data/agent.sock") };
        Ok(Self { process, at })
    }

    /// Asks until there is an answer.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        ask: impl Fn(&At) -> Option<T>,
    ) -> std::io::Result<T> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(answer) = ask(&self.at) {
                return Ok(answer);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(std::io::Error::other(format!("{what}: not in {} s", PATIENCE.as_secs())))
    }

    fn until_unsettled(&self, runs: u64) -> std::io::Result<()> {
        self.until("runs that wait", |agent| {
            let answer = agent.ask(&json!({ "op": "status" }))?;
            (answer["status"]["unsettled"].as_u64() == Some(runs)).then_some(())
        })
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// From the process's start to the start of the first step of a run.
pub(crate) fn start_to_first_step_ms(
    agent: &Path,
    root: &Path,
    dir: &Path,
) -> std::io::Result<f64> {
    let config = Alone::configure(dir, Some(&root.join("target/plugins")))?;
    std::fs::write(
        dir.join("workflows/first.yaml"),
        "workflow: first\nversion: \"1\"\ntriggers:\n  - { id: boot, startup: {} }\nsteps:\n  - \
         { id: one, plugin: json-transform@^0.1, with: {device: d, sensor: s, samples: [1]} }\n",
    )?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let agent = Alone::start(agent, dir, &config)?;
    // As the agent itself stamped it, in wall milliseconds.
    let started = agent.until("a first step", |agent| {
        let runs = agent.ask(&json!({"op": "runs", "limit": 1}))?;
        let run = runs["runs"][0]["run"].as_str()?;
        let shown = agent.ask(&json!({"op": "show", "run": run}))?;
        shown["run"]["steps"][0]["started_wall_ms"].as_f64()
    })?;
    Ok(started - wall.as_secs_f64() * 1000.0)
}

/// Workflows of five steps without a fleet: what the engine costs, and not the way home.
pub(crate) fn five(agent: &Path, root: &Path, dir: &Path) -> std::io::Result<Measured> {
    let config = Alone::configure(dir, Some(&root.join("target/plugins")))?;
    std::fs::write(dir.join("workflows/five.yaml"), FIVE.document())?;
    let agent = Alone::start(agent, dir, &config)?;
    agent.until("a status", |agent| agent.ask(&json!({ "op": "status" })))?;
    run_at_once(&agent.at, &FIVE, RUNS, 1)?;
    run_at_once(&agent.at, &FIVE, FIVES.0, FIVES.1)
}

/// What very many runs cost that do nothing but wait.
pub(crate) struct Waiting {
    pub(crate) rss_bytes: f64,
    pub(crate) restart_ms: f64,
}

/// Begins 100,000 runs that wait for a signal, kills the agent and starts it again.
pub(crate) fn waiting(agent: &Path, dir: &Path) -> std::io::Result<Waiting> {
    let config = Alone::configure(dir, None)?;
    for number in 0..WORKFLOWS {
        std::fs::write(
            dir.join(format!("workflows/w{number}.yaml")),
            format!(
                "workflow: w{number}\nversion: \"1\"\nmode: parallel\nmax: {RUNS_OF_EACH}\n\
                 triggers:\n  - {{ id: by_hand, manual: {{}} }}\nsteps:\n  - \
                 {{ id: hold, wait: {{ signal: go }} }}\n"
            ),
        )?;
    }
    let first = Alone::start(agent, dir, &config)?;
    first.until("a status", |agent| agent.ask(&json!({ "op": "status" })))?;
    for number in 0..WORKFLOWS {
        start_runs(&first.at.socket, &format!("w{number}"), RUNS_OF_EACH)?;
    }
    first.until_unsettled(WORKFLOWS * RUNS_OF_EACH)?;
    drop(first);
    let begun = Instant::now();
    let second = Alone::start(agent, dir, &config)?;
    second.until_unsettled(WORKFLOWS * RUNS_OF_EACH)?;
    let restart_ms = begun.elapsed().as_secs_f64() * 1000.0;
    Ok(Waiting { rss_bytes: rss_bytes(second.at.pid)?, restart_ms })
}
