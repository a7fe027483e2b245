//! Files of logical directories: read, bounded, and never outside.
//!
//! The kernel keeps the promise: a path is opened beneath the directory by `openat2` with
//! `RESOLVE_BENEATH` and `RESOLVE_NO_MAGICLINKS`, so neither `..`, nor a symbolic link, nor
//! `/proc/self/root` leads out, and nothing can be swapped between check and use. Kernels before
//! 5.6 lack it; there the path is walked component by component without following links.
//!
//! Of `/proc` a plugin sees the machine, not its processes: their environment, command line and
//! memory are theirs, the agent's own first of all. Whatever path ends on a proc file system is
//! walked component by component too, and there what belongs to a process is refused.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};

use openclaw_protocol::ordered::VecMap;
use openclaw_sandbox::{DirEntry, FileStat, HostError};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::Errno;

use crate::limits;

/// The logical directories that the configuration offers.
#[derive(Debug, Clone, Default)]
pub struct Files {
    dirs: VecMap<String, PathBuf>,
}

impl Files {
    /// Offers these.
    #[must_use]
    pub fn new(dirs: VecMap<String, PathBuf>) -> Self {
        Self { dirs }
    }

    /// The names that are offered.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.dirs.keys().cloned().collect()
    }

    /// The first `max` bytes of a file.
    ///
    /// # Errors
    /// No such directory or file, a path that leads out, or not a regular file.
    pub fn read(&self, dir: &str, path: &str, max: usize) -> Result<Vec<u8>, HostError> {
        let file = self.file(dir, path)?;
        let max = max.min(limits::FILE_BYTES);
        let mut bytes = Vec::new();
        // The size is not asked: files of /proc have none.
        file.take(max as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| HostError::Failed(format!("{dir}/{path}: {e}")))?;
        Ok(bytes)
    }

    /// The entries of a directory, sorted.
    ///
    /// # Errors
    /// As [`Files::read`], and more entries than anybody should want.
    pub fn list(&self, dir: &str, path: &str) -> Result<Vec<DirEntry>, HostError> {
        let fd = self.open(dir, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut entries = Vec::new();
        for entry in Dir::read_from(fd).map_err(|e| failed(dir, path, e))? {
            let entry = entry.map_err(|e| failed(dir, path, e))?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() >= limits::DIR_ENTRIES {
                return Err(HostError::TooLarge(format!("{dir}/{path} has too many entries")));
            }
            let is_dir = entry.file_type() == FileType::Directory;
            entries.push(DirEntry { name: name.to_owned(), is_dir });
        }
        openclaw_protocol::ordered::sort(&mut entries);
        Ok(entries)
    }

    /// At most `max` bytes of a file from `offset` on; none behind its end.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn read_at(
        &self,
        dir: &str,
        path: &str,
        offset: u64,
        max: usize,
    ) -> Result<Vec<u8>, HostError> {
        let file = self.file(dir, path)?;
        // No file has its end so far away, and a file system may call the question a mistake.
        let max = if offset > i64::MAX.cast_unsigned() / 2 { 0 } else { max };
        let mut bytes = vec![0; max.min(limits::FILE_BYTES)];
        let mut read = 0;
        while read < bytes.len() {
            // `pread` of a file takes no more than its end.
            match file.read_at(&mut bytes[read..], offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(HostError::Failed(format!("{dir}/{path}: {e}"))),
            }
        }
        bytes.truncate(read);
        Ok(bytes)
    }

    /// What a file or directory is like.
    ///
    /// # Errors
    /// As [`Files::read`].
    pub fn stat(&self, dir: &str, path: &str) -> Result<FileStat, HostError> {
        let fd = self.open(dir, path, OFlags::PATH)?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| failed(dir, path, e))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_dir = kind == FileType::Directory;
        if !is_dir && kind != FileType::RegularFile {
            return Err(HostError::Invalid(format!("{dir}/{path} is not a file")));
        }
        let modified_ms = stat.st_mtime as i64 * 1_000 + stat.st_mtime_nsec as i64 / 1_000_000;
        let size = stat.st_size.max(0).cast_unsigned();
        Ok(FileStat { size, modified_ms, is_dir, inode: stat.st_ino as u64 })
    }

    fn file(&self, dir: &str, path: &str) -> Result<File, HostError> {
        let fd = self.open(dir, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let kind = rustix::fs::fstat(&fd).map_err(|e| failed(dir, path, e))?;
        if FileType::from_raw_mode(kind.st_mode) != FileType::RegularFile {
            return Err(HostError::Invalid(format!("{dir}/{path} is not a file")));
        }
        Ok(File::from(fd))
    }

    pub(super) fn open(&self, dir: &str, path: &str, flags: OFlags) -> Result<OwnedFd, HostError> {
        let Some(root) = self.dirs.get(dir) else {
            return Err(HostError::NotFound(format!(
                "this device offers no directory `{dir}`; add it to [files] of its configuration"
            )));
        };
        beneath(root, dir, Path::new(path), flags, Links::Inside)
    }
}

