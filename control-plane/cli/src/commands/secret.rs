//! `openclaw secret`.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use openclaw_protocol::api::{PutSecret, Secret, SecretDetail, SecretDevice, SecretDeviceState};
use reqwest::Method;
use serde_json::json;
use zeroize::Zeroizing;

use super::{ask, confirm, read_stdin};
use crate::args::{Global, SecretVerb, ValueSource};
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure};
use crate::output::{self, Format, name_of, time};

const COLUMNS: [&str; 5] = ["name", "version", "devices", "updated", "by"];
const DEVICE_COLUMNS: [&str; 5] = ["device", "state", "version", "online", "last seen"];
/// How often it is asked whether devices have a new value.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// `openclaw secret …`.
pub(crate) async fn run(client: &Client, global: &Global, verb: SecretVerb) -> Result<(), Failure> {
    match verb {
        SecretVerb::Set { name, source } => {
            let path = path(&["secrets", &name])?;
            let secret = put(client, &path, &name, source).await?;
            output::done(global.output, &secret, &format!("{name} has version {}", secret.version))
        }
        SecretVerb::List => {
            let secrets: Vec<Secret> = client.list("/secrets", usize::MAX).await?;
            output::print(global.output, &secrets, &COLUMNS, |list| list.iter().map(row).collect())
        }
        SecretVerb::Get { name } => {
            let detail: SecretDetail = client.fetch(&path(&["secrets", &name])?).await?;
            show(global, &detail)
        }
        SecretVerb::Rotate { name, source, wait } => {
            rotate(client, global, &name, source, wait).await
        }
        SecretVerb::Delete { name } => {
            let path = path(&["secrets", &name])?;
            confirm(global.yes, &format!("delete the secret {name}?")).await?;
            client.call(Method::DELETE, &path).await?;
            let data = json!({ "name": name, "deleted": true });
            output::done(global.output, &data, &format!("{name} is deleted"))
        }
    }
}

async fn rotate(
    client: &Client,
    global: &Global,
    name: &str,
    source: ValueSource,
    wait_s: u64,
) -> Result<(), Failure> {
    let path = path(&["secrets", name])?;
    // A name that is mistyped must not become a new secret.
    let before: SecretDetail = client.fetch(&path).await?;
    let secret = put(client, &path, name, source).await?;
    eprintln!("{name} went from version {} to {}", before.secret.version, secret.version);
    let until = Instant::now() + Duration::from_secs(wait_s);
    let detail = loop {
        let detail: SecretDetail = client.fetch(&path).await?;
        let waits =
            |device: &SecretDevice| device.online && device.state == SecretDeviceState::Pending;
        if !detail.devices.iter().any(waits) || Instant::now() >= until {
            break detail;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    if global.output != Format::Table {
        return show(global, &detail);
    }
    let (ready, devices) = (detail.secret.devices_ready, detail.secret.devices);
    if ready >= devices {
        eprintln!("all {devices} devices have it");
        return Ok(());
    }
    eprintln!("{ready} of {devices} devices have it; these have not got it yet:");
    let behind = |device: &&SecretDevice| device.state != SecretDeviceState::Ready;
    let rows =
        |detail: &SecretDetail| detail.devices.iter().filter(behind).map(device_row).collect();
    output::print(global.output, &detail, &DEVICE_COLUMNS, rows)
}

async fn put(
    client: &Client,
    path: &str,
    name: &str,
    source: ValueSource,
) -> Result<Secret, Failure> {
    let value = read_value(name, source).await?;
    client.put(path, &PutSecret { value }).await
}

/// Reads a value. One newline at its end is an editor's or `echo`'s, and not meant.
async fn read_value(name: &str, source: ValueSource) -> Result<Zeroizing<String>, Failure> {
    let text = if let Some(file) = source.from_file {
        std::fs::read_to_string(&file)
            .map_err(|e| Failure::new(FAILED, format!("cannot read {}: {e}", file.display())))?
    } else if std::io::stdin().is_terminal() {
        let prompt = format!("Value of {name}: ");
        ask(move || Ok(rpassword::prompt_password(prompt)?)).await?
    } else {
        ask(read_stdin).await?
    };
    let text = Zeroizing::new(text);
    let value =
        text.strip_suffix('\n').map_or(text.as_str(), |t| t.strip_suffix('\r').unwrap_or(t));
    Ok(Zeroizing::new(value.to_owned()))
}

fn show(global: &Global, detail: &SecretDetail) -> Result<(), Failure> {
    output::print(global.output, detail, &DEVICE_COLUMNS, |detail| {
        detail.devices.iter().map(device_row).collect()
    })
}

fn row(secret: &Secret) -> Vec<String> {
    vec![
        secret.name.clone(),
        secret.version.to_string(),
        format!("{} of {}", secret.devices_ready, secret.devices),
        secret.updated_at.clone(),
        secret.updated_by.clone(),
    ]
}

fn device_row(device: &SecretDevice) -> Vec<String> {
    vec![
        device.device.clone(),
        name_of(&device.state),
        device.version.map_or_else(|| "-".to_owned(), |version| version.to_string()),
        device.online.to_string(),
        time(device.last_seen_at.as_ref()),
    ]
}
