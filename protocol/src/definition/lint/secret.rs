//! Secrets that are written out where everybody can read them.

use super::order::Order;
use super::places::{Places, entry};
use super::{Code, Report};
use crate::definition::draft::{Entry, Node};

/// What the names of secret things end with.
const ENDINGS: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
    "access_key",
    "authorization",
];

/// Kinds that hand something on, and under which key.
const HOLDERS: [(&str, &str); 5] = [
    ("plugin", "with"),
    ("call", "with"),
    ("publish", "payload"),
    ("emit", "data"),
    ("set", "set"),
];

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let workflow = order.map().workflow;
    for (ix, step) in order.map().steps() {
        let Some((_, key)) = HOLDERS.iter().find(|(kind, _)| *kind == step.kind.key()) else {
            continue;
        };
        if let Some(under) = places.key(workflow, ix, key) {
            search(under, report);
        }
    }
    if let Some(vars) = places.top("vars") {
        search(vars, report);
    }
    for input in places.top("inputs").and_then(|entry| entry.value.map()).unwrap_or_default() {
        if let Some(default) = entry(&input.value, "default")
            && is_secret(&input.key, &default.value)
        {
            tell(&input.key, &default.value, report);
        }
    }
}

/// Looks at a key and everything below it, at most as deep as values may be nested.
fn search(here: &Entry, report: &mut Report) {
    if is_secret(&here.key, &here.value) {
        return tell(&here.key, &here.value, report);
    }
    let items = here.value.list().unwrap_or_default();
    for below in items.iter().chain([&here.value]).filter_map(Node::map).flatten() {
        search(below, report);
    }
}

fn tell(key: &str, value: &Node, report: &mut Report) {
    let message = format!(
        "`{key}` looks like a secret that is written out; whoever can read the workflow can read it"
    );
    let suggestion = "declare a name under `secrets`, and write `${ secret('name') }` in the `with` of \
                      a plugin step";
    report.add(Code::Secret, value.at, message, suggestion);
}

/// Whether a text under a key is a secret thing by its name or its form, and is not computed.
fn is_secret(key: &str, value: &Node) -> bool {
    let Some(text) = value.text().filter(|text| !text.is_empty() && !text.contains("${")) else {
        return false;
    };
    let name = key.to_lowercase().replace('-', "_");
    let has_login = text.split_once("://").is_some_and(|(_, rest)| {
        let host = rest.split('/').next().unwrap_or_default();
        host.split_once('@').is_some_and(|(login, _)| login.contains(':'))
    });
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || has_login
        || (text.contains("-----BEGIN") && text.contains("PRIVATE KEY"))
}
