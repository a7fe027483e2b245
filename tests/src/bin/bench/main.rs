//! `make bench`: figures of a release agent, each beside what it should be compared with in the
//! same run. Writes `target/bench.json`. `bench PART…` (`loops`, `start`, `five`, `plugins`, `waiting`,
//! `world`) measures those alone, and writes nothing.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

mod alone;
mod machine;
mod plugins;
mod steps;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use openclaw::Failure;
use openclaw::dev::world::{Programs, World};
use serde::Serialize;

use machine::rss_bytes;
use steps::{At, FIVE, Measured, RECORDED, STEPS, Shape, run_at_once};

/// Runs at once.
const RUNS: u64 = 64;
/// Workflows of five steps at once, and how often: enough for a clock of hundredths of a second.
const FIVES: (u64, u64) = (4 * RUNS, 8);
/// How long the idle agent is left alone before it is weighed.
const IDLE: Duration = Duration::from_secs(60);

/// One row of `target/bench.json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is compared with, and that figure.
    beside: BTreeMap<&'static str, f64>,
    /// The value over the first figure beside it.
    ratio: Option<f64>,
}

fn row(name: &str, value: f64, unit: &'static str, beside: &[(&'static str, f64)]) -> Row {
    let ratio = beside.first().map(|(_, other)| value / other);
    println!("{name} = {value:.3} {unit} {beside:?}");
    Row { name: name.to_owned(), value, unit, beside: beside.iter().copied().collect(), ratio }
}

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    match runtime.block_on(bench(&Wanted(std::env::args().skip(1).collect()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure:?}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured: the parts that are named, or all of them.
struct Wanted(Vec<String>);

impl Wanted {
    fn is(&self, part: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|one| one == part)
    }
}

async fn bench(wanted: &Wanted) -> Result<(), Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let agent = root.join("target/release/openclaw-agent");
    let dir = root.join("target/bench-world");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir)?;
    let mut rows = Vec::new();

    let syncs = machine::fdatasync_per_second(&dir)?;
    rows.push(row("disk.fdatasync_per_s", syncs, "1/s", &[]));
    let size = std::fs::metadata(&agent)?.len();
    rows.push(row("agent.binary_bytes", number(size), "B", &[("target", 6_000_000.0)]));
    let bare = machine::bare_calls_per_second(&root, &dir)?;
    if wanted.is("loops") {
        let warm = machine::expression_ns(&root)?;
        rows.push(row("expr.warm_ns", warm, "ns", &[("target", 200.0)]));
        let same = machine::corpus_ok_ratio(&root)?;
        rows.push(row("replay.corpus_ok_ratio", same, "1", &[("target", 1.0)]));
    }
    if wanted.is("start") {
        let first = alone::start_to_first_step_ms(&agent, &root, &dir.join("alone"))?;
        rows.push(row("agent.start_to_first_step_ms", first, "ms", &[("target", 100.0)]));
    }
    if wanted.is("five") {
        let five = alone::five(&agent, &root, &dir.join("five"))?;
        rows.extend(five_rows("", &five, syncs, bare));
    }
    if wanted.is("plugins") {
        rows.extend(plugins::rows(&agent, &root, &dir)?);
    }
    if wanted.is("waiting") {
        let waiting = alone::waiting(&agent, &dir.join("waiting"))?;
        rows.push(row("engine.waiting_100k_rss_bytes", waiting.rss_bytes, "B", &[]));
        rows.push(row("engine.waiting_100k_restart_ms", waiting.restart_ms, "ms", &[]));
    }
    if wanted.is("world") {
        let programs = Programs::find(None)?.with_agent(agent);
        let mut world = World::begin(&dir.join("world"), programs).await?;
        let outcome = in_world(&mut world, &mut rows, syncs, bare).await;
        world.end().await;
        outcome?;
    }
    if !wanted.0.is_empty() {
        return Ok(());
    }
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
    deploy(world, &STEPS).await?;
    eprintln!("leaving the agent alone for {} s", IDLE.as_secs());
    tokio::time::sleep(IDLE).await;
    let pid = world.agents[0].pid().unwrap_or_default();
    rows.push(row("agent.idle_rss_bytes", rss_bytes(pid)?, "B", &[("target", 12.0 * 1_048_576.0)]));

    // Once to warm up: modules translated, the file grown.
    let at = At::first(world);
    run_at_once(&at, &STEPS, 1, 1)?;
    let alone = run_at_once(&at, &STEPS, 1, 1)?;
    rows.push(row("step.written_bytes_alone", alone.bytes_per_step, "B", &[]));
    rows.push(row("step.fsyncs_alone", alone.syncs_per_step, "1", &[("target", 1.2)]));
    rows.push(row(
        "workflow5.fsyncs_per_step_alone",
        alone.syncs_per_step,
        "1",
        &[("target", 1.2)],
    ));
    run_at_once(&at, &STEPS, RUNS, 1)?;
    let many = run_at_once(&at, &STEPS, RUNS, 1)?;
    rows.push(row("step.written_bytes_64", many.bytes_per_step, "B", &[]));
    rows.push(row("step.fsyncs_64", many.syncs_per_step, "1", &[("target", 0.2)]));
    let beside = [("bare_calls_per_s", bare), ("disk.fdatasync_per_s", syncs)];
    rows.push(row("step.durable_per_s_64", many.steps_per_second, "1/s", &beside));
    rows.push(row("step.cpu_us", many.cpu_us_per_step, "us", &[("bare_call_us", 1e6 / bare)]));

    deploy(world, &FIVE).await?;
    run_at_once(&at, &FIVE, RUNS, 1)?;
    let five = run_at_once(&at, &FIVE, FIVES.0, FIVES.1)?;
    rows.extend(five_rows("_linked", &five, syncs, bare));

    deploy(world, &RECORDED).await?;
    run_at_once(&at, &RECORDED, 1, 1)?;
    let recorded = run_at_once(&at, &RECORDED, RUNS, 1)?;
    rows.push(row("step.record_bytes", recorded.journal_per_step, "B", &[("target", 300.0)]));
    Ok(())
}

/// Workflows of five steps: by an agent alone, or, `_linked`, by one that sends all of it home meanwhile.
fn five_rows(how: &str, five: &Measured, syncs: f64, bare: f64) -> [Row; 4] {
    let steps = number(FIVE.steps);
    let name = |of: &str| format!("workflow5.{of}{how}");
    let beside = [("target", 400.0), ("bare_calls_us", steps * 1e6 / bare)];
    let cpu = row(&name("cpu_us"), five.cpu_us_per_step * steps, "us", &beside);
    let a_step = five.syncs_per_step;
    let fsyncs = row(&name("fsyncs_per_step_64"), a_step, "1", &[("target", 0.1)]);
    let aim = (16.0 * syncs).min(10_000.0);
    let beside = [("target", aim), ("bare_calls_per_s", bare)];
    let speed = row(&name("durable_steps_per_s_64"), five.steps_per_second, "1/s", &beside);
    let ratio = five.steps_per_second / syncs;
    let of_disk = name("durable_steps_per_fdatasync_64");
    [cpu, fsyncs, speed, row(&of_disk, ratio, "1", &[("target", 16.0)])]
}

async fn deploy(world: &mut World, shape: &Shape) -> Result<(), Failure> {
    world.apply(&shape.document()).await?;
    world.deploy(shape.workflow).await
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}
