//! Serial ports over a pair of pseudo-terminals: the kernel's own line discipline, and no wire.

use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::LocalModes;

use super::super::streams::{End, Streams};
use super::super::wait::Wait;
use super::*;

/// The other side, and the configuration of this one as `meter`.
fn line(change: impl Fn(&mut SerialPort)) -> (OwnedFd, VecMap<String, SerialPort>) {
    let other = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&other).unwrap();
    unlockpt(&other).unwrap();
    let device = ptsname(&other, Vec::new()).unwrap().into_string().unwrap().into();
    let mut port = SerialPort {
        device,
        baud: 9_600,
        data_bits: 8,
        parity: Parity::None,
        stop_bits: 1,
        flow: Flow::None,
    };
    change(&mut port);
    (other, VecMap::from([("meter".to_owned(), port)]))
}

fn write(other: &OwnedFd, bytes: &[u8]) {
    assert_eq!(rustix::io::write(other, bytes).unwrap(), bytes.len());
}

#[test]
fn bytes_go_through_as_they_are() {
    let (other, ports) = line(|_| ());
    let mut streams = Streams::default();
    streams.add(0, End::Serial(open(&ports, "meter").unwrap()));
    let wait = Wait::new(5_000, u64::MAX, &|| None);
    // Every byte, those among them that a terminal would act on.
    let all: Vec<u8> = (0..=255).collect();
    write(&other, &all);
    assert_eq!(streams.read(0, (256, 256), &wait).unwrap(), all);
    streams.write(0, &all, &wait).unwrap();
    let mut back = vec![0; 512];
    let mut had = 0;
    while had < 256 {
        had += rustix::io::read(&other, &mut back[had..]).unwrap();
    }
    assert_eq!(back[..had], all, "nothing is echoed or changed");
    let short = Wait::new(100, u64::MAX, &|| None);
    let error = streams.read(0, (1, 1), &short).unwrap_err();
    assert!(matches!(error, HostError::TimedOut(_)), "silence is not the end: {error:?}");
}

#[test]
fn a_port_belongs_to_one_call_at_a_time() {
    let (other, mut ports) = line(|_| ());
    // The same device under another name is the same device.
    ports.insert("again".to_owned(), ports["meter"].clone());
    let first = open(&ports, "meter").unwrap();
    for name in ["meter", "again"] {
        let error = open(&ports, name).unwrap_err();
        assert!(matches!(&error, HostError::Failed(m) if m.contains("in use")), "{error:?}");
    }
    write(&other, b"for nobody");
    let wait = Wait::new(5_000, u64::MAX, &|| None);
    wait.ready(&first, rustix::event::PollFlags::IN, &String::new).unwrap();
    drop(first);
    let second = open(&ports, "again").unwrap();
    let error = rustix::io::read(&second, &mut [0; 16]).unwrap_err();
    assert_eq!(error, Errno::AGAIN, "what came before belongs to no call");
}

#[test]
fn the_configuration_says_how_it_speaks() {
    let (_other, ports) = line(|port| {
        port.baud = 19_200;
        port.parity = Parity::Odd;
        port.stop_bits = 2;
        port.data_bits = 7;
        port.flow = Flow::Software;
    });
    let mut termios = tcgetattr(open(&ports, "meter").unwrap()).unwrap();
    assert_eq!((termios.input_speed(), termios.output_speed()), (19_200, 19_200));
    assert!(termios.control_modes.contains(ControlModes::CSTOPB | ControlModes::CLOCAL));
    assert!(!termios.local_modes.intersects(LocalModes::ECHO | LocalModes::ICANON));
    assert!(termios.input_modes.contains(InputModes::IXON | InputModes::IXOFF));
    // A pseudo-terminal has eight bits and no parity whatever it is told, so the rest is looked at
    // where it is asked for.
    set(&mut termios, &ports["meter"]).unwrap();
    let control = termios.control_modes;
    assert_eq!(control & ControlModes::CSIZE, ControlModes::CS7);
    assert!(control.contains(ControlModes::PARENB | ControlModes::PARODD));
    assert!(!control.contains(ControlModes::CRTSCTS));
    let mut port = ports["meter"].clone();
    (port.parity, port.flow, port.stop_bits) = (Parity::None, Flow::Hardware, 1);
    set(&mut termios, &port).unwrap();
    let control = termios.control_modes;
    assert!(control.contains(ControlModes::CRTSCTS));
    assert!(
        !control.intersects(ControlModes::PARENB | ControlModes::PARODD | ControlModes::CSTOPB)
    );
    assert!(!termios.input_modes.intersects(InputModes::IXON | InputModes::IXOFF));
}

#[test]
fn what_is_no_port_says_what_to_do() {
    let (_other, mut ports) = line(|_| ());
    let error = open(&ports, "pump").unwrap_err();
    assert!(matches!(&error, HostError::NotFound(m) if m.contains("[serial.pump]")), "{error:?}");
    for (device, said) in [("/dev/null", "no terminal"), ("/dev/ttyNOT0", "connected")] {
        ports.get_mut("meter").unwrap().device = device.into();
        let error = open(&ports, "meter").unwrap_err().to_string();
        assert!(error.contains(said), "{device}: {error}");
    }
}

#[test]
fn no_command_inherits_a_port() {
    let (_other, ports) = line(|_| ());
    let port = open(&ports, "meter").unwrap();
    let flags = rustix::io::fcntl_getfd(&port).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}
