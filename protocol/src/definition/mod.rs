//! What people write: a workflow document, from YAML or JSON to a checked [`Workflow`].

mod cron;
mod draft;
pub mod editor;
mod graph;
pub mod lint;
mod model;
mod schema;

pub use cron::{Cron, CronError, Dst};
pub use draft::{DraftError, Problem, ProblemCode, attempt_text, parse};
pub use model::*;
pub use schema::{InputProblem, check_against};
