//! What the steps of a run see of one another: variables and results.
//!
//! Each branch of a `parallel` has a view of its own, taken when the step starts. Taking one is
//! two reference counts: the maps are shared until one side writes.

use std::sync::Arc;

use openclaw_protocol::definition::StepIx;
use openclaw_protocol::expr::Value;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::limits;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::{RunError, StepStatus};

use crate::fault;

/// What `null` and the other small values count, in bytes.
const NULL_BYTES: usize = 8;

/// Variables by name.
pub(crate) type Vars = VecMap<String, Kept>;
/// The latest result of each step.
pub(crate) type Results = VecMap<StepIx, StepResult>;

/// A value with its size in bytes of JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept {
    pub(crate) value: Value,
    pub(crate) bytes: usize,
}

/// How a step instance ended, as expressions see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepResult {
    pub(crate) status: StepStatus,
    pub(crate) output: Value,
    pub(crate) error: Option<Box<RunError>>,
    pub(crate) attempts: u32,
    pub(crate) bytes: usize,
}

/// Variables and the latest result of each step.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) vars: Arc<Vars>,
    pub(crate) results: Arc<Results>,
    /// What `export` wrote since the view was taken; outlives a branch.
    pub(crate) exported: VecMap<String, Kept>,
    pub(crate) bytes: usize,
}

impl View {
    /// The view of a new run.
    pub(crate) fn new(vars: impl IntoIterator<Item = (String, Value)>) -> Self {
        let kept = vars.into_iter().map(|(name, value)| {
            let bytes = size(&value).unwrap_or(0);
            (name, Kept { value, bytes })
        });
        // Not collected, which would sort it first with code of its own.
        let mut vars = VecMap::new();
        vars.extend(kept);
        let bytes = vars.values().map(|kept| kept.bytes).sum();
        Self { vars: Arc::new(vars), bytes, ..Self::default() }
    }

    /// The view a branch gets.
    pub(crate) fn fork(&self) -> Self {
        Self { exported: VecMap::new(), ..self.clone() }
    }

    /// Whether `export` wrote something since the view was taken.
    pub(crate) fn has_exports(&self) -> bool {
        !self.exported.is_empty()
    }

    pub(crate) fn var(&self, name: &str) -> Option<&Value> {
        self.vars.get(name).map(|kept| &kept.value)
    }

    pub(crate) fn vars(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.vars.iter().map(|(name, kept)| (name.as_str(), &kept.value))
    }

    pub(crate) fn result(&self, ix: StepIx) -> Option<&StepResult> {
        self.results.get(&ix)
    }

    pub(crate) fn results(&self) -> impl Iterator<Item = (StepIx, &StepResult)> {
        self.results.iter().map(|(ix, result)| (*ix, result))
    }

    /// Assigns variables together: all, or none if one is too large.
    ///
    /// # Errors
    /// `limit.payload` or `expr.type` (not a JSON value).
    pub(crate) fn assign(
        &mut self,
        values: Vec<(String, Value)>,
        export: bool,
    ) -> Result<(), RunError> {
        let mut kept = Vec::with_capacity(values.len());
        let mut bytes = self.bytes;
        for (name, value) in values {
            let own = size(&value)?;
            if own > limits::VALUE_BYTES {
                return Err(fault::payload(
                    &format!("variable `{name}`"),
                    own,
                    limits::VALUE_BYTES,
                ));
            }
            let before = self.vars.get(&name).map_or(0, |old| old.bytes);
            bytes = bytes.saturating_sub(before) + own;
            kept.push((name, Kept { value, bytes: own }));
        }
        if bytes > limits::RUN_STATE_BYTES {
            return Err(fault::payload("all values of the run", bytes, limits::RUN_STATE_BYTES));
        }
        if export {
            self.exported.extend(kept.iter().cloned());
        }
        self.bytes = bytes;
        Arc::make_mut(&mut self.vars).extend(kept);
        Ok(())
    }

