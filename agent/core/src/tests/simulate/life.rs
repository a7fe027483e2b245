//! What happens in a life.

use std::fmt::Write as _;

use openclaw_protocol::definition::Effects;
use openclaw_protocol::id::RequestId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::RunError;
use openclaw_protocol::time::ClockTrust;
use serde_json::Value as Json;

use super::super::world::{World, error};
use super::draw::Draw;
use super::{Fault, Figures, behaviour};
use crate::{AttemptId, AttemptOutcome, Decision, Effect, Input, PluginTask, StartRequest};

/// In one boot; the third death is taken for the plugin's fault.
const DEATHS_MOST: u32 = 2;
/// The tenth is taken for the machine's.
const CUTS_MOST: u32 = 8;
/// Happenings after which all goes well.
const ROUGH: usize = 150;
const DAY_MS: u64 = 86_400_000;

/// A device, and what happens to it.
pub(super) struct Life {
    draw: Draw,
    pub(super) world: World,
    /// Decided; neither committed nor acted on.
    pending: Vec<Decision>,
    /// Every call that was made.
    pub(super) made: Vec<PluginTask>,
    /// Answered since the agent last came up.
    answered: Vec<AttemptId>,
    /// Those whose answer is not on the disk for certain and that must not be repeated.
    delicate: Vec<AttemptId>,
    deaths: u32,
    cuts: u32,
    pub(super) story: String,
    pub(super) figures: Figures,
}

impl Life {
    pub(super) fn new(draw: Draw, world: World, drawn_again: usize) -> Self {
        Self {
            draw,
            world,
            pending: Vec::new(),
            made: Vec::new(),
            answered: Vec::new(),
            delicate: Vec::new(),
            deaths: 0,
            cuts: 0,
            story: String::new(),
            figures: Figures { workflows: 1, drawn_again, ..Figures::default() },
        }
    }

    /// Starts the runs and lets things happen until all have ended.
    pub(super) fn go_on(&mut self, starts: &[Json]) -> Result<(), String> {
        let mut waiting: Vec<(usize, &Json)> = starts.iter().enumerate().rev().collect();
        for happening in 0..20_000 {
            let answered = |at: usize| self.world.disk.wishes.iter().any(|(id, _)| *id == wish(at));
            // A start that was lost with the agent is wished for again.
            let lost = |at: &usize| {
                !answered(*at) && self.pending.is_empty() && waiting.iter().all(|(n, _)| n != at)
            };
            let lost: Vec<usize> = (0..starts.len()).filter(lost).collect();
            waiting.extend(lost.into_iter().map(|at| (at, &starts[at])));
            if self.world.engine.runs.is_empty() && self.pending.is_empty() && waiting.is_empty() {
                self.world.sync();
                return Ok(());
            }
            self.figures.happenings += 1;
            let rough = happening < ROUGH;
            if let Some((at, inputs)) = waiting.pop_if(|_| self.draw.one_in(3)) {
                self.start(at, inputs);
            } else if rough && self.draw.one_in(12) {
                self.disturb();
            } else if rough && self.draw.one_in(8) {
                self.jump();
            } else {
                self.proceed(waiting.is_empty())?;
            }
        }
        Err("it does not end".to_owned())
    }

    fn start(&mut self, at: usize, inputs: &Json) {
        self.tell(&format!("start with {inputs}"));
        let workflow = self.world.workflows[0].name.clone();
        let inputs = JsonText::of(inputs);
        let request = Some(wish(at));
        self.feed(Input::Start(StartRequest {
            workflow,
            inputs,
            priority: None,
            request,
            again: None,
        }));
    }

