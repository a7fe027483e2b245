//! A device on a bus that is a function, and what the kernel would be asked.

use std::mem::size_of;
use std::sync::{Arc, Mutex};

use super::*;

fn device() -> I2cDevice {
    I2cDevice { bus: "/dev/i2c-1".into(), address: 0x48 }
}

fn on(bus: Bus) -> I2c {
    I2c::on(VecMap::from([("sensor".to_owned(), device())]), bus)
}

/// Address, what was written, bytes to read.
type Transaction = (u16, Vec<u8>, usize);

#[test]
fn what_is_written_and_read_is_one_transaction() {
    let seen: Arc<Mutex<Vec<Transaction>>> = Arc::default();
    let seer = Arc::clone(&seen);
    let i2c = on(Box::new(move |device, write, read| {
        seer.lock().unwrap().push((device.address, write.to_vec(), read.len()));
        for (at, byte) in read.iter_mut().enumerate() {
            *byte = at as u8 + 1;
        }
        Ok(())
    }));
    assert_eq!(i2c.transfer("sensor", &[0xd0], 3).unwrap(), [1, 2, 3]);
    assert_eq!(i2c.transfer("sensor", &[1, 2], 0).unwrap(), b"");
    assert_eq!(i2c.transfer("sensor", &[], 1).unwrap(), [1]);
    assert!(matches!(i2c.transfer("sensor", &[], 0), Err(HostError::Invalid(_))));
    let expected = [(0x48, vec![0xd0], 3), (0x48, vec![1, 2], 0), (0x48, vec![], 1)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn the_kernel_is_given_one_message_each_way() {
    // `struct i2c_msg` of the kernel's include/uapi/linux/i2c.h: three numbers of 16 bits and an
    // address.
    assert_eq!(size_of::<LinuxI2CMessage<'_>>(), 2 * size_of::<usize>());
    for (write, read, many) in [(&[1, 2][..], 3, 2), (&[1], 0, 1), (&[], 3, 1)] {
        assert_eq!(messages(&device(), write, &mut vec![0; read]).len(), many);
    }
}

#[test]
fn what_does_not_answer_says_what_to_do() {
    let error = on(Box::new(|_, _, _| Ok(()))).transfer("pump", &[1], 0).unwrap_err();
    assert!(matches!(&error, HostError::NotFound(m) if m.contains("[i2c.pump]")), "{error:?}");
    for (errno, said) in [
        (Errno::REMOTEIO, "i2cdetect"),
        (Errno::NXIO, "wiring"),
        (Errno::NOENT, "bus is not there"),
        (Errno::ACCESS, "group"),
        (Errno::TIMEDOUT, "`sensor`"),
    ] {
        let i2c = on(Box::new(move |_, _, _| Err(errno.into())));
        let error = i2c.transfer("sensor", &[1], 1).unwrap_err().to_string();
        assert!(error.contains(said), "{errno}: {error}");
    }
}

#[test]
fn what_is_no_bus_is_refused_by_the_kernel_itself() {
    for (bus, expected) in [("/dev/null", "Inappropriate ioctl"), ("/dev/i2c-none", "not there")] {
        let device = I2cDevice { bus: bus.into(), ..device() };
        let i2c = I2c::new(VecMap::from([("x".to_owned(), device)]));
        let error = i2c.transfer("x", &[1], 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{bus}: {error}");
    }
}
