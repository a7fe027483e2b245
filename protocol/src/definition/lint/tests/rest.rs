//! Times, codes, words, secrets, and what is of no use.

use super::*;

#[test]
fn no_timeout() {
    for kind in ["wait: { signal: go }", "approval: Sure?", "call: other"] {
        let text = steps(&format!("- {{ id: a, {kind} }}\n"));
        fires(&text, &["3:9 W_NO_TIMEOUT"]);
        quiet(&text.replace("id: a,", "id: a, timeout: 5m,"));
        quiet(&text.replace("id: a,", "id: a, timeout: none,"));
        quiet(&text.replace("workflow: w\n", "workflow: w\ntimeout: 1h\n"));
        let inside = steps(&format!("- id: s\n  timeout: 1h\n  sequence: [{{ id: a, {kind} }}]\n"));
        quiet(&inside);
    }
    quiet(&steps("- { id: a, call: other, detach: true }\n"));
    let race = "- id: p\n  parallel:\n    mode: race\n    branches:\n      \
                one: [{ id: a, wait: { signal: go } }]\n      two: [{ id: b, delay: 1h }]\n";
    quiet(&steps(race));
    fires(&steps(&race.replace("mode: race", "mode: wait_all")), &["7:19 W_NO_TIMEOUT"]);
}

#[test]
fn long_retry() {
    let text =
        "- { id: a, plugin: p@1, total_timeout: TOTAL, retry: { max_retries: 4, delay: 10s } }\n";
    fires(&steps(&text.replace("TOTAL", "90s")), &["3:45 W_LONG_RETRY"]);
    quiet(&steps(&text.replace("TOTAL", "100s")));
    assert!(words(&steps(&text.replace("TOTAL", "90s"))).contains("wait 1m40s in all"));
    // The usual retries of a plugin wait six minutes.
    fires("workflow: w\ntimeout: 5m\nsteps: [{ id: a, plugin: p@1 }]\n", &["3:15 W_LONG_RETRY"]);
    quiet("workflow: w\ntimeout: 6m\nsteps: [{ id: a, plugin: p@1 }]\n");
    quiet("workflow: w\ntimeout: 5m\nsteps: [{ id: a, plugin: p@1, retry: none }]\n");
    quiet("workflow: w\ntimeout: 5m\nsteps: [{ id: a, plugin: p@1, retry: {max_elapsed: 4m} }]\n");
}

#[test]
fn waits_grow_as_the_engine_lets_them() {
    let mut policy = crate::definition::Retry::plugin();
    let waits = |policy: &crate::definition::Retry| -> Vec<u64> {
        (1..=4).map(|n| longest_wait_ms(policy, n)).collect()
    };
    assert_eq!(waits(&policy), [60_000, 120_000, 180_000, 240_000]);
    policy.backoff = crate::definition::Backoff::Exponential;
    assert_eq!(waits(&policy), [60_000, 120_000, 240_000, 480_000]);
    policy.max_delay_ms = Some(100_000);
    assert_eq!(waits(&policy), [60_000, 100_000, 100_000, 100_000]);
    policy.max_delay_ms = None;
    policy.factor = 100.0;
    assert_eq!(longest_wait_ms(&policy, 1_000), 30 * 86_400_000);
}

#[test]
fn clocks() {
    let text = "- { id: a, delay: { until: trigger.at REQ} }\n";
    fires(&steps(&text.replace("REQ", "")), &["3:21 W_DOWNTIME"]);
    quiet(&steps(&text.replace("REQ", ", require: synced")));
    quiet(&steps(&text.replace("REQ", ", require: estimated")));
    let cron = "workflow: w\ntriggers: [{ id: t, cron: '@daily' }]\nsteps: [{ id: a, delay: 1 }]\n";
    quiet(cron);
    let found = lint_for(cron, Target { no_clock: true });
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].code, found[0].line, found[0].column), ("W_DOWNTIME", 2, 21));
}

