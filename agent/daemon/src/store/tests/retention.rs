//! When the store forgets: by the time that has certainly passed, and by bytes.

use super::*;

const HOUR: u64 = 3_600_000;

fn in_hours(hours: u64) -> Stamp {
    at(NOW.boot_ms + hours * HOUR)
}

fn oldest(store: &Store) -> u64 {
    store.holdings()[2].oldest
}

fn facts_left(store: &Store) -> usize {
    let read = store.db.begin_read().unwrap();
    let rows = read.open_table(JOURNAL.definition()).unwrap();
    let facts = rows.iter().unwrap().map(|row| {
        let (key, value) = row.unwrap();
        journal::unpack_facts(key.value(), value.value()).unwrap().1.len()
    });
    facts.sum()
}

/// Commits that do nothing but let retention look around.
fn look(store: &mut Store, now: Stamp) {
    for _ in 0..40 {
        store.commit(&records(&[b"x"]), now).unwrap();
    }
}

/// A store with three records that are acknowledged, and one settled run.
fn told(disk: &Disk, now: Stamp) -> Store {
    let mut store = open(disk);
    assert_eq!(store.start("boot-1").unwrap().boot, 1);
    let facts = vec![(run(1), accepted()), (run(1), settled())];
    store.commit(&Batch { facts, ..records(&[b"a", b"b", b"c"]) }, now).unwrap();
    store.acknowledge(&cursor(Lane::History, 3));
    store.commit(&records(&[b"d"]), now).unwrap();
    store
}

#[test]
fn acknowledged_records_stay_for_the_retention() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.commit(&records(&[b"a", b"b", b"c"]), NOW).unwrap();
    store.acknowledge(&cursor(Lane::History, 2));
    assert_eq!(store.outstanding(Lane::History), 1);
    store.commit(&records(&[b"d"]), in_hours(1)).unwrap();
    store.commit(&records(&[b"e"]), in_hours(24)).unwrap();
    assert_eq!(oldest(&store), 1, "a day is not over");
    store.commit(&records(&[b"f"]), in_hours(26)).unwrap();
    assert_eq!(oldest(&store), 3, "only what is acknowledged goes");
    store.acknowledge(&cursor(Lane::History, 99));
    assert_eq!(store.outstanding(Lane::History), 4, "numbers never given are not believed");
}

