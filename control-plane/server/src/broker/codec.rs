//! MQTT 3.1.1 packets on a byte stream: rumqttd's codec, fenced in.
//!
//! A first byte that no client sends never reaches the codec ([`acl::client_byte`]), sizes are
//! checked before anything is buffered, and what the codec cannot write (UNSUBACK: it has no arm
//! for it and panics) is written here.

use std::io;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::{self, Packet, Protocol};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::acl::{self, Violation};

/// Room that is made for a read, in bytes.
const READ_BYTES: usize = 4 * 1024;
/// A buffer that has grown beyond this for a large packet is given back, in bytes.
const KEPT_BYTES: usize = 16 * 1024;
/// A packet that is under way may take as long as this many bytes a second need. An honest slow
/// link is faster; a client that feeds single bytes is not.
const SLOWEST_BYTES_PER_SECOND: u64 = 256;

/// Why there is no further packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The client has closed, or the network has.
    #[error("closed: {0}")]
    Closed(io::Error),
    /// Nothing whole came for too long.
    #[error("silent for too long")]
    Silent,
    /// What came is not allowed at all.
    #[error(transparent)]
    Violation(#[from] Violation),
}

/// Reads packets of at most a given size.
pub(crate) struct PacketReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> PacketReader<R> {
    /// Reads from this stream.
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next packet and its size on the wire, in bytes. The deadline moves while a packet
    /// arrives, by what a slow link needs for the bytes that have come.
    ///
    /// # Errors
    /// See [`ReadError`]. The stream cannot be used any more then.
    pub(crate) async fn next(
        &mut self,
        most: usize,
        deadline: Instant,
    ) -> Result<(Packet, usize), ReadError> {
        loop {
            let before = self.buffer.len();
            if let Some(packet) = decode(&mut self.buffer, most)? {
                let size = before - self.buffer.len();
                if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES {
                    self.buffer = BytesMut::new();
                }
                return Ok((packet, size));
            }
            self.buffer.reserve(READ_BYTES);
            let arrived = u64::try_from(before).unwrap_or(u64::MAX);
            let patience = Duration::from_secs(arrived / SLOWEST_BYTES_PER_SECOND);
            let read = self.stream.read_buf(&mut self.buffer);
            match timeout_at(deadline + patience, read).await {
                Err(_) => return Err(ReadError::Silent),
                Ok(Err(error)) => return Err(ReadError::Closed(error)),
                Ok(Ok(0)) => {
                    return Err(ReadError::Closed(io::ErrorKind::UnexpectedEof.into()));
                }
                Ok(Ok(_)) => {}
            }
        }
    }
}

/// Takes one whole packet off the buffer, if there is one.
pub(crate) fn decode(buffer: &mut BytesMut, most: usize) -> Result<Option<Packet>, Violation> {
    let Some(first) = buffer.first() else { return Ok(None) };
    acl::client_byte(*first)?;
    match V4.read_mut(buffer, most) {
        Ok(packet) => Ok(Some(packet)),
        Err(protocol::Error::InsufficientBytes(_)) => Ok(None),
        Err(protocol::Error::PayloadSizeLimitExceeded(_)) => Err(Violation::Oversize),
        Err(_) => Err(Violation::Malformed),
    }
}

