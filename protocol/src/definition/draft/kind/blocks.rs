//! Kinds with scopes of their own: parallel, loop, foreach, try, sequence.

use super::Around;
use crate::definition::draft::Draft;
use crate::definition::draft::fields::Fields;
use crate::definition::draft::names::Giver;
use crate::definition::draft::problem::ProblemCode;
use crate::definition::draft::read::excerpt;
use crate::definition::draft::tree::{Node, Tree};
use crate::definition::draft::values::written;
use crate::definition::model::{
    Catch, Compensation, Foreach, LoopTest, ParallelMode, ScopeIx, StepIx, StepKind, Tolerate,
};
use crate::expr::Expr;
use crate::limits;

impl Draft {
    pub(super) fn parallel(&mut self, head: &Node, around: &Around<'_, '_>) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`parallel`", &mut self.problems)?;
        let example = "branches: {one: [...], two: [...]}";
        let branches = fields.need("branches", example, &mut self.problems);
        let branches = branches.and_then(|node| self.branches(node, around));
        let mode = fields.take_set("mode").map(|node| (node, self.parallel_mode(node)));
        let need = fields.take_set("need").map(|node| (node, self.whole(node, "need", 1..=64)));
        let concurrency = fields.take_set("concurrency");
        let concurrency = concurrency.map(|node| self.whole(node, "concurrency", 1..=64));
        fields.finish(&[], &mut self.problems);
        let (named, branches) = branches?;
        let mode = match (mode, need) {
            (Some(_), Some((node, _))) => {
                let message = "`need` is a mode of its own; give `mode` or `need`, not both";
                self.problems.add(ProblemCode::Value, node.at, message);
                return None;
            }
            (Some((_, mode)), None) => mode?,
            (None, Some((node, need))) => {
                let need = need?;
                if need as usize > branches.len() {
                    let message = format!("`need` is {need}, but there are {}", branches.len());
                    self.problems.add(ProblemCode::Value, node.at, message + " branches");
                    return None;
                }
                ParallelMode::Need(u16::try_from(need).ok()?)
            }
            (None, None) => ParallelMode::FailFast,
        };
        let concurrency = match concurrency {
            Some(most) => Some(u16::try_from(most?).ok()?),
            None => None,
        };
        Some(StepKind::Parallel { mode, branches, named, concurrency })
    }

    fn parallel_mode(&mut self, node: &Node) -> Option<ParallelMode> {
        let words = ["fail_fast", "wait_all", "race"];
        self.choice::<String>(node, "mode", &words).map(|word| match word.as_str() {
            "wait_all" => ParallelMode::WaitAll,
            "race" => ParallelMode::Race,
            _ => ParallelMode::FailFast,
        })
    }

    /// Reads branches: whether they are named, and each name with its scope.
    fn branches(
        &mut self,
        node: &Node,
        around: &Around<'_, '_>,
    ) -> Option<(bool, Vec<(String, ScopeIx)>)> {
        let named = node.map().is_some();
        let written: Vec<(String, &Node)> = match (node.map(), node.list()) {
            (Some(entries), _) => entries.iter().map(|e| (e.key.clone(), &e.value)).collect(),
            (None, Some(items)) => {
                items.iter().enumerate().map(|(n, item)| (n.to_string(), item)).collect()
            }
            (None, None) => {
                return self.wrong_type(node, "branches", "a map or list of lists of steps");
            }
        };
        if written.is_empty() || written.len() > limits::PARALLEL_BRANCHES {
            let most = limits::PARALLEL_BRANCHES;
            let message = format!("`parallel` takes 1 to {most} branches, not {}", written.len());
            self.problems.add(ProblemCode::Limit, node.at, message);
            return None;
        }
        for entry in node.map().unwrap_or_default() {
            self.variable_name("a branch", &entry.key, entry.at);
        }
        let mut branches = Vec::new();
        for (name, node) in &written {
            let what = format!("branch `{}`", excerpt(name));
            let scope = self.scope(node, &what, Some(around.step), around.depth + 1);
            branches.extend(scope.map(|scope| (name.clone(), scope)));
        }
        (branches.len() == written.len()).then_some((named, branches))
    }

    pub(super) fn repeat(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`loop`", &mut self.problems)?;
        let most = limits::SETTLED_STEPS;
        let bound = fields.take_set("max_iterations");
        let bound = bound.map(|node| self.whole(node, "max_iterations", 1..=most));
        let every = fields.take_set("every").map(|node| self.bound(node, "every"));
        let test = self.loop_test(&mut fields);
        let (collect, body) = self.seeing(Giver::Place, &["loop"], |draft| {
            let collect = fields.take_set("collect").map(|node| draft.expr(node, "collect"));
            (collect, draft.body(&mut fields, around))
        });
        fields.finish(&[], &mut self.problems);
        let (test, times) = test?;
        Some(StepKind::Loop {
            test,
            // A number that is written out is a bound already.
            max_iterations: bound.unwrap_or(Some(limits::LOOP_ITERATIONS.max(times)))?,
            every_ms: written(every)?,
            collect: written(collect)?,
            body: body?,
        })
    }

    /// The steps that are repeated: `do`, inside the kind's map or beside it.
    fn body(&mut self, fields: &mut Fields<'_>, around: Around<'_, '_>) -> Option<ScopeIx> {
        let node = match fields.take("do") {
            Some(node) => Some(node),
            None => around.fields.need("do", "do: [...]", &mut self.problems),
        };
        node.and_then(|node| self.scope(node, "`do`", Some(around.step), around.depth + 1))
    }

    /// What ends a loop, and the number of iterations where that is written out.
    fn loop_test(&mut self, fields: &mut Fields<'_>) -> Option<(LoopTest, u32)> {
        let keys = ["while", "until", "times"];
        let at = fields.at;
        let mut given: Vec<(&str, &Node)> =
            keys.iter().filter_map(|key| Some((*key, fields.take_set(key)?))).collect();
        let (Some((key, node)), true) = (given.pop(), given.is_empty()) else {
            let message = "`loop` needs exactly one of `while`, `until` and `times`";
            self.problems.add(ProblemCode::MissingKey, at, message);
            return None;
        };
        let asked =
            |draft: &mut Self| draft.seeing(Giver::Place, &["loop"], |draft| draft.expr(node, key));
        match key {
            "while" => Some((LoopTest::While(asked(self)?), 0)),
            "until" => Some((LoopTest::Until(asked(self)?), 0)),
            _ if node.scalar().is_some_and(|scalar| scalar.value.is_number()) => {
                let times = self.whole(node, key, 0..=limits::SETTLED_STEPS)?;
                Some((LoopTest::Times(Expr::compile(&times.to_string()).ok()?), times))
            }
            _ => Some((LoopTest::Times(self.expr(node, key)?), 0)),
        }
    }

    pub(super) fn foreach(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        // What is gone through may stand alone.
        let nothing = Node { at: head.at, tree: Tree::Map(Vec::new()) };
        let details = if head.map().is_some() { head } else { &nothing };
        let mut fields = Fields::of(details, "`foreach`", &mut self.problems)?;
        let list = match head.map() {
            Some(_) => fields.need("in", "in: inputs.list", &mut self.problems),
            None => Some(head),
        };
        let list = list.and_then(|node| self.list(node));
        let item = fields.take_set("as").map(|node| self.bound_name(node, "an item", "as"));
        let item = item.unwrap_or_else(|| Some("item".to_owned()));
        let index_node = fields.take_set("index");
        let index = index_node.map(|node| self.bound_name(node, "an index", "index"));
        if let (Some(node), Some(Some(index)), Some(item)) = (index_node, &index, &item)
            && index == item
        {
            let message = format!("`{item}` is the name of the item already");
            self.problems.suggest(ProblemCode::Name, node.at, message, "give `index` another name");
        }
        let most = limits::FOREACH_CONCURRENCY;
        let concurrency = fields.take_set("concurrency");
        let concurrency = concurrency.map(|node| self.whole(node, "concurrency", 1..=most));
        let mode = fields.take_set("mode");
        let mode = mode.map(|node| self.choice::<String>(node, "mode", &["fail_fast", "wait_all"]));
        let tolerate = fields.take_set("tolerate").map(|node| self.tolerate(node));
        let index = written(index)?;
        let names: Vec<&str> = index.iter().chain(&item).map(String::as_str).collect();
        let (collect, body) = self.seeing_items(around.step, &names, |draft| {
            let collect = fields.take_set("collect").map(|node| draft.expr(node, "collect"));
            (collect, draft.body(&mut fields, around))
        });
        fields.finish(&[], &mut self.problems);
        Some(StepKind::Foreach(Foreach {
            list: list?,
            item: item?,
            index,
            concurrency: u16::try_from(concurrency.unwrap_or(Some(1))?).ok()?,
            fail_fast: written(mode)?.is_none_or(|word| word == "fail_fast"),
            tolerate: tolerate.unwrap_or(Some(Tolerate::Count(0)))?,
            collect: written(collect)?,
            body: body?,
        }))
    }

    /// What is gone through: an expression, or a list or map that is written out.
    fn list(&mut self, node: &Node) -> Option<Expr> {
        if node.scalar().is_some() {
            return self.expr(node, "in");
        }
        let source = node.json().to_string();
        if source.contains("${") {
            let message = "`in` is an expression; a list that is written out has plain values only";
            let suggestion = "write it as an expression, such as `in: '[inputs.a, 2]'`";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
            return None;
        }
        match Expr::compile(&source) {
            Ok(expr) => Some(expr),
            Err(error) => {
                let message = format!("`in` cannot hold this list: {}", error.message);
                let suggestion = "put it under `vars` and write `in: vars.some_list`";
                self.problems.suggest(ProblemCode::Expr, node.at, message, suggestion);
                None
            }
        }
    }

    /// A number of failures, or a share of them such as `10%`.
    fn tolerate(&mut self, node: &Node) -> Option<Tolerate> {
        let percent = node.text().and_then(|text| text.trim().strip_suffix('%'));
        let Some(percent) = percent else {
            let most = u32::try_from(limits::FOREACH_ITEMS).unwrap_or(u32::MAX);
            return self.whole(node, "tolerate", 0..=most).map(Tolerate::Count);
        };
        let percent = percent.trim().parse().ok().filter(|percent| *percent <= 100);
        if percent.is_none() {
            let message = "`tolerate` must be a number of items, or 0% to 100% of them";
            self.problems.add(ProblemCode::Value, node.at, message);
        }
        percent.map(Tolerate::Percent)
    }

    /// `try`.
    pub(super) fn attempt(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let Around { fields, step, depth, .. } = around;
        let body = self.scope(head, "`try`", Some(step), depth + 1);
        let catch = fields.take_set("catch");
        let catches = catch.map(|node| self.catches(node, step, depth));
        let finally = fields.take_set("finally");
        let is_useful = catch.is_some() || finally.is_some();
        let finally = finally.map(|node| self.scope(node, "`finally`", Some(step), depth + 1));
        let timeout = self.finally_timeout(fields.take_set("finally_timeout"), finally.is_some());
        if !is_useful {
            let message = "a `try` without `catch` and `finally` does nothing of its own";
            let suggestion = "add one of them, or use `sequence`";
            self.problems.suggest(ProblemCode::MissingKey, head.at, message, suggestion);
        }
        Some(StepKind::Try {
            body: body?,
            catches: written(catches)?.unwrap_or_default(),
            finally: written(finally)?,
            finally_timeout_ms: timeout?,
        })
    }

    /// A list of `catch`es; a single one is a list of one.
    fn catches(&mut self, node: &Node, step: StepIx, depth: usize) -> Option<Vec<Catch>> {
        let items = match node.map() {
            Some(_) => std::slice::from_ref(node),
            None => self.items(node, "catch", "a list of maps with `do`", limits::CASES)?,
        };
        let read: Vec<Option<Catch>> =
            items.iter().map(|item| self.catch(item, step, depth)).collect();
        read.into_iter().collect()
    }

    fn catch(&mut self, node: &Node, step: StepIx, depth: usize) -> Option<Catch> {
        let mut fields = Fields::of(node, "a `catch`", &mut self.problems)?;
        let errors = fields.take_set("errors").map(|node| self.patterns(node, "errors"));
        let name = fields.take_set("as");
        // Its own name may be said as well.
        let name = name.filter(|node| node.text() != Some("error"));
        let name = name.map(|node| self.bound_name(node, "an error", "as"));
        let name = name.unwrap_or_else(|| Some("error".to_owned()));
        let names: Vec<&str> = name.iter().map(String::as_str).collect();
        let (when, body) = self.seeing(Giver::Catch, &names, |draft| {
            let when = fields.take_set("when").map(|node| draft.expr(node, "when"));
            let body = fields.need("do", "do: [...]", &mut draft.problems);
            let body = body.and_then(|node| draft.scope(node, "`do`", Some(step), depth + 1));
            (when, body)
        });
        fields.finish(&[], &mut self.problems);
        Some(Catch {
            errors: errors.unwrap_or(Some(Vec::new()))?,
            when: written(when)?,
            name: name?,
            body: body?,
        })
    }

    pub(super) fn sequence(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let Around { fields, step, depth, .. } = around;
        let beside = fields.take_set("compensation");
        let (steps, inside) = match head.map() {
            None => (Some(head), None),
            Some(_) => {
                let mut fields = Fields::of(head, "`sequence`", &mut self.problems)?;
                let steps = fields.need("steps", "steps: [...]", &mut self.problems);
                let inside = fields.take_set("compensation");
                fields.finish(&[], &mut self.problems);
                (steps, inside)
            }
        };
        let body = steps.and_then(|node| self.scope(node, "`sequence`", Some(step), depth + 1));
        let compensation = inside.or(beside).map(|node| self.compensation(node));
        Some(StepKind::Sequence { body: body?, compensation: written(compensation)? })
    }

    /// When compensations run.
    pub(in crate::definition::draft) fn compensation(
        &mut self,
        node: &Node,
    ) -> Option<Compensation> {
        let mut fields = Fields::of(node, "`compensation`", &mut self.problems)?;
        let ends = fields.take_set("run_on").map(|node| {
            let items = node.list().unwrap_or(std::slice::from_ref(node));
            let words = ["failed", "cancelled"];
            let read = items.iter().map(|item| self.choice::<String>(item, "run_on", &words));
            read.collect::<Vec<_>>().into_iter().collect::<Option<Vec<String>>>()
        });
        fields.finish(&[], &mut self.problems);
        let Some(ends) = written(ends)? else { return Some(Compensation::default()) };
        let has = |word: &str| ends.iter().any(|end| end == word);
        Some(Compensation { on_failed: has("failed"), on_cancelled: has("cancelled") })
    }
}
