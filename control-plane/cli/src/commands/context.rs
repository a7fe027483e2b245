//! `login`, `logout`, `whoami` and `context`: which control plane, as whom.

use std::path::Path;

use openclaw_protocol::api::{LoginRequest, LoginResponse, User};
use reqwest::{Method, Url};
use serde::Serialize;

use super::read_password;
use crate::args::{ContextVerb, Global, LoginArgs};
use crate::client::Client;
use crate::context::{Context, Contexts};
use crate::exit::{Failure, NOT_AUTHENTICATED, NOT_FOUND};
use crate::output::{self, name_of, printable};

/// Logs in and remembers the context as the current one.
pub(crate) async fn login(global: &Global, args: LoginArgs) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    let (mut context, origin) = match args.address.or_else(|| global.url.clone()) {
        Some(url) => (Context { url, token: None, ca_file: None }, None),
        None => (contexts.pick(global.context.as_deref())?.clone(), contexts.current.clone()),
    };
    context.set_ca_file(global.ca_file.as_deref())?;
    context.url = context.url.trim_end_matches('/').to_owned();
    let name = args.name.or_else(|| global.context.clone()).or(origin);
    let name = name.unwrap_or_else(|| name_for(&contexts, &context.url));
    context.token = None;
    let client = Client::new(&context)?;
    let password =
        read_password(args.password_stdin, &format!("Password of {}: ", args.user)).await?;
    let request = LoginRequest { username: args.user, password };
    let answer: LoginResponse = client.post("/auth/login", &request).await?;
    context.token = Some(answer.token);
    let url = context.url.clone();
    let before = contexts.context.insert(name.clone(), context);
    contexts.current = Some(name.clone());
    contexts.save()?;
    if let Some(before) = before.filter(|before| before.url != url) {
        eprintln!("context `{name}` was {} before, and is no more", printable(&before.url));
    }
    eprintln!(
        "logged in to {url} as {} ({}); context `{name}` until {}",
        printable(&answer.user.username),
        name_of(&answer.user.role),
        printable(&answer.expires_at)
    );
    Ok(())
}

/// The name of a context for an address where nobody gives one: that of the context which has the
/// address already, or else the host, or else, where that is taken, the whole address. So no other
/// context is replaced.
fn name_for(contexts: &Contexts, url: &str) -> String {
    let has_it = |name: &&String| contexts.context.get(*name).is_some_and(|c| c.url == url);
    let current = contexts.current.iter();
    if let Some(known) = current.chain(contexts.context.keys()).find(has_it) {
        return known.clone();
    }
    let host = Url::parse(url).ok().and_then(|url| {
        let host = url.host_str()?;
        Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    });
    let free = host.filter(|host| !contexts.context.contains_key(host));
    free.unwrap_or_else(|| url.to_owned())
}

/// Ends the session and forgets its token.
pub(crate) async fn logout(global: &Global) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    let client = Client::from_global(global)?;
    match client.call(Method::POST, "/auth/logout").await {
        // A session that has ended is what was wanted, and its token is no good any more.
        Err(failure) if failure.code == NOT_AUTHENTICATED => {}
        ended => ended?,
    }
    // A token from elsewhere says nothing about the one that is remembered.
    let is_remembered = global.url.is_none() && global.token.is_none();
    let name = global.context.clone().or_else(|| contexts.current.clone());
    if let Some(context) =
        name.filter(|_| is_remembered).and_then(|name| contexts.context.get_mut(&name))
    {
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

/// A context as it is shown: without its token.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    url: &'a str,
    current: bool,
    logged_in: bool,
    ca_file: Option<&'a Path>,
}

impl Shown<'_> {
    fn row(&self) -> Vec<String> {
        vec![
            if self.current { "*" } else { "" }.to_owned(),
            self.name.to_owned(),
            self.url.to_owned(),
            if self.logged_in { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// `openclaw context …`.
pub(crate) fn run(global: &Global, verb: ContextVerb) -> Result<(), Failure> {
    let mut contexts = Contexts::load()?;
    match verb {
        ContextVerb::List => {
            let current = contexts.current.as_ref();
            let shown: Vec<Shown> = contexts
                .context
                .iter()
                .map(|(name, context)| Shown {
                    name,
                    url: &context.url,
                    current: current == Some(name),
                    logged_in: context.token.is_some(),
                    ca_file: context.ca_file.as_deref(),
                })
                .collect();
            output::print(global.output, &shown, &["", "name", "address", "login"], |rows| {
                rows.iter().map(Shown::row).collect()
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
