//! The limits of the language and its engine, as they are in force.

use openclaw_protocol::expr::budget;
use openclaw_protocol::limits;
use serde::Serialize;

/// One limit.
#[derive(Debug, Serialize)]
pub(crate) struct Limit {
    /// Stable name.
    pub(crate) name: &'static str,
    /// The bound.
    pub(crate) value: u64,
    /// `bytes`, `ms`, or empty where things are counted.
    pub(crate) unit: &'static str,
    /// What is bounded.
    pub(crate) what: &'static str,
    /// What happens beyond it; empty for what is only the usual value.
    pub(crate) beyond: &'static str,
}

impl Limit {
    /// The bound as people read it.
    pub(crate) fn shown(&self) -> String {
        const KIB: u64 = 1024;
        match (self.unit, self.value) {
            ("bytes", n) if n > 0 && n.is_multiple_of(KIB * KIB) => {
                format!("{} MiB", n / KIB / KIB)
            }
            ("bytes", n) if n > 0 && n.is_multiple_of(KIB) => format!("{} KiB", n / KIB),
            ("bytes", n) => format!("{n} bytes"),
            ("ms", ms) => openclaw_protocol::time::show_duration(ms),
            (_, n) => grouped(n),
        }
    }
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// All limits of workflow documents, runs and expressions.
pub(crate) fn all() -> Vec<Limit> {
    let mut all = documents();
    all.extend(runs());
    all.extend(usual());
    all.extend(expressions());
    all
}

fn limit(
    name: &'static str,
    value: impl TryInto<u64>,
    unit: &'static str,
    what: &'static str,
    beyond: &'static str,
) -> Limit {
    Limit { name, value: value.try_into().unwrap_or(u64::MAX), unit, what, beyond }
}

fn documents() -> Vec<Limit> {
    let refused = "the document is refused (E_LIMIT)";
    let wrong = "the document is refused (E_VALUE)";
    vec![
        limit("document", limits::DOCUMENT_BYTES, "bytes", "a document", refused),
        limit("steps", limits::STEPS, "", "steps, nested ones included", refused),
        limit("nesting", limits::NESTING, "", "nesting of scopes", refused),
        limit("value_depth", limits::VALUE_DEPTH, "", "depth of any value", refused),
        limit("triggers", limits::TRIGGERS, "", "triggers", refused),
        limit("branches", limits::PARALLEL_BRANCHES, "", "branches of a `parallel`", refused),
        limit("cases", limits::CASES, "", "cases of a `switch`, `catch`es of a `try`", refused),
        limit("retry_policies", limits::RETRY_POLICIES, "", "policies of a `retry`", refused),
        limit("choices", limits::CHOICES, "", "choices of an `approval`", refused),
        limit("secrets", limits::SECRETS, "", "secrets of a workflow", refused),
        limit(
            "foreach_concurrency",
            limits::FOREACH_CONCURRENCY,
            "",
            "iterations of a `foreach` at once",
            wrong,
        ),
        limit("wait_messages", limits::WAIT_MESSAGES, "", "messages of one `wait`", wrong),
        limit("poll_least", limits::POLL_LEAST_MS, "ms", "the shortest `poll`", wrong),
        limit("topic", limits::TOPIC_BYTES, "bytes", "a topic or topic filter", wrong),
        limit(
            "event_name",
            limits::EVENT_NAME_BYTES,
            "bytes",
            "the name of an event or signal",
            wrong,
        ),
        limit("id", limits::ID_BYTES, "bytes", "an id or name", "the document is refused (E_NAME)"),
    ]
}

fn runs() -> Vec<Limit> {
    let payload = "the error `limit.payload`";
    vec![
        limit(
            "value",
            limits::VALUE_BYTES,
            "bytes",
            "one value (an output, a variable, all inputs)",
            payload,
        ),
        limit("run_state", limits::RUN_STATE_BYTES, "bytes", "all values of a run", payload),
        limit("foreach_items", limits::FOREACH_ITEMS, "", "items of a `foreach`", payload),
        limit(
            "settled_steps",
            limits::SETTLED_STEPS,
            "",
            "settled steps of a run, and iterations",
            "the run ends with `limit.history`",
        ),
        limit(
            "call_depth",
            limits::CALL_DEPTH,
            "",
            "runs that `call` one another",
            "the error `limit.depth`",
        ),
        limit(
            "dedupe_keys",
            limits::DEDUPE_KEYS,
            "",
            "keys that the `dedupe` of a trigger remembers",
            "the oldest is forgotten",
        ),
        limit(
            "cancel_grace",
            limits::CANCEL_GRACE_MS,
            "ms",
            "grace of a call that is told to stop",
            "it is given up",
        ),
        limit(
            "plugin_output",
            limits::PLUGIN_OUTPUT_BYTES,
            "bytes",
            "a plugin's output, unless its manifest asks for more",
            "the error `plugin.output`",
        ),
        limit(
            "plugin_memory",
            limits::PLUGIN_MEMORY_BYTES,
            "bytes",
            "a plugin's memory, unless its manifest asks for more",
            "the error `plugin.memory`",
        ),
        limit(
            "plugin_fuel",
            limits::PLUGIN_FUEL,
            "",
            "fuel of a plugin call, unless its manifest asks for more",
            "the error `plugin.fuel`",
        ),
    ]
}

/// What holds where the author says nothing.
fn usual() -> Vec<Limit> {
    vec![
        limit(
            "attempt_timeout",
            limits::ATTEMPT_TIMEOUT_MS,
            "ms",
            "`timeout` of a plugin step",
            "",
        ),
        limit("max_retries", limits::MAX_RETRIES, "", "`max_retries` of a plugin step", ""),
        limit(
            "retry_delay",
            limits::RETRY_DELAY_MS,
            "ms",
            "`delay` of its retries (n times this)",
            "",
        ),
        limit("finally_timeout", limits::FINALLY_TIMEOUT_MS, "ms", "`finally_timeout`", ""),
        limit("poll", limits::POLL_MS, "ms", "`poll` of a `wait`", ""),
        limit(
            "max_iterations",
            limits::LOOP_ITERATIONS,
            "",
            "`max_iterations` of a `loop`",
            "the error `loop.limit`",
        ),
        limit(
            "max",
            limits::QUEUED_RUNS,
            "",
            "`max`: runs that wait or run at once",
            "`max_exceeded` decides",
        ),
        limit("file_settle", limits::FILE_SETTLE_MS, "ms", "`settle` of a `file` trigger", ""),
        limit(
            "files",
            limits::FILES,
            "",
            "files that all `file` triggers of a device know",
            "further ones are not seen, and that is told",
        ),
        limit(
            "file_entries",
            limits::FILE_ENTRIES,
            "",
            "entries of one look for the files of a trigger",
            "nothing fires, and that is told",
        ),
        limit("dedupe_window", limits::DEDUPE_WINDOW_MS, "ms", "`window` of a `dedupe`", ""),
        limit(
            "priority_aging",
            limits::PRIORITY_AGING_MS,
            "ms",
            "waiting for one level of priority",
            "",
        ),
    ]
}

fn expressions() -> Vec<Limit> {
    let refused = "the expression is refused (E_EXPR)";
    let spent = "the error `expr.budget`";
    vec![
        limit(
            "expr_source",
            budget::SOURCE_BYTES,
            "bytes",
            "source text of an expression",
            refused,
        ),
        limit("expr_tokens", budget::TOKENS, "", "tokens of an expression", refused),
        limit("expr_nodes", budget::NODES, "", "nodes of an expression", refused),
        limit("expr_nesting", budget::NESTING, "", "brackets inside each other", refused),
        limit(
            "expr_chain",
            budget::CHAIN,
            "",
            "operators of one chain, steps of one path",
            refused,
        ),
        limit("expr_pattern", budget::PATTERN_BYTES, "bytes", "pattern of `matches`", refused),
        limit("expr_fuel", budget::FUEL, "", "fuel of one evaluation", spent),
        limit(
            "expr_memory",
            budget::ALLOCATION_BYTES,
            "bytes",
            "memory built in one evaluation",
            spent,
        ),
        limit("expr_result", budget::RESULT_BYTES, "bytes", "result of an expression", spent),
        limit("expr_range", budget::RANGE_ENTRIES, "", "entries of `lists.range`", spent),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_stable_and_values_shown() {
        let all = all();
        let names: BTreeSet<&str> = all.iter().map(|limit| limit.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|limit| limit.value < u64::MAX));
        let shown = |name: &str| all.iter().find(|l| l.name == name).unwrap().shown();
        assert_eq!(shown("document"), "256 KiB");
        assert_eq!(shown("run_state"), "1 MiB");
        assert_eq!(shown("settled_steps"), "100,000");
        assert_eq!(shown("attempt_timeout"), "5m");
        assert_eq!(shown("event_name"), "128 bytes");
    }
}
