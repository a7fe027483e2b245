//! `file`: what of the files in a directory fires a trigger.
//!
//! The shell lists the files that a trigger is about, again and again; here each listing is compared
//! with what is known. A file that is new, changed or gone is a change once it has been listed the same
//! for as long as `settle`; it fires, and is known from then on, in the decision of the run that it
//! started. So a file that was known before a restart does not fire, one that came, changed or went
//! meanwhile fires once, and a power cut loses none and doubles none. One for which there is no room
//! among the workflow's runs waits for it.
//!
//! The first listing of a trigger is not news: its files are known. That a file is gone is remembered
//! as long as there is room, so that a file system which is away for a while, and with it all files,
//! comes back without firing.

use openclaw_protocol::definition::{FileEvent, TriggerKind};
use openclaw_protocol::expr::{Timestamp, Value};
use openclaw_protocol::glob;
use openclaw_protocol::id::{TriggerId, WorkflowName};
use openclaw_protocol::limits::FILES;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::time::Stamp;
use serde_json::json;

use crate::effect::{Decision, FileChange, KnownFile, Told};
use crate::engine::Engine;
use crate::gate::Fired;
use crate::input::{FileStat, Listing};
use crate::limits::FILES_PER_DECISION;
use crate::trigger::TriggerKey;

/// What is known of the files of all triggers.
#[derive(Debug, Default)]
pub(crate) struct Files(VecMap<TriggerKey, Watched>);

/// The files of one trigger.
#[derive(Debug, Default)]
struct Watched {
    /// Tells which files were listed first, and that they were.
    check: Option<u64>,
    files: VecMap<String, File>,
    /// It has been told that there are too many.
    is_full: bool,
    /// There was no room among the runs, or more changed than one decision takes.
    waits: bool,
}

#[derive(Debug, Default)]
struct File {
    known: Option<KnownFile>,
    /// What it was last listed as, where that is another thing than what is known, and since when.
    fresh: Option<(Option<FileStat>, Stamp)>,
}

/// What the author says.
struct Rule {
    path: String,
    events: Vec<FileEvent>,
    settle_ms: u64,
}

impl Engine {
    /// Takes back what is known of files; of two changes of one file the later counts.
    pub fn restore_files(&mut self, files: impl IntoIterator<Item = FileChange>) {
        for one in files {
            let watched = self.files.0.entry((one.workflow, one.trigger)).or_default();
            if one.file.is_empty() {
                watched.check = one.known.map(|known| known.stat.size);
            } else if one.known.is_some() {
                watched.files.insert(one.file, File { known: one.known, fresh: None });
            } else {
                watched.files.remove(&one.file);
            }
        }
    }

    /// The triggers whose files the shell is to list, each with its `path`, and whether it is to list
    /// them again although they are the same: something has not settled, or waits.
    pub fn listed(&self) -> impl Iterator<Item = (&WorkflowName, &TriggerId, &str, bool)> {
        let deployed = self.deployed.iter().filter(|(_, one)| one.triggers_enabled);
        deployed.flat_map(move |(name, one)| {
            let triggers = one.plan.workflow.triggers.iter().filter(|trigger| trigger.enabled);
            triggers.filter_map(move |trigger| {
                let TriggerKind::File { path, .. } = &trigger.kind else { return None };
                let watched = self.files.0.get(&(name.clone(), trigger.id.clone()));
                let again = watched.is_none_or(|watched| {
                    watched.waits || watched.files.values().any(|file| file.fresh.is_some())
                });
                Some((name, &trigger.id, path.as_str(), again))
            })
        })
    }

    /// The files of a trigger have been listed.
    pub(crate) fn take_listing(&mut self, listing: Listing, now: Stamp, decision: &mut Decision) {
        let key = (listing.workflow, listing.trigger);
        let Some(rule) = self.file_rule(&key, true).filter(|rule| rule.path == listing.path) else {
            return;
        };
        let Some(files) = listing.files else { return self.too_many_files(&key, decision) };
        let mut watched = self.files.0.remove(&key).unwrap_or_default();
        watched.waits = false;
        let is_first = watched.check.is_none();
        watched.note(&files, now);
        let others: usize = self.files.0.values().map(|other| other.files.len()).sum();
        let overflow = watched.make_room(FILES.saturating_sub(others), &key, decision);
        if is_first {
            let check = check(&rule.path);
            watched.check = Some(check);
            let stat = FileStat { size: check, modified_ns: 0 };
            let known = Some(KnownFile { stat, gone: false });
            decision.files.push(change(&key, "", known));
            watched.begin(&key, decision);
            // Were this lost, what comes next would be taken for what was there before.
            decision.needs_commit = true;
        }
        let due = watched.due(rule.settle_ms, now);
        watched.is_full &= overflow;
        self.files.0.insert(key.clone(), watched);
        if overflow {
            self.too_many_files(&key, decision);
        }
        self.fire_files(&key, &rule, due, now, decision);
    }

