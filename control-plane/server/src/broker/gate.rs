//! The gate: accepts connections, counts them, knows which device is behind which, and can cut
//! any of them at once. It awaits no client: everything slow happens in the connection's own task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use openclaw_protocol::id::{DeviceId, TenantId};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::GateLimits;
use super::acl::{Identity, Violation};
use super::connection::{self, Directory, End, Shared};
use super::router::Hub;
use crate::network::one_host;

/// Questions that connections may have waiting for the gate.
const ASKS: usize = 1_024;
/// Events that may wait for the fleet.
const EVENTS: usize = 1_024;
/// After a failed accept (most likely: no file descriptors), wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections may take to end when the gate does.
const DRAIN: Duration = Duration::from_secs(5);

/// What the fleet is told.
#[derive(Debug)]
pub(crate) enum GateEvent {
    /// A device is connected. Its frames come after this.
    Connected {
        /// Whose.
        tenant: TenantId,
        /// Which.
        device: DeviceId,
        /// The connection's number; each has its own.
        connection: u64,
    },
    /// A device's connection has ended.
    Disconnected {
        /// Whose.
        tenant: TenantId,
        /// Which.
        device: DeviceId,
        /// The connection's number.
        connection: u64,
    },
    /// A device did what it must not, and was cut off.
    Violation {
        /// Whose.
        tenant: TenantId,
        /// Which.
        device: DeviceId,
        /// What it did.
        violation: Violation,
        /// From where.
        peer: IpAddr,
    },
}

/// What the gate is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// By a connection: let this device in, after cutting an older connection of it.
    Admit {
        /// Of the connection that asks.
        number: u64,
        /// Who is behind it.
        identity: Arc<Identity>,
        /// Dropped without an answer means no.
        reply: oneshot::Sender<()>,
    },
    /// Cut a device's connection.
    Kick {
        /// Whose.
        tenant: TenantId,
        /// Which.
        device: DeviceId,
    },
}

/// Handle to a running gate.
#[derive(Debug, Clone)]
pub(crate) struct GateHandle {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    asks: mpsc::Sender<Ask>,
}

impl GateHandle {
    /// A gate without a door: what it is asked comes out of the receiver.
    #[cfg(feature = "testing")]
    pub(crate) fn detached() -> (Self, mpsc::Receiver<Ask>) {
        let (asks, questions) = mpsc::channel(ASKS);
        (Self { addr: SocketAddr::from(([127, 0, 0, 1], 0)), asks }, questions)
    }

    /// Cuts a device's connection, if it has one. Whether it may come back is the directory's
    /// word; so change that first.
    pub(crate) async fn kick(&self, tenant: &TenantId, device: &DeviceId) {
        let ask = Ask::Kick { tenant: tenant.clone(), device: device.clone() };
        // A gate that is gone has no connections either.
        drop(self.asks.send(ask).await);
    }
}

/// Begins to listen. Events come out of the receiver, which must be read all the time.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) async fn start(
    listen: SocketAddr,
    tls: Arc<ServerConfig>,
    hub: Hub,
    directory: Directory,
    limits: GateLimits,
    stop: CancellationToken,
) -> io::Result<(GateHandle, mpsc::Receiver<GateEvent>)> {
    let listener = TcpListener::bind(listen).await?;
    let addr = listener.local_addr()?;
    let (asks, questions) = mpsc::channel(ASKS);
    let (events, news) = mpsc::channel(EVENTS);
    let acceptor = TlsAcceptor::from(tls);
    let handle = GateHandle { addr, asks: asks.clone() };
    let shared = Arc::new(Shared { acceptor, hub, directory, asks, events, limits });
    let gate = Gate {
        shared,
        stop,
        next: 1,
        tasks: JoinSet::new(),
        by_task: HashMap::new(),
        connections: BTreeMap::new(),
        pending: Pending::default(),
        devices: BTreeMap::new(),
    };
    tokio::spawn(gate.run(listener, questions));
    Ok((handle, news))
}

struct Connection {
    peer: IpAddr,
    cut: CancellationToken,
    /// Set once it is admitted.
    device: Option<(TenantId, DeviceId)>,
}

/// The connections that have not said who they are, oldest first.
#[derive(Default)]
struct Pending {
    all: BTreeSet<u64>,
    by_address: BTreeMap<IpAddr, BTreeSet<u64>>,
}

impl Pending {
    fn insert(&mut self, peer: IpAddr, number: u64) {
        self.all.insert(number);
        self.by_address.entry(peer).or_default().insert(number);
    }

    fn remove(&mut self, peer: IpAddr, number: u64) {
        self.all.remove(&number);
        if let Some(numbers) = self.by_address.get_mut(&peer) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&peer);
            }
        }
    }

    /// Who must go so that one more from `peer` fits.
    fn surplus(&self, peer: IpAddr, limits: &GateLimits) -> Option<u64> {
        let here = self.by_address.get(&peer);
        if let Some(numbers) = here.filter(|n| n.len() >= limits.pending_per_address.max(1)) {
            return numbers.first().copied();
        }
        if self.all.len() >= limits.pending.max(1) { self.all.first().copied() } else { None }
    }
}

/// A device's place: who has it, and who waits for it.
struct Place {
    holder: u64,
    waiting: Option<(u64, oneshot::Sender<()>)>,
}

struct Gate {
    shared: Arc<Shared>,
    stop: CancellationToken,
    next: u64,
    tasks: JoinSet<End>,
    by_task: HashMap<Id, u64>,
    connections: BTreeMap<u64, Connection>,
    pending: Pending,
    devices: BTreeMap<(TenantId, DeviceId), Place>,
}

