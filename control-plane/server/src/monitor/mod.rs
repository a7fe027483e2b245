//! What is counted, and how it is shown to Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::context::Context;
use crate::store::{self, Result};

/// Counters of this process since its start.
#[derive(Debug, Default)]
pub struct Metrics {
    /// HTTP answers by hundreds of their status, 1xx to 5xx.
    pub http_requests: [AtomicU64; 5],
    /// Records of devices that were new.
    pub records_ingested: AtomicU64,
    /// Records of devices that had been here already.
    pub records_repeated: AtomicU64,
    /// Transactions that took records; each takes whatever batches are waiting.
    pub ingest_commits: AtomicU64,
    /// Batches that the database could not take.
    pub ingest_failures: AtomicU64,
    /// How often the MQTT router ended and was made anew; all devices reconnect then.
    pub router_restarts: Arc<AtomicU64>,
}

impl Metrics {
    /// Counts an HTTP answer.
    pub fn count_http(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.http_requests[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what came of a batch.
    pub fn count_ingest(&self, inserted: u64, repeated: u64) {
        self.records_ingested.fetch_add(inserted, Ordering::Relaxed);
        self.records_repeated.fetch_add(repeated, Ordering::Relaxed);
    }
}

/// The Prometheus text of the moment (exposition format 0.0.4).
pub(crate) async fn prometheus(ctx: &Context) -> Result<String> {
    let mut tx = ctx.db.read().await?;
    let enrolled = store::devices::count(&mut tx).await?;
    let results = store::executions::count_results(&mut tx).await?;
    drop(tx);
    let metrics = &ctx.metrics;
    let mut text = String::new();
    let mut line = |name: &str, kind: &str, help: &str, labels: &str, value: u64| {
        if !help.is_empty() {
            _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        }
        _ = writeln!(text, "{name}{labels} {value}");
    };
    let build = format!("{{version=\"{}\",database=\"{}\"}}", crate::VERSION, ctx.db.kind());
    line("openclaw_build_info", "gauge", "What is running.", &build, 1);
    let connected = ctx.presence.count() as u64;
    line("openclaw_devices_connected", "gauge", "Devices with a session.", "", connected);
    line("openclaw_devices_enrolled", "gauge", "Devices that may connect.", "", enrolled);
    line("openclaw_results_total", "counter", "Results received, each once.", "", results);
    let ingested = metrics.records_ingested.load(Ordering::Relaxed);
    line("openclaw_records_ingested_total", "counter", "New records.", "", ingested);
    let repeated = metrics.records_repeated.load(Ordering::Relaxed);
    line("openclaw_records_repeated_total", "counter", "Records that came again.", "", repeated);
    let commits = metrics.ingest_commits.load(Ordering::Relaxed);
    line("openclaw_ingest_commits_total", "counter", "Transactions of records.", "", commits);
    let failures = metrics.ingest_failures.load(Ordering::Relaxed);
    line("openclaw_ingest_failures_total", "counter", "Batches not taken.", "", failures);
    let restarts = metrics.router_restarts.load(Ordering::Relaxed);
    line("openclaw_router_restarts_total", "counter", "MQTT routers that ended.", "", restarts);
    for (at, count) in metrics.http_requests.iter().enumerate() {
        let help = if at == 0 { "HTTP answers by class of status." } else { "" };
        let labels = format!("{{status=\"{}xx\"}}", at + 1);
        let value = count.load(Ordering::Relaxed);
        line("openclaw_http_requests_total", "counter", help, &labels, value);
    }
    Ok(text)
}
