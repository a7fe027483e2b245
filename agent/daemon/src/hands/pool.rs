//! Who works on what: jobs that wait, threads that wait for jobs, and places to compute in.
//!
//! A guest computes, and there are only so many processors. More guests at once than that would do
//! nothing but take turns, each time at the price of a switch, and the interpreter's locks spin while
//! who holds them is switched off. So a job begins when it has a place, of which there are as many
//! as processors. It gives it back when it is done, before it waits for something outside, and after
//! having computed for a while; it then goes on without one. Thus nobody is kept from beginning by
//! one who waits, nor by a few who never end, and short calls follow one another on one thread. Those
//! that compute for long are few, since each holds memory; their threads step back behind all others, and
//! go when they are done, for none may step forward again.
//!
//! Calls that share remembered values are made one after the other, and the next one begins only when
//! what the one before has changed is durable: so each sees what all before it have left, and none
//! builds on what a power cut takes back.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use openclaw_agent_core::{AttemptId, PluginTask};
use openclaw_protocol::id::Digest;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Capability;
use openclaw_sandbox::{KvScope, Stop};

use crate::store::KvPlace;
use crate::{clock, limits};

/// Something to do.
#[derive(Debug)]
pub(super) enum Job {
    Call(Box<PluginTask>, Arc<Flag>),
    Check(Digest),
}

impl Job {
    /// What is left of it where its thread is lost.
    pub(super) fn lost(&self, place: &Place<'_>) -> Lost {
        let (attempt, module) = match self {
            Self::Call(task, _) => (Some(task.attempt.clone()), task.pin.digest),
            Self::Check(digest) => (None, *digest),
        };
        Lost { attempt, module, taken: Arc::clone(&place.taken) }
    }
}

/// A job whose thread does nothing any more.
#[derive(Debug)]
pub(super) struct Lost {
    /// Of a call; else the module was only looked at.
    pub(super) attempt: Option<AttemptId>,
    pub(super) module: Digest,
    taken: Arc<Taken>,
}

/// What a call shares with others and must have to itself: the memory of its plugin, or the part of it
/// that is the workflow's own where it may use no other.
pub(super) fn exclusive(task: &PluginTask) -> Option<KvPlace> {
    let kv = task.pin.granted.list(Capability::Kv);
    if kv.is_empty() {
        return None;
    }
    let is_shared = kv.iter().any(|scope| scope == KvScope::Plugin.name());
    let workflow = (!is_shared).then(|| task.workflow.clone());
    Some(KvPlace { plugin: task.pin.name.to_string(), workflow })
}

/// Why a call shall stop: 0 for not at all.
#[derive(Debug, Default)]
pub(super) struct Flag(AtomicU8);

pub(super) const CANCELLED: u8 = 1;
pub(super) const TIMED_OUT: u8 = 2;

impl Flag {
    pub(super) fn set(&self, why: u8) {
        self.0.store(why, Ordering::Relaxed);
    }

    pub(super) fn stop(&self) -> Option<Stop> {
        match self.0.load(Ordering::Relaxed) {
            CANCELLED => Some(Stop::Cancelled),
            TIMED_OUT => Some(Stop::Timeout),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) jobs: VecDeque<Job>,
    pub(super) flags: VecMap<AttemptId, Arc<Flag>>,
    /// What calls have to themselves until what they changed is durable.
    held: VecMap<AttemptId, KvPlace>,
    pub(super) threads: usize,
    idle: usize,
    /// Threads that are coming: idle ones that were called, and new ones.
    called: usize,
    born: usize,
    /// Places that are taken.
    taken: usize,
    /// Jobs that have computed for long and go on without a place.
    long: usize,
    pub(super) closed: bool,
}

/// Makes another thread.
pub(super) type Spawn<'p> = &'p (dyn Fn() -> std::io::Result<()> + Sync);

/// The queue, and what its threads wait for.
#[derive(Debug)]
pub(super) struct Pool {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Told when a thread goes.
    gone: Condvar,
    /// Threads at most.
    most: usize,
    places: usize,
}

/// A place to compute in, until it is left.
pub(super) struct Place<'p> {
    pool: &'p Pool,
    spawn: Spawn<'p>,
    since_ms: u64,
    taken: Arc<Taken>,
}

/// What a job takes of the places.
#[derive(Debug)]
struct Taken {
    held: AtomicBool,
    is_long: AtomicBool,
}

impl Taken {
    /// Gives all of it back. Once is enough.
    fn give_back(&self, queue: &mut Queue) {
        queue.taken -= usize::from(self.held.swap(false, Ordering::Relaxed));
        queue.long -= usize::from(self.is_long.swap(false, Ordering::Relaxed));
    }
}

