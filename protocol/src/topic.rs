//! MQTT topic names, built and parsed in this one place.
//!
//! `openclaw/v1/<tenant>/<device>/up/sync` carries frames from a device,
//! `openclaw/v1/<tenant>/<device>/down/sync` frames to it. All ids are slugs (see [`crate::id`]),
//! so a name never holds `+`, `#`, NUL or a non-ASCII character.

use crate::id::{DeviceId, TenantId};

/// Which way frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    Up,
    /// To the device.
    Down,
}

/// The topic that carries one device's frames in one direction.
#[must_use]
pub fn sync(tenant: &TenantId, device: &DeviceId, direction: Direction) -> String {
    let way = match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    format!("openclaw/v1/{tenant}/{device}/{way}/sync")
}

/// Takes a topic apart; `None` where it is not one of ours.
#[must_use]
pub fn parse(topic: &str) -> Option<(TenantId, DeviceId, Direction)> {
    let mut parts = topic.split('/');
    if (parts.next()?, parts.next()?) != ("openclaw", "v1") {
        return None;
    }
    let tenant = TenantId::parse(parts.next()?).ok()?;
    let device = DeviceId::parse(parts.next()?).ok()?;
    let direction = match parts.next()? {
        "up" => Direction::Up,
        "down" => Direction::Down,
        _ => return None,
    };
    (parts.next()? == "sync" && parts.next().is_none()).then_some((tenant, device, direction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_strangers_are_refused() {
        let (t, d) = (TenantId::parse("acme").unwrap(), DeviceId::parse("pump-7").unwrap());
        for way in [Direction::Up, Direction::Down] {
            assert_eq!(parse(&sync(&t, &d, way)), Some((t.clone(), d.clone(), way)));
        }
        for bad in ["", "é/1", "openclaw/v1/acme/+/up/sync", "openclaw/v1/acme/p/up/sync/x", "#"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
