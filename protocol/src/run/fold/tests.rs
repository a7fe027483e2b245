//! The fold: what each event changes, how both ways agree, and where it ends.

use super::*;
use crate::definition::DefinitionHash;
use crate::id::WorkflowName;
use crate::json::JsonText;
use crate::limits;
use crate::time::{ClockTrust, Stamp};

fn run_id() -> RunId {
    RunId::parse("0123456789ab-1").unwrap()
}

/// Numbers events from 1, a second apart.
fn told(events: Vec<RunEvent>) -> Vec<RunEventRecord> {
    let record = |(n, event): (usize, RunEvent)| {
        let seq = u32::try_from(n + 1).unwrap();
        let ms = u64::from(seq) * 1000;
        let wall_ms = i64::from(seq) * 1000;
        let at = Stamp { boot: 1, boot_ms: ms, wall_ms, trust: ClockTrust::Synced };
        RunEventRecord { run: run_id(), seq, at, event }
    };
    events.into_iter().enumerate().map(record).collect()
}

fn accepted() -> RunEvent {
    RunEvent::Accepted {
        workflow: WorkflowName::parse("pump").unwrap(),
        version: "3".into(),
        definition: DefinitionHash("ab".into()),
        trigger: "tick".into(),
        inputs: JsonText::parse("{\"temp\":81.0}").unwrap(),
        priority: Priority::High,
        request: None,
    }
}

fn path(text: &str) -> StepPath {
    StepPath(text.into())
}

fn queued(step: &str, attempt: u32) -> RunEvent {
    RunEvent::StepQueued { step: path(step), attempt }
}

fn started(step: &str, kind: &str, attempt: u32, interrupted: bool) -> RunEvent {
    RunEvent::StepStarted { step: path(step), kind: kind.into(), attempt, interrupted }
}

fn delayed(step: &str, attempt: u32, error: Option<RunError>) -> RunEvent {
    RunEvent::StepDelayed { step: path(step), attempt, wait_ms: 60_000, error }
}

fn step_settled(step: &str, status: StepStatus, attempts: u32) -> RunEvent {
    let output = (status == StepStatus::Succeeded).then(|| JsonText::parse("21").unwrap());
    RunEvent::StepSettled { step: path(step), status, attempts, output, error: None }
}

fn settled(status: RunStatus) -> RunEvent {
    RunEvent::Settled { status, outputs: JsonText::parse("{}").unwrap(), error: None }
}

fn fault(code: &str) -> RunError {
    RunError { attempt: 1, retryable: true, ..RunError::new(code, "no") }
}

/// A run with a retry, an interruption and a nested delay.
fn eventful() -> Vec<RunEventRecord> {
    told(vec![
        accepted(),
        RunEvent::Began,
        queued("read", 1),
        started("read", "plugin", 1, false),
        delayed("read", 1, Some(fault("timeout"))),
        queued("read", 2),
        started("read", "plugin", 2, false),
        RunEvent::Resumed { unclean: true },
        started("read", "plugin", 2, true),
        step_settled("read", StepStatus::Succeeded, 2),
        started("cool", "loop", 1, false),
        delayed("cool#0/wait", 0, None),
        step_settled("cool#0/wait", StepStatus::Succeeded, 0),
        step_settled("cool", StepStatus::Succeeded, 1),
        settled(RunStatus::Completed),
    ])
}

#[test]
fn a_retry_an_interruption_and_a_nested_delay() {
    let mut run = Run::new(run_id());
    let statuses: Vec<RunStatus> = eventful()
        .iter()
        .map(|record| {
            assert!(run.apply(record));
            run.status
        })
        .collect();
    use RunStatus::{Completed, Delayed, Pending, Running};
    let expected = [
        Pending, Running, Running, Running, Delayed, Running, Running, Running, Running, Running,
        Running, Delayed, Running, Running, Completed,
    ];
    assert_eq!(statuses, expected);
    assert_eq!((run.workflow.as_str(), run.priority, run.resumed), ("pump", Priority::High, 1));
    assert_eq!(run.inputs, serde_json::json!({"temp": 81.0}));
    assert_eq!((run.accepted_wall_ms, run.settled_wall_ms), (Some(1_000), Some(15_000)));
    let read = &run.steps[0];
    assert_eq!((read.path.0.as_str(), read.kind.as_str(), read.attempts), ("read", "plugin", 2));
    assert_eq!((read.started_wall_ms, read.settled_wall_ms), (Some(4_000), Some(10_000)));
    assert_eq!((&read.output, &read.error), (&Some(serde_json::json!(21)), &None));
}

