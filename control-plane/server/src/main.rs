//! `openclaw-control-plane`: read the arguments, configure, build, say where, run, drain.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use openclaw_control_plane::app::App;
use openclaw_control_plane::clock::Clock;
use openclaw_control_plane::config::{Config, ConfigError, LogFormat};
use openclaw_control_plane::context::{Addresses, Context};
use openclaw_control_plane::init::{self, FirstAdmin};
use openclaw_control_plane::{backup, openapi_json};

/// Exit code for a configuration that cannot be used (sysexits EX_USAGE).
const EXIT_CONFIG: u8 = 64;

/// What `init` says where there is nothing to do.
const ALREADY: &str = "already initialised; nothing was changed. Where the admin's password is not \
                       known, `openclaw-control-plane reset-password` gives a new one";

#[derive(Parser)]
#[command(name = "openclaw-control-plane", version, about = "The OpenClaw control plane")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, the console and the gate for devices.
    Serve {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        first: First,
        /// Print one line of JSON with the addresses on standard output once they are open, and at
        /// the first start the first admin.
        #[arg(long)]
        print_addresses: bool,
        /// Write the addresses into this file, which appears when everything is ready.
        #[arg(long, value_name = "FILE")]
        ready_file: Option<PathBuf>,
    },
    /// Make the data folder, keys, database and first admin, and open no port.
    Init {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        first: First,
    },
    /// Give a user a new password and end their sessions. The control plane may be running.
    ResetPassword {
        /// Who.
        #[arg(long, value_name = "NAME", default_value = init::FIRST_ADMIN)]
        user: String,
        /// Take the new password from the first line of this file; where absent one is made and shown.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        source: Source,
    },
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Write database and keys into one file. The control plane may be running.
    Backup {
        /// The file to make; it must not exist.
        file: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// Fill an empty data folder from a backup.
    Restore {
        /// The file to read.
        file: PathBuf,
        #[command(flatten)]
        source: Source,
    },
    /// After a database was put back by other means: give it a new generation.
    NewGeneration {
        #[command(flatten)]
        source: Source,
    },
    /// Print the API's description (OpenAPI 3.1).
    Openapi,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether the configuration can be used.
    Check {
        #[command(flatten)]
        source: Source,
    },
}

/// Where the configuration comes from; a flag wins over the file.
#[derive(Args)]
struct Source {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "OPENCLAW_CONFIG")]
    config: Option<PathBuf>,
    /// Data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address for HTTP, such as 127.0.0.1:8080; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Address for MQTT, such as 0.0.0.0:8883; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    mqtt: Option<SocketAddr>,
}

#[derive(Args)]
struct First {
    /// At the first start, take the admin's password from the first line of this file.
    #[arg(long, value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
}

impl Source {
    fn load(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::load(path)?,
            None => Config::default(),
        };
        if let Some(data) = &self.data {
            config.data_dir.clone_from(data);
        }
        config.http.bind = self.http.unwrap_or(config.http.bind);
        config.mqtt.bind = self.mqtt.unwrap_or(config.mqtt.bind);
        config.check()?;
        Ok(config)
    }
}

impl First {
    fn password(&self) -> anyhow::Result<Option<String>> {
        self.admin_password_file.as_deref().map(first_line).transpose()
    }
}

fn first_line(path: &Path) -> anyhow::Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    _ = writeln!(std::io::stderr(), "error: {error:#}");
    if error.is::<ConfigError>() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve { source, first, print_addresses, ready_file } => {
            let config = source.load()?;
            log(&config)?;
            serve(config, first.password()?, print_addresses, ready_file.as_deref()).await
        }
        Command::Init { source, first } => {
            let opened = init::open(source.load()?, Clock::System, first.password()?).await?;
            let text = opened.first_admin.as_ref().map_or_else(|| ALREADY.to_owned(), welcome);
            opened.ctx.db.close().await;
            say(&format!("{text}\nCA fingerprint: {}", opened.ctx.ca.fingerprint()))
        }
        Command::ResetPassword { user, password_file, source } => {
            let password = password_file.as_deref().map(first_line).transpose()?;
            let config = source.load()?;
            let changed = init::reset_password(&config, Clock::System, &user, password).await?;
            say(&match changed.password {
                Some(password) => format!("`{user}` has the password `{password}` from now on"),
                None => format!("`{user}` has a new password from now on"),
            })
        }
        Command::Config(ConfigCommand::Check { source }) => {
            source.load()?;
            say("the configuration can be used")
        }
        Command::Backup { file, source } => {
            backup::backup(&source.load()?, &file).await?;
            say(&format!("{} holds database and private keys; keep it safe", file.display()))
        }
        Command::Restore { file, source } => {
            let generation = backup::restore(source.load()?, &file, Clock::System).await?;
            say(&format!("restored, as generation {generation}"))
        }
        Command::NewGeneration { source } => {
            let generation = backup::new_generation(source.load()?, Clock::System).await?;
            say(&format!("this database is now generation {generation}"))
        }
        Command::Openapi => say(openapi_json().trim_end()),
    }
}

async fn serve(
    config: Config,
    admin_password: Option<String>,
    print_addresses: bool,
    ready_file: Option<&Path>,
) -> anyhow::Result<()> {
    let (app, first) = App::build(config, Clock::System, admin_password).await?;
    let (ctx, stop) = (std::sync::Arc::clone(app.ctx()), CancellationToken::new());
    stop_on_signals(stop.clone())?;
    if cfg!(panic = "abort") {
        tracing::warn!(
            "this build is a device's: a panic ends it; `make server` builds a server's"
        );
    }
    if let Some(first) = first.as_ref().filter(|_| !print_addresses) {
        say(&welcome(first))?;
    }
    let (ready, waits) = oneshot::channel();
    let running = tokio::spawn(app.run(stop, ready));
    if let Ok(addresses) = waits.await {
        let line = announcement(&ctx, addresses);
        drop(ctx);
        if print_addresses {
            let mut line = line.clone();
            line["first_admin"] = json!(first);
            say(&line.to_string())?;
        }
        if let Some(path) = ready_file {
            write_ready_file(path, &line)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    running.await?
}

/// Where everything is. Nothing in it is secret.
fn announcement(ctx: &Context, addresses: Addresses) -> serde_json::Value {
    json!({
        "url": ctx.public_url(),
        "http": addresses.http,
        "mqtt": addresses.mqtt,
        "ca_fingerprint": ctx.ca.fingerprint(),
    })
}

/// Makes the file appear whole, for its owner alone.
fn write_ready_file(path: &Path, line: &serde_json::Value) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    writeln!(file, "{line}")?;
    std::fs::rename(&beside, path)
}

fn welcome(first: &FirstAdmin) -> String {
    match &first.password {
        Some(password) => format!(
            "First start. The admin is `{}`, the password `{password}`; it is shown only now.",
            first.username
        ),
        None => format!("First start. The admin is `{}`.", first.username),
    }
}

/// The first signal lets work under way end; the second ends at once.
fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for round in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if round > 0 {
                std::process::exit(1);
            }
            stop.cancel();
        }
    });
    Ok(())
}

fn log(config: &Config) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.log.filter)
        .with_context(|| format!("log.filter = `{}`", config.log.filter))?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match config.log.format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().init(),
    }
    Ok(())
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(out.flush()?)
}
