//! All that a store says, by name: what a damaged one says is compared with it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use openclaw_protocol::sync::Dropped;
use redb::ReadableTable as _;

use super::super::space;
use super::*;

/// What a store said, and where it said that something is not what it was.
#[derive(Debug, Default, Clone)]
pub(crate) struct Everything {
    /// Name → value.
    pub(crate) values: BTreeMap<String, String>,
    /// Damage that was noticed.
    pub(crate) noticed: Vec<String>,
    /// Rows of each table.
    pub(crate) rows: BTreeMap<&'static str, usize>,
}

/// Rows of `meta` that every start writes anew.
const OF_THE_START: [&[u8]; 4] = [b"boot", b"clean", b"alive", b"format"];

impl Everything {
    /// Asks for all there is: every row of every table, and what the agent is told of them.
    pub(crate) fn of(store: &Store, restored: &Restored) -> Self {
        let mut all = Self::default();
        for space in space::ALL {
            if let Err(e) = all.read_table(store, space) {
                all.noticed.push(format!("table {}: {e}", space.0));
            }
        }
        all.read_restored(store, restored);
        for lane in Lane::UP {
            all.read_lane(store, lane);
        }
        for number in 1..60 {
            let text = store.recent_run(number);
            all.note(format!("recent {number}"), text);
            let settled = store.settled_run(number);
            for run in settled.into_iter().chain(store.open.get(&number).map(|o| o.run.clone())) {
                match store.facts_of(&run) {
                    // Without some of its facts a run is told of by its snapshot.
                    Ok(past) if past.snapshot.is_some() => {
                        all.noticed.push(format!("facts {run}"));
                    }
                    past => all.note(format!("facts {run}"), past.map(|past| Some(past.facts))),
                }
                all.note(format!("tapes {run}"), store.tapes(&run).map(Some));
            }
        }
        for listed in store.settled(1_000).unwrap_or_default() {
            all.say(format!("settled {}", listed.run), &listed.settled_wall_ms);
        }
        all
    }

    fn say(&mut self, name: String, value: &impl Debug) {
        self.values.insert(name, format!("{value:?}"));
    }

    fn note<T: Debug>(&mut self, name: String, value: Result<Option<T>, StoreError>) {
        match value {
            Ok(Some(value)) => self.say(name, &value),
            Ok(None) => {}
            Err(e) => self.noticed.push(format!("{name}: {e}")),
        }
    }

    fn read_table(&mut self, store: &Store, space: space::Space) -> Result<(), StoreError> {
        let read = store.db.begin_read()?;
        let table = read.open_table(space.definition())?;
        for entry in table.iter()? {
            let (key, value) = entry?;
            let (key, value) = (key.value(), value.value());
            *self.rows.entry(space.0).or_default() += 1;
            if space == META && OF_THE_START.contains(&key) {
                continue;
            }
            let name = format!("row {} {}", space.0, data_encoding::HEXLOWER.encode(key));
            self.note(name, space.unseal(key, value).map(|body| Some(blake3::hash(body))));
        }
        Ok(())
    }

    fn read_restored(&mut self, store: &Store, restored: &Restored) {
        self.noticed.extend(restored.damaged.iter().cloned());
        self.noticed.extend(restored.broken.iter().map(|(run, why)| format!("{}: {why}", run.run)));
        self.say("boot".into(), &restored.boot);
        self.say("high water".into(), &restored.high_water_wall_ms);
        self.say("next run".into(), &restored.next_run);
        self.say("log".into(), &(store.epoch(), store.log()));
        self.say("holdings".into(), &store.holdings());
        self.say("peer".into(), &store.peer());
        for mark in &restored.marks {
            self.say(format!("mark {} {}", mark.workflow, mark.trigger), mark);
        }
        for (request, outcome) in &restored.wishes {
            self.say(format!("wish {request}"), outcome);
        }
        for seen in &restored.seen {
            self.say(format!("seen {:?}", seen.key), seen);
        }
        for hold in &restored.holds {
            self.say(format!("hold {} {}", hold.trigger, hold.source), hold);
        }
        for file in &restored.files {
            self.say(format!("file {} {}", file.trigger, file.file), file);
        }
        for waiting in &restored.publications {
            self.say(format!("waiting {}", waiting.seq), waiting);
            let publication = store.publication(waiting.seq);
            self.note(format!("publication {}", waiting.seq), publication);
        }
        for run in &restored.runs {
            // Without its snapshot a run goes on by all of its facts.
            match &run.snapshot {
                Some(_) => self.say(format!("run {} by its snapshot", run.run), run),
                None => self.say(format!("facts {}", run.run), &run.facts),
            }
            let text = store.definition(&run.definition);
            self.note(format!("definition {}", run.definition.0), text);
        }
        match store.desired() {
            Ok((desired, pending)) => {
                self.note("desired".into(), Ok(desired));
                self.note("pending".into(), Ok(pending));
            }
            Err(e) => self.noticed.push(format!("desired: {e}")),
        }
        self.note("unusable".into(), store.unusable().map(Some));
        for digest in &store.pinned().blobs {
            let blob = store.blobs().read(*digest);
            self.note(format!("blob {digest}"), blob);
        }
    }

    fn read_lane(&mut self, store: &Store, lane: Lane) {
        let mut first = 1;
        loop {
            let records = match store.load(lane, first, u64::MAX, 1 << 20) {
                Ok(records) => records,
                Err(e) => return self.noticed.push(format!("lane {}: {e}", lane.name())),
            };
            let Some(last) = records.last() else { return };
            first = last.seq + 1;
            for record in records {
                let name = format!("record {} {}", lane.name(), record.seq);
                let marker = wire::unpack::<Dropped>(Kind::Dropped, &record.body, 1_000);
                match marker.ok().filter(|marker| marker.reason == "damaged") {
                    Some(_) => self.noticed.push(name),
                    None => self.say(name, &record),
                }
            }
        }
    }
}

impl Store {
    fn settled_run(&self, number: u64) -> Option<RunId> {
        let read = self.db.begin_read().ok()?;
        let table = read.open_table(space::SETTLED.definition()).ok()?;
        let row = space::SETTLED.fetch(&table, &number.to_be_bytes()).ok()??;
        super::super::rows::unpack_settled(&row).ok().map(|row| row.run)
    }
}
