//! Desired state on the device: announced, fetched, verified, completed, put into force.
//!
//! The broker is not trusted: a document counts only with a good signature of the key that was
//! pinned at enrolment, for this very device, and newer than the one in force; it is verified at
//! each start as well. Modules are fetched by digest and tried before anything changes. What this
//! device cannot run is refused by name; the rest is put into force all the same.

use openclaw_agent_core::Deployed;
use openclaw_points::{Point, reach};
use openclaw_protocol::desired::{self, Desired, SignedDesired};
use openclaw_protocol::id::{Digest, Generation, WorkflowName};
use openclaw_protocol::limits as shared;
use openclaw_protocol::ordered::{VecMap, VecSet};
use openclaw_protocol::report::{Refusal, Report};
use openclaw_protocol::secret::SealedSecret;
use openclaw_protocol::sync::Announcement;
use openclaw_protocol::wire::{self, Kind};

use super::Brain;
use super::prepare::prepare;
use crate::identity::Identity;
use crate::offers::Offers;
use crate::store::{Chunk, Keep, Kept, Level, Store, StoreError};

/// The desired state in force, and the way to the next one.
#[derive(Debug, Default)]
pub(super) struct DesiredState {
    in_force: Option<Verified>,
    workflows: Vec<Deployed>,
    refused: Vec<(String, Refusal)>,
    /// Modules of the one in force that this device cannot run, and why.
    unusable: VecMap<Digest, String>,
    /// The document that is being fetched.
    wanted: Option<Announcement>,
    /// A document whose modules are being fetched and tried.
    next: Option<Next>,
    /// A document that was refused: not fetched again.
    rejected: Option<Digest>,
    /// Modules in force that are damaged or gone here: fetched again.
    repairs: VecSet<Digest>,
}

#[derive(Debug, Clone)]
struct Verified {
    signed: SignedDesired,
    document: Desired,
    secrets: Vec<SealedSecret>,
}

#[derive(Debug)]
struct Next {
    verified: Verified,
    missing: VecSet<Digest>,
    /// Modules that are here and being tried.
    trying: VecSet<Digest>,
    /// Modules that this device can run.
    usable: VecSet<Digest>,
    /// Modules that this device cannot run, and why.
    unusable: VecMap<Digest, String>,
}

impl DesiredState {
    /// What the store has, verified again.
    pub(super) fn restore(identity: &Identity, store: &Store) -> Result<Self, StoreError> {
        let (in_force, pending) = store.desired()?;
        let verify = |signed: Option<SignedDesired>| {
            let signed = signed?;
            match verify(identity, &signed) {
                Ok((document, secrets)) => Some(Verified { signed, document, secrets }),
                Err(reason) => {
                    tracing::error!(reason, "a stored desired state is not believed");
                    None
                }
            }
        };
        let in_force = verify(in_force);
        let (unusable, is_current) = store.unusable()?;
        // Another version of the agent may be able to run what the one before was not.
        let again = in_force.clone().filter(|_| !is_current && !unusable.is_empty());
        let next = verify(pending).or(again).map(Next::new);
        Ok(Self { in_force, unusable, next, ..Self::default() })
    }

    pub(super) fn deployed(&self) -> Vec<Deployed> {
        self.workflows.clone()
    }

    /// Names of the workflows of the one in force.
    pub(super) fn named(&self) -> impl Iterator<Item = &WorkflowName> {
        let workflows = self.in_force.iter().flat_map(|one| &one.document.workflows);
        workflows.map(|one| &one.name)
    }

    /// Names of the plugins of the one in force.
    pub(super) fn plugins(&self) -> impl Iterator<Item = String> {
        let plugins = self.in_force.iter().flat_map(|one| &one.document.plugins);
        plugins.map(|pin| pin.name.to_string())
    }

    pub(super) fn refused(&self) -> VecMap<String, String> {
        self.refused.iter().map(|(name, r)| (name.clone(), r.message.clone())).collect()
    }

    /// The secrets that belong to the one in force, sealed.
    pub(super) fn secrets(&self) -> &[SealedSecret] {
        self.in_force.as_ref().map_or(&[], |verified| &verified.secrets)
    }

    pub(super) fn revision(&self) -> u64 {
        self.in_force.as_ref().map_or(0, |v| v.document.revision)
    }

    /// Whether it is known what this device shall run.
    pub(super) fn is_known(&self) -> bool {
        self.in_force.is_some()
    }

    /// The revision in force, as far as it is one of this generation.
    pub(super) fn revision_under(&self, generation: u64) -> u64 {
        let own = self.in_force.as_ref().filter(|v| v.document.generation.0 == generation);
        own.map_or(0, |v| v.document.revision)
    }

