//! What each kind of step gives and does, by how runs end.

use openclaw_protocol::json::JsonText;
use openclaw_protocol::time::ClockTrust;

use super::{World, minutes, seconds};
use crate::Input;

/// Runs a workflow that needs nobody and tells how it ended.
fn end_of(steps: &str, outputs: &str) -> String {
    let text = format!(
        "{{workflow: w, vars: {{x: 0, log: ''}}, steps: {steps}, outputs: {{it: {{value: {outputs:?}}}}}}}"
    );
    let mut world = World::new(&text);
    world.start("{}");
    ending(&mut world)
}

/// The last thing that was told of the run's outcome.
pub(super) fn ending(world: &mut World) -> String {
    let transcript = world.transcript();
    let told = transcript.split("; ").filter(|told| {
        ["Completed ", "Failed ", "Cancelled "]
            .iter()
            .any(|status| told.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(status)))
    });
    let last = told.last().unwrap_or_else(|| panic!("it has not ended:\n{transcript}"));
    last.split_once(' ').unwrap().1.to_owned()
}

#[test]
fn a_switch_takes_the_first_case_that_matches() {
    for (x, expected) in [
        ("1", r#"Completed {"it":["one",1]}"#),
        ("2.0", r#"Completed {"it":["two",2]}"#),
        ("7", r#"Completed {"it":["many",2]}"#),
        ("-1", r#"Completed {"it":["other",null]}"#),
    ] {
        // A number of the subject equals one of the case whatever the types; `when` is told by its
        // position.
        let steps = format!(
            "[{{id: s, switch: '{x}', cases: [
                {{case: 1, do: [{{id: a, set: {{log: one}}}}]}},
                {{case: 2, do: [{{id: b, set: {{log: two}}}}]}},
                {{when: '{x} > 5', do: [{{id: c, set: {{log: many}}}}]}},
              ], default: [{{id: d, set: {{log: other}}}}]}}]"
        );
        assert_eq!(end_of(&steps, "${ [vars.log, steps.s.output.case] }"), expected, "{x}");
    }
}

#[test]
fn a_switch_without_a_match_fails_and_its_ids_are_edges() {
    let none = "[{id: s, switch: 'vars.x', cases: [{case: 1, do: [{id: a, set: {x: 1}}]}]}]";
    assert!(end_of(none, "${ 1 }").starts_with("Failed {} condition.no_match"));
    let edges =
        "[{id: s, switch: 'vars.x', cases: [{case: 0, do: a}, {case: 1, do: b}], default: c},
        {id: a, set: {log: a}, next_steps: [z]}, {id: b, set: {log: b}, next_steps: [z]},
        {id: c, set: {log: c}, next_steps: [z]}, {id: z, set: {log: '${ vars.log + \"z\" }'}}]";
    assert_eq!(
        end_of(edges, "${ [vars.log, steps.b.status, steps.c.status] }"),
        r#"Completed {"it":["az","skipped","skipped"]}"#
    );
}

#[test]
fn a_foreach_keeps_the_order_of_its_items_and_its_writes_to_itself() {
    let steps = "[{id: f, foreach: {in: '[3, 1, 2]', as: n, index: i, concurrency: 2,
        collect: 'n * 10 + i + vars.x'}, do: [{id: a, set: {x: '${ n }'}}]}]";
    assert_eq!(
        end_of(steps, "${ [steps.f.output, vars.x] }"),
        r#"Completed {"it":[{"items":[33,12,24],"failed":0},0]}"#
    );
    let entries =
        "[{id: f, foreach: {in: '{\"b\": 2, \"a\": 1}', collect: 'item.key + string(item.value)'},
        do: [{id: a, set: {x: 1}}]}]";
    let expected = r#"Completed {"it":["a1","b2"]}"#;
    assert_eq!(end_of(entries, "${ steps.f.output.items }"), expected);
    let empty = "[{id: f, foreach: {in: '[]'}, do: [{id: a, set: {x: 1}}]}]";
    let expected = r#"Completed {"it":{"items":[],"failed":0}}"#;
    assert_eq!(end_of(empty, "${ steps.f.output }"), expected);
    let wrong = "[{id: f, foreach: {in: '1'}, do: [{id: a, set: {x: 1}}]}]";
    assert!(end_of(wrong, "${ 1 }").starts_with("Failed {} expr.type"));
}

