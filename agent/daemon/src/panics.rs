//! What a panic costs. The agent does not unwind: tables and landing pads would be a fifth of it
//! (docs/decisions/0011-the-agent-does-not-unwind.md). Instead, what panics goes no further, and
//! what has to be done about it is done by the hook, on the thread that panicked:
//!
//! - [`guarded`]: where the plugin engine panics, its call fails and its thread is left where it
//!   is. Nothing of ours is locked in there, and every module has an engine of its own.
//! - [`apart`]: a job that may panic anywhere has a thread of its own, which is left alike.
//! - Where the database's engine panics elsewhere, that is noted, so that a file on which it does so
//!   again and again is set aside (`store/doubt.rs`).
//! - Everywhere else the process starts anew from what is durable ([`start_anew`]), under the same
//!   process id, so that it needs no supervisor. So does one that has left too many threads.
//!
//! In builds that unwind it is the same, but for the thread, which unwinds and ends: the hook comes
//! first.

use std::cell::RefCell;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock, mpsc};
use std::time::{Duration, Instant};

use openclaw_sandbox::inside_engine;

use crate::{limits, signals, store};

/// How many starts in a row a panic has ended, for the process that comes after.
const IN_A_ROW: &str = "OPENCLAW_AGENT_PANICS";
/// How often a process that waits to start anew looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Since when this process is up, where it is one that starts anew.
static SERVING: OnceLock<Instant> = OnceLock::new();
/// The agent was told to stop.
static STOPPING: AtomicBool = AtomicBool::new(false);
/// The database of this process.
static DATABASE: OnceLock<PathBuf> = OnceLock::new();
/// Threads that have been left where they were.
static LEFT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static RESCUE: RefCell<Option<Rescue>> = const { RefCell::new(None) };
}

/// What is to be done should this thread panic.
struct Rescue {
    /// Anywhere, and not in the plugin engine alone.
    anywhere: bool,
    after: Box<dyn FnOnce()>,
}

/// From now on a panic that nobody is prepared for starts this process anew.
pub fn start_anew() {
    SERVING.get_or_init(Instant::now);
    install();
}

/// Does `work`. Should the plugin engine panic in it, `after` is done, and this thread shall do
/// nothing any more: where it comes back at all, it is with `None`.
pub(crate) fn guarded<T>(work: impl FnOnce() -> T, after: impl FnOnce() + 'static) -> Option<T> {
    prepared(Rescue { anywhere: false, after: Box::new(after) }, work)
}

/// Does `work` on a thread of its own, and waits for it. `None` where it panicked.
///
/// # Errors
/// The system has no room for a thread.
pub(crate) fn apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<Option<T>> {
    let (done, result) = mpsc::sync_channel(1);
    let panicked = done.clone();
    let after = Box::new(move || drop(panicked.send(None)));
    let whole = move || {
        if let Some(value) = prepared(Rescue { anywhere: true, after }, work) {
            // Who asked waits.
            let _ = done.send(Some(value));
        }
    };
    let thread = std::thread::Builder::new().spawn(whole)?;
    let found = result.recv().ok().flatten();
    if found.is_some() {
        // It has nothing left to do. Once it is gone for certain, the next thread gets its heap.
        let _ = thread.join();
    }
    Ok(found)
}

fn prepared<T>(rescue: Rescue, work: impl FnOnce() -> T) -> Option<T> {
    install();
    RESCUE.set(Some(rescue));
    let value = work();
    // Where it is gone, it was needed, and somebody below has caught the panic.
    RESCUE.take().map(|_| value)
}

/// Once for the process, and before the first panic: a thread that is left keeps the hook for ever.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| panicked(info, &*before)));
    });
}

/// From now on a panic in the database's engine is noted as one about this file.
pub(crate) fn doubt_database(path: &Path) {
    DATABASE.get_or_init(|| path.to_owned());
}

/// Whether the panic came out of the database's engine. The program is built with the paths of its
/// sources.
fn is_of_database(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_some_and(|at| at.file().contains("redb"))
}