    /// Keeps how a step ended. A result that is too large is not kept. Gives its text, where that
    /// was made to see how large it is.
    ///
    /// # Errors
    /// `limit.payload` or `expr.type` (not a JSON value).
    pub(crate) fn record(
        &mut self,
        ix: StepIx,
        status: StepStatus,
        output: Value,
        error: Option<RunError>,
        attempts: u32,
    ) -> Result<Option<JsonText>, RunError> {
        let (own, text) = measure(&output)?;
        if own > limits::VALUE_BYTES {
            return Err(fault::payload("the output", own, limits::VALUE_BYTES));
        }
        let before = self.results.get(&ix).map_or(0, |old| old.bytes);
        let bytes = self.bytes.saturating_sub(before) + own;
        // Growth is refused; `null` always fits, and so does what replaces something larger.
        if bytes > limits::RUN_STATE_BYTES && own > before.max(NULL_BYTES) {
            return Err(fault::payload("all values of the run", bytes, limits::RUN_STATE_BYTES));
        }
        self.bytes = bytes;
        let error = error.map(Box::new);
        let result = StepResult { status, output, error, attempts, bytes: own };
        Arc::make_mut(&mut self.results).insert(ix, result);
        Ok(text)
    }

    /// Takes in what a finished branch leaves behind: the results of its steps `within`, and its
    /// exports if it ended well. Its other writes are gone.
    pub(crate) fn absorb(
        &mut self,
        branch: Self,
        within: impl Fn(StepIx) -> bool,
        ended_well: bool,
    ) {
        for (ix, result) in branch.results.iter().filter(|(ix, _)| within(**ix)) {
            let before = self.results.get(ix).map_or(0, |old| old.bytes);
            self.bytes = self.bytes.saturating_sub(before) + result.bytes;
            Arc::make_mut(&mut self.results).insert(*ix, result.clone());
        }
        if !ended_well {
            return;
        }
        for (name, kept) in branch.exported {
            let before = self.vars.get(&name).map_or(0, |old| old.bytes);
            self.bytes = self.bytes.saturating_sub(before) + kept.bytes;
            self.exported.insert(name.clone(), kept.clone());
            Arc::make_mut(&mut self.vars).insert(name, kept);
        }
    }
}

/// The size of a value in bytes of JSON.
///
/// # Errors
/// `expr.type`: not a JSON value.
pub(crate) fn size(value: &Value) -> Result<usize, RunError> {
    measure(value).map(|(bytes, _)| bytes)
}

/// As [`size`], with the text where it takes that to know.
fn measure(value: &Value) -> Result<(usize, Option<JsonText>), RunError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) => Ok((NULL_BYTES, None)),
        Value::String(text) => Ok((text.len() + 2, None)),
        Value::Double(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Timestamp(_)
        | Value::Duration(_)
        | Value::Type(_)
        | Value::Secret(_) => {
            let text = value.to_json_text();
            let text = text.map_err(|error| fault::expression("the value", &error))?;
            Ok((text.len(), Some(text)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Value {
        Value::from("x".repeat(bytes))
    }

    #[test]
    fn a_branch_sees_the_past_and_keeps_its_writes_to_itself() {
        let mut main = View::new([("a".to_owned(), Value::Int(1))]);
        let mut branch = main.fork();
        branch.assign(vec![("a".to_owned(), Value::Int(2))], false).unwrap();
        branch.assign(vec![("b".to_owned(), Value::Int(3))], true).unwrap();
        assert_eq!(main.var("a"), Some(&Value::Int(1)));
        main.absorb(branch, |_| true, true);
        assert_eq!(main.var("a"), Some(&Value::Int(1)));
        assert_eq!(main.var("b"), Some(&Value::Int(3)));
    }

    #[test]
    fn a_failed_branch_exports_nothing() {
        let mut main = View::default();
        let mut branch = main.fork();
        branch.assign(vec![("b".to_owned(), Value::Int(3))], true).unwrap();
        main.absorb(branch, |_| true, false);
        assert_eq!(main.var("b"), None);
    }

    #[test]
    fn values_are_bounded_one_by_one_and_together() {
        let mut view = View::default();
        let large = view.assign(vec![("a".to_owned(), text(limits::VALUE_BYTES))], false);
        assert_eq!(large.unwrap_err().code, "limit.payload");
        let one = limits::VALUE_BYTES - 2;
        for n in 0..limits::RUN_STATE_BYTES / limits::VALUE_BYTES {
            view.assign(vec![(format!("v{n}"), text(one))], false).unwrap();
        }
        let full = view.assign(vec![("more".to_owned(), text(one))], false);
        assert_eq!(full.unwrap_err().code, "limit.payload");
        // Replacing is no growth.
        view.assign(vec![("v0".to_owned(), text(one))], false).unwrap();
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let nan = View::default().assign(vec![("a".to_owned(), Value::Double(f64::NAN))], false);
        assert_eq!(nan.unwrap_err().code, "expr.type");
    }
}
