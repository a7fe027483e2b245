//! Secrets from the control plane to a plugin and back: used, and nowhere to be found afterwards.

use std::time::Duration;

use openclaw_protocol::desired::{Desired, DesiredWorkflow};
use openclaw_protocol::id::Digest;
use openclaw_protocol::secret::{HeldSecret, SecretState};
use zeroize::Zeroizing;

use super::peer::{Peer, now_ms};
use super::sync::{checked, desired};
use super::*;
use crate::config::Config;
use crate::event;
use crate::hands::{Kit, Workers};
use crate::host::HostKit;
use crate::logs::Logs;
use crate::secrets::tests::sealed;
use crate::secrets::{DeviceKey, Secrets};
use crate::tls::TlsTime;

const VALUE: &str = "correct-horse\"battery";
/// What is no secret, to show that the search finds what is there.
const PLAIN: &str = "plain-as-day";

const WORKFLOW: &str = "workflow: w
version: '1'
secrets: [token]
steps:
  - id: good
    plugin: count@^1
    with:
      header: 'Bearer ${ secret(\"token\") }'
      deep: [{ key: '${ secret(\"token\") }' }]
      note: plain-as-day
  - id: bad
    plugin: bad@^1
    with: { header: '${ \"Bearer \" + secret(\"token\") }' }
    retry: none
";

/// Echoes its input: in its log, in a variable, and as its output or as its error.
fn module(end: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
  (import "openclaw" "input_length" (func $length (result i32)))
  (import "openclaw" "input_read" (func $read (param i32 i32)))
  (import "openclaw" "output_write" (func $output (param i32 i32)))
  (import "openclaw" "error_write" (func $error (param i32 i32)))
  (import "openclaw" "log" (func $log (param i32 i32 i32)))
  (import "openclaw" "var_set" (func $set (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "kept")
  (func (export "execute") (result i32)
    (call $read (i32.const 64) (call $length))
    (call $log (i32.const 2) (i32.const 64) (call $length))
    (drop (call $set (i32.const 0) (i32.const 4) (i32.const 64) (call $length)))
    {end}))"#
    );
    wat::parse_str(text).unwrap()
}

struct World {
    device: Device,
    peer: Peer,
    workers: Workers,
    settled: crate::event::Inbox,
    logs: Logs,
}

fn document(device: &Device, revision: u64, modules: [Digest; 2]) -> Desired {
    let workflow = definition::parse(WORKFLOW).unwrap();
    let named =
        |name: &str, digest| PluginPin { name: PluginName::parse(name).unwrap(), ..pin(digest) };
    Desired {
        workflows: vec![DesiredWorkflow {
            name: workflow.name.clone(),
            version: workflow.version.clone(),
            hash: workflow.hash.clone(),
            definition: JsonText::parse(&workflow.canonical).unwrap(),
            pins: vec![("count.execute@^1".into(), 0), ("bad.execute@^1".into(), 1)],
            triggers_enabled: true,
        }],
        plugins: vec![named("count", modules[0]), named("bad", modules[1])],
        ..desired(device, revision, 1, modules[0])
    }
}

fn key() -> DeviceKey {
    DeviceKey::of(&Zeroizing::new([9; 32]))
}

impl World {
    fn new() -> Self {
        let mut peer = Peer::new();
        let mut device = Device::enrolled(1, peer.key());
        device.secrets = Secrets::new(None, Some(key()));
        device.start().unwrap();
        peer.connect(&mut device);
        let (events, settled) = event::queue();
        let logs = Logs::default();
        let config = Config::default();
        let kit = Kit {
            events,
            blobs: device.brain.as_ref().unwrap().store.blobs(),
            logs: logs.clone(),
            host: HostKit::new(&config, TlsTime::default(), tokio::runtime::Handle::current()),
            secrets: device.secrets.clone(),
            plugin_config: Arc::default(),
        };
        Self { device, peer, workers: Workers::new(kit, 2), settled, logs }
    }

    fn send(&mut self, revision: u64, version: u64, value: &str) {
        let echo = "(call $output (i32.const 64) (call $length)) (i32.const 0)";
        let fail = "(call $error (i32.const 64) (call $length)) (i32.const 1)";
        let modules = [echo, fail].map(|end| self.peer.add_blob(module(end)));
        self.peer.secrets = vec![sealed(key().public(), "token", version, value)];
        let document = document(&self.device, revision, modules);
        self.peer.desire(&document, now_ms(&self.device));
        self.peer.exchange(&mut self.device);
        checked(&mut self.device, Ok(()));
        self.peer.exchange(&mut self.device);
        assert_eq!(self.device.status().desired_revision, revision);
    }

