//! Who is at the other end of the local socket, and in whose name they may speak.

use std::io::Read as _;
use std::path::Path;

use tokio::net::UnixStream;

use super::{Answer, Request};
use crate::limits;

/// Names of users by number.
const USERS: &str = "/etc/passwd";

/// The user at the other end, as the kernel says (SO_PEERCRED).
pub(super) fn uid(stream: &UnixStream) -> Option<u32> {
    stream.peer_cred().ok().map(|peer| peer.uid())
}

/// Fills in who answers where an answer does not say it: the user at the other end by name, or by
/// number where they have none. The others on this machine may say another name, since whoever may
/// use this socket may do anything here, but not one that looks like the control plane's own
/// (`user:ann`, `key:1`).
///
/// # Errors
/// The answer to such a name.
pub(super) fn named(request: Request, uid: Option<u32>) -> Result<Request, Answer> {
    let Request::Approve { run, step, choice, form, by } = request else { return Ok(request) };
    let by = match by {
        Some(by) => by,
        None => uid.map_or_else(|| "unknown".to_owned(), |uid| user(USERS.as_ref(), uid)),
    };
    let is_name =
        |by: &str| !by.trim().is_empty() && !by.contains(|c: char| c.is_control() || c == ':');
    if by.len() > limits::LOCAL_NAME_BYTES || !is_name(&by) {
        let most = limits::LOCAL_NAME_BYTES;
        let message = format!(
            "whoever answers has a name of 1 to {most} bytes, without `:` and control characters"
        );
        return Err(Answer::error("approval.by", message));
    }
    Ok(Request::Approve { run, step, choice, form, by: Some(by) })
}

/// A user's name as the system's file has it, else `uid 1000`.
fn user(file: &Path, uid: u32) -> String {
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(limits::CONFIG_BYTES).read_to_string(&mut text));
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    read.ok().and(name).unwrap_or_else(|| format!("uid {uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approve(by: Option<&str>) -> Request {
        Request::Approve {
            run: "r".into(),
            step: "ask".into(),
            choice: "approve".into(),
            form: serde_json::Map::new(),
            by: by.map(str::to_owned),
        }
    }

    #[test]
    fn users_have_names_or_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("passwd");
        std::fs::write(&file, "root:x:0:0::/:/bin/sh\n\nbad\n:x:7:7\nann:x:1000:10::/:/x\n")
            .unwrap();
        assert_eq!(user(&file, 0), "root");
        assert_eq!(user(&file, 1000), "ann");
        assert_eq!(user(&file, 7), "uid 7");
        assert_eq!(user(&dir.path().join("none"), 0), "uid 0");
    }

    #[test]
    fn nobody_speaks_in_the_name_of_the_control_plane() {
        for name in ["user:ann", "key:1", "", " ", "a\nb", &"x".repeat(200)] {
            let refused = named(approve(Some(name)), Some(0)).unwrap_err();
            assert!(matches!(refused, Answer::Error(e) if e.code == "approval.by"), "{name:?}");
        }
        assert_eq!(named(approve(Some("Ann Lee")), Some(0)), Ok(approve(Some("Ann Lee"))));
        assert_eq!(named(approve(None), Some(0)), Ok(approve(Some("root"))));
        assert_eq!(named(Request::Status, None), Ok(Request::Status));
    }
}
