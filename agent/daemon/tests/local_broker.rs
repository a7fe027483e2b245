//! The agent and the site's own broker, a real one: triggers, waits and publications, while the
//! broker goes away and comes back with nothing that it knew.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use openclaw_agent::agent::Agent;
use openclaw_agent::config::{Config, LocalBroker, Standalone};
use openclaw_agent::local::{Answer, Client, Request, RunRow, Status};
use openclaw_protocol::run::{Run, RunStatus};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use rumqttd::protocol::v4::V4;
use rumqttd::{ConnectionSettings, LinkType, Router, RouterConfig, Server, ServerSettings};
use tokio::runtime::Runtime;

const WAIT: Duration = Duration::from_secs(60);

/// Answers a hot pump, and says so once somebody has acknowledged it.
const HOT: &str = "
workflow: hot
mode: parallel
max: 100
triggers:
  - { id: heat, mqtt: { topic: site/+/temp, qos: 1 }, when: trigger.payload.c > 80.0 }
steps:
  - id: ask
    publish: { topic: '${ \"site/\" + trigger.topic_parts[1] + \"/cool\" }', qos: 1, payload: { n: '${ trigger.payload.n }' } }
  - id: heard
    wait: { mqtt: { topic: '${ \"site/\" + trigger.topic_parts[1] + \"/ack\" }', qos: 1 }, when: message.payload.n == trigger.payload.n }
    timeout: 10m
outputs: { n: '${ steps.heard.output.message.payload.n }', from: '${ trigger.topic }' }
";
/// Says something, whether or not the broker is there.
const SAY: &str = "
workflow: say
mode: parallel
max: 100
inputs: { n: { type: integer } }
steps:
  - { id: a, publish: { topic: said, qos: 1, payload: '${ inputs.n }' } }
";
/// Says something and waits until the broker has it.
const TELL: &str = "
workflow: tell
mode: parallel
max: 100
inputs: { n: { type: integer } }
steps:
  - { id: a, publish: { topic: said, qos: 1, payload: '${ inputs.n }', confirm: broker } }
";

/// Says something that the broker keeps for those who come later.
const KEEP: &str = "
workflow: keep
mode: parallel
max: 100
inputs: { n: { type: integer } }
steps:
  - { id: a, publish: { topic: '${ \"kept/\" + string(inputs.n) }', qos: 0, retain: true, payload: '${ inputs.n }' } }
";

/// A broker that forgets everything when it stops.
struct Broker(Option<Runtime>);

