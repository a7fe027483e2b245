//! `openclaw run retry`, `run export` and `run record`: runs once more, on their device or at the
//! desk.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use openclaw_protocol::api::{
    RecordRuns, RequestView, Requests, RetriedRun, RetriedRuns, RetryRuns,
};
use serde_json::json;

use super::{LOOK_EVERY, await_request, find};
use crate::args::{Global, Which};
use crate::client::{Client, encoded, path};
use crate::commands::confirm;
use crate::exit::{FAILED, Failure, NOT_FOUND, UNREACHABLE};
use crate::output;

/// Parts that are asked for at most, of up to 1,000 runs each.
const PARTS: usize = 100;

/// Retries one run.
pub(super) async fn one(
    client: &Client,
    global: &Global,
    run: &str,
    from_failed: bool,
) -> Result<(), Failure> {
    let (device, run) = find(client, run).await?;
    let retry = path(&["executions", &device, &run, "retry"])?;
    let asked: Requests = client.post(&format!("{retry}?from_failed={from_failed}"), &()).await?;
    output::print(global.output, &asked, &["request", "device"], |a| {
        a.requests.iter().map(|r| vec![r.id.clone(), r.device.clone()]).collect()
    })
}

/// Retries all that match, after saying how many these are.
pub(super) async fn many(
    client: &Client,
    global: &Global,
    which: Which,
    from_failed: bool,
    dry_run: bool,
) -> Result<(), Failure> {
    let Which { device, workflow, status, error, since } = which;
    let since_ms = since.map(|since| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(now.saturating_sub(since).as_millis()).unwrap_or(i64::MAX)
    });
    let wanted = RetryRuns {
        workflow,
        device,
        status,
        error,
        since_ms,
        from_failed,
        dry_run: true,
        cursor: None,
    };
    let meant = all(client, wanted.clone()).await?;
    let ready = meant.iter().filter(|run| run.refusal.is_none()).count();
    if dry_run || ready == 0 {
        return show(global, &meant);
    }
    let how = if from_failed { " from where they failed" } else { "" };
    confirm(global.yes, &format!("retry {ready} runs{how}?")).await?;
    show(global, &all(client, RetryRuns { dry_run: false, ..wanted }).await?)
}

/// Asks for all that match, a part after the other. What fails anew meanwhile is not among them.
async fn all(client: &Client, mut wanted: RetryRuns) -> Result<Vec<RetriedRun>, Failure> {
    let mut runs = Vec::new();
    for _ in 0..PARTS {
        let part: RetriedRuns = client.post("/executions/retry", &wanted).await?;
        runs.extend(part.runs);
        wanted.cursor = part.next_cursor;
        if wanted.cursor.is_none() {
            return Ok(runs);
        }
        eprintln!("{} runs so far", runs.len());
    }
    eprintln!("there are more; narrow the filter for the rest, with --since or --device");
    Ok(runs)
}

fn show(global: &Global, retried: &[RetriedRun]) -> Result<(), Failure> {
    let header = ["device", "run", "workflow", "request", "not because"];
    output::print(global.output, &retried, &header, |runs| runs.iter().map(row).collect())
}

fn row(run: &RetriedRun) -> Vec<String> {
    vec![
        run.device.clone(),
        run.run.clone(),
        run.workflow.clone(),
        run.request.clone().unwrap_or_default(),
        run.refusal.as_ref().map_or_else(String::new, |refusal| refusal.message.clone()),
    ]
}

/// Asks for a recording, waits for it and writes it down.
pub(super) async fn export(
    client: &Client,
    run: &str,
    file: Option<&Path>,
    timeout: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    let (device, run) = find(client, run).await?;
    let recording = path(&["executions", &device, &run, "recording"])?;
    let asked: Requests = client.post(&recording, &json!({})).await?;
    let Some(request) = asked.requests.first() else {
        return Err(Failure::new(FAILED, "the control plane wrote no wish down".to_owned()));
    };
    await_request(client, &request.id, deadline).await?;
    let mine = format!("{recording}?request={}", encoded(&request.id));
    let text = loop {
        match client.fetch_text(&mine).await {
            Err(failure) if failure.code == NOT_FOUND && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(failure) if failure.code == NOT_FOUND => {
                let message = format!("{device} is still sending the recording");
                let hint = "it goes on by itself; ask again later, with a longer --timeout";
                return Err(Failure::new(UNREACHABLE, message).hint(hint));
            }
            answer => break answer?,
        }
    };
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => std::fs::write(file, text)
            .map_err(|e| Failure::new(FAILED, format!("cannot write {}: {e}", file.display()))),
        None => Ok(writeln!(std::io::stdout().lock(), "{text}")?),
    }
}

/// Asks a device to record the next runs of a workflow, and waits for its word.
pub(super) async fn record(
    client: &Client,
    device: &str,
    wanted: &RecordRuns,
    timeout: Duration,
) -> Result<(), Failure> {
    let deadline = Instant::now() + timeout;
    let asked: Requests = client.post(&path(&["devices", device, "recordings"])?, wanted).await?;
    let Some(request) = asked.requests.first() else {
        return Err(Failure::new(FAILED, "the control plane wrote no wish down".to_owned()));
    };
    loop {
        let view: RequestView = client.fetch(&path(&["requests", &request.id])?).await?;
        if let Some(refusal) = view.refusal {
            let message = format!("{device} refuses: {} [{}]", refusal.message, refusal.code);
            return Err(Failure::new(FAILED, message));
        }
        if view.answered {
            let RecordRuns { workflow, next } = wanted;
            eprintln!("{device} records the next {next} runs of {workflow}");
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(UNREACHABLE, format!("{device} has not answered yet"))
                .hint("it will when it is online; the wish is kept"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
