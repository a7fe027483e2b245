//! What a step does: one reader for each kind.

use super::Draft;
use super::fields::Fields;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::Node;
use super::values::whole_expression;
use crate::definition::graph::Target;
use crate::definition::model::{
    DelayFor, EdgeKind, LoopTest, ParallelMode, PluginCall, ScopeIx, StepIx, StepKind,
};
use crate::expr::{Expr, Template};
use crate::id::PluginName;
use crate::limits;

/// Where a step being read stands.
pub(super) struct Around<'s, 'a> {
    /// Its own keys, for kinds with parts beside the kind key.
    pub(super) fields: &'s mut Fields<'a>,
    pub(super) step: StepIx,
    /// How deep the scope is that it is in.
    pub(super) depth: usize,
    /// Gets the edges that `then` and `else` name.
    pub(super) targets: &'s mut Vec<Target>,
}

/// One way out of a condition: edges to ids, or a scope of its own.
enum Way {
    Edges,
    Scope(ScopeIx),
}

impl Draft {
    /// Reads the details of a kind. In the authoring form `head` is the kind key's value and parts
    /// stand beside it; in the canonical form `head` is `config`, with the parts inside.
    pub(super) fn kind(
        &mut self,
        key: &str,
        head: &Node,
        canonical: bool,
        around: Around<'_, '_>,
    ) -> Option<StepKind> {
        match key {
            "plugin" | "condition" if canonical => {
                let mut config = Fields::of(head, "`config`", &mut self.problems)?;
                let around = Around { fields: &mut config, ..around };
                let kind = if key == "plugin" {
                    let head = around.fields.need("plugin", "plugin: name@^1", &mut self.problems);
                    head.and_then(|head| self.plugin(head, around.fields))
                } else {
                    let head =
                        around.fields.need("condition", "condition: a > b", &mut self.problems);
                    head.and_then(|head| self.condition(head, around))
                };
                config.finish(&[], &mut self.problems);
                kind
            }
            "plugin" => self.plugin(head, around.fields),
            "condition" => self.condition(head, around),
            "set" => self.set(head),
            "delay" => self.delay(head),
            "parallel" => self.parallel(head, around),
            _ => self.repeat(head, around),
        }
    }

    fn plugin(&mut self, head: &Node, parts: &mut Fields<'_>) -> Option<StepKind> {
        let reference = self.text(head, "plugin");
        let call = reference.and_then(|text| match reference_parts(&text) {
            Ok(parts) => Some(parts),
            Err((code, message)) => {
                self.problems.suggest(code, head.at, message, "write `name.action@^1.2`");
                None
            }
        });
        let with = match parts.take_set("with") {
            None => Template::compile(&serde_json::json!({})).ok(),
            Some(node) if node.map().is_none() && whole_text(node).is_none() => {
                self.wrong_type(node, "with", "a map of the plugin's inputs")
            }
            Some(node) => self.template(node),
        };
        let (plugin, action, range) = call?;
        Some(StepKind::Plugin(PluginCall { plugin, action, range, with: with? }))
    }

