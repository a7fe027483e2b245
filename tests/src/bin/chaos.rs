//! `make chaos`: the long storm. `chaos [BLOWS] [SEED]`; prints the seed, so that a failure can be
//! played again.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::process::ExitCode;

use openclaw_tests::{attempt_dir, storm};

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut args = std::env::args().skip(1);
    let count = args.next().and_then(|a| a.parse().ok()).unwrap_or(200);
    let seed = args.next().and_then(|a| a.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs())
    });
    let dir = match attempt_dir(seed) {
        Ok(dir) => dir,
        Err(error) => {
            eprintln!("cannot make a directory: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("seed {seed}, {count} blows, in {}", dir.path().display());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let is_clean = match runtime.block_on(storm(dir.path(), seed, count, false)) {
        Ok(aftermath) => {
            println!("{:?}", aftermath.blows);
            for line in &aftermath.ledger {
                println!("{line:?}");
            }
            let clean = aftermath.ledger.iter().all(|l| l.is_clean() && l.witnessed == l.recorded);
            println!("{}", if clean { "0 lost, 0 duplicate" } else { "THE LEDGER IS NOT CLEAN" });
            clean
        }
        Err(failure) => {
            eprintln!("{failure:?}");
            false
        }
    };
    if is_clean {
        return ExitCode::SUCCESS;
    }
    eprintln!("seed {seed}, {count} blows: everything is kept in {}", dir.keep().display());
    ExitCode::FAILURE
}
