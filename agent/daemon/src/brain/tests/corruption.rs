//! Bits flip, files end too early, pages turn to zero or change places: nothing that the device says
//! afterwards is wrong, and it comes back by itself, if need be with a new database that the control
//! plane fills again.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Duration;

use openclaw_agent_core::{
    FileChange, FileStat, Hold, HoldChange, KnownFile, Publication, SeenKey, TriggerMark,
};
use openclaw_protocol::id::{Digest, RequestId, RunId, TriggerId, WorkflowName};

use super::peer::{Peer, now_ms};
use super::sync::{MODULE, desired, install, pair, try_checked};
use super::*;
use crate::store::tests::everything::Everything;
use crate::store::{self, Batch, Chunk, Opening, open_or_quarantine};

/// More lives than any damage may cost.
const LIVES: u32 = 8;

thread_local! {
    /// Where this thread panicked last.
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A database and what it says; or what it says without its last commit, which an engine that finds
/// that commit damaged cannot tell from one that the power cut short.
struct Image {
    name: &'static str,
    bytes: Vec<u8>,
    says: Vec<Everything>,
    peer_key: [u8; 32],
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip { bit: usize },
    Truncate { bytes: usize },
    Zero { page: usize, bytes: usize },
    Swap { one: usize, other: usize, bytes: usize },
}

impl Damage {
    /// The damage of this number: of twelve, ten flips, one truncation, one page.
    fn of(length: usize, number: u64, random: &mut Random) -> Self {
        match number % 12 {
            10 => Self::Truncate { bytes: random.below(length) },
            11 => {
                let bytes = if random.below(2) == 0 { 512 } else { 4_096 };
                let pages = length / bytes;
                match random.below(2) {
                    0 => Self::Zero { page: random.below(pages), bytes },
                    _ => Self::Swap { one: random.below(pages), other: random.below(pages), bytes },
                }
            }
            _ => Self::Flip { bit: random.below(length * 8) },
        }
    }

    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Flip { bit } => file[bit / 8] ^= 1 << (bit % 8),
            Self::Truncate { bytes } => file.truncate(bytes),
            Self::Zero { page, bytes } => file[page * bytes..][..bytes].fill(0),
            Self::Swap { one, other, bytes } => {
                let page = file[one * bytes..][..bytes].to_vec();
                file.copy_within(other * bytes..(other + 1) * bytes, one * bytes);
                file[other * bytes..][..bytes].copy_from_slice(&page);
            }
        }
    }
}

/// xorshift64* (Vigna 2016).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound as u64) as usize
    }
}

/// What became of many damages.
#[derive(Debug, Default)]
struct Tally {
    unharmed: u32,
    /// Something was left out, and said to be.
    healed: u32,
    /// All rows, with what is damaged, were copied into a new file.
    rebuilt: u32,
    /// A new file was begun with nothing.
    quarantined: u32,
    /// The last commit was taken for one that a power cut had torn.
    went_back: u32,
    lives: BTreeMap<u32, u32>,
    panics: BTreeMap<String, u32>,
    silent: Vec<String>,
}

/// A device that has lived: settled runs, some of which the control plane has; open ones, of which
/// one has a snapshot; and something in every table.
fn lived() -> (Device, Disk, Disk) {
    let (mut device, mut peer) = pair();
    install(&mut device, &mut peer, 1, 2);
    device.workflows = vec![chain("long", 200)];
    device.brain = None;
    device.start().unwrap();
    peer.connect(&mut device);
    for n in 0..24 {
        if n == 12 {
            device.turn(vec![Event::LinkDown]).unwrap();
        }
        device.begin("w").unwrap().unwrap();
        for _ in 0..2 {
            let call = device.calls().remove(0);
            device.answer(&call).unwrap();
        }
        if n < 12 {
            peer.exchange(&mut device);
        }
    }
    device.begin("long").unwrap().unwrap();
    for _ in 0..180 {
        let call = device.calls().remove(0);
        device.answer(&call).unwrap();
    }
    for _ in 0..3 {
        device.begin("w").unwrap().unwrap();
        let call = device.calls().pop().unwrap();
        device.answer(&call).unwrap();
    }
    let run = device.brain.as_ref().unwrap().store.run_epoch();
    let batch = rest_of_the_tables(RunId::of(run, 25), device.clock.clone().now());
    let stamp = device.clock.clone().now();
    device.brain.as_mut().unwrap().store.commit(&batch, stamp).unwrap();
    let before = device.disk.copy();
    device.begin("w").unwrap().unwrap();
    let unclean = device.disk.copy();
    (device, unclean, before)
}

