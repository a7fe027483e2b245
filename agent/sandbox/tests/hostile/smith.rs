//! Modules that nobody wrote: valid ones made at random by wasm-smith, and the same with bits
//! flipped, ends cut off and pieces moved. Each is loaded, and where it is taken all its actions
//! are called with little fuel. The tests play a slice of them, `examples/smith.rs` as many as one likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::{CallLimits, Permissions};
use openclaw_sandbox::{
    Ask, Call, Context, DirEntry, Host, HostError, HttpRequest, HttpResponse, LoadError, Module,
    Sandbox, digest_of,
};
use wasm_smith::Config;

/// Actions of one module that are called.
const ACTIONS: usize = 4;
/// What each call may use.
const LIMITS: CallLimits =
    CallLimits { fuel: 200_000, memory_bytes: 4 * 1024 * 1024, output_bytes: 65_536 };
/// Random bytes that one module is made of at most.
const MATERIAL: u64 = 6_000;

/// What came of very many modules.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Modules, valid and altered.
    pub(crate) modules: u64,
    /// Those that could be called.
    pub(crate) taken: u64,
    /// Calls by how they ended, and loads by why they failed.
    pub(crate) ends: BTreeMap<String, u64>,
    /// Fuel of all calls.
    pub(crate) fuel: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        self.modules += other.modules;
        self.taken += other.taken;
        self.fuel += other.fuel;
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
    }

    fn count(&mut self, end: &str) {
        *self.ends.entry(end.to_owned()).or_default() += 1;
    }
}

/// Numbers that are the same for the same seed (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(len).collect()
    }
}

/// Makes modules one after the other.
pub(crate) struct Smith {
    numbers: Numbers,
    imports: Vec<u8>,
    exports: Vec<u8>,
    before: Vec<u8>,
}

impl Smith {
    /// `imports` is a module that imports all that there is.
    pub(crate) fn new(seed: u64, imports: &str) -> Self {
        let exports = r#"(module (memory (export "memory") 1 32)
            (func (export "execute")) (func (export "other") (result i32) i32.const 0))"#;
        let parse = |text: &str| wat::parse_str(text).expect("valid text");
        let (imports, exports) = (parse(imports), parse(exports));
        Self { numbers: Numbers(seed), imports, exports, before: vec![0; 64] }
    }

    /// Mostly what the sandbox takes; one in eight uses what it does not know.
    fn config(&mut self) -> Config {
        let beyond = self.numbers.below(8) == 0;
        Config {
            available_imports: Some(self.imports.clone()),
            exports: Some(self.exports.clone()),
            allow_start_export: beyond,
            max_instructions: 20 + self.numbers.below(800),
            max_funcs: 12,
            // Beside the one that is exported.
            max_memories: usize::from(beyond),
            max_memory32_bytes: 32 * 65_536,
            max_data_segments: 4,
            max_element_segments: 4,
            max_table_elements: 1_000,
            max_tables: 3,
            exceptions_enabled: beyond,
            gc_enabled: beyond,
            compact_imports_enabled: false,
            generate_custom_sections: true,
            memory64_enabled: beyond,
            relaxed_simd_enabled: beyond,
            simd_enabled: beyond,
            tail_call_enabled: beyond,
            threads_enabled: beyond,
            wide_arithmetic_enabled: beyond,
            ..Config::default()
        }
    }

    /// The next valid module.
    pub(crate) fn valid(&mut self) -> Vec<u8> {
        loop {
            let len = 200 + self.numbers.below(MATERIAL as usize);
            let material = self.numbers.bytes(len);
            let config = self.config();
            // Some material makes no module; the next does.
            if let Ok(module) = wasm_smith::Module::new(config, &mut Unstructured::new(&material)) {
                return module.to_bytes();
            }
        }
    }

    /// The same, altered in one place or in several; half of these are near the end, where the code is.
    pub(crate) fn altered(&mut self, wasm: &[u8]) -> Vec<u8> {
        let mut bent = wasm.to_vec();
        for _ in 0..=self.numbers.below(3) {
            let anywhere = self.numbers.below(bent.len());
            let near_the_end = bent.len().saturating_sub(anywhere / 8 + 1);
            let at = if self.numbers.below(2) == 0 { anywhere } else { near_the_end };
            match self.numbers.below(16) {
                0 => bent.truncate(at),
                1 => drop(bent.drain(at..(at + 9).min(bent.len()))),
                2 => {
                    let from = self.numbers.below(self.before.len().saturating_sub(16));
                    let piece = self.before[from..].iter().take(16).copied().collect::<Vec<_>>();
                    bent.splice(at..at, piece);
                }
                3..=6 => bent.get_mut(at).into_iter().for_each(|byte| *byte = 0xff),
                _ => {
                    let bit = self.numbers.below(8);
                    bent.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << bit);
                }
            }
        }
        self.before = wasm.to_vec();
        bent
    }
}

