//! The in-process rumqttd router, kept alive and taken for disposable.
//!
//! rumqttd's listeners are never started; devices reach the router through the gate's [`Link`]s,
//! the control plane through one link of its own. The router runs on a thread of rumqttd's. If it
//! ends (its code has panics that a packet can reach), every link sees it: connections are
//! dropped, a new router is made, devices come back and their sessions compare. rumqttd has no way
//! to stop a router, so the thread of a hub that was shut down sleeps until the process ends.
//!
//! Memory: rumqttd keeps for each topic filter the last messages it delivered, up to the segment
//! sizes below, and a few hundred bytes for each client id it has ever seen. Both are bounded by
//! the number of devices, since the gate lets a device use two topics only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::topic::{self, Direction};
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig, SegmentConfig};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What the control plane listens to: every device's frames.
const UP_FILTER: &str = "openclaw/v1/+/+/up/sync";
/// The control plane's own client id. It has no dot, which every device's has.
const CONTROL_CLIENT: &str = "control-plane";
/// Frames that may wait for the fleet, each at most 64 KiB.
const UP_FRAMES: usize = 512;
/// Frames that may wait for the router, each at most 64 KiB.
const DOWN_FRAMES: usize = 256;
/// A router that lived shorter than this is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// How long to wait before the next router then.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a device waits for a router that is being replaced.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// A frame from a device. Who sent it is what the gate let through, not what the frame says.
#[derive(Debug)]
pub(crate) struct UpFrame {
    /// Whose device.
    pub(crate) tenant: TenantId,
    /// Which device.
    pub(crate) device: DeviceId,
    /// The frame's bytes.
    pub(crate) bytes: Bytes,
}

/// A frame to a device.
#[derive(Debug)]
pub(crate) struct DownFrame {
    pub(crate) topic: String,
    pub(crate) bytes: Vec<u8>,
}

/// The router is gone; a new one is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkEnd {
    /// The router has ended or has dropped this link.
    #[error("the router has dropped the link")]
    Gone,
    /// More is waiting for this client than the router holds.
    #[error("the client takes its messages too slowly")]
    TooSlow,
}

/// The channel to the router's thread has a type that rumqttd does not export; a closure holds it.
type Connector = Arc<dyn Fn(&str) -> Linked + Send + Sync>;
/// rumqttd's error carries the whole message that could not be sent.
type Linked = Result<(LinkTx, LinkRx), Box<LinkError>>;

/// Handle to the router, whichever incarnation of it is alive.
#[derive(Clone)]
pub(crate) struct Hub {
    /// `None` while a router is being made and until the control plane listens on it.
    connector: watch::Receiver<Option<Connector>>,
    down: mpsc::Sender<DownFrame>,
}

impl Hub {
    /// Starts a router for this many devices, and a task that keeps one alive until `stop` and
    /// counts how often that took a new one. Frames of devices come out of the receiver.
    pub(crate) fn start(
        devices: usize,
        restarts: Arc<AtomicU64>,
        stop: CancellationToken,
    ) -> (Self, mpsc::Receiver<UpFrame>) {
        let (up, frames) = mpsc::channel(UP_FRAMES);
        let (down, outgoing) = mpsc::channel(DOWN_FRAMES);
        let (current, connector) = watch::channel(None);
        tokio::spawn(Keeper { devices, current, up, outgoing, restarts }.run(stop));
        (Self { connector, down }, frames)
    }

    /// A hub without a router: what is sent to devices comes out of the receiver, each with its
    /// topic.
    #[cfg(feature = "testing")]
    pub(crate) fn detached() -> (Self, mpsc::Receiver<DownFrame>) {
        let (down, outgoing) = mpsc::channel(64 * DOWN_FRAMES);
        (Self { connector: watch::channel(None).1, down }, outgoing)
    }

    /// Links a device to the router. Waits for a router that is being replaced.
    ///
    /// # Errors
    /// There is no router within a few seconds.
    pub(crate) async fn connect(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
    ) -> Result<(LinkSender, LinkReceiver), LinkEnd> {
        let client = format!("{tenant}.{device}");
        let deadline = tokio::time::Instant::now() + CONNECT_PATIENCE;
        let mut connector = self.connector.clone();
        loop {
            let current = connector.borrow_and_update().clone();
            if let Some(current) = current {
                match link(current, client.clone()).await {
                    Ok((tx, rx)) => return Ok((LinkSender(tx), LinkReceiver(rx))),
                    Err(error) => tracing::warn!(%error, "the router refuses a link"),
                }
            }
            match tokio::time::timeout_at(deadline, connector.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(LinkEnd::Gone),
            }
        }
    }

