//! Devices on an I²C bus: what is written and what is read, in one transaction of the bus.

use std::io;

use i2cdev::core::{I2CMessage as _, I2CTransfer as _};
use i2cdev::linux::{LinuxI2CBus, LinuxI2CMessage};
use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::HostError;
use rustix::io::Errno;

use crate::config::I2cDevice;

/// Whoever carries a transaction: the kernel, or a test. The second part is filled.
pub(super) type Bus = Box<dyn Fn(&I2cDevice, &[u8], &mut [u8]) -> io::Result<()> + Send + Sync>;

/// The devices that the configuration offers.
pub struct I2c {
    devices: VecMap<String, I2cDevice>,
    bus: Bus,
}

impl std::fmt::Debug for I2c {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I2c").field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl I2c {
    /// Offers these.
    #[must_use]
    pub fn new(devices: VecMap<String, I2cDevice>) -> Self {
        Self::on(devices, Box::new(on_kernel))
    }

    pub(super) fn on(devices: VecMap<String, I2cDevice>, bus: Bus) -> Self {
        Self { devices, bus }
    }

    /// Writes, then reads so many bytes; either may be none.
    ///
    /// # Errors
    /// There is no device of that name, or it does not answer.
    pub fn transfer(&self, name: &str, write: &[u8], read: usize) -> Result<Vec<u8>, HostError> {
        let Some(device) = self.devices.get(name) else {
            return Err(HostError::NotFound(format!(
                "this device offers nothing on I2C as `{name}`; add [i2c.{name}] to its \
                 configuration"
            )));
        };
        if write.is_empty() && read == 0 {
            return Err(HostError::Invalid(format!(
                "`{name}`: nothing to write and nothing to read"
            )));
        }
        let mut answer = vec![0; read];
        (self.bus)(device, write, &mut answer).map_err(|e| failed(name, &e))?;
        Ok(answer)
    }
}

fn failed(name: &str, error: &io::Error) -> HostError {
    match Errno::from_io_error(error) {
        Some(Errno::NXIO | Errno::REMOTEIO) => HostError::Failed(format!(
            "`{name}` does not answer at its address; see its wiring and `i2cdetect`"
        )),
        Some(Errno::NOENT | Errno::NODEV) => HostError::NotFound(format!(
            "`{name}`: its bus is not there; see that I2C is switched on"
        )),
        Some(Errno::ACCESS | Errno::PERM) => HostError::Failed(format!(
            "`{name}`: the agent's user may not open its bus; add it to the group of the device \
             file, often `i2c`"
        )),
        _ => HostError::Failed(format!("`{name}`: {error}")),
    }
}

fn on_kernel(device: &I2cDevice, write: &[u8], read: &mut [u8]) -> io::Result<()> {
    let mut bus = LinuxI2CBus::new(&device.bus).map_err(of_kernel)?;
    bus.transfer(&mut messages(device, write, read)).map_err(of_kernel)?;
    Ok(())
}

/// One or two messages; between two the bus sees a repeated start and no stop.
fn messages<'a>(
    device: &I2cDevice,
    write: &'a [u8],
    read: &'a mut [u8],
) -> Vec<LinuxI2CMessage<'a>> {
    let mut messages = Vec::with_capacity(2);
    if !write.is_empty() {
        messages.push(LinuxI2CMessage::write(write).with_address(device.address));
    }
    if !read.is_empty() {
        messages.push(LinuxI2CMessage::read(read).with_address(device.address));
    }
    messages
}

fn of_kernel(error: i2cdev::linux::LinuxI2CError) -> io::Error {
    error.into()
}

#[cfg(test)]
#[path = "i2c_tests.rs"]
mod tests;
