//! P1: a run that was cut into a snapshot and the facts after it is the run that was never cut:
//! the same state, to the byte of the next snapshot, the same events, sums and commands.

use std::path::Path;
use std::sync::Arc;

use openclaw_protocol::definition::Workflow;
use openclaw_protocol::desired::PluginPin;
use openclaw_protocol::expr::{Duration, Key, Map, SecretText, Timestamp, TypeName, Value};
use openclaw_protocol::id::RunId;
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::StepPath;
use proptest::prelude::*;

use super::generate::{CALLEE, Choices, workflow};
use super::world::{World, error};
use crate::alike::Alike;
use crate::migrate::Onward;
use crate::plan::{Pins, Plan};
use crate::replay::Recording;
use crate::run::{Head, Out, Run};
use crate::{AttemptOutcome, Fact, FactRecord, SnapshotError};

/// How many cuts of one journal are followed to its end.
const TO_THE_END: usize = 4;

/// A journal as it is folded.
pub(super) struct Journal<'a> {
    run: &'a RunId,
    plan: Arc<Plan>,
    pins: Pins,
    facts: &'a [FactRecord],
    workflows: &'a [Arc<Workflow>],
}

impl<'a> Journal<'a> {
    pub(super) fn of(world: &'a World, run: &'a RunId, facts: &'a [FactRecord]) -> Self {
        let Fact::Accepted { definition, pins, .. } = &facts[0].fact else {
            panic!("no acceptance")
        };
        let found: Option<&Arc<Workflow>> =
            world.workflows.iter().find(|workflow| workflow.hash == *definition);
        let share = |(name, pin): &(String, PluginPin)| (name.clone(), Arc::new(pin.clone()));
        Self {
            run,
            plan: Arc::new(Plan::new(Arc::clone(found.unwrap()))),
            pins: Arc::new(pins.iter().map(share).collect()),
            facts,
            workflows: &world.workflows,
        }
    }

    /// What a fact says that the run goes on with.
    fn onward(&self, fact: &Fact) -> Option<Onward> {
        let Fact::Migrated { definition, pins, .. } = fact else { return None };
        let found = self.workflows.iter().find(|workflow| workflow.hash == *definition)?;
        let plan = Arc::new(Plan::new(Arc::clone(found)));
        let share = |(name, pin): &(String, PluginPin)| (name.clone(), Arc::new(pin.clone()));
        let pins = Arc::new(pins.iter().map(share).collect());
        Some(Onward { plan, pins, callees: Vec::new() })
    }

    fn apply(&self, run: &mut Run, record: &FactRecord) -> Out {
        match self.onward(&record.fact) {
            Some(onward) => run.migrate(record, onward).unwrap(),
            None => run.apply(record),
        }
    }

    fn head(&self) -> Head {
        let pins = Arc::clone(&self.pins);
        let with = (pins, Vec::new());
        Head::read(self.run.clone(), 1, &self.facts[0], with, &mut Alike::default()).unwrap()
    }

    pub(super) fn begin(&self) -> Run {
        Run::new(self.head(), Arc::clone(&self.plan)).0
    }

    pub(super) fn again(&self, bytes: &[u8]) -> Result<Run, String> {
        let plan = Arc::clone(&self.plan);
        Run::from_snapshot(self.head(), plan, bytes, &mut |fact| self.onward(fact))
            .map_err(|error| error.to_string())
    }

    /// Folds two runs side by side, one of them taken apart and put together before each fact; then
    /// some cuts to the end. How many cuts that were.
    pub(super) fn check_cuts(&self, look: bool) -> Result<usize, String> {
        let mut whole = self.begin();
        let mut cut = self.begin();
        let mut cuts: Vec<(usize, Vec<u8>)> = Vec::new();
        let mut outs: Vec<String> = vec![String::new()];
        for (place, record) in self.facts.iter().enumerate().skip(1) {
            let bytes = whole.snapshot().ok_or("no snapshot")?;
            if cut.snapshot().as_deref() != Some(&bytes[..]) {
                return Err(format!("{}: another snapshot before fact {place}", self.run));
            }
            cut = self.again(&bytes)?;
            self.same(&whole, &cut, place, look)?;
            cuts.push((place, bytes));
            outs.push(said(&self.apply(&mut whole, record)));
            if said(&self.apply(&mut cut, record)) != outs[place] {
                return Err(format!("{}: fact {place} causes something else", self.run));
            }
        }
        self.same(&whole, &cut, self.facts.len(), true)?;
        let step = cuts.len().div_ceil(TO_THE_END).max(1);
        for (from, bytes) in cuts.iter().step_by(step) {
            let mut late = self.again(bytes)?;
            for (place, record) in self.facts.iter().enumerate().skip(*from) {
                if said(&self.apply(&mut late, record)) != outs[place] {
                    return Err(format!("{}: cut at {from}, fact {place} differs", self.run));
                }
            }
            self.same(&whole, &late, *from, true)?;
        }
        Ok(cuts.len())
    }

