//! Soft stop, hard stop: the first signal drains, the second one cuts.

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

async fn either(term: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