    /// Hands a frame for a device to the router. It may be lost on the way like any datagram.
    pub(crate) async fn send(&self, tenant: &TenantId, device: &DeviceId, bytes: Vec<u8>) {
        let topic = topic::sync(tenant, device, Direction::Down);
        // The keeper only ends with the whole hub; then nobody listens any more.
        drop(self.down.send(DownFrame { topic, bytes }).await);
    }

    /// Connects under any client id, past the gate: what the gate keeps devices from.
    #[cfg(test)]
    pub(crate) async fn connect_bare(&self, client: &str) -> Linked {
        let current = self.connector.borrow().clone().expect("a router");
        link(current, client.to_owned()).await
    }
}

/// The half of a device's link that takes its packets. Dropping it disconnects.
pub(crate) struct LinkSender(LinkTx);

impl LinkSender {
    /// Passes a packet on. It must have passed the checks of [`super::acl`].
    ///
    /// # Errors
    /// The router is gone.
    pub(crate) async fn send(&mut self, packet: Packet) -> Result<(), LinkEnd> {
        self.0.send(packet).await.map(drop).map_err(|_| LinkEnd::Gone)
    }
}

impl Drop for LinkSender {
    fn drop(&mut self) {
        // A link that is merely dropped stays connected in the router. `send` has no point at
        // which it waits for anything but the router's thread, so one poll is all of it.
        let reason_code = DisconnectReasonCode::NormalDisconnection;
        let goodbye = Packet::Disconnect(Disconnect { reason_code }, None);
        drop(self.0.send(goodbye).now_or_never());
    }
}

/// The half of a device's link that has packets for it.
pub(crate) struct LinkReceiver(LinkRx);

impl LinkReceiver {
    /// The next packet for the device. Safe to drop while it waits.
    ///
    /// # Errors
    /// The router is gone, or the device takes too slowly: waking the router for it could reach
    /// one of the router's panics if it has dropped the link meanwhile, so the connection ends.
    pub(crate) async fn next(&mut self) -> Result<Packet, LinkEnd> {
        loop {
            match self.0.next().await {
                Err(_) => return Err(LinkEnd::Gone),
                Ok(None) => {}
                Ok(Some(Notification::Unschedule)) => return Err(LinkEnd::TooSlow),
                Ok(Some(notification)) => match Option::<Packet>::from(notification) {
                    Some(Packet::Disconnect(..)) => return Err(LinkEnd::Gone),
                    // The reader has answered already: the router answers only what it knows.
                    Some(Packet::UnsubAck(..)) | None => {}
                    Some(packet) => return Ok(packet),
                },
            }
        }
    }
}

/// Keeps a router alive and carries the control plane's own link.
struct Keeper {
    devices: usize,
    current: watch::Sender<Option<Connector>>,
    up: mpsc::Sender<UpFrame>,
    outgoing: mpsc::Receiver<DownFrame>,
    restarts: Arc<AtomicU64>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let born = Instant::now();
            tokio::select! {
                () = stop.cancelled() => return,
                error = self.serve() => tracing::error!(
                    %error,
                    "the MQTT router has ended; all devices reconnect to a new one"
                ),
            }
            self.current.send_replace(None);
            if born.elapsed() < SHORT_LIFE {
                tokio::time::sleep(PAUSE).await;
            }
            self.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Makes a router and carries frames both ways until it ends. Devices are let to it once the
    /// control plane listens, so that their first words are not lost.
    async fn serve(&mut self) -> Box<LinkError> {
        let connector = spawn_router(self.devices);
        let (mut tx, mut rx) = match listen(Arc::clone(&connector)).await {
            Ok(link) => link,
            Err(error) => return error,
        };
        self.current.send_replace(Some(connector));
        let (up, outgoing) = (&self.up, &mut self.outgoing);
        let upward = async {
            loop {
                match rx.next().await {
                    Err(error) => return error.into(),
                    Ok(Some(Notification::Forward(forward))) => {
                        pass_up(up, &forward.publish.topic, forward.publish.payload).await;
                    }
                    Ok(Some(Notification::Unschedule)) => {
                        if let Err(error) = rx.ready() {
                            return error.into();
                        }
                    }
                    Ok(Some(_) | None) => {}
                }
            }
        };
        let downward = async {
            while let Some(frame) = outgoing.recv().await {
                if let Err(error) = tx.publish(frame.topic, frame.bytes) {
                    return error.into();
                }
            }
            std::future::pending().await
        };
        tokio::select! {
            error = upward => error,
            error = downward => error,
        }
    }
}

