//! Which permission each function of the host asks for, so that a module can be compared with what
//! its manifest asks for.

use std::collections::BTreeSet;

use openclaw_protocol::plugin::{Capability, Permissions};
use openclaw_sandbox::Import;

/// Functions that a permission is about, by module and name, each with its kind. The functions of
/// streams are not here: who opened one was asked then.
const ASKED: [(&str, &str, &str); 24] = [
    ("openclaw", "http_request", "http"),
    ("openclaw", "file_read", "files"),
    ("openclaw", "dir_list", "files"),
    ("openclaw", "file_read_at", "files"),
    ("openclaw", "file_stat", "files"),
    ("openclaw", "file_write", "files_write"),
    ("openclaw", "file_remove", "files_write"),
    ("openclaw", "kv_get", "kv"),
    ("openclaw", "kv_set", "kv"),
    ("openclaw", "kv_remove", "kv"),
    ("openclaw", "kv_keys", "kv"),
    ("openclaw", "mqtt_publish", "mqtt_publish"),
    ("openclaw", "secret_handle", "secrets"),
    ("openclaw", "tcp_connect", "tcp"),
    ("openclaw", "serial_open", "serial"),
    ("openclaw", "gpio_read", "gpio"),
    ("openclaw", "gpio_write", "gpio"),
    ("openclaw", "i2c_transfer", "i2c"),
    ("openclaw", "exec", "exec"),
    ("openclaw", "now_ms", "time"),
    ("openclaw", "random", "random"),
    ("extism:host/env", "http_request", "http"),
    ("wasi_snapshot_preview1", "clock_time_get", "time"),
    ("wasi_snapshot_preview1", "random_get", "random"),
];

/// The kinds of permission that imports may make use of.
pub(crate) fn of_imports(imports: &[Import]) -> BTreeSet<&'static str> {
    let kind = |import: &Import| {
        ASKED.iter().find(|(module, name, _)| *module == import.module && *name == import.name)
    };
    imports.iter().filter_map(kind).map(|(_, _, kind)| *kind).collect()
}

/// The kinds of permission that a manifest asks for.
pub(crate) fn of_manifest(asked: &Permissions) -> BTreeSet<&'static str> {
    let mut kinds: BTreeSet<&'static str> = Capability::ALL
        .into_iter()
        .filter(|kind| !asked.list(*kind).is_empty())
        .map(Capability::name)
        .collect();
    kinds.extend(asked.time.then_some("time"));
    kinds.extend(asked.random.then_some("random"));
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::abi_tests;

    /// Functions that need no permission.
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

    #[test]
    fn every_function_of_the_abi_is_free_or_has_its_kind() {
        let ours: BTreeSet<String> = ASKED
            .iter()
            .filter(|(module, _, _)| *module == "openclaw")
            .map(|(_, name, _)| *name)
            .chain(FREE)
            .map(str::to_owned)
            .collect();
        assert_eq!(ours, abi_tests::names());
    }

    #[test]
    fn every_kind_can_be_asked_for() {
        let mut known: BTreeSet<&str> = Capability::ALL.map(Capability::name).into();
        known.extend(["time", "random"]);
        let used: BTreeSet<&str> = ASKED.iter().map(|(_, _, kind)| *kind).collect();
        assert_eq!(used, known);
    }

    #[test]
    fn what_is_asked_for_has_its_kinds() {
        let asked = Permissions { kv: vec!["plugin".into()], time: true, ..Permissions::NONE };
        assert_eq!(of_manifest(&asked), BTreeSet::from(["kv", "time"]));
        assert!(of_manifest(&Permissions::NONE).is_empty());
    }
}
