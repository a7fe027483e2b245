//! A plugin that is led, or leads, into the device's own network: spellings of addresses inside,
//! names that resolve to them, and answers that point there. Each is given to a real guest in the
//! sandbox, by HTTP and by TCP, with a resolver of the test's own.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_sandbox::{Call, Context, Module, Outcome, Sandbox};

use super::*;

/// Sends its input as the head of a request, or connects to it; answers with what came of it, as a
/// failure whose code is the status's number.
const GUEST: &str = r#"(module
  (import "openclaw" "input_length" (func $length (result i32)))
  (import "openclaw" "input_read" (func $read (param i32 i32)))
  (import "openclaw" "output_write" (func $output (param i32 i32)))
  (import "openclaw" "http_request" (func $http (param i32 i32 i32 i32) (result i64)))
  (import "openclaw" "tcp_connect" (func $tcp (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func $tell (param $status i64)
    (i64.store (i32.const 0) (local.get $status))
    (call $output (i32.const 0) (i32.const 8)))
  (func (export "http") (result i32)
    (call $read (i32.const 64) (call $length))
    (call $tell (call $http (i32.const 64) (call $length) (i32.const 0) (i32.const 0)))
    (i32.const 0))
  ;; The first two bytes are the port.
  (func (export "tcp") (result i32)
    (call $read (i32.const 64) (call $length))
    (call $tell (i64.extend_i32_s (call $tcp
      (i32.const 66) (i32.sub (call $length) (i32.const 2))
      (i32.load16_u (i32.const 64)) (i32.const 5000))))
    (i32.const 0)))"#;

const DENIED: i64 = -1;
const INVALID: i64 = -5;

/// A device with a resolver that is a list of answers for each name, given one after the other.
struct World {
    kit: HostKit,
    sandbox: Sandbox,
    module: Arc<Module>,
    asked: Arc<AtomicUsize>,
}

type Names = BTreeMap<&'static str, Vec<Vec<IpAddr>>>;

fn resolver(names: Names, asked: Arc<AtomicUsize>) -> Resolver {
    let names = Mutex::new(names);
    Arc::new(move |name| {
        asked.fetch_add(1, Ordering::SeqCst);
        let mut names = names.lock().unwrap();
        let answer = match names.get_mut(name) {
            // The last one stays.
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
            None => Err(std::io::Error::other("no such name")),
        };
        Box::pin(async move { answer })
    })
}

impl World {
    fn new(names: Names) -> Self {
        Self::of(&Config::default(), names)
    }

    fn of(config: &Config, names: Names) -> Self {
        crate::tls::install_provider();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        let asked = Arc::new(AtomicUsize::new(0));
        let net = Net::with_resolver(handle, resolver(names, Arc::clone(&asked)));
        let sandbox = Sandbox::new();
        let bytes = wat::parse_str(GUEST).unwrap();
        let module = sandbox.load(openclaw_sandbox::digest_of(&bytes), &bytes).unwrap();
        Self { kit: HostKit::on(config, TlsTime::default(), net), sandbox, module, asked }
    }

    fn call(&self, export: &str, input: &[u8], grants: &[&str]) -> (i64, Vec<String>) {
        let list: Vec<String> = grants.iter().map(|grant| (*grant).to_owned()).collect();
        let permissions = Permissions { http: list.clone(), tcp: list, ..Permissions::NONE };
        let none = VecMap::new();
        let call = Call {
            export,
            input,
            config: &none,
            vars: VecMap::new(),
            limits: CallLimits::default(),
            permissions: &permissions,
            context: Context::default(),
            record: None,
        };
        let watch = || None;
        let deadline = clock::boot_ms() + 20_000;
        let mut host = NativeHost::new(&self.kit, deadline, &watch, &|| ());
        let outcome: Outcome = self.sandbox.run(&self.module, call, &mut host, &watch);
        let told = outcome.result.unwrap();
        (i64::from_le_bytes(told.try_into().unwrap()), outcome.denials)
    }

    fn http(&self, url: &str, grants: &[&str]) -> (i64, Vec<String>) {
        self.call("http", serde_json::json!({ "url": url }).to_string().as_bytes(), grants)
    }

    fn tcp(&self, host: &str, port: u16, grants: &[&str]) -> (i64, Vec<String>) {
        let mut input = port.to_le_bytes().to_vec();
        input.extend_from_slice(host.as_bytes());
        self.call("tcp", &input, grants)
    }
}

/// Everything public, and a name that was meant to be public.
const GRANTS: [&str; 3] = ["*:*", "api.example.com:*", "*.example.org:*"];

/// Hosts that are addresses inside, read as such: denied, and told as a denial.
const ADDRESSES: [&str; 52] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.255.255.254",
    "127.0.0.1.",
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "192.168.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "168.63.129.16",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "[::]",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[::FFFF:10.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[::169.254.169.254]",
    "[fd00::1]",
    "[fd00:ec2::254]",
    "[fc00::1]",
    "[fe80::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b:1::1]",
    "[2002:7f00:1::]",
    "[2002:a9fe:a9fe::1]",
    "[2001::1]",
    "[2001:db8::1]",
];

