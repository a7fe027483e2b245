//! What the configuration lets plugins have of this machine beside its network: files to write,
//! serial ports, digital lines, devices on an I²C bus, and commands. Plugins know logical names;
//! what stands behind them is said here alone.

use std::path::{Component, Path, PathBuf};

use openclaw_protocol::id::PluginName;
use openclaw_protocol::ordered::VecMap;
use serde::Deserialize;

use super::Config;
use crate::limits;

/// `[serial.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SerialPort {
    /// The device file.
    pub device: PathBuf,
    /// Bits a second.
    #[serde(default = "baud")]
    pub baud: u32,
    /// Bits of a character, 5 to 8.
    #[serde(default = "data_bits")]
    pub data_bits: u8,
    /// The bit that checks the others.
    #[serde(default)]
    pub parity: Parity,
    /// 1 or 2.
    #[serde(default = "stop_bits")]
    pub stop_bits: u8,
    /// How either side makes the other one wait.
    #[serde(default)]
    pub flow: Flow,
}

const fn baud() -> u32 {
    9_600
}

const fn data_bits() -> u8 {
    8
}

const fn stop_bits() -> u8 {
    1
}

/// The bit that checks the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// There is none.
    #[default]
    None,
    /// An even number of ones.
    Even,
    /// An odd number of ones.
    Odd,
}

/// How either side makes the other one wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Not at all.
    #[default]
    None,
    /// By the lines RTS and CTS.
    Hardware,
    /// By the characters XON and XOFF, which then cannot be data.
    Software,
}

/// `[gpio.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpioLine {
    /// The device file of the chip.
    pub chip: PathBuf,
    /// The line's number on it.
    pub line: u32,
    /// Whether it is read or set.
    pub direction: Direction,
    /// Low voltage is 1.
    #[serde(default)]
    pub active_low: bool,
}

/// Whether a line is read or set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Read.
    In,
    /// Set.
    Out,
}

/// `[i2c.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct I2cDevice {
    /// The device file of the bus.
    pub bus: PathBuf,
    /// Its address of seven bits.
    pub address: u16,
}

/// `[exec.NAME]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program, an absolute path, and its first arguments. There is no shell.
    pub command: Vec<String>,
    /// A plugin may add arguments.
    #[serde(default)]
    pub args: bool,
    /// The longest that it may take, milliseconds.
    #[serde(default = "exec_ms")]
    pub timeout_ms: u32,
    /// Its whole environment.
    #[serde(default)]
    pub env: VecMap<String, String>,
    /// Where it runs.
    #[serde(default = "root")]
    pub working_dir: PathBuf,
}

const fn exec_ms() -> u32 {
    limits::EXEC_MS
}

fn root() -> PathBuf {
    PathBuf::from("/")
}

type Fault = (String, String);

impl SerialPort {
    fn fault(&self) -> Option<(&'static str, String)> {
        let not = |key, what: &str| Some((key, format!("must be {what}")));
        match self {
            Self { device, .. } if device.is_relative() => not("device", ABSOLUTE),
            Self { baud: 0 | 4_000_001.., .. } => not("baud", "1 to 4000000"),
            Self { data_bits: 0..=4 | 9.., .. } => not("data_bits", "5 to 8"),
            Self { stop_bits: 0 | 3.., .. } => not("stop_bits", "1 or 2"),
            Self { .. } => None,
        }
    }
}

const ABSOLUTE: &str = "an absolute path";

impl GpioLine {
    fn fault(&self) -> Option<(&'static str, String)> {
        self.chip.is_relative().then(|| ("chip", format!("must be {ABSOLUTE}")))
    }
}

impl I2cDevice {
    fn fault(&self) -> Option<(&'static str, String)> {
        if self.bus.is_relative() {
            return Some(("bus", format!("must be {ABSOLUTE}")));
        }
        // The others have a meaning of their own on the bus (I2C specification, section 3.1.12).
        let known = (0x08..=0x77).contains(&self.address);
        (!known).then(|| ("address", "must be an address of seven bits, 0x08 to 0x77".to_owned()))
    }
}

impl Command {
    /// The program.
    #[must_use]
    pub fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    fn fault(&self) -> Option<(&'static str, String)> {
        let not = |key, what: &str| Some((key, format!("must {what}")));
        if !self.program().starts_with('/') {
            return not("command", "begin with the absolute path of a program");
        }
        if self.command.iter().any(|part| part.contains('\0')) {
            return not("command", "have no NUL");
        }
        if self.timeout_ms == 0 {
            return not("timeout_ms", "be at least 1");
        }
        if self.working_dir.is_relative() {
            return not("working_dir", "be an absolute path");
        }
        let named = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        let good = self.env.iter().all(|(name, value)| named(name) && !value.contains('\0'));
        if good { None } else { not("env", "have names without `=`, and no NUL") }
    }
}

