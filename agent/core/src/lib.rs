//! The workflow engine: decides, and does nothing else.
//!
//! Pure and deterministic: no clock, no randomness, no IO, no hash maps. An [`Engine`] takes one
//! [`Input`] with the [`Stamp`](openclaw_protocol::time::Stamp) it came at, and answers with a
//! [`Decision`]: facts to journal, what to tell, and what to do. The shell commits the facts and
//! what is told in one transaction, and only then performs the effects. Feeding the same facts
//! again after a restart ([`Engine::restore_run`]) gives the same state, and so does a snapshot of it
//! with the facts that came after ([`Engine::restore_run_at`]).
//!
//! In reading order: `engine` takes inputs, `admission` and `trigger` make runs of them, `commit`
//! writes facts down. `run` is what a fact changes; in it, `scope` has the edges and joins,
//! `settle` the ends of attempts, `step` one file per kind, `timer` the waits, `root` the run as a
//! whole. `snapshot` makes bytes of its state. `queue` says whose turn it is. `bus` carries what is
//! said on the device to those who listen, `gate` and `hold` hold triggers back, `files` tells what is
//! new of files, `child` joins runs that call one another, `update` sees to runs of definitions that
//! are not in force any more, `migrate` proves that one can go on with another, and `storage` holds
//! back what a full disk has no room for.

mod admission;
mod alike;
mod bus;
mod child;
mod commit;
mod digest;
mod effect;
mod engine;
mod fact;
mod fault;
mod files;
mod gate;
mod hold;
mod input;
mod key;
pub mod limits;
mod migrate;
mod names;
mod plan;
mod queue;
pub mod replay;
mod restore;
mod retry;
mod root;
mod run;
mod scope;
mod settle;
mod snapshot;
mod step;
mod storage;
mod summary;
mod timer;
mod trigger;
mod update;
mod view;

#[cfg(test)]
mod tests;

pub use effect::{
    AttemptId, Decision, Effect, FileChange, Hold, HoldChange, KnownFile, PluginTask, Publication,
    SeenKey, StopReason, Told, TriggerMark,
};
pub use engine::{Config, Engine, RunSummary};
pub use fact::{AttemptOutcome, Callee, Fact, FactRecord, Parent, TimerKind};
pub use input::{Again, Deployed, FileStat, Input, Listing, Message, StartRequest};
pub use queue::{FailedRun, QueueView};
pub use restore::RestoreError;
pub use snapshot::SnapshotError;
pub use storage::{STORAGE_FULL, Storage};
