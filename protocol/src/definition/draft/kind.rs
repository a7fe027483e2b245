//! What a step does: one reader for each kind.

mod blocks;
mod outside;

use serde_json::json;

use super::Draft;
use super::fields::Fields;
use super::problem::ProblemCode;
use super::read::excerpt;
use super::tree::{Node, Scalar, Tree};
use super::values::whole_expression;
use crate::definition::graph::Target;
use crate::definition::model::{
    Case, CaseTest, CountDowntime, Delay, DelayFor, EdgeKind, PluginCall, ScopeIx, StepIx, StepKind,
};
use crate::expr::{Expr, Timestamp};
use crate::id::PluginName;
use crate::limits;
use crate::ordered::VecSet;

/// Where a step being read stands.
pub(super) struct Around<'s, 'a> {
    /// Its own keys, for kinds with parts beside the kind key.
    pub(super) fields: &'s mut Fields<'a>,
    pub(super) step: StepIx,
    /// How deep the scope is that it is in.
    pub(super) depth: usize,
    /// Gets the edges to steps that its ways out name.
    pub(super) targets: &'s mut Vec<Target>,
}

/// One way out of a condition or switch: edges to ids, or a scope of its own.
enum Way {
    Edges,
    Scope(ScopeIx),
}

impl Way {
    fn scope(self) -> Option<ScopeIx> {
        match self {
            Self::Edges => None,
            Self::Scope(scope) => Some(scope),
        }
    }
}

/// The kinds that have parts beside the kind key, so that their canonical `config` names them
/// again, each with an example.
const HEADS: [(&str, &str); 5] = [
    ("plugin", "plugin: name@^1"),
    ("condition", "condition: a > b"),
    ("switch", "switch: a"),
    ("try", "try: [...]"),
    ("call", "call: some-workflow"),
];

impl Draft {
    /// Reads the details of a kind. In the authoring form `head` is the kind key's value and parts
    /// stand beside it; in the canonical form `head` is `config`, with the parts inside.
    pub(super) fn kind(
        &mut self,
        key: &'static str,
        head: &Node,
        canonical: bool,
        around: Around<'_, '_>,
    ) -> Option<StepKind> {
        let example = HEADS.iter().find(|(kind, _)| *kind == key).filter(|_| canonical);
        let Some((_, example)) = example else { return self.details(key, head, around) };
        let mut config = Fields::of(head, "`config`", &mut self.problems)?;
        let nothing = Node { at: head.at, tree: Tree::Scalar(Scalar::null()) };
        let head = match key {
            // A switch may be without a subject.
            "switch" => config.take(key).or(Some(&nothing)),
            _ => config.need(key, example, &mut self.problems),
        };
        let around = Around { fields: &mut config, ..around };
        let kind = self.details(key, head?, around);
        config.finish(&[], &mut self.problems);
        kind
    }

