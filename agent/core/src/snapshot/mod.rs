//! A run's state as bytes, so that not all of its past has to be folded again after a restart.
//!
//! A snapshot holds what the facts so far have made of a run, but for what it was accepted with:
//! that is in its first fact, which is always kept. Folding the facts after it gives the same state,
//! to the byte of the next snapshot, as folding all of them (P1).
//!
//! The bytes: a version; the parts of the state in the order of `state!` below; eight bytes of BLAKE3
//! over all before them. Numbers have seven bits a byte. What is shared in memory (variables of
//! branches, larger values, keys of scopes) is written once, so a snapshot is about as large as the
//! state. A build that changes the format or the meaning of a part counts [`VERSION`] up, and still
//! reads the version before: the facts that a snapshot stands for may be gone. A run to which another
//! definition mattered has what became of that in front of its state, and [`UPDATED`] as version.

mod bytes;
mod parts;
mod plain;
mod value;
mod work;

use std::sync::Arc;

use openclaw_protocol::definition::StepKind;
use openclaw_protocol::id::RunId;

use self::bytes::{Reader, Stored, Writer};
use crate::engine::Engine;
use crate::fact::{Fact, FactRecord};
use crate::migrate::{Onward, Table};
use crate::plan::Plan;
use crate::run::{Head, MAIN_VIEW, Run};
use crate::step::Work;

/// The version that this build writes and reads.
const VERSION: u8 = 1;
/// The version with what another definition meant for the run.
const UPDATED: u8 = 2;
const CHECK_BYTES: usize = 8;

/// Why a snapshot cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Written by another version.
    #[error("the snapshot is of format {0}; this build reads formats {VERSION} and {UPDATED}")]
    Version(u8),
    /// Cut off, altered, or of another run.
    #[error("the snapshot is damaged")]
    Damaged,
    /// The run has gone on with another definition, which is not there.
    #[error("the definition that the run goes on with is not here")]
    Definition,
}

impl Run {
    /// The state as bytes. `None`: it holds something that could not be read again, which nothing
    /// that can be computed with is.
    pub(crate) fn snapshot(&self) -> Option<Vec<u8>> {
        let mut to = Writer::new();
        if self.migrated.is_none() && self.stayed.is_none() {
            to.byte(VERSION);
        } else {
            to.byte(UPDATED);
            self.migrated.write(&mut to);
            self.stayed.write(&mut to);
        }
        write_state(self, &mut to);
        let mut out = to.finish()?;
        out.extend_from_slice(&check_of(&out));
        Some(out)
    }

    /// The run of a snapshot and of what it was accepted with. What it goes on with since is asked
    /// for.
    pub(crate) fn from_snapshot(
        mut head: Head,
        mut plan: Arc<Plan>,
        bytes: &[u8],
        onward_of: &mut dyn FnMut(&Fact) -> Option<Onward>,
    ) -> Result<Self, SnapshotError> {
        let Some((&version, _)) = bytes.split_first() else { return Err(SnapshotError::Damaged) };
        if version != VERSION && version != UPDATED {
            return Err(SnapshotError::Version(version));
        }
        let (body, check) = bytes.split_last_chunk().ok_or(SnapshotError::Damaged)?;
        if *check != check_of(body) {
            return Err(SnapshotError::Damaged);
        }
        let mut state = body.get(1..).ok_or(SnapshotError::Damaged)?;
        let (mut migrated, mut stayed) = (None::<Box<FactRecord>>, None);
        if version == UPDATED {
            let mut from = Reader::new(state, &plan);
            (migrated, stayed) = (Stored::read(&mut from), Stored::read(&mut from));
            if from.has_failed() {
                return Err(SnapshotError::Damaged);
            }
            let read = state.len() - from.left();
            state = &state[read..];
        }
        if let Some(record) = &migrated {
            let onward = onward_of(&record.fact).ok_or(SnapshotError::Definition)?;
            plan = head.go_on(onward, &record.fact).ok_or(SnapshotError::Damaged)?;
        }
        let shared = Arc::clone(&plan);
        let mut from = Reader::new(state, &shared);
        let mut run = read_state(head, plan, &mut from);
        if from.has_failed() || from.left() > 0 || !fits(&run) {
            return Err(SnapshotError::Damaged);
        }
        (run.migrated, run.stayed) = (migrated, stayed);
        Ok(run)
    }