#[test]
fn unknown_errors() {
    let text = "- { id: a, plugin: p@1, retry: { errors: [CODE] } }\n";
    let with = |code: &str| steps(&text.replace("CODE", code));
    fires(&with("plugin.eror"), &["3:43 W_UNKNOWN_ERROR"]);
    assert!(words(&with("plugin.eror")).contains("did you mean `plugin.error`?"));
    for wrong in ["time", "plug.*", "userx", "user", "States.Timeout"] {
        fires(&with(wrong), &["3:43 W_UNKNOWN_ERROR"]);
    }
    for right in ["timeout", "'*'", "plugin.*", "user.*", "user.mine", "http.teapot", "limit.*"] {
        quiet(&with(right));
    }
    let catch = "- id: t\n  try: [{ id: a, plugin: p@1 }]\n  \
                 catch: [{ errors: [timeout, tmeout], do: [{ id: b, delay: 1 }] }]\n";
    fires(&steps(catch), &["5:31 W_UNKNOWN_ERROR"]);
    let defaults = "workflow: w\ndefaults: { retry: { not_errors: nope.x } }\nsteps: [{ id: a, plugin: p@1 }]\n";
    fires(defaults, &["2:34 W_UNKNOWN_ERROR"]);
}

#[test]
fn yaml_1_1() {
    let text = "- { id: a, log: WORD }\n";
    for word in
        ["on", "off", "yes", "No", "y", "N", "12:30:00", "1:30", "-190:20:30.15", "017", "1_000"]
    {
        fires(&steps(&text.replace("WORD", word)), &["3:17 W_YAML11"]);
        quiet(&steps(&text.replace("WORD", &format!("'{word}'"))));
    }
    for word in ["onward", "true", "12:60", "10", "0", "0.5", "a:b", "019", "x_1", "2030-01-01"] {
        quiet(&steps(&text.replace("WORD", word)));
    }
    // Keys, of data as well; and where the document is no workflow.
    fires(&steps("- { id: a, plugin: p@1, with: { on: 1 } }\n"), &["3:33 W_YAML11"]);
    fires(
        "workflow: w\non: 1\nsteps: [{id: a, delay: 1}]\n",
        &["2:1 E_UNKNOWN_KEY", "2:1 W_YAML11"],
    );
}

#[test]
fn written_secrets() {
    let text = "- { id: a, plugin: p@1, with: { KEY: VALUE } }\n";
    let with = |key: &str, value: &str| steps(&text.replace("KEY", key).replace("VALUE", value));
    for key in ["password", "api-key", "Authorization", "db_password", "accessToken"] {
        fires(&with(key, "abc"), &[&format!("3:{} W_SECRET", 35 + key.len())]);
        quiet(&with(key, "\"${ trigger.x }\""));
        quiet(&with(key, "7"));
    }
    fires(&with("url", "'mqtt://me:pw@host/x'"), &["3:38 W_SECRET"]);
    quiet(&with("url", "'http://host/a@b:c'"));
    quiet(&with("tokens_used", "some"));
    fires(
        "workflow: w\nvars: { token: abc }\nsteps: [{ id: a, log: '${ vars.token }' }]\n",
        &["2:16 W_SECRET"],
    );
    let input = "workflow: w\ninputs: { pin_secret: { type: string, default: x } }\n\
                 steps: [{ id: a, log: '${ inputs.pin_secret }' }]\n";
    fires(input, &["2:48 W_SECRET"]);
    quiet(&input.replace(", default: x", ""));
}

#[test]
fn unused() {
    let text = "workflow: w\ninputs: { i: { type: string, default: x } }\nvars: { v: 1 }\n\
                secrets: [s]\nsteps: [{ id: a, log: 'TEXT' }]\n";
    fires(text, &["2:11 W_UNUSED", "3:9 W_UNUSED", "4:11 W_UNUSED"]);
    fires(&text.replace("TEXT", "${ inputs.i + vars.v }"), &["4:11 W_UNUSED"]);
    // By a name that is computed, any may be meant.
    fires(&text.replace("TEXT", "${ inputs[agent.id] + string(size(vars)) }"), &["4:11 W_UNUSED"]);
    fires(&steps("- { id: a, set: { x: 1 } }\n"), &["3:19 W_UNUSED"]);
    quiet(&steps("- { id: a, set: { x: 1 } }\n- { id: b, log: '${ vars.x }' }\n"));
}