/// The first entry of a table that cannot be, if any.
fn first_fault<T>(
    table: &str,
    entries: &VecMap<String, T>,
    fault: fn(&T) -> Option<(&'static str, String)>,
) -> Option<Fault> {
    entries.iter().find_map(|(name, entry)| {
        if let Err(e) = PluginName::parse(name) {
            return Some((format!("{table}.{name}"), format!("has a bad name: {e}")));
        }
        fault(entry).map(|(key, reason)| (format!("{table}.{name}.{key}"), reason))
    })
}

impl Config {
    /// The first of the devices that cannot be, if any: its key and what is wrong.
    pub(super) fn device_fault(&self) -> Option<Fault> {
        first_fault("serial", &self.serial, SerialPort::fault)
            .or_else(|| first_fault("gpio", &self.gpio, GpioLine::fault))
            .or_else(|| first_fault("i2c", &self.i2c, I2cDevice::fault))
            .or_else(|| first_fault("exec", &self.exec, Command::fault))
            .or_else(|| self.writing_fault(None, &Path::to_path_buf))
    }

    /// The same as to what is written, where the paths really lead; `file` is the configuration's.
    pub(super) fn real_fault(&self, file: &Path) -> Option<Fault> {
        self.writing_fault(Some(file), &real)
    }

    /// A directory to be written in from which the agent itself could be changed: it holds what the
    /// agent keeps or believes, or lies in it.
    fn writing_fault(&self, file: Option<&Path>, real: &dyn Fn(&Path) -> PathBuf) -> Option<Fault> {
        let own: Vec<(String, PathBuf)> =
            self.own(file).into_iter().map(|(key, path)| (key, real(path))).collect();
        self.files_write.iter().find_map(|(name, dir)| {
            let key = format!("files_write.{name}");
            let climbs = dir.components().any(|part| part == Component::ParentDir);
            if dir.is_relative() || climbs {
                return Some((key, "must be an absolute path without `..`".to_owned()));
            }
            let dir = real(dir);
            let (whose, _) =
                own.iter().find(|(_, own)| own.starts_with(&dir) || dir.starts_with(own))?;
            let reason = format!(
                "would let plugins write what `{whose}` names, and with it change the agent; name \
                 a directory that neither holds it nor lies in it"
            );
            Some((key, reason))
        })
    }

    /// What is the agent's own on this machine, by its key.
    fn own<'a>(&'a self, file: Option<&'a Path>) -> Vec<(String, &'a Path)> {
        let mut own = vec![("data_dir".to_owned(), self.data_dir.as_path())];
        own.extend(file.map(|file| ("--config".to_owned(), file)));
        own.extend(self.socket.as_deref().map(|path| ("socket".to_owned(), path)));
        own.extend(self.secrets_dir.as_deref().map(|path| ("secrets_dir".to_owned(), path)));
        if let Some(standalone) = &self.standalone {
            own.push(("standalone.workflows".to_owned(), &standalone.workflows));
            let plugins = standalone.plugins.as_deref();
            own.extend(plugins.map(|path| ("standalone.plugins".to_owned(), path)));
        }
        let programs = self.exec.iter();
        own.extend(programs.map(|(n, c)| (format!("exec.{n}.command"), Path::new(c.program()))));
        own
    }
}

