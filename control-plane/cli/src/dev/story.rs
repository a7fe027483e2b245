//! The demo's story: results stream in; a link is cut; an agent is killed in the middle of a
//! run; the control plane is restarted; and then everything is counted.

use std::time::{Duration, Instant};

use openclaw_protocol::run::StepStatus;
use serde::Serialize;

use super::ledger::Line;
use super::world::World;
use crate::exit::{FAILED, Failure};

/// How long the link is cut.
const CUT_FOR: Duration = Duration::from_secs(10);
/// How long results stream in before anything happens.
const STREAM_FOR: Duration = Duration::from_secs(5);
/// How long everything may take to come to rest at the end.
const REST_WITHIN: Duration = Duration::from_secs(90);

/// What the story showed, as `--exit` prints it.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Every agent's ledger is clean.
    pub ok: bool,
    /// Seconds the story took.
    pub seconds: u64,
    /// Links that were cut.
    pub link_cuts: u32,
    /// Agents that were killed.
    pub agent_kills: u32,
    /// Restarts of the control plane.
    pub server_restarts: u32,
    /// The run that was killed in the middle, and how it went on.
    pub resumed_run: ResumedRun,
    /// The ledger, an agent a line.
    pub agents: Vec<Line>,
}

/// How the run that was killed in the middle went on.
#[derive(Debug, Serialize)]
pub struct ResumedRun {
    /// Its id.
    pub run: String,
    /// The step it was in when the agent was killed.
    pub killed_in_step: String,
    /// How it ended.
    pub status: String,
    /// Interruptions it came through.
    pub resumed: u32,
    /// How often the step before the interruption was started: once, if nothing ran again.
    pub first_step_attempts: u32,
}

/// Tells what happens, with the time since the beginning.
struct Teller(Instant);

impl Teller {
    fn say(&self, text: &str) {
        eprintln!("[{:6.1} s] {text}", self.0.elapsed().as_secs_f64());
    }
}

/// Plays the story in a world with at least two agents.
///
/// # Errors
/// Something does not happen in time, or the ledger is not clean (then the summary is printed
/// all the same, by the caller).
pub(crate) async fn play(world: &mut World) -> Result<Summary, Failure> {
    let teller = Teller(Instant::now());
    stream_in(world, &teller).await?;
    cut_a_link(world, &teller).await?;
    let last = world.agents.len() - 1;
    let resumed_run = kill_an_agent(world, last, &teller).await?;
    restart_the_server(world, &teller).await?;
    teller.say("(e) no new runs from here; everything comes to rest, then all is counted");
    world.undeploy().await?;
    world.quiesce(REST_WITHIN).await?;
    let agents = world.ledger().await?;
    for line in &agents {
        teller.say(&format!(
            "    {}: complete to {}, {} missing, {} duplicate (its own journal: {}, the witness: \
             {}, the control plane: {})",
            line.agent,
            line.received,
            line.missing,
            line.duplicate,
            line.recorded,
            line.witnessed,
            line.received
        ));
    }
    let ok = agents.iter().all(|l| l.is_clean() && l.witnessed == l.recorded)
        && resumed_run.status == "completed"
        && resumed_run.first_step_attempts == 1;
    Ok(Summary {
        ok,
        seconds: teller.0.elapsed().as_secs(),
        link_cuts: 1,
        agent_kills: 1,
        server_restarts: 1,
        resumed_run,
        agents,
    })
}

async fn stream_in(world: &mut World, teller: &Teller) -> Result<(), Failure> {
    teller.say("(a) each agent reads its machine every second and scrapes a page every five");
    let until = Instant::now() + STREAM_FOR;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut counts = Vec::new();
        for agent in 0..world.agents.len() {
            counts.push(format!("{} {}", world.agents[agent].id, world.received(agent).await?));
        }
        teller.say(&format!("    results at the control plane: {}", counts.join(", ")));
    }
    Ok(())
}

async fn cut_a_link(world: &mut World, teller: &Teller) -> Result<(), Failure> {
    let id = world.agents[0].id.clone();
    let before = world.received(0).await?;
    teller.say(&format!("(b) the link of {id} is cut for {} s", CUT_FOR.as_secs()));
    world.agents[0].wire.cut();
    let until = Instant::now() + CUT_FOR;
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let status = world.agents[0].status().await?;
        let here = world.received(0).await?;
        teller.say(&format!(
            "    {id} goes on: {} records wait on the device; the control plane still has {here} \
             results of it",
            status.backlog
        ));
    }
    world.agents[0].wire.mend();
    let deadline = Instant::now() + Duration::from_secs(60);
    while world.agents[0].status().await?.backlog > 20 || world.received(0).await? < before + 8 {
        if Instant::now() > deadline {
            return Err(Failure::new(FAILED, format!("{id} does not catch up")));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let now = world.received(0).await?;
    teller.say(&format!("    mended: {} results came home", now - before));
    Ok(())
}

async fn kill_an_agent(
    world: &mut World,
    agent: usize,
    teller: &Teller,
) -> Result<ResumedRun, Failure> {
    let id = world.agents[agent].id.clone();
    let run = world.start_run("long-haul", agent).await?;
    let view = world
        .watch_run(agent, &run, |run| {
            run.steps.iter().any(|s| s.path.0 == "pause" && s.status == StepStatus::Delayed)
        })
        .await?;
    let killed_in_step = view
        .steps
        .iter()
        .find(|s| s.status == StepStatus::Delayed)
        .map_or_else(String::new, |s| s.path.0.clone());
    teller.say(&format!("(c) {id} is killed (SIGKILL) while run {run} is in `{killed_in_step}`"));
    world.agents[agent].kill().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let logs = world.logs();
    world.agents[agent].start(&logs)?;
    teller.say(&format!("    {id} is started again"));
    let ended = world.watch_run(agent, &run, |run| run.status.is_settled()).await?;
    let status = crate::output::name_of(&ended.status);
    let first = ended.steps.iter().find(|s| s.path.0 == "first").map_or(0, |s| s.attempts);
    teller.say(&format!(
        "    run {run} went on at `{killed_in_step}` and {status}; `first` ran {first} time(s)"
    ));
    Ok(ResumedRun {
        run,
        killed_in_step,
        status,
        resumed: ended.resumed,
        first_step_attempts: first,
    })
}

async fn restart_the_server(world: &mut World, teller: &Teller) -> Result<(), Failure> {
    teller.say("(d) the control plane is killed (SIGKILL) and started again");
    world.stop_server(true).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.start_server().await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    for agent in &world.agents {
        while !agent.status().await?.linked {
            if Instant::now() > deadline {
                return Err(Failure::new(FAILED, format!("{} does not come back", agent.id)));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    teller.say("    all agents are back");
    Ok(())
}
