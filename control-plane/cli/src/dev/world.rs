//! A small world on one machine: a control plane and agents as real child processes in a
//! directory of their own, a cuttable wire to each agent, and the witness.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openclaw_protocol::api::{
    CreateDeployment, CreateJoinCode, Deployment, Device, JoinCode, LoginRequest, LoginResponse,
    ResultEntry, Target, WorkflowVersion,
};
use serde::Deserialize;

mod doom;

pub use doom::Desk;

use super::ledger::{Line, Testimony};
use super::process::{self, Process};
use super::wire::Wire;
use super::witness::Witness;
use crate::client::Client;
use crate::commands::plugin;
use crate::context::Context;
use crate::exit::{FAILED, Failure};

/// How long a part of the world may take to do what it was asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The sample workflows: file name and text, with `@WITNESS@` and `@SERVER@` to be filled in.
const SAMPLES: [(&str, &str); 3] = [
    ("machine-metrics", include_str!("../../samples/machine-metrics.workflow.yaml")),
    ("scrape-status", include_str!("../../samples/scrape-status.workflow.yaml")),
    ("long-haul", include_str!("../../samples/long-haul.workflow.yaml")),
];
/// Plugins the samples need.
const PLUGINS: [&str; 3] = ["system-metrics", "http", "web-scraping"];

/// Where programs and plugins are.
#[derive(Debug, Clone)]
pub struct Programs {
    control_plane: PathBuf,
    agent: PathBuf,
    plugins: PathBuf,
}

impl Programs {
    /// Finds them beside this program, or on the PATH.
    ///
    /// # Errors
    /// One is nowhere; the text says what to build.
    pub fn find(plugins: Option<&Path>) -> std::io::Result<Self> {
        Ok(Self {
            control_plane: process::find_program("openclaw-control-plane")?,
            agent: process::find_program("openclaw-agent")?,
            plugins: process::find_plugins(plugins)?,
        })
    }

    /// The same, with another build of the agent.
    #[must_use]
    pub fn with_agent(mut self, agent: PathBuf) -> Self {
        self.agent = agent;
        self
    }
}

/// One agent of the world.
#[derive(Debug)]
pub struct Agent {
    /// Its device id.
    pub id: String,
    /// Its wire to the control plane.
    pub wire: Wire,
    dir: PathBuf,
    program: PathBuf,
    process: Option<Process>,
}