fn rest_of_the_tables(run: RunId, at: Stamp) -> Batch {
    let (workflow, trigger) =
        (WorkflowName::parse("gone").unwrap(), TriggerId::parse("t").unwrap());
    let known = Some(KnownFile { stat: FileStat { size: 7, modified_ns: 8 }, gone: false });
    let hold = Hold { since: at, counted_ms: 5, confirmed: true, fired: false, check: 9 };
    let publication = |seq: u64| Publication {
        message_id: format!("m-{seq}"),
        topic: "site/pump".into(),
        qos: 1,
        retain: false,
        payload: vec![seq as u8; 300],
        confirm: None,
    };
    let mut batch = Batch { recorded: vec![run.clone()], ..Batch::default() };
    for n in 0..40_u8 {
        let (workflow, trigger) = (workflow.clone(), trigger.clone());
        let name = format!("part_{n}");
        batch.marks.push(TriggerMark {
            workflow: workflow.clone(),
            trigger: TriggerId::parse(&name).unwrap(),
            at: n.into(),
            boot: 1,
        });
        let of = (workflow.clone(), trigger.clone());
        batch.seen.push(SeenKey { workflow: of.0, trigger: of.1, key: [n; 16], at });
        let of = (workflow.clone(), trigger.clone());
        batch.holds.push(HoldChange {
            workflow: of.0,
            trigger: of.1,
            source: name.clone(),
            hold: Some(hold),
        });
        batch.files.push(FileChange { workflow, trigger, file: name.clone(), known });
        batch.publications.push((n.into(), publication(n.into())));
        batch.wishes.push((RequestId::parse(&format!("r-{n}")).unwrap(), Ok(run.clone())));
        batch.chunks.push(Chunk {
            digest: Digest([9; 32]),
            offset: u32::from(n) * 64,
            bytes: vec![n; 64],
        });
    }
    batch
}

/// What there is to damage: a database that was closed well, and one that was not.
fn images() -> [Image; 2] {
    let (mut device, unclean, before) = lived();
    let peer_key = Peer::new().key();
    device.turn(vec![Event::Stop]).unwrap();
    device.brain.take().unwrap().finish().unwrap();
    let clean = device.disk.copy();
    let says =
        |disks: &[&Disk]| -> Vec<Everything> { disks.iter().map(|disk| said_by(disk)).collect() };
    let image = |name, disk: &Disk, says: Vec<Everything>| Image {
        name,
        bytes: disk.bytes(),
        says,
        peer_key,
    };
    [
        image("closed", &clean, says(&[&clean])),
        image("not closed", &unclean, says(&[&unclean, &before])),
    ]
}

fn said_by(disk: &Disk) -> Everything {
    let retention = Retention::default();
    let mut store =
        Store::open(disk.copy().backend(), limits::CACHE_BYTES, retention, Epoch(1)).unwrap();
    let restored = store.start("after").unwrap();
    let says = Everything::of(&store, &restored);
    assert!(says.noticed.is_empty(), "{:?}", says.noticed);
    assert_eq!(says.rows.len(), 18, "every table has rows: {:?}", says.rows);
    says
}

/// One damaged copy, and the lives that follow.
fn survive(image: &Image, damage: Damage, dir: &Path, tally: &mut Tally) -> Result<(), String> {
    let path = dir.join("agent.redb");
    let mut bytes = image.bytes.clone();
    damage.apply(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
    for life in 1..=LIVES {
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| live(image, &path, tally)));
        match outcome {
            Ok(Ok(())) => {
                *tally.lives.entry(life).or_default() += 1;
                return Ok(());
            }
            // As `agent::run` does.
            Ok(Err(e)) if e.is_damage() => store::doubt(&path, Duration::ZERO),
            Ok(Err(e)) => return Err(format!("it ends for good: {e}")),
            // As the hook does.
            Err(panic) => {
                let place = PANICKED.take();
                if !place.contains("redb") {
                    std::panic::resume_unwind(panic);
                }
                *tally.panics.entry(place).or_default() += 1;
                store::doubt(&path, Duration::ZERO);
            }
        }
    }
    Err(format!("it does not come back in {LIVES} lives"))
}

/// One life: it opens, says nothing wrong, gets its workflow back where that is lost, runs it, and
/// tells the control plane.
fn live(image: &Image, path: &Path, tally: &mut Tally) -> Result<(), StoreError> {
    let opened = open_or_quarantine(Opening {
        path,
        cache_bytes: limits::CACHE_BYTES,
        retention: Retention::default(),
        fresh_epoch: Epoch(0x0123_4567_89ab_0001),
        boot_id: "after",
    })?;
    let is_first = !path.with_extension("lived").exists();
    std::fs::write(path.with_extension("lived"), "").unwrap();
    let says = Everything::of(&opened.store, &opened.restored);
    let is_new = opened.store.epoch() == Epoch(0x0123_4567_89ab_0001);
    if is_first && !is_new {
        judge(image, &says, tally);
    }
    tally.quarantined += u32::from(opened.aside.is_some() && is_new);
    tally.rebuilt += u32::from(opened.aside.is_some() && !is_new);
    let mut device = Device::enrolled(1, image.peer_key);
    device.workflows = vec![chain("long", 200)];
    device.start_with(opened.store, opened.restored)?;
    let mut peer = Peer::new();
    let module = peer.add_blob(MODULE.to_vec());
    let document = desired(&device, 1, 2, module);
    peer.try_connect(&mut device)?;
    peer.desire(&document, now_ms(&device));
    peer.try_exchange(&mut device)?;
    try_checked(&mut device, Ok(()))?;
    peer.try_exchange(&mut device)?;
    let run = device.begin("w")?.expect("it is deployed again");
    for _ in 0..4 {
        for call in device.calls() {
            if call.attempt.run.as_str() == run {
                device.answer(&call)?;
            }
        }
    }
    peer.try_exchange(&mut device)?;
    assert!(peer.results.contains(&run), "the run ends and is told");
    device.brain.take().map_or(Ok(()), Brain::finish)
}

