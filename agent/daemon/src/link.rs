//! The link: MQTT 3.1.1 over TLS, and nothing else. It carries frames and understands none.
//!
//! The client is thrown away at every disconnect and built anew, with a clean session: whatever
//! it had queued is in the outbox anyway, and half-dead client state cannot pile up. New attempts
//! wait with jittered exponential backoff. Both queues are bounded; what does not fit is dropped,
//! as on any bad network, and the session sends it again.

use std::sync::Arc;
use std::time::Duration;

use openclaw_points::{Point, reach};
use openclaw_protocol::topic::{self, Direction};
use rumqttc::{
    AsyncClient, Event as Mqtt, EventLoop, Incoming, MqttOptions, QoS, SubscribeReasonCode,
    TlsConfiguration, Transport,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::config;
use crate::event::{Event, Events, Gone};
use crate::identity::{Credentials, Identity};
use crate::limits;
use crate::tls;

/// How long a connection must have held before the backoff begins anew.
pub(crate) const STEADY: Duration = Duration::from_secs(60);

/// What the brain wants of the link.
#[derive(Debug)]
pub enum ToLink {
    /// Publish this frame.
    Frame(Vec<u8>),
    /// Cut the connection and make a new one.
    Reconnect,
}

/// The brain's end of the link.
#[derive(Debug, Clone)]
pub struct Outgoing(mpsc::Sender<ToLink>);

impl Outgoing {
    /// Sends a frame, or drops it where the queue is full. Whether it was taken.
    #[must_use]
    pub fn send(&self, frame: Vec<u8>) -> bool {
        self.0.try_send(ToLink::Frame(frame)).is_ok()
    }

    /// Asks for a new connection.
    pub fn reconnect(&self) {
        // Where even this does not fit, the keep-alive finds the dead connection soon.
        let _ = self.0.try_send(ToLink::Reconnect);
    }
}

/// A bounded queue to the link.
#[must_use]
pub fn queue() -> (Outgoing, mpsc::Receiver<ToLink>) {
    let (sender, receiver) = mpsc::channel(limits::FRAMES_WAITING);
    (Outgoing(sender), receiver)
}

/// The link of one device.
pub struct Link {
    identity: Identity,
    target: (String, u16),
    tls: Arc<rustls::ClientConfig>,
    backoff: Backoff,
    events: Events,
    outgoing: mpsc::Receiver<ToLink>,
}

impl Link {
    /// A link that trusts the fleet's CA and nobody else, at the given time.
    ///
    /// # Errors
    /// Key or certificates are unusable.
    pub fn new(
        credentials: &Credentials,
        config: &config::Link,
        time: tls::TlsTime,
        seed: u64,
        events: Events,
        outgoing: mpsc::Receiver<ToLink>,
    ) -> Result<Self, tls::CredentialsError> {
        let identity = credentials.identity.clone();
        let announced = (identity.mqtt_host.clone(), identity.mqtt_port);
        Ok(Self {
            identity,
            target: config.target().unwrap_or(announced),
            tls: Arc::new(tls::client_config(credentials, time)?),
            backoff: Backoff::new(config.backoff_max_ms, seed),
            events,
            outgoing,
        })
    }

    /// Connects and carries frames until the brain is gone.
    pub async fn run(mut self) {
        loop {
            let began = Instant::now();
            let ended = self.carry().await;
            if self.events.send_async(Event::LinkDown).await == Err(Gone) {
                return;
            }
            match ended {
                Ended::Gone => return,
                Ended::Lost(reason) => tracing::warn!(reason, "not connected"),
                Ended::Asked => tracing::info!("connecting anew"),
            }
            if began.elapsed() >= STEADY {
                self.backoff.reset();
            }
            let wait = self.backoff.next();
            if self.wait(wait).await.is_err() {
                return;
            }
        }
    }

    /// Waits out the backoff; what the brain sends meanwhile has nowhere to go.
    async fn wait(&mut self, time: Duration) -> Result<(), Gone> {
        let until = Instant::now() + time;
        loop {
            match tokio::time::timeout_at(until, self.outgoing.recv()).await {
                Ok(Some(ToLink::Frame(_) | ToLink::Reconnect)) => {}
                Ok(None) => return Err(Gone),
                Err(_) => return Ok(()),
            }
        }
    }

    /// One connection, from its first packet to its end.
    async fn carry(&mut self) -> Ended {
        let (client, mut mqtt) = self.client();
        let Identity { tenant, device, .. } = &self.identity;
        let up = topic::sync(tenant, device, Direction::Up);
        let down = topic::sync(tenant, device, Direction::Down);
        let mut is_up = false;
        loop {
            tokio::select! {
                polled = mqtt.poll() => match polled {
                    Err(e) => return Ended::Lost(e.to_string()),
                    Ok(Mqtt::Incoming(packet)) => {
                        match self.take(packet, &client, &down).await {
                            Ok(became_up) => is_up |= became_up,
                            Err(ended) => return ended,
                        }
                    }
                    Ok(Mqtt::Outgoing(_)) => {}
                },
                wanted = self.outgoing.recv() => match wanted {
                    None => return Ended::Gone,
                    Some(ToLink::Reconnect) => return Ended::Asked,
                    Some(ToLink::Frame(frame)) if is_up => {
                        reach(Point::FramePublish);
                        // A full queue means a slow network: the frame is lost, as any may be.
                        if let Err(e) = client.try_publish(&up, QoS::AtLeastOnce, false, frame) {
                            tracing::debug!(error = %e, "a frame was dropped");
                        }
                        reach(Point::FramePublished);
                    }
                    Some(ToLink::Frame(_)) => {}
                },
            }
        }
    }

    async fn take(
        &self,
        packet: Incoming,
        client: &AsyncClient,
        down: &str,
    ) -> Result<bool, Ended> {
        let event = match packet {
            Incoming::ConnAck(_) => {
                client
                    .try_subscribe(down, QoS::AtLeastOnce)
                    .map_err(|e| Ended::Lost(e.to_string()))?;
                return Ok(false);
            }
            Incoming::SubAck(ack) => {
                if ack.return_codes.contains(&SubscribeReasonCode::Failure) {
                    return Err(Ended::Lost("the broker refuses our own topic".to_owned()));
                }
                tracing::info!("connected");
                Event::LinkUp
            }
            Incoming::Publish(publish) if publish.topic == down => {
                Event::Frame(publish.payload.to_vec())
            }
            Incoming::Connect(_)
            | Incoming::Publish(_)
            | Incoming::PubAck(_)
            | Incoming::PubRec(_)
            | Incoming::PubRel(_)
            | Incoming::PubComp(_)
            | Incoming::Subscribe(_)
            | Incoming::Unsubscribe(_)
            | Incoming::UnsubAck(_)
            | Incoming::PingReq
            | Incoming::PingResp
            | Incoming::Disconnect => return Ok(false),
        };
        let became_up = matches!(event, Event::LinkUp);
        self.events.send_async(event).await.map_err(|_| Ended::Gone)?;
        Ok(became_up)
    }

    fn client(&self) -> (AsyncClient, EventLoop) {
        let (host, port) = &self.target;
        let mut options = MqttOptions::new(self.identity.device.as_str(), host, *port);
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::clone(
                &self.tls,
            ))))
            .set_clean_session(true)
            .set_keep_alive(limits::KEEP_ALIVE)
            .set_max_packet_size(limits::PACKET_BYTES, limits::PACKET_BYTES);
        AsyncClient::new(options, limits::FRAMES_WAITING)
    }
}

