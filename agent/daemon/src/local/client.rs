//! The command line's end of the local socket.

use std::path::{Path, PathBuf};

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::server::{read_line, send};
use super::{Answer, Request};

/// Why the agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no agent answers on {path} ({reason}); is it running, and may you ask it?")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The connection broke.
    #[error("the agent closed the connection: {0}")]
    Broken(String),
    /// The agent said something else than was asked for.
    #[error("the agent's answer makes no sense: {0}; is it of another version?")]
    Answer(String),
    /// The agent refused.
    #[error("{message} [{code}]")]
    Refused {
        /// Stable code.
        code: String,
        /// For people.
        message: String,
    },
}

/// A connection to the agent on this machine.
#[derive(Debug)]
pub struct Client {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens, or not for this user.
    pub async fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|e| ClientError::Connect { path: path.to_owned(), reason: e.to_string() })?;
        let (read, write) = stream.into_split();
        Ok(Self { read: BufReader::new(read), write })
    }

    /// Asks, and waits for the first answer.
    ///
    /// # Errors
    /// The connection broke, or the agent refused.
    pub async fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        send(&mut self.write, request).await.map_err(|e| ClientError::Broken(e.to_string()))?;
        self.next().await
    }

    /// The next answer to a request that has several.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub async fn next(&mut self) -> Result<Answer, ClientError> {
        let line = read_line(&mut self.read)
            .await
            .map_err(|e| ClientError::Broken(e.to_string()))?
            .ok_or_else(|| ClientError::Broken("no answer".to_owned()))?;
        match serde_json::from_str(&line) {
            Ok(Answer::Error(refusal)) => {
                Err(ClientError::Refused { code: refusal.code, message: refusal.message })
            }
            Ok(answer) => Ok(answer),
            Err(e) => Err(ClientError::Answer(e.to_string())),
        }
    }
}
