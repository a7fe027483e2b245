//! What may be typed: verbs and options in one table, by which a command line is read, explained
//! and corrected.

mod verbs;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use lexopt::Arg;
use openclaw_protocol::ordered::VecMap;
use serde_json::{Map, Value};

use verbs::{Flag, GLOBAL, VERBS, Verb};

/// A command line, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Args {
    /// Configuration file, where one is named.
    pub config: Option<PathBuf>,
    /// How answers look.
    pub output: Output,
    /// What to do.
    pub command: Command,
}

/// How answers look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Be the agent.
    Serve,
    /// Ask the running agent to start a run.
    Run {
        /// Of which workflow.
        workflow: String,
        /// Its inputs.
        inputs: Map<String, Value>,
        /// Stay until the run is settled.
        wait: bool,
    },
    /// Enrol this device in a fleet.
    Enroll {
        /// The control plane's URL.
        server: String,
        /// The join code.
        code: String,
        /// Instead of the configuration's `data_dir`.
        data: Option<PathBuf>,
    },
    /// How the agent is.
    Status,
    /// Runs, newest first, so many at most.
    Runs(usize),
    /// One run with its steps.
    Show(String),
    /// End a run.
    Cancel {
        /// Which.
        run: String,
        /// Without waiting for grace periods.
        force: bool,
    },
    /// Say something to a run.
    Signal {
        /// To which.
        run: String,
        /// The signal's name.
        name: String,
        /// What goes with it.
        data: Value,
    },
    /// Answer an approval.
    Approve {
        /// Of which run.
        run: String,
        /// Path of the step that asks.
        step: String,
        /// One of its choices.
        choice: String,
        /// The form as filled in.
        form: Map<String, Value>,
        /// In whose name, if not in that of whoever types this.
        by: Option<String>,
    },
    /// Do a failed run again.
    Retry {
        /// Which.
        run: String,
        /// From its first step on.
        whole: bool,
    },
    /// Print a run's recording.
    Export(String),
    /// Record what the plugins of the next runs are told.
    Record {
        /// Of which workflow.
        workflow: String,
        /// How many.
        next: u32,
    },
    /// Settled runs whose journal is still kept, so many at most.
    Results(usize),
    /// What plugins logged.
    Logs {
        /// Go on as new lines come.
        follow: bool,
        /// Of one run only.
        run: Option<String>,
    },
    /// Say whether the configuration is good.
    ConfigCheck,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// Something to do.
    Do(Args),
    /// A text to print: help, or the version.
    Say(String),
}

/// A command line that means nothing here; the text says what is wrong and what to type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// Reads a command line; the program's own name comes first.
///
/// # Errors
/// Unknown, missing or superfluous words.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Typed, UsageError> {
    let mut parser = lexopt::Parser::from_iter(args);
    let mut verb: Option<&Verb> = None;
    let mut given = Given::default();
    while let Some(arg) = parser.next().map_err(wrong)? {
        let flag = match arg {
            Arg::Value(word) => {
                let word = text(word)?;
                match verb {
                    None if word == "help" => return Ok(Typed::Say(help(None))),
                    None => verb = Some(verb_named(&word)?),
                    Some(verb) if given.operands.len() == verb.most => {
                        return Err(UsageError(format!("`{word}` is one word too many")));
                    }
                    Some(_) => given.operands.push(word),
                }
                continue;
            }
            Arg::Short(short) => flag_where(verb, &format!("-{short}"), |f| f.short == Some(short)),
            Arg::Long(long) => flag_where(verb, &format!("--{long}"), |f| f.long == long),
        }?;
        match (flag.long, flag.value) {
            ("help", _) => return Ok(Typed::Say(help(verb))),
            ("version", _) => {
                return Ok(Typed::Say(format!("openclaw-agent {}", env!("CARGO_PKG_VERSION"))));
            }
            (name, None) => given.put(name, String::new()),
            (name, Some(_)) => given.put(name, text(parser.value().map_err(wrong)?)?),
        }
    }
    let Some(verb) = verb else {
        return Err(UsageError(format!("nothing to do\n\n{}", help(None))));
    };
    given.args(verb.name).map(Typed::Do)
}

