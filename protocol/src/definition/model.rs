//! The checked workflow: cannot exist unchecked, and the engine sees nothing else.
//!
//! Steps and scopes live in two flat arenas and refer to one another by index, so that walking a
//! workflow never recurses and every reference is known to be good. Only `draft.rs` builds one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cron::Cron;
use crate::expr::{Expr, Template};
use crate::id::{PluginName, StepId, TriggerId, WorkflowName};
use crate::limits;

/// Index of a step in [`Workflow::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepIx(pub u16);

/// Index of a scope in [`Workflow::scopes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeIx(pub u16);

/// Content hash of a definition: BLAKE3 over its canonical JSON, 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DefinitionHash(pub String);

impl DefinitionHash {
    /// The hash of a canonical text.
    #[must_use]
    pub fn of(canonical: &str) -> Self {
        Self(blake3::hash(canonical.as_bytes()).to_hex().to_string())
    }
}

impl std::fmt::Display for DefinitionHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One workflow, checked.
#[derive(Debug, Clone)]
pub struct Workflow {
    /// Its name in the tenant.
    pub name: WorkflowName,
    /// The author's label; identity is [`Workflow::hash`].
    pub version: String,
    /// For people.
    pub description: String,
    /// For people.
    pub tags: Vec<String>,
    /// Priority of runs that nobody gave one.
    pub priority: Priority,
    /// What happens when a run is started while another is running.
    pub mode: Mode,
    /// Waiting (queued) or simultaneous (parallel) runs at most.
    pub max: u32,
    /// Bound of a whole run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Declared inputs by name.
    pub inputs: BTreeMap<String, InputSpec>,
    /// Outputs by name, evaluated when the run has succeeded.
    pub outputs: BTreeMap<String, Template>,
    /// Variables and their first values (a JSON object's entries).
    pub vars: BTreeMap<String, serde_json::Value>,
    /// What starts a run.
    pub triggers: Vec<Trigger>,
    /// The top-level scope.
    pub root: ScopeIx,
    /// Steps that run when the root scope has failed, before the run is reported as failed.
    pub on_failure: Option<ScopeIx>,
    /// All steps, in document order.
    pub steps: Vec<Step>,
    /// All scopes, parents before children.
    pub scopes: Vec<Scope>,
    /// The canonical JSON text the hash is taken over; parses back to this very workflow.
    pub canonical: String,
    /// Content hash of `canonical`.
    pub hash: DefinitionHash,
}

impl Workflow {
    /// The step behind an index of this workflow.
    #[must_use]
    pub fn step(&self, ix: StepIx) -> &Step {
        &self.steps[usize::from(ix.0)]
    }

    /// The scope behind an index of this workflow.
    #[must_use]
    pub fn scope(&self, ix: ScopeIx) -> &Scope {
        &self.scopes[usize::from(ix.0)]
    }

    /// The step with an id.
    #[must_use]
    pub fn step_named(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id.as_str() == id)
    }

    /// The plugins it calls: each reference once, in document order, with the first call that has
    /// it. The reference is the key of [`crate::desired::DesiredWorkflow::pins`].
    #[must_use]
    pub fn plugin_refs(&self) -> Vec<(String, &PluginCall)> {
        let mut refs: Vec<(String, &PluginCall)> = Vec::new();
        for step in &self.steps {
            if let StepKind::Plugin(call) = &step.kind {
                let reference = call.reference();
                if !refs.iter().any(|(known, _)| *known == reference) {
                    refs.push((reference, call));
                }
            }
        }
        refs
    }
}

/// A declared input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Its JSON Schema (2020-12), as written.
    pub schema: serde_json::Value,
    /// Declared type, the part of the schema that is enforced everywhere.
    pub kind: InputKind,
    /// Value where none is given.
    pub default: Option<serde_json::Value>,
    /// May be absent even without a default.
    pub optional: bool,
}

/// The declared type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Anything.
    Any,
    /// A text.
    String,
    /// A double.
    Number,
    /// A 64-bit integer.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A list.
    Array,
    /// A map.
    Object,
}

/// How urgent a run or step is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Before the usual.
    High,
    /// Before everything.
    Critical,
}

/// What happens to a start while runs of the same workflow are not settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// The new start is dropped, and counted.
    Single,
    /// The running one is cancelled; the new one starts after it has settled.
    Restart,
    /// The new one waits its turn, up to [`Workflow::max`]; more are dropped, and counted.
    #[default]
    Queued,
    /// Up to [`Workflow::max`] at once; more are dropped, and counted.
    Parallel,
}

/// One list of steps that belong together.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The composite step this scope belongs to; `None` for the root and the workflow's
    /// `on_failure`.
    pub owner: Option<StepIx>,
    /// Its steps, in document order.
    pub steps: Vec<StepIx>,
    /// Whether its edges were written (`next_steps`, targets by id) or follow from list order.
    pub graph: bool,
    /// Steps without an incoming edge, in document order.
    pub entries: Vec<StepIx>,
}

/// An edge between two steps of one scope.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Where it leads.
    pub to: StepIx,
    /// When it is taken.
    pub kind: EdgeKind,
}

/// When an edge is taken; otherwise it is dead.
#[derive(Debug, Clone)]
pub enum EdgeKind {
    /// The step ended well (succeeded, bypassed, or failed with `continue_on_error`) and the
    /// expression, where there is one, is true.
    Next(Option<Expr>),
    /// The step's `condition` was true.
    Then,
    /// The step's `condition` was false.
    Else,
    /// The step failed for good.
    OnFailure,
}

