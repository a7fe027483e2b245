//! The fleet: one sync session per connected device, enrolment, the CA.
//!
//! What the rest of the crate asks of this module: [`start`] (opens the gate, answers its address),
//! [`FleetHandle::finished`] (after `ctx.stop`), and [`enroll`].
//!
//! Inside: `roster` knows who is connected and hands each frame to that device's `session`, which
//! drives the pure sync session of `openclaw_protocol::sync`; `intake` writes what all sessions
//! have received, many devices in one transaction. Only these write facts.

pub mod ca;
#[cfg(test)]
mod comeback_tests;
mod enrol;
mod intake;
mod roster;
mod session;
#[cfg(feature = "testing")]
pub mod stepped;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::FutureExt;
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use tokio::task::JoinHandle;

use crate::broker::connection::{Access, Directory};
use crate::broker::router::Hub;
use crate::broker::{GateLimits, gate, tls};
use crate::context::Ctx;
use crate::store::{self, Db};

pub(crate) use enrol::enroll;

/// A running fleet.
pub(crate) struct FleetHandle {
    /// Where the gate listens.
    pub(crate) addr: SocketAddr,
    roster: JoinHandle<()>,
    intake: JoinHandle<()>,
}

impl FleetHandle {
    /// Waits until everything has ended, after `ctx.stop` was cancelled: connections first, then
    /// sessions, then what they had handed in.
    pub(crate) async fn finished(self) {
        for (what, task) in [("roster", self.roster), ("intake", self.intake)] {
            if let Err(error) = task.await {
                tracing::error!(%error, what, "a task of the fleet ended badly");
            }
        }
    }
}

/// Opens the gate at `ctx.config.mqtt.bind` and begins to serve devices, until `ctx.stop`.
///
/// # Errors
/// The port cannot be opened, or TLS cannot be set up.
pub(crate) async fn start(ctx: Ctx) -> anyhow::Result<FleetHandle> {
    start_with(ctx, GateLimits::default()).await
}

async fn start_with(ctx: Ctx, limits: GateLimits) -> anyhow::Result<FleetHandle> {
    intake::reread(&ctx).await;
    let tls = tls::server_config(&ctx.ca, Arc::clone(&ctx.identity))?;
    let restarts = Arc::clone(&ctx.metrics.router_restarts);
    let (hub, frames) = Hub::start(limits.connections, restarts, ctx.stop.clone());
    let bind = ctx.config.mqtt.bind;
    let directory = directory(ctx.db.clone());
    let (gate, news) = gate::start(bind, tls, hub.clone(), directory, limits, ctx.stop.clone())
        .await
        .with_context(|| format!("cannot listen on mqtt.bind = {bind}"))?;
    let addr = gate.addr;
    let (desk, intake) = intake::start(Arc::clone(&ctx));
    let roster = roster::Roster::new(ctx, hub, gate, desk);
    let roster = tokio::spawn(roster.run(news, frames));
    Ok(FleetHandle { addr, roster, intake })
}

/// Who may connect: known devices that are not revoked, with the certificate they were given last.
fn directory(db: Db) -> Directory {
    Arc::new(move |tenant, device, certificate| {
        let db = db.clone();
        async move { look_up(&db, &tenant, &device, certificate).await.map_err(|e| e.to_string()) }
            .boxed()
    })
}

async fn look_up(
    db: &Db,
    tenant: &TenantId,
    device: &DeviceId,
    certificate: Digest,
) -> store::Result<Access> {
    let mut tx = db.read().await?;
    // First, so that a removed device's certificate is told from one that never was.
    if store::devices::is_certificate_revoked(&mut tx, certificate).await? {
        return Ok(Access::Revoked);
    }
    Ok(match store::fleet::device(&mut tx, tenant, device).await? {
        None => Access::Unknown,
        Some(row) if row.revoked => Access::Revoked,
        // Of an earlier enrolment under this id, which an old backup may not know as revoked.
        Some(row) if row.certificate_fingerprint != certificate => Access::Unknown,
        Some(_) => Access::Granted,
    })
}
