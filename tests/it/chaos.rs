//! Nothing lost, nothing twice: seeded kills and cuts of agents and control plane, judged by
//! three parties that do not know each other.

use openclaw_tests::kills::kills;
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
fn a_hundred_kills_over_a_thousand_executions_cost_no_result_and_one_effect_each_at_most() {
    let dir = tempfile::tempdir().expect("a directory");
    let killed = on_a_runtime(kills(dir.path(), SEED, 100, 1_000, None));
    let killed = killed.unwrap_or_else(|failure| {
        let kept = dir.keep();
        panic!("seed {SEED}: {failure:?}; everything is kept in {}", kept.display())
    });
    assert_eq!(killed.fault(), None, "seed {SEED}");
    assert_eq!((killed.kills, killed.executions), (100, 1_000));
}

#[test]
fn control_a_lost_database_turns_the_ledger_red() {
    let dir = tempfile::tempdir().expect("a directory");
    let aftermath =
        on_a_runtime(storm(dir.path(), SEED, 1, true)).expect("the world comes to rest");
    let lost: usize = aftermath.ledger.iter().map(|line| line.missing).sum();
    assert!(lost > 0, "the ledger does not see a lost database: {aftermath:?}");
}
