//! Pace: spread waits and the byte budget of a backlog. Seeded, so that the same inputs give the
//! same outputs.

use crate::limits::{BACKLOG_BURST_BYTES, BACKLOG_BYTES_PER_S, RESEND_MAX_MS};

/// Spreads the waits of many sessions, so that a fleet does not speak in chorus (splitmix64).
#[derive(Debug, Clone)]
pub(super) struct Pace {
    state: u64,
}

impl Pace {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Makes what follows differ from an earlier session with the same seed.
    pub(super) fn stir(&mut self, salt: u64) {
        self.state ^= salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.draw();
    }

    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number for a hello, never 0 and never `last`.
    pub(super) fn nonce(&mut self, last: u32) -> u32 {
        loop {
            let [a, b, c, d, ..] = self.draw().to_le_bytes();
            let nonce = u32::from_le_bytes([a, b, c, d]);
            if nonce != 0 && nonce != last {
                return nonce;
            }
        }
    }

    /// `ms` less or more a fifth.
    pub(super) fn spread(&mut self, ms: u64) -> u64 {
        let fifth = ms / 5;
        ms - fifth + self.draw() % (2 * fifth + 1)
    }

    /// How long to wait after `tries` tries in vain: doubling up to a minute, spread.
    pub(super) fn backoff(&mut self, first_ms: u64, tries: u32) -> u64 {
        let doubled = first_ms.saturating_mul(1 << tries.min(16));
        self.spread(doubled.min(RESEND_MAX_MS))
    }
}

/// What of a backlog may go out: refilled at a rate, may be overdrawn by one batch.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    bytes: i64,
    at_ms: u64,
}

const BURST: i64 = BACKLOG_BURST_BYTES.cast_signed();

impl Budget {
    pub(super) fn new() -> Self {
        Self { bytes: BURST, at_ms: 0 }
    }

    /// Whether a batch of the backlog may go out now.
    pub(super) fn allows(&mut self, now_ms: u64) -> bool {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        let earned = passed_ms.saturating_mul(BACKLOG_BYTES_PER_S) / 1_000;
        // Fractions of a byte are kept by not moving the time until something was earned.
        if earned > 0 {
            self.bytes = self.bytes.saturating_add_unsigned(earned).min(BURST);
            self.at_ms = now_ms;
        }
        self.bytes > 0
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub_unsigned(bytes as u64);
    }

    /// When it allows again; `None` where it does now.
    pub(super) fn opens_at(&self) -> Option<u64> {
        let missing = 1_i64.checked_sub(self.bytes).filter(|m| *m > 0)?.unsigned_abs();
        Some(self.at_ms + (missing * 1_000).div_ceil(BACKLOG_BYTES_PER_S))
    }
}
