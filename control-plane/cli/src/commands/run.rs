//! `openclaw run`: executions.

mod again;
mod told;

use std::time::{Duration, Instant};

use openclaw_protocol::api::{
    Approval, Decide, Execution, ExecutionSummary, RecordRuns, RequestView, Requests, SendSignal,
};
use openclaw_protocol::run::{RunStatus, StepView};
use serde::Serialize;

use crate::args::{Global, RunVerb};
use crate::client::{Client, encoded, path};
use crate::exit::{FAILED, Failure, NOT_FOUND, RUN_FAILED, UNREACHABLE};
use crate::output::{self, Format, name_of, printable, time};
use told::Told;

/// How often something awaited is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// `openclaw run …`.
pub(crate) async fn run(client: &Client, global: &Global, verb: RunVerb) -> Result<(), Failure> {
    match verb {
        RunVerb::List { device, workflow, status, limit } => {
            let mut list = "/executions?".to_owned();
            for (key, value) in [("device", device), ("workflow", workflow), ("status", status)] {
                if let Some(value) = value {
                    list.push_str(&format!("{key}={}&", encoded(&value)));
                }
            }
            let list: Vec<ExecutionSummary> =
                client.list(list.trim_end_matches(['&', '?']), limit).await?;
            let header = ["device", "run", "workflow", "status", "trigger", "accepted", "error"];
            output::print(global.output, &list, &header, |l| l.iter().map(summary_row).collect())
        }
        RunVerb::Get { run } => {
            let (device, run) = find(client, &run).await?;
            let shown: Execution = client.fetch(&path(&["executions", &device, &run])?).await?;
            if global.output == Format::Table {
                Told::default().logs(client, &shown).await?;
            }
            show(global, &shown)
        }
        RunVerb::Watch { run, timeout } => {
            let (device, run) = find(client, &run).await?;
            let deadline = Instant::now() + Duration::from_secs(timeout);
            let ended = watch(client, &device, &run, deadline).await?;
            show(global, &ended)?;
            if is_success(&ended) {
                return Ok(());
            }
            Err(Failure::new(RUN_FAILED, format!("the run ended {}", name_of(&ended.run.status))))
        }
        RunVerb::Cancel { run } => ask(client, global, &run, "cancel", &()).await,
        RunVerb::Record { device, workflow, next, timeout } => {
            let wanted = RecordRuns { workflow, next };
            again::record(client, &device, &wanted, Duration::from_secs(timeout)).await
        }
        RunVerb::Retry { run: Some(run), from_failed, .. } => {
            again::one(client, global, &run, from_failed).await
        }
        RunVerb::Retry { run: None, from_failed, which, dry_run } => {
            again::many(client, global, which, from_failed, dry_run).await
        }
        RunVerb::Export { run, file, timeout } => {
            again::export(client, &run, file.as_deref(), Duration::from_secs(timeout)).await
        }
        RunVerb::Signal { run, name, data } => {
            let signal = SendSignal { name, data: data.unwrap_or_default() };
            ask(client, global, &run, "signals", &signal).await
        }
        RunVerb::Approve { run, step, choice, form } => {
            let answer = Decide { step, choice, form: form.unwrap_or_default() };
            ask(client, global, &run, "decisions", &answer).await
        }
        RunVerb::Approvals { device, limit } => {
            let of = device.map_or_else(String::new, |id| format!("?device={}", encoded(&id)));
            let list: Vec<Approval> = client.list(&format!("/approvals{of}"), limit).await?;
            let header = ["device", "run", "step", "workflow", "asked", "for", "choices", "prompt"];
            output::print(global.output, &list, &header, |l| l.iter().map(approval_row).collect())
        }
    }
}

/// Wishes something of one run.
async fn ask(
    client: &Client,
    global: &Global,
    run: &str,
    what: &str,
    body: &impl Serialize,
) -> Result<(), Failure> {
    let (device, run) = find(client, run).await?;
    let asked: Requests = client.post(&path(&["executions", &device, &run, what])?, body).await?;
    output::print(global.output, &asked, &["request", "device"], |a| {
        a.requests.iter().map(|r| vec![r.id.clone(), r.device.clone()]).collect()
    })
}

/// Takes `DEVICE/RUN`, or finds the device of a bare run id.
async fn find(client: &Client, text: &str) -> Result<(String, String), Failure> {
    if let Some((device, run)) = text.split_once('/') {
        return Ok((device.to_owned(), run.to_owned()));
    }
    let found: Vec<ExecutionSummary> =
        client.list(&format!("/executions?run={}", encoded(text)), 2).await?;
    match found.as_slice() {
        [one] => Ok((one.device.clone(), one.id.clone())),
        [] => Err(Failure::new(NOT_FOUND, format!("there is no run `{text}`"))
            .hint("see `openclaw run list`")),
        _ => Err(Failure::new(FAILED, format!("several devices have a run `{text}`"))
            .hint("name it as DEVICE/RUN")),
    }
}

