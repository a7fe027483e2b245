//! Who may do what: the route × principal matrix, sessions, keys, tenants, the audit.

use reqwest::{Method, StatusCode};
use serde_json::json;

use openclaw_protocol::api::Role;

use super::facts::enrol;
use super::server::{Client, Database, PASSWORD, Server};
use crate::config::DEFAULT_TENANT;
use crate::identity::{Access, TABLE};
use crate::store::args;

/// Every route, with every kind of caller: exactly who the table lets in gets in.
pub(super) async fn every_route_asks_for_the_role_in_the_table(database: Database) {
    let server = Server::start(&database).await;
    for (method, route, access) in TABLE {
        let path = route
            .replace("{file}", "console.css")
            .replace("{revision}", "1")
            .replace("{version}", "1.0.0")
            .replace(['{', '}'], "x");
        let before = audit_rows(&server).await;
        for token in ["", "garbage", "ocs_garbage", "oc_1_garbage", &"x".repeat(5_000)] {
            let seen = knock(&server.with_token(token), method, &path).await;
            let is_open = matches!(access, Access::Public);
            expect(is_open, seen, 401, &format!("{method} {route} with token {token:.12}"));
        }
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let is_enough = match access {
                Access::Public => true,
                Access::AtLeast(least) | Access::AtLeastOrLocal(least) => role >= *least,
            };
            if is_enough && *route == "/api/v1/events" {
                continue; // An endless answer; it is a test of its own.
            }
            let client = server.session(DEFAULT_TENANT, role).await;
            let seen = knock(&client, method, &path).await;
            expect(is_enough, seen, 403, &format!("{method} {route} as {role:?}"));
            if !is_enough {
                assert_eq!(audit_rows(&server).await, before, "{method} {route} as {role:?}");
            }
        }
    }
    server.stop().await;
}

async fn knock(client: &Client<'_>, method: &Method, path: &str) -> StatusCode {
    let request = client.request(method.clone(), path);
    let request = request.timeout(std::time::Duration::from_secs(20));
    // A login that nobody can take for a wrong credential of this test.
    let is_login = path.ends_with("/auth/login");
    let request = if is_login { request.body("no login") } else { request };
    let (status, _) = client.send(request).await;
    status
}

fn expect(is_let_in: bool, seen: StatusCode, refusal: u16, what: &str) {
    if is_let_in {
        assert!(![401, 403].contains(&seen.as_u16()), "{what}: {seen}");
    } else {
        assert_eq!(seen.as_u16(), refusal, "{what}");
    }
}

async fn audit_rows(server: &Server) -> i64 {
    let mut tx = server.ctx.db.read().await.unwrap();
    let row = tx.row("SELECT COUNT(*) AS n FROM audit", args![]).await.unwrap();
    row.unwrap().int("n").unwrap()
}

pub(super) async fn a_request_with_a_cookie_needs_our_header(database: Database) {
    let server = Server::start(&database).await;
    let body = json!({ "username": "admin", "password": PASSWORD });
    let request = server.nobody().request(Method::POST, "/api/v1/auth/login").json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let cookie = response.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let nobody = server.nobody();
    let with_cookie = |method, path| nobody.request(method, path).header("cookie", cookie);

    let (status, me) = nobody.send(with_cookie(Method::GET, "/api/v1/auth/me")).await;
    assert_eq!((status.as_u16(), &me["username"]), (200, &json!("admin")));
    let (status, _) = nobody.send(with_cookie(Method::POST, "/api/v1/auth/logout")).await;
    assert_eq!(status, 403);
    let logout = with_cookie(Method::POST, "/api/v1/auth/logout").header("x-openclaw-csrf", "1");
    assert_eq!(nobody.send(logout).await.0, 204);
    let (status, _) = nobody.send(with_cookie(Method::GET, "/api/v1/auth/me")).await;
    assert_eq!(status, 401, "a session that was ended is no good");
    // A program's key in a cookie is no credential.
    let key =
        server.admin().await.post("/api/v1/api-keys", json!({"name": "k", "role": "admin"})).await;
    let cookie = format!("openclaw={}", key["secret"].as_str().unwrap());
    let request = nobody.request(Method::GET, "/api/v1/auth/me").header("cookie", cookie);
    assert_eq!(nobody.send(request).await.0, 401);
    server.stop().await;
}

