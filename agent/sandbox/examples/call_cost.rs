//! What the sandbox adds to a call: the same plugin, the same input, in turns by the sandbox, with its
//! slices, limits and permission checks, and by the engine alone. And what an input of a mebibyte costs.
//!
//! `call_cost PLUGIN_DIR INPUT_FILE SECONDS` prints microseconds of a call by the sandbox, by the bare
//! engine that counts fuel, by one that does not, and milliseconds of a call with a mebibyte of input.
//! All are medians of single calls, made in turns: what a busy machine takes away, it takes from few.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Manifest, Permissions};
use openclaw_sandbox::{
    Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, Module, STACK_BYTES,
    Sandbox, digest_of,
};
use wasmi::{Caller, Config, Engine, Extern, Linker, Store};

const MEBIBYTE: usize = 1 << 20;

type Failed = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [plugin, input, seconds] = args.as_slice() else {
        return Err("usage: call_cost PLUGIN_DIR INPUT_FILE SECONDS".into());
    };
    let manifest = std::fs::read_to_string(Path::new(plugin).join("plugin.toml"))?;
    let manifest = Manifest::from_toml(&manifest)?;
    let module = std::fs::read(Path::new(plugin).join("plugin.wasm"))?;
    let (input, time) = (std::fs::read(input)?, Duration::from_secs(seconds.parse()?));
    // With the native stack of a worker, since that is where the agent makes its calls.
    let worker = std::thread::Builder::new().stack_size(STACK_BYTES);
    let work = move || measured(&manifest, &module, &input, time).map_err(|e| e.to_string());
    let figures = worker.spawn(work)?.join().map_err(|_| "the thread ended")??;
    println!("{}", figures.map(|figure| format!("{figure:.3}")).join(" "));
    Ok(())
}

fn measured(
    manifest: &Manifest,
    module: &[u8],
    input: &[u8],
    time: Duration,
) -> Result<[f64; 4], Failed> {
    let sandbox = Sandbox::new();
    let ours = sandbox.load(digest_of(module), module)?;
    // Everything that there is to be granted, so that it is all looked at.
    let permissions = Permissions {
        http: vec!["*:443".to_owned(), "10.0.0.0/8:*".to_owned()],
        files: vec!["proc".to_owned()],
        kv: vec!["workflow".to_owned()],
        time: true,
        random: true,
        ..manifest.permissions.clone()
    };
    let (counting, plain) = (Bare::new(module, true)?, Bare::new(module, false)?);
    let by_sandbox = || call(&sandbox, &ours, input, manifest.limits, &permissions).map(drop);
    let expected = call(&sandbox, &ours, input, manifest.limits, &permissions)?;
    for bare in [&counting, &plain] {
        if bare.call(input)? != expected {
            return Err("the bare engine's output is another".into());
        }
    }
    let mut calls = [Vec::new(), Vec::new(), Vec::new()];
    let begun = Instant::now();
    while begun.elapsed() < time {
        calls[0].push(micros(&by_sandbox)?);
        calls[1].push(micros(&|| counting.call(input).map(drop))?);
        calls[2].push(micros(&|| plain.call(input).map(drop))?);
    }
    let [sandboxed, counting, plain] = calls.map(median);
    Ok([sandboxed, counting, plain, bulk_ms()?])
}