impl Queue {
    /// The first job that shares nothing with one that is under way.
    fn take_next(&mut self) -> Option<Job> {
        let free = |job: &Job| match job {
            Job::Call(task, _) if !self.held.is_empty() => {
                exclusive(task).is_none_or(|place| self.held.values().all(|held| *held != place))
            }
            Job::Call(..) | Job::Check(_) => true,
        };
        let next = self.jobs.iter().position(free)?;
        let job = self.jobs.remove(next)?;
        if let Job::Call(task, _) = &job
            && let Some(place) = exclusive(task)
        {
            self.held.insert(task.attempt.clone(), place);
        }
        Some(job)
    }
}

impl Pool {
    pub(super) fn new(most: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (queue, wake, gone) = Default::default();
        Self { queue, wake, gone, most, places: processors }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is whole between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job in, or gives it back where too many wait.
    pub(super) fn add(&self, job: Job, spawn: Spawn<'_>) -> Option<Job> {
        let mut queue = self.lock();
        if queue.jobs.len() >= limits::CALLS_WAITING {
            return Some(job);
        }
        if let Job::Call(task, flag) = &job {
            queue.flags.insert(task.attempt.clone(), Arc::clone(flag));
        }
        queue.jobs.push_back(job);
        self.call(queue, spawn);
        None
    }

    /// Sees that a thread comes for the next job, unless there is no place for it. Whoever has a
    /// place looks for the next job when it is done, and whoever comes calls the next one.
    fn call(&self, mut queue: MutexGuard<'_, Queue>, spawn: Spawn<'_>) {
        let busy = queue.taken + queue.called + queue.born;
        if queue.jobs.is_empty() || busy >= self.places {
            return;
        }
        if queue.idle > queue.called {
            queue.called += 1;
            drop(queue);
            return self.wake.notify_one();
        }
        if queue.threads < self.most {
            match spawn() {
                Ok(()) => (queue.threads, queue.born) = (queue.threads + 1, queue.born + 1),
                // The job stays for the threads there are; without any, the attempt's own timer
                // ends it and the next call tries again.
                Err(e) => tracing::error!(error = %e, "cannot make a worker thread"),
            }
        }
    }

    /// A new thread is there.
    pub(super) fn arrive(&self) {
        self.lock().born -= 1;
    }

    /// The next job and a place for it; or nothing, and then this thread counts no more: both in
    /// one breath, or a job that comes in between would be left to a thread that has decided to go.
    pub(super) fn next<'p>(&'p self, idle: Duration, spawn: Spawn<'p>) -> Option<(Job, Place<'p>)> {
        let mut until = None;
        let mut queue = self.lock();
        loop {
            if !queue.closed
                && queue.taken < self.places
                && let Some(job) = queue.take_next()
            {
                queue.taken += 1;
                self.call(queue, spawn);
                return Some((job, Place::new(self, spawn)));
            }
            let until = *until.get_or_insert_with(|| Instant::now() + idle);
            let left = until.saturating_duration_since(Instant::now());
            if queue.closed || left.is_zero() {
                queue.threads -= 1;
                self.gone.notify_all();
                return None;
            }
            queue.idle += 1;
            (queue, _) =
                self.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
            // Who was not called but has waited for long enough may be taken for one who was: then
            // another one is called in vain.
            queue.called = queue.called.saturating_sub(1);
        }
    }

    /// What a call had to itself is free.
    pub(super) fn free(&self, attempt: &AttemptId, spawn: Spawn<'_>) {
        let mut queue = self.lock();
        if queue.held.remove(attempt).is_some() {
            self.call(queue, spawn);
        }
    }

    /// A thread is lost with its job: others take its place.
    pub(super) fn lose(&self, lost: &Lost, spawn: Spawn<'_>) {
        let mut queue = self.lock();
        lost.taken.give_back(&mut queue);
        if let Some(attempt) = &lost.attempt {
            queue.flags.remove(attempt);
        }
        queue.threads -= 1;
        self.gone.notify_all();
        if !queue.closed {
            self.call(queue, spawn);
        }
    }

    /// A thread goes whose job is done: another one comes for those that wait.
    pub(super) fn retire(&self, spawn: Spawn<'_>) {
        let mut queue = self.lock();
        queue.threads -= 1;
        self.gone.notify_all();
        if !queue.closed {
            self.call(queue, spawn);
        }
    }

    /// No job begins any more, and those that run are told to stop.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.jobs.clear();
        for flag in queue.flags.values() {
            flag.set(CANCELLED);
        }
        self.wake.notify_all();
    }

    /// Waits until all threads are gone, for a while.
    pub(super) fn drain(&self) {
        // A host call that does not end in time is left behind.
        let _ = self.gone.wait_timeout_while(self.lock(), limits::DRAIN, |q| q.threads > 0);
    }
}

