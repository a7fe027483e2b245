//! Host functions of module `openclaw` that ask the device. All of them set the guest aside, so they
//! are a table: what they take, what they give back, and the request that comes of it.

use openclaw_plugin_abi::{module, openclaw as names};
use wasmi::{Error, FuncType, Linker, Val, ValType};

use crate::device::{Deed, DeviceRequest, Fetch};
use crate::guest::{self, Guest, fail, suspend};
use crate::state::State;

/// Parameters as letters: `i` is an `i32`, `I` an `i64`, `s` a short text and `b` bytes, both of
/// these given as address and length.
type Signature = &'static str;

/// One function.
struct Foreign {
    name: &'static str,
    takes: Signature,
    make: Make,
}

/// Makes the request of what the guest gave.
#[derive(Clone, Copy)]
enum Make {
    Fetch(fn(&mut Args<'_, '_>) -> Result<Fetch, Error>),
    Deed(fn(&mut Args<'_, '_>) -> Result<Deed, Error>),
}

impl Make {
    fn request(self, args: &mut Args<'_, '_>) -> Result<DeviceRequest, Error> {
        match self {
            Self::Fetch(make) => make(args).map(DeviceRequest::Fetch),
            Self::Deed(make) => make(args).map(DeviceRequest::Deed),
        }
    }

    /// The length of a result, or a number.
    const fn gives(self) -> ValType {
        match self {
            Self::Fetch(_) => ValType::I64,
            Self::Deed(_) => ValType::I32,
        }
    }
}

const fn gives_length(
    name: &'static str,
    takes: Signature,
    make: fn(&mut Args<'_, '_>) -> Result<Fetch, Error>,
) -> Foreign {
    Foreign { name, takes, make: Make::Fetch(make) }
}

const fn gives_status(
    name: &'static str,
    takes: Signature,
    make: fn(&mut Args<'_, '_>) -> Result<Deed, Error>,
) -> Foreign {
    Foreign { name, takes, make: Make::Deed(make) }
}

/// Defines every function of the table.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<(), Error> {
    for foreign in &FUNCTIONS {
        let mut params = Vec::new();
        for letter in foreign.takes.bytes() {
            match letter {
                b'i' => params.push(ValType::I32),
                b'I' => params.push(ValType::I64),
                _ => params.extend([ValType::I32; 2]),
            }
        }
        let ty = FuncType::new(params, [foreign.make.gives()]);
        linker.func_new(module::OPENCLAW, foreign.name, ty, |mut g, values, _| {
            let request = foreign.make.request(&mut Args { g: &mut g, values: values.iter() })?;
            Err(suspend(&mut g, crate::request::Request::Device(Box::new(request))))
        })?;
    }
    Ok(())
}

/// What a guest's call was given, one after the other.
struct Args<'a, 'g> {
    g: &'a mut Guest<'g>,
    values: std::slice::Iter<'a, Val>,
}

impl Args<'_, '_> {
    fn number(&mut self) -> i32 {
        self.values.next().and_then(Val::i32).unwrap_or(0)
    }

    /// Read as unsigned.
    fn size(&mut self) -> usize {
        self.number() as u32 as usize
    }

    fn long(&mut self) -> i64 {
        self.values.next().and_then(Val::i64).unwrap_or(0)
    }

    fn text(&mut self) -> Result<String, Error> {
        let (ptr, len) = (self.number(), self.number());
        guest::text(self.g, ptr, len)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, Error> {
        let (ptr, len) = (self.number(), self.number());
        // Asked before the copy is made.
        self.g.data().room_for(len as u32 as usize).map_err(fail)?;
        guest::bytes(self.g, ptr, len)
    }
}

const FUNCTIONS: [Foreign; 19] = [
    gives_length(names::FILE_READ_AT, "ssIi", |a| {
        let (dir, path) = (a.text()?, a.text()?);
        Ok(Fetch::FileReadAt { dir, path, offset: a.long(), max: a.size() })
    }),
    gives_length(names::FILE_STAT, "ss", |a| {
        Ok(Fetch::FileStat { dir: a.text()?, path: a.text()? })
    }),
    gives_status(names::FILE_WRITE, "ssbi", |a| {
        let (dir, path) = (a.text()?, a.text()?);
        Ok(Deed::FileWrite { dir, path, bytes: a.bytes()?, mode: a.number() })
    }),
    gives_status(names::FILE_REMOVE, "ss", |a| {
        Ok(Deed::FileRemove { dir: a.text()?, path: a.text()? })
    }),
    gives_length(names::KV_GET, "is", |a| Ok(Fetch::KvGet { scope: a.number(), key: a.text()? })),
    gives_status(names::KV_SET, "isb", |a| {
        let (scope, key) = (a.number(), a.text()?);
        Ok(Deed::KvSet { scope, key, value: Some(a.bytes()?) })
    }),
    gives_status(names::KV_REMOVE, "is", |a| {
        Ok(Deed::KvSet { scope: a.number(), key: a.text()?, value: None })
    }),
    gives_length(names::KV_KEYS, "is", |a| {
        Ok(Fetch::KvKeys { scope: a.number(), prefix: a.text()? })
    }),
    gives_status(names::MQTT_PUBLISH, "sbi", |a| {
        let (topic, payload) = (a.text()?, a.bytes()?);
        Ok(Deed::Publish { topic, payload, flags: a.number() })
    }),
    gives_length(names::SECRET_HANDLE, "s", |a| Ok(Fetch::SecretHandle { name: a.text()? })),
    gives_status(names::TCP_CONNECT, "sii", |a| {
        let host = a.text()?;
        Ok(Deed::TcpConnect { host, port: a.number(), timeout_ms: a.number() as u32 })
    }),
    gives_status(names::SERIAL_OPEN, "s", |a| Ok(Deed::SerialOpen { name: a.text()? })),
    gives_length(names::STREAM_READ, "iiii", |a| {
        let stream = a.number() as u32;
        let (min, max) = (a.size(), a.size());
        Ok(Fetch::StreamRead { stream, min, max, timeout_ms: a.number() as u32 })
    }),
    gives_status(names::STREAM_WRITE, "ibi", |a| {
        let (stream, bytes) = (a.number() as u32, a.bytes()?);
        Ok(Deed::StreamWrite { stream, bytes, timeout_ms: a.number() as u32 })
    }),
    gives_status(names::STREAM_CLOSE, "i", |a| Ok(Deed::StreamClose { stream: a.number() as u32 })),
    gives_status(names::GPIO_READ, "s", |a| Ok(Deed::GpioRead { name: a.text()? })),
    gives_status(names::GPIO_WRITE, "si", |a| {
        Ok(Deed::GpioWrite { name: a.text()?, level: a.number() })
    }),
    gives_length(names::I2C_TRANSFER, "sbi", |a| {
        let (name, write) = (a.text()?, a.bytes()?);
        Ok(Fetch::I2cTransfer { name, write, read: a.size() })
    }),
    gives_length(names::EXEC, "sbbi", |a| {
        let (name, args, stdin) = (a.text()?, a.bytes()?, a.bytes()?);
        Ok(Fetch::Exec { name, args, stdin, timeout_ms: a.number() as u32 })
    }),
];
