//! The register: only the newest desired state counts, so it is announced until it is in force.

use crate::limits::{RESEND_MAX_MS, RESEND_MS};

use super::Announcement;
use super::pace::Pace;

/// Both halves: what we announce (a control plane), and what is announced to us (a device).
#[derive(Debug, Clone, Default)]
pub(super) struct Register {
    newest: Option<Announcement>,
    /// What the peer has in force under our log.
    peer_revision: u64,
    announce_ms: u64,
    tries: u32,
    in_force: u64,
    /// What the shell was last told of, and when.
    offered: Option<(Announcement, u64)>,
}

/// What an announcement is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offer {
    /// Newer: tell the shell.
    Newer,
    /// The shell has been told.
    Known,
    /// Not newer than what is in force: tell the peer what is.
    Old,
}

impl Register {
    pub(super) fn new(in_force: u64) -> Self {
        Self { in_force, ..Self::default() }
    }

    pub(super) fn in_force(&self) -> u64 {
        self.in_force
    }

    pub(super) fn set_in_force(&mut self, revision: u64) {
        self.in_force = revision;
        self.offered = self.offered.filter(|(offer, _)| offer.revision > revision);
    }

    pub(super) fn set_newest(&mut self, announcement: Announcement) {
        if self.newest.is_none_or(|newest| newest.revision <= announcement.revision) {
            self.newest = Some(announcement);
            self.announce_ms = 0;
            self.tries = 0;
        }
    }

    /// The own log starts anew: its revisions mean nothing to the peer.
    pub(super) fn restart(&mut self) {
        self.newest = None;
        self.peer_revision = 0;
    }

    /// The connection is new: everything is said again.
    pub(super) fn forget(&mut self) {
        self.announce_ms = 0;
        self.tries = 0;
        self.offered = None;
    }

    pub(super) fn peer_has(&mut self, revision: u64) {
        self.peer_revision = revision;
    }

    /// The peer fetches what was announced: it need not be told again soon.
    pub(super) fn peer_fetches(&mut self, now_ms: u64) {
        self.announce_ms = self.announce_ms.max(now_ms.saturating_add(RESEND_MAX_MS));
    }

    pub(super) fn announced(&self) -> Option<&Announcement> {
        self.newest.as_ref().filter(|newest| newest.revision > self.peer_revision)
    }

    /// What to announce now.
    pub(super) fn announce(&mut self, now_ms: u64, pace: &mut Pace) -> Option<Announcement> {
        let announcement = *self.announced().filter(|_| self.announce_ms <= now_ms)?;
        self.announce_ms = now_ms.saturating_add(pace.backoff(RESEND_MS, self.tries));
        self.tries = self.tries.saturating_add(1);
        Some(announcement)
    }

    pub(super) fn announce_at(&self) -> Option<u64> {
        self.announced().map(|_| self.announce_ms)
    }

    /// The peer announces.
    pub(super) fn offer(&mut self, announcement: Announcement, now_ms: u64) -> Offer {
        if announcement.revision <= self.in_force {
            return Offer::Old;
        }
        if let Some((known, told_ms)) = self.offered {
            let lately = now_ms < told_ms.saturating_add(RESEND_MAX_MS);
            let same = announcement == known && lately;
            if same || announcement.revision < known.revision {
                return Offer::Known;
            }
        }
        self.offered = Some((announcement, now_ms));
        Offer::Newer
    }
}
