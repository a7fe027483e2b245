//! The agent's program: log, configure, build, run, drain, exit code.

use std::process::ExitCode;

use openclaw_agent::args::{self, Command, Typed};

/// One heap for all threads, which gives back what it does not need, where the system's is no better.
/// The usual C library's keeps a heap for each thread that is busy, and few are at a time.
#[cfg(target_env = "musl")]
#[global_allocator]
static HEAP: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let args = match args::read(std::env::args_os()) {
        Ok(Typed::Do(args)) => args,
        Ok(Typed::Say(text)) => return openclaw_agent::cli::say(&text),
        Err(e) => return openclaw_agent::cli::fail(64, &e.into()),
    };
    let config = match args.config() {
        Ok(config) => config,
        Err(e) => return openclaw_agent::cli::fail(64, &e.into()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return openclaw_agent::cli::fail(1, &e.into()),
    };
    let ended = if args.command == Command::Serve {
        openclaw_agent::logs::install(config.log_level);
        openclaw_agent::panics::start_anew();
        openclaw_agent::secrets::no_core_dumps();
        let stop = openclaw_agent::signals::stop();
        runtime.block_on(openclaw_agent::agent::run(&config, stop))
    } else {
        runtime.block_on(args.ask(&config))
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => openclaw_agent::cli::fail(1, &e),
    }
}