    fn fire_files(
        &mut self,
        key: &TriggerKey,
        rule: &Rule,
        due: Vec<String>,
        now: Stamp,
        decision: &mut Decision,
    ) {
        let mut fired = 0;
        for file in due {
            let watched = self.files.0.get(key).and_then(|watched| watched.files.get(&file));
            let happened = watched.and_then(File::event);
            let mut waits = false;
            if let Some((event, stat)) = happened.filter(|(event, _)| rule.events.contains(event)) {
                fired += 1;
                waits = fired > FILES_PER_DECISION || {
                    let data = data(&key.1, &rule.path, &file, event, stat);
                    self.has_no_room(key, &data, now, decision)
                };
            }
            let Some(watched) = self.files.0.get_mut(key) else { return };
            if waits {
                // Those after it wait with it, so that they keep their order.
                watched.waits = true;
                return;
            }
            watched.settle(key, &file, decision);
            // It leaves its place among those that wait to the next one.
            self.begin_runs(now, decision);
        }
    }

    /// Fires; whether nothing came of it because there is no room for a run now.
    fn has_no_room(
        &mut self,
        (workflow, trigger): &TriggerKey,
        data: &Value,
        now: Stamp,
        decision: &mut Decision,
    ) -> bool {
        let fired = self.fire_gated(workflow, trigger, data, now, decision);
        let Fired::Dropped(refused) = fired else { return false };
        let waits = refused.is_for_room();
        if waits {
            // What was told last is that it is dropped. It is not: the file stays where it is, and
            // is looked at again.
            decision.told.pop();
        }
        waits
    }

    /// More than the device can keep in mind. Told once, until there are fewer.
    fn too_many_files(&mut self, key: &TriggerKey, decision: &mut Decision) {
        let watched = self.files.0.entry(key.clone()).or_default();
        if !std::mem::replace(&mut watched.is_full, true) {
            decision.told.push(Told::Dropped { workflow: key.0.clone(), reason: "files.full" });
        }
    }