impl<'p> Place<'p> {
    fn new(pool: &'p Pool, spawn: Spawn<'p>) -> Self {
        let taken = Taken { held: AtomicBool::new(true), is_long: AtomicBool::new(false) };
        Self { pool, spawn, since_ms: clock::boot_ms(), taken: Arc::new(taken) }
    }

    /// What is done next takes time, but no processor.
    pub(super) fn leave(&self) {
        if self.taken.held.swap(false, Ordering::Relaxed) {
            let mut queue = self.pool.lock();
            queue.taken -= 1;
            self.pool.call(queue, self.spawn);
        }
    }

    /// Leaves the place if it was held for long, unless enough others have done so. Whether it has:
    /// from then on there are more who compute than processors.
    pub(super) fn share(&self, now_ms: u64) -> bool {
        let is_due = now_ms.saturating_sub(self.since_ms) >= limits::PLACE_MS;
        if !is_due || !self.taken.held.load(Ordering::Relaxed) {
            return false;
        }
        let mut queue = self.pool.lock();
        if queue.long >= limits::LONG_CALLS {
            return false;
        }
        self.taken.held.store(false, Ordering::Relaxed);
        self.taken.is_long.store(true, Ordering::Relaxed);
        (queue.long, queue.taken) = (queue.long + 1, queue.taken - 1);
        self.pool.call(queue, self.spawn);
        true
    }

    /// Whether it was left for that reason.
    pub(super) fn is_long(&self) -> bool {
        self.taken.is_long.load(Ordering::Relaxed)
    }
}