/// Hosts that other readers take for an address inside: no host at all here.
const SPELLINGS: [&str; 30] = [
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f.0.0.1",
    "0x7f000001",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "3232235777",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "127.0.0.01",
    "127.0.0.0x1",
    "256.256.256.256",
    "1.2.3.4.5",
    "0",
    "",
    ".",
    "[::1",
    "[::1%25lo]",
    "[fe80::1%eth0]",
    "[127.0.0.1]",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "ⓛocalhost",
    "localhost%00.example.org",
    "127.0.0.1%2f.example.org",
    "bücher.example.org",
];

/// Whole URLs that other readers take to lead inside.
const URLS: [&str; 17] = [
    "http://api.example.com@127.0.0.1/",
    "http://127.0.0.1@api.example.com/",
    "http://user:password@api.example.com/",
    "http://api.example.com:80@169.254.169.254/",
    "http://api.example.com\\@127.0.0.1/",
    "http://127.0.0.1\\.example.org/",
    "http://api.example.com:0/",
    "http://api.example.com:65616/",
    "http://api.example.com:-1/",
    "http://api.example.com:80:80/",
    "http://api.example.com /",
    "http://127.0.0.1\t.example.org/",
    "http:///127.0.0.1/",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/",
    "http://[::ffff:127.0.0.1/",
];

#[test]
fn addresses_inside_are_denied_and_each_is_told() {
    let world = World::new(Names::new());
    for host in ADDRESSES {
        for port in [80, 6_379] {
            let (status, denials) = world.http(&format!("http://{host}:{port}/"), &GRANTS);
            assert_eq!((status, denials.len()), (DENIED, 1), "http {host}: {denials:?}");
            assert!(denials[0].starts_with("http:"), "{denials:?}");
            let (status, denials) = world.tcp(host, port, &GRANTS);
            assert_eq!((status, denials.len()), (DENIED, 1), "tcp {host}: {denials:?}");
            assert!(denials[0].starts_with("tcp:"), "{denials:?}");
        }
    }
    assert_eq!(world.asked.load(Ordering::SeqCst), 0, "no address is looked up");
}

#[test]
fn what_is_no_host_is_refused_before_anything_is_asked() {
    let world = World::new(Names::new());
    for host in SPELLINGS {
        let (status, _) = world.http(&format!("http://{host}/"), &GRANTS);
        assert_eq!(status, INVALID, "http {host:?}");
        let (status, _) = world.tcp(host, 80, &GRANTS);
        assert_eq!(status, INVALID, "tcp {host:?}");
    }
    for url in URLS {
        let (status, _) = world.http(url, &GRANTS);
        assert_eq!(status, INVALID, "{url:?}");
    }
    for host in ["user@api.example.com", "api.example.com:80", "api.example.com/", "a b"] {
        assert_eq!(world.tcp(host, 80, &GRANTS).0, INVALID, "{host:?}");
    }
    assert_eq!(world.tcp("api.example.com", 0, &GRANTS).0, INVALID, "port 0");
    assert_eq!(world.asked.load(Ordering::SeqCst), 0, "nothing was looked up");
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

#[test]
fn names_that_lead_inside_are_denied_at_the_address() {
    let bare = |host: &&str| {
        let inner = host.trim_matches(['[', ']']).trim_end_matches('.');
        inner.parse::<IpAddr>().unwrap()
    };
    let public: IpAddr = "93.184.216.34".parse().unwrap();
    // Alone, and with a public one before or behind it.
    let answers = ADDRESSES.iter().map(bare);
    let answers = answers.flat_map(|ip| [vec![ip], vec![public, ip], vec![ip, public]]);
    let named = answers.enumerate().map(|(n, answer)| {
        let name: &str = format!("n{n}.example.org").leak();
        (name, vec![answer])
    });
    let names: Names = named.collect();
    let world = World::new(names.clone());
    for (name, answer) in names {
        let (status, denials) = world.http(&format!("http://{name}/"), &GRANTS);
        assert_eq!((status, denials), (DENIED, vec![format!("http:{name}:80")]), "{answer:?}");
        let (status, denials) = world.tcp(name, 80, &GRANTS);
        assert_eq!(
            (status, denials),
            (DENIED, vec![format!("tcp_connect:{name}:80")]),
            "{answer:?}"
        );
    }
}

#[test]
fn many_public_addresses_hide_none_inside() {
    let mut answer: Vec<IpAddr> = (1..=60).map(|n| IpAddr::from([93, 184, 216, n])).collect();
    answer.extend(ips(&["127.0.0.1"]));
    let world = World::new(Names::from([("api.example.com", vec![answer])]));
    assert_eq!(world.tcp("api.example.com", 80, &GRANTS).0, DENIED);
    assert_eq!(world.http("http://api.example.com/", &GRANTS).0, DENIED);
}

/// Answers every connection; counts them by the address that was connected to.
fn server(address: &str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let mut said = [0; 4096];
            // Who only connects says nothing.
            if stream.read(&mut said).is_ok_and(|n| n > 0) {
                let _ = stream.write_all(
                    b"HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.2/\r\n\
                      content-length: 0\r\n\r\n",
                );
            }
        }
    });
    (port, seen)
}

