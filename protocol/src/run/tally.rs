//! What the fold of a run counts, so that an event costs the same in a run of any length: where
//! each step is, which are open and have open ones inside them, and what the view weighs.
//!
//! All of it follows from the view and is made anew where it is not at hand, as after the view was
//! stored and read again.

use std::io;

use serde::Serialize;

use super::{StepPath, StepStatus, StepView};
use crate::limits::{RUN_VIEW_BYTES, RUN_VIEW_STEPS};
use crate::ordered::VecMap;

/// What follows a composite's path in the paths of steps inside it.
pub(super) const BELOW: [char; 4] = ['/', '[', '#', '~'];

/// Bytes by which what is not steps may grow between two measurements: numbers get longer.
const HEAD_SLACK_BYTES: usize = 256;

/// See [the module](self).
#[derive(Clone, Default)]
pub(super) struct Tally {
    positions: VecMap<String, usize>,
    /// Bytes of JSON of each step, in the order of the view.
    sizes: Vec<usize>,
    steps_bytes: usize,
    head_bytes: usize,
    open: VecMap<String, Open>,
    /// Open steps that wait for a point in time.
    delayed: usize,
    /// Open steps that do not, and have no open step inside them.
    at_work: usize,
    /// Before this position no settled step has an output.
    outputs_from: usize,
    #[cfg(test)]
    pub(super) visited: usize,
}

/// A step that is not settled.
#[derive(Debug, Clone, Copy)]
struct Open {
    is_delayed: bool,
    /// Open steps inside it.
    below: usize,
}

impl Open {
    fn is_at_work(self) -> bool {
        !self.is_delayed && self.below == 0
    }
}

impl std::fmt::Debug for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

/// A view that was stored and read again is the same view.
impl PartialEq for Tally {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Tally {
    /// Whether the steps were changed by somebody else: a view that was read, or cut.
    pub(super) fn is_stale(&self, steps: &[StepView]) -> bool {
        self.sizes.len() != steps.len()
    }

    /// Counts everything from what is shown.
    pub(super) fn count_anew(&mut self, steps: &[StepView]) {
        self.visit(steps.len());
        self.open.clear();
        (self.delayed, self.at_work) = (0, 0);
        self.place(steps);
        self.sizes = vec![0; steps.len()];
        (self.steps_bytes, self.outputs_from) = (0, 0);
        for (position, step) in steps.iter().enumerate() {
            self.weigh(position, step);
            self.set_open(step);
        }
    }

    pub(super) fn position(&mut self, path: &StepPath) -> Option<usize> {
        self.visit(1);
        self.positions.get(path.0.as_str()).copied()
    }

    /// Where the open steps are that are shown.
    pub(super) fn open_positions(&self) -> Vec<usize> {
        self.open.keys().filter_map(|path| self.positions.get(path).copied()).collect()
    }

    /// A step was put at the end of the view.
    pub(super) fn added(&mut self, path: &StepPath) {
        self.positions.insert(path.0.clone(), self.sizes.len());
        self.sizes.push(0);
    }

    /// The step at a position is now as it is here.
    pub(super) fn changed(&mut self, position: usize, step: &StepView) {
        self.weigh(position, step);
        self.set_open(step);
        if step.output.is_some() {
            self.outputs_from = self.outputs_from.min(position);
        }
    }

    /// Whether steps wait for points in time and none is queued or under way. A composite that has
    /// open steps inside it does not count by itself.
    pub(super) fn is_delayed(&self) -> bool {
        self.delayed > 0 && self.at_work == 0
    }

    /// What of the view is not steps takes so many bytes.
    pub(super) fn set_head(&mut self, bytes: usize) {
        self.head_bytes = bytes + HEAD_SLACK_BYTES;
    }

    /// Whether the view is over its bounds.
    pub(super) fn is_over(&self, steps: usize) -> bool {
        steps > RUN_VIEW_STEPS || self.steps_bytes > self.room()
    }

    /// Leaves out the outputs of the oldest settled steps until the view has its size. How many.
    pub(super) fn drop_outputs(&mut self, steps: &mut [StepView]) -> u32 {
        let mut dropped = 0;
        while self.steps_bytes > self.room()
            && let Some(step) = steps.get_mut(self.outputs_from)
        {
            self.visit(1);
            if !step.is_open() && step.output.take().is_some() {
                dropped += 1;
                self.weigh(self.outputs_from, step);
            }
            self.outputs_from += 1;
        }
        dropped
    }

