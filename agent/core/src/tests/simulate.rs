//! The engine in random lives, against the naive reading of the same workflows.
//!
//! A life is a device with runs of random workflows: workers answer in any order, twice and late;
//! the process dies with what was not committed, also between commit and act; the power goes; the
//! wall clock jumps and is trusted more or less. Whatever happens, runs must come to what
//! [`reference`](super::reference) says: how each ended, with which outputs; which step instances
//! settled, how, after how many attempts and in which order where there is one; which calls were
//! made, with which input and with one key for each step instance.
//!
//! Everything follows from a number. One that fails is told with its workflow and what happened;
//! `OPENCLAW_SIMULATE=NUMBER make simulate` lives it again, `make simulate` 10,000 of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use openclaw_protocol::definition::Effects;
use openclaw_protocol::id::{RequestId, RunId};
use openclaw_protocol::json::JsonText;
use openclaw_protocol::run::{RunEvent, RunStatus};
use openclaw_protocol::time::ClockTrust;
use serde_json::{Value as Json, json};

use super::reference::{Answer, Called, Ended, Fault, Mistake, Reading, read, word};
use super::world::World;
use crate::{AttemptId, AttemptOutcome, Decision, Effect, Input, PluginTask, StartRequest};

mod make;

use make::{Draw, mix, workflows};

/// A run that comes to more than so many step instances is drawn again.
const STEPS_MOST: usize = 400;
/// In one boot; the third death is taken for the plugin's fault.
const DEATHS_MOST: u32 = 2;
/// The tenth is taken for the machine's.
const CUTS_MOST: u32 = 8;
/// Happenings after which all goes well.
const ROUGH: usize = 150;
const DAY_MS: u64 = 86_400_000;

/// What plugins say: the same, whenever they are asked the same.
fn behaviour(path: &str, attempt: u32, action: &str, input: &str) -> Answer {
    let text = format!("{path} {attempt} {input}");
    let hash = text.bytes().fold(7, |hash, byte| mix(hash ^ u64::from(byte)));
    if action == "execute" && hash % 10 < 4 {
        let codes = ["user.a", "user.b", "plugin.error", "http.status"];
        let code = codes[usize::try_from(hash / 16 % 4).unwrap()];
        return Err(Fault { code: code.to_owned(), retryable: hash / 64 % 4 > 0 });
    }
    Ok(json!({"x": hash / 256 % 50, "t": "told"}))
}

/// What has been seen in all lives.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    workflows: usize,
    drawn_again: usize,
    runs: usize,
    failed: usize,
    steps: usize,
    attempts_more: usize,
    calls: usize,
    answers_late: usize,
    kills: usize,
    stops: usize,
    cuts: usize,
    jumps: usize,
    happenings: usize,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.workflows += other.workflows;
        self.drawn_again += other.drawn_again;
        self.runs += other.runs;
        self.failed += other.failed;
        self.steps += other.steps;
        self.attempts_more += other.attempts_more;
        self.calls += other.calls;
        self.answers_late += other.answers_late;
        self.kills += other.kills;
        self.stops += other.stops;
        self.cuts += other.cuts;
        self.jumps += other.jumps;
        self.happenings += other.happenings;
    }
}

/// A device, and what happens to it.
struct Life {
    draw: Draw,
    world: World,
    /// Decided; neither committed nor acted on.
    pending: Vec<Decision>,
    /// Every call that was made.
    made: Vec<PluginTask>,
    /// Answered since the agent last came up.
    answered: Vec<AttemptId>,
    /// Those whose answer is not on the disk for certain and that must not be repeated.
    delicate: Vec<AttemptId>,
    deaths: u32,
    cuts: u32,
    story: String,
    figures: Figures,
}

