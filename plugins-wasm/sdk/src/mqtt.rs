//! Messages at the site's own broker. Needs `permissions.mqtt_publish` with a filter that covers
//! the topic.
//!
//! A message goes out once the call has succeeded, in one piece with its result.
//!
//! ```no_run
//! use openclaw_plugin_sdk::mqtt::Message;
//!
//! # fn main() -> openclaw_plugin_sdk::Result<()> {
//! Message::new("plant/pump-7/state", "on").at_least_once().retained().publish()
//! # }
//! ```

use crate::Result;
use crate::host::device as host;

/// Flags of the ABI.
const AT_LEAST_ONCE: i32 = 1;
const RETAINED: i32 = 2;

/// A message being put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    topic: String,
    payload: Vec<u8>,
    flags: i32,
}

impl Message {
    /// A message that goes out once, if at all (quality of service 0), and is not retained.
    #[must_use]
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>) -> Self {
        Self { topic: topic.into(), payload: payload.into(), flags: 0 }
    }

    /// With quality of service 1: it arrives, perhaps twice.
    #[must_use]
    pub fn at_least_once(mut self) -> Self {
        self.flags |= AT_LEAST_ONCE;
        self
    }

    /// The broker keeps it for those who subscribe later.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.flags |= RETAINED;
        self
    }

    /// Hands it out, to be sent once this call has succeeded.
    ///
    /// # Errors
    /// `permission.denied`; `inputs.invalid` for a topic that is none; `user.too_large` over 64
    /// messages or 256 KiB in one call.
    pub fn publish(self) -> Result<()> {
        host::publish(&self.topic, &self.payload, self.flags)
    }
}
