//! The verbs of `openclaw plugin` that help to write one; none needs a control plane.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::plugin::Language;

/// `openclaw plugin new|build|test|dev`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeskVerb {
    /// Begin a plugin: a directory with its manifest, source, cases and README
    New {
        /// The plugin's name
        name: String,
        /// Language
        #[arg(short, long, value_enum)]
        lang: Language,
        /// Where; a directory of the plugin's name where absent
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Compile a plugin to plugin.wasm and look at it as a device would; exit code 6 if none takes it
    Build(DirArg),
    /// Run cases/*.json in the device's own sandbox; exit code 1 if one fails
    Test(DirArg),
    /// Build and test, and again whenever a file changes, until Ctrl-C
    Dev(DirArg),
}

/// Which plugin.
#[derive(Debug, Args)]
pub(crate) struct DirArg {
    /// The plugin's directory
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}
