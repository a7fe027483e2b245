//! Compares what came of a call, and of the world around it, with what the case expects.

use openclaw_plugin_abi::KvScope;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Capability;
use serde_json::Value;

use super::Report;
use super::content::{Content, shown};
use super::differ::differ;
use super::format::{Case, Expect};
use super::world::World;
use crate::call::Outcome;
use crate::limits;

pub(super) fn judge(case: &Case, mut world: World, outcome: Outcome) -> Report {
    let mut lines = result(&case.expect, &outcome);
    lines.append(&mut world.differences);
    keep(&mut world, &outcome);
    sent(case, &world, &mut lines);
    published(case, &outcome, &mut lines);
    remembered(case, &mut world, &mut lines);
    files(case, &world, &mut lines);
    levels(case, &world, &mut lines);
    lines.extend(world.lines.iter().filter_map(|(n, l)| Some(format!("{n}: {}", l.left()?))));
    left("i2c", "transactions", &world.i2c, &mut lines);
    left("exec", "runs", &world.exec, &mut lines);
    lines.truncate(limits::DIFFERENCES);
    let (permissions_used, permissions_unused) = world.used.split();
    let host_calls = world.calls;
    Report { differences: lines, outcome, host_calls, permissions_used, permissions_unused }
}

fn result(expect: &Expect, outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    match (expect, &outcome.result) {
        (Expect::Output(expected) | Expect::Contains(expected), Ok(bytes)) => {
            let partial = matches!(expect, Expect::Contains(_));
            match serde_json::from_slice::<Value>(bytes) {
                Ok(got) => differ("output", expected, &got, partial, &mut lines),
                Err(e) => lines.push(format!("the output is not JSON: {e}: {}", shown(bytes))),
            }
        }
        (Expect::Error(expected), Err(fault)) => {
            if fault.code != expected.code {
                lines.push(format!("expected the failure `{}`, got `{fault}`", expected.code));
            } else if !fault.message.contains(&expected.message) {
                let (wanted, got) = (&expected.message, &fault.message);
                lines.push(format!("message: expected a part `{wanted}`, got `{got}`"));
            }
            if let Some(wanted) = expected.retryable.filter(|wanted| *wanted != fault.retryable) {
                lines.push(format!("retryable: expected {wanted}, got {}", fault.retryable));
            }
        }
        (Expect::Error(expected), Ok(bytes)) => {
            let got = shown(bytes);
            lines.push(format!("expected the failure `{}`, got output {got}", expected.code));
        }
        (Expect::Output(_) | Expect::Contains(_), Err(fault)) => {
            lines.push(format!("expected an output, got the failure `{fault}`"));
        }
    }
    lines
}

/// Does with what the call kept what a device would do with it.
fn keep(world: &mut World, outcome: &Outcome) {
    for write in &outcome.kept.kv {
        world.used.name(Capability::Kv, write.scope.name());
        world.count(if write.value.is_some() { "kv_set" } else { "kv_remove" });
        match &write.value {
            Some(value) => world.values(write.scope).insert(write.key.clone(), value.clone()),
            None => world.values(write.scope).remove(&write.key),
        };
    }
    for message in &outcome.kept.published {
        world.used.topic(&message.topic);
        world.count("mqtt_publish");
    }
}

fn sent(case: &Case, world: &World, lines: &mut Vec<String>) {
    let Some(expected) = &case.sent else { return };
    if expected.len() != world.sent.len() {
        let got: Vec<String> =
            world.sent.iter().map(|r| format!("{} {}", r.method, r.target)).collect();
        lines.push(format!("sent: expected {} requests, got {got:?}", expected.len()));
        return;
    }
    for (index, (wanted, got)) in expected.iter().zip(&world.sent).enumerate() {
        let at = format!("sent[{index}]");
        let wanted_line = format!("{} {}", wanted.method, wanted.url);
        let got_line = format!("{} {}", got.method, got.target);
        if wanted_line != got_line {
            lines.push(format!("{at}: expected {wanted_line}, got {got_line}"));
        }
        if !wanted.headers.iter().eq(got.headers.iter()) {
            let (wanted, got) = (&wanted.headers, &got.headers);
            lines.push(format!("{at}: expected headers {wanted:?}, got {got:?}"));
        }
        bytes(&format!("{at}.body"), &wanted.body, &got.body, lines);
    }
}