fn micros(call: &dyn Fn() -> Result<(), Failed>) -> Result<f64, Failed> {
    let begun = Instant::now();
    call()?;
    Ok(begun.elapsed().as_secs_f64() * 1e6)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn call(
    sandbox: &Sandbox,
    module: &Module,
    input: &[u8],
    limits: CallLimits,
    permissions: &Permissions,
) -> Result<Vec<u8>, Failed> {
    let call = Call {
        export: "execute",
        input,
        config: &VecMap::new(),
        vars: VecMap::new(),
        limits,
        permissions,
        context: Context::default(),
        record: None,
    };
    let outcome = sandbox.run(module, call, &mut Nothing, &|| None);
    outcome.result.map_err(|fault| fault.to_string().into())
}

/// Milliseconds of a call that reads a mebibyte of input and looks at every page of it.
fn bulk_ms() -> Result<f64, Failed> {
    let text = format!(
        r#"(module
          (import "openclaw" "input_length" (func $length (result i32)))
          (import "openclaw" "input_read" (func $read (param i32 i32)))
          (import "openclaw" "output_write" (func $write (param i32 i32)))
          (memory (export "memory") 17) (data (i32.const {MEBIBYTE}) "true")
          (func (export "execute") (local $at i32)
            (call $read (i32.const 0) (call $length))
            (loop $next
              (if (i32.eqz (i32.load8_u (local.get $at))) (then unreachable))
              (br_if $next (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 4096)))
                (i32.const {MEBIBYTE}))))
            (call $write (i32.const {MEBIBYTE}) (i32.const 4))))"#
    );
    let wasm = wat::parse_str(text)?;
    let sandbox = Sandbox::new();
    let (module, input) = (sandbox.load(digest_of(&wasm), &wasm)?, vec![b'x'; MEBIBYTE]);
    let permissions = Permissions::NONE;
    let mut took = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        let output = call(&sandbox, &module, &input, CallLimits::default(), &permissions)?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
        if output != b"true" {
            return Err("another output".into());
        }
    }
    Ok(median(took))
}

/// The engine with as little around it as the plugin needs.
struct Bare {
    module: wasmi::Module,
    engine: Engine,
    linker: Linker<(Vec<u8>, Vec<u8>)>,
    counts: bool,
}

impl Bare {
    fn new(wasm: &[u8], counts: bool) -> Result<Self, Failed> {
        type Guest<'a> = Caller<'a, (Vec<u8>, Vec<u8>)>;
        let mut config = Config::default();
        config.consume_fuel(counts);
        let engine = Engine::new(&config);
        let module = wasmi::Module::new(&engine, wasm)?;
        let mut linker = Linker::new(&engine);
        let m = "openclaw";
        let memory = |guest: &Guest<'_>| match guest.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(memory),
            _ => Err(wasmi::Error::new("no memory")),
        };
        linker.func_wrap(m, "input_length", |guest: Guest<'_>| guest.data().0.len() as i32)?;
        linker.func_wrap(m, "input_read", move |mut guest: Guest<'_>, at: i32, len: i32| {
            let memory = memory(&guest)?;
            let (bytes, state) = memory.data_and_store_mut(&mut guest);
            bytes[at as usize..][..len as usize].copy_from_slice(&state.0[..len as usize]);
            Ok::<(), wasmi::Error>(())
        })?;
        linker.func_wrap(m, "output_write", move |mut guest: Guest<'_>, at: i32, len: i32| {
            let memory = memory(&guest)?;
            let (bytes, state) = memory.data_and_store_mut(&mut guest);
            state.1 = bytes[at as usize..][..len as usize].to_vec();
            Ok::<(), wasmi::Error>(())
        })?;
        linker.func_wrap(m, "error_write", |_: Guest<'_>, _: i32, _: i32| ())?;
        Ok(Self { module, engine, linker, counts })
    }

    /// A fresh instance, as the sandbox makes one.
    fn call(&self, input: &[u8]) -> Result<Vec<u8>, Failed> {
        let mut store = Store::new(&self.engine, (input.to_vec(), Vec::new()));
        if self.counts {
            store.set_fuel(u64::MAX)?;
        }
        let instance = self.linker.instantiate_and_start(&mut store, &self.module)?;
        let execute = instance.get_typed_func::<(), i32>(&store, "execute")?;
        match execute.call(&mut store, ())? {
            0 => Ok(store.into_data().1),
            code => Err(format!("the plugin returned {code}").into()),
        }
    }
}

/// A host for a plugin that asks for nothing.
struct Nothing;

impl Host for Nothing {
    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        Ok(HttpResponse { status: 204, headers: BTreeMap::new(), body: Vec::new() })
    }

    fn read_file(&mut self, _: &str, path: &str, _: usize) -> Result<Vec<u8>, HostError> {
        Err(HostError::NotFound(path.to_owned()))
    }

    fn list_dir(&mut self, _: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        Err(HostError::NotFound(path.to_owned()))
    }

    fn now_ms(&mut self) -> i64 {
        0
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }
}
