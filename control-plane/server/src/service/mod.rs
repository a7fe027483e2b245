//! What the API does, by noun: intents in, views out. Each function takes the principal who asks;
//! each change of state writes its audit row in the same transaction, and nudges the fleet only
//! after the commit.

pub(crate) mod again;
pub(crate) mod api_keys;
pub(crate) mod approvals;
pub(crate) mod audit;
pub(crate) mod auth;
pub(crate) mod deployments;
pub(crate) mod desired;
pub(crate) mod devices;
pub(crate) mod events;
pub(crate) mod executions;
mod fault;
pub(crate) mod housekeeping;
pub(crate) mod idempotency;
pub(crate) mod page;
pub(crate) mod plugins;
pub(crate) mod publisher_keys;
pub(crate) mod requests;
mod resolve;
pub(crate) mod secrets;
pub(crate) mod security;
pub(crate) mod users;
pub(crate) mod workflows;

pub(crate) use fault::{Fault, Outcome};