#[test]
fn settled_journals_go_by_bytes() {
    let disk = Disk::new(1);
    let retention = Retention { journal_bytes: 2_000, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    store.start("b").unwrap();
    for n in 1..=60 {
        let facts = vec![(run(n), accepted()), (run(n), settled())];
        store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    }
    assert!(store.settled_bytes <= 2_000, "{}", store.settled_bytes);
    let left = facts_left(&store);
    assert!(left > 2 && left < 100, "{left} facts are left");
}

/// As with 64 runs at once, where one commit has many facts.
#[test]
fn more_goes_than_comes() {
    let disk = Disk::new(1);
    let retention = Retention { journal_bytes: 20_000, ..Retention::default() };
    let mut store = open_with(&disk, retention);
    store.start("b").unwrap();
    // Somebody waits for long, and what is before and after goes all the same.
    let waiting = vec![(run(1), accepted()), (run(1), began())];
    store.commit(&Batch { facts: waiting, ..Batch::default() }, NOW).unwrap();
    for round in 0..100 {
        let runs = (2 + round * 60..2 + (round + 1) * 60).map(run);
        let facts = runs.flat_map(|run| [(run.clone(), accepted()), (run, settled())]).collect();
        store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
        assert!(store.settled_bytes <= 20_000, "round {round}: {} bytes", store.settled_bytes);
    }
    let (rows, bytes) = store.journal_rows();
    assert!(bytes <= 40_000, "{rows} rows, {bytes} bytes");
    assert_eq!(store.facts_of(&run(1)).unwrap().facts, [accepted(), began()]);
}

#[test]
fn settled_journals_go_by_age() {
    let disk = Disk::new(1);
    let mut store = told(&disk, NOW);
    look(&mut store, in_hours(23));
    assert_eq!(facts_left(&store), 2);
    look(&mut store, in_hours(24));
    assert_eq!((facts_left(&store), store.settled_bytes), (0, 0));
    assert!(store.settled(10).unwrap().is_empty());
}

#[test]
fn a_clock_that_jumps_ages_nothing() {
    let disk = Disk::new(1);
    // A board without a battery: 1970, until the network tells.
    let first = Stamp { wall_ms: 60_000, trust: ClockTrust::Unset, ..NOW };
    let mut store = told(&disk, first);
    for (hours, wall_ms) in [(1, WALL_MS), (2, WALL_MS * 2), (3, 0), (4, WALL_MS)] {
        look(&mut store, Stamp { wall_ms, trust: ClockTrust::Synced, ..in_hours(hours) });
        assert_eq!((oldest(&store), facts_left(&store)), (1, 2), "{hours} h, {wall_ms}");
    }
    // Nor does it hold anything up.
    look(&mut store, Stamp { wall_ms: 0, trust: ClockTrust::Unset, ..in_hours(25) });
    assert_eq!((oldest(&store), facts_left(&store)), (4, 0));
}

#[test]
fn time_without_power_counts_where_it_is_known() {
    let disk = Disk::new(1);
    let synced = Stamp { trust: ClockTrust::Synced, ..NOW };
    drop(told(&disk, synced));
    let year_ms = 365 * 24 * HOUR.cast_signed();
    let wall_ms = WALL_MS + year_ms;
    let boot = |name: &str, now: Stamp| {
        let mut store = open(&disk);
        let now = Stamp { boot: store.start(name).unwrap().boot, ..now };
        look(&mut store, now);
        (oldest(&store), facts_left(&store))
    };
    // This boot may have begun long before, on another machine that the card was not in.
    let unsure = Stamp { wall_ms, ..in_hours(500) };
    assert_eq!(boot("boot-2", unsure), (1, 2), "an estimated clock may be a year off");
    assert_eq!(boot("boot-2", Stamp { wall_ms, ..in_hours(510) }), (1, 2), "ten hours");
    let sure = Stamp { trust: ClockTrust::Synced, ..NOW };
    assert_eq!(boot("boot-3", Stamp { wall_ms: WALL_MS + 20, ..sure }), (1, 2));
    assert_eq!(boot("boot-4", Stamp { wall_ms, ..sure }), (4, 0), "a year, and it is known");
}

#[test]
fn what_was_told_late_stays_as_long_as_the_rest() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    // A week without a network, a record each hour.
    for hour in 0..168 {
        store.commit(&records(&[b"a"]), in_hours(hour)).unwrap();
    }
    store.acknowledge(&cursor(Lane::History, 100));
    store.commit(&records(&[b"a"]), in_hours(168)).unwrap();
    store.acknowledge(&cursor(Lane::History, 169));
    store.commit(&records(&[b"a"]), in_hours(180)).unwrap();
    assert_eq!(oldest(&store), 1, "the control plane has had it for hours only");
    look(&mut store, in_hours(194));
    assert_eq!(oldest(&store), 101);

    // A backup is put back: what it lacks comes again, and stays for as long again.
    store.acknowledge(&cursor(Lane::History, 120));
    store.acknowledge(&cursor(Lane::History, 169));
    look(&mut store, in_hours(204));
    drop(store);
    let mut store = open(&disk);
    store.start("boot-1").unwrap();
    look(&mut store, in_hours(206));
    assert_eq!(oldest(&store), 121);
    look(&mut store, in_hours(230));
    assert_eq!(oldest(&store), 170);
}

#[test]
fn notes_of_acknowledgements_are_few() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    for minute in 0..4 * 24 * 60_u64 {
        let now = at(NOW.boot_ms + minute * 60_000);
        store.commit(&records(&[b"a"]), now).unwrap();
        store.acknowledge(&cursor(Lane::History, minute + 1));
        assert!(store.heads[&Lane::History].row.noted.len() <= 26);
    }
    let kept = store.holdings()[2].next - oldest(&store);
    assert!((24 * 60..=25 * 60 + 2).contains(&kept), "{kept} minutes are kept");
}

