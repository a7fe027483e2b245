//! Scripts: inputs in, transcript out; and the properties of the machine.

mod clock;
mod crash;
mod files;
mod flow;
mod found;
mod generate;
mod hold;
mod joins;
mod language;
mod last;
mod migrate;
mod migrating;
mod modes;
mod properties;
mod reference;
mod simulate;
mod snapshots;
mod steps;
mod storage;
mod talk;
mod time;
mod triggers;
mod update;
mod weight;
mod world;

use world::{World, minutes, seconds};