#[test]
fn both_ways_to_fold_agree_and_repeats_change_nothing() {
    let events = eventful();
    for length in 1..=events.len() {
        let part = &events[..length];
        let whole = Run::from_events(part).unwrap();
        let mut run = Run::new(run_id());
        for record in part {
            run.apply(record);
            for again in part.iter().filter(|again| again.seq <= record.seq) {
                assert!(!run.apply(again), "{}", again.seq);
            }
        }
        assert_eq!(run, whole);
    }
    assert_eq!(Run::from_events(&[]), None);
}

#[test]
fn gaps_are_passed_over() {
    let events = eventful();
    for missing in 0..events.len() {
        let mut part = events.clone();
        part.remove(missing);
        let run = Run::from_events(&part).unwrap();
        let last = missing == events.len() - 1;
        assert_eq!(run.status.is_settled(), !last, "without {}", missing + 1);
        assert_eq!(run.steps.len(), 3, "without {}", missing + 1);
    }
    let mut late = Run::from_events(&events[5..]).unwrap();
    assert!(!late.apply(&events[0]), "too late");
    assert_eq!((late.workflow.as_str(), late.status), ("", RunStatus::Completed));
}

#[test]
fn a_failed_attempt_shows_its_error_until_the_step_is_settled() {
    let mut run = Run::from_events(&eventful()[..7]).unwrap();
    assert_eq!(run.steps[0].error.as_ref().map(|e| e.code.as_str()), Some("timeout"));
    let error = Some(fault("plugin.error"));
    let failed = RunEvent::StepSettled {
        step: path("read"),
        status: StepStatus::Failed,
        attempts: 2,
        output: None,
        error,
    };
    let events = told([vec![RunEvent::Began; 7], vec![failed]].concat());
    run.apply(&events[7]);
    assert_eq!(run.steps[0].error.as_ref().map(|e| e.code.as_str()), Some("plugin.error"));
    assert_eq!(run.steps[0].status, StepStatus::Failed);
}

#[test]
fn nothing_is_at_work_in_a_run_that_is_over() {
    let mut events = told(vec![
        accepted(),
        RunEvent::Began,
        started("cool", "loop", 1, false),
        started("cool#0/call", "plugin", 1, false),
        step_settled("cool#0/call", StepStatus::Succeeded, 1),
        started("cool#1/call", "plugin", 2, false),
        queued("later", 1),
        delayed("again", 3, Some(fault("timeout"))),
        settled(RunStatus::Failed),
    ]);
    let mut whole = Run::new(run_id());
    events.iter().for_each(|event| assert!(whole.apply(event)));
    let shown: Vec<_> = whole
        .steps
        .iter()
        .map(|step| {
            let code = step.error.as_ref().map(|error| error.code.as_str());
            (step.path.0.as_str(), step.status, code, step.settled_wall_ms)
        })
        .collect();
    use StepStatus::{Cancelled, Succeeded};
    assert_eq!(
        shown,
        [
            ("cool", Cancelled, Some(UNHEARD), Some(9_000)),
            ("cool#0/call", Succeeded, None, Some(5_000)),
            ("cool#1/call", Cancelled, Some(UNHEARD), Some(9_000)),
            ("later", Cancelled, Some(UNHEARD), Some(9_000)),
            ("again", Cancelled, Some("timeout"), Some(9_000)),
        ]
    );
    assert_eq!(whole.steps[2].error.as_ref().unwrap().attempt, 2);

    // A view that was stored before the end, and one that is closed by other news of it.
    let end = events.pop().unwrap();
    let open = Run::from_events(&events).unwrap();
    let mut stored: Run = serde_json::from_str(&serde_json::to_string(&open).unwrap()).unwrap();
    stored.apply(&end);
    assert_eq!(stored, whole);
    let mut lost = open;
    lost.close_steps(None);
    assert!(lost.steps.iter().all(|step| !step.is_open()));
    assert_eq!(lost.steps[0].settled_wall_ms, None, "nobody knows when");
    let before = lost.clone();
    lost.close_steps(Some(1));
    assert_eq!(lost, before, "once");
}

