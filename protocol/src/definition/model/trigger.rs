//! What starts runs.

use serde::{Deserialize, Serialize};

use crate::definition::cron::Cron;
use crate::expr::{Expr, Template};
use crate::id::{TriggerId, WorkflowName};
use crate::ordered::VecMap;
use crate::run::RunStatus;

/// What starts a run.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// Its id, unique in the document.
    pub id: TriggerId,
    /// A disabled trigger never fires.
    pub enabled: bool,
    /// Inputs it gives; may use `trigger`.
    pub inputs: VecMap<String, Template>,
    /// Firings for which this is not true start nothing; sees `trigger`.
    pub when: Option<Expr>,
    /// `when` must have been true for this long without a break, in milliseconds: of what it
    /// listens to, each topic for itself.
    pub hold_ms: Option<u64>,
    /// It fires once nothing of its kind has come for this long, in milliseconds.
    pub debounce_ms: Option<u64>,
    /// It fires at most once in this long, in milliseconds.
    pub throttle_ms: Option<u64>,
    /// Firings that are the same as one before start nothing.
    pub dedupe: Option<Dedupe>,
    /// When.
    pub kind: TriggerKind,
}

/// Which firings of a trigger are the same.
#[derive(Debug, Clone)]
pub struct Dedupe {
    /// Gives what makes them so; sees `trigger`.
    pub key: Expr,
    /// How long one is remembered, in milliseconds.
    pub window_ms: u64,
}

/// When a trigger fires.
#[derive(Debug, Clone)]
pub enum TriggerKind {
    /// Every so many milliseconds.
    Interval {
        /// The period.
        every_ms: u64,
        /// What the beats are counted from.
        align: Align,
        /// A beat comes up to this much later, in milliseconds; at most the period.
        jitter_ms: u64,
    },
    /// By the wall clock.
    Cron {
        /// When, in which time zone.
        schedule: Box<Cron>,
        /// What happens to slots that passed while the device was off.
        catch_up: CatchUp,
        /// How many of them with [`CatchUp::All`], the latest.
        max_catch_up: u32,
        /// A slot comes up to this much later, in milliseconds.
        jitter_ms: u64,
    },
    /// Once per boot.
    Startup,
    /// By a person: locally, from the control plane.
    Manual,
    /// By a message on the site's local broker.
    Mqtt {
        /// Topic filter.
        topic: String,
        /// Asked quality of service, 0 or 1.
        qos: u8,
        /// Messages that the broker had kept count too.
        retained: bool,
    },
    /// By an event on the device's own bus.
    Event {
        /// Its name.
        name: String,
    },
    /// By a request to the agent's own HTTP listener.
    Webhook {
        /// Path of the request, without a query.
        path: String,
        /// Its methods, in order.
        methods: Vec<String>,
        /// How it is known who sends it; `None`: by nothing, as its author has said.
        hmac: Option<Hmac>,
    },
    /// By files in one of the device's directories.
    File {
        /// Which, as [`crate::glob`] has it.
        path: String,
        /// What of them, in order.
        events: Vec<FileEvent>,
        /// How long a file must not have changed, in milliseconds.
        settle_ms: u64,
    },
    /// By the end of a run of another workflow.
    Workflow {
        /// Which one.
        workflow: WorkflowName,
        /// Ends that count; empty: all.
        status: Vec<RunStatus>,
    },
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
            Self::Mqtt { .. } => "mqtt",
            Self::Event { .. } => "event",
            Self::Webhook { .. } => "webhook",
            Self::File { .. } => "file",
            Self::Workflow { .. } => "workflow",
        }
    }
}

/// HMAC-SHA256 over the body of a request (RFC 2104), as GitHub's webhooks have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// The name of the secret that is the key; declared by the workflow.
    pub secret: String,
    /// The header that carries it, `sha256=` and 64 hexadecimal digits; in lower case.
    pub header: String,
}

impl Hmac {
    /// The header where the author names none.
    pub const HEADER: &str = "x-hub-signature-256";
}

/// What may become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileEvent {
    /// It was not there before.
    Created,
    /// It has another size, or was written to.
    Modified,
    /// It is not there any more.
    Deleted,
}

impl FileEvent {
    /// What counts where the author names no events.
    pub const USUAL: [Self; 2] = [Self::Created, Self::Modified];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Modified => "modified",
            Self::Deleted => "deleted",
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
    /// One run each, up to a number.
    All,
}

/// What the beats of an interval are counted from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Align {
    /// From the boot of the device: a beat is a length of time.
    #[default]
    Boot,
    /// From 1970 UTC on the wall clock: with 15 minutes, at each quarter of an hour.
    Clock,
}
