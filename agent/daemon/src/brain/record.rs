//! What plugins were told from outside: which of it is kept. Of a call that failed it is; of others
//! where their step says `trace: effects`, or where somebody wants the next runs of the workflow
//! recorded. And what their calls want kept: it shares the commit of their results.

use openclaw_agent_core::{AttemptId, AttemptOutcome, Fact, FactRecord, Input};
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::limits::RECORD_RUNS;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::Refusal;

use super::Brain;
use crate::event::{Kept, Recorded};
use crate::store::{Batch, KeptTape};

/// Which runs are recorded whole.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    /// How many more runs, by workflow.
    next: VecMap<WorkflowName, u32>,
    /// Those that are under way.
    runs: VecSet<RunId>,
}

impl Recordings {
    /// As they were when the agent stopped.
    pub(super) fn new(next: VecMap<WorkflowName, u32>, runs: Vec<RunId>) -> Self {
        Self { next, runs: runs.into_iter().collect() }
    }

    /// Takes up runs that are accepted, and lets go of those that are settled.
    pub(super) fn note(&mut self, facts: &[(RunId, FactRecord)], batch: &mut Batch) {
        if self.next.is_empty() && self.runs.is_empty() {
            return;
        }
        for (run, record) in facts {
            if let Fact::Accepted { workflow, .. } = &record.fact
                && let Some(left) = self.next.get_mut(workflow)
            {
                *left -= 1;
                if *left == 0 {
                    self.next.remove(workflow);
                }
                self.runs.insert(run.clone());
                batch.recorded.push(run.clone());
                batch.to_record = Some(self.next.clone());
            }
            if matches!(record.fact, Fact::Settled { .. }) {
                self.runs.remove(run);
            }
        }
    }
}

impl Brain {
    /// A call has ended. Its tape, and what it wants kept, share the commit of its result.
    pub(super) fn settle_attempt(
        &mut self,
        attempt: AttemptId,
        outcome: AttemptOutcome,
        recorded: Option<Recorded>,
        kept: Option<Box<Kept>>,
    ) {
        let failed = matches!(outcome, AttemptOutcome::Failed { .. });
        // The run may settle with this.
        let wanted = self.recordings.runs.contains(&attempt.run);
        let before = self.pending.batch.facts.len();
        self.step(Input::Settled { attempt: attempt.clone(), outcome });
        let recorded = recorded.filter(|recorded| failed || recorded.traced || wanted);
        if recorded.is_none() && kept.is_none() {
            return;
        }
        let is_its_end = |(of, record): &(RunId, FactRecord)| {
            let Fact::AttemptSettled { step, attempt: number, .. } = &record.fact else {
                return false;
            };
            (of, step, *number) == (&attempt.run, &attempt.step, attempt.attempt)
        };
        // A late or repeated result is none.
        let counts = self.pending.batch.facts.iter().skip(before).any(is_its_end);
        if let Some(kept) = kept {
            if counts && !failed {
                self.pending.batch.kv.extend(kept.kv);
                self.take_publications(kept.publications);
            }
            self.pending.to_free.push(attempt.clone());
            self.pending.needs_commit = true;
        }
        if let Some(Recorded { tape, .. }) = recorded
            && counts
        {
            let AttemptId { run, step, attempt } = attempt;
            self.pending.batch.tapes.push((run, KeptTape { step, attempt, tape: *tape }));
        }
    }

    /// Records the next runs of a workflow whole, instead of whatever was wanted of it before.
    pub(super) fn record_next(&mut self, workflow: WorkflowName, next: u32) -> Result<(), Refusal> {
        let refuse = |code: &str, message: String| Refusal { code: code.to_owned(), message };
        if next > RECORD_RUNS {
            let message =
                format!("at most {RECORD_RUNS} runs are recorded at one wish, not {next}");
            return Err(refuse("record.runs", message));
        }
        if !self.in_force.contains_key(workflow.as_str()) {
            let message = format!("workflow `{workflow}` is not in force on this device");
            return Err(refuse("workflow.unknown", message));
        }
        let wanted = &mut self.recordings.next;
        wanted.retain(|name, _| self.in_force.contains_key(name.as_str()));
        if next == 0 {
            wanted.remove(&workflow);
        } else {
            wanted.insert(workflow, next);
        }
        self.pending.batch.to_record = Some(wanted.clone());
        self.pending.needs_commit = true;
        Ok(())
    }
}
