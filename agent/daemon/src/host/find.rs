//! The files of a logical directory that a `file` trigger is about.
//!
//! Directories are read and files are asked for their size and time, again and again, by one thread:
//! on a network file system nothing else would tell of what another machine writes. How much one look
//! does is bounded. No symbolic link is followed, neither in the directory nor out of it.

use openclaw_agent_core::FileStat;
use openclaw_protocol::{glob, limits as shared};
use openclaw_sandbox::HostError;
use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, statat};
use rustix::io::Errno;

use super::files::{Files, failed};

impl Files {
    /// The files that a `path` of a trigger means, in order; `None`: there are too many, or too many
    /// entries beside them. Names that are not UTF-8 are passed over.
    ///
    /// # Errors
    /// The directory is not offered or cannot be read. Nothing is known of its files then; that one
    /// below it cannot be read is the same, or its files would seem to be gone.
    pub fn find(&self, path: &str) -> Result<Option<Vec<(String, FileStat)>>, HostError> {
        let (dir, what) = glob::split(path);
        let mut found = Vec::new();
        let mut left = shared::FILE_ENTRIES;
        let mut open = vec![String::new()];
        while let Some(at) = open.pop() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let fd = match self.open(dir, &at, flags) {
                Ok(fd) => fd,
                // It went while it was looked at.
                Err(HostError::NotFound(_)) if !at.is_empty() => continue,
                Err(e) => return Err(e),
            };
            for entry in Dir::read_from(&fd).map_err(|e| failed(dir, &at, e))? {
                let entry = entry.map_err(|e| failed(dir, &at, e))?;
                let Some(rest) = left.checked_sub(1) else { return Ok(None) };
                left = rest;
                let Ok(name) = entry.file_name().to_str() else { continue };
                if name == "." || name == ".." {
                    continue;
                }
                let below = if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
                let is_meant = glob::matches(what, &below);
                let leads_on = glob::leads_on(what, &below);
                if !is_meant && !leads_on {
                    continue;
                }
                let stat = match statat(&fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(e) => return Err(failed(dir, &below, e)),
                };
                let kind = FileType::from_raw_mode(stat.st_mode);
                if kind == FileType::RegularFile && is_meant {
                    found.push((below, told(&stat)));
                } else if kind == FileType::Directory
                    && leads_on
                    && depth(&below) < shared::FILE_DEPTH
                {
                    open.push(below);
                }
                if found.len() > shared::FILES || open.len() > shared::FILES {
                    return Ok(None);
                }
            }
        }
        openclaw_protocol::ordered::sort_by(&mut found, &|(a, _), (b, _)| a.cmp(b));
        Ok(Some(found))
    }
}

fn depth(path: &str) -> usize {
    path.split('/').count()
}

fn told(stat: &Stat) -> FileStat {
    let nanoseconds = i64::try_from(stat.st_mtime_nsec).unwrap_or_default();
    let modified_ns = stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanoseconds);
    FileStat { size: u64::try_from(stat.st_size).unwrap_or_default(), modified_ns }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use openclaw_protocol::ordered::VecMap;

    use super::*;

    fn world() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        for sub in ["sub/deep", ".hidden"] {
            std::fs::create_dir_all(root.join(sub)).unwrap();
        }
        for (file, text) in [
            ("root/a.csv", "1"),
            ("root/b.txt", "22"),
            ("root/.c.csv", "3"),
            ("root/sub/d.csv", "4444"),
            ("root/sub/deep/e.csv", ""),
            ("root/.hidden/f.csv", "6"),
            ("secret.csv", "secret"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
        }
        symlink("../secret.csv", root.join("out.csv")).unwrap();
        symlink("..", root.join("up")).unwrap();
        symlink("sub", root.join("inside")).unwrap();
        symlink("a.csv", root.join("link.csv")).unwrap();
        let dirs = VecMap::from([("data".into(), root), ("gone".into(), "/nowhere".into())]);
        (dir, Files::new(dirs))
    }

    fn names(files: &Files, path: &str) -> Vec<(String, u64)> {
        let found = files.find(path).unwrap().unwrap();
        found.into_iter().map(|(name, stat)| (name, stat.size)).collect()
    }

    #[test]
    fn what_is_meant_is_found_in_order_and_no_link_is_followed() {
        let (_dir, files) = world();
        let expect = |path: &str, expected: &[(&str, u64)]| {
            let expected: Vec<_> = expected.iter().map(|(n, s)| ((*n).to_owned(), *s)).collect();
            assert_eq!(names(&files, path), expected, "{path}");
        };
        expect("data/*.csv", &[("a.csv", 1)]);
        expect("data/.*.csv", &[(".c.csv", 1)]);
        expect("data/**/*.csv", &[("a.csv", 1), ("sub/d.csv", 4), ("sub/deep/e.csv", 0)]);
        expect("data/*/*.csv", &[("sub/d.csv", 4)]);
        expect("data/sub/**/e.*", &[("sub/deep/e.csv", 0)]);
        expect("data/up/secret.csv", &[]);
        expect("data/inside/*", &[]);
        expect("data/?.txt", &[("b.txt", 2)]);
    }

    #[test]
    fn a_change_shows() {
        let (dir, files) = world();
        let before = files.find("data/a.csv").unwrap().unwrap();
        assert_eq!(files.find("data/a.csv").unwrap().unwrap(), before);
        let path = dir.path().join("root/a.csv");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let later =
            std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_700_000_000_000_000_007);
        file.set_modified(later).unwrap();
        let after = files.find("data/a.csv").unwrap().unwrap();
        assert_eq!(after[0].1, FileStat { size: 1, modified_ns: 1_700_000_000_000_000_007 });
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_directory() {
        let (_dir, files) = world();
        assert!(matches!(files.find("gone/*"), Err(HostError::NotFound(_))));
        assert!(matches!(files.find("other/*"), Err(HostError::NotFound(_))));
    }

    #[test]
    fn too_many_are_not_a_part_of_them() {
        let (dir, files) = world();
        let many = dir.path().join("root/many");
        std::fs::create_dir(&many).unwrap();
        for n in 0..=shared::FILES {
            std::fs::write(many.join(n.to_string()), "").unwrap();
        }
        assert_eq!(files.find("data/many/*").unwrap(), None);
        assert_eq!(names(&files, "data/many/17").len(), 1);
    }
}
