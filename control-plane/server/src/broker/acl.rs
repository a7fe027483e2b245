//! What one device may do on the broker: a pure decision per packet.
//!
//! rumqttd authorises nothing, and a topic that is not ASCII ends its router; so whatever is not
//! on this short list never reaches it. A device publishes to its own `up` topic and subscribes
//! to its own `down` topic, by their literal names. Everything else is a [`Violation`], which
//! costs the connection and is a security event.

use bytes::Bytes;
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::topic::{self, Direction};
use rumqttd::protocol::{Connect, LastWill, Packet, Publish, QoS};

/// A topic name or filter, in bytes.
pub(crate) const TOPIC_BYTES: usize = 256;
/// A packet's remaining length, in bytes: a frame, its topic and the packet's own fields.
pub(crate) const PACKET_BYTES: usize = limits::FRAME_BYTES + TOPIC_BYTES + 16;
/// A CONNECT packet's remaining length, in bytes.
pub(crate) const CONNECT_BYTES: usize = 512;
/// Filters in one SUBSCRIBE or UNSUBSCRIBE. There is one topic to subscribe to.
const FILTERS: usize = 4;

/// Who is connected, as its certificate says, with the only two topics it may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Whose fleet.
    pub(crate) tenant: TenantId,
    /// Which device.
    pub(crate) device: DeviceId,
    /// The topic it may publish to.
    pub(crate) up: Bytes,
    /// The topic it may subscribe to.
    pub(crate) down: String,
}

impl Identity {
    /// The identity of one device.
    pub(crate) fn new(tenant: TenantId, device: DeviceId) -> Self {
        let up = Bytes::from(topic::sync(&tenant, &device, Direction::Up));
        let down = topic::sync(&tenant, &device, Direction::Down);
        Self { tenant, device, up, down }
    }
}

/// What a packet that is allowed asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Pass a publish to the router.
    Publish,
    /// Subscribe to the own down topic.
    Subscribe,
    /// Unsubscribe from it.
    Unsubscribe,
    /// The device has taken a message.
    Acknowledge,
    /// Answer a ping.
    Ping,
    /// End the connection.
    Leave,
}

/// What a device must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub(crate) enum Violation {
    /// A topic that is not ASCII.
    #[error("a topic that is not plain ASCII text")]
    NotAscii,
    /// A topic longer than [`TOPIC_BYTES`], or empty.
    #[error("a topic that is empty or longer than 256 bytes")]
    TopicLength,
    /// `+` or `#` anywhere.
    #[error("a wildcard")]
    Wildcard,
    /// `$share`, `$SYS` and the like.
    #[error("a topic of the broker's own")]
    Reserved,
    /// Another device's topic, or one nobody has.
    #[error("a topic that is not its own")]
    ForeignTopic,
    /// A retained message.
    #[error("a retained message")]
    Retained,
    /// QoS 2, in any packet.
    #[error("quality of service 2")]
    QosTwo,
    /// More bytes than a frame has.
    #[error("a message larger than a frame")]
    Oversize,
    /// Too many filters, or none.
    #[error("no filter or too many of them")]
    Filters,
    /// A last will.
    #[error("a last will")]
    Will,
    /// A packet that only a server sends, or a second CONNECT.
    #[error("a packet that a client does not send here")]
    Unexpected,
    /// Bytes that are not MQTT 3.1.1.
    #[error("bytes that are not MQTT 3.1.1")]
    Malformed,
    /// Another client id than the certificate's device.
    #[error("a client id that is not its own")]
    ForeignClientId,
}

impl Violation {
    /// The stable code of the security event.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::NotAscii => "mqtt.topic_not_ascii",
            Self::TopicLength => "mqtt.topic_length",
            Self::Wildcard => "mqtt.wildcard",
            Self::Reserved => "mqtt.reserved_topic",
            Self::ForeignTopic => "mqtt.foreign_topic",
            Self::Retained => "mqtt.retained",
            Self::QosTwo => "mqtt.qos_two",
            Self::Oversize => "mqtt.oversize",
            Self::Filters => "mqtt.filters",
            Self::Will => "mqtt.will",
            Self::Unexpected => "mqtt.unexpected_packet",
            Self::Malformed => "mqtt.malformed",
            Self::ForeignClientId => "mqtt.foreign_client_id",
        }
    }
}

