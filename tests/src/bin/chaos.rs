//! `make chaos`: the long storm. `chaos [BLOWS] [SEED]`; prints the seed, so that a failure can be
//! played again.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::process::ExitCode;

use openclaw_tests::storm;

fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut args = std::env::args().skip(1);
    let count = args.next().and_then(|a| a.parse().ok()).unwrap_or(200);
    let seed = args.next().and_then(|a| a.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |d| d.as_secs())
    });
    let dir = std::env::temp_dir().join(format!("openclaw-chaos-{seed}"));
    println!("seed {seed}, {count} blows, in {}", dir.display());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(storm(&dir, seed, count, false)) {
        Ok(aftermath) => {
            println!("{:?}", aftermath.blows);
            for line in &aftermath.ledger {
                println!("{line:?}");
            }
            let clean = aftermath.ledger.iter().all(|l| l.is_clean() && l.witnessed == l.recorded);
            println!("{}", if clean { "0 lost, 0 duplicate" } else { "THE LEDGER IS NOT CLEAN" });
            if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(failure) => {
            eprintln!("seed {seed}: {failure:?}; logs in {}", dir.display());
            ExitCode::FAILURE
        }
    }
}
