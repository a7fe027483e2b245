//! Lines on a chip that is a map, and what the kernel would be asked, byte by byte.

use std::mem::{offset_of, size_of};
use std::sync::Arc;

use super::*;

/// What a chip was asked, and the levels of its lines.
#[derive(Debug, Default)]
struct State {
    asked: Vec<(u32, Want)>,
    levels: VecMap<u32, bool>,
    held: Vec<u32>,
    fails: Option<Errno>,
}

#[derive(Debug, Clone, Default)]
struct Fake(Arc<Mutex<State>>);

struct FakeHeld(Fake, u32);

impl Chips for Fake {
    fn take(&self, line: &GpioLine, want: Want) -> io::Result<Box<dyn Held>> {
        let mut state = self.0.lock().unwrap();
        state.asked.push((line.line, want));
        if let Some(error) = state.fails {
            return Err(error.into());
        }
        if state.held.contains(&line.line) {
            return Err(Errno::BUSY.into());
        }
        state.held.push(line.line);
        if let Want::Output(level) = want {
            state.levels.insert(line.line, level);
        }
        Ok(Box::new(FakeHeld(self.clone(), line.line)))
    }
}

impl Held for FakeHeld {
    fn level(&self) -> io::Result<bool> {
        Ok(self.0.0.lock().unwrap().levels.get(&self.1) == Some(&true))
    }

    fn set(&self, level: bool) -> io::Result<()> {
        self.0.0.lock().unwrap().levels.insert(self.1, level);
        Ok(())
    }
}

impl Drop for FakeHeld {
    /// As a chip whose lines float when nobody holds them.
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap();
        state.held.retain(|line| *line != self.1);
        state.levels.insert(self.1, false);
    }
}

fn line(number: u32, direction: Direction) -> GpioLine {
    GpioLine { chip: "/dev/gpiochip0".into(), line: number, direction, active_low: false }
}

fn gpio() -> (Gpio, Fake) {
    let fake = Fake::default();
    let lines = VecMap::from([
        ("door".to_owned(), line(3, Direction::In)),
        ("pump".to_owned(), line(17, Direction::Out)),
    ]);
    (Gpio::on(lines, Box::new(fake.clone())), fake)
}

#[test]
fn an_output_keeps_its_level_while_nobody_calls() {
    let (gpio, fake) = gpio();
    gpio.write("pump", true).unwrap();
    assert_eq!(fake.0.lock().unwrap().held, [17], "held behind the call");
    assert!(gpio.read("pump").unwrap());
    gpio.write("pump", false).unwrap();
    gpio.write("pump", true).unwrap();
    assert_eq!(fake.0.lock().unwrap().levels.get(&17), Some(&true));
    assert_eq!(
        fake.0.lock().unwrap().asked,
        [(17, Want::Output(true))],
        "taken once, at its level"
    );
    drop(gpio);
    assert!(fake.0.lock().unwrap().held.is_empty(), "and let go at the end");
}

#[test]
fn reading_sets_nothing_and_holds_nothing() {
    let (gpio, fake) = gpio();
    fake.0.lock().unwrap().levels.insert(3, true);
    assert!(gpio.read("door").unwrap());
    assert!(!gpio.read("pump").unwrap());
    let state = fake.0.lock().unwrap();
    assert_eq!(state.asked, [(3, Want::Input), (17, Want::AsItIs)]);
    assert!(state.held.is_empty());
}

#[test]
fn what_cannot_be_says_what_to_do() {
    let (gpio, fake) = gpio();
    let error = gpio.write("door", true).unwrap_err();
    assert!(matches!(&error, HostError::Invalid(m) if m.contains("is an input")), "{error:?}");
    for error in [gpio.read("lamp").unwrap_err(), gpio.write("lamp", true).unwrap_err()] {
        assert!(matches!(&error, HostError::NotFound(m) if m.contains("[gpio.lamp]")), "{error:?}");
    }
    for (errno, said) in [
        (Errno::BUSY, "in use"),
        (Errno::NOENT, "gpiodetect"),
        (Errno::ACCESS, "group"),
        (Errno::INVAL, "no such line"),
    ] {
        fake.0.lock().unwrap().fails = Some(errno);
        let error = gpio.write("pump", true).unwrap_err().to_string();
        assert!(error.contains(said), "{errno}: {error}");
    }
    fake.0.lock().unwrap().fails = None;
    gpio.write("pump", true).unwrap();
}

#[test]
fn the_kernel_is_asked_as_its_header_says() {
    // `struct gpio_v2_line_request` and those in it, of the kernel's include/uapi/linux/gpio.h.
    assert_eq!(size_of::<LineRequest>(), 592);
    assert_eq!(offset_of!(LineRequest, offsets), 0);
    assert_eq!(offset_of!(LineRequest, consumer), 256);
    assert_eq!(offset_of!(LineRequest, config), 288);
    assert_eq!(offset_of!(LineRequest, num_lines), 560);
    assert_eq!(offset_of!(LineRequest, event_buffer_size), 564);
    assert_eq!(offset_of!(LineRequest, fd), 588);
    assert_eq!(size_of::<v2::LineConfig>(), 272);
    assert_eq!(offset_of!(v2::LineConfig, attrs), 32);
    assert_eq!(size_of::<v2::LineConfigAttribute>(), 24);
    assert_eq!((size_of::<LineValues>(), offset_of!(LineValues, mask)), (16, 8));
    // GPIO_V2_LINE_FLAG_*
    let flags = [LineFlags::ACTIVE_LOW, LineFlags::INPUT, LineFlags::OUTPUT].map(|f| f.bits());
    assert_eq!(flags, [1 << 1, 1 << 2, 1 << 3]);

    let low = GpioLine { active_low: true, ..line(17, Direction::Out) };
    let asked = request(&low, Want::Output(true));
    assert_eq!((asked.num_lines, asked.offsets.get(0)), (1, 17));
    assert_eq!(asked.config.flags, LineFlags::OUTPUT | LineFlags::ACTIVE_LOW);
    assert_eq!(asked.config.num_attrs, 1);
    let first = asked.config.attr(0);
    assert_eq!((first.mask, first.attr.to_value()), (1, Some(v2::LineAttributeValue::Values(1))));
    let input = request(&line(3, Direction::In), Want::Input);
    assert_eq!((input.config.flags, input.config.num_attrs), (LineFlags::INPUT, 0));
    let as_it_is = request(&line(3, Direction::Out), Want::AsItIs);
    assert_eq!((as_it_is.config.flags, as_it_is.config.num_attrs), (LineFlags::empty(), 0));
}

#[test]
fn what_is_no_chip_is_refused_by_the_kernel_itself() {
    let mut lines = VecMap::new();
    for (name, chip) in [("null", "/dev/null"), ("none", "/dev/gpiochip-none")] {
        lines.insert(name.to_owned(), GpioLine { chip: chip.into(), ..line(0, Direction::In) });
    }
    let gpio = Gpio::new(lines);
    assert!(matches!(gpio.read("null"), Err(HostError::Failed(_))));
    assert!(matches!(gpio.read("none"), Err(HostError::NotFound(_))));
}
