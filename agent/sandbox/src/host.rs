//! What the sandbox needs from whoever runs it: the outside world, and when to stop.
//!
//! Every effect of a plugin goes through [`Host`], after the permissions were checked and with
//! the guest's stack set aside. A fake makes plugins testable on the desk; a recorder in front of
//! the real one makes them replayable.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ask::Ask;
use crate::grants::NetGrants;
use crate::target::Target;

/// The capabilities of a device. Calls block; the caller bounds them by its own deadline.
pub trait Host: Send {
    /// Sends a request and returns the whole response. The implementation must ask
    /// `request.grants` about every address it connects to, also after a redirect.
    ///
    /// # Errors
    /// No answer, or an answer over `max_response_bytes`.
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError>;

    /// The first `max` bytes of a file in a logical directory that the device's configuration
    /// maps. `path` is relative and without `..`; that a symbolic link does not lead out of the
    /// directory is for the implementation to see to.
    ///
    /// # Errors
    /// The device maps no such directory, there is no such file, or it cannot be read.
    fn read_file(&mut self, dir: &str, path: &str, max: usize) -> Result<Vec<u8>, HostError>;

    /// The entries of a directory, under the same rules as [`Host::read_file`].
    ///
    /// # Errors
    /// As [`Host::read_file`].
    fn list_dir(&mut self, dir: &str, path: &str) -> Result<Vec<DirEntry>, HostError>;

    /// Everything else; see [`Ask`] for what each question is answered with.
    ///
    /// # Errors
    /// This host has no such thing, or it could not be done.
    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        Err(HostError::NotFound(format!("{} is not to be had here", ask.function().name())))
    }

    /// Milliseconds since 1970 in UTC.
    fn now_ms(&mut self) -> i64;

    /// Fills the buffer with random bytes.
    fn random(&mut self, buffer: &mut [u8]);
}

/// A request that the permissions allow as far as its host and port.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Upper-case method.
    pub method: String,
    /// Where it goes, taken apart; connect to this, not to a second reading of the URL.
    pub target: Target,
    /// Header fields as the plugin gave them; none that frames the message.
    pub headers: BTreeMap<String, String>,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// The longest body of a response that the plugin can take.
    pub max_response_bytes: usize,
    /// What the plugin may reach.
    pub grants: Arc<NetGrants>,
}

/// The response to a request, whatever its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Header fields by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name, without a path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Why a host could not do what it was asked. The text goes to the plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Only the host could see that this is not allowed, for example at a resolved address.
    #[error("{0}")]
    Denied(String),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The answer is larger than the plugin can take.
    #[error("{0}")]
    TooLarge(String),
    /// It was tried and failed; trying later may help.
    #[error("{0}")]
    Failed(String),
    /// The request cannot be made at all.
    #[error("{0}")]
    Invalid(String),
    /// Not in the time that was given; what is under way may still come.
    #[error("{0}")]
    TimedOut(String),
    /// The run is being cancelled.
    #[error("the run is being cancelled")]
    Cancelled,
}

/// Tells a running call to stop. Asked at every fuel slice (some microseconds) and around every
/// request to the host.
pub trait Watch {
    /// Why to stop now, or `None` to go on.
    fn stop(&self) -> Option<Stop>;
}

impl<F: Fn() -> Option<Stop>> Watch for F {
    fn stop(&self) -> Option<Stop> {
        self()
    }
}

/// Why a call is stopped from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The attempt's time is over.
    Timeout,
    /// The run is being cancelled.
    Cancelled,
}
