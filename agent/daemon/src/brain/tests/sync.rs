//! With a control plane: commands, desired state, forks, and what is not believed.

use std::collections::BTreeSet;

use openclaw_protocol::command::Command;
use openclaw_protocol::desired::{Desired, DesiredWorkflow};
use openclaw_protocol::id::{Digest, Generation, RunId, WorkflowName};

use super::peer::{GENERATION, Peer, now_ms};
use super::*;

pub(super) const MODULE: &[u8] = b"\0asm\x01\0\0\0";

pub(super) fn desired(device: &Device, revision: u64, steps: usize, module: Digest) -> Desired {
    let identity = device.identity.as_ref().unwrap();
    let workflow = definition::parse(&chain_text("w", steps)).unwrap();
    Desired {
        tenant: identity.tenant.clone(),
        device: identity.device.clone(),
        generation: Generation(GENERATION),
        revision,
        issued_wall_ms: 1_800_000_000_000 + i64::try_from(revision).unwrap(),
        workflows: vec![DesiredWorkflow {
            name: workflow.name.clone(),
            version: workflow.version.clone(),
            hash: workflow.hash.clone(),
            definition: JsonText::parse(&workflow.canonical).unwrap(),
            pins: vec![("count.execute@^1".into(), 0)],
            triggers_enabled: true,
        }],
        plugins: vec![pin(module)],
    }
}

fn start(workflow: &str) -> Command {
    Command::Start {
        workflow: WorkflowName::parse(workflow).unwrap(),
        inputs: JsonText::parse("{}").unwrap(),
        priority: None,
    }
}

/// A device in sync with a control plane, nothing desired yet.
pub(super) fn pair() -> (Device, Peer) {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.start().unwrap();
    peer.connect(&mut device);
    (device, peer)
}

/// Answers what the brain asks its hands to try.
pub(super) fn checked(device: &mut Device, result: Result<(), String>) {
    try_checked(device, result).unwrap();
}

/// As [`checked`], of a device whose store may fail.
pub(super) fn try_checked(
    device: &mut Device,
    result: Result<(), String>,
) -> Result<(), StoreError> {
    let checks = std::mem::take(&mut *device.asked.checks.lock().unwrap());
    for digest in checks {
        device.turn(vec![Event::Checked { digest, result: result.clone() }])?;
    }
    Ok(())
}

pub(super) fn install(device: &mut Device, peer: &mut Peer, revision: u64, steps: usize) {
    let module = peer.add_blob(MODULE.to_vec());
    let document = desired(device, revision, steps, module);
    peer.desire(&document, now_ms(device));
    peer.exchange(device);
    checked(device, Ok(()));
    peer.exchange(device);
    assert_eq!(device.status().desired_revision, revision);
}

#[test]
fn a_desired_state_is_fetched_tried_and_put_into_force() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    assert_eq!(device.status().in_force.keys().collect::<Vec<_>>(), ["w"]);
    let done = Report::Desired { revision: 1, refused: Vec::new() };
    assert!(peer.reports.contains(&done), "{:?}", peer.reports);

    // It is in force without a network, too.
    device.brain = None;
    device.start().unwrap();
    assert_eq!(device.status().desired_revision, 1);
    assert!(device.begin("w").unwrap().is_some());
    assert_eq!(device.calls().len(), 1);
}

/// A database that was lost: what is wished for meanwhile comes before what the device shall run.
#[test]
fn a_wish_that_comes_before_its_workflow_waits_for_it() {
    let (mut device, mut peer) = pair();
    peer.command("wish-1", start("w"), now_ms(&device));
    peer.exchange(&mut device);
    let answered =
        |peer: &Peer| peer.reports.iter().filter(|r| matches!(r, Report::Command { .. })).count();
    assert_eq!((answered(&peer), device.calls().len()), (0, 0), "{:?}", peer.reports);
    install(&mut device, &mut peer, 1, 2);
    device.clock.0.lock().unwrap().boot_ms += 60_000;
    peer.exchange(&mut device);
    assert_eq!((answered(&peer), device.calls().len()), (1, 1), "{:?}", peer.reports);
    // Where it is known what shall run, nothing waits.
    peer.command("wish-2", start("other"), now_ms(&device));
    peer.exchange(&mut device);
    let refused = |r: &Report| matches!(r, Report::Command { outcome: Err(e), .. } if e.code == "workflow.unknown");
    assert!(peer.reports.iter().any(refused), "{:?}", peer.reports);
}