#[test]
fn an_age_that_is_damaged_is_made_good_from_what_is_kept() {
    let disk = Disk::new(1);
    let mut store = told(&disk, NOW);
    look(&mut store, in_hours(20));
    store.acknowledge(&cursor(Lane::History, 10));
    look(&mut store, in_hours(21));
    store.spoil("meta", b"alive");
    drop(store);
    let mut store = open(&disk);
    assert_eq!(store.start("boot-1").unwrap().damaged.len(), 1);
    assert_eq!(store.age.ms, 21 * HOUR, "it is as old as its youngest note");
    let boot = |hours: u64| Stamp { boot: 2, ..in_hours(hours) };
    look(&mut store, boot(1));
    look(&mut store, boot(4));
    assert_eq!((oldest(&store), facts_left(&store)), (1, 0));
    look(&mut store, boot(6));
    assert_eq!(oldest(&store), 4);
}

#[test]
fn the_facts_of_one_run_are_read_without_those_of_all_others() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("b").unwrap();
    let long = JsonText::of(&serde_json::json!("x".repeat(8_000)));
    for n in 1..=300 {
        let mut first = accepted();
        if let Fact::Accepted { inputs, .. } = &mut first.fact {
            *inputs = long.clone();
        }
        let mut facts = vec![(run(n), first)];
        // One of them stays open, and goes on among the others.
        facts.push(if n == 150 { (run(n), began()) } else { (run(n), settled()) });
        facts.extend((n == 160).then(|| (run(150), began())));
        store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    }
    drop(store);
    let mut store = open(&disk);
    store.start("c").unwrap();
    assert!(disk.size() > 2_400_000, "{}", disk.size());
    for (n, expected, most) in [(290, 2, 200_000), (10, 2, 200_000)] {
        let before = disk.read();
        assert_eq!(store.facts_of(&run(n)).unwrap().facts.len(), expected, "{n}");
        let bytes = disk.read() - before;
        assert!(bytes < most, "{n}: {bytes} bytes were read");
    }
    assert_eq!(store.facts_of(&run(150)).unwrap().facts.len(), 3);
    let other_life = RunId::of(Epoch(1), 290);
    assert!(store.facts_of(&other_life).unwrap().facts.is_empty());
}

#[test]
fn rows_of_settled_runs_from_before_are_read() {
    #[derive(serde::Serialize)]
    struct Before {
        run: RunId,
        settled_wall_ms: i64,
        settled_age_ms: u64,
        bytes: u64,
        definition: DefinitionHash,
    }
    let row = rows::pack(&Before {
        run: run(7),
        settled_wall_ms: WALL_MS,
        settled_age_ms: 5,
        bytes: 6,
        definition: DefinitionHash("abc".into()),
    });
    let read = rows::unpack_settled(&row).unwrap();
    assert_eq!((read.run.clone(), read.bytes, read.first), (run(7), 6, 0));
    let again = rows::unpack_settled(&rows::pack(&rows::SettledRow { first: 300, ..read }));
    assert_eq!(again.unwrap().first, 300);
    assert!(rows::unpack_settled(&row[..row.len() - 1]).is_err());
}

