//! `openclaw security-event`.

use openclaw_protocol::api::SecurityEvent;

use crate::args::{Global, SecurityEventVerb};
use crate::client::{Client, encoded};
use crate::exit::Failure;
use crate::output;

const HEADER: [&str; 4] = ["heard of", "device", "code", "message"];

/// `openclaw security-event …`.
pub(crate) async fn run(
    client: &Client,
    global: &Global,
    verb: SecurityEventVerb,
) -> Result<(), Failure> {
    match verb {
        SecurityEventVerb::List { device, limit } => {
            let mut list = "/security-events".to_owned();
            if let Some(device) = device {
                list.push_str(&format!("?device={}", encoded(&device)));
            }
            let events: Vec<SecurityEvent> = client.list(&list, limit).await?;
            output::print(global.output, &events, &HEADER, |e| e.iter().map(row).collect())
        }
    }
}

fn row(event: &SecurityEvent) -> Vec<String> {
    vec![
        output::time(Some(&event.received_at)),
        event.device.clone(),
        event.code.clone(),
        event.message.clone(),
    ]
}
