//! `openclaw plugin`: keys, signatures, and how a version stands.

use std::os::unix::fs::PermissionsExt as _;

use data_encoding::HEXLOWER;
use openclaw_protocol::plugin::{Manifest, statement};
use openclaw_sandbox::digest_of;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};

use crate::stub::Stub;
use crate::{Desk, err, out};

const MANIFEST: &str = "name = 'greeter'\nversion = '1.0.0'\ndescription = 'greets'\n";

fn answer(state: &str) -> Value {
    json!({
        "manifest": { "name": "greeter", "version": "1.0.0", "description": "greets",
            "permissions": { "http": ["a:443"] }, "dependencies": { "base": "^1" } },
        "digest": "ab", "size": 12, "published_at": "2026", "published_by": "user:ann",
        "imports": [], "exports": ["execute"], "state": state, "unapproved": ["http:a:443"],
        "warnings": [{ "code": "plugin.permission_unused", "message": "asks for `http`" }],
        "deprecated": "use greeter-2",
    })
}

#[test]
fn a_plugin_is_signed_here_and_published_with_its_signature() {
    let desk = Desk::new();
    let made = desk.run(&["plugin", "key", "new", "ann.pem", "-o", "json"]);
    assert!(made.status.success(), "{}", err(&made));
    let key: Value = serde_json::from_str(&out(&made)).unwrap();
    let mode = std::fs::metadata(desk.path().join("ann.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = desk.run(&["plugin", "key", "new", "ann.pem"]);
    assert!(!again.status.success(), "a key is never written over another");

    let (dir, module) = (desk.path().join("greeter"), b"\0asm....");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("plugin.toml"), MANIFEST).unwrap();
    std::fs::write(dir.join("plugin.wasm"), module).unwrap();
    let signed = desk.run(&["plugin", "sign", "greeter", "--key", "ann.pem"]);
    assert!(signed.status.success(), "{}", err(&signed));
    let text = std::fs::read_to_string(dir.join("plugin.sig")).unwrap();
    let signature: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(signature["key"], key["id"]);
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let manifest_digest = digest_of(MANIFEST.as_bytes());
    let said = statement(&manifest.name, &manifest.version, digest_of(module), manifest_digest);
    let hex = |value: &Value| HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap();
    UnparsedPublicKey::new(&ED25519, hex(&key["public_key"]))
        .verify(said.as_bytes(), &hex(&signature["signature"]))
        .unwrap();

    let stub = Stub::start(vec![("POST /api/v1/plugins", 201, answer("pending_approval"))]);
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    let done = desk.run_with(&["plugin", "publish", "greeter"], &here);
    assert!(done.status.success(), "{}", err(&done));
    let told = err(&done);
    assert!(told.contains("warning: asks for `http` (plugin.permission_unused)"), "{told}");
    assert!(told.contains("openclaw plugin approve greeter@1.0.0"), "{told}");
    let (asked, body) = &stub.asked()[0];
    assert_eq!(asked, "POST /api/v1/plugins", "nothing is approved unasked");
    assert!(body.contains(signature["signature"].as_str().unwrap()), "{body}");
    desk.run_with(&["plugin", "publish", "greeter", "--approve"], &here);
    assert_eq!(stub.asked()[1].0, "POST /api/v1/plugins?approve=true");

    std::fs::write(desk.path().join("not.pem"), "x").unwrap();
    let done = desk.run(&["plugin", "sign", "greeter", "--key", "not.pem"]);
    assert_eq!(done.status.code(), Some(6), "{}", err(&done));
}

#[test]
fn how_a_version_stands_is_changed_and_shown() {
    let desk = Desk::new();
    let stub = Stub::start(vec![
        ("GET /api/v1/plugins/greeter/1.0.0", 200, answer("pending_approval")),
        ("GET /api/v1/plugins?", 200, json!({ "items": [answer("yanked")] })),
        ("POST /api/v1/plugins/greeter/1.0.0/", 200, answer("ready")),
    ]);
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    for (args, asked, body) in [
        (&["yank", "greeter@1.0.0", "--reason", "leaks"][..], "yank", r#"{"reason":"leaks"}"#),
        (&["unyank", "greeter@1.0.0"], "unyank", "{}"),
        (&["deprecate", "greeter@1.0.0", "old"], "deprecate", r#"{"message":"old"}"#),
        (&["deprecate", "greeter@1.0.0", "--undo"], "deprecate", r#"{"message":null}"#),
        (&["approve", "greeter@1.0.0", "--yes"], "approve", "{}"),
    ] {
        let done = desk.run_with(&[&["plugin"], args].concat(), &here);
        assert!(done.status.success(), "{args:?}: {}", err(&done));
        let (seen, sent) = stub.asked().pop().unwrap();
        let path = format!("POST /api/v1/plugins/greeter/1.0.0/{asked}");
        assert_eq!((seen.as_str(), sent.as_str()), (path.as_str(), body));
    }
    let done = desk.run_with(&["plugin", "approve", "greeter@1.0.0"], &here);
    assert!(err(&done).contains("let greeter@1.0.0 touch http:a:443?"), "{}", err(&done));
    assert!(!done.status.success(), "nobody has said yes");
    let done = desk.run_with(&["plugin", "yank", "greeter", "--reason", "x"], &here);
    assert!(err(&done).contains("NAME@VERSION"), "{}", err(&done));

    let args = ["plugin", "search", "two words", "--category", "a b", "--tag", "t"];
    let done = desk.run_with(&args, &here);
    assert!(out(&done).contains("yanked, deprecated"), "{}", out(&done));
    let asked = stub.asked().pop().unwrap().0;
    let path = "GET /api/v1/plugins?q=two%20words&category=a%20b&tag=t&limit=200";
    assert_eq!(asked, path);
    let done = desk.run_with(&["plugin", "inspect", "greeter@1.0.0"], &here);
    let shown = out(&done);
    for part in ["http:a:443", "base ^1", "use greeter-2", "pending_approval", "fuel", "nobody"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_download_goes_on_and_is_what_was_asked_for_or_is_not_there() {
    let desk = Desk::new();
    let rest = json!({ "rest": 1 });
    let whole = format!("first part {rest}");
    let digest = digest_of(whole.as_bytes()).to_string();
    let mut plugin = answer("ready");
    plugin["digest"] = json!(digest);
    plugin["size"] = json!(whole.len());
    let stub = Stub::start(vec![
        ("GET /api/v1/plugins/greeter/1.0.0", 200, plugin),
        ("GET /api/v1/modules/", 206, rest),
    ]);
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    let (file, beside) = ("greeter-1.0.0.wasm", format!("greeter-1.0.0.wasm.{digest}.partial"));
    std::fs::write(desk.path().join(&beside), "first part ").unwrap();
    let done = desk.run_with(&["plugin", "download", "greeter@1.0.0"], &here);
    assert!(done.status.success(), "{}", err(&done));
    assert_eq!(stub.asked().pop().unwrap().0, format!("GET /api/v1/modules/{digest}"));
    assert_eq!(std::fs::read_to_string(desk.path().join(file)).unwrap(), whole);
    assert!(!desk.path().join(&beside).exists());

    let changed = ["plugin", "download", "greeter@1.0.0", "-f", "other.wasm"];
    let done = desk.run_with(&changed, &here);
    assert!(err(&done).contains("is not the module"), "{}", err(&done));
    assert!(!done.status.success() && !desk.path().join("other.wasm").exists());
    assert!(!desk.path().join(format!("other.wasm.{digest}.partial")).exists());
}
