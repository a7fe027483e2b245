//! `openclaw dev`: a control plane and a few agents on this machine, and the demo.

pub mod ledger;
mod process;
mod story;
pub mod wire;
pub mod witness;
pub mod world;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use process::{Process, find_plugins, find_program, free_port};
pub use story::Summary;

use crate::args::DevArgs;
use crate::exit::{FAILED, Failure, INTERRUPTED};
use world::{Programs, World};

/// Set while `dev` runs: it stops its children in order at Ctrl-C.
static STOPS_ITSELF: AtomicBool = AtomicBool::new(false);

/// Whether Ctrl-C is being handled here.
pub(crate) fn handles_interrupt() -> bool {
    STOPS_ITSELF.load(Ordering::Relaxed)
}

/// Makes the world, plays the demo if asked, and stays up until Ctrl-C.
pub(crate) async fn run(args: DevArgs) -> Result<(), Failure> {
    STOPS_ITSELF.store(true, Ordering::Relaxed);
    if args.demo && args.agents < 2 {
        return Err(Failure::new(2, "the demo needs two agents: one to cut off, one to kill"));
    }
    let place = Place::make(args.dir.as_deref())?;
    let (end, cut) = (CancellationToken::new(), CancellationToken::new());
    heed_signals(end.clone(), cut.clone())?;
    let outcome = tokio::select! {
        outcome = live(&args, place.dir(), &end) => outcome,
        // Children are killed as their handles are dropped.
        () = cut.cancelled() => Err(Failure::interrupted()),
    };
    place.leave(&outcome);
    outcome
}

/// The one listener: the first signal ends the world in order, the second cuts that short.
fn heed_signals(end: CancellationToken, cut: CancellationToken) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        for token in [end, cut] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            token.cancel();
        }
    });
    Ok(())
}

/// Where a world lives.
enum Place {
    /// Made for it, for nobody else to look into.
    Fresh(TempDir),
    /// Named by the user, whose it stays.
    Named(PathBuf),
}

impl Place {
    fn make(named: Option<&Path>) -> Result<Self, Failure> {
        let Some(named) = named else {
            let mut fresh = tempfile::Builder::new();
            fresh.prefix("openclaw-dev-").permissions(Permissions::from_mode(0o700));
            return Ok(Self::Fresh(fresh.tempdir()?));
        };
        let dir = std::path::absolute(named)?;
        if dir.join("control-plane").exists() {
            let text = format!("{} holds an earlier world", dir.display());
            let hint = "name another directory with --dir, or remove that one";
            return Err(Failure::new(FAILED, text).hint(hint));
        }
        Ok(Self::Named(dir))
    }

    fn dir(&self) -> &Path {
        match self {
            Self::Fresh(dir) => dir.path(),
            Self::Named(dir) => dir,
        }
    }

    /// Removes what was made for this world, unless something went wrong in it.
    fn leave(self, outcome: &Result<(), Failure>) {
        let is_wanted = outcome.as_ref().is_err_and(|failure| failure.code != INTERRUPTED);
        if is_wanted {
            eprintln!("logs are in {}", self.dir().join("logs").display());
        }
        let Self::Fresh(dir) = self else { return };
        if is_wanted {
            _ = dir.keep();
        } else if let Err(error) = dir.close() {
            eprintln!("the world's directory was not removed: {error}");
        }
    }
}

async fn live(args: &DevArgs, dir: &Path, end: &CancellationToken) -> Result<(), Failure> {
    let programs = Programs::find(args.plugins.as_deref())?;
    eprintln!("starting a control plane and {} agents in {}", args.agents, dir.display());
    let mut world = tokio::select! {
        begun = World::begin(dir, programs) => begun?,
        () = end.cancelled() => return Err(Failure::interrupted()),
    };
    let outcome = tokio::select! {
        // First whoever waits for the end, for whom it is no interruption.
        biased;
        outcome = inhabit(args, &mut world, end) => outcome,
        () = end.cancelled() => Err(Failure::interrupted()),
    };
    eprintln!("stopping the agents, then the control plane");
    world.end().await;
    outcome
}

async fn inhabit(
    args: &DevArgs,
    world: &mut World,
    end: &CancellationToken,
) -> Result<(), Failure> {
    for _ in 0..args.agents {
        world.add_agent().await?;
    }
    for workflow in ["machine-metrics", "scrape-status", "long-haul"] {
        world.deploy(workflow).await?;
    }
    eprintln!();
    eprintln!("  console   {}", world.url);
    eprintln!("  user      admin");
    eprintln!("  password  {}   (for this world only)", world.password);
    eprintln!();
    if !args.demo {
        stay(end).await;
        return Ok(());
    }
    let summary = story::play(world).await?;
    if args.exit {
        let text = serde_json::to_string_pretty(&summary)
            .map_err(|e| Failure::new(FAILED, e.to_string()))?;
        println!("{text}");
    }
    if !summary.ok {
        return Err(Failure::new(FAILED, "the ledger is not clean"));
    }
    eprintln!();
    eprintln!("nothing is lost and nothing is twice: the demo's story took {} s", summary.seconds);
    if args.exit {
        return Ok(());
    }
    for workflow in ["machine-metrics", "scrape-status", "long-haul"] {
        world.deploy(workflow).await?;
    }
    eprintln!("the console stays up at {} (admin, {})", world.url, world.password);
    stay(end).await;
    Ok(())
}

/// Stays until Ctrl-C.
async fn stay(end: &CancellationToken) {
    eprintln!("Ctrl-C ends it");
    end.cancelled().await;
}
