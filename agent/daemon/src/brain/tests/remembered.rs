//! What plugins remember and publish: with the result it came with, once, or not at all.

use std::collections::BTreeMap;

use super::power::STEPS;
use super::*;
use crate::event::Kept;
use crate::store::{Batch, KvPlace, KvRow};
use openclaw_agent_core::Publication;
use openclaw_protocol::id::WorkflowName;

fn place() -> KvPlace {
    let workflow = Some(WorkflowName::parse("long").unwrap());
    KvPlace { plugin: "count".to_owned(), workflow }
}

fn row(value: i64) -> KvRow {
    let value = Some(value.to_string().into_bytes());
    KvRow { place: place(), key: "total".to_owned(), value }
}

/// What the device has counted, as a worker would read it.
fn total(device: &Device) -> i64 {
    let read = device.brain.as_ref().unwrap().store.blobs();
    let value = read.kv_get(&place(), "total").unwrap();
    value.map_or(0, |value| String::from_utf8(value).unwrap().parse().unwrap())
}

/// The call as a plugin makes it that counts its calls and says so at the site's broker.
fn counted(device: &Device, task: &PluginTask) -> Event {
    let Event::Settled { attempt, outcome, denials, tape, .. } = settled(task) else {
        unreachable!()
    };
    let publication = Publication {
        message_id: format!("{}.1", task.idempotency_key),
        topic: "site/count".to_owned(),
        qos: 0,
        retain: false,
        payload: b"one more".to_vec(),
        confirm: None,
    };
    let kept = Kept { kv: vec![row(total(device) + 1)], publications: vec![publication] };
    Event::Settled { attempt, outcome, denials, tape, kept: Some(Box::new(kept)) }
}

/// Plays a run to its end, however often the power goes. `apart`: what is remembered is written
/// before the result and not with it. How often the power went.
fn play(device: &mut Device, apart: bool) -> u32 {
    let mut cuts = 0;
    loop {
        match live(device, apart) {
            Ok(()) => return cuts,
            Err(e) => {
                device.survive(&e);
                cuts += 1;
            }
        }
    }
}

fn live(device: &mut Device, apart: bool) -> Result<(), StoreError> {
    device.start()?;
    if device.status().unsettled == 0 && device.results().is_empty() {
        device.begin("long")?;
    }
    loop {
        let calls = device.calls();
        if calls.is_empty() {
            return Ok(());
        }
        for call in calls {
            if apart {
                let kv = vec![row(total(device) + 1)];
                let now = device.clock.clone().now();
                device
                    .brain
                    .as_mut()
                    .unwrap()
                    .store
                    .commit(&Batch { kv, ..Batch::default() }, now)?;
                device.answer(&call)?;
            } else {
                let event = counted(device, &call);
                device.turn(vec![event])?;
            }
        }
    }
}

fn device(seed: u64) -> Device {
    let mut device = Device::new(seed, vec![chain("long", STEPS)]);
    device.has_broker = true;
    device
}

/// Where the power goes at every sync in turn: how often it went, and what was counted then.
fn at_every_sync(apart: bool) -> (u32, BTreeMap<i64, u32>) {
    let (mut cuts, mut totals) = (0, BTreeMap::new());
    for cut in 1.. {
        let mut device = device(cut);
        device.disk.cut_at_sync(cut);
        let went = play(&mut device, apart);
        assert_eq!(device.results().len(), 1, "cut at sync {cut}");
        *totals.entry(total(&device)).or_default() += 1;
        if went == 0 {
            break;
        }
        cuts += went;
        if !apart {
            let waiting = device.status().local_broker.waiting;
            assert_eq!(waiting, STEPS, "cut at sync {cut}: each message once");
        }
    }
    (cuts, totals)
}

#[test]
fn what_is_counted_is_counted_once_wherever_the_power_goes() {
    let (cuts, totals) = at_every_sync(false);
    assert!(cuts as usize > STEPS, "{cuts} cuts");
    assert_eq!(totals.into_keys().collect::<Vec<_>>(), [STEPS as i64]);
}

#[test]
fn control_what_is_written_apart_from_its_result_is_counted_twice() {
    let (_, totals) = at_every_sync(true);
    assert!(totals.keys().any(|total| *total > STEPS as i64), "{totals:?}");
}

#[test]
fn a_result_that_does_not_count_leaves_nothing_behind_and_frees_what_it_held() {
    let mut device = device(1);
    device.start().unwrap();
    device.begin("long").unwrap();
    let call = device.calls().remove(0);
    let again = counted(&device, &call);
    let event = counted(&device, &call);
    device.turn(vec![event]).unwrap();
    assert_eq!((total(&device), device.status().local_broker.waiting), (1, 1));
    assert_eq!(device.asked.freed.lock().unwrap().len(), 1);
    // The same once more: it is late.
    let before = device.calls().len();
    device.turn(vec![again]).unwrap();
    assert_eq!((before, total(&device), device.status().local_broker.waiting), (1, 1, 1));
    assert_eq!(device.asked.freed.lock().unwrap().len(), 2, "whoever waits for it may go on");
}

#[test]
fn a_plugin_that_the_device_shall_have_no_more_is_forgotten() {
    let mut device = device(1);
    device.start().unwrap();
    device.begin("long").unwrap();
    let call = device.calls().remove(0);
    let event = counted(&device, &call);
    device.turn(vec![event]).unwrap();
    device.brain = None;
    device.start().unwrap();
    assert_eq!(total(&device), 1, "a restart forgets nothing");
    device.brain = None;
    device.workflows = vec![chain("other", 1)];
    device.start().unwrap();
    assert_eq!(total(&device), 0);
}
