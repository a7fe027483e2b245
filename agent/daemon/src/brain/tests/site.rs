//! The site's own broker as the brain sees it: what is stored until it is sent, what is heard, and
//! what triggers remember; and what the device's own bus hears of the device itself.

use std::collections::BTreeSet;

use openclaw_agent_core::{Message, Publication};
use openclaw_protocol::desired::DesiredWorkflow;
use openclaw_protocol::id::{Digest, RunId};
use tokio::sync::Semaphore;

use super::peer::{Peer, now_ms};
use super::sync::{MODULE, checked, desired};
use super::*;
use crate::local::LocalBrokerStatus;

/// Says `n` on `out` and is done, whoever hears it.
const SAYS: &str = "workflow: says\nmode: parallel\nmax: 1000\nsteps:\n  - id: a\n    publish: \
                    { topic: out, qos: 1, payload: 7 }\n";
/// Says it and waits for the broker.
const ASKS: &str = "workflow: asks\nmode: parallel\nmax: 1000\nsteps:\n  - id: a\n    publish: \
                    { topic: out, qos: 1, payload: 8, confirm: broker }\n";

fn device(texts: &[&str]) -> Device {
    let mut device = Device::new(1, texts.iter().map(|text| deployed(text)).collect());
    device.has_broker = true;
    device
}

impl Device {
    fn broker(&mut self, event: FromBroker) {
        self.turn(vec![Event::Broker(event)]).unwrap();
    }

    fn up(&mut self, connection: u64) {
        self.broker(FromBroker::Up { connection });
    }

    /// What was handed to the broker's task since this was last asked.
    fn given(&mut self) -> Vec<(u64, u64, Publication)> {
        let line = self.line.as_mut().unwrap();
        std::iter::from_fn(|| line.given()).collect()
    }

    fn says(&mut self, topic: &str, payload: serde_json::Value) -> Result<(), StoreError> {
        let payload = JsonText::of(&payload);
        let message = Message { topic: topic.into(), payload, qos: 1, retained: false };
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        self.turn(vec![Event::Broker(FromBroker::Message { message, room })])
    }

    fn restart(&mut self) {
        self.brain = None;
        self.start().unwrap();
    }

    fn site(&mut self) -> LocalBrokerStatus {
        self.status().local_broker
    }

    /// Workflows of settled runs, with the codes of their errors.
    fn ends(&self) -> Vec<(String, Option<String>)> {
        let code = |r: &RunResult| r.error.as_ref().map(|error| error.code.clone());
        self.results().iter().map(|r| (r.workflow.to_string(), code(r))).collect()
    }
}

fn numbers(given: &[(u64, u64, Publication)]) -> Vec<u64> {
    given.iter().map(|(_, seq, _)| *seq).collect()
}

fn ends(of: &[(&str, Option<&str>)]) -> Vec<(String, Option<String>)> {
    of.iter().map(|(name, code)| ((*name).to_owned(), code.map(str::to_owned))).collect()
}

#[test]
fn what_is_stored_is_sent_in_order_and_again_until_it_has_arrived() {
    let mut device = device(&[SAYS]);
    device.start().unwrap();
    for _ in 0..3 {
        device.begin("says").unwrap().unwrap();
    }
    assert_eq!(device.ends().len(), 3, "nobody waits for the broker");
    assert!(device.given().is_empty(), "it is away");
    let site = device.site();
    assert_eq!((site.state.as_str(), site.waiting, site.waiting_bytes), ("down", 3, 12));

    device.up(1);
    let given = device.given();
    assert_eq!(numbers(&given), [1, 2, 3]);
    let (connection, _, publication) = &given[0];
    assert_eq!((*connection, publication.topic.as_str(), publication.qos), (1, "out", 1));
    assert_eq!(publication.payload, b"7");
    device.broker(FromBroker::Published { seq: 1 });
    device.broker(FromBroker::Down { reason: "gone".into() });
    assert_eq!(device.site().state, "down: gone");
    device.up(2);
    let again = device.given();
    assert_eq!(numbers(&again), [2, 3], "what is not known to have arrived goes again");
    assert_eq!(again[0].2, given[1].2, "under the same id");

    device.broker(FromBroker::Published { seq: 2 });
    device.clock.advance(60_000);
    device.turn(Vec::new()).unwrap();
    device.restart();
    assert_eq!(device.site().waiting, 1);
    device.up(1);
    assert_eq!(numbers(&device.given()), [3]);
    device.begin("says").unwrap().unwrap();
    assert_eq!(numbers(&device.given()), [4], "numbers go on");
}

