//! Reaching into a guest from a host function: spans of its memory, what that costs, and how to
//! end or suspend the call.

use std::fmt;

use wasmi::{Caller, Error};

use crate::call::Fault;
use crate::limits;
use crate::request::Request;
use crate::state::State;

/// What a host function sees of the guest that called it.
pub(crate) type Guest<'a> = Caller<'a, State>;

/// Why a host function hands control back to the one who drives the call.
#[derive(Debug)]
pub(crate) enum Pause {
    /// The guest waits for [`State::request`].
    Request,
    /// The call is over, with this failure.
    Fault(Fault),
    /// The call is over: the guest asked to exit with this code.
    Exit(i32),
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => f.write_str("waiting for the host"),
            Self::Fault(fault) => fault.fmt(f),
            Self::Exit(code) => write!(f, "exit {code}"),
        }
    }
}

impl std::error::Error for Pause {}
impl wasmi_core::HostError for Pause {}

/// Ends the call.
pub(crate) fn fail(fault: Fault) -> Error {
    Error::host(Pause::Fault(fault))
}

/// Ends the call because the guest broke the ABI.
pub(crate) fn broken(what: impl Into<String>) -> Error {
    fail(Fault::new("plugin.trap", what))
}

/// Sets the guest aside until the request is answered.
pub(crate) fn suspend(guest: &mut Guest<'_>, request: Request) -> Error {
    guest.data_mut().request = Some(request);
    Error::host(Pause::Request)
}

/// Takes fuel for a host function that copies `bytes`. What the slice does not have becomes a
/// debt that the driver collects, so the guest is not stopped in the middle of a host function.
pub(crate) fn charge(guest: &mut Guest<'_>, bytes: usize) -> Result<(), Error> {
    charge_fuel(guest, limits::FUEL_PER_HOST_CALL + bytes as u64 / limits::BYTES_PER_FUEL)
}

/// As [`charge`], for an amount of fuel.
pub(crate) fn charge_fuel(guest: &mut Guest<'_>, cost: u64) -> Result<(), Error> {
    let left = guest.get_fuel()?;
    guest.set_fuel(left.saturating_sub(cost))?;
    guest.data_mut().fuel_debt += cost.saturating_sub(left);
    Ok(())
}

/// A span of the guest's linear memory, to read, together with the state.
pub(crate) fn span<'a>(
    guest: &'a mut Guest<'_>,
    ptr: i32,
    len: i32,
) -> Result<(&'a mut [u8], &'a mut State), Error> {
    charge(guest, len as u32 as usize)?;
    let memory = guest.data().memory.ok_or_else(|| broken("the plugin exports no `memory`"))?;
    let (bytes, state) = memory.data_and_store_mut(guest);
    let (from, len) = (ptr as u32 as usize, len as u32 as usize);
    let span = from.checked_add(len).and_then(|to| bytes.get_mut(from..to));
    match span {
        Some(span) => Ok((span, state)),
        None => Err(broken(format!(
            "the plugin gave the host {len} bytes at {from}, which is outside its memory"
        ))),
    }
}

/// A copy of a span of linear memory.
pub(crate) fn bytes(guest: &mut Guest<'_>, ptr: i32, len: i32) -> Result<Vec<u8>, Error> {
    span(guest, ptr, len).map(|(bytes, _)| bytes.to_vec())
}

/// A short text in linear memory: a name, a key, a path.
pub(crate) fn text(guest: &mut Guest<'_>, ptr: i32, len: i32) -> Result<String, Error> {
    const LONGEST: u32 = 4_096;
    if len as u32 > LONGEST {
        return Err(broken(format!("a name of {} bytes; the longest is {LONGEST}", len as u32)));
    }
    String::from_utf8(bytes(guest, ptr, len)?)
        .map_err(|_| broken("the plugin gave the host a name that is not UTF-8"))
}
