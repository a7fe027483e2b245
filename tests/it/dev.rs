//! `openclaw dev` as a person runs it: Ctrl-C ends it in order and leaves nothing behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use openclaw::dev::{find_plugins, find_program};

/// How long a small world may take to come up or to end.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn dev(temporary: &Path, more: &[&str]) -> Child {
    Command::new(find_program("openclaw").expect("it is built"))
        .args(["dev", "--agents", "1", "--plugins"])
        .arg(find_plugins(None).expect("plugins are built"))
        .args(more)
        .env("TMPDIR", temporary)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

fn signal(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn end(mut child: Child) -> ExitStatus {
    poll("the end", || child.try_wait().expect("it is ours"))
}

/// Whether the world's only agent is up, which comes last.
fn is_up(world: &Path) -> bool {
    world.join("agents/agent-1/data/agent.sock").exists()
}

#[test]
fn ctrl_c_ends_the_world_in_order() {
    let temporary = tempfile::tempdir().expect("a directory");
    let world = temporary.path().join("world");
    let child = dev(temporary.path(), &["--dir", &world.to_string_lossy()]);
    poll("the agent", || is_up(&world).then_some(()));
    let log = world.join("control-plane/data/openclaw.db-wal");
    assert!(log.exists(), "the database is in use");
    signal(&child);
    let status = end(child);
    assert!(status.code().is_some(), "it ended by itself: {status}");
    assert!(!log.exists(), "the database was not closed: the control plane was killed");
}

#[test]
fn a_world_of_no_name_is_for_its_owner_alone_and_goes_with_ctrl_c() {
    use std::os::unix::fs::PermissionsExt as _;

    let temporary = tempfile::tempdir().expect("a directory");
    let child = dev(temporary.path(), &[]);
    let find = || -> Option<PathBuf> {
        let mut found = std::fs::read_dir(temporary.path()).ok()?;
        found.next().and_then(Result::ok).map(|entry| entry.path())
    };
    let world = poll("the directory", find);
    let mode = std::fs::metadata(&world).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let name = world.file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(!name.ends_with(&format!("-{}", child.id())), "{name} can be guessed");
    poll("the agent", || is_up(&world).then_some(()));
    signal(&child);
    end(child);
    assert_eq!(find(), None, "something is left behind");
}
