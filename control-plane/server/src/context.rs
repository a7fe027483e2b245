//! What every part of the control plane is given: the database, the clock, the keys, and the
//! three ways in which parts tell each other that something has changed.
//!
//! - [`Nudges`] go from the API to the fleet's sessions, after a commit: look again.
//! - [`Live`] goes from whoever has committed a change to the people who watch (SSE).
//! - [`Presence`] says which devices are connected; the fleet writes it, the API reads it.
//!
//! All three may be lost without harm: a session compares at each hello, a page reloads.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::Serialize;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use openclaw_protocol::id::{DeviceId, Generation, TenantId};

use crate::clock::Clock;
use crate::config::Config;
use crate::fleet::ca::{FleetCa, ServerIdentity};
use crate::identity::{Crowd, EnrolLimiter, LoginLimiter, Passwords};
use crate::monitor::Metrics;
use crate::store::Db;
use crate::vault::Vault;

/// Nudges that may wait for a slow session; one that misses some compares everything anew.
const NUDGES: usize = 1_024;
/// Live events kept for a watcher that was away, and that may wait for a slow one.
const LIVE_EVENTS: usize = 1_024;

/// The control plane's shared state.
#[derive(Debug)]
pub struct Context {
    /// How it was configured.
    pub config: Config,
    /// Where facts and intents are.
    pub db: Db,
    /// What time it is.
    pub clock: Clock,
    /// The fleet's CA, and the key that signs desired state.
    pub ca: FleetCa,
    /// What secrets are encrypted with at rest.
    pub(crate) vault: Vault,
    /// The server's own certificate, for HTTPS and MQTT alike.
    pub identity: Arc<ServerIdentity>,
    /// Cancelled when the process shall end: long answers end too.
    pub stop: CancellationToken,
    /// When this process began, milliseconds since 1970 UTC.
    pub started_ms: i64,
    /// Where it listens; set once the ports are open.
    pub addresses: OnceLock<Addresses>,
    /// Which database this is; new after a restore.
    pub generation: Generation,
    /// To the sessions: look again.
    pub nudges: Nudges,
    /// To people who watch: this has changed.
    pub live: Live,
    /// Which devices are connected.
    pub presence: Presence,
    /// What is counted.
    pub metrics: Metrics,
    /// Hashes passwords, a few at a time.
    pub(crate) passwords: Passwords,
    /// Slows down who guesses passwords.
    pub(crate) logins: LoginLimiter,
    /// Slows down who guesses join codes.
    pub(crate) enrolments: EnrolLimiter,
    /// Event streams that are open, by whose principal.
    pub(crate) streams: Crowd<(TenantId, String)>,
}

/// Where the control plane listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// API and console.
    pub http: SocketAddr,
    /// The gate for devices.
    pub mqtt: SocketAddr,
}

impl Context {
    /// Port that devices are told for MQTT over TLS.
    #[must_use]
    pub fn mqtt_public_port(&self) -> u16 {
        let bound = self.addresses.get().map_or(self.config.mqtt.bind.port(), |a| a.mqtt.port());
        self.config.mqtt.public_port.unwrap_or(bound)
    }

    /// What people and devices type to reach the API, without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> String {
        if let Some(url) = &self.config.http.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.config.http.is_tls() { "https" } else { "http" };
        let bound = self.addresses.get().map_or(self.config.http.bind.port(), |a| a.http.port());
        format!("{scheme}://{}:{bound}", self.config.public_host)
    }
}

/// The shared state as it is handed about.
pub type Ctx = Arc<Context>;

/// What a device's session shall look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NudgeKind {
    /// There is a newer desired state.
    Desired,
    /// There are more commands.
    Commands,
    /// The device is revoked or removed: cut it off and let it in no more.
    Revoked,
}

/// Told after a commit that concerns one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nudge {
    /// Whose device.
    pub tenant: TenantId,
    /// Which device.
    pub device: DeviceId,
    /// What has changed.
    pub kind: NudgeKind,
}

/// The way nudges go. A receiver that lags gets `Lagged` and must take everything as changed.
#[derive(Debug)]
pub struct Nudges(broadcast::Sender<Nudge>);

impl Default for Nudges {
    fn default() -> Self {
        Self(broadcast::Sender::new(NUDGES))
    }
}

impl Nudges {
    /// Tells whoever listens.
    pub fn send(&self, tenant: &TenantId, device: &DeviceId, kind: NudgeKind) {
        // No listener is no fault: a session that starts later compares everything anyway.
        drop(self.0.send(Nudge { tenant: tenant.clone(), device: device.clone(), kind }));
    }

    /// Listens from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Nudge> {
        self.0.subscribe()
    }
}

/// What has changed, for pages that are open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum LiveChange {
    /// A device: connected, gone, reported, enrolled, labelled, revoked.
    Device {
        /// Which.
        device: String,
    },
    /// A run: something happened in it.
    Run {
        /// On which device.
        device: String,
        /// Which.
        run: String,
    },
    /// A wish was answered.
    Request {
        /// Which.
        request: String,
    },
    /// A deployment was made, rolled back or deleted.
    Deployment {
        /// Which.
        deployment: String,
    },
    /// A workflow version was stored.
    Workflow {
        /// Which.
        workflow: String,
    },
}

