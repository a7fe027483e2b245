//! Which control plane, as whom: contexts, CA files, logging in and out.

use serde_json::json;

use crate::stub::{Script, Stub};
use crate::{Desk, err, json, out};

fn user() -> serde_json::Value {
    json!({ "username": "admin", "role": "admin", "disabled": false, "created_at": "2026" })
}

fn login() -> Script {
    vec![(
        "POST /api/v1/auth/login",
        200,
        json!({ "token": "ocs_t", "expires_at": "2026", "user": user() }),
    )]
}

/// The name of a context for a stub's address, where nobody gives one.
fn host_of(stub: &Stub) -> &str {
    stub.url.strip_prefix("http://").unwrap()
}

/// A CA in a file of the desk's directory.
fn ca_file(desk: &Desk, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::new(vec!["ca".to_owned()]).unwrap().self_signed(&key);
    std::fs::write(desk.path().join(name), ca.unwrap().pem()).unwrap();
}

#[test]
fn a_ca_file_is_kept_by_its_whole_path() {
    let (desk, stub) = (Desk::new(), Stub::start(login()));
    ca_file(&desk, "ca.pem");
    let done = desk.run(&["login", &stub.url, "--password-stdin", "--ca-file", "ca.pem"]);
    assert!(done.status.success(), "{}", err(&done));
    let kept = desk.contexts()["context"][host_of(&stub)]["ca_file"].as_str().unwrap().to_owned();
    assert_eq!(
        std::fs::canonicalize(&kept).unwrap(),
        desk.path().canonicalize().unwrap().join("ca.pem")
    );
    assert!(kept.starts_with('/'), "{kept}");
    // Without an address it is taken for the context's, and not left out silently.
    ca_file(&desk, "other.pem");
    let done = desk.run(&["login", "--password-stdin", "--ca-file", "other.pem"]);
    assert!(done.status.success(), "{}", err(&done));
    let kept = desk.contexts()["context"][host_of(&stub)]["ca_file"].as_str().unwrap().to_owned();
    assert!(kept.ends_with("/other.pem"), "{kept}");
}

#[test]
fn an_address_from_the_environment_takes_a_ca_too() {
    let (desk, stub) = (Desk::new(), Stub::start(vec![("GET /api/v1/auth/me", 200, user())]));
    let here = [("OPENCLAW_URL", stub.url.as_str()), ("OPENCLAW_TOKEN", "oc_k")];
    assert!(desk.run_with(&["whoami"], &here).status.success());
    let with_ca = [here[0], here[1], ("OPENCLAW_CA_FILE", "nowhere.pem")];
    let failed = desk.run_with(&["whoami"], &with_ca);
    assert_eq!(failed.status.code(), Some(1));
    assert!(err(&failed).contains("nowhere.pem"), "{}", err(&failed));
    let failed = desk.run_with(&["whoami", "--ca-file", "nowhere.pem"], &here);
    assert!(err(&failed).contains("nowhere.pem"), "{}", err(&failed));
}

#[test]
fn logging_in_to_a_named_context_leaves_the_others_alone() {
    let (desk, home, prod) = (Desk::new(), Stub::start(login()), Stub::start(login()));
    let done = desk.run(&["login", &home.url, "--password-stdin"]);
    assert!(done.status.success(), "{}", err(&done));
    let done = desk.run(&["--context", "prod", "login", &prod.url, "--password-stdin"]);
    assert!(done.status.success(), "{}", err(&done));
    let again = desk.run(&["--context", "prod", "login", "--password-stdin"]);
    assert!(again.status.success(), "{}", err(&again));
    assert!(desk.run(&["login", "--password-stdin"]).status.success(), "the current one is prod");
    assert_eq!(prod.asked().len(), 3);
    let contexts = desk.contexts();
    assert_eq!(contexts["context"][host_of(&home)]["url"].as_str(), Some(home.url.as_str()));
    assert_eq!(contexts["context"]["prod"]["url"].as_str(), Some(prod.url.as_str()));
    assert_eq!(contexts["context"].as_table().unwrap().len(), 2);

    let listed = json(&desk.run(&["context", "list", "-o", "json"]));
    assert_eq!(
        listed[1],
        json!({ "name": "prod", "url": prod.url, "current": true, "logged_in": true, "ca_file": null })
    );
    assert!(!out(&desk.run(&["context", "list", "-o", "json"])).contains("ocs_t"));
}

#[test]
fn logging_in_elsewhere_without_a_name_replaces_no_context() {
    let (desk, home, prod) = (Desk::new(), Stub::start(login()), Stub::start(login()));
    let log_in = |args: &[&str]| {
        let done = desk.run(&[&["login", "--password-stdin"], args].concat());
        assert!(done.status.success(), "{}", err(&done));
        err(&done)
    };
    log_in(&[&home.url]);
    let said = log_in(&[&prod.url]);
    assert!(said.contains(&format!("context `{}`", host_of(&prod))), "{said}");
    assert!(!said.contains("before"), "{said}");
    let urls = || {
        let contexts = desk.contexts();
        let table = contexts["context"].as_table().unwrap().clone();
        table.iter().map(|(name, c)| (name.clone(), c["url"].to_string())).collect::<Vec<_>>()
    };
    let mut both: Vec<_> =
        [&home, &prod].map(|s| (host_of(s).to_owned(), format!("\"{}\"", s.url))).into();
    both.sort();
    assert_eq!(urls(), both);
    assert_eq!(desk.contexts()["current"].as_str(), Some(host_of(&prod)));

    // The same address again is the same context, whatever it is called.
    log_in(&[&home.url, "--name", "home"]);
    log_in(&[&prod.url]);
    log_in(&[&format!("{}/", home.url)]);
    assert_eq!(urls().len(), 3);
    // What is replaced by name is said.
    let said = log_in(&[&prod.url, "--name", "home"]);
    assert!(said.contains(&format!("context `home` was {} before", home.url)), "{said}");
}

#[test]
fn logging_out_of_an_ended_session_forgets_its_token() {
    let mut script = login();
    script.push(("POST /api/v1/auth/logout", 401, json!({})));
    let (desk, stub) = (Desk::new(), Stub::start(script));
    assert!(desk.run(&["login", &stub.url, "--password-stdin"]).status.success());
    // Somebody else's token says nothing about ours.
    let other = desk.run_with(&["logout"], &[("OPENCLAW_TOKEN", "ocs_other")]);
    assert!(other.status.success(), "{}", err(&other));
    assert!(desk.contexts()["context"][host_of(&stub)].get("token").is_some());
    let done = desk.run(&["logout"]);
    assert!(done.status.success(), "{}", err(&done));
    assert!(desk.contexts()["context"][host_of(&stub)].get("token").is_none());
}

#[test]
fn logging_out_keeps_the_token_of_a_session_that_may_go_on() {
    let mut script = login();
    script.push(("POST /api/v1/auth/logout", 503, json!({})));
    let (desk, stub) = (Desk::new(), Stub::start(script));
    assert!(desk.run(&["login", &stub.url, "--password-stdin"]).status.success());
    assert_eq!(desk.run(&["logout"]).status.code(), Some(8));
    assert!(desk.contexts()["context"][host_of(&stub)].get("token").is_some());
}
