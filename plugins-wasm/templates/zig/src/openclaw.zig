//! What the host of a plugin offers: module `openclaw`, functions and numbers as its ABI states them.
//!
//! A pointer and a length name a span of your own memory. Where a function's text says "Result", it
//! returns the length of a result or a negative status; `result` fetches it. After a negative status
//! the result is a message. What plugin.toml does not ask for is `Status.denied`.
const std = @import("std");

pub const Status = enum(i32) {
    denied = -1,
    not_found = -2,
    too_large = -3,
    failed = -4,
    invalid = -5,
    cancelled = -6,
    timed_out = -7,
    _,
};

pub const Level = enum(i32) {
    trace = 0,
    debug = 1,
    info = 2,
    warn = 3,
    @"error" = 4,
};

/// Who shares what is remembered: calls of one workflow, or all of this plugin.
pub const Scope = enum(i32) {
    workflow = 0,
    plugin = 1,
};

pub const WriteMode = enum(i32) {
    replace = 0,
    append = 1,
    create = 2,
};

/// The whole input.
pub fn input(allocator: std.mem.Allocator) ![]u8 {
    const bytes = try allocator.alloc(u8, raw.input_length());
    raw.input_read(bytes.ptr, bytes.len);
    return bytes;
}

/// Sets the output.
pub fn output(bytes: []const u8) void {
    raw.output_write(bytes.ptr, bytes.len);
}

/// Reports a failure: {"code", "message", "retryable"} as JSON, or plain text.
pub fn failure(text: []const u8) void {
    raw.error_write(text.ptr, text.len);
}

/// One log line.
pub fn log(level: Level, line: []const u8) void {
    raw.log(@intFromEnum(level), line.ptr, line.len);
}

/// The result that waits.
pub fn result(allocator: std.mem.Allocator) ![]u8 {
    const bytes = try allocator.alloc(u8, raw.result_length());
    raw.result_read(bytes.ptr, bytes.len);
    return bytes;
}

