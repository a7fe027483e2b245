//! Slows down who guesses: buckets of attempts, in bounded memory. Logging in has one per account
//! and one per address; enrolling has its own, per code and per address.
//!
//! Whoever has logged in to an account from an address lately has a bucket for just these two, so
//! that guesses from elsewhere cannot lock the account's owner out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::network::one_host;

/// A bucket: so many attempts, then one each so many milliseconds.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    attempts: i64,
    refill_ms: i64,
}

/// Attempts on one account or join code, from anywhere.
const ACCOUNT: Bucket = Bucket { attempts: 10, refill_ms: 30_000 };
/// Attempts from one address, on whatever account; many people may share one.
const ADDRESS: Bucket = Bucket { attempts: 60, refill_ms: 2_000 };
/// Attempts on one account from an address that has logged in to it lately.
const KNOWN: Bucket = Bucket { attempts: 10, refill_ms: 30_000 };
/// What counts as lately, in milliseconds.
const LATELY_MS: i64 = 30 * 24 * 3_600_000;
/// Accounts, addresses and pairs remembered at once; beyond, who was quiet longest is forgotten.
const REMEMBERED: usize = 10_000;

/// For each key the moment at which its bucket will be full again, which is all it takes.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<String, i64>);

impl Buckets {
    /// Takes one from each bucket, or none and says after how many seconds to come back.
    fn take(&mut self, from: &[(String, Bucket)], now_ms: i64) -> Result<(), u32> {
        let after = |full_at: &BTreeMap<String, i64>, key: &str, bucket: &Bucket| {
            full_at.get(key).map_or(now_ms, |at| (*at).max(now_ms)) + bucket.refill_ms
        };
        for (key, bucket) in from {
            let wait_ms = after(&self.0, key, bucket) - now_ms - bucket.attempts * bucket.refill_ms;
            if wait_ms > 0 {
                return Err(u32::try_from(wait_ms.div_euclid(1_000) + 1).unwrap_or(u32::MAX));
            }
        }
        for (key, bucket) in from {
            let after = after(&self.0, key, bucket);
            self.0.insert(key.clone(), after);
        }
        if self.0.len() > REMEMBERED {
            self.0.retain(|_, at| *at > now_ms);
        }
        forget_least(&mut self.0);
        Ok(())
    }

    /// Gives one attempt back.
    fn give_back(&mut self, key: &str, bucket: Bucket) {
        if let Some(at) = self.0.get_mut(key) {
            *at -= bucket.refill_ms;
        }
    }
}

/// Forgets whoever has the least number until there is room.
fn forget_least<K: Ord + Clone>(map: &mut BTreeMap<K, i64>) {
    while map.len() > REMEMBERED {
        let least = map.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
        let Some(least) = least else { return };
        map.remove(&least);
    }
}

/// For logging in.
#[derive(Debug, Default)]
pub(crate) struct LoginLimiter(Mutex<Logins>);

#[derive(Debug, Default)]
struct Logins {
    buckets: Buckets,
    /// Account and host of successful logins, with when that is no longer lately.
    known: BTreeMap<(String, IpAddr), i64>,
}

impl LoginLimiter {
    /// Counts an attempt, or says after how many seconds to come back.
    pub(crate) fn begin(&self, account: &str, from: IpAddr, now_ms: i64) -> Result<(), u32> {
        let mut logins = self.lock();
        let is_known = logins
            .known
            .get(&(account.to_owned(), one_host(from)))
            .is_some_and(|until_ms| *until_ms > now_ms);
        let keys = if is_known {
            vec![(known_key(account, from), KNOWN)]
        } else {
            vec![(account_key(account), ACCOUNT), (address_key(from), ADDRESS)]
        };
        logins.buckets.take(&keys, now_ms)
    }

    /// A successful login gives back what it took, and more: the attempts on the account before
    /// it, because they were its owner's. From now on this address has a bucket of its own.
    pub(crate) fn succeeded(&self, account: &str, from: IpAddr, now_ms: i64) {
        let mut logins = self.lock();
        if logins.buckets.0.remove(&known_key(account, from)).is_none() {
            logins.buckets.0.remove(&account_key(account));
            logins.buckets.give_back(&address_key(from), ADDRESS);
        }
        logins.known.insert((account.to_owned(), one_host(from)), now_ms + LATELY_MS);
        forget_least(&mut logins.known);
    }

