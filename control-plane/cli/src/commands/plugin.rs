//! `openclaw plugin`.

use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use openclaw_protocol::api::Plugin;
use openclaw_protocol::limits;
use openclaw_protocol::plugin::{Manifest, Permissions};
use reqwest::{Body, Method, multipart};

use super::split_at_sign;
use crate::args::{Global, PluginVerb};
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure, INVALID, NOT_FOUND};
use crate::output::{self};

/// Bytes handed to the connection at once; the progress bar moves by as much.
const UPLOAD_PIECE: usize = 16 * 1024;

/// `openclaw plugin …`.
pub(crate) async fn run(client: &Client, global: &Global, verb: PluginVerb) -> Result<(), Failure> {
    match verb {
        PluginVerb::Desk(verb) => crate::plugin::run(global, verb).await,
        PluginVerb::Publish { path, module } => {
            let published = publish(client, &path, module.as_deref()).await?;
            eprintln!("published {}@{}", published.manifest.name, published.manifest.version);
            output::print(global.output, &published, &["what", "value"], describe)
        }
        PluginVerb::List => {
            let plugins: Vec<Plugin> = client.list("/plugins", usize::MAX).await?;
            let header = ["plugin", "version", "size", "description"];
            output::print(global.output, &plugins, &header, |list| {
                list.iter()
                    .map(|p| {
                        vec![
                            p.manifest.name.to_string(),
                            p.manifest.version.to_string(),
                            p.size.to_string(),
                            p.manifest.description.clone(),
                        ]
                    })
                    .collect()
            })
        }
        PluginVerb::Inspect { plugin } => {
            let shown = find(client, &plugin).await?;
            output::print(global.output, &shown, &["what", "value"], describe)
        }
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

/// Uploads a plugin from its directory or manifest.
pub(crate) async fn publish(
    client: &Client,
    path: &Path,
    module: Option<&Path>,
) -> Result<Plugin, Failure> {
    let manifest_path: PathBuf =
        if path.is_dir() { path.join("plugin.toml") } else { path.to_owned() };
    let module_path =
        module.map_or_else(|| manifest_path.with_file_name("plugin.wasm"), Into::into);
    let manifest =
        std::fs::read_to_string(&manifest_path).map_err(|e| unreadable(&manifest_path, &e))?;
    let module = std::fs::read(&module_path).map_err(|e| unreadable(&module_path, &e))?;
    let parsed =
        Manifest::from_toml(&manifest).map_err(|e| Failure::new(INVALID, e.to_string()))?;
    if module.len() > limits::MODULE_BYTES {
        let text = format!(
            "{} is {} bytes, the most is {}",
            module_path.display(),
            module.len(),
            limits::MODULE_BYTES
        );
        return Err(Failure::new(INVALID, text));
    }
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
    let form = multipart::Form::new()
        .part("manifest", multipart::Part::text(manifest).file_name("plugin.toml"))
        .part(
            "module",
            multipart::Part::stream_with_length(Body::wrap_stream(stream), length)
                .file_name("plugin.wasm"),
        );
    let answer = client.send(client.request(Method::POST, "/plugins").multipart(form)).await;
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
    vec![
        row("name", manifest.name.to_string()),
        row("version", manifest.version.to_string()),
        row("description", manifest.description.clone()),
        row("author", manifest.author.clone()),
        row("size", format!("{} bytes", plugin.size)),
        row("sha-256", plugin.digest.clone()),
        row("published", format!("{} by {}", plugin.published_at, plugin.published_by)),
        row("actions", manifest.actions.keys().cloned().collect::<Vec<_>>().join(", ")),
        row("may touch", permissions(&manifest.permissions)),
        row(
            "limits",
            format!(
                "{} fuel, {} bytes of memory, {} bytes of output",
                manifest.limits.fuel, manifest.limits.memory_bytes, manifest.limits.output_bytes
            ),
        ),
        row("imports", plugin.imports.join(", ")),
    ]
}

fn permissions(asked: &Permissions) -> String {
    let all = asked.missing_from(&Permissions::default());
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}
