//! What things mean in OpenClaw, shared by agent, control plane and command line.
//!
//! Pure: no runtime, no socket, no database, no clock, no randomness. Time is an argument.
//! In reading order: names ([`id`]), bounds ([`limits`]), time ([`time`]), what people write
//! ([`definition`], [`expr`], [`plugin`]), what a device tells of a run ([`run`]), what goes down
//! ([`desired`], [`command`]) and up ([`report`], [`recording`]), how it travels ([`wire`], [`topic`],
//! [`sync`]), what must not be told ([`secret`]), and the shapes of the HTTP API ([`api`]). Maps and
//! sets that stay small are [`ordered`].

pub mod api;
pub mod command;
pub mod definition;
pub mod desired;
pub mod expr;
pub mod glob;
pub mod id;
pub mod json;
pub mod limits;
pub mod ordered;
pub mod plugin;
pub mod recording;
pub mod report;
pub mod run;
pub mod secret;
pub mod sync;
pub mod time;
pub mod toml_text;
pub mod topic;
pub mod wire;
pub mod zone;
