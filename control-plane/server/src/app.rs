//! The life of the control plane: build (no port is open yet), run (listen, say so, work), drain.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Config;
use crate::context::{Addresses, Ctx};
use crate::fleet;
use crate::http;
use crate::init::{self, FirstAdmin};
use crate::service::housekeeping;

pub use crate::context::{Nudge, NudgeKind};

/// How often the server looks whether its own certificate is due.
const RENEWAL: Duration = Duration::from_secs(3_600);

/// A control plane that is ready to listen.
#[derive(Debug)]
pub struct App {
    ctx: Ctx,
    /// Keeps other processes out of the data folder.
    _lock: File,
}

impl App {
    /// Opens or makes the data folder, keys and database. Opens no port. Answers the first admin
    /// if this was the first start.
    ///
    /// # Errors
    /// Something in the folder or the database cannot be made, read or brought up to date.
    pub async fn build(
        config: Config,
        clock: Clock,
        admin_password: Option<String>,
    ) -> anyhow::Result<(Self, Option<FirstAdmin>)> {
        let opened = init::open(config, clock, admin_password).await?;
        Ok((Self { ctx: opened.ctx, _lock: opened.lock }, opened.first_admin))
    }

    /// The shared state.
    #[must_use]
    pub fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// Listens, says where, and works until `stop` is cancelled; then lets what is under way end.
    ///
    /// # Errors
    /// A port cannot be opened.
    pub async fn run(
        self,
        stop: CancellationToken,
        ready: oneshot::Sender<Addresses>,
    ) -> anyhow::Result<()> {
        let ctx = Arc::clone(&self.ctx);
        let bind = ctx.config.http.bind;
        let listener = TcpListener::bind(bind)
            .await
            .with_context(|| format!("cannot listen on http.bind = {bind}"))?;
        let http = listener.local_addr()?;
        let fleet = fleet::start(Arc::clone(&ctx)).await?;
        let addresses = Addresses { http, mqtt: fleet.addr };
        // Only this function sets it, once in the life of the process.
        _ = ctx.addresses.set(addresses);
        let tls = ctx.config.http.is_tls().then(|| tls(&ctx)).transpose()?;
        let router = http::router(Arc::clone(&ctx));
        let serving = tokio::spawn(http::serve::serve(Arc::clone(&ctx), listener, tls, router));
        let keeping = tokio::spawn(housekeeping::run(Arc::clone(&ctx), ctx.stop.clone()));
        let renewing = tokio::spawn(renew(Arc::clone(&ctx)));
        tracing::info!(
            url = ctx.public_url(),
            mqtt = %addresses.mqtt,
            database = ctx.db.kind(),
            generation = %ctx.generation,
            "ready"
        );
        // A caller that does not care has dropped its end.
        _ = ready.send(addresses);
        stop.cancelled().await;
        tracing::info!("stopping");
        ctx.stop.cancel();
        fleet.finished().await;
        for task in [serving, keeping, renewing] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task ended badly");
            }
        }
        ctx.db.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// HTTPS with the fleet's own CA; no client certificates.
fn tls(ctx: &Ctx) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&ctx.identity) as Arc<_>);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn renew(ctx: Ctx) {
    let mut rounds = tokio::time::interval(RENEWAL);
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            _ = rounds.tick() => {}
        }
        match ctx.identity.renew_if_due(&ctx.ca, ctx.clock.now_ms()) {
            Ok(true) => tracing::info!("the server's certificate was renewed"),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the server's certificate was not renewed"),
        }
    }
}
