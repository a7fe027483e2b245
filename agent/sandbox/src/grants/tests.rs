//! What is granted, what is not, and every special range.

use super::*;
use crate::target::Target;

fn grants(entries: &[&str]) -> NetGrants {
    NetGrants::new(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
}

fn host(text: &str) -> Host {
    Host::parse(text).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn nothing_is_granted_by_default_or_by_nonsense() {
    for entries in [
        &[][..],
        &["example.com"],
        &["example.com:0"],
        &["example.com:http"],
        &["*"],
        &["**:80"],
        &["[*]:80"],
        &["*.1.2.3.4:80"],
        &["10.0.0.1/8:80"],
        &["10.0.0.0/33:80"],
        &["[::ffff:0:0/90]:80"],
        &["exa mple.com:80"],
    ] {
        let grants = grants(entries);
        assert!(!grants.allows(&host("example.com"), 80), "{entries:?}");
        assert!(!grants.allows(&host("10.0.0.1"), 80), "{entries:?}");
    }
}

#[test]
fn hosts_and_ports_must_both_fit() {
    let grants =
        grants(&["api.example.com:443", "*.cdn.net:*", "10.1.0.0/16:502", "[fd00::/8]:80"]);
    for (url, allowed) in [
        ("https://api.example.com/", true),
        ("https://API.example.COM./", true),
        ("http://api.example.com/", false),
        ("https://xapi.example.com/", false),
        ("https://api.example.com.evil.net/", false),
        ("http://a.cdn.net:9/", true),
        ("http://a.b.cdn.net/", true),
        ("http://cdn.net/", false),
        ("http://evilcdn.net/", false),
        ("http://10.1.2.3:502/", true),
        ("http://10.2.0.0:502/", false),
        ("http://10.1.2.3/", false),
        ("http://[fd12::1]/", true),
        ("http://[fe80::1]/", false),
        ("http://[::ffff:10.1.2.3]:502/", true),
    ] {
        let target = Target::parse(url).unwrap();
        assert_eq!(grants.allows(&target.host, target.port), allowed, "{url}");
    }
}

#[test]
fn every_special_range_is_known() {
    use Range::*;
    for (text, range) in [
        ("1.1.1.1", Public),
        ("8.8.8.8", Public),
        ("126.255.255.255", Public),
        ("127.0.0.1", Loopback),
        ("127.255.0.9", Loopback),
        ("10.0.0.1", Private),
        ("172.15.255.255", Public),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("172.32.0.0", Public),
        ("192.168.0.1", Private),
        ("100.63.255.255", Public),
        ("100.64.0.1", Shared),
        ("100.100.100.200", Shared),
        ("100.128.0.0", Public),
        ("169.254.169.254", LinkLocal),
        ("168.63.129.16", Metadata),
        ("0.0.0.0", Reserved),
        ("0.1.2.3", Reserved),
        ("192.0.0.192", Reserved),
        ("192.0.2.1", Reserved),
        ("198.18.0.1", Reserved),
        ("198.20.0.1", Public),
        ("203.0.113.9", Reserved),
        ("224.0.0.1", Reserved),
        ("240.0.0.1", Reserved),
        ("255.255.255.255", Reserved),
        ("::", Reserved),
        ("::1", Loopback),
        ("::ffff:127.0.0.1", Loopback),
        ("::ffff:8.8.8.8", Public),
        ("::127.0.0.1", Reserved),
        ("64:ff9b::7f00:1", Loopback),
        ("64:ff9b::a9fe:a9fe", LinkLocal),
        ("64:ff9b::808:808", Public),
        ("64:ff9b:1::1", Private),
        ("2002:7f00:1::", Loopback),
        ("2002:a00:1::", Private),
        ("2001::1", Reserved),
        ("2001:db8::1", Reserved),
        ("2606:4700::1111", Public),
        ("fc00::1", UniqueLocal),
        ("fd00:ec2::254", UniqueLocal),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("fec0::1", Reserved),
        ("ff02::1", Reserved),
        ("100::1", Reserved),
        ("4000::1", Reserved),
    ] {
        assert_eq!(Range::of(ip(text)), range, "{text}");
    }
}

#[test]
fn a_name_does_not_lead_into_the_device_s_own_network() {
    let grants = grants(&["api.example.com:443"]);
    let name = host("api.example.com");
    assert!(grants.allows_address(&name, ip("93.184.216.34"), 443));
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1", "::ffff:10.0.0.1"]
    {
        assert!(!grants.allows_address(&name, ip(inside), 443), "{inside}");
    }
}

#[test]
fn an_address_or_a_block_unlocks_what_it_names_and_no_more() {
    let grants = grants(&["plc.local:502", "192.168.1.0/24:502", "127.0.0.1:8080"]);
    let plc = host("plc.local");
    assert!(grants.allows_address(&plc, ip("192.168.1.7"), 502));
    assert!(!grants.allows_address(&plc, ip("192.168.2.7"), 502));
    assert!(!grants.allows_address(&plc, ip("127.0.0.1"), 502));
    assert!(grants.allows_address(&host("127.0.0.1"), ip("127.0.0.1"), 8080));
    assert!(!grants.allows_address(&host("127.0.0.1"), ip("127.0.0.1"), 8081));
    // A literal address is not a name: nothing else may come of it.
    assert!(!grants.allows_address(&host("127.0.0.1"), ip("192.168.1.7"), 8080));
}

#[test]
fn the_whole_internet_does_not_include_the_inside() {
    let grants = grants(&["0.0.0.0/0:80", "[::/0]:80", "0.0.0.0/1:80", "128.0.0.0/1:80"]);
    assert!(grants.allows_address(&host("8.8.8.8"), ip("8.8.8.8"), 80));
    for inside in ["127.0.0.1", "10.0.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0"] {
        assert!(!grants.allows_address(&host(inside), ip(inside), 80), "{inside}");
    }
    assert!(!grants.allows_address(&host("[::1]"), ip("::1"), 80));
}

/// One address of each range that is not public, in IPv4.
const INSIDE_V4: [&str; 15] = [
    "127.0.0.1",
    "127.255.255.254",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.1.1",
    "169.254.169.254",
    "168.63.129.16",
    "0.0.0.0",
    "224.0.0.251",
    "239.255.255.250",
    "255.255.255.255",
];
const INSIDE_V6: [&str; 11] = [
    "::1",
    "::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "64:ff9b:1::1",
    "2001:db8::1",
    "::127.0.0.1",
];

/// IPv6 addresses that lead to an IPv4 address: mapped, NAT64 and 6to4.
fn in_v6(v4: &str) -> [IpAddr; 3] {
    let [a, b, c, d] = v4.parse::<Ipv4Addr>().unwrap().octets().map(u16::from);
    let (high, low) = (a << 8 | b, c << 8 | d);
    [
        ip(&format!("::ffff:{v4}")),
        IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)),
        IpAddr::V6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1)),
    ]
}

