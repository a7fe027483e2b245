//! What a plugin may touch: the one place where permissions are enforced.
//!
//! Everything is denied that the granted [`Permissions`] do not name. For HTTP there are two
//! questions, asked in this order: may it speak to this host and port ([`NetGrants::allows`]),
//! and may a connection go to this resolved address ([`NetGrants::allows_address`]). The second
//! keeps a public name from leading into the device's own network: special-purpose addresses are
//! reachable only where an entry names them by address or by a block of such addresses, and never
//! by a name that only `*` covers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits;
use crate::target::{Host, canonical};

/// The HTTP destinations of a plugin, read from `host:port`, `*.suffix:port`, `ip:port`,
/// `cidr:port` and `*:port`, which is every public address under whatever name. The port may be
/// `*` in each. An entry that cannot be read grants nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetGrants {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    to: Pattern,
    /// `None` is any port.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(String),
    /// `*.suffix`: any number of labels in front, at least one. Kept with its leading dot.
    Suffix(String),
    Block {
        base: IpAddr,
        prefix: u8,
    },
    /// `*`: any name and any literal address, as long as the address is public.
    Public,
}

impl NetGrants {
    /// Reads the entries of `permissions.http`.
    #[must_use]
    pub fn new(entries: &[String]) -> Self {
        Self { entries: entries.iter().filter_map(|e| Entry::parse(e)).collect() }
    }

    /// Whether a request may name this host and port. A name must be granted as a name, a
    /// literal address as an address or block, and either by `*` (a literal address only where it
    /// is public).
    #[must_use]
    pub fn allows(&self, host: &Host, port: u16) -> bool {
        self.entries.iter().any(|e| e.port_fits(port) && e.to.covers_host(host))
    }

    /// Whether a request to `host` and `port` may connect to `address`. To be asked for every
    /// address before connecting, also after a redirect, with what the name resolved to then.
    #[must_use]
    pub fn allows_address(&self, host: &Host, address: IpAddr, port: u16) -> bool {
        let address = canonical(address);
        if !self.allows(host, port) {
            return false;
        }
        if let Host::Ip(literal) = host
            && canonical(*literal) != address
        {
            return false;
        }
        if Range::of(address) == Range::Public {
            return true;
        }
        // What only `*` covers was never meant to lead inside, whatever else is granted.
        let is_named = |e: &Entry| e.to != Pattern::Public && e.to.covers_host(host);
        let fitting = || self.entries.iter().filter(|e| e.port_fits(port));
        fitting().any(is_named) && fitting().any(|e| e.to.unlocks(address))
    }
}

impl Entry {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = if port == "*" { None } else { Some(port.parse().ok().filter(|p| *p > 0)?) };
        Some(Self { to: Pattern::parse(host)?, port })
    }

    fn port_fits(&self, port: u16) -> bool {
        self.port.is_none_or(|p| p == port)
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Public);
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            let Host::Name(name) = Host::parse(suffix).ok()? else { return None };
            return Some(Self::Suffix(format!(".{name}")));
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Some((base, prefix)) = bare.split_once('/') {
            let (base, prefix) = (base.parse::<IpAddr>().ok()?, prefix.parse().ok()?);
            return block(base, prefix);
        }
        match Host::parse(text).ok()? {
            Host::Name(name) => Some(Self::Name(name)),
            Host::Ip(ip) => block(ip, if ip.is_ipv4() { 32 } else { 128 }),
        }
    }

    fn covers_host(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(granted), Host::Name(name)) => granted == name,
            (Self::Suffix(suffix), Host::Name(name)) => name.ends_with(suffix.as_str()),
            (Self::Block { .. }, Host::Ip(ip)) => self.contains(*ip),
            (Self::Public, Host::Name(_)) => true,
            (Self::Public, Host::Ip(ip)) => Range::of(*ip) == Range::Public,
            (Self::Name(_) | Self::Suffix(_), Host::Ip(_))
            | (Self::Block { .. }, Host::Name(_)) => false,
        }
    }

    fn contains(&self, ip: IpAddr) -> bool {
        let Self::Block { base, prefix } = self else { return false };
        let ip = canonical(ip);
        base.is_ipv4() == ip.is_ipv4() && masked(ip, *prefix) == bits(*base)
    }

    /// Whether this entry names a special-purpose address on purpose: by itself, or by a block
    /// that lies wholly within one private range. `0.0.0.0/0` unlocks nothing.
    fn unlocks(&self, ip: IpAddr) -> bool {
        self.is_special() && self.contains(ip)
    }

    /// Whether it names special-purpose addresses on purpose.
    fn is_special(&self) -> bool {
        let Self::Block { base, prefix } = self else { return false };
        let (first, last) = (*base, last_of(*base, *prefix));
        let range = Range::of(first);
        let is_one = first == last || (range == Range::of(last) && range != Range::Reserved);
        is_one && range != Range::Public
    }
}

