//! `foreach`: its body for each item, several at the same time if wanted, each with its own view.

use std::sync::Arc;

use openclaw_protocol::definition::{Foreach, Tolerate};
use openclaw_protocol::expr::Value;
use openclaw_protocol::limits;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::{RunError, StepPath};

use super::{Begun, Work};
use crate::names::{self, Bound};
use crate::run::{MAIN_VIEW, StepRef, Turn};
use crate::scope::{Ending, ScopeKey, ScopeState, Stage};
use crate::view::View;
use crate::{fault, view};

/// Iterations under way.
#[derive(Debug)]
pub(crate) struct Each {
    pub(crate) items: Vec<Value>,
    /// What every iteration sees at first, also one that begins later.
    pub(crate) snapshot: View,
    pub(crate) running: VecMap<usize, ScopeKey>,
    /// The first item whose iteration has not begun.
    pub(crate) next: usize,
    /// By item; `null` where its iteration has not ended well.
    pub(crate) results: Vec<Value>,
    pub(crate) results_bytes: usize,
    /// What iterations that ended well export, by item.
    pub(crate) exports: VecMap<usize, View>,
    pub(crate) ended: usize,
    pub(crate) failed: usize,
    /// Why the step will fail, once that is certain. What runs is being cancelled.
    pub(crate) failure: Option<RunError>,
    /// In the order of the journal.
    pub(crate) first_error: Option<RunError>,
}

impl Each {
    pub(super) fn children(&self) -> Vec<ScopeKey> {
        self.running.values().cloned().collect()
    }

    /// Whether more have failed than may.
    fn is_over(&self, tolerate: Tolerate) -> bool {
        let most = match tolerate {
            Tolerate::Count(count) => count as usize,
            Tolerate::Percent(percent) => self.items.len() * usize::from(percent) / 100,
        };
        self.failed > most
    }

    /// Keeps what an iteration leaves.
    fn keep(&mut self, number: usize, item: Value) -> Result<(), RunError> {
        self.results_bytes += view::size(&item)? + 1;
        if self.results_bytes > limits::VALUE_BYTES {
            let bytes = self.results_bytes;
            return Err(fault::payload("what the foreach collects", bytes, limits::VALUE_BYTES));
        }
        self.results[number] = item;
        Ok(())
    }
}