/// What becomes of symbolic links in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Those that lead nowhere else are followed.
    Inside,
    /// None is followed.
    Refused,
}

/// Opens a path beneath the directory that stands behind a logical name.
pub(super) fn beneath(
    root: &Path,
    dir: &str,
    path: &Path,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, HostError> {
    let plain = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
    if !path.components().all(plain) {
        return Err(HostError::Denied(format!("`{}` leads out of `{dir}`", path.display())));
    }
    let relative = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let outer = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::openat(CWD, root, outer, Mode::empty()).map_err(|e| failed(dir, "", e))?;
    open_beneath(&root, relative, flags | OFlags::CLOEXEC, links)
        .map_err(|e| failed(dir, &path.display().to_string(), e))
}

fn open_beneath(
    root: &OwnedFd,
    path: &Path,
    flags: OFlags,
    links: Links,
) -> rustix::io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::NO_SYMLINKS, links == Links::Refused);
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS) => walk_beneath(root, path, flags),
        // The kernel does not say which way it took, and `/proc/self` is an ordinary link.
        Ok(opened) if is_on_proc(&opened)? => {
            // What it came through and the walk does not is a link.
            walk_beneath(root, path, flags)
                .map_err(|e| if e == Errno::NOTDIR { Errno::LOOP } else { e })
        }
        opened => opened,
    }
}

/// For kernels without `openat2`, and for proc: each component on its own, links refused.
fn walk_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let names: Vec<_> = path.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, ".", step | OFlags::NOFOLLOW, Mode::empty())?;
    let Some((last, before)) = names.split_last() else {
        return rustix::fs::openat(&at, ".", flags, Mode::empty());
    };
    for name in before {
        at = rustix::fs::openat(&at, name.as_os_str(), step | links(&at, name)?, Mode::empty())?;
    }
    rustix::fs::openat(&at, last.as_os_str(), flags | links(&at, last)?, Mode::empty())
}

/// How a name in a directory is opened: without following links, but for the one in the root of a
/// proc file system that stands for the network of this machine. What belongs to one process is
/// refused there, and so is the machine's whole memory.
fn links(at: &OwnedFd, name: &Component<'_>) -> rustix::io::Result<OFlags> {
    let name = name.as_os_str().as_encoded_bytes();
    if !is_proc_root(at)? {
        return Ok(OFlags::NOFOLLOW);
    }
    match name {
        // A link to `self/net`: counters and tables, the same for all processes beside ours.
        b"net" => Ok(OFlags::empty()),
        b"self" | b"thread-self" | b"kcore" => Err(Errno::ACCESS),
        _ if name.iter().all(u8::is_ascii_digit) => Err(Errno::ACCESS),
        _ => Ok(OFlags::NOFOLLOW),
    }
}

pub(super) fn is_on_proc(fd: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROC_SUPER_MAGIC)
}