async fn pass_up(up: &mpsc::Sender<UpFrame>, name: &[u8], bytes: Bytes) {
    let parsed = std::str::from_utf8(name).ok().and_then(topic::parse);
    let Some((tenant, device, Direction::Up)) = parsed else {
        tracing::warn!("a message on a topic that the gate should not have let through");
        return;
    };
    // The fleet only ends with the whole hub.
    drop(up.send(UpFrame { tenant, device, bytes }).await);
}

/// The control plane's own link, once it is subscribed to all devices' frames.
async fn listen(connector: Connector) -> Linked {
    let (mut tx, mut rx) = link(connector, CONTROL_CLIENT.to_owned()).await?;
    tx.subscribe(UP_FILTER).map_err(Box::new)?;
    loop {
        let packet = rx.next().await.map_err(Box::new)?.and_then(Option::<Packet>::from);
        if let Some(Packet::SubAck(..)) = packet {
            return Ok((tx, rx));
        }
    }
}

/// `LinkBuilder::build` waits on a thread for the router's answer.
async fn link(connector: Connector, client: String) -> Linked {
    match tokio::task::spawn_blocking(move || connector(&client)).await {
        Ok(result) => result,
        Err(_) => Err(LinkError::ConnectionAck("the router gave no answer".to_owned()).into()),
    }
}

fn spawn_router(devices: usize) -> Connector {
    // Each device's down filter keeps what was delivered last: eight segments of 4 KiB, each
    // overshot by at most one message, so a burst of eight large frames survives. The control
    // plane's own filter takes everybody's frames and bridges the moments when the fleet is busy.
    let mut custom = HashMap::new();
    let wide = SegmentConfig { max_segment_size: 1024 * 1024, max_segment_count: 16 };
    custom.insert(UP_FILTER.to_owned(), wide);
    let router = Router::new(
        0,
        RouterConfig {
            max_connections: devices.saturating_add(16),
            max_outgoing_packet_count: 200,
            max_segment_size: 4 * 1024,
            max_segment_count: 8,
            custom_segment: Some(custom),
            initialized_filters: None,
            ..RouterConfig::default()
        },
    );
    let sender = router.spawn();
    Arc::new(move |client: &str| {
        LinkBuilder::new(client, sender.clone())
            .build()
            .map(|(tx, rx, _)| (tx, rx))
            .map_err(Box::new)
    })
}

#[cfg(test)]
mod tests {
    use rumqttd::protocol::{Filter, QoS, RetainForwardRule, Subscribe};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn ids(device: &str) -> (TenantId, DeviceId) {
        (TenantId::parse("acme").unwrap(), DeviceId::parse(device).unwrap())
    }

