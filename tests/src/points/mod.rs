//! A death at each kill point (`openclaw-points`): a world in which each program is made to die at
//! each of its points in turn and started again, and which must then have lost nothing and doubled
//! nothing. A point that is not reached fails, as does one that nobody knows a way to.

mod agent;
mod postbox;
mod server;
mod way;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use openclaw::Failure;
use openclaw::dev::ledger::Line;
use openclaw::dev::world::{Agent, Desk, Programs, World};
use openclaw_points::Point;

use crate::Dice;
use postbox::Postbox;
use way::{Way, way};

/// How long a program may take to its point, and the world to come to rest after it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// What an aborted program ends with.
const SIGABRT: i32 = 6;
/// The agent that most things are done with, and the one that keeps nothing.
const MAIN: usize = 0;
const FORGETFUL: usize = 1;
/// What is in force on them.
const DEPLOYED: [&str; 2] = ["pointed", "long"];

/// One run: two calls, of which the second has an effect outside, and what it was told is kept; and a
/// message for the site's broker.
const POINTED: &str = "workflow: pointed
version: '1'
mode: parallel
max: 100
steps:
  - { id: read, plugin: system-metrics@^0.1, retry: { max_retries: 100, delay: 50ms } }
  - id: witness
    plugin: http@^0.1
    trace: effects
    with: { method: POST, url: '@WITNESS@', body: { run: '${ execution.id }' } }
    timeout: 5s
    retry: { max_retries: 100, delay: 50ms }
  - { id: say, publish: { topic: said, qos: 1, payload: { run: '${ execution.id }' } } }
";
/// One that goes on for long enough to be snapshotted.
const LONG: &str = "workflow: long
version: '1'
mode: parallel
max: 100
steps:
  - id: often
    loop: { times: 150 }
    do: [{ id: read, plugin: system-metrics@^0.1, retry: { max_retries: 100, delay: 50ms } }]
  - id: witness
    plugin: http@^0.1
    with: { method: POST, url: '@WITNESS@', body: { run: '${ execution.id }' } }
    timeout: 5s
    retry: { max_retries: 100, delay: 50ms }
  - { id: say, publish: { topic: said, qos: 1, payload: { run: '${ execution.id }' } } }
";
/// One whose module nothing else needs.
const OTHER: &str = "workflow: other
version: '1'
steps:
  - { id: a, plugin: web-scraping@^0.1, with: { url: '@SERVER@', selector: p } }
";

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Programs that died, each at the point it was told to.
    pub deaths: u64,
    /// Different points.
    pub points: usize,
    /// Runs that were wished for, by agent.
    pub wished: Vec<u64>,
    /// Runs of which the site's broker has heard.
    pub said: u64,
    /// The judgement, an agent a line.
    pub ledger: Vec<Line>,
}

impl Outcome {
    /// What is wrong with it, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let wrong = |(line, wished): (&Line, &u64)| {
            let Line { missing, duplicate, unexplained, unkeyed, .. } = line;
            let counts = [line.received as u64, line.witnessed as u64];
            (*missing + *duplicate + *unexplained + *unkeyed > 0)
                || counts != [*wished; 2]
                || line.repeated > self.deaths
        };
        let is_wrong = self.ledger.len() != self.wished.len()
            || self.deaths == 0
            || self.said != self.wished.iter().sum::<u64>()
            || self.ledger.iter().zip(&self.wished).any(wrong);
        is_wrong.then(|| format!("{self:#?}"))
    }
}

/// Lets a program die at each of these points, so many times, one after the other, each time at a
/// passing that the seed chooses.
///
/// # Errors
/// A point is not reached, or the world does not come to rest after it; the text names the point.
pub async fn deaths(
    dir: &Path,
    seed: u64,
    rounds: u64,
    points: &[Point],
) -> Result<Outcome, Failure> {
    let mut trial = Trial::begin(dir, seed).await?;
    let outcome = trial.play(rounds, points).await;
    trial.world.end().await;
    outcome
}

