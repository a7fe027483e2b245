//! `openclaw dev`: a control plane and a few agents on this machine, and the demo.

pub mod ledger;
mod process;
mod story;
pub mod wire;
pub mod witness;
pub mod world;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

pub use process::{Process, find_plugins, find_program, free_port};
pub use story::Summary;

use crate::args::DevArgs;
use crate::exit::{FAILED, Failure};
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
    let (dir, fresh) = match &args.dir {
        Some(dir) => (std::path::absolute(dir)?, false),
        None => (std::env::temp_dir().join(format!("openclaw-dev-{}", std::process::id())), true),
    };
    if dir.join("control-plane").exists() {
        return Err(Failure::new(FAILED, format!("{} holds an earlier world", dir.display()))
            .hint("name another directory with --dir, or remove that one"));
    }
    let outcome = tokio::select! {
        outcome = live(&args, dir.clone()) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    };
    if fresh && outcome.is_ok() {
        std::fs::remove_dir_all(&dir)?;
    } else if outcome.is_err() {
        eprintln!("logs are in {}", dir.join("logs").display());
    }
    outcome
}

async fn live(args: &DevArgs, dir: PathBuf) -> Result<(), Failure> {
    let programs = Programs::find(args.plugins.as_deref())?;
    eprintln!("starting a control plane and {} agents in {}", args.agents, dir.display());
    let mut world = World::begin(&dir, programs).await?;
    let outcome = inhabit(args, &mut world).await;
    world.end().await;
    outcome
}

async fn inhabit(args: &DevArgs, world: &mut World) -> Result<(), Failure> {
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
        return stay().await;
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
    stay().await
}

/// Stays until Ctrl-C.
async fn stay() -> Result<(), Failure> {
    eprintln!("Ctrl-C ends it");
    tokio::signal::ctrl_c().await.map_err(Failure::from)
}
