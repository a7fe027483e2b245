//! Two real sessions against each other over a bad wire, in virtual time.
//!
//! `store.rs` is a side's database and the shell around its session, `pair.rs` the two of them, the
//! wire and the clock. The other files are the tests.

mod bad_wire;
mod clean_wire;
mod frames;
mod pacing;
mod pair;
mod restore;
mod store;
