//! The agent: runs workflows on the device, with or without a network.
//!
//! Decide, commit, act: the [`brain`] drains what is waiting, lets the pure engine decide,
//! commits everything in one transaction of the [`store`], and only then acts through the
//! [`hands`], the [`link`] and the [`local`] socket; every answer comes back as an [`event`].

pub mod agent;
pub mod args;
pub mod brain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod enroll;
pub mod event;
pub mod hands;
pub mod host;
pub mod identity;
pub mod limits;
pub mod link;
pub mod local;
pub mod local_mqtt;
pub mod logs;
pub mod looker;
pub mod offers;
pub mod panics;
mod random;
pub mod secret_files;
pub mod secrets;
pub mod signals;
#[cfg(feature = "testing")]
pub mod simulated;
pub mod standalone;
mod stderr;
pub mod store;
pub mod tls;
mod waiting;
pub mod webhook;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
