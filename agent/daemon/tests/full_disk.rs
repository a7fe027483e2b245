//! A real agent on a real file system that is full, of bytes and of inodes: it never ends, takes no
//! new run, pauses those under way, and goes on by itself.
//!
//! The file system is a small tmpfs, which only root may mount, and not everywhere: without that right
//! these tests show nothing, and say so; `deploy/dev/setup.sh`, which `make test` begins with, does, too.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use openclaw_agent::local::{Answer, Client, ClientError, Request, RunRow, Status};
use openclaw_protocol::run::{Run, RunStatus};
use tempfile::TempDir;

/// The smallest plugin: `execute` returns 0 and says nothing.
const NOOP: &[u8] = b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\
    \x07\x0b\x01\x07execute\0\0\x0a\x06\x01\x04\0\x41\0\x0b";
const SLOW: &str = "workflow: slow\nmode: parallel\nmax: 1000\nsteps:\n  - { id: a, plugin: noop@1 }\n  \
                    - { id: d, delay: 500ms }\n  - { id: b, plugin: noop@1 }\n  - { id: c, plugin: \
                    noop@1 }\n";
const QUICK: &str = "workflow: quick\nmode: parallel\nmax: 1000\nsteps:\n  - { id: a, plugin: noop@1 }\n  \
                     - { id: b, plugin: noop@1 }\n";
/// What the agent has to be back within, after there is room again.
const BACK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of 8 MiB and 64 inodes.
struct Disk {
    at: PathBuf,
    eaters: u32,
}

impl Disk {
    /// `None` where this is not allowed.
    #[expect(clippy::print_stdout, reason = "it is what this shows")]
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=8m,nr_inodes=64,mode=700", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(at).output().unwrap();
        if !mounted.status.success() {
            let said = String::from_utf8_lossy(&mounted.stderr).to_lowercase();
            let no_right = ["permission denied", "not permitted", "superuser", "only root"];
            assert!(no_right.iter().any(|words| said.contains(words)), "{said}");
            println!("SKIPPED: no file system can be mounted here: {}", said.trim());
            return None;
        }
        let disk = Self { at: at.to_owned(), eaters: 0 };
        // Made while there is an inode for it.
        disk.eater();
        Some(disk)
    }

    fn eater(&self) -> File {
        OpenOptions::new().append(true).create(true).open(self.at.join("eater")).unwrap()
    }

    /// Eats all there is, down to the last page.
    fn fill(&self) {
        let mut eater = self.eater();
        for block in [vec![1; 64 * 1024], vec![1; 4 * 1024]] {
            loop {
                match eater.write_all(&block) {
                    Ok(()) => {}
                    Err(e) if e.kind() == ErrorKind::StorageFull => break,
                    Err(e) => panic!("{e}"),
                }
            }
        }
    }

    fn free(&self) {
        self.eater().set_len(0).unwrap();
    }

    fn eat_inodes(&mut self) {
        while File::create(self.at.join(format!("inode-{}", self.eaters))).is_ok() {
            self.eaters += 1;
        }
        assert!(self.eaters > 0);
    }

    fn free_inodes(&mut self) {
        for n in 0..std::mem::take(&mut self.eaters) {
            std::fs::remove_file(self.at.join(format!("inode-{n}"))).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the agent may have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

struct Agent {
    process: Child,
    socket: PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    fn spawn(dir: &Path, data: &Path, socket: Option<&Path>) -> Self {
        let (workflows, plugin) = (dir.join("workflows"), dir.join("plugins/noop"));
        std::fs::create_dir_all(&workflows).unwrap();
        std::fs::create_dir_all(&plugin).unwrap();
        for (name, text) in [("slow", SLOW), ("quick", QUICK)] {
            std::fs::write(workflows.join(format!("{name}.yaml")), text).unwrap();
        }
        std::fs::write(plugin.join("plugin.wasm"), NOOP).unwrap();
        let manifest = "name='noop'\nversion='1.0.0'\ndescription='d'\n";
        std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
        let mut text = format!("data_dir = {data:?}\n");
        if let Some(socket) = socket {
            text.push_str(&format!("socket = {socket:?}\n"));
        }
        let plugins = dir.join("plugins");
        text.push_str(&format!("[standalone]\nworkflows = {workflows:?}\nplugins = {plugins:?}\n"));
        let config = dir.join("agent.toml");
        std::fs::write(&config, text).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_openclaw-agent"))
            .args(["run", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(File::create(dir.join("agent.log")).unwrap())
            .spawn()
            .unwrap();
        let socket = socket.map_or_else(|| data.join("agent.sock"), Path::to_owned);
        Self { process, socket }
    }

    async fn try_ask(&self, request: Request) -> Option<Answer> {
        let asked = async { Client::connect(&self.socket).await?.ask(&request).await };
        match asked.await {
            Ok(answer) => Some(answer),
            Err(ClientError::Refused { code, message }) => Some(Answer::error(&code, message)),
            Err(_) => None,
        }
    }

    async fn ask(&self, request: Request) -> Answer {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = self.try_ask(request.clone()).await {
                return answer;
            }
            assert!(Instant::now() < until, "nobody answers at {}", self.socket.display());
            tokio::task::yield_now().await;
        }
    }

    async fn status(&self) -> Status {
        let Answer::Status(status) = self.ask(Request::Status).await else { panic!("a status") };
        *status
    }

    /// Asks until it is as wanted.
    async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) -> Status {
        let until = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < until, "not {what}: {status:?}");
        }
    }

    async fn start(&self, workflow: &str) -> Result<String, String> {
        let inputs = serde_json::Map::new();
        let answer = self.ask(Request::Start { workflow: workflow.into(), inputs }).await;
        if let Answer::Error(refusal) = answer {
            return Err(refusal.code);
        }
        let Answer::Accepted { run } = answer else { panic!("{answer:?}") };
        Ok(run)
    }

    async fn runs(&self) -> Vec<RunRow> {
        let Answer::Runs(runs) = self.ask(Request::Runs { limit: 1_000 }).await else {
            panic!("a list")
        };
        runs
    }

    /// Whether this run has paused for want of room, or nothing can be said of it for that.
    async fn is_paused(&self, run: &str) -> bool {
        let answer = self.ask(Request::Runs { limit: 1_000 }).await;
        if let Answer::Error(refusal) = answer {
            return refusal.code == "storage_full";
        }
        let Answer::Runs(rows) = answer else { panic!("{answer:?}") };
        let row = rows.iter().find(|row| row.run == run).unwrap();
        row.waiting.as_deref() == Some("storage_full")
    }

    /// What is wrong: with the process that was spawned, and with the runs that it accepted.
    async fn faults(&mut self, pid: u32, accepted: &[String]) -> Vec<String> {
        let mut faults = Vec::new();
        if self.process.try_wait().unwrap().is_some() || self.status().await.pid != pid {
            faults.push("the process has ended".to_owned());
        }
        let Answer::Results(results) = self.ask(Request::Results { limit: 10_000 }).await else {
            panic!("a list")
        };
        for run in accepted {
            let times = results.iter().filter(|row| row.run == *run).count();
            if times != 1 {
                faults.push(format!("run {run} has {times} results"));
            }
        }
        faults
    }
}

