//! The command line: the agent itself, enrolment, and questions over the local socket.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use openclaw_protocol::run::{Run, RunStatus};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::{Config, ConfigError};
use crate::enroll::{self, JoinCode};
use crate::local::{Answer, Client, Request, ResultRow, RunRow, Status};

/// Where the configuration is where nobody says otherwise.
const CONFIG: &str = "/etc/openclaw/agent.toml";

/// Runs workflows on this device, with or without a network.
#[derive(Debug, Parser)]
#[command(name = "openclaw-agent", version)]
pub struct Args {
    /// Configuration file; without one, and none in /etc/openclaw/agent.toml, defaults hold.
    #[arg(long, global = true, env = "OPENCLAW_AGENT_CONFIG")]
    config: Option<PathBuf>,
    /// How answers look.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent; with a workflow's name, ask the running agent to start a run of it.
    Run {
        /// Start a run of this workflow.
        workflow: Option<String>,
        /// An input, `name=value`; the value is JSON, or else a text. May be repeated.
        #[arg(long, short, requires = "workflow", value_parser = parse_input)]
        input: Vec<(String, Value)>,
        /// Wait until the run is settled; a failed one makes this command fail.
        #[arg(long, requires = "workflow")]
        wait: bool,
    },
    /// Enrol this device in a fleet.
    Enroll {
        /// The control plane's URL.
        #[arg(long)]
        server: String,
        /// The join code.
        #[arg(long)]
        code: String,
        /// Instead of the configuration's `data_dir`.
        #[arg(long)]
        data: Option<PathBuf>,
    },
    /// How the agent is.
    Status,
    /// Runs, newest first.
    Runs {
        /// How many at most.
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// One run with its steps.
    Show {
        /// Its id.
        run: String,
    },
    /// End a run.
    Cancel {
        /// Its id.
        run: String,
        /// Without waiting for grace periods.
        #[arg(long)]
        force: bool,
    },
    /// Settled runs whose journal is still on this device, newest first.
    Results {
        /// How many at most.
        #[arg(long, default_value_t = crate::limits::LOCAL_RESULTS)]
        limit: usize,
    },
    /// What plugins logged since the agent was started.
    Logs {
        /// Go on as new lines come.
        #[arg(long, short)]
        follow: bool,
        /// Of one run only.
        #[arg(long)]
        run: Option<String>,
    },
    /// The configuration.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say whether the file is good.
    Check,
}

/// What a command line comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// Be the agent.
    Serve,
    /// Ask the agent, or do something beside it.
    Ask,
}

impl Args {
    /// The configuration that the command line names.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn config(&self) -> Result<Config, ConfigError> {
        match &self.config {
            Some(path) => Config::load(path),
            None if PathBuf::from(CONFIG).exists() => Config::load(CONFIG.as_ref()),
            None => Ok(Config::default()),
        }
    }

    /// Whether to be the agent or to ask it.
    #[must_use]
    pub fn doing(&self) -> Doing {
        let serve = matches!(self.command, Command::Run { workflow: None, .. });
        if serve { Doing::Serve } else { Doing::Ask }
    }

    /// Everything but being the agent.
    ///
    /// # Errors
    /// It was not done; the text says why.
    pub async fn ask(self, config: &Config) -> anyhow::Result<()> {
        let out = Printer(self.output);
        match self.command {
            Command::Config { command: ConfigCommand::Check } => {
                out.say("the configuration is good")
            }
            Command::Enroll { server, code, data } => {
                let data = data.unwrap_or_else(|| config.data_dir.clone());
                let code = JoinCode::parse(&code)?;
                let identity = enroll::enroll(&server, &code, &data).await?;
                out.say(&format!("enrolled as {} of {}", identity.device, identity.tenant))
            }
            Command::Logs { follow, run } => logs(config, out, follow, run).await,
            Command::Run { workflow, input, wait } => {
                let workflow = workflow.context("no workflow was named")?;
                start(config, out, workflow, input.into_iter().collect(), wait).await
            }
            Command::Status => out.answer(&ask(config, &Request::Status).await?),
            Command::Runs { limit } => out.answer(&ask(config, &Request::Runs { limit }).await?),
            Command::Show { run } => out.answer(&ask(config, &Request::Show { run }).await?),
            Command::Results { limit } => {
                out.answer(&ask(config, &Request::Results { limit }).await?)
            }
            Command::Cancel { run, force } => {
                out.answer(&ask(config, &Request::Cancel { run, force }).await?)
            }
        }
    }
}

