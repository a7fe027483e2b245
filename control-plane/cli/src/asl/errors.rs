//! Names of errors there, codes of errors here, and what follows them: Retry and Catch.
//!
//! | there | here |
//! |---|---|
//! | `Any.Name` of a Fail state or a task | `user.Any.Name`; what no code may have is written as `_x20_` |
//! | none (a Fail state without `Error`) | `user.unnamed` |
//! | `States.Timeout`, `States.HeartbeatTimeout` | `timeout`, `wait.timeout`, `user.States.Timeout` |
//! | `States.TaskFailed` | `plugin.error` and every other failure of a plugin |
//! | `States.NoChoiceMatched` | `condition.no_match` |
//! | `States.Permissions` | `permission.denied` |
//! | `States.DataLimitExceeded` | `limit.payload` |
//! | `States.Runtime` | `expr.key`, `expr.type`, `expr.budget`, `loop.limit`, other `limit.*` |
//!
//! Wildcards: `States.ALL` is `*` without `expr.*`, because that service lets nobody catch
//! `States.Runtime`; nor does `*` stand for `limit.*`, as there. `States.TaskFailed` stands for
//! every error but a timeout.

use serde_json::{Map, Value as Json, json};

use super::Translator;
use super::path::quote;
use super::read::Reader;
use super::value::Val;

/// What a Fail state raises that gives its error no name.
pub(super) const UNNAMED: &str = "user.unnamed";
/// The most bytes that a code may have, the prefix included.
const CODE_BYTES: usize = 64;
/// The most retries that a step of ours takes.
const MOST_RETRIES: u64 = 1_000;
/// What only the service itself raises, and nobody catches there.
const UNCATCHABLE: &str = "States.Runtime";

/// The name that an error code of ours has there; `None` where it has none.
#[must_use]
pub fn name_of(code: &str) -> Option<String> {
    if code == UNNAMED || code == "cancelled" {
        return None;
    }
    if let Some(name) = code.strip_prefix("user.") {
        return Some(unescaped(name));
    }
    let name = match code {
        "timeout" | "wait.timeout" => "States.Timeout",
        "condition.no_match" => "States.NoChoiceMatched",
        "permission.denied" => "States.Permissions",
        "limit.payload" => "States.DataLimitExceeded",
        "loop.limit" => UNCATCHABLE,
        _ if code.starts_with("expr.") || code.starts_with("limit.") => UNCATCHABLE,
        _ => "States.TaskFailed",
    };
    Some(name.to_owned())
}

/// Whether a catcher can ever catch anything: `States.Runtime` is for nobody to catch.
pub(super) fn catches(catcher: &Json) -> bool {
    let names = catcher.get("ErrorEquals").and_then(Json::as_array);
    names.is_none_or(|names| names.is_empty() || names.iter().any(|name| name != UNCATCHABLE))
}

/// The codes of ours that a name there stands for, as patterns.
fn codes_of(name: &str) -> Vec<String> {
    let known: &[&str] = match name {
        // A timeout that is known at run time only is raised by a `fail` step.
        "States.Timeout" | "States.HeartbeatTimeout" => {
            &["timeout", "wait.timeout", "user.States.Timeout"]
        }
        "States.NoChoiceMatched" => &["condition.no_match"],
        "States.Permissions" => &["permission.denied"],
        "States.DataLimitExceeded" => &["limit.payload"],
        _ => {
            let code = code_of(name);
            // A plugin may have dashes in its codes, a `fail` step may not.
            let dashed = code.replace("_x2d_", "-");
            return if dashed == code { vec![code] } else { vec![code, dashed] };
        }
    };
    known.iter().map(|code| (*code).to_owned()).collect()
}

/// The code of an error that a task or a Fail state names, as [`name_of`] reads it.
#[must_use]
pub fn code_of(name: &str) -> String {
    let mut code = String::from("user.");
    for (at, c) in name.char_indices() {
        let plain = c.is_ascii_alphanumeric() || c == '.' || c == '_';
        // What looks like an escape already is escaped itself.
        if plain && !(c == '_' && escape(&name[at..]).is_some()) {
            code.push(c);
        } else {
            code.push_str(&format!("_x{:x}_", u32::from(c)));
        }
    }
    code
}

/// An expression that gives a text as [`code_of`] writes it, for what names most often have.
pub(super) fn code_expr(name: &str) -> String {
    format!("{name}.replace(' ', '_x20_').replace('-', '_x2d_')")
}

fn unescaped(name: &str) -> String {
    let mut text = String::new();
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let (c, bytes) = escape(rest).unwrap_or((c, c.len_utf8()));
        text.push(c);
        rest = &rest[bytes..];
    }
    text
}

