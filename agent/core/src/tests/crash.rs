//! Restarts in the middle of things.

use super::{World, minutes, seconds};
use crate::Input;

const TWO: &str = "{workflow: w, steps: [{id: a, plugin: p@1}, {id: b, plugin: p@1}]}";

#[test]
fn an_idempotent_attempt_runs_again_with_the_same_number_and_key() {
    let mut world = World::new(TWO);
    world.start("{}").ok("a", "1");
    let before = world.calls[0].clone();
    world.restart(true);
    let again = world.calls[0].clone();
    assert_eq!(again.attempt, before.attempt);
    assert_eq!(again.idempotency_key, before.idempotency_key);
    assert_eq!(again.input, before.input);
    assert!(again.interrupted);
    world.ok("b", "2");
    insta::assert_snapshot!(world.transcript(), @r"
    > start
      fact accepted; began; start a(1)
      told 1 accepted manual {}; answer 1; 2 began; 3 a queued(1); 4 a started plugin(1)
      do   call a(1) {}
    > ok a
      fact end a(1) ok; start b(1)
      told 5 a succeeded(1) 1; 6 b queued(1); 7 b started plugin(1)
      do   call b(1) {}
    > restarted unclean
      fact restarted; start b(1)
      told 8 resumed; 9 b queued(1); 10 b started plugin(1) again
      do   call b(1) again {}
    > ok b
      fact end b(1) ok; settled
      told 11 b succeeded(1) 2; 12 Completed {}; result Completed
    ");
}

#[test]
fn an_attempt_whose_start_was_lost_is_made_all_the_same() {
    let mut world = World::new(
        "{workflow: w, steps: [{id: a, plugin: p@1, \
          retry: {max_retries: 1, backoff: constant, delay: 1s}}]}",
    );
    world.start("{}").err("a", "plugin.error").pass(seconds(1));
    let before = world.calls[0].clone();
    assert_eq!(world.unsynced.len(), 1, "neither the wait's end nor the start needs a commit");
    world.restart(true);
    let again = world.calls[0].clone();
    assert_eq!(again.idempotency_key, before.idempotency_key);
    assert!(!again.interrupted, "nobody knows of the first call");
}

#[test]
fn one_key_never_goes_with_two_inputs() {
    // The input is of the moment in which a wait was over, or what was left over went on.
    for before in ["{id: d, delay: 1s}", "{id: l, loop: {times: 900}, do: [{id: s, set: {x: 1}}]}"]
    {
        let mut world = World::new(&format!(
            "{{workflow: w, steps: [{before}, {{id: a, plugin: p@1, with: {{at: '${{ now }}'}}}}]}}"
        ));
        world.start("{}");
        assert!(world.calls.is_empty(), "{before}");
        while world.calls.is_empty() {
            world.pass(seconds(1));
        }
        let first = world.calls[0].clone();
        world.lose();
        world.now.boot_ms += seconds(5);
        world.now.wall_ms += 5_000;
        world.revive(true);
        while world.calls.is_empty() {
            world.pass(seconds(1));
        }
        let again = world.calls[0].clone();
        assert_eq!(again.idempotency_key, first.idempotency_key, "{before}");
        assert_eq!(again.input, first.input, "{before}");
    }
}

#[test]
fn at_most_once_fails_when_interrupted() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, effects: at_most_once, on_failure: f }
  - { id: b, plugin: p@1 }
  - { id: f, set: { code: '${ steps.a.error.code }' } }
outputs: { code: { value: '${ vars.code }' } }
",
    );
    world.start("{}");
    assert!(world.unsynced.is_empty(), "its start is durable before the call");
    world.transcript();
    world.restart(true);
    insta::assert_snapshot!(world.transcript(), @r#"
    > restarted unclean
      fact restarted; settled
      told 5 resumed; 6 a failed(1) interrupted; 7 b skipped(0); 8 f started set(1); 9 f succeeded(1); 10 Completed {"code":"interrupted"}; result Completed
    "#);
}

#[test]
fn what_waits_while_the_agent_stops_has_never_begun() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, effects: at_most_once }
  - { id: b, plugin: p@1, effects: at_most_once }
