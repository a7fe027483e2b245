//! Attempts that wait for a worker slot, those that have one, and failed runs for a re-drive.
//!
//! The most urgent goes first, then the oldest. Who waits rises one level each
//! [`PRIORITY_AGING_MS`](limits::PRIORITY_AGING_MS), so nothing starves: within a level the oldest
//! is always the most urgent, so only the heads of four lines need comparing.

use std::collections::{BTreeMap, VecDeque};

use openclaw_protocol::definition::Priority;
use openclaw_protocol::id::{RunId, WorkflowName};
use openclaw_protocol::limits;
use openclaw_protocol::ordered::VecSet;
use openclaw_protocol::run::RunError;
use openclaw_protocol::time::Stamp;

use crate::effect::AttemptId;
use crate::limits::FAILED_RUNS;
use crate::run::StepRef;

/// How many of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueView {
    /// Attempts that wait for a worker slot.
    pub waiting: usize,
    /// Attempts that have one.
    pub running: usize,
    /// Steps that wait for a point in time: delays and retries.
    pub delayed: usize,
    /// Failed runs that are listed for a re-drive.
    pub failed: usize,
}

/// A failed run, listed for a re-drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRun {
    /// Which run.
    pub run: RunId,
    /// Of which workflow.
    pub workflow: WorkflowName,
    /// When it failed.
    pub at: Stamp,
    /// Why.
    pub error: Option<RunError>,
}

/// A waiting attempt: of which run, and which step instance.
pub(crate) type Entry = (u64, StepRef);

/// Age, then order of arrival. The age is in milliseconds of this boot.
type Place = (u64, u64);

#[derive(Debug)]
pub(crate) struct Queue {
    slots: usize,
    /// By priority, least urgent first.
    lines: [BTreeMap<Place, Entry>; 4],
    places: BTreeMap<Entry, (usize, Place)>,
    arrivals: u64,
    running: VecSet<AttemptId>,
    failed: VecDeque<FailedRun>,
}

impl Queue {
    pub(crate) fn new(slots: u16) -> Self {
        Self {
            slots: usize::from(slots),
            lines: Default::default(),
            places: BTreeMap::new(),
            arrivals: 0,
            running: VecSet::new(),
            failed: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, entry: Entry, priority: Priority, now_ms: u64) {
        self.remove(&entry);
        self.arrivals += 1;
        let place = (now_ms, self.arrivals);
        let line = line_of(priority);
        self.lines[line].insert(place, entry.clone());
        self.places.insert(entry, (line, place));
    }

    pub(crate) fn remove(&mut self, entry: &Entry) {
        if let Some((line, place)) = self.places.remove(entry) {
            self.lines[line].remove(&place);
        }
    }

    /// All waiting attempts of a run.
    pub(crate) fn of_run(&self, run: u64) -> Vec<Entry> {
        let from =
            (run, StepRef { scope: "".into(), ix: openclaw_protocol::definition::StepIx(0) });
        self.places
            .range(from..)
            .take_while(|((number, _), _)| *number == run)
            .map(|(entry, _)| entry.clone())
            .collect()
    }

    /// Forgets all waiting attempts of a run.
    pub(crate) fn remove_run(&mut self, run: u64) {
        for entry in self.of_run(run) {
            self.remove(&entry);
        }
    }

    /// Waiting attempts have other names from now on, and keep their places.
    pub(crate) fn rename(&mut self, names: Vec<(Entry, Option<Entry>)>) {
        let found: Vec<_> = names
            .into_iter()
            .filter_map(|(before, after)| Some((self.places.remove(&before)?, after)))
            .collect();
        for ((line, place), after) in found {
            self.lines[line].remove(&place);
            if let Some(after) = after {
                self.lines[line].insert(place, after.clone());
                self.places.insert(after, (line, place));
            }
        }
    }

    /// The attempt whose turn it is, if there is a slot for it.
    pub(crate) fn pop(&mut self, now_ms: u64) -> Option<Entry> {
        if self.running.len() >= self.slots {
            return None;
        }
        let heads = self.lines.iter().enumerate().filter_map(|(line, waiting)| {
            let (place, _) = waiting.first_key_value()?;
            let risen = now_ms.saturating_sub(place.0) / limits::PRIORITY_AGING_MS;
            let level = (line as u64).saturating_add(risen).min(TOP);
            Some((level, std::cmp::Reverse(*place), line))
        });
        let (_, _, line) = heads.max()?;
        let (_, entry) = self.lines[line].pop_first()?;
        self.places.remove(&entry);
        Some(entry)
    }

    /// The attempt has a slot from now on.
    pub(crate) fn start(&mut self, attempt: AttemptId) {
        self.running.insert(attempt);
    }

    /// A worker has answered: its slot is free. Only its answer frees a slot, because a call that
    /// the run has given up on still keeps the worker busy.
    pub(crate) fn finish(&mut self, attempt: &AttemptId) {
        self.running.remove(attempt);
    }

    pub(crate) fn add_failed(&mut self, run: FailedRun) {
        if self.failed.len() >= FAILED_RUNS {
            self.failed.pop_front();
        }
        self.failed.push_back(run);
    }

    pub(crate) fn failed(&self) -> impl Iterator<Item = &FailedRun> {
        self.failed.iter()
    }

    pub(crate) fn view(&self, delayed: usize) -> QueueView {
        QueueView {
            waiting: self.places.len(),
            running: self.running.len(),
            delayed,
            failed: self.failed.len(),
        }
    }
}

/// The level above which nothing rises: that of `critical`.
const TOP: u64 = 3;

fn line_of(priority: Priority) -> usize {
    match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    }
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::definition::StepIx;
    use openclaw_protocol::id::Epoch;
    use openclaw_protocol::run::StepPath;

