//! Random texts: tokens, secrets, ids. The only user of the system's random source.
//!
//! A simulation draws from a number instead, on its own thread (feature `testing`).

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};

/// `N` random bytes.
///
/// # Panics
/// The system has no random source; nothing can be kept secret then, so nothing may go on.
#[must_use]
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    #[cfg(feature = "testing")]
    if drawn::fill(&mut bytes) {
        return bytes;
    }
    #[expect(clippy::expect_used, reason = "without randomness no secret can be made")]
    getrandom::fill(&mut bytes).expect("the system has a random source");
    bytes
}

/// A random number that is not 0.
#[must_use]
pub(crate) fn number() -> u64 {
    u64::from_le_bytes(bytes()).max(1)
}

/// A secret of 160 bits in lower-case letters and digits, easy to select and to type.
#[must_use]
pub(crate) fn secret() -> String {
    BASE32_NOPAD.encode(&bytes::<20>()).to_ascii_lowercase()
}

/// An id that sorts by the time it was made: `<12 hex digits of milliseconds><16 random>`.
#[must_use]
pub(crate) fn ordered_id(now_ms: i64) -> String {
    format!("{:012x}{}", now_ms.max(0), HEXLOWER.encode(&bytes::<8>()))
}

/// SHA-256 of a secret as 64 hexadecimal digits: what the database keeps of it.
#[must_use]
pub(crate) fn hash(secret: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(secret.as_bytes()))
}

/// Randomness that follows from a number: for simulations.
#[cfg(feature = "testing")]
pub(crate) mod drawn {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// From now on everything random on this thread follows from the seed.
    pub(crate) fn seed(seed: u64) {
        STATE.set(Some(seed));
    }

    /// Whether this thread draws from a seed; the bytes are filled then (splitmix64).
    pub(super) fn fill(bytes: &mut [u8]) -> bool {
        let Some(mut state) = STATE.get() else { return false };
        for chunk in bytes.chunks_mut(8) {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
        STATE.set(Some(state));
        true
    }
}
