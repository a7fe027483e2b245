//! Every function that the sandbox offers, with its type. `tests/it/pointers.rs` fails where one is
//! missing.

/// Module, name, what it takes, what it gives.
///
/// Of what it takes: `i` is an `i32` and `I` an `i64` that can be anything, `s` a span of memory as
/// address and length, `p` the address of something of a fixed size, `h` the handle of a block.
/// Capitals of these are not looked at in every case, so the call may end well.
pub(crate) type Offered = (&'static str, &'static str, &'static str, &'static str);

pub(crate) const OPENCLAW: &str = "openclaw";
pub(crate) const EXTISM: &str = "extism:host/env";
pub(crate) const WASI: &str = "wasi_snapshot_preview1";

pub(crate) const OFFERED: &[Offered] = &[
    (OPENCLAW, "input_length", "", "i32"),
    (OPENCLAW, "input_read", "s", ""),
    (OPENCLAW, "output_write", "s", ""),
    (OPENCLAW, "error_write", "S", ""),
    (OPENCLAW, "log", "is", ""),
    (OPENCLAW, "result_length", "", "i32"),
    (OPENCLAW, "result_read", "s", ""),
    (OPENCLAW, "context", "", "i64"),
    (OPENCLAW, "config_get", "s", "i64"),
    (OPENCLAW, "var_get", "s", "i64"),
    (OPENCLAW, "var_set", "ss", "i32"),
    (OPENCLAW, "var_remove", "s", ""),
    (OPENCLAW, "http_request", "ss", "i64"),
    (OPENCLAW, "file_read", "ssi", "i64"),
    (OPENCLAW, "dir_list", "ss", "i64"),
    (OPENCLAW, "now_ms", "", "i64"),
    (OPENCLAW, "random", "s", "i32"),
    (OPENCLAW, "file_read_at", "ssIi", "i64"),
    (OPENCLAW, "file_stat", "ss", "i64"),
    (OPENCLAW, "file_write", "sssi", "i32"),
    (OPENCLAW, "file_remove", "ss", "i32"),
    (OPENCLAW, "kv_get", "is", "i64"),
    (OPENCLAW, "kv_set", "iss", "i32"),
    (OPENCLAW, "kv_remove", "is", "i32"),
    (OPENCLAW, "kv_keys", "is", "i64"),
    (OPENCLAW, "mqtt_publish", "ssi", "i32"),
    (OPENCLAW, "secret_handle", "s", "i64"),
    (OPENCLAW, "tcp_connect", "sii", "i32"),
    (OPENCLAW, "serial_open", "s", "i32"),
    (OPENCLAW, "stream_read", "iiii", "i64"),
    (OPENCLAW, "stream_write", "isi", "i32"),
    (OPENCLAW, "stream_close", "i", "i32"),
    (OPENCLAW, "gpio_read", "s", "i32"),
    (OPENCLAW, "gpio_write", "si", "i32"),
    (OPENCLAW, "i2c_transfer", "ssi", "i64"),
    (OPENCLAW, "exec", "sssi", "i64"),
    (EXTISM, "alloc", "I", "i64"),
    (EXTISM, "free", "H", ""),
    (EXTISM, "length", "H", "i64"),
    (EXTISM, "length_unsafe", "H", "i64"),
    (EXTISM, "load_u8", "h", "i32"),
    (EXTISM, "load_u64", "h", "i64"),
    (EXTISM, "store_u8", "hi", ""),
    (EXTISM, "store_u64", "hI", ""),
    (EXTISM, "input_length", "", "i64"),
    (EXTISM, "input_offset", "", "i64"),
    (EXTISM, "input_load_u8", "h", "i32"),
    (EXTISM, "input_load_u64", "h", "i64"),
    (EXTISM, "output_set", "HI", ""),
    (EXTISM, "error_set", "h", ""),
    (EXTISM, "config_get", "h", "i64"),
    (EXTISM, "var_get", "h", "i64"),
    (EXTISM, "var_set", "hH", ""),
    (EXTISM, "http_request", "hH", "i64"),
    (EXTISM, "http_status_code", "", "i32"),
    (EXTISM, "http_headers", "", "i64"),
    (EXTISM, "log_trace", "h", ""),
    (EXTISM, "log_debug", "h", ""),
    (EXTISM, "log_info", "h", ""),
    (EXTISM, "log_warn", "h", ""),
    (EXTISM, "log_error", "h", ""),
    (EXTISM, "get_log_level", "", "i32"),
    (WASI, "fd_write", "iSP", "i32"),
    (WASI, "fd_read", "iSP", "i32"),
    (WASI, "fd_fdstat_get", "iP", "i32"),
    (WASI, "fd_seek", "iIiP", "i32"),
    (WASI, "fd_close", "i", "i32"),
    (WASI, "fd_prestat_get", "iP", "i32"),
    (WASI, "args_sizes_get", "pp", "i32"),
    (WASI, "args_get", "PP", "i32"),
    (WASI, "environ_sizes_get", "pp", "i32"),
    (WASI, "environ_get", "PP", "i32"),
    (WASI, "clock_res_get", "ip", "i32"),
    (WASI, "clock_time_get", "iIp", "i32"),
    (WASI, "random_get", "s", "i32"),
    (WASI, "sched_yield", "", "i32"),
    (WASI, "proc_exit", "i", ""),
];

/// The parameters in WebAssembly text.
pub(crate) fn params(takes: &str) -> String {
    let of = |letter| match letter {
        's' | 'S' => "i32 i32 ",
        'I' | 'h' | 'H' => "i64 ",
        _ => "i32 ",
    };
    takes.chars().map(of).collect()
}

/// A module that imports all of it.
pub(crate) fn imports_of_all() -> String {
    let import = |(from, name, takes, gives): &Offered| {
        let params = params(takes);
        format!(r#"(import "{from}" "{name}" (func (param {params}) (result {gives})))"#)
    };
    format!("(module {})", OFFERED.iter().map(import).collect::<String>())
}