fn published(case: &Case, outcome: &Outcome, lines: &mut Vec<String>) {
    let Some(expected) = &case.mqtt else { return };
    let published = &outcome.kept.published;
    if expected.len() != published.len() {
        let got: Vec<&str> = published.iter().map(|m| m.topic.as_str()).collect();
        lines.push(format!("mqtt: expected {} messages, got {got:?}", expected.len()));
        return;
    }
    for (index, (wanted, got)) in expected.iter().zip(published).enumerate() {
        let at = format!("mqtt[{index}]");
        if (&wanted.topic, wanted.qos, wanted.retain) != (&got.topic, got.qos, got.retain) {
            lines.push(format!(
                "{at}: expected {} at qos {} (retain: {}), got {} at qos {} (retain: {})",
                wanted.topic, wanted.qos, wanted.retain, got.topic, got.qos, got.retain
            ));
        }
        bytes(&format!("{at}.payload"), &wanted.payload, &got.payload, lines);
    }
}

fn remembered(case: &Case, world: &mut World, lines: &mut Vec<String>) {
    let Some(after) = &case.kv.after else { return };
    for (scope, expected) in
        [(KvScope::Workflow, &after.workflow), (KvScope::Plugin, &after.plugin)]
    {
        let at = format!("kv.{}", scope.name());
        whole(&at, expected, world.values(scope), lines);
    }
}

fn files(case: &Case, world: &World, lines: &mut Vec<String>) {
    let Some(after) = &case.files_after else { return };
    for (key, expected) in after {
        match (expected, world.files.get(key)) {
            (Some(expected), Some((got, _))) => {
                bytes(&format!("files.{key}"), expected, got, lines);
            }
            (Some(_), None) => lines.push(format!("files.{key}: is not there")),
            (None, Some(_)) => lines.push(format!("files.{key}: is still there")),
            (None, None) => {}
        }
    }
    let others = world.files.iter().filter(|(key, _)| !after.contains_key(*key));
    for (key, (got, _)) in others {
        if world.files_before.get(key) != Some(got) {
            lines.push(format!("files.{key}: changed to {}", shown(got)));
        }
    }
    for key in world.files_before.keys() {
        if !world.files.contains_key(key) && !after.contains_key(key) {
            lines.push(format!("files.{key}: was removed"));
        }
    }
}

fn levels(case: &Case, world: &World, lines: &mut Vec<String>) {
    for (name, wanted) in case.gpio.after.iter().flatten() {
        let got = world.gpio.get(name).copied();
        if got != Some(wanted.0) {
            let got = got.map_or("nothing".to_owned(), |level| u8::from(level).to_string());
            lines.push(format!("gpio.{name}: expected {}, got {got}", u8::from(wanted.0)));
        }
    }
}

/// What of a list was never asked for.
fn left<T>(kind: &str, what: &str, lists: &VecMap<String, Vec<T>>, lines: &mut Vec<String>) {
    let open = lists.iter().filter(|(_, list)| !list.is_empty());
    lines.extend(open.map(|(name, list)| format!("{kind} {name}: {} {what} left", list.len())));
}

fn whole(
    at: &str,
    expected: &VecMap<String, Content>,
    got: &VecMap<String, Vec<u8>>,
    lines: &mut Vec<String>,
) {
    for (key, expected) in expected {
        let at = format!("{at}.{key}");
        match got.get(key) {
            Some(got) => bytes(&at, expected, got, lines),
            None => lines.push(format!("{at}: expected {expected}, got nothing")),
        }
    }
    for (key, value) in got.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        lines.push(format!("{at}.{key}: expected nothing, got {}", shown(value)));
    }
}

fn bytes(at: &str, expected: &Content, got: &[u8], lines: &mut Vec<String>) {
    if expected.fits(got) {
        return;
    }
    match (expected, serde_json::from_slice::<Value>(got)) {
        (Content::Json(expected), Ok(got)) => differ(at, expected, &got, false, lines),
        _ => lines.push(format!("{at}: expected {expected}, got {}", shown(got))),
    }
}
