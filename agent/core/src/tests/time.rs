//! Delays, timeouts and restarts.

use openclaw_protocol::time::ClockTrust;

use super::{World, minutes, seconds};

const DELAY: &str = "{workflow: w, steps: [{id: d, delay: 10m}]}";

#[test]
fn a_delay_runs_on_the_boot_clock() {
    let mut world = World::new(DELAY);
    world.start("{}");
    assert_eq!(world.engine.next_deadline(), Some((world.now.boot_ms + minutes(10), "delay")));
    // The wall clock jumps; the delay does not care.
    world.now.wall_ms += 86_400_000;
    world.pass(minutes(10) - 1).pass(1);
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began
      told 1 accepted manual {}; answer 1; 2 began; 3 d started delay(1); 4 d delayed(0) 600000ms
    > +599999ms
    > +1ms
      fact timer d delay; settled
      told 5 d succeeded(1) {"waited_ms":600000}; 6 Completed {}; result Completed
    "#);
}

#[test]
fn computed_delays() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, delay: '${ 0 - 5 }' }
  - { id: b, delay: '${ \"1m30s\" }' }
  - { id: c, delay: '${ duration(\"2s\") }' }
  - { id: d, delay: '${ [1] }' }
",
    );
    world.start("{}").sleep(minutes(2));
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began
      told 1 accepted manual {}; answer 1; 2 began; 3 a started delay(1); 4 a succeeded(1) {"waited_ms":0}; 5 b started delay(1); 6 b delayed(0) 90000ms
    > +90000ms
      fact timer b delay
      told 7 b succeeded(1) {"waited_ms":90000}; 8 c started delay(1); 9 c delayed(0) 2000ms
      do   (lazily)
    > +2000ms
      fact timer c delay; settled
      told 10 c succeeded(1) {"waited_ms":2000}; 11 d started delay(1); 12 d failed(1) expr.type; 13 Failed {} expr.type: delay: list is no duration; give seconds or text such as `5m`; result Failed
    > +28000ms
    "#);
}

#[test]
fn a_restart_of_the_agent_does_not_prolong_a_delay() {
    let mut world = World::new(DELAY);
    world.start("{}");
    world.now.boot_ms += minutes(4);
    world.restart(true);
    assert_eq!(world.engine.next_deadline().unwrap().0, world.now.boot_ms + minutes(6));
}

#[test]
fn downtime_counts_only_if_the_clock_was_trusted_before_and_after() {
    for (before, after, left) in [
        (ClockTrust::Synced, ClockTrust::Synced, minutes(5) - seconds(10)),
        (ClockTrust::Synced, ClockTrust::Estimated, minutes(10) - seconds(10)),
        (ClockTrust::Estimated, ClockTrust::Synced, minutes(10) - seconds(10)),
    ] {
        let mut world = World::new(DELAY);
        world.now.trust = before;
        world.start("{}");
        world.now.trust = after;
        world.reboot(minutes(5));
        let due = world.engine.next_deadline().unwrap().0;
        assert_eq!(due - world.now.boot_ms, left, "{before:?} {after:?}");
    }
}

#[test]
fn what_had_passed_before_a_reboot_is_known_from_the_last_sign_of_life() {
    let mut world = World::new(DELAY);
    world.now.trust = ClockTrust::Estimated;
    world.start("{}");
    let mut alive = world.now;
    alive.boot_ms += minutes(4);
    world.lose();
    world.now.boot += 1;
    world.now.boot_ms = seconds(10);
    world.engine = world.restored();
    world.engine.set_last_alive(alive);
    world.deploy();
    world.input("restarted", crate::Input::Restarted { unclean: true });
    let left = world.engine.next_deadline().unwrap().0 - world.now.boot_ms;
    assert_eq!(left, minutes(6) - seconds(10));
    // The next restart comes to the same, because the sign of life is in the journal.
    world.restart(true);
    assert_eq!(world.engine.next_deadline().unwrap().0 - world.now.boot_ms, left);
}

