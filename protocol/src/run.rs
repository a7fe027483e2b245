//! What a device tells about a run, and the one way to show it.
//!
//! [`RunEvent`]s travel in the `history` lane; [`Run::apply`] folds them into what console, API
//! and local command line show, so they cannot disagree. A [`RunResult`] is the one
//! self-contained record of a settled run and travels in the `results` lane.

mod error;
mod fold;
mod tally;
mod waiting;

pub use error::{ErrorCause, RunError};
use serde::{Deserialize, Serialize};

use crate::definition::{DefinitionHash, LogLevel, Priority};
use crate::id::{RequestId, RunId, WorkflowName};
use crate::json::JsonText;
use crate::time::Stamp;

/// Which step instance: ids from the root joined by `/`, a branch in brackets, an iteration
/// after `#`; when a composite is retried as a whole, `~2` and so on follow its id. For example
/// `guard/shut[pump]/cool#3/count`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepPath(pub String);

impl std::fmt::Display for StepPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RunStatus {
    /// Accepted, waiting its turn.
    Pending,
    /// Under way.
    Running,
    /// Ended well.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended by a wish.
    Cancelled,
    /// Waiting for a point in time and nothing else.
    Delayed,
}

impl RunStatus {
    /// Whether nothing will change any more.
    #[must_use]
    pub fn is_settled(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Where a step instance stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum StepStatus {
    /// Ready, waiting for a worker slot.
    Queued,
    /// Under way.
    Running,
    /// Waiting for a point in time: a delay, or a retry.
    Delayed,
    /// Ended well.
    Succeeded,
    /// Switched off by its own `if`; its normal edges were taken.
    Bypassed,
    /// Failed for good.
    Failed,
    /// Not reached: all ways to it are dead.
    Skipped,
    /// Ended by a cancellation; or its run is over and its own end was never told, as its error
    /// then says: `step.unheard`, or the failure after which it waited for another attempt.
    Cancelled,
    /// Waiting for a message, a decision, another run or the clock.
    Waiting,
}

/// Code of the error of a step that is shown as cancelled because its run is over and its own end
/// was never told: the run was lost or broken, or what was told of the step was dropped.
pub const UNHEARD: &str = "step.unheard";

/// What a device says happened in a run. Append-only: postcard knows variants by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunEvent {
    /// The run was accepted.
    Accepted {
        /// Which workflow.
        workflow: WorkflowName,
        /// The author's version label.
        version: String,
        /// Content hash of the definition that is pinned.
        definition: DefinitionHash,
        /// The trigger's id, or `manual`.
        trigger: String,
        /// Validated inputs, a JSON object.
        inputs: JsonText,
        /// How urgent.
        priority: Priority,
        /// The operator's wish that caused it, if any.
        request: Option<RequestId>,
    },
    /// It began to run (after waiting its turn, if its mode asks for that).
    Began,
    /// A step instance became ready and waits for a slot.
    StepQueued {
        /// Which.
        step: StepPath,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// An attempt was started, or a composite was entered.
    StepStarted {
        /// Which.
        step: StepPath,
        /// The step kind's key.
        kind: String,
        /// The attempt, from 1.
        attempt: u32,
        /// The attempt was under way when the agent was interrupted, and runs again.
        interrupted: bool,
    },
    /// A step instance waits for a point in time.
    StepDelayed {
        /// Which.
        step: StepPath,
        /// The attempt that failed, for a retry; 0 for a delay.
        attempt: u32,
        /// How long from this event, in milliseconds of boot time.
        wait_ms: u64,
        /// The failure that is retried.
        error: Option<RunError>,
    },
    /// A step instance ended.
    StepSettled {
        /// Which.
        step: StepPath,
        /// How.
        status: StepStatus,
        /// Attempts made.
        attempts: u32,
        /// Its output, where it succeeded.
        output: Option<JsonText>,
        /// Its error, where it failed.
        error: Option<RunError>,
    },
    /// Somebody asked for the end.
    CancelRequested {
        /// Without waiting for grace periods.
        force: bool,
    },
    /// The agent came back after an interruption.
    Resumed {
        /// It had not been stopped cleanly.
        unclean: bool,
    },
    /// The run ended. Nothing follows.
    Settled {
        /// How.
        status: RunStatus,
        /// Its outputs, a JSON object.
        outputs: JsonText,
        /// Its error, where it failed.
        error: Option<RunError>,
    },
    /// A step instance waits for something that is not a length of time.
    StepWaiting {
        /// Which.
        step: StepPath,
        /// What for: `mqtt`, `event`, `signal`, `until`, `approval`, `call`, `broker`, `clock`.
        reason: String,
        /// Of an approval the prompt, roles and choices; of a call the run.
        details: Option<JsonText>,
    },
    /// A `log` step spoke.
    Logged {
        /// Which.
        step: StepPath,
        /// How important.
        level: LogLevel,
        /// What it said.
        message: String,
        /// What goes with it, a JSON object.
        fields: JsonText,
    },
    /// The compensations of a scope have been run.
    Compensated {
        /// The `sequence` step; the empty path for the whole run.
        step: StepPath,
        /// Whether all of them succeeded.
        complete: bool,
    },
    /// The run goes on with another definition, which has come into force.
    Migrated {
        /// The author's version label.
        version: String,
        /// Content hash of the definition.
        definition: DefinitionHash,
    },
    /// Another definition has come into force, and the run cannot go on with it: it stays with its
    /// own.
    Stayed {
        /// The author's version label of the other one.
        version: String,
        /// Content hash of the other one.
        definition: DefinitionHash,
        /// Why, for people.
        reason: String,
    },
}

/// One event of one run, as told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEventRecord {
    /// Which run.
    pub run: RunId,
    /// Its place among the run's events, from 1 without gaps.
    pub seq: u32,
    /// When.
    pub at: Stamp,
    /// What.
    pub event: RunEvent,
}

/// The one self-contained record of a settled run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunResult {
    /// Which run.
    pub run: RunId,
    /// Which workflow.
    pub workflow: WorkflowName,
    /// The author's version label.
    pub version: String,
    /// Content hash of its definition.
    pub definition: DefinitionHash,
    /// The trigger's id, or `manual`.
    pub trigger: String,
    /// The operator's wish that caused it, if any.
    pub request: Option<RequestId>,
    /// How urgent it was.
    pub priority: Priority,
    /// How it ended.
    pub status: RunStatus,
    /// When it was accepted.
    pub accepted: Stamp,
    /// When it settled.
    pub settled: Stamp,
    /// Validated inputs, a JSON object.
    pub inputs: JsonText,
    /// Outputs, a JSON object.
    pub outputs: JsonText,
    /// Its error, where it failed.
    pub error: Option<RunError>,
    /// Step instances that settled in it.
    pub steps: u32,
}