#[test]
fn a_wish_whose_workflow_never_comes_holds_up_the_others_for_ten_minutes_at_most() {
    let (mut device, mut peer) = pair();
    peer.command("wish-1", start("w"), now_ms(&device));
    let run = RunId::parse("0123456789abcdef-1").unwrap();
    peer.command("wish-2", Command::Cancel { run, force: false }, now_ms(&device));
    let answered = |peer: &Peer| {
        let codes = peer.reports.iter().filter_map(|report| {
            let Report::Command { outcome: Err(refusal), .. } = report else { return None };
            Some(refusal.code.clone())
        });
        codes.collect::<Vec<String>>()
    };
    peer.exchange(&mut device);
    for seconds in (5..=11 * 60).step_by(5) {
        device.clock.advance(5_000);
        peer.exchange(&mut device);
        assert!(seconds >= 600 || answered(&peer).is_empty(), "{seconds}: {:?}", answered(&peer));
    }
    assert_eq!(answered(&peer), ["workflow.unknown", "run.unknown"]);
    // From then on it is as on any device.
    peer.command("wish-3", start("w"), now_ms(&device));
    peer.exchange(&mut device);
    assert_eq!(answered(&peer).len(), 3);
}

/// As the one before, of an agent that starts anew every three minutes: as a process, where every second
/// counts, and as a machine without a clock, where what was not written down is lost.
#[test]
fn nor_for_longer_where_the_agent_starts_again_and_again() {
    for (survives, most_s) in [(true, 11 * 60), (false, 20 * 60)] {
        let (mut device, mut peer) = pair();
        device.survives = survives;
        peer.command("wish-1", start("w"), now_ms(&device));
        let answered = |peer: &Peer| {
            peer.reports.iter().filter(|report| matches!(report, Report::Command { .. })).count()
        };
        for seconds in (5..=most_s).step_by(5) {
            device.clock.advance(5_000);
            if seconds % 180 == 0 {
                device.brain = None;
                device.start().unwrap();
                peer.connect(&mut device);
            }
            peer.exchange(&mut device);
            assert!(seconds >= 600 || answered(&peer) == 0, "{seconds}: {:?}", peer.reports);
        }
        assert_eq!(answered(&peer), 1, "{survives}: {:?}", peer.reports);
    }
}

#[test]
fn a_newer_one_supersedes_and_old_blobs_go() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    let before = device.brain.as_ref().unwrap().store.blobs();
    let second = peer.add_blob([MODULE, &[0, 2, 1, 1]].concat());
    let document = desired(&device, 2, 3, second);
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    peer.exchange(&mut device);
    assert_eq!(device.status().desired_revision, 2);
    assert_eq!(before.count().unwrap(), 1, "the first module is gone");
    assert!(before.has(second).unwrap());
}