impl LiveChange {
    /// The change's name in the event stream.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Device { .. } => "device",
            Self::Run { .. } => "run",
            Self::Request { .. } => "request",
            Self::Deployment { .. } => "deployment",
            Self::Workflow { .. } => "workflow",
        }
    }
}

/// A change with its place in the stream.
#[derive(Debug, Clone)]
pub struct LiveEvent {
    /// Counts up from 1 since the process started.
    pub id: u64,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub change: LiveChange,
}

/// The stream of changes, with a short memory for watchers that come back.
#[derive(Debug)]
pub struct Live {
    sender: broadcast::Sender<LiveEvent>,
    recent: Mutex<VecDeque<LiveEvent>>,
}

impl Default for Live {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(LIVE_EVENTS), recent: Mutex::default() }
    }
}

/// What a watcher starts with.
#[derive(Debug)]
pub struct LiveFeed {
    /// What it has missed, oldest first; `None` where the memory does not reach back that far.
    pub missed: Option<Vec<LiveEvent>>,
    /// What comes now.
    pub receiver: broadcast::Receiver<LiveEvent>,
}

impl Live {
    /// Tells watchers of `tenant` what has been committed.
    pub fn publish(&self, tenant: &TenantId, changes: impl IntoIterator<Item = LiveChange>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            let id = recent.back().map_or(1, |last| last.id + 1);
            let event = LiveEvent { id, tenant: tenant.clone(), change };
            if recent.len() == LIVE_EVENTS {
                recent.pop_front();
            }
            recent.push_back(event.clone());
            drop(self.sender.send(event));
        }
    }

    /// Watches from now on, or from after event `last` if that is still remembered.
    #[must_use]
    pub fn watch(&self, tenant: &TenantId, last: Option<u64>) -> LiveFeed {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let receiver = self.sender.subscribe();
        let newest = recent.back().map_or(0, |event| event.id);
        let oldest = recent.front().map_or(1, |event| event.id);
        let missed = match last {
            None => Some(Vec::new()),
            Some(last) if last + 1 < oldest || last > newest => None,
            Some(last) => Some(
                recent.iter().filter(|e| e.id > last && e.tenant == *tenant).cloned().collect(),
            ),
        };
        LiveFeed { missed, receiver }
    }
}

/// Which devices are connected, with the number of the connection, so that an old connection's
/// end does not hide a new one.
#[derive(Debug, Default)]
pub struct Presence(Mutex<BTreeMap<(TenantId, DeviceId), u64>>);

impl Presence {
    /// The device's session number `connection` is up.
    pub fn set_online(&self, tenant: &TenantId, device: &DeviceId, connection: u64) {
        self.lock().insert((tenant.clone(), device.clone()), connection);
    }

    /// The device's session number `connection` has ended.
    pub fn set_offline(&self, tenant: &TenantId, device: &DeviceId, connection: u64) {
        let mut online = self.lock();
        let key = (tenant.clone(), device.clone());
        if online.get(&key) == Some(&connection) {
            online.remove(&key);
        }
    }

    /// Whether the device's session is up.
    #[must_use]
    pub fn is_online(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        self.lock().contains_key(&(tenant.clone(), device.clone()))
    }

    /// How many devices are connected, of all tenants.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(TenantId, DeviceId), u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(device: &str) -> LiveChange {
        LiveChange::Device { device: device.to_owned() }
    }

    #[test]
    fn a_watcher_gets_what_it_missed_of_its_own_tenant_only() {
        let (a, b) = (TenantId::parse("a").unwrap(), TenantId::parse("b").unwrap());
        let live = Live::default();
        live.publish(&a, [change("one"), change("two")]);
        live.publish(&b, [change("other")]);
        let missed = live.watch(&a, Some(1)).missed.unwrap();
        assert_eq!(missed.iter().map(|e| e.id).collect::<Vec<_>>(), [2]);
        assert!(live.watch(&a, None).missed.unwrap().is_empty());
        assert!(live.watch(&a, Some(9)).missed.is_none(), "an id of an earlier process");
    }

    #[test]
    fn a_watcher_that_was_away_too_long_is_told_so() {
        let a = TenantId::parse("a").unwrap();
        let live = Live::default();
        live.publish(&a, (0..=LIVE_EVENTS).map(|_| change("d")));
        assert!(live.watch(&a, Some(0)).missed.is_none());
        assert!(live.watch(&a, Some(1)).missed.is_some());
    }

    #[test]
    fn the_end_of_an_old_connection_does_not_hide_the_new_one() {
        let (tenant, device) = (TenantId::parse("a").unwrap(), DeviceId::parse("d").unwrap());
        let presence = Presence::default();
        presence.set_online(&tenant, &device, 1);
        presence.set_online(&tenant, &device, 2);
        presence.set_offline(&tenant, &device, 1);
        assert!(presence.is_online(&tenant, &device));
        presence.set_offline(&tenant, &device, 2);
        assert_eq!(presence.count(), 0);
    }
}
