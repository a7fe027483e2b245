//! `openclaw plugin`.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use openclaw_protocol::api::{DeprecatePlugin, Plugin, PluginState, YankPlugin};
use openclaw_protocol::limits;
use openclaw_protocol::plugin::{Manifest, Permissions};
use reqwest::{Body, Method, multipart};
use serde::Serialize;
use serde_json::json;

use super::{confirm, plugin_download, plugin_key, split_at_sign};
use crate::args::{Files, Global, KeyVerb, PluginVerb};
use crate::client::{Client, encoded, path};
use crate::exit::{FAILED, Failure, INVALID, NOT_FOUND};
use crate::output::{self, name_of, printable};

/// Bytes handed to the connection at once; the progress bar moves by as much.
const UPLOAD_PIECE: usize = 16 * 1024;

/// `openclaw plugin …`.
pub(crate) async fn run(global: &Global, verb: PluginVerb) -> Result<(), Failure> {
    // These are of this machine alone.
    if let PluginVerb::Sign { files, key } = &verb {
        return plugin_key::sign(global, files, key);
    }
    if let PluginVerb::Key(KeyVerb::New { file }) = &verb {
        return plugin_key::new(global, file);
    }
    let client = &Client::from_global(global)?;
    match verb {
        PluginVerb::Desk(verb) => crate::plugin::run(global, verb).await,
        PluginVerb::Publish { files, approve, signature } => {
            let published = publish_signed(client, &files, signature.as_deref(), approve).await?;
            eprintln!("published {}@{}", published.manifest.name, published.manifest.version);
            remark(&published);
            output::print(global.output, &published, &["what", "value"], describe)
        }
        PluginVerb::List { pending } => {
            let state = if pending { "?state=pending_approval" } else { "" };
            show_all(client, global, &format!("/plugins{state}")).await
        }
        PluginVerb::Search { words, category, tag } => {
            let mut asked = format!("/plugins?q={}", encoded(&words.join(" ")));
            for (key, value) in [("category", category), ("tag", tag)] {
                if let Some(value) = value {
                    asked.push_str(&format!("&{key}={}", encoded(&value)));
                }
            }
            show_all(client, global, &asked).await
        }
        PluginVerb::Inspect { plugin } => {
            let shown = find(client, &plugin).await?;
            output::print(global.output, &shown, &["what", "value"], describe)
        }
        PluginVerb::Download { plugin, file } => {
            let found = find(client, &plugin).await?;
            plugin_download::run(client, global, &found, file).await
        }
        PluginVerb::Approve { plugin } => {
            let waits = find(client, &plugin).await?;
            let asks = permissions_of(&waits.unapproved);
            confirm(global.yes, &format!("let {plugin} touch {asks}?")).await?;
            stand(client, global, &plugin, "approve", &json!({})).await
        }
        PluginVerb::Yank { plugin, reason } => {
            stand(client, global, &plugin, "yank", &YankPlugin { reason }).await
        }
        PluginVerb::Unyank { plugin } => stand(client, global, &plugin, "unyank", &json!({})).await,
        PluginVerb::Deprecate { plugin, message, .. } => {
            stand(client, global, &plugin, "deprecate", &DeprecatePlugin { message }).await
        }
        PluginVerb::Key(verb) => plugin_key::run(client, global, verb).await,
        PluginVerb::Sign { files, key } => plugin_key::sign(global, &files, &key),
    }
}

/// Changes how a version stands.
async fn stand(
    client: &Client,
    global: &Global,
    plugin: &str,
    verb: &str,
    body: &impl Serialize,
) -> Result<(), Failure> {
    let (name, Some(version)) = split_at_sign(plugin) else {
        return Err(Failure::new(INVALID, format!("`{plugin}` names no version"))
            .hint("write NAME@VERSION; see `openclaw plugin list`"));
    };
    let after: Plugin = client.post(&path(&["plugins", name, version, verb])?, body).await?;
    output::print(global.output, &after, &["what", "value"], describe)
}