    /// Definitions and modules of the state in force and of the next one. `None` while nothing is
    /// in force: what earlier documents named may then be wanted again, and need not travel twice.
    pub(super) fn keep(&self) -> Option<Keep> {
        let mut keep = self.in_force.as_ref()?.keep();
        let next = self.next.as_ref().map(|next| next.verified.keep()).unwrap_or_default();
        keep.definitions.extend(next.definitions);
        keep.blobs.extend(next.blobs);
        Some(keep)
    }

    /// Blobs of which parts may be here: the wanted document, the next state's modules, repairs.
    pub(super) fn fetched(&self) -> VecSet<Digest> {
        let next = self.next.as_ref().map(Next::digests).unwrap_or_default();
        let document = self.wanted.iter().map(|wanted| wanted.digest);
        next.into_iter().chain(document).chain(self.repairs.iter().copied()).collect()
    }

    /// Why a document is not to be taken after the one in force, if it is not. Within a
    /// generation revisions count up; another generation must at least be younger, so that a
    /// stolen broker cannot bring back an old one.
    fn is_stale(&self, document: &Desired) -> Option<String> {
        let now = &self.in_force.as_ref()?.document;
        if now.generation == document.generation {
            (document.revision <= now.revision).then(|| {
                format!("revision {} is not newer than {}", document.revision, now.revision)
            })
        } else {
            (document.issued_wall_ms < now.issued_wall_ms)
                .then(|| "it is older than the one in force".to_owned())
        }
    }
}

impl Next {
    fn new(verified: Verified) -> Self {
        Self {
            verified,
            missing: VecSet::new(),
            trying: VecSet::new(),
            usable: VecSet::new(),
            unusable: VecMap::new(),
        }
    }

    fn digests(&self) -> VecSet<Digest> {
        self.verified.digests()
    }
}

impl Verified {
    fn digests(&self) -> VecSet<Digest> {
        self.document.plugins.iter().map(|pin| pin.digest).collect()
    }

    fn keep(&self) -> Keep {
        let definitions = self.document.workflows.iter().map(|w| w.hash.clone()).collect();
        Keep { definitions, blobs: self.digests() }
    }
}

/// Checks signature and addressee.
fn verify(
    identity: &Identity,
    signed: &SignedDesired,
) -> Result<(Desired, Vec<SealedSecret>), String> {
    let key =
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, identity.desired_key.0);
    key.verify(&signed.document, &signed.signature)
        .map_err(|_| "its signature is not by the fleet's key".to_owned())?;
    let (document, secrets) = desired::unpack(&signed.document).map_err(|e| e.to_string())?;
    if document.tenant != identity.tenant || document.device != identity.device {
        return Err(format!("it is for device {} of {}", document.device, document.tenant));
    }
    Ok((document, secrets))
}

impl Brain {
    /// A newer desired state was announced: fetch it, from where an earlier attempt broke off.
    pub(super) fn want_desired(
        &mut self,
        log: u64,
        announcement: Announcement,
    ) -> Result<(), StoreError> {
        let from = self.store.chunks_length(announcement.digest)?;
        let now_ms = self.now.boot_ms;
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        let desired = &mut fleet.desired;
        let known = desired.next.as_ref().is_some_and(|next| {
            let document = &next.verified.document;
            document.generation == Generation(log) && document.revision >= announcement.revision
        });
        if known
            || announcement.revision <= desired.revision_under(log)
            || desired.rejected == Some(announcement.digest)
            || announcement.size as usize > shared::DESIRED_BYTES
        {
            return Ok(());
        }
        if let Some(old) = desired.wanted.replace(announcement)
            && old.digest != announcement.digest
        {
            fleet.session.drop_want(old.digest);
        }
        fleet.session.want(announcement.digest, from, now_ms);
        self.sweep_chunks();
        Ok(())
    }