pub(super) async fn guessing_passwords_gets_slow(database: Database) {
    let server = Server::start(&database).await;
    let guess = |password: &str| Some(json!({ "username": "admin", "password": password }));
    let nobody = server.nobody();
    let login = "/api/v1/auth/login";
    for round in 0..10 {
        let wrong = guess(&format!("guess {round}"));
        nobody.refused(Method::POST, login, wrong, (401, "auth.wrong")).await;
    }
    // Not even the right one now, so that guessing tells nothing.
    let answer = nobody.refused(Method::POST, login, guess(PASSWORD), (429, "auth.too_many")).await;
    assert!(answer["detail"].as_str().unwrap().contains("try again in"), "{answer}");
    server.pass_ms(31_000);
    nobody.post(login, guess(PASSWORD).unwrap()).await;
    let unknown = Some(json!({ "username": "nobody", "password": "x" }));
    nobody.refused(Method::POST, login, unknown, (401, "auth.wrong")).await;
    server.stop().await;
}

pub(super) async fn a_disabled_user_is_out_at_once(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let made = admin.post("/api/v1/users", json!({ "username": "ann", "role": "operator" })).await;
    let password = made["password"].as_str().unwrap();
    let login = json!({ "username": "ann", "password": password });
    let session = server.nobody().post("/api/v1/auth/login", login.clone()).await;
    let ann = server.with_token(session["token"].as_str().unwrap());
    ann.get("/api/v1/devices").await;
    let disabled = admin.post("/api/v1/users/ann/disable", json!({})).await;
    assert_eq!(disabled["disabled"], true);
    ann.refused(Method::GET, "/api/v1/devices", None, (401, "auth.required")).await;
    server
        .nobody()
        .refused(Method::POST, "/api/v1/auth/login", Some(login), (401, "auth.wrong"))
        .await;
    let again = Some(json!({ "username": "ann", "role": "viewer" }));
    admin.refused(Method::POST, "/api/v1/users", again, (409, "user.exists")).await;
    admin.post("/api/v1/users/admin/disable", json!({})).await;
    let last = format!("/api/v1/users/{}/disable", admin.username);
    admin.refused(Method::POST, &last, None, (409, "user.last_admin")).await;
    server.stop().await;
}

pub(super) async fn another_tenant_sees_nothing(database: Database) {
    let server = Server::start(&database).await;
    enrol(&server, "pump-7", &[]).await;
    let admin = server.admin().await;
    admin.apply(super::facts::COUNT).await;
    let target = json!({ "devices": ["pump-7"] });
    let deployment =
        admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let stranger = server.session("other", Role::Admin).await;
    let lists =
        ["devices", "users", "plugins", "workflows", "deployments", "executions", "api-keys"];
    for list in lists {
        let page = stranger.get(&format!("/api/v1/{list}")).await;
        let others = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["username"] != json!(stranger.username));
        assert!(!others, "{list}: {page}");
    }
    let id = deployment["id"].as_str().unwrap();
    for path in [
        "/api/v1/devices/pump-7",
        "/api/v1/workflows/count",
        "/api/v1/workflows/count/1",
        &format!("/api/v1/deployments/{id}"),
    ] {
        stranger.refused(Method::GET, path, None, (404, "not_found")).await;
    }
    for (method, path) in [
        (Method::DELETE, "/api/v1/devices/pump-7".to_owned()),
        (Method::POST, "/api/v1/devices/pump-7/revoke".to_owned()),
        (Method::DELETE, format!("/api/v1/deployments/{id}")),
        (Method::POST, "/api/v1/users/admin/disable".to_owned()),
    ] {
        stranger.refused(method, &path, None, (404, "not_found")).await;
    }
    let body = Some(json!({ "workflow": "count", "target": target }));
    stranger.refused(Method::POST, "/api/v1/deployments", body, (404, "not_found")).await;
    server.stop().await;
}