/// The character that an escape at the beginning of a text stands for, and the escape's length.
fn escape(text: &str) -> Option<(char, usize)> {
    let (digits, _) = text.strip_prefix("_x")?.split_once('_')?;
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    Some((c, digits.len() + 3))
}

/// The error names of a retrier or catcher, as patterns of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patterns {
    /// What it is for.
    pub(super) errors: Vec<String>,
    /// What it is not for, where `errors` has a wildcard.
    pub(super) not_errors: Vec<String>,
    /// The one name that it is for, where there is just one.
    pub(super) only: Option<String>,
}

impl Patterns {
    fn of(names: &[String]) -> Option<Self> {
        let named: Vec<&String> = names
            .iter()
            .filter(|name| {
                !["States.ALL", "States.TaskFailed", UNCATCHABLE].contains(&name.as_str())
            })
            .collect();
        let mut explicit: Vec<String> = Vec::new();
        for code in named.iter().flat_map(|name| codes_of(name)) {
            if !explicit.contains(&code) {
                explicit.push(code);
            }
        }
        let has = |wildcard: &str| names.iter().any(|name| name == wildcard);
        let excluded: &[&str] = if has("States.ALL") {
            &["expr.*"]
        } else if has("States.TaskFailed") {
            &["timeout", "wait.timeout", "user.States.Timeout", "expr.*"]
        } else if explicit.is_empty() {
            return None;
        } else {
            let only = if let [name] = named[..] { Some(name.clone()) } else { None };
            return Some(Self { errors: explicit, not_errors: Vec::new(), only });
        };
        let not_errors = excluded
            .iter()
            .filter(|code| !explicit.iter().any(|known| known == *code))
            .map(|code| (*code).to_owned())
            .collect();
        // The star does not stand for limits; the rest it covers anyway.
        explicit.retain(|code| code.starts_with("limit."));
        explicit.insert(0, "*".to_owned());
        Some(Self { errors: explicit, not_errors, only: None })
    }

    /// The name of the error at hand, as it is called there. Only what has states inside can meet a
    /// Choice that matched nothing.
    pub(super) fn error_name(&self, has_states: bool) -> Val {
        if let Some(name) = &self.only {
            return Val::Literal(json!(name));
        }
        let mut text = String::from(
            "error.code.startsWith('user.') ? get(error, 'details.Error', error.code.substring(5))",
        );
        let star = self.errors.iter().any(|pattern| pattern == "*");
        let may_be = |code: &str| {
            let named = self.errors.iter().any(|pattern| pattern == code);
            let excluded = self.not_errors.iter().any(|pattern| pattern == code);
            named || star && !excluded && !code.starts_with("limit.")
        };
        if may_be("timeout") {
            text.push_str(" : error.code.endsWith('timeout') ? 'States.Timeout'");
        }
        for (code, name) in [
            ("condition.no_match", "States.NoChoiceMatched"),
            ("permission.denied", "States.Permissions"),
            ("limit.payload", "States.DataLimitExceeded"),
        ] {
            if may_be(code) && (has_states || code != "condition.no_match") {
                text.push_str(&format!(" : error.code == {} ? {}", quote(code), quote(name)));
            }
        }
        text.push_str(" : 'States.TaskFailed'");
        Val::Expr(text)
    }

    /// What a `catch` needs beside its `errors`, which know no exceptions.
    pub(super) fn when(&self) -> Option<String> {
        let tests = self.not_errors.iter().map(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => format!("!error.code.startsWith({})", quote(prefix)),
            None => format!("error.code != {}", quote(pattern)),
        });
        let tests: Vec<String> = tests.collect();
        if tests.is_empty() { None } else { Some(tests.join(" && ")) }
    }
}

impl Translator {
    /// Reads `ErrorEquals`. `None` where it stands for nothing that can be caught.
    pub(super) fn error_patterns(&mut self, reader: &mut Reader<'_>) -> Option<Patterns> {
        let at = reader.at("ErrorEquals");
        let mut names = Vec::new();
        for (n, name) in reader.list(self, "ErrorEquals").iter().enumerate() {
            let here = format!("{at}[{n}]");
            match name.as_str() {
                Some(name) if is_too_long(name) => {
                    self.problem(&here, format!("`{name}` is too long for an error code"));
                }
                Some(UNCATCHABLE) => {
                    self.note(&here, "States.Runtime cannot be caught or retried, there or here");
                    names.push(UNCATCHABLE.to_owned());
                }
                Some(name) => names.push(name.to_owned()),
                None => self.problem(&here, "an error name is a text"),
            }
        }
        if names.is_empty() {
            self.problem(&at, "a list of error names is needed");
            return None;
        }
        Patterns::of(&names)
    }

