//! The validator: whether manifest and module fit each other, this control plane's policy, and what
//! the device has. Everything that is wrong is told at once; what is merely odd is a warning, which
//! stays with the version.

use std::collections::BTreeSet;

use openclaw_protocol::api::ProblemItem;
use openclaw_protocol::plugin::{Manifest, Permissions};
use openclaw_sandbox::{Import, ModuleInfo};

use crate::config;
use crate::service::{Fault, Outcome};

/// Bytes of a page of WebAssembly memory.
const PAGE_BYTES: u64 = 64 * 1024;

/// What there is to say of an upload.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// For each of these it is refused.
    pub(super) errors: Vec<(&'static str, String)>,
    /// It is taken all the same.
    pub(super) warnings: Vec<ProblemItem>,
}

impl Findings {
    fn refuse(&mut self, code: &'static str, message: String) {
        self.errors.push((code, message));
    }

    fn warn(&mut self, code: &'static str, message: String) {
        self.warnings.push(item(code, message));
    }

    /// The warnings, unless there are errors: then the first one's code, and all of them by name.
    pub(super) fn outcome(self) -> Outcome<Vec<ProblemItem>> {
        refuse_if_any(self.errors)?;
        Ok(self.warnings)
    }
}

/// Refuses if there are errors: with the first one's code, and all of them by name.
pub(super) fn refuse_if_any(errors: Vec<(&'static str, String)>) -> Outcome<()> {
    let Some((code, detail)) = errors.first().cloned() else { return Ok(()) };
    let errors = errors.into_iter().map(|(code, message)| item(code, message)).collect();
    Err(Fault::Invalid { code, detail, errors })
}

fn item(code: &str, message: String) -> ProblemItem {
    let code = code.to_owned();
    ProblemItem { code, message, line: 0, column: 0, suggestion: None, pointer: None }
}

/// Looks at manifest and module as a whole.
pub(super) fn check(manifest: &Manifest, info: &ModuleInfo, policy: &config::Plugins) -> Findings {
    let mut findings = Findings::default();
    check_exports(manifest, info, &mut findings);
    check_memory(manifest, info, &mut findings);
    check_schemas(manifest, &mut findings);
    check_policy(manifest, info, policy, &mut findings);
    compare(&manifest.permissions, &info.imports, &mut findings);
    findings
}

fn check_exports(manifest: &Manifest, info: &ModuleInfo, findings: &mut Findings) {
    for action in manifest.actions.keys() {
        let export = manifest.export_of(action).unwrap_or_default();
        if !info.exports.contains(&export) {
            let has = info.exports.join(", ");
            let detail = format!(
                "action `{action}` calls the export `{export}`, which the module does not have; it \
                 exports {has}"
            );
            findings.refuse("plugin.export_missing", detail);
        }
    }
}

fn check_memory(manifest: &Manifest, info: &ModuleInfo, findings: &mut Findings) {
    let (needs, may) = (info.initial_pages * PAGE_BYTES, manifest.limits.memory_bytes);
    if needs > u64::from(may) {
        let detail = format!(
            "the module starts with {needs} bytes of memory, its manifest allows {may}; raise \
             `limits.memory_bytes`, or link with a smaller stack (`-zstack-size=32768`)"
        );
        findings.refuse("plugin.memory", detail);
    }
}

fn check_schemas(manifest: &Manifest, findings: &mut Findings) {
    for (name, action) in manifest.actions.iter() {
        for (which, schema) in [("input", &action.input), ("output", &action.output)] {
            let Some(schema) = schema else { continue };
            // A schema that refers to nothing outside of itself: nothing is fetched.
            let built = schema.is_object().then(|| jsonschema::draft202012::new(schema));
            let fault = match built {
                None => Some("it is no table".to_owned()),
                Some(built) => built.err().map(|error| {
                    let at = error.instance_path().to_string();
                    let text: String = error.to_string().chars().take(200).collect();
                    if at.is_empty() { text } else { format!("{text} at {at}") }
                }),
            };
            if let Some(fault) = fault {
                let detail = format!(
                    "actions.{name}.{which} is no JSON Schema (2020-12): {fault}; correct it, or \
                     leave it out"
                );
                findings.refuse("plugin.schema", detail);
            }
        }
    }
}

fn check_policy(
    manifest: &Manifest,
    info: &ModuleInfo,
    policy: &config::Plugins,
    findings: &mut Findings,
) {
    let limits = &manifest.limits;
    for (name, asked, most) in [
        ("limits.fuel", limits.fuel, policy.max_fuel),
        ("limits.memory_bytes", limits.memory_bytes.into(), policy.max_memory_bytes.into()),
        ("limits.output_bytes", limits.output_bytes.into(), policy.max_output_bytes.into()),
        ("the size of the module", info.bytes as u64, policy.max_module_bytes as u64),
    ] {
        if asked > most {
            let detail = format!(
                "{name} is {asked}, and this control plane takes at most {most}; ask for less, or \
                 ask whoever runs it to raise `[plugins]` in its configuration"
            );
            findings.refuse("plugin.policy", detail);
        }
    }
}

/// What the manifest asks for against what the module could use of it.
fn compare(asked: &Permissions, imports: &[Import], findings: &mut Findings) {
    let needs = || imports.iter().filter_map(|import| Some((import, import.permission()?)));
    let used: BTreeSet<&str> = needs().map(|(_, kind)| kind).collect();
    let asked = asked.kinds();
    for kind in asked.iter().filter(|kind| !used.contains(**kind)) {
        let text = format!(
            "it asks for `{kind}`, and its module imports no function for that; take it out of \
             `[permissions]`"
        );
        findings.warn("plugin.permission_unused", text);
    }
    for (import, kind) in needs().filter(|(_, kind)| !asked.contains(kind)) {
        let text = format!(
            "its module imports `{}.{}`, and it does not ask for `{kind}`: such a call is denied",
            import.module, import.name,
        );
        findings.warn("plugin.permission_missing", text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(imports: &[(&str, &str)]) -> ModuleInfo {
        let import = |(module, name): &(&str, &str)| Import {
            module: (*module).to_owned(),
            name: (*name).to_owned(),
        };
        ModuleInfo {
            bytes: 100,
            imports: imports.iter().map(import).collect(),
            exports: vec!["execute".to_owned()],
            initial_pages: 1,
            ..ModuleInfo::default()
        }
    }

    fn judge(more: &str, imports: &[(&str, &str)]) -> Findings {
        let text = format!("name = 'x'\nversion = '1.0.0'\ndescription = 'd'\n{more}");
        check(&Manifest::from_toml(&text).unwrap(), &info(imports), &config::Plugins::default())
    }

    fn codes(findings: &Findings) -> (Vec<&str>, Vec<&str>) {
        (
            findings.errors.iter().map(|(code, _)| *code).collect(),
            findings.warnings.iter().map(|warning| warning.code.as_str()).collect(),
        )
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let more = "[limits]\nmemory_bytes = 1000\n[actions.dance]\ninput = { type = 'strin' }";
        let findings = judge(more, &[]);
        assert_eq!(codes(&findings).0, ["plugin.export_missing", "plugin.memory", "plugin.schema"]);
    }

    #[test]
    fn a_schema_is_one_of_2020_12_and_needs_nothing_from_outside() {
        for (schema, is_good) in [
            ("{ type = 'object', properties = { n = { type = 'integer' } } }", true),
            ("{ '$defs' = { n = { type = 'integer' } }, '$ref' = '#/$defs/n' }", true),
            ("{ prefixItems = [{ type = 'string' }] }", true),
            ("{ type = 'strin' }", false),
            ("{ minimum = 'one' }", false),
            ("{ '$ref' = 'https://example.com/schema.json' }", false),
            ("{ '$ref' = '#/$defs/none' }", false),
            ("{ pattern = '(' }", false),
            ("'string'", false),
        ] {
            let findings = judge(&format!("[actions.execute]\ninput = {schema}"), &[]);
            let expected: &[&str] = if is_good { &[] } else { &["plugin.schema"] };
            assert_eq!(codes(&findings).0, expected, "{schema}: {findings:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_compared_with_what_is_imported() {
        let (http, connect, now) =
            (("openclaw", "http_request"), ("openclaw", "tcp_connect"), ("openclaw", "now_ms"));
        let read = ("openclaw", "stream_read");
        for (permissions, imports, warnings) in [
            ("", &[][..], &[][..]),
            ("http = ['a:80']", &[http], &[]),
            ("http = ['a:80']", &[("extism:host/env", "http_request")], &[]),
            (
                "tcp = ['a:502']",
                &[http],
                &["plugin.permission_unused", "plugin.permission_missing"],
            ),
            ("tcp = ['a:502']", &[connect, read], &[]),
            ("serial = ['bus']", &[("openclaw", "serial_open"), read], &[]),
            ("time = true", &[("wasi_snapshot_preview1", "clock_time_get")], &[]),
            ("random = true", &[now], &["plugin.permission_unused", "plugin.permission_missing"]),
            ("", &[("openclaw", "log"), ("openclaw", "output_write")], &[]),
        ] {
            let findings = judge(&format!("[permissions]\n{permissions}"), imports);
            assert_eq!(codes(&findings).1, warnings, "{permissions}: {findings:?}");
        }
    }

    #[test]
    fn what_is_over_the_policy_is_refused_by_name() {
        let manifest = Manifest::from_toml(
            "name = 'x'\nversion = '1.0.0'\ndescription = 'd'\n[limits]\nfuel = 2000",
        );
        let policy =
            config::Plugins { max_fuel: 1_000, max_module_bytes: 99, ..Default::default() };
        let findings = check(&manifest.unwrap(), &info(&[]), &policy);
        assert_eq!(codes(&findings).0, ["plugin.policy", "plugin.policy"]);
        assert!(findings.errors[0].1.contains("limits.fuel is 2000"), "{findings:?}");
    }
}
