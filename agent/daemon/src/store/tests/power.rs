//! Thousands of power cuts in the database below the store. The same cuts find the fault of redb
//! 4.1.0 (`tests/redb-control`); the cuts of a whole run are in the brain's tests.

use super::cuts::{Cut, cuts};

fn none_fails(kind: Cut, first: u64, count: u64) {
    let outcome = cuts(kind, first, count);
    println!("{kind:?}: seeds {first}.. : {} of {count} cuts went well", outcome.well);
    assert!(outcome.failed.is_empty(), "{kind:?}: {:?}", outcome.failed);
    assert_eq!(outcome.well, count);
}

#[test]
fn two_thousand_cuts_while_the_file_grows_lose_nothing() {
    none_fails(Cut::Growth, 1, 2_000);
}

#[test]
fn a_thousand_cuts_lose_nothing() {
    none_fails(Cut::Single, 1, 1_000);
}

#[test]
fn a_thousand_cuts_and_one_more_while_it_recovers_lose_nothing() {
    none_fails(Cut::Double, 1, 1_000);
}

#[test]
fn control_on_a_lying_disk_the_cuts_lose_something() {
    let outcome = cuts(Cut::Lying, 1, 50);
    assert!(outcome.failed.len() > 10, "the harness is blind: {} went well", outcome.well);
}

#[test]
#[ignore = "the long size: 10,000 of each kind; `make chaos` runs it"]
fn long_thirty_thousand_cuts_lose_nothing() {
    for kind in [Cut::Growth, Cut::Single, Cut::Double] {
        none_fails(kind, 100_000, 10_000);
    }
}
