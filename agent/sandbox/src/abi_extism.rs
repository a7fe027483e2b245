//! Host functions of module `extism:host/env`: the Extism plugin ABI, as its public PDKs use it.
//!
//! Where Extism answers an access outside every block with zeros, we end the call: wrong data is
//! worse than a failed step. As there, a block that is handed to the host as a name, a value, a
//! request or a line of the log is the host's from then on: the plugin does not free it.

use openclaw_plugin_abi::{Level, module};
use wasmi::{Error, Linker};

use crate::arena::Arena;
use crate::guest::{self, Guest, broken, fail, suspend};
use crate::request::{HttpReply, Request};
use crate::state::{Logs, State};
use crate::tape::Function;

/// Defines every function of the module.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<(), Error> {
    memory(linker)?;
    words(linker)?;
    input_and_output(linker)?;
    settings(linker)?;
    http(linker)?;
    logs(linker)
}

fn memory(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    linker.func_wrap(m, "alloc", |mut g: Guest<'_>, len: i64| {
        let len = usize::try_from(len).map_err(|_| broken("alloc of a negative length"))?;
        if len == 0 {
            return Ok(0);
        }
        // Asked before anything is allocated.
        g.data().room_for(Arena::cost(len)).map_err(fail)?;
        new_block(&mut g, vec![0; len])
    })?;
    linker.func_wrap(m, "free", |mut g: Guest<'_>, handle: i64| {
        guest::charge(&mut g, 0)?;
        g.data_mut().free(handle as u64);
        Ok::<(), Error>(())
    })?;
    for name in ["length", "length_unsafe"] {
        linker.func_wrap(m, name, |mut g: Guest<'_>, handle: i64| {
            guest::charge(&mut g, 0)?;
            Ok::<i64, Error>(g.data().blocks.block(handle as u64).map_or(0, |b| b.len() as i64))
        })?;
    }
    Ok(())
}

/// The functions that copy one byte or eight.
fn words(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    linker.func_wrap(m, "load_u8", |mut g: Guest<'_>, at: i64| {
        load::<1>(&mut g, at).map(|[byte]| i32::from(byte))
    })?;
    linker.func_wrap(m, "load_u64", |mut g: Guest<'_>, at: i64| {
        load::<8>(&mut g, at).map(i64::from_le_bytes)
    })?;
    linker.func_wrap(m, "store_u8", |mut g: Guest<'_>, at: i64, value: i32| {
        store(&mut g, at, [value as u8])
    })?;
    linker.func_wrap(m, "store_u64", |mut g: Guest<'_>, at: i64, value: i64| {
        store(&mut g, at, value.to_le_bytes())
    })?;
    linker.func_wrap(m, "input_load_u8", |mut g: Guest<'_>, at: i64| {
        load_input::<1>(&mut g, at).map(|[byte]| i32::from(byte))
    })?;
    linker.func_wrap(m, "input_load_u64", |mut g: Guest<'_>, at: i64| {
        load_input::<8>(&mut g, at).map(i64::from_le_bytes)
    })?;
    Ok(())
}

fn input_and_output(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    linker.func_wrap(m, "input_length", |g: Guest<'_>| g.data().input.len() as i64)?;
    // PDKs that load the input like any block ask for its address, which is always the same.
    linker.func_wrap(m, "input_offset", |mut g: Guest<'_>| {
        let known = g.data().input_block;
        if g.data().blocks.block(known).is_some() {
            guest::charge(&mut g, 0)?;
            return Ok(known as i64);
        }
        let len = g.data().input.len();
        g.data().room_for(Arena::cost(len)).map_err(fail)?;
        let input = g.data().input.clone();
        let handle = new_block(&mut g, input)?;
        g.data_mut().input_block = handle as u64;
        Ok::<i64, Error>(handle)
    })?;
    linker.func_wrap(m, "output_set", |mut g: Guest<'_>, at: i64, len: i64| {
        guest::charge(&mut g, usize::try_from(len).unwrap_or(0))?;
        let set = g.data_mut().set_output_span(at as u64, len as u64).map_err(fail)?;
        set.ok_or_else(|| outside("output_set", at))
    })?;
    linker.func_wrap(m, "error_set", |mut g: Guest<'_>, handle: i64| {
        let message = if handle == 0 { None } else { Some(block(&mut g, "error_set", handle)?) };
        g.data_mut().error = message;
        Ok::<(), Error>(())
    })?;
    Ok(())
}

