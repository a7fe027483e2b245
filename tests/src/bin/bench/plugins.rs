//! What plugins cost an agent: what the sandbox adds to a call, how soon a runaway guest stops, what its
//! neighbours notice of it, and what an agent weighs that has all plugins.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use openclaw::Failure;
use serde_json::{Value, json};

use crate::alone::Alone;
use crate::machine::rss_bytes;
use crate::steps::{At, batch_of_295_bytes};
use crate::{IDLE, Row, row};

/// `(module (func (export "execute") (loop (br 0))))`
const SPINS: &[u8] =
    b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x0b\x01\x07execute\0\0\
    \x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
/// When a runaway guest's time is over, and how often that is looked at.
const WALL_MS: f64 = 500.0;
const STOPS: usize = 20;
/// Runs of a neighbour in one turn, and turns, with and without a guest that spins.
const RUNS: usize = 100;
const TURNS: usize = 10;

/// All rows.
pub(crate) fn rows(agent: &Path, root: &Path, dir: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = cost(root, dir)?;
    let alone = with_all_plugins(agent, root, &dir.join("plugins-world"))?;
    std::thread::sleep(IDLE);
    let installed = rss_bytes(alone.at.pid)?;
    rows.extend(runaway(&alone.at)?);
    for name in ["neighbour", "metrics"] {
        run(&alone.at, name)?;
    }
    std::thread::sleep(IDLE);
    let used = rss_bytes(alone.at.pid)?;
    let beside = [("after_calls_bytes", used)];
    rows.push(row("agent.idle_rss_all_plugins_bytes", installed, "B", &beside));
    Ok(rows)
}

/// A call in the sandbox beside one of the engine alone, in turns.
fn cost(root: &Path, dir: &Path) -> Result<Vec<Row>, Failure> {
    let input = dir.join("input-of-295-bytes.json");
    std::fs::write(&input, batch_of_295_bytes().to_string())?;
    let program = root.join("target/release/examples/call_cost");
    let plugin = root.join("target/plugins/json-transform");
    let output = Command::new(program).arg(plugin).arg(input).arg("6").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let figures: Vec<f64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [ours, counting, plain, bulk] = figures[..] else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(std::io::Error::other(said).into());
    };
    let ratio = ours / counting;
    let beside = [
        ("target", 1.25),
        ("call_us", ours),
        ("bare_call_us", counting),
        ("bare_call_without_fuel_us", plain),
    ];
    Ok(vec![
        row("plugin.call_ratio", ratio, "1", &beside),
        row("plugin.bulk_1mib_ms", bulk, "ms", &[("target", 3.0)]),
    ])
}

/// An agent with every plugin of this repository and one that spins.
fn with_all_plugins(agent: &Path, root: &Path, dir: &Path) -> Result<Alone, Failure> {
    let plugins = dir.join("plugins");
    for entry in std::fs::read_dir(root.join("target/plugins"))? {
        let from = entry?.path();
        let to = plugins.join(from.file_name().unwrap_or_default());
        std::fs::create_dir_all(&to)?;
        for file in ["plugin.toml", "plugin.wasm"] {
            std::fs::copy(from.join(file), to.join(file))?;
        }
    }
    std::fs::create_dir_all(plugins.join("spins"))?;
    std::fs::write(plugins.join("spins/plugin.wasm"), SPINS)?;
    std::fs::write(
        plugins.join("spins/plugin.toml"),
        "name = \"spins\"\nversion = \"0.1.0\"\ndescription = \"never ends\"\n[limits]\n\
         fuel = 1_000_000_000_000\n[actions.execute]\n",
    )?;
    let config = Alone::configure(dir, Some(&plugins))?;
    let mut text = std::fs::read_to_string(&config)?;
    text.push_str("[files]\nproc = \"/proc\"\n");
    std::fs::write(&config, text)?;
    let page = json!({"url": "http://127.0.0.1:9/", "selector": "p"});
    for (name, plugin, timeout, with) in [
        ("neighbour", "json-transform", "60s", batch_of_295_bytes()),
        ("metrics", "system-metrics", "60s", Value::Null),
        ("fetch", "http", "60s", json!({"url": "http://127.0.0.1:9/"})),
        ("scrape", "web-scraping", "60s", page),
        ("runaway", "spins", "500ms", Value::Null),
        ("spinning", "spins", "600s", Value::Null),
    ] {
        let text = format!(
            "workflow: {name}\nversion: \"1\"\nmode: parallel\nmax: 8\nsteps:\n  - {{ id: only, \
             plugin: {plugin}@^0.1, timeout: {timeout}, retry: {{ max_retries: 0 }}, with: {with} }}\n"
        );
        std::fs::write(dir.join(format!("workflows/{name}.yaml")), text)?;
    }
    let alone = Alone::start(agent, dir, &config)?;
    alone.until("a status", |agent| agent.ask(&json!({ "op": "status" })))?;
    Ok(alone)
}

