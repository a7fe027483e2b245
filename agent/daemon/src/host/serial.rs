//! Serial ports: the configuration says which device file stands behind a name and how it speaks.
//!
//! A port belongs to one call at a time: two that write in turns would both be misunderstood. The
//! kernel keeps others out, by a lock on the file that programs agree on and by `TIOCEXCL`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::HostError;
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock, openat};
use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios,
    ioctl_tiocexcl, ioctl_tiocnxcl, isatty, tcflush, tcgetattr, tcsetattr,
};

use crate::config::{Flow, Parity, SerialPort};

/// A port that is open for one call.
#[derive(Debug)]
pub(super) struct Port(OwnedFd);

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // What is still in the kernel's buffer is sent first: closing waits for it, up to the 30 s
        // of the driver where the other side makes it wait.
        let _ = ioctl_tiocnxcl(&self.0);
    }
}

/// Opens the port of a name.
///
/// # Errors
/// The device offers none of that name, it is not there, or another call has it.
pub(super) fn open(ports: &VecMap<String, SerialPort>, name: &str) -> Result<Port, HostError> {
    let Some(port) = ports.get(name) else {
        return Err(HostError::NotFound(format!(
            "this device offers no serial port `{name}`; add [serial.{name}] to its configuration"
        )));
    };
    let failed = |e: Errno| match e {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => HostError::NotFound(format!(
            "serial port `{name}`: its device is not there; see that it is connected"
        )),
        Errno::BUSY | Errno::AGAIN => HostError::Failed(format!(
            "serial port `{name}` is in use by another call or program; try again later"
        )),
        Errno::ACCESS | Errno::PERM => HostError::Failed(format!(
            "serial port `{name}`: the agent's user may not open it; add it to the group of the \
             device file, often `dialout`"
        )),
        e => HostError::Failed(format!("serial port `{name}`: {e}")),
    };
    // Opened without waiting for a carrier, and never as the process's own terminal.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = openat(CWD, &port.device, flags, Mode::empty()).map_err(failed)?;
    if !isatty(&fd) {
        let what = format!("serial port `{name}`: what its configuration names is no terminal");
        return Err(HostError::Failed(what));
    }
    flock(&fd, FlockOperation::NonBlockingLockExclusive).map_err(failed)?;
    ioctl_tiocexcl(&fd).map_err(failed)?;
    let opened = Port(fd);
    let mut termios = tcgetattr(&opened).map_err(failed)?;
    set(&mut termios, port).map_err(failed)?;
    tcsetattr(&opened, OptionalActions::Now, &termios).map_err(failed)?;
    // What came while nobody listened belongs to no call.
    tcflush(&opened, QueueSelector::IOFlush).map_err(failed)?;
    Ok(opened)
}

/// Bytes as they are, at the speed and in the frame of the configuration.
fn set(termios: &mut Termios, port: &SerialPort) -> Result<(), Errno> {
    termios.make_raw();
    // At least one byte and no timer: that there is nothing is not the end.
    termios.special_codes[SpecialCodeIndex::VMIN] = 1;
    termios.special_codes[SpecialCodeIndex::VTIME] = 0;
    let control = &mut termios.control_modes;
    *control |= ControlModes::CLOCAL | ControlModes::CREAD;
    control.remove(ControlModes::CSIZE | ControlModes::PARENB | ControlModes::PARODD);
    control.remove(ControlModes::CSTOPB | ControlModes::CRTSCTS);
    *control |= match port.data_bits {
        5 => ControlModes::CS5,
        6 => ControlModes::CS6,
        7 => ControlModes::CS7,
        _ => ControlModes::CS8,
    };
    control.set(ControlModes::PARENB, port.parity != Parity::None);
    control.set(ControlModes::PARODD, port.parity == Parity::Odd);
    control.set(ControlModes::CSTOPB, port.stop_bits == 2);
    control.set(ControlModes::CRTSCTS, port.flow == Flow::Hardware);
    let input = &mut termios.input_modes;
    input.remove(InputModes::IXANY);
    input.set(InputModes::IXON | InputModes::IXOFF, port.flow == Flow::Software);
    input.set(InputModes::INPCK, port.parity != Parity::None);
    termios.set_speed(port.baud)
}

#[cfg(test)]
#[path = "serial_tests.rs"]
mod tests;
