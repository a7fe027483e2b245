//! The disk fails at one operation, at each of a whole workflow in turn, opening and a restart
//! included: the agent says so and opens the database anew, as `agent::run` does, and the run ends
//! with its result there once. What was acknowledged before is there, also if the power goes with
//! the failure.

use std::collections::BTreeMap;

use super::power::{Ledger, STEPS, judge, live};
use super::*;

/// What follows the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The disk is well again.
    Nothing,
    /// The power goes: what was not synced is kept or lost at random.
    PowerCut,
}

/// Plays a run to its end, with a restart in the middle. Errors are the disk's, and there are no more
/// than there were failures.
fn play(device: &mut Device, ledger: &mut Ledger, then: Then) -> Result<(), StoreError> {
    let mut acknowledged = None;
    let mut failures = 0;
    loop {
        let e = match two_lives(device, ledger, &mut acknowledged) {
            Ok(()) => return Ok(()),
            Err(e) => e,
        };
        failures += 1;
        let is_disk = matches!(e, StoreError::Database(_) | StoreError::Disk(_));
        // A file that came to harm while it was being made is set aside.
        let is_unmade = e.is_damage() && !device.ever_started;
        if device.disk.failed().is_none() || failures > 2 || !(is_disk || is_unmade) {
            return Err(e);
        }
        stays_down(device);
        device.brain = None;
        if then == Then::PowerCut && failures == 1 {
            device.disk.cut();
            device.disk.revive();
        } else if is_unmade {
            device.disk.wipe();
        }
    }
}

/// An agent that went on with a database that has failed might acknowledge what is not durable.
fn stays_down(device: &mut Device) {
    let Some(brain) = &mut device.brain else { return };
    let (reply, mut answer) = oneshot::channel();
    let inputs = serde_json::Map::new();
    let request = Request::Start { workflow: "long".into(), inputs };
    let turn = brain.turn(vec![Event::Local { request, reply }]);
    assert!(turn.is_err() && answer.try_recv().is_err(), "it goes on with a database that failed");
}

/// Half of the run, and after a restart the rest.
fn two_lives(
    device: &mut Device,
    ledger: &mut Ledger,
    acknowledged: &mut Option<String>,
) -> Result<(), StoreError> {
    if ledger.len() < STEPS / 2 {
        device.start()?;
        if device.status().unsettled == 0 {
            *acknowledged = device.begin("long")?;
        }
        while ledger.len() < STEPS / 2 {
            for call in device.calls() {
                let inputs = ledger.entry(call.idempotency_key.clone()).or_default();
                inputs.push(call.input.as_str().to_owned());
                device.answer(&call)?;
            }
        }
        device.brain = None;
    }
    live(device, ledger, acknowledged)
}

fn fails_at_each_operation(then: Then) {
    let workflow = chain("long", STEPS);
    let mut failed: BTreeMap<&str, u32> = BTreeMap::new();
    for n in 1.. {
        let mut device = Device::new(n, vec![workflow.clone()]);
        device.disk.fail_at(n);
        let mut ledger = Ledger::new();
        let played = play(&mut device, &mut ledger, then);
        let Some(operation) = device.disk.failed() else { break };
        *failed.entry(operation).or_default() += 1;
        let context = format!("{then:?}, operation {n}, a {operation}");
        played.unwrap_or_else(|e| panic!("{context}: {e}"));
        judge(&device, &ledger, &context);
    }
    println!("{then:?}: {failed:?}");
    for operation in ["read", "write", "sync", "set length"] {
        assert!(failed.contains_key(operation), "no {operation} has failed: {failed:?}");
    }
    assert!(failed.values().sum::<u32>() > 200, "{failed:?}");
}

#[test]
fn the_disk_fails_at_each_operation_of_a_run() {
    fails_at_each_operation(Then::Nothing);
}

#[test]
fn the_disk_fails_and_the_power_goes_at_each_operation_of_a_run() {
    fails_at_each_operation(Then::PowerCut);
}
