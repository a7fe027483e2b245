//! What one evaluation of an ordinary expression costs: `make bench` runs it. Its names are values, as
//! the engine keeps them.
//!
//! `expr_loop SECONDS` prints nanoseconds an evaluation.
#![expect(clippy::print_stdout, reason = "a program of its own")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use openclaw_protocol::expr::{Expr, Value};
use openclaw_protocol::ordered::VecMap;
use serde_json::json;

const SOURCE: &str = "t > 70 && \"b\" in tags";
/// Evaluations between two looks at the clock.
const AT_ONCE: u32 = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).ok_or("usage: expr_loop SECONDS")?.parse()?;
    let time = Duration::from_secs(seconds);
    let expr = Expr::compile(SOURCE)?;
    let names = VecMap::from([
        ("t".to_owned(), Value::from(71.5)),
        ("tags".to_owned(), Value::from_json(&json!(["a", "b"]))),
    ]);
    let begun = Instant::now();
    let mut count = 0_u32;
    while begun.elapsed() < time {
        for _ in 0..AT_ONCE {
            if black_box(expr.eval(black_box(&names)))? != Value::Bool(true) {
                return Err("it is not true".into());
            }
        }
        count += AT_ONCE;
    }
    println!("{:.1}", begun.elapsed().as_secs_f64() * 1e9 / f64::from(count));
    Ok(())
}
