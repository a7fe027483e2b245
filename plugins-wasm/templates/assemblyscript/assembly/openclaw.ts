// What the host of a plugin offers: module `openclaw`, functions and numbers as its ABI states them.
//
// An address and a length name a span of your own memory. Where a function's text says "Result", it
// returns the length of a result or a negative status; `result()` fetches it. After a negative status
// the result is a message. What plugin.toml does not ask for is `Status.Denied`.

export enum Status {
  Denied = -1,
  NotFound = -2,
  TooLarge = -3,
  Failed = -4,
  Invalid = -5,
  Cancelled = -6,
  TimedOut = -7,
}

export enum Level {
  Trace = 0,
  Debug = 1,
  Info = 2,
  Warn = 3,
  Error = 4,
}

/** Who shares what is remembered: calls of one workflow, or all of this plugin. */
export enum Scope {
  Workflow = 0,
  Plugin = 1,
}

export enum WriteMode {
  Replace = 0,
  Append = 1,
  Create = 2,
}

/** The whole input, as text. */
export function input(): string {
  const bytes = new ArrayBuffer(input_length());
  input_read(changetype<usize>(bytes), bytes.byteLength);
  return String.UTF8.decode(bytes);
}

/** Sets the output; what an action returns for success. */
export function output(text: string): i32 {
  const bytes = String.UTF8.encode(text);
  output_write(changetype<usize>(bytes), bytes.byteLength);
  return 0;
}

/** Reports a failure; what an action returns then. Neither text may hold what JSON escapes. */
export function failure(code: string, message: string, retryable: bool = false): i32 {
  const text = `{"code":"${code}","message":"${message}","retryable":${retryable}}`;
  const bytes = String.UTF8.encode(text);
  error_write(changetype<usize>(bytes), bytes.byteLength);
  return 1;
}

/** The result that waits. */
export function result(): ArrayBuffer {
  const bytes = new ArrayBuffer(result_length());
  result_read(changetype<usize>(bytes), bytes.byteLength);
  return bytes;
}

