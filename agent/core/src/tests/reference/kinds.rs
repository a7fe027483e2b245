//! What each kind of step does.

use std::collections::BTreeMap;
use std::ops::Range;

use openclaw_protocol::definition::{
    Case, CaseTest, Catch, Foreach, LoopTest, ParallelMode, ScopeIx, Tolerate,
};
use openclaw_protocol::expr::{Expr, Template, Value};
use openclaw_protocol::run::RunStatus;
use serde_json::Value as Json;

use super::values::{entries, error_value, is_for, object};
use super::{Called, End, Fault, Mistake, Reader, Seen, Way, read};

impl Reader<'_> {
    pub(super) fn plugin(&mut self, action: &str, path: &str, attempt: u32, input: &Json) -> End {
        let input = input.to_string();
        let answer = (self.behaviour)(path, attempt, action, &input);
        self.reading.calls.push(Called { path: path.to_owned(), attempt, input });
        match answer {
            Ok(output) => End::Well(Value::from_json(&output)),
            Err(fault) => End::Failed(fault),
        }
    }

    pub(super) fn call(&mut self, name: &str, inputs: &Json) -> End {
        let callee = self.workflows.iter().find(|other| other.name.as_str() == name);
        let Some(callee) = callee else { return End::Failed(Fault::new("workflow.unknown")) };
        let child = read(self.workflows, callee, inputs, self.behaviour, self.mistake);
        let end = match (child.status, &child.error) {
            (RunStatus::Completed, _) => End::Well(Value::from_json_typed(&child.outputs)),
            (_, code) => End::Failed(Fault::new(code.as_deref().unwrap_or_default())),
        };
        self.reading.vague = self.reading.vague.or(child.vague);
        self.reading.children.push((name.to_owned(), inputs.clone(), child));
        end
    }

    pub(super) fn condition(
        &mut self,
        expr: &Expr,
        ways: [Option<ScopeIx>; 2],
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let result = self.truth(expr, seen)?;
        let end = match ways[usize::from(!result)] {
            Some(steps) => self.scope(steps, inner, seen),
            None => End::Well(Value::Null),
        };
        self.way = if result { Way::Yes } else { Way::No };
        Ok(with_output(end, [("result", Value::Bool(result))]))
    }

    pub(super) fn switch(
        &mut self,
        subject: Option<&Expr>,
        cases: &[Case],
        default: Option<Option<ScopeIx>>,
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let subject = match subject {
            Some(subject) => Some(self.value(subject, seen)?),
            None => None,
        };
        let mut chosen = None;
        for (position, case) in cases.iter().enumerate() {
            let matched = match &case.test {
                CaseTest::Is(value) => {
                    let value = self.typed(value, seen, None)?;
                    subject.as_ref().is_some_and(|subject| subject.equals(&value)).then_some(value)
                }
                CaseTest::When(expr) => {
                    self.truth(expr, seen)?.then(|| Value::Int(i64::try_from(position).unwrap()))
                }
            };
            if let Some(value) = matched {
                chosen = Some((value, case.body, Some(u16::try_from(position).unwrap())));
                break;
            }
        }
        let chosen = chosen.or_else(|| default.map(|body| (Value::Null, body, None)));
        let (case, body, place) = chosen.ok_or_else(|| Fault::new("condition.no_match"))?;
        let end = match body {
            Some(steps) => self.scope(steps, inner, seen),
            None => End::Well(Value::Null),
        };
        self.way = Way::Case(place);
        Ok(with_output(end, [("case", case)]))
    }

    pub(super) fn set(
        &mut self,
        values: &[(String, Template)],
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let mut new = Vec::new();
        for (name, template) in values {
            let value = self.typed(template, seen, None)?;
            if self.mistake == Some(Mistake::SetInTurn) {
                seen.vars.insert(name.clone(), value.clone());
            }
            new.push((name.clone(), value));
        }
        seen.vars.extend(new);
        Ok(End::Well(Value::Null))
    }

    pub(super) fn parallel(
        &mut self,
        mode: ParallelMode,
        branches: &[(String, ScopeIx)],
        named: bool,
        in_turn: bool,
        inner: &str,
        seen: &mut Seen,
    ) -> End {
        if let ParallelMode::Race | ParallelMode::Need(_) = mode {
            self.vague("branches race");
        }
        let fork = Seen { exported: BTreeMap::new(), ..seen.clone() };
        let mut done: Vec<(Seen, End)> = Vec::new();
        let mut earlier: Vec<Range<usize>> = Vec::new();
        for (name, steps) in branches {
            let mut own = fork.clone();
            let start = self.reading.ended.len();
            let end = self.scope(*steps, &format!("{inner}[{name}]"), &mut own);
            let range = start..self.reading.ended.len();
            if in_turn {
                self.in_turn(&mut earlier, range);
            }
            let over = matches!(end, End::Over(_));
            let stops = over || matches!(end, End::Failed(_)) && mode == ParallelMode::FailFast;
            done.push((own, end));
            if stops {
                if !in_turn {
                    self.vague("a branch ends while others run");
                }
                break;
            }
        }
        for ((own, end), (_, steps)) in done.iter().zip(branches) {
            for id in self.ids(*steps) {
                if let Some(result) = own.steps.get(&id) {
                    seen.steps.insert(id, result.clone());
                }
            }
            self.merge(own, end, seen);
        }
        if let Some((_, end)) = done.iter().find(|(_, end)| matches!(end, End::Over(_))) {
            return end.clone();
        }
        let faults = done.iter().filter_map(|(_, end)| fault_of(end));
        if let Some(fault) = self.first(faults) {
            return End::Failed(fault);
        }
        let outputs = done
            .into_iter()
            .filter_map(|(_, end)| if let End::Well(output) = end { Some(output) } else { None });
        End::Well(if named {
            object(branches.iter().map(|(name, _)| name.clone()).zip(outputs))
        } else {
            Value::from(outputs.collect::<Vec<_>>())
        })
    }

    pub(super) fn looping(
        &mut self,
        test: &LoopTest,
        max_iterations: u32,
        collect: Option<&Expr>,
        body: ScopeIx,
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let times = match test {
            LoopTest::Times(expr) => {
                Some(self.value(expr, seen)?.as_integer().ok_or_else(|| Fault::new("expr.type"))?)
            }
            LoopTest::While(_) | LoopTest::Until(_) => None,
        };
        let mut items = Vec::new();
        let mut index = 0_i64;
        let mut earlier = Vec::new();
        loop {
            let around = object([
                ("index".to_owned(), Value::Int(index)),
                ("first".to_owned(), Value::Bool(index == 0)),
                ("last".to_owned(), times.map_or(Value::Null, |n| Value::Bool(index + 1 == n))),
            ]);
            let names = seen.names.len();
            seen.names.push(("loop".to_owned(), around));
            let goes_on = match test {
                LoopTest::Times(_) => Ok(times.is_some_and(|times| index < times)),
                LoopTest::While(expr) => self.truth(expr, seen),
                LoopTest::Until(expr) if self.mistake == Some(Mistake::UntilFirst) => {
                    self.truth(expr, seen).map(|ends| !ends)
                }
                LoopTest::Until(_) => Ok(true),
            };
            if !goes_on? {
                break;
            }
            if index == i64::from(max_iterations) {
                return Err(Fault::new("loop.limit"));
            }
            let start = self.reading.ended.len();
            let end = self.scope(body, &format!("{inner}#{index}"), seen);
            self.in_turn(&mut earlier, start..self.reading.ended.len());
            if let End::Failed(_) | End::Over(_) = end {
                return Ok(end);
            }
            if let Some(collect) = collect {
                items.push(self.value(collect, seen)?);
            }
            let ends = match test {
                LoopTest::Until(expr) => self.truth(expr, seen)?,
                LoopTest::Times(_) | LoopTest::While(_) => false,
            };
            seen.names.truncate(names);
            index += 1;
            if ends {
                break;
            }
        }
        let result = [("iterations", Value::Int(index)), ("items", Value::from(items))];
        Ok(with_output(End::Well(Value::Null), result))
    }

    pub(super) fn foreach(
        &mut self,
        foreach: &Foreach,
        inner: &str,
        seen: &mut Seen,
    ) -> Result<End, Fault> {
        let items = entries(&self.value(&foreach.list, seen)?)?;
        let in_turn = foreach.concurrency == 1 || items.len() == 1;
        let tolerated = match foreach.tolerate {
            Tolerate::Count(count) => usize::try_from(count).unwrap(),
            Tolerate::Percent(percent) => items.len() * usize::from(percent) / 100,
        };
        let fork = Seen { exported: BTreeMap::new(), ..seen.clone() };
        let mut done: Vec<(Seen, End)> = Vec::new();
        let mut earlier = Vec::new();
        let mut failed = 0;
        for (index, item) in items.iter().enumerate() {
            let mut own = fork.clone();
            own.names.push((foreach.item.clone(), item.clone()));
            if let Some(name) = &foreach.index {
                own.names.push((name.clone(), Value::Int(i64::try_from(index).unwrap())));
            }
            let start = self.reading.ended.len();
            let mut end = self.scope(foreach.body, &format!("{inner}#{index}"), &mut own);
            if in_turn {
                self.in_turn(&mut earlier, start..self.reading.ended.len());
            }
            if let (End::Well(_), Some(collect)) = (&end, &foreach.collect) {
                end = self.value(collect, &own).map_or_else(End::Failed, End::Well);
            }
            failed += usize::from(matches!(end, End::Failed(_)));
            let over = matches!(end, End::Over(_));
            done.push((own, end));
            if over || foreach.fail_fast && failed > tolerated {
                if !in_turn {
                    self.vague("an iteration ends while others run");
                }
                break;
            }
        }
        for (own, end) in &done {
            self.merge(own, end, seen);
        }
        if let Some((_, end)) = done.iter().find(|(_, end)| matches!(end, End::Over(_))) {
            return Ok(end.clone());
        }
        if failed > tolerated {
            let faults = done.iter().filter_map(|(_, end)| fault_of(end));
            return Err(self.first(faults).unwrap());
        }
        let items: Vec<Value> = done
            .into_iter()
            .map(|(_, end)| if let End::Well(output) = end { output } else { Value::Null })
            .collect();
        let failed = Value::Int(i64::try_from(failed).unwrap());
        let result = [("items", Value::from(items)), ("failed", failed)];
        Ok(with_output(End::Well(Value::Null), result))
    }

    pub(super) fn try_catch(
        &mut self,
        body: ScopeIx,
        catches: &[Catch],
        finally: Option<ScopeIx>,
        inner: &str,
        seen: &mut Seen,
    ) -> End {
        let mut earlier = Vec::new();
        let start = self.reading.ended.len();
        let mut end = self.scope(body, inner, seen);
        self.in_turn(&mut earlier, start..self.reading.ended.len());
        if let End::Failed(fault) = &end {
            let catch = catches.iter().find(|catch| {
                let mut offered = seen.clone();
                offered.names.push((catch.name.clone(), error_value(fault)));
                let named = if catch.errors.is_empty() {
                    is_for("*", &fault.code)
                } else {
                    catch.errors.iter().any(|pattern| is_for(pattern, &fault.code))
                };
                let when = catch.when.as_ref();
                named && when.is_none_or(|when| self.truth(when, &offered) == Ok(true))
            });
            if let Some(catch) = catch {
                let names = seen.names.len();
                seen.names.push((catch.name.clone(), error_value(fault)));
                let start = self.reading.ended.len();
                end = self.scope(catch.body, &format!("{inner}[catch]"), seen);
                self.in_turn(&mut earlier, start..self.reading.ended.len());
                seen.names.truncate(names);
            }
        }
        let spared =
            self.mistake == Some(Mistake::FinallyOnlyIfWell) && !matches!(end, End::Well(_));
        if let (Some(finally), false) = (finally, spared) {
            let start = self.reading.ended.len();
            let last = self.scope(finally, &format!("{inner}[finally]"), seen);
            self.in_turn(&mut earlier, start..self.reading.ended.len());
            if let End::Failed(_) = last {
                match end {
                    End::Well(_) => end = last,
                    End::Failed(_) => {}
                    End::Over(_) => self.vague("`finally` fails after `succeed`"),
                }
            }
        }
        end
    }

    pub(super) fn saga(
        &mut self,
        body: ScopeIx,
        on_failed: bool,
        inner: &str,
        seen: &mut Seen,
    ) -> End {
        self.sagas.push(Vec::new());
        let end = self.scope(body, inner, seen);
        if matches!(end, End::Failed(_)) && on_failed {
            self.undo(seen);
        }
        self.sagas.pop();
        end
    }

    /// Undoes what the innermost unit has done, latest first. What fails
    /// in it does not keep the rest from being undone.
    pub(super) fn undo(&mut self, seen: &Seen) {
        let mut undone: Vec<(usize, Range<usize>)> = Vec::new();
        let mut registered = std::mem::take(self.sagas.last_mut().unwrap());
        if self.mistake != Some(Mistake::UndoneForwards) {
            registered.reverse();
        }
        for undo in registered {
            let mut own = seen.clone();
            own.names.push(("output".to_owned(), undo.output));
            let start = self.reading.ended.len();
            self.scope(undo.steps, &undo.prefix, &mut own);
            let range = start..self.reading.ended.len();
            for (at, earlier) in &undone {
                // Only where the steps themselves had an order.
                let (first, second) = (undo.at.min(*at), undo.at.max(*at));
                let ordered = |pair: &(Range<usize>, Range<usize>)| {
                    pair.0.contains(&first) && pair.1.contains(&second)
                };
                if self.reading.before.iter().any(ordered) {
                    self.reading.before.push((earlier.clone(), range.clone()));
                }
            }
            undone.push((undo.at, range));
        }
    }
}

/// What a composite gives in place of its scope's output.
fn with_output<const N: usize>(end: End, fields: [(&str, Value); N]) -> End {
    match end {
        End::Well(_) => End::Well(object(fields.map(|(name, value)| (name.to_owned(), value)))),
        End::Failed(_) | End::Over(_) => end,
    }
}

fn fault_of(end: &End) -> Option<&Fault> {
    if let End::Failed(fault) = end { Some(fault) } else { None }
}