/// The functions themselves.
pub const raw = struct {
    /// Bytes of input.
    pub extern "openclaw" fn input_length() u32;
    /// Copies the first bytes of the input; more than there are is a trap.
    pub extern "openclaw" fn input_read(to: [*]u8, to_len: usize) void;
    /// Sets the output, replacing what was set before.
    pub extern "openclaw" fn output_write(bytes: [*]const u8, bytes_len: usize) void;
    /// Reports a failure: {"code", "message", "retryable"} as JSON, or plain text.
    pub extern "openclaw" fn error_write(text: [*]const u8, text_len: usize) void;
    /// One log line at a level.
    pub extern "openclaw" fn log(level: i32, line: [*]const u8, line_len: usize) void;
    /// Bytes of the result that waits.
    pub extern "openclaw" fn result_length() u32;
    /// Copies the first bytes of the result; more than there are is a trap.
    pub extern "openclaw" fn result_read(to: [*]u8, to_len: usize) void;
    /// Result: run, step, attempt, idempotency key, deadline, as JSON.
    pub extern "openclaw" fn context() i64;
    /// Result: the value of a setting.
    pub extern "openclaw" fn config_get(key: [*]const u8, key_len: usize) i64;
    /// Result: the bytes of a variable of this run.
    pub extern "openclaw" fn var_get(key: [*]const u8, key_len: usize) i64;
    /// Sets a variable of this run; a status.
    pub extern "openclaw" fn var_set(key: [*]const u8, key_len: usize, value: [*]const u8, value_len: usize) i32;
    /// Forgets a variable of this run.
    pub extern "openclaw" fn var_remove(key: [*]const u8, key_len: usize) void;
    /// Sends a request whose head is JSON. Result: length of the head (4 bytes, little-endian), head, body.
    pub extern "openclaw" fn http_request(head: [*]const u8, head_len: usize, body: [*]const u8, body_len: usize) i64;
    /// Result: the first bytes of a file in a granted directory.
    pub extern "openclaw" fn file_read(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize, max: u32) i64;
    /// Result: names, each ended by a NUL; that of a directory ends with /.
    pub extern "openclaw" fn dir_list(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize) i64;
    /// Result: bytes of a file from an offset on.
    pub extern "openclaw" fn file_read_at(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize, offset: i64, max: u32) i64;
    /// Result: size, time and kind of a file, as JSON.
    pub extern "openclaw" fn file_stat(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize) i64;
    /// Writes a file; a status.
    pub extern "openclaw" fn file_write(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize, bytes: [*]const u8, bytes_len: usize, mode: i32) i32;
    /// Removes a file; a status.
    pub extern "openclaw" fn file_remove(dir: [*]const u8, dir_len: usize, path: [*]const u8, path_len: usize) i32;
    /// Result: what the device remembers under a key.
    pub extern "openclaw" fn kv_get(scope: i32, key: [*]const u8, key_len: usize) i64;
    /// Remembers a value, once the call has succeeded; a status.
    pub extern "openclaw" fn kv_set(scope: i32, key: [*]const u8, key_len: usize, value: [*]const u8, value_len: usize) i32;
    /// Forgets a value, once the call has succeeded; a status.
    pub extern "openclaw" fn kv_remove(scope: i32, key: [*]const u8, key_len: usize) i32;
    /// Result: the keys that begin with a text, each ended by a NUL.
    pub extern "openclaw" fn kv_keys(scope: i32, prefix: [*]const u8, prefix_len: usize) i64;
    /// Publishes at the site's broker, once the call has succeeded; flags: 1 is QoS 1, 2 is retain.
    pub extern "openclaw" fn mqtt_publish(topic: [*]const u8, topic_len: usize, payload: [*]const u8, payload_len: usize, flags: i32) i32;
    /// Result: a text for which the host puts the secret where it goes out.
    pub extern "openclaw" fn secret_handle(name: [*]const u8, name_len: usize) i64;
    /// Connects; a stream, or a negative status.
    pub extern "openclaw" fn tcp_connect(host: [*]const u8, host_len: usize, port: i32, timeout_ms: u32) i32;
    /// Opens a serial port; a stream, or a negative status.
    pub extern "openclaw" fn serial_open(name: [*]const u8, name_len: usize) i32;
    /// Result: min to max bytes; fewer only at the end.
    pub extern "openclaw" fn stream_read(stream: i32, min: u32, max: u32, timeout_ms: u32) i64;
    /// Writes all of the bytes; a status.
    pub extern "openclaw" fn stream_write(stream: i32, bytes: [*]const u8, bytes_len: usize, timeout_ms: u32) i32;
    /// Closes a stream; a status.
    pub extern "openclaw" fn stream_close(stream: i32) i32;
    /// The level of a pin, 0 or 1, or a negative status.
    pub extern "openclaw" fn gpio_read(name: [*]const u8, name_len: usize) i32;
    /// Sets an output to 0 or 1; a status.
    pub extern "openclaw" fn gpio_write(name: [*]const u8, name_len: usize, level: i32) i32;
    /// Writes to a device, then reads. Result: what was read.
    pub extern "openclaw" fn i2c_transfer(name: [*]const u8, name_len: usize, write: [*]const u8, write_len: usize, read: u32) i64;
    /// Runs a command. Result: length of the head (4 bytes, little-endian), head, standard output.
    pub extern "openclaw" fn exec(name: [*]const u8, name_len: usize, args: [*]const u8, args_len: usize, stdin: [*]const u8, stdin_len: usize, timeout_ms: u32) i64;
    /// Milliseconds since 1970 in UTC, or a negative status.
    pub extern "openclaw" fn now_ms() i64;
    /// Fills the span with random bytes; a status.
    pub extern "openclaw" fn random(to: [*]u8, to_len: usize) i32;
};
