//! The task that holds the connection to the site's broker.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rumqttc::{
    AsyncClient, Event as Mqtt, EventLoop, Incoming, MqttOptions, Outgoing, Publish,
    SubscribeReasonCode, TlsConfiguration, Transport,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::line::{Line, message_of};
use super::{Ends, FromBroker};
use crate::config::LocalBroker;
use crate::event::{Event, Events, Gone};
use crate::limits;
use crate::link::{Backoff, STEADY};
use crate::tls::{self, TlsTime};

/// A password or certificate file has at most this many bytes.
const FILE_BYTES: u64 = 256 * 1024;
/// When a message is given up that costs one connection after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) strikes: u32,
    pub(super) time: Duration,
}

/// The message that was the first one without an answer when the last connections ended.
#[derive(Debug)]
struct Suspect {
    seq: u64,
    strikes: u32,
    since: Instant,
}

/// The task's end: one connection after the other.
pub struct LocalMqtt {
    config: LocalBroker,
    client_id: String,
    time: TlsTime,
    events: Events,
    backoff: Backoff,
    ends: Ends,
    room: Arc<Semaphore>,
    connection: u64,
    pub(super) patience: Patience,
    suspect: Option<Suspect>,
}

enum Ended {
    /// The brain is gone.
    Gone,
    /// The network or the broker.
    Lost(String),
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl LocalMqtt {
    pub(super) fn new(
        config: &LocalBroker,
        agent: &str,
        time: TlsTime,
        seed: u64,
        events: Events,
        ends: Ends,
    ) -> Self {
        Self {
            config: config.clone(),
            client_id: config.client_id.clone().unwrap_or_else(|| format!("openclaw-{agent}")),
            time,
            events,
            backoff: Backoff::new(config.backoff_max_ms, seed),
            ends,
            room: Arc::new(Semaphore::new(limits::MESSAGES_WAITING_BYTES)),
            connection: 0,
            patience: Patience {
                strikes: limits::PUBLICATION_STRIKES,
                time: limits::PUBLICATION_STRIKE_TIME,
            },
            suspect: None,
        }
    }

    /// Connects and carries messages until the brain is gone.
    pub async fn run(mut self) {
        loop {
            let began = Instant::now();
            let Ended::Lost(reason) = self.connect().await else { return };
            tracing::warn!(reason, "the site's broker is not connected");
            if self.say(FromBroker::Down { reason }).await.is_err() {
                return;
            }
            if began.elapsed() >= STEADY {
                self.backoff.reset();
            }
            let until = Instant::now() + self.backoff.next();
            // What the brain sends meanwhile is for a connection that is no more.
            while let Ok(stale) = tokio::time::timeout_at(until, self.ends.outgoing.recv()).await {
                if stale.is_none() {
                    return;
                }
            }
        }
    }

    /// One connection, from its first packet to its end.
    async fn connect(&mut self) -> Ended {
        let (client, mut mqtt) = match self.client() {
            Ok(both) => both,
            Err(reason) => return Ended::Lost(reason),
        };
        self.connection += 1;
        let mut line = Line::new(client, self.connection);
        let ended = self.carry(&mut line, &mut mqtt).await;
        if let Ended::Lost(reason) = &ended
            && let Some(seq) = self.strike(&line)
        {
            let reason = reason.clone();
            if self.say(FromBroker::Refused { seq, reason }).await.is_err() {
                return Ended::Gone;
            }
        }
        ended
    }

    async fn carry(&mut self, line: &mut Line, mqtt: &mut EventLoop) -> Ended {
        loop {
            // A poll is never abandoned half way: what it was about to write would be lost.
            let poll = mqtt.poll();
            tokio::pin!(poll);
            let polled = loop {
                tokio::select! {
                    polled = &mut poll => break polled,
                    changed = self.ends.wanted.changed() => match changed {
                        Ok(()) => self.subscribe(line),
                        Err(_) => return Ended::Gone,
                    },
                    given = self.ends.outgoing.recv() => match given {
                        Some(given) if line.is_up && given.connection == line.number => {
                            line.queue.push_back(given);
                            line.pump(self.suspect.is_some());
                        }
                        Some(_) => {}
                        None => return Ended::Gone,
                    },
                }
            };
            let taken = match polled {
                Ok(Mqtt::Incoming(packet)) => self.take(packet, line).await,
                Ok(Mqtt::Outgoing(sent)) => self.take_sent(&sent, line).await,
                Err(e) => return Ended::Lost(e.to_string()),
            };
            if let Err(ended) = taken {
                return ended;
            }
            if line.behind {
                self.subscribe(line);
            }
            line.pump(self.suspect.is_some());
        }
    }

    async fn take(&mut self, packet: Incoming, line: &mut Line) -> Result<(), Ended> {
        match packet {
            Incoming::ConnAck(_) => {
                tracing::info!(address = self.config.address, "the site's broker is connected");
                line.is_up = true;
                // Before anything is said: who listens to what the device itself says hears it.
                self.subscribe(line);
                self.say(FromBroker::Up { connection: line.number }).await?;
            }
            Incoming::SubAck(ack) => {
                let asked = line.asked.remove(&ack.pkid).unwrap_or_default();
                let refused =
                    asked.into_iter().zip(&ack.return_codes).filter_map(|(filter, code)| {
                        (*code == SubscribeReasonCode::Failure).then_some(filter)
                    });
                let filters: Vec<String> = refused.collect();
                if !filters.is_empty() {
                    tracing::warn!(?filters, "the site's broker refuses topics");
                    self.say(FromBroker::Deaf { filters }).await?;
                }
            }
            Incoming::PubAck(ack) => {
                if let Some(seq) = line.unacknowledged.remove(&ack.pkid) {
                    self.published(seq, line).await?;
                }
            }
            Incoming::Publish(publish) => self.deliver(&publish).await?,
            Incoming::Connect(_)
            | Incoming::PubRec(_)
            | Incoming::PubRel(_)
            | Incoming::PubComp(_)
            | Incoming::Subscribe(_)
            | Incoming::Unsubscribe(_)
            | Incoming::UnsubAck(_)
            | Incoming::PingReq
            | Incoming::PingResp
            | Incoming::Disconnect => {}
        }
        Ok(())
    }

    /// The client has written a packet. It takes them in the order in which it was given them.
    async fn take_sent(&mut self, sent: &Outgoing, line: &mut Line) -> Result<(), Ended> {
        match sent {
            Outgoing::Publish(0) => {
                if let Some(seq) = line.sending.pop_front() {
                    self.published(seq, line).await?;
                }
            }
            Outgoing::Publish(packet) => {
                let seq = line.sending.pop_front();
                line.unacknowledged.extend(seq.map(|seq| (*packet, seq)));
            }
            Outgoing::Subscribe(packet) => {
                let filters = line.asking.pop_front();
                line.asked.extend(filters.map(|filters| (*packet, filters)));
            }
            Outgoing::Unsubscribe(_)
            | Outgoing::PubAck(_)
            | Outgoing::PubRec(_)
            | Outgoing::PubRel(_)
            | Outgoing::PubComp(_)
            | Outgoing::PingReq
            | Outgoing::PingResp
            | Outgoing::Disconnect
            | Outgoing::AwaitAck(_) => {}
        }
        Ok(())
    }

    async fn published(&mut self, seq: u64, line: &mut Line) -> Result<(), Ended> {
        line.progress = true;
        self.suspect = None;
        Ok(self.say(FromBroker::Published { seq }).await?)
    }

    async fn deliver(&self, publish: &Publish) -> Result<(), Ended> {
        let Some(message) = message_of(publish) else {
            self.ends.dropped.large.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let bytes = (message.topic.len() + message.payload.len()).max(limits::MESSAGE_LEAST_BYTES);
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes);
        let Ok(Ok(room)) = tokio::time::timeout(limits::MESSAGE_WAIT, room).await else {
            self.ends.dropped.late.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        Ok(self.say(FromBroker::Message { message, room }).await?)
    }

    /// Asks for what is wanted and not asked for yet, and for no more than that.
    fn subscribe(&mut self, line: &mut Line) {
        let wanted = Arc::clone(&self.ends.wanted.borrow_and_update());
        if line.is_up {
            line.behind = line.ask(&wanted).is_err();
        }
    }

    /// The connection is lost: what it says of the first message without an answer. Gives its
    /// number where it is given up.
    fn strike(&mut self, line: &Line) -> Option<u64> {
        let first = line.unacknowledged.values().chain(&line.sending).min().copied();
        let seq = first.filter(|_| line.is_up && !line.progress)?;
        let fresh = Suspect { seq, strikes: 0, since: Instant::now() };
        let suspect = self.suspect.take().filter(|known| known.seq == seq).unwrap_or(fresh);
        let strikes = suspect.strikes + 1;
        if strikes >= self.patience.strikes && suspect.since.elapsed() >= self.patience.time {
            return Some(seq);
        }
        self.suspect = Some(Suspect { strikes, ..suspect });
        None
    }

    async fn say(&self, what: FromBroker) -> Result<(), Gone> {
        self.events.send_async(Event::Broker(what)).await
    }

    /// A client for one connection. Files are read each time, so that they may be replaced.
    fn client(&self) -> Result<(AsyncClient, EventLoop), String> {
        let (host, port) = self.config.target().ok_or("its address is not `host:port`")?;
        let mut options = MqttOptions::new(self.client_id.clone(), host, port);
        options
            .set_clean_session(true)
            .set_keep_alive(limits::KEEP_ALIVE)
            .set_inflight(100)
            .set_max_packet_size(limits::MESSAGE_PACKET_BYTES, limits::MESSAGE_PACKET_BYTES);
        if let Some(username) = &self.config.username {
            let password = match &self.config.password_file {
                Some(path) => first_line(&read(path)?),
                None => String::new(),
            };
            options.set_credentials(username, password);
        }
        if let Some(path) = &self.config.tls_ca_file {
            let config = tls::trusting_ca(&read(path)?, self.time.clone())
                .map_err(|e| format!("{}: {e}", path.display()))?;
            let config = TlsConfiguration::Rustls(Arc::new(config));
            options.set_transport(Transport::tls_with_config(config));
        }
        Ok(AsyncClient::new(options, 2 * limits::PUBLICATIONS_SENT))
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map(|file| file.len());
    let text = match size {
        Ok(size) if size > FILE_BYTES => {
            return Err(format!("{} has more than {FILE_BYTES} bytes", path.display()));
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(e) => Err(e),
    };
    text.map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
