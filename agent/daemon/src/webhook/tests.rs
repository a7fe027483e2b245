//! The listener against a raw socket, with a brain that is played by the test.

use std::net::SocketAddr;
use std::time::Duration;

use openclaw_protocol::id::{Epoch, RunId};
use openclaw_protocol::report::Refusal;
use ring::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::*;
use crate::event::{self, Event, Inbox};
use crate::secrets::Secrets;

const KEY: &[u8] = b"It's a Secret to Everybody";

/// A listener with two hooks, one of them signed, and what comes of it.
struct Site {
    listener: Listener,
    address: SocketAddr,
    events: Option<Inbox>,
}

fn hook(path: &str, methods: &[&str], secret: Option<&str>) -> Hook {
    Hook {
        workflow: WorkflowName::parse("orders").unwrap(),
        trigger: TriggerId::parse("hook").unwrap(),
        path: path.to_owned(),
        methods: methods.iter().map(|method| (*method).to_owned()).collect(),
        hmac: secret.map(|secret| Hmac { secret: secret.into(), header: Hmac::HEADER.into() }),
    }
}

fn site() -> Site {
    let (events, receiver) = event::queue();
    let source: crate::secrets::SiteSecrets =
        Box::new(|name| (name == "key").then(|| Zeroizing::new(KEY.to_vec())));
    let secrets = Secrets::new(Some(source), None);
    let config = Webhook { listen: "127.0.0.1:0".parse().unwrap(), allow_unsigned: false };
    let (listener, server) = listen(&config, secrets, events);
    let address = server.address();
    tokio::spawn(server.run());
    listener.serve(vec![
        hook("/open", &["GET", "POST"], None),
        hook("/signed", &["POST"], Some("key")),
        hook("/lost", &["POST"], Some("gone")),
    ]);
    Site { listener, address, events: Some(receiver) }
}

impl Site {
    /// Sends bytes and reads the whole answer: its status and what follows the head.
    async fn say(&self, bytes: &[u8]) -> (u16, String, Value) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The listener may close before it has read everything that is too much.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(20), read).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    async fn ask(&self, line: &str, headers: &str, body: &[u8]) -> (u16, String, Value) {
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.say(&[head.as_bytes(), body].concat()).await
    }

    /// Lets a brain answer the next request so; gives what it was told.
    fn brain(
        &mut self,
        outcome: Result<RunId, Refusal>,
    ) -> std::thread::JoinHandle<(Inbox, Value)> {
        let receiver = self.events.take().unwrap();
        std::thread::spawn(move || {
            let event = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
            let Event::Webhook { data, reply, .. } = event else { panic!("{event:?}") };
            reply.send(outcome).unwrap();
            (receiver, data.value())
        })
    }
}

fn signature(body: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY), body);
    format!("X-Hub-Signature-256: sha256={}\r\n", data_encoding::HEXLOWER.encode(tag.as_ref()))
}

fn refused(code: &str) -> Result<RunId, Refusal> {
    Err(Refusal { code: code.to_owned(), message: "no".to_owned() })
}

#[tokio::test]
async fn a_signed_request_is_told_to_the_brain_and_answered_with_its_run() {
    let mut site = site();
    let brain = site.brain(Ok(RunId::of(Epoch(7), 3)));
    let body = b"{\"order\": 7}";
    let headers = format!("{}Cookie: a=b\r\nX-Who: me\r\n", signature(body));
    let (status, head, answer) = site.ask("POST /signed?a=1", &headers, body).await;
    assert_eq!(status, 202, "{head}");
    assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
    assert_eq!(answer["execution"], RunId::of(Epoch(7), 3).to_string());
    let (_, data) = brain.join().unwrap();
    assert_eq!(data["path"], "/signed");
    assert_eq!(data["method"], "POST");
    assert_eq!(data["query"]["a"], "1");
    assert_eq!(data["body"]["order"], 7);
    assert_eq!(data["headers"]["x-who"], "me");
    assert!(data["headers"].get("cookie").is_none());
    assert!(data["headers"].get("x-hub-signature-256").is_none());
}

