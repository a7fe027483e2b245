//! What may happen to the engine: the closed list of causes.

use std::sync::Arc;

use openclaw_protocol::definition::{Priority, Workflow};
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::id::{RequestId, RunId, TriggerId, WorkflowName};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::StepPath;

use crate::effect::AttemptId;
use crate::fact::AttemptOutcome;

/// A workflow that is in force on this device.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The checked definition.
    pub workflow: Arc<Workflow>,
    /// Plugin reference as written (`name[.action]@range`) → the version it is pinned to.
    pub pins: VecMap<String, Arc<PluginPin>>,
    /// Whether its triggers fire.
    pub triggers_enabled: bool,
}

/// A wish to start a run.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Inputs, a JSON object; validated before the run exists.
    pub inputs: JsonText,
    /// How urgent, if not as the workflow says.
    pub priority: Option<Priority>,
    /// The operator's wish behind it. A wish that was already heard starts nothing again.
    pub request: Option<RequestId>,
    /// The failed run that this one does again, if it does one again.
    pub again: Option<Again>,
}

/// What a run takes over from the one that it does again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Again {
    /// Which run.
    pub of: RunId,
    /// Results of its steps, as [`crate::replay::Replay::results`] gives them; empty: everything is
    /// done anew.
    pub given: Vec<(StepPath, JsonText)>,
}

/// A message of the site's local broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Topic name.
    pub topic: String,
    /// JSON where the payload reads as such, else its text, else its bytes in base64.
    pub payload: JsonText,
    /// As it was delivered.
    pub qos: u8,
    /// The broker had kept it; nobody has just said it.
    pub retained: bool,
}

/// The files that a `file` trigger is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Its `path`, as it was listed.
    pub path: String,
    /// By their path in its directory, in order; `None`: there are too many.
    pub files: Option<Vec<(String, FileStat)>>,
}

/// What tells that a file has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub size: u64,
    /// When it was last written to, in nanoseconds since 1970 UTC.
    pub modified_ns: i64,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// These workflows are in force now, instead of the ones before. Runs of others go on with
    /// the definition they began with.
    Deploy(Vec<Deployed>),
    /// Somebody wants a run. Answered by [`crate::Told::Answer`].
    Start(StartRequest),
    /// An attempt ended. Late and repeated ones are no-ops.
    Settled {
        /// Which attempt.
        attempt: AttemptId,
        /// How.
        outcome: AttemptOutcome,
    },
    /// Somebody wants an end. Answered by [`crate::Told::Answer`].
    Cancel {
        /// Of which run.
        run: RunId,
        /// Without waiting for grace periods.
        force: bool,
        /// The operator's wish behind it.
        request: Option<RequestId>,
    },
    /// Somebody says something to a run. Answered by [`crate::Told::Answer`].
    Signal {
        /// To which run.
        run: RunId,
        /// The signal's name.
        name: String,
        /// What goes with it.
        data: JsonText,
        /// The operator's wish behind it.
        request: Option<RequestId>,
    },
    /// Somebody answers an `approval`. Answered by [`crate::Told::Answer`].
    Decide {
        /// Of which run.
        run: RunId,
        /// Which step instance.
        step: StepPath,
        /// One of its choices.
        choice: String,
        /// Who.
        by: String,
        /// The form as filled in, a JSON object.
        form: JsonText,
        /// The operator's wish behind it.
        request: Option<RequestId>,
    },
    /// The site's local broker delivered a message that [`crate::Engine::subscriptions`] asks for.
    Message(Message),
    /// Something happened on the device: an event for its own bus.
    Event {
        /// Its name, such as `link.down`.
        name: String,
        /// What goes with it.
        data: JsonText,
    },
    /// A trigger of a kind that the shell watches for has fired: a `webhook`. Answered by
    /// [`crate::Told::Answer`]: with the run; or refused with `trigger.later` (it waits for `for` or
    /// `debounce`), `trigger.other` (its `when` is false), `trigger.unknown` (it is not in force), or
    /// with why it was dropped.
    Fire {
        /// Of which workflow.
        workflow: WorkflowName,
        /// Which trigger.
        trigger: TriggerId,
        /// What expressions see as `trigger`, beside its id and kind; a JSON object.
        data: JsonText,
    },
    /// The files of a trigger that [`crate::Engine::listed`] names have been listed.
    Files(Listing),
    /// Time has passed; look at the deadlines.
    Tick,
    /// The agent is about to stop: no attempt is handed to a worker any more, so that the next
    /// start finds those that wait as if they had never begun. Those under way may end.
    Drain,
    /// The site's broker is lost. What a `for` counts on its messages stands still until one says
    /// that it is still so.
    Unheard,
    /// The agent has started and everything is restored: outstanding work is issued again.
    Restarted {
        /// It had not been stopped cleanly.
        unclean: bool,
    },
}
