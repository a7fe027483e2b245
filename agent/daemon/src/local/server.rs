//! The agent's end of the local socket.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};

use super::{Answer, Request, peer};
use crate::event::{Event, Events};
use crate::limits;
use crate::logs::Logs;

/// Listens on the local socket. The file is removed when it is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
    events: Events,
    logs: Logs,
    seats: Arc<Semaphore>,
}

/// Makes the socket, for the agent's own user alone. A stale file of an agent that is gone is
/// replaced; one that answers is not.
///
/// # Errors
/// Another agent listens there, or the file cannot be made.
pub fn listen(path: &Path, events: Events, logs: Logs) -> io::Result<Server> {
    be_alone(path)?;
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    // Between the two calls the directory's own mode (0700) keeps others out.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(Server {
        listener,
        path: path.to_owned(),
        events,
        logs,
        seats: Arc::new(Semaphore::new(limits::LOCAL_CONNECTIONS)),
    })
}

/// Looks whether another agent answers there.
///
/// # Errors
/// It does.
pub fn be_alone(path: &Path) -> io::Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_err() {
        return Ok(());
    }
    let said = format!("another agent listens on {}", path.display());
    Err(io::Error::new(io::ErrorKind::AddrInUse, said))
}

impl Server {
    /// Serves until it is dropped.
    pub async fn run(&self) {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Out of descriptors: somebody has to close one first.
                    tracing::warn!(error = %e, "the local socket cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            if !is_allowed(&stream) {
                tracing::warn!("a local connection of another user was refused");
                continue;
            }
            // Too many at once: the newest is closed at once rather than left waiting.
            let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() else { continue };
            let (events, logs) = (self.events.clone(), self.logs.clone());
            tokio::spawn(async move {
                // What goes wrong here is the asker's connection; there is nobody to tell.
                let _ = converse(stream, &events, &logs).await;
                drop(seat);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The agent's own user, or root. The kernel says who it is (SO_PEERCRED).
fn is_allowed(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    peer::uid(stream).is_some_and(|uid| uid == own || uid == 0)
}

async fn converse(stream: UnixStream, events: &Events, logs: &Logs) -> io::Result<()> {
    let uid = peer::uid(&stream);
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    while let Some(line) = read_line(&mut read).await? {
        let request = serde_json::from_str::<Request>(&line)
            .map_err(|e| Answer::error("local.request", format!("cannot read this: {e}")))
            .and_then(|request| peer::named(request, uid));
        let request = match request {
            Ok(request) => request,
            Err(answer) => {
                send(&mut write, &answer).await?;
                continue;
            }
        };
        if let Request::Logs { after, run, follow } = request {
            // A follower hangs up to end it, which only reading shows.
            let mut sink = tokio::io::sink();
            tokio::select! {
                done = stream_logs(&mut write, logs, after, run.as_deref(), follow) => done?,
                gone = tokio::io::copy(&mut read, &mut sink) => { gone?; return Ok(()); }
            }
            continue;
        }
        let (reply, answer) = oneshot::channel();
        let asked = events.send_async(Event::Local { request, reply }).await;
        let stopping = || Answer::error("agent.stopping", "the agent is stopping; ask again");
        let answer = match asked {
            Ok(()) => tokio::time::timeout(limits::LOCAL_WAIT * 2, answer)
                .await
                .ok()
                .and_then(Result::ok)
                .unwrap_or_else(stopping),
            Err(_) => stopping(),
        };
        send(&mut write, &answer).await?;
    }
    Ok(())
}

async fn stream_logs(
    write: &mut (impl AsyncWriteExt + Unpin),
    logs: &Logs,
    after: u64,
    run: Option<&str>,
    follow: bool,
) -> io::Result<()> {
    let mut seen = after.min(logs.last());
    loop {
        let upto = logs.last();
        for line in logs.after(seen, run) {
            seen = seen.max(line.seq);
            send(write, &Answer::Line(line)).await?;
        }
        seen = seen.max(upto);
        if !follow {
            return send(write, &Answer::End).await;
        }
        logs.changed_after(seen).await;
    }
}

pub(super) async fn send<T: serde::Serialize>(
    write: &mut (impl AsyncWriteExt + Unpin),
    message: &T,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(io::Error::other)?;
    line.push(b'\n');
    write.write_all(&line).await
}

/// One line; `None` at the end. A line over the bound ends the connection.
pub(super) async fn read_line(
    read: &mut BufReader<impl AsyncRead + Unpin>,
) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let most = limits::LOCAL_LINE_BYTES as u64;
    let length = read.take(most).read_until(b'\n', &mut line).await?;
    if length == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long or cut off"));
    }
    String::from_utf8(line).map(Some).map_err(|_| io::ErrorKind::InvalidData.into())
}
