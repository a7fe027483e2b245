//! Gives the lines that were added to a file since the last call. Where the reading stopped is
//! remembered for the workflow, in one piece with what was given out: no line is lost or comes
//! twice, whatever crashes. That the file was rotated or cut is noticed.

mod lines;

use openclaw_plugin_sdk::files::{self, FileStat};
use openclaw_plugin_sdk::{Error, Result, export, kv};
use serde::{Deserialize, Serialize};

use crate::lines::{Bounds, Cut, cut};

/// The file, and how much of it is wanted at most.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    #[serde(default = "dir")]
    dir: String,
    path: String,
    /// Where the file goes when it is rotated.
    #[serde(default)]
    rotated: Option<String>,
    /// Where the first call begins: at the end, or at the start.
    #[serde(default)]
    from: From,
    #[serde(default = "max_lines")]
    max_lines: usize,
    #[serde(default = "max_bytes")]
    max_bytes: u32,
}

/// Where the first call begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    End,
    Start,
}

/// New lines.
#[derive(Debug, Serialize)]
pub struct Output {
    lines: Vec<String>,
    /// Whether there is more that this call did not take.
    more: bool,
    /// Another file has come in its place.
    rotated: bool,
    /// The file is shorter than it was and is read from its start.
    truncated: bool,
    /// Bytes of the rotated file that could not be read any more, if that is known.
    lost: bool,
    offset: u64,
}

/// Where the reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    offset: u64,
    inode: u64,
}

export!(execute, tail);

/// Gives new lines.
///
/// # Errors
/// `user.not_found` where there is no such file; `permission.denied`; `inputs.invalid`; `user.state`.
pub fn tail(input: Input) -> Result<Output> {
    if !(1..=10_000).contains(&input.max_lines) || !(1..=262_144).contains(&input.max_bytes) {
        let message = "`max_lines` is 1 to 10000, and `max_bytes` 1 to 262144";
        return Err(Error::new("inputs.invalid", message));
    }
    let key = format!("{}:{}", input.dir, input.path);
    let stat = files::stat(&input.dir, &input.path)?;
    let before: Option<Place> = kv::WORKFLOW.json(&key)?;
    let start =
        Place { offset: if input.from == From::End { stat.size } else { 0 }, inode: stat.inode };
    let mut reader = Reader {
        input: &input,
        bounds: Bounds { lines: input.max_lines, bytes: input.max_bytes as usize },
        lines: Vec::new(),
    };
    let (place, seen) = reader.run(before.unwrap_or(start), &stat)?;
    if before != Some(place) {
        kv::WORKFLOW.set_json(&key, &place)?;
    }
    let Seen { more, rotated, truncated, lost } = seen;
    Ok(Output { lines: reader.lines, more, rotated, truncated, lost, offset: place.offset })
}

/// What was noticed.
#[derive(Debug, Default)]
struct Seen {
    more: bool,
    rotated: bool,
    truncated: bool,
    lost: bool,
}

struct Reader<'i> {
    input: &'i Input,
    /// What may still be taken.
    bounds: Bounds,
    lines: Vec<String>,
}

impl Reader<'_> {
    fn run(&mut self, mut place: Place, stat: &FileStat) -> Result<(Place, Seen)> {
        let mut seen = Seen::default();
        if place.inode != stat.inode {
            seen.rotated = true;
            // What was added before the rotation is in the file that went.
            let (rest, more) = self.rest(&place)?;
            if more {
                seen.more = true;
                return Ok((rest.unwrap_or(place), seen));
            }
            seen.lost = rest.is_none();
            place = Place { offset: 0, inode: stat.inode };
        } else if stat.size < place.offset {
            seen.truncated = true;
            place.offset = 0;
        }
        let taken = self.take(&self.input.path.clone(), place.offset, false)?;
        place.offset += taken.bytes as u64;
        seen.more = taken.more;
        Ok((place, seen))
    }

    /// Reads the file that was rotated to its end. `None` where it is not to be had any more.
    fn rest(&mut self, place: &Place) -> Result<(Option<Place>, bool)> {
        let Some(path) = self.input.rotated.clone() else { return Ok((None, false)) };
        match files::stat(&self.input.dir, &path) {
            Ok(stat) if stat.inode == place.inode => {
                let taken = self.take(&path, place.offset, true)?;
                let offset = place.offset + taken.bytes as u64;
                Ok((Some(Place { offset, ..*place }), taken.more))
            }
            Ok(_) => Ok((None, false)),
            Err(error) if error.is_not_found() => Ok((None, false)),
            Err(error) => Err(error),
        }
    }

    /// Takes lines from a place on. A file that `ended` has no line that is not complete.
    fn take(&mut self, path: &str, offset: u64, ended: bool) -> Result<Cut> {
        let max = self.bounds.bytes as u32;
        let bytes = files::read_at(&self.input.dir, path, offset, max)?;
        let taken = cut(&bytes, self.bounds, ended, &mut self.lines);
        self.bounds.lines -= taken.lines.min(self.bounds.lines);
        self.bounds.bytes -= taken.bytes.min(self.bounds.bytes);
        Ok(taken)
    }
}

fn dir() -> String {
    "logs".to_owned()
}

const fn max_lines() -> usize {
    500
}

const fn max_bytes() -> u32 {
    65_536
}
