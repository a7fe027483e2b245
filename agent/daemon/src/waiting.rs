//! The first start on a full disk: it is waited for, and who asks at the local socket is told so.

use openclaw_agent_core::STORAGE_FULL;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::event::{self, Event, Inbox, Nothing};
use crate::identity::IdentityError;
use crate::limits;
use crate::local::{self, Answer, Request, Status, StorageStatus};
use crate::logs::Logs;
use crate::store::{StoreError, is_full};

/// Whether it is for want of room, which may come, that the agent could not start.
pub(crate) fn is_for_room(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(StoreError::Full(_)))
            || matches!(cause.downcast_ref(), Some(IdentityError::Full { .. }))
            || cause.downcast_ref().is_some_and(is_full)
    })
}

/// Who answers until the agent can start. Nobody, where there is no room for the socket either.
#[derive(Debug)]
pub(crate) struct Doorkeeper(Option<JoinHandle<()>>);

impl Doorkeeper {
    /// Answers from now on, with this reason.
    pub(crate) fn begin(config: &Config, why: &anyhow::Error) -> Self {
        let (events, inbox) = event::queue();
        let Ok(server) = local::listen(&config.socket_path(), events, Logs::default()) else {
            return Self(None);
        };
        let why = format!("the agent has not started yet: {why:#}");
        let answers = move || answer(&inbox, &why);
        if std::thread::Builder::new().name("doorkeeper".to_owned()).spawn(answers).is_err() {
            return Self(None);
        }
        Self(Some(tokio::spawn(async move { server.run().await })))
    }

    /// Answers nobody any more; the socket is gone when this returns.
    pub(crate) async fn end(mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for Doorkeeper {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn answer(inbox: &Inbox, why: &str) {
    loop {
        match inbox.recv_timeout(limits::SLEEP) {
            Ok(Event::Local { request: Request::Status, reply }) => {
                let storage = StorageStatus {
                    state: STORAGE_FULL.to_owned(),
                    message: why.to_owned(),
                    reopened: 0,
                };
                let status = Status {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    pid: std::process::id(),
                    link: "none".to_owned(),
                    storage,
                    ..Status::default()
                };
                // The asker may have hung up.
                let _ = reply.send(Answer::Status(Box::new(status)));
            }
            Ok(Event::Local { reply, .. }) => {
                let _ = reply.send(Answer::error(STORAGE_FULL, why));
            }
            Ok(_) | Err(Nothing::Yet) => {}
            Err(Nothing::Ever) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn only_what_room_would_mend_is_waited_for() {
        let io = |kind: std::io::ErrorKind| std::io::Error::from(kind);
        let full = anyhow::Error::from(io(std::io::ErrorKind::StorageFull));
        assert!(is_for_room(&full.context("cannot listen")));
        let quota = Err::<(), _>(io(std::io::ErrorKind::QuotaExceeded)).context("cannot write");
        assert!(is_for_room(&quota.unwrap_err()));
        assert!(is_for_room(&StoreError::Full("x".to_owned()).into()));
        assert!(!is_for_room(&StoreError::Database("x".to_owned()).into()));
        assert!(!is_for_room(&io(std::io::ErrorKind::PermissionDenied).into()));
        assert!(!is_for_room(&anyhow::anyhow!("no space left on device")), "words are no reason");
    }
}
