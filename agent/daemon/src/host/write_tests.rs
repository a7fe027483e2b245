//! Writing: where, how, and what is left when it is cut off.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;

fn world() -> (tempfile::TempDir, Written) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join("sub")).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    symlink("../secret", root.join("up")).unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("..", root.join("out")).unwrap();
    symlink("sub", root.join("inside")).unwrap();
    symlink("/proc/self", root.join("process")).unwrap();
    let dirs = [("out", root.clone()), ("proc", "/proc".into()), ("gone", root.join("none"))];
    let dirs = dirs.map(|(name, path)| (name.to_owned(), path));
    (dir, Written::new(VecMap::from(dirs)))
}

const MODES: [WriteMode; 3] = [WriteMode::Replace, WriteMode::Append, WriteMode::Create];

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn files_are_replaced_appended_to_and_made() {
    let (dir, written) = world();
    let at = |path: &str| dir.path().join("root").join(path);
    written.write("out", "sub/a", b"one", WriteMode::Replace).unwrap();
    let before = std::fs::metadata(at("sub/a")).unwrap();
    std::fs::set_permissions(at("sub/a"), std::fs::Permissions::from_mode(0o600)).unwrap();
    written.write("out", "sub/a", b"two", WriteMode::Replace).unwrap();
    let after = std::fs::metadata(at("sub/a")).unwrap();
    assert_ne!(before.ino(), after.ino(), "another file took the name");
    assert_eq!(after.mode() & 0o777, 0o600, "who may read it is as it was");
    written.write("out", "sub/a", b" and three", WriteMode::Append).unwrap();
    written.write("out", "log", b"x", WriteMode::Append).unwrap();
    written.write("out", "new", b"", WriteMode::Create).unwrap();
    assert_eq!(std::fs::read(at("sub/a")).unwrap(), b"two and three");
    let error = written.write("out", "new", b"again", WriteMode::Create).unwrap_err();
    assert!(matches!(&error, HostError::Invalid(m) if m.contains("there already")), "{error:?}");
    assert_eq!(std::fs::read(at("new")).unwrap(), b"");
    written.remove("out", "new").unwrap();
    assert!(matches!(written.remove("out", "new"), Err(HostError::NotFound(_))));
    assert_eq!(names(&at("sub")), ["a"], "nothing lies about");
}

#[test]
fn nothing_is_written_or_removed_outside() {
    let (dir, written) = world();
    for path in [
        "../secret",
        "sub/../../secret",
        "/etc/passwd",
        "up",
        "absolute",
        "out/secret",
        "out/root/sub/a",
        "inside/a",
        "process/environ",
        "process/fd/0",
    ] {
        for mode in MODES {
            let error = written.write("out", path, b"x", mode).unwrap_err();
            let there_already = matches!(error, HostError::Invalid(_)) && mode == WriteMode::Create;
            assert!(
                matches!(error, HostError::Denied(_)) || there_already,
                "{path} {mode:?}: {error:?}"
            );
        }
    }
    for path in ["../secret", "out/secret", "inside/a", "process/environ"] {
        let error = written.remove("out", path).unwrap_err();
        assert!(matches!(error, HostError::Denied(_)), "{path}: {error:?}");
    }
    for path in ["self/environ", "self/oom_score_adj", "sys/kernel/hostname", "sysrq-trigger"] {
        for mode in MODES {
            let error = written.write("proc", path, b"x", mode).unwrap_err();
            assert!(matches!(error, HostError::Denied(_)), "{path} {mode:?}: {error:?}");
        }
    }
    // A link is removed as itself.
    written.remove("out", "up").unwrap();
    assert_eq!(std::fs::read(dir.path().join("secret")).unwrap(), b"secret");
    assert_eq!(names(dir.path()), ["root", "secret"]);
    assert_eq!(names(&dir.path().join("root/sub")), [""; 0]);
}

#[test]
fn what_is_no_file_or_not_there_says_so() {
    let (dir, written) = world();
    let fifo = dir.path().join("root/fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    for mode in MODES {
        for (to, path) in [("etc", "passwd"), ("gone", "a"), ("out", "nowhere/a")] {
            let error = written.write(to, path, b"x", mode).unwrap_err();
            assert!(matches!(error, HostError::NotFound(_)), "{to}/{path} {mode:?}: {error:?}");
        }
        for path in ["", ".", "sub", ".openclaw-tmp-1", "fifo"] {
            let error = written.write("out", path, b"x", mode).unwrap_err();
            assert!(!matches!(error, HostError::TimedOut(_)), "{path} {mode:?}: {error:?}");
        }
    }
    assert!(matches!(written.remove("out", "sub"), Err(HostError::Invalid(_))));
    assert!(matches!(written.remove("out", ""), Err(HostError::Invalid(_))));
    let text = written.write("etc", "a", b"x", WriteMode::Append).unwrap_err().to_string();
    assert!(text.contains("[files_write]"), "{text}");
}

