//! Every expression of a workflow, with where it stands and when it is evaluated.

use crate::definition::model::{
    Case, CaseTest, DelayFor, EdgeKind, LoopTest, Step, StepIx, StepKind, Wait, WaitSource,
    Workflow,
};
use crate::expr::{Expr, Template};

/// When an expression of a step is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Before the step does anything.
    Start,
    /// While it waits, perhaps again and again.
    During,
    /// By a `try`, once its body has failed.
    Failed,
    /// By a `loop` or `foreach`, after an iteration.
    Iteration,
    /// By a `while`, before an iteration: the first time nothing of the body has run.
    Again,
    /// Once it has succeeded; its own result is there.
    End,
}

/// An expression and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Site<'w> {
    /// `None`: a key of the document.
    pub(super) step: Option<StepIx>,
    /// The key it stands under.
    pub(super) key: &'static str,
    pub(super) phase: Phase,
    pub(super) expr: &'w Expr,
}

/// All expressions of a document but those of triggers, which see nothing of a run.
pub(super) fn all(workflow: &Workflow) -> Vec<Site<'_>> {
    let mut found = Vec::new();
    for (n, step) in workflow.steps.iter().enumerate() {
        let step_ix = StepIx(u16::try_from(n).unwrap_or(u16::MAX));
        let mut here = Collector { step: Some(step_ix), found: &mut found };
        here.common(step);
        here.kind(&step.kind);
    }
    let mut here = Collector { step: None, found: &mut found };
    here.maybe("concurrency_key", Phase::Start, workflow.concurrency_key.as_ref());
    for output in workflow.outputs.values() {
        here.template("outputs", Phase::End, output);
    }
    found
}

struct Collector<'w, 'f> {
    step: Option<StepIx>,
    found: &'f mut Vec<Site<'w>>,
}

impl<'w> Collector<'w, '_> {
    fn expr(&mut self, key: &'static str, phase: Phase, expr: &'w Expr) {
        self.found.push(Site { step: self.step, key, phase, expr });
    }

    fn maybe(&mut self, key: &'static str, phase: Phase, expr: Option<&'w Expr>) {
        if let Some(expr) = expr {
            self.expr(key, phase, expr);
        }
    }

    fn template(&mut self, key: &'static str, phase: Phase, template: &'w Template) {
        for (_, expr) in template.expressions() {
            self.expr(key, phase, expr);
        }
    }

    fn common(&mut self, step: &'w Step) {
        self.maybe("if", Phase::Start, step.condition.as_ref());
        self.maybe("idempotency_key", Phase::Start, step.idempotency_key.as_ref());
        if let Some(template) = &step.output {
            self.template("output", Phase::End, template);
        }
        for (_, template) in &step.export {
            self.template("export", Phase::End, template);
        }
        for edge in &step.edges {
            if let EdgeKind::Next(Some(when)) = &edge.kind {
                self.expr("next_steps", Phase::End, when);
            }
        }
    }

    fn kind(&mut self, kind: &'w StepKind) {
        match kind {
            StepKind::Plugin(call) => self.template("with", Phase::Start, &call.with),
            StepKind::Condition { expr, .. } => self.expr("condition", Phase::Start, expr),
            StepKind::Set(assigned) => {
                for (_, template) in assigned {
                    self.template("set", Phase::Start, template);
                }
            }
            StepKind::Switch { subject, cases, .. } => self.switch(subject.as_ref(), cases),
            StepKind::Delay(delay) => match &delay.length {
                DelayFor::Fixed(_) => {}
                DelayFor::Computed(expr) => self.expr("delay", Phase::Start, expr),
                DelayFor::Until { at, .. } => self.expr("until", Phase::Start, at),
            },
            StepKind::Parallel { .. } | StepKind::Sequence { .. } => {}
            StepKind::Loop { test, collect, .. } => {
                match test {
                    LoopTest::While(expr) => self.expr("while", Phase::Again, expr),
                    LoopTest::Until(expr) => self.expr("until", Phase::Iteration, expr),
                    LoopTest::Times(expr) => self.expr("times", Phase::Start, expr),
                }
                self.maybe("collect", Phase::Iteration, collect.as_ref());
            }
            StepKind::Foreach(each) => {
                self.expr("in", Phase::Start, &each.list);
                self.maybe("collect", Phase::Iteration, each.collect.as_ref());
            }
            StepKind::Wait(wait) => self.wait(wait),
            StepKind::Call(call) => self.template("with", Phase::Start, &call.with),
            StepKind::Publish(message) => {
                self.template("topic", Phase::Start, &message.topic);
                self.template("payload", Phase::Start, &message.payload);
            }
            StepKind::Emit { event, data } => {
                self.template("emit", Phase::Start, event);
                self.template("data", Phase::Start, data);
            }
            StepKind::Approval(asked) => self.template("approval", Phase::Start, &asked.prompt),
            StepKind::Try { catches, .. } => {
                for catch in catches {
                    self.maybe("catch", Phase::Failed, catch.when.as_ref());
                }
            }
            StepKind::Log { message, fields, .. } => {
                self.template("log", Phase::Start, message);
                self.template("fields", Phase::Start, fields);
            }
            StepKind::Succeed { outputs } => {
                if let Some(outputs) = outputs {
                    self.template("succeed", Phase::Start, outputs);
                }
            }
            StepKind::Fail { code, message, details } => {
                for template in [Some(code), Some(message), details.as_ref()].into_iter().flatten()
                {
                    self.template("fail", Phase::Start, template);
                }
            }
        }
    }

    fn switch(&mut self, subject: Option<&'w Expr>, cases: &'w [Case]) {
        self.maybe("switch", Phase::Start, subject);
        for case in cases {
            match &case.test {
                CaseTest::Is(value) => self.template("cases", Phase::Start, value),
                CaseTest::When(expr) => self.expr("cases", Phase::Start, expr),
            }
        }
    }

    fn wait(&mut self, wait: &'w Wait) {
        match &wait.source {
            WaitSource::Mqtt { topic, .. } => self.template("mqtt", Phase::Start, topic),
            WaitSource::Event { name } => self.template("event", Phase::Start, name),
            WaitSource::Signal { name } => self.template("signal", Phase::Start, name),
            WaitSource::Until { expr, .. } => self.expr("until", Phase::During, expr),
        }
        self.maybe("when", Phase::During, wait.when.as_ref());
    }
}
