//! The agent's program: log, configure, build, run, drain, exit code.

use std::process::ExitCode;

use clap::Parser as _;
use openclaw_agent::cli::{Args, Doing};

/// One heap for all threads, which gives back what it does not need: the system's own keeps one a
/// thread, and half of the agent's memory was such leftovers.
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(e) => {
            // Help and version are no errors; nobody is left to tell where printing fails.
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    let config = match args.config() {
        Ok(config) => config,
        Err(e) => return openclaw_agent::cli::fail(64, &e.into()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return openclaw_agent::cli::fail(1, &e.into()),
    };
    let ended = match args.doing() {
        Doing::Serve => {
            openclaw_agent::logs::install(config.log_level);
            let stop = openclaw_agent::signals::stop();
            runtime.block_on(openclaw_agent::agent::run(&config, stop))
        }
        Doing::Ask => runtime.block_on(args.ask(&config)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => openclaw_agent::cli::fail(1, &e),
    }
}
