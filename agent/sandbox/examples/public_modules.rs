//! Runs modules that others have made for Extism, as they are, and says how each action ended: to
//! see whether they do here what their authors expect. docs/hostile-guests.md has the results.
//!
//! `public_modules FILE.wasm …` calls each action with the same input, settings and variables; one page
//! of the web is there, `https://extism.org/`.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::error::Error;

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_sandbox::{
    Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, Module, STACK_BYTES,
    Sandbox, digest_of,
};

/// What all of them are given; those that make requests read it as one.
const INPUT: &[u8] = br#"{"url":"https://extism.org/","method":"GET","data":"d","bytes":9}"#;
/// What tool kits export beside the plugin's own functions.
const TOOL_KITS: [&str; 5] =
    ["_initialize", "_start", "asyncify_stop_unwind", "asyncify_stop_rewind", "asyncify_get_state"];
/// What is shown of an output.
const SHOWN: usize = 72;

fn main() -> Result<(), Box<dyn Error>> {
    let work = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| {
        for path in std::env::args().skip(1) {
            match std::fs::read(&path) {
                Ok(wasm) => play(&path, &wasm),
                Err(error) => println!("{path}: {error}"),
            }
        }
    })?;
    work.join().map_err(|_| "a panic came through")?;
    Ok(())
}

fn play(path: &str, wasm: &[u8]) {
    let name = path.rsplit('/').next().unwrap_or(path);
    let sandbox = Sandbox::new();
    let module = match sandbox.load(digest_of(wasm), wasm) {
        Ok(module) => module,
        Err(error) => return println!("{name} ({} bytes) is refused: {error}", wasm.len()),
    };
    println!("{name} ({} bytes, {} pages)", wasm.len(), module.info().initial_pages);
    let actions = module.info().exports.iter().filter(|export| module.is_action(export));
    let (own, others): (Vec<_>, Vec<_>) =
        actions.partition(|export| !TOOL_KITS.contains(&export.as_str()));
    // A program has nothing but its start.
    let start = others.into_iter().filter(|export| own.is_empty() && *export == "_start");
    for export in own.iter().copied().chain(start) {
        println!("  {export}: {}", call(&sandbox, &module, export));
    }
}

fn call(sandbox: &Sandbox, module: &Module, export: &str) -> String {
    let permissions = Permissions {
        http: vec!["extism.org:443".to_owned()],
        time: true,
        random: true,
        ..Permissions::NONE
    };
    let call = Call {
        export,
        input: INPUT,
        config: &VecMap::from([("thing".to_owned(), "a setting".to_owned())]),
        vars: VecMap::new(),
        limits: CallLimits { fuel: 500_000_000, memory_bytes: 64 << 20, output_bytes: 1 << 20 },
        permissions: &permissions,
        context: Context::default(),
        record: None,
    };
    let outcome = sandbox.run(module, call, &mut World, &|| None);
    let logged: Vec<&str> = outcome.logs.iter().map(|line| line.message.as_str()).collect();
    let short = |text: String| text.chars().take(SHOWN).collect::<String>();
    let ended = match outcome.result {
        Ok(bytes) => format!("ok, {:?}", short(String::from_utf8_lossy(&bytes).into_owned())),
        Err(fault) => format!("{}, {:?}", fault.code, short(fault.message)),
    };
    let vars = outcome.vars.keys().cloned().collect::<Vec<_>>().join(", ");
    let log = short(logged.join(" | "));
    format!("{ended}; fuel {}, variables [{vars}], log {log:?}", outcome.fuel_used)
}

/// One page of the web, and no files.
struct World;

impl Host for World {
    fn http(&mut self, request: &HttpRequest) -> Result<HttpResponse, HostError> {
        let headers = BTreeMap::from([("content-type".to_owned(), "text/html".to_owned())]);
        let body = format!("<html>{} {}</html>", request.method, request.target).into_bytes();
        Ok(HttpResponse { status: 200, headers, body })
    }

    fn read_file(&mut self, _: &str, path: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Err(HostError::NotFound(path.to_owned()))
    }

    fn list_dir(&mut self, _: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        Err(HostError::NotFound(path.to_owned()))
    }

    fn now_ms(&mut self) -> i64 {
        1_700_000_000_000
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}
