//! The part of WASI preview 1 that common toolchains emit without being asked: output goes to the
//! log, clock and random bytes are ordinary requests, arguments and environment are empty, and
//! everything else answers `ENOSYS`. There are no files and no sockets.

use openclaw_plugin_abi::module;
use wasmi::{Error, ExternType, Linker, Module, Val, ValType};

use crate::guest::{self, Guest, Pause, suspend};
use crate::limits;
use crate::request::{NowReply, RandomReply, Request, errno};
use crate::state::State;

/// Buffers in one `fd_write`.
const VECTORS: i32 = 1_024;

/// Defines what we know of WASI, then, for this module, an `ENOSYS` in the place of the rest.
pub(crate) fn link(linker: &mut Linker<State>, wasm: &Module) -> Result<(), Error> {
    streams(linker)?;
    surroundings(linker)?;
    linker.func_wrap(
        module::WASI,
        "clock_time_get",
        |mut g: Guest<'_>, _clock: i32, _precision: i64, ptr: i32| {
            guest::span(&mut g, ptr, 8)?;
            Err::<i32, _>(suspend(&mut g, Request::Now(NowReply::Wasi { ptr })))
        },
    )?;
    linker.func_wrap(module::WASI, "random_get", |mut g: Guest<'_>, ptr: i32, len: i32| {
        guest::span(&mut g, ptr, len)?;
        let reply = RandomReply::Wasi;
        Err::<i32, _>(suspend(&mut g, Request::Random { ptr, len, reply }))
    })?;
    linker.func_wrap(module::WASI, "proc_exit", |_: Guest<'_>, code: i32| {
        Err::<(), _>(Error::host(Pause::Exit(code)))
    })?;
    absent(linker, wasm)
}

fn streams(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::WASI;
    linker.func_wrap(
        m,
        "fd_write",
        |mut g: Guest<'_>, fd: i32, vectors: i32, count: i32, written: i32| {
            if fd != 1 && fd != 2 {
                return Ok(errno::BADF);
            }
            if !(0..=VECTORS).contains(&count) {
                return Ok(errno::INVAL);
            }
            let list = guest::bytes(&mut g, vectors, count * 8)?;
            // A write may take less than it is given. Without a bound, one call could name all
            // of memory a thousand times.
            let mut left = limits::LOG_BYTES as u32;
            for pair in list.chunks_exact(8) {
                let (ptr, len) = (word(&pair[..4]), (word(&pair[4..]) as u32).min(left));
                let (text, state) = guest::span(&mut g, ptr, len as i32)?;
                state.logs.stream(fd as usize - 1, text);
                left -= len;
            }
            put(&mut g, written, &(limits::LOG_BYTES as u32 - left).to_le_bytes())
        },
    )?;
    // Standard input is at its end.
    linker.func_wrap(
        m,
        "fd_read",
        |mut g: Guest<'_>, fd: i32, _vectors: i32, _count: i32, read: i32| match fd {
            0 => put(&mut g, read, &0_u32.to_le_bytes()),
            _ => Ok(errno::BADF),
        },
    )?;
    linker.func_wrap(m, "fd_fdstat_get", |mut g: Guest<'_>, fd: i32, stat: i32| {
        if !(0..=2).contains(&fd) {
            return Ok(errno::BADF);
        }
        let mut bytes = [0; 24];
        bytes[0] = 2; // a character device
        put(&mut g, stat, &bytes)
    })?;
    linker.func_wrap(m, "fd_seek", |_: Guest<'_>, _fd: i32, _by: i64, _from: i32, _at: i32| {
        errno::SPIPE
    })?;
    linker.func_wrap(m, "fd_close", |_: Guest<'_>, _fd: i32| errno::SUCCESS)?;
    // No directory is open, which is how a C library's start-up ends its search.
    linker.func_wrap(m, "fd_prestat_get", |_: Guest<'_>, _fd: i32, _to: i32| errno::BADF)?;
    Ok(())
}

fn surroundings(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::WASI;
    for name in ["args_sizes_get", "environ_sizes_get"] {
        linker.func_wrap(m, name, |mut g: Guest<'_>, count: i32, bytes: i32| {
            put(&mut g, count, &[0; 4])?;
            put(&mut g, bytes, &[0; 4])
        })?;
    }
    for name in ["args_get", "environ_get"] {
        linker.func_wrap(m, name, |_: Guest<'_>, _list: i32, _bytes: i32| errno::SUCCESS)?;
    }
    linker.func_wrap(m, "clock_res_get", |mut g: Guest<'_>, _clock: i32, ptr: i32| {
        put(&mut g, ptr, &1_000_000_u64.to_le_bytes())
    })?;
    linker.func_wrap(m, "sched_yield", |_: Guest<'_>| errno::SUCCESS)?;
    Ok(())
}

/// Every other WASI function that the module imports and that can answer with an error number.
fn absent(linker: &mut Linker<State>, wasm: &Module) -> Result<(), Error> {
    linker.allow_shadowing(false);
    for import in wasm.imports().filter(|i| i.module() == module::WASI) {
        let ExternType::Func(ty) = import.ty() else { continue };
        if ty.results() != [ValType::I32] {
            continue;
        }
        let nosys = |mut g: Guest<'_>, _: &[Val], results: &mut [Val]| {
            guest::charge(&mut g, 0)?;
            results[0] = Val::I32(errno::NOSYS);
            Ok(())
        };
        // A known function is already there, and a repeated import is defined the first time.
        let _ = linker.func_new(module::WASI, import.name(), ty.clone(), nosys);
    }
    Ok(())
}

fn put(g: &mut Guest<'_>, ptr: i32, bytes: &[u8]) -> Result<i32, Error> {
    guest::span(g, ptr, bytes.len() as i32)?.0.copy_from_slice(bytes);
    Ok(errno::SUCCESS)
}

fn word(bytes: &[u8]) -> i32 {
    bytes.first_chunk::<4>().map_or(0, |b| i32::from_le_bytes(*b))
}
