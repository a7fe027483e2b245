//! Dependencies between plugins: which versions will do, that there is no loop, and what has to be on
//! a device besides what a workflow calls.
//!
//! A version's dependencies never change, and a version that is not yet there is nobody's
//! dependency. So a loop can only come with the version that closes it, and is looked for then: in
//! all versions that a range takes, whether one would choose them today or not.

use std::collections::{BTreeMap, BTreeSet};

use openclaw_protocol::id::TenantId;
use openclaw_protocol::plugin::Manifest;
use semver::{Version, VersionReq};

use crate::service::Outcome;
use crate::store::Tx;
use crate::store::plugins::{self, PluginRow};

/// Versions that are looked at for one plugin's sake at most.
const LOOKED_AT: usize = 2_000;

/// All versions of the plugins that were asked for, newest first.
#[derive(Debug, Default)]
pub(crate) struct Shelf(BTreeMap<String, Vec<PluginRow>>);

impl Shelf {
    /// The versions of one plugin; none where it is not published.
    pub(crate) async fn versions(
        &mut self,
        tx: &mut Tx,
        tenant: &TenantId,
        name: &str,
    ) -> Outcome<&[PluginRow]> {
        if !self.0.contains_key(name) {
            let versions = plugins::versions(tx, tenant, name).await?;
            self.0.insert(name.to_owned(), versions);
        }
        Ok(self.0.get(name).map_or(&[], Vec::as_slice))
    }
}

/// The newest of `versions` (newest first) that fits and may be taken, or why there is none.
///
/// # Errors
/// A code and what to do.
pub(crate) fn choose<'a>(
    name: &str,
    range: &VersionReq,
    versions: &'a [PluginRow],
) -> Result<&'a PluginRow, (&'static str, String)> {
    if versions.is_empty() {
        let message = format!("plugin `{name}` is not published; publish it first");
        return Err(("E_PLUGIN_MISSING", message));
    }
    let mut fitting = versions.iter().filter(|plugin| range.matches(&plugin.manifest.version));
    let Some(first) = fitting.clone().next() else {
        let known: Vec<String> =
            versions.iter().take(5).map(|plugin| plugin.manifest.version.to_string()).collect();
        let known = known.join(", ");
        let message = format!("no version of plugin `{name}` fits `{range}`; there is {known}");
        return Err(("E_PLUGIN_VERSION", message));
    };
    if let Some(ready) = fitting.find(|plugin| plugin.is_ready()) {
        return Ok(ready);
    }
    let title = first.title();
    if let Some(reason) = &first.yanked {
        let message = format!(
            "every version of plugin `{name}` that fits `{range}` is yanked or waits for approval; \
             `{title}` is yanked: {reason}"
        );
        return Err(("E_PLUGIN_YANKED", message));
    }
    let message = format!(
        "`{title}` waits for approval of what it may touch ({}); an admin approves it with \
         `openclaw plugin approve {title}`",
        first.unapproved.join(", ")
    );
    Err(("E_PLUGIN_UNAPPROVED", message))
}

/// The dependencies of a manifest. Their texts were checked when it was published.
pub(crate) fn ranges(manifest: &Manifest) -> Vec<(&str, VersionReq)> {
    let ranges = manifest.dependencies.iter();
    ranges
        .filter_map(|(name, range)| Some((name.as_str(), VersionReq::parse(range).ok()?)))
        .collect()
}

/// What is wrong with the dependencies of a version that is to be published.
pub(super) async fn check(
    tx: &mut Tx,
    tenant: &TenantId,
    manifest: &Manifest,
) -> Outcome<Vec<(&'static str, String)>> {
    let (mut shelf, mut errors) = (Shelf::default(), Vec::new());
    for (name, range) in ranges(manifest) {
        let versions = shelf.versions(tx, tenant, name).await?;
        if let Err((code, message)) = choose(name, &range, versions) {
            let code = match code {
                "E_PLUGIN_MISSING" => "plugin.dependency_missing",
                _ => "plugin.dependency_version",
            };
            errors.push((code, format!("dependency `{name}`: {message}")));
        }
    }
    if let Some(way) = find_loop(&mut shelf, tx, tenant, manifest).await? {
        let message = format!(
            "its dependencies lead back to it ({}), and no device could be given one before the \
             other; take one of them out",
            way.join(" needs ")
        );
        errors.push(("plugin.dependency_loop", message));
    }
    Ok(errors)
}

/// A way from a version that is to be published back to itself, if there is one.
async fn find_loop(
    shelf: &mut Shelf,
    tx: &mut Tx,
    tenant: &TenantId,
    new: &Manifest,
) -> Outcome<Option<Vec<String>>> {
    let itself = format!("{}@{}", new.name, new.version);
    let owned = |manifest: &Manifest| -> Vec<(String, VersionReq)> {
        ranges(manifest).into_iter().map(|(name, range)| (name.to_owned(), range)).collect()
    };
    let mut open = vec![(vec![itself.clone()], owned(new))];
    let mut seen: BTreeSet<(String, Version)> = BTreeSet::new();
    while let Some((way, needs)) = open.pop() {
        for (name, range) in needs {
            if name == new.name.as_str() && range.matches(&new.version) {
                return Ok(Some([way, vec![itself]].concat()));
            }
            for plugin in shelf.versions(tx, tenant, &name).await? {
                let version = plugin.manifest.version.clone();
                let fits = range.matches(&version);
                if fits && seen.len() < LOOKED_AT && seen.insert((name.clone(), version)) {
                    let way = [way.as_slice(), &[plugin.title()]].concat();
                    open.push((way, owned(&plugin.manifest)));
                }
            }
        }
    }
    Ok(None)
}
