//! Deaths of an agent.

use std::process::ExitStatus;
use std::time::Instant;

use openclaw::Failure;
use openclaw::dev::Process;
use openclaw_points::Point;

use super::{LOOK_EVERY, MAIN, PATIENCE, Trial, died, wrong};

/// Points that every start of an enrolled agent passes.
const RECOVERY: [Point; 8] = [
    Point::StoreOpen,
    Point::StoreStart,
    Point::StoreStarted,
    Point::StoreRestored,
    Point::OutboxAppended,
    Point::StoreSwept,
    Point::JournalCommit,
    Point::JournalCommitted,
];

impl Trial {
    /// Starts an agent that died; half the time it dies in its recovery, too.
    async fn start_again(&mut self, agent: usize) -> Result<(), Failure> {
        let logs = self.world.logs();
        let drawn = self.dice.below(2 * RECOVERY.len() as u64);
        let point = usize::try_from(drawn).ok().and_then(|drawn| RECOVERY.get(drawn));
        if let Some(point) = point {
            let agent = &mut self.world.agents[agent];
            agent.start_doomed(&logs, &format!("{}:1", point.name()))?;
            died(agent.await_end(PATIENCE).await?)?;
            self.deaths += 1;
        }
        Ok(self.world.agents[agent].start(&logs)?)
    }

    /// It dies as it runs something.
    pub(super) async fn runs(
        &mut self,
        agent: usize,
        workflow: &str,
        place: &str,
    ) -> Result<(), Failure> {
        let logs = self.world.logs();
        self.world.agents[agent].stop().await;
        self.world.agents[agent].start_doomed(&logs, place)?;
        for _ in 0..3 {
            self.wish(workflow, agent).await?;
        }
        died(self.world.agents[agent].await_end(PATIENCE).await?)?;
        self.start_again(agent).await?;
        self.settle(agent).await
    }

    /// It dies as it runs something with a clock that it can trust.
    pub(super) async fn trusts_its_clock(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        let synced = self.dir.join("synced");
        self.world.agents[MAIN].stop().await;
        std::fs::write(&synced, "")?;
        self.world.agents[MAIN].start_doomed(&logs, place)?;
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        // Once it has noted the time, it does not again for a minute: not before the next death.
        std::fs::remove_file(synced)?;
        self.start_again(MAIN).await?;
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await
    }

    /// It dies on the way to another desired state, which is in force in the end.
    pub(super) async fn swap(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        let agent = &mut self.world.agents[MAIN];
        agent.stop().await;
        agent.start_doomed(&logs, place)?;
        let id = agent.id.clone();
        let key = self.fresh("deploy");
        let deployment = self.desk.deploy("other", &id, &key).await?;
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        self.start_again(MAIN).await?;
        self.desk.in_force(&deployment).await?;
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await?;
        self.undeploy(&deployment).await
    }

    /// Takes a deployment back and waits until the agent has heard of it: its module is then gone.
    pub(super) async fn undeploy(&mut self, deployment: &str) -> Result<(), Failure> {
        let before = self.world.agents[MAIN].status().await?.workflows;
        self.desk.undeploy(deployment).await?;
        self.await_workflows(|count| count < before).await?;
        self.quiet(MAIN).await
    }

