//! A device without a machine: what a simulation of a whole fleet in one process needs beside the
//! [`Brain`](crate::brain::Brain) and a [`Disk`] (feature `testing`).

use openclaw_protocol::id::Epoch;

use crate::limits;
use crate::random;
use crate::store::{Retention, Store, StoreError};
use crate::testing::Disk;

/// From now on what is random on this thread follows from the seed.
pub fn seed(seed: u64) {
    random::drawn::seed(seed);
}

/// Opens a store on a disk, as the agent does: it can be opened again after a failure.
///
/// # Errors
/// As [`Store::open`].
pub fn open(disk: &Disk, retention: Retention, fresh_epoch: Epoch) -> Result<Store, StoreError> {
    let (disk, with) = (disk.clone(), (limits::CACHE_BYTES, retention, fresh_epoch));
    Store::open_again(move || Ok(disk.backend()), with, None)
}
