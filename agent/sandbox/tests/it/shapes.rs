//! Modules that mean harm by their shape are refused with a reason, or are cheap; half a module and
//! noise are refused.

use std::sync::Arc;
use std::time::{Duration, Instant};

use openclaw_sandbox::{LoadError, Module, STACK_BYTES, Sandbox, digest_of};

use crate::host::{Fake, Setup, code};

#[path = "../hostile/shapes.rs"]
mod made;

/// What a person reads when a module is refused, in bytes.
const REASON: usize = 2_048;

fn load(wasm: Vec<u8>) -> Result<Arc<Module>, LoadError> {
    on_a_worker(move || Sandbox::new().load(digest_of(&wasm), &wasm))
}

#[test]
fn shapes_that_cost_too_much_are_refused_or_cheap() {
    let all = made::shapes();
    assert!(all.len() >= 30, "{} shapes", all.len());
    for made::Shape { name, wasm, refused } in all {
        let started = Instant::now();
        let loaded = load(wasm);
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
        match (loaded, refused) {
            (Ok(module), None) => {
                let outcome = Setup::default().run(&module, &mut Fake::default());
                assert_eq!(code(&outcome), "plugin.trap", "{name}: {outcome:?}");
            }
            (Err(error), Some(why)) => {
                let said = error.to_string();
                assert!(said.contains(why) && said.len() <= REASON, "{name}: {said}");
            }
            (Ok(_), Some(_)) => panic!("{name} was taken"),
            (Err(error), None) => panic!("{name}: {error}"),
        }
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
    }
}

#[test]
fn what_is_not_offered_here_is_named_with_what_to_do() {
    let import = |module: &str, name: &str| {
        let text = format!(r#"(module (import "{module}" "{name}" (func (param i64))))"#);
        load(wat::parse_str(text).unwrap()).unwrap_err().to_string()
    };
    let said = import("extism:host/user", "kv_read");
    assert!(said.contains("extism:host/user.kv_read"), "{said}");
    assert!(said.contains("functions of a host application"), "{said}");
    let said = import("env", "abort");
    assert!(said.contains("env.abort") && said.contains("wasi_snapshot_preview1"), "{said}");
    assert!(!said.contains("host application"), "{said}");
}

#[test]
fn half_a_module_and_noise_are_refused() {
    let whole = wat::parse_str(include_str!("../hostile/traps.wat")).unwrap();
    for end in 0..whole.len() {
        // A module may end between two sections; what matters is that nothing panics.
        let cut = whole[..end].to_vec();
        assert!(!matches!(Sandbox::inspect(&cut), Err(LoadError::Engine)));
    }
    for at in 8..whole.len() {
        for bit in 0..8 {
            let mut bent = whole.clone();
            bent[at] ^= 1 << bit;
            assert!(
                !matches!(Sandbox::inspect(&bent), Err(LoadError::Engine)),
                "byte {at} bit {bit}"
            );
        }
    }
}

fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap()
}
