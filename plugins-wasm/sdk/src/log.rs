//! Log lines: shown beside the step, bounded in number and length by the host.

use openclaw_plugin_abi::Level;

use crate::host;

/// One line. The macros [`crate::info!`] and friends are shorter.
pub fn log(level: Level, line: &str) {
    host::log(level, line);
}

/// Logs normal progress, with `format!` arguments.
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => { $crate::log($crate::Level::Info, &::std::format!($($arg)+)) };
}

/// Logs something odd that the plugin copes with, with `format!` arguments.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => { $crate::log($crate::Level::Warn, &::std::format!($($arg)+)) };
}

/// Logs detail for finding a fault, with `format!` arguments.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => { $crate::log($crate::Level::Debug, &::std::format!($($arg)+)) };
}
