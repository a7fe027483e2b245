//! Files that plugins write, in directories that the configuration names for it.
//!
//! A path is taken beneath its directory as for reading, and no symbolic link is followed at all:
//! whoever else may write there cannot lead a write elsewhere. What replaces a file is written beside
//! it, synced, and takes its name in one step, which is synced as well: after a power cut one of the
//! two is there. One write at a time, so that what lies about of a temporary name is from a life
//! before.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::{HostError, WriteMode};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::fs::{fchmod, fstat, fstatvfs, fsync, ftruncate, openat, renameat, renameat_with};
use rustix::fs::{statat, unlinkat};
use rustix::io::Errno;

use super::files::{Links, beneath, failed, is_on_proc};
use crate::limits;

/// What the names of temporary files begin with.
const TEMPORARY: &str = ".openclaw-tmp-";
/// What a new file may be done with, less what the process masks.
const NEW: u32 = 0o644;

/// The logical directories in which files may be written.
#[derive(Debug, Default)]
pub struct Written {
    dirs: VecMap<String, PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Temporary names that were given out.
    temporaries: u64,
    /// Directories without anything from a life before, by device and number.
    clean: Vec<(u64, u64)>,
}

/// A file in a directory that is open.
struct Spot<'a> {
    dir: &'a str,
    path: &'a str,
    parent: OwnedFd,
    leaf: &'a OsStr,
}

impl Written {
    /// Offers these.
    #[must_use]
    pub fn new(dirs: VecMap<String, PathBuf>) -> Self {
        Self { dirs, state: Mutex::default() }
    }

    /// Writes a file; it is on the disk when this returns.
    ///
    /// # Errors
    /// No such directory, a path that leads out, a disk that is full, or a file that is there
    /// although it is to be a new one.
    pub fn write(
        &self,
        dir: &str,
        path: &str,
        bytes: &[u8],
        mode: WriteMode,
    ) -> Result<(), HostError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spot = self.spot(dir, path)?;
        spot.has_room(bytes.len() as u64)?;
        state.clean(&spot.parent).map_err(|e| spot.failed(e))?;
        let done = match mode {
            WriteMode::Append => return spot.append(bytes),
            WriteMode::Replace => spot.put(bytes, &mut state, false),
            WriteMode::Create => spot.put(bytes, &mut state, true),
        };
        done.map_err(|e| spot.failed(e))
    }

    /// Removes a file, or a link but not what it stands for.
    ///
    /// # Errors
    /// As [`Written::write`], and that there is none.
    pub fn remove(&self, dir: &str, path: &str) -> Result<(), HostError> {
        let _one_at_a_time = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let spot = self.spot(dir, path)?;
        let done = unlinkat(&spot.parent, spot.leaf, AtFlags::empty());
        done.and_then(|()| fsync(&spot.parent)).map_err(|e| spot.failed(e))
    }

    fn spot<'a>(&self, dir: &'a str, path: &'a str) -> Result<Spot<'a>, HostError> {
        let Some(root) = self.dirs.get(dir) else {
            return Err(HostError::NotFound(format!(
                "this device has no directory `{dir}` to be written in; add it to [files_write] of \
                 its configuration"
            )));
        };
        let whole = Path::new(path);
        let (Some(leaf), Some(parent)) = (whole.file_name(), whole.parent()) else {
            return Err(HostError::Invalid(format!("{dir}/{path} is not a file")));
        };
        if leaf.as_encoded_bytes().starts_with(TEMPORARY.as_bytes()) {
            let what = format!("{dir}/{path}: names with `{TEMPORARY}` are the agent's own");
            return Err(HostError::Invalid(what));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = beneath(root, dir, parent, flags, Links::Refused)?;
        let spot = Spot { dir, path, parent, leaf };
        // A kernel's switches are no files.
        match is_on_proc(&spot.parent) {
            Ok(false) => Ok(spot),
            Ok(true) => Err(spot.failed(Errno::ACCESS)),
            Err(e) => Err(spot.failed(e)),
        }
    }
}

impl State {
    /// Removes what was left in a directory by a life that ended between two steps, once a life.
    fn clean(&mut self, dir: &OwnedFd) -> rustix::io::Result<()> {
        let Stat { st_dev, st_ino, .. } = fstat(dir)?;
        let known = (st_dev, st_ino);
        if self.clean.contains(&known) {
            return Ok(());
        }
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            if entry.file_name().to_bytes().starts_with(TEMPORARY.as_bytes()) {
                unlinkat(dir, entry.file_name(), AtFlags::empty())?;
            }
        }
        if self.clean.len() >= limits::FILE_DIRS_CLEANED {
            self.clean.remove(0);
        }
        self.clean.push(known);
        Ok(())
    }
}

