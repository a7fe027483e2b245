//! What a simulation sees of the brain.

use std::time::Duration;

use super::Brain;
use crate::store::Store;

impl Brain {
    /// What it has written.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// How long nothing is due.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.sleep()
    }
}
