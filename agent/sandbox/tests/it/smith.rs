//! A slice of the modules that nobody wrote, with a seed: valid and altered. `make chaos` plays a
//! million of each.

use openclaw_sandbox::STACK_BYTES;

use crate::pointers::imports_of_all;

#[path = "../hostile/smith.rs"]
mod made;

/// Modules of each kind that are played here.
const SLICE: u64 = 1_500;

fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap()
}

fn slice(seed: u64, count: u64) -> (made::Tally, made::Tally) {
    on_a_worker(move || {
        let mut smith = made::Smith::new(seed, &imports_of_all());
        let (mut valid, mut altered) = (made::Tally::default(), made::Tally::default());
        for _ in 0..count {
            let module = smith.valid();
            made::play(&module, &mut valid);
            made::play(&smith.altered(&module), &mut altered);
        }
        (valid, altered)
    })
}

#[test]
fn modules_that_nobody_wrote_cost_their_call() {
    let (valid, altered) = slice(1, SLICE);
    // It is worth something only where most of them can be called, and end in more ways than one.
    assert!(valid.taken > SLICE / 2, "{valid:#?}");
    assert!(altered.taken > SLICE / 20 && altered.taken < valid.taken, "{altered:#?}");
    for end in ["plugin.trap", "plugin.fuel", "ok"] {
        assert!(valid.ends.get(end).is_some_and(|n| *n > 10), "{end}: {valid:#?}");
    }
    // They are valid; one in eight asks for what is no part of the language here.
    assert!(valid.ends.get("load: invalid").is_none_or(|n| *n < SLICE / 8), "{valid:#?}");
    let mut all = valid.clone();
    all.add(&altered);
    assert_eq!(all.modules, 2 * SLICE);
}

#[test]
fn the_same_modules_do_the_same_down_to_the_fuel() {
    assert_eq!(slice(2, 150), slice(2, 150));
}