    fn details(&mut self, key: &str, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        match key {
            "plugin" => self.plugin(head, around.fields),
            "condition" => self.condition(head, around),
            "switch" => self.switch(head, around),
            "set" => self.set(head),
            "delay" => self.delay(head),
            "parallel" => self.parallel(head, &around),
            "loop" => self.repeat(head, around),
            "foreach" => self.foreach(head, around),
            "try" => self.attempt(head, around),
            "sequence" => self.sequence(head, around),
            "wait" => self.wait(head),
            "call" => self.call(head, around.fields),
            "publish" => self.publish(head),
            "emit" => self.emit(head),
            "approval" => self.approval(head),
            "log" => self.log(head),
            "succeed" => self.succeed(head),
            _ => self.fail(head),
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
        self.secrets_pass = true;
        let with =
            self.map_template(parts.take_set("with"), "with", "a map of the plugin's inputs");
        self.secrets_pass = false;
        let (plugin, action, range) = call?;
        Some(StepKind::Plugin(PluginCall { plugin, action, range, with: with? }))
    }

    fn condition(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let expr = self.expr(head, "condition");
        let Around { fields, step, depth, targets } = around;
        let mut way = |draft: &mut Self, key: &'static str, edge: EdgeKind| {
            let node = fields.take_set(key)?;
            Some(draft.way(node, key, step, depth, &edge, targets))
        };
        let then = way(self, "then", EdgeKind::Then);
        let otherwise = way(self, "else", EdgeKind::Else);
        let gate = then.is_none() && otherwise.is_none();
        let scope = |way: Option<Option<Way>>| match way {
            None => Some(None),
            Some(way) => Some(way?.scope()),
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
        edge: &EdgeKind,
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

    fn switch(&mut self, head: &Node, around: Around<'_, '_>) -> Option<StepKind> {
        let subject = (!head.is_null()).then(|| self.expr(head, "switch"));
        let Around { fields, step, depth, targets } = around;
        let example = "cases: [{case: a, do: [...]}]";
        let cases = fields.need("cases", example, &mut self.problems);
        let cases = cases.and_then(|node| {
            let items = self.items(node, "cases", "a list of cases", limits::CASES)?;
            let read = |(n, item)| self.case(item, n, subject.is_some(), step, depth, targets);
            let cases: Vec<Option<Case>> = items.iter().enumerate().map(read).collect();
            self.cases_differ(items, &cases);
            cases.into_iter().collect::<Option<Vec<Case>>>()
        });
        let default = fields
            .take_set("default")
            .map(|node| self.way(node, "default", step, depth, &EdgeKind::Case(None), targets));
        let subject = match subject {
            Some(expr) => Some(expr?),
            None => None,
        };
        let has_default = default.is_some();
        let default = match default {
            Some(way) => way?.scope(),
            None => None,
        };
        Some(StepKind::Switch { subject, cases: cases?, default, has_default })
    }

    /// Notes cases of which an earlier one takes everything.
    fn cases_differ(&mut self, items: &[Node], cases: &[Option<Case>]) {
        let mut seen = VecSet::new();
        for (item, case) in items.iter().zip(cases) {
            let Some(Case { test: CaseTest::Is(value), .. }) = case else { continue };
            if value.is_literal() && !seen.insert(value.source().to_string()) {
                let message = "an earlier case is for the same value, so that this is never taken";
                self.problems.suggest(ProblemCode::Value, item.at, message, "remove it");
            }
        }
    }

    fn case(
        &mut self,
        node: &Node,
        n: usize,
        has_subject: bool,
        step: StepIx,
        depth: usize,
        targets: &mut Vec<Target>,
    ) -> Option<Case> {
        let mut fields = Fields::of(node, "a case", &mut self.problems)?;
        let test = match (fields.take("case"), fields.take_set("when")) {
            (Some(value), None) if has_subject => self.template(value, "case").map(CaseTest::Is),
            (Some(value), None) => {
                let message = "`case` compares with what `switch` says, and this one says nothing";
                let suggestion = "write an expression after `switch:`, or `when` in the case";
                self.problems.suggest(ProblemCode::Value, value.at, message, suggestion);
                None
            }
            (None, Some(node)) => self.expr(node, "when").map(CaseTest::When),
            _ => {
                let message = "a case needs exactly one of `case` and `when`";
                self.problems.add(ProblemCode::MissingKey, node.at, message);
                None
            }
        };
        let body = fields.need("do", "do: [...]", &mut self.problems).and_then(|node| {
            let edge = EdgeKind::Case(Some(u16::try_from(n).ok()?));
            self.way(node, "do", step, depth, &edge, targets)
        });
        fields.finish(&[], &mut self.problems);
        Some(Case { test: test?, body: body?.scope() })
    }

    /// A list of one to so many things.
    pub(super) fn items<'n>(
        &mut self,
        node: &'n Node,
        key: &str,
        what: &str,
        most: usize,
    ) -> Option<&'n [Node]> {
        let Some(items) = node.list() else { return self.wrong_type(node, key, what) };
        if items.is_empty() || items.len() > most {
            let message = format!("`{key}` takes 1 to {most}, not {}", items.len());
            self.problems.add(ProblemCode::Limit, node.at, message);
            return None;
        }
        Some(items)
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
            let length = self.delay_for(head, "delay")?;
            return Some(StepKind::Delay(Delay { length, count_downtime: CountDowntime::Auto }));
        }
        let mut fields = Fields::of(head, "`delay`", &mut self.problems)?;
        let until = fields.take_set("until");
        let length = match until {
            Some(node) => self.delay_until(node, &mut fields),
            None => {
                let node = fields.need("for", "for: 5m", &mut self.problems);
                node.and_then(|node| self.delay_for(node, "for"))
            }
        };
        if until.is_some() {
            self.misplaced(&mut fields, &["for"], "`until` says when already");
            let reason = "a point in time comes when it comes, with power or without";
            self.misplaced(&mut fields, &["count_downtime"], reason);
        } else {
            self.misplaced(&mut fields, &["require"], "only `until` asks for the clock");
        }
        let count = fields.take_set("count_downtime");
        let words = ["auto", "always", "never"];
        let count = count.map(|node| self.choice(node, "count_downtime", &words));
        fields.finish(&[], &mut self.problems);
        let count_downtime = count.unwrap_or(Some(CountDowntime::default()));
        Some(StepKind::Delay(Delay { length: length?, count_downtime: count_downtime? }))
    }

    /// Keys that belong to another form of the same kind.
    pub(super) fn misplaced(
        &mut self,
        fields: &mut Fields<'_>,
        keys: &[&'static str],
        reason: &str,
    ) {
        for key in keys {
            if let Some(node) = fields.take_set(key) {
                let message = format!("`{key}` says nothing here: {reason}");
                self.problems.suggest(ProblemCode::Value, node.at, message, "remove it");
            }
        }
    }

    /// Until when: an expression, or a point in time as it is written in RFC 3339.
    fn delay_until(&mut self, node: &Node, fields: &mut Fields<'_>) -> Option<DelayFor> {
        let written = node.text().filter(|text| Timestamp::from_rfc3339(text).is_some());
        let written =
            written.and_then(|text| Expr::compile(&format!("timestamp({})", json!(text))).ok());
        let is_date = |text: &str| {
            let year = text.split_once('-').map(|(year, _)| year.as_bytes());
            year.is_some_and(|year| year.len() == 4 && year.iter().all(u8::is_ascii_digit))
        };
        let at = match (written, node.text()) {
            (Some(at), _) => Some(at),
            (None, Some(text)) if is_date(text) => {
                let message = format!("`{}` is no point in time", excerpt(text));
                let suggestion = "write it with its zone, as 2026-01-31T12:30:00+01:00";
                self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
                None
            }
            (None, _) => self.expr(node, "until"),
        };
        let require = fields.take_set("require");
        let require =
            require.map(|node| self.choice::<String>(node, "require", &["estimated", "synced"]));
        let synced = match require {
            Some(word) => word? == "synced",
            None => false,
        };
        Some(DelayFor::Until { at: at?, synced })
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
        self.template(node, key)?;
        Expr::compile(source).ok().map(DelayFor::Computed)
    }
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
