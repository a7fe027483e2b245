//! A site's broker that keeps nothing: it acknowledges what is published and notes of which run it was
//! (MQTT 3.1.1, as much of it as an agent needs that listens to nothing).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A packet may be this long, in bytes.
const PACKET_BYTES: usize = 64 * 1024;

type Said = Arc<Mutex<BTreeSet<String>>>;

/// The broker. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Postbox {
    address: SocketAddr,
    said: Said,
    task: JoinHandle<()>,
}

impl Postbox {
    /// Listens on a free port of this machine.
    pub(super) async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, said) = (listener.local_addr()?, Said::default());
        let book = Arc::clone(&said);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let book = Arc::clone(&book);
                // A connection that breaks off is the agent's to make again.
                tokio::spawn(async move { _ = serve(stream, &book).await });
            }
        });
        Ok(Self { address, said, task })
    }

    /// Where agents connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The different runs that said something.
    pub(super) fn said(&self) -> u64 {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

impl Drop for Postbox {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, said: &Said) -> std::io::Result<()> {
    loop {
        let head = stream.read_u8().await?;
        let mut length = 0_usize;
        for place in 0..4 {
            let byte = stream.read_u8().await?;
            length |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        if length > PACKET_BYTES {
            return Err(std::io::Error::other("a packet is too long"));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let answer: Vec<u8> = match head >> 4 {
            1 => vec![0x20, 2, 0, 0],
            3 => take(head, &body, said).map_or_else(Vec::new, |[a, b]| vec![0x40, 2, a, b]),
            12 => vec![0xd0, 0],
            // Whatever else there is gets no answer, and a disconnect needs none.
            _ => return Ok(()),
        };
        stream.write_all(&answer).await?;
    }
}

/// Notes a message; answers the number that is to be acknowledged.
fn take(head: u8, body: &[u8], said: &Said) -> Option<[u8; 2]> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let rest = rest.get(usize::from(u16::from_be_bytes(*length))..)?;
    let (number, payload) = match head & 0x06 {
        0 => (None, rest),
        _ => rest.split_first_chunk::<2>().map(|(number, payload)| (Some(*number), payload))?,
    };
    let message = serde_json::from_slice::<serde_json::Value>(payload).ok()?;
    let run = message.get("run")?.as_str()?.to_owned();
    said.lock().unwrap_or_else(PoisonError::into_inner).insert(run);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_noted_and_acknowledged() {
        let said = Said::default();
        let body = [&[0, 4][..], b"said", &[1, 7], br#"{"run":"a-1"}"#].concat();
        assert_eq!(take(0x32, &body, &said), Some([1, 7]));
        assert_eq!(take(0x3a, &body, &said), Some([1, 7]), "again");
        let body = [&[0, 4][..], b"said", br#"{"run":"a-2"}"#].concat();
        assert_eq!(take(0x30, &body, &said), None);
        assert_eq!(take(0x32, &[0, 9, 1], &said), None, "half a packet");
        let said: Vec<String> = said.lock().unwrap().iter().cloned().collect();
        assert_eq!(said, ["a-1", "a-2"]);
    }
}
