//! Random names: of databases, of runs, of logs.
//!
//! A simulation draws from a number instead, on its own thread (feature `testing`).

use getrandom::Error;

/// Fills with random bytes.
///
/// # Errors
/// The system gives none.
pub(crate) fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    #[cfg(feature = "testing")]
    if drawn::fill(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes)
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
