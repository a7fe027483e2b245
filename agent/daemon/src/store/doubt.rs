//! How far the database's file is to be trusted, noted beside it from one life to the next.
//!
//! What is found damaged when the file is opened is healed at once (`file.rs`). This is about damage
//! that ends the process while it opens the file, or comes again and again although all the
//! checksums are right: then the file is set aside unread. Without trouble there is no note.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::limits;

/// What stands for no boot in the note.
const NO_BOOT: &str = "-";

/// Trouble in a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Starts of one boot that came to no end while they opened the file. Where the machine has died
    /// as well, it was the power, not the file.
    pub(super) opening: u32,
    /// Lives that ended because something was found damaged, or by a panic of the engine.
    pub(super) failed: u32,
    /// Starts that ended because the disk could not read it.
    pub(super) unread: u32,
    /// The boot that `opening` is of.
    boot: String,
}

impl Doubt {
    /// What is noted of this database. A note that says nothing is none.
    pub(super) fn of(database: &Path) -> Self {
        let text = std::fs::read_to_string(note_of(database)).unwrap_or_default();
        let mut words = text.split_whitespace();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (opening, failed) = (number(), number());
        let boot = words.next().filter(|boot| *boot != NO_BOOT).unwrap_or_default().to_owned();
        let unread = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Self { opening, failed, unread, boot }
    }

    /// What a start came to: another one that the disk could not read, or none of these in a row.
    pub(super) fn read(self, could: bool) -> Self {
        Self { unread: if could { 0 } else { self.unread.saturating_add(1) }, ..self }
    }

    /// Whether the disk has had its time to be there again.
    pub(super) fn is_unreadable(&self) -> bool {
        self.unread >= limits::UNREAD_STARTS
    }

    /// Another start of this boot opens the file.
    pub(super) fn opens(self, boot: &str) -> Self {
        // A word, since that is how it is noted.
        let boot: String = boot.split_whitespace().collect();
        let before = if boot == self.boot { self.opening } else { 0 };
        Self { opening: before + 1, boot, ..self }
    }

    /// The start came to an end.
    pub(super) fn opened(self) -> Self {
        Self { opening: 0, boot: String::new(), ..self }
    }

    /// Whether the file is to be set aside unread by a start that [opens](Self::opens) it.
    pub(super) fn is_too_much(&self) -> bool {
        self.opening > limits::OPENINGS || self.failed >= limits::FAILED_LIVES
    }

    /// Notes it. Where that cannot be, a start more is needed until the file is set aside.
    pub(super) fn note(&self, database: &Path) {
        let note = note_of(database);
        let noted = if *self != Self::default() {
            let boot = if self.boot.is_empty() { NO_BOOT } else { self.boot.as_str() };
            let (opening, failed, unread) = (self.opening, self.failed, self.unread);
            std::fs::write(note, format!("{opening} {failed} {boot} {unread}\n"))
        } else {
            std::fs::remove_file(note)
                .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "cannot note how far the database is to be trusted");
        }
    }
}

fn note_of(database: &Path) -> PathBuf {
    database.with_extension("redb-doubt")
}

/// A life ended after `up` because the database was found damaged, or its engine panicked.
pub fn doubt(database: &Path, up: Duration) {
    let doubt = Doubt::of(database);
    // What has gone well for long is no trouble in a row.
    let before = if up > limits::RESTART_MAX { 0 } else { doubt.failed };
    Doubt { failed: before.saturating_add(1), ..doubt }.note(database);
}

/// A life went well, to its clean end.
pub fn trust(database: &Path) {
    Doubt::default().note(database);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_in_a_row_counts_and_is_forgotten_after_what_went_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let failed = || Doubt::of(&path).failed;
        assert_eq!(Doubt::of(&path), Doubt::default());
        for n in 1..=limits::FAILED_LIVES {
            assert!(!Doubt::of(&path).is_too_much());
            doubt(&path, Duration::from_secs(1));
            assert_eq!(failed(), n);
        }
        assert!(Doubt::of(&path).is_too_much());
        doubt(&path, limits::RESTART_MAX * 2);
        assert_eq!(failed(), 1, "the life before went well for long");
        trust(&path);
        trust(&path);
        assert_eq!(
            (Doubt::of(&path), std::fs::read_dir(dir.path()).unwrap().count()),
            (Doubt::default(), 0)
        );
        std::fs::write(note_of(&path), "x").unwrap();
        assert_eq!(Doubt::of(&path), Doubt::default(), "a note that says nothing is none");
    }

    /// As a process that dies while it opens the file leaves the note.
    #[test]
    fn a_file_that_nobody_lives_to_open_is_set_aside_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.redb");
        let open = |epoch: u64| {
            super::super::open_or_quarantine(super::super::Opening {
                path: &path,
                cache_bytes: limits::CACHE_BYTES,
                retention: super::super::Retention::default(),
                fresh_epoch: openclaw_protocol::id::Epoch(epoch),
                boot_id: "boot",
            })
            .map(|opened| (opened.store.epoch().0, opened.aside))
            .unwrap()
        };
        assert_eq!(open(1), (1, None));
        let died = |times: u32, boot: &dyn Fn(u32) -> String| {
            (0..times).for_each(|n| Doubt::of(&path).opens(&boot(n)).note(&path));
        };
        died(limits::OPENINGS - 1, &|_| "boot".to_owned());
        assert_eq!(open(2), (1, None), "a start that comes to an end takes the note back");
        assert_eq!(Doubt::of(&path), Doubt::default());
        died(limits::OPENINGS * 2, &|n| format!("boot-{n}"));
        assert_eq!(open(2), (1, None), "power that comes and goes says nothing about the file");
        died(limits::OPENINGS, &|_| "boot".to_owned());
        let (epoch, aside) = open(3);
        assert!(epoch == 3 && aside.is_some_and(|aside| aside.exists()), "a new one is begun");
        assert_eq!((open(4), Doubt::of(&path)), ((3, None), Doubt::default()));
        for _ in 0..limits::FAILED_LIVES {
            doubt(&path, Duration::ZERO);
        }
        assert_eq!(open(5).0, 5, "nor is one that ends one life after the other");
    }
}
