//! Child processes: found, started, stopped, killed, and never left behind.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

/// How long a child may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
}

impl Process {
    /// Starts `program` with its output going to `log` (appended), and these variables.
    ///
    /// # Errors
    /// The program or its log cannot be opened.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[&str],
        log: &Path,
        env: Option<(&str, &str)>,
    ) -> std::io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(args)
            .envs(env)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            // A Ctrl-C at the terminal is for the parent, which stops its children in order.
            .process_group(0)
            .spawn()
            .map_err(|e| std::io::Error::new(e.kind(), format!("{}: {e}", program.display())))?;
        Ok(Self { name: name.to_owned(), child })
    }

    /// Process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The exit status, if it has ended on its own.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The system's.
    pub async fn end(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// SIGKILL: no warning, no cleaning up.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// SIGTERM, then SIGKILL for one that does not listen.
    pub async fn stop(&mut self) {
        self.terminate();
        if tokio::time::timeout(STOP_WITHIN, self.child.wait()).await.is_err() {
            eprintln!("{} does not stop; killing it", self.name);
            self.kill().await;
        }
    }
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// It cannot be started, or ends with another code than 0: the error holds what it said.
pub(crate) async fn output(program: &Path, args: &[&str]) -> std::io::Result<String> {
    let done = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .output()
        .await?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(std::io::Error::other(format!(
        "{} {}: {}: {}",
        program.display(),
        args.join(" "),
        done.status,
        said.trim()
    )))
}

/// Finds one of our other programs: beside this one, or in a parent directory (as for test
/// binaries), or on the PATH.
///
/// # Errors
/// It is nowhere; the text says what to build.
pub fn find_program(name: &str) -> std::io::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let mut places: Vec<PathBuf> =
        here.ancestors().skip(1).take(3).map(|dir| dir.join(name)).collect();
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path).map(|dir| dir.join(name)));
    }
    places.into_iter().find(|p| p.is_file()).ok_or_else(|| {
        std::io::Error::other(format!(
            "`{name}` is neither beside {} nor on the PATH; build it with `cargo build`",
            here.display()
        ))
    })
}

/// Finds the directory of built plugins.
///
/// # Errors
/// It is nowhere; the text says what to do.
pub fn find_plugins(given: Option<&Path>) -> std::io::Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    let here = std::env::current_exe()?;
    here.ancestors()
        .skip(1)
        .take(4)
        .map(|dir| dir.join("plugins"))
        .find(|dir| dir.join("system-metrics/plugin.toml").is_file())
        .ok_or_else(|| {
            std::io::Error::other(
                "no built plugins were found; run `make plugins`, or name them with --plugins DIR",
            )
        })
}

/// A port of this machine that was free a moment ago.
///
/// # Errors
/// None could be had.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