/// Decides on the first packet.
pub(crate) fn connect(
    identity: &Identity,
    connect: &Connect,
    will: Option<&LastWill>,
) -> Result<(), Violation> {
    if connect.client_id != identity.device.as_str() {
        return Err(Violation::ForeignClientId);
    }
    if will.is_some() {
        return Err(Violation::Will);
    }
    Ok(())
}

/// Decides on any later packet.
pub(crate) fn check(identity: &Identity, packet: &Packet) -> Result<Request, Violation> {
    match packet {
        Packet::Publish(message, None) => publish(identity, message).map(|()| Request::Publish),
        Packet::Subscribe(subscribe, None) => {
            if subscribe.filters.is_empty() || subscribe.filters.len() > FILTERS {
                return Err(Violation::Filters);
            }
            for filter in &subscribe.filters {
                own_topic(filter.path.as_bytes(), identity.down.as_bytes())?;
                if filter.qos == QoS::ExactlyOnce {
                    return Err(Violation::QosTwo);
                }
            }
            Ok(Request::Subscribe)
        }
        Packet::Unsubscribe(unsubscribe, None) => {
            if unsubscribe.filters.is_empty() || unsubscribe.filters.len() > FILTERS {
                return Err(Violation::Filters);
            }
            for filter in &unsubscribe.filters {
                own_topic(filter.as_bytes(), identity.down.as_bytes())?;
            }
            Ok(Request::Unsubscribe)
        }
        Packet::PubAck(..) => Ok(Request::Acknowledge),
        Packet::PingReq(_) => Ok(Request::Ping),
        Packet::Disconnect(_, None) => Ok(Request::Leave),
        Packet::PubRec(..) | Packet::PubRel(..) | Packet::PubComp(..) => Err(Violation::QosTwo),
        Packet::Publish(_, Some(_))
        | Packet::Subscribe(_, Some(_))
        | Packet::Unsubscribe(_, Some(_))
        | Packet::Disconnect(_, Some(_))
        | Packet::Connect(..)
        | Packet::ConnAck(..)
        | Packet::SubAck(..)
        | Packet::UnsubAck(..)
        | Packet::PingResp(_) => Err(Violation::Unexpected),
    }
}

fn publish(identity: &Identity, message: &Publish) -> Result<(), Violation> {
    own_topic(&message.topic, &identity.up)?;
    if message.retain {
        return Err(Violation::Retained);
    }
    // QoS 2 has been refused by `client_byte`: rumqttd does not show the field.
    if message.payload.len() > limits::FRAME_BYTES {
        return Err(Violation::Oversize);
    }
    Ok(())
}

/// One comparison decides; the rest only finds the best name for what is wrong.
fn own_topic(topic: &[u8], own: &[u8]) -> Result<(), Violation> {
    if topic == own {
        return Ok(());
    }
    Err(if !topic.is_ascii() {
        Violation::NotAscii
    } else if topic.is_empty() || topic.len() > TOPIC_BYTES {
        Violation::TopicLength
    } else if topic.starts_with(b"$") {
        Violation::Reserved
    } else if topic.iter().any(|b| matches!(b, b'+' | b'#')) {
        Violation::Wildcard
    } else {
        Violation::ForeignTopic
    })
}

/// Whether a first byte (type and flags, MQTT 3.1.1, section 2.2) is one that a client sends.
/// Asked before the codec sees the packet, so that the codec's rarer branches are never entered.
pub(crate) fn client_byte(byte: u8) -> Result<(), Violation> {
    match byte {
        // CONNECT, PUBACK, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT with their fixed flags;
        // PUBLISH with QoS 0 (DUP must be 0 then) and QoS 1, RETAIN left to `check`.
        0x10 | 0x40 | 0x82 | 0xa2 | 0xc0 | 0xe0 | 0x30..=0x33 | 0x3a | 0x3b => Ok(()),
        0x34 | 0x35 | 0x3c | 0x3d | 0x50 | 0x62 | 0x70 => Err(Violation::QosTwo),
        0x20 | 0x90 | 0xb0 | 0xd0 => Err(Violation::Unexpected),
        _ => Err(Violation::Malformed),
    }
}

