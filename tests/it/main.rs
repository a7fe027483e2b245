//! The few tests that need real processes, and the rules of the house.

mod chaos;
mod dev;
mod release;
mod secret;
mod talk;
mod tidy;