/// When a step with several incoming edges runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Join {
    /// All incoming edges are resolved and at least one is taken.
    #[default]
    All,
    /// All are taken; one dead edge skips the step.
    Every,
    /// At the first taken edge.
    Any,
    /// At the n-th taken edge.
    AtLeast(u16),
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Its id, unique in the document.
    pub id: StepId,
    /// The scope it is in.
    pub scope: ScopeIx,
    /// For people.
    pub name: String,
    /// What it does.
    pub kind: StepKind,
    /// `false` means: bypassed.
    pub condition: Option<Expr>,
    /// Outgoing edges, in document order.
    pub edges: Vec<Edge>,
    /// How many edges lead here.
    pub incoming: u16,
    /// When it runs if several edges lead here.
    pub join: Join,
    /// A failure takes the normal edges.
    pub continue_on_error: bool,
    /// Bound of one attempt, in milliseconds; a plugin step always has one.
    pub timeout_ms: Option<u64>,
    /// Bound of all attempts and the waits between them, in milliseconds.
    pub total_timeout_ms: Option<u64>,
    /// What follows a failed attempt.
    pub retry: Retry,
    /// What a repeated attempt would do to the world.
    pub effects: Effects,
    /// What a power cut in the middle of an at-most-once attempt means.
    pub on_interrupt: OnInterrupt,
    /// Overrides the run's priority.
    pub priority: Option<Priority>,
    /// Reshapes the result.
    pub output: Option<Template>,
    /// Variables set from the result.
    pub export: Vec<(String, Template)>,
}

/// What a repeated attempt would do; decides when the attempt's start is synced to disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Nothing outside; may be repeated freely.
    Pure,
    /// The same as once, where the receiver honours the idempotency key.
    #[default]
    Idempotent,
    /// Must not be repeated: its start is durable before the call.
    AtMostOnce,
}

/// What an interrupted at-most-once attempt becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// A failure with code `interrupted`.
    #[default]
    Fail,
    /// Another attempt.
    Retry,
}

/// What follows a failed attempt: wait, then another, or none.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Retries after the first attempt.
    pub max_retries: u32,
    /// How the waits grow.
    pub backoff: Backoff,
    /// The base wait, in milliseconds.
    pub delay_ms: u64,
    /// Growth of the exponential backoff.
    pub factor: f64,
    /// Cap of one wait, in milliseconds.
    pub max_delay_ms: Option<u64>,
    /// How the wait is spread.
    pub jitter: Jitter,
    /// Error patterns that are retried (exact, `prefix.*` or `*`); empty means `*`.
    pub errors: Vec<String>,
    /// Error patterns that are not retried.
    pub not_errors: Vec<String>,
}

impl Retry {
    /// No retries.
    #[must_use]
    pub fn none() -> Self {
        Self { max_retries: 0, delay_ms: 0, ..Self::plugin() }
    }

    /// What a plugin step gets that says nothing: 3 retries, after 60, 120 and 180 s.
    #[must_use]
    pub fn plugin() -> Self {
        Self {
            max_retries: limits::MAX_RETRIES,
            backoff: Backoff::Linear,
            delay_ms: limits::RETRY_DELAY_MS,
            factor: 2.0,
            max_delay_ms: None,
            jitter: Jitter::None,
            errors: Vec::new(),
            not_errors: Vec::new(),
        }
    }
}

/// How retry waits grow with the number n of the retry, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// `delay`
    Constant,
    /// `delay * n`
    Linear,
    /// `delay * factor^(n-1)`
    Exponential,
}

/// How a retry wait x is spread. The random part is derived from run seed and step path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// x
    None,
    /// uniform in 0..x
    Full,
    /// x/2 + uniform in 0..x/2
    Equal,
}

/// What a step does. Kinds of the language that are not here yet (`switch, foreach, wait, call,
/// publish, emit, approval, try, sequence, log, succeed, fail`) are refused by name in `draft.rs`.
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
    /// Waits; survives a restart.
    Delay(DelayFor),
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
        /// Collected from each iteration into `items`.
        collect: Option<Expr>,
        /// The steps that are repeated.
        body: ScopeIx,
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

/// How long a delay is.
#[derive(Debug, Clone)]
pub enum DelayFor {
    /// Known when written, in milliseconds.
    Fixed(u64),
    /// Seconds as a number, or a duration text, once evaluated.
    Computed(Expr),
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

/// What starts a run.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its id, unique in the document.
    pub id: TriggerId,
    /// A disabled trigger never fires.
    pub enabled: bool,
    /// Inputs it gives; may use `trigger`.
    pub inputs: BTreeMap<String, Template>,
    /// When.
    pub kind: TriggerKind,
}

/// When a trigger fires. Kinds of the language that are not here yet (`mqtt, webhook, file,
/// event, workflow`) are refused by name in `draft.rs`.
#[derive(Debug, Clone)]
pub enum TriggerKind {
    /// Every so many milliseconds of boot time.
    Interval {
        /// The period.
        every_ms: u64,
    },
    /// By the wall clock.
    Cron {
        /// When, in which time zone.
        schedule: Box<Cron>,
        /// What happens to slots that passed while the device was off.
        catch_up: CatchUp,
    },
    /// Once per boot.
    Startup,
    /// By a person: locally, from the control plane.
    Manual,
}

impl TriggerKind {
    /// The kind's key in the language.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Interval { .. } => "interval",
            Self::Cron { .. } => "cron",
            Self::Startup => "startup",
            Self::Manual => "manual",
        }
    }
}

/// What happens to cron slots that passed unseen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// Nothing.
    Skip,
    /// One run for the latest of them.
    #[default]
    Latest,
    /// One run each, up to 10.
    All,
}
