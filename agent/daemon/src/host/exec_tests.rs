//! Commands with the programs that every Linux has.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use openclaw_sandbox::Stop;

use super::*;

fn command(parts: &[&str]) -> Command {
    Command {
        command: parts.iter().map(|part| (*part).to_owned()).collect(),
        args: true,
        timeout_ms: 30_000,
        env: VecMap::new(),
        working_dir: "/".into(),
    }
}

/// A script, which only a shell that is the command itself runs.
fn script(text: &str) -> Command {
    command(&["/bin/sh", "-c", text])
}

fn wait(timeout_ms: u32) -> Wait<'static> {
    Wait::new(timeout_ms, u64::MAX, &|| None)
}

fn run_with(
    command: &Command,
    (args, stdin, max): (&[String], &[u8], usize),
    wait: &Wait<'_>,
) -> Result<(Exit, Vec<u8>), HostError> {
    let answer = run(command, &Order { name: "x", args, stdin, max }, wait)?;
    let line = answer.iter().position(|byte| *byte == b'\n').unwrap();
    let exit = serde_json::from_slice(&answer[..line]).unwrap();
    Ok((exit, answer[line + 1..].to_vec()))
}

fn simply(command: &Command) -> (Exit, String) {
    let (exit, output) = run_with(command, (&[], &[], 64 * 1024), &wait(20_000)).unwrap();
    (exit, String::from_utf8(output).unwrap())
}

fn is_there(pid: &str) -> bool {
    // A zombie is there; one that belongs to nobody is soon waited for by the first process.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_command_gets_its_arguments_and_input_and_gives_its_end() {
    let args = ["$HOME; *".to_owned(), "b c".to_owned()];
    let printf = command(&["/usr/bin/printf", "[%s]"]);
    let (exit, output) = run_with(&printf, (&args, &[], 1_000), &wait(20_000)).unwrap();
    assert_eq!((exit.code, output), (Some(0), b"[$HOME; *][b c]".to_vec()), "there is no shell");
    let (exit, output) =
        run_with(&command(&["/bin/cat"]), (&[], b"in\0put", 1_000), &wait(20_000)).unwrap();
    assert_eq!((exit.code, exit.truncated, output), (Some(0), false, b"in\0put".to_vec()));
    let (exit, output) = simply(&script("echo out; echo wrong >&2; exit 3"));
    assert_eq!((exit.code, exit.signal), (Some(3), None));
    assert_eq!((exit.stderr.as_str(), output.as_str()), ("wrong\n", "out\n"));
    let (exit, _) = simply(&script("kill -TERM $$"));
    assert_eq!((exit.code, exit.signal), (None, Some(15)));
}

#[test]
fn its_environment_is_that_of_the_configuration() {
    let mut env = command(&["/usr/bin/env"]);
    assert_eq!(simply(&env).1, "", "nothing is inherited");
    env.env = VecMap::from([("LANG".to_owned(), "C".to_owned())]);
    assert_eq!(simply(&env).1, "LANG=C\n");
    let mut pwd = command(&["/bin/pwd"]);
    pwd.working_dir = "/usr".into();
    assert_eq!(simply(&pwd).1, "/usr\n");
}

#[test]
fn it_inherits_no_open_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("open-in-the-agent");
    let file = std::fs::File::create(&path).unwrap();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let numbers = [file.as_raw_fd(), socket.as_raw_fd()];
    let names = numbers.map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap());
    let (_, listed) = simply(&command(&["/bin/ls", "-l", "/proc/self/fd"]));
    assert!(listed.contains("pipe:["), "its own are listed: {listed}");
    for name in names.map(|name| name.into_os_string().into_string().unwrap()) {
        assert!(!listed.contains(&name), "{name}: {listed}");
    }
}

#[test]
fn output_is_bounded_and_errors_keep_their_end() {
    let (exit, output) =
        run_with(&script("yes | head -c 300000; exit 0"), (&[], &[], 1_000), &wait(20_000))
            .unwrap();
    assert_eq!((exit.code, exit.truncated, output.len()), (Some(0), true, 1_000));
    let (exit, output) =
        run_with(&command(&["/bin/echo", "four"]), (&[], &[], 5), &wait(20_000)).unwrap();
    assert_eq!((exit.truncated, output.len()), (false, 5), "just fits");
    let (exit, _) = simply(&script("yes begin | head -n 9999 >&2; echo the end >&2"));
    assert_eq!(exit.stderr.len(), limits::STDERR_BYTES);
    assert!(exit.stderr.ends_with("begin\nthe end\n"), "{}", exit.stderr);
    // More input than a pipe holds, to one that reads none of it, and to one that gives it back.
    let much = vec![b'x'; 256 * 1024];
    let (exit, _) = run_with(&command(&["/bin/true"]), (&[], &much, 1_000), &wait(20_000)).unwrap();
    assert_eq!(exit.code, Some(0));
    let (_, output) =
        run_with(&command(&["/bin/cat"]), (&[], &much, much.len()), &wait(20_000)).unwrap();
    assert_eq!(output, much);
}