/// The world, and what is expected of it.
struct Trial {
    world: World,
    desk: Desk,
    dir: PathBuf,
    dice: Dice,
    seed: u64,
    /// For names that are used once.
    number: u64,
    /// Runs wished for so far, by agent.
    wished: Vec<u64>,
    /// Results that the control plane counts beyond those, because a log was numbered anew.
    beyond: Vec<u64>,
    /// The broker of the agents' site.
    postbox: Postbox,
    /// An agent that is enrolled again and again.
    wanderer: Agent,
    deaths: u64,
}

impl Trial {
    async fn begin(dir: &Path, seed: u64) -> Result<Self, Failure> {
        let mut world = World::begin(dir, Programs::find(None)?).await?;
        let postbox = Postbox::open().await?;
        let link = format!(
            "backoff_max_ms = 100\n[local_broker]\naddress = \"{}\"\nbackoff_max_ms = 100",
            postbox.address()
        );
        let clock = format!("[clock]\nsynced_file = {:?}", dir.join("synced"));
        world.add_agent_with("slots = 1", &format!("{link}\n{clock}")).await?;
        let forgets = format!("{link}\n[retention]\nhours = 0\njournal_hours = 0");
        world.add_agent_with("slots = 1", &forgets).await?;
        world.add_agent_with("", &link).await?;
        for text in [POINTED, LONG, OTHER] {
            world.apply(text).await?;
        }
        let desk = world.desk()?;
        let mut wanderer = world.agents.pop().ok_or_else(|| wrong("no third agent"))?;
        wanderer.stop().await;
        for agent in &world.agents {
            for workflow in DEPLOYED {
                let key = format!("{workflow}-{}", agent.id);
                let id = desk.deploy(workflow, &agent.id, &key).await?;
                desk.in_force(&id).await?;
            }
        }
        let mut trial = Self {
            wished: vec![0; world.agents.len()],
            beyond: vec![0; world.agents.len()],
            dir: dir.to_owned(),
            dice: Dice::new(seed),
            number: 0,
            deaths: 0,
            world,
            desk,
            seed,
            postbox,
            wanderer,
        };
        for agent in [MAIN, FORGETFUL] {
            trial.wish("pointed", agent).await?;
            trial.settle(agent).await?;
        }
        Ok(trial)
    }

    async fn play(&mut self, rounds: u64, points: &[Point]) -> Result<Outcome, Failure> {
        for round in 1..=rounds {
            for point in points {
                let most = most_passings(way(*point));
                let place = format!("{}:{}", point.name(), 1 + self.dice.below(most));
                self.die(*point, &place).await.map_err(|failure| {
                    let seed = self.seed;
                    wrong(&format!("seed {seed}, round {round}, {place}: {failure:?}"))
                })?;
                self.deaths += 1;
            }
            eprintln!("seed {}: {round} of {rounds} deaths at each point", self.seed);
        }
        let ledger = self.world.ledger().await?;
        let (wished, said) = (self.wished.clone(), self.postbox.said());
        Ok(Outcome { deaths: self.deaths, points: points.len(), wished, said, ledger })
    }

    /// Lets a program die at `place`, starts it again, and waits until everything is as it should be.
    async fn die(&mut self, point: Point, place: &str) -> Result<(), Failure> {
        match way(point) {
            Way::Runs(_) => self.runs(MAIN, "pointed", place).await,
            Way::TrustsItsClock => self.trusts_its_clock(place).await,
            Way::LongRun => self.runs(MAIN, "long", place).await,
            Way::Forgets => self.runs(FORGETFUL, "pointed", place).await,
            Way::Swap(_) => self.swap(place).await,
            Way::Blank => self.blank(place).await,
            Way::PutBack => self.put_back(place).await,
            Way::Damaged => self.damaged(place).await,
            Way::Local => self.local(place).await,
            Way::Stops => self.stops(place).await,
            Way::Enrols => self.enrols(place).await,
            Way::Begins(_) => self.begins(place).await,
            Way::Restores => self.restores(point, place).await,
            Way::ServerStarts => self.server_starts(place).await,
            Way::Serves(_) => self.serves(place).await,
            Way::ServerEnrols => self.server_enrols(point, place).await,
        }
    }

