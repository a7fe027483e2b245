//! The border to the device itself: files, remembered values, messages, streams, pins, commands.

use super::{result, status};
use crate::Result;

/// Declares functions of the host for guests. Outside a sandbox there is no host, and each of them
/// answers that it is denied.
macro_rules! foreign {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {
        #[cfg(target_arch = "wasm32")]
        mod raw {
            #[link(wasm_import_module = "openclaw")]
            unsafe extern "C" {
                $(pub(super) fn $name($($arg: $ty),*) -> $ret;)*
            }
        }
        #[cfg(not(target_arch = "wasm32"))]
        mod raw {
            $(pub(super) unsafe extern "C" fn $name($(_: $ty),*) -> $ret {
                <$ret>::from(openclaw_plugin_abi::Status::Denied.code())
            })*
        }
    };
}

foreign! {
    file_read_at(dir: *const u8, dir_len: usize, path: *const u8, path_len: usize, offset: i64, max: u32) -> i64;
    file_stat(dir: *const u8, dir_len: usize, path: *const u8, path_len: usize) -> i64;
    file_write(dir: *const u8, dir_len: usize, path: *const u8, path_len: usize, bytes: *const u8, len: usize, mode: i32) -> i32;
    file_remove(dir: *const u8, dir_len: usize, path: *const u8, path_len: usize) -> i32;
    kv_get(scope: i32, key: *const u8, key_len: usize) -> i64;
    kv_set(scope: i32, key: *const u8, key_len: usize, value: *const u8, len: usize) -> i32;
    kv_remove(scope: i32, key: *const u8, key_len: usize) -> i32;
    kv_keys(scope: i32, prefix: *const u8, prefix_len: usize) -> i64;
    mqtt_publish(topic: *const u8, topic_len: usize, payload: *const u8, len: usize, flags: i32) -> i32;
    secret_handle(name: *const u8, name_len: usize) -> i64;
    tcp_connect(host: *const u8, host_len: usize, port: i32, timeout_ms: u32) -> i32;
    serial_open(name: *const u8, name_len: usize) -> i32;
    stream_read(stream: i32, min: u32, max: u32, timeout_ms: u32) -> i64;
    stream_write(stream: i32, bytes: *const u8, len: usize, timeout_ms: u32) -> i32;
    stream_close(stream: i32) -> i32;
    gpio_read(name: *const u8, name_len: usize) -> i32;
    gpio_write(name: *const u8, name_len: usize, level: i32) -> i32;
    i2c_transfer(name: *const u8, name_len: usize, write: *const u8, write_len: usize, read: u32) -> i64;
    exec(name: *const u8, name_len: usize, args: *const u8, args_len: usize, stdin: *const u8, stdin_len: usize, timeout_ms: u32) -> i64;
}

/// The number that a function gave, or the error behind a negative status.
fn number(code: i32) -> Result<i32> {
    status(code).map(|()| code)
}

// SAFETY, for all below: each span is a slice of ours that outlives the call, and the host
// keeps no pointer.
pub(crate) fn read_file_at(dir: &str, path: &str, offset: i64, max: u32) -> Result<Vec<u8>> {
    result(unsafe {
        raw::file_read_at(dir.as_ptr(), dir.len(), path.as_ptr(), path.len(), offset, max)
    })
}

pub(crate) fn stat_file(dir: &str, path: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::file_stat(dir.as_ptr(), dir.len(), path.as_ptr(), path.len()) })
}

pub(crate) fn write_file(dir: &str, path: &str, bytes: &[u8], mode: i32) -> Result<()> {
    let (at, len) = (bytes.as_ptr(), bytes.len());
    status(unsafe {
        raw::file_write(dir.as_ptr(), dir.len(), path.as_ptr(), path.len(), at, len, mode)
    })
}

pub(crate) fn remove_file(dir: &str, path: &str) -> Result<()> {
    status(unsafe { raw::file_remove(dir.as_ptr(), dir.len(), path.as_ptr(), path.len()) })
}

pub(crate) fn kv(scope: i32, key: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::kv_get(scope, key.as_ptr(), key.len()) })
}

pub(crate) fn set_kv(scope: i32, key: &str, value: &[u8]) -> Result<()> {
    status(unsafe { raw::kv_set(scope, key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

pub(crate) fn remove_kv(scope: i32, key: &str) -> Result<()> {
    status(unsafe { raw::kv_remove(scope, key.as_ptr(), key.len()) })
}

pub(crate) fn kv_keys(scope: i32, prefix: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::kv_keys(scope, prefix.as_ptr(), prefix.len()) })
}

pub(crate) fn publish(topic: &str, payload: &[u8], flags: i32) -> Result<()> {
    let (at, len) = (payload.as_ptr(), payload.len());
    status(unsafe { raw::mqtt_publish(topic.as_ptr(), topic.len(), at, len, flags) })
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>> {
    result(unsafe { raw::secret_handle(name.as_ptr(), name.len()) })
}

pub(crate) fn connect(host: &str, port: u16, timeout_ms: u32) -> Result<i32> {
    number(unsafe { raw::tcp_connect(host.as_ptr(), host.len(), i32::from(port), timeout_ms) })
}

pub(crate) fn open_serial(name: &str) -> Result<i32> {
    number(unsafe { raw::serial_open(name.as_ptr(), name.len()) })
}

pub(crate) fn read_stream(stream: i32, min: u32, max: u32, timeout_ms: u32) -> Result<Vec<u8>> {
    result(unsafe { raw::stream_read(stream, min, max, timeout_ms) })
}

pub(crate) fn write_stream(stream: i32, bytes: &[u8], timeout_ms: u32) -> Result<()> {
    status(unsafe { raw::stream_write(stream, bytes.as_ptr(), bytes.len(), timeout_ms) })
}

pub(crate) fn close_stream(stream: i32) -> Result<()> {
    status(unsafe { raw::stream_close(stream) })
}

pub(crate) fn read_pin(name: &str) -> Result<i32> {
    number(unsafe { raw::gpio_read(name.as_ptr(), name.len()) })
}

pub(crate) fn write_pin(name: &str, level: i32) -> Result<()> {
    status(unsafe { raw::gpio_write(name.as_ptr(), name.len(), level) })
}

pub(crate) fn transfer(name: &str, write: &[u8], read: u32) -> Result<Vec<u8>> {
    let (at, len) = (write.as_ptr(), write.len());
    result(unsafe { raw::i2c_transfer(name.as_ptr(), name.len(), at, len, read) })
}

pub(crate) fn exec(name: &str, args: &[u8], stdin: &[u8], timeout_ms: u32) -> Result<Vec<u8>> {
    let (name_at, name_len) = (name.as_ptr(), name.len());
    let (args_at, args_len) = (args.as_ptr(), args.len());
    let (stdin_at, stdin_len) = (stdin.as_ptr(), stdin.len());
    result(unsafe {
        raw::exec(name_at, name_len, args_at, args_len, stdin_at, stdin_len, timeout_ms)
    })
}
