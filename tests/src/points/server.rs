//! Deaths of the control plane.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use openclaw::Failure;
use openclaw::dev::{Process, find_program};
use openclaw_points::{Point, VARIABLE};

use super::{LOOK_EVERY, MAIN, PATIENCE, Trial, died, wrong};

/// What the first admin of a control plane that dies at its beginning has for a password.
const PASSWORD: &str = "correct-horse-battery-staple";

impl Trial {
    /// It dies as it starts.
    pub(super) async fn server_starts(&mut self, place: &str) -> Result<(), Failure> {
        self.world.stop_server(false).await;
        self.world.start_doomed_server(place).await?;
        died(self.world.await_server_end(PATIENCE).await?)?;
        self.world.start_server().await?;
        self.wish("pointed", MAIN).await?;
        self.settle(MAIN).await
    }

    /// It dies as it is asked for something, or as it takes in what came of it. Whoever asked asks
    /// again, with the same key.
    pub(super) async fn serves(&mut self, place: &str) -> Result<(), Failure> {
        self.world.stop_server(false).await;
        self.world.start_doomed_server(place).await?;
        let device = self.world.agents[MAIN].id.clone();
        let wishes = [self.fresh("wish"), self.fresh("wish"), self.fresh("wish")];
        let key = self.fresh("deploy");
        self.wished[MAIN] += 3;
        let desk = self.desk.clone();
        let ask = async {
            for wish in &wishes {
                desk.wish("pointed", &device, wish).await?;
            }
            desk.deploy("other", &device, &key).await
        };
        let world = &mut self.world;
        let die = async {
            died(world.await_server_end(PATIENCE).await?)?;
            world.start_server().await
        };
        let (deployment, done) = tokio::join!(ask, die);
        done?;
        let deployment = deployment?;
        self.desk.in_force(&deployment).await?;
        self.settle(MAIN).await?;
        self.undeploy(&deployment).await
    }

    /// It dies as a device enrols: before the commit the code is as good as new, after it it is spent.
    pub(super) async fn server_enrols(&mut self, point: Point, place: &str) -> Result<(), Failure> {
        let device = self.fresh("wanderer");
        let code = self.desk.join_code(&device).await?;
        self.world.stop_server(false).await;
        self.world.start_doomed_server(place).await?;
        let failed = self.enrol(&code, None).await?;
        died(self.world.await_server_end(PATIENCE).await?)?;
        self.world.start_server().await?;
        if failed.success() {
            return Err(wrong("the device was enrolled by nobody"));
        }
        self.is_somebody().await?;
        let again = self.enrol(&code, None).await?;
        if again.success() != (point == Point::EnrolCommit) {
            return Err(wrong(&format!("the code was used again: {again}")));
        }
        let device = self.fresh("wanderer");
        let code = self.desk.join_code(&device).await?;
        if !self.enrol(&code, None).await?.success() {
            return Err(wrong("the device cannot be enrolled again"));
        }
        self.is_somebody().await?;
        self.quiet(MAIN).await
    }

    /// It dies as it makes itself: whatever there is by then, the next beginning completes it, and
    /// the first admin can log in.
    pub(super) async fn begins(&mut self, place: &str) -> Result<(), Failure> {
        let name = self.fresh("beginning");
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(dir.join("password"));
        file?.write_all(PASSWORD.as_bytes())?;
        let (http, mqtt) = (openclaw::dev::free_port()?, openclaw::dev::free_port()?);
        let config = format!(
            "data_dir = {:?}\n[http]\nbind = \"127.0.0.1:{http}\"\n[mqtt]\nbind = \
             \"127.0.0.1:{mqtt}\"\n",
            dir.join("data")
        );
        std::fs::write(dir.join("config.toml"), config)?;
        died(self.server_program(&dir, "init", Some(place)).await?)?;
        let done = self.server_program(&dir, "init", None).await?;
        if !done.success() {
            return Err(wrong(&format!("it cannot be begun again: {done}")));
        }
        let ready = dir.join("ready");
        let mut server = self.start_server_program(&dir, "serve", Some(&ready), None)?;
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            if Instant::now() > deadline || server.ended().is_some() {
                return Err(wrong("what was begun cannot be served"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        log_in(&dir, &format!("http://127.0.0.1:{http}"))?;
        server.kill().await;
        Ok(())
    }

    fn start_server_program(
        &self,
        dir: &Path,
        verb: &str,
        ready: Option<&Path>,
        place: Option<&str>,
    ) -> std::io::Result<Process> {
        let (config, password) = (dir.join("config.toml"), dir.join("password"));
        let (config, password) = (config.to_string_lossy(), password.to_string_lossy());
        let mut args = vec![verb, "--config", &config, "--admin-password-file", &password];
        let ready = ready.map(|path| path.to_string_lossy().into_owned());
        if let Some(path) = &ready {
            args.extend(["--ready-file", path]);
        }
        let log = self.world.logs().join("beginning.log");
        let env = place.map(|place| (VARIABLE, place));
        Process::start(verb, self.world.programs().control_plane(), &args, &log, env)
    }

    async fn server_program(
        &self,
        dir: &Path,
        verb: &str,
        place: Option<&str>,
    ) -> Result<ExitStatus, Failure> {
        let mut program = self.start_server_program(dir, verb, None, place)?;
        let ended = tokio::time::timeout(PATIENCE, program.end()).await;
        Ok(ended.map_err(|_| wrong("it does not end"))??)
    }
}

fn log_in(home: &Path, url: &str) -> Result<(), Failure> {
    let mut child = std::process::Command::new(find_program("openclaw")?)
        .args(["login", url, "--password-stdin"])
        .env("OPENCLAW_CONFIG_DIR", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(PASSWORD.as_bytes())?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(wrong("the first admin cannot log in")) }
}
