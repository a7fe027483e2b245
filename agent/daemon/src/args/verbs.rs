//! The table of verbs and options: what may be typed, and what each is about.

pub(super) struct Verb {
    pub(super) name: &'static str,
    /// What may follow the name, for the usage line.
    pub(super) operands: &'static str,
    /// How many may follow.
    pub(super) most: usize,
    pub(super) about: &'static str,
    pub(super) flags: &'static [Flag],
}

pub(super) struct Flag {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// What its value is called; none for a switch.
    pub(super) value: Option<&'static str>,
    pub(super) about: &'static str,
}

const fn flag(
    long: &'static str,
    short: Option<char>,
    value: Option<&'static str>,
    about: &'static str,
) -> Flag {
    Flag { long, short, value, about }
}

/// Options of every verb.
pub(super) const GLOBAL: &[Flag] = &[
    flag(
        "config",
        None,
        Some("FILE"),
        "configuration file; else $OPENCLAW_AGENT_CONFIG, else /etc/openclaw/agent.toml if there is one",
    ),
    flag("output", Some('o'), Some("FORM"), "how answers look: table (default) or json"),
    flag("help", Some('h'), None, "this text; after a verb, more of that verb"),
    flag("version", Some('V'), None, "the version"),
];

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "run",
        operands: "[WORKFLOW]",
        most: 1,
        about: "be the agent; with a workflow's name, ask the running agent for a run of it",
        flags: &[
            flag(
                "input",
                Some('i'),
                Some("NAME=VALUE"),
                "an input; the value is JSON, or else a text; may be repeated",
            ),
            flag("wait", None, None, "wait until the run is settled; fail if it does"),
        ],
    },
    Verb {
        name: "enroll",
        operands: "",
        most: 0,
        about: "enrol this device in a fleet",
        flags: &[
            flag("server", None, Some("URL"), "the control plane (required)"),
            flag("code", None, Some("CODE"), "the join code (required)"),
            flag("data", None, Some("DIR"), "instead of the configuration's data_dir"),
        ],
    },
    Verb { name: "status", operands: "", most: 0, about: "how the agent is", flags: &[] },
    Verb {
        name: "runs",
        operands: "",
        most: 0,
        about: "runs, newest first",
        flags: &[flag("limit", None, Some("N"), "how many at most (20)")],
    },
    Verb { name: "show", operands: "RUN", most: 1, about: "one run with its steps", flags: &[] },
    Verb {
        name: "cancel",
        operands: "RUN",
        most: 1,
        about: "end a run",
        flags: &[flag("force", None, None, "without waiting for grace periods")],
    },
    Verb {
        name: "signal",
        operands: "RUN NAME [JSON]",
        most: 3,
        about: "say something to a run; the data is JSON, or else a text",
        flags: &[],
    },
    Verb {
        name: "approve",
        operands: "RUN STEP CHOICE",
        most: 3,
        about: "answer an approval; `show RUN` tells the steps that ask, and their choices",
        flags: &[
            flag("form", None, Some("JSON"), "the form as filled in, an object"),
            flag("by", None, Some("NAME"), "in whose name; else that of whoever types this"),
        ],
    },
    Verb {
        name: "retry",
        operands: "RUN",
        most: 1,
        about: "do a failed run again, from where it failed, with the workflow as it is now",
        flags: &[flag("whole", None, None, "from its first step on")],
    },
    Verb {
        name: "export",
        operands: "RUN",
        most: 1,
        about: "print a run's recording, for `openclaw replay` at a desk",
        flags: &[],
    },
    Verb {
        name: "record",
        operands: "WORKFLOW N",
        most: 2,
        about: "keep all that plugins are told in the next N runs, for their replay",
        flags: &[],
    },
    Verb {
        name: "results",
        operands: "",
        most: 0,
        about: "settled runs whose journal is still on this device, newest first",
        flags: &[flag("limit", None, Some("N"), "how many at most (all that is kept)")],
    },
    Verb {
        name: "logs",
        operands: "",
        most: 0,
        about: "what plugins logged since the agent was started",
        flags: &[
            flag("follow", Some('f'), None, "go on as new lines come"),
            flag("run", None, Some("RUN"), "of one run only"),
        ],
    },
    Verb {
        name: "config",
        operands: "check",
        most: 1,
        about: "say whether the configuration file is good",
        flags: &[],
    },
];