/// Says why on standard error, and gives the exit code.
#[must_use]
pub fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    // Where even standard error is closed, the code has to do.
    let _ = writeln!(std::io::stderr(), "openclaw-agent: {error:#}");
    ExitCode::from(code)
}

fn parse_input(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write `name=value`")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

async fn ask(config: &Config, request: &Request) -> anyhow::Result<Answer> {
    Ok(Client::connect(&config.socket_path()).await?.ask(request).await?)
}

async fn start(
    config: &Config,
    out: Printer,
    workflow: String,
    inputs: Map<String, Value>,
    wait: bool,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.socket_path()).await?;
    let answer = client.ask(&Request::Start { workflow, inputs }).await?;
    let Answer::Accepted { run } = &answer else {
        anyhow::bail!("the agent did not say which run")
    };
    if !wait {
        return out.answer(&answer);
    }
    loop {
        let answer = client.ask(&Request::Wait { run: run.clone() }).await?;
        let Answer::Run(view) = &answer else { anyhow::bail!("the agent did not show the run") };
        if view.status.is_settled() {
            out.answer(&answer)?;
            anyhow::ensure!(view.status == RunStatus::Completed, "the run did not succeed");
            return Ok(());
        }
    }
}

async fn logs(
    config: &Config,
    out: Printer,
    follow: bool,
    run: Option<String>,
) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.socket_path()).await?;
    let mut answer = client.ask(&Request::Logs { after: 0, run, follow }).await?;
    while let Answer::Line(_) = answer {
        out.answer(&answer)?;
        answer = client.next().await?;
    }
    Ok(())
}

/// Prints answers in the wanted form.
#[derive(Debug, Clone, Copy)]
struct Printer(Output);

impl Printer {
    fn say(self, text: &str) -> anyhow::Result<()> {
        match self.0 {
            Output::Table => line(text),
            Output::Json => line(&serde_json::json!({ "message": text }).to_string()),
        }
    }

    fn answer(self, answer: &Answer) -> anyhow::Result<()> {
        match answer {
            Answer::Status(status) => self.print(status, |status| status_text(status)),
            Answer::Runs(rows) => self.print(rows, |rows| runs_text(rows)),
            Answer::Results(rows) => self.print(rows, |rows| results_text(rows)),
            Answer::Run(run) => self.print(run, |run| run_text(run)),
            Answer::Accepted { run } => {
                self.print(&serde_json::json!({ "run": run }), |_| run.clone())
            }
            Answer::Line(log) => self.print(log, |l| {
                let when = wall_text(Some(l.wall_ms));
                format!("{when} {:5} {} {}: {}", l.level, l.run, l.step, l.message)
            }),
            Answer::End => Ok(()),
            Answer::Error(refusal) => anyhow::bail!("{} [{}]", refusal.message, refusal.code),
        }
    }

    fn print<T: Serialize>(self, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
        match self.0 {
            Output::Table => line(&text(value)),
            Output::Json => line(&serde_json::to_string(value)?),
        }
    }
}

fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        // The reader has seen enough (`| head`).
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

