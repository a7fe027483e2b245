//! `openclaw replay`: a recorded run at the desk.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;

use openclaw_agent_core::replay::{Recording, Replay};
use openclaw_protocol::id::Digest;

use crate::args::{Global, ReplayArgs};
use crate::client::{Client, path};
use crate::exit::{FAILED, Failure, INVALID};
use crate::output::{Format, print, printable};
use crate::replay::plugins::{self, PlayedCall, Taped};
use crate::replay::{self, FILE_BYTES, Inside, event_line, fact_line};

/// `openclaw replay …`.
pub(crate) async fn run(global: &Global, args: &ReplayArgs) -> Result<(), Failure> {
    let recording = read(&args.file)?;
    let unfit = |why: String| Failure::new(INVALID, format!("{}: {why}", args.file.display()));
    let replay = recording.replay().map_err(|error| unfit(error.to_string()))?;
    let taped = plugins::taped(&recording, &replay).map_err(unfit)?;
    let modules = modules(global, args.plugins.as_deref(), &taped).await?;
    let played = plugins::play_all(&taped, &modules)?;
    if global.output == Format::Table {
        show(&recording, &replay, &played, args.step)?;
    } else {
        let summary = replay::summary(&recording, &replay, &played);
        print(global.output, &summary, &[], |_| Vec::new())?;
    }
    if let Some(dir) = &args.save_test {
        if let Some(beginning) = &recording.snapshot {
            let message = format!(
                "this recording begins with a snapshot: the device has let go of what happened in \
                 the first {} facts, so no test can be made of it",
                beginning.facts
            );
            return Err(Failure::new(INVALID, message));
        }
        let inside = Inside { taped: &taped, played: &played, modules: &modules };
        save(&recording, &replay, inside, dir)?;
    }
    judge(&recording, &replay, &played)
}

/// The modules of the plugins that are run again, as far as they are to be had.
async fn modules(
    global: &Global,
    dir: Option<&Path>,
    taped: &[Taped],
) -> Result<BTreeMap<Digest, Vec<u8>>, Failure> {
    let needed = plugins::needed(taped);
    if let Some(dir) = dir {
        let wanted = needed.into_keys().collect();
        return plugins::find(dir, &wanted)
            .map_err(|e| Failure::new(FAILED, format!("cannot read {}: {e}", dir.display())));
    }
    let mut found = BTreeMap::new();
    if needed.is_empty() {
        return Ok(found);
    }
    // What cannot be had is said of each call that needs it.
    let Ok(client) = Client::from_global(global) else { return Ok(found) };
    for (digest, (name, version)) in needed {
        match client.fetch_bytes(&path(&["plugins", &name, &version, "module"])?).await {
            Ok(bytes) => drop(found.insert(digest, bytes)),
            Err(failure) => {
                eprintln!("plugin {name} {version} is not to be had: {}", failure.message);
            }
        }
    }
    Ok(found)
}

/// Whether it was what the device did.
fn judge(recording: &Recording, replay: &Replay, played: &[PlayedCall]) -> Result<(), Failure> {
    if let Some(found) = replay.divergence {
        let after = replay
            .diverging_call()
            .map(|call| format!(", after the end of step {}, attempt {}", call.step, call.attempt));
        let message = format!(
            "the replay differs from what the device did, before fact {}{}",
            found.fact,
            after.unwrap_or_default()
        );
        let hint = format!(
            "recorded by agent {}, replayed by {}: another version of the engine, or a changed file",
            recording.agent,
            env!("CARGO_PKG_VERSION")
        );
        return Err(Failure::new(FAILED, message).hint(hint));
    }
    match played.iter().find_map(|call| call.mismatch.as_ref()) {
        None => Ok(()),
        Some(mismatch) => Err(Failure::new(FAILED, mismatch.clone()).hint(
            "a changed file, another version of the sandbox, or a plugin that does not only depend on \
             what it is told",
        )),
    }
}

fn read(path: &Path) -> Result<Recording, Failure> {
    let unreadable =
        |e: std::io::Error| Failure::new(FAILED, format!("cannot read {}: {e}", path.display()));
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    } else {
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    }
    serde_json::from_str(&text).map_err(|error| {
        Failure::new(INVALID, format!("{} is no recording: {error}", path.display())).hint(
            "make one with `openclaw run export RUN`, or `openclaw-agent export RUN` on the device",
        )
    })
}

/// Tells the run fact by fact; with `step`, a person says when to go on.
fn show(
    recording: &Recording,
    replay: &Replay,
    played: &[PlayedCall],
    step: bool,
) -> Result<(), Failure> {
    let mut events = replay.events.iter().peekable();
    let mut keys = std::io::stdin().lock();
    let asks = step && std::io::stdin().is_terminal();
    let start = recording.facts.first().map(|record| record.at);
    for (place, record) in recording.facts.iter().enumerate() {
        let ms = start.map_or(0, |start| start.elapsed_ms(record.at));
        println!("{place:>5}  +{ms} ms  {}", printable(&fact_line(&record.fact)));
        for call in played.iter().filter(|call| call.ended == place) {
            for line in call.lines.iter().filter(|_| step) {
                println!("       | {}", printable(line));
            }
            let mark = if call.mismatch.is_some() { "!!" } else { "|" };
            println!("      {mark:>2} {}", printable(&call.told));
        }
        while let Some((_, event)) = events.next_if(|(of, _)| *of == place) {
            println!("         {}", printable(&event_line(&event.event)));
        }
        if let Some(beginning) = recording.snapshot.as_ref().filter(|_| place == 0) {
            println!(
                "         .. the device has let go of the {} facts that followed; a snapshot of the \
                 run stands for them",
                beginning.facts.saturating_sub(1)
            );
        }
        if replay.divergence.is_some_and(|found| found.fact == place) {
            println!("         !! from before here on it is not what the device did");
        }
        if asks {
            std::io::stdout().flush()?;
            let mut line = String::new();
            if keys.read_line(&mut line)? == 0 || line.trim() == "q" {
                return Ok(());
            }
        }
    }
    if replay.divergence.is_none() {
        let facts = recording.facts.len();
        let open = if replay.is_settled { "" } else { "; the run had not ended yet" };
        println!("the same as on the device, over {facts} facts{open}");
    }
    Ok(())
}

/// Writes definitions, scenario and modules into a directory.
fn save(
    recording: &Recording,
    replay: &Replay,
    inside: Inside<'_>,
    dir: &Path,
) -> Result<(), Failure> {
    let saved =
        replay::save(recording, replay, inside).map_err(|why| Failure::new(INVALID, why))?;
    let unwritable =
        |e: std::io::Error| Failure::new(FAILED, format!("cannot write to {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(unwritable)?;
    for (name, bytes) in &saved.files {
        std::fs::write(dir.join(name), bytes).map_err(unwritable)?;
    }
    let test = dir.join(&saved.scenario).display().to_string();
    for plugin in &saved.without_module {
        eprintln!(
            "the module of {plugin} is not at hand, so the test takes what it gave; to run it, save \
             with --plugins DIR, or write its file as `module` into the mock"
        );
    }
    eprintln!("wrote {test}; play it with `openclaw workflow test --scenario {test}`");
    Ok(())
}
