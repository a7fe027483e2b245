//! Ctrl-C while the command waits for a person at a terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::Desk;
use crate::stub::Stub;

const PATIENCE: Duration = Duration::from_secs(30);

/// The command at a terminal of its own, and the person's end of that terminal.
fn at_terminal(desk: &Desk, url: &str, args: &[&str]) -> (Child, File, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap().into_string().unwrap();
    let terminal = File::open(&name).unwrap();
    // A session's first process that opens a terminal has it from then on.
    let child = Command::new("setsid")
        .args(["--wait", "sh", "-c", "tty=$1; shift; exec \"$@\" <$tty >$tty 2>$tty", "sh", &name])
        .arg(env!("CARGO_BIN_EXE_openclaw"))
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("OPENCLAW_CONFIG_DIR", desk.path())
        .env("OPENCLAW_URL", url)
        .spawn()
        .unwrap();
    (child, File::from(person), terminal)
}

/// Presses Ctrl-C once `prompt` is shown; the exit code, and whether the terminal echoes again.
fn interrupted_at(prompt: &str, args: &[&str]) -> (Option<i32>, bool) {
    let (desk, stub) = (Desk::new(), Stub::start(Vec::new()));
    let (mut child, mut person, terminal) = at_terminal(&desk, &stub.url, args);
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains(prompt) {
        let mut some = [0; 256];
        let count = person.read(&mut some).unwrap();
        shown.extend_from_slice(&some[..count]);
    }
    person.write_all(b"\x03").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("Ctrl-C at `{prompt}` is not heard");
        }
        std::thread::yield_now();
    };
    let echoes = tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO);
    (status.code(), echoes)
}

#[test]
fn ctrl_c_at_a_password_prompt_is_heard_and_the_terminal_echoes_again() {
    assert_eq!(interrupted_at("Password of", &["login"]), (Some(130), true));
}

#[test]
fn ctrl_c_at_a_question_is_heard() {
    // Several times: that it is heard every other time is not enough.
    for _ in 0..8 {
        assert_eq!(interrupted_at("[y/N]", &["device", "remove", "pump-7"]), (Some(130), true));
    }
}