/// Time that this thread has computed: what it waits for a processor on a busy machine is not the
/// module's fault.
fn computed() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Loads a module and calls its actions; says how long that took.
pub(crate) fn play(wasm: &[u8], tally: &mut Tally) -> Duration {
    let (begun, before) = (Instant::now(), computed());
    let sandbox = Sandbox::new();
    tally.modules += 1;
    match sandbox.load(digest_of(wasm), wasm) {
        Ok(module) => {
            tally.taken += 1;
            let actions = module.info().exports.iter().filter(|e| module.is_action(e));
            for export in actions.take(ACTIONS) {
                call(&sandbox, &module, export, tally);
            }
        }
        Err(error) => tally.count(match error {
            LoadError::Engine => "load: the engine panicked",
            LoadError::Invalid(_) => "load: invalid",
            LoadError::Unsupported(_) => "load: unsupported",
            LoadError::Imports(_) => "load: imports",
            LoadError::TooLarge { .. } | LoadError::Digest { .. } => "load: other",
        }),
    }
    match before.zip(computed()) {
        Some((before, after)) => after.saturating_sub(before),
        None => begun.elapsed(),
    }
}

fn call(sandbox: &Sandbox, module: &Module, export: &str, tally: &mut Tally) {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let permissions = Permissions {
        files: names(&[""]),
        kv: names(&["workflow", "plugin"]),
        mqtt_publish: names(&["#"]),
        time: true,
        random: true,
        ..Permissions::NONE
    };
    let call = Call {
        export,
        input: b"{\"a\":1}",
        config: &VecMap::new(),
        vars: VecMap::new(),
        limits: LIMITS,
        permissions: &permissions,
        context: Context::default(),
        record: None,
    };
    let outcome = sandbox.run(module, call, &mut World, &|| None);
    tally.fuel += outcome.fuel_used;
    match outcome.result {
        Ok(_) => tally.count("ok"),
        Err(fault) if fault.message.contains("engine failed") => {
            tally.count("run: the engine panicked");
        }
        Err(fault) => tally.count(&fault.code),
    }
}

/// A host that answers everything with little.
struct World;

impl Host for World {
    fn http(&mut self, _: &HttpRequest) -> Result<HttpResponse, HostError> {
        Ok(HttpResponse { status: 200, headers: BTreeMap::new(), body: b"body".to_vec() })
    }

    fn read_file(&mut self, _: &str, _: &str, max: usize) -> Result<Vec<u8>, HostError> {
        Ok(vec![b'x'; max.min(1_000)])
    }

    fn list_dir(&mut self, _: &str, _: &str) -> Result<Vec<DirEntry>, HostError> {
        Ok(vec![DirEntry { name: "a".to_owned(), is_dir: false }])
    }

    fn ask(&mut self, _: &Ask<'_>) -> Result<Vec<u8>, HostError> {
        Ok(b"k\x001\x00".to_vec())
    }

    fn now_ms(&mut self) -> i64 {
        7
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(7);
    }
}
