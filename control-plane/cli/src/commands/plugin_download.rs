//! `openclaw plugin download`: a module by its digest. What has come lies in a file beside the one
//! that is wanted, which gets its name only when it is whole and is what was asked for.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use openclaw_protocol::api::Plugin;
use openclaw_sandbox::digest_of;
use reqwest::header::{IF_RANGE, RANGE};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::args::Global;
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure};
use crate::output;

/// Downloads a module.
pub(super) async fn run(
    client: &Client,
    global: &Global,
    plugin: &Plugin,
    file: Option<PathBuf>,
) -> Result<(), Failure> {
    let manifest = &plugin.manifest;
    let named = || PathBuf::from(format!("{}-{}.wasm", manifest.name, manifest.version));
    let file = file.unwrap_or_else(named);
    let beside = PathBuf::from(format!("{}.{}.partial", file.display(), plugin.digest));
    let had = fs::metadata(&beside).map_or(0, |found| found.len());
    if had < plugin.size {
        fetch(client, plugin, &beside, had).await?;
    }
    let bytes = fs::read(&beside).map_err(|e| unwritable(&beside, &e))?;
    if digest_of(&bytes).to_string() != plugin.digest {
        fs::remove_file(&beside).map_err(|e| unwritable(&beside, &e))?;
        let text = format!(
            "what came is not the module with the SHA-256 {}; it is removed",
            plugin.digest
        );
        return Err(Failure::new(FAILED, text).hint("download it again"));
    }
    fs::rename(&beside, &file).map_err(|e| unwritable(&file, &e))?;
    let data = json!({ "file": file, "digest": plugin.digest, "size": plugin.size });
    output::done(global.output, &data, &format!("{} has {} bytes", file.display(), plugin.size))
}

/// Fetches what is missing behind the first `had` bytes.
async fn fetch(client: &Client, plugin: &Plugin, beside: &Path, had: u64) -> Result<(), Failure> {
    let mut request = client.request(Method::GET, &path(&["modules", &plugin.digest])?);
    if had > 0 {
        request = request
            .header(RANGE, format!("bytes={had}-"))
            .header(IF_RANGE, format!("\"{}\"", plugin.digest));
    }
    let mut answer = client.send(request).await?;
    let goes_on = answer.status() == StatusCode::PARTIAL_CONTENT;
    let mut out = OpenOptions::new()
        .create(true)
        .write(true)
        .append(goes_on)
        .truncate(!goes_on)
        .open(beside)
        .map_err(|e| unwritable(beside, &e))?;
    loop {
        let piece = answer.chunk().await.map_err(|e| {
            Failure::new(FAILED, format!("the download broke off: {e}"))
                .hint("the same command goes on where it was")
        })?;
        let Some(piece) = piece else { break };
        out.write_all(&piece).map_err(|e| unwritable(beside, &e))?;
    }
    out.sync_all().map_err(|e| unwritable(beside, &e))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(FAILED, format!("cannot write {}: {error}", path.display()))
}