    fn same(&self, one: &Run, other: &Run, place: usize, look: bool) -> Result<(), String> {
        if one.snapshot() != other.snapshot() || one.check() != other.check() {
            return Err(format!("{}: another state at {place}", self.run));
        }
        if look && format!("{one:?}") != format!("{other:?}") {
            return Err(format!("{}: at {place}\n{one:?}\nis not\n{other:?}", self.run));
        }
        Ok(())
    }
}

/// All that a fact brings about: events, slots, stops, results, publications, calls.
fn said(out: &Out) -> String {
    format!("{out:?}")
}

/// All journals of a device.
pub(super) fn check_all(world: &World, look: bool) -> Result<usize, String> {
    let mut cuts = 0;
    for (run, facts) in world.disk.runs.values() {
        cuts += Journal::of(world, run, facts).check_cuts(look)?;
    }
    Ok(cuts)
}

/// A run with much under way at once: branches, items, a loop, a wait, an approval, a saga.
const BUSY: &str = r#"{workflow: w, vars: {n: 0, long: "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"}, steps: [
    {id: all, parallel: {mode: wait_all, branches: {
      one: [{id: a, plugin: p@1, with: {n: '${ vars.long }'}, compensate: [{id: ua, plugin: p@1}]}, {id: b, delay: 5m}],
      two: [{id: each, foreach: {in: '[1, 2.5, "x", {"k": 1u}]', as: it, concurrency: 2}, do: [{id: c, plugin: p@1, with: {it: '${ it }'}}]}],
      three: [{id: l, loop: {times: 3, every: 10s}, do: [{id: s, set: {n: '${ vars.n + 1 }'}}]}],
      four: [{id: w, wait: {signal: s, count: 3}, timeout: 1h}],
      five: [{id: ask, approval: {prompt: really?, remind: 1h}}],
      six: [{id: t, try: [{id: f, fail: {code: user.x, message: no}}], catch: [{as: e, do: [{id: d, delay: 1m}]}], finally: [{id: g, plugin: p@1}]}],
      seven: [{id: q, sequence: [{id: h, plugin: p@1, compensate: [{id: uh, plugin: p@1}], export: {long: '${ vars.long }'}}, {id: i, plugin: p@1, retry: {max_retries: 2, backoff: constant, delay: 1m}}], compensation: {run_on: [failed, cancelled]}}],
      eight: [{id: k, call: c}],
      nine: [{id: sw, switch: '1', cases: [{case: '1', do: [{id: m, plugin: p@1}]}]}]}}}]}"#;

fn busy() -> World {
    let mut world = World::with(&[BUSY, CALLEE], 64);
    world.start("{}");
    for step in ["all[one]/a", "all[two]/each#1/c", "all[seven]/q/h"] {
        world.ok(step, r#"{"x": 1.0}"#);
    }
    world.err("all[seven]/q/i", "plugin.error");
    let run = world.engine.runs[&1].run.head.id.clone();
    for n in 0..2 {
        let data = JsonText::of(&serde_json::json!({ "n": n }));
        let name = "s".to_owned();
        world.input("", crate::Input::Signal { run: run.clone(), name, data, request: None });
    }
    world.pass(12_000);
    world.sync();
    world
}

fn journal(world: &World) -> (RunId, Vec<FactRecord>) {
    world.disk.runs[&1].clone()
}

#[test]
fn a_busy_run_is_cut_anywhere() {
    let world = busy();
    let (run, facts) = journal(&world);
    let cuts = Journal::of(&world, &run, &facts).check_cuts(true).unwrap();
    assert!(cuts >= 15, "{cuts}");
    let held = &world.engine.runs[&1].run;
    assert!(held.live().count() >= 13, "{:?}", held.live().collect::<Vec<_>>());
}

/// The bytes with their sum made right again.
fn summed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&blake3::hash(body).as_bytes()[..8]);
    bytes
}