/// Waits until a wish is answered; the run it led to.
pub(crate) async fn await_request(
    client: &Client,
    id: &str,
    deadline: Instant,
) -> Result<String, Failure> {
    loop {
        let view: RequestView = client.fetch(&path(&["requests", id])?).await?;
        if let Some(refusal) = view.refusal {
            return Err(Failure::new(
                FAILED,
                format!("{} refuses: {}", view.device, refusal.message),
            ));
        }
        if let Some(run) = view.run {
            return Ok(run);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(UNREACHABLE, format!("{} has not answered yet", view.device))
                .hint("it will when it is online; the wish is kept"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until a run has settled.
pub(crate) async fn await_run(
    client: &Client,
    device: &str,
    run: &str,
    deadline: Instant,
) -> Result<Execution, Failure> {
    loop {
        if let Some(execution) = look(client, device, run).await?
            && execution.run.status.is_settled()
        {
            return Ok(execution);
        }
        look_later(run, deadline).await?;
    }
}

/// The same, with a line on standard error for each thing that happens meanwhile.
async fn watch(
    client: &Client,
    device: &str,
    run: &str,
    deadline: Instant,
) -> Result<Execution, Failure> {
    let mut told = Told::default();
    loop {
        if let Some(execution) = look(client, device, run).await? {
            told.steps(&execution);
            told.logs(client, &execution).await?;
            if execution.run.status.is_settled() {
                return Ok(execution);
            }
        }
        look_later(run, deadline).await?;
    }
}

/// The run as it is now. The answer to a wish may arrive a moment before the run's first event.
async fn look(client: &Client, device: &str, run: &str) -> Result<Option<Execution>, Failure> {
    match client.fetch(&path(&["executions", device, run])?).await {
        Ok(execution) => Ok(Some(execution)),
        Err(failure) if failure.code == NOT_FOUND => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn look_later(run: &str, deadline: Instant) -> Result<(), Failure> {
    if Instant::now() >= deadline {
        return Err(Failure::new(UNREACHABLE, format!("run {run} has not ended yet")));
    }
    tokio::time::sleep(LOOK_EVERY).await;
    Ok(())
}

/// Whether a run ended well.
pub(crate) fn is_success(execution: &Execution) -> bool {
    execution.run.status == RunStatus::Completed
}

/// One line about a run that has ended.
pub(crate) fn end_row(execution: &Execution) -> Vec<String> {
    let run = &execution.run;
    let end = match (&run.error, &run.outputs) {
        (Some(error), _) => format!("{}: {}", error.code, error.message),
        (None, Some(outputs)) => outputs.to_string(),
        (None, None) => String::new(),
    };
    vec![execution.device.clone(), run.id.to_string(), name_of(&run.status), end]
}

fn summary_row(run: &ExecutionSummary) -> Vec<String> {
    vec![
        run.device.clone(),
        run.id.clone(),
        run.workflow.clone(),
        name_of(&run.status),
        run.trigger.clone(),
        time(run.accepted_at.as_ref()),
        run.error.as_ref().map_or_else(String::new, |e| e.code.clone()),
    ]
}

fn approval_row(approval: &Approval) -> Vec<String> {
    let roles = match approval.roles.as_slice() {
        [] => "operator".to_owned(),
        named => named.join(", "),
    };
    vec![
        approval.device.clone(),
        approval.run.clone(),
        approval.step.clone(),
        approval.workflow.clone(),
        time(Some(&approval.asked_at)),
        roles,
        approval.choices.join(", "),
        approval.prompt.clone(),
    ]
}

fn show(global: &Global, execution: &Execution) -> Result<(), Failure> {
    if global.output == Format::Table {
        let run = &execution.run;
        let status = name_of(&run.status);
        let what = format!("{} {}, {status}", run.workflow, run.version);
        eprintln!("{} on {}: {}", run.id, printable(&execution.device), printable(&what));
        if let Some(stayed) = &run.stayed {
            let why = format!("{}: {}", stayed.version, stayed.reason);
            eprintln!("it does not go on with version {}", printable(&why));
        }
        if let Some(error) = &run.error {
            eprintln!("error {}: {}", printable(&error.code), printable(&error.message));
        }
        if execution.truncated {
            eprintln!("it has more steps than one answer holds; these are the first");
        }
        if let Some(outputs) = &run.outputs {
            eprintln!("outputs {}", printable(&outputs.to_string()));
        }
    }
    output::print(
        global.output,
        execution,
        &["step", "kind", "status", "attempts", "waiting for", "output"],
        |e| e.run.steps.iter().map(step_row).collect(),
    )
}

fn step_row(step: &StepView) -> Vec<String> {
    let end = match (&step.error, &step.output) {
        (Some(error), _) => format!("{}: {}", error.code, error.message),
        (None, Some(value)) => value.to_string(),
        (None, None) => String::new(),
    };
    let short: String = end.chars().take(80).collect();
    vec![
        step.path.to_string(),
        step.kind.clone(),
        name_of(&step.status),
        step.attempts.to_string(),
        step.waiting.as_ref().map(ToString::to_string).unwrap_or_default(),
        short,
    ]
}
