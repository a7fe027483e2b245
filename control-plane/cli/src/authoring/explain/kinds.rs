//! What a step does, as the rest of a sentence that begins with its id.

use openclaw_protocol::definition::{
    Approval, Call, CaseTest, Catch, CountDowntime, Delay, DelayFor, Effects, Foreach, LogLevel,
    LoopTest, ParallelMode, Part, Publish, Step, StepKind, Tolerate, Wait, WaitSource,
};
use openclaw_protocol::expr::Template;
use openclaw_protocol::time::show_duration;

use super::{code, listed, value};

pub(super) fn sentence(step: &Step) -> String {
    match &step.kind {
        StepKind::Plugin(call) => {
            let with = with(&call.with);
            let once = match step.effects {
                Effects::AtMostOnce => ", at most once",
                Effects::Pure | Effects::Idempotent => "",
            };
            let range = call.range.to_string();
            let range = range_words(&range);
            format!("calls the plugin {}.{} ({range}){with}{once}", call.plugin, call.action)
        }
        StepKind::Condition { expr, .. } => format!("asks whether {}", code(expr.source())),
        StepKind::Switch { subject: Some(expr), .. } => {
            format!("takes the way that fits {}", code(expr.source()))
        }
        StepKind::Switch { .. } => "takes the first way whose question is true".to_owned(),
        StepKind::Set(assigned) => {
            let set: Vec<String> = assigned
                .iter()
                .map(|(name, template)| format!("{name} to {}", value(&template.source())))
                .collect();
            format!("sets {}", listed(&set))
        }
        StepKind::Delay(length) => delay(length),
        StepKind::Parallel { mode, branches, concurrency, .. } => {
            parallel(*mode, branches.len(), *concurrency)
        }
        StepKind::Loop { test, max_iterations, every_ms, .. } => {
            repeat(test, *max_iterations, *every_ms)
        }
        StepKind::Foreach(each) => foreach(each),
        StepKind::Wait(waiting) => wait(waiting),
        StepKind::Call(called) => call(called),
        StepKind::Publish(message) => publish(message),
        StepKind::Emit { event, .. } => {
            format!("says {} on the device's bus", value(&event.source()))
        }
        StepKind::Approval(asked) => approval(asked),
        StepKind::Try { .. } => "tries something".to_owned(),
        StepKind::Sequence { compensation, .. } => match compensation {
            Some(_) => "is a unit that is undone as a whole".to_owned(),
            None => "does one thing after the other".to_owned(),
        },
        StepKind::Log { level, message, .. } => {
            let level = match level {
                LogLevel::Debug => "notes for whoever looks closely",
                LogLevel::Info => "notes",
                LogLevel::Warn => "warns",
                LogLevel::Error => "tells as an error",
            };
            format!("{level}: {}", value(&message.source()))
        }
        StepKind::Succeed { outputs } => match outputs {
            Some(outputs) => format!("ends the whole run well{}", with(outputs)),
            None => "ends the whole run well".to_owned(),
        },
        StepKind::Fail { code, message, .. } => {
            format!("fails with {}: {}", value(&code.source()), value(&message.source()))
        }
    }
}

fn call(call: &Call) -> String {
    let with = with(&call.with);
    let how = match (call.detach, call.abandon) {
        (true, _) => ", and does not wait for its end",
        (false, true) => ", and waits for its end; cancelled, it lets it go on",
        (false, false) => ", and waits for its end",
    };
    format!("starts a run of {}{with}{how}", call.workflow)
}

fn publish(message: &Publish) -> String {
    let done = if message.confirm_broker {
        ", and waits until the broker has it"
    } else {
        ", also later, if the broker cannot be reached"
    };
    format!("sends a message to {} on the local broker{done}", value(&message.topic.source()))
}

