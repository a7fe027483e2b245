//! The secrets that go with a device's desired state: those that its workflows declare and
//! its plugins may use, sealed to its key. What is sealed already stays as it is: sealing anew would make new bytes, and with them
//! a new revision, of the same content.

use std::collections::BTreeSet;

use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::limits;
use openclaw_protocol::secret::SealedSecret;
use serde::Deserialize;

use crate::context::Context;
use crate::service::{Fault, Outcome};
use crate::store::{self, Tx};
use crate::vault;

/// What a device is to have.
pub(super) struct Wanted {
    /// Its public key, once it has told it.
    key: Option<[u8; 32]>,
    /// Name, version and encrypted value, by name.
    secrets: Vec<(String, u64, Vec<u8>)>,
}

/// The names that a canonical definition declares.
pub(super) fn declared(canonical: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Declares {
        #[serde(default)]
        secrets: Vec<String>,
    }
    serde_json::from_str(canonical).map_or_else(|_| Vec::new(), |it: Declares| it.secrets)
}

/// Looks up what a device is to have, and notes it.
pub(super) async fn wanted(
    tx: &mut Tx,
    tenant: &TenantId,
    device: &DeviceId,
    declared: BTreeSet<String>,
) -> Outcome<Wanted> {
    if declared.len() > limits::DEVICE_SECRETS {
        let detail = format!(
            "the workflows of device `{device}` would declare more than {} secrets together",
            limits::DEVICE_SECRETS
        );
        return Err(Fault::conflict("secret.too_many", detail));
    }
    let (mut secrets, mut noted) = (Vec::new(), Vec::new());
    for name in declared {
        let found = store::secrets::find(tx, tenant, &name).await?;
        noted.push((name, found.as_ref().map_or(0, |row| row.version)));
        if let Some(row) = found {
            secrets.push((row.name, row.version, row.value));
        }
    }
    if store::secrets::wanted(tx, tenant, device).await? != noted {
        store::secrets::want(tx, tenant, device, &noted).await?;
    }
    let key = if secrets.is_empty() {
        None
    } else {
        store::secrets::sealing_key(tx, tenant, device).await?
    };
    Ok(Wanted { key, secrets })
}

impl Wanted {
    /// Whether this is what a document holds already.
    pub(super) fn is_what(&self, sealed: &[SealedSecret]) -> bool {
        let Some(key) = self.key else { return sealed.is_empty() };
        sealed.len() == self.secrets.len()
            && sealed.iter().zip(&self.secrets).all(|(one, (name, version, _))| {
                one.key == key && one.name == *name && one.version == *version
            })
    }

    /// Seals it for a device, but for what is sealed already.
    pub(super) fn sealed(
        self,
        ctx: &Context,
        tenant: &TenantId,
        device: &DeviceId,
        before: &[SealedSecret],
    ) -> Outcome<Vec<SealedSecret>> {
        let Some(key) = self.key else { return Ok(Vec::new()) };
        let fault = |error: vault::VaultError| Fault::Internal(error.to_string());
        let mut sealed = Vec::with_capacity(self.secrets.len());
        for (name, version, locked) in self.secrets {
            let same =
                |one: &&SealedSecret| one.key == key && one.name == name && one.version == version;
            if let Some(one) = before.iter().find(same) {
                sealed.push(one.clone());
                continue;
            }
            let value = ctx.vault.unlock(tenant, &name, version, &locked).map_err(fault)?;
            let place = (name.as_str(), version);
            let bytes = vault::seal(&key, tenant, device, place, &value).map_err(fault)?;
            sealed.push(SealedSecret { name, version, key, sealed: bytes });
        }
        Ok(sealed)
    }
}