#[test]
fn what_a_life_before_left_half_written_is_removed_and_never_read() {
    let (dir, written) = world();
    let root = dir.path().join("root");
    // The power went before the rename: the old file is there, and the new one under no name.
    std::fs::write(root.join("a"), "old").unwrap();
    std::fs::write(root.join(".openclaw-tmp-1"), "half of the ne").unwrap();
    std::fs::write(root.join("sub/.openclaw-tmp-7"), "half").unwrap();
    assert_eq!(std::fs::read(root.join("a")).unwrap(), b"old");
    written.write("out", "b", b"new", WriteMode::Append).unwrap();
    assert!(!root.join(".openclaw-tmp-1").exists());
    assert!(root.join("sub/.openclaw-tmp-7").exists(), "only where something is written");
    written.write("out", "sub/c", b"new", WriteMode::Replace).unwrap();
    assert_eq!(names(&root.join("sub")), ["c"]);
    // Once a life: what comes by such a name later is not ours to remove.
    std::fs::write(root.join(".openclaw-tmp-x"), "").unwrap();
    written.write("out", "b", b"", WriteMode::Append).unwrap();
    assert!(root.join(".openclaw-tmp-x").exists());
}

#[test]
fn a_disk_stays_usable_for_the_agent() {
    let (dir, written) = world();
    let spot = written.spot("out", "a").unwrap();
    spot.has_room(1).unwrap();
    let error = spot.has_room(u64::MAX / 2).unwrap_err();
    assert!(matches!(&error, HostError::Failed(m) if m.contains("no room")), "{error:?}");
    let full = spot.failed(Errno::NOSPC).to_string();
    assert!(full.contains("free some"), "{full}");
    // A file that is appended to ends somewhere.
    let log = std::fs::File::create(dir.path().join("root/log")).unwrap();
    log.set_len(limits::FILE_APPENDED_BYTES - 1).unwrap();
    written.write("out", "log", b"x", WriteMode::Append).unwrap();
    let error = written.write("out", "log", b"x", WriteMode::Append).unwrap_err();
    assert!(matches!(&error, HostError::TooLarge(m) if m.contains("another file")), "{error:?}");
    assert_eq!(log.metadata().unwrap().len(), limits::FILE_APPENDED_BYTES);
}

#[test]
fn calls_at_once_leave_one_whole_file() {
    let (dir, written) = world();
    std::thread::scope(|scope| {
        for writer in 0..4_u8 {
            let written = &written;
            scope.spawn(move || {
                for _ in 0..20 {
                    let bytes = vec![b'a' + writer; 10_000];
                    written.write("out", "one", &bytes, WriteMode::Replace).unwrap();
                    written.write("out", "log", &[b'a' + writer; 100], WriteMode::Append).unwrap();
                }
            });
        }
        // Whoever reads meanwhile sees one of them, whole.
        for _ in 0..200 {
            let Ok(read) = std::fs::read(dir.path().join("root/one")) else { continue };
            assert_eq!(read.len(), 10_000);
            assert!(read.iter().all(|byte| *byte == read[0]));
        }
    });
    assert_eq!(std::fs::metadata(dir.path().join("root/log")).unwrap().len(), 4 * 20 * 100);
}

/// A file system of 4 MiB and 16 inodes, where one may be mounted.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&at).unwrap();
        let options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=16", "tmpfs"];
        let mounted = std::process::Command::new("mount").args(options).arg(&at).output().unwrap();
        if !mounted.status.success() {
            println!("SKIPPED: {}", String::from_utf8_lossy(&mounted.stderr).trim());
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_a_clear_failure_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(dir.path().join("disk")) else { return };
    let written = Written::new(VecMap::from([("out".to_owned(), disk.0.clone())]));
    let bytes = vec![b'x'; 256 * 1024];
    written.write("out", "kept", b"old", WriteMode::Replace).unwrap();
    let refused = |result: Result<(), HostError>| match result {
        Ok(()) => false,
        Err(e) => {
            assert!(matches!(&e, HostError::Failed(m) if m.contains("no room")), "{e:?}");
            true
        }
    };
    let mut had = 0;
    while !refused(written.write("out", "log", &bytes, WriteMode::Append)) {
        had += bytes.len() as u64;
        assert!(had < 4 * 1024 * 1024, "it is never full");
    }
    assert!(had > 0);
    assert_eq!(std::fs::metadata(disk.0.join("log")).unwrap().len(), had, "whole or not at all");
    assert!(refused(written.write("out", "kept", &bytes, WriteMode::Replace)));
    assert_eq!(std::fs::read(disk.0.join("kept")).unwrap(), b"old");
    let left = fstatvfs(std::fs::File::open(&disk.0).unwrap()).unwrap();
    assert!(left.f_bavail * left.f_frsize >= limits::FILE_ROOM_BYTES - 256 * 1024);
    // Nor is there room for names.
    let mut made = 0;
    while !refused(written.write("out", &format!("n{made}"), b"", WriteMode::Create)) {
        made += 1;
        assert!(made < 16, "it is never full");
    }
    assert!(refused(written.write("out", "kept", b"new", WriteMode::Replace)));
    assert!(refused(written.write("out", "other", b"new", WriteMode::Append)));
    assert_eq!(std::fs::read(disk.0.join("kept")).unwrap(), b"old");
    assert!(names(&disk.0).iter().all(|name| !name.starts_with('.')), "{:?}", names(&disk.0));
    written.remove("out", "n0").unwrap();
    written.write("out", "kept", b"new", WriteMode::Replace).unwrap();
}