/// A guest that never ends: how long after its deadline its step has, and what a neighbour notices.
fn runaway(at: &At) -> Result<[Row; 2], Failure> {
    let mut late = Vec::new();
    for _ in 0..STOPS {
        let shown = run(at, "runaway")?;
        let step = &shown["run"]["steps"][0];
        let at_ms = |name: &str| step[name].as_f64().unwrap_or(f64::NAN);
        late.push(at_ms("settled_wall_ms") - at_ms("started_wall_ms") - WALL_MS);
    }
    let stops = [("target", 50.0), ("median", share(&mut late, 0.5))];
    let stopped = row("plugin.stop_after_deadline_ms", share(&mut late, 1.0), "ms", &stops);

    let (mut quiet, mut disturbed) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        latencies(at, &mut quiet)?;
        let spins = start(at, "spinning")?;
        latencies(at, &mut disturbed)?;
        at.ask(&json!({ "op": "cancel", "run": spins, "force": true }));
        at.ask(&json!({ "op": "wait", "run": spins }));
    }
    let (alone, beside_it) = (share(&mut quiet, 0.99), share(&mut disturbed, 0.99));
    let figures = [
        ("target", 2.0),
        ("p99_ms", alone),
        ("p99_disturbed_ms", beside_it),
        ("median_ms", share(&mut quiet, 0.5)),
        ("median_disturbed_ms", share(&mut disturbed, 0.5)),
    ];
    Ok([stopped, row("plugin.neighbour_p99_ratio", beside_it / alone, "1", &figures)])
}

/// Milliseconds of runs of one step, one after the other, as who asks for them sees it.
fn latencies(at: &At, into: &mut Vec<f64>) -> Result<(), Failure> {
    for _ in 0..RUNS {
        let begun = Instant::now();
        let run = start(at, "neighbour")?;
        at.ask(&json!({ "op": "wait", "run": run }));
        into.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

fn start(at: &At, workflow: &str) -> Result<String, Failure> {
    let answer = at.ask(&json!({"op": "start", "workflow": workflow, "inputs": {}}));
    let run = answer.as_ref().and_then(|a| a["accepted"]["run"].as_str()).map(str::to_owned);
    run.ok_or_else(|| std::io::Error::other(format!("{workflow}: {answer:?}")).into())
}

/// Begins a run, waits for its end, and shows it.
fn run(at: &At, workflow: &str) -> Result<Value, Failure> {
    let run = start(at, workflow)?;
    at.ask(&json!({ "op": "wait", "run": run }));
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let shown = at.ask(&json!({ "op": "show", "run": run })).unwrap_or_default();
        if shown["run"]["steps"][0]["settled_wall_ms"].is_number() {
            return Ok(shown);
        }
        if Instant::now() > until {
            return Err(
                std::io::Error::other(format!("{workflow} does not settle: {shown}")).into()
            );
        }
    }
}

/// The figure that this share of all figures does not exceed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place among a few hundred figures"
)]
fn share(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_by(f64::total_cmp);
    let last = figures.len().saturating_sub(1);
    let place = (share * figures.len() as f64).ceil() as usize;
    figures.get(place.saturating_sub(1).min(last)).copied().unwrap_or(f64::NAN)
}
