//! What a call costs without engine, database or fleet: the same plugin, the same input, in a
//! bare loop of the sandbox. `make bench` puts the agent's figures beside this one's.
//!
//! `bare_loop PLUGIN_DIR INPUT_FILE SECONDS` prints calls a second.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Manifest;
use openclaw_sandbox::{
    Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, STACK_BYTES, Sandbox,
    digest_of,
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [plugin, input, seconds] = args.as_slice() else {
        return Err("usage: bare_loop PLUGIN_DIR INPUT_FILE SECONDS".into());
    };
    let manifest =
        Manifest::from_toml(&std::fs::read_to_string(Path::new(plugin).join("plugin.toml"))?)?;
    let module = std::fs::read(Path::new(plugin).join("plugin.wasm"))?;
    let input = std::fs::read(input)?;
    let time = Duration::from_secs(seconds.parse()?);
    // With the native stack of a worker, since that is where the agent makes its calls.
    let calls = std::thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || calls_per_second(&manifest, &module, &input, time))?
        .join()
        .map_err(|_| "the sandbox's thread ended")??;
    println!("{calls:.1}");
    Ok(())
}

fn calls_per_second(
    manifest: &Manifest,
    module: &[u8],
    input: &[u8],
    time: Duration,
) -> Result<f64, String> {
    let sandbox = Sandbox::new();
    let module = sandbox.load(digest_of(module), module).map_err(|e| e.to_string())?;
    let config = VecMap::new();
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < time {
        let call = Call {
            export: "execute",
            input,
            config: &config,
            vars: VecMap::new(),
            limits: manifest.limits,
            permissions: &manifest.permissions,
            context: Context::default(),
            record: None,
        };
        let outcome = sandbox.run(&module, call, &mut Nothing, &|| None);
        outcome.result.map_err(|fault| fault.message)?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

/// A host for a plugin that asks for nothing.
struct Nothing;

impl Host for Nothing {
    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        Err(HostError::Invalid("no network here".to_owned()))
    }

    fn read_file(&mut self, _: &str, _: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Err(HostError::Invalid("no files here".to_owned()))
    }

    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        Err(HostError::Invalid("no files here".to_owned()))
    }

    fn now_ms(&mut self) -> i64 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}
