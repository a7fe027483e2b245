//! The Modbus plugin against a server of its own kind: real bytes over a real socket, with a server that
//! shares no line with the plugin.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{Manifest, Permissions};
use openclaw_sandbox::{
    Ask, DirEntry, Host, HostError, HttpRequest, HttpResponse, Module, Outcome, STACK_BYTES,
    Sandbox,
};
use serde_json::{Value, json};

use crate::host::Setup;
use crate::plugins::built;

/// A Modbus TCP server, by the specification: 100 registers and 100 coils, unit 1 alone.
struct Server {
    port: u16,
    /// What it holds.
    image: Arc<Mutex<Image>>,
    thread: JoinHandle<()>,
}

struct Image {
    registers: Vec<u16>,
    coils: Vec<bool>,
}

impl Server {
    /// Serves as many connections as are said, one after the other.
    fn start(connections: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let registers = (0..100).map(|n| n * 3).collect();
        let image = Arc::new(Mutex::new(Image { registers, coils: vec![false; 100] }));
        let held = Arc::clone(&image);
        let thread = std::thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                serve(stream, &held);
            }
        });
        Self { port, image, thread }
    }
}

/// Answers until the client hangs up. Each answer leaves in two pieces, as a network may cut it.
fn serve(mut stream: TcpStream, image: &Mutex<Image>) {
    let mut head = [0; 7];
    while stream.read_exact(&mut head).is_ok() {
        let length = usize::from(head[4]) << 8 | usize::from(head[5]);
        let mut pdu = vec![0; length - 1];
        stream.read_exact(&mut pdu).unwrap();
        let answer =
            image.lock().unwrap().answer(&pdu).unwrap_or_else(|code| vec![pdu[0] | 0x80, code]);
        let mut frame = head.to_vec();
        frame[4..6].copy_from_slice(&(answer.len() as u16 + 1).to_be_bytes());
        frame.extend(answer);
        let (first, second) = frame.split_at(frame.len() / 2);
        stream.write_all(first).unwrap();
        stream.flush().unwrap();
        stream.write_all(second).unwrap();
    }
}

impl Image {
    /// The answer to a request, or the code of an exception.
    fn answer(&mut self, pdu: &[u8]) -> Result<Vec<u8>, u8> {
        let word = |at: usize| u16::from_be_bytes([pdu[at], pdu[at + 1]]);
        let (at, count) = (usize::from(word(1)), usize::from(word(3)));
        let inside = |end: usize| if end <= 100 { Ok(()) } else { Err(2) };
        match pdu[0] {
            1 => {
                inside(at + count)?;
                let mut bytes = vec![0_u8; count.div_ceil(8)];
                for n in (0..count).filter(|n| self.coils[at + n]) {
                    bytes[n / 8] |= 1 << (n % 8);
                }
                Ok([vec![1, bytes.len() as u8], bytes].concat())
            }
            3 => {
                inside(at + count)?;
                let bytes: Vec<u8> =
                    self.registers[at..at + count].iter().flat_map(|r| r.to_be_bytes()).collect();
                Ok([vec![3, bytes.len() as u8], bytes].concat())
            }
            5 => {
                inside(at + 1)?;
                self.coils[at] = word(3) == 0xFF00;
                Ok(pdu[..5].to_vec())
            }
            6 => {
                inside(at + 1)?;
                self.registers[at] = word(3);
                Ok(pdu[..5].to_vec())
            }
            15 => {
                inside(at + count)?;
                for n in 0..count {
                    self.coils[at + n] = pdu[6 + n / 8] >> (n % 8) & 1 == 1;
                }
                Ok(pdu[..5].to_vec())
            }
            16 => {
                inside(at + count)?;
                for n in 0..count {
                    self.registers[at + n] = word(6 + 2 * n);
                }
                Ok(pdu[..5].to_vec())
            }
            _ => Err(1),
        }
    }
}

/// A host that connects for real, and does nothing else.
#[derive(Default)]
struct Wire {
    streams: VecMap<u32, TcpStream>,
}

impl Wire {
    fn stream(&mut self, number: u32) -> &mut TcpStream {
        self.streams.get_mut(&number).unwrap()
    }
}

fn failed(error: &std::io::Error) -> HostError {
    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
        return HostError::TimedOut(error.to_string());
    }
    HostError::Failed(error.to_string())
}