/// The life of a number: what it was like, or how it differs from what it should be.
fn live(number: u64, mistake: Option<Mistake>) -> Result<Figures, String> {
    let mut draw = Draw(mix(number ^ 0x6f63_6c61_7721));
    let mut drawn_again = 0;
    let (texts, world, starts, readings) = loop {
        let texts = workflows(&mut draw);
        let slots = *draw.pick(&[1, 2, 4, 64]);
        let world = World::with(&[&texts[0], &texts[1], &texts[2]], slots);
        let starts: Vec<Json> = (0..=draw.below(3)).map(|_| json!({"k": draw.below(40)})).collect();
        let readings: Vec<Reading> = starts
            .iter()
            .map(|inputs| read(&world.workflows, &world.workflows[0], inputs, behaviour, mistake))
            .collect();
        let fine = |reading: &Reading| reading.vague.is_none() && size(reading) <= STEPS_MOST;
        if readings.iter().all(fine) {
            break (texts, world, starts, readings);
        }
        drawn_again += 1;
    };
    let mut life = Life {
        draw,
        world,
        pending: Vec::new(),
        made: Vec::new(),
        answered: Vec::new(),
        delicate: Vec::new(),
        deaths: 0,
        cuts: 0,
        story: String::new(),
        figures: Figures { workflows: 1, drawn_again, ..Figures::default() },
    };
    let result = life.go_on(&starts).and_then(|()| life.compare(&starts, readings));
    result.map(|()| life.figures).map_err(|difference| {
        format!(
            "the life of {number} is not as it should be\n\
             workflows:\n{}\n{}\n{}\nstarted with: {starts:?}\nwhat happened:\n{}\n\
             difference: {difference}\n\
             again: OPENCLAW_SIMULATE={number} make simulate\n",
            texts[0], texts[1], texts[2], life.story
        )
    })
}

fn size(reading: &Reading) -> usize {
    reading.ended.len() + reading.children.iter().map(|(_, _, child)| size(child)).sum::<usize>()
}

impl Life {
    /// Starts the runs and lets things happen until all have ended.
    fn go_on(&mut self, starts: &[Json]) -> Result<(), String> {
        let mut waiting: Vec<(usize, &Json)> = starts.iter().enumerate().rev().collect();
        for happening in 0..20_000 {
            let answered = |at: usize| self.world.disk.wishes.iter().any(|(id, _)| *id == wish(at));
            // A start that was lost with the agent is wished for again.
            let lost = |at: &usize| {
                !answered(*at) && self.pending.is_empty() && waiting.iter().all(|(n, _)| n != at)
            };
            let lost: Vec<usize> = (0..starts.len()).filter(lost).collect();
            waiting.extend(lost.into_iter().map(|at| (at, &starts[at])));
            if self.world.engine.runs.is_empty() && self.pending.is_empty() && waiting.is_empty() {
                self.world.sync();
                return Ok(());
            }
            self.figures.happenings += 1;
            let rough = happening < ROUGH;
            if let Some((at, inputs)) = waiting.pop_if(|_| self.draw.one_in(3)) {
                self.start(at, inputs);
            } else if rough && self.draw.one_in(12) {
                self.disturb();
            } else if rough && self.draw.one_in(8) {
                self.jump();
            } else {
                self.proceed(waiting.is_empty())?;
            }
        }
        Err("it does not end".to_owned())
    }

    fn start(&mut self, at: usize, inputs: &Json) {
        self.tell(&format!("start with {inputs}"));
        let workflow = self.world.workflows[0].name.clone();
        let inputs = JsonText::of(inputs);
        let request = Some(wish(at));
        self.feed(Input::Start(StartRequest {
            workflow,
            inputs,
            priority: None,
            request,
            again: None,
        }));
    }

    /// An ordinary thing.
    fn proceed(&mut self, nothing_else: bool) -> Result<(), String> {
        if !self.pending.is_empty() && self.draw.below(3) > 0 {
            self.flush();
            return Ok(());
        }
        let calls = self.world.calls.len();
        if calls > 0 && self.draw.below(4) > 0 {
            let at = self.draw.below(calls);
            let task = self.world.calls.remove(at);
            self.answer(&task);
            return Ok(());
        }
        if !self.answered.is_empty() && self.draw.one_in(4) {
            self.answer_again();
            return Ok(());
        }
        let due = self.world.engine.next_deadline().map(|(due, _)| due);
        let now = self.world.now.boot_ms;
        let wait = due.unwrap_or(u64::MAX).saturating_sub(now);
        if wait < 300 * DAY_MS {
            // Sometimes not all of it.
            let part = if self.draw.one_in(4) { wait / 2 } else { wait };
            let late = if self.draw.one_in(4) { self.draw.below(2_000) as u64 } else { 0 };
            self.pass(part + late);
        } else if calls == 0 && self.pending.is_empty() && nothing_else {
            return Err("it waits for nothing".to_owned());
        }
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        self.tell(&format!("{ms} ms pass"));
        self.world.now.boot_ms += ms;
        self.world.now.wall_ms += i64::try_from(ms).unwrap();
        self.feed(Input::Tick);
    }

