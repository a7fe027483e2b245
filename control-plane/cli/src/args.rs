//! The command tree: nouns and their verbs, as people type them.

mod plugin;
mod run;
mod secret;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;

mod author;
mod desk;

pub(crate) use author::{AuthorVerb, Chart};
pub(crate) use desk::DeskVerb;

pub(crate) use plugin::{Files, KeyVerb, PluginVerb};
pub(crate) use run::{RunVerb, Which};
pub(crate) use secret::{SecretVerb, ValueSource};

/// OpenClaw: automation that lives on the device, loses nothing, and can be re-run at the desk.
#[derive(Debug, Parser)]
#[command(name = "openclaw", version, about, after_help = crate::exit::HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// For every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) noun: Noun,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Which context to use instead of the current one
    #[arg(long, global = true, env = "OPENCLAW_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Address of the control plane, instead of a context
    #[arg(long, global = true, env = "OPENCLAW_URL", value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Session token or API key, instead of the context's
    #[arg(
        long,
        global = true,
        env = "OPENCLAW_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// PEM file of the CA that the server's certificate comes from, instead of the context's
    #[arg(long, global = true, env = "OPENCLAW_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// How to print data
    #[arg(short, long, global = true, value_enum, default_value_t)]
    pub(crate) output: Format,
    /// Do not ask; say yes to what would be asked
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Noun {
    /// Start a control plane and a few agents on this machine, ready to play with
    Dev(DevArgs),
    /// Log in to a control plane and remember it as a context
    Login(LoginArgs),
    /// End the session and forget its token
    Logout,
    /// Who am I there?
    Whoami,
    /// Remembered control planes
    #[command(subcommand, alias = "contexts")]
    Context(ContextVerb),
    /// People who may log in
    #[command(subcommand, alias = "users")]
    User(UserVerb),
    /// Keys for programs
    #[command(subcommand, name = "api-key", alias = "api-keys")]
    ApiKey(ApiKeyVerb),
    /// Machines that run an agent
    #[command(subcommand, alias = "devices")]
    Device(DeviceVerb),
    /// Sandboxed steps
    #[command(subcommand, alias = "plugins")]
    Plugin(PluginVerb),
    /// Definitions
    #[command(subcommand, alias = "workflows")]
    Workflow(WorkflowVerb),
    /// Workflows on devices
    #[command(subcommand, alias = "deployments")]
    Deployment(DeploymentVerb),
    /// Executions
    #[command(subcommand, alias = "runs")]
    Run(RunVerb),
    /// Values that plugins get and nobody sees
    #[command(subcommand, alias = "secrets")]
    Secret(SecretVerb),
    /// What devices and the control plane noticed
    #[command(subcommand, name = "security-event", alias = "security-events")]
    SecurityEvent(SecurityEventVerb),
    /// Evaluate an expression on this machine
    Expr(ExprArgs),
    /// Run a recorded run once more, here, and compare
    Replay(ReplayArgs),
    /// Print the completion script of a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// `openclaw dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// How many agents
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) agents: u16,
    /// Where everything lives; a fresh temporary directory, removed at the end, where absent
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Directory of built plugins (each NAME/plugin.toml and NAME/plugin.wasm)
    #[arg(long, value_name = "DIR", env = "OPENCLAW_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,
    /// Play the demo: cut a link, kill an agent, restart the control plane, and count
    #[arg(long)]
    pub(crate) demo: bool,
    /// With --demo: stop after the story and print its summary as JSON
    #[arg(long, requires = "demo")]
    pub(crate) exit: bool,
}

/// `openclaw replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The recording, or - for standard input
    pub(crate) file: PathBuf,
    /// Go on after each fact only when Enter is pressed (q ends), and show what plugins asked
    #[arg(long)]
    pub(crate) step: bool,
    /// Directory of built plugins (each NAME/plugin.wasm, or *.wasm) whose recorded calls are made
    /// again; where absent they come from the control plane, if you are logged in
    #[arg(long, value_name = "DIR")]
    pub(crate) plugins: Option<PathBuf>,
    /// Write the definition, and a scenario that expects what happened, into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) save_test: Option<PathBuf>,
}

