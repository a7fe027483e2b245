//! What is allowed but seldom meant: warnings about a checked workflow, with their places.

use super::draft::{Node, Problems};
use super::model::Workflow;

/// Notes what is certain to fail.
pub(super) fn check_order(_: &Workflow, _: &Node, _: &mut Problems) {}