    fn answer(&mut self, task: &PluginTask) {
        let AttemptId { step, attempt, .. } = &task.attempt;
        let answer = behaviour(&step.0, *attempt, &task.export, task.input.as_str());
        self.tell(&format!("answer {} {step}({attempt}) {answer:?}", task.attempt.run));
        if task.effects == Effects::AtMostOnce {
            self.delicate.push(task.attempt.clone());
        }
        self.answered.push(task.attempt.clone());
        let outcome = match answer {
            Ok(output) => AttemptOutcome::Succeeded { output: JsonText::of(&output), vars: None },
            Err(Fault { code, retryable }) => {
                let error = openclaw_protocol::run::RunError {
                    retryable,
                    ..openclaw_protocol::run::RunError::new(code, "no")
                };
                AttemptOutcome::Failed { error }
            }
        };
        self.feed(Input::Settled { attempt: task.attempt.clone(), outcome });
    }

    /// What was answered is answered again, otherwise; and what has not begun.
    fn answer_again(&mut self) {
        self.figures.answers_late += 1;
        let mut attempt = self.draw.pick(&self.answered).clone();
        if self.draw.one_in(4) {
            attempt.attempt += 1 + u32::try_from(self.draw.below(3)).unwrap();
            let begun = |task: &PluginTask| task.attempt == attempt;
            if self.world.calls.iter().any(begun) {
                return;
            }
        }
        let outcome = if self.draw.one_in(2) {
            AttemptOutcome::Succeeded { output: JsonText::parse("{\"x\":-9}").unwrap(), vars: None }
        } else {
            AttemptOutcome::Failed { error: super::world::error("user.late") }
        };
        self.tell(&format!("again {} {}({})", attempt.run, attempt.step, attempt.attempt));
        self.feed(Input::Settled { attempt, outcome });
    }

    /// The wall clock jumps, or is trusted more or less than before.
    fn jump(&mut self) {
        self.figures.jumps += 1;
        let range = *self.draw.pick(&[5_000, 3_600_000, 40 * 86_400_000]);
        let by = i64::try_from(self.draw.below(2 * range)).unwrap() - i64::try_from(range).unwrap();
        self.world.now.wall_ms += by;
        let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
        self.world.now.trust = *self.draw.pick(&trusts);
        self.tell(&format!("the clock jumps by {by} ms, {:?}", self.world.now.trust));
        if self.draw.one_in(2) {
            self.feed(Input::Tick);
        }
    }

    /// The agent goes down, in one way or another, and comes back.
    fn disturb(&mut self) {
        let delicate = self.world.calls.iter().any(|task| task.effects == Effects::AtMostOnce);
        if delicate || !self.delicate.is_empty() {
            return;
        }
        let kind = self.draw.below(4);
        if kind == 0 {
            self.flush();
            if self.world.calls.iter().any(|task| task.effects == Effects::AtMostOnce) {
                return;
            }
            self.tell("stop and start");
            self.figures.stops += 1;
            self.forget();
            self.world.restart(false);
        } else if kind < 3 && self.deaths < DEATHS_MOST {
            self.crash("killed");
            self.deaths += 1;
            self.figures.kills += 1;
            self.world.restart(true);
        } else if self.cuts < CUTS_MOST {
            self.crash("power cut");
            self.cuts += 1;
            self.deaths = 0;
            self.figures.cuts += 1;
            let down = u64::try_from(self.draw.below(200_000)).unwrap();
            if self.draw.one_in(3) {
                let trusts = [ClockTrust::Unset, ClockTrust::Estimated, ClockTrust::Synced];
                self.world.now.trust = *self.draw.pick(&trusts);
            }
            self.world.reboot(down);
        } else {
            return;
        }
        self.made.extend(self.world.calls.iter().cloned());
    }

