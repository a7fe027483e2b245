//! The files in the directories of a scenario's device, and how its agent looks for them.

use std::collections::BTreeMap;

use openclaw_agent_core::{FileStat, Input, Listing};
use openclaw_protocol::glob;
use openclaw_protocol::limits::FILE_LOOK_MS;
use serde_json::Value as Json;

use super::play::{Item, Play};
use super::stimulus::File;

/// What is in the directories: by path, with the name of the directory in front.
#[derive(Debug, Default)]
pub(super) struct Files(BTreeMap<String, FileStat>);

impl Play<'_> {
    /// Lets a file set the trigger off; `data` as expressions see it, of which the path is enough.
    pub(super) fn begin_with_file(&mut self, trigger: &str, path: &str, data: &Json) {
        let text = |key: &str| data.get(key).and_then(Json::as_str);
        let path = text("path").unwrap_or(path).to_owned();
        if path.contains(['*', '?']) {
            return self.fault(format!("trigger `{trigger}` needs a file: `data: {{path: …}}`"));
        }
        let size = data.get("size").and_then(Json::as_f64).unwrap_or_default();
        let modified_ms = text("modified").and_then(super::read_time);
        let modified_ms = modified_ms.unwrap_or_else(|| self.device.wall_ms());
        let now =
            FileStat { size: size as u64, modified_ns: modified_ms.saturating_mul(1_000_000) };
        // What is there before the first look is no news: what changes or goes must be.
        let before = match text("event") {
            Some("modified") => Some(FileStat { modified_ns: 0, ..now }),
            Some("deleted") => Some(now),
            Some(_) | None => None,
        };
        self.files.0.extend(before.map(|stat| (path.clone(), stat)));
        self.look_for_files();
        if text("event") == Some("deleted") {
            self.files.0.remove(&path);
        } else {
            self.files.0.insert(path, now);
        }
        self.look_for_files();
    }

    /// A file is written, or goes.
    pub(super) fn write_file(&mut self, file: File) {
        if file.deleted {
            self.files.0.remove(&file.path);
        } else {
            let modified_ns = self.device.wall_ms().saturating_mul(1_000_000);
            self.files.0.insert(file.path, FileStat { size: file.size, modified_ns });
        }
        self.look_for_files();
    }

    /// Lists what the triggers want to see, and again while something has not settled.
    pub(super) fn look_for_files(&mut self) {
        if self.down {
            return;
        }
        let wanted: Vec<_> = self
            .device
            .listed()
            .map(|(workflow, trigger, path, _)| {
                (workflow.clone(), trigger.clone(), path.to_owned())
            })
            .collect();
        for (workflow, trigger, path) in wanted {
            let (dir, what) = glob::split(&path);
            let files = self.files.0.iter().filter_map(|(file, stat)| {
                let file = file.strip_prefix(dir)?.strip_prefix('/')?;
                glob::matches(what, file).then(|| (file.to_owned(), *stat))
            });
            let files = Some(files.collect());
            self.feed(Input::Files(Listing { workflow, trigger, path, files }));
        }
        let is_planned = self.agenda.values().any(|item| matches!(item, Item::Look));
        if !is_planned && self.device.listed().any(|(.., again)| again) {
            let at_ms = self.device.elapsed_ms().saturating_add(FILE_LOOK_MS);
            self.put(at_ms, Item::Look);
        }
    }
}