#[test]
fn what_is_cut_off_altered_or_of_another_version_is_refused() {
    let world = busy();
    let (run, facts) = journal(&world);
    let journal = Journal::of(&world, &run, &facts);
    let bytes = world.engine.snapshot(&run).unwrap();
    assert!(journal.again(&bytes).is_ok());
    let body = &bytes[..bytes.len() - 8];
    for cut in 0..bytes.len() {
        assert!(journal.again(&bytes[..cut]).is_err(), "cut off at {cut}");
    }
    for cut in 1..body.len() {
        assert!(journal.again(&summed(&body[..cut])).is_err(), "cut off at {cut}, with its sum");
    }
    let mut longer = body.to_vec();
    longer.push(0);
    assert!(journal.again(&summed(&longer)).is_err(), "a byte too many");
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(journal.again(&bad).is_err(), "a bit of byte {at}");
    }
    let mut later = body.to_vec();
    later[0] = 3;
    let found = journal.again(&summed(&later)).unwrap_err();
    assert_eq!(found, SnapshotError::Version(3).to_string());
}

/// The snapshots among the golden journals: what every version wrote is read, and what this version
/// wrote it still writes, to the byte. Where this fails, [`snapshot`](crate::snapshot)'s version is
/// to be counted up.
#[test]
fn golden_snapshots_are_read_and_written_as_they_were() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let files = corpus.read_dir().unwrap().flat_map(|dir| dir.unwrap().path().read_dir().unwrap());
    let mut found = 0;
    for file in files.map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("cut-") || !name.ends_with(".ocr") {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let recording: Recording = serde_json::from_str(&text).unwrap();
        let state = recording.snapshot.unwrap().state;
        let bytes = data_encoding::BASE64.decode(state.as_bytes()).unwrap();
        let world = World::with(&[&recording.definition], 1);
        let run = Journal::of(&world, &recording.run, &recording.facts).again(&bytes).unwrap();
        assert_eq!(run.snapshot().unwrap(), bytes, "{name}");
        found += 1;
    }
    assert!(found >= 20, "{found}");
}

/// Puts a run through what may come, to see that nothing panics.
fn torment(run: &mut Run) {
    let at = run.last;
    let live: Vec<StepPath> = run.live().map(|(at, _)| run.path(&at)).collect();
    let timers: Vec<(StepPath, crate::TimerKind)> = run
        .timers
        .keys()
        .map(|key| (key.step.as_ref().map_or(StepPath(String::new()), |s| run.path(s)), key.kind))
        .collect();
    let mut facts = vec![Fact::Continued, Fact::Restarted { unclean: true }];
    for step in &live {
        let attempt = run.find(step).and_then(|at| Some(run.active(&at)?.attempt)).unwrap_or(1);
        let ok = AttemptOutcome::Succeeded { output: JsonText::null(), vars: None };
        facts.push(Fact::AttemptStarted { step: step.clone(), attempt });
        facts.push(Fact::AttemptSettled { step: step.clone(), attempt, outcome: ok });
    }
    for (step, what) in timers {
        facts.push(Fact::TimerFired { step, what });
    }
    for step in live {
        let attempt = 1;
        let outcome = AttemptOutcome::Failed { error: error("plugin.error") };
        facts.push(Fact::AttemptStarted { step: step.clone(), attempt });
        facts.push(Fact::AttemptSettled { step, attempt, outcome });
    }
    facts.push(Fact::Signalled { name: "s".to_owned(), data: JsonText::null() });
    facts.push(Fact::CancelRequested { force: false });
    facts.push(Fact::CancelRequested { force: true });
    for fact in facts {
        let record = FactRecord { at, check: run.check(), fact };
        run.apply(&record);
        let _ = (run.next_deadline(at), run.due(at), run.summary(), run.snapshot());
    }
}

