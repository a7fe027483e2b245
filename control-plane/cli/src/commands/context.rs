//! `login`, `logout`, `whoami` and `context`: which control plane, as whom.

use openclaw_protocol::api::{LoginRequest, LoginResponse, User};
use reqwest::Method;

use super::read_password;
use crate::args::{ContextVerb, Global, LoginArgs};
use crate::client::Client;
use crate::context::{Context, Contexts};
use crate::exit::{Failure, NOT_FOUND};
use crate::output::{self, name_of};

/// Logs in and remembers the context as the current one.
pub(crate) async fn login(global: &Global, args: LoginArgs) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    let mut context = match args.address.or_else(|| global.url.clone()) {
        Some(url) => Context { url, token: None, ca_file: args.ca_file },
        None => contexts.pick(global.context.as_deref())?.clone(),
    };
    context.url = context.url.trim_end_matches('/').to_owned();
    context.token = None;
    let client = Client::new(&context)?;
    let password = read_password(args.password_stdin, &format!("Password of {}: ", args.user))?;
    let request = LoginRequest { username: args.user, password };
    let answer: LoginResponse = client.post("/auth/login", &request).await?;
    context.token = Some(answer.token);
    let url = context.url.clone();
    contexts.context.insert(args.name.clone(), context);
    contexts.current = Some(args.name.clone());
    contexts.save()?;
    eprintln!(
        "logged in to {url} as {} ({}); context `{}` until {}",
        answer.user.username,
        name_of(&answer.user.role),
        args.name,
        answer.expires_at
    );
    Ok(())
}

/// Ends the session and forgets its token.
pub(crate) async fn logout(global: &Global) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    let client = Client::from_global(global)?;
    client.call(Method::POST, "/auth/logout").await?;
    let name = global.context.clone().or_else(|| contexts.current.clone());
    if let Some(context) = name.and_then(|name| contexts.context.get_mut(&name)) {
        context.token = None;
        contexts.save()?;
    }
    eprintln!("logged out");
    Ok(())
}

/// Shows who is logged in.
pub(crate) async fn whoami(global: &Global) -> Result<(), Failure> {
    let user: User = Client::from_global(global)?.fetch("/auth/me").await?;
    output::print(global.output, &user, &["user", "role"], |u| {
        vec![vec![u.username.clone(), name_of(&u.role)]]
    })
}

/// `openclaw context …`.
pub(crate) fn run(global: &Global, verb: ContextVerb) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    match verb {
        ContextVerb::List => {
            let current = contexts.current.clone();
            let shown: Vec<(bool, String, String, bool)> = contexts
                .context
                .iter()
                .map(|(name, c)| {
                    (current.as_ref() == Some(name), name.clone(), c.url.clone(), c.token.is_some())
                })
                .collect();
            output::print(global.output, &shown, &["", "name", "address", "login"], |rows| {
                rows.iter()
                    .map(|(is_current, name, url, has_login)| {
                        vec![
                            if *is_current { "*" } else { "" }.to_owned(),
                            name.clone(),
                            url.clone(),
                            if *has_login { "yes" } else { "no" }.to_owned(),
                        ]
                    })
                    .collect()
            })
        }
        ContextVerb::Use { name } => {
            contexts.pick(Some(&name))?;
            contexts.current = Some(name);
            contexts.save()
        }
        ContextVerb::Remove { name } => {
            if contexts.context.remove(&name).is_none() {
                return Err(Failure::new(NOT_FOUND, format!("there is no context `{name}`")));
            }
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.save()
        }
    }
}