#[tokio::test]
async fn what_nobody_listens_to_or_is_not_signed_never_reaches_the_brain() {
    let site = site();
    let body = b"hello";
    let right = signature(body);
    for (line, headers, status, code) in [
        ("POST /else", "", 404, "webhook.unknown"),
        ("POST /open/", "", 404, "webhook.unknown"),
        ("PUT /open", "", 405, "webhook.method"),
        ("GET /signed", "", 405, "webhook.method"),
        ("POST /signed", "", 401, "webhook.signature"),
        ("POST /signed", "X-Hub-Signature-256: sha256=00\r\n", 401, "webhook.signature"),
        ("POST /lost", &*right, 503, "webhook.secret"),
    ] {
        let (found, head, answer) = site.ask(line, headers, body).await;
        assert_eq!((found, answer["code"].as_str()), (status, Some(code)), "{line}: {head}");
        assert_eq!(answer["status"], status);
        assert!(head.to_lowercase().contains("application/problem+json"), "{head}");
    }
    let (_, head, _) = site.ask("PUT /open", "", body).await;
    assert!(head.to_lowercase().contains("allow: get, post"), "{head}");
    let (status, ..) = site.ask("POST /signed", &right, b"hellO").await;
    assert_eq!(status, 401, "another body");
    assert!(site.events.as_ref().unwrap().recv_timeout(Duration::ZERO).is_err());
}

#[tokio::test]
async fn bodies_and_heads_are_bounded() {
    let site = site();
    let long = vec![b'x'; 64 * 1024 + 1];
    assert_eq!(site.ask("POST /open", "", &long).await.0, 413);
    let mut chunked =
        b"POST /open HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..5 {
        chunked.extend(b"4000\r\n");
        chunked.extend(vec![b'x'; 0x4000]);
        chunked.extend(b"\r\n");
    }
    assert_eq!(site.say(&chunked).await.0, 413);
    let large = format!("X-A: {}\r\n", "a".repeat(20 * 1024));
    assert_eq!(site.ask("POST /open", &large, b"").await.0, 431);
    // Short as bytes, long as JSON.
    assert_eq!(site.ask("POST /open", "", &vec![1_u8; 60_000]).await.0, 413);
    assert!(site.events.as_ref().unwrap().recv_timeout(Duration::ZERO).is_err());
}

#[tokio::test]
async fn what_came_of_it_is_told() {
    let mut site = site();
    for (outcome, status, reason) in [
        (refused("trigger.other"), 202, "trigger.other"),
        (refused("trigger.later"), 202, "trigger.later"),
        (refused("duplicate"), 202, "duplicate"),
        (refused("throttled"), 429, "throttled"),
        (refused("queue_full"), 429, "queue_full"),
        (refused("inputs.invalid"), 422, "inputs.invalid"),
        (refused("trigger.unknown"), 404, "trigger.unknown"),
        (refused("agent.internal"), 503, "agent.internal"),
    ] {
        let brain = site.brain(outcome);
        let (found, head, answer) = site.ask("GET /open", "", b"").await;
        assert_eq!(found, status, "{head}");
        let told = if status == 202 { &answer["reason"] } else { &answer["code"] };
        assert_eq!(told, reason);
        site.events = Some(brain.join().unwrap().0);
    }
}

#[tokio::test]
async fn what_goes_out_of_force_is_not_served_and_a_brain_that_is_gone_is_told() {
    let mut site = site();
    drop(site.events.take());
    let (status, _, answer) = site.ask("POST /open", "", b"").await;
    assert_eq!((status, answer["code"].as_str()), (503, Some("agent.busy")));
    site.listener.serve(Vec::new());
    assert_eq!(site.ask("POST /open", "", b"").await.0, 404);
}

#[test]
fn a_listener_that_others_reach_takes_only_signed_requests_unless_told() {
    let parse = |trigger: &str| {
        let text = format!(
            "{{workflow: w, secrets: [k], triggers: [{{id: t, webhook: {trigger}}}], steps: [{{id: a, delay: 1}}]}}"
        );
        openclaw_protocol::definition::parse(&text).unwrap()
    };
    let open = parse("{path: /a, auth: none}");
    let signed = parse("{path: /a, hmac: k}");
    let offer = |listen: &str, allow_unsigned| {
        Offer::of(Some(&Webhook { listen: listen.parse().unwrap(), allow_unsigned }))
    };
    let code = |offer: Offer, workflow: &Workflow| offer.lacks(workflow).map(|(code, _)| code);
    assert_eq!(code(Offer::of(None), &signed), Some("webhook.missing"));
    assert_eq!(code(offer("127.0.0.1:1", false), &open), None);
    assert_eq!(code(offer("[::1]:1", false), &open), None);
    assert_eq!(code(offer("0.0.0.0:1", false), &open), Some("webhook.unsigned"));
    assert_eq!(code(offer("0.0.0.0:1", false), &signed), None);
    assert_eq!(code(offer("0.0.0.0:1", true), &open), None);
}
