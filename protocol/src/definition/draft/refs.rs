//! Whether the names that expressions use are there.

use std::collections::BTreeSet;

use super::fields::{did_you_mean, not_of_this_version};
use super::problem::ProblemCode;
use super::read::excerpt;
use super::{Draft, Reference};

/// The names that expressions see, wherever they stand. `loop` is there inside a loop, `error` in
/// the workflow's `on_failure`, `output` in a step's `output` and `export`.
const NAMES: [&str; 10] = [
    "inputs",
    "vars",
    "steps",
    "trigger",
    "execution",
    "workflow",
    "loop",
    "error",
    "now",
    "output",
];

/// What expressions know of a step.
const OF_A_STEP: [&str; 4] = ["output", "status", "error", "attempts"];

impl Draft {
    /// Notes every name that cannot mean anything: `steps.x` without a step `x`, undeclared inputs,
    /// variables that nothing sets.
    pub(super) fn check_references(&mut self) {
        let references = std::mem::take(&mut self.references);
        for reference in &references {
            if self.problems.is_full() {
                return;
            }
            if let Some((message, suggestion)) = self.unknown(reference) {
                self.problems.push(ProblemCode::UnknownRef, reference.at, message, suggestion);
            }
        }
    }

    fn unknown(&self, reference: &Reference) -> Option<(String, Option<String>)> {
        let mut path = reference.path.iter().map(String::as_str);
        let first = path.next()?;
        if first == "agent" {
            return Some((not_of_this_version(first), None));
        }
        if !NAMES.contains(&first) {
            let listed = NAMES.join(", ");
            let message =
                format!("there is no name `{}` here; expressions see {listed}", excerpt(first));
            return Some((message, did_you_mean(first, NAMES)));
        }
        let name = path.next()?;
        let short = excerpt(name);
        match first {
            "steps" if !self.ids.contains_key(name) => {
                let message = format!("there is no step `{short}`");
                Some((message, did_you_mean(name, self.ids.keys().map(String::as_str))))
            }
            "steps" => {
                let field = path.next().filter(|field| !OF_A_STEP.contains(field))?;
                let message =
                    format!("a step has no `{}`; it has {}", excerpt(field), OF_A_STEP.join(", "));
                Some((message, did_you_mean(field, OF_A_STEP)))
            }
            "inputs" => undeclared(name, &self.inputs, || {
                format!("there is no input `{short}`; declare it under `inputs`")
            }),
            "vars" => undeclared(name, &self.vars, || {
                format!("nothing sets a variable `{short}`; declare it under `vars`")
            }),
            _ => None,
        }
    }
}

fn undeclared(
    name: &str,
    known: &BTreeSet<String>,
    message: impl FnOnce() -> String,
) -> Option<(String, Option<String>)> {
    if known.contains(name) {
        return None;
    }
    Some((message(), did_you_mean(name, known.iter().map(String::as_str))))
}
