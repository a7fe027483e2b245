//! Slows down who guesses passwords: a bucket of attempts per account and per address, in bounded
//! memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// Attempts on one account before it gets slow.
const ACCOUNT_ATTEMPTS: i64 = 10;
/// Then one attempt each so many milliseconds.
const ACCOUNT_REFILL_MS: i64 = 30_000;
/// Attempts from one address before it gets slow; many people may share one.
const ADDRESS_ATTEMPTS: i64 = 60;
/// Then one attempt each so many milliseconds.
const ADDRESS_REFILL_MS: i64 = 2_000;
/// Accounts and addresses remembered at once; beyond, who was quiet longest is forgotten.
const REMEMBERED: usize = 10_000;

/// The buckets. Each holds the moment at which it will be full again, which is all it takes.
#[derive(Debug, Default)]
pub(crate) struct LoginLimiter(Mutex<BTreeMap<String, i64>>);

impl LoginLimiter {
    /// Counts an attempt, or says after how many seconds to come back.
    pub(crate) fn begin(&self, account: &str, from: IpAddr, now_ms: i64) -> Result<(), u32> {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = [
            (account_key(account), ACCOUNT_ATTEMPTS, ACCOUNT_REFILL_MS),
            (format!("address {}", network(from)), ADDRESS_ATTEMPTS, ADDRESS_REFILL_MS),
        ];
        for (key, attempts, refill_ms) in &keys {
            let after = full_at.get(key).map_or(now_ms, |at| (*at).max(now_ms)) + refill_ms;
            let wait_ms = after - now_ms - attempts * refill_ms;
            if wait_ms > 0 {
                return Err(u32::try_from(wait_ms.div_euclid(1_000) + 1).unwrap_or(u32::MAX));
            }
        }
        for (key, _, refill_ms) in keys {
            let after = full_at.get(&key).map_or(now_ms, |at| (*at).max(now_ms)) + refill_ms;
            full_at.insert(key, after);
        }
        if full_at.len() > REMEMBERED {
            full_at.retain(|_, at| *at > now_ms);
        }
        while full_at.len() > REMEMBERED {
            let least = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            full_at.remove(&least.unwrap_or_default());
        }
        Ok(())
    }

    /// A successful login gives the account its attempts back.
    pub(crate) fn succeeded(&self, account: &str) {
        let mut full_at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        full_at.remove(&account_key(account));
    }
}

fn account_key(account: &str) -> String {
    format!("account {account}")
}

/// An IPv6 customer has a /64: it counts as one address.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| format!("{:04x?}", &v6.segments()[..4]), |v4| v4.to_string()),
    }
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
        limiter.succeeded("ann");
        assert_eq!(limiter.begin("ann", address(99), 31_001), Ok(()));
    }

    #[test]
    fn an_address_gets_slow_whatever_the_accounts() {
        let limiter = LoginLimiter::default();
        for n in 0..60 {
            assert_eq!(limiter.begin(&format!("user-{n}"), address(1), 0), Ok(()));
        }
        assert!(limiter.begin("another", address(1), 0).is_err());
        assert_eq!(limiter.begin("another", address(2), 0), Ok(()));
        let (a, b) = ("2001:db8::1".parse().unwrap(), "2001:db8::ffff:2".parse().unwrap());
        assert_eq!(network(a), network(b));
    }

    #[test]
    fn memory_is_bounded() {
        let limiter = LoginLimiter::default();
        for n in 0..REMEMBERED + 500 {
            let from = IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
            limiter.begin(&format!("user-{n}"), from, 0).unwrap();
        }
        assert!(limiter.0.lock().unwrap().len() <= REMEMBERED);
    }
}