/// A token bucket: how long a connection must wait before its next bytes are read. Slowing the
/// reader down is kinder than closing: an honest device with a backlog just takes its turn.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    per_second: u64,
    burst: u64,
    left: u64,
    at_ms: u64,
}

impl Budget {
    /// A full bucket.
    pub(crate) fn new(per_second: u64, burst: u64, now_ms: u64) -> Self {
        Self { per_second: per_second.max(1), burst, left: burst, at_ms: now_ms }
    }

    /// Takes `amount` and says how many milliseconds to wait first; 0 while the bucket lasts.
    /// What is taken beyond it is owed, bounded by the largest packet.
    pub(crate) fn take(&mut self, amount: u64, now_ms: u64) -> u64 {
        let gained = now_ms.saturating_sub(self.at_ms).saturating_mul(self.per_second) / 1000;
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(self.burst);
            self.at_ms = now_ms;
        }
        if amount <= self.left {
            self.left -= amount;
            return 0;
        }
        let short = amount - self.left;
        self.left = 0;
        let wait_ms = (short.saturating_mul(1000)).div_ceil(self.per_second);
        // The wait earns exactly what is short, so it must not be credited again.
        self.at_ms = now_ms.saturating_add(wait_ms);
        wait_ms
    }
}

#[cfg(test)]
mod tests {
    use rumqttd::protocol::{
        ConnAck, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter, PingReq, PingResp,
        PubAck, PubAckReason, PubComp, PubCompReason, PubRec, PubRecReason, PubRel, PubRelReason,
        RetainForwardRule, SubAck, Subscribe, UnsubAck, Unsubscribe,
    };

    use super::*;
    use crate::broker::codec;

    fn identity(tenant: &str, device: &str) -> Identity {
        Identity::new(TenantId::parse(tenant).unwrap(), DeviceId::parse(device).unwrap())
    }

    /// Through the codec, as a device's message comes.
    fn publish(me: &Identity, topic: &[u8], flags: u8, bytes: usize) -> Result<Request, Violation> {
        let pkid: &[u8] = if flags & 0b110 == 0 { &[] } else { &[0, 1] };
        let size = 2 + topic.len() + pkid.len() + bytes;
        let length = [0, 7, 14].map(|shift| u8::try_from(size >> shift & 0x7f).unwrap());
        let mut packet = vec![0x30 | flags, length[0] | 0x80, length[1] | 0x80, length[2]];
        packet.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        packet.extend(topic);
        packet.extend(pkid);
        packet.resize(packet.len() + bytes, 0);
        let mut packet = bytes::BytesMut::from(&packet[..]);
        check(me, &codec::decode(&mut packet, 1024 * 1024)?.expect("a whole packet"))
    }

    fn subscribe_packet(paths: &[&str], qos: QoS) -> Packet {
        let filters = paths.iter().map(|path| Filter {
            path: (*path).to_owned(),
            qos,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::Never,
        });
        Packet::Subscribe(Subscribe { pkid: 1, filters: filters.collect() }, None)
    }

    fn unsubscribe_packet(paths: &[&str]) -> Packet {
        let filters = paths.iter().map(|path| (*path).to_owned()).collect();
        Packet::Unsubscribe(Unsubscribe { pkid: 1, filters }, None)
    }

