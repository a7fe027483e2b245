//! Runs on one device: started, shown, waited for, cancelled, gone on with.

use super::*;

#[test]
fn a_run_goes_from_start_to_result() {
    let mut device = Device::new(1, vec![chain("w", 3)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    for n in 0..3 {
        let calls = device.calls();
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].input.value(), serde_json::json!({ "n": n }));
        device.answer(&calls[0]).unwrap();
    }
    let results = device.results();
    assert_eq!(results.len(), 1);
    assert_eq!(results[0].run.as_str(), run);
    assert_eq!(results[0].status, RunStatus::Completed);
    assert_eq!(results[0].outputs.value(), serde_json::json!({ "n": 3 }));
    let Some(Answer::Run(view)) = device.ask(Request::Show { run: run.clone() }).unwrap() else {
        panic!("it is shown");
    };
    assert_eq!((view.status, view.steps.len()), (RunStatus::Completed, 3));
    let Some(Answer::Runs(rows)) = device.ask(Request::Runs { limit: 9 }).unwrap() else {
        panic!("it is listed");
    };
    assert_eq!((rows.len(), rows[0].run.as_str()), (1, run.as_str()));
    let Some(Answer::Results(rows)) = device.ask(Request::Results { limit: 9 }).unwrap() else {
        panic!("its journal is kept");
    };
    assert_eq!(rows[0].run, run);
}

#[test]
fn nothing_is_acted_upon_before_it_is_durable() {
    let mut device = Device::new(1, vec![chain("w", 2)]);
    device.start().unwrap();
    device.disk.cut_at_sync(1);
    assert!(device.begin("w").is_err());
    assert!(device.calls().is_empty(), "a call was made for a run that may not exist");
}

#[test]
fn unknown_things_are_refused_with_a_code() {
    let mut device = Device::new(1, vec![chain("w", 1)]);
    device.start().unwrap();
    let inputs = serde_json::Map::new();
    for (request, code) in [
        (Request::Start { workflow: "nobody".into(), inputs: inputs.clone() }, "workflow"),
        (Request::Start { workflow: "NO".into(), inputs }, "workflow"),
        (Request::Show { run: "x-1".into() }, "run.unknown"),
        (Request::Show { run: "../etc".into() }, "run.unknown"),
        (Request::Wait { run: "x-1".into() }, "run.unknown"),
        (Request::Cancel { run: "x-1".into(), force: false }, "run"),
    ] {
        let answer = device.ask(request.clone()).unwrap();
        let Some(Answer::Error(refusal)) = answer else { panic!("{request:?}: {answer:?}") };
        assert!(refusal.code.starts_with(code), "{request:?}: {}", refusal.code);
    }
}