    /// Makes the calls that are due in the sandbox, until none are.
    fn work(&mut self) {
        loop {
            let calls = self.device.calls();
            if calls.is_empty() {
                return;
            }
            for task in calls {
                assert!(!task.input.as_str().contains(VALUE), "handles only: {:?}", task.input);
                self.workers.call(task);
                let event = self.settled.recv_timeout(Duration::from_secs(20)).unwrap();
                self.device.turn(vec![event]).unwrap();
            }
        }
    }

    fn run(&mut self) -> Vec<RunResult> {
        self.device.begin("w").unwrap().unwrap();
        self.work();
        let results = self.device.results();
        self.peer.exchange(&mut self.device);
        results
    }
}

#[tokio::test]
async fn a_secret_is_used_and_is_nowhere_afterwards() {
    let mut world = World::new();
    assert!(
        world.peer.reports.contains(&Report::SealingKey { key: key().public() }),
        "{:?}",
        world.peer.reports
    );
    world.send(1, 1, VALUE);
    let held = HeldSecret { name: "token".into(), version: 1, state: SecretState::Ready };
    assert!(world.peer.reports.contains(&Report::Secrets { held: vec![held] }));
    let results = world.run();
    let error = results[0].error.as_ref().unwrap();
    assert!(error.message.contains("Bearer ***"), "{error:?}");

    let lines = world.logs.after(0, None);
    assert!(lines.iter().any(|line| line.message.contains("Bearer ***")), "{lines:?}");
    assert!(lines.iter().any(|line| line.message.contains(PLAIN)), "{lines:?}");
    let escaped = VALUE.replace('"', "\\\"");
    let base64 = data_encoding::BASE64.encode(VALUE.as_bytes());
    // The part before the quotation mark stands in every form of it.
    let needles = [VALUE, &escaped, &base64, "correct-horse"];
    let is_told =
        |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|part| part == what.as_bytes());
    for needle in needles {
        assert!(!world.device.disk.holds(needle.as_bytes()), "`{needle}` is on the disk");
        assert!(!world.peer.bodies.iter().any(|body| is_told(body, needle)), "`{needle}` was told");
        assert!(!lines.iter().any(|line| line.message.contains(needle)), "`{needle}` is logged");
    }
    // The search finds what is there: what is no secret, and what stands in the place of one.
    for there in [PLAIN, "Bearer ***"] {
        assert!(world.device.disk.holds(there.as_bytes()), "`{there}` should be on the disk");
    }
    assert!(world.peer.bodies.iter().any(|body| is_told(body, "Bearer ***")));
}

#[tokio::test]
async fn the_next_call_gets_the_next_value_and_so_it_is_after_a_restart() {
    let mut world = World::new();
    world.send(1, 1, VALUE);
    world.send(2, 2, "another-value");
    let ready = |version| {
        let held = HeldSecret { name: "token".into(), version, state: SecretState::Ready };
        Report::Secrets { held: vec![held] }
    };
    assert!(world.peer.reports.contains(&ready(2)), "{:?}", world.peer.reports);
    assert_eq!(world.device.secrets.secret("token").unwrap().as_slice(), b"another-value");

    // What is sealed on the disk opens again, with this key alone.
    world.device.brain = None;
    world.device.secrets = Secrets::new(None, Some(key()));
    world.device.start().unwrap();
    assert_eq!(world.device.secrets.secret("token").unwrap().as_slice(), b"another-value");
    world.device.brain = None;
    world.device.secrets = Secrets::new(None, Some(DeviceKey::of(&Zeroizing::new([8; 32]))));
    world.device.start().unwrap();
    assert!(world.device.secrets.secret("token").is_none());
    let held = HeldSecret { name: "token".into(), version: 2, state: SecretState::OtherKey };
    assert!(world.device.reports().contains(&Report::Secrets { held: vec![held] }));
}

#[tokio::test]
async fn a_call_without_its_secret_fails_by_name() {
    let mut world = World::new();
    world.send(1, 1, VALUE);
    let (tenant, device) = {
        let identity = world.device.identity.as_ref().unwrap();
        (identity.tenant.clone(), identity.device.clone())
    };
    world.device.secrets.replace(&tenant, &device, &[]);
    world.device.begin("w").unwrap().unwrap();
    for task in world.device.calls() {
        world.workers.call(task);
    }
    let event = world.settled.recv_timeout(Duration::from_secs(20)).unwrap();
    let Event::Settled { outcome: AttemptOutcome::Failed { error }, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!((error.code.as_str(), error.retryable), ("secret.missing", true));
    assert!(error.message.contains("`token`"), "{}", error.message);
}
