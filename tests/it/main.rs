//! The few tests that need real processes, and the rules of the house.

mod chaos;
mod dev;
mod points;
mod release;
mod secret;
mod talk;
mod templates;
mod tidy;

use std::path::Path;

use openclaw::dev::world::{Programs, World};

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// Plays in a world of its own, which ends with it: a control plane, and agents as they are added.
fn in_world(play: impl AsyncFnOnce(&mut World, &Path)) {
    let dir = tempfile::tempdir().expect("a directory");
    on_a_runtime(async {
        let programs = Programs::find(None).expect("all is built");
        let mut world = World::begin(dir.path(), programs).await.expect("a world");
        play(&mut world, dir.path()).await;
        world.end().await;
    });
}
