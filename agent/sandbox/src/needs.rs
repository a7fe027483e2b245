//! Which permission each function of the host needs, so that a module can be compared with what its
//! manifest asks for, at the desk and when it is published.

use crate::shape::Import;

impl Import {
    /// The kind of permission that calls of it need; none for a function that anybody may call, or
    /// that works on what another one has opened.
    #[must_use]
    pub fn permission(&self) -> Option<&'static str> {
        Some(match (self.module.as_str(), self.name.as_str()) {
            ("openclaw" | "extism:host/env", "http_request") => "http",
            ("openclaw", "file_read" | "dir_list" | "file_read_at" | "file_stat") => "files",
            ("openclaw", "file_write" | "file_remove") => "files_write",
            ("openclaw", "kv_get" | "kv_set" | "kv_remove" | "kv_keys") => "kv",
            ("openclaw", "mqtt_publish") => "mqtt_publish",
            ("openclaw", "secret_handle") => "secrets",
            ("openclaw", "tcp_connect") => "tcp",
            ("openclaw", "serial_open") => "serial",
            ("openclaw", "gpio_read" | "gpio_write") => "gpio",
            ("openclaw", "i2c_transfer") => "i2c",
            ("openclaw", "exec") => "exec",
            ("openclaw", "now_ms") | ("wasi_snapshot_preview1", "clock_time_get") => "time",
            ("openclaw", "random") | ("wasi_snapshot_preview1", "random_get") => "random",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use openclaw_protocol::plugin::Capability;

    use super::*;

    /// Functions of module `openclaw` that need no permission.
    const FREE: [&str; 15] = [
        "input_length",
        "input_read",
        "output_write",
        "error_write",
        "log",
        "result_length",
        "result_read",
        "context",
        "config_get",
        "var_get",
        "var_set",
        "var_remove",
        "stream_read",
        "stream_write",
        "stream_close",
    ];

    /// All functions of module `openclaw`, as the contract has them.
    fn imports() -> Vec<Import> {
        let contract = include_str!("../../../plugins-wasm/abi/src/lib.rs");
        let (_, names) = contract.split_once("pub mod openclaw {").unwrap();
        let (names, _) = names.split_once("\n}").unwrap();
        let names = names.split(": &str = \"").skip(1).filter_map(|rest| rest.split('"').next());
        let import = |name: &str| Import { module: "openclaw".to_owned(), name: name.to_owned() };
        names.map(import).collect()
    }

    #[test]
    fn every_function_of_the_contract_is_free_or_has_its_kind() {
        let imports = imports();
        assert_eq!(imports.len(), FREE.len() + 21);
        for import in imports {
            let is_free = FREE.contains(&import.name.as_str());
            assert_eq!(import.permission().is_none(), is_free, "{}", import.name);
        }
    }

    #[test]
    fn every_kind_can_be_needed() {
        let mut known: BTreeSet<&str> = Capability::ALL.map(Capability::name).into();
        known.extend(["time", "random"]);
        let used: BTreeSet<&str> = imports().iter().filter_map(Import::permission).collect();
        assert_eq!(used, known);
    }

    #[test]
    fn other_modules_need_the_same_kinds() {
        for (module, name, kind) in [
            ("extism:host/env", "http_request", Some("http")),
            ("extism:host/env", "log_info", None),
            ("wasi_snapshot_preview1", "clock_time_get", Some("time")),
            ("wasi_snapshot_preview1", "random_get", Some("random")),
            ("wasi_snapshot_preview1", "fd_write", None),
            ("env", "exec", None),
        ] {
            let import = Import { module: module.to_owned(), name: name.to_owned() };
            assert_eq!(import.permission(), kind, "{module}.{name}");
        }
    }
}