/// What `openclaw-agent status -o json` says, as far as it is needed here.
#[derive(Debug, Clone, Deserialize)]
pub struct AgentStatus {
    /// Runs that are not settled.
    pub unsettled: u64,
    /// Records the control plane has not acknowledged, over all lanes.
    pub backlog: u64,
    /// Whether the session with the control plane is up.
    pub linked: bool,
    /// How many workflows are in force.
    pub workflows: u64,
    /// Syncs of its database's file since the agent's start.
    pub syncs: u64,
    /// Bytes written to that file since the agent's start.
    pub written_bytes: u64,
    /// Rows added to its journal since the agent's start, keys and values, in bytes.
    pub journal_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct JournalEntry {
    run: String,
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// The agents, by number.
    pub agents: Vec<Agent>,
    /// The outside witness.
    pub witness: Witness,
    /// Address of the API and the console.
    pub url: String,
    /// The first admin's one-time password.
    pub password: String,
    programs: Programs,
    dir: PathBuf,
    mqtt: SocketAddr,
    server: Option<Process>,
    client: Option<Client>,
    deployments: Vec<String>,
}

impl World {
    /// Makes a world in `dir`: initialises and starts the control plane, logs in, publishes the
    /// plugins and stores the sample workflows. Agents come with [`World::add_agent`].
    ///
    /// # Errors
    /// A part does not start; the text names its log.
    pub async fn begin(dir: &Path, programs: Programs) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir.join("control-plane"))?;
        std::fs::create_dir_all(dir.join("logs"))?;
        let (http, mqtt) = (process::free_port()?, process::free_port()?);
        let witness = Witness::open(&dir.join("witness.txt")).await?;
        let config = format!(
            "data_dir = {data:?}\n\n[http]\nbind = \"127.0.0.1:{http}\"\n\n[mqtt]\nbind = \
             \"127.0.0.1:{mqtt}\"\n",
            data = dir.join("control-plane/data")
        );
        std::fs::write(dir.join("control-plane/config.toml"), config)?;
        let mut world = Self {
            agents: Vec::new(),
            witness,
            url: format!("http://127.0.0.1:{http}"),
            password: String::new(),
            programs,
            dir: dir.to_owned(),
            mqtt: SocketAddr::from(([127, 0, 0, 1], mqtt)),
            server: None,
            client: None,
            deployments: Vec::new(),
        };
        world.initialise().await?;
        world.start_server().await?;
        world.log_in().await?;
        world.publish().await?;
        Ok(world)
    }

    async fn initialise(&mut self) -> Result<(), Failure> {
        let config = self.dir.join("control-plane/config.toml");
        let password_file = self.dir.join("control-plane/admin-password");
        let (config, file) = (config.to_string_lossy(), password_file.to_string_lossy());
        self.password = one_time_password()?;
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&password_file)?
            .write_all(self.password.as_bytes())?;
        let args = ["init", "--config", &config, "--admin-password-file", &file];
        process::output(&self.programs.control_plane, &args).await?;
        std::fs::remove_file(&password_file)?;
        Ok(())
    }

    /// Starts the control plane and waits until it is ready.
    ///
    /// # Errors
    /// It does not get ready in time.
    pub async fn start_server(&mut self) -> Result<(), Failure> {
        self.spawn_server(None)?;
        self.await_server().await
    }

    fn spawn_server(&mut self, env: Option<(&str, &str)>) -> std::io::Result<()> {
        let config = self.dir.join("control-plane/config.toml");
        let log = self.dir.join("logs/control-plane.log");
        let (program, args) =
            (&self.programs.control_plane, ["serve", "--config", &config.to_string_lossy()]);
        self.server = Some(Process::start("control plane", program, &args, &log, env)?);
        Ok(())
    }

    async fn await_server(&mut self) -> Result<(), Failure> {
        let ready = format!("{}/readyz", self.url);
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|e| Failure::new(FAILED, e.to_string()))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if http.get(&ready).send().await.is_ok_and(|r| r.status().is_success()) {
                return Ok(());
            }
            let ended = self.server.as_mut().and_then(Process::ended);
            if ended.is_some() || Instant::now() > deadline {
                return Err(Failure::new(FAILED, "the control plane does not get ready")
                    .hint(format!("see {}", self.logs().display())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Stops the control plane: asked nicely, or killed.
    pub async fn stop_server(&mut self, kill: bool) {
        if let Some(mut server) = self.server.take() {
            if kill { server.kill().await } else { server.stop().await }
        }
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        let context = Context { url: self.url.clone(), token: None, ca_file: None };
        let client = Client::new(&context)?;
        let request =
            LoginRequest { username: "admin".to_owned(), password: self.password.clone() };
        let answer: LoginResponse = client.post("/auth/login", &request).await?;
        self.client = Some(client.with_token(answer.token));
        Ok(())
    }

    /// The logged-in client.
    fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| Failure::new(FAILED, "not logged in"))
    }

    async fn publish(&self) -> Result<(), Failure> {
        for name in PLUGINS {
            self.publish_plugin(name).await?;
        }
        for (name, text) in SAMPLES {
            self.apply(text).await.map_err(|mut failure| {
                failure.message = format!("sample {name}: {}", failure.message);
                failure
            })?;
        }
        Ok(())
    }

    /// Stores a workflow, with the world's addresses filled in.
    ///
    /// # Errors
    /// As the control plane says.
    pub async fn apply(&self, text: &str) -> Result<WorkflowVersion, Failure> {
        let text = text.replace("@WITNESS@", &self.witness.url()).replace("@SERVER@", &self.url);
        self.client()?.post_text("/workflows", text).await
    }

    /// Publishes one of the built plugins.
    ///
    /// # Errors
    /// It is not built, or as the control plane says.
    pub async fn publish_plugin(&self, name: &str) -> Result<(), Failure> {
        plugin::publish(self.client()?, &self.programs.plugins.join(name)).await.map(drop)
    }

    /// Enrols and starts another agent.
    ///
    /// # Errors
    /// It cannot be enrolled or started.
    pub async fn add_agent(&mut self) -> Result<(), Failure> {
        self.add_agent_with("", "backoff_max_ms = 2000").await
    }

    /// As [`World::add_agent`], with more lines at the top of its configuration, and at the end of it,
    /// which is in the table of the link.
    ///
    /// # Errors
    /// It cannot be enrolled or started.
    pub async fn add_agent_with(&mut self, top: &str, end: &str) -> Result<(), Failure> {
        let id = format!("agent-{}", self.agents.len() + 1);
        let dir = self.dir.join("agents").join(&id);
        std::fs::create_dir_all(&dir)?;
        let wire = Wire::open(self.mqtt).await?;
        let config = format!(
            "data_dir = {data:?}\n{top}\n\n[files]\nproc = \"/proc\"\nsys = \"/sys\"\n\n\
             [link]\nconnect = \"{wire}\"\n{end}\n",
            data = dir.join("data"),
            wire = wire.address()
        );
        let config_file = dir.join("config.toml");
        std::fs::write(&config_file, config)?;
        let body = CreateJoinCode {
            device_id: Some(id.clone()),
            labels: [("env".to_owned(), "dev".to_owned())].into(),
            minutes: Some(5),
        };
        let code: JoinCode = self.client()?.post("/devices/enroll-codes", &body).await?;
        let config_text = config_file.to_string_lossy();
        let args =
            ["enroll", "--config", &config_text, "--server", &self.url, "--code", &code.code];
        process::output(&self.programs.agent, &args).await?;
        let mut agent =
            Agent { id, wire, dir, program: self.programs.agent.clone(), process: None };
        agent.start(&self.dir.join("logs"))?;
        self.agents.push(agent);
        Ok(())
    }

    /// Where the logs of all parts are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Deploys a workflow to all agents and waits until they have it in force.
    ///
    /// # Errors
    /// A device refuses it, or does not answer in time.
    pub async fn deploy(&mut self, workflow: &str) -> Result<(), Failure> {
        let target =
            Target { devices: Vec::new(), labels: [("env".to_owned(), "dev".to_owned())].into() };
        let body = CreateDeployment { workflow: workflow.to_owned(), revision: None, target };
        let client = self.client()?.clone();
        let made: Deployment = client.post("/deployments", &body).await?;
        let done = crate::commands::deployment::follow(&client, &made.id, PATIENCE).await?;
        self.deployments.push(done.id);
        Ok(())
    }

    /// Takes all workflows off the agents again.
    ///
    /// # Errors
    /// As the control plane says.
    pub async fn undeploy(&mut self) -> Result<(), Failure> {
        for id in std::mem::take(&mut self.deployments) {
            self.client()?.call(reqwest::Method::DELETE, &format!("/deployments/{id}")).await?;
        }
        Ok(())
    }

    /// Starts a run of `workflow` on one agent.
    ///
    /// # Errors
    /// As the control plane says.
    pub async fn start_run(&self, workflow: &str, agent: usize) -> Result<String, Failure> {
        let target = Target { devices: vec![self.agents[agent].id.clone()], labels: [].into() };
        let body = openclaw_protocol::api::StartRuns {
            target,
            inputs: serde_json::Map::new(),
            priority: None,
        };
        let client = self.client()?;
        let asked: openclaw_protocol::api::Requests =
            client.post(&format!("/workflows/{workflow}/run"), &body).await?;
        let Some(request) = asked.requests.first() else {
            return Err(Failure::new(FAILED, "nobody was asked"));
        };
        let deadline = Instant::now() + PATIENCE;
        crate::commands::run::await_request(client, &request.id, deadline).await
    }

    /// Looks at a run until `enough` says so.
    ///
    /// # Errors
    /// It does not get there in time.
    pub async fn watch_run(
        &self,
        agent: usize,
        run: &str,
        enough: impl Fn(&openclaw_protocol::run::Run) -> bool,
    ) -> Result<openclaw_protocol::run::Run, Failure> {
        let path = format!("/executions/{}/{run}", self.agents[agent].id);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.client()?.fetch::<openclaw_protocol::api::Execution>(&path).await;
            match found {
                Ok(execution) if enough(&execution.run) => return Ok(execution.run),
                Ok(_) => {}
                Err(failure) if failure.code == crate::exit::NOT_FOUND => {}
                Err(failure) => return Err(failure),
            }
            if Instant::now() > deadline {
                return Err(Failure::new(FAILED, format!("run {run} does not get there in time")));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Waits until no agent has an unsettled run or an unacknowledged record.
    ///
    /// # Errors
    /// One still has, after the time given.
    pub async fn quiesce(&self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        for agent in &self.agents {
            loop {
                let status = agent.status().await;
                if status.as_ref().is_ok_and(|s| {
                    s.linked && s.unsettled == 0 && s.backlog == 0 && s.workflows == 0
                }) {
                    break;
                }
                if Instant::now() > deadline {
                    let text = format!("{} does not come to rest: {status:?}", agent.id);
                    return Err(
                        Failure::new(FAILED, text).hint(format!("see {}", self.logs().display()))
                    );
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// How many results the control plane has of one agent.
    ///
    /// # Errors
    /// As the control plane says.
    pub async fn received(&self, agent: usize) -> Result<u64, Failure> {
        let path = format!("/devices/{}", self.agents[agent].id);
        let device: Device = self.client()?.fetch(&path).await?;
        Ok(device.ledger.iter().map(|l| l.received).sum())
    }

    /// Hears all three parties and judges each agent.
    ///
    /// # Errors
    /// One cannot be heard.
    pub async fn ledger(&self) -> Result<Vec<Line>, Failure> {
        let mut heard = self.witness.heard();
        let mut lines = Vec::new();
        for agent in &self.agents {
            let path = format!("/devices/{}/results", agent.id);
            let rows: Vec<ResultEntry> = self.client()?.list(&path, usize::MAX).await?;
            let received: Vec<String> = rows.into_iter().map(|row| row.run).collect();
            let recorded = agent.journal().await?;
            // A run id begins with its device's epoch, so the witness's ids can be told apart.
            let own: BTreeSet<String> =
                recorded.iter().chain(&received).map(|run| epoch_of(run).to_owned()).collect();
            let (witnessed, others) =
                heard.into_iter().partition(|(run, _)| own.contains(epoch_of(run)));
            heard = others;
            lines.push(Line::judge(&agent.id, &Testimony { recorded, witnessed, received }));
        }
        if let Some((run, _)) = heard.first_key_value() {
            let text = format!("the witness heard of run {run}, which belongs to no agent");
            return Err(Failure::new(FAILED, text));
        }
        Ok(lines)
    }

    /// Stops everything, agents first.
    pub async fn end(&mut self) {
        for agent in &mut self.agents {
            if let Some(mut process) = agent.process.take() {
                process.stop().await;
            }
        }
        self.stop_server(false).await;
    }
}

/// Twenty hexadecimal digits from the system's random source.
fn one_time_password() -> std::io::Result<String> {
    let mut bytes = [0_u8; 10];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The part of a run id that names its device's database.
fn epoch_of(run: &str) -> &str {
    run.split_once('-').map_or(run, |(epoch, _)| epoch)
}

impl Agent {
    /// Its process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::id)
    }

    /// Its local socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join("data/agent.sock")
    }

    /// Starts the agent's process.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, logs: &Path) -> std::io::Result<()> {
        self.spawn(logs, None)
    }

    fn spawn(&mut self, logs: &Path, env: Option<(&str, &str)>) -> std::io::Result<()> {
        let config = self.dir.join("config.toml");
        let args = ["run", "--config", &config.to_string_lossy()];
        let log = logs.join(format!("{}.log", self.id));
        self.process = Some(Process::start(&self.id, &self.program, &args, &log, env)?);
        Ok(())
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Throws the agent's database away, as a broken disk would; key and certificate stay. Only
    /// for a killed agent.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn forget_database(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.dir.join("data/agent.redb"))
    }

    /// Asks the agent itself, over its local socket.
    ///
    /// # Errors
    /// It does not run, or does not answer.
    pub async fn status(&self) -> Result<AgentStatus, Failure> {
        self.ask(&["status"]).await
    }

    /// Ids of all settled runs in the agent's own journal, over its local socket.
    ///
    /// # Errors
    /// It does not run, or does not answer.
    pub async fn journal(&self) -> Result<BTreeSet<String>, Failure> {
        let entries: Vec<JournalEntry> = self.ask(&["results"]).await?;
        Ok(entries.into_iter().map(|entry| entry.run).collect())
    }

    async fn ask<T: for<'de> Deserialize<'de>>(&self, what: &[&str]) -> Result<T, Failure> {
        let config = self.dir.join("config.toml");
        let config = config.to_string_lossy();
        let mut args = what.to_vec();
        args.extend(["--config", &config, "--output", "json"]);
        let text = process::output(&self.program, &args).await?;
        serde_json::from_str(&text).map_err(|e| {
            Failure::new(FAILED, format!("{}: its answer is not as expected: {e}", self.id))
        })
    }
}
