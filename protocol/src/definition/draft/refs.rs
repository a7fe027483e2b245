//! Whether the names that expressions use are there.

use std::collections::BTreeSet;

use super::fields::did_you_mean;
use super::names::Giver;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::{Draft, Reference};

/// What expressions know of a step.
const OF_A_STEP: [&str; 4] = ["output", "status", "error", "attempts"];

/// What is wrong with a reference, and what to write instead.
type Fault = (String, Option<String>);

impl Draft {
    /// Notes every name that cannot mean anything: `steps.x` without a step `x`, undeclared inputs,
    /// variables that nothing sets, names of a `foreach` outside it.
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

    fn unknown(&self, reference: &Reference) -> Option<Fault> {
        let mut path = reference.path.iter().map(String::as_str);
        let first = path.next()?;
        if !reference.sight.has(first) {
            return Some(self.unseen(first, reference));
        }
        let name = path.next()?;
        let short = excerpt(name);
        match first {
            "steps" if !self.ids.contains_key(name) => {
                let message = format!("there is no step `{short}`");
                Some((message, did_you_mean(name, self.ids.keys().map(String::as_str))))
            }
            "steps" => self.hidden(name, reference).or_else(|| {
                let field = path.next().filter(|field| !OF_A_STEP.contains(field))?;
                let message =
                    format!("a step has no `{}`; it has {}", excerpt(field), OF_A_STEP.join(", "));
                Some((message, did_you_mean(field, OF_A_STEP)))
            }),
            "inputs" => undeclared(name, &self.inputs, || {
                format!("there is no input `{short}`; declare it under `inputs`")
            }),
            "vars" => undeclared(name, &self.vars, || {
                format!("nothing sets a variable `{short}`; declare it under `vars`")
            }),
            "agent" => undeclared(name, &["id", "labels"].map(str::to_owned).into(), || {
                format!("an agent has no `{short}`; it has `id` and `labels`")
            }),
            _ => None,
        }
    }

    /// Says why a name is not seen.
    fn unseen(&self, name: &str, reference: &Reference) -> Fault {
        let sight = &reference.sight;
        let (place, meant) = match name {
            "item" => ("inside a `foreach`", Giver::Foreach),
            "error" => ("in the workflow's `on_failure` and in a `catch`", Giver::Catch),
            "loop" => ("inside a `loop`", Giver::Place),
            "output" => ("in a step's `output`, `export` and `compensate`", Giver::Place),
            "message" | "event" => ("in the `when` of a `wait`", Giver::Place),
            _ => {
                let short = excerpt(name);
                let message = match self.bound.get(name) {
                    Some(at) => format!(
                        "`{short}` is known only inside the step that binds it (line {})",
                        at.line
                    ),
                    None => format!(
                        "there is no name `{short}` here; expressions see {}",
                        sight.listed()
                    ),
                };
                let meant = self.namesake(name, reference);
                return (message, meant.or_else(|| did_you_mean(name, sight.names())));
            }
        };
        let message = format!("`{name}` is known only {place}");
        let meant = if meant == Giver::Place { None } else { sight.given_by(meant) };
        let suggestion = match meant {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => self.namesake(name, reference),
        };
        (message, suggestion)
    }

    /// An input, variable or step of that name.
    fn namesake(&self, name: &str, reference: &Reference) -> Option<String> {
        let families = [
            ("inputs", self.inputs.contains(name), ""),
            ("vars", self.vars.contains(name), ""),
            ("steps", self.ids.contains_key(name), ".output"),
        ];
        let found = families.iter().find(|(family, is, _)| *is && reference.sight.has(family));
        found.map(|(family, _, part)| format!("did you mean `{family}.{name}{part}`?"))
    }

    /// Says why the results of a step are not seen: it runs once for each item of a `foreach`.
    fn hidden(&self, id: &str, reference: &Reference) -> Option<Fault> {
        let around = &self.sights.get(id)?.around;
        if reference.sight.around.starts_with(around) {
            return None;
        }
        let message = format!(
            "`{id}` runs once for each item of a `foreach`; its results are known only inside"
        );
        Some((message, Some("hand them out with the `collect` of the `foreach`".to_owned())))
    }
}

fn undeclared(
    name: &str,
    known: &BTreeSet<String>,
    message: impl FnOnce() -> String,
) -> Option<Fault> {
    if known.contains(name) {
        return None;
    }
    Some((message(), did_you_mean(name, known.iter().map(String::as_str))))
}
