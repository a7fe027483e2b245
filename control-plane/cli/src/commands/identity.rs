//! `openclaw user` and `openclaw api-key`.

use openclaw_protocol::api::{ApiKey, CreateApiKey, CreateUser, CreatedApiKey, CreatedUser, User};
use reqwest::Method;
use serde_json::json;

use super::{read_password, role};
use crate::args::{ApiKeyVerb, Global, UserVerb};
use crate::client::{Client, path};
use crate::exit::Failure;
use crate::output::{self, Format, name_of, printable};

const USER_COLUMNS: [&str; 4] = ["user", "role", "disabled", "created"];
const KEY_COLUMNS: [&str; 5] = ["id", "name", "role", "expires", "revoked"];

/// `openclaw user …`.
pub(crate) async fn user(client: &Client, global: &Global, verb: UserVerb) -> Result<(), Failure> {
    match verb {
        UserVerb::Create { username, role: asked, password_stdin } => {
            let password =
                if password_stdin { Some(read_password(true, "Password: ").await?) } else { None };
            let body = CreateUser { username, role: role(asked), password };
            let made: CreatedUser = client.post("/users", &body).await?;
            if global.output == Format::Table
                && let Some(password) = &made.password
            {
                eprintln!("password (shown this once):");
                println!("{}", printable(password));
                return Ok(());
            }
            output::print(global.output, &made, &USER_COLUMNS, |m| vec![user_row(&m.user)])
        }
        UserVerb::List => {
            let users: Vec<User> = client.list("/users", usize::MAX).await?;
            output::print(global.output, &users, &USER_COLUMNS, |list| {
                list.iter().map(user_row).collect()
            })
        }
        UserVerb::Disable { username } => {
            let path = path(&["users", &username, "disable"])?;
            let user: User = client.post(&path, &()).await?;
            output::done(global.output, &user, &format!("{username} is locked out"))
        }
    }
}

fn user_row(user: &User) -> Vec<String> {
    vec![
        user.username.clone(),
        name_of(&user.role),
        user.disabled.to_string(),
        user.created_at.clone(),
    ]
}

/// `openclaw api-key …`.
pub(crate) async fn api_key(
    client: &Client,
    global: &Global,
    verb: ApiKeyVerb,
) -> Result<(), Failure> {
    match verb {
        ApiKeyVerb::Create { name, role: asked, days } => {
            let body = CreateApiKey { name, role: role(asked), days };
            let made: CreatedApiKey = client.post("/api-keys", &body).await?;
            if global.output == Format::Table {
                let (id, until) = (printable(&made.key.id), printable(&made.key.expires_at));
                eprintln!("key {id} until {until} (shown this once):");
                println!("{}", printable(&made.secret));
                return Ok(());
            }
            output::print(global.output, &made, &KEY_COLUMNS, |m| vec![key_row(&m.key)])
        }
        ApiKeyVerb::List => {
            let keys: Vec<ApiKey> = client.list("/api-keys", usize::MAX).await?;
            output::print(global.output, &keys, &KEY_COLUMNS, |list| {
                list.iter().map(key_row).collect()
            })
        }
        ApiKeyVerb::Revoke { id } => {
            client.call(Method::DELETE, &path(&["api-keys", &id])?).await?;
            let data = json!({ "id": id, "revoked": true });
            output::done(global.output, &data, &format!("key {id} is revoked"))
        }
    }
}

fn key_row(key: &ApiKey) -> Vec<String> {
    vec![
        key.id.clone(),
        key.name.clone(),
        name_of(&key.role),
        key.expires_at.clone(),
        key.revoked.to_string(),
    ]
}
