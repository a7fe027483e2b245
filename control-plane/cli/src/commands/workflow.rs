//! `openclaw workflow`.

use std::time::{Duration, Instant};

use openclaw_protocol::api::{ProblemItem, Requests, StartRuns, Validation, WorkflowVersion};
use openclaw_protocol::definition;

use super::run::{await_request, await_run};
use super::{read_document, split_at_sign, target};
use crate::args::{Global, TargetArgs, WorkflowVerb};
use crate::client::Client;
use crate::exit::{Failure, INVALID, NOT_FOUND, RUN_FAILED, fault_line};
use crate::output::{self, Format};

/// `openclaw workflow …`.
pub(crate) async fn run(global: &Global, verb: WorkflowVerb) -> Result<(), Failure> {
    match verb {
        WorkflowVerb::Validate { file } => validate(global, &read_document(&file)?),
        WorkflowVerb::Apply { file } => {
            let text = read_document(&file)?;
            let client = Client::from_global(global)?;
            let stored: WorkflowVersion = client.post_text("/workflows", text).await?;
            eprintln!("{} is at revision {}", stored.name, stored.revision);
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
                eprintln!("# {} revision {}, {}", shown.name, shown.revision, shown.created_at);
                println!("{source}");
                return Ok(());
            }
            output::print(global.output, &shown, &COLUMNS, |w| vec![row(w)])
        }
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
                client.list(&format!("/workflows/{name}"), usize::MAX).await?;
            let newest = all.iter().map(|version| version.revision).max();
            newest.ok_or_else(|| no_workflow(name))?.to_string()
        }
    };
    client.fetch(&format!("/workflows/{name}/{revision}")).await
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

/// Checks on this machine, by the very parser that server and device use.
fn validate(global: &Global, text: &str) -> Result<(), Failure> {
    let errors: Vec<ProblemItem> = match definition::parse(text) {
        Ok(_) => Vec::new(),
        Err(error) => error.problems.iter().map(ProblemItem::from).collect(),
    };
    let verdict = Validation { valid: errors.is_empty(), errors };
    if global.output != Format::Table {
        output::print(global.output, &verdict, &[], |_| Vec::new())?;
    }
    if verdict.valid {
        eprintln!("valid");
        return Ok(());
    }
    let mut failure =
        Failure::new(INVALID, format!("the document has {} fault(s)", verdict.errors.len()));
    if global.output == Format::Table {
        failure.details = verdict.errors.iter().map(fault_line).collect();
    }
    Err(failure)
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
    let asked: Requests = client.post(&format!("/workflows/{workflow}/run"), &body).await?;
    let Some(seconds) = wait_seconds else {
        return output::print(global.output, &asked, &["request", "device"], |a| {
            a.requests.iter().map(|r| vec![r.id.clone(), r.device.clone()]).collect()
        });
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut ended = Vec::new();
    for request in &asked.requests {
        let run = await_request(client, &request.id, deadline).await?;
        ended.push(await_run(client, &request.device, &run, deadline, |_| ()).await?);
    }
    let failed = ended.iter().filter(|e| !super::run::is_success(e)).count();
    output::print(global.output, &ended, &["device", "run", "status", "outputs"], |list| {
        list.iter().map(super::run::end_row).collect()
    })?;
    if failed > 0 {
        return Err(Failure::new(RUN_FAILED, format!("{failed} of {} runs failed", ended.len())));
    }
    Ok(())
}