enum Ended {
    /// The brain is gone.
    Gone,
    /// The brain wants another connection.
    Asked,
    /// The network or the broker.
    Lost(String),
}

/// Full-jitter exponential backoff: uniform between the shortest wait and a doubling bound.
#[derive(Debug)]
pub(crate) struct Backoff {
    min_ms: u64,
    max_ms: u64,
    bound_ms: u64,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(max_ms: u64, seed: u64) -> Self {
        let min_ms = limits::BACKOFF_MIN_MS.min(max_ms);
        Self { min_ms, max_ms, bound_ms: min_ms, random: seed | 1 }
    }

    pub(crate) fn reset(&mut self) {
        self.bound_ms = self.min_ms;
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.bound_ms = (self.bound_ms * 2).min(self.max_ms);
        // xorshift64 (Marsaglia 2003): spreads a fleet; nothing depends on its quality.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let span = self.bound_ms - self.min_ms + 1;
        Duration::from_millis(self.min_ms + self.random % span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_spread() {
        let mut backoff = Backoff::new(60_000, 42);
        let waits: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        assert!(waits[0] <= Duration::from_secs(2));
        assert!(
            waits.iter().all(|w| (Duration::from_secs(1)..=Duration::from_secs(60)).contains(w))
        );
        let late = &waits[10..];
        assert!(late.iter().any(|w| *w > Duration::from_secs(45)));
        assert!(late.iter().any(|w| *w < Duration::from_secs(15)), "a herd must not form");
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(2));
    }

    #[test]
    fn a_demo_may_be_impatient() {
        let mut backoff = Backoff::new(200, 7);
        assert!((0..50).all(|_| backoff.next() <= Duration::from_millis(200)));
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_says_so() {
        let (out, mut receiver) = queue();
        let taken = (0..limits::FRAMES_WAITING + 5).filter(|_| out.send(vec![1])).count();
        assert_eq!(taken, limits::FRAMES_WAITING);
        out.reconnect();
        assert!(matches!(receiver.recv().await, Some(ToLink::Frame(_))));
        assert!(out.send(vec![2]));
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod wire_tests;
