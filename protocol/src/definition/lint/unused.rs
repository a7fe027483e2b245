//! Inputs, variables and secrets that nothing uses.

use std::collections::BTreeSet;

use super::order::Order;
use super::places::{Places, entry};
use super::sites;
use super::{Code, Report};
use crate::definition::draft::Place;
use crate::definition::model::TriggerKind;

pub(super) fn check(order: &Order<'_>, places: &Places<'_>, report: &mut Report) {
    let workflow = order.map().workflow;
    let sites = sites::all(workflow);
    let mut read: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut secrets: BTreeSet<&str> = BTreeSet::new();
    for site in &sites {
        for path in site.expr.references() {
            read.insert(path.into_iter().take(2).collect());
        }
        secrets.extend(site.expr.secrets().iter().map(String::as_str));
    }
    let is_read = |family: &str, name: &str| {
        read.contains([family.to_owned(), name.to_owned()].as_slice())
            || read.contains([family.to_owned()].as_slice())
    };
    for name in workflow.inputs.keys().filter(|name| !is_read("inputs", name)) {
        let at = declared(places, "inputs", name);
        let message = format!("nothing uses the input `{name}`");
        report.add(Code::Unused, at, message, "remove it, or use it");
    }
    let mut written = BTreeSet::new();
    for name in workflow.vars.keys().filter(|name| !is_read("vars", name)) {
        written.insert(name.as_str());
        let at = declared(places, "vars", name);
        let message = format!("nothing reads the variable `{name}`");
        report.add(Code::Unused, at, message, "remove it, or hand it out under `outputs`");
    }
    for (ix, step) in order.map().steps() {
        for (name, _) in super::race::assigned(step).iter().chain(&step.export) {
            if is_read("vars", name) || !written.insert(name) {
                continue;
            }
            let at = super::race::place(order.map(), places, ix, name);
            let message = format!("`{}` sets `{name}`, which nothing reads", step.id);
            report.add(Code::Unused, at, message, "remove it, or hand it out under `outputs`");
        }
    }
    for trigger in &workflow.triggers {
        if let TriggerKind::Webhook { hmac: Some(hmac), .. } = &trigger.kind {
            secrets.insert(&hmac.secret);
        }
    }
    for name in workflow.secrets.iter().filter(|name| !secrets.contains(name.as_str())) {
        let list = places.top("secrets").and_then(|entry| entry.value.list());
        let item = list.and_then(|items| items.iter().find(|item| item.text() == Some(name)));
        let at = item.map_or(Place { line: 1, column: 1 }, |item| item.at);
        let message = format!("nothing asks for the secret `{name}`");
        let suggestion = format!("remove it, or use `${{ secret('{name}') }}` in a `with`");
        report.add(Code::Unused, at, message, suggestion);
    }
}

fn declared(places: &Places<'_>, key: &str, name: &str) -> Place {
    let found = places.top(key).and_then(|under| entry(&under.value, name));
    found.map_or(Place { line: 1, column: 1 }, |entry| entry.at)
}