fn panicked(info: &PanicHookInfo<'_>, before: &dyn Fn(&PanicHookInfo<'_>)) {
    before(info);
    let applies = |rescue: &mut Rescue| rescue.anywhere || inside_engine();
    let rescue = RESCUE.with_borrow_mut(|rescue| rescue.take_if(applies));
    if rescue.is_none()
        && is_of_database(info)
        && let (Some(path), Some(since)) = (DATABASE.get(), SERVING.get())
    {
        store::doubt(path, since.elapsed());
    }
    let is_too_many =
        rescue.is_some() && LEFT.fetch_add(1, Ordering::Relaxed) >= limits::THREADS_LEFT;
    if let Some(since) = SERVING.get().filter(|_| rescue.is_none() || is_too_many) {
        exec(since.elapsed());
    }
    if let Some(rescue) = rescue {
        tracing::error!("a thread is left where it panicked");
        (rescue.after)();
        while cfg!(panic = "abort") {
            std::thread::park();
        }
    }
}

/// The agent was told to stop, so nothing starts anew any more.
pub(crate) fn stopping() {
    STOPPING.store(true, Ordering::Relaxed);
}

/// Puts a fresh process in the place of this one. Files are closed by the kernel, as in a crash.
fn exec(up: Duration) -> ! {
    let before = std::env::var(IN_A_ROW).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let (in_a_row, wait) = next_start(before, up);
    tracing::error!(wait_ms = wait.as_millis(), "starting anew from what is durable");
    // Where it is the thread of the tasks that panicked, nobody else hears a signal until then.
    signals::heed_apart(stopping);
    let until = Instant::now() + wait;
    while Instant::now() < until {
        if STOPPING.load(Ordering::Relaxed) {
            std::process::exit(0);
        }
        std::thread::sleep(LOOK);
    }
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_else(|| OsString::from("openclaw-agent"));
    // The file of this very program, even where another has been put in its place.
    let mut program = Command::new("/proc/self/exe");
    let failed = program.arg0(name).args(args).env(IN_A_ROW, in_a_row.to_string()).exec();
    tracing::error!(error = %failed, "cannot start anew");
    std::process::abort()
}

/// How many starts in a row that makes, and how long to wait before the next.
fn next_start(before: u32, up: Duration) -> (u32, Duration) {
    let in_a_row = if up > limits::RESTART_MAX { 0 } else { before };
    let wait = limits::RESTART_MIN.saturating_mul(1_u32.checked_shl(in_a_row).unwrap_or(u32::MAX));
    (in_a_row.saturating_add(1), wait.min(limits::RESTART_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_panics_apart_is_known_and_costs_a_thread() {
        assert_eq!(apart(|| 7).unwrap(), Some(7));
        let left = LEFT.load(Ordering::Relaxed);
        assert_eq!(apart(|| -> u8 { panic!("on purpose") }).unwrap(), None);
        assert_eq!(LEFT.load(Ordering::Relaxed), left + 1);
        assert_eq!(apart(|| 8).unwrap(), Some(8), "and the next is done all the same");
    }

    #[test]
    fn a_panic_outside_the_engine_is_not_taken_for_one_of_the_engine() {
        let (told, heard) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            guarded(|| panic!("on purpose"), move || told.send(()).unwrap())
        });
        assert!(thread.join().is_err(), "it goes on as any panic");
        assert!(heard.recv().is_err(), "nothing was done about it");
    }

    #[test]
    fn waits_grow_while_starts_do_not_last_and_no_further() {
        let short = Duration::from_secs(1);
        assert_eq!(next_start(0, short), (1, limits::RESTART_MIN));
        assert_eq!(next_start(1, short), (2, limits::RESTART_MIN * 2));
        assert_eq!(next_start(40, short), (41, limits::RESTART_MAX));
        assert_eq!(next_start(u32::MAX, short), (u32::MAX, limits::RESTART_MAX));
        assert_eq!(next_start(9, limits::RESTART_MAX * 2), (1, limits::RESTART_MIN));
    }
}
