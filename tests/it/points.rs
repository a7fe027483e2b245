//! A death at every kill point, and no name of one in what devices and servers get.

use openclaw_points::Point;
use openclaw_tests::points;

/// What every test run plays; `make chaos` has more seeds.
const SEED: u64 = 20_261_201;

#[test]
fn a_death_at_every_point_loses_nothing_and_doubles_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let outcome = crate::on_a_runtime(points::deaths(dir.path(), SEED, 1, Point::ALL));
    let outcome = outcome.unwrap_or_else(|failure| {
        let kept = dir.keep();
        panic!("{failure:?}; everything is kept in {}", kept.display())
    });
    assert_eq!(outcome.fault(), None);
    assert_eq!(outcome.deaths, Point::ALL.len() as u64, "each point once");
}
