//! Passwords: argon2id, off the runtime's threads, a few at a time (each takes 19 MiB).

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;

/// Hashes computed at once at most.
const AT_ONCE: usize = 2;

/// A hash of no password, so that an unknown name takes as long as a wrong password.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    fV6Wd2Nk1Mk5Cc4sHnN8xrDkKQf9l7Qe1m2C3Rl0Wgk";

/// The door to hashing.
#[derive(Debug)]
pub(crate) struct Passwords(Semaphore);

impl Default for Passwords {
    fn default() -> Self {
        Self(Semaphore::new(AT_ONCE))
    }
}

impl Passwords {
    /// The PHC string of a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, String> {
        self.work(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|e| format!("hashing a password: {e}"))
        })
        .await?
    }

    /// Whether `password` is the one behind `hash`. Takes the same time without a hash.
    pub(crate) async fn verify(
        &self,
        password: String,
        hash: Option<String>,
    ) -> Result<bool, String> {
        self.work(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| NOBODY.to_owned());
            let Ok(parsed) = PasswordHash::new(&hash) else { return false };
            Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && known
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let _permit = self.0.acquire().await.map_err(|e| e.to_string())?;
        tokio::task::spawn_blocking(task).await.map_err(|e| format!("hashing a password: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("correct horse".to_owned(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("correct hors".to_owned(), Some(hash)).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
    }

    #[test]
    fn nobody_s_hash_costs_what_a_hash_costs() {
        let parsed = PasswordHash::new(NOBODY).unwrap();
        let fresh = Argon2::default().hash_password(b"x").unwrap();
        assert_eq!(parsed.params.to_string(), fresh.params.to_string());
        assert_eq!(parsed.algorithm, fresh.algorithm);
    }
}
