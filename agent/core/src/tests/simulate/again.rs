//! The journals of a life, played once more at the desk.

use openclaw_protocol::id::RunId;
use openclaw_protocol::zone::TZDB;

use super::life::Life;
use crate::replay::{Beginning, RECORDING, RECORDING_CUT, Recording};
use crate::tests::snapshots::Journal;
use crate::{Fact, FactRecord};

impl Life {
    /// Every run is told from its journal as it was told in the life; the digests of what is told
    /// go into the figures.
    pub(super) fn replay(&mut self) -> Result<(), String> {
        let told = self.world.events();
        for (run, facts) in self.world.disk.runs.values() {
            let recording = self.recording(run, facts)?;
            let replay = recording.replay().map_err(|error| format!("{run}: {error}"))?;
            if let Some(found) = replay.divergence {
                return Err(format!("{run}: its replay differs: {found:?}"));
            }
            let of_run = told.iter().filter(|event| event.run == *run);
            if !of_run.eq(replay.events.iter().map(|(_, event)| event)) {
                return Err(format!("{run}: its replay tells something else"));
            }
            let digest = replay.digest().map_err(|error| error.to_string())?;
            let first = u64::from_str_radix(&digest[..16], 16).unwrap();
            self.figures.stories = self.figures.stories.wrapping_add(first);
            self.figures.replayed += 1;
        }
        Ok(())
    }

    /// The recordings of all runs, each with the place of its workflow.
    pub(super) fn recordings(&self) -> Result<Vec<(usize, Recording)>, String> {
        let runs = self.world.disk.runs.values();
        runs.map(|(run, facts)| {
            let recording = self.recording(run, facts)?;
            let mut all = self.world.workflows.iter();
            let at = all.position(|one| one.canonical == recording.definition).unwrap();
            Ok((at, recording))
        })
        .collect()
    }

    /// The same recording as it is where the device has let go of the first half of its facts.
    pub(super) fn cut(&self, whole: &Recording) -> Recording {
        let journal = Journal::of(&self.world, &whole.run, &whole.facts);
        let (gone, kept) = whole.facts.split_at(whole.facts.len() / 2);
        let mut run = journal.begin();
        for record in &gone[1..] {
            run.apply(record);
        }
        let state = data_encoding::BASE64.encode(&run.snapshot().unwrap());
        let facts = u32::try_from(gone.len()).unwrap();
        Recording {
            recording: RECORDING_CUT,
            snapshot: Some(Beginning { facts, state }),
            facts: gone[..1].iter().chain(kept).cloned().collect(),
            ..whole.clone()
        }
    }

    fn recording(&self, run: &RunId, facts: &[FactRecord]) -> Result<Recording, String> {
        let Some(Fact::Accepted { definition, .. }) = facts.first().map(|first| &first.fact) else {
            return Err(format!("{run}: its journal does not begin with its acceptance"));
        };
        let found = self.world.workflows.iter().find(|one| one.hash == *definition);
        Ok(Recording {
            recording: RECORDING,
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            tzdb: TZDB.to_owned(),
            run: run.clone(),
            seed: 1,
            definition: found.unwrap().canonical.clone(),
            migrated: Vec::new(),
            snapshot: None,
            facts: facts.to_vec(),
            tapes: Vec::new(),
        })
    }
}
