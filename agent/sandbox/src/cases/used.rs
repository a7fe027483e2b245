//! Which permissions a call made use of.

use openclaw_protocol::plugin::{Capability, Permissions};
use openclaw_protocol::topic;

use crate::grants::NetGrants;
use crate::target::Host;

/// Takes down what is used.
#[derive(Debug)]
pub(super) struct Used {
    granted: Permissions,
    used: Vec<String>,
}

impl Used {
    pub(super) fn new(granted: &Permissions) -> Self {
        Self { granted: granted.clone(), used: Vec::new() }
    }

    fn note(&mut self, entry: String) {
        if !self.used.contains(&entry) {
            self.used.push(entry);
        }
    }

    fn note_entries(&mut self, kind: Capability, fits: impl Fn(&str) -> bool) {
        let entries = self.granted.list(kind).iter().filter(|entry| fits(entry));
        for entry in entries.map(|entry| named(kind, entry)).collect::<Vec<_>>() {
            self.note(entry);
        }
    }

    pub(super) fn name(&mut self, kind: Capability, name: &str) {
        self.note_entries(kind, |entry| entry == name);
    }

    pub(super) fn net(&mut self, kind: Capability, host: &Host, port: u16) {
        self.note_entries(kind, |entry| NetGrants::new(&[entry.to_owned()]).allows(host, port));
    }

    pub(super) fn topic(&mut self, topic: &str) {
        self.note_entries(Capability::MqttPublish, |filter| topic::matches(filter, topic));
    }

    pub(super) fn time(&mut self) {
        self.note("time".to_owned());
    }

    pub(super) fn random(&mut self) {
        self.note("random".to_owned());
    }

    /// What was used, and what was granted beyond it; both in the order of the manifest.
    pub(super) fn split(self) -> (Vec<String>, Vec<String>) {
        let mut all = Vec::new();
        for kind in Capability::ALL {
            all.extend(self.granted.list(kind).iter().map(|entry| named(kind, entry)));
        }
        let flags = [("time", self.granted.time), ("random", self.granted.random)];
        all.extend(flags.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned()));
        all.into_iter().partition(|entry| self.used.contains(entry))
    }
}

fn named(kind: Capability, entry: &str) -> String {
    format!("{}:{entry}", kind.name())
}
