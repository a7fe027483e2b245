//! What a step costs the flash: syncs are counted at the disk, with the link up.

use std::sync::mpsc;

use super::peer::Peer;
use super::*;
use crate::event;

#[test]
fn one_step_after_the_other_costs_at_most_1_2_syncs_each() {
    const STEPS: usize = 50;
    let mut device = Device::enrolled(1, [0; 32]);
    device.workflows = vec![chain("w", STEPS)];
    device.start().unwrap();
    let mut peer = Peer::new();
    peer.connect(&mut device);
    device.begin("w").unwrap().unwrap();
    peer.exchange(&mut device);
    let (syncs, written) = (device.disk.syncs(), device.disk.written());
    for _ in 0..STEPS {
        let call = device.calls().remove(0);
        device.answer(&call).unwrap();
        peer.exchange(&mut device);
    }
    let per_step = (device.disk.syncs() - syncs) as f64 / STEPS as f64;
    let kib = (device.disk.written() - written) as f64 / 1024.0 / STEPS as f64;
    assert_eq!(peer.results.len(), 1, "the control plane has the result by now");
    let status = device.status();
    assert_eq!((status.syncs, status.written_bytes), (device.disk.syncs(), device.disk.written()));
    println!("{per_step} syncs and {kib:.1} KiB a step");
    assert!(per_step <= 1.2, "{per_step} syncs a step");
    assert!(kib <= 64.0, "{kib} KiB a step");
}

/// Hands on a thread of their own, which answer as fast as they can.
struct Quick(mpsc::Sender<PluginTask>);

impl Hands for Quick {
    fn call(&mut self, task: PluginTask) {
        self.0.send(task).unwrap();
    }
    fn stop(&mut self, _attempt: &AttemptId, _reason: StopReason) {}
    fn check(&mut self, _digest: openclaw_protocol::id::Digest) {}
}

#[test]
fn sixty_four_runs_at_once_cost_at_most_a_fifth_of_a_sync_a_step() {
    const RUNS: usize = 64;
    const STEPS: usize = 20;
    let mut device = Device::new(1, vec![chain("w", STEPS)]);
    device.start().unwrap();
    let (events, receiver) = event::queue();
    let (tasks, work) = mpsc::channel::<PluginTask>();
    let answers = events.clone();
    let worker = std::thread::spawn(move || {
        let mut answered = 0;
        for task in work {
            answers.send(settled(&task)).unwrap();
            answered += 1;
            if answered == RUNS * STEPS {
                answers.send(Event::Stop).unwrap();
            }
        }
    });
    let mut brain = device.brain.take().unwrap();
    brain.hands = Box::new(Quick(tasks));
    for _ in 0..RUNS {
        let (reply, _) = oneshot::channel();
        let inputs = serde_json::Map::new();
        let request = Request::Start { workflow: "w".into(), inputs };
        events.send(Event::Local { request, reply }).unwrap();
    }
    let (syncs, written) = (device.disk.syncs(), device.disk.written());
    brain.run(&receiver).unwrap();
    let steps = (RUNS * STEPS) as f64;
    let per_step = (device.disk.syncs() - syncs) as f64 / steps;
    let kib = (device.disk.written() - written) as f64 / 1024.0 / steps;
    drop(receiver);
    worker.join().unwrap();
    device.start().unwrap();
    assert_eq!(device.results().len(), RUNS);
    println!("{per_step:.3} syncs and {kib:.1} KiB a step");
    assert!(per_step <= 0.2, "{per_step} syncs a step");
}

#[test]
fn a_step_with_200_bytes_of_output_costs_at_most_300_bytes_of_journal() {
    const RUNS: usize = 16;
    const STEPS: usize = 20;
    let mut device = Device::new(1, vec![chain("w", STEPS)]);
    device.start().unwrap();
    let written = |device: &mut Device| device.status().journal_bytes;
    let before = written(&mut device);
    for _ in 0..RUNS {
        device.begin("w").unwrap().unwrap();
    }
    loop {
        let calls = device.calls();
        if calls.is_empty() {
            break;
        }
        let answers = calls.iter().map(|task| {
            let output = serde_json::json!({ "n": 1, "pad": "x".repeat(184) });
            let output = JsonText::of(&output);
            assert_eq!(output.len(), 200);
            let outcome = AttemptOutcome::Succeeded { output, vars: None };
            Event::Settled {
                attempt: task.attempt.clone(),
                outcome,
                denials: Vec::new(),
                tape: None,
                kept: None,
            }
        });
        device.turn(answers.collect()).unwrap();
    }
    assert_eq!(device.results().len(), RUNS);
    let bytes = (written(&mut device) - before) as f64 / (RUNS * STEPS) as f64;
    println!("{bytes:.1} bytes of journal a step, acceptance and end of the run included");
    assert!(bytes <= 300.0, "{bytes} bytes a step");
}

