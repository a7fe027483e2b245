//! What the verbs do, except being the agent: enrolment, and questions over the local socket.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use openclaw_protocol::run::{Run, RunStatus};
use openclaw_protocol::time::rfc3339_seconds;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::args::{Args, Command, Output};
use crate::config::{Config, ConfigError};
use crate::enroll::{self, JoinCode};
use crate::local::{Answer, Client, LocalBrokerStatus, Request, ResultRow, RunRow, Status};

/// Where the configuration is where nobody says otherwise.
const CONFIG: &str = "/etc/openclaw/agent.toml";
/// Names another.
const CONFIG_VAR: &str = "OPENCLAW_AGENT_CONFIG";

impl Args {
    /// The configuration that the command line, or else the environment, names.
    ///
    /// # Errors
    /// The file cannot be read or is wrong.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let named = self.config.clone().or_else(|| std::env::var_os(CONFIG_VAR).map(Into::into));
        match named {
            Some(path) => Config::load(&path),
            None if Path::new(CONFIG).exists() => Config::load(CONFIG.as_ref()),
            None => Ok(Config::default()),
        }
    }

    /// Everything but being the agent.
    ///
    /// # Errors
    /// It was not done; the text says why.
    pub async fn ask(self, config: &Config) -> anyhow::Result<()> {
        let out = Printer(self.output);
        let request = match self.command {
            Command::Serve => anyhow::bail!("being the agent is no question"),
            Command::ConfigCheck => return out.say("the configuration is good"),
            Command::Enroll { server, code, data } => {
                let data = data.unwrap_or_else(|| config.data_dir.clone());
                let code = JoinCode::parse(&code)?;
                let identity = enroll::enroll(&server, &code, &data).await?;
                let (device, tenant) = (identity.device, identity.tenant);
                return out.say(&format!("enrolled as {device} of {tenant}"));
            }
            Command::Logs { follow, run } => return logs(config, out, follow, run).await,
            Command::Run { workflow, inputs, wait } => {
                return start(config, out, workflow, inputs, wait).await;
            }
            Command::Export(run) => return export(config, run).await,
            Command::Record { workflow, next } => Request::Record { workflow, next },
            Command::Retry { run, whole } => Request::Retry { run, whole },
            Command::Status => Request::Status,
            Command::Runs(limit) => Request::Runs { limit },
            Command::Show(run) => Request::Show { run },
            Command::Results(limit) => Request::Results { limit },
            Command::Cancel { run, force } => Request::Cancel { run, force },
            Command::Signal { run, name, data } => Request::Signal { run, name, data },
            Command::Approve { run, step, choice, form, by } => {
                Request::Approve { run, step, choice, form, by }
            }
        };
        out.answer(&Client::connect(&config.socket_path()).await?.ask(&request).await?)
    }
}

/// Prints a text and nothing else.
#[must_use]
pub fn say(text: &str) -> ExitCode {
    match line(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail(1, &e),
    }
}

/// Says why on standard error, and gives the exit code.
#[must_use]
pub fn fail(code: u8, error: &anyhow::Error) -> ExitCode {
    // Where even standard error is closed, the code has to do.
    let _ = writeln!(std::io::stderr(), "openclaw-agent: {error:#}");
    ExitCode::from(code)
}

