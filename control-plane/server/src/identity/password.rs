//! Passwords: argon2id, off the runtime's threads, a few at a time (each takes 19 MiB).

use std::sync::Arc;

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
pub(crate) struct Passwords(Arc<Semaphore>);

impl Default for Passwords {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
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
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|e| e.to_string())?;
        // The permit goes with the work: a caller who goes away leaves the work behind.
        let work = tokio::task::spawn_blocking(move || {
            let done = task();
            drop(permit);
            done
        });
        work.await.map_err(|e| format!("hashing a password: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn callers_who_go_away_make_no_room_before_their_work_is_done() {
        let passwords = Arc::new(Passwords::default());
        let (begun, begins) = mpsc::channel();
        let (ends, end) = mpsc::channel::<()>();
        let end = Arc::new(std::sync::Mutex::new(end));
        for _ in 0..AT_ONCE {
            let (passwords, begun, end) = (Arc::clone(&passwords), begun.clone(), Arc::clone(&end));
            let caller = tokio::spawn(async move {
                let work = passwords.work(move || {
                    begun.send(()).unwrap();
                    _ = end.lock().unwrap().recv();
                });
                work.await
            });
            while begins.try_recv().is_err() {
                tokio::task::yield_now().await;
            }
            caller.abort();
            assert!(caller.await.unwrap_err().is_cancelled());
        }
        assert_eq!(passwords.0.available_permits(), 0, "the work of both goes on");
        drop(ends);
        let verified = passwords.verify("x".to_owned(), None);
        assert!(!verified.await.unwrap(), "there is room once it is done");
    }

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
