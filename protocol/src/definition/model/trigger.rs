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

/// When a trigger fires. Kinds of the language that are not here yet (`webhook, file`) are refused
/// by name in `draft.rs`.
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
            Self::Workflow { .. } => "workflow",
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
