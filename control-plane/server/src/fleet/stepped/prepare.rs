//! What simulated control planes begin with: a folder that each has a copy of.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use openclaw_protocol::id::{DeviceId, Digest};

use super::{done, operator, runtime, tenant};
use crate::clock::Clock;
use crate::config::Config;
use crate::store::devices::{NewDevice, insert};
use crate::{init, random, service};

const LIFE_MS: i64 = 90 * 24 * 3_600_000;

/// What a folder is prepared with.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Devices that are enrolled.
    pub devices: &'a [DeviceId],
    /// A plugin: its manifest and its module.
    pub plugin: (&'a str, &'a [u8]),
    /// Workflow documents, in the order of their versions.
    pub workflows: &'a [&'a str],
}

/// Makes a folder that any number of planes can begin with, each with a copy of it.
///
/// # Errors
/// Something cannot be made.
pub fn prepare(dir: &Path, clock: Clock, setup: &Setup<'_>) -> anyhow::Result<()> {
    let config = Config { data_dir: dir.to_owned(), ..Config::default() };
    // The same key in all simulations, so that the same documents have the same signatures.
    let mut key = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    key.extend([7; 32]);
    let text = data_encoding::BASE64.encode(&key);
    fs::create_dir_all(config.pki_dir())?;
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
    fs::write(config.pki_dir().join("desired.key"), pem)?;
    random::drawn::seed(1);
    runtime()?.block_on(async {
        let db = init::open_database(&config).await?;
        let ctx = Arc::new(init::context(config, clock, db).await?);
        let now_ms = ctx.clock.now_ms();
        let mut tx = ctx.db.write().await?;
        for (number, id) in (1..).zip(setup.devices) {
            let new = NewDevice {
                id,
                labels: &BTreeMap::new(),
                certificate_fingerprint: Digest([number; 32]),
                certificate_expires_ms: now_ms + LIFE_MS,
            };
            insert(&mut tx, &tenant(), &new, now_ms).await?;
        }
        tx.commit().await?;
        let (manifest, module) = setup.plugin;
        let upload = service::plugins::Upload {
            manifest: manifest.to_owned(),
            module: module.to_vec(),
            signature: None,
        };
        done(service::plugins::publish(&ctx, &operator(), upload, true).await)?;
        for document in setup.workflows {
            let document = (*document).to_owned();
            done(service::workflows::apply(&ctx, &operator(), document).await)?;
        }
        ctx.db.close().await;
        Ok(())
    })
}