    fn condition(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let expr = self.expr(head, "condition");
        let Around { fields, step, depth, targets } = around;
        let mut way = |draft: &mut Self, key: &'static str, edge: EdgeKind| {
            let node = fields.take_set(key)?;
            Some(draft.way(node, key, step, depth, edge, targets))
        };
        let then = way(self, "then", EdgeKind::Then);
        let otherwise = way(self, "else", EdgeKind::Else);
        let gate = then.is_none() && otherwise.is_none();
        let scope = |way: Option<Option<Way>>| match way {
            None | Some(Some(Way::Edges)) => Some(None),
            Some(Some(Way::Scope(scope))) => Some(Some(scope)),
            Some(None) => None,
        };
        let (then, otherwise) = (scope(then)?, scope(otherwise)?);
        Some(StepKind::Condition { expr: expr?, then, otherwise, gate })
    }

    fn way(
        &mut self,
        node: &Node,
        key: &str,
        step: StepIx,
        depth: usize,
        edge: EdgeKind,
        targets: &mut Vec<Target>,
    ) -> Option<Way> {
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        let inline = items.iter().filter(|item| item.map().is_some()).count();
        if node.map().is_some() || items.is_empty() || inline == items.len() {
            return self.scope(node, &format!("`{key}`"), Some(step), depth + 1).map(Way::Scope);
        }
        if inline > 0 {
            let message = format!("`{key}` mixes ids and steps; it holds either");
            self.problems.add(ProblemCode::Type, node.at, message);
            return None;
        }
        for item in items {
            let to = self.text(item, key)?;
            targets.push(Target { at: item.at, to, kind: edge.clone() });
        }
        Some(Way::Edges)
    }

    fn set(&mut self, head: &Node) -> Option<StepKind> {
        let assigned = self.assignments(head, "set");
        if head.map().is_some_and(<[_]>::is_empty) {
            self.problems.add(ProblemCode::Value, head.at, "`set` sets no variable");
            return None;
        }
        Some(StepKind::Set(assigned))
    }

    fn delay(&mut self, head: &Node) -> Option<StepKind> {
        if head.map().is_none() {
            return self.delay_for(head, "delay").map(StepKind::Delay);
        }
        let mut fields = Fields::of(head, "`delay`", &mut self.problems)?;
        let node = if fields.has("until") {
            None
        } else {
            fields.need("for", "for: 5m", &mut self.problems)
        };
        let delay = node.and_then(|node| self.delay_for(node, "for"));
        fields.finish(&["until", "count_downtime", "require"], &mut self.problems);
        delay.map(StepKind::Delay)
    }

    fn delay_for(&mut self, node: &Node, key: &str) -> Option<DelayFor> {
        let text = node.text().unwrap_or_default();
        if !text.contains("${") {
            return self.duration(node, key).map(DelayFor::Fixed);
        }
        let Some(source) = whole_expression(text) else {
            let message = format!("`{key}` must be a duration or exactly one `${{ }}`");
            let suggestion = "join texts inside it: `${ string(vars.n) + 'm' }`";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
            return None;
        };
        // The template's own compiler says what is wrong, with its place.
        self.template(node)?;
        Expr::compile(source).ok().map(DelayFor::Computed)
    }

    fn parallel(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`parallel`", &mut self.problems)?;
        let example = "branches: {one: [...], two: [...]}";
        let branches = fields.need("branches", example, &mut self.problems);
        let branches = branches.and_then(|node| self.branches(node, &around));
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

    fn repeat(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let mut fields = Fields::of(head, "`loop`", &mut self.problems)?;
        let test = self.loop_test(&mut fields);
        let most = limits::SETTLED_STEPS;
        let bound = fields.take_set("max_iterations");
        let bound = bound.map(|node| self.whole(node, "max_iterations", 1..=most));
        let collect = fields.take_set("collect").map(|node| self.expr(node, "collect"));
        let body = match fields.take("do") {
            Some(node) => Some(node),
            None => around.fields.need("do", "do: [...]", &mut self.problems),
        };
        let body =
            body.and_then(|node| self.scope(node, "`do`", Some(around.step), around.depth + 1));
        fields.finish(&["every"], &mut self.problems);
        let (test, times) = test?;
        Some(StepKind::Loop {
            test,
            // A number that is written out is a bound already.
            max_iterations: bound.unwrap_or(Some(limits::LOOP_ITERATIONS.max(times)))?,
            collect: match collect {
                Some(expr) => Some(expr?),
                None => None,
            },
            body: body?,
        })
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
        match key {
            "while" => Some((LoopTest::While(self.expr(node, key)?), 0)),
            "until" => Some((LoopTest::Until(self.expr(node, key)?), 0)),
            _ if node.scalar().is_some_and(|scalar| scalar.value.is_number()) => {
                let times = self.whole(node, key, 0..=limits::SETTLED_STEPS)?;
                Some((LoopTest::Times(Expr::compile(&times.to_string()).ok()?), times))
            }
            _ => Some((LoopTest::Times(self.expr(node, key)?), 0)),
        }
    }
}

/// The expression of a text that is exactly one `${ }`.
fn whole_text(node: &Node) -> Option<&str> {
    whole_expression(node.text()?)
}

/// Takes `name[.action][@range]` apart.
fn reference_parts(
    text: &str,
) -> Result<(PluginName, String, semver::VersionReq), (ProblemCode, String)> {
    if text.contains("${") {
        let message = "which plugin is called must be known before the workflow runs".to_owned();
        return Err((ProblemCode::Value, message));
    }
    let (target, range) = match text.split_once('@') {
        Some((target, range)) => (target, range.trim()),
        None => (text, "*"),
    };
    let (name, action) = target.split_once('.').unwrap_or((target, "execute"));
    let plugin =
        PluginName::parse(name.trim()).map_err(|error| (ProblemCode::Name, error.to_string()))?;
    let action = action.trim();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if action.is_empty() || action.len() > limits::ID_BYTES || !action.bytes().all(plain) {
        let message = format!(
            "`{}` is no name for an action: use letters, digits, dashes and underscores",
            excerpt(action)
        );
        return Err((ProblemCode::Name, message));
    }
    let range = semver::VersionReq::parse(range).map_err(|error| {
        (ProblemCode::Value, format!("`{}` is no range of versions: {error}", excerpt(range)))
    })?;
    Ok((plugin, action.to_owned(), range))
}
