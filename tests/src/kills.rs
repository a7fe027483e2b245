//! A storm of kills: agents are killed at random moments while they do what was wished for, and the
//! ledger then says that each wish came to one result, and how often its effect was seen.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openclaw::Failure;
use openclaw::dev::ledger::Line;
use openclaw::dev::world::{Programs, World};

use crate::{Dice, REST_WITHIN};

/// Agents that are killed in turn. One at a time is down.
const AGENTS: usize = 3;
/// How long an agent lives at most between two kills, in milliseconds.
const LIFE_MS: u64 = 1_200;
/// How long it is down at most, in milliseconds.
const DOWN_MS: u64 = 50;

/// One effect outside, of which the witness hears under the step's idempotency key.
const COUNTED: &str = "workflow: counted
version: '1'
mode: parallel
max: 1000
steps:
  - { id: read, plugin: system-metrics@^0.1, retry: { max_retries: 100, delay: 50ms } }
  - id: witness
    plugin: http@^0.1
    with: { method: POST, url: '@WITNESS@', body: { run: '${ execution.id }', agent: '${ agent.id }' } }
    timeout: 5s
    retry: { max_retries: 100, delay: 50ms }
";

/// What the kills left.
#[derive(Debug)]
pub struct Killed {
    /// Agents killed (SIGKILL) and started again.
    pub kills: u64,
    /// Runs that were wished for.
    pub executions: u64,
    /// The judgement, an agent a line.
    pub ledger: Vec<Line>,
    /// From the start of a killed agent to the next effect that was seen of it, where there was one
    /// before it was killed again.
    pub recoveries: Vec<Duration>,
}

impl Killed {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let sum = |of: fn(&Line) -> u64| self.ledger.iter().map(of).sum::<u64>();
        let counts = [
            sum(|line| line.recorded as u64),
            sum(|line| line.witnessed as u64),
            sum(|line| line.received as u64),
        ];
        let is_right = self.ledger.iter().all(Line::is_clean)
            && counts == [self.executions; 3]
            && self.repeated() <= self.kills;
        (!is_right).then(|| format!("{counts:?}, {self:#?}"))
    }

    /// Effects that were seen again.
    #[must_use]
    pub fn repeated(&self) -> u64 {
        self.ledger.iter().map(|line| line.repeated).sum()
    }

    /// The recovery that so many hundredths of all took at most.
    #[must_use]
    pub fn recovery(&self, hundredths: usize) -> Option<Duration> {
        let mut sorted = self.recoveries.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
        sorted.get(place).copied()
    }
}

/// Wishes for so many runs and kills agents so many times meanwhile. An agent makes one call at a
/// time here, so that a kill can cost one effect that is seen again, and no more. They are of the
/// development build, or this program.
///
/// # Errors
/// A part of the world does not do what it should in time.
pub async fn kills(
    dir: &Path,
    seed: u64,
    kills: u64,
    executions: u64,
    agent: Option<PathBuf>,
) -> Result<Killed, Failure> {
    let programs = Programs::find(None)?;
    let programs = match agent {
        Some(agent) => programs.with_agent(agent),
        None => programs,
    };
    let mut world = World::begin(dir, programs).await?;
    let outcome = play(&mut world, seed, kills, executions).await;
    world.end().await;
    outcome
}

async fn play(
    world: &mut World,
    seed: u64,
    kills: u64,
    executions: u64,
) -> Result<Killed, Failure> {
    for _ in 0..AGENTS {
        world.add_agent_with("slots = 1", "backoff_max_ms = 100").await?;
    }
    world.apply(COUNTED).await?;
    world.deploy("counted").await?;
    let devices: Vec<String> = world.agents.iter().map(|agent| agent.id.clone()).collect();
    let desk = world.desk()?;
    let (logs, mut dice) = (world.logs(), Dice::new(seed));
    let mut wished = 0;
    for number in 0..kills {
        let victim = usize::try_from(dice.below(AGENTS as u64)).unwrap_or_default();
        // Of several agents one at a time: each lives several times as long.
        let until = Instant::now() + Duration::from_millis(dice.below(LIFE_MS / AGENTS as u64));
        // As many as keep pace with the kills, so that there is something to do at each.
        while wished * kills < executions * (number + 1) {
            let left = executions * (number + 1) / kills + 1 - wished;
            let device = &devices[usize::try_from(wished).unwrap_or_default() % AGENTS];
            desk.wish("counted", device, &format!("wish-{wished}")).await?;
            wished += 1;
            let pause = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(pause / u32::try_from(left).unwrap_or(u32::MAX)).await;
        }
        world.agents[victim].kill().await;
        world.witness.forget_next(&devices[victim]);
        tokio::time::sleep(Duration::from_millis(dice.below(DOWN_MS))).await;
        world.witness.await_next(&devices[victim]);
        world.agents[victim].start(&logs)?;
    }
    let recoveries = world.witness.waited();
    world.undeploy().await?;
    world.quiesce(REST_WITHIN).await?;
    Ok(Killed { kills, executions: wished, ledger: world.ledger().await?, recoveries })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn killed(change: impl FnOnce(&mut Line)) -> Killed {
        let mut line = Line {
            agent: "a".to_owned(),
            recorded: 10,
            witnessed: 10,
            received: 10,
            missing: 0,
            duplicate: 0,
            unexplained: 0,
            repeated: 2,
            unkeyed: 0,
        };
        change(&mut line);
        let recoveries = (1..=200).rev().map(Duration::from_millis).collect();
        Killed { kills: 2, executions: 10, ledger: vec![line], recoveries }
    }

    #[test]
    fn what_is_wrong_is_found() {
        assert_eq!(killed(|_| {}).fault(), None);
        let wrong: [fn(&mut Line); 6] = [
            |line| line.missing = 1,
            |line| line.duplicate = 1,
            |line| line.unkeyed = 1,
            |line| line.repeated = 3,
            |line| line.received = 9,
            |line| line.recorded = 9,
        ];
        for change in wrong {
            assert!(killed(change).fault().is_some(), "{:?}", killed(change));
        }
    }

    #[test]
    fn hundredths_are_of_all_that_were_seen() {
        let killed = killed(|_| {});
        assert_eq!(killed.recovery(50), Some(Duration::from_millis(100)));
        assert_eq!(killed.recovery(99), Some(Duration::from_millis(198)));
        assert_eq!(killed.recovery(100), Some(Duration::from_millis(200)));
        assert_eq!(Killed { recoveries: Vec::new(), ..killed }.recovery(99), None);
    }
}
