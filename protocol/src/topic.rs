//! MQTT topic names, built and parsed in this one place.
//!
//! `openclaw/v1/<tenant>/<device>/up/sync` carries frames from a device,
//! `openclaw/v1/<tenant>/<device>/down/sync` frames to it. All ids are slugs (see [`crate::id`]),
//! so a name never holds `+`, `#`, NUL or a non-ASCII character.

use crate::id::{DeviceId, TenantId};
use crate::limits;

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

/// Whether a text is a topic name that something can be published to (MQTT 3.1.1 §4.7).
///
/// # Errors
/// What is wrong with it.
pub fn check_name(topic: &str) -> Result<(), &'static str> {
    if topic.contains(['+', '#']) {
        return Err("a topic that is published to has no `+` and no `#`");
    }
    check_filter(topic)
}

/// Whether a text is a topic filter (MQTT 3.1.1 §4.7): `+` stands for one level, `#` at the end for
/// all that follow.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), &'static str> {
    if filter.is_empty() || filter.len() > limits::TOPIC_BYTES {
        return Err("a topic has 1 to 1024 bytes");
    }
    if filter.contains('\0') {
        return Err("a topic has no null character");
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.len() > 1 && level.contains(['+', '#']) {
            return Err("`+` and `#` stand for whole levels, as in `site/+/temp` and `site/#`");
        }
        if level == "#" && levels.peek().is_some() {
            return Err("`#` stands at the end");
        }
    }
    Ok(())
}

/// Whether a topic is one of those that a filter means.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    // Topics that begin with `$` are the broker's own and no wildcard means them.
    if topic.starts_with('$') && filter.starts_with(['#', '+']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            (_, _) => return false,
        }
    }
    topic.next().is_none()
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

    #[test]
    fn names_and_filters_of_the_local_broker() {
        for good in ["a", "/", "a/b c/ä", "$SYS/x", "site//x"] {
            assert_eq!((check_name(good), check_filter(good)), (Ok(()), Ok(())), "{good}");
        }
        for filter in ["#", "+", "a/#", "+/+/x", "a/+/#"] {
            assert!(check_name(filter).is_err() && check_filter(filter).is_ok(), "{filter}");
        }
        let long = "x".repeat(limits::TOPIC_BYTES + 1);
        for bad in ["", "a\0b", "a+", "#/a", "a/#/b", "a/b#", &long] {
            assert!(check_name(bad).is_err() && check_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_mean_what_the_standard_says() {
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/+", "a/", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
