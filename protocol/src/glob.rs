//! Which files a `file` trigger is about: `inbox/*/orders-?.csv`.
//!
//! The first part names a directory that the device offers. In the others `*` stands for any
//! characters and `?` for one, and one part may be `**`: any directories, or none. What is hidden (its
//! name begins with a dot) is meant only by a part that begins with one too, so that a file which a
//! tool writes under a hidden name and then renames is seen once.

use crate::id::PluginName;
use crate::limits;

/// Parts that one path may have.
const PARTS: usize = 16;

/// Whether this can be a `path`.
///
/// # Errors
/// Why not.
pub fn check(pattern: &str) -> Result<(), &'static str> {
    if pattern.len() > limits::FILE_PATH_BYTES {
        return Err("it is too long");
    }
    if pattern.starts_with('/') {
        return Err(
            "it begins with the name of one of the device's directories, as in `inbox/*.csv`",
        );
    }
    let (dir, rest) = pattern.split_once('/').ok_or(
        "it is the name of one of the device's directories, `/`, and what in it: `inbox/*.csv`",
    )?;
    if PluginName::parse(dir).is_err() {
        return Err("its first part must be the name of one of the device's directories");
    }
    let parts: Vec<&str> = rest.split('/').collect();
    if parts.len() > PARTS {
        return Err("it has too many parts");
    }
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("it has an empty part, or one that is `.` or `..`");
    }
    if rest.contains(['[', ']', '{', '}', '\\', '\0']) {
        return Err("of `[]{}` and backslashes nothing is known: use `*`, `?` and `**`");
    }
    let deep = parts.iter().filter(|part| part.contains("**")).count();
    let is_whole = parts.iter().all(|part| *part == "**" || !part.contains("**"));
    if deep > 1 || !is_whole || parts.last() == Some(&"**") {
        return Err("`**` is one part of it, and not the last: `inbox/**/*.csv`");
    }
    Ok(())
}

/// The name of the directory, and what in it.
#[must_use]
pub fn split(pattern: &str) -> (&str, &str) {
    pattern.split_once('/').unwrap_or((pattern, ""))
}

/// Whether a file of the directory is meant; `what` is the second of [`split`].
#[must_use]
pub fn matches(what: &str, file: &str) -> bool {
    let (what, file): (Vec<&str>, Vec<&str>) =
        (what.split('/').collect(), file.split('/').collect());
    let Some(deep) = what.iter().position(|part| *part == "**") else {
        return what.len() == file.len() && all(&what, &file);
    };
    let after = what.len() - deep - 1;
    let Some(from) = file.len().checked_sub(after).filter(|from| *from >= deep) else {
        return false;
    };
    all(&what[..deep], &file[..deep])
        && file[deep..from].iter().all(|part| !part.starts_with('.'))
        && all(&what[deep + 1..], &file[from..])
}

/// Whether a file below this directory of the directory may be meant.
#[must_use]
pub fn leads_on(what: &str, dir: &str) -> bool {
    let (what, dir): (Vec<&str>, Vec<&str>) = (what.split('/').collect(), dir.split('/').collect());
    match what.iter().position(|part| *part == "**") {
        Some(deep) if dir.len() > deep => {
            let below = &dir[deep..];
            // What comes after `**` may name a hidden directory.
            let hidden = what[deep + 1..].iter().any(|part| part.starts_with('.'));
            all(&what[..deep], &dir[..deep])
                && (hidden || below.iter().all(|part| !part.starts_with('.')))
        }
        Some(_) | None => dir.len() < what.len() && all(&what[..dir.len()], &dir),
    }
}

fn all(what: &[&str], names: &[&str]) -> bool {
    what.iter()
        .zip(names)
        .all(|(part, name)| (part.starts_with('.') || !name.starts_with('.')) && one(part, name))
}

/// One part; in time of the product of the two lengths at most.
fn one(part: &str, name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let part: Vec<char> = part.chars().collect();
    let (mut at, mut from) = (0, 0);
    // The last `*`, and up to where it reaches.
    let mut star = None;
    while from < name.len() {
        match part.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[from] => {
                at += 1;
                from += 1;
            }
            Some(_) | None => {
                let Some((begin, reach)) = star else { return false };
                star = Some((begin, reach + 1));
                (at, from) = (begin + 1, reach + 1);
            }
        }
    }
    part[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_begin_with_a_directory_of_the_device() {
        for good in ["inbox/a", "inbox/*.csv", "in-2/**/x?/*", "inbox/.hidden/*", "inbox/ä b"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let long = format!("inbox/{}", "x".repeat(limits::FILE_PATH_BYTES));
        for bad in [
            "",
            "inbox",
            "inbox/",
            "/data/inbox/*",
            "*/x",
            "inbox/../x",
            "inbox//x",
            "inbox/./x",
            "inbox/**",
            "inbox/a**/x",
            "inbox/**/a/**/x",
            "inbox/[ab]",
            "inbox/{a,b}",
            "inbox/${ x }",
            "inbox/a\\b",
            "inbox/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q",
            &long,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_mean_what_is_written() {
        for (what, file, expected) in [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.part", false),
            ("*.csv", "sub/a.csv", false),
            ("*.csv", ".a.csv", false),
            (".*.csv", ".a.csv", true),
            ("a?c", "aäc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*/x", "d/x", true),
            ("*/x", "x", false),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/.b/x", false),
            ("a/**/b/*.t", "a/b/c.t", true),
            ("a/**/b/*.t", "a/q/r/b/c.t", true),
            ("a/**/b/*.t", "a/q/r/c.t", false),
            ("a/**/b/*.t", "b/c.t", false),
            ("**/.git/x", "a/.git/x", true),
        ] {
            assert_eq!(matches(what, file), expected, "{what} {file}");
        }
        let many = "*a".repeat(100);
        assert!(!matches(&many, &"a".repeat(99)), "in no long time");
    }

    #[test]
    fn only_directories_that_may_lead_on_are_looked_into() {
        for (what, dir, expected) in [
            ("*.csv", "sub", false),
            ("*/x", "sub", true),
            ("*/x", "sub/sub", false),
            ("a/*/x", "b", false),
            ("a/*/x", "a/b", true),
            ("a/**/x", "a", true),
            ("a/**/x", "a/b/c/d", true),
            ("a/**/x", "a/.b/c", false),
            ("a/**/.b/x", "a/.b", true),
            ("a/**/x", "b/c", false),
        ] {
            assert_eq!(leads_on(what, dir), expected, "{what} {dir}");
        }
    }
}
