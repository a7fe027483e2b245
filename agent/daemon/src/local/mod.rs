//! The local socket: what a person on the device asks, with or without a control plane.
//!
//! A Unix socket that only the agent's own user (or root) may use; one JSON object a line in
//! both directions, lines and connections bounded.

mod client;
mod fields;
mod peer;
mod server;
#[cfg(test)]
mod tests;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::report::Refusal;
use openclaw_protocol::run::Run;
use serde::{Deserialize, Serialize};

pub use client::{Client, ClientError};
pub use server::{Server, be_alone, listen};

use crate::logs::Line;

/// What is asked: one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Request {
    /// How the agent is.
    Status,
    /// Runs, newest first.
    Runs {
        /// How many at most.
        limit: usize,
    },
    /// One run with its steps.
    Show {
        /// Its id.
        run: String,
    },
    /// Start a run.
    Start {
        /// Of which workflow.
        workflow: String,
        /// Its inputs, a JSON object.
        inputs: serde_json::Map<String, serde_json::Value>,
    },
    /// Answered when the run is settled, or after a while with where it stands.
    Wait {
        /// Its id.
        run: String,
    },
    /// End a run.
    Cancel {
        /// Its id.
        run: String,
        /// Without waiting for grace periods.
        force: bool,
    },
    /// Say something to a run.
    Signal {
        /// Its id.
        run: String,
        /// The signal's name.
        name: String,
        /// What goes with it.
        data: serde_json::Value,
    },
    /// Answer an approval.
    Approve {
        /// The run's id.
        run: String,
        /// Path of the step that asks.
        step: String,
        /// One of its choices.
        choice: String,
        /// The form as filled in.
        form: serde_json::Map<String, serde_json::Value>,
        /// In whose name; the user at the other end of the socket where absent.
        by: Option<String>,
    },
    /// A run's recording for a replay at the desk, a part at a time.
    Export {
        /// Its id.
        run: String,
        /// Bytes that are there already.
        skip: usize,
        /// Only the first so many facts: as many as the first part has told of.
        facts: Option<usize>,
    },
    /// Do a failed run again.
    Retry {
        /// Its id.
        run: String,
        /// From the first step on, not from where it failed.
        whole: bool,
    },
    /// Keep what the plugins of the next runs of a workflow are told from outside.
    Record {
        /// Of which workflow.
        workflow: String,
        /// How many runs, instead of what was wanted before.
        next: u32,
    },
    /// Settled runs whose journal is still kept, newest first.
    Results {
        /// How many at most.
        limit: usize,
    },
    /// What plugins logged; with `follow`, lines go on coming until the asker hangs up.
    Logs {
        /// Lines after this number.
        after: u64,
        /// Of one run only.
        run: Option<String>,
        /// Go on.
        follow: bool,
    },
}

/// What is answered: one line (for `logs`, one a log line, then [`Answer::End`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Runs`].
    Runs(Vec<RunRow>),
    /// To [`Request::Results`].
    Results(Vec<ResultRow>),
    /// To [`Request::Show`] and [`Request::Wait`].
    Run(Box<Run>),
    /// To [`Request::Start`], [`Request::Cancel`], [`Request::Signal`] and [`Request::Approve`]:
    /// which run.
    Accepted {
        /// Its id.
        run: String,
    },
    /// To [`Request::Logs`].
    Line(Line),
    /// To [`Request::Export`].
    Recording {
        /// Of the [`Recording`](openclaw_agent_core::replay::Recording) as JSON: who asks passes it on
        /// unread.
        part: String,
        /// Of the whole.
        bytes: usize,
        /// How many facts the whole has.
        facts: usize,
        /// BLAKE3 of the whole, in hexadecimal digits.
        check: String,
    },
    /// Nothing more comes; it is done.
    End,
    /// It was not done.
    Error(Refusal),
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub fn error(code: &str, message: impl Into<String>) -> Self {
        Self::Error(Refusal { code: code.to_owned(), message: message.into() })
    }
}