impl Drop for Place<'_> {
    /// The job is done: its thread looks for the next one itself.
    fn drop(&mut self) {
        self.taken.give_back(&mut self.pool.lock());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use openclaw_protocol::definition::{Effects, Priority};
    use openclaw_protocol::desired::PluginPin;
    use openclaw_protocol::id::{Epoch, PluginName, RunId, WorkflowName};
    use openclaw_protocol::json::JsonText;
    use openclaw_protocol::plugin::{CallLimits, Permissions};
    use openclaw_protocol::run::StepPath;

    use super::*;

    fn pool(places: usize) -> Pool {
        Pool { places, ..Pool::new(8) }
    }

    fn job(byte: u8) -> Job {
        Job::Check(Digest([byte; 32]))
    }

    /// Counts the threads that would be made.
    struct Made(AtomicUsize);

    impl Made {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn as_many_begin_as_there_are_places_and_the_next_when_one_is_left() {
        let (pool, made) = (pool(2), Made(AtomicUsize::new(0)));
        let spawn = || {
            made.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        for byte in 0..4 {
            assert!(pool.add(job(byte), &spawn).is_none());
        }
        assert_eq!(made.count(), 2, "no thread is made for what cannot begin");
        pool.arrive();
        let (_, first) = pool.next(Duration::ZERO, &spawn).unwrap();
        pool.arrive();
        let (_, second) = pool.next(Duration::ZERO, &spawn).unwrap();
        assert!(pool.next(Duration::ZERO, &spawn).is_none(), "both places are taken");
        assert_eq!(made.count(), 2);

        first.leave();
        first.leave();
        assert_eq!(made.count(), 3, "its place is free, and a thread is made for who waits");
        pool.arrive();
        let (_, third) = pool.next(Duration::ZERO, &spawn).unwrap();
        drop(first);
        assert!(!second.share(second.since_ms + limits::PLACE_MS - 1));
        assert_eq!(pool.lock().taken, 2);
        assert!(second.share(second.since_ms + limits::PLACE_MS) && second.is_long());
        assert!(!second.share(second.since_ms + 2 * limits::PLACE_MS), "once is enough");
        assert_eq!(pool.lock().taken, 1, "it has computed for long enough");
        pool.arrive();
        assert!(pool.next(Duration::ZERO, &spawn).is_some());
        assert_eq!(pool.lock().long, 1);
        drop((second, third));
        let queue = pool.lock();
        assert_eq!((queue.taken, queue.long), (0, 0));
    }

    #[test]
    fn a_lost_thread_leaves_its_place_to_another() {
        let (pool, made) = (pool(1), Made(AtomicUsize::new(0)));
        let spawn = || {
            made.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        for byte in 0..2 {
            assert!(pool.add(job(byte), &spawn).is_none());
        }
        pool.arrive();
        let (job, place) = pool.next(Duration::ZERO, &spawn).unwrap();
        pool.lose(&job.lost(&place), &spawn);
        assert_eq!(made.count(), 2, "for the job that waits");
        drop(place);
        pool.arrive();
        assert!(pool.next(Duration::ZERO, &spawn).is_some());
        let queue = pool.lock();
        assert_eq!((queue.taken, queue.threads), (0, 1));
    }

    #[test]
    fn those_that_compute_for_long_are_few() {
        let pool = pool(1);
        let mut long = Vec::new();
        for _ in 0..limits::LONG_CALLS {
            assert!(pool.add(job(1), &|| Ok(())).is_none());
            let (_, place) = pool.next(Duration::ZERO, &|| Ok(())).unwrap();
            assert!(place.share(place.since_ms + limits::PLACE_MS));
            long.push(place);
        }
        assert!(pool.add(job(1), &|| Ok(())).is_none());
        let (_, last) = pool.next(Duration::ZERO, &|| Ok(())).unwrap();
        assert!(!last.share(last.since_ms + limits::PLACE_MS));
        assert_eq!(pool.lock().taken, 1, "it keeps its place until another one ends");
        long.pop();
        assert!(last.share(last.since_ms + limits::PLACE_MS));
        assert_eq!(pool.lock().taken, 0);
    }

    #[test]
    fn a_thread_that_begins_sees_that_another_comes_for_the_rest() {
        let (pool, made) = (pool(2), Made(AtomicUsize::new(0)));
        let none = || Err(std::io::Error::other("no thread"));
        assert!(pool.add(job(1), &none).is_none());
        assert!(pool.add(job(2), &none).is_none());
        let queue = pool.lock();
        assert_eq!((queue.threads, queue.born), (0, 0), "what could not be made does not count");
        drop(queue);
        let spawn = || {
            made.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        pool.lock().threads = 1;
        let _place = pool.next(Duration::ZERO, &spawn).unwrap();
        assert_eq!(made.count(), 1);
    }

    /// A call of plugin `count` for a workflow, with these scopes of memory.
    fn call(number: u8, workflow: &str, kv: &[&str]) -> Job {
        let pin = PluginPin {
            name: PluginName::parse("count").unwrap(),
            version: "1.0.0".to_owned(),
            digest: Digest([7; 32]),
            size: 8,
            actions: Vec::new(),
            granted: Permissions {
                kv: kv.iter().map(|scope| (*scope).to_owned()).collect(),
                ..Permissions::NONE
            },
            limits: CallLimits::default(),
        };
        let run = RunId::of(Epoch(1), u64::from(number));
        let task = PluginTask {
            attempt: AttemptId { run, step: StepPath("s".to_owned()), attempt: 1 },
            workflow: WorkflowName::parse(workflow).unwrap(),
            pin: Arc::new(pin),
            export: "execute".to_owned(),
            input: JsonText::null(),
            vars: None,
            idempotency_key: String::new(),
            interrupted: false,
            effects: Effects::default(),
            traced: false,
            priority: Priority::default(),
            timeout_ms: 1,
        };
        Job::Call(Box::new(task), Arc::default())
    }

    /// Which of these begin while none before is durable: their numbers.
    fn begun(pool: &Pool) -> Vec<AttemptId> {
        let mut begun = Vec::new();
        while let Some((Job::Call(task, _), place)) = pool.next(Duration::ZERO, &|| Ok(())) {
            drop(place);
            begun.push(task.attempt.clone());
        }
        begun
    }

    #[test]
    fn who_shares_a_memory_waits_until_what_was_changed_is_durable() {
        let pool = pool(8);
        let own = ["workflow"];
        let jobs = [
            call(1, "wells", &own),
            call(2, "wells", &own),
            call(3, "tanks", &own),
            call(4, "wells", &[]),
            call(5, "wells", &own),
        ];
        for job in jobs {
            assert!(pool.add(job, &|| Ok(())).is_none());
        }
        let numbers = |begun: &[AttemptId]| -> Vec<u64> {
            begun.iter().map(|attempt| attempt.run.number().unwrap()).collect()
        };
        let first = begun(&pool);
        assert_eq!(numbers(&first), [1, 3, 4], "each workflow has a memory of its own");
        pool.free(&first[1], &|| Ok(()));
        assert!(begun(&pool).is_empty());
        pool.free(&first[0], &|| Ok(()));
        let second = begun(&pool);
        assert_eq!(numbers(&second), [2]);
        pool.free(&second[0], &|| Ok(()));
        assert_eq!(numbers(&begun(&pool)), [5]);
    }

    #[test]
    fn a_memory_of_the_whole_plugin_is_one_for_all_workflows() {
        let pool = pool(8);
        for job in [call(1, "wells", &["plugin"]), call(2, "tanks", &["workflow", "plugin"])] {
            assert!(pool.add(job, &|| Ok(())).is_none());
        }
        let first = begun(&pool);
        assert_eq!(first.len(), 1);
        pool.free(&first[0], &|| Ok(()));
        assert_eq!(begun(&pool).len(), 1);
    }

    #[test]
    fn nothing_begins_after_the_end() {
        let pool = pool(1);
        assert!(pool.add(job(1), &|| Ok(())).is_none());
        pool.close();
        assert!(pool.next(Duration::from_secs(60), &|| Ok(())).is_none());
        pool.drain();
    }
}