#[test]
fn what_is_not_believed() {
    type Case = (&'static str, fn(&mut Desired), fn(&mut Vec<u8>));
    let cases: [Case; 5] = [
        ("a flipped bit", |_| {}, |document| document[10] ^= 1),
        ("another device", |d| d.device = DeviceId::parse("pump-8").unwrap(), |_| {}),
        ("another tenant", |d| d.tenant = TenantId::parse("evil").unwrap(), |_| {}),
        ("an old revision", |d| d.revision = 5, |_| {}),
        (
            "an old generation",
            |d| {
                d.generation = Generation(1);
                d.issued_wall_ms = 5;
            },
            |_| {},
        ),
    ];
    for (name, change, spoil) in cases {
        let (mut device, mut peer) = pair();
        install(&mut device, &mut peer, 5, 2);
        let mut document = desired(&device, 6, 3, openclaw_sandbox::digest_of(MODULE));
        change(&mut document);
        // The announcement is not signed: a stolen broker may say what it likes there.
        peer.desire_as(6, &document, now_ms(&device), |signed| spoil(&mut signed.document));
        peer.exchange(&mut device);
        checked(&mut device, Ok(()));
        peer.exchange(&mut device);
        assert_eq!(device.status().desired_revision, 5, "{name}");
        let told =
            |r: &Report| matches!(r, Report::Security { code, .. } if code == "desired.refused");
        assert_eq!(peer.reports.iter().filter(|r| told(r)).count(), 1, "{name} is told once");
    }
}

#[test]
fn what_the_device_cannot_run_is_refused_by_name() {
    let (mut device, mut peer) = pair();
    let module = peer.add_blob(MODULE.to_vec());
    let mut document = desired(&device, 1, 2, module);
    document.plugins[0].granted.files = vec!["sys".into()];
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    peer.exchange(&mut device);
    let refused = device.status().refused;
    assert!(refused["w"].contains("`sys`"), "{refused:?}");

    let document = desired(&device, 2, 2, module);
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    checked(&mut device, Err("it imports env.abort".into()));
    peer.exchange(&mut device);
    let refused = device.status().refused;
    assert!(refused["w"].contains("env.abort"), "{refused:?}");
    let told = peer.reports.iter().filter_map(|r| match r {
        Report::Desired { revision, refused } => Some((*revision, refused[0].1.code.as_str())),
        Report::Command { .. }
        | Report::Inventory(_)
        | Report::SealingKey { .. }
        | Report::Secrets { .. }
        | Report::Done { .. }
        | Report::Security { .. }
        | Report::Dropped { .. } => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(1, "files.missing"), (2, "plugin.load")]);

    // A restart does not make the module any better.
    device.brain = None;
    device.start().unwrap();
    let status = device.status();
    assert!(status.refused["w"].contains("env.abort"), "{:?}", status.refused);
    assert!(status.in_force.is_empty(), "{:?}", status.in_force);
    let workflow = "w".to_owned();
    let answer = device.ask(Request::Start { workflow, inputs: serde_json::Map::new() }).unwrap();
    assert!(matches!(answer, Some(Answer::Error(_))), "{answer:?}");
    assert!(device.calls().is_empty());

    // With a module that works it runs, and a restart knows that as well.
    let document = desired(&device, 3, 2, module);
    peer.connect(&mut device);
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    device.brain = None;
    device.start().unwrap();
    assert_eq!(device.status().in_force.keys().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn a_module_that_broke_off_goes_on_where_it_was() {
    let (mut device, mut peer) = pair();
    let mut module = MODULE.to_vec();
    // A custom section of 1.2 MiB: the module is large, and nothing of it is code.
    module.extend_from_slice(&[0]);
    module.extend(std::iter::repeat_n(0x41, 1_200 * 1024));
    let digest = peer.add_blob(module.clone());
    let document = desired(&device, 1, 1, digest);
    peer.desire(&document, now_ms(&device));
    // When something of it is kept, the power goes.
    for _ in 0..16 {
        let now = now_ms(&device);
        let frames = peer.frames(now);
        device.turn(frames.into_iter().map(Event::Frame).collect()).unwrap();
        peer.hear(&mut device, now);
        if device.brain.as_ref().unwrap().store.chunks_length(digest).unwrap() > 0 {
            break;
        }
    }
    device.brain = None;
    device.start().unwrap();
    let have = device.brain.as_ref().unwrap().store.chunks_length(digest).unwrap();
    assert!(have > 0 && (have as usize) < module.len(), "{have} bytes are kept");
    peer.connect(&mut device);
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    assert_eq!(device.status().desired_revision, 1);
    let blob = device.brain.as_ref().unwrap().store.blobs().read(digest).unwrap();
    assert_eq!(blob, Some(module));
}

#[test]
fn commands_are_carried_out_once_and_answered() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 1);
    let now = now_ms(&device);
    peer.command("wish-1", start("w"), now);
    peer.command("wish-2", start("nobody"), now);
    let ghost = RunId::parse("000000000000-9").unwrap();
    peer.command("wish-3", Command::Cancel { run: ghost, force: false }, now);
    peer.exchange(&mut device);
    let calls = device.calls();
    assert_eq!(calls.len(), 1);
    let answers: Vec<_> = peer
        .reports
        .iter()
        .filter_map(|r| match r {
            Report::Command { request, outcome } => Some((request.as_str(), outcome.is_ok())),
            Report::Desired { .. }
            | Report::Inventory(_)
            | Report::SealingKey { .. }
            | Report::Secrets { .. }
            | Report::Done { .. }
            | Report::Security { .. }
            | Report::Dropped { .. } => None,
        })
        .collect();
    assert_eq!(answers, [("wish-1", true), ("wish-2", false), ("wish-3", false)]);
    device.answer(&calls[0]).unwrap();
    peer.exchange(&mut device);
    assert_eq!(peer.results.len(), 1);

    // After a power cut the cursor is where the effect is.
    device.brain = None;
    device.start().unwrap();
    peer.connect(&mut device);
    peer.exchange(&mut device);
    assert!(device.calls().is_empty(), "no command is carried out again");
    assert_eq!(device.results().len(), 1);
}

#[test]
fn a_control_plane_restored_from_a_backup_doubles_no_wish() {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 1);
    let now = now_ms(&device);
    peer.command("wish-1", start("w"), now);
    peer.command("wish-2", start("later"), now);
    peer.exchange(&mut device);
    let [call] = &device.calls()[..] else { panic!("one call") };
    device.answer(call).unwrap();
    peer.exchange(&mut device);
    assert_eq!(peer.results.len(), 1);

    // The agent restarts; in the backup neither wish is answered.
    device.brain = None;
    device.start().unwrap();
    let mut restored = Peer::of(GENERATION + 1);
    restored.connect(&mut device);
    restored.command("wish-1", start("w"), now_ms(&device));
    restored.command("wish-2", start("later"), now_ms(&device));
    restored.command("wish-3", start("w"), now_ms(&device));
    restored.exchange(&mut device);
    let calls = device.calls();
    assert_eq!(calls.len(), 1, "only the wish that is new is carried out");
    device.answer(&calls[0]).unwrap();
    assert_eq!(device.results().len(), 2);
    let answers: Vec<_> = restored
        .reports
        .iter()
        .filter_map(|r| {
            if let Report::Command { request, outcome } = r {
                Some((request.as_str(), outcome.clone().map_err(|refusal| refusal.code)))
            } else {
                None
            }
        })
        .collect();
    let first = device.results()[0].run.clone();
    assert!(answers.contains(&("wish-1", Ok(first))), "{answers:?}");
    assert_eq!(answers.iter().filter(|(_, outcome)| outcome.is_err()).count(), 2, "{answers:?}");
}

