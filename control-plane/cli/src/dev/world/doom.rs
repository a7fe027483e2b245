//! What is needed of a world by tests that make its programs die at named points
//! (`openclaw-points`), and of the desk meanwhile: whoever asks, asks again until there is an answer.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use openclaw_protocol::api::{
    CreateDeployment, CreateJoinCode, Deployment, Device, JoinCode, Requests, StartRuns, Target,
};
use reqwest::Method;
use serde::Serialize;

use super::{Agent, LOOK_EVERY, PATIENCE, Process, Programs, World};
use crate::client::Client;
use crate::exit::{FAILED, Failure, NOT_FOUND, UNREACHABLE};

/// The variable that tells a debug build where to die.
const KILL_POINT: &str = "OPENCLAW_KILL_POINT";
/// How long one answer of the API is waited for before it is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

impl Programs {
    /// The control plane's program.
    #[must_use]
    pub fn control_plane(&self) -> &Path {
        &self.control_plane
    }

    /// The agent's program.
    #[must_use]
    pub fn agent(&self) -> &Path {
        &self.agent
    }
}

impl World {
    /// Where the programs are.
    #[must_use]
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// The desk.
    ///
    /// # Errors
    /// Nobody is logged in.
    pub fn desk(&self) -> Result<Desk, Failure> {
        Ok(Desk(self.client()?.clone()))
    }

    /// Starts the control plane, to die at a point (`NAME:N`); where that lets it get ready, waits for
    /// it.
    ///
    /// # Errors
    /// It cannot be started, or neither dies nor gets ready in time.
    pub async fn start_doomed_server(&mut self, point: &str) -> Result<(), Failure> {
        self.spawn_server(Some((KILL_POINT, point)))?;
        self.await_server().await.or_else(|failure| {
            let ended = self.server.as_mut().and_then(Process::ended);
            if ended.is_some() { Ok(()) } else { Err(failure) }
        })
    }

    /// Waits for the control plane's own end.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn await_server_end(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        let Some(mut server) = self.server.take() else {
            return Err(Failure::new(FAILED, "the control plane does not run"));
        };
        end_of("the control plane", &mut server, within).await
    }
}

impl Agent {
    /// Its directory of data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("config.toml")
    }

    /// Starts the agent's process, to die at a point (`NAME:N`).
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_doomed(&mut self, logs: &Path, point: &str) -> std::io::Result<()> {
        self.spawn(logs, Some((KILL_POINT, point)))
    }

    /// Waits for its own end.
    ///
    /// # Errors
    /// It does not end in time; then it goes on.
    pub async fn await_end(&mut self, within: Duration) -> Result<ExitStatus, Failure> {
        let Some(process) = &mut self.process else {
            return Err(Failure::new(FAILED, format!("{} does not run", self.id)));
        };
        let status = end_of(&self.id, process, within).await?;
        self.process = None;
        Ok(status)
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop().await;
        }
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        if let Some(process) = &self.process {
            process.terminate();
        }
    }
}

async fn end_of(
    name: &str,
    process: &mut Process,
    within: Duration,
) -> Result<ExitStatus, Failure> {
    match tokio::time::timeout(within, process.end()).await {
        Ok(status) => Ok(status?),
        Err(_) => Err(Failure::new(FAILED, format!("{name} does not end"))),
    }
}

/// The desk: asks the API, and asks again while the control plane is not there.
#[derive(Debug, Clone)]
pub struct Desk(Client);

impl Desk {
    /// Wishes for a run. The same key is the same wish, however often it is asked for.
    ///
    /// # Errors
    /// The control plane refuses, or is not there for too long.
    pub async fn wish(&self, workflow: &str, device: &str, key: &str) -> Result<(), Failure> {
        let target = Target { devices: vec![device.to_owned()], labels: [].into() };
        let body = StartRuns { target, inputs: serde_json::Map::new(), priority: None };
        let path = format!("/workflows/{workflow}/run");
        self.keyed::<_, Requests>(&path, key, &body).await.map(drop)
    }

    /// Deploys a workflow to one device; answers the deployment's id.
    ///
    /// # Errors
    /// As [`Self::wish`].
    pub async fn deploy(&self, workflow: &str, device: &str, key: &str) -> Result<String, Failure> {
        let target = Target { devices: vec![device.to_owned()], labels: [].into() };
        let body = CreateDeployment { workflow: workflow.to_owned(), revision: None, target };
        let made: Deployment = self.keyed("/deployments", key, &body).await?;
        Ok(made.id)
    }

    /// Waits until a deployment is in force.
    ///
    /// # Errors
    /// The device refuses it, or does not answer in time.
    pub async fn in_force(&self, deployment: &str) -> Result<(), Failure> {
        crate::commands::deployment::follow(&self.0, deployment, PATIENCE).await.map(drop)
    }

    /// Takes a deployment back.
    ///
    /// # Errors
    /// As [`Self::wish`].
    pub async fn undeploy(&self, deployment: &str) -> Result<(), Failure> {
        let path = format!("/deployments/{deployment}");
        let done = again(async || self.0.call(Method::DELETE, &path).await).await;
        // It was taken back before, and the answer was lost.
        done.or_else(|failure| if failure.code == NOT_FOUND { Ok(()) } else { Err(failure) })
    }

    /// A join code for a device that there is not yet.
    ///
    /// # Errors
    /// As [`Self::wish`].
    pub async fn join_code(&self, device: &str) -> Result<String, Failure> {
        let body = CreateJoinCode {
            device_id: Some(device.to_owned()),
            labels: [].into(),
            minutes: Some(5),
        };
        let made: JoinCode =
            again(async || self.0.post("/devices/enroll-codes", &body).await).await?;
        Ok(made.code)
    }

    /// How many results there are of one device.
    ///
    /// # Errors
    /// As [`Self::wish`].
    pub async fn received(&self, device: &str) -> Result<u64, Failure> {
        let path = format!("/devices/{device}");
        let device: Device = again(async || self.0.fetch(&path).await).await?;
        Ok(device.ledger.iter().map(|ledger| ledger.received).sum())
    }

    async fn keyed<B: Serialize, T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        key: &str,
        body: &B,
    ) -> Result<T, Failure> {
        let ask = async || {
            let request = self.0.request(Method::POST, path).header("Idempotency-Key", key);
            let answer = self.0.send(request.json(body).timeout(ANSWER_WITHIN)).await?;
            // One that breaks off is none.
            answer.json().await.map_err(|e| Failure::new(UNREACHABLE, e.to_string()))
        };
        again(ask).await
    }
}

/// Asks until the control plane is there.
async fn again<T>(ask: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(failure) if failure.code == UNREACHABLE && Instant::now() < deadline => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            answer => return answer,
        }
    }
}