fn world() -> Option<(TempDir, Disk)> {
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::mount(&dir.path().join("disk"))?;
    Some((dir, disk))
}

/// Waits for a run's end on a connection that is there already, and asks nothing meanwhile.
async fn ended(mut client: Client, run: String) -> Run {
    loop {
        let answer = client.ask(&Request::Wait { run: run.clone() }).await.unwrap();
        let Answer::Run(run) = answer else { panic!("{answer:?}") };
        if run.status.is_settled() {
            return *run;
        }
    }
}

/// Fills and frees the disk so many times, each time with a run under way that has to pause. What
/// came of it, in figures.
async fn fill_and_free(cycles: usize) -> String {
    let Some((dir, disk)) = world() else { return String::new() };
    let socket = dir.path().join("agent.sock");
    let mut agent = Agent::spawn(dir.path(), &disk.at.join("data"), Some(&socket));
    let pid = agent.until("ready", |status| status.storage.state == "ample").await.pid;
    assert_eq!(pid, agent.process.id());
    let (mut accepted, mut paused, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for cycle in 0..cycles {
        let run = agent.start("slow").await.unwrap();
        accepted.push(run.clone());
        let client = Client::connect(&agent.socket).await.unwrap();
        let end = tokio::spawn(ended(client, run.clone()));
        let until = Instant::now() + PATIENCE;
        // What the agent gives back of its reserve is eaten as well.
        while agent.status().await.storage.state != "storage_full" {
            disk.fill();
            assert!(Instant::now() < until, "it does not notice");
        }
        disk.fill();
        assert_eq!(agent.start("quick").await.unwrap_err(), "storage_full", "cycle {cycle}");
        paused += usize::from(agent.is_paused(&run).await);
        disk.free();
        let freed = Instant::now();
        let run = tokio::time::timeout(PATIENCE, end).await.expect("it goes on").unwrap();
        assert_eq!(run.status, RunStatus::Completed, "cycle {cycle}: {run:?}");
        slowest = slowest.max(freed.elapsed());
        agent.until("ample", |status| status.storage.state == "ample").await;
        accepted.push(agent.start("quick").await.unwrap());
    }
    agent.until("calm", |status| status.unsettled == 0).await;
    assert_eq!(agent.faults(pid, &accepted).await, Vec::<String>::new());
    let reopened = agent.status().await.storage.reopened;
    assert!(paused * 2 >= cycles, "{paused} of {cycles} runs paused");
    assert!(slowest <= BACK, "{slowest:?}");
    format!(
        "{cycles} cycles, {paused} with a paused run; the slowest went on and ended in {slowest:?}; \
         opened again {reopened} times"
    )
}

#[tokio::test]
async fn full_and_free_and_the_agent_goes_on_by_itself() {
    println!("{}", fill_and_free(15).await);
}

#[tokio::test]
#[ignore = "minutes: `make chaos` runs it"]
async fn two_hundred_times_full_and_free() {
    println!("{}", fill_and_free(200).await);
}

#[tokio::test]
async fn a_disk_that_fills_at_any_moment_loses_no_run() {
    let Some((dir, disk)) = world() else { return };
    let socket = dir.path().join("agent.sock");
    let mut agent = Agent::spawn(dir.path(), &disk.at.join("data"), Some(&socket));
    let pid = agent.until("ready", |status| status.storage.state == "ample").await.pid;
    let (mut accepted, mut refused) = (Vec::new(), 0);
    let disk = Arc::new(disk);
    let taken = Arc::new(AtomicUsize::new(0));
    let (heard, place) = (Arc::clone(&taken), Arc::clone(&disk));
    // What is free is gone a moment later, also between a look and a write; and then it is there again
    // until some more runs have been accepted.
    let eater = std::thread::spawn(move || {
        while Arc::strong_count(&heard) > 1 {
            for _ in 0..300 {
                place.fill();
                std::thread::yield_now();
            }
            place.free();
            let enough = heard.load(Ordering::Relaxed) + 20;
            while heard.load(Ordering::Relaxed) < enough && Arc::strong_count(&heard) > 1 {
                std::thread::yield_now();
            }
        }
    });
    while accepted.len() < 600 {
        // Answered when it is durable, so perhaps only once there is room again.
        match agent.start("quick").await {
            Ok(run) => {
                accepted.push(run);
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(code) => {
                assert_eq!(code, "storage_full");
                refused += 1;
            }
        }
    }
    drop(taken);
    eater.join().unwrap();
    disk.free();
    agent.until("calm", |status| status.unsettled == 0).await;
    assert_eq!(agent.faults(pid, &accepted).await, Vec::<String>::new());
    assert!(agent.runs().await.iter().all(|run| run.status == RunStatus::Completed));
    let reopened = agent.status().await.storage.reopened;
    println!("{} runs accepted, {refused} refused, opened again {reopened} times", accepted.len());
    assert!(refused >= 20, "{refused}");
}

#[tokio::test]
async fn without_inodes_everything_goes_on() {
    let Some((dir, mut disk)) = world() else { return };
    let mut agent = Agent::spawn(dir.path(), &disk.at.join("data"), None);
    let pid = agent.until("ready", |status| status.storage.state == "ample").await.pid;
    disk.eat_inodes();
    let mut accepted = Vec::new();
    for _ in 0..20 {
        accepted.push(agent.start("quick").await.unwrap());
    }
    agent.until("calm", |status| status.unsettled == 0).await;
    assert_eq!(agent.status().await.storage.state, "ample");
    assert_eq!(agent.faults(pid, &accepted).await, Vec::<String>::new());
}

/// There is room: the same process starts in time, and works.
async fn starts_now(agent: &mut Agent, pid: u32) {
    let freed = Instant::now();
    agent.until("started", |status| status.workflows == 2).await;
    assert!(freed.elapsed() <= BACK, "{:?}", freed.elapsed());
    let run = agent.start("quick").await.unwrap();
    agent.until("calm", |status| status.unsettled == 0).await;
    assert_eq!(agent.faults(pid, &[run]).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_first_start_without_room_waits_and_says_so() {
    let Some((dir, disk)) = world() else { return };
    disk.fill();
    let mut agent = Agent::spawn(dir.path(), &disk.at.join("data"), None);
    let status = agent.status().await;
    assert_eq!((status.storage.state.as_str(), status.pid), ("storage_full", agent.process.id()));
    assert!(status.storage.message.contains("free some space"), "{}", status.storage.message);
    assert_eq!(agent.start("quick").await.unwrap_err(), "storage_full");
    disk.free();
    starts_now(&mut agent, status.pid).await;
}

#[tokio::test]
async fn a_first_start_without_inodes_waits_and_says_so() {
    let Some((dir, mut disk)) = world() else { return };
    disk.eat_inodes();
    let socket = dir.path().join("agent.sock");
    let mut agent = Agent::spawn(dir.path(), &disk.at.join("data"), Some(&socket));
    let status = agent.status().await;
    assert_eq!(status.storage.state, "storage_full");
    disk.free_inodes();
    starts_now(&mut agent, status.pid).await;
}

#[tokio::test]
async fn control_an_end_and_a_loss_are_seen() {
    let Some((dir, disk)) = world() else { return };
    let data = disk.at.join("data");
    let mut agent = Agent::spawn(dir.path(), &data, None);
    let pid = agent.until("ready", |status| status.storage.state == "ample").await.pid;
    let run = agent.start("quick").await.unwrap();
    agent.until("calm", |status| status.unsettled == 0).await;
    assert_eq!(agent.faults(pid, std::slice::from_ref(&run)).await, Vec::<String>::new());
    drop(agent);
    std::fs::remove_file(data.join("agent.redb")).unwrap();
    let mut agent = Agent::spawn(dir.path(), &data, None);
    agent.until("ready", |status| status.storage.state == "ample").await;
    let faults = agent.faults(pid, &[run]).await;
    assert_eq!(faults.len(), 2, "{faults:?}");
}
