//! The control of the power-cut harness: the same disk and the same cuts as in the tests of the
//! agent's store, on redb 4.1.0. A commit that grows the file may there leave a header that tells of
//! more than the file has, and a database that never opens again (cberner/redb#1276). A harness that
//! does not see it would see nothing.
#![cfg(test)]

#[path = "../../../agent/daemon/src/store/tests/cuts.rs"]
#[expect(dead_code, reason = "the control needs one kind of cut")]
mod cuts;
#[path = "../../../agent/daemon/src/testing.rs"]
#[expect(dead_code, reason = "the cuts use a part of it")]
mod testing;

use cuts::{Cut, cuts};

#[test]
fn control_redb_4_1_0_is_found_out_within_1000_growth_cuts() {
    // The panics are expected; what they say is in the outcome.
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = cuts(Cut::Growth, 1, 1_000);
    drop(std::panic::take_hook());
    println!("{} of 1,000 cuts failed", outcome.failed.len());
    for (seed, what) in outcome.failed.iter().take(5) {
        println!("seed {seed}: {what}");
    }
    assert!(!outcome.failed.is_empty(), "the harness is blind: {} went well", outcome.well);
}
