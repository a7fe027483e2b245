//! What is journaled: facts from outside that cannot be derived again.
//!
//! Everything else (`set`, `condition`, joins, retry waits, ids) is a function of these and of
//! the definition, so it costs no record. Append-only: postcard knows variants by number.

use serde::{Deserialize, Serialize};

use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{RequestId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunError, RunStatus, StepPath};
use openclaw_protocol::time::Stamp;

/// A fact of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The run was accepted. Always a run's first fact.
    Accepted {
        /// Which workflow.
        workflow: WorkflowName,
        /// The definition that is pinned; the store keeps it while the run is not settled.
        definition: DefinitionHash,
        /// Plugin references as written and the versions they are pinned to.
        pins: Vec<(String, PluginPin)>,
        /// The trigger's id, or `manual`.
        trigger: String,
        /// What the trigger gave to expressions as `trigger`, a JSON object.
        trigger_data: JsonText,
        /// Validated inputs, a JSON object.
        inputs: JsonText,
        /// How urgent.
        priority: Priority,
        /// The operator's wish that caused it.
        request: Option<RequestId>,
    },
    /// The run's turn came (concurrency mode).
    Began,
    /// An attempt was handed to a worker. Durable before the call only for at-most-once steps.
    AttemptStarted {
        /// Step instance.
        step: StepPath,
        /// From 1.
        attempt: u32,
    },
    /// An attempt ended.
    AttemptSettled {
        /// Step instance.
        step: StepPath,
        /// From 1.
        attempt: u32,
        /// How.
        outcome: AttemptOutcome,
    },
    /// A wait was over: a delay, a retry's wait, a timeout. `what` tells which.
    TimerFired {
        /// Step instance; the empty path for the run itself.
        step: StepPath,
        /// Which of the step's timers.
        what: TimerKind,
    },
    /// Somebody asked for the end.
    CancelRequested {
        /// Without waiting for grace periods.
        force: bool,
    },
    /// The agent was restarted while the run was not settled.
    Restarted {
        /// Not stopped cleanly before.
        unclean: bool,
    },
    /// The run is settled; a summary for those who look without folding.
    Settled {
        /// How.
        status: RunStatus,
    },
    /// One fact may only cause so much work; this let the rest go on.
    Continued,
    /// The agent was alive at this record's stamp. Written before [`Fact::Restarted`], with a
    /// stamp from before the interruption, so that what had passed of a wait is known.
    Alive,
}

/// Which timer of a step instance or run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TimerKind {
    /// The end of a `delay`.
    Delay,
    /// The end of a retry's wait.
    Retry,
    /// The attempt took too long.
    AttemptTimeout,
    /// All attempts together took too long.
    TotalTimeout,
    /// The whole run took too long.
    RunTimeout,
    /// A cancelled attempt did not end within its grace.
    Grace,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptOutcome {
    /// With this output.
    Succeeded {
        /// The plugin's output.
        output: JsonText,
        /// The run's plugin variables after the call, where they changed (packed by the sandbox's
        /// shell; the engine only carries them).
        vars: Option<Vec<u8>>,
    },
    /// With this error.
    Failed {
        /// Why.
        error: RunError,
    },
}

/// A fact with when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactRecord {
    /// When.
    pub at: Stamp,
    /// What.
    pub fact: Fact,
}
