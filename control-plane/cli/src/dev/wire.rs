//! A wire that can be cut: a TCP proxy between one agent and the control plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Connections through one wire at once; an agent needs one.
const CONNECTIONS: usize = 16;

/// One cuttable wire. Dropping it cuts it for good.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    up: watch::Sender<bool>,
    carried: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Wire {
    /// Opens a wire to `target` on a free port of this machine.
    ///
    /// # Errors
    /// No port could be had.
    pub async fn open(target: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (up, state) = watch::channel(true);
        let carried = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(accept(listener, target, state, Arc::clone(&carried)));
        Ok(Self { address, up, carried, task })
    }

    /// Where the agent shall connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts it: what is connected ends at once, what tries is refused.
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Mends it.
    pub fn mend(&self) {
        self.up.send_replace(true);
    }

    /// Bytes carried so far, both ways.
    #[must_use]
    pub fn carried_bytes(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.up.send_replace(false);
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    state: watch::Receiver<bool>,
    carried: Arc<AtomicU64>,
) {
    let slots = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok((inward, _)) = listener.accept().await else { continue };
        // A cut wire closes at once, as an unreachable host would in the end.
        if !*state.borrow() {
            continue;
        }
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let (state, carried) = (state.clone(), Arc::clone(&carried));
        tokio::spawn(async move {
            carry(inward, target, state, carried).await;
            drop(slot);
        });
    }
}

async fn carry(
    mut inward: TcpStream,
    target: SocketAddr,
    mut state: watch::Receiver<bool>,
    carried: Arc<AtomicU64>,
) {
    let Ok(mut outward) = TcpStream::connect(target).await else { return };
    tokio::select! {
        done = tokio::io::copy_bidirectional(&mut inward, &mut outward) => {
            if let Ok((there, back)) = done {
                carried.fetch_add(there + back, Ordering::Relaxed);
            }
        }
        // Ends when the wire is cut, and also when it is dropped.
        _ = state.wait_for(|up| !up) => {}
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_cut_wire_carries_nothing_and_a_mended_one_does() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = echo.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut peer, _) = echo.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut byte = [0];
                    while peer.read_exact(&mut byte).await.is_ok() {
                        if peer.write_all(&byte).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        let wire = Wire::open(target).await.unwrap();
        let mut first = TcpStream::connect(wire.address()).await.unwrap();
        let mut byte = [7];
        first.write_all(&byte).await.unwrap();
        first.read_exact(&mut byte).await.unwrap();

        wire.cut();
        assert_eq!(first.read(&mut byte).await.unwrap_or(0), 0, "the old connection ends");
        let mut second = TcpStream::connect(wire.address()).await.unwrap();
        let _ = second.write_all(&byte).await;
        assert_eq!(second.read(&mut byte).await.unwrap_or(0), 0, "a new one leads nowhere");

        wire.mend();
        let mut third = TcpStream::connect(wire.address()).await.unwrap();
        third.write_all(&byte).await.unwrap();
        third.read_exact(&mut byte).await.unwrap();
    }
}