#[test]
fn a_backlog_of_an_offline_device_arrives_once() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows = vec![chain("w", 1)];
    device.start().unwrap();
    for _ in 0..300 {
        device.begin("w").unwrap();
        for call in device.calls() {
            device.answer(&call).unwrap();
        }
    }
    assert!(device.status().backlog >= 300);
    peer.connect(&mut device);
    for _ in 0..600 {
        peer.exchange(&mut device);
        device.clock.advance(500);
    }
    assert_eq!(peer.results.len(), 300);
    assert_eq!(device.status().backlog, 0);
}

#[test]
fn a_restored_card_forks_and_nothing_is_lost() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows = vec![chain("w", 1)];
    device.start().unwrap();
    peer.connect(&mut device);
    // Ids of runs and idempotency keys of calls.
    let run_some = |device: &mut Device, n: usize| {
        let mut names = BTreeSet::new();
        for _ in 0..n {
            names.extend(device.begin("w").unwrap());
            for call in device.calls() {
                device.answer(&call).unwrap();
                names.insert(call.idempotency_key);
            }
        }
        assert_eq!(names.len(), 2 * n);
        names
    };
    run_some(&mut device, 3);
    peer.exchange(&mut device);
    let copy = device.disk.copy();
    let one_life = run_some(&mut device, 5);
    peer.exchange(&mut device);
    assert_eq!(peer.results.len(), 8);

    // The card is put back to the copy, and lives another life.
    device.brain = None;
    device.disk = copy;
    device.start().unwrap();
    // Nothing tells it yet that it is not the only one.
    let other_life = run_some(&mut device, 7);
    assert!(one_life.is_disjoint(&other_life), "{one_life:?} {other_life:?}");
    peer.session.handle_disconnected();
    peer.connect(&mut device);
    for _ in 0..60 {
        peer.exchange(&mut device);
        device.clock.advance(1_000);
    }
    assert!(
        device
            .reports()
            .iter()
            .any(|r| matches!(r, Report::Security { code, .. } if code == "sync.forked"))
    );
    assert_eq!(device.status().backlog, 0, "everything was told under the new log");
    assert_eq!(peer.results.len(), 15, "no result hides another one");
    assert_eq!(peer.forks.len(), 2);
}