impl Host for Wire {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else is asked, there is none")]
    fn ask(&mut self, ask: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        match ask {
            Ask::TcpConnect { stream, host, port, grants, .. } => {
                let address = "127.0.0.1".parse().unwrap();
                assert!(grants.allows_address(host, address, *port));
                let connected = TcpStream::connect((address, *port)).map_err(|e| failed(&e))?;
                self.streams.insert(*stream, connected);
                Ok(Vec::new())
            }
            Ask::StreamRead { stream, min, max, timeout_ms } => {
                let from = self.stream(*stream);
                let limit = Duration::from_millis(u64::from(*timeout_ms));
                from.set_read_timeout(Some(limit)).unwrap();
                let mut bytes = vec![0; *max];
                let mut got = 0;
                while got < *min {
                    match from.read(&mut bytes[got..]).map_err(|e| failed(&e))? {
                        0 => break,
                        more => got += more,
                    }
                }
                bytes.truncate(got);
                Ok(bytes)
            }
            Ask::StreamWrite { stream, bytes, .. } => {
                self.stream(*stream).write_all(bytes).map_err(|e| failed(&e))?;
                Ok(Vec::new())
            }
            Ask::StreamClose { stream } => {
                self.streams.remove(stream);
                Ok(Vec::new())
            }
            other => Err(HostError::NotFound(other.label())),
        }
    }

    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        Err(HostError::NotFound("no HTTP here".to_owned()))
    }

    fn read_file(&mut self, _: &str, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Err(HostError::NotFound("no files here".to_owned()))
    }

    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        Err(HostError::NotFound("no files here".to_owned()))
    }

    fn now_ms(&mut self) -> i64 {
        0
    }

    fn random(&mut self, _: &mut [u8]) {}
}

/// The plugin, and the port that it speaks to.
struct Plugin {
    manifest: Manifest,
    module: Arc<Module>,
    port: u16,
}

impl Plugin {
    fn call(&self, action: &'static str, input: Value) -> Outcome {
        let mut input = input;
        input["host"] = "127.0.0.1".into();
        input["port"] = self.port.into();
        let tcp = vec![format!("127.0.0.1:{}", self.port)];
        let setup = Setup {
            export: action,
            input: serde_json::to_vec(&input).unwrap(),
            limits: self.manifest.limits,
            permissions: Permissions { tcp, ..Permissions::default() },
            ..Setup::default()
        };
        std::thread::scope(|scope| {
            let run = || {
                let watch = || None;
                Sandbox::new().run(&self.module, setup.call(), &mut Wire::default(), &watch)
            };
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            thread.spawn_scoped(scope, run).unwrap().join().unwrap()
        })
    }

    fn answer(&self, action: &'static str, input: Value) -> Value {
        let outcome = self.call(action, input);
        serde_json::from_slice(&outcome.result.unwrap()).unwrap()
    }
}

fn plugin(port: u16) -> Plugin {
    let (manifest, module) = built("modbus-tcp");
    Plugin { manifest, module, port }
}

#[test]
fn modbus_reads_and_writes_at_a_real_server() {
    let server = Server::start(8);
    let plugin = plugin(server.port);
    let read = plugin.answer("read_holding_registers", json!({ "address": 10, "count": 3 }));
    assert_eq!(read["values"], json!([30, 33, 36]));
    let f32_le = json!({ "type": "f32", "word_order": "little" });
    let write = json!({ "address": 50, "values": [21.3, -1e6], "format": f32_le });
    assert_eq!(plugin.answer("write_multiple_registers", write), json!({ "written": 4 }));
    let read = json!({ "address": 50, "count": 2, "format": f32_le });
    assert_eq!(plugin.answer("read_holding_registers", read)["values"], json!([21.3, -1e6]));
    let set = json!({ "address": 7, "value": true });
    assert_eq!(plugin.answer("write_single_coil", set), json!({ "written": 1 }));
    let set = json!({ "address": 9, "values": [true, false, true] });
    assert_eq!(plugin.answer("write_multiple_coils", set), json!({ "written": 3 }));
    let coils = plugin.answer("read_coils", json!({ "address": 6, "count": 7 }));
    assert_eq!(coils["values"], json!([false, true, false, true, false, true, false]));
    let set = json!({ "address": 99, "value": 6.5, "format": { "scale": 0.1 } });
    assert_eq!(plugin.answer("write_single_register", set), json!({ "written": 1 }));
    let fault = plugin.call("read_holding_registers", json!({ "address": 99, "count": 2 }));
    assert_eq!(fault.result.unwrap_err().code, "user.modbus_illegal_data_address");
    server.thread.join().unwrap();
    let image = server.image.lock().unwrap();
    assert_eq!((image.registers[99], image.registers[50]), (65, 0x6666));
    assert_eq!(image.coils.iter().filter(|coil| **coil).count(), 3);
}

#[test]
fn modbus_where_nobody_listens_is_worth_another_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let fault = plugin(port).call("read_coils", json!({ "address": 0 })).result.unwrap_err();
    assert!(fault.code == "plugin.error" && fault.retryable, "{fault}");
}

#[test]
fn modbus_of_a_server_that_says_nothing_is_over_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let plugin = plugin(listener.local_addr().unwrap().port());
    let fault = plugin.call("read_coils", json!({ "address": 0, "timeout_ms": 20 }));
    let fault = fault.result.unwrap_err();
    assert!(fault.code == "user.timed_out" && fault.retryable, "{fault}");
}