/// What was typed after the verb.
#[derive(Debug, Default)]
struct Given {
    operands: Vec<String>,
    values: VecMap<&'static str, Vec<String>>,
}

impl Given {
    fn put(&mut self, name: &'static str, value: String) {
        self.values.entry(name).or_default().push(value);
    }

    fn is(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last one counts, as in most programs.
    fn value(&mut self, name: &str) -> Option<String> {
        self.values.remove(name)?.pop()
    }

    fn required(&mut self, name: &str) -> Result<String, UsageError> {
        self.value(name).ok_or_else(|| UsageError(format!("--{name} is missing")))
    }

    fn operand(&mut self, what: &str) -> Result<String, UsageError> {
        self.operands.pop().ok_or_else(|| UsageError(format!("which {what}? name it")))
    }

    fn limit(&mut self, otherwise: usize) -> Result<usize, UsageError> {
        self.value("limit").map_or(Ok(otherwise), |text| {
            text.parse().map_err(|_| UsageError(format!("--limit wants a number, not `{text}`")))
        })
    }

    fn args(mut self, verb: &str) -> Result<Args, UsageError> {
        let config = self.value("config").map(PathBuf::from);
        let output = match self.value("output").as_deref() {
            None | Some("table") => Output::Table,
            Some("json") => Output::Json,
            Some(other) => {
                return Err(UsageError(format!("--output is table or json, not `{other}`")));
            }
        };
        let command = match verb {
            "run" => self.run()?,
            "enroll" => Command::Enroll {
                server: self.required("server")?,
                code: self.required("code")?,
                data: self.value("data").map(PathBuf::from),
            },
            "status" => Command::Status,
            "runs" => Command::Runs(self.limit(20)?),
            "show" => Command::Show(self.operand("run")?),
            "cancel" => Command::Cancel { run: self.operand("run")?, force: self.is("force") },
            "signal" => self.signal()?,
            "approve" => self.approve()?,
            "retry" => Command::Retry { run: self.operand("run")?, whole: self.is("whole") },
            "export" => Command::Export(self.operand("run")?),
            "record" => self.record()?,
            "results" => Command::Results(self.limit(crate::limits::LOCAL_RESULTS)?),
            "logs" => Command::Logs { follow: self.is("follow"), run: self.value("run") },
            _ => match self.operands.pop().as_deref() {
                Some("check") => Command::ConfigCheck,
                _ => return Err(UsageError("type `openclaw-agent config check`".to_owned())),
            },
        };
        Ok(Args { config, output, command })
    }

    /// Operands in their order; what stands for each that is missing is in `what`.
    fn operands<const N: usize>(&mut self, what: [&str; N]) -> Result<[String; N], UsageError> {
        if let Some(missing) = what.get(self.operands.len()) {
            return Err(UsageError(format!("which {missing}? name it")));
        }
        let mut operands = self.operands.drain(..N);
        Ok(what.map(|_| operands.next().unwrap_or_default()))
    }

    fn signal(&mut self) -> Result<Command, UsageError> {
        let [run, name] = self.operands(["run", "signal"])?;
        let data = self.operands.pop().map_or(Ok(Value::Null), |text| data(&text))?;
        Ok(Command::Signal { run, name, data })
    }

    fn record(&mut self) -> Result<Command, UsageError> {
        let [workflow, next] = self.operands(["workflow", "number of runs"])?;
        let next = next.parse::<u32>().map_err(|e| UsageError(format!("`{next}`: {e}")))?;
        Ok(Command::Record { workflow, next })
    }

    fn approve(&mut self) -> Result<Command, UsageError> {
        let [run, step, choice] = self.operands(["run", "step", "choice"])?;
        let form = self.value("form").map_or(Ok(Map::new()), |text| {
            serde_json::from_str(&text)
                .map_err(|e| UsageError(format!("--form wants a JSON object: {e}")))
        })?;
        Ok(Command::Approve { run, step, choice, form, by: self.value("by") })
    }

    fn run(&mut self) -> Result<Command, UsageError> {
        let inputs = self.values.remove("input").unwrap_or_default();
        let wait = self.is("wait");
        let Some(workflow) = self.operands.pop() else {
            if wait || !inputs.is_empty() {
                return Err(UsageError("--input and --wait need a workflow's name".to_owned()));
            }
            return Ok(Command::Serve);
        };
        let inputs = inputs.iter().map(|text| input(text)).collect::<Result<_, _>>()?;
        Ok(Command::Run { workflow, inputs, wait })
    }
}

fn input(text: &str) -> Result<(String, Value), UsageError> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| UsageError(format!("--input wants NAME=VALUE, not `{text}`")))?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