/** What the compiler calls where the program cannot go on; the call ends with `plugin.trap`. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const why = message ? message : "aborted";
  const where = file ? file : "?";
  const bytes = String.UTF8.encode(`${why} (${where}:${line}:${column})`);
  error_write(changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}

/** Bytes of input. */
@external("openclaw", "input_length")
export declare function input_length(): u32;
/** Copies the first bytes of the input; more than there are is a trap. */
@external("openclaw", "input_read")
export declare function input_read(to: usize, to_len: i32): void;
/** Sets the output, replacing what was set before. */
@external("openclaw", "output_write")
export declare function output_write(bytes: usize, bytes_len: i32): void;
/** Reports a failure: {"code", "message", "retryable"} as JSON, or plain text. */
@external("openclaw", "error_write")
export declare function error_write(text: usize, text_len: i32): void;
/** One log line at a level. */
@external("openclaw", "log")
export declare function log(level: i32, line: usize, line_len: i32): void;
/** Bytes of the result that waits. */
@external("openclaw", "result_length")
export declare function result_length(): u32;
/** Copies the first bytes of the result; more than there are is a trap. */
@external("openclaw", "result_read")
export declare function result_read(to: usize, to_len: i32): void;
/** Result: run, step, attempt, idempotency key, deadline, as JSON. */
@external("openclaw", "context")
export declare function context(): i64;
/** Result: the value of a setting. */
@external("openclaw", "config_get")
export declare function config_get(key: usize, key_len: i32): i64;
/** Result: the bytes of a variable of this run. */
@external("openclaw", "var_get")
export declare function var_get(key: usize, key_len: i32): i64;
/** Sets a variable of this run; a status. */
@external("openclaw", "var_set")
export declare function var_set(key: usize, key_len: i32, value: usize, value_len: i32): i32;
/** Forgets a variable of this run. */
@external("openclaw", "var_remove")
export declare function var_remove(key: usize, key_len: i32): void;
/** Sends a request whose head is JSON. Result: length of the head (4 bytes, little-endian), head, body. */
@external("openclaw", "http_request")
export declare function http_request(head: usize, head_len: i32, body: usize, body_len: i32): i64;
/** Result: the first bytes of a file in a granted directory. */
@external("openclaw", "file_read")
export declare function file_read(dir: usize, dir_len: i32, path: usize, path_len: i32, max: u32): i64;
/** Result: names, each ended by a NUL; that of a directory ends with /. */
@external("openclaw", "dir_list")
export declare function dir_list(dir: usize, dir_len: i32, path: usize, path_len: i32): i64;
/** Result: bytes of a file from an offset on. */
@external("openclaw", "file_read_at")
export declare function file_read_at(dir: usize, dir_len: i32, path: usize, path_len: i32, offset: i64, max: u32): i64;
/** Result: size, time and kind of a file, as JSON. */
@external("openclaw", "file_stat")
export declare function file_stat(dir: usize, dir_len: i32, path: usize, path_len: i32): i64;
/** Writes a file; a status. */
@external("openclaw", "file_write")
export declare function file_write(dir: usize, dir_len: i32, path: usize, path_len: i32, bytes: usize, bytes_len: i32, mode: i32): i32;
/** Removes a file; a status. */
@external("openclaw", "file_remove")
export declare function file_remove(dir: usize, dir_len: i32, path: usize, path_len: i32): i32;
/** Result: what the device remembers under a key. */
@external("openclaw", "kv_get")
export declare function kv_get(scope: i32, key: usize, key_len: i32): i64;
/** Remembers a value, once the call has succeeded; a status. */
@external("openclaw", "kv_set")
export declare function kv_set(scope: i32, key: usize, key_len: i32, value: usize, value_len: i32): i32;
/** Forgets a value, once the call has succeeded; a status. */
@external("openclaw", "kv_remove")
export declare function kv_remove(scope: i32, key: usize, key_len: i32): i32;
/** Result: the keys that begin with a text, each ended by a NUL. */
@external("openclaw", "kv_keys")
export declare function kv_keys(scope: i32, prefix: usize, prefix_len: i32): i64;
/** Publishes at the site's broker, once the call has succeeded; flags: 1 is QoS 1, 2 is retain. */
@external("openclaw", "mqtt_publish")
export declare function mqtt_publish(topic: usize, topic_len: i32, payload: usize, payload_len: i32, flags: i32): i32;
/** Result: a text for which the host puts the secret where it goes out. */
@external("openclaw", "secret_handle")
export declare function secret_handle(name: usize, name_len: i32): i64;
/** Connects; a stream, or a negative status. */
@external("openclaw", "tcp_connect")
export declare function tcp_connect(host: usize, host_len: i32, port: i32, timeout_ms: u32): i32;
/** Opens a serial port; a stream, or a negative status. */
@external("openclaw", "serial_open")
export declare function serial_open(name: usize, name_len: i32): i32;
/** Result: min to max bytes; fewer only at the end. */
@external("openclaw", "stream_read")
export declare function stream_read(stream: i32, min: u32, max: u32, timeout_ms: u32): i64;
/** Writes all of the bytes; a status. */
@external("openclaw", "stream_write")
export declare function stream_write(stream: i32, bytes: usize, bytes_len: i32, timeout_ms: u32): i32;
/** Closes a stream; a status. */
@external("openclaw", "stream_close")
export declare function stream_close(stream: i32): i32;
/** The level of a pin, 0 or 1, or a negative status. */
@external("openclaw", "gpio_read")
export declare function gpio_read(name: usize, name_len: i32): i32;
/** Sets an output to 0 or 1; a status. */
@external("openclaw", "gpio_write")
export declare function gpio_write(name: usize, name_len: i32, level: i32): i32;
/** Writes to a device, then reads. Result: what was read. */
@external("openclaw", "i2c_transfer")
export declare function i2c_transfer(name: usize, name_len: i32, write: usize, write_len: i32, read: u32): i64;
/** Runs a command. Result: length of the head (4 bytes, little-endian), head, standard output. */
@external("openclaw", "exec")
export declare function exec(name: usize, name_len: i32, args: usize, args_len: i32, stdin: usize, stdin_len: i32, timeout_ms: u32): i64;
/** Milliseconds since 1970 in UTC, or a negative status. */
@external("openclaw", "now_ms")
export declare function now_ms(): i64;
/** Fills the span with random bytes; a status. */
@external("openclaw", "random")
export declare function random(to: usize, to_len: i32): i32;