#[test]
fn an_idle_device_writes_nothing() {
    let mut device = Device::enrolled(1, [0; 32]);
    device.workflows = vec![chain("w", 1)];
    device.start().unwrap();
    let mut peer = Peer::new();
    peer.connect(&mut device);
    device.clock.advance(10_000);
    device.turn(Vec::new()).unwrap();
    peer.exchange(&mut device);
    let written = device.disk.written();
    for _ in 0..24 * 60 {
        device.clock.advance(60_000);
        device.turn(Vec::new()).unwrap();
        peer.exchange(&mut device);
    }
    let written = device.disk.written() - written;
    println!("{written} bytes in a day without work");
    assert!(written <= 1_000_000, "{written} bytes in a day without work");
}

#[test]
fn a_device_that_waits_for_a_timer_writes_at_most_ten_megabytes_a_day() {
    let mut device = Device::enrolled(1, [0; 32]);
    device.workflows = vec![deployed(
        "workflow: w\nversion: 1\nsteps:\n  - { id: pause, delay: 48h }\n  - { id: end, log: x }\n",
    )];
    device.start().unwrap();
    let mut peer = Peer::new();
    peer.connect(&mut device);
    device.begin("w").unwrap().unwrap();
    peer.exchange(&mut device);
    assert_eq!(device.status().unsettled, 1);
    let before = (device.disk.syncs(), device.disk.written());
    for _ in 0..24 * 120 {
        device.clock.advance(30_000);
        device.turn(Vec::new()).unwrap();
        peer.exchange(&mut device);
    }
    let written = device.disk.written() - before.1;
    println!(
        "{} syncs and {written} bytes in a day with an armed timer",
        device.disk.syncs() - before.0
    );
    assert!(written > 0, "it notes now and then that it is alive");
    assert!(written <= 10_000_000, "{written} bytes in a day");
    assert_eq!(device.status().unsettled, 1);
}

/// Bytes that the card of docs/flash.md is rated for.
const RATED: f64 = 8e12;
const MINUTES_A_YEAR: f64 = 365.25 * 24.0 * 60.0;

/// Years until a card is worn.
fn years(bytes_an_execution: f64, executions_a_minute: f64) -> f64 {
    RATED / (bytes_an_execution * executions_a_minute * MINUTES_A_YEAR)
}

/// Bytes that leave for the disk for each of 300 executions of five steps, so many a minute, each
/// step answered alone, told and acknowledged: no step shares its sync with another.
fn bytes_an_execution(a_minute: u64) -> f64 {
    let mut device = Device::enrolled(1, [0; 32]);
    device.workflows = vec![chain("w", 5)];
    device.start().unwrap();
    let mut peer = Peer::new();
    peer.connect(&mut device);
    let executions = 300;
    let before = device.disk.written();
    for _ in 0..executions {
        device.begin("w").unwrap().unwrap();
        for _ in 0..5 {
            let call = device.calls().remove(0);
            device.answer(&call).unwrap();
            peer.exchange(&mut device);
        }
        device.clock.advance(60_000 / a_minute);
        device.turn(Vec::new()).unwrap();
        peer.exchange(&mut device);
    }
    assert_eq!(peer.results.len() as u64, executions);
    (device.disk.written() - before) as f64 / executions as f64
}

#[test]
fn a_card_rated_8_tb_lasts_for_years() {
    for (a_minute, at_least) in [(1_u64, 50.0), (10, 5.0), (60, 0.8)] {
        let bytes = bytes_an_execution(a_minute);
        let years = years(bytes, a_minute as f64);
        println!("{a_minute} a minute: {:.1} KiB an execution, {years:.1} years", bytes / 1024.0);
        assert!(years >= at_least, "{years} years at {a_minute} executions a minute");
    }
}
