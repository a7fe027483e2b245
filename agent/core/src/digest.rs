//! The rolling digest of what a run has told: two folds of one journal that tell the same are the
//! same fold.

/// Chained over events: each sum takes in the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest(pub(crate) u64);

impl Digest {
    /// Takes in a packed event.
    pub(crate) fn add(&mut self, packed: &[u8]) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0.to_le_bytes());
        hasher.update(packed);
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        self.0 = u64::from_le_bytes(first);
    }

    /// The part that is written down. Four bytes tell a difference as well as eight, for it is not
    /// an attacker who makes it.
    pub(crate) fn check(self) -> u32 {
        let bytes = self.0.to_le_bytes();
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}