impl Broker {
    fn start(address: SocketAddr) -> Self {
        let config = RouterConfig {
            max_connections: 10,
            max_outgoing_packet_count: 200,
            max_segment_size: 1024 * 1024,
            max_segment_count: 4,
            ..RouterConfig::default()
        };
        let router = Router::new(0, config).spawn();
        let settings = ServerSettings {
            name: "site".to_owned(),
            listen: address,
            tls: None,
            next_connection_delay_ms: 0,
            connections: ConnectionSettings {
                connection_timeout_ms: 5_000,
                max_payload_size: 256 * 1024,
                max_inflight_count: 100,
                auth: None,
                external_auth: None,
                dynamic_filters: true,
            },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime
            .spawn(async move { Server::new(settings, router, V4).start(LinkType::Remote).await });
        Self(Some(runtime))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its connections and its listener go with it.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Somebody else at the broker, who keeps all that is said on the topics of these tests.
struct Neighbour {
    client: AsyncClient,
    said: tokio::sync::mpsc::UnboundedReceiver<(String, serde_json::Value)>,
    task: tokio::task::JoinHandle<()>,
}

impl Neighbour {
    /// Returns once the broker has taken the subscriptions.
    async fn meet(address: SocketAddr) -> Self {
        let (tell, said) = tokio::sync::mpsc::unbounded_channel();
        let until = tokio::time::Instant::now() + WAIT;
        loop {
            assert!(tokio::time::Instant::now() < until, "no broker");
            let mut options = MqttOptions::new("neighbour", "127.0.0.1", address.port());
            options.set_max_packet_size(1024 * 1024, 1024 * 1024);
            let (client, mut mqtt) = AsyncClient::new(options, 100);
            for topic in ["site/+/cool", "said", "kept/+"] {
                client.try_subscribe(topic, QoS::AtLeastOnce).unwrap();
            }
            let mut left = 3;
            while left > 0 {
                match mqtt.poll().await {
                    Ok(Event::Incoming(Incoming::SubAck(_))) => left -= 1,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            if left > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            let task = tokio::spawn(async move {
                while let Ok(event) = mqtt.poll().await {
                    if let Event::Incoming(Incoming::Publish(publish)) = event {
                        let payload = serde_json::from_slice(&publish.payload).unwrap();
                        let _ = tell.send((publish.topic, payload));
                    }
                }
            });
            return Self { client, said, task };
        }
    }

    fn says(&self, topic: &str, payload: &serde_json::Value) {
        let payload = payload.to_string();
        self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
    }

    async fn hears(&mut self) -> (String, serde_json::Value) {
        tokio::time::timeout(WAIT, self.said.recv()).await.expect("somebody says it").unwrap()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn config(dir: &Path, address: SocketAddr) -> Config {
    let workflows = dir.join("workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    for (name, text) in [("hot", HOT), ("say", SAY), ("tell", TELL), ("keep", KEEP)] {
        std::fs::write(workflows.join(format!("{name}.yaml")), text).unwrap();
    }
    let broker = LocalBroker {
        address: address.to_string(),
        username: None,
        password_file: None,
        tls_ca_file: None,
        client_id: Some("agent".to_owned()),
        backoff_max_ms: 200,
    };
    Config {
        data_dir: dir.join("data"),
        standalone: Some(Standalone { workflows, plugins: None }),
        local_broker: Some(broker),
        ..Config::default()
    }
}

async fn ask(config: &Config, request: Request) -> Answer {
    let mut client = Client::connect(&config.socket_path()).await.unwrap();
    client.ask(&request).await.unwrap()
}

async fn status(config: &Config) -> Status {
    let Answer::Status(status) = ask(config, Request::Status).await else { panic!("a status") };
    *status
}

/// Waits until the status is as it should be.
async fn until(config: &Config, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
    let until = tokio::time::Instant::now() + WAIT;
    loop {
        let status = status(config).await;
        if is_so(&status) {
            return status;
        }
        assert!(tokio::time::Instant::now() < until, "{what}: {:?}", status.local_broker);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connected(config: &Config, topics: usize) {
    let is_so = |s: &Status| s.local_broker.state == "connected" && s.local_broker.topics == topics;
    until(config, "not connected", is_so).await;
}

async fn start(config: &Config, workflow: &str, n: u32) -> String {
    let inputs = serde_json::json!({ "n": n }).as_object().unwrap().clone();
    let request = Request::Start { workflow: workflow.into(), inputs };
    let Answer::Accepted { run } = ask(config, request).await else { panic!("not accepted") };
    run
}

async fn ended(config: &Config, run: &str) -> Run {
    let Answer::Run(run) = ask(config, Request::Wait { run: run.into() }).await else {
        panic!("a run");
    };
    *run
}

async fn rows(config: &Config) -> Vec<RunRow> {
    let Answer::Runs(rows) = ask(config, Request::Runs { limit: 100 }).await else {
        panic!("a list");
    };
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_outlives_the_broker_and_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let address = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let config = config(dir.path(), address);
    let agent = Agent::start(&config).unwrap();
    until(&config, "it says why not", |s| s.local_broker.state.starts_with("down: ")).await;

    // A trigger starts a run, which says something and waits for the answer.
    let broker = Broker::start(address);
    let mut neighbour = Neighbour::meet(address).await;
    connected(&config, 1).await;
    neighbour.says("site/fan/temp", &serde_json::json!({ "c": 70, "n": 0 }));
    neighbour.says("site/pump/temp", &serde_json::json!({ "c": 90, "n": 1 }));
    assert_eq!(neighbour.hears().await, ("site/pump/cool".into(), serde_json::json!({ "n": 1 })));
    connected(&config, 2).await;
    neighbour.says("site/pump/ack", &serde_json::json!({ "n": 7 }));
    neighbour.says("site/pump/ack", &serde_json::json!({ "n": 1 }));
    until(&config, "the run does not end", |s| s.unsettled == 0).await;
    let rows = rows(&config).await;
    assert_eq!(rows.len(), 1, "one was not hot enough");
    let run = ended(&config, &rows[0].run).await;
    assert_eq!(run.status, RunStatus::Completed);
    let expected = serde_json::json!({ "n": 1, "from": "site/pump/temp" });
    assert_eq!(run.outputs, Some(expected));

    // The broker goes, and with it all it knew, while a run waits. What is said meanwhile is
    // stored, over a restart of the agent as well.
    neighbour.says("site/pump/temp", &serde_json::json!({ "c": 90, "n": 2 }));
    assert_eq!(neighbour.hears().await.1, serde_json::json!({ "n": 2 }));
    drop((broker, neighbour));
    until(&config, "it is gone", |s| s.local_broker.state.starts_with("down")).await;
    for n in 0..30 {
        let run = start(&config, "say", n).await;
        assert_eq!(ended(&config, &run).await.status, RunStatus::Completed);
    }
    let told = start(&config, "tell", 30).await;
    let waiting = until(&config, "it is stored", |s| s.local_broker.waiting == 31).await;
    assert_eq!(waiting.local_broker.dropped_to, 0);
    agent.stop().await.unwrap();
    let agent = Agent::start(&config).unwrap();
    assert_eq!(status(&config).await.local_broker.waiting, 31);
    agent.stop().await.unwrap();

    let broker = Broker::start(address);
    let mut neighbour = Neighbour::meet(address).await;
    let agent = Agent::start(&config).unwrap();
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 31 {
        let (topic, payload) = neighbour.hears().await;
        assert_eq!(topic, "said");
        heard.insert(payload.as_u64().unwrap());
    }
    assert_eq!(heard, (0..=30).collect());
    assert_eq!(ended(&config, &told).await.status, RunStatus::Completed);
    until(&config, "all is sent", |s| s.local_broker.waiting == 0).await;

    // The run from before still listens, at the new broker.
    connected(&config, 2).await;
    neighbour.says("site/pump/ack", &serde_json::json!({ "n": 2 }));
    until(&config, "the run does not end", |s| s.unsettled == 0).await;

    // Once more, under a running agent.
    drop((broker, neighbour));
    until(&config, "it is gone", |s| s.local_broker.state.starts_with("down")).await;
    for n in 0..30 {
        start(&config, "keep", n).await;
    }
    let broker = Broker::start(address);
    until(&config, "all is sent", |s| s.local_broker.waiting == 0).await;
    let mut neighbour = Neighbour::meet(address).await;
    let mut kept = std::collections::BTreeSet::new();
    while kept.len() < 30 {
        let (topic, payload) = neighbour.hears().await;
        assert_eq!(topic, format!("kept/{payload}"));
        kept.insert(payload.as_u64().unwrap());
    }
    agent.stop().await.unwrap();
    drop((broker, neighbour));
}
