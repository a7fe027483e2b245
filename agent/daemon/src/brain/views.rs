//! Runs as people see them: the fold of what is told of a run.
//!
//! Few runs are ever looked at on the device, so what is told is kept as it was told, packed, and
//! folded when somebody asks; of a long run, whenever there is much of it. A run that settles before
//! that goes into the store so, and is folded when it is read.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::id::RunId;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::run::{Run, RunEventRecord, RunResult};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::wire::{self, Kind};

use crate::limits;
use crate::store::{Store, StoreError};

/// Bytes read from the outbox at once while the views of open runs are folded again.
const READ_BYTES: usize = 256 * 1024;

/// The first byte of a view that is packed; neither the wire's version nor JSON begins so.
const PACKED: u8 = 0xff;

/// Views of open runs, by number.
#[derive(Debug, Default)]
pub(super) struct Views {
    open: BTreeMap<u64, Box<Open>>,
    /// Runs of which the last event told before the start is known to be the last one: no record
    /// after it is damaged.
    whole: BTreeSet<u64>,
}

/// What is known of an open run.
#[derive(Debug)]
struct Open {
    run: RunId,
    /// The fold of what was told before `told`.
    folded: Option<Box<Run>>,
    told: Told,
    /// The first event is the run's first.
    begins: bool,
}

/// Packed events, one after the other, each behind its length. No JSON begins with this first byte.
#[derive(Debug)]
struct Told(Vec<u8>);

impl Told {
    fn new() -> Self {
        Self(vec![wire::VERSION, Kind::RunEvent as u8])
    }

    fn push(&mut self, packed: &[u8]) {
        let length = u32::try_from(packed.len()).unwrap_or(u32::MAX);
        let more = size_of::<u32>() + packed.len();
        if self.0.capacity() - self.0.len() < more {
            // By a quarter, not to the double: there may be very many that wait, each with little told.
            self.0.reserve_exact(more + self.0.len() / 4);
        }
        self.0.extend_from_slice(&length.to_le_bytes());
        self.0.extend_from_slice(packed);
    }

    /// The events in bytes as these are; what cannot be read ends them.
    fn events(bytes: &[u8]) -> impl Iterator<Item = RunEventRecord> {
        let mut rest = bytes.get(2..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, behind) = rest.split_first_chunk::<4>()?;
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            let (packed, behind) = behind.split_at_checked(length)?;
            rest = behind;
            wire::unpack(Kind::RunEvent, packed, length).ok()
        })
    }
}

impl Open {
    fn fold(&mut self) -> &mut Run {
        let told = std::mem::replace(&mut self.told, Told::new());
        let view = self.folded.get_or_insert_with(|| Box::new(Run::new(self.run.clone())));
        for event in Told::events(&told.0) {
            view.apply(&event);
        }
        view
    }
}

impl Views {
    /// Folds again what was told of runs that are open. It is still in the outbox, unless a run
    /// is older than the retention; then its view begins where the outbox does.
    pub(super) fn restore<'a>(
        store: &Store,
        runs: impl Iterator<Item = &'a RunId>,
    ) -> Result<Self, StoreError> {
        let mut views = Self::default();
        let open: VecMap<&RunId, ()> = runs.map(|run| (run, ())).collect();
        let mut first = 0;
        while !open.is_empty() {
            let records = store.load(Lane::History, first, u64::MAX, READ_BYTES)?;
            let Some(last) = records.last() else { break };
            first = last.seq + 1;
            for record in &records {
                let event =
                    wire::unpack::<RunEventRecord>(Kind::RunEvent, &record.body, usize::MAX);
                match event {
                    Ok(mut event) => {
                        let Some((run, ())) = open.get_key_value(&event.run) else { continue };
                        // All who know the run share its id.
                        event.run = RunId::clone(run);
                        views.apply(&event, &record.body);
                        views.whole.extend(event.run.number());
                    }
                    // A marker, or what another version wrote: it may have been of any run.
                    Err(_) => views.whole.clear(),
                }
            }
        }
        Ok(views)
    }

    /// Takes in an event that is told, and the same packed.
    pub(super) fn apply(&mut self, event: &RunEventRecord, packed: &[u8]) {
        let Some(number) = event.run.number() else { return };
        let fresh = || {
            let (run, begins) = (event.run.clone(), event.seq == 1);
            Box::new(Open { run, folded: None, told: Told::new(), begins })
        };
        let open = self.open.entry(number).or_insert_with(fresh);
        open.told.push(packed);
        if open.told.0.len() > limits::VIEW_TOLD_BYTES {
            open.fold();
        }
    }

    /// The number of the event that ends a run at the start. Where events of it may be missing,
    /// the last number of all: it is above theirs, and nothing follows.
    pub(super) fn end_seq(&mut self, run: &RunId) -> u32 {
        let is_whole = run.number().is_some_and(|number| self.whole.contains(&number));
        let view = self.open(run).filter(|_| is_whole);
        view.map_or(u32::MAX, |view| view.last_seq.saturating_add(1))
    }

    /// Damaged runs have been ended: nobody asks any more how whole they are.
    pub(super) fn begun(&mut self) {
        self.whole = BTreeSet::new();
    }

    /// The run is settled: its last view, for the store.
    pub(super) fn settle(&mut self, result: &RunResult) -> Option<Vec<u8>> {
        let mut open = self.open.remove(&result.run.number()?)?;
        if open.folded.is_none() && open.begins {
            return Some(packed(open.told.0));
        }
        open.fold();
        let mut view = open.folded?;
        if view.accepted_wall_ms.is_none() {
            // Its beginning is not kept any more; the result knows it.
            view.workflow = result.workflow.to_string();
            view.version.clone_from(&result.version);
            view.definition.clone_from(&result.definition.0);
            view.trigger.clone_from(&result.trigger);
            view.accepted_wall_ms = Some(result.accepted.wall_ms);
        }
        stored(*view).map(|text| packed(text.into_bytes()))
    }

    pub(super) fn is_open(&self, run: &RunId) -> bool {
        run.number().and_then(|number| self.open.get(&number)).is_some_and(|open| open.run == *run)
    }

    pub(super) fn open(&mut self, run: &RunId) -> Option<&Run> {
        let open = self.open.get_mut(&run.number()?).filter(|open| open.run == *run)?;
        Some(open.fold())
    }

    /// Open runs, newest first.
    pub(super) fn newest(&mut self) -> impl Iterator<Item = &Run> {
        self.open.values_mut().rev().map(|open| &*open.fold())
    }
}

