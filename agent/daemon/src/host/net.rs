//! The way to the network for whatever a plugin speaks.
//!
//! A name is resolved once, every address that came of it is put to the grants and to the device's
//! own list, and the connection goes to the very address that was asked about: no second look-up can
//! lead elsewhere. One address that is not granted refuses all: a name with a public address and
//! one inside is how others are led in.

use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use openclaw_sandbox::grants::NetGrants;
use openclaw_sandbox::target::Host as Name;
use openclaw_sandbox::{HostError, Stop};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::limits;

/// The addresses of a name, once they have come.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
/// Looks a name up.
pub type Resolver = Arc<dyn Fn(&str) -> Resolving + Send + Sync>;

/// The way to the network, on a runtime that is driven elsewhere.
#[derive(Clone)]
pub struct Net {
    runtime: tokio::runtime::Handle,
    resolver: Resolver,
}

impl std::fmt::Debug for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Net").finish_non_exhaustive()
    }
}

/// Where to, and who has a say.
pub(super) struct Way<'a> {
    pub(super) host: &'a Name,
    pub(super) port: u16,
    /// What the plugin was granted.
    pub(super) granted: &'a NetGrants,
    /// What the device's configuration leaves of all grants; `None` leaves them as they are.
    pub(super) narrowed: Option<&'a NetGrants>,
    /// For messages.
    pub(super) label: &'a dyn Display,
}

impl Net {
    /// A way on which the system's resolver says what a name means.
    #[must_use]
    pub fn new(runtime: tokio::runtime::Handle) -> Self {
        Self::with_resolver(runtime, Arc::new(|name| Box::pin(system_resolver(name.to_owned()))))
    }

    /// A way with a resolver of one's own.
    #[must_use]
    pub fn with_resolver(runtime: tokio::runtime::Handle, resolver: Resolver) -> Self {
        Self { runtime, resolver }
    }

    /// Waits for something, at most until `time` is over or `watch` says to stop.
    ///
    /// # Errors
    /// What `late` says, [`HostError::Cancelled`], or what came of it.
    pub(super) fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, HostError>>,
        time: Duration,
        watch: &dyn Fn() -> Option<Stop>,
        late: &dyn Fn() -> HostError,
    ) -> Result<T, HostError> {
        self.runtime.block_on(async {
            tokio::pin!(work);
            let deadline = Instant::now() + time;
            loop {
                let look = deadline.min(Instant::now() + limits::LOOK);
                if let Ok(answer) = tokio::time::timeout_at(look, &mut work).await {
                    return answer;
                }
                if watch().is_some() {
                    return Err(HostError::Cancelled);
                }
                if Instant::now() >= deadline {
                    return Err(late());
                }
            }
        })
    }

    /// Connects.
    ///
    /// # Errors
    /// The name has an address that is not granted, or none that answers.
    pub(super) async fn connect(&self, way: &Way<'_>) -> Result<TcpStream, HostError> {
        let Way { host, port, label, .. } = way;
        let failed = |reason: &str| HostError::Failed(format!("{label}: {reason}"));
        let addresses = match host {
            Name::Ip(ip) => vec![*ip],
            Name::Name(name) => (self.resolver)(name).await.map_err(|e| failed(&e.to_string()))?,
        };
        let granted =
            |grants: &NetGrants| addresses.iter().all(|ip| grants.allows_address(host, *ip, *port));
        if !granted(way.granted) || !way.narrowed.is_none_or(granted) {
            return Err(HostError::Denied(format!(
                "{label} leads to an address that is not granted; name it by address or CIDR"
            )));
        }
        let mut reason = "the name has no address".to_owned();
        for address in addresses.into_iter().take(limits::HTTP_ADDRESSES) {
            match TcpStream::connect(SocketAddr::new(address, *port)).await {
                Ok(stream) => {
                    // What is written is meant to go out; waiting for more would only delay it.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(e) => reason = e.to_string(),
            }
        }
        Err(failed(&reason))
    }
}

async fn system_resolver(name: String) -> io::Result<Vec<IpAddr>> {
    // The port is no matter of the look-up.
    let found = tokio::net::lookup_host((name, 0)).await?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|found| found.ip()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
