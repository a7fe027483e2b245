//! The verbs of `openclaw workflow` that help to write one; none needs a control plane.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// `openclaw workflow validate|lint|fmt|explain|graph|limits|schema`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthorVerb {
    /// Check a document on this machine; exit code 6 if it is wrong
    Validate {
        /// File, or - for standard input
        file: PathBuf,
    },
    /// Tell everything that is wrong or may be regretted; exit code 6 if something is wrong
    Lint {
        /// Files, or - for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Exit code 1 if there are warnings
        #[arg(long)]
        deny_warnings: bool,
        /// The device has no clock to go by: no battery, no time from the network
        #[arg(long)]
        no_clock: bool,
    },
    /// Print a document in the one layout, comments and all
    Fmt {
        /// Files, or - for standard input
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print the canonical JSON instead, byte for byte what the hash is taken over
        #[arg(long, conflicts_with_all = ["check", "write"])]
        canonical: bool,
        /// Print nothing; exit code 1 if a file is laid out otherwise
        #[arg(long, conflicts_with = "write")]
        check: bool,
        /// Write the files instead of printing them
        #[arg(short, long)]
        write: bool,
    },
    /// Explain a document in plain sentences, step by step, with waits, bounds and failures
    Explain {
        /// File, or - for standard input
        file: PathBuf,
    },
    /// Draw a document
    Graph {
        /// File, or - for standard input
        file: PathBuf,
        /// In which language
        #[arg(long, value_enum, default_value_t)]
        format: Chart,
    },
    /// List the limits in force
    Limits,
    /// Print the JSON Schema of documents, for editors
    Schema,
}

/// Languages of pictures.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum Chart {
    /// Mermaid, which code hosts and wikis draw
    #[default]
    Mermaid,
    /// DOT, for Graphviz
    Dot,
}
