//! `make bench`: figures of a release agent in a real world, with the link up, each beside what it
//! should be compared with in the same run. Writes `target/bench.json`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openclaw::Failure;
use openclaw::dev::world::{Programs, World};
use serde::Serialize;
use serde_json::{Value, json};

/// Plugin steps in one run.
const STEPS: u64 = 20;
/// Runs at once.
const RUNS: u64 = 64;
/// How long the idle agent is left alone before it is weighed.
const IDLE: Duration = Duration::from_secs(60);

/// One row of `target/bench.json`.
#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    value: f64,
    unit: &'static str,
    /// What it is compared with, and that figure.
    beside: BTreeMap<&'static str, f64>,
    /// The value over the first figure beside it.
    ratio: Option<f64>,
}

fn row(name: &'static str, value: f64, unit: &'static str, beside: &[(&'static str, f64)]) -> Row {
    let ratio = beside.first().map(|(_, other)| value / other);
    println!("{name} = {value:.3} {unit} {beside:?}");
    Row { name, value, unit, beside: beside.iter().copied().collect(), ratio }
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(bench()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure:?}");
            ExitCode::FAILURE
        }
    }
}

async fn bench() -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let agent = root.join("target/release/openclaw-agent");
    let dir = root.join("target/bench-world");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let mut rows = Vec::new();

    let syncs = fdatasync_per_second(&dir)?;
    rows.push(row("disk.fdatasync_per_s", syncs, "1/s", &[]));
    let size = std::fs::metadata(&agent)?.len();
    rows.push(row("agent.binary_bytes", number(size), "B", &[("target", 6.0 * 1024.0 * 1024.0)]));
    let bare = bare_calls_per_second(&root, &dir)?;
    let first = start_to_first_step_ms(&agent, &root, &dir.join("alone"))?;
    rows.push(row("agent.start_to_first_step_ms", first, "ms", &[("target", 100.0)]));

    let programs = Programs::find(None)?.with_agent(agent);
    let mut world = World::begin(&dir.join("world"), programs).await?;
    let outcome = in_world(&mut world, &mut rows, syncs, bare).await;
    world.end().await;
    outcome?;
    let text = serde_json::to_string_pretty(&rows).unwrap_or_default();
    std::fs::write(root.join("target/bench.json"), text)?;
    println!("written to target/bench.json");
    Ok(())
}

async fn in_world(
    world: &mut World,
    rows: &mut Vec<Row>,
    syncs: f64,
    bare: f64,
) -> Result<(), Failure> {
    world.publish_plugin("json-transform").await?;
    world.add_agent().await?;
    world.apply(&steps_workflow()).await?;
    world.deploy("bench-steps").await?;
    eprintln!("leaving the agent alone for {} s", IDLE.as_secs());
    tokio::time::sleep(IDLE).await;
    let pid = world.agents[0].pid().unwrap_or_default();
    rows.push(row("agent.idle_rss_bytes", rss_bytes(pid)?, "B", &[("target", 12.0 * 1_048_576.0)]));

    let socket = world.agents[0].socket();
    // Once to warm up: modules translated, the file grown.
    run_at_once(world, &socket, 1).await?;
    let alone = run_at_once(world, &socket, 1).await?;
    let bytes = alone.bytes_per_step;
    rows.push(row("step.written_bytes_alone", bytes, "B", &[]));
    rows.push(row("step.fsyncs_alone", alone.syncs_per_step, "1", &[("target", 1.2)]));
    run_at_once(world, &socket, RUNS).await?;
    let many = run_at_once(world, &socket, RUNS).await?;
    rows.push(row("step.written_bytes_64", many.bytes_per_step, "B", &[]));
    rows.push(row("step.fsyncs_64", many.syncs_per_step, "1", &[("target", 0.2)]));
    let beside = [("bare_calls_per_s", bare), ("disk.fdatasync_per_s", syncs)];
    rows.push(row("step.durable_per_s_64", many.steps_per_second, "1/s", &beside));
    rows.push(row("step.cpu_us", many.cpu_us_per_step, "us", &[("bare_call_us", 1e6 / bare)]));
    Ok(())
}

struct Measured {
    syncs_per_step: f64,
    bytes_per_step: f64,
    steps_per_second: f64,
    cpu_us_per_step: f64,
}