#[test]
fn who_waits_is_answered_at_the_end_or_after_a_while() {
    let mut device = Device::new(1, vec![chain("w", 1)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let wait = |device: &mut Device| {
        let (reply, answer) = oneshot::channel();
        let request = Request::Wait { run: run.clone() };
        device.turn(vec![Event::Local { request, reply }]).unwrap();
        answer
    };
    let mut patient = wait(&mut device);
    assert!(patient.try_recv().is_err());
    device.clock.advance(61_000);
    device.turn(Vec::new()).unwrap();
    let Ok(Answer::Run(view)) = patient.try_recv() else { panic!("told where it stands") };
    assert!(!view.status.is_settled());
    let mut patient = wait(&mut device);
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    let Ok(Answer::Run(view)) = patient.try_recv() else { panic!("told the end") };
    assert_eq!(view.status, RunStatus::Completed);
}

#[test]
fn a_cancelled_run_stops_its_call_and_settles() {
    let mut device = Device::new(1, vec![chain("w", 2)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let call = device.calls().remove(0);
    let answer = device.ask(Request::Cancel { run: run.clone(), force: true }).unwrap();
    assert_eq!(answer, Some(Answer::Accepted { run }));
    device.answer(&call).unwrap();
    assert_eq!(device.results()[0].status, RunStatus::Cancelled);
    assert_eq!(*device.asked.stops.lock().unwrap(), [call.attempt]);
}

#[test]
fn a_clean_stop_waits_for_calls_begins_none_and_is_noted() {
    let mut device = Device::new(1, vec![chain("w", 2)]);
    device.start().unwrap();
    device.begin("w").unwrap().unwrap();
    let call = device.calls().remove(0);
    device.turn(vec![Event::Stop]).unwrap();
    assert!(!device.brain.as_ref().unwrap().is_drained());
    device.answer(&call).unwrap();
    assert!(device.calls().is_empty(), "nothing is begun while stopping");
    let brain = device.brain.take().unwrap();
    assert!(brain.is_drained());
    brain.finish().unwrap();

    device.start().unwrap();
    assert!(!device.status().unclean);
    let calls = device.calls();
    assert_eq!(calls.len(), 1, "the second step goes on where the first one ended");
    assert_eq!(calls[0].input.value(), serde_json::json!({ "n": 1 }));
    device.answer(&calls[0]).unwrap();
    assert_eq!(device.results()[0].status, RunStatus::Completed);
}

#[test]
fn an_open_run_is_shown_whole_after_a_restart() {
    let mut device = Device::new(1, vec![chain("w", 3)]);
    device.start().unwrap();
    let run = device.begin("w").unwrap().unwrap();
    let call = device.calls().remove(0);
    device.answer(&call).unwrap();
    device.brain = None;
    device.start().unwrap();
    assert!(device.status().unclean);
    let Some(Answer::Run(view)) = device.ask(Request::Show { run }).unwrap() else {
        panic!("it is shown");
    };
    assert_eq!(view.workflow, "w");
    assert_eq!(view.steps[0].status, openclaw_protocol::run::StepStatus::Succeeded);
}

#[test]
fn startup_and_interval_triggers_fire() {
    let text = "workflow: t\nmode: parallel\nmax: 10\ntriggers:\n  - { id: boot, startup: {} }\n  \
                - { id: beat, interval: { every: 10s } }\nsteps:\n  - { id: s1, plugin: count@^1, \
                with: { n: 0 } }\n";
    let mut device = Device::new(1, vec![deployed(text)]);
    device.start().unwrap();
    let mut fired = Vec::new();
    for _ in 0..7 {
        for call in device.calls() {
            device.answer(&call).unwrap();
        }
        fired.extend(device.results().iter().map(|r| r.trigger.clone()));
        device.clock.advance(5_000);
        device.turn(Vec::new()).unwrap();
    }
    let results = device.results();
    let count = |trigger: &str| results.iter().filter(|r| r.trigger == trigger).count();
    assert_eq!(count("boot"), 1);
    assert!((2..=4).contains(&count("beat")), "{} beats in 35 s", count("beat"));
    assert!(!fired.is_empty());
}

#[test]
fn denials_are_reported_once() {
    let mut device = Device::new(1, vec![chain("w", 1)]);
    device.start().unwrap();
    for _ in 0..3 {
        device.begin("w").unwrap();
        let call = device.calls().remove(0);
        let Event::Settled { attempt, outcome, .. } = settled(&call) else { unreachable!() };
        let denials = vec!["http:10.0.0.1:80".to_owned()];
        device
            .turn(vec![Event::Settled { attempt, outcome, denials, tape: None, kept: None }])
            .unwrap();
    }
    let reports = device.reports();
    let denied = reports
        .iter()
        .filter(|r| matches!(r, Report::Security { code, .. } if code == "permission.denied"));
    assert_eq!(denied.count(), 1);
    assert!(reports.iter().any(|r| matches!(r, Report::Inventory(i) if i.files == ["proc"])));
}

#[test]
fn a_damaged_run_does_not_hold_up_the_others() {
    let mut device = Device::new(1, vec![chain("w", 2)]);
    device.start().unwrap();
    let first = device.begin("w").unwrap().unwrap();
    let second = device.begin("w").unwrap().unwrap();
    device.brain = None;
    // The definition that the second start finds is another one, as after a swapped page.
    let mut other = Device::new(1, vec![chain("w", 2)]);
    other.disk = device.disk.clone();
    other.start().unwrap();
    let calls = other.calls();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert!([&first, &second].iter().any(|run| call.attempt.run.as_str() == run.as_str()));
        assert!(call.interrupted);
    }
}

#[test]
fn a_clean_stop_harms_no_step_that_must_not_be_repeated() {
    let text = "
workflow: w
steps:
  - { id: a, plugin: count@^1, effects: at_most_once, with: { n: 0 } }
  - { id: b, plugin: count@^1, effects: at_most_once, with: { n: 1 } }
  - { id: c, plugin: count@^1, effects: at_most_once, with: { n: 2 } }
";
    let mut device = Device::new(1, vec![deployed(text)]);
    device.start().unwrap();
    device.begin("w").unwrap().unwrap();
    let [a] = &device.calls()[..] else { panic!("one call") };
    // The second step is due in the very turn in which the stop comes: it is begun, and may end.
    device.turn(vec![settled(a), Event::Stop]).unwrap();
    let [b] = &device.calls()[..] else { panic!("one call") };
    assert!(!device.brain.as_ref().unwrap().is_drained());
    device.answer(b).unwrap();
    assert!(device.calls().is_empty(), "nothing is begun any more");
    let brain = device.brain.take().unwrap();
    assert!(brain.is_drained());
    brain.finish().unwrap();

    device.start().unwrap();
    assert!(!device.status().unclean);
    let [c] = &device.calls()[..] else { panic!("one call") };
    assert_eq!((c.attempt.step.0.as_str(), c.attempt.attempt, c.interrupted), ("c", 1, false));
    device.answer(c).unwrap();
    assert_eq!(device.results()[0].status, RunStatus::Completed);
}

#[test]
fn made_up_hosts_do_not_hide_a_denial_that_matters() {
    let mut device = Device::new(1, vec![chain("noisy", 1), chain("quiet", 1)]);
    device.start().unwrap();
    let play = |device: &mut Device, workflow: &str, denials: Vec<String>| {
        device.begin(workflow).unwrap();
        let call = device.calls().remove(0);
        let Event::Settled { attempt, outcome, .. } = settled(&call) else { unreachable!() };
        device
            .turn(vec![Event::Settled { attempt, outcome, denials, tape: None, kept: None }])
            .unwrap();
    };
    let denied = |device: &Device| -> Vec<String> {
        let reports = device.reports().into_iter();
        reports
            .filter_map(|report| match report {
                Report::Security { code, message } => {
                    (code == "permission.denied").then_some(message)
                }
                Report::Command { .. }
                | Report::Desired { .. }
                | Report::Inventory(_)
                | Report::SealingKey { .. }
                | Report::Secrets { .. }
                | Report::Done { .. }
                | Report::Dropped { .. } => None,
            })
            .collect()
    };
    for run in 0..64 {
        let fake = (0..16).map(|host| format!("http:fake-{run}-{host}:80")).collect();
        play(&mut device, "noisy", fake);
    }
    play(&mut device, "quiet", vec!["http:10.0.0.1:80".to_owned()]);
    let told = denied(&device);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with("http:10.0.0.1:80 was denied to step s1 of workflow quiet"));
    device.clock.advance(denials::WINDOW_MS);
    device.turn(Vec::new()).unwrap();
    device.clock.advance(limits::LAZY_MS);
    device.turn(Vec::new()).unwrap();
    let told = denied(&device);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[2].starts_with("http was denied 1023 more times to step s1 of workflow noisy"));
}
