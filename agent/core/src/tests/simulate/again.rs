//! The journals of a life, played once more at the desk.

use openclaw_protocol::zone::TZDB;

use super::life::Life;
use crate::Fact;
use crate::replay::{RECORDING, Recording};

impl Life {
    /// Every run is told from its journal as it was told in the life; the digests of what is told
    /// go into the figures.
    pub(super) fn replay(&mut self) -> Result<(), String> {
        let told = self.world.events();
        for (run, facts) in self.world.disk.runs.values() {
            let Some(Fact::Accepted { definition, .. }) = facts.first().map(|first| &first.fact)
            else {
                return Err(format!("{run}: its journal does not begin with its acceptance"));
            };
            let found = self.world.workflows.iter().find(|one| one.hash == *definition);
            let recording = Recording {
                recording: RECORDING,
                agent: String::new(),
                tzdb: TZDB.to_owned(),
                run: run.clone(),
                seed: 1,
                definition: found.unwrap().canonical.clone(),
                migrated: Vec::new(),
                snapshot: None,
                facts: facts.clone(),
                tapes: Vec::new(),
            };
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
}