    /// Reads `Retry`: a list of policies, each with a counter of its own.
    pub(super) fn retry(&mut self, reader: &mut Reader<'_>) -> Option<Json> {
        let at = reader.at("Retry");
        let mut policies = Vec::new();
        for (n, retrier) in reader.list(self, "Retry").iter().enumerate() {
            let here = format!("{at}[{n}]");
            let Some(fields) = retrier.as_object() else {
                self.problem(&here, "a retrier is an object");
                continue;
            };
            policies.extend(self.policy(&mut Reader::new(fields, &here)));
        }
        match policies.len() {
            0 => None,
            1 => policies.pop(),
            _ => Some(Json::Array(policies)),
        }
    }

    fn policy(&mut self, reader: &mut Reader<'_>) -> Option<Json> {
        reader.ignore(&["Comment"]);
        let patterns = self.error_patterns(reader);
        let most = reader.whole(self, "MaxAttempts").unwrap_or(3);
        if most > MOST_RETRIES {
            let reason = format!("a step is retried {MOST_RETRIES} times at most");
            self.problem(&reader.at("MaxAttempts"), reason);
        }
        let delay = reader.seconds(self, "IntervalSeconds").unwrap_or(1);
        let rate = reader.take("BackoffRate").map_or(Some(2.0), Json::as_f64);
        if rate.is_none_or(|rate| !(1.0..=100.0).contains(&rate)) {
            self.problem(&reader.at("BackoffRate"), "this must be a number from 1 to 100");
        }
        let cap = reader.seconds(self, "MaxDelaySeconds");
        let jitter = reader.text(self, "JitterStrategy");
        reader.finish(self, "a retrier");
        let patterns = patterns?;
        let mut policy = Map::new();
        let mut put = |key: &str, value: Json| policy.insert(key.to_owned(), value);
        put("errors", json!(patterns.errors));
        if !patterns.not_errors.is_empty() {
            put("not_errors", json!(patterns.not_errors));
        }
        put("max_retries", json!(most));
        if rate == Some(1.0) {
            put("backoff", json!("constant"));
        } else {
            put("backoff", json!("exponential"));
            put("factor", plain(rate.unwrap_or(2.0)));
        }
        put("delay", json!(format!("{delay}s")));
        if let Some(cap) = cap {
            put("max_delay", json!(format!("{cap}s")));
        }
        if jitter.as_deref() == Some("FULL") {
            put("jitter", json!("full"));
        }
        Some(Json::Object(policy))
    }
}

/// A number, without a fraction where it has none.
fn plain(number: f64) -> Json {
    #[expect(clippy::cast_possible_truncation, reason = "from 1 to 100, and integral")]
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

/// Whether a name is too long to be a code.
pub(super) fn is_too_long(name: &str) -> bool {
    code_of(name).len() > CODE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(names: &[&str]) -> Option<Patterns> {
        Patterns::of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_become_patterns() {
        let one = patterns(&["Lambda.Unknown"]).unwrap();
        assert_eq!(one.errors, ["user.Lambda.Unknown"]);
        assert_eq!(one.error_name(false), Val::Literal(json!("Lambda.Unknown")));
        assert_eq!(one.when(), None);
        let all = patterns(&["States.ALL"]).unwrap();
        assert_eq!(all.errors, ["*"]);
        assert_eq!(all.when().unwrap(), "!error.code.startsWith('expr.')");
        let failed = patterns(&["States.TaskFailed", "States.Timeout"]).unwrap();
        assert_eq!(failed.not_errors, ["expr.*"]);
        let failed = patterns(&["States.TaskFailed", "States.DataLimitExceeded"]).unwrap();
        assert_eq!(failed.errors, ["*", "limit.payload"]);
        assert_eq!(failed.not_errors.len(), 4);
        assert_eq!(patterns(&["States.Runtime"]), None);
    }

    #[test]
    fn codes_have_their_names_back() {
        for name in ["A", "States.Timeout", "States.NoChoiceMatched", "States.DataLimitExceeded"] {
            let code = codes_of(name).remove(0);
            assert_eq!(name_of(&code).as_deref(), Some(name));
            assert_eq!(name_of(&code_of(name)).as_deref(), Some(name));
        }
        for name in ["Internal Error", "a-b", "_x20_", "_x_", "é_", "A.b_c"] {
            assert_eq!(name_of(&code_of(name)).as_deref(), Some(name), "{}", code_of(name));
        }
        assert_eq!(code_of("Internal Error"), "user.Internal_x20_Error");
        assert_eq!(codes_of("a-b"), ["user.a_x2d_b", "user.a-b"]);
        assert_eq!(name_of("expr.key").as_deref(), Some("States.Runtime"));
        assert_eq!(name_of("plugin.trap").as_deref(), Some("States.TaskFailed"));
        assert_eq!(name_of(UNNAMED), None);
    }
}