#[test]
fn a_cancelled_run_stays_cancelled() {
    let events = told(vec![
        accepted(),
        RunEvent::Began,
        started("a", "plugin", 1, false),
        RunEvent::CancelRequested { force: false },
        step_settled("a", StepStatus::Cancelled, 1),
        settled(RunStatus::Cancelled),
        started("a", "plugin", 2, false),
    ]);
    let run = Run::from_events(&events).unwrap();
    assert_eq!(run.status, RunStatus::Cancelled);
    assert_eq!((run.steps[0].status, run.steps[0].attempts), (StepStatus::Cancelled, 1));
    assert_eq!((run.last_seq, run.settled_wall_ms), (7, Some(6_000)));
}

#[test]
fn a_run_is_delayed_only_if_nothing_else_is_at_work() {
    let mut events = vec![
        RunEvent::Began,
        started("both", "parallel", 1, false),
        delayed("both[one]/wait", 0, None),
        queued("both[two]/call", 1),
    ];
    assert_eq!(Run::from_events(&told(events.clone())).unwrap().status, RunStatus::Running);
    events.push(delayed("both[two]/call", 1, None));
    assert_eq!(Run::from_events(&told(events.clone())).unwrap().status, RunStatus::Delayed);
    // `bother` is no part of `both`.
    events.push(started("bother", "plugin", 1, false));
    assert_eq!(Run::from_events(&told(events)).unwrap().status, RunStatus::Running);
}

#[test]
fn events_of_another_run_are_ignored() {
    let mut run = Run::new(RunId::parse("0123456789ab-2").unwrap());
    assert!(!run.apply(&eventful()[0]));
    assert_eq!(run, Run::new(RunId::parse("0123456789ab-2").unwrap()));
}

/// A loop of so many iterations with one step in each, its output so long.
fn long_loop(iterations: usize, output_bytes: usize) -> Vec<RunEventRecord> {
    let output = JsonText::of(&Value::String("x".repeat(output_bytes)));
    let mut events = vec![accepted(), RunEvent::Began, started("cool", "loop", 1, false)];
    for n in 0..iterations {
        let step = format!("cool#{n}/count");
        events.push(started(&step, "plugin", 1, false));
        events.push(RunEvent::StepSettled {
            step: path(&step),
            status: StepStatus::Succeeded,
            attempts: 1,
            output: Some(output.clone()),
            error: None,
        });
    }
    events.push(step_settled("cool", StepStatus::Succeeded, 1));
    events.push(settled(RunStatus::Completed));
    told(events)
}

#[test]
fn large_outputs_are_left_out_oldest_first_and_counted() {
    let mut run = Run::new(run_id());
    for record in long_loop(1_000, 60 * 1024) {
        run.apply(&record);
        // The tally's own figure is the bound; what it says is checked as often as it is cheap.
        if record.seq % 50 == 0 {
            assert!(serde_json::to_string(&run).unwrap().len() <= limits::RUN_VIEW_BYTES);
        }
    }
    let text = serde_json::to_string(&run).unwrap();
    assert!(text.len() <= limits::RUN_VIEW_BYTES, "{} bytes", text.len());
    assert_eq!((run.status, run.steps.len(), run.steps_dropped), (RunStatus::Completed, 1_001, 0));
    let kept: Vec<usize> =
        (0..run.steps.len()).filter(|n| run.steps[*n].output.is_some()).collect();
    // The composite came first and ended last: it is the first in line, and the latest to come.
    assert_eq!(run.outputs_dropped as usize + kept.len(), 1_001);
    assert!(kept.len() >= 5 && kept.iter().skip(1).all(|n| *n > 990), "the newest: {kept:?}");
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
}