impl Spot<'_> {
    fn failed(&self, error: Errno) -> HostError {
        let (dir, path) = (self.dir, self.path);
        match error {
            Errno::NOSPC | Errno::DQUOT => HostError::Failed(format!(
                "{dir}/{path}: there is no room on its disk; free some and try again"
            )),
            Errno::ROFS => {
                HostError::Failed(format!("{dir}/{path}: its disk is mounted for reading only"))
            }
            Errno::EXIST => HostError::Invalid(format!("{dir}/{path} is there already")),
            Errno::ISDIR => HostError::Invalid(format!("{dir}/{path} is a directory")),
            Errno::PERM => HostError::Failed(format!("{dir}/{path}: {error}")),
            error => failed(dir, path, error),
        }
    }

    /// Whether the disk stays usable for the agent with so many bytes more.
    fn has_room(&self, bytes: u64) -> Result<(), HostError> {
        let disk = fstatvfs(&self.parent).map_err(|e| self.failed(e))?;
        // What the kernel makes up, such as sysfs, has no blocks at all.
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let is_full = disk.f_blocks > 0 && free < bytes.saturating_add(limits::FILE_ROOM_BYTES);
        if is_full { Err(self.failed(Errno::NOSPC)) } else { Ok(()) }
    }

    /// What is there, if anything. A link is not followed.
    fn there(&self) -> rustix::io::Result<Option<Stat>> {
        match statat(&self.parent, self.leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The whole file at once; `new`: only where there is none.
    fn put(&self, bytes: &[u8], state: &mut State, new: bool) -> rustix::io::Result<()> {
        let there = self.there()?;
        let mode = match there.as_ref().map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            Some(_) if new => return Err(Errno::EXIST),
            Some(FileType::Directory) => return Err(Errno::ISDIR),
            Some(FileType::Symlink) => return Err(Errno::LOOP),
            Some(FileType::RegularFile) => there.map(|stat| Mode::from_raw_mode(stat.st_mode)),
            Some(_) => return Err(Errno::ACCESS),
            None => None,
        };
        state.temporaries += 1;
        let temporary = format!("{TEMPORARY}{}", state.temporaries);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&self.parent, &temporary, flags, Mode::from_raw_mode(NEW))?;
        let done = self.fill(file, bytes, mode).and_then(|()| match new {
            true => self.name_new(&temporary),
            false => renameat(&self.parent, &temporary, &self.parent, self.leaf),
        });
        if done.is_err() {
            let _ = unlinkat(&self.parent, &temporary, AtFlags::empty());
        }
        done.and_then(|()| fsync(&self.parent))
    }

    fn fill(&self, file: OwnedFd, bytes: &[u8], mode: Option<Mode>) -> rustix::io::Result<()> {
        if let Some(mode) = mode {
            fchmod(&file, mode)?;
        }
        let mut file = File::from(file);
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(errno)
    }

    /// Gives a file its name where nothing has it.
    fn name_new(&self, temporary: &str) -> rustix::io::Result<()> {
        let parent = &self.parent;
        match renameat_with(parent, temporary, parent, self.leaf, RenameFlags::NOREPLACE) {
            // A file system that cannot: the name is taken first, which nobody else can then.
            Err(Errno::INVAL | Errno::NOSYS) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                openat(parent, self.leaf, flags, Mode::from_raw_mode(NEW))?;
                renameat(parent, temporary, parent, self.leaf)
            }
            done => done,
        }
    }

    /// At the end of the file, wholly or not at all.
    fn append(&self, bytes: &[u8]) -> Result<(), HostError> {
        let was_there = self.there().map_err(|e| self.failed(e))?.is_some();
        // Neither a link nor a pipe that nobody reads is waited for.
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOFOLLOW;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.parent, self.leaf, flags, Mode::from_raw_mode(NEW))
            .map_err(|e| self.failed(e))?;
        let stat = fstat(&file).map_err(|e| self.failed(e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let what = format!("{}/{} is not a file", self.dir, self.path);
            return Err(HostError::Invalid(what));
        }
        let had = stat.st_size.cast_unsigned();
        if had.saturating_add(bytes.len() as u64) > limits::FILE_APPENDED_BYTES {
            return Err(HostError::TooLarge(format!(
                "{}/{} would have more than {} bytes; begin another file",
                self.dir,
                self.path,
                limits::FILE_APPENDED_BYTES
            )));
        }
        let mut file = File::from(file);
        let done = file.write_all(bytes).and_then(|()| file.sync_data()).map_err(errno);
        if done.is_err() {
            // Half of it would be taken for the whole.
            let _ = ftruncate(&file, had);
        }
        let done = done.and_then(|()| if was_there { Ok(()) } else { fsync(&self.parent) });
        done.map_err(|e| self.failed(e))
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