#[test]
fn two_cards_with_one_past_name_their_runs_apart() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows = vec![chain("w", 1)];
    device.start().unwrap();
    peer.connect(&mut device);
    let run_one = |device: &mut Device| {
        let run = device.begin("w").unwrap().unwrap();
        for call in device.calls() {
            device.answer(&call).unwrap();
        }
        run
    };
    run_one(&mut device);
    peer.exchange(&mut device);
    let copy = device.disk.copy();
    let one_card: BTreeSet<_> = (0..6).map(|_| run_one(&mut device)).collect();
    peer.exchange(&mut device);

    device.brain = None;
    device.disk = copy;
    device.start().unwrap();
    peer.session.handle_disconnected();
    peer.connect(&mut device);
    for _ in 0..60 {
        peer.exchange(&mut device);
        device.clock.advance(1_000);
    }
    assert_eq!(peer.forks.len(), 2, "it has forked");
    let mut other_card: BTreeSet<_> = (0..2).map(|_| run_one(&mut device)).collect();
    // The new name outlives a restart.
    device.brain = None;
    device.start().unwrap();
    other_card.extend((0..2).map(|_| run_one(&mut device)));
    assert_eq!(other_card.len(), 4);
    assert!(one_card.is_disjoint(&other_card), "{one_card:?} {other_card:?}");
}

#[test]
fn what_a_quota_dropped_is_told_once_and_as_that() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.retention = Retention { lane_bytes: 4_096, ..Retention::default() };
    device.workflows = vec![chain("w", 60)];
    device.start().unwrap();
    device.begin("w").unwrap();
    while let [call, ..] = device.calls().as_slice() {
        device.answer(call).unwrap();
    }
    peer.connect(&mut device);
    for _ in 0..60 {
        peer.exchange(&mut device);
        device.clock.advance(1_000);
    }
    assert_eq!(device.status().backlog, 0);
    let [dropped] = peer.dropped.as_slice() else { panic!("{:?}", peer.dropped) };
    assert_eq!((dropped.first, dropped.reason.as_str()), (1, "quota"));
    assert!(dropped.last > 50 && peer.events > 10, "{dropped:?}, {} events", peer.events);
}

#[test]
fn what_was_lost_is_told_again_under_the_log_of_a_fork() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.retention = Retention { lane_bytes: 4_096, ..Retention::default() };
    device.workflows = vec![chain("w", 60)];
    device.start().unwrap();
    let work = |device: &mut Device| {
        device.begin("w").unwrap();
        while let [call, ..] = device.calls().as_slice() {
            device.answer(call).unwrap();
        }
    };
    let talk = |device: &mut Device, peer: &mut Peer| {
        for _ in 0..60 {
            peer.exchange(device);
            device.clock.advance(1_000);
        }
        assert_eq!(device.status().backlog, 0);
    };
    work(&mut device);
    let store = &device.brain.as_ref().unwrap().store;
    let damaged = store.holdings()[2].next - 4;
    store.spoil("outbox", &[&[2][..], &damaged.to_be_bytes()].concat());
    peer.connect(&mut device);
    talk(&mut device, &mut peer);
    let told = std::mem::take(&mut peer.dropped);
    let reasons: Vec<&str> = told.iter().map(|dropped| dropped.reason.as_str()).collect();
    assert_eq!(reasons, ["quota", "damaged"]);

    // The card is put back to a copy after it has told more.
    let copy = device.disk.copy();
    device.begin("w").unwrap();
    peer.exchange(&mut device);
    device.brain = None;
    device.disk = copy;
    device.start().unwrap();
    peer.session.handle_disconnected();
    peer.connect(&mut device);
    talk(&mut device, &mut peer);
    assert_eq!(peer.forks.len(), 2, "it has forked");
    assert_eq!(peer.dropped, told, "under the new log as under the old one");
}

#[test]
fn commands_that_do_not_come_any_more_are_told_as_that() {
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows = vec![chain("w", 1)];
    device.start().unwrap();
    peer.connect(&mut device);
    let now = peer::now_ms(&device);
    peer.pass_over(3, now);
    peer.command("req-4", start("w"), now);
    peer.exchange(&mut device);
    let told: Vec<(String, String)> = device
        .reports()
        .into_iter()
        .filter_map(|report| match report {
            Report::Security { code, message } => Some((code, message)),
            Report::Command { .. }
            | Report::Desired { .. }
            | Report::Inventory(_)
            | Report::SealingKey { .. }
            | Report::Secrets { .. }
            | Report::Done { .. }
            | Report::Dropped { .. } => None,
        })
        .collect();
    let [(code, message)] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(code, "command.gone");
    assert!(message.starts_with("commands 1 to 3 do not come any more"), "{message}");
    assert!(message.contains("`answered`"), "{message}");
    assert_eq!(device.calls().len(), 1, "what comes after them is done");
}