#[test]
fn a_foreach_fails_as_it_is_told_to() {
    let foreach = |more: &str| {
        format!(
            "[{{id: f, foreach: {{in: '[0, 1, 2, 3]', {more}}}, do: [
                {{id: c, condition: 'item % 2 == 0', else: [
                    {{id: no, fail: {{code: user.odd, message: odd}}}}]}},
                {{id: v, set: {{x: 1}}, export: {{log: '${{ vars.log + string(item) }}'}}}}]}}]"
        )
    };
    let result = |more: &str| end_of(&foreach(more), "${ [steps.f.output.failed, vars.log] }");
    assert!(result("mode: fail_fast").starts_with("Failed {} user.odd"));
    assert!(result("tolerate: 1").starts_with("Failed {} user.odd"));
    assert!(result("mode: wait_all").starts_with("Failed {} user.odd"));
    // Each iteration sees the variables as they were; the last export counts.
    assert_eq!(result("tolerate: 2"), r#"Completed {"it":[2,"2"]}"#);
    assert_eq!(result("tolerate: 50%"), r#"Completed {"it":[2,"2"]}"#);
}

#[test]
fn try_catches_and_finally_runs() {
    let attempt = |body: &str, catch: &str, finally: &str| {
        format!(
            "[{{id: t, try: [{body}], catch: [{{errors: [user.a, 'user.b.*'], as: why, do: [
                {{id: c, set: {{log: '${{ vars.log + why.code }}'}}}}{catch}]}}],
              finally: [{{id: f, set: {{log: '${{ vars.log + \"!\" }}'}}}}{finally}]}}]"
        )
    };
    let fail = |code: &str| format!("{{id: x, fail: {{code: {code}, message: m}}}}");
    let log = "${ vars.log }";
    assert_eq!(end_of(&attempt("{id: x, set: {x: 1}}", "", ""), log), r#"Completed {"it":"!"}"#);
    let caught = end_of(&attempt(&fail("user.a"), "", ""), log);
    assert_eq!(caught, r#"Completed {"it":"user.a!"}"#);
    let caught = end_of(&attempt(&fail("user.b.c"), "", ""), log);
    assert_eq!(caught, r#"Completed {"it":"user.b.c!"}"#);
    let not_caught = end_of(&attempt(&fail("user.c"), "", ""), log);
    assert!(not_caught.starts_with("Failed {} user.c"), "{not_caught}");
    let again = ", {id: y, fail: {code: user.again, message: m}}";
    assert!(end_of(&attempt(&fail("user.a"), again, ""), log).starts_with("Failed {} user.again"));
    // An error of `finally` replaces a success.
    assert!(
        end_of(&attempt("{id: x, set: {x: 1}}", "", again), log).starts_with("Failed {} user.ag")
    );
    assert!(end_of(&attempt(&fail("user.c"), "", again), log).starts_with("Failed {} user.c"));
}

#[test]
fn finally_is_shielded_from_a_cancellation_and_not_from_force() {
    let text = "{workflow: w, steps: [{id: t, try: [{id: d, delay: 1h}],
        finally: [{id: tidy, plugin: p@1}]}]}";
    let mut world = World::new(text);
    world.start("{}").cancel(1, false);
    assert_eq!(world.calls.len(), 1, "it tidies up");
    world.ok("t[finally]/tidy", "1");
    assert_eq!(ending(&mut world), "Cancelled {}");
    let mut world = World::new(text);
    world.start("{}").cancel(1, false).cancel(1, true);
    assert_eq!(ending(&mut world), "Cancelled {}");
    let mut world = World::new(text);
    world.start("{}").cancel(1, false).pass(seconds(31));
    world.pass(seconds(10));
    assert_eq!(ending(&mut world), "Cancelled {}", "it has 30 s, and its call 10 s to stop");
}

