//! Looks for the files that `file` triggers are about, on a thread of its own.
//!
//! It lists them every two seconds, since nothing tells of what another machine writes on a network
//! file system, and one that hangs holds up nobody else. The brain hears of a listing that differs
//! from the one before, and of any while something in it has not settled.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openclaw_agent_core::{FileStat, Listing};
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::limits::FILE_LOOK_MS;

use crate::event::{Event, Events};
use crate::host::Files;

/// What a trigger wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// Which trigger.
    pub trigger: TriggerId,
    /// Its `path`.
    pub path: String,
    /// The brain wants the next listing although it is the same.
    pub again: bool,
}

impl Sight {
    /// Whether it is for the same trigger and the same files.
    fn is_for(&self, other: &Self) -> bool {
        (&self.workflow, &self.trigger, &self.path)
            == (&other.workflow, &other.trigger, &other.path)
    }
}

/// The brain's end. The thread goes with it.
#[derive(Debug)]
pub struct Looker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    sights: Vec<Sight>,
    /// They are others than before: no waiting.
    is_new: bool,
    closed: bool,
}

/// What was last seen for a trigger.
#[derive(Debug)]
struct Seen {
    sight: Sight,
    told: Result<Option<Vec<(String, FileStat)>>, String>,
}

impl Looker {
    /// Makes the thread; it looks for nothing yet.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn new(files: Arc<Files>, events: Events) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let of_thread = Arc::clone(&shared);
        let look = move || {
            let mut seen = Vec::new();
            while let Some(sights) = of_thread.next() {
                for listing in look(&files, sights, &mut seen) {
                    if events.send(Event::Files(listing)).is_err() {
                        return;
                    }
                }
            }
        };
        std::thread::Builder::new().name("files".to_owned()).spawn(look)?;
        Ok(Self(shared))
    }

    /// What is to be looked for, instead of what was.
    pub fn watch(&self, sights: Vec<Sight>) {
        let mut wanted = self.0.lock();
        let same = |(a, b): (&Sight, &Sight)| a.is_for(b);
        let is_same =
            wanted.sights.len() == sights.len() && wanted.sights.iter().zip(&sights).all(same);
        wanted.is_new |= !is_same;
        wanted.sights = sights;
        self.0.changed.notify_one();
    }
}

impl Drop for Looker {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is time to look; `None`: nobody wants to know any more.
    fn next(&self) -> Option<Vec<Sight>> {
        let wanted = self.lock();
        let idle = |wanted: &mut Wanted| !wanted.closed && wanted.sights.is_empty();
        let wanted = self.changed.wait_while(wanted, idle);
        let wanted = wanted.unwrap_or_else(PoisonError::into_inner);
        let wait = Duration::from_millis(FILE_LOOK_MS);
        let (mut wanted, _) = self
            .changed
            .wait_timeout_while(wanted, wait, |wanted| !wanted.closed && !wanted.is_new)
            .unwrap_or_else(PoisonError::into_inner);
        wanted.is_new = false;
        (!wanted.closed).then(|| wanted.sights.clone())
    }
}

/// Looks once; what the brain is to hear.
fn look(files: &Files, sights: Vec<Sight>, seen: &mut Vec<Seen>) -> Vec<Listing> {
    let mut listings = Vec::new();
    let before = std::mem::take(seen);
    for sight in sights {
        let before = before.iter().find(|one| one.sight.is_for(&sight)).map(|one| &one.told);
        let told = files.find(&sight.path).map_err(|e| e.to_string());
        match &told {
            Ok(found) if sight.again || before != Some(&told) => listings.push(Listing {
                workflow: sight.workflow.clone(),
                trigger: sight.trigger.clone(),
                path: sight.path.clone(),
                files: found.clone(),
            }),
            Ok(_) => {}
            Err(reason) => {
                if before != Some(&told) {
                    let path = &sight.path;
                    tracing::warn!(path, reason, "files cannot be looked for; nothing fires");
                }
            }
        }
        seen.push(Seen { sight, told });
    }
    listings
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::ordered::VecMap;

    use super::*;

    fn sight(path: &str, again: bool) -> Sight {
        Sight {
            workflow: WorkflowName::parse("w").unwrap(),
            trigger: TriggerId::parse("t").unwrap(),
            path: path.to_owned(),
            again,
        }
    }

    #[test]
    fn the_brain_hears_what_differs_and_what_it_wants_again() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(VecMap::from([("in".into(), dir.path().to_owned())]));
        let mut seen = Vec::new();
        let mut heard = |again| {
            let listings = look(&files, vec![sight("in/*", again)], &mut seen);
            listings.into_iter().map(|one| one.files.unwrap().len()).collect::<Vec<_>>()
        };
        assert_eq!(heard(false), [0], "the first one");
        assert!(heard(false).is_empty());
        std::fs::write(dir.path().join("a"), "1").unwrap();
        assert_eq!(heard(false), [1]);
        assert!(heard(false).is_empty());
        assert_eq!(heard(true), [1]);
        assert_eq!(heard(true), [1]);
        std::fs::remove_dir_all(dir.path()).unwrap();
        assert!(heard(true).is_empty(), "nothing is known");
        std::fs::create_dir(dir.path()).unwrap();
        assert_eq!(heard(false), [0]);
    }

    #[test]
    fn the_thread_tells_and_goes_with_the_brain() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        let files = Arc::new(Files::new(VecMap::from([("in".into(), dir.path().to_owned())])));
        let (events, receiver) = crate::event::queue();
        let looker = Looker::new(files, events).unwrap();
        looker.watch(vec![sight("in/*", false)]);
        match receiver.recv_timeout(Duration::from_secs(30)) {
            Ok(Event::Files(listing)) => assert_eq!(listing.files.unwrap().len(), 1),
            other => panic!("{other:?}"),
        }
        drop(looker);
        assert!(receiver.recv_timeout(Duration::from_secs(30)).is_err(), "nobody is left to tell");
    }
}