/// Where a path leads once all links are followed, as far as it is there.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        let parsed = Config::parse(Path::new("agent.toml"), text);
        parsed.err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_is_said_with_its_key() {
        for (text, part) in [
            ("[serial.a]\nbaud = 9600", "device"),
            ("[serial.a]\ndevice = 'ttyS0'", "`serial.a.device` must be an absolute path"),
            ("[serial.a]\ndevice = '/dev/ttyS0'\nbaud = 0", "serial.a.baud"),
            ("[serial.a]\ndevice = '/dev/ttyS0'\ndata_bits = 9", "5 to 8"),
            ("[serial.a]\ndevice = '/dev/ttyS0'\nstop_bits = 3", "1 or 2"),
            ("[serial.a]\ndevice = '/dev/ttyS0'\nparity = 'mark'", "mark"),
            ("[serial.A]\ndevice = '/dev/ttyS0'", "bad name"),
            ("[gpio.a]\nchip = '/dev/gpiochip0'\nline = 1", "direction"),
            ("[gpio.a]\nchip = 'gpiochip0'\nline = 1\ndirection = 'in'", "gpio.a.chip"),
            ("[gpio.a]\nchip = '/dev/g'\nline = 1\ndirection = 'up'", "up"),
            ("[i2c.a]\nbus = '/dev/i2c-1'\naddress = 0x78", "seven bits"),
            ("[i2c.a]\nbus = 'i2c-1'\naddress = 0x48", "i2c.a.bus"),
            ("[exec.a]\ncommand = []", "absolute path of a program"),
            ("[exec.a]\ncommand = ['ls']", "absolute path of a program"),
            ("[exec.a]\ncommand = ['/bin/ls']\ntimeout_ms = 0", "at least 1"),
            ("[exec.a]\ncommand = ['/bin/ls']\nworking_dir = 'x'", "working_dir"),
            ("[exec.a]\ncommand = ['/bin/ls']\nenv = { 'A=B' = 'c' }", "exec.a.env"),
            ("[exec.a]\ncommand = ['/bin/ls']\nshell = true", "shell"),
            ("[tcp]\nallow = ['plc.site']", "`tcp.allow`"),
        ] {
            let said = fault(text);
            assert!(said.contains(part), "{text:?} said: {said}");
        }
        assert_eq!(fault("[gpio.a]\nchip = '/dev/g'\nline = 1\ndirection = 'in'"), "");
    }

    #[test]
    fn what_the_agent_keeps_or_believes_cannot_be_written() {
        let head = "data_dir = '/var/lib/oc'\nsecrets_dir = '/etc/oc/secrets'\n";
        let tail = "[standalone]\nworkflows = '/etc/oc/flows'\n[exec.a]\ncommand = ['/opt/x/run']";
        for (dir, whose) in [
            ("/", "data_dir"),
            ("/var", "data_dir"),
            ("/var/lib/./oc//", "data_dir"),
            ("/var/lib/oc/out", "data_dir"),
            ("/etc", "secrets_dir"),
            ("/etc/oc/secrets/more", "secrets_dir"),
            ("/etc/oc/flows", "standalone.workflows"),
            ("/opt", "exec.a.command"),
            ("/var/lib/out/../oc", "without `..`"),
            ("out", "absolute"),
        ] {
            let said = fault(&format!("{head}[files_write]\nout = '{dir}'\n{tail}"));
            assert!(said.contains("files_write.out") && said.contains(whose), "{dir}: {said}");
        }
        for dir in ["/var/lib/oc2", "/var/spool", "/etc/oc/flows2"] {
            assert_eq!(fault(&format!("{head}[files_write]\nout = '{dir}'\n{tail}")), "", "{dir}");
        }
    }

    #[test]
    fn nor_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("data/deep")).unwrap();
        std::fs::create_dir_all(at("out")).unwrap();
        std::os::unix::fs::symlink(at("data"), at("link")).unwrap();
        std::os::unix::fs::symlink(dir.path(), at("out/up")).unwrap();
        let file = at("etc.toml");
        let load = |own: &str, written: &str| {
            let (own, written) = (at(own), at(written));
            let text = format!(
                "data_dir = '{}'\n[files_write]\nout = '{}'\n",
                own.display(),
                written.display()
            );
            std::fs::write(&file, text).unwrap();
            Config::load(&file).err().map(|e| e.to_string()).unwrap_or_default()
        };
        assert_eq!(load("data", "out"), "");
        for (own, written) in [
            ("data", "link"),
            ("data", "link/deep"),
            ("data", "out/up/data"),
            ("link/not-yet", "data"),
            ("data/not-yet", "link"),
        ] {
            assert!(load(own, written).contains("`data_dir`"), "{own} {written}");
        }
        assert!(load("data", "out/up").contains("`data_dir`"));
        std::os::unix::fs::symlink(dir.path(), at("data/up")).unwrap();
        // The configuration itself lies in the directory.
        std::fs::create_dir_all(at("conf")).unwrap();
        let conf = at("conf/agent.toml");
        let text = format!(
            "data_dir = '{}'\n[files_write]\nout = '{}'\n",
            at("data").display(),
            at("conf").display()
        );
        std::fs::write(&conf, text).unwrap();
        assert!(Config::load(&conf).unwrap_err().to_string().contains("`--config`"));
    }
}