/// As it stands in a URL.
fn literal(address: IpAddr) -> Host {
    host(&if address.is_ipv4() { address.to_string() } else { format!("[{address}]") })
}

#[test]
fn a_star_is_every_public_address_and_none_inside() {
    let mapped = INSIDE_V4.iter().flat_map(|v4| in_v6(v4));
    let inside: Vec<IpAddr> =
        INSIDE_V4.iter().chain(&INSIDE_V6).map(|text| ip(text)).chain(mapped).collect();
    let outside = ["1.1.1.1", "93.184.216.34", "::ffff:8.8.8.8", "2606:4700::1111"].map(ip);
    // The rest of what is granted does not open the inside to names that only `*` covers.
    for entries in [
        &["*:443"][..],
        &["*:*"],
        &["*:443", "0.0.0.0/0:*", "[::/0]:*"],
        &["*:443", "10.0.0.0/8:80"],
    ] {
        let grants = grants(entries);
        let name = host("example.com");
        assert!(grants.allows(&name, 443));
        for address in outside {
            assert!(grants.allows_address(&name, address, 443), "{entries:?} {address}");
            assert!(grants.allows_address(&literal(address), address, 443), "{address}");
        }
        for &address in &inside {
            assert!(!grants.allows_address(&name, address, 443), "{entries:?} {address}");
            assert!(!grants.allows_address(&literal(address), address, 443), "{address}");
        }
    }
    let only_https = grants(&["*:443"]);
    assert!(!only_https.allows(&host("example.com"), 80));
    assert!(!only_https.allows(&host("127.0.0.1"), 443), "refused before anything is resolved");
}

#[test]
fn a_star_beside_named_insides() {
    let grants = grants(&["*:*", "127.0.0.1:*", "plc.local:502", "192.168.7.0/24:502"]);
    assert!(grants.allows_address(&host("127.0.0.1"), ip("127.0.0.1"), 8080));
    assert!(grants.allows_address(&host("[::ffff:127.0.0.1]"), ip("127.0.0.1"), 8080));
    assert!(grants.allows_address(&host("plc.local"), ip("192.168.7.9"), 502));
    // A stranger's name may not borrow what was granted by address.
    for (name, address, port) in [
        ("rebind.example.com", "127.0.0.1", 8080),
        ("localhost", "127.0.0.1", 80),
        ("rebind.example.com", "192.168.7.9", 502),
        ("plc.local", "192.168.7.9", 80),
    ] {
        assert!(!grants.allows_address(&host(name), ip(address), port), "{name} {address}");
    }
}

#[test]
fn paths_stay_inside() {
    for (path, clean) in [
        ("loadavg", Some("loadavg")),
        ("net/dev", Some("net/dev")),
        ("./a//b/.", Some("a/b")),
        ("", Some("")),
        ("..", None),
        ("a/../b", None),
        ("/etc/passwd", None),
        ("a\0b", None),
        ("a\\..\\b", None),
    ] {
        assert_eq!(clean_path(path).as_deref(), clean, "{path:?}");
    }
    assert_eq!(clean_path(&"a/".repeat(400)), None);
}
