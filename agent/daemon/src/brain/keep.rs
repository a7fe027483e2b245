//! What of definitions, modules and parts of blobs stays on the flash.
//!
//! The bound, once what is decided here is committed: definitions and modules of the desired state
//! in force, of the next one while it is being completed, of the device's own directories, and
//! those that unsettled runs are pinned to (the store adds these); parts of the one document that
//! is wanted, of the next state's modules, and of modules that are repaired. Each of them is bounded
//! by `openclaw_protocol::limits`. What an older document brought goes when a newer one is wanted,
//! has come, or is put into force, and at a start; only a document that broke off keeps its parts
//! over a start, so that it can go on, until the next is wanted.

use openclaw_protocol::ordered::VecSet;

use super::Brain;
use super::fleet::Fleet;
use crate::store::{Keep, KeepKv};

impl Brain {
    /// Definitions and modules that nobody refers to go with the next commit.
    ///
    /// Nothing goes where it is not known what the control plane wants here: when the device was
    /// enrolled and cannot tell by whom, or has nothing in force yet. (A device has a document from
    /// its enrolment on, if only to say that it shall run nothing.)
    pub(super) fn sweep(&mut self) {
        let fleet = match &self.fleet {
            Some(fleet) => fleet.desired.keep(),
            None if self.link_fault.is_some() => None,
            None => Some(Keep::default()),
        };
        let Some(mut keep) = fleet else { return };
        for deployed in &self.standalone {
            keep.definitions.insert(deployed.workflow.hash.clone());
            keep.blobs.extend(deployed.pins.values().map(|pin| pin.digest));
        }
        self.pending.batch.keep = Some(keep);
        // What triggers remember goes with their workflows, but not for a while in which one of
        // them cannot run here.
        let own = self.standalone.iter().map(|deployed| &deployed.workflow.name);
        let named = self.fleet.iter().flat_map(Fleet::workflows);
        let workflows: VecSet<_> = named.chain(own).cloned().collect();
        self.pending.batch.keep_seen = Some(workflows.clone());
        let pins = self.standalone.iter().flat_map(|deployed| deployed.pins.values());
        let plugins = pins.map(|pin| pin.name.to_string());
        let plugins = plugins.chain(self.fleet.iter().flat_map(Fleet::plugins)).collect();
        self.pending.batch.keep_kv = Some(KeepKv { plugins, workflows });
    }

    /// Parts of blobs that are not fetched any more go with the next commit.
    pub(super) fn sweep_chunks(&mut self) {
        let fetched = self.fleet.as_ref().map(|fleet| fleet.desired.fetched());
        self.pending.batch.keep_chunks = Some(fetched.unwrap_or_default());
    }
}
