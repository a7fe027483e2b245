//! Room on the device's disk, as far as it bears on what is decided: while there is little, nothing
//! new comes in, and what is under way goes on; while there is none, that pauses as well.
//!
//! Nothing of this is a fact. A run that paused has a journal like any other, and a replay knows
//! nothing of the pause but the time that passed.

use openclaw_protocol::report::Refusal;

use crate::admission::Refused;
use crate::engine::Engine;

/// How much room there is for what the engine decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// For everything.
    #[default]
    Ample,
    /// For what is under way: no run comes in, but those that runs under way call.
    Low,
    /// For ends alone: results of calls and cancellations are taken, and nothing else begins, fires
    /// or goes on.
    Full,
}

/// The code of everything that is refused, or waits, for want of room.
pub const STORAGE_FULL: &str = "storage_full";

impl Engine {
    /// Says how much room there is. What waited for it goes on with the next input; give it
    /// [`crate::Input::Tick`].
    pub fn set_storage(&mut self, storage: Storage) {
        self.storage = storage;
    }

    /// Whether a run may come in. One that is called belongs to a run that is under way, and that is
    /// to end.
    pub(crate) fn has_storage_for_run(&self, is_called: bool) -> Result<(), Refused> {
        if self.storage == Storage::Ample || is_called {
            return Ok(());
        }
        let message = "the disk of this device is full, so no run is accepted; free some space on \
                       the file system of the agent's data directory and ask again"
            .to_owned();
        Err(Refused { code: STORAGE_FULL, message })
    }

    /// Whether somebody may say something to a run, which would have to be kept.
    pub(crate) fn has_storage_for_words(&self) -> Result<(), Refusal> {
        if self.storage != Storage::Full {
            return Ok(());
        }
        let message = "the disk of this device is full, and its runs have paused; free some space \
                       on the file system of the agent's data directory and say it again"
            .to_owned();
        Err(Refusal { code: STORAGE_FULL.to_owned(), message })
    }
}
