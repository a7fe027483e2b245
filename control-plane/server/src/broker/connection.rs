//! One device's connection: handshake, CONNECT, then packets both ways until something ends it.
//!
//! A reader and a writer run side by side in the connection's own task, so a device that does not
//! read cannot stop its own frames from being read, and nobody else notices either.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use rumqttd::protocol::{
    ConnAck, ConnectReturnCode, Packet, PingResp, Publish, UnsubAck, UnsubAckReason,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::GateLimits;
use super::acl::{self, Budget, Identity, Request, Violation};
use super::codec::{PacketReader, ReadError, encode};
use super::gate::{Ask, GateEvent};
use super::router::{Hub, LinkEnd, LinkReceiver, LinkSender};
use crate::fleet::ca;

/// Answers of the reader's own (pings, UNSUBACKs) that may wait for the writer.
const REPLIES: usize = 32;
/// Bytes that are gathered into one write.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a newcomer waits for the older connection of the same device to end.
const TAKEOVER: Duration = Duration::from_secs(10);
/// How long a refused client is given to read why.
const LINGER: Duration = Duration::from_secs(2);
/// The seconds that a client may be silent beyond its keep-alive are half of it (MQTT 3.1.1,
/// section 3.1.2.10), and at least these.
const KEEP_ALIVE_GRACE: Duration = Duration::from_secs(2);

/// Whether a device with this certificate may be here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may.
    Granted,
    /// There is no such device.
    Unknown,
    /// The device or this certificate of its is revoked.
    Revoked,
}

/// Looks a device up by its id and the fingerprint of its certificate; the error is for the log.
pub(crate) type Directory = Arc<
    dyn Fn(TenantId, DeviceId, Digest) -> BoxFuture<'static, Result<Access, String>> + Send + Sync,
>;

/// What every connection is given.
pub(crate) struct Shared {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) hub: Hub,
    pub(crate) directory: Directory,
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) events: mpsc::Sender<GateEvent>,
    pub(crate) limits: GateLimits,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// It said DISCONNECT.
    #[error("the device left")]
    Left,
    /// No TLS, or no certificate of ours.
    #[error("handshake: {0}")]
    Handshake(std::io::Error),
    /// The handshake or CONNECT took too long.
    #[error("too slow to say who it is")]
    HandshakeTimeout,
    /// A certificate of ours that names no device.
    #[error("the certificate names no device")]
    NoIdentity,
    /// Refused with this CONNACK code.
    #[error("refused with code {0:?}")]
    Refused(ConnectReturnCode),
    /// The stream ended, fell silent, or held something that is not allowed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The device does not read what it is sent, or the network is gone.
    #[error("cannot write: {0}")]
    Write(std::io::Error),
    /// The router ended or gave up on this client.
    #[error(transparent)]
    Link(#[from] LinkEnd),
    /// Replaced by a newer connection, revoked, or evicted while pending.
    #[error("cut off")]
    Cut,
}

/// Serves one accepted connection to its end.
pub(crate) async fn serve(shared: &Shared, number: u64, stream: TcpStream, peer: IpAddr) -> End {
    // A frame is one write; waiting to fill segments would only delay it.
    drop(stream.set_nodelay(true));
    let begun = Instant::now();
    let deadline = begun + shared.limits.handshake;
    let stream = match timeout_at(deadline, shared.acceptor.accept(stream)).await {
        Err(_) => return End::HandshakeTimeout,
        Ok(Err(error)) => return End::Handshake(error),
        Ok(Ok(stream)) => stream,
    };
    let Some((tenant, device, fingerprint)) = certified(&stream) else { return End::NoIdentity };
    let identity = Arc::new(Identity::new(tenant, device));
    let (reading, writing) = tokio::io::split(stream);
    let mut session = Session {
        shared,
        identity,
        fingerprint,
        number,
        peer,
        reader: PacketReader::new(reading),
        writer: writing,
    };
    match session.run(deadline).await {
        Ok(never) => match never {},
        Err(end) => {
            // Say goodbye where TLS can (a slow or dead peer is not waited for).
            drop(timeout(LINGER, session.writer.shutdown()).await);
            end
        }
    }
}

fn certified(stream: &TlsStream<TcpStream>) -> Option<(TenantId, DeviceId, Digest)> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    let (tenant, device) = ca::device_of(certificate)?;
    Some((tenant, device, ca::fingerprint(certificate)))
}

