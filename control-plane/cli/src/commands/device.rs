//! `openclaw device`.

use openclaw_protocol::api::{CreateJoinCode, Device, JoinCode, Ledger};
use reqwest::Method;
use serde_json::json;

use super::confirm;
use crate::args::{DeviceVerb, Global, LabelChange};
use crate::client::{Client, path};
use crate::exit::Failure;
use crate::output::{self, Format, labels, printable, time};

const HEADER: [&str; 6] = ["device", "state", "last seen", "agent", "labels", "results"];

/// `openclaw device …`.
pub(crate) async fn run(client: &Client, global: &Global, verb: DeviceVerb) -> Result<(), Failure> {
    match verb {
        DeviceVerb::List => {
            let devices: Vec<Device> = client.list("/devices", usize::MAX).await?;
            output::print(global.output, &devices, &HEADER, |d| d.iter().map(row).collect())
        }
        DeviceVerb::Get { id } => {
            let device: Device = client.fetch(&path(&["devices", &id])?).await?;
            output::print(global.output, &device, &["what", "value"], describe)
        }
        DeviceVerb::EnrollCode { id, labels, minutes } => {
            let body = CreateJoinCode {
                device_id: id,
                labels: labels.into_iter().collect(),
                minutes: Some(minutes),
            };
            let code: JoinCode = client.post("/devices/enroll-codes", &body).await?;
            if global.output != Format::Table {
                return output::print(global.output, &code, &[], |_| Vec::new());
            }
            let until = printable(&code.expires_at);
            eprintln!("single use, until {until}; type on the device:");
            println!("{}", printable(&code.command));
            Ok(())
        }
        DeviceVerb::Revoke { id } => {
            let path = path(&["devices", &id, "revoke"])?;
            confirm(global.yes, &format!("lock {id} out at once?")).await?;
            let device: Device = client.post(&path, &()).await?;
            output::done(global.output, &device, &format!("{id} is revoked"))
        }
        DeviceVerb::Remove { id } => {
            let path = path(&["devices", &id])?;
            confirm(global.yes, &format!("lock {id} out and remove all its results?")).await?;
            client.call(Method::DELETE, &path).await?;
            let data = json!({ "id": id, "removed": true });
            output::done(global.output, &data, &format!("{id} is removed"))
        }
        DeviceVerb::Label { id, changes } => {
            let device: Device = client.fetch(&path(&["devices", &id])?).await?;
            let mut labels = device.labels;
            for change in changes {
                match change {
                    LabelChange::Set(key, value) => labels.insert(key, value),
                    LabelChange::Remove(key) => labels.remove(&key),
                };
            }
            let device: Device = client.put(&path(&["devices", &id, "labels"])?, &labels).await?;
            output::print(global.output, &device, &HEADER, |d| vec![row(d)])
        }
    }
}

/// `online`, `offline` or `revoked`.
fn state(device: &Device) -> String {
    match (device.revoked, device.online) {
        (true, _) => "revoked",
        (false, true) => "online",
        (false, false) => "offline",
    }
    .to_owned()
}

fn row(device: &Device) -> Vec<String> {
    vec![
        device.id.clone(),
        state(device),
        time(device.last_seen_at.as_ref()),
        device.inventory.as_ref().map_or_else(|| "-".to_owned(), |i| i.agent_version.clone()),
        labels(&device.labels),
        device.ledger.first().map_or_else(|| "-".to_owned(), ledger),
    ]
}

/// The ledger as one sentence.
fn ledger(entry: &Ledger) -> String {
    format!(
        "complete to {}, {} outstanding, {} received",
        entry.complete_to, entry.missing, entry.received
    )
}

fn describe(device: &Device) -> Vec<Vec<String>> {
    let mut rows = vec![
        vec!["id".to_owned(), device.id.clone()],
        vec!["state".to_owned(), state(device)],
        vec!["labels".to_owned(), labels(&device.labels)],
        vec!["enrolled".to_owned(), device.enrolled_at.clone()],
        vec!["last seen".to_owned(), time(device.last_seen_at.as_ref())],
        vec!["certificate ends".to_owned(), device.certificate_expires_at.clone()],
        vec![
            "desired state".to_owned(),
            format!("revision {}, in force {}", device.desired_revision, device.reported_revision),
        ],
    ];
    if let Some(inventory) = &device.inventory {
        let agent = format!(
            "{} on {}/{}, {} slots, boot {}",
            inventory.agent_version, inventory.os, inventory.arch, inventory.slots, inventory.boot
        );
        rows.push(vec!["agent".to_owned(), agent]);
        rows.push(vec!["offers files".to_owned(), inventory.files.join(", ")]);
    }
    for (workflow, refusal) in &device.refused {
        rows.push(vec![format!("refuses {workflow}"), refusal.message.clone()]);
    }
    for entry in &device.ledger {
        rows.push(vec![format!("results of {}", entry.epoch), ledger(entry)]);
    }
    rows
}
