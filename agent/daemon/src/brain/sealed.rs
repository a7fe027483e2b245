//! Secrets that belong to the desired state: opened when it comes into force, and told of by name.

use openclaw_protocol::report::Report;
use openclaw_protocol::secret::HeldSecret;

use super::Brain;

impl Brain {
    /// Tells the control plane what to seal secrets to.
    pub(super) fn tell_sealing_key(&mut self) {
        if self.fleet.is_some()
            && let Some(key) = self.secrets.public_key()
        {
            self.report(Report::SealingKey { key });
        }
    }

    /// Opens the secrets of the state in force, in place of those before, and tells which can be
    /// used where that is not what was told last.
    pub(super) fn open_secrets(&mut self) {
        let Some(fleet) = &self.fleet else { return };
        let identity = fleet.identity();
        let held =
            self.secrets.replace(&identity.tenant, &identity.device, fleet.desired.secrets());
        self.tell_secrets(held);
    }

    fn tell_secrets(&mut self, held: Vec<HeldSecret>) {
        if held != self.secrets_told {
            self.secrets_told.clone_from(&held);
            self.report(Report::Secrets { held });
        }
    }
}
