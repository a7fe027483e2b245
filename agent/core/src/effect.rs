//! What the engine wants: facts to keep, things to tell, things to do.

use std::sync::Arc;

use openclaw_protocol::definition::{Effects, Priority};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::{RunEventRecord, RunResult, StepPath};
use openclaw_protocol::time::Stamp;

use crate::fact::FactRecord;
use crate::input::FileStat;

/// The answer to one input. Facts, marks and what is told go into one transaction; the effects
/// are performed after it is durable.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// Facts in order, each with its run.
    pub facts: Vec<(RunId, FactRecord)>,
    /// Trigger positions that changed.
    pub marks: Vec<TriggerMark>,
    /// Firings of triggers that must not start anything again, to be kept and given back by
    /// [`crate::Engine::restore_seen`].
    pub seen: Vec<SeenKey>,
    /// Holds of triggers (their `for`) that changed, to be kept and given back by
    /// [`crate::Engine::restore_holds`].
    pub holds: Vec<HoldChange>,
    /// What became of files that triggers are about, to be kept and given back by
    /// [`crate::Engine::restore_files`].
    pub files: Vec<FileChange>,
    /// What to tell.
    pub told: Vec<Told>,
    /// Operators' wishes that were answered for the first time, and the answer. Kept with the
    /// facts and given back by [`crate::Engine::restore_wishes`], so that a wish that comes again
    /// does nothing again.
    pub wishes: Vec<(RequestId, Result<RunId, Refusal>)>,
    /// Messages for the site's local broker, to be kept with the facts until they are sent.
    pub publications: Vec<Publication>,
    /// What to do once the above is durable.
    pub effects: Vec<Effect>,
    /// Whether anything here must be durable before it counts. `false` for decisions that hold
    /// only lazily durable facts (an idempotent attempt's start): they may wait for the next
    /// commit, and their effects may be performed at once.
    pub needs_commit: bool,
}

/// How far a trigger has fired; keeps a slot from firing twice across restarts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriggerMark {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Cron: last slot fired (wall milliseconds). Startup: last boot. Interval: last firing
    /// (boot milliseconds) in the boot given by `boot`.
    pub at: i64,
    /// The boot in which it fired.
    pub boot: u32,
}

/// What makes firings of a trigger the same (its `dedupe`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenKey {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Hash of the key's value.
    pub key: [u8; 16],
    /// When it fired.
    pub at: Stamp,
}

/// A change of how long the condition of a trigger has held (its `for`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldChange {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// The topic that it counts for; empty where the trigger has none.
    pub source: String,
    /// What is known now; `None`: the condition does not hold.
    pub hold: Option<Hold>,
}

/// How long the condition of a trigger has held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// Since when it has been counted.
    pub since: Stamp,
    /// What was counted before that, in milliseconds: of the lives of the agent before.
    pub counted_ms: u64,
    /// Somebody has said in this life of the agent that the condition is true.
    pub confirmed: bool,
    /// It has fired; it does so again only after the condition was false.
    pub fired: bool,
    /// Tells one condition from another.
    pub check: u32,
}

/// A change of what is known of a file that a `file` trigger is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Its path in the trigger's directory; empty for the trigger itself, which has a row once its
    /// files are known.
    pub file: String,
    /// What is known now; `None`: nothing.
    pub known: Option<KnownFile>,
}

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownFile {
    /// As it was listed last.
    pub stat: FileStat,
    /// It is not there any more.
    pub gone: bool,
}

/// Something to tell. Goes to the outbox in the same transaction as the facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// For the `history` lane; also packed, as its record there.
    Event(RunEventRecord, Vec<u8>),
    /// For the `results` lane: the run is settled.
    Result(RunResult),
    /// Answer to a start or cancel: the run, or why not. For the asker and the `control` lane.
    Answer {
        /// The wish, where it had a name.
        request: Option<RequestId>,
        /// The run, or why not.
        outcome: Result<RunId, Refusal>,
    },
    /// A trigger fired but no run came of it.
    Dropped {
        /// Of which workflow.
        workflow: WorkflowName,
        /// `queue_full`, `single`, `inputs.invalid`, `duplicate`, `throttled`, `when.error`,
        /// `dedupe.error`, `hold.full`, `files.full`, `storage_full` or `events`.
        reason: &'static str,
    },
}

/// Names one attempt of one step instance of one run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Which run.
    pub run: RunId,
    /// Which step instance.
    pub step: StepPath,
    /// Which attempt, from 1.
    pub attempt: u32,
}

/// A message for the site's local broker. It is stored in the transaction of the facts, so it goes
/// out even if the device dies now, and perhaps twice: receivers know it by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The same for every repetition of the step instance.
    pub message_id: String,
    /// Topic name.
    pub topic: String,
    /// 0 or 1.
    pub qos: u8,
    /// The broker keeps it for those who come later.
    pub retain: bool,
    /// As it is sent.
    pub payload: Vec<u8>,
    /// The attempt that waits for the broker's acknowledgement, to be answered by
    /// `Input::Settled`, with output `null`.
    pub confirm: Option<AttemptId>,
}

/// A plugin call to make.
#[derive(Debug, Clone)]
pub struct PluginTask {
    /// Whose result it will be.
    pub attempt: AttemptId,
    /// The workflow of its run.
    pub workflow: WorkflowName,
    /// Which plugin version.
    pub pin: Arc<PluginPin>,
    /// The module's export.
    pub export: String,
    /// Its input.
    pub input: JsonText,
    /// The run's plugin variables before the call (see [`crate::AttemptOutcome`]).
    pub vars: Option<Vec<u8>>,
    /// The same for every attempt and every repetition of this step instance.
    pub idempotency_key: String,
    /// The attempt was under way when the agent was interrupted.
    pub interrupted: bool,
    /// Whether it may be repeated.
    pub effects: Effects,
    /// Keep what it is told from outside, however it ends (`trace: effects`).
    pub traced: bool,
    /// Urgency it was queued with.
    pub priority: Priority,
    /// Bound of the attempt, in milliseconds from now; the engine has its own timer for it, the
    /// worker uses this to stop the guest in time.
    pub timeout_ms: u64,
}

/// Something to do after the commit.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Call a plugin; answer with `Input::Settled`.
    Call(PluginTask),
    /// Stop a running call; it still answers with `Input::Settled` (which is a no-op if the
    /// engine has given up on it). Of a publication that waits to be confirmed: it is not to be
    /// sent any more.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// Why.
        reason: StopReason,
    },
    /// The run is settled: its journal may be removed after the retention window.
    Forget(RunId),
}

/// Why a call is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody wants the run or scope to end.
    Cancelled,
    /// The attempt took too long.
    TimedOut,
}
