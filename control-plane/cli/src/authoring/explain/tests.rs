//! What people read.

use openclaw_protocol::definition;

use super::*;

#[track_caller]
fn told(text: &str) -> String {
    explain(&definition::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

#[track_caller]
fn says(text: &str, lines: &[&str]) {
    let told = told(text);
    for line in lines {
        assert!(told.lines().any(|told| told == *line), "no `{line}` in\n{told}");
    }
}

const WHOLE: &str = r#"
workflow: pump
version: 2
description: Reads a pump
inputs: { limit: { type: number, default: 80 } }
triggers:
  - { id: hot, mqtt: site/+/temp, when: trigger.payload > 80, throttle: 1m }
  - { id: nightly, cron: { at: "30 2 * * *", tz: Europe/Berlin } }
steps:
  - id: read
    plugin: modbus.read@^1
    with: { register: 40001 }
    timeout: 10s
    retry: { max_retries: 3, backoff: exponential, delay: 1s, jitter: full, errors: [timeout] }
  - id: hot_enough
    condition: steps.read.output.celsius > inputs.limit
    then: [{ id: tell, log: "it is hot" }]
    else: [{ id: fine, succeed: {} }]
  - { id: rest, delay: 5m }
  - { id: sure, approval: { prompt: Sure?, on_timeout: reject }, timeout: 1h }
on_failure:
  - { id: why, log: "${ error.code }" }
outputs: { celsius: "${ steps.read.output.celsius }" }
"#;

#[test]
fn a_whole_workflow() {
    says(
        WHOLE,
        &[
            "pump, version 2: Reads a pump",
            "  `hot`: a message on `site/+/temp` of the local broker.",
            "    That is, only if `trigger.payload > 80`, at most once in 1m.",
            "  limit: number; 80 where absent",
            "1. `read` calls the plugin modbus.read (^1) with register `40001`.",
            "  Each attempt may take 10s; then it fails with timeout.",
            "  If it fails with timeout, it is tried again up to 3 times, after 1s, 2s, 4s (7s in all), \
             each shortened by chance to anything from nothing to this.",
            "  At most 47s in all.",
            "  If it fails for good, the run fails.",
            "2. `hot_enough` asks whether `steps.read.output.celsius > inputs.limit`.",
            "  If so:",
            "    2a.1. `tell` notes: \"it is hot\".",
            "  If not:",
            "    2b.1. `fine` ends the whole run well.",
            "3. `rest` waits 5m (time without power counts where it can be proved).",
            "  After 1h without an answer, the answer is reject.",
            "When the run has failed, before that is reported",
            "1. `why` notes: `error.code`.",
            "  celsius: `steps.read.output.celsius`",
            "A run takes 1h5m47s at most, on a device that has power and free slots.",
        ],
    );
}

#[test]
fn a_graph_is_told_in_the_order_of_the_flow() {
    let text = "workflow: w\nsteps:\n\
                - { id: c, join: any, delay: 1 }\n\
                - { id: a, plugin: p@1, next_steps: [b, { to: c, when: trigger.x }], on_failure: d }\n\
                - { id: b, delay: 1, next_steps: [c] }\n- { id: d, delay: 1 }\n";
    let told = told(text);
    let place = |what: &str| told.find(what).unwrap_or_else(|| panic!("no `{what}` in\n{told}"));
    assert!(place("1. `a`") < place("2. `b`") && place("2. `b`") < place("3. `c`"), "{told}");
    says(
        text,
        &[
            "  Then `b`.",
            "  Then `c` if `trigger.x`.",
            "  If it fails for good, `d` takes over.",
            "  Runs as soon as one of the 2 ways that lead here is taken.",
        ],
    );
}

#[test]
fn what_follows_an_error_and_what_undoes() {
    let text = "workflow: w\nsteps:\n- id: t\n  try:\n    \
                - { id: a, plugin: p@1, retry: none, effects: at_most_once, compensate: [{ id: u, plugin: q@1 }] }\n  \
                catch: [{ errors: [plugin.*], as: err, do: [{ id: b, delay: 1 }] }]\n  \
                finally: [{ id: f, delay: 1 }]\n\
                - { id: w, wait: { signal: go } }\n";
    says(
        text,
        &[
            "1. `t` tries something.",
            "  It tries this:",
            "    1a.1. `a` calls the plugin p.execute (^1), at most once.",
            "      A power cut in the middle is the failure interrupted: it is not called again.",
            "      If it fails, what follows an error, below, decides.",
            "      To undo it, should that be needed once it has succeeded:",
            "  If that fails with plugin.*:",
            "  In any case, also when it is cancelled, for at most 30s:",
            "2. `w` waits for the signal \"go\".",
            "  There is no bound to how long it takes.",
            "There is no bound to how long a run may take.",
        ],
    );
}

#[test]
fn files_and_newer_definitions() {
    let text = "workflow: w\non_update: restart\ntriggers:\n\
                - { id: came, file: inbox/*.csv }\n\
                - { id: went, file: { path: inbox/lock, events: [deleted], settle: 0 } }\n\
                steps: [{ id: a, delay: 1 }]\n";
    says(
        text,
        &[
            "  `came`: a file `inbox/*.csv` that was created or modified and has been the same for 2s.",
            "  `went`: a file `inbox/lock` that was deleted.",
            "  When it comes into force, what is under way with another definition of it is cancelled \
             and begins anew with the same inputs.",
        ],
    );
}

#[test]
fn what_comes_last_and_what_goes_on() {
    let text = "workflow: w\non_update: migrate\nsteps: [{ id: a, delay: 1 }]\n\
                finally: [{ id: z, delay: 2 }]\nfinally_timeout: 1m\n";
    says(
        text,
        &[
            "  When it comes into force, what is under way with another definition of it goes on with \
             this one where its past fits this one, and else as it began.",
            "In any case, also when the run is cancelled, for at most 1m",
            "1. `z` waits 2s (time without power counts where it can be proved).",
            "A run takes 3s at most, on a device that has power and free slots.",
        ],
    );
}