    /// What had been decided is lost, or has just been committed and not been acted on.
    fn crash(&mut self, how: &str) {
        let most_once = |decision: &Decision| {
            decision.effects.iter().any(|effect| {
                matches!(effect, Effect::Call(task) if task.effects == Effects::AtMostOnce)
            })
        };
        let committed = self.draw.one_in(2) && !self.pending.iter().any(most_once);
        let count = self.pending.len();
        if committed {
            for decision in std::mem::take(&mut self.pending) {
                self.world.perform(decision);
            }
        }
        let fate = if committed { "committed" } else { "lost" };
        self.tell(&format!("{how}; {count} decisions {fate}"));
        self.forget();
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.answered.clear();
        self.delicate.clear();
    }

    /// The engine hears of something. What it decides waits for the next commit, or for nothing.
    fn feed(&mut self, input: Input) {
        let decision = self.world.engine.step(input, self.world.now);
        if self.pending.is_empty() && !decision.needs_commit {
            self.act(decision);
            return;
        }
        self.pending.push(decision);
        if self.draw.below(3) > 0 {
            self.flush();
        }
    }

    /// One commit for all that waits; then it is acted on.
    fn flush(&mut self) {
        for decision in std::mem::take(&mut self.pending) {
            self.act(decision);
        }
        self.delicate.clear();
    }

    fn act(&mut self, decision: Decision) {
        for effect in &decision.effects {
            if let Effect::Call(task) = effect {
                self.made.push(task.clone());
            }
        }
        self.world.perform(decision);
    }

    fn tell(&mut self, what: &str) {
        let _ = writeln!(self.story, "  {what}");
    }
}

/// The name of the n-th wish to start.
fn wish(at: usize) -> RequestId {
    RequestId::parse(&format!("wish-{at}")).unwrap()
}

/// A run as the engine told of it.
#[derive(Debug, Default)]
struct Told {
    workflow: String,
    inputs: Json,
    status: Option<RunStatus>,
    outputs: Json,
    error: Option<String>,
    ended: Vec<Ended>,
    logs: Vec<(String, String)>,
}

impl Life {
    fn compare(&mut self, starts: &[Json], readings: Vec<Reading>) -> Result<(), String> {
        let mut expected: BTreeMap<(String, String), (usize, Reading)> = BTreeMap::new();
        let mut stack: Vec<(String, Json, Reading)> = Vec::new();
        for (inputs, reading) in starts.iter().zip(readings) {
            stack.push(("w".to_owned(), inputs.clone(), reading));
        }
        while let Some((workflow, inputs, reading)) = stack.pop() {
            stack.extend(reading.children.iter().cloned());
            let known = expected.entry((workflow, inputs.to_string())).or_insert((0, reading));
            known.0 += 1;
        }
        let told = self.told();
        for (run, told) in &told {
            let key = (told.workflow.clone(), told.inputs.to_string());
            let Some((left, reading)) = expected.get_mut(&key) else {
                return Err(format!("{run}: nobody should run {key:?}"));
            };
            if *left == 0 {
                return Err(format!("{run}: {key:?} runs more often than it should"));
            }
            *left -= 1;
            agree(told, reading).map_err(|difference| format!("{run} of {key:?}: {difference}"))?;
            self.agree_on_calls(run, reading)
                .map_err(|what| format!("{run} of {key:?}: {what}"))?;
            self.figures.runs += 1;
            self.figures.failed += usize::from(told.status == Some(RunStatus::Failed));
            self.figures.steps += told.ended.len();
            let more = told.ended.iter().map(|ended| ended.attempts.saturating_sub(1) as usize);
            self.figures.attempts_more += more.sum::<usize>();
        }
        if let Some((key, (left, _))) = expected.iter().find(|(_, (left, _))| *left > 0) {
            return Err(format!("{left} runs of {key:?} are missing"));
        }
        self.figures.calls += self.made.len();
        self.agree_on_keys()
    }