#[test]
fn the_whole_group_is_killed_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let text = format!("sleep 1000 & echo $$ $! > {}; wait", pids.display());
    let written = || std::fs::read_to_string(&pids).unwrap_or_default();
    // Looked at until both are there: only then the time is over.
    let watch = || written().ends_with('\n').then_some(Stop::Timeout);
    let until_there = Wait::new(60_000, u64::MAX, &watch);
    let error = run_with(&script(&text), (&[], &[], 10), &until_there).unwrap_err();
    assert_eq!(error, HostError::Cancelled);
    for pid in written().split_whitespace() {
        // The kernel ends them one after the other.
        let end = crate::clock::boot_ms() + 20_000;
        while is_there(pid) {
            assert!(crate::clock::boot_ms() < end, "{pid} is still there");
            std::thread::yield_now();
        }
    }
    let error =
        run_with(&command(&["/bin/sleep", "1000"]), (&[], &[], 10), &wait(100)).unwrap_err();
    assert!(matches!(&error, HostError::TimedOut(m) if m.contains("killed")), "{error:?}");
    // One that writes without end is looked at too.
    let error = run_with(&command(&["/usr/bin/yes"]), (&[], &[], 10), &wait(100)).unwrap_err();
    assert!(matches!(error, HostError::TimedOut(_)), "{error:?}");
}

#[test]
fn what_it_leaves_behind_is_killed_and_nobody_waits_for_it() {
    let (exit, output) = simply(&script("sleep 1000 & echo $!"));
    assert_eq!(exit.code, Some(0), "the sleeper holds the pipes open");
    let pid = output.trim();
    assert!(!pid.is_empty());
    let end = crate::clock::boot_ms() + 20_000;
    while is_there(pid) {
        assert!(crate::clock::boot_ms() < end, "{pid} is still there");
        std::thread::yield_now();
    }
    // Who has left the group keeps the pipes, and does not hold up the answer.
    if Path::new("/usr/bin/setsid").exists() {
        let (_, output) = simply(&script("/usr/bin/setsid sleep 30 & echo $!"));
        let pid = Pid::from_raw(output.trim().parse().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

#[test]
fn no_zombie_stays() {
    for _ in 0..5 {
        simply(&command(&["/bin/true"]));
        let _ = run_with(&command(&["/bin/sleep", "9"]), (&[], &[], 1), &wait(1));
    }
    let own = std::process::id().to_string();
    let zombies = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, behind)) = stat.rsplit_once(") ") else { return false };
        let mut fields = behind.split(' ');
        fields.next() == Some("Z") && fields.next() == Some(own.as_str())
    });
    // Other tests of this process run beside this one and may have one for a moment; none stays.
    let zombies: Vec<_> = zombies.map(|entry| entry.path()).collect();
    let end = crate::clock::boot_ms() + 20_000;
    while zombies.iter().any(|path| path.exists()) {
        assert!(crate::clock::boot_ms() < end, "{zombies:?}");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_not_offered_is_not_run() {
    let commands =
        VecMap::from([("reboot".to_owned(), Command { args: false, ..command(&["/bin/true"]) })]);
    let find_it = |name: &str, args: &[String]| {
        find(&commands, &Order { name, args, stdin: &[], max: 0 }).map(drop)
    };
    assert!(find_it("reboot", &[]).is_ok());
    let error = find_it("reboot", &["now".to_owned()]).unwrap_err();
    assert!(matches!(&error, HostError::Denied(m) if m.contains("args = true")), "{error:?}");
    let error = find_it("halt", &[]).unwrap_err();
    assert!(matches!(&error, HostError::NotFound(m) if m.contains("[exec.halt]")), "{error:?}");
    let none = command(&["/usr/bin/no-such-program"]);
    let error = run_with(&none, (&[], &[], 0), &wait(1_000)).unwrap_err();
    assert!(matches!(error, HostError::NotFound(_)), "{error:?}");
}
