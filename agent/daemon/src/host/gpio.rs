//! Digital inputs and outputs: Linux's GPIO character devices, version 2 of their interface.
//!
//! The kernel keeps a line as it was set only while somebody holds it, so an output that was set is
//! held until the agent ends. Inputs are held while they are read.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use gpiocdev_uapi::v2::{self, LineFlags, LineRequest, LineValues};
use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::HostError;
use rustix::io::Errno;

use crate::config::{Direction, GpioLine};

/// What a line is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// To be read.
    Input,
    /// To be set, and at once to this.
    Output(bool),
    /// To be read as it is, output or not.
    AsItIs,
}

/// Whoever gives lines: the kernel, or a test.
pub(super) trait Chips: Send + Sync {
    /// Takes hold of a line.
    fn take(&self, line: &GpioLine, want: Want) -> io::Result<Box<dyn Held>>;
}

/// A line as long as it is held.
pub(super) trait Held: Send {
    fn level(&self) -> io::Result<bool>;
    fn set(&self, level: bool) -> io::Result<()>;
}

/// The lines that the configuration offers.
pub struct Gpio {
    lines: VecMap<String, GpioLine>,
    chips: Box<dyn Chips>,
    /// Outputs that were set.
    outputs: Mutex<VecMap<String, Box<dyn Held>>>,
}

impl std::fmt::Debug for Gpio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpio").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Gpio {
    /// Offers these.
    #[must_use]
    pub fn new(lines: VecMap<String, GpioLine>) -> Self {
        Self::on(lines, Box::new(Kernel))
    }

    pub(super) fn on(lines: VecMap<String, GpioLine>, chips: Box<dyn Chips>) -> Self {
        Self { lines, chips, outputs: Mutex::default() }
    }

    fn line(&self, name: &str) -> Result<&GpioLine, HostError> {
        self.lines.get(name).ok_or_else(|| {
            HostError::NotFound(format!(
                "this device offers no line `{name}`; add [gpio.{name}] to its configuration"
            ))
        })
    }

    /// The level of a line; of an output, what it was set to.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be had.
    pub fn read(&self, name: &str) -> Result<bool, HostError> {
        let line = self.line(name)?;
        let outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let level = match (outputs.get(name), line.direction) {
            (Some(held), _) => held.level(),
            (None, Direction::In) => self.chips.take(line, Want::Input).and_then(|h| h.level()),
            // Nothing has set it yet, and reading is not setting.
            (None, Direction::Out) => self.chips.take(line, Want::AsItIs).and_then(|h| h.level()),
        };
        level.map_err(|e| failed(name, &e))
    }

    /// Sets an output.
    ///
    /// # Errors
    /// There is none of that name, it is an input, or it cannot be had.
    pub fn write(&self, name: &str, level: bool) -> Result<(), HostError> {
        let line = self.line(name)?;
        if line.direction == Direction::In {
            return Err(HostError::Invalid(format!(
                "line `{name}` is an input; [gpio.{name}] says so with direction = \"in\""
            )));
        }
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match outputs.get(name) {
            Some(held) => held.set(level),
            None => self.chips.take(line, Want::Output(level)).map(|held| {
                outputs.insert(name.to_owned(), held);
            }),
        };
        if done.is_err() {
            // Its chip may have been unplugged: the next time it is taken anew.
            outputs.remove(name);
        }
        done.map_err(|e| failed(name, &e))
    }
}

fn failed(name: &str, error: &io::Error) -> HostError {
    match Errno::from_io_error(error) {
        Some(Errno::BUSY) => HostError::Failed(format!(
            "line `{name}` is in use by another program or driver; see `gpioinfo`"
        )),
        Some(Errno::NOENT | Errno::NODEV) => {
            HostError::NotFound(format!("line `{name}`: its chip is not there; see `gpiodetect`"))
        }
        Some(Errno::INVAL) => HostError::Failed(format!(
            "line `{name}`: the chip has no such line, or the line cannot do that"
        )),
        Some(Errno::ACCESS | Errno::PERM) => HostError::Failed(format!(
            "line `{name}`: the agent's user may not open its chip; add it to the group of the \
             device file, often `gpio`"
        )),
        _ => HostError::Failed(format!("line `{name}`: {error}")),
    }
}

/// The kernel's own chips.
struct Kernel;

impl Chips for Kernel {
    fn take(&self, line: &GpioLine, want: Want) -> io::Result<Box<dyn Held>> {
        let chip = File::options().read(true).write(true).open(&line.chip)?;
        let held = v2::get_line(&chip, request(line, want)).map_err(of_kernel)?;
        Ok(Box::new(OfKernel(held)))
    }
}

/// What the kernel is asked for.
fn request(line: &GpioLine, want: Want) -> LineRequest {
    let mut request =
        LineRequest { num_lines: 1, consumer: "openclaw-agent".into(), ..Default::default() };
    request.offsets.set(0, line.line);
    let config = &mut request.config;
    config.flags = match want {
        Want::Input => LineFlags::INPUT,
        Want::Output(_) => LineFlags::OUTPUT,
        Want::AsItIs => LineFlags::empty(),
    };
    config.flags.set(LineFlags::ACTIVE_LOW, line.active_low);
    if let Want::Output(level) = want {
        config.add_values(&LineValues::from_slice(&[level]));
    }
    request
}

struct OfKernel(File);

impl Held for OfKernel {
    fn level(&self) -> io::Result<bool> {
        let mut values = LineValues { bits: 0, mask: 1 };
        v2::get_line_values(&self.0, &mut values).map_err(of_kernel)?;
        Ok(values.bits & 1 != 0)
    }

    fn set(&self, level: bool) -> io::Result<()> {
        v2::set_line_values(&self.0, &LineValues::from_slice(&[level])).map_err(of_kernel)
    }
}

fn of_kernel(error: gpiocdev_uapi::Error) -> io::Error {
    match error {
        gpiocdev_uapi::Error::Os(errno) => io::Error::from_raw_os_error(errno.0),
        gpiocdev_uapi::Error::UnderRead(e) => io::Error::other(e),
    }
}

#[cfg(test)]
#[path = "gpio_tests.rs"]
mod tests;
