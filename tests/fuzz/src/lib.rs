//! What is checked of every input, one module for each target. libFuzzer makes the inputs, in
//! `src/bin`; everything that must hold is asserted here.

pub mod definition;
pub mod expression;
pub mod step;

mod bytes;
mod patience;
