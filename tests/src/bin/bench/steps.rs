//! Workflows of plugin steps, and what running them costs an agent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openclaw::dev::world::World;
use serde_json::{Value, json};

use crate::machine::cpu_us;
use crate::number;

/// A workflow of equal plugin steps, one after the other.
pub(crate) struct Shape {
    pub(crate) workflow: &'static str,
    pub(crate) steps: u64,
    /// The device named in the input; the plugin puts it into its output.
    device: &'static str,
}

/// The usual: a long run of the plugin's own case.
pub(crate) const STEPS: Shape = Shape { workflow: "bench-steps", steps: 20, device: "pump-7" };
/// The same, short.
pub(crate) const FIVE: Shape = Shape { workflow: "bench-five", steps: 5, device: "pump-7" };
/// Its output has 200 bytes.
pub(crate) const RECORDED: Shape =
    Shape { workflow: "bench-recorded", steps: 20, device: "pump-7-in-the-old-harbour-house" };

impl Shape {
    pub(crate) fn document(&self) -> String {
        let mut input = batch_of_295_bytes();
        input["device"] = json!(self.device);
        let mut text = format!(
            "workflow: {}\nversion: \"1\"\nmode: parallel\nmax: 1000\ntriggers:\n  - \
             {{ id: by_hand, manual: {{}} }}\nsteps:\n",
            self.workflow
        );
        for step in 1..=self.steps {
            text.push_str(&format!(
                "  - id: s{step}\n    plugin: json-transform@^0.1\n    effects: idempotent\n    \
                 with: {input}\n"
            ));
        }
        text
    }
}

/// The input of the benchmark's step, as the plugin's own case has it.
pub(crate) fn batch_of_295_bytes() -> Value {
    let text = include_str!(
        "../../../../plugins-wasm/plugins/json-transform/cases/a-batch-of-295-bytes.json"
    );
    serde_json::from_str::<Value>(text).map_or(Value::Null, |case| case["input"].clone())
}

/// What a plugin step cost.
pub(crate) struct Measured {
    pub(crate) syncs_per_step: f64,
    pub(crate) bytes_per_step: f64,
    pub(crate) journal_per_step: f64,
    pub(crate) steps_per_second: f64,
    pub(crate) cpu_us_per_step: f64,
}

/// An agent's process that is measured.
pub(crate) struct At {
    pub(crate) pid: u32,
    /// Its local socket.
    pub(crate) socket: PathBuf,
}

impl At {
    /// The first agent of a fleet.
    pub(crate) fn first(world: &World) -> Self {
        let agent = &world.agents[0];
        Self { pid: agent.pid().unwrap_or_default(), socket: agent.socket() }
    }

    /// Asks the agent something; nothing where it does not answer (yet).
    pub(crate) fn ask(&self, wish: &Value) -> Option<Value> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        writeln!(stream, "{wish}").ok()?;
        let answer = BufReader::new(stream).lines().next()?.ok()?;
        serde_json::from_str(&answer).ok()
    }

    fn status(&self) -> std::io::Result<Value> {
        let answer = self.ask(&json!({ "op": "status" }));
        answer.map(|mut all| all["status"].take()).ok_or_else(|| std::io::Error::other("no status"))
    }
}

/// Starts `count` runs at once, `times` times, and waits each time until all are settled.
pub(crate) fn run_at_once(
    at: &At,
    shape: &Shape,
    count: u64,
    times: u64,
) -> std::io::Result<Measured> {
    let (before, cpu_before, begun) = (at.status()?, cpu_us(at.pid)?, Instant::now());
    let mut after = Value::Null;
    for _ in 0..times {
        let last = start_runs(&at.socket, shape.workflow, count)?;
        // Asked once, because answering costs the agent, too; the last to begin may not end last.
        at.ask(&json!({ "op": "wait", "run": last }));
        after = at.status()?;
        while after["unsettled"] != 0 {
            std::thread::sleep(Duration::from_millis(5));
            after = at.status()?;
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let steps = number(count * times * shape.steps);
    let grown = |name: &str| {
        let count = |status: &Value| status[name].as_u64().unwrap_or_default();
        number(count(&after).saturating_sub(count(&before)))
    };
    Ok(Measured {
        syncs_per_step: grown("syncs") / steps,
        bytes_per_step: grown("written_bytes") / steps,
        journal_per_step: grown("journal_bytes") / steps,
        steps_per_second: steps / elapsed,
        cpu_us_per_step: (cpu_us(at.pid)? - cpu_before) / steps,
    })
}

/// Who asks for runs at once, each over a connection of its own.
const ASKING: u64 = 12;

/// Asks for runs, as many at once as there are askers, without waiting until they are done. Gives the
/// last one's id.
pub(crate) fn start_runs(socket: &Path, workflow: &str, count: u64) -> std::io::Result<String> {
    let ask = json!({"op": "start", "workflow": workflow, "inputs": {}}).to_string();
    let askers = (0..ASKING.min(count)).map(|_| {
        let stream = UnixStream::connect(socket)?;
        Ok((stream.try_clone()?, BufReader::new(stream).lines()))
    });
    let mut askers = askers.collect::<std::io::Result<Vec<_>>>()?;
    let (mut left, mut last) = (count, String::new());
    while left > 0 {
        let now = usize::try_from(left.min(ASKING)).unwrap_or_default();
        for (to, _) in &mut askers[..now] {
            writeln!(to, "{ask}")?;
        }
        for (_, lines) in &mut askers[..now] {
            let answer = lines.next().transpose()?.unwrap_or_default();
            let run = serde_json::from_str::<Value>(&answer).unwrap_or_default();
            let Some(run) = run["accepted"]["run"].as_str() else {
                return Err(std::io::Error::other(answer));
            };
            run.clone_into(&mut last);
        }
        left -= now as u64;
    }
    Ok(last)
}
