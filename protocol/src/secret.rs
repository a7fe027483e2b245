//! What must not be told: handles that stand for secrets until a plugin is called, the masking of
//! what it answers, and the words in which sealed values travel.
//!
//! Expressions make handles (`{"$secret": name}`, and `{"$join": [text, handle, …]}` for text with
//! secrets in it), and these are what journals, events, results and recordings hold. [`fill`] puts
//! the values in, in memory, just before the call; [`Mask`] takes known values out of whatever
//! comes back. Data cannot ask for a secret: the two keys are refused wherever a value becomes an
//! input by any other way than `secret()`.

mod fill;
mod mask;
mod sealed;
#[cfg(test)]
mod tests;

pub use fill::{Missing, asks, fill, names};
pub use mask::{MASKED, Mask};
pub use sealed::{HeldSecret, INFO, SEALED_BYTES, SealedSecret, SecretState, bound_to};

/// Keys of JSON objects that stand for secrets; no author may write them.
pub const RESERVED_KEYS: [&str; 2] = [crate::expr::SECRET_KEY, crate::expr::JOIN_KEY];