/// `openclaw expr`.
#[derive(Debug, Args)]
pub(crate) struct ExprArgs {
    /// The expression, or - to read it from standard input
    #[arg(required_unless_present = "json", allow_hyphen_values = true)]
    pub(crate) expression: Option<String>,
    /// A name it sees, as NAME=VALUE (VALUE is JSON if it parses, else text); may be repeated
    #[arg(short, long = "bind", value_parser = key_value, value_name = "NAME=VALUE")]
    pub(crate) bindings: Vec<(String, String)>,
    /// Read requests from standard input, as JSON, and answer each on a line of its own:
    /// {"expr": "a + b", "bindings": {"a": 1, "b": 2}} gives {"value": 3, "type": "int", ...}
    #[arg(long)]
    pub(crate) json: bool,
}

/// `openclaw login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Address of the control plane; the current context's where absent
    pub(crate) address: Option<String>,
    /// User name
    #[arg(short, long, default_value = "admin")]
    pub(crate) user: String,
    /// Name of the context to remember it under; the one that --context names, or that has the
    /// address, or else the host
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

/// `openclaw context`.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// List contexts
    #[command(alias = "ls")]
    List,
    /// Make a context the current one
    Use {
        /// Which
        name: String,
    },
    /// Forget a context
    Remove {
        /// Which
        name: String,
    },
}

/// What a user or key may do.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArg {
    /// Look
    Viewer,
    /// Also publish, deploy, run, cancel, enrol
    Operator,
    /// Also users, keys, revocation
    Admin,
}

/// `openclaw user`.
#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Make a user; prints a password, once, unless one is given
    Create {
        /// User name
        username: String,
        /// What they may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleArg,
        /// Read the password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users
    #[command(alias = "ls")]
    List,
    /// Lock a user out and end their sessions
    Disable {
        /// User name
        username: String,
    },
}

/// `openclaw api-key`.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKeyVerb {
    /// Make a key; prints its secret, once
    Create {
        /// What it is for
        name: String,
        /// What it may do
        #[arg(long, value_enum, default_value = "viewer")]
        role: RoleArg,
        /// Days until it ends
        #[arg(long)]
        days: Option<u32>,
    },
    /// List keys
    #[command(alias = "ls")]
    List,
    /// Revoke a key
    Revoke {
        /// Its id
        id: String,
    },
}

/// `openclaw device`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceVerb {
    /// List devices
    #[command(alias = "ls")]
    List,
    /// Show one, with its ledger
    Get {
        /// Device id
        id: String,
    },
    /// Make a single-use join code for a new device
    EnrollCode {
        /// Id the device shall have; one is made where absent
        #[arg(long)]
        id: Option<String>,
        /// Label it shall have, as KEY=VALUE; may be repeated
        #[arg(short, long = "label", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// Minutes until the code ends
        #[arg(long, default_value_t = 60)]
        minutes: u32,
    },
    /// Lock a device out at once; its results stay
    Revoke {
        /// Device id
        id: String,
    },
    /// Lock a device out at once, and remove it with everything it sent
    Remove {
        /// Device id
        id: String,
    },
    /// Change its labels; deployments by label follow
    Label {
        /// Device id
        id: String,
        /// KEY=VALUE sets a label, KEY- takes it away; may be repeated
        #[arg(required = true, value_name = "CHANGE", value_parser = label_change)]
        changes: Vec<LabelChange>,
    },
}

/// What shall become of one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelChange {
    /// This key shall have this value.
    Set(String, String),
    /// This key shall be gone.
    Remove(String),
}

/// Reads `KEY=VALUE` or `KEY-`.
fn label_change(text: &str) -> Result<LabelChange, String> {
    if let Ok((key, value)) = key_value(text) {
        return Ok(LabelChange::Set(key, value));
    }
    match text.strip_suffix('-') {
        Some(key) if !key.is_empty() && !key.contains('=') => {
            Ok(LabelChange::Remove(key.to_owned()))
        }
        _ => Err(format!("`{text}` is neither KEY=VALUE nor KEY-")),
    }
}