impl Gate {
    async fn run(mut self, listener: TcpListener, mut asks: mpsc::Receiver<Ask>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => self.accept(stream, from),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an MQTT connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                Some(ask) = asks.recv() => self.answer(ask).await,
            }
        }
        drop(listener);
        // Connections hear of the stop by their own tokens, which are its children.
        let drained = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.ended(ended).await;
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some MQTT connections did not end in time");
        }
    }

    fn accept(&mut self, stream: TcpStream, from: SocketAddr) {
        let peer = one_host(from.ip());
        if let Some(oldest) = self.pending.surplus(peer, &self.shared.limits) {
            self.cut(oldest);
        }
        let number = self.next;
        self.next += 1;
        let cut = self.stop.child_token();
        self.pending.insert(peer, number);
        self.connections.insert(number, Connection { peer, cut: cut.clone(), device: None });
        let shared = Arc::clone(&self.shared);
        let task = self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => End::Cut,
                end = connection::serve(&shared, number, stream, from.ip()) => end,
            }
        });
        self.by_task.insert(task.id(), number);
    }

    /// Tells a connection to end. It counts as pending no more, so that the next newcomer finds
    /// another one to replace.
    fn cut(&mut self, number: u64) {
        if let Some(connection) = self.connections.get(&number) {
            connection.cut.cancel();
            self.pending.remove(connection.peer, number);
        }
    }

    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Kick { tenant, device } => {
                if let Some(place) = self.devices.get_mut(&(tenant, device)) {
                    place.waiting = None;
                    let holder = place.holder;
                    self.cut(holder);
                }
            }
            Ask::Admit { number, identity, reply } => {
                let key = (identity.tenant.clone(), identity.device.clone());
                if let Some(place) = self.devices.get_mut(&key) {
                    // A third one takes the second one's place in the queue, whose reply is
                    // dropped: the newest is the device as it is now.
                    place.waiting = Some((number, reply));
                    let holder = place.holder;
                    self.cut(holder);
                } else {
                    self.admit(key, number, reply).await;
                }
            }
        }
    }

    async fn admit(&mut self, key: (TenantId, DeviceId), number: u64, reply: oneshot::Sender<()>) {
        let full = !self.has_room(number);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if full || connection.cut.is_cancelled() {
            return;
        }
        connection.device = Some(key.clone());
        self.pending.remove(connection.peer, number);
        self.devices.insert(key.clone(), Place { holder: number, waiting: None });
        let (tenant, device) = key;
        // Before the reply, so that the fleet hears of the device before its frames.
        self.tell(GateEvent::Connected { tenant, device, connection: number }).await;
        // If the connection has ended meanwhile, its end follows.
        let _heard = reply.send(()).is_ok();
    }

    fn has_room(&self, number: u64) -> bool {
        let limits = &self.shared.limits;
        let Some(peer) = self.connections.get(&number).map(|c| c.peer) else { return false };
        if self.devices.len() >= limits.connections {
            tracing::warn!(connections = limits.connections, "no room for another device");
            return false;
        }
        // Counted only where a bound below the total could matter.
        if limits.connections_per_address >= limits.connections {
            return true;
        }
        let here = self.connections.values().filter(|c| c.peer == peer && c.device.is_some());
        here.count() < limits.connections_per_address
    }

    async fn ended(&mut self, ended: Result<(Id, End), tokio::task::JoinError>) {
        let (id, why) = match ended {
            Ok((id, end)) => (id, end.to_string()),
            Err(error) => {
                tracing::error!(%error, "an MQTT connection's task has failed");
                (error.id(), "failed".to_owned())
            }
        };
        let Some(number) = self.by_task.remove(&id) else { return };
        let Some(connection) = self.connections.remove(&number) else { return };
        self.pending.remove(connection.peer, number);
        let Some(key) = connection.device else {
            tracing::debug!(peer = %connection.peer, why, "a connection ended unknown");
            return;
        };
        let waiting = self.devices.remove(&key).and_then(|place| place.waiting);
        let (tenant, device) = key.clone();
        tracing::info!(%tenant, %device, why, "a device's connection has ended");
        self.tell(GateEvent::Disconnected { tenant, device, connection: number }).await;
        if let Some((next, reply)) = waiting {
            self.admit(key, next, reply).await;
        }
    }

    async fn tell(&self, event: GateEvent) {
        // The fleet only stops listening when it ends, and then the gate does too.
        drop(self.shared.events.send(event).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_silent_one_makes_room_first_of_the_same_address() {
        let limits = GateLimits { pending: 4, pending_per_address: 2, ..GateLimits::default() };
        let (a, b) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut pending = Pending::default();
        assert_eq!(pending.surplus(a, &limits), None);
        for (number, peer) in [(1, b), (2, a), (3, a)] {
            pending.insert(peer, number);
        }
        assert_eq!(pending.surplus(a, &limits), Some(2), "its own oldest, not the oldest of all");
        assert_eq!(pending.surplus(b, &limits), None);
        pending.insert(IpAddr::from([10, 0, 0, 3]), 4);
        assert_eq!(pending.surplus(b, &limits), Some(1), "full altogether: the oldest of all");
        pending.remove(a, 2);
        pending.remove(a, 3);
        assert!(!pending.by_address.contains_key(&a), "nothing is kept of who has gone");
    }
}
