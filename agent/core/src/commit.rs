//! Facts written down, and what each brings about taken in.

use openclaw_protocol::definition::Effects;
use openclaw_protocol::expr::Value;
use openclaw_protocol::run::{RunResult, RunStatus};
use openclaw_protocol::time::Stamp;

use crate::admission::lane_of;
use crate::bus::Said;
use crate::child::child_outcome;
use crate::effect::{Decision, Effect, Told};
use crate::engine::{Engine, Held};
use crate::fact::{Fact, FactRecord, TimerKind};
use crate::queue::FailedRun;
use crate::run::{Final, Out, Phase, Run, outer};

impl Engine {
    /// Writes a fact down and lets the run change by it.
    pub(crate) fn commit(&mut self, number: u64, fact: Fact, at: Stamp, decision: &mut Decision) {
        self.commit_read(number, fact, None, at, decision);
    }

    /// As [`Self::commit`], where the output of an attempt has been read already.
    pub(crate) fn commit_read(
        &mut self,
        number: u64,
        fact: Fact,
        output: Option<Value>,
        at: Stamp,
        decision: &mut Decision,
    ) {
        let Some(held) = self.runs.get_mut(&number) else { return };
        decision.needs_commit |= must_be_durable(&held.run, &fact);
        let record = FactRecord { at, check: held.run.check(), fact };
        let out = held.run.apply_read(&record, output);
        // Were this fact lost, the one that came instead would bear another stamp, and the call's
        // key might go with two inputs.
        decision.needs_commit |= out.prepared;
        decision.facts.push((held.run.head.id.clone(), record));
        self.absorb(number, out, decision);
    }

    /// Takes in what a fact brought about.
    pub(crate) fn absorb(&mut self, number: u64, out: Out, decision: &mut Decision) {
        decision
            .told
            .extend(out.events.into_iter().map(|(event, packed)| Told::Event(event, packed)));
        for (at, priority) in out.slots {
            match priority {
                Some(priority) => self.queue.push((number, at), priority, self.now.boot_ms),
                None => self.queue.remove(&(number, at)),
            }
        }
        for (attempt, reason) in out.stops {
            decision.effects.push(Effect::Stop { attempt, reason });
        }
        decision.needs_commit |= !out.publications.is_empty();
        decision.publications.extend(out.publications);
        if let Some(held) = self.runs.get(&number).filter(|_| !out.emitted.is_empty()) {
            let from = &held.run.plan.workflow.name;
            let events = out.emitted.into_iter().map(|(name, data)| (from.clone(), name, data));
            let events: Vec<Said> = events
                .map(|(from, name, data)| Said::Event { from: Some(from), name, data })
                .collect();
            self.bus.extend(events);
        }
        if let Some(ended) = out.settled {
            return self.retire(number, ended, decision);
        }
        self.rearm(number);
        let Some(held) = self.runs.get_mut(&number) else { return };
        let delayed = held.run.delayed_steps();
        self.delayed = self.delayed + delayed - held.delayed;
        held.delayed = delayed;
        if held.run.is_unfinished() {
            self.unfinished.insert(number);
        }
        if held.run.listening.is_empty() {
            self.listeners.remove(&number);
        } else {
            self.listeners.insert(number);
        }
        for wish in out.calls {
            self.start_child(number, wish, decision);
        }
        for child in out.cancels {
            self.cancel_child(number, &child, decision);
        }
    }

    /// Notes when the run is to be looked at next.
    pub(crate) fn rearm(&mut self, number: u64) {
        let Some(held) = self.runs.get_mut(&number) else { return };
        let due_ms = held.run.next_deadline(self.now).map(|(due_ms, _)| due_ms);
        if due_ms == held.due_ms {
            return;
        }
        held.due_ms.inspect(|old| {
            self.deadlines.remove(&(*old, number));
        });
        due_ms.inspect(|new| {
            self.deadlines.insert((*new, number));
        });
        held.due_ms = due_ms;
    }

    /// A run has settled: nothing of it is kept but what was told.
    fn retire(&mut self, number: u64, ended: Final, decision: &mut Decision) {
        let Some(held) = self.runs.remove(&number) else { return };
        if let Some(due_ms) = held.due_ms {
            self.deadlines.remove(&(due_ms, number));
        }
        self.delayed -= held.delayed;
        self.unfinished.remove(&number);
        self.listeners.remove(&number);
        self.queue.remove_run(number);
        let (run, lane_key) = (held.run, held.lane);
        let head = run.head;
        let workflow = run.plan.workflow.name.clone();
        if let Some(lane) = self.lanes.get_mut(&lane_key) {
            lane.pending.remove(&number);
            lane.running.remove(&number);
            if lane.pending.is_empty() && lane.running.is_empty() {
                self.lanes.remove(&lane_key);
            } else {
                self.moved.insert(lane_key);
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
        let check = run.digest.check();
        decision.facts.push((head.id.clone(), FactRecord { at: run.last, check, fact }));
        decision.needs_commit = true;
        let inputs = outer(&head.inputs);
        decision.effects.push(Effect::Forget(head.id.clone()));
        self.bus.push_back(Said::Ended {
            run: head.id.clone(),
            workflow: workflow.clone(),
            status: ended.status,
            outputs: ended.outputs.clone(),
            error: ended.error.clone(),
        });
        let parent = head.parent.clone().filter(|parent| !parent.detached);
        let outcome = parent.as_ref().map(|_| child_outcome(&ended));
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
        if let Some((parent, outcome)) = parent.zip(outcome) {
            self.child_ended(&parent, outcome, decision);
        }
    }

    /// Takes a run in.
    pub(crate) fn hold(&mut self, number: u64, run: Run) {
        let key = lane_of(&run.plan.workflow, &run.head.inputs, &run.head.trigger_data);
        // It was evaluated when the run was accepted, and gives the same now.
        let lane_key = (run.plan.workflow.name.clone(), key.unwrap_or_default());
        let lane = self.lanes.entry(lane_key.clone()).or_default();
        let waits = run.phase == Phase::Pending;
        if waits {
            lane.pending.insert(number)
        } else {
            lane.running.insert(number)
        };
        self.moved.insert(lane_key.clone());
        if !run.listening.is_empty() {
            self.listeners.insert(number);
        }
        self.runs.insert(number, Box::new(Held { run, lane: lane_key, due_ms: None, delayed: 0 }));
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
        Fact::TimerFired {
            what:
                TimerKind::Delay
                | TimerKind::Retry
                | TimerKind::Deadline
                | TimerKind::Beat
                | TimerKind::Poll
                | TimerKind::Remind,
            ..
        }
        | Fact::Continued => false,
        Fact::Accepted { .. }
        | Fact::Began
        | Fact::AttemptSettled { .. }
        | Fact::TimerFired { .. }
        | Fact::CancelRequested { .. }
        | Fact::Restarted { .. }
        | Fact::Settled { .. }
        | Fact::Signalled { .. }
        | Fact::Message { .. }
        | Fact::Decided { .. }
        | Fact::ChildStarted { .. }
        | Fact::Refused { .. }
        | Fact::Migrated { .. }
        | Fact::Stayed { .. }
        | Fact::Alive => true,
    }
}
