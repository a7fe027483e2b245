//! `openclaw secret`: its verbs, as people type them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `openclaw secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretVerb {
    /// Set a value; it is read from a file, from standard input, or hidden from the terminal
    Set {
        /// As workflows declare it: letters, digits and underscores
        name: String,
        /// Where the value is
        #[command(flatten)]
        source: ValueSource,
    },
    /// List names, versions, and how many devices have them; values are never shown
    #[command(alias = "ls")]
    List,
    /// Show which devices have its newest value, and which have not
    Get {
        /// Name
        name: String,
    },
    /// Give a secret that is set a new value, and show which devices have not got it yet
    Rotate {
        /// Name
        name: String,
        /// Where the value is
        #[command(flatten)]
        source: ValueSource,
        /// Seconds to wait for the devices that are connected
        #[arg(long, default_value_t = 10, value_name = "SECONDS")]
        wait: u64,
    },
    /// Delete a secret that no deployed workflow declares
    Delete {
        /// Name
        name: String,
    },
}

/// Where a value comes from: never from the command line, which others on the machine can see.
#[derive(Debug, Args)]
pub(crate) struct ValueSource {
    /// Read the value from a file instead of standard input; one newline at its end is left out
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
}
