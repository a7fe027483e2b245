//! What is journaled: facts from outside that cannot be derived again.
//!
//! Everything else (`set`, `condition`, joins, retry waits, ids) is a function of these and of
//! the definition, so it costs no record. Append-only: postcard knows variants by number.

mod accepted;

use serde::{Deserialize, Serialize};

use openclaw_protocol::definition::{DefinitionHash, Priority};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{RequestId, RunId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunError, RunStatus, StepPath};
use openclaw_protocol::time::Stamp;

/// A fact of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The run was accepted. Always a run's first fact.
    #[serde(with = "accepted")]
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
        /// The `call` step that waits for it, if any.
        parent: Option<Parent>,
        /// Workflows its `call` steps name, as they were in force.
        callees: Vec<Callee>,
        /// What expressions see as `agent`, a JSON object.
        agent: JsonText,
        /// Results that steps are given instead of being run: of the run that this one goes on
        /// from. In the typed JSON form.
        given: Vec<(StepPath, JsonText)>,
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
    /// Somebody said something to the run.
    Signalled {
        /// The signal's name.
        name: String,
        /// What goes with it.
        data: JsonText,
    },
    /// A message or event came that a `wait` is for.
    Message {
        /// Step instance.
        step: StepPath,
        /// As expressions see it.
        message: JsonText,
    },
    /// Somebody answered an `approval`.
    Decided {
        /// Step instance.
        step: StepPath,
        /// One of its choices.
        choice: String,
        /// Who.
        by: String,
        /// The form as filled in, a JSON object.
        form: JsonText,
    },
    /// A `call` has its run.
    ChildStarted {
        /// Step instance.
        step: StepPath,
        /// From 1.
        attempt: u32,
        /// The run.
        child: RunId,
    },
    /// There was no room for the run, and its workflow wants to see that as a failure.
    Refused {
        /// Why, for people.
        message: String,
    },
    /// The run goes on with another definition, which has come into force.
    Migrated {
        /// The definition; the store keeps it, like the one before, while the run is not settled.
        definition: DefinitionHash,
        /// Plugin references as written and the versions they are pinned to from now on.
        pins: Vec<(String, PluginPin)>,
        /// Workflows its `call` steps name, as they are in force.
        callees: Vec<Callee>,
        /// Its inputs as this definition has them, a JSON object.
        inputs: JsonText,
    },
    /// Another definition has come into force, and the run cannot go on with it.
    Stayed {
        /// The definition.
        definition: DefinitionHash,
        /// Its author's version label.
        version: String,
        /// Why, for people.
        reason: String,
    },
}

/// The `call` step that a run was started by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its run.
    pub run: RunId,
    /// Step instance.
    pub step: StepPath,
    /// From 1.
    pub attempt: u32,
    /// How many runs are above: 1 for the child of a run that nobody called.
    pub depth: u8,
    /// Nobody waits for the end.
    pub detached: bool,
}

/// A workflow that may be called, as it was when the caller was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callee {
    /// Its name.
    pub workflow: WorkflowName,
    /// Its definition; the store keeps it while the caller is not settled.
    pub definition: DefinitionHash,
    /// Plugin references as written and the versions they are pinned to.
    pub pins: Vec<(String, PluginPin)>,
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
    /// The point in wall-clock time that a `delay` waits for.
    Deadline,
    /// The next iteration of a `loop` with a beat may begin.
    Beat,
    /// What a `wait` waits for is looked at again.
    Poll,
    /// People are reminded of an `approval`.
    Remind,
    /// A `finally` took too long.
    Finally,
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
    /// Sum of all that had been told of the run before this fact. Folding the journal must come to
    /// the same; where it does not, the engine has changed, or the journal.
    pub check: u32,
    /// What.
    pub fact: Fact,
}
