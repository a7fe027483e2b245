//! `openclaw plugin`: its verbs, as people type them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DeskVerb;

/// `openclaw plugin`.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginVerb {
    /// What helps to write one, on this machine
    #[command(flatten)]
    Desk(DeskVerb),
    /// Publish a plugin from its directory (plugin.toml and plugin.wasm); versions never change
    Publish {
        /// The files
        #[command(flatten)]
        files: Files,
        /// Approve at once what it may touch (admins only)
        #[arg(long)]
        approve: bool,
        /// The signature, where it is not plugin.sig beside the manifest
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
    },
    /// List published plugins
    #[command(alias = "ls")]
    List {
        /// Only those that wait for approval of what they may touch
        #[arg(long)]
        pending: bool,
    },
    /// Find published plugins by words, category or tag
    Search {
        /// Words that all occur in name, description, author, category or tags; at most four
        words: Vec<String>,
        /// Only of this category
        #[arg(long)]
        category: Option<String>,
        /// Only with this tag
        #[arg(long)]
        tag: Option<String>,
    },
    /// Show what a plugin is and may touch
    Inspect {
        /// NAME or NAME@VERSION of a published one; FILE.wasm or DIR of one that is here
        plugin: String,
    },
    /// Download the module of a version; one that broke off goes on where it was
    Download {
        /// NAME or NAME@VERSION
        plugin: String,
        /// Where to, NAME-VERSION.wasm where it is not said
        #[arg(short, long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Approve what a version may touch, and whatever other version asks for no more
    Approve {
        /// NAME@VERSION
        plugin: String,
    },
    /// Take a version off the shelf: nothing chooses it any more; what is deployed goes on
    Yank {
        /// NAME@VERSION
        plugin: String,
        /// Why, for people who meet it
        #[arg(long)]
        reason: String,
    },
    /// Put a yanked version back
    Unyank {
        /// NAME@VERSION
        plugin: String,
    },
    /// Say what to use instead; it is shown wherever the version is used
    Deprecate {
        /// NAME@VERSION
        plugin: String,
        /// What to use instead
        #[arg(required_unless_present = "undo")]
        message: Option<String>,
        /// Take a deprecation back
        #[arg(long, conflicts_with = "message")]
        undo: bool,
    },
    /// Sign a plugin with a publisher's key; writes plugin.sig beside the manifest
    Sign {
        /// The files
        #[command(flatten)]
        files: Files,
        /// The publisher's private key, as `key new` made it
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
    },
    /// Keys that sign plugins
    #[command(subcommand)]
    Key(KeyVerb),
}

/// Where a plugin's files are.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The directory, or plugin.toml itself
    pub(crate) path: PathBuf,
    /// The module, where it is not plugin.wasm beside the manifest
    #[arg(long)]
    pub(crate) module: Option<PathBuf>,
}

/// `openclaw plugin key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key: the private half goes into a file, the public half is printed
    New {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Take what a key signs for its owner's (admins only)
    Add {
        /// The public half: 64 hexadecimal digits
        public_key: String,
        /// Whose it is
        #[arg(long)]
        name: String,
    },
    /// List keys, revoked ones too
    #[command(alias = "ls")]
    List,
    /// Take nothing new that a key signs (admins only)
    Revoke {
        /// The key's id
        id: String,
    },
}
