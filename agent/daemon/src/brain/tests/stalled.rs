//! A store that failed: what is found when it is opened again, and what is said until then.

use std::io;

use super::full::{Faults, fail_writes, is_well, relieve};
use super::*;
use crate::limits::ROOM_LOOK_MS;

const STEPS: usize = 5;

#[test]
fn a_run_that_is_found_damaged_when_the_store_is_opened_again_ends_as_after_a_start() {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.faults = Some(Faults::default());
    device.start().unwrap();
    let run = device.begin("long").unwrap().unwrap();
    let call = device.calls().remove(0);
    device.brain.as_ref().unwrap().store.spoil("runs", &1_u64.to_be_bytes());
    fail_writes(&device);
    device.answer(&call).unwrap();
    device.faults.as_ref().unwrap().relieve();
    device.clock.advance(ROOM_LOOK_MS);
    let error = device.turn(Vec::new()).unwrap_err();
    assert!(error.is_damage(), "{error}");
    device.brain = None;
    device.start().unwrap();
    let [result] = &device.results()[..] else { panic!("{:?}", device.results()) };
    assert_eq!((result.run.as_str(), result.status), (run.as_str(), RunStatus::Failed));
    assert_eq!(result.error.as_ref().unwrap().code, "store.damaged");
}

/// Else a full disk and one damaged run would end life after life, and the whole file be set aside.
#[test]
fn a_run_that_was_found_damaged_at_the_start_ends_although_that_cannot_be_written_at_once() {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.faults = Some(Faults::default());
    device.start().unwrap();
    device.begin("long").unwrap().unwrap();
    device.brain.as_ref().unwrap().store.spoil("runs", &1_u64.to_be_bytes());
    device.brain = None;
    device.boots += 1;
    let (faults, disk) = (device.faults.clone().unwrap(), device.disk.clone());
    let open = move || Ok(faults.backend(disk.backend()));
    let with = (limits::CACHE_BYTES, device.retention, Epoch(7));
    let mut store = Store::open_again(open, with, None).unwrap();
    let restored = store.start("boot-2").unwrap();
    fail_writes(&device);
    device.start_with(store, restored).unwrap();
    assert!(!is_well(&mut device));
    relieve(&mut device);
    assert_eq!(device.results().len(), 1);
    assert_eq!(device.status().unsettled, 0);
}

#[test]
fn what_is_found_damaged_when_the_store_is_opened_again_is_told_once() {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.faults = Some(Faults::default());
    device.start().unwrap();
    device.begin("long").unwrap().unwrap();
    while let [call, ..] = device.calls().as_slice() {
        device.answer(call).unwrap();
    }
    let told = |device: &Device| {
        let is = |report: &&Report| matches!(report, Report::Security { code, .. } if code == "store.damaged");
        device.reports().iter().filter(is).count()
    };
    device.brain.as_ref().unwrap().store.spoil("settled", &1_u64.to_be_bytes());
    for _ in 0..2 {
        fail_writes(&device);
        device.begin("long").unwrap();
        relieve(&mut device);
        assert_eq!(told(&device), 1);
    }
}

/// A question, as the local socket asks it, and where its answer comes.
fn put(device: &mut Device, request: Request) -> oneshot::Receiver<Answer> {
    let (reply, answer) = oneshot::channel();
    device.turn(vec![Event::Local { request, reply }]).unwrap();
    answer
}

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Answer::Error(refusal) if refusal.code == "storage_full")
}

#[test]
fn nobody_is_shown_what_a_power_cut_could_take_back_while_the_store_has_failed() {
    let mut device = Device::new(1, vec![chain("long", STEPS)]);
    device.faults = Some(Faults::default());
    device.start().unwrap();
    let run = device.begin("long").unwrap().unwrap();
    let call = device.calls().remove(0);
    let asks = || {
        let (run, limit) = (run.clone(), 9);
        [Request::Show { run }, Request::Runs { limit }, Request::Results { limit }]
    };
    for late in [false, true] {
        fail_writes(&device);
        if late {
            device.answer(&call).unwrap();
        } else {
            assert_eq!(device.begin("long").unwrap(), None, "it cannot be written");
        }
        let mut answers = asks().map(|request| put(&mut device, request));
        assert!(!is_well(&mut device), "it is said what is the matter");
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "they wait");
        if late {
            device.clock.advance(limits::QUESTION_WAIT_MS);
            assert!(!is_well(&mut device));
            assert!(answers.iter_mut().all(|answer| is_refused(&answer.try_recv().unwrap())));
            let mut answers = asks().map(|request| put(&mut device, request));
            assert!(answers.iter_mut().all(|answer| is_refused(&answer.try_recv().unwrap())));
            relieve(&mut device);
        } else {
            relieve(&mut device);
            let [shown, rows, results] = answers.map(|mut answer| answer.try_recv().unwrap());
            assert!(matches!(shown, Answer::Run(shown) if shown.id.as_str() == run));
            assert!(matches!(rows, Answer::Runs(rows) if rows.len() == 2), "both are durable");
            assert!(matches!(results, Answer::Results(results) if results.is_empty()));
        }
    }
}

#[test]
fn who_waits_for_a_run_is_told_in_time_that_the_store_has_failed() {
    let mut device = Device::new(1, vec![chain("long", 1)]);
    device.faults = Some(Faults::at(u64::MAX, io::ErrorKind::Other, false));
    device.start().unwrap();
    let run = device.begin("long").unwrap().unwrap();
    let mut before = put(&mut device, Request::Wait { run: run.clone() });
    fail_writes(&device);
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    // Its end, which is not durable, is not said.
    let mut during = put(&mut device, Request::Wait { run });
    let wait_ms = u64::try_from(limits::LOCAL_WAIT.as_millis()).unwrap();
    for passed_ms in (0..wait_ms).step_by(1_000) {
        assert!(before.try_recv().is_err());
        let left = device.brain.as_ref().unwrap().sleep();
        assert!(left <= Duration::from_millis(wait_ms - passed_ms), "{left:?}");
        device.clock.advance(1_000);
        device.turn(Vec::new()).unwrap();
    }
    assert!(is_refused(&before.try_recv().unwrap()));
    assert!(is_refused(&during.try_recv().unwrap()));
}