    /// A name that was not used before.
    fn fresh(&mut self, what: &str) -> String {
        self.number += 1;
        format!("{what}-{}", self.number)
    }

    async fn wish(&mut self, workflow: &str, agent: usize) -> Result<(), Failure> {
        let key = self.fresh("wish");
        self.wished[agent] += 1;
        self.desk.wish(workflow, &self.world.agents[agent].id, &key).await
    }

    /// Waits until nothing is under way with an agent any more, all that it was wished for is here,
    /// that and no more, and the site's broker has heard of all.
    async fn settle(&mut self, agent: usize) -> Result<(), Failure> {
        let expected = self.wished[agent] + self.beyond[agent];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let received = self.desk.received(&self.world.agents[agent].id).await?;
            let all_said = self.postbox.said() == self.wished.iter().sum::<u64>();
            if received == expected && all_said && self.is_quiet(agent).await {
                return Ok(());
            }
            if received > expected || Instant::now() > deadline {
                let status = self.world.agents[agent].status().await;
                let said = self.postbox.said();
                let text =
                    format!("{received} results instead of {expected}, {said} said; {status:?}");
                return Err(wrong(&text));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn is_quiet(&self, agent: usize) -> bool {
        let status = self.world.agents[agent].status().await;
        status.is_ok_and(|now| now.linked && now.unsettled == 0 && now.backlog == 0)
    }

    /// Waits until an agent is in sync and has told everything.
    async fn quiet(&self, agent: usize) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_quiet(agent).await {
            if Instant::now() > deadline {
                return Err(wrong("the agent does not come to rest"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// How many passings of a point a way is sure of.
fn most_passings(way: Way) -> u64 {
    match way {
        Way::Runs(most) | Way::Swap(most) | Way::Begins(most) | Way::Serves(most) => most,
        Way::TrustsItsClock
        | Way::LongRun
        | Way::Forgets
        | Way::Blank
        | Way::PutBack
        | Way::Damaged
        | Way::Local
        | Way::Stops
        | Way::Enrols
        | Way::Restores
        | Way::ServerStarts
        | Way::ServerEnrols => 1,
    }
}

/// That a program died where it was told to, and of nothing else.
fn died(status: ExitStatus) -> Result<(), Failure> {
    if status.signal() == Some(SIGABRT) {
        return Ok(());
    }
    Err(wrong(&format!("it did not die at its point: {status}")))
}

fn wrong(text: &str) -> Failure {
    Failure::from(std::io::Error::other(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(change: impl FnOnce(&mut Line)) -> Outcome {
        let mut line = Line {
            agent: "a".to_owned(),
            recorded: 2,
            witnessed: 3,
            received: 3,
            missing: 0,
            duplicate: 0,
            unexplained: 0,
            repeated: 1,
            unkeyed: 0,
        };
        change(&mut line);
        Outcome { deaths: 1, points: 1, wished: vec![3], said: 3, ledger: vec![line] }
    }

    #[test]
    fn what_is_wrong_is_found() {
        // What the agent itself remembers may be less: it was wiped on the way.
        assert_eq!(line(|_| {}).fault(), None);
        let wrong: [fn(&mut Line); 7] = [
            |line| line.missing = 1,
            |line| line.duplicate = 1,
            |line| line.unexplained = 1,
            |line| line.unkeyed = 1,
            |line| line.repeated = 2,
            |line| line.received = 2,
            |line| line.witnessed = 4,
        ];
        for change in wrong {
            assert!(line(change).fault().is_some(), "{:?}", line(change));
        }
        assert!(Outcome { deaths: 0, ..line(|_| {}) }.fault().is_some(), "nothing proves nothing");
        assert!(Outcome { said: 2, ..line(|_| {}) }.fault().is_some());
        assert!(Outcome::default().fault().is_some());
    }

    #[test]
    fn only_a_death_at_the_point_is_one() {
        for (status, is_one) in [(6, true), (9, false), (0, false), (64 << 8, false)] {
            assert_eq!(died(ExitStatus::from_raw(status)).is_ok(), is_one, "{status}");
        }
    }
}
