//! Commands that the configuration spells out: no shell, no environment but theirs, and an end.
//!
//! A command runs in a process group of its own, and the whole group is killed when the command has
//! ended, when its time is over or when the call shall stop. Whoever leaves the group on purpose
//! (`setsid`) is not found again; nobody waits for it. Files that the agent has open are not
//! inherited: all of them are closed by `exec`.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, ExitStatus, Stdio};

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::{Exit, HostError};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::wait::{Wait, wait_for};
use crate::config::Command;
use crate::limits;

/// What a plugin wants run.
pub(super) struct Order<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a [String],
    pub(super) stdin: &'a [u8],
    /// Bytes of standard output at most.
    pub(super) max: usize,
}

/// The command of a name, if the configuration lets it be run so.
///
/// # Errors
/// There is none of that name, or it takes no arguments.
pub(super) fn find<'c>(
    commands: &'c VecMap<String, Command>,
    order: &Order<'_>,
) -> Result<&'c Command, HostError> {
    let name = order.name;
    let Some(command) = commands.get(name) else {
        return Err(HostError::NotFound(format!(
            "this device offers no command `{name}`; add [exec.{name}] to its configuration"
        )));
    };
    if !command.args && !order.args.is_empty() {
        return Err(HostError::Denied(format!(
            "the command `{name}` takes no arguments; [exec.{name}] has to say `args = true`"
        )));
    }
    Ok(command)
}

/// Runs a command to its end: an [`Exit`] as JSON on one line, then standard output.
///
/// # Errors
/// It cannot be started, or did not end in time.
pub(super) fn run(
    command: &Command,
    order: &Order<'_>,
    wait: &Wait<'_>,
) -> Result<Vec<u8>, HostError> {
    let name = order.name;
    let failed = |e: io::Error| HostError::Failed(format!("command `{name}`: {e}"));
    let mut running = Running::start(command, order.args).map_err(|e| {
        if e.kind() != io::ErrorKind::NotFound {
            return failed(e);
        }
        HostError::NotFound(format!(
            "command `{name}`: neither `{}` nor its working directory may be missing",
            command.program()
        ))
    })?;
    let mut pipes = Pipes::new(&mut running.child, order).map_err(failed)?;
    let late = || format!("the command `{name}` did not end in time and was killed");
    while !running.has_ended().map_err(failed)? {
        let left = wait.left(&late)?;
        pipes.wait(left);
        pipes.carry();
    }
    // Nobody of the group writes any more; what it wrote is in the pipes.
    let status = running.end().map_err(failed)?;
    pipes.carry();
    let mut answer = serde_json::to_vec(&pipes.exit(status)).map_err(|e| failed(e.into()))?;
    answer.push(b'\n');
    answer.append(&mut pipes.output);
    Ok(answer)
}

/// A command until it is killed and waited for.
struct Running {
    child: Child,
    status: Option<ExitStatus>,
}

impl Running {
    fn start(command: &Command, args: &[String]) -> io::Result<Self> {
        let child = std::process::Command::new(command.program())
            .args(command.command.iter().skip(1))
            .args(args)
            .env_clear()
            .envs(command.env.iter())
            .current_dir(&command.working_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        Ok(Self { child, status: None })
    }

    fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Whether the command itself has ended. It is not yet waited for: its number, which is that of
    /// the group, goes to nobody else before the group is killed.
    fn has_ended(&self) -> io::Result<bool> {
        let Some(pid) = self.pid() else { return Ok(true) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), options) {
            Ok(ended) => Ok(ended.is_some()),
            Err(Errno::INTR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Kills whatever is left of the group and waits for the command.
    fn end(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.status {
            return Ok(status);
        }
        if let Some(pid) = self.pid() {
            // That there is nobody left is as well.
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let status = self.child.wait()?;
        self.status = Some(status);
        Ok(status)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// What goes in and what comes out.
struct Pipes<'a> {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    input: &'a [u8],
    output: Vec<u8>,
    max: usize,
    truncated: bool,
    errors: Vec<u8>,
}

impl<'a> Pipes<'a> {
    fn new(child: &mut Child, order: &Order<'a>) -> io::Result<Self> {
        let pipes = Self {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            input: order.stdin,
            output: Vec::new(),
            max: order.max,
            truncated: false,
            errors: Vec::new(),
        };
        let [stdin, stdout, stderr] = pipes.ends();
        for end in [stdin, stdout, stderr].into_iter().flatten() {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(pipes)
    }

    fn ends(&self) -> [Option<std::os::fd::BorrowedFd<'_>>; 3] {
        [
            self.stdin.as_ref().map(AsFd::as_fd),
            self.stdout.as_ref().map(AsFd::as_fd),
            self.stderr.as_ref().map(AsFd::as_fd),
        ]
    }

    /// Waits until something can be carried, or for so long.
    fn wait(&self, time: std::time::Duration) {
        let flags = [PollFlags::OUT, PollFlags::IN, PollFlags::IN];
        let ends = self.ends().into_iter().zip(flags);
        let mut fds: Vec<_> =
            ends.filter_map(|(end, flags)| Some(PollFd::from_borrowed_fd(end?, flags))).collect();
        wait_for(&mut fds, time);
    }

    /// Carries what there is and has room.
    fn carry(&mut self) {
        if let Some(stdin) = &self.stdin {
            let done = match rustix::io::write(stdin, self.input) {
                Ok(written) => {
                    self.input = &self.input[written..];
                    self.input.is_empty()
                }
                Err(e) => !is_for_later(e),
            };
            if done {
                self.stdin = None;
            }
        }
        let (output, max, truncated) = (&mut self.output, self.max, &mut self.truncated);
        drain(&mut self.stdout, &mut |part| {
            let room = max.saturating_sub(output.len());
            *truncated |= part.len() > room;
            output.extend_from_slice(&part[..part.len().min(room)]);
        });
        let errors = &mut self.errors;
        drain(&mut self.stderr, &mut |part| {
            errors.extend_from_slice(part);
            let over = errors.len().saturating_sub(limits::STDERR_BYTES);
            errors.drain(..over);
        });
    }

    fn exit(&mut self, status: ExitStatus) -> Exit {
        Exit {
            code: status.code(),
            signal: status.signal(),
            stderr: String::from_utf8_lossy(&self.errors).into_owned(),
            truncated: self.truncated,
        }
    }
}

fn is_for_later(error: Errno) -> bool {
    matches!(error, Errno::AGAIN | Errno::INTR)
}

/// Reads what has come, and closes at the end.
fn drain<T: AsFd>(pipe: &mut Option<T>, take: &mut dyn FnMut(&[u8])) {
    let mut part = [0; 4096];
    // A command that writes without end must not keep its own time from being looked at.
    for _ in 0..PARTS_AT_ONCE {
        let Some(end) = pipe else { return };
        match rustix::io::read(end, &mut part) {
            Ok(0) => *pipe = None,
            Ok(read) => take(&part[..read]),
            Err(e) if is_for_later(e) => return,
            Err(_) => *pipe = None,
        }
    }
}

/// Reads of a pipe between two looks; more than a pipe holds (64 KiB).
const PARTS_AT_ONCE: usize = 32;

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