fn approval(asked: &Approval) -> String {
    let anybody = "whoever may cancel a run".to_owned();
    let who = if asked.roles.is_empty() { anybody } else { listed(&asked.roles) };
    let remind = asked.remind_ms;
    let remind =
        remind.map_or_else(String::new, |ms| format!(", reminding every {}", show_duration(ms)));
    let prompt = value(&asked.prompt.source());
    format!("asks {who}: {prompt} ({}){remind}", asked.choices.join(" or "))
}

/// The case of a switch as the beginning of a sentence.
pub(super) fn case(step: &Step, case: Option<u16>) -> String {
    let StepKind::Switch { cases, .. } = &step.kind else { return String::new() };
    match case.and_then(|n| cases.get(usize::from(n))).map(|case| &case.test) {
        Some(CaseTest::Is(template)) => format!("If it is {}", value(&template.source())),
        Some(CaseTest::When(expr)) => format!("If {}", code(expr.source())),
        None => "In any other case".to_owned(),
    }
}

/// A `catch` as the beginning of a sentence.
fn catch(catch: &Catch) -> String {
    let which = if catch.errors.is_empty() {
        "If that fails".to_owned()
    } else {
        format!("If that fails with {}", catch.errors.join(" or "))
    };
    match &catch.when {
        Some(expr) => format!("{which}, and {}", code(expr.source())),
        None => which,
    }
}

/// A part of a step as the beginning of a sentence, and what a failure in it means, given what that
/// means for the step as a whole.
pub(super) fn part(step: &Step, part: Part<'_>, own: &str) -> (String, String) {
    let (what, fails) = match part {
        Part::Then => ("If so:".to_owned(), own),
        Part::Else => ("If not:".to_owned(), own),
        Part::Case(n, _) => (format!("{}:", case(step, u16::try_from(n).ok())), own),
        Part::Default => ("In any other case:".to_owned(), own),
        Part::Branch(_, name) => return (branch(step, name), branch_fails(step)),
        Part::Loop => ("Each time:".to_owned(), own),
        Part::Foreach(_) => ("For each:".to_owned(), "that iteration has failed"),
        Part::Try => ("It tries this:".to_owned(), tried_fails(step, own)),
        Part::Catch(_, one) => (format!("{}:", catch(one)), own),
        Part::Finally => (finally(step), "its error counts where there was none before"),
        Part::Sequence => ("In it:".to_owned(), own),
        Part::Compensate => (
            "To undo it, should that be needed once it has succeeded:".to_owned(),
            "what is left undone is told with the error",
        ),
    };
    (what, fails.to_owned())
}

fn branch(step: &Step, name: &str) -> String {
    let is_named = matches!(&step.kind, StepKind::Parallel { named: true, .. });
    if is_named { format!("`{name}`:") } else { "One branch:".to_owned() }
}

/// What a failure of what a `try` tries means.
fn tried_fails<'a>(step: &Step, own: &'a str) -> &'a str {
    let is_caught = matches!(&step.kind, StepKind::Try { catches, .. } if !catches.is_empty());
    if is_caught { "what follows an error, below, decides" } else { own }
}

fn finally(step: &Step) -> String {
    let StepKind::Try { finally_timeout_ms, .. } = &step.kind else { return String::new() };
    format!(
        "In any case, also when it is cancelled, for at most {}:",
        show_duration(*finally_timeout_ms)
    )
}

/// What the failure of a branch means.
fn branch_fails(step: &Step) -> String {
    let StepKind::Parallel { mode, .. } = &step.kind else { return String::new() };
    match mode {
        ParallelMode::FailFast => {
            format!("the other branches are cancelled, and `{}` fails", step.id)
        }
        ParallelMode::WaitAll => format!("`{}` fails once all branches have ended", step.id),
        ParallelMode::Race => format!("the others go on; `{}` fails if all do", step.id),
        ParallelMode::Need(n) => {
            format!("the others go on; `{}` fails if fewer than {n} succeed", step.id)
        }
    }
}

fn range_words(range: &str) -> &str {
    if range == "*" { "any version" } else { range }
}