#[test]
fn a_name_that_means_something_else_the_next_time_is_looked_up_once_a_connection() {
    // TTL 0: the first answer is granted, every later one is another address of this machine.
    let (port, seen) = server("127.0.0.1");
    let answers = vec![ips(&["127.0.0.1"]), ips(&["127.0.0.2"])];
    let world = World::new(Names::from([("plc.site", answers)]));
    let (name, address) = (format!("plc.site:{port}"), format!("127.0.0.1:{port}"));
    let grants = [name.as_str(), address.as_str()];
    let url = format!("http://plc.site:{port}/");
    let (status, denials) = world.http(&url, &grants);
    assert!(status >= 0 && denials.is_empty(), "{status} {denials:?}");
    assert_eq!(world.asked.load(Ordering::SeqCst), 1, "between check and use nothing is asked");
    assert_eq!(seen.load(Ordering::SeqCst), 1, "it went to what was checked");
    let (status, denials) = world.http(&url, &grants);
    assert_eq!((status, denials), (DENIED, vec![format!("http:plc.site:{port}")]));
    let (status, denials) = world.tcp("plc.site", port, &grants);
    assert_eq!((status, denials), (DENIED, vec![format!("tcp_connect:plc.site:{port}")]));
    assert_eq!(world.asked.load(Ordering::SeqCst), 3);
    assert_eq!(seen.load(Ordering::SeqCst), 1, "and nothing else went anywhere");
}

#[test]
fn a_redirect_leads_nowhere_by_itself() {
    let (port, seen) = server("127.0.0.1");
    let world = World::new(Names::new());
    let grant = format!("127.0.0.1:{port}");
    let (status, denials) = world.http(&format!("http://127.0.0.1:{port}/"), &[&grant]);
    assert!(status >= 0 && denials.is_empty(), "the plugin is told of it");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let (status, denials) = world.http("http://127.0.0.2/", &[&grant]);
    assert_eq!((status, denials), (DENIED, vec!["http:127.0.0.2:80".to_owned()]));
}

#[test]
fn the_device_narrows_names_and_addresses_alike() {
    let (port, seen) = server("127.0.0.1");
    let text = "[http]\nallow = ['other.site:*']\n[tcp]\nallow = ['127.0.0.0/8:1']\n";
    let config = Config::parse(std::path::Path::new("agent.toml"), text).unwrap();
    let names = || Names::from([("plc.site", vec![ips(&["127.0.0.1"])])]);
    let (name, address) = (format!("plc.site:{port}"), format!("127.0.0.1:{port}"));
    let grants = [name.as_str(), address.as_str()];
    let narrowed = World::of(&config, names());
    for (status, denials) in [
        narrowed.http(&format!("http://plc.site:{port}/"), &grants),
        narrowed.http(&format!("http://127.0.0.1:{port}/"), &grants),
        narrowed.tcp("plc.site", port, &grants),
        narrowed.tcp("127.0.0.1", port, &grants),
    ] {
        assert_eq!((status, denials.len()), (DENIED, 1), "{denials:?}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
    // Control: without the device's own lists each of them gets there.
    let open = World::new(names());
    for (status, denials) in [
        open.http(&format!("http://plc.site:{port}/"), &grants),
        open.http(&format!("http://127.0.0.1:{port}/"), &grants),
        open.tcp("plc.site", port, &grants),
        open.tcp("127.0.0.1", port, &grants),
    ] {
        assert!(status >= 0 && denials.is_empty(), "{status} {denials:?}");
    }
    assert!(seen.load(Ordering::SeqCst) >= 3, "the last may not be accepted yet");
}

#[test]
fn without_a_permission_nothing_is_asked() {
    let (port, seen) = server("127.0.0.1");
    let world = World::new(Names::from([("plc.site", vec![ips(&["127.0.0.1"])])]));
    for (status, denials) in [
        world.http(&format!("http://plc.site:{port}/"), &[]),
        world.http(&format!("http://127.0.0.1:{port}/"), &[]),
        world.tcp("plc.site", port, &[]),
        world.tcp("127.0.0.1", port, &[]),
    ] {
        assert_eq!((status, denials.len()), (DENIED, 1), "{denials:?}");
    }
    assert_eq!(world.asked.load(Ordering::SeqCst), 0, "no look-up");
    assert_eq!(seen.load(Ordering::SeqCst), 0, "no connection");
}