    /// Every spelling that might reach another device's topic.
    fn spellings(tenant: &str, device: &str) -> Vec<String> {
        let base = format!("openclaw/v1/{tenant}/{device}");
        let mut all = vec![base.clone(), format!("{base}/"), format!("/{base}/up/sync")];
        for way in ["up", "down", "UP", "Up", "+", "#", "", "..", "up ", "up\0"] {
            for tail in ["sync", "sync/", "Sync", "+", "#", "", "sync/x", "sync#", "sync\n", "é"] {
                all.push(format!("{base}/{way}/{tail}"));
                all.push(format!("$share/g/{base}/{way}/{tail}"));
            }
        }
        all.push(format!("openclaw/v1/{tenant}/+/up/sync"));
        all.push(format!("openclaw/v1/+/{device}/down/sync"));
        all.push(format!("openclaw/v1/{tenant}/../{device}/down/sync"));
        all.extend(
            ["#", "+", "+/#", "$SYS/#", "$SYS/broker", "é/1", "", "/", "\u{feff}"]
                .map(str::to_owned),
        );
        all.push("a".repeat(257));
        all
    }

    /// 3 tenants × 5 devices, each trying every spelling of every device's topics by every kind
    /// of packet: nothing is allowed but its own two topics, whole and literal.
    #[test]
    fn the_topic_matrix_allows_the_own_two_topics_and_nothing_else() {
        let fleet: Vec<Identity> = ["acme", "beta", "acme-2"]
            .iter()
            .flat_map(|t| ["a", "b", "pump-7", "pump", "0"].map(|d| identity(t, d)))
            .collect();
        let (mut allowed, mut denied) = (0, 0);
        for me in &fleet {
            for other in &fleet {
                for topic in spellings(other.tenant.as_str(), other.device.as_str()) {
                    let own_up = topic.as_bytes() == &me.up[..];
                    let own_down = topic == me.down;
                    for flags in 0..8 {
                        let allow = own_up && matches!(flags, 0b000 | 0b010);
                        let verdict = publish(me, topic.as_bytes(), flags, 10);
                        assert_eq!(verdict.is_ok(), allow, "{topic} {flags:03b} {me:?}");
                        if allow { allowed += 1 } else { denied += 1 }
                    }
                    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                        let expected = own_down && qos != QoS::ExactlyOnce;
                        let alone = subscribe_packet(&[&topic], qos);
                        assert_eq!(check(me, &alone).is_ok(), expected, "{topic} {me:?}");
                        let behind = subscribe_packet(&[&me.down, &topic], qos);
                        assert_eq!(check(me, &behind).is_ok(), expected, "{topic} {me:?}");
                    }
                    assert_eq!(check(me, &unsubscribe_packet(&[&topic])).is_ok(), own_down);
                }
            }
        }
        assert_eq!(allowed, 15 * 2, "one topic, two qualities of service, each device once");
        assert!(denied > 200_000, "{denied} publishes were refused");
    }

    #[test]
    fn the_reason_is_named() {
        let me = identity("acme", "pump-7");
        for (topic, violation) in [
            ("é/1", Violation::NotAscii),
            ("", Violation::TopicLength),
            ("$share/g/openclaw/v1/acme/pump-7/up/sync", Violation::Reserved),
            ("openclaw/v1/acme/+/up/sync", Violation::Wildcard),
            ("openclaw/v1/acme/pump-8/up/sync", Violation::ForeignTopic),
            ("openclaw/v1/acme/pump-7/down/sync", Violation::ForeignTopic),
        ] {
            assert_eq!(publish(&me, topic.as_bytes(), 0b010, 1), Err(violation), "{topic}");
            assert!(violation.code().starts_with("mqtt."));
        }
        let long = publish(&me, &me.up, 0b010, limits::FRAME_BYTES + 1);
        assert_eq!(long, Err(Violation::Oversize));
        assert_eq!(publish(&me, &me.up, 0b010, limits::FRAME_BYTES), Ok(Request::Publish));
        assert_eq!(publish(&me, &me.up, 0b011, 1), Err(Violation::Retained));
        assert_eq!(publish(&me, &me.up, 0b100, 1), Err(Violation::QosTwo));
        let many = subscribe_packet(&[me.down.as_str(); 5], QoS::AtLeastOnce);
        assert_eq!(check(&me, &many), Err(Violation::Filters));
        assert_eq!(check(&me, &subscribe_packet(&[], QoS::AtMostOnce)), Err(Violation::Filters));
        assert_eq!(check(&me, &unsubscribe_packet(&[])), Err(Violation::Filters));
    }

    #[test]
    fn packets_of_a_server_or_of_qos_two_are_refused() {
        let me = identity("acme", "pump-7");
        let (pkid, leave) =
            (1, Disconnect { reason_code: DisconnectReasonCode::NormalDisconnection });
        let connack = ConnAck { session_present: false, code: ConnectReturnCode::Success };
        let connect =
            Connect { keep_alive: 5, client_id: "pump-7".to_owned(), clean_session: true };
        let rel = PubRel { pkid, reason: PubRelReason::Success };
        for (packet, expected) in [
            (
                Packet::PubAck(PubAck { pkid, reason: PubAckReason::Success }, None),
                Ok(Request::Acknowledge),
            ),
            (Packet::PingReq(PingReq), Ok(Request::Ping)),
            (Packet::Disconnect(leave, None), Ok(Request::Leave)),
            (Packet::Connect(connect, None, None, None, None), Err(Violation::Unexpected)),
            (Packet::ConnAck(connack, None), Err(Violation::Unexpected)),
            (Packet::PingResp(PingResp), Err(Violation::Unexpected)),
            (
                Packet::SubAck(SubAck { pkid, return_codes: vec![] }, None),
                Err(Violation::Unexpected),
            ),
            (
                Packet::UnsubAck(UnsubAck { pkid, reasons: vec![] }, None),
                Err(Violation::Unexpected),
            ),
            (
                Packet::PubRec(PubRec { pkid, reason: PubRecReason::Success }, None),
                Err(Violation::QosTwo),
            ),
            (Packet::PubRel(rel, None), Err(Violation::QosTwo)),
            (
                Packet::PubComp(PubComp { pkid, reason: PubCompReason::Success }, None),
                Err(Violation::QosTwo),
            ),
        ] {
            assert_eq!(check(&me, &packet), expected, "{packet:?}");
        }
    }

    #[test]
    fn a_connect_names_the_own_device_and_leaves_no_will() {
        let me = identity("acme", "pump-7");
        let hello =
            |id: &str| Connect { keep_alive: 5, client_id: id.to_owned(), clean_session: true };
        assert_eq!(connect(&me, &hello("pump-7"), None), Ok(()));
        for other in ["", "pump-8", "PUMP-7", "pump-7 ", "#", "+", "../pump-7", "acme.pump-7"] {
            assert_eq!(connect(&me, &hello(other), None), Err(Violation::ForeignClientId));
        }
        let will = LastWill {
            topic: me.up.clone(),
            message: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
        };
        assert_eq!(connect(&me, &hello("pump-7"), Some(&will)), Err(Violation::Will));
    }

    #[test]
    fn of_all_first_bytes_only_a_client_s_pass() {
        let passed: Vec<u8> = (0..=255).filter(|b| client_byte(*b).is_ok()).collect();
        assert_eq!(
            passed,
            [0x10, 0x30, 0x31, 0x32, 0x33, 0x3a, 0x3b, 0x40, 0x82, 0xa2, 0xc0, 0xe0]
        );
    }

    #[test]
    fn a_budget_lets_a_burst_through_and_then_its_rate() {
        let mut budget = Budget::new(1_000, 5_000, 0);
        assert_eq!(budget.take(5_000, 0), 0);
        assert_eq!(budget.take(100, 0), 100);
        assert_eq!(budget.take(100, 100), 100);
        assert_eq!(budget.take(100, 1_200), 0, "a second's rest has refilled it");
        let mut sent = 0;
        let mut now = 10_000;
        let mut budget = Budget::new(1_000, 1_000, now);
        while now < 20_000 {
            now += budget.take(70, now).max(1);
            sent += 70;
        }
        assert!((10_000..=11_100).contains(&sent), "{sent} in ten seconds");
    }
}
