//! The kinds of steps and what each is made of.

use serde::{Deserialize, Serialize};

use super::{Compensation, InputSpec, ScopeIx};
use crate::expr::{Expr, Template};
use crate::id::{PluginName, WorkflowName};
use crate::ordered::VecMap;

/// What a step does.
#[derive(Debug, Clone)]
pub enum StepKind {
    /// Calls a plugin.
    Plugin(PluginCall),
    /// Evaluates a boolean and takes one of two ways.
    Condition {
        /// The question.
        expr: Expr,
        /// Inline steps for true. Targets by id are edges of the step.
        then: Option<ScopeIx>,
        /// Inline steps for false.
        otherwise: Option<ScopeIx>,
        /// Neither target nor inline steps: false ends the scope successfully.
        gate: bool,
    },
    /// Assigns variables, all right sides against the old values.
    Set(Vec<(String, Template)>),
    /// Takes the first case that matches.
    Switch {
        /// What cases by value are compared with.
        subject: Option<Expr>,
        /// In document order.
        cases: Vec<Case>,
        /// What there is to do where none matches: inline steps. Targets by id are edges of the
        /// step.
        default: Option<ScopeIx>,
        /// Whether there is a default, of either spelling. Without one, no match is the error
        /// `condition.no_match`.
        has_default: bool,
    },
    /// Waits; survives a restart.
    Delay(Delay),
    /// Runs branches at the same time.
    Parallel {
        /// What counts as done.
        mode: ParallelMode,
        /// Branch name (or decimal index of an unnamed one) and its scope, in document order.
        branches: Vec<(String, ScopeIx)>,
        /// Whether the branches were named: decides map or list as the result.
        named: bool,
        /// Branches running at once at most; `None` for all.
        concurrency: Option<u16>,
    },
    /// Repeats its body.
    Loop {
        /// What ends it.
        test: LoopTest,
        /// Reaching it is the error `loop.limit`.
        max_iterations: u32,
        /// Iterations start this far apart at the least, in milliseconds.
        every_ms: Option<u64>,
        /// Collected from each iteration into `items`.
        collect: Option<Expr>,
        /// The steps that are repeated.
        body: ScopeIx,
    },
    /// Runs its body for each item of a list or entry of a map.
    Foreach(Foreach),
    /// Waits for something to be said or to become true.
    Wait(Wait),
    /// Starts a run of another workflow.
    Call(Call),
    /// Sends a message to the site's local broker.
    Publish(Publish),
    /// Says something on the device's own bus.
    Emit {
        /// The event's name; a text.
        event: Template,
        /// What goes with it.
        data: Template,
    },
    /// Asks people.
    Approval(Approval),
    /// Runs steps, and others where they fail, and others in any case.
    Try {
        /// The steps that may fail.
        body: ScopeIx,
        /// In document order.
        catches: Vec<Catch>,
        /// Runs after all of it, whatever happened, shielded from cancellation.
        finally: Option<ScopeIx>,
        /// Bound of `finally`, in milliseconds.
        finally_timeout_ms: u64,
    },
    /// A scope of its own.
    Sequence {
        /// Its steps.
        body: ScopeIx,
        /// Where it is a saga: when its compensations run.
        compensation: Option<Compensation>,
    },
    /// Says something to people.
    Log {
        /// How important.
        level: LogLevel,
        /// The text.
        message: Template,
        /// What goes with it, a map.
        fields: Template,
    },
    /// Ends the run well, from any depth.
    Succeed {
        /// The run's outputs; `None`: those that the workflow declares.
        outputs: Option<Template>,
    },
    /// Fails.
    Fail {
        /// The error's code, a text that begins with `user.`.
        code: Template,
        /// For people.
        message: Template,
        /// Anything.
        details: Option<Template>,
    },
}

impl StepKind {
    /// The kind's key in the language.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Plugin(_) => "plugin",
            Self::Condition { .. } => "condition",
            Self::Set(_) => "set",
            Self::Delay(_) => "delay",
            Self::Parallel { .. } => "parallel",
            Self::Loop { .. } => "loop",
            Self::Switch { .. } => "switch",
            Self::Foreach(_) => "foreach",
            Self::Wait(_) => "wait",
            Self::Call(_) => "call",
            Self::Publish(_) => "publish",
            Self::Emit { .. } => "emit",
            Self::Approval(_) => "approval",
            Self::Try { .. } => "try",
            Self::Sequence { .. } => "sequence",
            Self::Log { .. } => "log",
            Self::Succeed { .. } => "succeed",
            Self::Fail { .. } => "fail",
        }
    }
}

/// A call of a plugin action.
#[derive(Debug, Clone)]
pub struct PluginCall {
    /// Which plugin.
    pub plugin: PluginName,
    /// Which action; `execute` where the author names none.
    pub action: String,
    /// Which versions will do.
    pub range: semver::VersionReq,
    /// The input.
    pub with: Template,
}

impl PluginCall {
    /// The call's target as `name.action@range`, with nothing left out: `http@1` is
    /// `http.execute@^1`, and no range is `*`. Equal references resolve to equal plugins.
    #[must_use]
    pub fn reference(&self) -> String {
        format!("{}.{}@{}", self.plugin, self.action, self.range)
    }
}

/// One case of a `switch`.
#[derive(Debug, Clone)]
pub struct Case {
    /// When it is taken.
    pub test: CaseTest,
    /// Inline steps; `None` where it leads to steps by id, which are edges of the step.
    pub body: Option<ScopeIx>,
}