/// Nothing is wrong; what is missing was noticed.
fn judge(image: &Image, says: &Everything, tally: &mut Tally) {
    let wrong_in = |like: &Everything| -> Vec<String> {
        let is_wrong = |(name, value): &(&String, &String)| like.values.get(*name) != Some(value);
        says.values.iter().filter(is_wrong).map(|(name, _)| name.clone()).collect()
    };
    let missing_in = |like: &Everything| -> Vec<String> {
        like.values.keys().filter(|name| !says.values.contains_key(*name)).cloned().collect()
    };
    let wrong: Vec<Vec<String>> = image.says.iter().map(wrong_in).collect();
    let Some(which) = wrong.iter().position(Vec::is_empty) else {
        tally
            .silent
            .push(format!("{}: wrong: {:?}; noticed {:?}", image.name, wrong[0], says.noticed));
        return;
    };
    let missing = missing_in(&image.says[which]);
    if !missing.is_empty() && says.noticed.is_empty() {
        tally.silent.push(format!("{}: missing: {missing:?}", image.name));
    }
    match (which, says.noticed.is_empty()) {
        (0, true) => tally.unharmed += 1,
        (0, false) => tally.healed += 1,
        (_, _) => tally.went_back += 1,
    }
}

fn damages(seed: u64, count: u64) {
    println!("seed {seed}, {count} damages");
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if !place.contains("redb") {
            println!("{info}");
        }
        PANICKED.replace(place);
    }));
    // In memory where there is such a place: syncs are no part of this.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let images = images();
    let mut tally = Tally::default();
    let mut failed = Vec::new();
    for number in 0..count {
        let image = &images[usize::from(number % 2 == 1)];
        let mut random = Random((seed + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let damage = Damage::of(image.bytes.len(), number / 2, &mut random);
        let silent = tally.silent.len();
        let end = std::panic::catch_unwind(AssertUnwindSafe(|| {
            survive(image, damage, dir.path(), &mut tally)
        }));
        for said in &mut tally.silent[silent..] {
            said.insert_str(0, &format!("{number} {damage:?}: "));
        }
        let what = match end {
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(e),
            Err(_) => Some(format!("it panicked at {}", PANICKED.take())),
        };
        failed.extend(what.map(|what| format!("{number} {} {damage:?}: {what}", image.name)));
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
    println!("{} and {} bytes", images[0].bytes.len(), images[1].bytes.len());
    println!("{tally:#?}");
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(tally.silent.is_empty(), "{:#?}", tally.silent);
    let Tally { unharmed, healed, rebuilt, quarantined, went_back, .. } = tally;
    let each = [unharmed, healed, rebuilt, quarantined, went_back];
    assert!(each.iter().all(|n| *n > 0), "the damages reach too little: {each:?}");
}

#[test]
fn control_a_wrong_value_with_the_right_checksum_turns_it_red() {
    let (mut device, _, before) = lived();
    device.brain = None;
    let says = vec![said_by(&before)];
    let image = Image { name: "control", bytes: Vec::new(), says, peer_key: [0; 32] };
    let open = || {
        let backend = before.backend();
        Store::open(backend, limits::CACHE_BYTES, Retention::default(), Epoch(1)).unwrap()
    };
    let store = open();
    store.change_state(25, |state| state[0] ^= 1);
    drop(store);
    let mut store = open();
    let restored = store.start("after").unwrap();
    let mut tally = Tally::default();
    judge(&image, &Everything::of(&store, &restored), &mut tally);
    assert!(tally.silent[0].contains("wrong"), "{:?}", tally.silent);
}

#[test]
fn five_hundred_damages_cost_no_wrong_value_and_no_device() {
    damages(1, 504);
}

#[test]
#[ignore = "the long size: 12,000 damages; `make chaos` runs it"]
fn long_twelve_thousand_damages_cost_no_wrong_value_and_no_device() {
    damages(1_000_000, 12_000);
}