/// `openclaw workflow`.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowVerb {
    /// What helps to write one, on this machine
    #[command(flatten)]
    Author(AuthorVerb),
    /// Store a document as a new version (the same content again is no new version)
    Apply {
        /// File, or - for standard input
        #[arg(short, long)]
        file: PathBuf,
    },
    /// List workflows
    #[command(alias = "ls")]
    List,
    /// Show one, with its source
    Get {
        /// NAME or NAME@REVISION
        workflow: String,
    },
    /// Translate a definition of another language into a workflow
    Import(ImportArgs),
    /// Run it now where it is deployed
    Run {
        /// Name
        workflow: String,
        /// Where
        #[command(flatten)]
        target: TargetArgs,
        /// Input as KEY=VALUE (VALUE is JSON if it parses, else text); may be repeated
        #[arg(short, long = "input", value_parser = key_value)]
        inputs: Vec<(String, String)>,
        /// Wait for the end and show it; exit code 9 if a run fails
        #[arg(short, long)]
        wait: bool,
        /// Seconds to wait at most
        #[arg(long, default_value_t = 300)]
        timeout: u64,
    },
    /// Play scenarios on a virtual device, in virtual time; exit code 1 if one fails
    Test(TestArgs),
}

/// `openclaw workflow test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The workflow's document, or - for standard input; the scenario's `definition` where absent
    #[arg(short, long, value_name = "FILE")]
    pub(crate) definition: Option<PathBuf>,
    /// A scenario, or a directory with some (*.scenario.yaml, .yml or .json); may be repeated
    #[arg(short, long = "scenario", value_name = "PATH", required = true)]
    pub(crate) scenarios: Vec<PathBuf>,
    /// Another document to deploy beside it, such as one that it calls; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Vec<PathBuf>,
    /// Where to write the trace: one line of JSON for each step that settled, one for the run
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Where to write a recording of the tested run, as a device would export it, for `replay`
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
}

/// `openclaw workflow import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The language it is written in
    #[arg(long, value_enum)]
    pub(crate) from: Foreign,
    /// File, or - for standard input
    pub(crate) file: PathBuf,
    /// Write the workflow to this file instead of standard output; as JSON where it ends in .json
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The workflow's name; that of the file where absent
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// Languages that can be imported.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Foreign {
    /// Amazon States Language, JSONPath state machines
    Asl,
}

/// Which devices.
#[derive(Debug, Clone, Args)]
pub(crate) struct TargetArgs {
    /// A device; may be repeated
    #[arg(short, long = "device", value_name = "ID")]
    pub(crate) devices: Vec<String>,
    /// All devices with this label, as KEY=VALUE; several must all match
    #[arg(short, long = "label", value_parser = key_value, value_name = "KEY=VALUE")]
    pub(crate) labels: Vec<(String, String)>,
}

/// `openclaw deployment`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeploymentVerb {
    /// Bring a workflow to devices
    Create {
        /// NAME or NAME@REVISION
        workflow: String,
        /// Where
        #[command(flatten)]
        target: TargetArgs,
        /// Wait until all devices have answered; exit code 1 if one refuses, or if it reaches none
        #[arg(short, long)]
        wait: bool,
        /// Seconds to wait at most
        #[arg(long, default_value_t = 120)]
        timeout: u64,
    },
    /// Where does it stand, device by device? Without an id: list deployments
    Status {
        /// Its id
        id: Option<String>,
    },
    /// Back to the revision before
    Rollback {
        /// Its id
        id: String,
    },
    /// Take the workflow off the devices
    Delete {
        /// Its id
        id: String,
    },
}

/// `openclaw security-event`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecurityEventVerb {
    /// List security events, newest first
    #[command(alias = "ls")]
    List {
        /// About one device
        #[arg(short, long)]
        device: Option<String>,
        /// How many
        #[arg(short, long, default_value_t = 20)]
        limit: usize,
    },
}

/// Reads `KEY=VALUE`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn inputs_are_pairs() {
        assert_eq!(super::key_value("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert!(super::key_value("a").is_err());
        assert!(super::key_value("=b").is_err());
    }

    #[test]
    fn label_changes_set_or_remove() {
        use super::LabelChange::{Remove, Set};
        assert_eq!(super::label_change("a=b-").unwrap(), Set("a".into(), "b-".into()));
        assert_eq!(super::label_change("a=").unwrap(), Set("a".into(), String::new()));
        assert_eq!(super::label_change("a-").unwrap(), Remove("a".into()));
        for wrong in ["", "a", "-", "=b", "=-"] {
            assert!(super::label_change(wrong).is_err(), "{wrong}");
        }
    }
}