    use super::*;

    fn entry(run: u64) -> Entry {
        (run, StepRef { scope: "".into(), ix: StepIx(0) })
    }

    fn order(queue: &mut Queue, now_ms: u64) -> Vec<u64> {
        std::iter::from_fn(|| queue.pop(now_ms)).map(|(run, _)| run).collect()
    }

    #[test]
    fn urgent_first_then_oldest() {
        let mut queue = Queue::new(1);
        queue.push(entry(1), Priority::Low, 0);
        queue.push(entry(2), Priority::Normal, 1);
        queue.push(entry(3), Priority::Critical, 2);
        queue.push(entry(4), Priority::High, 3);
        queue.push(entry(5), Priority::Normal, 1);
        assert_eq!(order(&mut queue, 4), [3, 4, 2, 5, 1]);
    }

    #[test]
    fn waiting_lifts_one_level_each_30_s() {
        let mut queue = Queue::new(1);
        queue.push(entry(1), Priority::Low, 0);
        queue.push(entry(2), Priority::High, 59_999);
        assert_eq!(order(&mut queue, 59_999), [2, 1], "one level is not enough");
        queue.push(entry(1), Priority::Low, 0);
        queue.push(entry(2), Priority::High, 60_000);
        assert_eq!(order(&mut queue, 60_000), [1, 2], "two are, and it is older");
        queue.push(entry(1), Priority::Low, 0);
        queue.push(entry(2), Priority::Critical, 90_000);
        assert_eq!(order(&mut queue, 90_000), [1, 2], "nothing starves, not even below critical");
    }

    #[test]
    fn slots_bound_what_runs() {
        let mut queue = Queue::new(1);
        queue.push(entry(1), Priority::Normal, 0);
        queue.push(entry(2), Priority::Normal, 0);
        let run = RunId::of(Epoch(0), 1);
        let attempt = AttemptId { run, step: StepPath("a".into()), attempt: 1 };
        assert_eq!(queue.pop(0), Some(entry(1)));
        queue.start(attempt.clone());
        assert_eq!(queue.pop(0), None);
        queue.finish(&attempt);
        assert_eq!(queue.pop(0), Some(entry(2)));
    }

    #[test]
    fn a_run_that_is_gone_waits_no_more() {
        let mut queue = Queue::new(1);
        for run in 1..=3 {
            queue.push(entry(run), Priority::Normal, 0);
        }
        queue.remove_run(2);
        assert_eq!(order(&mut queue, 0), [1, 3]);
        assert_eq!(queue.view(0).waiting, 0);
    }
}
