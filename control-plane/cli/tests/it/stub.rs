//! A control plane that says what a test wants it to say, and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Answers by the beginning of `METHOD /path`; the longest that fits is taken.
pub(crate) type Script = Vec<(&'static str, u16, Value)>;

pub(crate) struct Stub {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Stub {
    pub(crate) fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&asked);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &script, &book);
            }
        });
        Self { url, asked }
    }

    /// What was asked so far, as `METHOD /path` and body.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, script: &Script, book: &Mutex<Vec<(String, String)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    reader.read_line(&mut head).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let asked = head.rsplit_once(' ').map_or("", |(asked, _)| asked).to_owned();
    let fits = script.iter().filter(|(begin, ..)| asked.starts_with(begin));
    let (status, value) = fits.max_by_key(|(begin, ..)| begin.len()).map_or_else(
        || (404, serde_json::json!({ "detail": format!("no answer to {asked}") })),
        |(_, status, value)| (*status, value.clone()),
    );
    book.lock().unwrap().push((asked, String::from_utf8(body).unwrap()));
    let text = if value.is_null() { String::new() } else { value.to_string() };
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{text}"
    )
    .unwrap();
}
