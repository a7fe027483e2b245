//! Commands: the log of wishes that goes down to one device, in order, each applied once.

use serde::{Deserialize, Serialize};

use crate::definition::Priority;
use crate::id::{RequestId, RunId, WorkflowName};
use crate::json::JsonText;

/// One wish. Append-only: postcard knows variants by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Start a run now.
    Start {
        /// Which workflow; must be deployed on the device.
        workflow: WorkflowName,
        /// Inputs, a JSON object; validated on the device.
        inputs: JsonText,
        /// How urgent, if not as the workflow says.
        priority: Option<Priority>,
    },
    /// End a run.
    Cancel {
        /// Which.
        run: RunId,
        /// Without waiting for grace periods.
        force: bool,
    },
}

/// A command with the name of the wish behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The wish.
    pub request: RequestId,
    /// What to do.
    pub command: Command,
}
