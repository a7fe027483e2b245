//! The broker: a gate that lets a device do two things, and the rumqttd router behind it.
//!
//! [`tls`] says who may shake hands, [`gate`] accepts and counts connections, [`connection`]
//! carries one of them, [`acl`] decides on each packet, [`codec`] reads and writes them, and
//! [`router`] keeps the in-process router alive. Nothing here remembers anything that matters:
//! the guarantees live in the database and in the sync session (see `openclaw_protocol::sync`).

pub(crate) mod acl;
mod codec;
pub(crate) mod connection;
pub(crate) mod gate;
pub(crate) mod router;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

use std::time::Duration;

/// Bounds of the gate.
#[derive(Debug, Clone)]
pub(crate) struct GateLimits {
    /// Devices that may be connected at once.
    pub connections: usize,
    /// Devices that may be connected at once from one address (an IPv6 /64 counts as one).
    pub connections_per_address: usize,
    /// Connections that have not yet said who they are. A newcomer beyond this replaces the
    /// oldest, so that silent ones cannot lock honest ones out.
    pub pending: usize,
    /// The same, from one address.
    pub pending_per_address: usize,
    /// How long TLS handshake and CONNECT may take together.
    pub handshake: Duration,
    /// How long a write may be stuck before the connection is cut.
    pub write: Duration,
    /// The longest silence, whatever keep-alive the client asked for.
    pub silence: Duration,
    /// Bytes a second that one connection may send in the long run; then its reader is slowed.
    pub bytes_per_second: u64,
    /// Packets a second that one connection may send in the long run.
    pub packets_per_second: u64,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_address: 4_096,
            pending: 2_048,
            pending_per_address: 512,
            handshake: Duration::from_secs(10),
            write: Duration::from_secs(20),
            silence: Duration::from_secs(600),
            bytes_per_second: 4 * 1024 * 1024,
            packets_per_second: 2_000,
        }
    }
}