#[test]
fn what_was_done_is_undone_latest_first() {
    let step = |id: &str, more: &str| {
        format!(
            "{{id: {id}, plugin: p@1, retry: none{more}, compensate: [
                {{id: un_{id}, plugin: p.undo@1, with: {{was: '${{ output }}'}}}}]}}"
        )
    };
    let text = format!(
        "{{workflow: w, steps: [{}, {}, {{id: c, plugin: p@1, retry: none}}]}}",
        step("a", ""),
        step("b", "")
    );
    let mut world = World::new(&text);
    world.start("{}").ok("a", "1").ok("b", "2").err("c", "plugin.error");
    assert_eq!(world.calls[0].attempt.step.0, "b[undo]/un_b");
    assert_eq!(world.calls[0].input.as_str(), r#"{"was":2}"#);
    world.restart(true).ok("b[undo]/un_b", "null").ok("a[undo]/un_a", "null");
    assert!(ending(&mut world).starts_with("Failed {} plugin.error: it did not work"));
    // One that fails does not keep the others from being run, and is told.
    let mut world = World::new(&text);
    world.start("{}").ok("a", "1").ok("b", "2").cancel(1, false).pass(seconds(10));
    let retries = 6;
    for _ in 0..retries {
        world.err("b[undo]/un_b", "plugin.error").sleep(seconds(40));
    }
    world.ok("a[undo]/un_a", "null");
    let ending = ending(&mut world);
    assert!(ending.starts_with("Failed {} compensation.incomplete"), "{ending}");
}

#[test]
fn a_saga_undoes_its_own_and_what_ended_well_stays() {
    let text = "{workflow: w, steps: [
        {id: s, sequence: {steps: [{id: a, plugin: p@1, retry: none, compensate: [
                {id: un_a, plugin: p@1}]}, {id: b, plugin: p@1, retry: none}],
            compensation: {run_on: [failed]}}, continue_on_error: true},
        {id: c, plugin: p@1, retry: none}]}";
    let mut world = World::new(text);
    world.start("{}").ok("s/a", "1").err("s/b", "plugin.error").ok("s/a[undo]/un_a", "1");
    world.ok("c", "1");
    assert_eq!(ending(&mut world), "Completed {}");
    let mut world = World::new(text);
    world.start("{}").ok("s/a", "1").ok("s/b", "1").err("c", "plugin.error");
    assert!(ending(&mut world).starts_with("Failed"), "nothing is undone");
}

#[test]
fn succeed_ends_the_run_from_any_depth() {
    let steps = "[{id: p, parallel: {branches: {a: [{id: d, delay: 1h}],
        b: [{id: t, try: [{id: e, succeed: {it: 7}}], finally: [{id: f, set: {x: 1}}]}]}}},
        {id: never, set: {x: 2}}]";
    assert_eq!(end_of(steps, "${ vars.x }"), r#"Completed {"it":7}"#);
    let declared = "[{id: a, set: {x: 3}}, {id: b, succeed: {}}, {id: c, set: {x: 4}}]";
    assert_eq!(end_of(declared, "${ vars.x }"), r#"Completed {"it":3}"#);
}

#[test]
fn a_failure_says_what_its_author_says() {
    let steps = "[{id: t, try: [{id: f, fail: {code: user.low, message: 'n=${ vars.x }',
        details: {n: [1]}}}], catch: [{do: [{id: c, set: {log: '${ error }'}}]}]}]";
    assert_eq!(
        end_of(steps, "${ [vars.log.code, vars.log.message, vars.log.details, vars.log.step] }"),
        r#"Completed {"it":["user.low","n=0",{"n":[1]},"t/f"]}"#
    );
}

