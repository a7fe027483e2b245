//! How much room the store has: a look at the disk before every commit, and what follows from it.
//!
//! Beside the database there is a reserve, room that is taken and not used, so that nothing else on
//! the device can take it (see `reserve.rs`). Where the disk runs full, new runs are refused first,
//! and the reserve is given back a step at a time to those under way; with its last step they pause,
//! and what is left is for what makes room again: acknowledgements, and what they let go of. Once the
//! reserve can be made whole again, with a margin, everything goes on.

use std::sync::Arc;

use super::reserve::Volume;
use crate::limits;

/// What the store has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything.
    Ample,
    /// What is under way: the reserve is touched.
    Low,
    /// Acknowledgements and what goes: the reserve is nearly used up.
    Full,
    /// Nothing at all: no commit is to be tried.
    Out,
}

/// The disk below the store, where it is known, and what was last seen of it.
#[derive(Debug)]
pub(super) struct Room {
    volume: Option<Arc<dyn Volume>>,
    level: Level,
}

impl Room {
    /// Not known to be ample before it has been looked at.
    pub(super) fn of(volume: Option<Arc<dyn Volume>>) -> Self {
        Self { level: if volume.is_some() { Level::Low } else { Level::Ample }, volume }
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn volume(&self) -> Option<Arc<dyn Volume>> {
        self.volume.clone()
    }

    /// Looks at the disk, takes or gives back of the reserve, and answers what there is room for.
    pub(super) fn look(&mut self) -> Level {
        let Some(volume) = &self.volume else { return self.level };
        let (free, held) = (volume.free(), volume.held());
        if is_ample(self.level, free, held) {
            return self.level;
        }
        if may_refill(free, held) && volume.hold(limits::RESERVE_BYTES) {
            self.level = Level::Ample;
            return self.level;
        }
        let (level, hold) = short(self.level, free, held);
        if hold < held {
            volume.hold(hold);
        }
        self.level = level;
        level
    }
}

/// Nothing has changed for the worse.
fn is_ample(level: Level, free: u64, held: u64) -> bool {
    level == Level::Ample && held >= limits::RESERVE_BYTES && free >= limits::RESERVE_STEP_BYTES
}

/// Whether the reserve may be made whole: with a margin, so that nothing goes to and fro.
fn may_refill(free: u64, held: u64) -> bool {
    let missing = limits::RESERVE_BYTES.saturating_sub(held);
    free >= missing.saturating_add(limits::ROOM_MARGIN_BYTES)
}

/// There is too little: what it does for, and how much of the reserve stays.
fn short(level: Level, free: u64, held: u64) -> (Level, u64) {
    let gives = free < limits::COMMIT_ROOM_BYTES;
    let left = if gives { held.saturating_sub(limits::RESERVE_STEP_BYTES) } else { held };
    let all = free.saturating_add(held);
    let now = if all < limits::COMMIT_ROOM_BYTES {
        Level::Out
    } else if left == 0 || all < limits::RESERVE_STEP_BYTES {
        Level::Full
    } else {
        Level::Low
    };
    // What has paused goes on once there is ample room, not with every little bit of it.
    (if level >= Level::Full { now.max(Level::Full) } else { now }, left)
}

#[cfg(test)]
mod tests {
    use super::super::reserve::tests::Pretended;
    use super::*;

    const KIB: u64 = 1024;

    /// The level, and how much is held, at so much free beside it, in KiB.
    fn look(room: &mut Room, volume: &Pretended, free: u64) -> (Level, u64) {
        volume.leave(free * KIB);
        (room.look(), volume.held() / KIB)
    }

    fn ample() -> (Room, Arc<Pretended>) {
        let volume = Arc::new(Pretended::new(8 * KIB * KIB));
        let mut room = Room::of(Some(volume.clone()));
        assert_eq!(room.level(), Level::Low, "before it has looked");
        assert_eq!(room.look(), Level::Ample);
        (room, volume)
    }

    #[test]
    fn the_reserve_is_given_back_a_step_at_a_time_and_the_last_step_pauses() {
        let (mut room, volume) = ample();
        assert_eq!(look(&mut room, &volume, 256), (Level::Ample, 1_024));
        assert_eq!(look(&mut room, &volume, 255), (Level::Low, 1_024), "nothing new comes in");
        assert_eq!(look(&mut room, &volume, 64), (Level::Low, 1_024), "it does for a commit");
        assert_eq!(look(&mut room, &volume, 0), (Level::Low, 768));
        assert_eq!(look(&mut room, &volume, 256), (Level::Low, 768), "what was given");
        assert_eq!(look(&mut room, &volume, 10), (Level::Low, 512));
        assert_eq!(look(&mut room, &volume, 0), (Level::Low, 256));
        assert_eq!(look(&mut room, &volume, 0), (Level::Full, 0));
        assert_eq!(look(&mut room, &volume, 64), (Level::Full, 0));
        assert_eq!(look(&mut room, &volume, 63), (Level::Out, 0));
    }

    #[test]
    fn what_has_paused_goes_on_when_the_reserve_is_whole_and_a_margin_is_left() {
        let (mut room, volume) = ample();
        for _ in 0..6 {
            look(&mut room, &volume, 0);
        }
        assert_eq!(room.level(), Level::Out);
        assert_eq!(look(&mut room, &volume, 64), (Level::Full, 0));
        assert_eq!(look(&mut room, &volume, 1_535), (Level::Full, 0));
        assert_eq!(look(&mut room, &volume, 1_536), (Level::Ample, 1_024));
        assert_eq!(volume.free() / KIB, 512);
        // Where only little is missing, only little is waited for.
        look(&mut room, &volume, 200);
        assert_eq!(look(&mut room, &volume, 511), (Level::Low, 1_024));
        assert_eq!(look(&mut room, &volume, 512), (Level::Ample, 1_024));
    }

    #[test]
    fn nothing_goes_to_and_fro_on_what_the_reserve_itself_takes_and_gives() {
        for free in 0..3_000 {
            let (mut room, volume) = ample();
            look(&mut room, &volume, free);
            let mut seen: Vec<Level> = (0..20).map(|_| room.look()).collect();
            let last = seen.pop().unwrap();
            assert_eq!(last, room.level());
            seen.dedup();
            assert!(seen.len() <= 4, "{free} KiB: {seen:?}");
            assert!(seen.is_sorted(), "{free} KiB: {seen:?}");
        }
    }

    #[test]
    fn a_quota_that_nobody_can_see_holds_back_what_the_disk_would_let_go() {
        let (mut room, volume) = ample();
        // A write failed although the disk shows room, and took the reserve with it.
        volume.hold(0);
        volume.refuse(true);
        assert_eq!(look(&mut room, &volume, 4_000), (Level::Full, 0));
        volume.refuse(false);
        assert_eq!(room.look(), Level::Ample);
    }

    #[test]
    fn a_disk_that_is_not_known_is_ample() {
        assert_eq!(Room::of(None).look(), Level::Ample);
    }
}