fn is_proc_root(fd: &OwnedFd) -> rustix::io::Result<bool> {
    /// `PROC_ROOT_INO` of the kernel's `include/linux/proc_ns.h`.
    const ROOT_INODE: u64 = 1;
    Ok(is_on_proc(fd)? && rustix::fs::fstat(fd)?.st_ino == ROOT_INODE)
}

pub(super) fn failed(dir: &str, path: &str, error: Errno) -> HostError {
    let said = format!("{dir}/{path}: {error}");
    match error {
        Errno::NOENT | Errno::NOTDIR => HostError::NotFound(said),
        Errno::XDEV | Errno::LOOP | Errno::ACCESS | Errno::PERM => HostError::Denied(said),
        _ => HostError::Failed(said),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn world() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "secret").unwrap();
        std::fs::write(root.join("sub/file"), "0123456789").unwrap();
        symlink("../secret", root.join("up")).unwrap();
        symlink(dir.path().join("secret"), root.join("absolute")).unwrap();
        symlink("..", root.join("out")).unwrap();
        symlink("sub/file", root.join("inside")).unwrap();
        let dirs = VecMap::from([("data".into(), root), ("proc".into(), "/proc".into())]);
        (dir, Files::new(dirs))
    }

    #[test]
    fn files_are_read_up_to_the_bound() {
        let (_dir, files) = world();
        assert_eq!(files.read("data", "sub/file", 4).unwrap(), b"0123");
        assert_eq!(files.read("data", "./sub/file", 99).unwrap(), b"0123456789");
        assert_eq!(files.read("data", "inside", 99).unwrap(), b"0123456789");
        assert!(!files.read("proc", "loadavg", 99).unwrap().is_empty(), "a file without a size");
    }

    #[test]
    fn nothing_leads_out() {
        let (_dir, files) = world();
        for path in [
            "../secret",
            "sub/../../secret",
            "/etc/passwd",
            "up",
            "absolute",
            "out/secret",
            "out/root/sub/file",
        ] {
            let error = files.read("data", path, 99).unwrap_err();
            assert!(matches!(error, HostError::Denied(_)), "{path}: {error:?}");
        }
        for path in ["self/root/etc/passwd", "self/cwd/Cargo.toml", "self/fd/0"] {
            assert!(files.read("proc", path, 99).is_err(), "{path}");
        }
    }

    /// Paths below `/proc` that belong to a process, ours among them.
    fn of_processes() -> Vec<String> {
        let own = std::process::id().to_string();
        let mut paths = Vec::new();
        for process in ["self", "thread-self", own.as_str(), "1"] {
            paths.extend(["environ", "cmdline", "maps", "stat"].map(|f| format!("{process}/{f}")));
        }
        paths.push(format!("./self//task/{own}/environ"));
        // A link of the kernel's own into the process that asks.
        paths.push("mounts".to_owned());
        paths
    }

    #[test]
    fn processes_are_not_shown() {
        let (dir, mut files) = world();
        files.dirs.insert("all".into(), "/".into());
        for path in of_processes() {
            for (dir, path) in [("proc", path.clone()), ("all", format!("proc/{path}"))] {
                let error = files.read(dir, &path, 99).unwrap_err();
                assert!(matches!(error, HostError::Denied(_)), "{dir}:{path}: {error:?}");
            }
        }
        for path in ["self", "thread-self", "1", "self/task"] {
            let error = files.list("proc", path).unwrap_err();
            assert!(matches!(error, HostError::Denied(_)), "{path}: {error:?}");
        }
        // As many steps up as there are, and down into proc: never out of the root.
        let up = "../".repeat(dir.path().components().count() - 1);
        symlink(format!("{up}proc/self"), dir.path().join("link")).unwrap();
        let link = dir.path().join("link/environ");
        let link = link.strip_prefix("/").unwrap().to_str().unwrap();
        let error = files.read("all", link, 99).unwrap_err();
        assert!(matches!(error, HostError::Denied(_)), "{link}: {error:?}");
    }

    #[test]
    fn the_machine_is_shown() {
        let (_dir, files) = world();
        for path in ["stat", "meminfo", "loadavg", "uptime", "net/dev", "sys/kernel/ostype"] {
            assert!(!files.read("proc", path, 99).unwrap().is_empty(), "{path}");
        }
        assert!(files.list("proc", "").unwrap().iter().any(|e| e.name == "meminfo"));
        assert!(files.list("proc", "net").unwrap().iter().any(|e| e.name == "dev"));
        let proc = File::open("/proc").unwrap().into();
        assert!(walk_beneath(&proc, Path::new("net/dev"), OFlags::RDONLY).is_ok());
        for path in of_processes() {
            assert!(walk_beneath(&proc, Path::new(&path), OFlags::RDONLY).is_err(), "{path}");
        }
    }

    #[test]
    fn the_walk_of_old_kernels_follows_no_link() {
        let (dir, _) = world();
        let root = File::open(dir.path().join("root")).unwrap().into();
        let open = |path: &str| walk_beneath(&root, Path::new(path), OFlags::RDONLY);
        assert!(open("sub/file").is_ok());
        assert!(open(".").is_ok());
        for path in ["up", "absolute", "out/secret", "inside"] {
            assert!(open(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_not_offered_or_not_there_says_so() {
        let (_dir, files) = world();
        for (dir, path) in [("etc", "passwd"), ("data", "nothing"), ("data", "sub/file/x")] {
            let error = files.read(dir, path, 9).unwrap_err();
            assert!(matches!(error, HostError::NotFound(_)), "{dir}/{path}: {error:?}");
        }
        assert!(matches!(files.read("data", "sub", 9), Err(HostError::Invalid(_))));
    }

    #[test]
    fn lists_are_sorted_and_know_directories() {
        let (_dir, files) = world();
        let names: Vec<_> = files.list("data", "").unwrap().into_iter().map(|e| e.name).collect();
        assert_eq!(names, ["absolute", "inside", "out", "sub", "up"]);
        assert!(files.list("data", "out").is_err());
        assert!(files.list("data", "").unwrap().iter().any(|e| e.name == "sub" && e.is_dir));
    }

    #[test]
    fn parts_and_properties_are_told() {
        let (dir, files) = world();
        assert_eq!(files.read_at("data", "sub/file", 0, 4).unwrap(), b"0123");
        assert_eq!(files.read_at("data", "sub/file", 7, 99).unwrap(), b"789");
        for behind in [10, 11, u64::from(u32::MAX) * 99, i64::MAX.cast_unsigned()] {
            assert_eq!(files.read_at("data", "inside", behind, 9).unwrap(), b"", "{behind}");
        }
        assert!(!files.read_at("proc", "meminfo", 10, 99).unwrap().is_empty());
        let file = files.stat("data", "sub/file").unwrap();
        assert_eq!((file.size, file.is_dir), (10, false));
        assert!(file.modified_ms > 1_700_000_000_000, "{file:?}");
        assert_eq!(files.stat("data", "inside").unwrap(), file, "a link inside is what it means");
        assert!(files.stat("data", "sub").unwrap().is_dir);
        // Another file of the name has another number.
        std::fs::write(dir.path().join("root/sub/next"), "0123456789").unwrap();
        std::fs::rename(dir.path().join("root/sub/next"), dir.path().join("root/sub/file"))
            .unwrap();
        assert_ne!(files.stat("data", "sub/file").unwrap().inode, file.inode);
        for path in ["../secret", "up", "absolute", "out/secret"] {
            let errors = [
                files.read_at("data", path, 0, 9).unwrap_err(),
                files.stat("data", path).unwrap_err(),
            ];
            assert!(errors.iter().all(|e| matches!(e, HostError::Denied(_))), "{path}: {errors:?}");
        }
        for path in of_processes() {
            assert!(files.read_at("proc", &path, 0, 9).is_err(), "{path}");
            assert!(files.stat("proc", &path).is_err(), "{path}");
        }
        assert!(matches!(files.read_at("data", "sub", 0, 9), Err(HostError::Invalid(_))));
        assert!(matches!(files.stat("data", "nothing"), Err(HostError::NotFound(_))));
    }
}