#[test]
fn a_deadline_waits_for_a_clock_that_can_be_believed() {
    let text = "{workflow: w, steps: [{id: d, delay: {until: '2026-03-02T10:05:00Z'}}]}";
    let mut world = World::new(text);
    world.start("{}").sleep(minutes(4));
    assert!(world.results().is_empty());
    world.sleep(minutes(1));
    assert_eq!(ending(&mut world), "Completed {}");
    // The clock is wrong at first, and then months ahead.
    let mut world = World::new(text);
    world.now.trust = ClockTrust::Unset;
    world.start("{}").sleep(minutes(10));
    assert!(world.transcript().contains("d waits for clock"));
    world.now.trust = ClockTrust::Synced;
    world.sleep(minutes(1));
    assert_eq!(ending(&mut world), "Completed {}");
}

#[test]
fn a_loop_with_a_beat_keeps_it() {
    let text = "{workflow: w, steps: [{id: l, loop: {times: 3, every: 10s, collect: 'now'},
        do: [{id: d, delay: '${ loop.index == 0 ? 3 : 1 }'}]}],
        outputs: {it: {value: '${ steps.l.output.items.map(t, int((t - execution.started_at).getSeconds())) }'}}}";
    let mut world = World::new(text);
    world.start("{}").sleep(seconds(15)).sync();
    world.restart(true).sleep(seconds(30));
    assert_eq!(ending(&mut world), r#"Completed {"it":[3,11,21]}"#);
}

#[test]
fn each_policy_has_its_own_counter() {
    let text = "{workflow: w, steps: [{id: a, plugin: p@1, retry: [
        {errors: [http.*], max_retries: 1, delay: 1s, backoff: constant},
        {errors: ['*'], max_retries: 2, delay: 5s, backoff: constant}]}]}";
    let mut world = World::new(text);
    world.start("{}").err("a", "http.status").pass(seconds(1)).err("a", "plugin.error");
    world.pass(seconds(5)).err("a", "plugin.error").pass(seconds(5)).err("a", "http.status");
    assert!(ending(&mut world).starts_with("Failed {} http.status"), "its one retry is used up");
}

#[test]
fn a_full_queue_does_what_the_workflow_says() {
    let text = |rule: &str| {
        format!("{{workflow: w, max: 1, max_exceeded: {rule}, steps: [{{id: d, delay: 1h}}]}}")
    };
    let mut world = World::new(&text("drop_newest"));
    world.start("{}").start("{}").start("{}");
    assert!(world.transcript().contains("refused queue_full"));
    let mut world = World::new(&text("drop_oldest"));
    world.start("{}").start("{}").start("{}");
    assert!(world.transcript().contains("dropped queue_full"));
    assert_eq!(world.results().iter().map(|one| one.0).collect::<Vec<_>>(), [2]);
    let mut world = World::new(&text("fail"));
    world.start("{}").start("{}").start("{}");
    assert!(ending(&mut world).starts_with("Failed {} limit.runs"));
}

