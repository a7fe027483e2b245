//! `openclaw deployment`.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use openclaw_protocol::api::{CreateDeployment, Deployment, DeploymentState, Target};
use reqwest::Method;
use serde_json::json;

use super::{confirm, split_at_sign, target};
use crate::args::{DeploymentVerb, Global};
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure, INVALID, UNREACHABLE};
use crate::output::{self, labels, name_of, printable};

/// How often a roll-out is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// `openclaw deployment …`.
pub(crate) async fn run(
    client: &Client,
    global: &Global,
    verb: DeploymentVerb,
) -> Result<(), Failure> {
    match verb {
        DeploymentVerb::Create { workflow, target: devices, wait, timeout } => {
            let (name, revision) = split_at_sign(&workflow);
            let revision = revision
                .map(|r| {
                    r.parse().map_err(|_| {
                        Failure::new(INVALID, format!("`{r}` is not a revision number"))
                    })
                })
                .transpose()?;
            let body =
                CreateDeployment { workflow: name.to_owned(), revision, target: target(devices)? };
            let mut made: Deployment = client.post("/deployments", &body).await?;
            eprintln!("deployment {}", printable(&made.id));
            if wait {
                made = follow(client, &made.id, Duration::from_secs(timeout)).await?;
            }
            show(global, &made)?;
            let refused = count(&made, DeploymentState::Refused);
            if wait && refused > 0 {
                return Err(Failure::new(FAILED, format!("{refused} device(s) refuse it")));
            }
            Ok(())
        }
        DeploymentVerb::Status { id: Some(id) } => {
            let shown: Deployment = client.fetch(&path(&["deployments", &id])?).await?;
            show(global, &shown)
        }
        DeploymentVerb::Status { id: None } => {
            let all: Vec<Deployment> = client.list("/deployments", usize::MAX).await?;
            let header =
                ["deployment", "workflow", "revision", "target", "active", "refused", "pending"];
            output::print(global.output, &all, &header, |list| list.iter().map(row).collect())
        }
        DeploymentVerb::Rollback { id } => {
            let rollback = path(&["deployments", &id, "rollback"])?;
            let back: Deployment = client.post(&rollback, &()).await?;
            eprintln!("{} goes back to revision {}", printable(&back.workflow), back.revision);
            show(global, &back)
        }
        DeploymentVerb::Delete { id } => {
            let path = path(&["deployments", &id])?;
            confirm(global.yes, &format!("take deployment {id} off its devices?")).await?;
            client.call(Method::DELETE, &path).await?;
            let data = json!({ "id": id, "deleted": true });
            output::done(global.output, &data, &format!("deployment {id} is deleted"))
        }
    }
}

/// Waits, with a progress bar, until no device is pending. A deployment that reaches none fails:
/// nothing has been rolled out.
pub(crate) async fn follow(
    client: &Client,
    id: &str,
    most: Duration,
) -> Result<Deployment, Failure> {
    let deadline = Instant::now() + most;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("rolling out {bar:30} {pos}/{len} devices")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let path = path(&["deployments", id])?;
    loop {
        let now: Deployment = client.fetch(&path).await?;
        if now.devices.is_empty() {
            bar.finish_and_clear();
            return Err(Failure::new(FAILED, format!("deployment {id} reaches no device")).hint(
                "no device has these labels, or another deployment decides on those that have; \
                 see `openclaw device list` and `openclaw deployment status`",
            ));
        }
        let pending = count(&now, DeploymentState::Pending);
        bar.set_length(now.devices.len() as u64);
        bar.set_position((now.devices.len() - pending) as u64);
        if pending == 0 {
            bar.finish_and_clear();
            return Ok(now);
        }
        if Instant::now() >= deadline {
            bar.finish_and_clear();
            return Err(Failure::new(
                UNREACHABLE,
                format!("{pending} device(s) have not answered yet"),
            )
            .hint(format!(
                "they will when they are online; look again with `openclaw deployment status {id}`"
            )));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn count(deployment: &Deployment, state: DeploymentState) -> usize {
    deployment.devices.iter().filter(|d| d.state == state).count()
}

fn row(deployment: &Deployment) -> Vec<String> {
    vec![
        deployment.id.clone(),
        deployment.workflow.clone(),
        deployment.revision.to_string(),
        describe_target(&deployment.target),
        count(deployment, DeploymentState::Active).to_string(),
        count(deployment, DeploymentState::Refused).to_string(),
        count(deployment, DeploymentState::Pending).to_string(),
    ]
}

fn describe_target(target: &Target) -> String {
    let mut parts = Vec::new();
    if !target.devices.is_empty() {
        parts.push(target.devices.join(","));
    }
    if !target.labels.is_empty() {
        parts.push(labels(&target.labels));
    }
    parts.join(" + ")
}

fn show(global: &Global, deployment: &Deployment) -> Result<(), Failure> {
    for notice in &deployment.notices {
        eprintln!("notice: {}", printable(notice));
    }
    output::print(global.output, deployment, &["device", "state", "why"], |d| {
        d.devices
            .iter()
            .map(|device| {
                vec![
                    device.device.clone(),
                    name_of(&device.state),
                    device.refusal.as_ref().map_or_else(String::new, |r| r.message.clone()),
                ]
            })
            .collect()
    })
}