/// JSON, or else a text; what begins like JSON and is none is a slip.
fn data(text: &str) -> Result<Value, UsageError> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(e) if text.trim_start().starts_with(['{', '[', '"']) => {
            Err(UsageError(format!("the data is no JSON: {e}")))
        }
        Err(_) => Ok(Value::String(text.to_owned())),
    }
}

fn verb_named(word: &str) -> Result<&'static Verb, UsageError> {
    VERBS.iter().find(|verb| verb.name == word).ok_or_else(|| {
        let meant = nearest(word, VERBS.iter().map(|verb| verb.name));
        UsageError(format!("there is no `{word}`{meant}; see `openclaw-agent --help`"))
    })
}

fn flag_where(
    verb: Option<&Verb>,
    typed: &str,
    is: impl Fn(&&Flag) -> bool,
) -> Result<&'static Flag, UsageError> {
    let own = verb.map_or(&[] as &'static [Flag], |verb| verb.flags);
    let mut all = own.iter().chain(GLOBAL);
    all.clone().find(|flag| is(flag)).ok_or_else(|| {
        let meant = nearest(typed.trim_start_matches('-'), all.by_ref().map(|flag| flag.long));
        let of = verb.map_or(String::new(), |verb| format!(" {}", verb.name));
        UsageError(format!("there is no {typed}{meant}; see `openclaw-agent{of} --help`"))
    })
}

fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> String {
    known
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map_or(String::new(), |(_, name)| format!(", did you mean `{name}`?"))
}

fn help(verb: Option<&Verb>) -> String {
    let mut out = String::new();
    let _ = match verb {
        None => write!(
            out,
            "Runs workflows on this device, with or without a network.\n\n\
             usage: openclaw-agent VERB [options]\n\nverbs:\n"
        ),
        Some(verb) => write!(
            out,
            "{}{}\n\nusage: openclaw-agent {} [options]\n",
            verb.about[..1].to_uppercase(),
            &verb.about[1..],
            joined(verb.name, verb.operands)
        ),
    };
    if verb.is_none() {
        for verb in VERBS {
            let usage = joined(verb.name, verb.operands);
            let _ = writeln!(out, "  {usage:<24} {}", verb.about);
        }
    }
    out.push_str("\noptions:\n");
    for flag in verb.map_or(&[] as &[Flag], |verb| verb.flags).iter().chain(GLOBAL) {
        let short = flag.short.map_or("   ".to_owned(), |short| format!("-{short},"));
        let long = joined(flag.long, flag.value.unwrap_or_default());
        let _ = writeln!(out, "  {short} --{long:<18} {}", flag.about);
    }
    out.truncate(out.trim_end().len());
    out
}

/// A name and what follows it, if anything does.
fn joined(name: &str, rest: &str) -> String {
    if rest.is_empty() { name.to_owned() } else { format!("{name} {rest}") }
}

fn wrong(e: lexopt::Error) -> UsageError {
    UsageError(e.to_string())
}