/// Appends a packet's bytes.
///
/// # Errors
/// A packet that a 3.1.1 server does not send: a bug of ours, which costs one connection.
pub(crate) fn encode(packet: Packet, buffer: &mut BytesMut) -> Result<(), protocol::Error> {
    match packet {
        Packet::UnsubAck(ack, _) => {
            buffer.put_slice(&[0xb0, 2]);
            buffer.put_u16(ack.pkid);
        }
        // The codec panics on properties, which are of version 5.
        Packet::Publish(publish, _) => {
            V4.write(Packet::Publish(publish, None), buffer)?;
        }
        Packet::PubAck(ack, _) => {
            V4.write(Packet::PubAck(ack, None), buffer)?;
        }
        Packet::SubAck(ack, _) => {
            V4.write(Packet::SubAck(ack, None), buffer)?;
        }
        Packet::ConnAck(..) | Packet::PingResp(_) => {
            V4.write(packet, buffer)?;
        }
        Packet::Connect(..)
        | Packet::PingReq(_)
        | Packet::Subscribe(..)
        | Packet::PubRec(..)
        | Packet::PubRel(..)
        | Packet::PubComp(..)
        | Packet::Unsubscribe(..)
        | Packet::Disconnect(..) => return Err(protocol::Error::IncorrectPacketFormat),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rumqttd::protocol::{PubAck, PubAckReason, Publish, UnsubAck, UnsubAckReason};

    use super::*;

    /// Small, fast, and the same in each run.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 11).unwrap() % n
        }
    }

    fn samples() -> Vec<Vec<u8>> {
        let mut publish = vec![0x32, 30, 0, 8];
        publish.extend(b"up/topic\x00\x01payload-of-18-byte");
        vec![
            b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06pump-7".to_vec(),
            b"\x10\x1c\x00\x04MQTT\x04\xce\x00\x3c\x00\x01a\x00\x01t\x00\x01m\x00\x01u\x00\x04pass"
                .to_vec(),
            publish,
            b"\x30\x05\x00\x03a/b".to_vec(),
            b"\x40\x02\x00\x01".to_vec(),
            b"\x82\x08\x00\x01\x00\x03a/b\x01".to_vec(),
            b"\xa2\x07\x00\x01\x00\x03a/b".to_vec(),
            b"\xc0\x00".to_vec(),
            b"\xe0\x00".to_vec(),
        ]
    }

    #[test]
    fn whole_packets_are_taken_and_parts_are_waited_for() {
        for sample in samples() {
            for cut in 0..sample.len() {
                let mut part = BytesMut::from(&sample[..cut]);
                assert_eq!(decode(&mut part, 1024), Ok(None), "{sample:02x?} cut at {cut}");
                assert_eq!(part.len(), cut, "a part stays in the buffer");
            }
            let mut twice = BytesMut::from(&[&sample[..], &sample[..]].concat()[..]);
            let first = decode(&mut twice, 1024).unwrap().unwrap();
            assert_eq!(decode(&mut twice, 1024), Ok(Some(first)));
            assert!(twice.is_empty());
        }
    }

    #[test]
    fn a_packet_that_promises_too_much_is_refused_before_it_comes() {
        // 256 MiB of remaining length in five bytes.
        let mut buffer = BytesMut::from(&b"\x32\xff\xff\xff\x7f"[..]);
        assert_eq!(decode(&mut buffer, acl::PACKET_BYTES), Err(Violation::Oversize));
        let mut buffer = BytesMut::from(&b"\x32\xff\xff\xff\xff\x7f"[..]);
        assert_eq!(decode(&mut buffer, acl::PACKET_BYTES), Err(Violation::Malformed));
    }

    /// A quarter of a million mutated packets: each is decoded, refused or waited for, none
    /// panics, and none is taken for something a server sends.
    #[test]
    fn mutated_packets_never_panic() {
        let (samples, mut dice) = (samples(), Dice(0x9e37_79b9_7f4a_7c15));
        let (mut taken, mut refused, mut waited) = (0, 0, 0);
        for _ in 0..250_000 {
            let mut bytes = samples[dice.below(samples.len())].clone();
            for _ in 0..=dice.below(4) {
                let at = dice.below(bytes.len());
                match dice.below(4) {
                    0 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
                    1 => bytes[at] ^= 1 << dice.below(8),
                    2 => bytes.insert(at, u8::try_from(dice.below(256)).unwrap()),
                    _ => drop(bytes.remove(at)),
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            let mut buffer = BytesMut::from(&bytes[..]);
            match decode(&mut buffer, 1024) {
                Ok(Some(_)) => taken += 1,
                Ok(None) => waited += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(
            taken > 10_000 && refused > 10_000 && waited > 10_000,
            "{taken} {refused} {waited}"
        );
    }

    #[test]
    fn what_a_server_sends_is_written_as_the_standard_says() {
        let mut buffer = BytesMut::new();
        let unsuback = UnsubAck { pkid: 258, reasons: vec![UnsubAckReason::Success] };
        encode(Packet::UnsubAck(unsuback, None), &mut buffer).unwrap();
        let puback = PubAck { pkid: 3, reason: PubAckReason::Success };
        encode(Packet::PubAck(puback, None), &mut buffer).unwrap();
        let publish = Publish::new(Bytes::from("a/b"), Bytes::from("x"), false);
        encode(Packet::Publish(publish, None), &mut buffer).unwrap();
        assert_eq!(&buffer[..], b"\xb0\x02\x01\x02\x40\x02\x00\x03\x30\x06\x00\x03a/bx");
    }
}