    fn told(&self) -> BTreeMap<RunId, Told> {
        let mut all: BTreeMap<RunId, Told> = BTreeMap::new();
        for record in self.world.events() {
            let told = all.entry(record.run).or_default();
            match record.event {
                RunEvent::Accepted { workflow, inputs, .. } => {
                    told.workflow = workflow.as_str().to_owned();
                    told.inputs = inputs.value();
                }
                RunEvent::StepSettled { step, status, attempts, output, error } => {
                    told.ended.push(Ended {
                        path: step.0,
                        status: word(status),
                        attempts,
                        output: output.map(|output| output.value().to_string()),
                        error: error.map(|error| error.code),
                    });
                }
                RunEvent::Logged { step, message, .. } => told.logs.push((step.0, message)),
                RunEvent::Settled { status, outputs, error } => {
                    told.status = Some(status);
                    told.outputs = outputs.value();
                    told.error = error.map(|error| error.code);
                }
                RunEvent::Began
                | RunEvent::StepQueued { .. }
                | RunEvent::StepStarted { .. }
                | RunEvent::StepDelayed { .. }
                | RunEvent::StepWaiting { .. }
                | RunEvent::Compensated { .. }
                | RunEvent::CancelRequested { .. }
                | RunEvent::Resumed { .. } => {}
            }
        }
        all
    }

    /// Each call once at least, more often only after the agent went down, and none besides.
    fn agree_on_calls(&self, run: &RunId, reading: &Reading) -> Result<(), String> {
        let mut made: BTreeMap<Called, u64> = BTreeMap::new();
        for task in self.made.iter().filter(|task| task.attempt.run == *run) {
            let input = task.input.value().to_string();
            let path = task.attempt.step.0.clone();
            *made.entry(Called { path, attempt: task.attempt.attempt, input }).or_default() += 1;
        }
        let most = 1 + self.figures.kills + self.figures.cuts + self.figures.stops;
        if let Some((call, times)) = made.iter().find(|(_, times)| **times > most as u64) {
            return Err(format!("{call:?} was made {times} times"));
        }
        let made: BTreeSet<&Called> = made.keys().collect();
        let expected: BTreeSet<&Called> = reading.calls.iter().collect();
        if made == expected {
            return Ok(());
        }
        let missing: Vec<_> = expected.difference(&made).collect();
        let wrong: Vec<_> = made.difference(&expected).collect();
        Err(format!("calls missing: {missing:?}; not expected: {wrong:?}"))
    }

    /// One key for each step instance, and no key for two; nothing twice that must not be.
    fn agree_on_keys(&self) -> Result<(), String> {
        let mut keys = BTreeMap::new();
        let mut instances = BTreeMap::new();
        let mut once = BTreeSet::new();
        for task in &self.made {
            let instance = (&task.attempt.run, &task.attempt.step);
            let key = &task.idempotency_key;
            if *keys.entry(key).or_insert(instance) != instance
                || *instances.entry(instance).or_insert(key) != key
            {
                return Err(format!("the key of {} is not its own", task.attempt.step));
            }
            if task.effects == Effects::AtMostOnce && !once.insert(&task.attempt) {
                return Err(format!("{} was called twice", task.attempt.step));
            }
        }
        Ok(())
    }
}

fn agree(told: &Told, reading: &Reading) -> Result<(), String> {
    let mut ended: Vec<&Ended> = told.ended.iter().collect();
    let mut expected: Vec<&Ended> = reading.ended.iter().collect();
    ended.sort();
    expected.sort();
    if ended != expected {
        let only = |these: &[&Ended], others: &[&Ended]| -> String {
            let only = these.iter().filter(|one| !others.contains(one));
            only.map(|one| format!("\n  {one}")).collect()
        };
        let (missing, wrong) = (only(&expected, &ended), only(&ended, &expected));
        return Err(format!("steps ended as{wrong}\nnot as{missing}"));
    }
    if (told.status, &told.error) != (Some(reading.status), &reading.error) {
        let (status, error) = (reading.status, &reading.error);
        return Err(format!("{:?} {:?}, not {status:?} {error:?}", told.status, told.error));
    }
    if told.outputs != reading.outputs {
        return Err(format!("outputs {}, not {}", told.outputs, reading.outputs));
    }
    let (mut logs, mut expected) = (told.logs.clone(), reading.logs.clone());
    logs.sort();
    expected.sort();
    if logs != expected {
        return Err(format!("said {logs:?}, not {expected:?}"));
    }
    agree_on_order(told, reading)
}

