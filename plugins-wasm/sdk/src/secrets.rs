//! Secrets that are used without being seen. Needs `permissions.secrets` with the name.
//!
//! ```no_run
//! use openclaw_plugin_sdk::{http::Request, secrets};
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! let token = secrets::handle("api-token")?;
//! Request::new("GET", "https://example.com/state")
//!     .header("authorization", format!("Bearer {token}"))
//!     .send()?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::host::device as host;
use crate::{Error, Result};

/// A text that stands for a secret's value until the end of this call. The host puts the value in
/// its place in the path, header fields and body of an HTTP request, and in what is written to
/// a stream. A guest cannot compute with the value: what must be signed with it has to come as input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle(String);

impl Handle {
    /// The text that stands for the value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands for the value of a secret.
///
/// # Errors
/// `permission.denied`; `user.not_found` where the device has no such secret.
pub fn handle(name: &str) -> Result<Handle> {
    let text = String::from_utf8(host::secret(name)?);
    text.map(Handle).map_err(|_| Error::new("plugin.error", "the host's handle is not UTF-8"))
}