/// How the agent is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its device id, once enrolled.
    pub device: Option<String>,
    /// Its tenant, once enrolled.
    pub tenant: Option<String>,
    /// `none` (not enrolled), `down`, `connected`, `in sync` (the session is up), or `unusable: `
    /// and what is wrong with the credentials.
    pub link: String,
    /// Whether the session with the control plane is up.
    pub linked: bool,
    /// The random identity of its database.
    pub epoch: String,
    /// The how-manieth boot.
    pub boot: u32,
    /// The stop before this start was not clean.
    pub unclean: bool,
    /// How far the wall clock is believed.
    pub clock: String,
    /// Workflows in force.
    pub workflows: usize,
    /// Their names and versions.
    pub in_force: VecMap<String, String>,
    /// Workflows that do not run here, and why.
    pub refused: VecMap<String, String>,
    /// Revision of the desired state in force, 0 for none.
    pub desired_revision: u64,
    /// Runs that are not settled.
    pub unsettled: usize,
    /// Runs that were ended at this start because what was kept of them is damaged.
    #[serde(default)]
    pub damaged: usize,
    /// Attempts that wait for a slot.
    pub waiting: usize,
    /// Attempts that have one.
    pub running: usize,
    /// Steps that wait for a point in time.
    pub delayed: usize,
    /// Worker slots.
    pub slots: u16,
    /// Records that the control plane does not have yet.
    pub backlog: u64,
    /// The same, by lane.
    pub outstanding: VecMap<String, u64>,
    /// The site's own broker.
    #[serde(default)]
    pub local_broker: LocalBrokerStatus,
    /// The disk below its database.
    #[serde(default)]
    pub storage: StorageStatus,
    /// Durable commits since the start.
    pub commits: u64,
    /// Syncs of the database's file since the start: what the flash is worn by.
    pub syncs: u64,
    /// Bytes written to the database's file since the start.
    pub written_bytes: u64,
    /// Rows added to the journal since the start, keys and values, in bytes.
    #[serde(default)]
    pub journal_bytes: u64,
    /// Snapshots of long runs written since the start, keys and values, in bytes.
    #[serde(default)]
    pub snapshot_bytes: u64,
}

/// How much room the agent has on its disk, and whether it can write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// `ample`; `low` (no new run is accepted), `storage_full` (runs have paused) or `failing` (the
    /// database cannot be written to, and is opened again and again).
    pub state: String,
    /// What that means and what to do, where it is not `ample`.
    pub message: String,
    /// Times since the start that the database was opened again because a write had failed.
    #[serde(default)]
    pub reopened: u64,
}

/// How the site's own broker is, and what waits for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalBrokerStatus {
    /// Where it listens, where one is configured.
    pub address: Option<String>,
    /// `none` (not configured), `connected`, or `down` and why.
    pub state: String,
    /// Topic filters that are subscribed to.
    pub topics: usize,
    /// Those of them that the broker refuses.
    pub topics_refused: Vec<String>,
    /// Messages that wait to be sent.
    pub waiting: usize,
    /// Their topics and payloads, bytes.
    pub waiting_bytes: usize,
    /// Messages to it that were given up since the start.
    pub dropped_to: u64,
    /// Messages of it that were dropped since the start: too large, or too many.
    pub dropped_from: u64,
}

/// A settled run, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultRow {
    /// Its id.
    pub run: String,
    /// When it settled, milliseconds since 1970 UTC by the device's clock.
    pub settled_wall_ms: i64,
}

/// A run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its id.
    pub run: String,
    /// Of which workflow.
    pub workflow: String,
    /// Where it stands.
    pub status: openclaw_protocol::run::RunStatus,
    /// What started it.
    pub trigger: String,
    /// Step instances so far.
    pub steps: usize,
    /// When it was accepted, milliseconds since 1970 UTC by the device's clock.
    pub accepted_wall_ms: Option<i64>,
    /// When it settled.
    pub settled_wall_ms: Option<i64>,
    /// Its error's code, where it failed.
    pub error: Option<String>,
    /// Why it does not go on although it could: `storage_full`.
    #[serde(default)]
    pub waiting: Option<String>,
}

impl RunRow {
    /// A run, summed up.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self {
            run: run.id.to_string(),
            workflow: run.workflow.clone(),
            status: run.status,
            trigger: run.trigger.clone(),
            steps: run.steps.len(),
            accepted_wall_ms: run.accepted_wall_ms,
            settled_wall_ms: run.settled_wall_ms,
            error: run.error.as_ref().map(|e| e.code.clone()),
            waiting: None,
        }
    }
}