#[test]
fn a_concurrency_key_makes_lanes() {
    let text = "{workflow: w, concurrency_key: inputs.device, inputs: {device: {type: string}},
        steps: [{id: a, plugin: p@1}]}";
    let mut world = World::new(text);
    for device in ["x", "y", "x"] {
        world.start(&format!(r#"{{"device":"{device}"}}"#));
    }
    assert_eq!(world.calls.len(), 2);
    world.restart(true);
    assert_eq!(world.calls.len(), 2);
    world.ok("a", "1");
    assert_eq!(world.calls.len(), 2);
}

#[test]
fn a_journal_replays_to_the_same_and_names_where_it_does_not() {
    let text =
        "{workflow: w, vars: {n: 0}, steps: [{id: a, plugin: p@1, with: {r: '${ rand(\"x\") }'},
        retry: {max_retries: 1, delay: 5s, jitter: full}}, {id: b, set: {n: '${ steps.a.output }'}},
        {id: c, delay: 3s}, {id: d, plugin: p.go@1, with: {n: '${ vars.n }'}}]}";
    let mut world = World::new(text);
    world.start("{}").err("a", "plugin.error").sleep(seconds(6)).ok("a", "7").sleep(seconds(3));
    world.restart(true).ok("d", "true");
    let (run, facts) = world.disk.runs[&1].clone();
    let definition = world.workflows[0].canonical.clone();
    let (agent, tzdb) = ("0".to_owned(), "0".to_owned());
    let mut recording = crate::replay::Recording {
        recording: 1,
        agent,
        tzdb,
        run,
        seed: 1,
        definition,
        migrated: Vec::new(),
        snapshot: None,
        facts,
        tapes: Vec::new(),
    };
    let told: Vec<_> = world.events();
    let replay = recording.replay().unwrap();
    assert_eq!(replay.divergence, None);
    assert!(replay.is_settled);
    assert_eq!(replay.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), told);
    let inputs: Vec<&str> = replay.calls.iter().map(|call| call.input.as_str()).collect();
    assert_eq!(inputs[2..], [r#"{"n":7}"#, r#"{"n":7}"#], "the interrupted one was made twice");
    let json = serde_json::to_string(&recording).unwrap();
    assert_eq!(serde_json::from_str::<crate::replay::Recording>(&json).unwrap(), recording);
    // A plugin that answered something else is noticed at the next fact.
    let changed = recording.facts.iter().position(|record| {
        matches!(
            &record.fact,
            crate::Fact::AttemptSettled { outcome: crate::AttemptOutcome::Succeeded { .. }, .. }
        )
    });
    let changed = changed.unwrap();
    if let crate::Fact::AttemptSettled { outcome, .. } = &mut recording.facts[changed].fact {
        let output = JsonText::parse("8").unwrap();
        *outcome = crate::AttemptOutcome::Succeeded { output, vars: None };
    }
    assert_eq!(recording.replay().unwrap().divergence.unwrap().fact, changed + 1);
}

#[test]
fn a_failed_run_is_done_again_from_where_it_failed() {
    let text = "{workflow: w, steps: [{id: a, plugin: p@1, output: {x: '${ output + 1.0 }'}},
        {id: d, delay: 1h}, {id: s, sequence: {steps: [{id: b, plugin: p@1, retry: none,
            compensate: [{id: un_b, plugin: p@1}]}, {id: c, plugin: p@1, retry: none}],
          compensation: {run_on: [failed]}}}],
        outputs: {x: {value: '${ steps.a.output.x }'}}}";
    let mut world = World::new(text);
    world.start("{}").ok("a", "1").sleep(minutes(60)).ok("s/b", "2").err("s/c", "plugin.error");
    world.ok("s/b[undo]/un_b", "null");
    assert!(ending(&mut world).starts_with("Failed"));
    let (run, facts) = world.disk.runs[&1].clone();
    let recording = crate::replay::Recording {
        recording: 1,
        agent: String::new(),
        tzdb: String::new(),
        run: run.clone(),
        seed: 1,
        definition: world.workflows[0].canonical.clone(),
        migrated: Vec::new(),
        snapshot: None,
        facts,
        tapes: Vec::new(),
    };
    let given = recording.replay().unwrap().results;
    let steps: Vec<&str> = given.iter().map(|(step, _)| step.0.as_str()).collect();
    assert_eq!(steps, ["a", "d"], "what was undone is not taken for done");
    let wish = crate::StartRequest {
        workflow: world.workflows[0].name.clone(),
        inputs: JsonText::parse("{}").unwrap(),
        priority: None,
        request: None,
        again: Some(crate::Again { of: run, given }),
    };
    world.input("again", Input::Start(wish));
    world.restart(true).ok("s/b", "2").ok("s/c", "3");
    assert_eq!(ending(&mut world), r#"Completed {"x":2}"#);
}