/// Prints a recording, which comes in parts.
async fn export(config: &Config, run: String) -> anyhow::Result<()> {
    let mut client = Client::connect(&config.socket_path()).await?;
    let mut whole = String::new();
    let mut first: Option<(usize, String)> = None;
    loop {
        let facts = first.as_ref().map(|(facts, _)| *facts);
        let request = Request::Export { run: run.clone(), skip: whole.len(), facts };
        let Answer::Recording { part, bytes, facts, check } = client.ask(&request).await? else {
            anyhow::bail!("the agent did not give the recording")
        };
        let (_, known) = first.get_or_insert_with(|| (facts, check.clone()));
        // A run that goes on may have got another snapshot between two parts, or have been removed.
        anyhow::ensure!(*known == check, "the run has gone on meanwhile; ask again");
        anyhow::ensure!(!part.is_empty(), "the agent's recording ends too early; ask again");
        whole.push_str(&part);
        if whole.len() >= bytes {
            return line(&whole);
        }
    }
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
            Answer::Recording { .. } | Answer::End => Ok(()),
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
         slots\nflash      {} syncs, {} KiB written since the start\nworkflows  {} in force, \
         revision {}",
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
        status.syncs,
        status.written_bytes.div_ceil(1024),
        status.workflows,
        status.desired_revision,
    );
    if !status.storage.message.is_empty() {
        text.push_str(&format!(
            "\nstorage    {}: {}",
            status.storage.state, status.storage.message
        ));
    }
    text.push_str(&broker_text(&status.local_broker));
    if status.damaged > 0 {
        let runs = if status.damaged == 1 { "run was" } else { "runs were" };
        text.push_str(&format!(
            "\ndamaged    {} {runs} ended at the start, for what was kept of them is damaged",
            status.damaged
        ));
    }
    for (name, version) in &status.in_force {
        text.push_str(&format!("\n  {name} {version}"));
    }
    for (name, reason) in &status.refused {
        text.push_str(&format!("\n  {name} does not run here: {reason}"));
    }
    text
}

/// Nothing where there is no broker and nothing waits for one.
fn broker_text(broker: &LocalBrokerStatus) -> String {
    let address = broker.address.as_deref().unwrap_or("none");
    if broker.address.is_none() && broker.waiting == 0 {
        return String::new();
    }
    let mut text = format!("\nbroker     {address}");
    if broker.address.is_some() {
        text.push_str(&format!(", {}, {} topics", broker.state, broker.topics));
    }
    let kib = broker.waiting_bytes.div_ceil(1024);
    text.push_str(&format!("; {} messages ({kib} KiB) wait to be sent", broker.waiting));
    if broker.dropped_to + broker.dropped_from > 0 {
        let LocalBrokerStatus { dropped_to, dropped_from, .. } = broker;
        text.push_str(&format!("; dropped {dropped_to} to it, {dropped_from} from it"));
    }
    for filter in &broker.topics_refused {
        text.push_str(&format!("\n  it refuses to tell of {filter}"));
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
            match &row.waiting {
                Some(reason) => format!("{:?} ({reason})", row.status).to_lowercase(),
                None => format!("{:?}", row.status).to_lowercase(),
            },
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
        if let Some(waiting) = &step.waiting {
            text.push_str(&format!("  for {waiting}"));
        }
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

fn wall_text(wall_ms: Option<i64>) -> String {
    wall_ms.map_or_else(|| "-".to_owned(), rfc3339_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::StorageStatus;

    #[test]
    fn times_are_readable() {
        assert_eq!(wall_text(Some(0)), "1970-01-01T00:00:00Z");
        assert_eq!(wall_text(None), "-");
    }

    #[test]
    fn damaged_runs_are_counted_where_there_are_some() {
        assert!(!status_text(&Status::default()).contains("damaged"));
        let text = status_text(&Status { damaged: 2, ..Status::default() });
        assert!(text.contains("\ndamaged    2 runs were ended"), "{text}");
    }

    #[test]
    fn a_full_disk_is_said_where_it_is_full() {
        assert!(!status_text(&Status::default()).contains("storage"));
        let (state, message) = ("storage_full".to_owned(), "free some space".to_owned());
        let storage = StorageStatus { state, message, reopened: 0 };
        let text = status_text(&Status { storage, ..Status::default() });
        assert!(text.contains("\nstorage    storage_full: free some space"), "{text}");
    }

    #[test]
    fn tables_line_up() {
        let text = table_text(&[["A", "B"].map(String::from), ["long", "x"].map(String::from)]);
        assert_eq!(text, "A     B\nlong  x");
    }
}
