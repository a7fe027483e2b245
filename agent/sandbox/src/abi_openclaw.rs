//! Host functions of module `openclaw`: bulk copies and device capabilities.
//! Their contract is written down in the crate `openclaw-plugin-abi`.

use openclaw_plugin_abi::{Level, Status, module, openclaw as names};
use wasmi::{Error, Linker};

use crate::call::Fault;
use crate::guest::{self, Guest, broken, fail, suspend};
use crate::limits;
use crate::request::{HttpReply, NowReply, RandomReply, Request};
use crate::state::State;
use crate::tape::Function;

/// Defines every function of the module.
pub(crate) fn link(linker: &mut Linker<State>) -> Result<(), Error> {
    copies(linker)?;
    settings(linker)?;
    capabilities(linker)
}

fn copies(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::OPENCLAW;
    linker.func_wrap(m, names::INPUT_LENGTH, |g: Guest<'_>| g.data().input.len() as i32)?;
    linker.func_wrap(m, names::INPUT_READ, |mut g: Guest<'_>, ptr: i32, len: i32| {
        let (to, state) = guest::span(&mut g, ptr, len)?;
        let from = state.input.get(..to.len());
        to.copy_from_slice(from.ok_or_else(|| broken("input_read past the end of the input"))?);
        Ok::<(), Error>(())
    })?;
    linker.func_wrap(m, names::OUTPUT_WRITE, |mut g: Guest<'_>, ptr: i32, len: i32| {
        let (bytes, state) = guest::span(&mut g, ptr, len)?;
        state.set_output(bytes).map_err(fail)
    })?;
    linker.func_wrap(m, names::ERROR_WRITE, |mut g: Guest<'_>, ptr: i32, len: i32| {
        // A longer report is cut: half a reason is better than none.
        let longest = (2 * limits::MESSAGE_BYTES) as i32;
        let len = if (0..=longest).contains(&len) { len } else { longest };
        let (bytes, state) = guest::span(&mut g, ptr, len)?;
        state.error = Some(bytes.to_vec());
        Ok::<(), Error>(())
    })?;
    linker.func_wrap(m, names::LOG, |mut g: Guest<'_>, level: i32, ptr: i32, len: i32| {
        let (line, state) = guest::span(&mut g, ptr, len)?;
        state.logs.push(Level::from_code(level), line);
        Ok::<(), Error>(())
    })?;
    linker.func_wrap(m, names::RESULT_LENGTH, |g: Guest<'_>| g.data().result.len() as i32)?;
    linker.func_wrap(m, names::RESULT_READ, |mut g: Guest<'_>, ptr: i32, len: i32| {
        let (to, state) = guest::span(&mut g, ptr, len)?;
        let from = state.result.get(..to.len());
        to.copy_from_slice(from.ok_or_else(|| broken("result_read past the end of the result"))?);
        Ok::<(), Error>(())
    })?;
    Ok(())
}

fn settings(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::OPENCLAW;
    linker.func_wrap(m, names::CONTEXT, |mut g: Guest<'_>| {
        let json = serde_json::to_vec(&g.data().context).unwrap_or_default();
        g.data_mut().note(Function::Context, "", Some(&json));
        answer(&mut g, Ok(json))
    })?;
    linker.func_wrap(m, names::CONFIG_GET, |mut g: Guest<'_>, key: i32, key_len: i32| {
        let key = guest::text(&mut g, key, key_len)?;
        let value = g.data().config.get(&key).map(|v| v.clone().into_bytes());
        g.data_mut().note(Function::Config, &key, value.as_deref());
        answer(&mut g, value.ok_or("no such setting"))
    })?;
    linker.func_wrap(m, names::VAR_GET, |mut g: Guest<'_>, key: i32, key_len: i32| {
        let key = guest::text(&mut g, key, key_len)?;
        let value = g.data().vars.get(&key).cloned();
        g.data_mut().note(Function::Var, &key, value.as_deref());
        answer(&mut g, value.ok_or("no such variable"))
    })?;
    linker.func_wrap(
        m,
        names::VAR_SET,
        |mut g: Guest<'_>, key: i32, key_len: i32, value: i32, len: i32| {
            let key = guest::text(&mut g, key, key_len)?;
            let (value, state) = guest::span(&mut g, value, len)?;
            Ok::<i32, Error>(match state.set_var(&key, Some(value)) {
                Ok(()) => 0,
                Err(message) => state.keep_status(Status::TooLarge, &message),
            })
        },
    )?;
    linker.func_wrap(m, names::VAR_REMOVE, |mut g: Guest<'_>, key: i32, key_len: i32| {
        let key = guest::text(&mut g, key, key_len)?;
        g.data_mut().vars.remove(&key);
        Ok::<(), Error>(())
    })?;
    Ok(())
}

fn capabilities(linker: &mut Linker<State>) -> Result<(), Error> {
    let m = module::OPENCLAW;
    linker.func_wrap(
        m,
        names::HTTP_REQUEST,
        |mut g: Guest<'_>, head: i32, head_len: i32, body: i32, body_len: i32| {
            let head = guest::bytes(&mut g, head, head_len)?;
            g.data().room_for(body_len as u32 as usize).map_err(fail)?;
            let body = guest::bytes(&mut g, body, body_len)?;
            Err::<i64, _>(suspend(&mut g, Request::Http { head, body, reply: HttpReply::Result }))
        },
    )?;
    linker.func_wrap(
        m,
        names::FILE_READ,
        |mut g: Guest<'_>, dir: i32, dir_len: i32, path: i32, path_len: i32, max: i32| {
            let dir = guest::text(&mut g, dir, dir_len)?;
            let path = guest::text(&mut g, path, path_len)?;
            let max = max as u32 as usize;
            Err::<i64, _>(suspend(&mut g, Request::ReadFile { dir, path, max }))
        },
    )?;
    linker.func_wrap(
        m,
        names::DIR_LIST,
        |mut g: Guest<'_>, dir: i32, dir_len: i32, path: i32, path_len: i32| {
            let dir = guest::text(&mut g, dir, dir_len)?;
            let path = guest::text(&mut g, path, path_len)?;
            Err::<i64, _>(suspend(&mut g, Request::ListDir { dir, path }))
        },
    )?;
    linker.func_wrap(m, names::NOW_MS, |mut g: Guest<'_>| {
        Err::<i64, _>(suspend(&mut g, Request::Now(NowReply::Millis)))
    })?;
    linker.func_wrap(m, names::RANDOM, |mut g: Guest<'_>, ptr: i32, len: i32| {
        guest::span(&mut g, ptr, len)?; // a bad span ends the call before anything is asked
        let reply = RandomReply::Status;
        Err::<i32, _>(suspend(&mut g, Request::Random { ptr, len, reply }))
    })?;
    Ok(())
}

/// Keeps a value as the result, or says that there is none.
fn answer(g: &mut Guest<'_>, value: Result<Vec<u8>, &str>) -> Result<i64, Error> {
    guest::charge(g, value.as_ref().map_or(0, Vec::len))?;
    let state = g.data_mut();
    match value {
        Ok(value) => state.keep_result(value).map_err(|fault: Fault| fail(fault)),
        Err(message) => Ok(i64::from(state.keep_status(Status::NotFound, message))),
    }
}
