//! The control plane: where people write, publish, roll out, watch and replay workflows.
//!
//! In reading order: [`config`] (what the operator chose), [`init`] (the first start), [`app`]
//! (build, run, drain), [`context`] (what every part is given), [`network`]
//! (addresses), `store` (SQL by noun), `service`
//! (what the API does, by noun), `identity` (who may do what, one door), `http` (the URL map),
//! `broker` (the gate and the router behind it), `fleet` (one session per device, the only writer
//! of facts), `monitor` and `console`.

mod broker;
mod console;
mod http;
mod identity;
mod monitor;
mod random;
mod service;
mod vault;

pub mod app;

pub mod clock;
pub mod config;
pub mod context;
pub mod fleet;
pub mod init;
pub mod network;
pub mod store;

pub use store::backup;

#[cfg(test)]
mod testing;

pub use http::openapi_json;

/// Version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
