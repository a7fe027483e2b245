//! The outside witness: a small HTTP listener of the demo's own, to which each run posts its id.
//!
//! It belongs to neither agent nor control plane, so it can contradict both. What it hears goes
//! to memory and to an append-only file.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A post may be this long, in bytes.
const POST_BYTES: usize = 16 * 1024;
/// Different ids that are kept; a demo has some thousands.
const MOST_IDS: usize = 1_000_000;

/// What the witness has heard, by id.
pub type Heard = BTreeMap<String, Posts>;

/// How one id was posted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Posts {
    /// How often.
    pub count: u64,
    /// Under which idempotency keys.
    pub keys: BTreeSet<String>,
}

#[derive(Debug)]
struct Book {
    heard: Heard,
    file: std::fs::File,
    /// Agents of which the next post is awaited, and since when.
    awaited: BTreeMap<String, Instant>,
    waited: Vec<Duration>,
}

/// The listener. Dropping it closes it.
#[derive(Debug)]
pub struct Witness {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl Witness {
    /// Listens on a free port of this machine and writes what it hears to `file`.
    ///
    /// # Errors
    /// No port, or the file cannot be made.
    pub async fn open(file: &Path) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file)?;
        let (awaited, waited) = (BTreeMap::new(), Vec::new());
        let book = Arc::new(Mutex::new(Book { heard: Heard::new(), file, awaited, waited }));
        let task = tokio::spawn(serve(listener, Arc::clone(&book)));
        Ok(Self { address, book, task })
    }

    /// Where runs post to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it has heard so far.
    #[must_use]
    pub fn heard(&self) -> Heard {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).heard.clone()
    }

    /// From now on the next post that names this agent is waited for.
    pub fn await_next(&self, agent: &str) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.awaited.insert(agent.to_owned(), Instant::now());
    }

    /// The next post of this agent is of no interest any more.
    pub fn forget_next(&self, agent: &str) {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).awaited.remove(agent);
    }

    /// How long each post that was waited for has taken.
    #[must_use]
    pub fn waited(&self) -> Vec<Duration> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).waited.clone()
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, book: Arc<Mutex<Book>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let book = Arc::clone(&book);
        tokio::spawn(async move {
            let answer = service_fn(|request| hear(request, &book));
            // A broken connection is the poster's to try again.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

async fn hear(
    request: Request<Incoming>,
    book: &Mutex<Book>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok());
    let key = key.unwrap_or_default().to_owned();
    let status = match Limited::new(request.into_body(), POST_BYTES).collect().await {
        Ok(body) => note(&body.to_bytes(), key, book),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    Ok(response)
}

/// Notes the `run` of a post, in the file before in memory; and that its `agent` is there, if it says.
fn note(body: &[u8], key: String, book: &Mutex<Book>) -> StatusCode {
    let posted = serde_json::from_slice::<serde_json::Value>(body).unwrap_or_default();
    let field = |name: &str| posted.get(name).and_then(|v| v.as_str());
    let Some(run) = field("run") else {
        return StatusCode::UNPROCESSABLE_ENTITY;
    };
    let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
    if book.heard.len() >= MOST_IDS || writeln!(book.file, "{}", run.escape_default()).is_err() {
        return StatusCode::INSUFFICIENT_STORAGE;
    }
    if let Some(since) = field("agent").and_then(|agent| book.awaited.remove(agent)) {
        book.waited.push(since.elapsed());
    }
    let posts = book.heard.entry(run.to_owned()).or_default();
    posts.count += 1;
    posts.keys.insert(key);
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_counts_what_is_posted_and_refuses_what_it_does_not_understand() {
        let dir = tempfile::tempdir().unwrap();
        let witness = Witness::open(&dir.path().join("witness.txt")).await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        for _ in 0..2 {
            let body = r#"{"run":"a-1"}"#;
            let post = client.post(witness.url()).header("idempotency-key", "k").body(body);
            assert!(post.send().await.unwrap().status().is_success());
        }
        let answer = client.post(witness.url()).body("nonsense").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY.as_u16());
        let posts = Posts { count: 2, keys: BTreeSet::from(["k".to_owned()]) };
        assert_eq!(witness.heard(), Heard::from([("a-1".to_owned(), posts)]));
        let file = std::fs::read_to_string(dir.path().join("witness.txt")).unwrap();
        assert_eq!(file, "a-1\na-1\n");
    }
}
