//! The checked workflow: cannot exist unchecked, and the engine sees nothing else.
//!
//! Steps and scopes live in two flat arenas and refer to one another by index, so that walking a
//! workflow never recurses and every reference is known to be good. Only `draft.rs` builds one.

use serde::{Deserialize, Serialize};

mod kind;
mod part;
mod trigger;

pub use kind::*;
pub use part::*;
pub use trigger::*;

use crate::expr::{Expr, Template};
use crate::id::{StepId, WorkflowName};
use crate::limits;
use crate::ordered::VecMap;

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
    /// One queue per value of this expression instead of one per workflow; sees `inputs` and
    /// `trigger`.
    pub concurrency_key: Option<Expr>,
    /// What happens to a start that finds [`Workflow::max`] reached.
    pub max_exceeded: MaxExceeded,
    /// What becomes of runs that are under way with another definition when this one comes into
    /// force.
    pub on_update: OnUpdate,
    /// Bound of a whole run, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// Declared inputs by name.
    pub inputs: VecMap<String, InputSpec>,
    /// Outputs by name, evaluated when the run has succeeded.
    pub outputs: VecMap<String, Template>,
    /// Secrets it may name, by their logical names.
    pub secrets: Vec<String>,
    /// When the compensations that no inner `sequence` took are run.
    pub compensation: Compensation,
    /// Variables and their first values (a JSON object's entries).
    pub vars: VecMap<String, serde_json::Value>,
    /// What starts a run.
    pub triggers: Vec<Trigger>,
    /// The top-level scope.
    pub root: ScopeIx,
    /// Steps that run when the root scope has failed, before the run is reported as failed.
    pub on_failure: Option<ScopeIx>,
    /// Steps that run when the root scope has ended, however it has.
    pub finally: Option<ScopeIx>,
    /// Bound of `finally`, in milliseconds.
    pub finally_timeout_ms: u64,
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

/// What happens to a start for which there is no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxExceeded {
    /// It is dropped, and counted.
    #[default]
    DropNewest,
    /// The oldest one that waits is cancelled to make room; where none waits, the new one is
    /// dropped.
    DropOldest,
    /// A run is made that fails at once with `limit.runs`, so that it is seen like any other.
    Fail,
}

/// What becomes of runs under way when another definition comes into force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUpdate {
    /// They go on with the definition that they began with.
    #[default]
    Pin,
    /// They are cancelled, and begin anew with the same inputs.
    Restart,
    /// They go on with this one, each where it is certain that its past fits it.
    Migrate,
}

/// Which ends of a scope run the compensations that were registered in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compensation {
    /// A failure that leaves the scope.
    pub on_failed: bool,
    /// A cancellation.
    pub on_cancelled: bool,
}

impl Default for Compensation {
    fn default() -> Self {
        Self { on_failed: true, on_cancelled: true }
    }
}

/// One list of steps that belong together.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The composite step this scope belongs to; `None` for the root and the workflow's
    /// `on_failure` and `finally`.
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
    /// The step's `switch` chose the case of that number, from 0; `None`: its default.
    Case(Option<u16>),
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
    /// What follows a failed attempt: the first policy that matches the error, each with a counter
    /// of its own. None: nothing does.
    pub retry: Vec<Retry>,
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
    /// Overrides the derived idempotency key; gives a text.
    pub idempotency_key: Option<Expr>,
    /// What is kept of its calls beside how they end.
    pub trace: Option<Trace>,
    /// What undoes the step, once it has succeeded and a failure leaves the scope it counts for.
    pub compensate: Option<ScopeIx>,
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

/// What is kept of each call of a step, beside how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trace {
    /// What the plugin was told from outside, so that the call can be made again at the desk. Of
    /// failed calls it is kept in any case.
    Effects,
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
    /// No further retry once this long has passed since the step's first attempt, in milliseconds.
    pub max_elapsed_ms: Option<u64>,
}

impl Retry {
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
            max_elapsed_ms: None,
        }
    }

    /// What a plugin step of a `compensate` gets that says nothing: 5 retries, after 1, 2, 4, 8
    /// and 16 s.
    #[must_use]
    pub fn compensation() -> Self {
        Self { max_retries: 5, backoff: Backoff::Exponential, delay_ms: 1_000, ..Self::plugin() }
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
