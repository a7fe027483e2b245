//! Whether this thread is inside the engine right now: translating a module, or running a guest.
//!
//! A program that does not unwind cannot catch a panic of the engine, but it can leave the thread
//! where it is. It must know that nothing of its own is locked there: in here nothing is.

use std::cell::Cell;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside the engine. While the host is asked for something, it is not.
#[must_use]
pub fn inside_engine() -> bool {
    INSIDE.get()
}

/// Does `work` as the engine's.
pub(crate) fn inside<T>(work: impl FnOnce() -> T) -> T {
    let _before = Before(INSIDE.replace(true));
    work()
}

/// Says again what was true before, also where the work unwinds.
struct Before(bool);

impl Drop for Before {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}