    async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(value) => value,
            Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
        }
    }

    async fn subscribed(hub: &Hub, device: &str) -> (LinkSender, LinkReceiver) {
        let (tenant, device) = ids(device);
        let (mut tx, mut rx) = hub.connect(&tenant, &device).await.unwrap();
        let filter = Filter {
            path: topic::sync(&tenant, &device, Direction::Down),
            qos: QoS::AtMostOnce,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::Never,
        };
        tx.send(Packet::Subscribe(Subscribe { pkid: 1, filters: vec![filter] }, None))
            .await
            .unwrap();
        let suback = within("the suback", rx.next()).await.unwrap();
        assert!(matches!(suback, Packet::SubAck(..)), "{suback:?}");
        (tx, rx)
    }

    async fn round_trip(hub: &Hub, frames: &mut mpsc::Receiver<UpFrame>, device: &str) {
        let (tenant, id) = ids(device);
        let (mut tx, mut rx) = subscribed(hub, device).await;
        let up = topic::sync(&tenant, &id, Direction::Up);
        let publish = rumqttd::protocol::Publish::new(up, "hello".to_owned(), false);
        tx.send(Packet::Publish(publish, None)).await.unwrap();
        let frame = within("the frame up", frames.recv()).await.unwrap();
        assert_eq!((frame.tenant, frame.device, &frame.bytes[..]), (tenant, id, &b"hello"[..]));
        let (tenant, id) = ids(device);
        hub.send(&tenant, &id, b"there".to_vec()).await;
        let down = within("the frame down", rx.next()).await.unwrap();
        let Packet::Publish(publish, _) = down else { panic!("{down:?}") };
        assert_eq!(&publish.payload[..], b"there");
    }

    #[tokio::test]
    async fn frames_go_both_ways() {
        let (stop, restarts) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (hub, mut frames) = Hub::start(10, Arc::clone(&restarts), stop.clone());
        round_trip(&hub, &mut frames, "pump-7").await;
        round_trip(&hub, &mut frames, "pump-8").await;
        assert_eq!(restarts.load(Ordering::Relaxed), 0);
        stop.cancel();
    }

    /// The hazard that the gate exists for is real: this one message, from any client, ends the
    /// router. And what the hub does about it: a new router, to which everybody can come back.
    #[tokio::test]
    async fn a_topic_that_is_not_ascii_ends_the_router_and_the_hub_makes_a_new_one() {
        let (stop, restarts) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (hub, mut frames) = Hub::start(10, Arc::clone(&restarts), stop.clone());
        let (_tx, mut bystander) = subscribed(&hub, "bystander").await;
        let (mut poison, _rx) = hub.connect_bare("attacker").await.unwrap();
        poison.publish("é/1".to_owned(), "x".to_owned()).unwrap();
        let end = within("the bystander's end", bystander.next()).await;
        assert_eq!(end.err(), Some(LinkEnd::Gone), "control: bare rumqttd dies of this message");
        round_trip(&hub, &mut frames, "bystander").await;
        assert_eq!(restarts.load(Ordering::Relaxed), 1);
        stop.cancel();
    }

    #[tokio::test]
    async fn a_dropped_link_is_disconnected_so_that_the_slab_does_not_fill() {
        let (stop, restarts) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (hub, mut frames) = Hub::start(4, Arc::clone(&restarts), stop.clone());
        for n in 0..200 {
            drop(subscribed(&hub, &format!("pump-{n}")).await);
        }
        round_trip(&hub, &mut frames, "pump-7").await;
        assert_eq!(restarts.load(Ordering::Relaxed), 0);
        stop.cancel();
    }

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// rumqttd keeps what it has delivered. That it keeps no more than we let it is what makes an
    /// endless stream of frames safe: after the first rounds memory stands still.
    #[tokio::test]
    async fn an_endless_stream_of_frames_does_not_fill_the_memory() {
        const DEVICES: usize = 20;
        let stop = CancellationToken::new();
        let (hub, mut frames) = Hub::start(DEVICES, Arc::default(), stop.clone());
        let mut links = Vec::new();
        for n in 0..DEVICES {
            let (tenant, device) = ids(&format!("pump-{n}"));
            let (tx, rx) = subscribed(&hub, device.as_str()).await;
            links.push((tenant, device, tx, rx));
        }
        let mut after_warmup = 0;
        for round in 0..100 {
            for (tenant, device, tx, rx) in &mut links {
                let up = topic::sync(tenant, device, Direction::Up);
                let publish =
                    rumqttd::protocol::Publish::new(up.into_bytes(), vec![1; 30_000], false);
                tx.send(Packet::Publish(publish, None)).await.unwrap();
                within("a frame up", frames.recv()).await.unwrap();
                hub.send(tenant, device, vec![2; 30_000]).await;
                within("a frame down", rx.next()).await.unwrap();
            }
            if round == 30 {
                after_warmup = resident_kib();
            }
        }
        let grown = resident_kib().saturating_sub(after_warmup);
        assert!(grown < 16 * 1024, "{grown} KiB more after 80 MB of further frames");
        stop.cancel();
    }
}