#[test]
fn many_steps_are_left_out_oldest_first_and_counted() {
    let run = Run::from_events(&long_loop(10_000, 8)).unwrap();
    assert!(run.steps.len() <= limits::RUN_VIEW_STEPS, "{}", run.steps.len());
    assert!(run.steps.len() > limits::RUN_VIEW_STEPS / 2, "{}", run.steps.len());
    assert_eq!(run.steps.len() + run.steps_dropped as usize, 10_001);
    assert_eq!(run.outputs_dropped, run.steps_dropped, "each had one");
    let paths: Vec<&str> = run.steps.iter().map(|s| s.path.0.as_str()).collect();
    assert_eq!(paths[0], "cool", "it was open all the time");
    let first = 10_001 - run.steps.len();
    assert_eq!(paths[1], format!("cool#{first}/count"));
    assert_eq!(*paths.last().unwrap(), "cool#9999/count");
}

#[test]
fn more_open_steps_than_can_be_shown_still_decide_the_status() {
    let many = 2 * limits::RUN_VIEW_STEPS;
    let mut events = vec![RunEvent::Began, started("both", "parallel", 1, false)];
    events.extend((0..many).map(|n| delayed(&format!("both[b{n}]/wait"), 0, None)));
    events.push(started("both[b0]/wait", "plugin", 1, false));
    let run = Run::from_events(&told(events.clone())).unwrap();
    assert_eq!(run.status, RunStatus::Running);
    assert!(run.steps.len() <= limits::RUN_VIEW_STEPS);
    events.pop();
    assert_eq!(Run::from_events(&told(events)).unwrap().status, RunStatus::Delayed);
}

/// Steps that the fold looked at, whatever for, while it took in the events.
fn visited(events: &[RunEventRecord]) -> usize {
    Run::from_events(events).unwrap().tally.visited
}

#[test]
fn a_run_of_a_hundred_thousand_steps_folds_in_linear_time() {
    let (half, whole) = (long_loop(50_000, 8), long_loop(100_000, 8));
    let (half, whole) = (visited(&half), visited(&whole));
    assert!(whole <= 20 * 100_000, "{whole} visits");
    assert!(whole <= 2 * half + half / 10, "{half}, then {whole}");
}

#[test]
fn a_view_that_was_stored_goes_on_as_if_it_had_not_been() {
    let events = [eventful(), retried()]
        .map(|events| (0..events.len()).map(|cut| (events.clone(), cut)).collect::<Vec<_>>());
    for (events, cut) in events.into_iter().flatten() {
        let mut run = Run::from_events(&events[..cut]).unwrap_or_else(|| Run::new(run_id()));
        run = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        for (n, record) in events.iter().enumerate().skip(cut) {
            run.apply(record);
            assert_eq!(run, Run::from_events(&events[..=n]).unwrap(), "cut at {cut}, {n}");
        }
    }
}

/// A loop that fails in its first iteration and is repeated as a whole.
fn retried() -> Vec<RunEventRecord> {
    told(vec![
        accepted(),
        RunEvent::Began,
        started("cool", "loop", 1, false),
        started("cool#0/call", "plugin", 1, false),
        step_settled("cool#0/call", StepStatus::Failed, 1),
        delayed("cool", 1, Some(fault("plugin.error"))),
        started("cool", "loop", 2, false),
        delayed("cool~2#0/wait", 0, None),
        step_settled("cool~2#0/wait", StepStatus::Succeeded, 0),
        step_settled("cool", StepStatus::Succeeded, 2),
        settled(RunStatus::Completed),
    ])
}

#[test]
fn a_composite_that_is_retried_and_waits_inside_is_delayed() {
    use RunStatus::{Completed, Delayed, Pending, Running};
    let events = retried();
    let statuses: Vec<RunStatus> =
        (1..=events.len()).map(|n| Run::from_events(&events[..n]).unwrap().status).collect();
    let expected = [
        Pending, Running, Running, Running, Running, Delayed, Running, Delayed, Running, Running,
        Completed,
    ];
    assert_eq!(statuses, expected);
    assert!(path("cool~2#0/wait").is_below(&path("cool")));
    assert!(!path("cooler~2").is_below(&path("cool")));
}