async fn show_all(client: &Client, global: &Global, asked: &str) -> Result<(), Failure> {
    let plugins: Vec<Plugin> = client.list(asked, usize::MAX).await?;
    let header = ["plugin", "version", "state", "size", "category", "description"];
    output::print(global.output, &plugins, &header, |list| list.iter().map(row).collect())
}

fn row(plugin: &Plugin) -> Vec<String> {
    let deprecated = if plugin.deprecated.is_some() { ", deprecated" } else { "" };
    vec![
        plugin.manifest.name.to_string(),
        plugin.manifest.version.to_string(),
        format!("{}{deprecated}", name_of(&plugin.state)),
        plugin.size.to_string(),
        plugin.manifest.category.clone(),
        plugin.manifest.description.clone(),
    ]
}

/// Says on standard error what is to be done about a version, or to be known of it.
fn remark(plugin: &Plugin) {
    for warning in &plugin.warnings {
        eprintln!("warning: {} ({})", printable(&warning.message), printable(&warning.code));
    }
    if plugin.state == PluginState::PendingApproval {
        let asks = permissions_of(&plugin.unapproved);
        eprintln!(
            "it waits for approval of {}: openclaw plugin approve {}@{}",
            printable(&asks),
            plugin.manifest.name,
            plugin.manifest.version
        );
    }
}

/// Finds `NAME@VERSION`, or the newest version of `NAME`.
async fn find(client: &Client, text: &str) -> Result<Plugin, Failure> {
    let (name, version) = split_at_sign(text);
    if let Some(version) = version {
        return client.fetch(&path(&["plugins", name, version])?).await;
    }
    let all: Vec<Plugin> = client.list(&path(&["plugins", name])?, usize::MAX).await?;
    all.into_iter().max_by(|a, b| a.manifest.version.cmp(&b.manifest.version)).ok_or_else(|| {
        Failure::new(NOT_FOUND, format!("there is no plugin `{name}`"))
            .hint("see `openclaw plugin list`")
    })
}

/// Uploads a plugin from its directory, and approves what it may touch.
pub(crate) async fn publish(client: &Client, path: &Path) -> Result<Plugin, Failure> {
    let files = Files { path: path.to_owned(), module: None };
    publish_signed(client, &files, None, true).await
}

/// A plugin's files, read.
pub(super) struct Read {
    /// The manifest's path.
    pub(super) at: PathBuf,
    /// The manifest as written.
    pub(super) source: String,
    /// The manifest as understood.
    pub(super) manifest: Manifest,
    /// The module.
    pub(super) module: Vec<u8>,
}

/// Reads a plugin's files and looks whether they can be any.
pub(super) fn read(files: &Files) -> Result<Read, Failure> {
    let path = &files.path;
    let at: PathBuf = if path.is_dir() { path.join("plugin.toml") } else { path.clone() };
    let module_path = files.module.clone().unwrap_or_else(|| at.with_file_name("plugin.wasm"));
    let source = std::fs::read_to_string(&at).map_err(|e| unreadable(&at, &e))?;
    let module = std::fs::read(&module_path).map_err(|e| unreadable(&module_path, &e))?;
    let manifest =
        Manifest::from_toml(&source).map_err(|e| Failure::new(INVALID, e.to_string()))?;
    if module.len() > limits::MODULE_BYTES {
        let text = format!(
            "{} is {} bytes, the most is {}",
            module_path.display(),
            module.len(),
            limits::MODULE_BYTES
        );
        return Err(Failure::new(INVALID, text));
    }
    Ok(Read { at, source, manifest, module })
}