/// What a run goes on with is kept like what it began with, and goes with its journal.
#[test]
fn the_definitions_of_a_run_that_migrated_are_kept_and_go_together() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("b").unwrap();
    let hashes = ["abc", "def", "of what it calls"].map(|text| DefinitionHash(text.to_owned()));
    let callee = openclaw_agent_core::Callee {
        workflow: WorkflowName::parse("c").unwrap(),
        definition: hashes[2].clone(),
        pins: Vec::new(),
    };
    let fact = Fact::Migrated {
        definition: hashes[1].clone(),
        pins: Vec::new(),
        callees: vec![callee],
        inputs: JsonText::null(),
    };
    let migrated = FactRecord { at: at(2), check: 0, fact };
    let definitions = hashes.iter().map(|hash| (hash.clone(), "text".to_owned())).collect();
    let facts = vec![(run(1), accepted()), (run(1), migrated)];
    store.commit(&Batch { facts, definitions, ..Batch::default() }, NOW).unwrap();
    let kept = |store: &mut Store, now| {
        let keep = Some(Keep::default());
        store.commit(&Batch { keep, ..records(&[b"x"]) }, now).unwrap();
        hashes.clone().map(|hash| store.definition(&hash).unwrap().is_some())
    };
    for _ in 0..2 {
        assert_eq!(kept(&mut store, NOW), [true; 3]);
        assert_eq!(store.facts_of(&run(1)).unwrap().migrated, hashes[1..2]);
        drop(store);
        store = open(&disk);
        store.start("b").unwrap();
    }
    let facts = vec![(run(1), settled())];
    store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    // Of a settled run, as long as it may be replayed; what it called is of no use for that.
    assert_eq!(kept(&mut store, NOW), [true, true, false]);
    assert_eq!(store.facts_of(&run(1)).unwrap().migrated, hashes[1..2]);
    look(&mut store, in_hours(26));
    look(&mut store, in_hours(52));
    assert!(store.facts_of(&run(1)).unwrap().facts.is_empty());
    assert_eq!(kept(&mut store, in_hours(52)), [false; 3]);
    let read = store.db.begin_read().unwrap();
    assert_eq!(read.open_table(space::MIGRATED.definition()).unwrap().len().unwrap(), 0);
}

/// Where it is not known what a run goes on with, nothing goes before it has settled.
#[test]
fn what_a_run_needs_of_which_the_row_is_damaged_is_kept() {
    let disk = Disk::new(1);
    let mut store = open(&disk);
    store.start("b").unwrap();
    let hashes = ["abc", "def", "ghi"].map(|text| DefinitionHash(text.to_owned()));
    let modules = [1, 2].map(|n| openclaw_protocol::id::Digest([n; 32]));
    let migration = |hash: &DefinitionHash, digest: openclaw_protocol::id::Digest| {
        let pin = openclaw_protocol::desired::PluginPin {
            name: openclaw_protocol::id::PluginName::parse("p").unwrap(),
            version: "1.0.0".into(),
            digest,
            size: 4,
            actions: Vec::new(),
            granted: Default::default(),
            limits: Default::default(),
        };
        let fact = Fact::Migrated {
            definition: hash.clone(),
            pins: vec![("p".to_owned(), pin)],
            callees: Vec::new(),
            inputs: JsonText::null(),
        };
        (run(1), FactRecord { at: at(2), check: 0, fact })
    };
    let definitions = hashes.iter().map(|hash| (hash.clone(), "text".to_owned())).collect();
    let blobs = modules.map(|digest| (digest, b"wasm".to_vec())).to_vec();
    let facts = vec![(run(1), accepted()), migration(&hashes[1], modules[0])];
    store.commit(&Batch { facts, definitions, blobs, ..Batch::default() }, NOW).unwrap();
    store.spoil("migrated", &1_u64.to_be_bytes());
    let kept = |store: &mut Store| {
        let keep = Some(Keep::default());
        store.commit(&Batch { keep, ..records(&[b"x"]) }, NOW).unwrap();
        let definitions = hashes.clone().map(|hash| store.definition(&hash).unwrap().is_some());
        (definitions, modules.map(|digest| store.blobs().has(digest).unwrap()))
    };
    for life in 0..3 {
        drop(store);
        store = open(&disk);
        assert_eq!(store.start("b").unwrap().damaged.len(), 1, "life {life}");
        assert_eq!(kept(&mut store), ([true; 3], [true; 2]), "life {life}");
        // It goes on once more: what it went on with before is needed all the same.
        if life == 0 {
            let facts = vec![migration(&hashes[2], modules[1])];
            store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
            assert_eq!(kept(&mut store), ([true; 3], [true; 2]));
        }
    }
    let facts = vec![(run(1), settled())];
    store.commit(&Batch { facts, ..Batch::default() }, NOW).unwrap();
    assert_eq!(kept(&mut store), ([true, false, false], [false; 2]), "then it goes");
}
