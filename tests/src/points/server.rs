//! Deaths of the control plane.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Instant;

use openclaw::Failure;
use openclaw::dev::{Process, find_program, free_port};
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
        let place_of = self.place_for_another()?;
        let Another { dir, url, config, password } = &place_of;
        let init = ["init", "--config", config, "--admin-password-file", password];
        died(self.another_does(dir, &init, Some(place)).await?)?;
        let done = self.another_does(dir, &init, None).await?;
        if !done.success() {
            return Err(wrong(&format!("it cannot be begun again: {done}")));
        }
        let mut server = self.serve_another(&place_of).await?;
        log_in(dir, url, PASSWORD)?;
        server.kill().await;
        Ok(())
    }

    /// It dies as it is restored from a backup: nothing half restored is served, and the next restore
    /// completes it.
    pub(super) async fn restores(&mut self, point: Point, place: &str) -> Result<(), Failure> {
        let place_of = self.place_for_another()?;
        let Another { dir, url, config, .. } = &place_of;
        let file = dir.join("backup").to_string_lossy().into_owned();
        let own = self.dir.join("control-plane/config.toml").to_string_lossy().into_owned();
        let made = self.another_does(dir, &["backup", &file, "--config", &own], None).await?;
        if !made.success() {
            return Err(wrong(&format!("no backup: {made}")));
        }
        let restore = ["restore", &file, "--config", config];
        died(self.another_does(dir, &restore, Some(place)).await?)?;
        if point != Point::RestoreNamed {
            let served = self.another_does(dir, &["serve", "--config", config], None).await?;
            if served.success() {
                return Err(wrong("what was half restored was served"));
            }
            let done = self.another_does(dir, &restore, None).await?;
            if !done.success() {
                return Err(wrong(&format!("it cannot be restored again: {done}")));
            }
        }
        let mut server = self.serve_another(&place_of).await?;
        log_in(dir, url, &self.world.password)?;
        server.kill().await;
        Ok(())
    }

    /// A place for another control plane.
    fn place_for_another(&mut self) -> Result<Another, Failure> {
        let name = self.fresh("another");
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let (config, password) = (dir.join("config.toml"), dir.join("password"));
        let mut file = std::fs::OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&password);
        file?.write_all(PASSWORD.as_bytes())?;
        let (http, mqtt) = (free_port()?, free_port()?);
        let text = format!(
            "data_dir = {:?}\n[http]\nbind = \"127.0.0.1:{http}\"\n[mqtt]\nbind = \
             \"127.0.0.1:{mqtt}\"\n",
            dir.join("data")
        );
        std::fs::write(&config, text)?;
        Ok(Another {
            config: config.to_string_lossy().into_owned(),
            password: password.to_string_lossy().into_owned(),
            url: format!("http://127.0.0.1:{http}"),
            dir,
        })
    }

    /// Serves another control plane, once it is ready.
    async fn serve_another(&self, another: &Another) -> Result<Process, Failure> {
        let ready = another.dir.join("ready");
        let file = ready.to_string_lossy();
        let args = ["serve", "--config", &another.config, "--ready-file", &file];
        let mut server = self.start_another(&another.dir, &args, None)?;
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            if Instant::now() > deadline || server.ended().is_some() {
                return Err(wrong("what there is cannot be served"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(server)
    }

    fn start_another(
        &self,
        dir: &Path,
        args: &[&str],
        place: Option<&str>,
    ) -> std::io::Result<Process> {
        let env = place.map(|place| (VARIABLE, place));
        let program = self.world.programs().control_plane();
        Process::start("another", program, args, &dir.join("log"), env)
    }

    async fn another_does(
        &self,
        dir: &Path,
        args: &[&str],
        place: Option<&str>,
    ) -> Result<ExitStatus, Failure> {
        let mut program = self.start_another(dir, args, place)?;
        let ended = tokio::time::timeout(PATIENCE, program.end()).await;
        Ok(ended.map_err(|_| wrong("it does not end"))??)
    }
}

/// Where another control plane lives.
struct Another {
    dir: PathBuf,
    url: String,
    config: String,
    password: String,
}

/// Logs in as the first admin.
fn log_in(home: &Path, url: &str, password: &str) -> Result<(), Failure> {
    let mut child = std::process::Command::new(find_program("openclaw")?)
        .args(["login", url, "--password-stdin"])
        .env("OPENCLAW_CONFIG_DIR", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(password.as_bytes())?;
    }
    if child.wait()?.success() { Ok(()) } else { Err(wrong("the first admin cannot log in")) }
}
