//! What each noun does: a file a noun.

mod context;
pub(crate) mod deployment;
mod device;
mod identity;
pub(crate) mod plugin;
pub(crate) mod run;
mod workflow;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use clap::CommandFactory;
use openclaw_protocol::api::{Role, Target};

use crate::args::{Cli, Noun, RoleArg, TargetArgs};
use crate::client::Client;
use crate::exit::{FAILED, Failure};

/// Documents and passwords read from standard input, in bytes.
const STDIN_BYTES: u64 = 1024 * 1024;

/// Does what was typed.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let global = &cli.global;
    match cli.noun {
        Noun::Dev(args) => crate::dev::run(args).await,
        Noun::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "openclaw", &mut std::io::stdout());
            Ok(())
        }
        Noun::Login(args) => context::login(global, args).await,
        Noun::Logout => context::logout(global).await,
        Noun::Whoami => context::whoami(global).await,
        Noun::Context(verb) => context::run(global, verb),
        Noun::Workflow(verb) => workflow::run(global, verb).await,
        Noun::User(verb) => identity::user(&Client::from_global(global)?, global, verb).await,
        Noun::ApiKey(verb) => identity::api_key(&Client::from_global(global)?, global, verb).await,
        Noun::Device(verb) => device::run(&Client::from_global(global)?, global, verb).await,
        Noun::Plugin(verb) => plugin::run(&Client::from_global(global)?, global, verb).await,
        Noun::Deployment(verb) => {
            deployment::run(&Client::from_global(global)?, global, verb).await
        }
        Noun::Run(verb) => run::run(&Client::from_global(global)?, global, verb).await,
    }
}

/// Reads a document from a file, or from standard input where the path is `-`.
fn read_document(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return read_stdin();
    }
    std::fs::read_to_string(path)
        .map_err(|e| Failure::new(FAILED, format!("cannot read {}: {e}", path.display())))
}

fn read_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().take(STDIN_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Reads a password: the first line of standard input, or hidden from the terminal.
fn read_password(from_stdin: bool, prompt: &str) -> Result<String, Failure> {
    let text = if from_stdin || !std::io::stdin().is_terminal() {
        read_stdin()?
    } else {
        rpassword::prompt_password(prompt)?
    };
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks before something that cannot be undone; `--yes` answers it.
fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(FAILED, format!("not done: {question}"))
            .hint("give --yes to do it without being asked"));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Failure::new(FAILED, "not done, as you wish"))
}

/// The API's role for the flag's.
fn role(arg: RoleArg) -> Role {
    match arg {
        RoleArg::Viewer => Role::Viewer,
        RoleArg::Operator => Role::Operator,
        RoleArg::Admin => Role::Admin,
    }
}

/// The API's target for the flags; refuses none at all.
fn target(args: TargetArgs) -> Result<Target, Failure> {
    if args.devices.is_empty() && args.labels.is_empty() {
        return Err(Failure::new(2, "no device is named")
            .hint("name devices with --device ID or --label KEY=VALUE"));
    }
    let labels: BTreeMap<String, String> = args.labels.into_iter().collect();
    Ok(Target { devices: args.devices, labels })
}

/// `NAME` or `NAME@SUFFIX`.
fn split_at_sign(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(name, suffix)| (name, Some(suffix)))
}