    /// The session is up (again): go on with what is not complete.
    pub(super) fn want_pending(&mut self) -> Result<(), StoreError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let repairs = fleet.desired.repairs.clone();
        if fleet.desired.next.is_some() {
            self.complete_next()?;
        }
        for digest in repairs {
            let from = self.store.chunks_length(digest)?;
            if let Some(fleet) = &mut self.fleet {
                fleet.session.want(digest, from, self.now.boot_ms);
            }
        }
        Ok(())
    }

    pub(super) fn take_chunk(
        &mut self,
        digest: Digest,
        offset: u32,
        total: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        if self.store.level() != Level::Ample {
            // It is asked for again once there is room.
            fleet.session.drop_want(digest);
            return Ok(());
        }
        let is_document = fleet.desired.wanted.is_some_and(|wanted| wanted.digest == digest);
        let is_module = fleet.desired.repairs.contains(&digest)
            || fleet.desired.next.as_ref().is_some_and(|next| next.missing.contains(&digest));
        let most = if is_document { shared::DESIRED_BYTES } else { shared::MODULE_BYTES };
        if !(is_document || is_module) || total as usize > most {
            fleet.session.drop_want(digest);
            return Ok(());
        }
        let end = offset as usize + bytes.len();
        self.pending.batch.chunks.push(Chunk { digest, offset, bytes });
        if end < total as usize {
            return Ok(());
        }
        // Whole: the parts are made durable first, so that all of them can be read in one go.
        self.pending.needs_commit = true;
        if !self.flush()? {
            return Ok(());
        }
        let whole = self.store.chunks(digest)?;
        self.pending.batch.chunks_done.push(digest);
        let actual = Digest(sha256(&whole));
        if actual != digest {
            tracing::warn!(%digest, "a blob came damaged and is fetched again");
            self.pending.needs_commit = true;
            self.flush()?;
            self.want_again(digest);
        } else if is_document {
            self.take_document(digest, &whole)?;
        } else {
            reach(Point::ModuleJoined);
            self.pending.batch.blobs.push((digest, whole));
            self.pending.needs_commit = true;
            if self.flush()? {
                reach(Point::ModuleArrived);
                self.module_arrived(digest);
            }
        }
        Ok(())
    }

    /// There is room again: what is not complete is asked for from where it broke off.
    pub(super) fn fetch_again(&mut self) -> Result<(), StoreError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        let desired = &fleet.desired;
        let modules = desired.next.iter().flat_map(|next| &next.missing).chain(&desired.repairs);
        let lacking: VecSet<Digest> =
            modules.copied().chain(desired.wanted.map(|wanted| wanted.digest)).collect();
        for digest in lacking {
            let from = self.store.chunks_length(digest)?;
            if let Some(fleet) = &mut self.fleet {
                fleet.session.want(digest, from, self.now.boot_ms);
            }
        }
        self.complete_next()
    }

    fn want_again(&mut self, digest: Digest) {
        if let Some(fleet) = &mut self.fleet {
            fleet.session.want(digest, 0, self.now.boot_ms);
        }
    }

    fn take_document(&mut self, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        fleet.desired.wanted = None;
        fleet.session.drop_want(digest);
        let most = shared::DESIRED_BYTES;
        let signed = wire::unpack::<SignedDesired>(Kind::SignedDesired, bytes, most);
        let verified = signed.map_err(|e| e.to_string()).and_then(|signed| {
            let (document, secrets) = verify(&fleet.identity, &signed)?;
            match fleet.desired.is_stale(&document) {
                None => Ok(Verified { signed, document, secrets }),
                Some(reason) => Err(reason),
            }
        });
        let verified = match verified {
            Ok(verified) => verified,
            Err(reason) => {
                fleet.desired.rejected = Some(digest);
                let message = format!("a desired state was refused: {reason}");
                tracing::error!("{message}");
                self.pending.needs_commit = true;
                self.report(Report::Security { code: "desired.refused".to_owned(), message });
                return Ok(());
            }
        };
        tracing::info!(revision = verified.document.revision, "a new desired state has come");
        reach(Point::DesiredTaken);
        self.pending.batch.pending = Some(Some(verified.signed.clone()));
        self.pending.needs_commit = true;
        let before = fleet.desired.next.replace(Next::new(verified));
        for old in before.iter().flat_map(|next| &next.missing) {
            if !fleet.desired.repairs.contains(old) {
                fleet.session.drop_want(*old);
            }
        }
        self.sweep();
        self.sweep_chunks();
        self.complete_next()
    }

    /// Fetches and tries what the next desired state needs, and puts it into force when there is
    /// nothing left to wait for.
    fn complete_next(&mut self) -> Result<(), StoreError> {
        let Some(fleet) = &mut self.fleet else { return Ok(()) };
        let Some(next) = &mut fleet.desired.next else { return Ok(()) };
        let blobs = self.store.blobs();
        for digest in next.digests() {
            let known = next.usable.contains(&digest) || next.unusable.contains_key(&digest);
            if known || next.trying.contains(&digest) {
                continue;
            }
            let kept = blobs.look(digest)?;
            if kept == Kept::Damaged {
                tracing::warn!(%digest, "a stored module is damaged and is fetched again");
                self.pending.batch.blobs_gone.push(digest);
            }
            if kept == Kept::Whole {
                next.missing.remove(&digest);
                next.trying.insert(digest);
                self.hands.check(digest);
            } else if next.missing.len() < shared::WANTS {
                next.missing.insert(digest);
                let from = self.store.chunks_length(digest)?;
                fleet.session.want(digest, from, self.now.boot_ms);
            }
        }
        if next.missing.is_empty() && next.trying.is_empty() {
            self.put_into_force();
        }
        Ok(())
    }

    fn module_arrived(&mut self, digest: Digest) {
        let Some(fleet) = &mut self.fleet else { return };
        fleet.session.drop_want(digest);
        fleet.desired.repairs.remove(&digest);
        let Some(next) = &mut fleet.desired.next else { return };
        if next.missing.remove(&digest) && next.trying.insert(digest) {
            self.hands.check(digest);
        }
    }

    pub(super) fn take_checked(&mut self, digest: Digest, result: Result<(), String>) {
        let Some(fleet) = &mut self.fleet else { return };
        let Some(next) = &mut fleet.desired.next else { return };
        if !next.trying.remove(&digest) {
            return;
        }
        match result {
            Ok(()) => {
                next.usable.insert(digest);
            }
            // What was damaged here says nothing about the module: it is fetched again.
            Err(_) if self.store.blobs().look(digest).is_ok_and(|kept| kept != Kept::Whole) => {
                next.missing.insert(digest);
                fleet.session.want(digest, 0, self.now.boot_ms);
                self.pending.batch.blobs_gone.push(digest);
            }
            Err(reason) => {
                next.unusable.insert(digest, reason);
            }
        }
        if next.trying.is_empty() && next.missing.is_empty() {
            self.put_into_force();
        }
    }

    fn put_into_force(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        let Some(next) = fleet.desired.next.take() else { return };
        let document = &next.verified.document;
        let offers = Offers {
            files: &self.files,
            mqtt: self.site.is_there(),
            webhook: self.watched.offer(),
        };
        let (workflows, refused) = prepare(document, offers, &next.unusable);
        let revision = document.revision;
        tracing::info!(revision, refused = refused.len(), "a new desired state is in force");
        fleet.desired.workflows = workflows;
        fleet.desired.refused.clone_from(&refused);
        // All that is in force now was read just before.
        for digest in std::mem::take(&mut fleet.desired.repairs) {
            fleet.session.drop_want(digest);
        }
        self.pending.in_force = Some(revision);
        let batch = &mut self.pending.batch;
        batch.desired = Some(next.verified.signed.clone());
        batch.unusable = Some(next.unusable.clone());
        batch.pending = Some(None);
        if let Some(fleet) = &mut self.fleet {
            fleet.desired.in_force = Some(next.verified);
            fleet.desired.unusable = next.unusable;
        }
        self.open_secrets();
        self.sweep();
        self.sweep_chunks();
        self.pending.needs_commit = true;
        self.report(Report::Desired { revision, refused });
        self.redeploy();
        reach(Point::DesiredInForce);
    }

    /// At a start: what is in force is made ready again. Its modules were tried when it came; one
    /// that is damaged by now is fetched again, and works when it is here.
    pub(super) fn prepare_in_force(&mut self) {
        self.open_secrets();
        let Some(fleet) = &mut self.fleet else { return };
        let Some(in_force) = &fleet.desired.in_force else { return };
        let unusable = &fleet.desired.unusable;
        let offers = Offers {
            files: &self.files,
            mqtt: self.site.is_there(),
            webhook: self.watched.offer(),
        };
        let (workflows, refused) = prepare(&in_force.document, offers, unusable);
        fleet.desired.workflows = workflows;
        fleet.desired.refused = refused;
        let blobs = self.store.blobs();
        let modules = in_force.digests();
        // A failing disk shows itself with the first commit.
        let kept = |digest| blobs.look(digest).unwrap_or(Kept::Whole);
        let states: Vec<_> = modules.into_iter().map(|digest| (digest, kept(digest))).collect();
        for (digest, kept) in states {
            if kept == Kept::Whole {
                continue;
            }
            fleet.desired.repairs.insert(digest);
            if kept == Kept::Damaged {
                self.pending.batch.blobs_gone.push(digest);
            }
        }
        for digest in fleet.desired.repairs.clone() {
            let message = format!("module {digest} is damaged or gone and is fetched again");
            tracing::error!("{message}");
            self.report(Report::Security { code: "store.damaged".to_owned(), message });
        }
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut whole = [0; 32];
    whole.copy_from_slice(digest.as_ref());
    whole
}