#[test]
fn one_answer() {
    fires(
        &steps("- { id: a, condition: 1 < 2, then: [{ id: b, delay: 1 }] }\n"),
        &["3:23 W_CONSTANT"],
    );
    quiet(&steps("- { id: a, condition: agent.id < 'x', then: [{ id: b, delay: 1 }] }\n"));
    fires(&steps("- { id: a, if: false, delay: 1 }\n"), &["3:16 W_CONSTANT"]);
    quiet(&steps("- { id: a, enabled: false, delay: 1 }\n"));
    let wild = "- { id: l, loop: { while: 'true' }, do: [{ id: a, INNER }] }\n";
    fires(&steps(&wild.replace("INNER", "delay: 1")), &["3:28 W_CONSTANT"]);
    quiet(&steps(
        &wild.replace("INNER", "condition: agent.id == 'x', then: [{ id: z, succeed: {} }]"),
    ));
}

#[test]
fn unreachable() {
    let catch = "- id: t\n  try: [{ id: a, plugin: p@1 }]\n  catch:\n    \
                 - { FIRST do: [{ id: b, delay: 1 }] }\n    - { errors: [SECOND], do: [{ id: c, delay: 1 }] }\n";
    let with = |one: &str, two: &str| steps(&catch.replace("FIRST", one).replace("SECOND", two));
    fires(&with("", "timeout"), &["7:9 W_UNREACHABLE"]);
    fires(&with("errors: [plugin.*],", "plugin.error"), &["7:9 W_UNREACHABLE"]);
    quiet(&with("", "limit.payload"));
    quiet(&with("errors: [timeout],", "'*'"));
    quiet(&with("when: error.retryable,", "timeout"));
    let policies = "- { id: a, plugin: p@1, retry: [{ errors: ['*'] }, { errors: [timeout] }] }\n";
    fires(&steps(policies), &["3:52 W_UNREACHABLE"]);
    quiet(&steps(&policies.replace("['*']", "[http.*]")));
    fires(
        &steps(
            "- { id: a, fail: { code: user.x } }\n- { id: b, delay: 1 }\n- { id: c, delay: 1 }\n",
        ),
        &["4:9 W_UNREACHABLE"],
    );
    quiet(&steps(
        "- { id: a, if: agent.id == 'x', fail: { code: user.x } }\n- { id: b, delay: 1 }\n",
    ));
    fires(
        &steps(
            "- { id: a, plugin: p@1, continue_on_error: true, on_failure: b }\n- { id: c, delay: 1 }\n- { id: b, delay: 1 }\n",
        ),
        &["3:50 W_UNREACHABLE"],
    );
    let switch = "- { id: s, switch: null, cases: [{ when: 'true', do: [{ id: a, delay: 1 }] }, \
                  { when: agent.id == 'x', do: [{ id: b, delay: 1 }] }] }\n";
    fires(&steps(switch), &["3:26 W_UNREACHABLE"]);
}

#[test]
fn a_comment_keeps_it_quiet() {
    let text = "- { id: a, approval: Sure? }\n";
    fires(&steps(text), &["3:9 W_NO_TIMEOUT"]);
    quiet(&steps(&text.replace('\n', "  # lint: allow W_NO_TIMEOUT\n")));
    quiet(&steps(&format!("# lint: allow W_RACE, W_NO_TIMEOUT\n{text}")));
    fires(&steps(&text.replace('\n', "  # lint: allow W_RACE\n")), &["3:9 W_NO_TIMEOUT"]);
    fires(
        &steps(&format!("- {{ id: z, delay: 1 }}  # lint: allow W_NO_TIMEOUT\n{text}")),
        &["4:9 W_NO_TIMEOUT"],
    );
}

#[test]
fn places_of_canonical_documents() {
    let text = steps(
        "- { id: a, type: wait, config: { signal: go } }\n- { id: b, type: set, config: { id: 1 } }\n- { id: c, type: log, config: { message: '${ vars.id }' } }\n",
    );
    fires(&text, &["3:9 W_NO_TIMEOUT"]);
}
