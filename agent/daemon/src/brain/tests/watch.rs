//! Triggers that are watched for, and conditions that must hold: what the brain makes of requests,
//! and what the store keeps of a hold.

use openclaw_agent_core::Message;
use openclaw_protocol::id::{RunId, TriggerId, WorkflowName};
use tokio::sync::Semaphore;

use super::*;
use crate::config::Webhook;
use crate::secrets::Secrets;

const BELL: &str = "workflow: bell\ntriggers:\n  - { id: rung, webhook: { path: /bell, auth: none }, \
                    throttle: 10s, when: trigger.body != 'no', inputs: { who: '${ trigger.body }' } \
                    }\ninputs: { who: { type: string } }\nsteps:\n  - { id: a, set: { x: 1 } }\n";
/// Wants the same requests; its name comes later.
const OTHER: &str = "workflow: other\ntriggers:\n  - { id: rung, webhook: { path: /bell, auth: none \
                     } }\nsteps:\n  - { id: a, set: { x: 1 } }\n";
const HOT: &str = "workflow: hot\ntriggers:\n  - { id: t, mqtt: temp, when: trigger.payload > 80, \
                   for: 30s }\nsteps:\n  - { id: a, set: { x: 1 } }\n";

impl Device {
    fn request(&mut self, trigger: &str, body: &str) -> Result<RunId, Refusal> {
        let (reply, mut answer) = oneshot::channel();
        let event = Event::Webhook {
            workflow: WorkflowName::parse("bell").unwrap(),
            trigger: TriggerId::parse(trigger).unwrap(),
            data: JsonText::of(&serde_json::json!({ "body": body })),
            reply,
        };
        self.turn(vec![event]).unwrap();
        answer.try_recv().unwrap()
    }

    fn temperature(&mut self, degrees: u32) {
        let payload = JsonText::of(&serde_json::json!(degrees));
        let message = Message { topic: "temp".into(), payload, qos: 1, retained: false };
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        self.turn(vec![Event::Broker(FromBroker::Message { message, room })]).unwrap();
    }

    fn pass(&mut self, ms: u64) {
        self.clock.advance(ms);
        self.turn(Vec::new()).unwrap();
    }

    fn ended(&self) -> usize {
        self.results().len()
    }
}

#[test]
fn a_request_is_answered_with_its_run_or_with_why_there_is_none() {
    let mut device = Device::new(1, vec![deployed(BELL)]);
    device.start().unwrap();
    let run = device.request("rung", "ann").unwrap();
    let result = &device.results()[0];
    assert_eq!((&result.run, result.trigger.as_str()), (&run, "rung"));
    assert_eq!(result.inputs.value()["who"], "ann");
    let code = |outcome: Result<RunId, Refusal>| outcome.unwrap_err().code;
    assert_eq!(code(device.request("rung", "bob")), "throttled");
    assert_eq!(code(device.request("rung", "no")), "trigger.other");
    assert_eq!(code(device.request("other", "ann")), "trigger.unknown");
    device.clock.advance(10_000);
    assert!(device.request("rung", "bob").is_ok());
    assert_eq!(device.ended(), 2);
}

#[tokio::test]
async fn of_two_that_want_the_same_requests_one_has_them_and_that_is_told() {
    let mut device = Device::new(1, vec![deployed(OTHER), deployed(BELL)]);
    let (events, _queue) = crate::event::queue();
    let config = Webhook { listen: "127.0.0.1:0".parse().unwrap(), allow_unsigned: false };
    let (listener, _server) = crate::webhook::listen(&config, Secrets::default(), events);
    device.webhook = Some(listener);
    device.start().unwrap();
    // What is told rides along with a commit that comes soon.
    device.pass(1_000);
    device.pass(crate::limits::LAZY_MS);
    let told: Vec<String> = device
        .reports()
        .into_iter()
        .filter_map(|report| {
            let Report::Security { code, message } = report else { return None };
            (code == "webhook.taken").then_some(message)
        })
        .collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(told.contains("workflow `other`") && told.contains("POST /bell"), "{told}");
}

#[test]
fn a_hold_goes_on_after_a_restart_once_it_is_confirmed() {
    let mut device = Device::new(1, vec![deployed(HOT)]);
    device.has_broker = true;
    device.start().unwrap();
    device.temperature(81);
    device.pass(20_000);
    device.brain = None;
    device.start().unwrap();
    device.pass(1_000);
    device.temperature(82);
    device.pass(9_000);
    assert_eq!(device.ended(), 0, "29 s have been seen");
    device.pass(1_000);
    assert_eq!(device.ended(), 1);
    // Nothing on what nobody has said since.
    device.temperature(20);
    device.temperature(90);
    device.pass(20_000);
    device.brain = None;
    device.start().unwrap();
    for _ in 0..10 {
        device.pass(30_000);
    }
    assert_eq!(device.ended(), 1);
}