fn settings(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    linker.func_wrap(m, "config_get", |mut g: Guest<'_>, key: i64| {
        let key = name(&mut g, "config_get", key)?;
        let value = g.data().config.get(&key).map(|v| v.clone().into_bytes());
        g.data_mut().note(Function::Config, &key, value.as_deref());
        match value {
            Some(value) => new_block(&mut g, value),
            None => Ok(0),
        }
    })?;
    linker.func_wrap(m, "var_get", |mut g: Guest<'_>, key: i64| {
        let key = name(&mut g, "var_get", key)?;
        let value = g.data().vars.get(&key).cloned();
        g.data_mut().note(Function::Var, &key, value.as_deref());
        match value {
            Some(value) => new_block(&mut g, value),
            None => Ok(0),
        }
    })?;
    linker.func_wrap(m, "var_set", |mut g: Guest<'_>, key: i64, value: i64| {
        // One block may be both.
        let is_none = value == 0;
        let value = if is_none { None } else { Some((value, block(&mut g, "var_set", value)?)) };
        let key = name(&mut g, "var_set", key)?;
        let value = value.map(|(handle, bytes)| {
            g.data_mut().free(handle as u64);
            bytes
        });
        let set = g.data_mut().set_var(&key, value.as_deref());
        set.map_err(|message| fail(crate::call::Fault::new("plugin.error", message)))
    })?;
    Ok(())
}

fn http(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    linker.func_wrap(m, "http_request", |mut g: Guest<'_>, head: i64, body: i64| {
        let head = taken(&mut g, "http_request", head)?;
        let body = if body == 0 { Vec::new() } else { taken(&mut g, "http_request", body)? };
        Err::<i64, _>(suspend(&mut g, Request::Http { head, body, reply: HttpReply::Block }))
    })?;
    linker.func_wrap(m, "http_status_code", |g: Guest<'_>| g.data().http_status)?;
    // A block of its own for whoever asks, who gives it back.
    linker.func_wrap(m, "http_headers", |mut g: Guest<'_>| {
        let len = g.data().http_headers.len();
        if len == 0 {
            return Ok(0);
        }
        g.data().room_for(Arena::cost(len)).map_err(fail)?;
        let headers = g.data().http_headers.clone();
        new_block(&mut g, headers)
    })?;
    Ok(())
}

fn logs(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::EXTISM;
    for (name, level) in [
        ("log_trace", Level::Trace),
        ("log_debug", Level::Debug),
        ("log_info", Level::Info),
        ("log_warn", Level::Warn),
        ("log_error", Level::Error),
    ] {
        linker.func_wrap(m, name, move |mut g: Guest<'_>, handle: i64| {
            guest::charge(&mut g, 0)?;
            if handle == 0 {
                return Ok(()); // an empty line has no block
            }
            let state = g.data_mut();
            let line = state.blocks.block(handle as u64).ok_or_else(|| outside(name, handle))?;
            state.logs.push(level, line);
            state.free(handle as u64);
            Ok::<(), Error>(())
        })?;
    }
    linker.func_wrap(m, "get_log_level", |_: Guest<'_>| Logs::LEVEL as i32)?;
    Ok(())
}

fn outside(function: &str, at: i64) -> Error {
    broken(format!("{function} at {at}, which is outside every block"))
}

fn new_block(g: &mut Guest<'_>, bytes: Vec<u8>) -> Result<i64, Error> {
    guest::charge(g, bytes.len())?;
    g.data_mut().keep_block(bytes).map(|handle| handle as i64).map_err(fail)
}

/// A copy of a whole block.
fn block(g: &mut Guest<'_>, function: &str, handle: i64) -> Result<Vec<u8>, Error> {
    let state = g.data();
    let bytes = state.blocks.block(handle as u64).ok_or_else(|| outside(function, handle))?;
    state.room_for(bytes.len()).map_err(fail)?;
    let bytes = bytes.to_vec();
    guest::charge(g, bytes.len())?;
    Ok(bytes)
}

/// The same, of a block that is the host's from now on.
fn taken(g: &mut Guest<'_>, function: &str, handle: i64) -> Result<Vec<u8>, Error> {
    let bytes = block(g, function, handle)?;
    g.data_mut().free(handle as u64);
    Ok(bytes)
}

fn name(g: &mut Guest<'_>, function: &str, handle: i64) -> Result<String, Error> {
    String::from_utf8(taken(g, function, handle)?)
        .map_err(|_| broken(format!("{function} with a name that is not UTF-8")))
}

fn load<const N: usize>(g: &mut Guest<'_>, at: i64) -> Result<[u8; N], Error> {
    guest::charge(g, 0)?;
    let span = g.data().blocks.span(at as u64, N as u64);
    span.and_then(|s| s.try_into().ok()).ok_or_else(|| outside("load", at))
}

fn load_input<const N: usize>(g: &mut Guest<'_>, at: i64) -> Result<[u8; N], Error> {
    guest::charge(g, 0)?;
    let rest = usize::try_from(at).ok().and_then(|at| g.data().input.get(at..));
    rest.and_then(|r| r.first_chunk::<N>().copied())
        .ok_or_else(|| broken(format!("input_load at {at}, which is outside the input")))
}

fn store<const N: usize>(g: &mut Guest<'_>, at: i64, value: [u8; N]) -> Result<(), Error> {
    guest::charge(g, 0)?;
    let span = g.data_mut().blocks.span_mut(at as u64, N as u64);
    span.ok_or_else(|| outside("store", at))?.copy_from_slice(&value);
    Ok(())
}