    /// The state in the words of another definition, but for the order of steps in their scopes.
    /// `None`: something of it is not there.
    pub(crate) fn translated(&self, head: Head, plan: Arc<Plan>, table: &Table) -> Option<Self> {
        let mut to = Writer::new();
        write_state(self, &mut to);
        let bytes = to.finish()?;
        let shared = Arc::clone(&plan);
        let mut from = Reader::new(&bytes, &shared);
        from.table = Some(table);
        let run = read_state(head, plan, &mut from);
        (!from.has_failed() && from.left() == 0).then_some(run)
    }
}

impl Engine {
    /// The state of a run that is not settled, as bytes, after all the facts that were decided so
    /// far. With its first fact and those that follow, it is what [`Engine::restore_run_at`] takes.
    /// `None` where there is no such run, or nothing that could be read again.
    #[must_use]
    pub fn snapshot(&self, run: &RunId) -> Option<Vec<u8>> {
        self.runs.get(&self.number_of(run)?)?.run.snapshot()
    }
}

fn check_of(body: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&blake3::hash(body).as_bytes()[..CHECK_BYTES]);
    check
}

/// The parts of a run's state, in the order in which they are stored. Both directions name each of
/// them, so the compiler notices one that is left out.
macro_rules! state {
    ($($field:ident),+ $(,)?) => {
        fn write_state(run: &Run, to: &mut Writer) {
            let Run { head: _, plan: _, migrated: _, stayed: _, $($field),+ } = run;
            $($field.write(to);)+
        }

        fn read_state(head: Head, plan: Arc<Plan>, from: &mut Reader<'_>) -> Run {
            Run { $($field: Stored::read(from)),+, head, plan, migrated: None, stayed: None }
        }
    };
}
state!(
    phase,
    began,
    scopes,
    views,
    next_view,
    timers,
    agenda,
    plugin_vars,
    error,
    cancelled,
    hard_stop,
    succeeding,
    undo,
    undo_bytes,
    undoing,
    signals,
    listening,
    settled_steps,
    history,
    told,
    digest,
    last,
);

/// Whether the parts go together. The checksum keeps accidents out; this keeps a made-up snapshot in
/// a recording from doing more than being refused.
pub(crate) fn fits(run: &Run) -> bool {
    let scopes_fit = run.scopes.values().all(|scope| {
        let steps = &run.plan.scope(scope.ix).steps;
        steps.len() == scope.steps.len()
            && run.views.contains_key(&scope.view)
            && steps.iter().zip(&scope.steps).all(|(ix, state)| {
                let active = state.active.as_ref();
                active.is_none_or(|active| work_fits(&active.work, &run.plan.step(*ix).kind))
            })
    });
    scopes_fit && run.views.contains_key(&MAIN_VIEW)
}

/// Whether places in lists are within them.
fn work_fits(work: &Work, kind: &StepKind) -> bool {
    match (work, kind) {
        (Work::Foreach(each), StepKind::Foreach(_)) => {
            // Once all have ended, the results are gone to where they belong.
            each.running.is_empty()
                || each.results.len() == each.items.len()
                    && each.next <= each.items.len()
                    && each.running.keys().all(|number| *number < each.items.len())
        }
        (Work::Parallel(parallel), StepKind::Parallel { branches, .. }) => {
            let mut numbers = parallel.running.keys().chain(parallel.ended.keys());
            parallel.next <= branches.len() && numbers.all(|number| *number < branches.len())
        }
        (Work::Foreach(_) | Work::Parallel(_), _) => false,
        (_, _) => true,
    }
}
