//! Workflows of plugin steps, and what running them costs an agent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use openclaw::Failure;
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

/// Starts `count` runs at once and waits until all are settled.
pub(crate) async fn run_at_once(
    world: &World,
    shape: &Shape,
    count: u64,
) -> Result<Measured, Failure> {
    let agent = &world.agents[0];
    let pid = agent.pid().unwrap_or_default();
    let before = agent.status().await?;
    let cpu_before = cpu_us(pid)?;
    let begun = Instant::now();
    start_runs(&agent.socket(), shape.workflow, count)?;
    let after = loop {
        let now = agent.status().await?;
        if now.unsettled == 0 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let elapsed = begun.elapsed().as_secs_f64();
    let steps = number(count * shape.steps);
    Ok(Measured {
        syncs_per_step: number(after.syncs - before.syncs) / steps,
        bytes_per_step: number(after.written_bytes - before.written_bytes) / steps,
        journal_per_step: number(after.journal_bytes - before.journal_bytes) / steps,
        steps_per_second: steps / elapsed,
        cpu_us_per_step: (cpu_us(pid)? - cpu_before) / steps,
    })
}

/// Who asks for runs at once, each over a connection of its own.
const ASKING: u64 = 12;

/// Asks for runs, as many at once as there are askers, without waiting until they are done.
pub(crate) fn start_runs(socket: &Path, workflow: &str, count: u64) -> std::io::Result<()> {
    let ask = json!({"op": "start", "workflow": workflow, "inputs": {}}).to_string();
    let askers = (0..ASKING.min(count)).map(|_| {
        let stream = UnixStream::connect(socket)?;
        Ok((stream.try_clone()?, BufReader::new(stream).lines()))
    });
    let mut askers = askers.collect::<std::io::Result<Vec<_>>>()?;
    let mut left = count;
    while left > 0 {
        let now = usize::try_from(left.min(ASKING)).unwrap_or_default();
        for (to, _) in &mut askers[..now] {
            writeln!(to, "{ask}")?;
        }
        for (_, lines) in &mut askers[..now] {
            let answer = lines.next().transpose()?.unwrap_or_default();
            if !answer.contains("accepted") {
                return Err(std::io::Error::other(answer));
            }
        }
        left -= now as u64;
    }
    Ok(())
}