    /// Leaves out the oldest settled steps, and the oldest of all where more are open than can be
    /// shown. How many outputs and how many steps.
    pub(super) fn drop_steps(&mut self, steps: &mut Vec<StepView>) -> (u32, u32) {
        let before = (steps.len(), count_outputs(steps));
        self.drop_oldest(steps, |step| !step.is_open());
        if self.is_over(steps.len()) {
            self.drop_oldest(steps, |_| true);
        }
        let count = |before: usize, after: usize| u32::try_from(before - after).unwrap_or(u32::MAX);
        (count(before.1, count_outputs(steps)), count(before.0, steps.len()))
    }

    /// Leaves out the oldest steps that may go until a quarter of the view is free, so that this is
    /// not done at every event.
    fn drop_oldest(&mut self, steps: &mut Vec<StepView>, may_go: impl Fn(&StepView) -> bool) {
        self.visit(steps.len());
        let (most_steps, most_bytes) = (RUN_VIEW_STEPS / 4 * 3, self.room() / 4 * 3);
        let (mut left, mut bytes) = (steps.len(), self.steps_bytes);
        let mut sizes = std::mem::take(&mut self.sizes).into_iter();
        steps.retain(|step| {
            let size = sizes.next().unwrap_or(0);
            let goes = (left > most_steps || bytes > most_bytes) && may_go(step);
            if goes {
                left -= 1;
                bytes -= size;
            } else {
                self.sizes.push(size);
            }
            !goes
        });
        self.steps_bytes = bytes;
        self.outputs_from = 0;
        self.place(steps);
    }

    /// What is open stays as it is known, shown or not.
    fn place(&mut self, steps: &[StepView]) {
        let paths = steps.iter().enumerate();
        // Not collected, which would sort them first with code of its own.
        self.positions.clear();
        self.positions.extend(paths.map(|(at, step)| (step.path.0.clone(), at)));
    }

    fn room(&self) -> usize {
        RUN_VIEW_BYTES.saturating_sub(self.head_bytes)
    }

    fn weigh(&mut self, position: usize, step: &StepView) {
        if let Some(size) = self.sizes.get_mut(position) {
            // And the comma.
            let bytes = json_bytes(step) + 1;
            self.steps_bytes = self.steps_bytes - *size + bytes;
            *size = bytes;
        }
    }

    fn set_open(&mut self, step: &StepView) {
        let path = step.path.0.as_str();
        let before = self.open.get(path).copied();
        let is_delayed = step.status == StepStatus::Delayed;
        let after = step.is_open().then(|| Open {
            is_delayed,
            below: before.map_or_else(|| self.open_below(path), |open| open.below),
        });
        self.count(before, after);
        match after {
            Some(open) => drop(self.open.insert(path.to_owned(), open)),
            None => drop(self.open.remove(path)),
        }
        if before.is_some() == after.is_some() {
            return;
        }
        for (end, _) in path.match_indices(BELOW) {
            self.visit(1);
            let Some(open) = self.open.get_mut(&path[..end]) else { continue };
            let before = *open;
            open.below = if after.is_some() { open.below + 1 } else { open.below - 1 };
            let after = *open;
            self.count(Some(before), Some(after));
        }
    }

    fn count(&mut self, before: Option<Open>, after: Option<Open>) {
        let is = |open: Option<Open>, what: fn(Open) -> bool| usize::from(open.is_some_and(what));
        let (delayed, at_work) = (|open: Open| open.is_delayed, Open::is_at_work);
        self.delayed = self.delayed + is(after, delayed) - is(before, delayed);
        self.at_work = self.at_work + is(after, at_work) - is(before, at_work);
    }

    /// Open steps inside a composite that is heard of only now: none, unless events are missing.
    fn open_below(&self, path: &str) -> usize {
        let inside = |begin: char| {
            let prefix = format!("{path}{begin}");
            let from = self.open.range(prefix.clone()..);
            from.take_while(|(path, _)| path.starts_with(&prefix)).count()
        };
        BELOW.into_iter().map(inside).sum()
    }

    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "it is for tests to count"))]
    fn visit(&mut self, steps: usize) {
        #[cfg(test)]
        {
            self.visited += steps;
        }
        #[cfg(not(test))]
        let _ = steps;
    }
}

fn count_outputs(steps: &[StepView]) -> usize {
    steps.iter().filter(|step| step.output.is_some()).count()
}

/// How long a value is as JSON.
pub(super) fn json_bytes(value: &impl Serialize) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Counting does not fail, and views are always JSON.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}