#[test]
fn only_so_many_are_on_their_way() {
    let mut device = device(&[SAYS]);
    device.start().unwrap();
    for _ in 0..40 {
        device.begin("says").unwrap().unwrap();
    }
    device.up(1);
    assert_eq!(numbers(&device.given()), (1..=16).collect::<Vec<_>>());
    device.broker(FromBroker::Published { seq: 3 });
    assert_eq!(numbers(&device.given()), [17]);
    for seq in (1..=40).filter(|seq| *seq != 3) {
        device.broker(FromBroker::Published { seq });
    }
    assert_eq!(device.site().waiting, 0);
}

#[test]
fn who_waits_for_the_broker_hears_of_it() {
    let mut device = device(&[ASKS]);
    device.start().unwrap();
    device.begin("asks").unwrap().unwrap();
    assert!(device.ends().is_empty());
    device.restart();
    device.up(1);
    assert_eq!(numbers(&device.given()), [1]);
    assert!(device.ends().is_empty(), "it is only on its way");
    device.broker(FromBroker::Published { seq: 1 });
    assert_eq!(device.ends(), ends(&[("asks", None)]));
    device.restart();
    assert_eq!(device.site().waiting, 0, "the end and the removal share a commit");

    device.begin("asks").unwrap().unwrap();
    device.broker(FromBroker::Refused { seq: 1, reason: "reset".into() });
    assert_eq!(device.ends()[1..], ends(&[("asks", Some("mqtt.refused"))]));
    assert_eq!(device.site().dropped_to, 1);
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent_later() {
    let mut device = device(&[ASKS]);
    device.start().unwrap();
    device.begin("asks").unwrap().unwrap();
    let run = device.begin("asks").unwrap().unwrap();
    assert_eq!(device.site().waiting, 2);
    device.ask(Request::Cancel { run, force: false }).unwrap();
    assert_eq!(device.site().waiting, 1);
    device.clock.advance(300_001);
    device.turn(Vec::new()).unwrap();
    assert_eq!(device.ends()[1..], ends(&[("asks", Some("timeout"))]));
    device.restart();
    device.up(1);
    assert!(device.given().is_empty());
}

#[test]
fn without_a_broker_only_what_is_stored_is_kept() {
    let mut device = Device::new(1, vec![deployed(SAYS), deployed(ASKS)]);
    device.start().unwrap();
    device.begin("asks").unwrap().unwrap();
    device.begin("says").unwrap().unwrap();
    assert_eq!(device.ends(), ends(&[("asks", Some("mqtt.offline")), ("says", None)]));
    let site = device.site();
    assert_eq!((site.state.as_str(), site.waiting), ("none", 1));
    device.has_broker = true;
    device.restart();
    device.up(1);
    assert_eq!(numbers(&device.given()), [1], "it is there now");
}

#[test]
fn when_the_store_is_full_the_oldest_goes_and_is_told() {
    let large = |name: &str, confirm: &str| {
        format!(
            "workflow: {name}\nmode: parallel\nmax: 1000\ninputs: {{ text: {{ type: string }} }}\n\
             steps:\n  - id: a\n    publish: {{ topic: out, payload: '${{ inputs.text }}', confirm: \
             {confirm} }}\n"
        )
    };
    let mut device = device(&[&large("large", "stored"), &large("large-asks", "broker"), ASKS]);
    device.start().unwrap();
    device.begin("asks").unwrap().unwrap();
    let text = "y".repeat(60_000);
    let inputs = serde_json::json!({ "text": text }).as_object().unwrap().clone();
    for _ in 0..70 {
        let request = Request::Start { workflow: "large".into(), inputs: inputs.clone() };
        let answer = device.ask(request).unwrap();
        assert!(matches!(answer, Some(Answer::Accepted { .. })), "{answer:?}");
    }
    let site = device.site();
    assert!(site.waiting_bytes <= limits::PUBLICATIONS_BYTES, "{}", site.waiting_bytes);
    assert!(site.waiting_bytes > limits::PUBLICATIONS_BYTES - 61_000, "{}", site.waiting_bytes);
    assert_eq!(site.waiting as u64 + site.dropped_to, 71);
    assert_eq!(device.ends().len(), 70);
    // Whoever can wait hears that there is no room; the first one still has its place.
    let request = Request::Start { workflow: "large-asks".into(), inputs };
    device.ask(request).unwrap();
    assert_eq!(device.ends()[70..], ends(&[("large-asks", Some("mqtt.offline"))]));
    let dropped = device.site().dropped_to;
    for _ in 0..2 {
        device.clock.advance(60_000);
        device.turn(Vec::new()).unwrap();
    }
    let told = |r: &Report| {
        matches!(r, Report::Security { code, message } if code == "mqtt.dropped"
            && message.starts_with(&format!("{dropped} messages")))
    };
    assert_eq!(device.reports().iter().filter(|r| told(r)).count(), 1);
    device.restart();
    assert!(device.site().waiting_bytes <= limits::PUBLICATIONS_BYTES);
    device.up(1);
    let given = numbers(&device.given());
    assert_eq!(given[0], 1, "the one that somebody waits for");
    assert!(given[1] > 2, "{given:?}");
}

/// A life of a device that shall say two things, of which a broker takes what it is given.
fn say_two(device: &mut Device, heard: &mut BTreeSet<String>) -> Result<(), StoreError> {
    device.start()?;
    device.turn(vec![Event::Broker(FromBroker::Up { connection: 1 })])?;
    let is_there = device.brain.as_ref().unwrap().engine.runs().count() > 0;
    if !is_there && device.results().is_empty() {
        device.begin("both")?;
    }
    for _ in 0..4 {
        for (_, seq, publication) in device.given() {
            heard.insert(publication.message_id);
            device.turn(vec![Event::Broker(FromBroker::Published { seq })])?;
        }
    }
    device.clock.advance(60_000);
    device.turn(Vec::new())?;
    Ok(())
}

#[test]
fn a_power_cut_at_any_sync_loses_no_message() {
    let both = "workflow: both\nsteps:\n  - { id: a, publish: { topic: x, payload: 1 } }\n  - { id: \
                b, publish: { topic: x, qos: 1, payload: 2, confirm: broker } }\n";
    for cut in 1.. {
        let mut device = device(&[both]);
        device.disk = Disk::new(cut);
        device.disk.cut_at_sync(cut);
        let mut heard = BTreeSet::new();
        let mut went = false;
        while let Err(e) = say_two(&mut device, &mut heard) {
            went = true;
            device.survive(&e);
        }
        assert_eq!(heard.len(), 2, "cut {cut}: {heard:?}");
        assert_eq!(device.ends(), ends(&[("both", None)]), "cut {cut}");
        device.brain = None;
        device.disk.revive();
        device.start().unwrap();
        assert_eq!(device.site().waiting, 0, "cut {cut}");
        if !went {
            assert!(cut > 6, "the run has {cut} syncs");
            return;
        }
    }
}

#[test]
fn messages_start_runs_and_end_waits() {
    let text = "workflow: hot\nmode: parallel\nmax: 9\ntriggers:\n  - { id: heat, mqtt: 'site/+/temp', \
                when: 'trigger.payload.c > 80.0' }\nsteps:\n  - id: cool\n    wait: { mqtt: \
                '${ \"site/\" + trigger.topic_parts[1] + \"/ack\" }' }\noutputs: { said: '${ \
                steps.cool.output.message.payload }' }\n";
    let mut device = device(&[text]);
    device.start().unwrap();
    let wanted = |device: &Device| -> Vec<(String, u8)> {
        let wanted = device.line.as_ref().unwrap().wanted();
        wanted.iter().map(|(filter, qos)| (filter.clone(), *qos)).collect()
    };
    assert_eq!(wanted(&device), [("site/+/temp".to_owned(), 0)]);
    device.says("site/pump/temp", serde_json::json!({ "c": 80 })).unwrap();
    device.says("site/pump/temp", serde_json::json!({ "c": 81 })).unwrap();
    assert_eq!(device.status().unsettled, 1);
    let both = [("site/+/temp".to_owned(), 0), ("site/pump/ack".to_owned(), 0)];
    assert_eq!(wanted(&device), both);
    device.restart();
    assert_eq!(wanted(&device), both, "a wait goes on to listen");
    device.says("site/fan/ack", serde_json::json!(1)).unwrap();
    device.says("site/pump/ack", serde_json::json!("ok")).unwrap();
    assert_eq!(device.results()[0].outputs.value(), serde_json::json!({ "said": "ok" }));
    assert_eq!(wanted(&device), both[..1]);
    assert_eq!(device.site().topics, 1);
}

#[test]
fn a_trigger_remembers_what_it_has_seen() {
    let text = "workflow: once\nmode: parallel\nmax: 9\ntriggers:\n  - { id: order, mqtt: orders, \
                dedupe: { key: trigger.payload.id, window: 10m } }\nsteps:\n  - { id: a, set: { x: 1 \
                } }\n";
    let mut device = device(&[text]);
    let order = |n: u32| serde_json::json!({ "id": n });
    device.start().unwrap();
    device.says("orders", order(1)).unwrap();
    device.restart();
    device.says("orders", order(1)).unwrap();
    device.says("orders", order(2)).unwrap();
    assert_eq!(device.ends().len(), 2, "the first order came again after a restart");

    // It goes with its workflow, and with nothing else.
    let mut elsewhere = deployed(SAYS);
    elsewhere.triggers_enabled = false;
    device.workflows.push(elsewhere);
    device.restart();
    device.says("orders", order(2)).unwrap();
    assert_eq!(device.ends().len(), 2);
    device.workflows.remove(0);
    device.restart();
    device.workflows.push(deployed(text));
    device.restart();
    device.says("orders", order(2)).unwrap();
    assert_eq!(device.ends().len(), 3);
}

#[test]
fn a_device_without_a_broker_refuses_what_needs_one() {
    let (mut peer, texts) = (
        Peer::new(),
        [
            (
                "trigger `t`",
                "triggers:\n  - { id: t, mqtt: a/b }\nsteps:\n  - { id: a, delay: 1s }\n",
            ),
            ("step `a`", "steps:\n  - { id: a, wait: { mqtt: a/b }, timeout: 1s }\n"),
            ("step `a`", "steps:\n  - { id: a, publish: { topic: a/b, payload: 1 } }\n"),
        ],
    );
    let mut device = Device::enrolled(1, peer.key());
    device.start().unwrap();
    peer.connect(&mut device);
    let module = peer.add_blob(MODULE.to_vec());
    let mut document = desired(&device, 1, 1, module);
    for (n, (_, text)) in texts.iter().enumerate() {
        let workflow = &deployed(&format!("workflow: w{n}\n{text}")).workflow;
        document.workflows.push(DesiredWorkflow {
            name: workflow.name.clone(),
            version: String::new(),
            hash: workflow.hash.clone(),
            definition: JsonText::parse(&workflow.canonical).unwrap(),
            pins: Vec::new(),
            triggers_enabled: true,
        });
    }
    peer.desire(&document, now_ms(&device));
    peer.exchange(&mut device);
    checked(&mut device, Ok(()));
    peer.exchange(&mut device);
    let status = device.status();
    assert_eq!(status.in_force.keys().collect::<Vec<_>>(), ["w"]);
    for (n, (what, _)) in texts.iter().enumerate() {
        let reason = &status.refused[&format!("w{n}")];
        assert!(reason.contains(what) && reason.contains("[local_broker]"), "{reason}");
    }
    let told = peer
        .reports
        .iter()
        .filter_map(|r| if let Report::Desired { refused, .. } = r { Some(refused) } else { None });
    let codes: Vec<&str> = told.flatten().map(|(_, refusal)| refusal.code.as_str()).collect();
    assert_eq!(codes, ["mqtt.missing"; 3]);

    // It has one now.
    device.has_broker = true;
    device.restart();
    assert_eq!(device.status().in_force.len(), 4);
}

#[test]
fn what_happens_to_the_device_is_said_on_its_own_bus() {
    let on = |event: &str| {
        let name = event.replace('.', "-");
        format!(
            "workflow: {name}\nmode: parallel\nmax: 9\ntriggers:\n  - {{ id: e, event: {event} }}\n\
             outputs: {{ data: '${{ trigger.data }}' }}\nsteps:\n  - {{ id: a, set: {{ x: 1 }} }}\n"
        )
    };
    let mut peer = Peer::new();
    let mut device = Device::enrolled(1, peer.key());
    device.workflows =
        ["link.up", "link.down", "clock.adjusted"].map(|event| deployed(&on(event))).to_vec();
    device.start().unwrap();
    // A link that never comes up is no change.
    device.turn(vec![Event::LinkDown]).unwrap();
    assert_eq!(device.ends(), []);
    peer.connect(&mut device);
    assert_eq!(device.ends(), ends(&[("link-up", None)]));
    peer.exchange(&mut device);
    device.turn(vec![Event::LinkDown]).unwrap();
    device.turn(vec![Event::LinkDown]).unwrap();
    assert_eq!(device.ends(), ends(&[("link-up", None), ("link-down", None)]));

    device.clock.advance(50_000);
    device.turn(Vec::new()).unwrap();
    for step_ms in [1_900, 3_600_000, -5_000] {
        device.clock.0.lock().unwrap().wall_ms += step_ms;
        device.turn(Vec::new()).unwrap();
        device.turn(Vec::new()).unwrap();
    }
    assert_eq!(device.ends()[2..], ends(&[("clock-adjusted", None), ("clock-adjusted", None)]));
    let results = device.results();
    let steps: Vec<_> =
        results[2..].iter().map(|r| r.outputs.value()["data"]["step_ms"].clone()).collect();
    assert_eq!(steps, [3_600_000, -5_000]);
}

#[test]
fn runs_know_the_agent() {
    let text = "workflow: who\noutputs: { who: '${ agent.id }', labels: '${ size(agent.labels) \
                }' }\nsteps:\n  - { id: a, set: { x: 1 } }\n";
    let mut device = device(&[text]);
    device.start().unwrap();
    device.begin("who").unwrap().unwrap();
    let outputs = device.results()[0].outputs.value();
    assert_eq!(outputs, serde_json::json!({ "who": "pump-7", "labels": 0 }));
}

#[test]
fn a_caller_keeps_what_it_may_call() {
    let caller = "workflow: caller\nsteps:\n  - { id: nap, delay: 1h }\n  - { id: go, call: callee \
                  }\noutputs: { n: '${ steps.go.output.n }' }\n";
    let own = |steps: usize, module: u8| {
        let mut callee = chain("callee", steps);
        callee.pins = [("count.execute@^1".to_owned(), Arc::new(pin(Digest([module; 32]))))].into();
        callee
    };
    let old = own(2, 9);
    let mut device = Device::new(1, vec![deployed(caller), old.clone()]);
    device.start().unwrap();
    let now = device.clock.now();
    let blobs = vec![(Digest([9; 32]), MODULE.to_vec())];
    let batch = crate::store::Batch { blobs, ..Default::default() };
    device.brain.as_mut().unwrap().store.commit(&batch, now).unwrap();
    let caller = device.begin("caller").unwrap().unwrap();

    // Another version comes, twice over a restart; the caller still means the one it knew.
    device.workflows[1] = own(3, 8);
    for _ in 0..2 {
        device.restart();
        let store = &device.brain.as_ref().unwrap().store;
        assert!(store.definition(&old.workflow.hash).unwrap().is_some());
        assert!(store.blobs().has(Digest([9; 32])).unwrap());
    }
    device.clock.advance(3_600_000);
    device.turn(Vec::new()).unwrap();
    let mut called = 0;
    while let [call, ..] = device.calls().as_slice() {
        assert_eq!(call.pin.digest, Digest([9; 32]));
        device.answer(call).unwrap();
        called += 1;
    }
    assert_eq!(called, 2);
    let results = device.results();
    let result = results.iter().find(|r| r.run == RunId::parse(&caller).unwrap()).unwrap();
    assert_eq!(
        (result.status, result.outputs.value()["n"].clone()),
        (RunStatus::Completed, 2.into())
    );
    device.restart();
    let store = &device.brain.as_ref().unwrap().store;
    assert!(store.definition(&old.workflow.hash).unwrap().is_some(), "it stays for a replay");
    assert!(!store.blobs().has(Digest([9; 32])).unwrap());
}
