//! What each noun does: a file a noun.

mod author;
mod context;
pub(crate) mod deployment;
mod device;
mod expr;
mod identity;
mod import;
pub(crate) mod plugin;
mod plugin_download;
mod plugin_key;
mod replay;
pub(crate) mod run;
mod secret;
mod security_event;
mod test;
mod workflow;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use clap::CommandFactory;
use openclaw_protocol::api::{Role, Target};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::args::{Cli, Noun, PluginVerb, RoleArg, TargetArgs};
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
        Noun::Expr(args) => expr::run(global, args).await,
        Noun::Replay(args) => replay::run(global, &args).await,
        Noun::Login(args) => context::login(global, args).await,
        Noun::Logout => context::logout(global).await,
        Noun::Whoami => context::whoami(global).await,
        Noun::Context(verb) => context::run(global, verb),
        Noun::Workflow(verb) => workflow::run(global, verb).await,
        Noun::User(verb) => identity::user(&Client::from_global(global)?, global, verb).await,
        Noun::ApiKey(verb) => identity::api_key(&Client::from_global(global)?, global, verb).await,
        Noun::Device(verb) => device::run(&Client::from_global(global)?, global, verb).await,
        Noun::Plugin(PluginVerb::Desk(verb)) => crate::plugin::run(global, verb).await,
        Noun::Plugin(PluginVerb::Inspect { plugin }) if crate::plugin::is_local(&plugin) => {
            crate::plugin::inspect(global.output, &plugin)
        }
        Noun::Plugin(verb) => plugin::run(global, verb).await,
        Noun::Deployment(verb) => {
            deployment::run(&Client::from_global(global)?, global, verb).await
        }
        Noun::Run(verb) => run::run(&Client::from_global(global)?, global, verb).await,
        Noun::Secret(verb) => secret::run(&Client::from_global(global)?, global, verb).await,
        Noun::SecurityEvent(verb) => {
            security_event::run(&Client::from_global(global)?, global, verb).await
        }
    }
}

/// Reads a document from a file, or from standard input where the path is `-`.
async fn read_document(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return ask(read_stdin).await;
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
async fn read_password(from_stdin: bool, prompt: &str) -> Result<String, Failure> {
    let text = if from_stdin || !std::io::stdin().is_terminal() {
        ask(read_stdin).await?
    } else {
        let prompt = prompt.to_owned();
        ask(move || Ok(rpassword::prompt_password(prompt)?)).await?
    };
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks before something that cannot be undone; `--yes` answers it.
async fn confirm(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(FAILED, format!("not done: {question}"))
            .hint("give --yes to do it without being asked"));
    }
    eprint!("{question} [y/N] ");
    std::io::stderr().flush()?;
    let answer = ask(|| {
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        Ok(answer)
    })
    .await?;
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Failure::new(FAILED, "not done, as you wish"))
}

/// Waits for a person, on a thread of its own, so that Ctrl-C is heard meanwhile.
async fn ask<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let _terminal = Terminal::remember();
    let answer = tokio::task::spawn_blocking(question).await;
    answer.unwrap_or_else(|error| Err(Failure::new(FAILED, format!("cannot ask: {error}"))))
}

/// How the terminal was set. Dropping it sets it so again: a thread that is left behind in the
/// middle of a hidden prompt does not.
struct Terminal(Option<(File, Termios)>);

impl Terminal {
    fn remember() -> Self {
        let terminal = File::open("/dev/tty").ok();
        Self(terminal.and_then(|file| tcgetattr(&file).ok().map(|set| (file, set))))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some((file, set)) = &self.0 {
            // A terminal that is gone needs no setting.
            _ = tcsetattr(file, OptionalActions::Now, set);
        }
    }
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