#[test]
fn counting_agrees_with_looking() {
    let looked = |run: &Run| {
        let open: Vec<&StepView> = run.steps.iter().filter(|step| step.is_open()).collect();
        let holds = |step: &StepView| open.iter().any(|other| other.path.is_below(&step.path));
        let is_delayed = |step: &StepView| step.status == StepStatus::Delayed;
        open.iter().any(|step| is_delayed(step))
            && !open.iter().any(|step| !is_delayed(step) && !holds(step))
    };
    let paths =
        ["a", "a/b", "a[x]/b", "a[x]/b#1", "a[x]/b#1/c", "a~2/b", "ab", "a-b", "a[y]/b~3#0"];
    let mut random = 7_u64;
    for _ in 0..200 {
        let mut events = vec![RunEvent::Began];
        for _ in 0..40 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let draw = usize::try_from(random >> 33).unwrap();
            let step = paths[draw % paths.len()];
            events.push(match draw / paths.len() % 4 {
                0 => queued(step, 1),
                1 => delayed(step, 1, None),
                2 => started(step, "plugin", 1, false),
                _ => step_settled(step, StepStatus::Succeeded, 1),
            });
        }
        let mut run = Run::new(run_id());
        for record in told(events) {
            run.apply(&record);
            assert_eq!(run.status == RunStatus::Delayed, looked(&run), "{run:?}");
        }
    }
}

fn waiting(step: &str, reason: &str, details: Option<&str>) -> RunEvent {
    let details = details.map(|text| JsonText::parse(text).unwrap());
    RunEvent::StepWaiting { step: path(step), reason: reason.into(), details }
}

#[test]
fn a_step_that_waits_for_something_is_open_and_says_for_what() {
    use RunStatus::{Completed, Delayed, Pending, Running};
    let events = told(vec![
        accepted(),
        RunEvent::Began,
        delayed("rest", 0, None),
        started("ask", "approval", 1, false),
        waiting("ask", "approval", Some("{\"prompt\":\"go?\"}")),
        step_settled("ask", StepStatus::Succeeded, 1),
        waiting("sync", "clock", None),
        step_settled("sync", StepStatus::Succeeded, 1),
        step_settled("rest", StepStatus::Succeeded, 0),
        settled(Completed),
    ]);
    let runs: Vec<Run> =
        (1..=events.len()).map(|n| Run::from_events(&events[..n]).unwrap()).collect();
    let statuses: Vec<RunStatus> = runs.iter().map(|run| run.status).collect();
    let expected = [
        Pending, Running, Delayed, Running, Running, Delayed, Running, Delayed, Running, Completed,
    ];
    assert_eq!(statuses, expected);
    let view = |n: usize, step: &str| {
        runs[n].steps.iter().find(|view| view.path == path(step)).cloned().unwrap()
    };
    let asked = view(4, "ask");
    assert_eq!((asked.status, asked.kind.as_str()), (StepStatus::Waiting, "approval"));
    let waiting = asked.waiting.unwrap();
    assert_eq!(waiting.reason, "approval");
    assert_eq!(waiting.details, Some(serde_json::json!({"prompt": "go?"})));
    assert_eq!(view(5, "ask").waiting, None);
    assert_eq!(view(6, "sync").waiting.map(|waiting| waiting.reason), Some("clock".into()));
}

#[test]
fn what_is_said_and_undone_changes_no_step() {
    let before = told(vec![accepted(), RunEvent::Began, delayed("rest", 0, None)]);
    let mut events: Vec<RunEvent> = before.iter().map(|record| record.event.clone()).collect();
    events.push(RunEvent::Logged {
        step: path("note"),
        level: crate::definition::LogLevel::Warn,
        message: "hot".into(),
        fields: JsonText::parse("{}").unwrap(),
    });
    events.push(RunEvent::Compensated { step: path(""), complete: false });
    let (before, after) = (Run::from_events(&before).unwrap(), Run::from_events(&told(events)));
    let after = after.unwrap();
    assert_eq!((after.status, after.steps, after.last_seq), (before.status, before.steps, 5));
}
