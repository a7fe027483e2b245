//! How long an answer may take, by the thread's own processor time, so that a busy machine is
//! nobody's fault.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Does something, and fails where it took longer than that. Bounds are for the instrumented build,
/// which is several times slower than what devices run.
pub(crate) fn within<T>(most: Duration, what: &str, act: impl FnOnce() -> T) -> T {
    let before = spent();
    let done = act();
    let took = spent().saturating_sub(before);
    assert!(took <= most, "{what} took {took:?}, the most is {most:?}");
    done
}

fn spent() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}