fn text(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError(format!("{} is no UTF-8", word.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Result<Typed, String> {
        let words = std::iter::once("openclaw-agent").chain(line.split_whitespace());
        read(words.map(OsString::from)).map_err(|e| e.to_string())
    }

    fn command(line: &str) -> Command {
        match typed(line) {
            Ok(Typed::Do(args)) => args.command,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn verbs_and_options_in_any_order() {
        assert_eq!(command("run"), Command::Serve);
        assert_eq!(command("runs --limit=3"), Command::Runs(3));
        assert_eq!(command("cancel --force r1"), Command::Cancel { run: "r1".into(), force: true });
        let Command::Run { workflow, inputs, wait } =
            command("run health -i limit=80 --wait --input name=pump=2")
        else {
            panic!("a run");
        };
        assert_eq!((workflow.as_str(), wait), ("health", true));
        assert_eq!(Value::Object(inputs), serde_json::json!({"limit": 80, "name": "pump=2"}));
        let Ok(Typed::Do(args)) = typed("-o json status --config /tmp/a.toml") else {
            panic!("status")
        };
        assert_eq!((args.output, args.config), (Output::Json, Some("/tmp/a.toml".into())));
    }

    #[test]
    fn runs_are_spoken_to() {
        let signal = |line: &str| {
            let Command::Signal { run, name, data } = command(line) else { panic!("{line}") };
            (run, name, data)
        };
        let expected = |data: Value| ("r1".to_owned(), "go".to_owned(), data);
        assert_eq!(signal("signal r1 go"), expected(Value::Null));
        assert_eq!(signal("signal r1 go {\"n\":1}"), expected(serde_json::json!({"n": 1})));
        assert_eq!(signal("signal r1 go open"), expected("open".into()));
        let approve = command("approve r1 --by ann ask reject --form {\"why\":\"dry\"}");
        let form = serde_json::json!({"why": "dry"}).as_object().unwrap().clone();
        let (run, step, choice) = ("r1".into(), "ask".into(), "reject".into());
        let by = Some("ann".into());
        assert_eq!(approve, Command::Approve { run, step, choice, form, by });
    }

    #[test]
    fn what_is_wrong_is_named_and_corrected() {
        for (line, part) in [
            ("", "usage:"),
            ("statsu", "did you mean `status`?"),
            ("runs --limt 3", "did you mean `limit`?"),
            ("runs --limit many", "wants a number"),
            ("runs --limit", "limit"),
            ("enroll --server https://x", "--code is missing"),
            ("run --wait", "need a workflow's name"),
            ("run w --input x", "NAME=VALUE"),
            ("show", "which run?"),
            ("show a b", "`b` is one word too many"),
            ("status -o yaml", "table or json"),
            ("signal", "which run?"),
            ("signal r1", "which signal?"),
            ("signal r1 go {1}", "no JSON"),
            ("approve r1 ask", "which choice?"),
            ("approve r1 ask yes no", "`no` is one word too many"),
            ("approve r1 ask yes --form [1]", "wants a JSON object"),
            ("config", "config check"),
        ] {
            let error = typed(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn every_verb_and_option_is_explained() {
        let Ok(Typed::Say(all)) = typed("--help") else { panic!("help") };
        for verb in VERBS {
            assert!(all.contains(verb.about));
            let Ok(Typed::Say(one)) = typed(&format!("{} --help", verb.name)) else {
                panic!("help of {}", verb.name)
            };
            let usage = one.lines().find(|line| line.starts_with("usage:")).unwrap();
            assert!(!usage.contains("  "), "{usage}");
            assert!(one.lines().all(|line| line == line.trim_end()), "{one}");
            for flag in verb.flags.iter().chain(GLOBAL) {
                assert!(one.contains(flag.about), "{one}");
            }
        }
        assert!(matches!(typed("-V"), Ok(Typed::Say(v)) if v.contains(env!("CARGO_PKG_VERSION"))));
    }
}
