//! The control of the hostile tests: what happens without our slices.
//!
//! A loop of failing `memory.grow` in one big slice of fuel, straight on the engine with fuel and
//! memory limits on. It is expected to overflow the native stack and to be killed by a signal; if
//! it ever ends by itself, the engine no longer has the fault that the slices are there for.

use wasmi::{Config, Engine, Linker, Module, Store, StoreLimits, StoreLimitsBuilder};

fn main() {
    let wasm = wat::parse_str(include_str!("../tests/hostile/grow-fails.wat"))
        .expect("the control is valid WebAssembly text");
    let mut config = Config::default();
    config.consume_fuel(true);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, &wasm).expect("the control is a valid module");
    let limits: StoreLimits = StoreLimitsBuilder::new().memory_size(65_536).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(1_000_000_000).expect("fuel is on");
    let instance = Linker::new(&engine)
        .instantiate_and_start(&mut store, &module)
        .expect("the control needs nothing");
    let execute = instance.get_func(&store, "execute").expect("the control has its action");
    let ended = execute.call(&mut store, &[], &mut []);
    assert!(ended.is_err(), "an endless loop ended");
}