",
    );
    world.start("{}").input("drain", Input::Drain).ok("a", "1").sync();
    assert!(world.calls.is_empty(), "nothing is begun any more");
    world.transcript();
    world.restart(false).ok("b", "2");
    insta::assert_snapshot!(world.transcript(), @r"
    > restarted
      fact restarted; start b(1)
      told 7 resumed; 8 b started plugin(1)
      do   call b(1) {}
    > ok b
      fact end b(1) ok; settled
      told 9 b succeeded(1) 2; 10 Completed {}; result Completed
    ");
}

#[test]
fn at_most_once_is_tried_again_if_the_author_says_so() {
    let mut world = World::new(
        "{workflow: w, steps: [{id: a, plugin: p@1, effects: at_most_once, on_interrupt: retry}]}",
    );
    world.start("{}").transcript();
    world.restart(true).ok("a", "1");
    insta::assert_snapshot!(world.transcript(), @r"
    > restarted unclean
      fact restarted; start a(2)
      told 5 resumed; 6 a queued(2); 7 a started plugin(2) again
      do   call a(2) again {}
    > ok a
      fact end a(2) ok; settled
      told 8 a succeeded(2) 1; 9 Completed {}; result Completed
    ");
}

#[test]
fn a_call_that_kills_the_agent_is_given_up_the_third_time() {
    let mut world = World::new(TWO);
    world.start("{}").transcript();
    world.restart(true).restart(true).restart(true);
    insta::assert_snapshot!(world.transcript(), @r"
    > restarted unclean
      fact restarted; start a(1)
      told 5 resumed; 6 a queued(1); 7 a started plugin(1) again
      do   call a(1) again {}
    > restarted unclean
      fact restarted; start a(1)
      told 8 resumed; 9 a queued(1); 10 a started plugin(1) again
      do   call a(1) again {}
    > restarted unclean
      fact restarted; settled
      told 11 resumed; 12 a failed(1) plugin.trap; 13 b cancelled(0); 14 Failed {} plugin.trap: crash_loop: the agent died each time this call was under way; result Failed
    ");
    assert_eq!(world.results().len(), 1);
}

#[test]
fn a_clean_stop_is_nobodys_fault() {
    let mut world = World::new(TWO);
    world.start("{}");
    for _ in 0..20 {
        world.restart(false);
    }
    assert_eq!(world.engine.runs().count(), 1);
}

#[test]
fn power_cuts_are_forgiven_nine_times() {
    let mut world = World::new(TWO);
    world.start("{}");
    for _ in 0..9 {
        world.reboot(minutes(1));
        assert_eq!(world.engine.runs().count(), 1);
    }
    world.transcript();
    world.reboot(minutes(1));
    insta::assert_snapshot!(world.transcript(), @r"
    > restarted unclean
      fact restarted; settled
      told 32 resumed; 33 a failed(1) interrupted; 34 b cancelled(0); 35 Failed {} interrupted: the device went down each time this call was under way; result Failed
    ");
}

#[test]
fn a_cancelled_call_is_over_when_the_agent_is() {
    let mut world = World::new(TWO);
    world.start("{}").cancel(1, false).transcript();
    world.restart(true);
    insta::assert_snapshot!(world.transcript(), @r"
    > restarted unclean
      fact restarted; settled
      told 7 resumed; 8 a cancelled(1); 9 Cancelled {}; result Cancelled
    ");
}

#[test]
fn runs_that_wait_their_turn_are_still_there() {
    let mut world = World::new(TWO);
    world.start("{}").start("{}").restart(true).transcript();
    world.ok("a", "1").ok("b", "2");
    insta::assert_snapshot!(world.transcript(), @r"
    > ok a
      fact end a(1) ok; start b(1)
      told 8 a succeeded(1) 1; 9 b queued(1); 10 b started plugin(1)
      do   call b(1) {}
    > ok b
      fact end b(1) ok; settled; began; start a(1)
      told 11 b succeeded(1) 2; 12 Completed {}; result Completed; 3 began; 4 a queued(1); 5 a started plugin(1)
      do   call a(1) {}
    ");
}