    async fn await_workflows(&self, enough: impl Fn(u64) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while !self.world.agents[MAIN].status().await.is_ok_and(|now| enough(now.workflows)) {
            if Instant::now() > deadline {
                return Err(wrong("the agent does not get its workflows"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// It dies as it begins a database and a reserve.
    pub(super) async fn blank(&mut self, place: &str) -> Result<(), Failure> {
        self.world.agents[MAIN].stop().await;
        self.world.agents[MAIN].forget_database()?;
        std::fs::remove_file(self.world.agents[MAIN].data_dir().join("agent.reserve"))?;
        self.dies_at_its_start(place).await
    }

    /// It dies as it sets a damaged database aside.
    pub(super) async fn damaged(&mut self, place: &str) -> Result<(), Failure> {
        use std::io::Write as _;

        self.world.agents[MAIN].stop().await;
        let database = self.world.agents[MAIN].data_dir().join("agent.redb");
        let mut file = std::fs::OpenOptions::new().write(true).open(&database)?;
        file.write_all(&[0xA5; 4096])?;
        drop(file);
        self.dies_at_its_start(place).await?;
        for entry in std::fs::read_dir(self.world.agents[MAIN].data_dir())? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e.to_string_lossy().starts_with("damaged-")) {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    async fn dies_at_its_start(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        self.world.agents[MAIN].start_doomed(&logs, place)?;
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        self.start_again(MAIN).await?;
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await
    }

    /// It dies as it finds that its database was put back to an earlier one.
    pub(super) async fn put_back(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        let agent = &mut self.world.agents[MAIN];
        let database = agent.data_dir().join("agent.redb");
        let copy = self.dir.join("earlier.redb");
        agent.stop().await;
        std::fs::copy(&database, &copy)?;
        // What is done from here on is forgotten there, and is not done again.
        agent.start(&logs)?;
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await?;
        self.world.agents[MAIN].stop().await;
        std::fs::copy(&copy, &database)?;
        self.world.agents[MAIN].start_doomed(&logs, place)?;
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        self.start_again(MAIN).await?;
        self.quiet(MAIN).await?;
        // Results that the control plane has are told again under new numbers, and count there.
        let received = self.desk.received(&self.world.agents[MAIN].id).await?;
        self.beyond[MAIN] = received - self.wished[MAIN];
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await
    }

    /// It dies as it answers who started a run on the device: the run is durable by then.
    pub(super) async fn local(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        let agent = &mut self.world.agents[MAIN];
        agent.stop().await;
        agent.start_doomed(&logs, place)?;
        let config = agent.config_file();
        let args = ["run", "pointed", "--config", &config.to_string_lossy()];
        let deadline = Instant::now() + PATIENCE;
        while !self.world.agents[MAIN].socket().exists() {
            if Instant::now() > deadline {
                return Err(wrong("the agent does not listen"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let program = self.world.programs().agent().to_owned();
        let log = logs.join("local.log");
        let mut asks = Process::start("run", &program, &args, &log, None)?;
        self.wished[MAIN] += 1;
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        asks.end().await?;
        self.start_again(MAIN).await?;
        self.settle(MAIN).await
    }

    /// It dies as it is asked to stop.
    pub(super) async fn stops(&mut self, place: &str) -> Result<(), Failure> {
        let logs = self.world.logs();
        self.world.agents[MAIN].stop().await;
        self.world.agents[MAIN].start_doomed(&logs, place)?;
        self.quiet(MAIN).await?;
        self.wish("pointed", MAIN).await?;
        self.world.agents[MAIN].ask_to_stop();
        died(self.world.agents[MAIN].await_end(PATIENCE).await?)?;
        self.start_again(MAIN).await?;
        self.settle(MAIN).await
    }

    /// A device dies as it is enrolled as another one: it is the one or the other, whole, and can be
    /// enrolled again.
    pub(super) async fn enrols(&mut self, place: &str) -> Result<(), Failure> {
        let device = self.fresh("wanderer");
        let code = self.desk.join_code(&device).await?;
        died(self.enrol(&code, Some(place)).await?)?;
        self.is_somebody().await?;
        let device = self.fresh("wanderer");
        let code = self.desk.join_code(&device).await?;
        let status = self.enrol(&code, None).await?;
        if !status.success() {
            return Err(wrong(&format!("it cannot be enrolled again: {status}")));
        }
        self.is_somebody().await
    }

    /// Enrols the wanderer.
    pub(super) async fn enrol(
        &self,
        code: &str,
        place: Option<&str>,
    ) -> Result<ExitStatus, Failure> {
        let config = self.wanderer.config_file();
        let config = config.to_string_lossy();
        let args = ["enroll", "--config", &config, "--server", &self.world.url, "--code", code];
        let log = self.world.logs().join("enroll.log");
        let env = place.map(|place| (openclaw_points::VARIABLE, place));
        let mut program =
            Process::start("enroll", self.world.programs().agent(), &args, &log, env)?;
        tokio::time::timeout(PATIENCE, program.end())
            .await
            .map_err(|_| wrong("enrolment does not end"))?
            .map_err(Failure::from)
    }

    /// The wanderer is a device of this fleet.
    pub(super) async fn is_somebody(&mut self) -> Result<(), Failure> {
        let logs = self.world.logs();
        self.wanderer.start(&logs)?;
        let deadline = Instant::now() + PATIENCE;
        while !self.wanderer.status().await.is_ok_and(|status| status.linked) {
            if Instant::now() > deadline {
                return Err(wrong("the device is nobody in its fleet any more"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.wanderer.stop().await;
        Ok(())
    }
}