    fn lock(&self) -> MutexGuard<'_, Logins> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For enrolling: that a join code cannot be guessed is not its doing; it keeps guessers from
/// keeping the database busy, and lets whole fleets behind one address in.
#[derive(Debug, Default)]
pub(crate) struct EnrolLimiter(Mutex<Buckets>);

impl EnrolLimiter {
    /// Counts an attempt, or says after how many seconds to come back.
    pub(crate) fn begin(&self, code_hash: &str, from: IpAddr, now_ms: i64) -> Result<(), u32> {
        let keys = [(code_key(code_hash), ACCOUNT), (address_key(from), ADDRESS)];
        self.lock().take(&keys, now_ms)
    }

    /// Gives the attempt back: it was no guess.
    pub(crate) fn succeeded(&self, code_hash: &str, from: IpAddr) {
        let mut buckets = self.lock();
        buckets.give_back(&code_key(code_hash), ACCOUNT);
        buckets.give_back(&address_key(from), ADDRESS);
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn account_key(account: &str) -> String {
    format!("account {account}")
}

fn code_key(code_hash: &str) -> String {
    format!("code {}", code_hash.get(..16).unwrap_or_default())
}

fn address_key(address: IpAddr) -> String {
    format!("address {}", one_host(address))
}

fn known_key(account: &str, address: IpAddr) -> String {
    format!("known {} {account}", one_host(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_account_gets_slow_and_recovers() {
        let limiter = LoginLimiter::default();
        for n in 0..10 {
            assert_eq!(limiter.begin("ann", address(n), 1_000), Ok(()));
        }
        let wait = limiter.begin("ann", address(99), 1_000).unwrap_err();
        assert!((30..=31).contains(&wait), "{wait}");
        assert_eq!(limiter.begin("bob", address(99), 1_000), Ok(()));
        assert_eq!(limiter.begin("ann", address(99), 31_001), Ok(()));
        assert!(limiter.begin("ann", address(99), 31_001).is_err());
        limiter.succeeded("ann", address(99), 31_001);
        assert_eq!(limiter.begin("ann", address(98), 31_001), Ok(()));
    }

    #[test]
    fn guesses_from_elsewhere_do_not_lock_the_owner_out() {
        let limiter = LoginLimiter::default();
        assert_eq!(limiter.begin("ann", address(1), 0), Ok(()));
        limiter.succeeded("ann", address(1), 0);
        for n in 0..200 {
            _ = limiter.begin("ann", address(n), 0);
        }
        assert!(limiter.begin("ann", address(201), 0).is_err(), "the guessers are slowed down");
        assert_eq!(limiter.begin("ann", address(1), 0), Ok(()), "the owner is not");
        for _ in 0..20 {
            _ = limiter.begin("ann", address(1), 0);
        }
        assert!(limiter.begin("ann", address(1), 0).is_err(), "nor is this a way to guess");
        assert!(limiter.begin("bob", address(1), 0).is_ok());
    }

    #[test]
    fn who_is_known_is_so_for_a_while_only() {
        let limiter = LoginLimiter::default();
        limiter.succeeded("ann", address(1), 0);
        for n in 0..10 {
            assert_eq!(limiter.begin("ann", address(n + 10), LATELY_MS), Ok(()));
        }
        assert!(limiter.begin("ann", address(1), LATELY_MS).is_err());
    }

    #[test]
    fn an_address_gets_slow_whatever_the_accounts() {
        let limiter = LoginLimiter::default();
        for n in 0..60 {
            assert_eq!(limiter.begin(&format!("user-{n}"), address(1), 0), Ok(()));
        }
        assert!(limiter.begin("another", address(1), 0).is_err());
        assert_eq!(limiter.begin("another", address(2), 0), Ok(()));
    }

    #[test]
    fn a_fleet_behind_one_address_enrols_and_a_guesser_gets_slow() {
        let limiter = EnrolLimiter::default();
        for n in 0..1_000 {
            assert_eq!(limiter.begin(&format!("{n:016x}"), address(1), 0), Ok(()));
            limiter.succeeded(&format!("{n:016x}"), address(1));
        }
        for n in 0..60 {
            assert_eq!(limiter.begin(&format!("{:016x}", n + 5_000), address(1), 0), Ok(()));
        }
        assert!(limiter.begin("0123456789abcdef", address(1), 0).is_err());
        for n in 2..12 {
            assert_eq!(limiter.begin("0123456789abcdef", address(n), 0), Ok(()));
        }
        assert!(limiter.begin("0123456789abcdef", address(99), 0).is_err(), "one code, anywhere");
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = LoginLimiter::default();
        for n in 0..REMEMBERED + 500 {
            let from = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
            limiter.begin(&format!("user-{n}"), from, 0).unwrap();
            limiter.succeeded(&format!("user-{n}"), from, 0);
            _ = limiter.begin(&format!("user-{n}"), from, 0);
        }
        let logins = limiter.lock();
        assert!(logins.buckets.0.len() <= REMEMBERED && logins.known.len() <= REMEMBERED);
    }
}
