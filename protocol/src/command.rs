//! Commands: the log of wishes that goes down to one device, in order, each applied once.

use serde::{Deserialize, Serialize};

use crate::definition::Priority;
use crate::id::{RequestId, RunId, WorkflowName};
use crate::json::JsonText;
use crate::run::StepPath;

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
    /// Say something to a run.
    Signal {
        /// To which.
        run: RunId,
        /// The signal's name.
        name: String,
        /// What goes with it, any JSON.
        data: JsonText,
    },
    /// Answer an `approval`.
    Decide {
        /// Of which run.
        run: RunId,
        /// Which step instance.
        step: StepPath,
        /// One of its choices.
        choice: String,
        /// Who decided.
        by: String,
        /// The form as filled in, a JSON object.
        form: JsonText,
    },
    /// Do a failed run again from where it failed, with the definition that is in force now.
    Retry {
        /// Which; its journal must still be on the device.
        run: RunId,
    },
    /// Send the recording of a run, in the lane `telemetry`.
    Export {
        /// Which; its journal must still be on the device.
        run: RunId,
    },
    /// Keep what every call of the next runs of a workflow is told from outside. Answered by
    /// [`crate::report::Report::Done`].
    Record {
        /// Which workflow; must be in force on the device.
        workflow: WorkflowName,
        /// How many runs, instead of what was wanted before; 0 for none.
        next: u32,
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