/// A view as [`Views::settle`] gave it to the store.
pub(super) fn read(stored: &[u8]) -> Option<Run> {
    let unpacked = match stored {
        [PACKED, rest @ ..] => unpacked(rest)?,
        plain => Cow::Borrowed(plain),
    };
    let stored = &*unpacked;
    if stored.first() == Some(&wire::VERSION) {
        let mut events = Told::events(stored).peekable();
        let mut view = Run::new(events.peek()?.run.clone());
        for event in events {
            view.apply(&event);
        }
        return Some(view);
    }
    serde_json::from_str(std::str::from_utf8(stored).ok()?).ok()
}

/// A view as it goes into the store: every run writes one, steps repeat themselves, and one that is
/// larger than a page of the store costs two whole ones.
fn packed(plain: Vec<u8>) -> Vec<u8> {
    if plain.len() < limits::VIEW_PACKED_BYTES {
        return plain;
    }
    let mut packed = vec![PACKED];
    packed.extend(lz4_flex::block::compress_prepend_size(&plain));
    if packed.len() < plain.len() { packed } else { plain }
}

/// What was packed, unless it says that it is larger than any view.
fn unpacked(packed: &[u8]) -> Option<Cow<'static, [u8]>> {
    let size = usize::try_from(u32::from_le_bytes(*packed.first_chunk()?)).ok()?;
    if size > limits::RECENT_BYTES.max(limits::VIEW_TOLD_BYTES) {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(packed).ok().map(Cow::Owned)
}

/// A view as JSON of a bounded length; what is left out is counted.
fn stored(mut view: Run) -> Option<String> {
    let text = serde_json::to_string(&view).ok()?;
    if text.len() <= limits::RECENT_BYTES {
        return Some(text);
    }
    // Too large to keep whole: who ran what and how it ended is worth more than the values.
    let outputs = view.steps.iter_mut().filter_map(|step| step.output.take()).count();
    view.outputs_dropped = view.outputs_dropped.saturating_add(as_u32(outputs));
    let text = serde_json::to_string(&view).ok()?;
    if text.len() <= limits::RECENT_BYTES {
        return Some(text);
    }
    view.steps_dropped = view.steps_dropped.saturating_add(as_u32(view.steps.len()));
    view.steps.clear();
    view.outputs = None;
    view.inputs = serde_json::Value::Null;
    serde_json::to_string(&view).ok()
}

fn as_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::run::{RunError, RunStatus, StepPath, StepStatus, StepView};
    use serde_json::Value;

    use super::*;

    fn view(steps: usize, output_bytes: usize, path_bytes: usize) -> Run {
        let mut view = Run::new(RunId::parse("0123456789ab-1").unwrap());
        view.status = RunStatus::Failed;
        (view.outputs_dropped, view.steps_dropped) = (3, 4);
        view.steps.extend((0..steps).map(|n| StepView {
            path: StepPath(format!("{n:0>path_bytes$}")),
            kind: "plugin".into(),
            status: StepStatus::Succeeded,
            attempts: 1,
            // A failed one has none.
            output: (n > 0).then(|| Value::String("x".repeat(output_bytes))),
            error: None::<RunError>,
            started_wall_ms: None,
            settled_wall_ms: None,
            waiting: None,
        }));
        view
    }

    fn kept(view: Run) -> Run {
        let text = stored(view).unwrap();
        assert!(text.len() <= limits::RECENT_BYTES, "{} bytes", text.len());
        read(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_stored_view_is_packed_where_that_is_shorter_and_no_more_is_believed_than_fits() {
        let long = stored(view(20, 200, 10)).unwrap().into_bytes();
        let small = packed(long.clone());
        assert_eq!(small.first(), Some(&PACKED));
        assert!(small.len() * 3 < long.len(), "{} of {}", small.len(), long.len());
        assert_eq!(read(&small), read(&long));
        let short = b"{}".to_vec();
        assert_eq!(packed(short.clone()), short);
        assert_eq!(read(&small[..small.len() - 1]), None);
        let mut large = small;
        large[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&large), None);
        assert_eq!(read(&[PACKED]), None);
    }

    #[test]
    fn what_is_left_out_of_a_stored_view_is_counted() {
        let small = view(5, 10, 10);
        assert_eq!(kept(small.clone()), small);
        let without_outputs = kept(view(10, 5_000, 10));
        assert_eq!((without_outputs.outputs_dropped, without_outputs.steps_dropped), (12, 4));
        assert!(without_outputs.steps.iter().all(|step| step.output.is_none()));
        assert_eq!(without_outputs.steps.len(), 10);
        let without_steps = kept(view(50, 10, 1_000));
        assert_eq!((without_steps.outputs_dropped, without_steps.steps_dropped), (52, 54));
        assert!(without_steps.steps.is_empty());
    }
}
