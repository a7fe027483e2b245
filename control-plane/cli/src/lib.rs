//! The `openclaw` command as a library: the binary is one call, and the end-to-end tests build
//! their worlds with [`dev::world`].
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks on its two streams: data on one, all else on the other"
)]

mod args;
pub mod asl;
mod authoring;
mod client;
mod commands;
mod context;
pub mod dev;
mod exit;
mod output;
mod plugin;
mod replay;
pub mod scenario;

use std::process::ExitCode;

use clap::Parser;

pub use exit::Failure;

/// Does what the command line says; the exit code is documented in `--help`.
#[must_use]
pub fn main() -> ExitCode {
    let args = args::Cli::parse();
    // The one TLS provider of the workspace; a second install would be an error we can ignore.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            // The listener first, so that it listens before anybody is asked anything.
            biased;
            () = interrupted() => Err(Failure::interrupted()),
            outcome = commands::run(args) => outcome,
        }
    });
    // Children and blocking reads must not hold the exit back.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code)
        }
    }
}

/// Waits for Ctrl-C, except in `dev`, which stops its children in its own order.
async fn interrupted() {
    let pressed = tokio::signal::ctrl_c().await;
    if pressed.is_err() || dev::handles_interrupt() {
        std::future::pending::<()>().await;
    }
}
