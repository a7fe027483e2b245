//! Soft stop, hard stop: the first signal drains, the second one cuts.

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::panics;

/// Resolves at the first SIGTERM or SIGINT. From then on a second one ends the process at once;
/// everything durable is durable, so that is no worse than a power cut.
pub async fn stop() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signal handlers the kernel's own default ends the process.
        return std::future::pending().await;
    };
    either(&mut term, &mut interrupt).await;
    panics::stopping();
    tokio::spawn(async move {
        either(&mut term, &mut interrupt).await;
        std::process::exit(130);
    });
}

/// Hears the first signal on a thread of its own, where the one that [`stop`] is polled on does nothing
/// any more.
pub(crate) fn heed_apart(then: impl FnOnce() + Send + 'static) {
    let heed = || {
        let Ok(runtime) = Builder::new_current_thread().enable_io().build() else { return };
        let heard = runtime.block_on(async {
            let mut term = signal(SignalKind::terminate()).ok()?;
            let mut interrupt = signal(SignalKind::interrupt()).ok()?;
            either(&mut term, &mut interrupt).await;
            Some(())
        });
        if heard.is_some() {
            then();
        }
    };
    // Where there is no room for a thread, a signal is heard later.
    drop(std::thread::Builder::new().spawn(heed));
}

async fn either(term: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn a_signal_is_heard_though_the_thread_that_waits_for_it_does_nothing_any_more() {
        let (stuck, is_stuck) = mpsc::channel();
        let (told, heard) = mpsc::channel();
        let told_apart = told.clone();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut stop = Box::pin(stop());
                let wait = std::future::poll_fn(|context| {
                    assert!(stop.as_mut().poll(context).is_pending());
                    std::task::Poll::Ready(())
                });
                wait.await;
                stuck.send(()).unwrap();
                // As one that has panicked and does not unwind.
                loop {
                    std::thread::park();
                }
            });
        });
        is_stuck.recv().unwrap();
        // It is caught by then, so nobody is killed by it; and nobody hears it.
        kill_process(getpid(), Signal::TERM).unwrap();
        assert!(heard.try_recv().is_err());
        heed_apart(move || told_apart.send(()).unwrap());
        heard.recv_timeout(Duration::from_secs(60)).expect("it is heard at once");
    }
}
