//! Reads the machine's own load, memory, uptime, network and temperatures.
//!
//! It sees only the two logical directories that the device maps, usually `proc` to `/proc` and
//! `sys` to `/sys`. The texts' formats are those of `proc(5)` and the kernel's thermal sysfs
//! interface.

mod parse;

use openclaw_plugin_sdk::{Error, Result, export, files};
use serde::{Deserialize, Serialize};

use crate::parse::{Load, Memory, Network};

/// Most bytes read of one file. `/proc/stat` of a large machine is the longest.
const FILE_BYTES: u32 = 64 * 1024;
/// Most temperature sensors looked at.
const SENSORS: usize = 32;

/// The action takes no settings.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {}

/// One reading.
#[derive(Debug, Serialize)]
pub struct Reading {
    cpu: Cpu,
    memory: Memory,
    uptime_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<Network>,
    temperature_c: Option<f64>,
    temperatures: Vec<Temperature>,
}

#[derive(Debug, Serialize)]
struct Cpu {
    count: usize,
    #[serde(flatten)]
    load: Load,
    /// The one-minute load as a share of all processors; over 100 means that work is waiting.
    load_percent: f64,
}

#[derive(Debug, Serialize)]
struct Temperature {
    sensor: String,
    celsius: f64,
}

export!(execute, read);

/// Takes one reading. The input may be `null`.
///
/// # Errors
/// `permission.denied` where the device grants no `proc`, `user.unexpected_format` where the
/// kernel's text cannot be read.
pub fn read(_: Option<Input>) -> Result<Reading> {
    let load = parsed("loadavg", parse::load)?;
    let count = parsed("stat", parse::processors)?;
    let memory = parsed("meminfo", parse::memory)?;
    let uptime_s = parsed("uptime", parse::uptime)?;
    // A kernel without networking has no such file, which is no fault of the reading.
    let network = files::read_text("proc", "net/dev", FILE_BYTES).ok().map(|t| parse::network(&t));
    let temperatures = temperatures();
    let load_percent = parse::percent(load.load1, count as f64);
    Ok(Reading {
        cpu: Cpu { count, load, load_percent },
        memory,
        uptime_s,
        network,
        temperature_c: temperatures.iter().map(|t| t.celsius).reduce(f64::max),
        temperatures,
    })
}

fn parsed<T>(file: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    let text = files::read_text("proc", file, FILE_BYTES)?;
    parse(&text).ok_or_else(|| {
        let start: String = text.chars().take(40).collect();
        Error::new("user.unexpected_format", format!("proc:{file} begins `{start}`"))
    })
}

/// Every thermal zone that has a value now. Many machines have none.
fn temperatures() -> Vec<Temperature> {
    let Ok(zones) = files::list("sys", "class/thermal") else { return Vec::new() };
    zones
        .iter()
        .filter(|zone| zone.name.starts_with("thermal_zone"))
        .take(SENSORS)
        .filter_map(|zone| {
            let file = |name: &str| {
                let path = format!("class/thermal/{}/{name}", zone.name);
                files::read_text("sys", &path, 64).ok()
            };
            let celsius = parse::millidegrees(&file("temp")?)?;
            let sensor = file("type").map_or_else(|| zone.name.clone(), |t| t.trim().to_string());
            Some(Temperature { sensor, celsius })
        })
        .collect()
}