fn status_text(status: &Status) -> String {
    let device = match (&status.device, &status.tenant) {
        (Some(device), Some(tenant)) => format!("{device} of {tenant}"),
        _ => "not enrolled".to_owned(),
    };
    let mut text = format!(
        "agent      {} (process {})\ndevice     {device}\nlink       {}, {} records outstanding\n\
         clock      {}, boot {}{}\nruns       {} open; {} running, {} waiting, {} delayed, {} \
         slots\nworkflows  {} in force, revision {}",
        status.version,
        status.pid,
        status.link,
        status.backlog,
        status.clock,
        status.boot,
        if status.unclean { ", after an unclean stop" } else { "" },
        status.unsettled,
        status.running,
        status.waiting,
        status.delayed,
        status.slots,
        status.workflows,
        status.desired_revision,
    );
    for (name, version) in &status.in_force {
        text.push_str(&format!("\n  {name} {version}"));
    }
    for (name, reason) in &status.refused {
        text.push_str(&format!("\n  {name} does not run here: {reason}"));
    }
    text
}

fn runs_text(rows: &[RunRow]) -> String {
    let mut table =
        vec![["RUN", "WORKFLOW", "STATUS", "STARTED", "STEPS", "ERROR"].map(String::from)];
    table.extend(rows.iter().map(|row| {
        [
            row.run.clone(),
            row.workflow.clone(),
            format!("{:?}", row.status).to_lowercase(),
            wall_text(row.accepted_wall_ms),
            row.steps.to_string(),
            row.error.clone().unwrap_or_default(),
        ]
    }));
    table_text(&table)
}

fn results_text(rows: &[ResultRow]) -> String {
    let mut table = vec![["RUN", "SETTLED"].map(String::from)];
    table.extend(rows.iter().map(|row| [row.run.clone(), wall_text(Some(row.settled_wall_ms))]));
    table_text(&table)
}

fn run_text(run: &Run) -> String {
    let status = format!("{:?}", run.status).to_lowercase();
    let mut text = format!("{} of {} {}: {status}", run.id, run.workflow, run.version);
    for step in &run.steps {
        let status = format!("{:?}", step.status).to_lowercase();
        text.push_str(&format!("\n  {:40} {status:10} {} attempts", step.path.0, step.attempts));
        if let Some(error) = &step.error {
            text.push_str(&format!("  {} [{}]", error.message, error.code));
        }
    }
    if let Some(outputs) =
        run.outputs.as_ref().filter(|o| o.as_object().is_some_and(|o| !o.is_empty()))
    {
        text.push_str(&format!("\noutputs: {outputs}"));
    }
    if let Some(error) = &run.error {
        text.push_str(&format!("\nerror: {} [{}]", error.message, error.code));
    }
    text
}

/// Columns as wide as their widest cell.
fn table_text<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// RFC 3339 in UTC, to the second (days from civil: Howard Hinnant's algorithm).
fn wall_text(wall_ms: Option<i64>) -> String {
    let Some(wall_ms) = wall_ms else { return "-".to_owned() };
    let seconds = wall_ms.div_euclid(1_000);
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_mean_what_they_say() {
        let doing = |line: &str| Args::try_parse_from(line.split(' ')).map(|args| args.doing());
        assert_eq!(doing("openclaw-agent run --config /x").unwrap(), Doing::Serve);
        assert_eq!(doing("openclaw-agent run w --input a=1 --wait").unwrap(), Doing::Ask);
        assert_eq!(doing("openclaw-agent -o json status").unwrap(), Doing::Ask);
        for bad in ["openclaw-agent", "openclaw-agent run --wait", "openclaw-agent run w -i a"] {
            assert!(doing(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn inputs_are_json_or_text() {
        assert_eq!(parse_input("a=1"), Ok(("a".into(), Value::from(1))));
        assert_eq!(parse_input("a=x=y"), Ok(("a".into(), Value::from("x=y"))));
        assert!(parse_input("a").is_err());
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(wall_text(Some(0)), "1970-01-01T00:00:00Z");
        assert_eq!(wall_text(Some(951_827_696_000)), "2000-02-29T12:34:56Z");
        assert_eq!(wall_text(Some(-1)), "1969-12-31T23:59:59Z");
        assert_eq!(wall_text(None), "-");
    }

    #[test]
    fn tables_line_up() {
        let text = table_text(&[["A", "B"].map(String::from), ["long", "x"].map(String::from)]);
        assert_eq!(text, "A     B\nlong  x");
    }
}