impl Turn<'_> {
    pub(super) fn begin_each(&mut self, at: &StepRef, path: &StepPath, foreach: &Foreach) -> Begun {
        let list = self.run.names(at, &path.0, self.at).value("in", &foreach.list);
        let items = match list.and_then(|list| items(&list)) {
            Ok(items) => items,
            Err(error) => return Begun::Done(Err(error)),
        };
        if items.is_empty() {
            return Begun::Done(Ok(result(Vec::new(), 0)));
        }
        let view = self.run.view_of(at);
        let snapshot = self.run.views.get(&view).map(|view| view.fork()).unwrap_or_default();
        let each = Each {
            results: vec![Value::Null; items.len()],
            items,
            snapshot,
            running: VecMap::new(),
            next: 0,
            results_bytes: 2,
            exports: VecMap::new(),
            ended: 0,
            failed: 0,
            failure: None,
            first_error: None,
        };
        self.set_work(at, Work::Foreach(Box::new(each)), Stage::Open);
        self.begin_items(at, foreach);
        Begun::Waits
    }

    fn begin_items(&mut self, at: &StepRef, foreach: &Foreach) {
        loop {
            let Some(Work::Foreach(each)) = self.work_mut(at) else { return };
            if each.running.len() >= usize::from(foreach.concurrency.max(1)) {
                return;
            }
            let number = each.next;
            let Some(item) = each.items.get(number).cloned() else { return };
            each.next += 1;
            let view = each.snapshot.clone();
            let key = self.child_key(at, &format!("#{number}"));
            if let Some(Work::Foreach(each)) = self.work_mut(at) {
                each.running.insert(number, Arc::clone(&key));
            }
            let bound = self.bound_item(at, foreach, number, item);
            let view_id = self.run.next_view;
            self.run.next_view = view_id.wrapping_add(1).max(MAIN_VIEW + 1);
            self.run.views.insert(view_id, Box::new(view));
            self.open_bound(foreach.body, key, Some(at.clone()), view_id, Some(bound));
        }
    }

    fn bound_item(
        &self,
        at: &StepRef,
        foreach: &Foreach,
        number: usize,
        item: Value,
    ) -> Arc<Bound> {
        let mut names = vec![(foreach.item.clone(), item)];
        if let Some(index) = &foreach.index {
            names.push((index.clone(), Value::Int(i64::try_from(number).unwrap_or(i64::MAX))));
        }
        Arc::new(Bound { names, outer: self.bound_around(at) })
    }

    pub(super) fn item_done(
        &mut self,
        at: &StepRef,
        key: &ScopeKey,
        scope: &ScopeState,
        outcome: Result<Value, RunError>,
        foreach: &Foreach,
    ) {
        // An iteration counts as a step, so that an empty body ends as well.
        self.count_history();
        let closing = self.run.active(at).is_none_or(|active| active.closing.is_some());
        let outcome = outcome.and_then(|last| self.collect_item(at, scope, last, foreach));
        let view = *self.run.views.remove(&scope.view).unwrap_or_default();
        let Some(Work::Foreach(each)) = self.work_mut(at) else { return };
        let Some(number) =
            each.running.iter().find(|(_, running)| *running == key).map(|(number, _)| *number)
        else {
            return;
        };
        each.running.remove(&number);
        each.ended += 1;
        match outcome.and_then(|item| each.keep(number, item)) {
            Ok(()) => {
                if view.has_exports() {
                    each.exports.insert(number, view);
                }
            }
            Err(error) => {
                each.failed += 1;
                each.first_error.get_or_insert(error);
            }
        }
        if !closing && each.failure.is_none() && foreach.fail_fast && each.is_over(foreach.tolerate)
        {
            each.failure = each.first_error.clone();
            for child in each.children() {
                self.close_scope(child, Ending::Cancelled);
            }
        }
        let stopping = closing || self.each_fails(at);
        if !stopping {
            self.begin_items(at, foreach);
        }
        self.join_items(at, foreach);
    }

    /// What an iteration leaves in `items`.
    fn collect_item(
        &self,
        at: &StepRef,
        scope: &ScopeState,
        last: Value,
        foreach: &Foreach,
    ) -> Result<Value, RunError> {
        let Some(expr) = &foreach.collect else { return Ok(last) };
        let path = self.run.path(at);
        let around = self.run.names(at, &path.0, self.at).around;
        let mut names = self.run.names_in(scope.view, around, &path.0, self.at);
        names.bound = scope.bound.as_deref();
        names.value("collect", expr)
    }

    fn each_fails(&mut self, at: &StepRef) -> bool {
        matches!(self.work_mut(at), Some(Work::Foreach(each)) if each.failure.is_some())
    }

    /// Ends the step if no iteration is under way any more.
    fn join_items(&mut self, at: &StepRef, foreach: &Foreach) {
        let view = self.run.view_of(at);
        let Some(Work::Foreach(each)) = self.work_mut(at) else { return };
        if !each.running.is_empty() {
            return;
        }
        let over = each.is_over(foreach.tolerate);
        let failure = each.failure.take().or_else(|| each.first_error.clone().filter(|_| over));
        let (results, failed) = (std::mem::take(&mut each.results), each.failed);
        let exports = std::mem::take(&mut each.exports);
        for (_, branch) in exports {
            self.run.views.entry(view).or_default().absorb(branch, |_| false, true);
        }
        if let Some(error) = failure {
            return self.attempt_ended(at, Err(error));
        }
        self.attempt_ended(at, Ok(result(results, failed)));
    }
}

/// The items of a list, or the entries of a map in the order of their keys.
fn items(list: &Value) -> Result<Vec<Value>, RunError> {
    let items: Vec<Value> = if let Some(list) = list.as_list() {
        list.to_vec()
    } else if let Some(map) = list.as_map() {
        let entry = |(key, value): (&openclaw_protocol::expr::Key, &Value)| {
            names::object([("key", key.to_value()), ("value", value.clone())])
        };
        map.iter_sorted().map(entry).collect()
    } else {
        let found = list.type_name();
        return Err(fault::fault("expr.type", format!("in: {found} is no list and no map")));
    };
    if items.len() > limits::FOREACH_ITEMS {
        let message = format!("in: {} items; the most is {}", items.len(), limits::FOREACH_ITEMS);
        return Err(fault::fault("limit.payload", message));
    }
    Ok(items)
}

fn result(items: Vec<Value>, failed: usize) -> Value {
    let failed = Value::Int(i64::try_from(failed).unwrap_or(i64::MAX));
    names::object([("items", Value::from(items)), ("failed", failed)])
}
