//! What is derived from a run's identity: idempotency keys, jitter, the seed of `rand(tag)`.

use openclaw_protocol::id::RunId;

/// Length of an idempotency key, in base32 characters: 130 bits.
const KEY_CHARS: usize = 26;

/// The same for every attempt and every repetition of one step instance, and for no other: the
/// attempt number is left out on purpose.
pub(crate) fn idempotency_key(run: &RunId, path: &str) -> String {
    let digest = digest(b"openclaw idempotency key 1", 0, run, path);
    let mut text = data_encoding::BASE32_NOPAD.encode(&digest).to_ascii_lowercase();
    text.truncate(KEY_CHARS);
    text
}

/// What `uuid(tag)` and `rand(tag)` of a step instance derive from.
pub(crate) fn expression_seed(seed: u64, run: &RunId, path: &str) -> [u8; 32] {
    digest(b"openclaw expression seed 1", seed, run, path)
}

/// A uniform number in `0..=bound` for the n-th retry of a step instance. Derived, so there is
/// nothing to record and the desk gets the same.
pub(crate) fn jitter(seed: u64, run: &RunId, path: &str, n: u32, bound: u64) -> u64 {
    let digest = digest(b"openclaw retry jitter 1", seed, run, path);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    let random = splitmix64(u64::from_le_bytes(first).wrapping_add(u64::from(n)));
    // The high half of the product maps the 64 random bits onto the range without a bias that
    // matters at the scale of milliseconds.
    let scaled = (u128::from(random) * (u128::from(bound) + 1)) >> 64;
    u64::try_from(scaled).unwrap_or(bound)
}

/// SplitMix64 (Steele, Lea, Flood 2014): one step of the generator from a state.
pub(crate) fn splitmix64(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn digest(purpose: &[u8], seed: u64, run: &RunId, path: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in [purpose, &seed.to_le_bytes(), run.as_str().as_bytes(), path.as_bytes()] {
        // Each part with its length, so that no two lists of parts read the same.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use openclaw_protocol::id::Epoch;

    use super::*;

    #[test]
    fn keys_differ_by_run_and_path_only() {
        let run = RunId::of(Epoch(7 << 16), 1);
        let key = idempotency_key(&run, "a/b#1/c");
        assert_eq!(key.len(), KEY_CHARS);
        assert_eq!(key, idempotency_key(&run, "a/b#1/c"));
        assert_ne!(key, idempotency_key(&run, "a/b#2/c"));
        assert_ne!(key, idempotency_key(&RunId::of(Epoch(7 << 16), 2), "a/b#1/c"));
    }

    #[test]
    fn splitmix_is_the_published_one() {
        // The first outputs for state 1234567, as in the reference implementation.
        assert_eq!(splitmix64(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(
            splitmix64(1_234_567_u64.wrapping_add(0x9e37_79b9_7f4a_7c15)),
            3_203_168_211_198_807_973
        );
    }

    #[test]
    fn jitter_fills_its_range() {
        let run = RunId::of(Epoch(1 << 16), 1);
        let drawn: Vec<u64> = (1..=200).map(|n| jitter(5, &run, "s", n, 9)).collect();
        for value in 0..=9 {
            assert!(drawn.contains(&value), "{value} never drawn");
        }
        assert!(drawn.iter().all(|value| *value <= 9));
        assert_eq!(jitter(5, &run, "s", 1, 0), 0);
    }
}
