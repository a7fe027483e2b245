//! The border: every call to the host, made safe. This file and the one below it are the only ones
//! with `unsafe` code.
#![expect(unsafe_code, reason = "host functions are foreign functions")]

pub(crate) mod device;

use openclaw_plugin_abi::{Level, Status};
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The imports as the ABI states them. Pointers are to our own linear memory.
#[cfg(target_arch = "wasm32")]
mod raw {
    #[link(wasm_import_module = "openclaw")]
    unsafe extern "C" {
        pub(super) safe fn input_length() -> u32;
        pub(super) fn input_read(ptr: *mut u8, len: usize);
        pub(super) fn output_write(ptr: *const u8, len: usize);
        pub(super) fn error_write(ptr: *const u8, len: usize);
        pub(super) fn log(level: i32, ptr: *const u8, len: usize);
        pub(super) safe fn result_length() -> u32;
        pub(super) fn result_read(ptr: *mut u8, len: usize);
        pub(super) safe fn context() -> i64;
        pub(super) fn config_get(key: *const u8, key_len: usize) -> i64;
        pub(super) fn var_get(key: *const u8, key_len: usize) -> i64;
        pub(super) fn var_set(key: *const u8, key_len: usize, value: *const u8, len: usize) -> i32;
        pub(super) fn var_remove(key: *const u8, key_len: usize);
        pub(super) fn http_request(
            head: *const u8,
            head_len: usize,
            body: *const u8,
            body_len: usize,
        ) -> i64;
        pub(super) fn file_read(
            dir: *const u8,
            dir_len: usize,
            path: *const u8,
            path_len: usize,
            max: u32,
        ) -> i64;
        pub(super) fn dir_list(
            dir: *const u8,
            dir_len: usize,
            path: *const u8,
            path_len: usize,
        ) -> i64;
        pub(super) safe fn now_ms() -> i64;
        pub(super) fn random(ptr: *mut u8, len: usize) -> i32;
    }
}

/// Outside a sandbox, as in a plugin's own unit tests on the desk, there is no host: no input,
/// nowhere to write, and every request is denied.
#[cfg(not(target_arch = "wasm32"))]
mod raw {
    const DENIED: i32 = openclaw_plugin_abi::Status::Denied.code();

    macro_rules! absent {
        ($($name:ident($($arg:ty),*) $(-> $ret:ty = $value:expr)?;)*) => {
            $(pub(super) unsafe extern "C" fn $name($(_: $arg),*) $(-> $ret)? { $($value)? })*
        };
    }

    absent! {
        input_read(*mut u8, usize);
        output_write(*const u8, usize);
        error_write(*const u8, usize);
        log(i32, *const u8, usize);
        result_read(*mut u8, usize);
        config_get(*const u8, usize) -> i64 = i64::from(DENIED);
        var_get(*const u8, usize) -> i64 = i64::from(DENIED);
        var_set(*const u8, usize, *const u8, usize) -> i32 = DENIED;
        var_remove(*const u8, usize);
        http_request(*const u8, usize, *const u8, usize) -> i64 = i64::from(DENIED);
        file_read(*const u8, usize, *const u8, usize, u32) -> i64 = i64::from(DENIED);
        dir_list(*const u8, usize, *const u8, usize) -> i64 = i64::from(DENIED);
        random(*mut u8, usize) -> i32 = DENIED;
    }

    pub(super) fn input_length() -> u32 {
        0
    }
    pub(super) fn result_length() -> u32 {
        0
    }
    pub(super) fn context() -> i64 {
        i64::from(DENIED)
    }
    pub(super) fn now_ms() -> i64 {
        i64::from(DENIED)
    }
}

/// A buffer of `len` bytes filled by `fill`, which writes exactly that many.
fn filled(len: u32, fill: unsafe extern "C" fn(*mut u8, usize)) -> Vec<u8> {
    let mut buffer = vec![0; len as usize];
    // SAFETY: the span is the buffer's own.
    unsafe { fill(buffer.as_mut_ptr(), buffer.len()) };
    buffer
}

/// The result behind a returned length, or the error behind a negative status.
fn result(code: i64) -> Result<Vec<u8>> {
    let bytes = filled(raw::result_length(), raw::result_read);
    if code >= 0 { Ok(bytes) } else { Err(error_of(code, bytes)) }
}

fn status(code: i32) -> Result<()> {
    if code >= 0 { Ok(()) } else { result(i64::from(code)).map(|_| ()) }
}

fn error_of(code: i64, message: Vec<u8>) -> Error {
    let status = Status::from_code(i32::try_from(code).unwrap_or(i32::MIN));
    Error::of_host(status, String::from_utf8_lossy(&message).into_owned())
}

/// Takes an answer apart that is a head in JSON and a body behind it: see `http_request` in the ABI.
pub(crate) fn framed<T: DeserializeOwned>(mut bytes: Vec<u8>) -> Result<(T, Vec<u8>)> {
    let split = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let head = std::str::from_utf8(rest.get(..length)?).ok()?;
        Some((serde_json::from_str(head).ok()?, 4 + length))
    };
    let (head, body_at) =
        split().ok_or_else(|| Error::new("plugin.error", "the host's answer cannot be read"))?;
    Ok((head, bytes.split_off(body_at)))
}

pub(crate) fn input() -> Vec<u8> {
    filled(raw::input_length(), raw::input_read)
}

// SAFETY, for all below: each span is a slice of ours that outlives the call, and the host
// keeps no pointer.
pub(crate) fn output(bytes: &[u8]) {
    unsafe { raw::output_write(bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn error(bytes: &[u8]) {
    unsafe { raw::error_write(bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn log(level: Level, line: &str) {
    unsafe { raw::log(level as i32, line.as_ptr(), line.len()) }
}

pub(crate) fn context() -> Result<Vec<u8>> {
    result(raw::context())
}

pub(crate) fn config(key: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::config_get(key.as_ptr(), key.len()) })
}

pub(crate) fn var(key: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::var_get(key.as_ptr(), key.len()) })
}

pub(crate) fn set_var(key: &str, value: &[u8]) -> Result<()> {
    status(unsafe { raw::var_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn remove_var(key: &str) {
    unsafe { raw::var_remove(key.as_ptr(), key.len()) }
}

pub(crate) fn http(head: &[u8], body: &[u8]) -> Result<Vec<u8>> {
    result(unsafe { raw::http_request(head.as_ptr(), head.len(), body.as_ptr(), body.len()) })
}

pub(crate) fn read_file(dir: &str, path: &str, max: u32) -> Result<Vec<u8>> {
    result(unsafe { raw::file_read(dir.as_ptr(), dir.len(), path.as_ptr(), path.len(), max) })
}

pub(crate) fn list_dir(dir: &str, path: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::dir_list(dir.as_ptr(), dir.len(), path.as_ptr(), path.len()) })
}

pub(crate) fn now_ms() -> Result<i64> {
    let now = raw::now_ms();
    if now >= 0 { Ok(now) } else { result(now).map(|_| 0) }
}

pub(crate) fn random(buffer: &mut [u8]) -> Result<()> {
    status(unsafe { raw::random(buffer.as_mut_ptr(), buffer.len()) })
}
