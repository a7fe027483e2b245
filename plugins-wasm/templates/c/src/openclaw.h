/* What the host of a plugin offers: module `openclaw`, functions and numbers as its ABI states them.
 *
 * A pointer and a length name a span of your own memory. Where a function's text says "Result", it
 * returns the length of a result or a negative status; make room for openclaw_result_length() bytes
 * and fetch them with openclaw_result_read. After a negative status the result is a message. What
 * plugin.toml does not ask for is OPENCLAW_DENIED. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define OPENCLAW_IMPORT(name) __attribute__((import_module("openclaw"), import_name(#name)))

/* OPENCLAW_ACTION(execute) { ... return 0; } is the action `execute`: 0 is success. */
#define OPENCLAW_ACTION(name) \
  int32_t name(void);         \
  __attribute__((export_name(#name))) int32_t name(void)

enum openclaw_status {
  OPENCLAW_DENIED = -1,
  OPENCLAW_NOT_FOUND = -2,
  OPENCLAW_TOO_LARGE = -3,
  OPENCLAW_FAILED = -4,
  OPENCLAW_INVALID = -5,
  OPENCLAW_CANCELLED = -6,
  OPENCLAW_TIMED_OUT = -7,
};

enum openclaw_level {
  OPENCLAW_TRACE = 0,
  OPENCLAW_DEBUG = 1,
  OPENCLAW_INFO = 2,
  OPENCLAW_WARN = 3,
  OPENCLAW_ERROR = 4,
};

/* Who shares what is remembered: calls of one workflow, or all of this plugin. */
enum openclaw_scope {
  OPENCLAW_WORKFLOW = 0,
  OPENCLAW_PLUGIN = 1,
};

enum openclaw_write_mode {
  OPENCLAW_REPLACE = 0,
  OPENCLAW_APPEND = 1,
  OPENCLAW_CREATE = 2,
};

/* Bytes of input. */
OPENCLAW_IMPORT(input_length) uint32_t openclaw_input_length(void);
/* Copies the first bytes of the input; more than there are is a trap. */
OPENCLAW_IMPORT(input_read) void openclaw_input_read(void *to, size_t to_len);
/* Sets the output, replacing what was set before. */
OPENCLAW_IMPORT(output_write) void openclaw_output_write(const void *bytes, size_t bytes_len);
/* Reports a failure: {"code", "message", "retryable"} as JSON, or plain text. */
OPENCLAW_IMPORT(error_write) void openclaw_error_write(const void *text, size_t text_len);
/* One log line at a level. */
OPENCLAW_IMPORT(log) void openclaw_log(int32_t level, const void *line, size_t line_len);
/* Bytes of the result that waits. */
OPENCLAW_IMPORT(result_length) uint32_t openclaw_result_length(void);
/* Copies the first bytes of the result; more than there are is a trap. */
OPENCLAW_IMPORT(result_read) void openclaw_result_read(void *to, size_t to_len);
/* Result: run, step, attempt, idempotency key, deadline, as JSON. */
OPENCLAW_IMPORT(context) int64_t openclaw_context(void);
/* Result: the value of a setting. */
OPENCLAW_IMPORT(config_get) int64_t openclaw_config_get(const void *key, size_t key_len);
/* Result: the bytes of a variable of this run. */
OPENCLAW_IMPORT(var_get) int64_t openclaw_var_get(const void *key, size_t key_len);
/* Sets a variable of this run; a status. */
OPENCLAW_IMPORT(var_set) int32_t openclaw_var_set(const void *key, size_t key_len, const void *value, size_t value_len);
/* Forgets a variable of this run. */
OPENCLAW_IMPORT(var_remove) void openclaw_var_remove(const void *key, size_t key_len);
/* Sends a request whose head is JSON. Result: length of the head (4 bytes, little-endian), head, body. */
OPENCLAW_IMPORT(http_request) int64_t openclaw_http_request(const void *head, size_t head_len, const void *body, size_t body_len);
/* Result: the first bytes of a file in a granted directory. */
OPENCLAW_IMPORT(file_read) int64_t openclaw_file_read(const void *dir, size_t dir_len, const void *path, size_t path_len, uint32_t max);
/* Result: names, each ended by a NUL; that of a directory ends with /. */
OPENCLAW_IMPORT(dir_list) int64_t openclaw_dir_list(const void *dir, size_t dir_len, const void *path, size_t path_len);
/* Result: bytes of a file from an offset on. */
OPENCLAW_IMPORT(file_read_at) int64_t openclaw_file_read_at(const void *dir, size_t dir_len, const void *path, size_t path_len, int64_t offset, uint32_t max);
/* Result: size, time and kind of a file, as JSON. */
OPENCLAW_IMPORT(file_stat) int64_t openclaw_file_stat(const void *dir, size_t dir_len, const void *path, size_t path_len);
/* Writes a file; a status. */
OPENCLAW_IMPORT(file_write) int32_t openclaw_file_write(const void *dir, size_t dir_len, const void *path, size_t path_len, const void *bytes, size_t bytes_len, int32_t mode);
/* Removes a file; a status. */
OPENCLAW_IMPORT(file_remove) int32_t openclaw_file_remove(const void *dir, size_t dir_len, const void *path, size_t path_len);
/* Result: what the device remembers under a key. */
OPENCLAW_IMPORT(kv_get) int64_t openclaw_kv_get(int32_t scope, const void *key, size_t key_len);
/* Remembers a value, once the call has succeeded; a status. */
OPENCLAW_IMPORT(kv_set) int32_t openclaw_kv_set(int32_t scope, const void *key, size_t key_len, const void *value, size_t value_len);
/* Forgets a value, once the call has succeeded; a status. */
OPENCLAW_IMPORT(kv_remove) int32_t openclaw_kv_remove(int32_t scope, const void *key, size_t key_len);
/* Result: the keys that begin with a text, each ended by a NUL. */
OPENCLAW_IMPORT(kv_keys) int64_t openclaw_kv_keys(int32_t scope, const void *prefix, size_t prefix_len);
/* Publishes at the site's broker, once the call has succeeded; flags: 1 is QoS 1, 2 is retain. */
OPENCLAW_IMPORT(mqtt_publish) int32_t openclaw_mqtt_publish(const void *topic, size_t topic_len, const void *payload, size_t payload_len, int32_t flags);
/* Result: a text for which the host puts the secret where it goes out. */
OPENCLAW_IMPORT(secret_handle) int64_t openclaw_secret_handle(const void *name, size_t name_len);
/* Connects; a stream, or a negative status. */
OPENCLAW_IMPORT(tcp_connect) int32_t openclaw_tcp_connect(const void *host, size_t host_len, int32_t port, uint32_t timeout_ms);
/* Opens a serial port; a stream, or a negative status. */
OPENCLAW_IMPORT(serial_open) int32_t openclaw_serial_open(const void *name, size_t name_len);
/* Result: min to max bytes; fewer only at the end. */
OPENCLAW_IMPORT(stream_read) int64_t openclaw_stream_read(int32_t stream, uint32_t min, uint32_t max, uint32_t timeout_ms);
/* Writes all of the bytes; a status. */
OPENCLAW_IMPORT(stream_write) int32_t openclaw_stream_write(int32_t stream, const void *bytes, size_t bytes_len, uint32_t timeout_ms);
/* Closes a stream; a status. */
OPENCLAW_IMPORT(stream_close) int32_t openclaw_stream_close(int32_t stream);
/* The level of a pin, 0 or 1, or a negative status. */
OPENCLAW_IMPORT(gpio_read) int32_t openclaw_gpio_read(const void *name, size_t name_len);
/* Sets an output to 0 or 1; a status. */
OPENCLAW_IMPORT(gpio_write) int32_t openclaw_gpio_write(const void *name, size_t name_len, int32_t level);
/* Writes to a device, then reads. Result: what was read. */
OPENCLAW_IMPORT(i2c_transfer) int64_t openclaw_i2c_transfer(const void *name, size_t name_len, const void *write, size_t write_len, uint32_t read);
/* Runs a command. Result: length of the head (4 bytes, little-endian), head, standard output. */
OPENCLAW_IMPORT(exec) int64_t openclaw_exec(const void *name, size_t name_len, const void *args, size_t args_len, const void *stdin, size_t stdin_len, uint32_t timeout_ms);
/* Milliseconds since 1970 in UTC, or a negative status. */
OPENCLAW_IMPORT(now_ms) int64_t openclaw_now_ms(void);
/* Fills the span with random bytes; a status. */
OPENCLAW_IMPORT(random) int32_t openclaw_random(void *to, size_t to_len);
