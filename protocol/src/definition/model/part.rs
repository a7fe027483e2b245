//! The scopes that a step has, and what each is to it: the one place that knows it of every kind.

use super::{Case, Catch, Foreach, ScopeIx, Step, StepKind};

/// What a scope is to the step that it belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// What a `condition` does where it is true.
    Then,
    /// And where it is false.
    Else,
    /// One case of a `switch`; the place is the one among its cases.
    Case(usize, &'a Case),
    /// What a `switch` does where no case matches.
    Default,
    /// A branch of a `parallel`, its place and its name.
    Branch(usize, &'a str),
    /// What a `loop` repeats.
    Loop,
    /// What a `foreach` repeats.
    Foreach(&'a Foreach),
    /// What a `try` tries.
    Try,
    /// What a `try` does after an error; the place is the one among its catches.
    Catch(usize, &'a Catch),
    /// What a `try` does at its end.
    Finally,
    /// The steps of a `sequence`.
    Sequence,
    /// What undoes the step.
    Compensate,
}

impl<'a> Part<'a> {
    /// Its word in the language or the name of its branch, and which of several it is: two parts of
    /// steps of one kind are the same part if these are equal.
    #[must_use]
    pub fn name(self) -> (&'a str, usize) {
        match self {
            Self::Then => ("then", 0),
            Self::Else => ("else", 0),
            Self::Case(n, _) => ("cases", n),
            Self::Default => ("default", 0),
            Self::Branch(n, name) => (name, n),
            Self::Loop | Self::Foreach(_) => ("do", 0),
            Self::Try => ("try", 0),
            Self::Catch(n, _) => ("catch", n),
            Self::Finally => ("finally", 0),
            Self::Sequence => ("steps", 0),
            // A branch may be called so; there are never so many of them.
            Self::Compensate => ("compensate", usize::MAX),
        }
    }
}

impl StepKind {
    /// The scopes that a step of this kind runs, in the order of the flow.
    pub fn scopes(&self) -> impl Iterator<Item = (Part<'_>, ScopeIx)> {
        let (mut first, mut last) = (None, None);
        let (mut cases, mut branches, mut catches) = (&[][..], &[][..], &[][..]);
        match self {
            Self::Condition { then, otherwise, .. } => {
                first = then.map(|scope| (Part::Then, scope));
                last = otherwise.map(|scope| (Part::Else, scope));
            }
            Self::Switch { cases: all, default, .. } => {
                cases = all;
                last = default.map(|scope| (Part::Default, scope));
            }
            Self::Parallel { branches: all, .. } => branches = all,
            Self::Loop { body, .. } => first = Some((Part::Loop, *body)),
            Self::Foreach(each) => first = Some((Part::Foreach(each), each.body)),
            Self::Try { body, catches: all, finally, .. } => {
                first = Some((Part::Try, *body));
                catches = all;
                last = finally.map(|scope| (Part::Finally, scope));
            }
            Self::Sequence { body, .. } => first = Some((Part::Sequence, *body)),
            Self::Plugin(_)
            | Self::Set(_)
            | Self::Delay(_)
            | Self::Wait(_)
            | Self::Call(_)
            | Self::Publish(_)
            | Self::Emit { .. }
            | Self::Approval(_)
            | Self::Log { .. }
            | Self::Succeed { .. }
            | Self::Fail { .. } => {}
        }
        let cases = cases.iter().enumerate();
        let branches = branches.iter().enumerate();
        let catches = catches.iter().enumerate();
        first
            .into_iter()
            .chain(
                cases.filter_map(|(n, case): (usize, &Case)| {
                    Some((Part::Case(n, case), case.body?))
                }),
            )
            .chain(branches.map(|(n, (name, scope)): (usize, &(String, ScopeIx))| {
                (Part::Branch(n, name), *scope)
            }))
            .chain(catches.map(|(n, catch): (usize, &Catch)| (Part::Catch(n, catch), catch.body)))
            .chain(last)
    }
}

impl Step {
    /// The scopes of a step: those that it runs, then the one that undoes it.
    pub fn scopes(&self) -> impl Iterator<Item = (Part<'_>, ScopeIx)> {
        self.kind.scopes().chain(self.compensate.map(|scope| (Part::Compensate, scope)))
    }
}

#[cfg(test)]
mod tests {
    use crate::definition::parse;

    #[test]
    fn every_scope_of_a_document_is_a_part_of_one_step_or_of_the_document() {
        let workflow = parse(
            r"
workflow: all
steps:
  - { id: c, condition: true, then: [{ id: c1, log: a }], else: [{ id: c2, log: a }] }
  - id: s
    switch: 1 + 1
    cases: [{ case: 2, do: [{ id: s1, log: a }] }, { case: 3, do: [{ id: s2, log: a }] }]
    default: [{ id: s3, log: a }]
  - { id: p, parallel: { branches: { one: [{ id: p1, log: a }], two: [{ id: p2, log: a }] } } }
  - { id: l, loop: { times: 2 }, do: [{ id: l1, log: a }] }
  - { id: f, foreach: '[1]', do: [{ id: f1, log: a }] }
  - id: t
    try: [{ id: t1, log: a }]
    catch: [{ errors: [user.x], do: [{ id: t2, log: a }] }, { do: [{ id: t3, log: a }] }]
    finally: [{ id: t4, log: a }]
  - { id: q, sequence: [{ id: q1, log: a }], compensate: [{ id: q2, log: a }] }
finally: [{ id: z, log: a }]
",
        )
        .unwrap();
        let mut found = Vec::new();
        let mut told = Vec::new();
        for step in &workflow.steps {
            for (part, scope) in step.scopes() {
                found.push(scope);
                let (word, n) = part.name();
                told.push(format!("{} {word} {}", step.id, n.min(9)));
                assert_eq!(
                    workflow.scope(scope).owner.map(|ix| &workflow.step(ix).id),
                    Some(&step.id)
                );
            }
        }
        let owned = workflow.scopes.iter().filter(|scope| scope.owner.is_some()).count();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), owned, "a scope twice, or left out");
        assert_eq!(
            told,
            [
                "c then 0",
                "c else 0",
                "s cases 0",
                "s cases 1",
                "s default 0",
                "p one 0",
                "p two 1",
                "l do 0",
                "f do 0",
                "t try 0",
                "t catch 0",
                "t catch 1",
                "t finally 0",
                "q steps 0",
                "q compensate 9",
            ]
        );
    }
}
