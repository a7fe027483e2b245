//! `openclaw workflow`.

use std::time::{Duration, Instant};

use openclaw_protocol::api::{Execution, RequestView, Requests, StartRuns, WorkflowVersion};

use super::run::{await_request, await_run};
use super::{read_document, split_at_sign, target};
use crate::args::{Global, TargetArgs, WorkflowVerb};
use crate::client::{Client, path};
use crate::exit::{Failure, NOT_FOUND, RUN_FAILED};
use crate::output::{self, Format, printable, printable_lines};

/// `openclaw workflow …`.
pub(crate) async fn run(global: &Global, verb: WorkflowVerb) -> Result<(), Failure> {
    match verb {
        WorkflowVerb::Author(verb) => super::author::run(global, verb).await,
        WorkflowVerb::Apply { file } => {
            let text = read_document(&file).await?;
            let client = Client::from_global(global)?;
            let stored: WorkflowVersion = client.post_text("/workflows", text).await?;
            eprintln!("{} is at revision {}", printable(&stored.name), stored.revision);
            output::print(global.output, &stored, &COLUMNS, |w| vec![row(w)])
        }
        WorkflowVerb::List => {
            let client = Client::from_global(global)?;
            let list: Vec<WorkflowVersion> = client.list("/workflows", usize::MAX).await?;
            output::print(global.output, &list, &COLUMNS, |l| l.iter().map(row).collect())
        }
        WorkflowVerb::Get { workflow } => {
            let shown = find(&Client::from_global(global)?, &workflow).await?;
            if let (Format::Table, Some(source)) = (global.output, &shown.source) {
                let (name, created) = (printable(&shown.name), printable(&shown.created_at));
                eprintln!("# {name} revision {}, {created}", shown.revision);
                println!("{}", printable_lines(source));
                return Ok(());
            }
            output::print(global.output, &shown, &COLUMNS, |w| vec![row(w)])
        }
        WorkflowVerb::Import(args) => super::import::run(global, args).await,
        WorkflowVerb::Test(args) => super::test::run(global, args).await,
        WorkflowVerb::Run { workflow, target, inputs, wait, timeout } => {
            let client = Client::from_global(global)?;
            start(&client, global, &workflow, target, inputs, wait.then_some(timeout)).await
        }
    }
}

/// Finds `NAME@REVISION`, or the newest revision of `NAME`.
async fn find(client: &Client, text: &str) -> Result<WorkflowVersion, Failure> {
    let (name, revision) = split_at_sign(text);
    let revision = match revision {
        Some(revision) => revision.to_owned(),
        None => {
            let all: Vec<WorkflowVersion> =
                client.list(&path(&["workflows", name])?, usize::MAX).await?;
            let newest = all.iter().map(|version| version.revision).max();
            newest.ok_or_else(|| no_workflow(name))?.to_string()
        }
    };
    client.fetch(&path(&["workflows", name, &revision])?).await
}

fn no_workflow(name: &str) -> Failure {
    Failure::new(NOT_FOUND, format!("there is no workflow `{name}`"))
        .hint("see `openclaw workflow list`")
}

const COLUMNS: [&str; 6] = ["workflow", "revision", "version", "steps", "plugins", "created"];

fn row(workflow: &WorkflowVersion) -> Vec<String> {
    vec![
        workflow.name.clone(),
        workflow.revision.to_string(),
        workflow.version.clone(),
        workflow.steps.to_string(),
        workflow.plugins.join(", "),
        workflow.created_at.clone(),
    ]
}

async fn start(
    client: &Client,
    global: &Global,
    workflow: &str,
    devices: TargetArgs,
    inputs: Vec<(String, String)>,
    wait_seconds: Option<u64>,
) -> Result<(), Failure> {
    let inputs = inputs
        .into_iter()
        .map(|(key, text)| {
            let value = serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text));
            (key, value)
        })
        .collect();
    let body = StartRuns { target: target(devices)?, inputs, priority: None };
    let asked: Requests = client.post(&path(&["workflows", workflow, "run"])?, &body).await?;
    let Some(seconds) = wait_seconds else {
        return output::print(global.output, &asked, &["request", "device"], |a| {
            a.requests.iter().map(|r| vec![r.id.clone(), r.device.clone()]).collect()
        });
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    // One that refuses or is late does not hide how the others ended.
    let (mut ended, mut not_ended) = (Vec::new(), Vec::new());
    for request in &asked.requests {
        match await_end(client, request, deadline).await {
            Ok(execution) => ended.push(execution),
            Err(failure) => not_ended.push(failure),
        }
    }
    output::print(global.output, &ended, &["device", "run", "status", "outputs"], |list| {
        list.iter().map(super::run::end_row).collect()
    })?;
    let failed = ended.iter().filter(|e| !super::run::is_success(e)).count();
    verdict(failed, ended.len(), not_ended)
}

async fn await_end(
    client: &Client,
    request: &RequestView,
    deadline: Instant,
) -> Result<Execution, Failure> {
    let run = await_request(client, &request.id, deadline).await?;
    await_run(client, &request.device, &run, deadline).await
}

/// What became of all the runs together: a failed one weighs more than one that did not end.
fn verdict(failed: usize, ended: usize, mut not_ended: Vec<Failure>) -> Result<(), Failure> {
    let asked = ended + not_ended.len();
    if asked == 1
        && let Some(only) = not_ended.pop()
    {
        return Err(only);
    }
    let code = not_ended.first().map(|failure| failure.code);
    let details = not_ended.into_iter().map(|failure| failure.message).collect();
    let mut failure = match code {
        _ if failed > 0 => Failure::new(RUN_FAILED, format!("{failed} of {asked} runs failed")),
        Some(code) => Failure::new(code, format!("{ended} of {asked} runs ended")),
        None => return Ok(()),
    };
    failure.details = details;
    Err(failure)
}