/// What is handed over, where that is something.
fn with(template: &Template) -> String {
    let source = template.source();
    let Some(map) = source.as_object() else { return format!(" with {}", value(&source)) };
    let given: Vec<String> =
        map.iter().map(|(key, json)| format!("{key} {}", value(json))).collect();
    if given.is_empty() { String::new() } else { format!(" with {}", excerpt_list(&given)) }
}

fn excerpt_list(items: &[String]) -> String {
    const SHOWN: usize = 6;
    if items.len() <= SHOWN {
        return listed(items);
    }
    format!("{} and {} more", items[..SHOWN].join(", "), items.len() - SHOWN)
}

fn delay(delay: &Delay) -> String {
    let length = match &delay.length {
        DelayFor::Fixed(ms) => format!("waits {}", show_duration(*ms)),
        DelayFor::Computed(expr) => format!("waits as long as {} says", code(expr.source())),
        DelayFor::Until { at, synced } => {
            let clock = if *synced { ", by a clock that is known to be right" } else { "" };
            return format!("waits until {}{clock}", code(at.source()));
        }
    };
    let off = match delay.count_downtime {
        CountDowntime::Auto => "time without power counts where it can be proved",
        CountDowntime::Always => "time without power counts",
        CountDowntime::Never => "time without power does not count",
    };
    format!("{length} ({off})")
}

fn parallel(mode: ParallelMode, branches: usize, concurrency: Option<u16>) -> String {
    let at_once = match concurrency {
        Some(n) if usize::from(n) < branches => format!("{n} at a time"),
        _ => "at the same time".to_owned(),
    };
    let until = match mode {
        ParallelMode::FailFast => "until all have succeeded or one has failed",
        ParallelMode::WaitAll => "until all have ended",
        ParallelMode::Race => "until one has succeeded; the others are cancelled then",
        ParallelMode::Need(n) => {
            return format!(
                "runs {branches} branches {at_once}, until {n} have succeeded; the others are \
                 cancelled then"
            );
        }
    };
    format!("runs {branches} branches {at_once}, {until}")
}

fn repeat(test: &LoopTest, most: u32, every_ms: Option<u64>) -> String {
    let test = match test {
        LoopTest::While(expr) => format!("as long as {}, up to {most} times", code(expr.source())),
        LoopTest::Until(expr) => format!("until {}, up to {most} times", code(expr.source())),
        LoopTest::Times(expr) if expr.source().parse::<u32>().is_ok() => {
            format!("{} times", expr.source())
        }
        LoopTest::Times(expr) => format!("{} times, up to {most}", code(expr.source())),
    };
    let beat =
        every_ms.map_or_else(String::new, |ms| format!(", beginning every {}", show_duration(ms)));
    format!("repeats something {test}{beat}")
}

fn foreach(each: &Foreach) -> String {
    let at_once = match each.concurrency {
        1 => "one after the other".to_owned(),
        n => format!("{n} at a time"),
    };
    let fails = match each.tolerate {
        Tolerate::Count(0) => "none may fail".to_owned(),
        Tolerate::Count(n) => format!("{n} may fail"),
        Tolerate::Percent(n) => format!("{n} % of them may fail"),
    };
    let list = code(each.list.source());
    format!("goes through {list}, {at_once}, each as `{}`; {fails}", each.item)
}

fn wait(wait: &Wait) -> String {
    let what = match &wait.source {
        WaitSource::Mqtt { topic, .. } => {
            format!("a message on {} of the local broker", value(&topic.source()))
        }
        WaitSource::Event { name } => format!("the event {}", value(&name.source())),
        WaitSource::Signal { name } => format!("the signal {}", value(&name.source())),
        WaitSource::Until { expr, poll_ms } => {
            return format!(
                "waits until {}, asking every {} and when something happens in the run",
                code(expr.source()),
                show_duration(*poll_ms)
            );
        }
    };
    let count = if wait.count > 1 { format!(" {} times", wait.count) } else { String::new() };
    let when = wait.when.as_ref();
    let when = when.map_or_else(String::new, |expr| format!(" for which {}", code(expr.source())));
    format!("waits{count} for {what}{when}")
}