async fn publish_signed(
    client: &Client,
    files: &Files,
    signature: Option<&Path>,
    approve: bool,
) -> Result<Plugin, Failure> {
    let Read { at, source, manifest: parsed, module } = read(files)?;
    let beside = at.with_file_name(plugin_key::SIGNATURE_FILE);
    let signature = match signature {
        Some(path) => Some(path),
        None => beside.is_file().then_some(beside.as_path()),
    };
    let signature = signature
        .map(|path| std::fs::read_to_string(path).map_err(|e| unreadable(path, &e)))
        .transpose()?;
    let bar = ProgressBar::new(module.len() as u64).with_style(
        ProgressStyle::with_template("{prefix} {bar:30} {bytes}/{total_bytes}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.set_prefix(format!("{}@{}", parsed.name, parsed.version));
    let length = module.len() as u64;
    let moved = bar.clone();
    let pieces: Vec<Vec<u8>> = module.chunks(UPLOAD_PIECE).map(<[u8]>::to_vec).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(move |piece| {
        moved.inc(piece.len() as u64);
        Ok::<_, std::io::Error>(piece)
    }));
    let mut form = multipart::Form::new()
        .part("manifest", multipart::Part::text(source).file_name("plugin.toml"));
    if let Some(signature) = signature {
        form = form.part("signature", multipart::Part::text(signature));
    }
    let form = form.part(
        "module",
        multipart::Part::stream_with_length(Body::wrap_stream(stream), length)
            .file_name("plugin.wasm"),
    );
    let address = if approve { "/plugins?approve=true" } else { "/plugins" };
    let answer = client.send(client.request(Method::POST, address).multipart(form)).await;
    bar.finish_and_clear();
    answer?.json().await.map_err(|e| {
        Failure::new(FAILED, format!("the control plane's answer is not as expected: {e}"))
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FAILED, format!("cannot read {}: {error}", path.display()))
        .hint("a plugin's directory holds plugin.toml and plugin.wasm; build it first")
}

fn describe(plugin: &Plugin) -> Vec<Vec<String>> {
    let manifest = &plugin.manifest;
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let mut rows = vec![
        row("name", manifest.name.to_string()),
        row("version", manifest.version.to_string()),
        row("state", name_of(&plugin.state)),
    ];
    for (what, text) in [("yanked", &plugin.yanked), ("deprecated", &plugin.deprecated)] {
        rows.extend(text.iter().map(|text| row(what, text.clone())));
    }
    if !plugin.unapproved.is_empty() {
        rows.push(row("not approved", plugin.unapproved.join(", ")));
    }
    rows.push(row("description", manifest.description.clone()));
    for (what, text) in [
        ("author", &manifest.author),
        ("license", &manifest.license),
        ("homepage", &manifest.homepage),
        ("category", &manifest.category),
    ] {
        if !text.is_empty() {
            rows.push(row(what, text.clone()));
        }
    }
    if !manifest.tags.is_empty() {
        rows.push(row("tags", manifest.tags.join(", ")));
    }
    let needs = manifest.dependencies.iter().map(|(name, range)| format!("{name} {range}"));
    let needs = needs.collect::<Vec<_>>().join(", ");
    let approved = plugin.approved_by.iter().zip(plugin.approved_at.iter());
    rows.extend(approved.map(|(by, at)| row("approved", format!("{at} by {by}"))));
    let signed = plugin.signature.as_ref().map(|signature| signature.key.clone());
    rows.extend([
        row("size", format!("{} bytes", plugin.size)),
        row("sha-256", plugin.digest.clone()),
        row("signed by", signed.unwrap_or_else(|| "nobody".to_owned())),
        row("published", format!("{} by {}", plugin.published_at, plugin.published_by)),
        row("actions", manifest.actions.keys().cloned().collect::<Vec<_>>().join(", ")),
        row("may touch", permissions(&manifest.permissions)),
        row("needs", if needs.is_empty() { "nothing".to_owned() } else { needs }),
        row(
            "limits",
            format!(
                "{} fuel, {} bytes of memory, {} bytes of output",
                manifest.limits.fuel, manifest.limits.memory_bytes, manifest.limits.output_bytes
            ),
        ),
        row("imports", plugin.imports.join(", ")),
    ]);
    rows.extend(plugin.warnings.iter().map(|warning| row("warning", warning.message.clone())));
    rows
}

fn permissions(asked: &Permissions) -> String {
    permissions_of(&asked.missing_from(&Permissions::default()))
}

fn permissions_of(all: &[String]) -> String {
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}
