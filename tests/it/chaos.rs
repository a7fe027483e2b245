//! Nothing lost, nothing twice: seeded kills and cuts of agents and control plane, judged by
//! three parties that do not know each other.

use openclaw_tests::storm;

use crate::on_a_runtime;

/// The storm of every test run; `make chaos` has the long one.
const SEED: u64 = 20_261_122;
const BLOWS: u32 = 16;

#[test]
fn kills_and_cuts_lose_nothing_and_double_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let aftermath = on_a_runtime(storm(dir.path(), SEED, BLOWS, false));
    let aftermath = aftermath.unwrap_or_else(|failure| {
        let kept = dir.keep();
        panic!("seed {SEED}: {failure:?}; logs in {}", kept.display())
    });
    for line in &aftermath.ledger {
        assert!(line.is_clean(), "seed {SEED}: {aftermath:?}");
        assert_eq!(line.witnessed, line.recorded, "seed {SEED}: {aftermath:?}");
    }
}

#[test]
fn control_a_lost_database_turns_the_ledger_red() {
    let dir = tempfile::tempdir().expect("a directory");
    let aftermath =
        on_a_runtime(storm(dir.path(), SEED, 1, true)).expect("the world comes to rest");
    let lost: usize = aftermath.ledger.iter().map(|line| line.missing).sum();
    assert!(lost > 0, "the ledger does not see a lost database: {aftermath:?}");
}
