//! The machine's own figures, and those of bare loops.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use openclaw::Failure;

use crate::number;
use crate::steps::batch_of_295_bytes;

/// How many 4-KiB write + fdatasync this disk does a second.
pub(crate) fn fdatasync_per_second(dir: &Path) -> std::io::Result<f64> {
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
pub(crate) fn bare_calls_per_second(root: &Path, dir: &Path) -> Result<f64, Failure> {
    let input = dir.join("input.json");
    std::fs::write(&input, batch_of_295_bytes().to_string())?;
    let program = root.join("target/release/examples/bare_loop");
    figure_of(Command::new(program).args([root.join("target/plugins/json-transform"), input]))
}

/// One evaluation of an ordinary expression, in nanoseconds.
pub(crate) fn expression_ns(root: &Path) -> Result<f64, Failure> {
    figure_of(&mut Command::new(root.join("target/release/examples/expr_loop")))
}

/// How much of the kept recordings replays to the digests that it had: 1 is all of it.
pub(crate) fn corpus_ok_ratio(root: &Path) -> Result<f64, Failure> {
    let corpus = root.join("agent/core/tests/corpus");
    let (mut ok, mut total) = (0.0, 0.0);
    for version in std::fs::read_dir(corpus)? {
        let program = root.join("target/release/examples/replay_digests");
        let output = Command::new(program).arg("--check").arg(version?.path()).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut figures = text.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(same)), Some(Ok(all))) = (figures.next(), figures.next()) else {
            return Err(std::io::Error::other(format!("no figures but {text:?}")).into());
        };
        (ok, total) = (ok + same, total + all);
    }
    Ok(ok / total)
}

/// Runs a loop for two seconds; it prints one figure.
fn figure_of(program: &mut Command) -> Result<f64, Failure> {
    let output = program.arg("2").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.trim().parse().map_err(|_| {
        std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()).into()
    })
}

/// Resident memory as the kernel accounts it.
pub(crate) fn rss_bytes(pid: u32) -> std::io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find(|l| l.starts_with("Rss:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(f64::NAN);
    Ok(kib * 1024.0)
}

/// CPU time of a process so far, all its threads, in microseconds.
pub(crate) fn cpu_us(pid: u32) -> std::io::Result<f64> {
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
