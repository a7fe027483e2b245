//! The context object `$$`, as far as there is something of ours behind it.

use serde_json::json;

use super::flow::Scope;
use super::value::Val;

/// The state that asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    /// The state's name.
    pub(super) name: &'a str,
    /// Retries made so far, for states that can be retried.
    pub(super) retries: Option<&'a Val>,
    /// The task token, where the state waits for one.
    pub(super) token: Option<&'a Val>,
}

/// The context object that a state sees.
///
/// There is no name of a run beside its id, no role and no ARN; what asks for them gets the id, the
/// workflow's name and a word.
pub(super) fn context(scope: &Scope, asker: &Asker<'_>) -> Val {
    let expr = |text: &str| Val::Expr(text.to_owned());
    let word = |text: &str| Val::Literal(json!(text));
    let execution = object([
        ("Id", expr("execution.id")),
        ("Input", expr("inputs.input")),
        ("Name", expr("execution.id")),
        ("RedriveCount", Val::Literal(json!(0))),
        ("RoleArn", word("openclaw")),
        ("StartTime", expr("string(execution.started_at)")),
    ]);
    let mut state = vec![("EnteredTime", expr("string(now)")), ("Name", word(asker.name))];
    if let Some(retries) = asker.retries {
        state.push(("RetryCount", retries.clone()));
    }
    let machine = object([("Id", expr("workflow.id")), ("Name", expr("workflow.id"))]);
    let mut whole =
        vec![("Execution", execution), ("State", object(state)), ("StateMachine", machine)];
    if let Some(item) = &scope.item {
        let item = object([("Index", expr(&item.index)), ("Value", expr(&item.name))]);
        whole.push(("Map", object([("Item", item)])));
    }
    if let Some(token) = asker.token {
        whole.push(("Task", object([("Token", token.clone())])));
    }
    object(whole)
}

/// The task token of a state: which run, and which signal the answer is sent as.
pub(super) fn token(signal: &Val) -> Val {
    Val::Expr(format!("[execution.id, {}].join('/')", signal.expr()))
}

fn object<'a>(entries: impl IntoIterator<Item = (&'a str, Val)>) -> Val {
    Val::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
