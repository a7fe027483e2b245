//! Sparkplug B 3.0: topics, and payloads as its `sparkplug_b.proto` defines them.

pub(crate) mod metric;
pub(crate) mod payload;
mod proto;
pub(crate) mod topic;