    /// What is known for triggers that are not there any more, or mean other files now, is forgotten.
    pub(crate) fn drop_stale_files(&mut self, decision: &mut Decision) {
        let stale: Vec<TriggerKey> = self
            .files
            .0
            .iter()
            .filter(|(key, watched)| {
                let rule = self.file_rule(key, false);
                rule.is_none_or(|rule| watched.check.is_some_and(|was| was != check(&rule.path)))
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in stale {
            let Some(watched) = self.files.0.remove(&key) else { continue };
            decision.files.push(change(&key, "", None));
            let known = watched.files.iter().filter(|(_, file)| file.known.is_some());
            decision.files.extend(known.map(|(file, _)| change(&key, file, None)));
        }
    }

    /// What the author says of a trigger's files; of one that is switched off, too, unless only
    /// those that may fire are meant.
    fn file_rule(&self, (workflow, trigger): &TriggerKey, only_enabled: bool) -> Option<Rule> {
        let deployment = self.deployed.get(workflow)?;
        let mut triggers = deployment.plan.workflow.triggers.iter();
        let written = triggers.find(|one| one.id == *trigger)?;
        let is_on = deployment.triggers_enabled && written.enabled;
        let TriggerKind::File { path, events, settle_ms } = &written.kind else { return None };
        let rule = Rule { path: path.clone(), events: events.clone(), settle_ms: *settle_ms };
        (is_on || !only_enabled).then_some(rule)
    }
}

impl Watched {
    /// Takes in what was listed, by name.
    fn note(&mut self, listed: &[(String, FileStat)], now: Stamp) {
        for (name, stat) in listed {
            if !self.files.contains_key(name) {
                self.files.insert(name.clone(), File::default());
            }
            if let Some(file) = self.files.get_mut(name) {
                file.note(Some(*stat), now);
            }
        }
        for (name, file) in self.files.iter_mut() {
            if listed.binary_search_by(|(one, _)| one.cmp(name)).is_err() {
                file.note(None, now);
            }
        }
        self.files.retain(|_, file| file.known.is_some() || file.fresh.is_some());
    }

    /// Sees that no more is kept than may be: first what is gone goes, then what is new. Whether
    /// something is not kept that is there.
    fn make_room(&mut self, most: usize, key: &TriggerKey, decision: &mut Decision) -> bool {
        let mut surplus = self.files.len().saturating_sub(most);
        self.files.retain(|name, file| {
            let is_gone = file.known.is_some_and(|known| known.gone) && file.fresh.is_none();
            if surplus == 0 || !is_gone {
                return true;
            }
            surplus -= 1;
            decision.files.push(change(key, name, None));
            false
        });
        let overflow = surplus > 0;
        self.files.retain(|_, file| {
            if surplus == 0 || file.known.is_some() {
                return true;
            }
            surplus -= 1;
            false
        });
        overflow
    }

    /// What is there when a trigger looks for the first time is known.
    fn begin(&mut self, key: &TriggerKey, decision: &mut Decision) {
        for (name, file) in self.files.iter_mut() {
            let Some((Some(stat), _)) = file.fresh.take() else { continue };
            file.known = Some(KnownFile { stat, gone: false });
            decision.files.push(change(key, name, file.known));
        }
    }

    /// The files that have been the same for long enough.
    fn due(&self, settle_ms: u64, now: Stamp) -> Vec<String> {
        let is_due = |file: &File| {
            file.fresh.as_ref().is_some_and(|(_, since)| since.elapsed_ms(now) >= settle_ms)
        };
        let due = self.files.iter().filter(|(_, file)| is_due(file));
        due.map(|(name, _)| name.clone()).collect()
    }

    /// What a file was last listed as is known.
    fn settle(&mut self, key: &TriggerKey, name: &str, decision: &mut Decision) {
        let Some(file) = self.files.get_mut(name) else { return };
        let Some((listed, _)) = file.fresh.take() else { return };
        let stat = listed.or(file.before()).unwrap_or_default();
        file.known = Some(KnownFile { stat, gone: listed.is_none() });
        decision.files.push(change(key, name, file.known));
    }
}

impl File {
    /// As it is known to be, unless it is gone.
    fn before(&self) -> Option<FileStat> {
        self.known.filter(|known| !known.gone).map(|known| known.stat)
    }

    /// What has become of it, and what it is now, or was. Nothing where it has only come back as it
    /// was.
    fn event(&self) -> Option<(FileEvent, FileStat)> {
        let (listed, _) = self.fresh.as_ref()?;
        Some(match (self.known, listed) {
            (Some(known), None) => (FileEvent::Deleted, known.stat),
            (Some(known), Some(stat)) if known.gone && known.stat == *stat => return None,
            (Some(known), Some(stat)) if !known.gone => (FileEvent::Modified, *stat),
            (Some(_) | None, Some(stat)) => (FileEvent::Created, *stat),
            (None, None) => return None,
        })
    }

    /// It was listed as this, or not at all.
    fn note(&mut self, listed: Option<FileStat>, now: Stamp) {
        if listed == self.before() {
            self.fresh = None;
        } else if self.fresh.as_ref().is_none_or(|(before, _)| *before != listed) {
            self.fresh = Some((listed, now));
        }
    }
}

fn change((workflow, trigger): &TriggerKey, file: &str, known: Option<KnownFile>) -> FileChange {
    FileChange {
        workflow: workflow.clone(),
        trigger: trigger.clone(),
        file: file.to_owned(),
        known,
    }
}

/// What expressions see as `trigger`.
fn data(
    trigger: &TriggerId,
    path: &str,
    file: &str,
    event: FileEvent,
    FileStat { size, modified_ns }: FileStat,
) -> Value {
    let (dir, _) = glob::split(path);
    let modified = Timestamp::from_millis(modified_ns / 1_000_000);
    Value::from_json(&json!({
        "id": trigger.as_str(),
        "kind": "file",
        "event": event.name(),
        "path": format!("{dir}/{file}"),
        "dir": dir,
        "file": file,
        "name": file.rsplit('/').next(),
        "size": size,
        "modified": modified.map(|at| at.to_string()),
    }))
}

/// Tells one `path` from another.
fn check(path: &str) -> u64 {
    let hash = blake3::hash(path.as_bytes());
    u64::from_le_bytes(hash.as_bytes().first_chunk().copied().unwrap_or_default())
}