struct Session<'a> {
    shared: &'a Shared,
    identity: Arc<Identity>,
    fingerprint: Digest,
    number: u64,
    peer: IpAddr,
    reader: PacketReader<ReadHalf<TlsStream<TcpStream>>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Session<'_> {
    async fn run(&mut self, deadline: Instant) -> Result<std::convert::Infallible, End> {
        let keep_alive = self.connect(deadline).await?;
        self.check_access().await?;
        self.admit().await?;
        // Again, because it may have been revoked between the look-up and the admission; from
        // the admission on, a revocation cuts this connection.
        self.check_access().await?;
        let linked = self.shared.hub.connect(&self.identity.tenant, &self.identity.device).await;
        let Ok((sender, receiver)) = linked else {
            return Err(self.refuse(ConnectReturnCode::ServiceUnavailable).await);
        };
        self.connack(ConnectReturnCode::Success).await?;
        let (replies, answers) = mpsc::channel(REPLIES);
        let limits = &self.shared.limits;
        let patience = patience(keep_alive, limits.silence);
        tokio::select! {
            end = read_packets(&mut self.reader, &self.identity, sender, replies, patience, limits)
                => {
                    if let End::Read(ReadError::Violation(violation)) = &end {
                        self.report(*violation);
                    }
                    Err(end)
                }
            end = write_packets(&mut self.writer, receiver, answers, limits.write) => Err(end),
        }
    }

    /// Takes the CONNECT packet; answers its keep-alive in seconds.
    async fn connect(&mut self, deadline: Instant) -> Result<u16, End> {
        let first = self.reader.next(acl::CONNECT_BYTES, deadline).await;
        let (connect, will) = match first {
            Ok((Packet::Connect(connect, _, will, _, _), _)) => (connect, will),
            Ok(_) => {
                self.report(Violation::Unexpected);
                return Err(End::Read(Violation::Unexpected.into()));
            }
            Err(ReadError::Silent) => return Err(End::HandshakeTimeout),
            Err(ReadError::Violation(Violation::Malformed)) => {
                // Most likely another protocol version (MQTT 3.1.1, section 3.1.2.2).
                return Err(self.refuse(ConnectReturnCode::RefusedProtocolVersion).await);
            }
            Err(error) => return Err(error.into()),
        };
        let Err(violation) = acl::connect(&self.identity, &connect, will.as_ref()) else {
            return Ok(connect.keep_alive);
        };
        self.report(violation);
        let code = if violation == Violation::ForeignClientId {
            ConnectReturnCode::ClientIdentifierNotValid
        } else {
            ConnectReturnCode::NotAuthorized
        };
        Err(self.refuse(code).await)
    }

    async fn check_access(&mut self) -> Result<(), End> {
        let Identity { tenant, device, .. } = &*self.identity;
        let found = (self.shared.directory)(tenant.clone(), device.clone(), self.fingerprint).await;
        Err(match found {
            Ok(Access::Granted) => return Ok(()),
            Ok(access @ (Access::Unknown | Access::Revoked)) => {
                tracing::info!(%tenant, %device, peer = %self.peer, ?access, "a device is refused");
                self.refuse(ConnectReturnCode::NotAuthorized).await
            }
            Err(error) => {
                tracing::warn!(%tenant, %device, error, "a device cannot be looked up");
                self.refuse(ConnectReturnCode::ServiceUnavailable).await
            }
        })
    }

    /// Asks the gate for this device's place; an older connection of it is cut first.
    async fn admit(&mut self) -> Result<(), End> {
        let (reply, answer) = oneshot::channel();
        let identity = Arc::clone(&self.identity);
        let ask = Ask::Admit { number: self.number, identity, reply };
        if self.shared.asks.send(ask).await.is_err() {
            return Err(End::Cut);
        }
        match timeout(TAKEOVER, answer).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.refuse(ConnectReturnCode::ServiceUnavailable).await),
        }
    }

    async fn connack(&mut self, code: ConnectReturnCode) -> Result<(), End> {
        let mut bytes = BytesMut::new();
        let packet = Packet::ConnAck(ConnAck { session_present: false, code }, None);
        encode(packet, &mut bytes).map_err(|_| End::Refused(code))?;
        write_out(&mut self.writer, &mut bytes, self.shared.limits.write).await
    }

    async fn refuse(&mut self, code: ConnectReturnCode) -> End {
        match self.connack(code).await {
            Ok(()) => End::Refused(code),
            Err(end) => end,
        }
    }

    fn report(&self, violation: Violation) {
        let Identity { tenant, device, .. } = &*self.identity;
        tracing::warn!(%tenant, %device, peer = %self.peer, %violation, "a device is cut off");
        let event = GateEvent::Violation {
            tenant: tenant.clone(),
            device: device.clone(),
            violation,
            peer: self.peer,
        };
        // Under a flood of them, the ones already waiting say enough.
        drop(self.shared.events.try_send(event));
    }
}

