//! A death at every kill point, and no name of one in what devices and servers get.

use std::path::Path;
use std::time::Duration;

use openclaw::dev::find_program;
use openclaw_points::{Point, VARIABLE};
use openclaw_tests::points;

/// The release binary has none of it: neither a name of a point nor that of the variable. The debug
/// binary has all of them, so the search sees what it looks for.
#[test]
fn a_release_build_has_no_kill_points() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = || Point::ALL.iter().map(|point| point.name()).chain([VARIABLE]);
    // As text, whatever else is in it: texts are searched fast.
    let read = |path: &Path| {
        let binary = std::fs::read(path).expect("it is built: `make release`");
        String::from_utf8_lossy(&binary).into_owned()
    };
    let release = read(&root.join("target/release/openclaw-agent"));
    let debug = read(&find_program("openclaw-agent").expect("it is built"));
    let found: Vec<&str> = names().filter(|name| release.contains(name)).collect();
    assert!(found.is_empty(), "{found:?}");
    let missing: Vec<&str> = names().filter(|name| !debug.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

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
    assert_eq!(outcome.points, Point::ALL.len(), "each point");
    assert!(outcome.deaths >= Point::ALL.len() as u64, "{}", outcome.deaths);
}

#[test]
fn control_without_a_point_on_its_way_a_program_goes_on() {
    crate::in_world(async |world, _| {
        world.add_agent().await.expect("an agent");
        let logs = world.logs();
        let agent = &mut world.agents[0];
        agent.stop().await;
        // A name that there is none of, and a passing that does not come.
        for place in ["store.nowhere:1", "store.open:2"] {
            agent.start_doomed(&logs, place).expect("it starts");
            assert!(agent.await_end(Duration::from_secs(1)).await.is_err(), "{place}: it died");
            agent.stop().await;
        }
    });
}