fn agree_on_order(told: &Told, reading: &Reading) -> Result<(), String> {
    let places: BTreeMap<&str, usize> =
        told.ended.iter().enumerate().map(|(at, ended)| (ended.path.as_str(), at)).collect();
    let place = |at: usize| places[reading.ended[at].path.as_str()];
    for (first, second) in &reading.before {
        let latest = first.clone().max_by_key(|at| place(*at));
        let earliest = second.clone().min_by_key(|at| place(*at));
        if let (Some(latest), Some(earliest)) = (latest, earliest)
            && place(latest) > place(earliest)
        {
            let (latest, earliest) = (&reading.ended[latest].path, &reading.ended[earliest].path);
            return Err(format!("{latest} must end before {earliest}"));
        }
    }
    Ok(())
}

/// Lives all these numbers on all processors; what was seen, and the lives that went wrong.
fn live_all(numbers: std::ops::Range<u64>) -> (Figures, Vec<(u64, String)>) {
    let next = std::sync::atomic::AtomicU64::new(numbers.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut figures = Figures::default();
        let mut wrong = Vec::new();
        loop {
            let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if number >= numbers.end {
                return (figures, wrong);
            }
            let life = std::panic::catch_unwind(|| live(number, None));
            match life {
                Ok(Ok(seen)) => figures.add(&seen),
                Ok(Err(difference)) => wrong.push((number, difference)),
                Err(_) => wrong.push((number, format!("the life of {number} panicked"))),
            }
        }
    };
    let mut all = (Figures::default(), Vec::new());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (figures, wrong) = worker.join().unwrap();
            all.0.add(&figures);
            all.1.extend(wrong);
        }
    });
    all
}

/// Lives them and tells what was seen; the smallest life that went wrong is told in full.
fn check(numbers: std::ops::Range<u64>) {
    let start = std::time::Instant::now();
    let (figures, wrong) = live_all(numbers);
    println!("{:.1} s: {figures:?}", start.elapsed().as_secs_f64());
    let seeds: Vec<u64> = wrong.iter().map(|(number, _)| *number).collect();
    let smallest = wrong.into_iter().min_by_key(|(_, told)| told.len());
    if let Some((_, told)) = smallest {
        panic!("{} lives went wrong: {seeds:?}; the smallest:\n{told}", seeds.len());
    }
}

#[test]
fn lives_are_as_the_reference_says() {
    check(0..1_000);
}

/// What `make simulate` runs: 10,000 lives, or those of `OPENCLAW_SIMULATE`, a number or `FROM..TO`.
#[test]
#[ignore = "long: `make simulate`"]
fn ten_thousand_lives() {
    let Ok(wanted) = std::env::var("OPENCLAW_SIMULATE") else { return check(0..10_000) };
    let number = |text: &str| text.parse::<u64>().expect("the number of a life");
    check(match wanted.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&wanted)..number(&wanted) + 1,
    });
}

/// The comparison can fail: a reading with a mistake differs from the engine soon.
#[test]
fn mistakes_are_noticed() {
    for mistake in [
        Mistake::BypassedIsDead,
        Mistake::JoinAllIsEvery,
        Mistake::OneRetryMore,
        Mistake::FirstPolicy,
        Mistake::BranchesShare,
        Mistake::ExportsAreLost,
        Mistake::FinallyOnlyIfWell,
        Mistake::UndoneForwards,
        Mistake::UntilFirst,
        Mistake::SetInTurn,
    ] {
        let noticed = (0..500).find(|number| live(*number, Some(mistake)).is_err());
        println!("{mistake:?}: noticed in life {noticed:?}");
        assert!(noticed.is_some(), "{mistake:?} is not noticed");
    }
}
