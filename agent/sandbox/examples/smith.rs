//! Very many modules that nobody wrote, valid and altered, on all processors. That it ends, and well, is
//! its result: a module that takes the process with it, or that is not done in a second, fails it.
//!
//! `smith COUNT SEED` plays COUNT valid modules and as many altered ones. `make chaos` has a million.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::time::{Duration, Instant};

use openclaw_sandbox::STACK_BYTES;

#[path = "../tests/hostile/smith.rs"]
mod made;
#[path = "../tests/hostile/offered.rs"]
mod offered;

/// How long one module may take, loaded and all its actions called.
const LONGEST: Duration = Duration::from_secs(1);
/// What the process may hold at most, in KiB.
const RSS_KIB: u64 = 256 * 1024;

/// What one thread has seen.
#[derive(Default)]
struct Seen {
    valid: made::Tally,
    altered: made::Tally,
    longest: Duration,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<u64> = std::env::args().skip(1).map(|n| n.parse()).collect::<Result<_, _>>()?;
    let [count, seed] = args.as_slice() else { return Err("usage: smith COUNT SEED".into()) };
    // A panic of the interpreter is caught and counted; its text, very many times over, says nothing.
    std::panic::set_hook(Box::new(|_| ()));
    let threads = std::thread::available_parallelism()?.get() as u64;
    let begun = Instant::now();
    let work = |thread: u64| {
        let (share, seed) = (count.div_ceil(threads), seed.wrapping_add(thread << 40));
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || play(share, seed))
    };
    let workers: Vec<_> = (0..threads).map(work).collect::<Result<_, _>>()?;
    let mut all = Seen::default();
    for worker in workers {
        let seen = worker.join().map_err(|_| "a panic came through")?;
        all.valid.add(&seen.valid);
        all.altered.add(&seen.altered);
        all.longest = all.longest.max(seen.longest);
    }
    let (rss, took) = (peak_rss_kib()?, begun.elapsed().as_secs());
    println!("valid: {:?}", all.valid);
    println!("altered: {:?}", all.altered);
    println!("longest module {:?}, peak RSS {rss} KiB, {took} s", all.longest);
    if all.longest > LONGEST || rss > RSS_KIB {
        return Err("over a bound".into());
    }
    Ok(())
}

fn play(count: u64, seed: u64) -> Seen {
    let mut smith = made::Smith::new(seed, &offered::imports_of_all());
    let mut seen = Seen::default();
    for number in 1..=count {
        let module = smith.valid();
        let altered = smith.altered(&module);
        let took = made::play(&module, &mut seen.valid);
        seen.longest = seen.longest.max(took).max(made::play(&altered, &mut seen.altered));
        if number % 20_000 == 0 {
            let (valid, altered) = (&seen.valid.ends, &seen.altered.ends);
            println!("{number} of {count}, longest {:?}: {valid:?}, {altered:?}", seen.longest);
        }
    }
    seen
}

fn peak_rss_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    Ok(line.split_whitespace().nth(1).ok_or("no peak")?.parse()?)
}