/// When a case is taken.
#[derive(Debug, Clone)]
pub enum CaseTest {
    /// The subject equals this.
    Is(Template),
    /// This is true.
    When(Expr),
}

/// A wait for a point in time.
#[derive(Debug, Clone)]
pub struct Delay {
    /// How long, or until when.
    pub length: DelayFor,
    /// Whether time without power counts; only for lengths.
    pub count_downtime: CountDowntime,
}

/// How long a delay is.
#[derive(Debug, Clone)]
pub enum DelayFor {
    /// Known when written, in milliseconds.
    Fixed(u64),
    /// Seconds as a number, or a duration text, once evaluated.
    Computed(Expr),
    /// Until a point of wall-clock time.
    Until {
        /// A timestamp, or its text (RFC 3339), once evaluated.
        at: Expr,
        /// The clock must be known to be right, not only estimated.
        synced: bool,
    },
}

/// Whether a delay runs down while the device has no power.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountDowntime {
    /// As far as synchronised clocks before and after prove it.
    #[default]
    Auto,
    /// As far as the clocks say, estimated ones too.
    Always,
    /// It stands still.
    Never,
}

/// `foreach`: a body for each item.
#[derive(Debug, Clone)]
pub struct Foreach {
    /// Gives the list or map.
    pub list: Expr,
    /// The name of the item in expressions.
    pub item: String,
    /// The name of its index, from 0.
    pub index: Option<String>,
    /// Iterations running at once at most.
    pub concurrency: u16,
    /// Whether one failure too many ends the rest at once.
    pub fail_fast: bool,
    /// How many iterations may fail.
    pub tolerate: Tolerate,
    /// What each iteration leaves in `items`; `None`: its scope's last output.
    pub collect: Option<Expr>,
    /// The steps that are repeated.
    pub body: ScopeIx,
}

/// How many iterations of a `foreach` may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerate {
    /// So many.
    Count(u32),
    /// So many in a hundred, rounded down.
    Percent(u8),
}

/// `wait`: until something is said or true.
#[derive(Debug, Clone)]
pub struct Wait {
    /// What for.
    pub source: WaitSource,
    /// Which messages count; sees `message`. Not for [`WaitSource::Until`].
    pub when: Option<Expr>,
    /// How many must come.
    pub count: u32,
    /// Running out of time is a success without a message, not the error `wait.timeout`.
    pub continue_on_timeout: bool,
}

/// What a `wait` waits for.
#[derive(Debug, Clone)]
pub enum WaitSource {
    /// A message on the site's local broker.
    Mqtt {
        /// Topic filter, a text.
        topic: Template,
        /// Asked quality of service, 0 or 1.
        qos: u8,
    },
    /// An event on the device's own bus.
    Event {
        /// Its name, a text.
        name: Template,
    },
    /// A signal to this run; one that came earlier counts.
    Signal {
        /// Its name, a text.
        name: Template,
    },
    /// Something that becomes true.
    Until {
        /// The question.
        expr: Expr,
        /// It is asked again this often, in milliseconds, and when a variable changes.
        poll_ms: u64,
    },
}

/// `call`: a run of another workflow.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which one.
    pub workflow: WorkflowName,
    /// Its inputs, a map.
    pub with: Template,
    /// Do not wait for its end.
    pub detach: bool,
    /// Let it go on where this step is cancelled.
    pub abandon: bool,
}

/// `publish`: a message to the site's local broker.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Topic name, a text.
    pub topic: Template,
    /// Quality of service, 0 or 1.
    pub qos: u8,
    /// The broker keeps it for those who come later.
    pub retain: bool,
    /// A text is sent as it is, anything else as JSON.
    pub payload: Template,
    /// Done when the broker has acknowledged it, not when it is stored.
    pub confirm_broker: bool,
}

/// `approval`: a decision of people.
#[derive(Debug, Clone)]
pub struct Approval {
    /// What they are asked, a text.
    pub prompt: Template,
    /// Who may answer; empty: whoever may cancel a run.
    pub roles: Vec<String>,
    /// What they may answer.
    pub choices: Vec<String>,
    /// What they may fill in: a map from names to JSON Schemas.
    pub form: VecMap<String, InputSpec>,
    /// They are reminded this often, in milliseconds.
    pub remind_ms: Option<u64>,
    /// The choice that running out of time means; `None`: the error `wait.timeout`.
    pub on_timeout: Option<String>,
}

/// What follows an error of a `try`.
#[derive(Debug, Clone)]
pub struct Catch {
    /// Error patterns (exact, `prefix.*` or `*`); empty means `*`.
    pub errors: Vec<String>,
    /// Which of them; sees the error under its name.
    pub when: Option<Expr>,
    /// The error's name in expressions.
    pub name: String,
    /// What there is to do.
    pub body: ScopeIx,
}

/// How important a `log` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum LogLevel {
    /// For whoever looks closely.
    Debug,
    /// The usual.
    #[default]
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Error,
}

/// What counts as done for `parallel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParallelMode {
    /// The first failure cancels the others and is the step's failure.
    FailFast,
    /// All settle; then the step fails if any failed.
    WaitAll,
    /// The first success cancels the others; all failed means failed.
    Race,
    /// As `Race`, after n successes.
    Need(u16),
}

/// What ends a loop.
#[derive(Debug, Clone)]
pub enum LoopTest {
    /// Tested before each iteration.
    While(Expr),
    /// Tested after each iteration; the body runs at least once.
    Until(Expr),
    /// A number of iterations, evaluated once.
    Times(Expr),
}
