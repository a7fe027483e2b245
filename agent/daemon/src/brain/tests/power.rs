//! The power goes at every sync of a run of twenty steps: the run ends all the same, every effect
//! happens, and each result is there once.

use std::collections::BTreeMap;

use super::*;

pub(super) const STEPS: usize = 20;

/// What the world outside saw: idempotency key → inputs it came with.
pub(super) type Ledger = BTreeMap<String, Vec<String>>;

/// Plays one run to its end, switching the power on again whenever it went. Whether it went.
fn play(device: &mut Device, ledger: &mut Ledger) -> Result<bool, String> {
    let mut cut = false;
    let mut acknowledged = None;
    for _ in 0..10 {
        match live(device, ledger, &mut acknowledged) {
            Ok(()) => return Ok(cut),
            Err(_) if device.disk.is_dead() => {
                cut = true;
                device.brain = None;
                device.disk.revive();
            }
            // The power went while the file was being made: nothing had begun, and the file is
            // set aside (see `store::open_or_quarantine`).
            Err(StoreError::Damaged(_)) if cut && !device.ever_started => device.disk.wipe(),
            Err(e) => return Err(e.to_string()),
        }
    }
    Err("the run does not end".to_owned())
}

/// One life of the device: until the run has ended, or the power is gone.
pub(super) fn live(
    device: &mut Device,
    ledger: &mut Ledger,
    acknowledged: &mut Option<String>,
) -> Result<(), StoreError> {
    device.start()?;
    let is_there = device.status().unsettled > 0 || !device.results().is_empty();
    if let Some(run) = acknowledged {
        assert!(is_there, "run {run} was acknowledged and is gone");
    }
    if !is_there {
        *acknowledged = device.begin("long")?;
    }
    loop {
        let calls = device.calls();
        if calls.is_empty() {
            return Ok(());
        }
        for call in calls {
            let inputs = ledger.entry(call.idempotency_key.clone()).or_default();
            inputs.push(call.input.as_str().to_owned());
            device.answer(&call)?;
        }
    }
}

pub(super) fn judge(device: &Device, ledger: &Ledger, context: &str) {
    let results = device.results();
    assert_eq!(results.len(), 1, "{context}: each result once");
    assert_eq!(results[0].status, RunStatus::Completed, "{context}");
    assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": STEPS }), "{context}");
    assert_eq!(ledger.len(), STEPS, "{context}: every effect under its own key");
    for (key, inputs) in ledger {
        assert!(inputs.iter().all(|input| *input == inputs[0]), "{context}: {key}: {inputs:?}");
        assert!(inputs.len() <= 3, "{context}: {key} was repeated {} times", inputs.len());
    }
}

#[test]
fn a_power_cut_at_every_sync_of_a_run() {
    let workflow = chain("long", STEPS);
    let (mut cuts, mut last_cut) = (0, 0);
    for seed in 0..3 {
        for cut in 1.. {
            let mut device = Device::new(1_000 * seed + cut, vec![workflow.clone()]);
            device.disk.cut_at_sync(cut);
            let mut ledger = Ledger::new();
            let was_cut = play(&mut device, &mut ledger).unwrap();
            judge(&device, &ledger, &format!("seed {seed}, cut at sync {cut}"));
            if !was_cut {
                last_cut = cut;
                break;
            }
            cuts += 1;
        }
    }
    assert!(last_cut > STEPS as u64, "a run has more syncs than steps: {last_cut}");
    assert!(cuts >= 3 * STEPS, "{cuts} cuts");
}

#[test]
fn a_second_cut_while_it_recovers() {
    let workflow = chain("long", STEPS);
    // The first syncs make the file, which the test above cuts.
    for cut in (3..30).step_by(3) {
        for again in 1..4 {
            let mut device = Device::new(cut * 31 + again, vec![workflow.clone()]);
            device.disk.cut_at_sync(cut);
            let mut ledger = Ledger::new();
            let mut acknowledged = None;
            if live(&mut device, &mut ledger, &mut acknowledged).is_err() {
                device.brain = None;
                device.disk.revive();
                device.disk.cut_at_sync(again);
                play(&mut device, &mut ledger).unwrap();
            }
            judge(&device, &ledger, &format!("cuts at {cut} and {again}"));
        }
    }
}

#[test]
fn control_without_syncs_a_run_is_lost() {
    let workflow = chain("long", STEPS);
    let harmed = (0..20).any(|seed| {
        let mut device = Device::new(seed, vec![workflow.clone()]);
        device.start().unwrap();
        device.disk.lie();
        let mut ledger = Ledger::new();
        device.begin("long").unwrap().unwrap();
        for _ in 0..STEPS / 2 {
            let call = device.calls().remove(0);
            ledger.entry(call.idempotency_key.clone()).or_default();
            device.answer(&call).unwrap();
        }
        device.disk.cut();
        // Even closing such a disk may panic, as may opening it.
        let lives = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            device.brain = None;
            device.disk.revive();
            device.start().is_ok() && device.status().unsettled == 1
        }));
        !matches!(lives, Ok(true))
    });
    assert!(harmed, "the harness would not notice a missing sync");
}

/// One run that goes through one cut, or two.
fn cut_and_judge(seed: u64, cut: u64, again: Option<u64>, workflow: &Deployed) {
    let mut device = Device::new(seed, vec![workflow.clone()]);
    device.disk.cut_at_sync(cut);
    let (mut ledger, mut acknowledged) = (Ledger::new(), None);
    let context = format!("seed {seed}, cuts at {cut} and {again:?}");
    let ended = live(&mut device, &mut ledger, &mut acknowledged).is_ok();
    if let Some(again) = again.filter(|_| !ended && device.ever_started) {
        device.brain = None;
        device.disk.revive();
        device.disk.cut_at_sync(again);
    }
    if !ended {
        play(&mut device, &mut ledger).unwrap_or_else(|e| panic!("{context}: {e}"));
    }
    judge(&device, &ledger, &context);
}

#[test]
#[ignore = "the long size: 2,000 cuts, half of them with a second one; `make chaos` runs it"]
fn long_two_thousand_cuts_of_a_run() {
    let workflow = chain("long", STEPS);
    for n in 0..2_000 {
        let again = (n % 2 == 1).then_some(1 + n % 5);
        cut_and_judge(50_000 + n, 1 + n % (STEPS as u64 + 4), again, &workflow);
    }
    println!("2,000 cuts: each result once, every effect under one key with one input");
}
