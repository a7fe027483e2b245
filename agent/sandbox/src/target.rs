//! Where a request goes: one strict reading of an HTTP URL, used for the permission check and for
//! the connection alike, so that the two cannot disagree about the host.
//!
//! Stricter than RFC 3986: no user information, no percent signs or non-ASCII letters in the
//! host, no abbreviated or octal IPv4 addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits;

/// An absolute `http` or `https` URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether the scheme is `https`.
    pub https: bool,
    /// The host.
    pub host: Host,
    /// The port, by default the scheme's.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
}

/// The host in a URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A name in lower case, without a final dot.
    Name(String),
    /// A literal address; one that maps IPv4 into IPv6 is read as IPv4.
    Ip(IpAddr),
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.len() > limits::URL_BYTES {
            return Err(format!("the URL is longer than {} bytes", limits::URL_BYTES));
        }
        if let Some(bad) =
            url.bytes().find(|b| !(0x21..=0x7e).contains(b) || b"\\\"<>^`{|}".contains(b))
        {
            return Err(format!("the URL has the byte 0x{bad:02x}; percent-encode it"));
        }
        let (scheme, rest) = url.split_once("://").ok_or("the URL is not absolute")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("the scheme `{other}` is not http or https")),
        };
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("the URL carries a user name; send credentials as a header".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Ok(Self { https, host: Host::parse(host)?, port, path })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    // The colons of an IPv6 address are inside its brackets.
    let host_end = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[host_end..].find(':') else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(host_end + colon);
    match port[1..].parse::<u16>() {
        Ok(port)
            if port > 0
                && authority[host_end + colon + 1..].bytes().all(|b| b.is_ascii_digit()) =>
        {
            Ok((host, Some(port)))
        }
        Ok(_) | Err(_) => Err(format!("`{port}` is not a port of 1 to 65535")),
    }
}

impl Host {
    /// Reads a host as it stands in a URL: a name, an IPv4 address, or an IPv6 address in brackets.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(inner) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let ip: Ipv6Addr =
                inner.parse().map_err(|_| format!("`{inner}` is not an IPv6 address"))?;
            return Ok(Self::Ip(canonical(IpAddr::V6(ip))));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if let Ok(ip) = name.parse::<Ipv4Addr>() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        let label_ok = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if name.len() > 253 || !name.split('.').all(label_ok) {
            return Err(format!("`{text}` is not a host name; write names in ASCII (punycode)"));
        }
        // Resolvers read `127.1`, `2130706433` and `0x7f.1` as addresses. A real top-level domain
        // never is a number (RFC 3696, section 2).
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").is_some_and(|h| h.bytes().all(|b| b.is_ascii_hexdigit()));
        if hex || last.bytes().all(|b| b.is_ascii_digit()) {
            return Err(format!("`{text}` is not an IPv4 address in four decimal parts"));
        }
        Ok(Self::Name(name))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

/// An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`) as plain IPv4: they reach the same machine.
pub(crate) fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reading_of_a_url() {
        for (url, expected) in [
            ("http://a", "http://a:80/"),
            ("HTTPS://Example.COM./x?y=1#z", "https://example.com:443/x?y=1"),
            ("http://a:8080?q", "http://a:8080/?q"),
            ("http://[::1]:81/p", "http://[::1]:81/p"),
            ("http://[::ffff:127.0.0.1]/", "http://127.0.0.1:80/"),
            ("http://10.0.0.1:1/", "http://10.0.0.1:1/"),
        ] {
            assert_eq!(Target::parse(url).unwrap().to_string(), expected, "{url}");
        }
    }

    #[test]
    fn what_another_reader_could_take_differently_is_refused() {
        for url in [
            "a",
            "ftp://a",
            "http://",
            "http://u@a",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://a:+80",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://a.0x7f/",
            "http://0177.0.0.1/",
            "http://a b/",
            "http://a\\@b/",
            "http://é/",
            "http://a%2e/",
            "http://[::1",
            "http://::1/",
            "http://[1.2.3.4]/",
            "http://a..b/",
            "http://-a/",
            "http://a\r\nx: y/",
            "http://[::1]x/",
            "http://[::1%25eth0]/",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }
}