#[test]
fn an_attempt_that_takes_too_long_is_stopped_and_retried() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, timeout: 5s, retry: { max_retries: 1, backoff: constant, delay: 1s } }
",
    );
    world.start("{}").transcript();
    world
        .pass(seconds(5))
        .err("a", "cancelled")
        .pass(seconds(1))
        .pass(seconds(5))
        .pass(seconds(10));
    insta::assert_snapshot!(world.transcript(), @r"
    > +5000ms
      fact timer a attempt timeout
      do   stop a(1) TimedOut
    > err a cancelled
      fact end a(1) cancelled
      told 5 a delayed(1) 1000ms after timeout
    > +1000ms
      fact timer a retry; start a(2)
      told 6 a queued(2); 7 a started plugin(2)
      do   call a(2) {}; (lazily)
    > +5000ms
      fact timer a attempt timeout
      do   stop a(2) TimedOut
    > +10000ms
      fact timer a grace; settled
      told 8 a failed(2) timeout; 9 Failed {} timeout: the attempt took longer than 5000 ms; result Failed
    ");
}

#[test]
fn a_call_that_is_given_up_keeps_its_slot_until_it_answers() {
    let mut world = World::with(
        &["{workflow: w, mode: parallel, steps: [{id: a, plugin: p@1, timeout: 5s, retry: none}]}"],
        1,
    );
    world.start("{}").start("{}").pass(seconds(5)).pass(seconds(10));
    assert_eq!(world.engine.queue().running, 1);
    assert_eq!(world.engine.queue().waiting, 1);
    world.ok("a", "1");
    assert_eq!(world.engine.queue().waiting, 0);
    assert_eq!(world.engine.queue().failed, 1);
}

#[test]
fn total_timeout_ends_the_waiting_for_a_retry() {
    let mut world = World::new(
        "
workflow: w
steps:
  - { id: a, plugin: p@1, total_timeout: 30s, retry: { max_retries: 9, backoff: constant, delay: 20s } }
",
    );
    world
        .start("{}")
        .err("a", "plugin.error")
        .pass(seconds(20))
        .err("a", "plugin.error")
        .transcript();
    world.pass(seconds(10));
    insta::assert_snapshot!(world.transcript(), @r"
    > +10000ms
      fact timer a total timeout; settled
      told 9 a failed(2) timeout; 10 Failed {} timeout: the step with its retries took longer than 30000 ms; result Failed
    ");
}

#[test]
fn a_composite_that_takes_too_long_is_emptied() {
    let mut world = World::new(
        "
workflow: w
steps:
  - id: l
    timeout: 10s
    loop: { times: 3 }
    do: [{ id: d, delay: 4s }]
",
    );
    world.start("{}").sleep(seconds(20));
    insta::assert_snapshot!(world.transcript(), @r#"
    > start
      fact accepted; began
      told 1 accepted manual {}; answer 1; 2 began; 3 l started loop(1); 4 l#0/d started delay(1); 5 l#0/d delayed(0) 4000ms
    > +4000ms
      fact timer l#0/d delay
      told 6 l#0/d succeeded(1) {"waited_ms":4000}; 7 l#1/d started delay(1); 8 l#1/d delayed(0) 4000ms
      do   (lazily)
    > +4000ms
      fact timer l#1/d delay
      told 9 l#1/d succeeded(1) {"waited_ms":4000}; 10 l#2/d started delay(1); 11 l#2/d delayed(0) 4000ms
      do   (lazily)
    > +2000ms
      fact timer l attempt timeout; settled
      told 12 l#2/d cancelled(1); 13 l failed(1) timeout; 14 Failed {} timeout: the attempt took longer than 10000 ms; result Failed
    > +10000ms
    "#);
}

#[test]
fn the_run_as_a_whole_has_a_timeout() {
    let mut world = World::new(
        "
workflow: w
timeout: 1m
steps: [{ id: a, plugin: p@1, timeout: 1h }]
on_failure: [{ id: f, set: { x: '${ error.code }' } }]
",
    );
    world.start("{}").transcript();
    world.pass(minutes(1)).err("a", "cancelled");
    insta::assert_snapshot!(world.transcript(), @r"
    > +60000ms
      fact timer  run timeout
      do   stop a(1) Cancelled
    > err a cancelled
      fact end a(1) cancelled; settled
      told 5 a cancelled(1); 6 f started set(1); 7 f succeeded(1); 8 Failed {} timeout: the run took longer than 60000 ms; result Failed
    ");
}