pub(super) async fn keys_do_no_more_than_their_maker(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let body = json!({ "name": "ci", "role": "viewer", "days": 1 });
    let made = admin.post("/api/v1/api-keys", body).await;
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("oc_"), "{secret}");
    let key = server.with_token(secret);
    key.get("/api/v1/devices").await;
    let body = Some(json!({ "name": "x", "role": "viewer" }));
    key.refused(Method::POST, "/api/v1/api-keys", body, (403, "auth.forbidden")).await;
    key.refused(Method::POST, "/api/v1/auth/logout", None, (400, "request.malformed")).await;
    let listed = admin.get("/api/v1/api-keys").await;
    assert!(!listed.to_string().contains(secret));
    server.pass_ms(24 * 3_600_000 + 1);
    key.refused(Method::GET, "/api/v1/devices", None, (401, "auth.required")).await;

    let made = admin.post("/api/v1/api-keys", json!({ "name": "b", "role": "admin" })).await;
    let key = server.with_token(made["secret"].as_str().unwrap());
    key.get("/api/v1/users").await;
    // A key of a key would outlive the person behind the first.
    let body = Some(json!({ "name": "x", "role": "viewer" }));
    key.refused(Method::POST, "/api/v1/api-keys", body, (403, "auth.forbidden")).await;
    let path = format!("/api/v1/api-keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    key.refused(Method::GET, "/api/v1/users", None, (401, "auth.required")).await;

    // Whoever is disabled takes their keys with them.
    let other = server.admin().await;
    let made = other.post("/api/v1/api-keys", json!({ "name": "c", "role": "admin" })).await;
    let key = server.with_token(made["secret"].as_str().unwrap());
    key.get("/api/v1/users").await;
    admin.post(&format!("/api/v1/users/{}/disable", other.username), json!({})).await;
    key.refused(Method::GET, "/api/v1/users", None, (401, "auth.required")).await;
    server.stop().await;
}

pub(super) async fn each_change_writes_one_audit_row(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    enrol(&server, "pump-7", &[]).await;
    let (json_body, none) = (|value| Some(value), None);
    let target = json!({ "devices": ["pump-7"] });
    let steps = [
        (Method::POST, "/api/v1/users", json_body(json!({"username": "b", "role": "viewer"}))),
        (Method::POST, "/api/v1/users/b/disable", none.clone()),
        (Method::POST, "/api/v1/api-keys", json_body(json!({"name": "k", "role": "viewer"}))),
        (Method::POST, "/api/v1/devices/enroll-codes", json_body(json!({}))),
        (Method::PUT, "/api/v1/devices/pump-7/labels", json_body(json!({"site": "a"}))),
        (
            Method::POST,
            "/api/v1/deployments",
            json_body(json!({ "workflow": "count", "target": target })),
        ),
        (Method::POST, "/api/v1/workflows/count/run", json_body(json!({ "target": target }))),
        (Method::POST, "/api/v1/devices/pump-7/revoke", none.clone()),
        (Method::DELETE, "/api/v1/devices/pump-7", none),
    ];
    let mut rows = audit_rows(&server).await;
    admin.apply(super::facts::COUNT).await;
    rows += 1;
    assert_eq!(audit_rows(&server).await, rows, "apply");
    for (method, path, body) in steps {
        let (status, answer) = admin.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {answer}");
        rows += 1;
        assert_eq!(audit_rows(&server).await, rows, "{method} {path}");
    }
    let mut tx = server.ctx.db.read().await.unwrap();
    let sql = "SELECT actor, detail FROM audit WHERE action = 'user.create' AND subject = 'b'";
    let row = tx.row(sql, args![]).await.unwrap().unwrap();
    assert_eq!(row.text("actor").unwrap(), format!("user:{}", admin.username));
    drop(tx);
    server.stop().await;
}