fn block(base: IpAddr, prefix: u8) -> Option<Pattern> {
    let width = if base.is_ipv4() { 32 } else { 128 };
    // A block of mapped addresses is the block of IPv4 addresses that they map.
    let (base, prefix) = match (base, canonical(base)) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if prefix >= 96 => (mapped, prefix - 96),
        (IpAddr::V6(_), IpAddr::V4(_)) => return None,
        (base, _) => (base, prefix),
    };
    // Host bits in a block are a slip of the pen; guessing what was meant would widen it.
    (prefix <= width && masked(base, prefix) == bits(base))
        .then_some(Pattern::Block { base, prefix })
}

/// The address as a number whose most significant bit is the address's first.
fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn mask(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)
}

fn masked(ip: IpAddr, prefix: u8) -> u128 {
    bits(ip) & mask(prefix)
}

fn last_of(base: IpAddr, prefix: u8) -> IpAddr {
    let last = bits(base) | !mask(prefix);
    match base {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from((last >> 96) as u32)),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from(last)),
    }
}

/// What kind of address it is, by the IANA special-purpose registries (RFC 6890 and updates).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Reachable across the internet.
    Public,
    /// The machine itself.
    Loopback,
    /// RFC 1918.
    Private,
    /// Carrier-grade NAT, RFC 6598; some clouds put their metadata service here.
    Shared,
    /// Valid on one link only; most clouds put their metadata service here.
    LinkLocal,
    /// IPv6 unique local addresses, RFC 4193.
    UniqueLocal,
    /// A cloud's metadata service at an otherwise public address.
    Metadata,
    /// Unspecified, multicast, broadcast, documentation, benchmarking, reserved.
    Reserved,
}

impl Range {
    /// The range that an address belongs to.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match canonical(ip) {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        match ip.octets() {
            [127, ..] => Self::Loopback,
            [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Self::Private,
            [100, 64..=127, ..] => Self::Shared,
            [169, 254, ..] => Self::LinkLocal,
            [168, 63, 129, 16] => Self::Metadata, // Azure's, on every virtual machine
            [0 | 224..=255, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18..=19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _] => Self::Reserved,
            _ => Self::Public,
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let s = ip.segments();
        let embedded = |high: u16, low: u16| {
            Self::of_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        };
        match s {
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // NAT64 and 6to4 lead to the IPv4 address inside.
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [0xfc00..=0xfdff, ..] => Self::UniqueLocal,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            // Global unicast, without Teredo, benchmarking, ORCHID and documentation.
            [0x2001, 0 | 2 | 0x10..=0x2f | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Self::Reserved,
            [0x2000..=0x3fff, ..] => Self::Public,
            _ => Self::Reserved,
        }
    }
}

/// A path inside a granted directory, cleaned of `.` and doubled slashes; empty is the directory
/// itself. `None` where it is absolute, climbs with `..`, or could mean two things.
#[must_use]
pub fn clean_path(path: &str) -> Option<String> {
    if path.len() > limits::PATH_BYTES || path.starts_with('/') || path.contains(['\0', '\\']) {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests;