/// How long a client with this keep-alive may be silent; 0 means that it promises nothing.
fn patience(keep_alive_s: u16, most: Duration) -> Duration {
    match keep_alive_s {
        0 => most,
        seconds => {
            let keep_alive = Duration::from_secs(u64::from(seconds));
            (keep_alive + (keep_alive / 2).max(KEEP_ALIVE_GRACE)).min(most)
        }
    }
}

async fn read_packets<R: AsyncRead + Unpin>(
    reader: &mut PacketReader<R>,
    identity: &Identity,
    mut link: LinkSender,
    replies: mpsc::Sender<Packet>,
    patience: Duration,
    limits: &GateLimits,
) -> End {
    let begun = Instant::now();
    let now_ms = || u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A burst of four seconds' worth: what a device has ready when it comes back.
    let mut bytes = Budget::new(limits.bytes_per_second, limits.bytes_per_second * 4, 0);
    let mut packets = Budget::new(limits.packets_per_second, limits.packets_per_second * 4, 0);
    let mut subscribed = false;
    loop {
        let (packet, size) = match reader.next(acl::PACKET_BYTES, Instant::now() + patience).await {
            Ok(next) => next,
            Err(error) => return error.into(),
        };
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let wait_ms = bytes.take(size, now_ms()).max(packets.take(1, now_ms()));
        if wait_ms > 0 {
            sleep(Duration::from_millis(wait_ms)).await;
        }
        let request = match acl::check(identity, &packet) {
            Ok(request) => request,
            Err(violation) => return ReadError::from(violation).into(),
        };
        let passed = match (request, packet) {
            (Request::Leave, _) => return End::Left,
            (Request::Ping, _) => reply(&replies, Packet::PingResp(PingResp)).await,
            (Request::Publish, Packet::Publish(publish, _)) => {
                link.send(Packet::Publish(slim(publish, identity), None)).await
            }
            (Request::Subscribe, packet) => {
                subscribed = true;
                link.send(packet).await
            }
            (Request::Unsubscribe, packet) => {
                let Packet::Unsubscribe(unsubscribe, _) = &packet else { continue };
                // The router answers nothing for a filter it does not know, so the answer is ours.
                let pkid = unsubscribe.pkid;
                let known = std::mem::take(&mut subscribed);
                let passed = if known { link.send(packet).await } else { Ok(()) };
                let reasons = vec![UnsubAckReason::Success];
                match passed {
                    Ok(()) => {
                        reply(&replies, Packet::UnsubAck(UnsubAck { pkid, reasons }, None)).await
                    }
                    gone => gone,
                }
            }
            (Request::Acknowledge, packet) => link.send(packet).await,
            (Request::Publish, _) => return ReadError::from(Violation::Unexpected).into(),
        };
        if let Err(end) = passed {
            return end.into();
        }
    }
}

/// A message that does not pin the connection's read buffer while the router keeps it.
fn slim(mut publish: Publish, identity: &Identity) -> Publish {
    publish.topic = identity.up.clone();
    publish.payload = Bytes::copy_from_slice(&publish.payload);
    publish
}

async fn reply(replies: &mpsc::Sender<Packet>, packet: Packet) -> Result<(), LinkEnd> {
    replies.send(packet).await.map_err(|_| LinkEnd::Gone)
}

async fn write_packets<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut link: LinkReceiver,
    mut answers: mpsc::Receiver<Packet>,
    most: Duration,
) -> End {
    let mut bytes = BytesMut::new();
    loop {
        let first = tokio::select! {
            packet = link.next() => packet,
            Some(packet) = answers.recv() => Ok(packet),
        };
        let mut next = Some(first);
        while let Some(packet) = next {
            let packet = match packet {
                Ok(packet) => packet,
                Err(end) => return end.into(),
            };
            if let Err(error) = encode(packet, &mut bytes) {
                tracing::error!(%error, "the router has a packet that no server sends");
            }
            next = (bytes.len() < WRITE_BYTES).then(|| link.next().now_or_never()).flatten();
        }
        if let Err(end) = write_out(writer, &mut bytes, most).await {
            return end;
        }
    }
}

async fn write_out<W: AsyncWrite + Unpin>(
    writer: &mut W,
    bytes: &mut BytesMut,
    most: Duration,
) -> Result<(), End> {
    let write = async {
        writer.write_all_buf(bytes).await?;
        writer.flush().await
    };
    match timeout(most, write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(End::Write(error)),
        Err(_) => return Err(End::Write(std::io::ErrorKind::TimedOut.into())),
    }
    if bytes.capacity() > WRITE_BYTES / 4 {
        *bytes = BytesMut::new();
    }
    Ok(())
}
