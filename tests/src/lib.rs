//! A storm over a small world: seeded kills and cuts of agents and control plane, then calm, then
//! the ledger. Used by the short run in the tests and the long run of `make chaos`.
#![expect(clippy::print_stderr, reason = "a storm of minutes tells how far it is")]

pub mod kills;
pub mod points;

use std::path::Path;
use std::time::Duration;

use openclaw::Failure;
use openclaw::dev::ledger::Line;
use openclaw::dev::world::{Programs, World};
use tempfile::TempDir;

/// How long the world may take to come to rest after a storm.
const REST_WITHIN: Duration = Duration::from_secs(180);
/// The longest pause between two blows, in milliseconds.
const PAUSE_MS: u64 = 1_200;

/// What befell the world.
#[derive(Debug, Default, Clone, Copy)]
pub struct Blows {
    /// Agents killed (SIGKILL) and started again.
    pub agent_kills: u32,
    /// Links cut and mended.
    pub link_cuts: u32,
    /// Control plane killed (SIGKILL) and started again.
    pub server_kills: u32,
}

/// What a storm left.
#[derive(Debug)]
pub struct Aftermath {
    /// What befell the world.
    pub blows: Blows,
    /// The judgement, an agent a line.
    pub ledger: Vec<Line>,
}

/// SplitMix64 (Steele, Lea, Flood 2014): a seed gives the same storm every time.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound` (which is not 0).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A directory for one attempt at a storm. Fresh for each, so that a seed can be played again
/// beside what its failure left.
///
/// # Errors
/// It cannot be made.
pub fn attempt_dir(seed: u64) -> std::io::Result<TempDir> {
    tempfile::Builder::new().prefix(&format!("openclaw-chaos-{seed}-")).tempdir()
}

/// Makes a world of three agents in `dir`, lets a storm of `count` blows loose on it, waits for
/// calm and judges. With `forget`, the first agent's database is thrown away while its link is
/// cut: the control, which must turn the ledger red.
///
/// # Errors
/// A part of the world does not do what it should in time.
pub async fn storm(dir: &Path, seed: u64, count: u32, forget: bool) -> Result<Aftermath, Failure> {
    let mut world = World::begin(dir, Programs::find(None)?).await?;
    let outcome = weather(&mut world, seed, count, forget).await;
    world.end().await;
    outcome
}

async fn weather(
    world: &mut World,
    seed: u64,
    count: u32,
    forget: bool,
) -> Result<Aftermath, Failure> {
    for _ in 0..3 {
        world.add_agent().await?;
    }
    world.deploy("machine-metrics").await?;
    let mut dice = Dice::new(seed);
    let mut blows = Blows::default();
    for number in 1..=count {
        tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS))).await;
        blow(world, &mut dice, &mut blows).await?;
        if number % 20 == 0 {
            eprintln!("seed {seed}: {number} of {count} blows");
        }
    }
    if forget {
        lose_a_database(world).await?;
    }
    for agent in &world.agents {
        agent.wire.mend();
    }
    world.undeploy().await?;
    world.quiesce(REST_WITHIN).await?;
    Ok(Aftermath { blows, ledger: world.ledger().await? })
}

/// One blow: a cut half the time, a kill of an agent most of the rest, sometimes the server.
async fn blow(world: &mut World, dice: &mut Dice, blows: &mut Blows) -> Result<(), Failure> {
    let logs = world.logs();
    let agents = world.agents.len() as u64;
    let victim = usize::try_from(dice.below(agents)).unwrap_or_default();
    match dice.below(10) {
        0..=4 => {
            let agent = &world.agents[victim];
            agent.wire.cut();
            tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS))).await;
            agent.wire.mend();
            blows.link_cuts += 1;
        }
        5..=8 => {
            let agent = &mut world.agents[victim];
            agent.kill().await;
            tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS / 4))).await;
            agent.start(&logs)?;
            blows.agent_kills += 1;
        }
        _ => {
            world.stop_server(true).await;
            tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS))).await;
            world.start_server().await?;
            blows.server_kills += 1;
        }
    }
    Ok(())
}

/// The control's fault: results that the witness heard of vanish before they are home.
async fn lose_a_database(world: &mut World) -> Result<(), Failure> {
    let logs = world.logs();
    world.agents[0].wire.cut();
    // Long enough for runs to settle on the device, and nowhere else.
    tokio::time::sleep(Duration::from_secs(4)).await;
    world.agents[0].kill().await;
    world.agents[0].forget_database()?;
    world.agents[0].start(&logs)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_can_be_played_again() {
        let kept = attempt_dir(7).expect("a directory").keep();
        std::fs::write(kept.join("control-plane"), "what a failure left").expect("it is ours");
        let again = attempt_dir(7).expect("a second directory");
        assert_eq!(std::fs::read_dir(again.path()).expect("it is there").count(), 0);
        std::fs::remove_dir_all(kept).expect("it is ours");
        let (a, b) = (Dice::new(7), Dice::new(7));
        let rolls = |mut dice: Dice| (0..50).map(|_| dice.below(1_000)).collect::<Vec<_>>();
        assert_eq!(rolls(a), rolls(b), "the same seed, the same storm");
    }
}
