//! `make chaos`: the long runs. `chaos blows|kills|points COUNT [SEED] [AGENT|POINT]`; prints the seed, so
//! that a failure can be played again, alone where it was at one point; kills are of the agent that is
//! named, such as the release build.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use openclaw::Failure;
use openclaw_points::Point;
use openclaw_tests::{attempt_dir, kills, points, storm};

/// Executions for each kill.
const EXECUTIONS: u64 = 10;

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (what, rest) = args.split_first().map_or(("blows", &[][..]), |(what, rest)| (what, rest));
    let count = rest.first().and_then(|a| a.parse().ok()).unwrap_or(200);
    let seed = rest.get(1).and_then(|a| a.parse().ok()).unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs())
    });
    let dir = match attempt_dir(seed) {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("cannot make a directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{what} {count}, seed {seed}, in {}", dir.path().display());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let began = Instant::now();
    let played = runtime.block_on(play(what, dir.path(), seed, count, rest.get(2)));
    let fault = played.unwrap_or_else(|failure| Some(format!("{failure:?}")));
    let Some(fault) = fault else {
        println!("0 lost, 0 duplicate, in {} s", began.elapsed().as_secs());
        return ExitCode::SUCCESS;
    };
    eprintln!("{fault}");
    eprintln!("seed {seed}: everything is kept in {}", dir.keep().display());
    ExitCode::FAILURE
}

/// Plays, and says what is wrong with what came of it.
async fn play(
    what: &str,
    dir: &Path,
    seed: u64,
    count: u64,
    more: Option<&String>,
) -> Result<Option<String>, Failure> {
    match what {
        "kills" => {
            let killed =
                kills::kills(dir, seed, count, count * EXECUTIONS, more.map(PathBuf::from)).await?;
            let (kills, executions) = (killed.kills, killed.executions);
            println!(
                "{kills} kills over {executions} executions, {} effects seen again; from a start to \
                 the first effect, of {}: p50 {:?}, p99 {:?}, most {:?}",
                killed.repeated(),
                killed.recoveries.len(),
                killed.recovery(50),
                killed.recovery(99),
                killed.recovery(100)
            );
            Ok(killed.fault())
        }
        "points" => {
            let all = Point::ALL.iter().copied();
            let wanted = |it: &Point| more.is_none_or(|name| it.name() == name);
            let chosen: Vec<Point> = all.filter(wanted).collect();
            let outcome = points::deaths(dir, seed, count, &chosen).await?;
            println!("{} deaths at {} points", outcome.deaths, outcome.points);
            Ok(outcome.fault())
        }
        _ => {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let aftermath = storm(dir, seed, count, false).await?;
            println!("{:?}", aftermath.blows);
            let is_clean =
                aftermath.ledger.iter().all(|l| l.is_clean() && l.witnessed == l.recorded);
            Ok((!is_clean).then(|| format!("{:#?}", aftermath.ledger)))
        }
    }
}