/// Starts `count` runs at once and waits until all are settled.
async fn run_at_once(world: &World, socket: &Path, count: u64) -> Result<Measured, Failure> {
    let agent = &world.agents[0];
    let pid = agent.pid().unwrap_or_default();
    let before = agent.status().await?;
    let cpu_before = cpu_us(pid)?;
    let begun = Instant::now();
    start_runs(socket, count)?;
    let after = loop {
        let now = agent.status().await?;
        if now.unsettled == 0 {
            break now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let elapsed = begun.elapsed().as_secs_f64();
    let steps = number(count * STEPS);
    Ok(Measured {
        syncs_per_step: number(after.syncs - before.syncs) / steps,
        bytes_per_step: number(after.written_bytes - before.written_bytes) / steps,
        steps_per_second: steps / elapsed,
        cpu_us_per_step: (cpu_us(pid)? - cpu_before) / steps,
    })
}

/// Asks for the runs over one connection, without waiting between them.
fn start_runs(socket: &Path, count: u64) -> std::io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut to = stream;
    let ask = json!({"op": "start", "workflow": "bench-steps", "inputs": {}}).to_string();
    for _ in 0..count {
        writeln!(to, "{ask}")?;
        let answer = lines.next().transpose()?.unwrap_or_default();
        if !answer.contains("accepted") {
            return Err(std::io::Error::other(answer));
        }
    }
    Ok(())
}

fn steps_workflow() -> String {
    let mut text =
        "workflow: bench-steps\nversion: \"1\"\nmode: parallel\nmax: 64\ntriggers:\n  - \
                    { id: by_hand, manual: {} }\nsteps:\n"
            .to_owned();
    for step in 1..=STEPS {
        text.push_str(&format!(
            "  - id: s{step}\n    plugin: json-transform@^0.1\n    with: {}\n",
            batch_of_295_bytes()
        ));
    }
    text
}

/// The input of the benchmark's step, as the plugin's own case has it.
fn batch_of_295_bytes() -> Value {
    let text = include_str!(
        "../../../plugins-wasm/plugins/json-transform/cases/a-batch-of-295-bytes.json"
    );
    serde_json::from_str::<Value>(text).map_or(Value::Null, |case| case["input"].clone())
}

/// How many 4-KiB write + fdatasync this disk does a second.
fn fdatasync_per_second(dir: &Path) -> std::io::Result<f64> {
    let file = File::create(dir.join("sync"))?;
    let page = [7_u8; 4096];
    file.write_all_at(&page, 0)?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        file.write_all_at(&page, 0)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(number(count) / begun.elapsed().as_secs_f64())
}

/// The same calls in a bare loop of the same build: no engine, no database.
fn bare_calls_per_second(root: &Path, dir: &Path) -> Result<f64, Failure> {
    let input = dir.join("input.json");
    std::fs::write(&input, batch_of_295_bytes().to_string())?;
    let output = std::process::Command::new(root.join("target/release/examples/bare_loop"))
        .args([root.join("target/plugins/json-transform"), input])
        .arg("2")
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let calls = text.trim().parse();
    calls.map_err(|_| {
        std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()).into()
    })
}

/// From the process's start to the start of the first step of a run, with no network at all.
fn start_to_first_step_ms(agent: &Path, root: &Path, dir: &Path) -> Result<f64, Failure> {
    std::fs::create_dir_all(dir.join("workflows"))?;
    std::fs::write(
        dir.join("workflows/first.yaml"),
        "workflow: first\nversion: \"1\"\ntriggers:\n  - { id: boot, startup: {} }\nsteps:\n  - \
         { id: one, plugin: json-transform@^0.1, with: {device: d, sensor: s, samples: [1]} }\n",
    )?;
    let config = dir.join("config.toml");
    std::fs::write(
        &config,
        format!(
            "data_dir = {:?}\n[standalone]\nworkflows = {:?}\nplugins = {:?}\n",
            dir.join("data"),
            dir.join("workflows"),
            root.join("target/plugins").canonicalize()?
        ),
    )?;
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut process = std::process::Command::new(agent)
        .args(["run", "--config", &config.to_string_lossy()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let started = first_step_started(&dir.join("data"), Duration::from_secs(20));
    process.kill()?;
    process.wait()?;
    let started = started.ok_or_else(|| std::io::Error::other("no step was started in 20 s"))?;
    Ok(started - wall.as_secs_f64() * 1000.0)
}

/// When the first step was started, as the agent itself stamped it, in wall milliseconds.
fn first_step_started(data: &Path, within: Duration) -> Option<f64> {
    let deadline = Instant::now() + within;
    let ask = |line: Value| -> Option<Value> {
        let mut stream = UnixStream::connect(data.join("agent.sock")).ok()?;
        writeln!(stream, "{line}").ok()?;
        let answer = BufReader::new(stream).lines().next()?.ok()?;
        serde_json::from_str(&answer).ok()
    };
    while Instant::now() < deadline {
        let runs = ask(json!({"op": "runs", "limit": 1}));
        let run = runs.as_ref().and_then(|r| r["runs"][0]["run"].as_str()).map(str::to_owned);
        let shown = run.and_then(|run| ask(json!({"op": "show", "run": run})));
        let started = shown.and_then(|s| s["run"]["steps"][0]["started_wall_ms"].as_f64());
        if started.is_some() {
            return started;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Resident memory as the kernel accounts it.
fn rss_bytes(pid: u32) -> std::io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find(|l| l.starts_with("Rss:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    Ok(kib * 1024.0)
}

/// CPU time of a process so far, all its threads, in microseconds.
fn cpu_us(pid: u32) -> std::io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    // Linux counts in hundredths of a second for user space, whatever the kernel's own tick.
    Ok(ticks * 10_000.0)
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