/// A run as shown: the fold of its events so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Run {
    /// Which run.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub id: RunId,
    /// Which workflow.
    pub workflow: String,
    /// The author's version label.
    pub version: String,
    /// Content hash of its definition.
    pub definition: String,
    /// The trigger's id, or `manual`.
    pub trigger: String,
    /// The operator's wish that caused it, if any.
    pub request: Option<String>,
    /// How urgent.
    pub priority: Priority,
    /// Where it stands.
    pub status: RunStatus,
    /// Validated inputs.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub inputs: serde_json::Value,
    /// Outputs, once settled.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub outputs: Option<serde_json::Value>,
    /// Its error, where it failed.
    pub error: Option<RunError>,
    /// Step instances by path, in the order they were first heard of.
    pub steps: Vec<StepView>,
    /// Outputs that were left out for want of room, those of the oldest settled steps.
    #[serde(default)]
    pub outputs_dropped: u32,
    /// Steps that were left out for want of room, the oldest settled ones.
    #[serde(default)]
    pub steps_dropped: u32,
    /// Number of the last event folded in.
    pub last_seq: u32,
    /// When it was accepted, by the device's wall clock.
    pub accepted_wall_ms: Option<i64>,
    /// When it settled, by the device's wall clock.
    pub settled_wall_ms: Option<i64>,
    /// Interruptions that the run has come through.
    pub resumed: u32,
    /// The latest definition that came into force and that the run could not go on with.
    #[serde(default)]
    pub stayed: Option<StayedView>,
    /// What the fold counts; made anew where it is absent.
    #[serde(skip)]
    tally: tally::Tally,
}

/// A definition that a run could not go on with, as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StayedView {
    /// The author's version label.
    pub version: String,
    /// Content hash.
    pub definition: String,
    /// Why, for people.
    pub reason: String,
}

/// A step instance as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StepView {
    /// Which.
    pub path: StepPath,
    /// The step kind's key.
    pub kind: String,
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts so far.
    pub attempts: u32,
    /// Its output, where it succeeded.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub output: Option<serde_json::Value>,
    /// Its last error.
    pub error: Option<RunError>,
    /// When it was first started, by the device's wall clock.
    pub started_wall_ms: Option<i64>,
    /// When it settled, by the device's wall clock.
    pub settled_wall_ms: Option<i64>,
    /// What it waits for, while it is [`StepStatus::Waiting`].
    #[serde(default)]
    pub waiting: Option<WaitView>,
}

/// What a step instance waits for, as shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WaitView {
    /// `mqtt`, `event`, `signal`, `until`, `approval`, `call`, `broker` or `clock`.
    pub reason: String,
    /// Of an approval the prompt, roles, choices and form; of a call the run.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<serde_json::Value>))]
    pub details: Option<serde_json::Value>,
}
