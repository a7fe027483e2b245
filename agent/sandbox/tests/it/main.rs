//! The sandbox from outside: guests as text, hostile guests, and the plugins of this repository.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails its test")]

mod abi;
mod device;
mod host;
mod hostile;
mod interface;
mod limits;
mod modbus;
mod plugins;
mod pointers;
mod replay;
mod shapes;
mod smith;
