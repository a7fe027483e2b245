//! Facts written down, and what each brings about taken in.

use openclaw_protocol::definition::Effects;
use openclaw_protocol::run::{RunResult, RunStatus};
use openclaw_protocol::time::Stamp;

use crate::effect::{Decision, Effect, Told};
use crate::engine::{Engine, Held};
use crate::fact::{Fact, FactRecord, TimerKind};
use crate::queue::FailedRun;
use crate::run::{Final, Out, Phase, Run, outer};

impl Engine {
    /// Writes a fact down and lets the run change by it.
    pub(crate) fn commit(&mut self, number: u64, fact: Fact, at: Stamp, decision: &mut Decision) {
        let Some(held) = self.runs.get_mut(&number) else { return };
        decision.needs_commit |= must_be_durable(&held.run, &fact);
        let record = FactRecord { at, fact };
        let out = held.run.apply(&record);
        // Were this fact lost, the one that came instead would bear another stamp, and the call's
        // key might go with two inputs.
        decision.needs_commit |= out.prepared;
        decision.facts.push((held.run.head.id.clone(), record));
        self.absorb(number, out, decision);
    }

    /// Takes in what a fact brought about.
    pub(crate) fn absorb(&mut self, number: u64, out: Out, decision: &mut Decision) {
        decision.told.extend(out.events.into_iter().map(Told::Event));
        for at in out.unready {
            self.queue.remove(&(number, at));
        }
        for (at, priority) in out.ready {
            self.queue.push((number, at), priority, self.now.boot_ms);
        }
        for (attempt, reason) in out.stops {
            decision.effects.push(Effect::Stop { attempt, reason });
        }
        if let Some(ended) = out.settled {
            return self.retire(number, ended, decision);
        }
        let Some(held) = self.runs.get_mut(&number) else { return };
        let due_ms = held.run.next_deadline(self.now.boot).map(|(due_ms, _)| due_ms);
        if due_ms != held.due_ms {
            held.due_ms.inspect(|old| {
                self.deadlines.remove(&(*old, number));
            });
            due_ms.inspect(|new| {
                self.deadlines.insert((*new, number));
            });
            held.due_ms = due_ms;
        }
        let delayed = held.run.delayed_steps();
        self.delayed = self.delayed + delayed - held.delayed;
        held.delayed = delayed;
        if held.run.is_unfinished() {
            self.unfinished.insert(number);
        }
    }

    /// A run has settled: nothing of it is kept but what was told.
    fn retire(&mut self, number: u64, ended: Final, decision: &mut Decision) {
        let Some(held) = self.runs.remove(&number) else { return };
        if let Some(due_ms) = held.due_ms {
            self.deadlines.remove(&(due_ms, number));
        }
        self.delayed -= held.delayed;
        self.unfinished.remove(&number);
        self.queue.remove_run(number);
        let run = held.run;
        let head = run.head;
        let workflow = run.plan.workflow.name.clone();
        if let Some(lane) = self.lanes.get_mut(&workflow) {
            lane.pending.remove(&number);
            lane.running.remove(&number);
            if lane.pending.is_empty() && lane.running.is_empty() {
                self.lanes.remove(&workflow);
            } else {
                self.moved.insert(workflow.clone());
            }
        }
        if ended.status == RunStatus::Failed {
            self.queue.add_failed(FailedRun {
                run: head.id.clone(),
                workflow: workflow.clone(),
                at: run.last,
                error: ended.error.clone(),
            });
        }
        let fact = Fact::Settled { status: ended.status };
        decision.facts.push((head.id.clone(), FactRecord { at: run.last, fact }));
        decision.needs_commit = true;
        let inputs = outer(&head.inputs);
        decision.effects.push(Effect::Forget(head.id.clone()));
        decision.told.push(Told::Result(RunResult {
            run: head.id,
            workflow,
            version: run.plan.workflow.version.clone(),
            definition: run.plan.workflow.hash.clone(),
            trigger: head.trigger,
            request: head.request,
            priority: head.priority,
            status: ended.status,
            accepted: head.accepted,
            settled: run.last,
            inputs,
            outputs: ended.outputs,
            error: ended.error,
            steps: run.settled_steps,
        }));
    }

    /// Takes a run in.
    pub(crate) fn hold(&mut self, number: u64, run: Run) {
        let workflow = run.plan.workflow.name.clone();
        let lane = self.lanes.entry(workflow.clone()).or_default();
        let waits = run.phase == Phase::Pending;
        if waits {
            lane.pending.insert(number)
        } else {
            lane.running.insert(number)
        };
        self.moved.insert(workflow);
        self.runs.insert(number, Box::new(Held { run, due_ms: None, delayed: 0 }));
    }
}

/// Facts that may be lost in a crash come again by themselves: the start of an attempt that may
/// be repeated; the end of a wait and the permission to go on, unless they make the input of a
/// call. All others count once they are durable.
fn must_be_durable(run: &Run, fact: &Fact) -> bool {
    match fact {
        Fact::AttemptStarted { step, .. } => run.find(step).is_none_or(|at| {
            run.plan.step(at.ix).effects == Effects::AtMostOnce
                || run.active(&at).is_none_or(|active| active.durable_start)
        }),
        Fact::TimerFired { what: TimerKind::Delay | TimerKind::Retry, .. } | Fact::Continued => {
            false
        }
        Fact::Accepted { .. }
        | Fact::Began
        | Fact::AttemptSettled { .. }
        | Fact::TimerFired { .. }
        | Fact::CancelRequested { .. }
        | Fact::Restarted { .. }
        | Fact::Settled { .. }
        | Fact::Alive => true,
    }
}