    /// An ordinary thing.
    fn proceed(&mut self, nothing_else: bool) -> Result<(), String> {
        if !self.pending.is_empty() && self.draw.below(3) > 0 {
            self.flush();
            return Ok(());
        }
        let calls = self.world.calls.len();
        if calls > 0 && self.draw.below(4) > 0 {
            let at = self.draw.below(calls);
            let task = self.world.calls.remove(at);
            self.answer(&task);
            return Ok(());
        }
        if !self.answered.is_empty() && self.draw.one_in(4) {
            self.answer_again();
            return Ok(());
        }
        let due = self.world.engine.next_deadline().map(|(due, _)| due);
        let now = self.world.now.boot_ms;
        let wait = due.unwrap_or(u64::MAX).saturating_sub(now);
        if wait < 300 * DAY_MS {
            // Sometimes not all of it.
            let part = if self.draw.one_in(4) { wait / 2 } else { wait };
            let late = if self.draw.one_in(4) { self.draw.below(2_000) as u64 } else { 0 };
            self.pass(part + late);
        } else if calls == 0 && self.pending.is_empty() && nothing_else {
            return Err("it waits for nothing".to_owned());
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        self.tell(&format!("{ms} ms pass"));
        self.world.now.boot_ms += ms;
        self.world.now.wall_ms += i64::try_from(ms).unwrap();
        self.feed(Input::Tick);
    }

    fn answer(&mut self, task: &PluginTask) {
        let AttemptId { step, attempt, .. } = &task.attempt;
        let answer = behaviour(&step.0, *attempt, &task.export, task.input.as_str());
        self.tell(&format!("answer {} {step}({attempt}) {answer:?}", task.attempt.run));
        if task.effects == Effects::AtMostOnce {
            self.delicate.push(task.attempt.clone());
        }
        self.answered.push(task.attempt.clone());
        let outcome = match answer {
            Ok(output) => AttemptOutcome::Succeeded { output: JsonText::of(&output), vars: None },
            Err(Fault { code, retryable }) => AttemptOutcome::Failed {
                error: RunError { retryable, ..RunError::new(code, "no") },
            },
        };
        self.feed(Input::Settled { attempt: task.attempt.clone(), outcome });
    }

    /// What was answered is answered again, otherwise; and what has not begun.
    fn answer_again(&mut self) {
        self.figures.answers_late += 1;
        let mut attempt = self.draw.pick(&self.answered).clone();
        if self.draw.one_in(4) {
            attempt.attempt += 1 + u32::try_from(self.draw.below(3)).unwrap();
            // Nobody answers what has begun before it answers.
            let waiting = self.pending.iter().flat_map(|decision| &decision.effects);
            let waiting = waiting.filter_map(|effect| match effect {
                Effect::Call(task) => Some(task),
                Effect::Stop { .. } | Effect::Forget(_) => None,
            });
            if self.world.calls.iter().chain(waiting).any(|task| task.attempt == attempt) {
                return;
            }
        }
        let outcome = if self.draw.one_in(2) {
            AttemptOutcome::Succeeded { output: JsonText::parse("{\"x\":-9}").unwrap(), vars: None }
        } else {
            AttemptOutcome::Failed { error: error("user.late") }
        };
        self.tell(&format!("again {} {}({})", attempt.run, attempt.step, attempt.attempt));
        self.feed(Input::Settled { attempt, outcome });
    }

    /// The wall clock jumps, or is trusted more or less than before.
    fn jump(&mut self) {
        self.figures.jumps += 1;
        let range = *self.draw.pick(&[5_000, 3_600_000, 40 * 86_400_000]);
        let by = i64::try_from(self.draw.below(2 * range)).unwrap() - i64::try_from(range).unwrap();
        self.world.now.wall_ms += by;
        let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
        self.world.now.trust = *self.draw.pick(&trusts);
        self.tell(&format!("the clock jumps by {by} ms, {:?}", self.world.now.trust));
        if self.draw.one_in(2) {
            self.feed(Input::Tick);
        }
    }

    /// The agent goes down, in one way or another, and comes back.
    fn disturb(&mut self) {
        let delicate = self.world.calls.iter().any(|task| task.effects == Effects::AtMostOnce);
        if delicate || !self.delicate.is_empty() {
            return;
        }
        let kind = self.draw.below(4);
        if kind == 0 {
            self.flush();
            if self.world.calls.iter().any(|task| task.effects == Effects::AtMostOnce) {
                return;
            }
            self.tell("stop and start");
            self.figures.stops += 1;
            self.forget();
            self.world.restart(false);
        } else if kind < 3 && self.deaths < DEATHS_MOST {
            self.crash("killed");
            self.deaths += 1;
            self.figures.kills += 1;
            self.world.restart(true);
        } else if self.cuts < CUTS_MOST {
            self.crash("power cut");
            self.cuts += 1;
            self.deaths = 0;
            self.figures.cuts += 1;
            let down = u64::try_from(self.draw.below(200_000)).unwrap();
            if self.draw.one_in(3) {
                let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
                self.world.now.trust = *self.draw.pick(&trusts);
            }
            self.world.reboot(down);
        } else {
            return;
        }
        self.made.extend(self.world.calls.iter().cloned());
    }

    /// What had been decided is lost, or has just been committed and not been acted on.
    fn crash(&mut self, how: &str) {
        let most_once = |decision: &Decision| {
            decision.effects.iter().any(|effect| {
                matches!(effect, Effect::Call(task) if task.effects == Effects::AtMostOnce)
            })
        };
        let committed = self.draw.one_in(2) && !self.pending.iter().any(most_once);
        let count = self.pending.len();
        if committed {
            for decision in std::mem::take(&mut self.pending) {
                self.world.perform(decision);
            }
        }
        let fate = if committed { "committed" } else { "lost" };
        self.tell(&format!("{how}; {count} decisions {fate}"));
        self.forget();
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.answered.clear();
        self.delicate.clear();
    }

    /// The engine hears of something. What it decides waits for the next commit, or for nothing.
    fn feed(&mut self, input: Input) {
        let decision = self.world.engine.step(input, self.world.now);
        if self.pending.is_empty() && !decision.needs_commit {
            self.act(decision);
            return;
        }
        self.pending.push(decision);
        if self.draw.below(3) > 0 {
            self.flush();
        }
    }

    /// One commit for all that waits; then it is acted on.
    fn flush(&mut self) {
        for decision in std::mem::take(&mut self.pending) {
            self.act(decision);
        }
        self.delicate.clear();
    }

    fn act(&mut self, decision: Decision) {
        for effect in &decision.effects {
            if let Effect::Call(task) = effect {
                self.made.push(task.clone());
            }
        }
        self.world.perform(decision);
    }

    fn tell(&mut self, what: &str) {
        let _ = writeln!(self.story, "  {what}");
    }
}

/// The name of the n-th wish to start.
fn wish(at: usize) -> RequestId {
    RequestId::parse(&format!("wish-{at}")).unwrap()
}