proptest! {
    /// Somebody may put a snapshot together: it is refused, or does no harm.
    #[test]
    fn a_made_up_snapshot_does_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let world = busy();
        let (run, facts) = journal(&world);
        let journal = Journal::of(&world, &run, &facts);
        let bytes = world.engine.snapshot(&run).unwrap();
        let mut body = bytes[..bytes.len() - 8].to_vec();
        for (at, byte) in changes {
            let at = 1 + at.index(body.len() - 1);
            body[at] = byte;
        }
        if let Ok(mut run) = journal.again(&summed(&body)) {
            torment(&mut run);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let world = busy();
        let (run, facts) = journal(&world);
        let journal = Journal::of(&world, &run, &facts);
        let mut bytes = vec![1];
        bytes.extend(body);
        if let Ok(mut run) = journal.again(&summed(&bytes)) {
            torment(&mut run);
        }
    }

    #[test]
    fn values_keep_their_types(values in prop::collection::vec(value(), 0..12)) {
        let world = busy();
        let (run, facts) = journal(&world);
        let journal = Journal::of(&world, &run, &facts);
        let mut one = journal.begin();
        let repeated = values.iter().chain(&values).cloned();
        one.signals.extend(repeated.map(|value| ("s".to_owned(), value)));
        let bytes = one.snapshot().unwrap();
        let other = journal.again(&bytes).unwrap();
        prop_assert_eq!(format!("{:?}", one), format!("{:?}", other));
        for ((_, before), (_, after)) in one.signals.iter().zip(&other.signals) {
            prop_assert_eq!(bits(before), bits(after));
        }
        prop_assert_eq!(other.snapshot().unwrap(), bytes);
    }

    #[test]
    fn the_state_of_any_workflow_is_read_again(
        bytes in prop::collection::vec(any::<u8>(), 0..160), late in 0..40_u64,
    ) {
        let text = workflow(&mut Choices::new(&bytes));
        let mut world = World::with(&[&text, CALLEE], 64);
        world.start("{}").pass(late * 1_000);
        world.sync();
        let cuts = check_all(&world, true);
        prop_assert!(cuts.is_ok(), "{}", cuts.unwrap_err());
    }
}

/// The bits of a double, for two that are not a number are not equal.
fn bits(value: &Value) -> Option<u64> {
    if let Value::Double(number) = value { Some(number.to_bits()) } else { None }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))),
        (-5..5_i32).prop_map(|number| Value::Double(f64::from(number))),
        ".{0,200}".prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Value::Bytes(bytes.into())),
        (-60_000_000_000..250_000_000_000_i64, 0..1_000_000_000_u32).prop_map(|(at, nanos)| {
            Value::Timestamp(Timestamp::from_parts(at, nanos).unwrap())
        }),
        any::<i64>().prop_map(|nanos| Value::Duration(Duration::from_nanos(nanos))),
        Just(Value::Type(TypeName::Uint)),
        prop::collection::vec((any::<bool>(), "[a-z]{0,8}".prop_map(String::from)), 0..3)
            .prop_map(|pieces| Value::Secret(SecretText::of_pieces(&pieces))),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop_oneof![
            any::<bool>().prop_map(Key::Bool),
            any::<i64>().prop_map(Key::Int),
            any::<u64>().prop_map(Key::Uint),
            "[a-z]{0,6}".prop_map(|text| Key::String(text.into())),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..8)
                .prop_filter_map("a key twice", |entries| Map::new(entries).ok().map(Value::from)),
        ]
    })
}

/// What branches share is written once: 64 of them beside 900 KiB of variables cost no more.
#[test]
fn a_snapshot_is_about_as_large_as_the_state() {
    let mut world = World::new("{workflow: w, steps: [{id: d, delay: 1h}]}");
    world.start("{}");
    let run = &mut world.engine.runs.get_mut(&1).unwrap().run;
    for n in 0..15 {
        let values = vec![(format!("v{n}"), Value::from("x".repeat(60 * 1024 + n)))];
        run.views.get_mut(&0).unwrap().assign(values, false).unwrap();
    }
    let alone = run.snapshot().unwrap().len();
    assert!((900 * 1024..910 * 1024).contains(&alone), "{alone} bytes");
    for n in 1..=64 {
        let mut branch = run.views[&0].fork();
        branch.assign(vec![("own".to_owned(), Value::Int(n))], false).unwrap();
        run.views.insert(u32::try_from(n).unwrap(), Box::new(branch));
    }
    let more = run.snapshot().unwrap().len() - alone;
    assert!(more < 64 * 256, "{more} bytes more");
}
