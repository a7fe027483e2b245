//! What a case file says: `docs/plugin-cases.md` in types.

use openclaw_protocol::ordered::VecMap;
use openclaw_protocol::plugin::Permissions;
use serde::Deserialize;
use serde_json::Value;

use super::CaseError;
use super::content::Content;

/// One example: what goes in, what the world is like, what must come out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// For the reader.
    #[serde(default)]
    pub note: Option<String>,
    /// `execute` where absent.
    #[serde(default)]
    pub action: Option<String>,
    /// The input.
    pub input: Value,
    /// The plugin's settings.
    #[serde(default)]
    pub(super) config: VecMap<String, String>,
    /// In place of what the manifest asks for.
    #[serde(default)]
    pub(super) permissions: Option<Permissions>,
    /// Which attempt it is; 1 where absent.
    #[serde(default)]
    pub(super) attempt: Option<u32>,
    /// The time.
    #[serde(default)]
    pub(super) now_ms: i64,
    /// Files by `directory:path`.
    #[serde(default)]
    pub(super) files: VecMap<String, File>,
    /// What has become of files; `null` for one that is gone. All that changed must be here.
    #[serde(default)]
    pub(super) files_after: Option<VecMap<String, Option<Content>>>,
    /// Responses by `METHOD url`.
    #[serde(default)]
    pub(super) http: VecMap<String, Response>,
    /// The requests that must be sent, in order.
    #[serde(default)]
    pub(super) sent: Option<Vec<Sent>>,
    #[serde(default)]
    pub(super) kv: Around<Scopes>,
    /// The messages that must be published, in order.
    #[serde(default)]
    pub(super) mqtt: Option<Vec<Message>>,
    /// Scripts of servers by `host:port`.
    #[serde(default)]
    pub(super) tcp: VecMap<String, Vec<Step>>,
    /// Scripts of devices by the name of their port.
    #[serde(default)]
    pub(super) serial: VecMap<String, Vec<Step>>,
    /// Levels by name.
    #[serde(default)]
    pub(super) gpio: Around<VecMap<String, Level>>,
    /// Transactions by the name of the device, in order.
    #[serde(default)]
    pub(super) i2c: VecMap<String, Vec<Transaction>>,
    /// Runs by the name of the command, in order.
    #[serde(default)]
    pub(super) exec: VecMap<String, Vec<Run>>,
    /// Names of the secrets that there are.
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    pub(super) expect: Expect,
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// Says what is wrong, and in which line.
    pub fn from_json(name: &str, text: &str) -> Result<Self, CaseError> {
        let wrong = |message| CaseError::Format { name: name.to_owned(), message };
        let case: Self = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
        let after = case.files_after.iter().flat_map(VecMap::keys);
        let bad = case.files.keys().chain(after).find(|key| !key.contains(':')).cloned();
        if let Some(key) = bad {
            return Err(wrong(format!("the file `{key}` is not `directory:path`")));
        }
        if let Some(key) = case.http.keys().find(|key| !key.contains(' ')) {
            return Err(wrong(format!("the response `{key}` is not for `METHOD url`")));
        }
        if let Some(key) = case.tcp.keys().find(|key| !key.contains(':')) {
            return Err(wrong(format!("the server `{key}` is not `host:port`")));
        }
        Ok(case)
    }
}

/// Something before the call, and what must have become of it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Around<T> {
    pub(super) before: T,
    pub(super) after: Option<T>,
}

/// Remembered values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Scopes {
    pub(super) workflow: VecMap<String, Content>,
    pub(super) plugin: VecMap<String, Content>,
}

/// A file: its content, or that with what it is like.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) content: Content,
    pub(super) inode: u64,
    pub(super) modified_ms: i64,
}

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Full {
            content: Content,
            #[serde(default = "one")]
            inode: u64,
            #[serde(default)]
            modified_ms: i64,
        }
        let value = Value::deserialize(deserializer)?;
        let is_full = value.get("content").is_some();
        let read = if is_full {
            serde_json::from_value(value).map(|Full { content, inode, modified_ms }| Self {
                content,
                inode,
                modified_ms,
            })
        } else {
            serde_json::from_value(value).map(|content| Self {
                content,
                inode: one(),
                modified_ms: 0,
            })
        };
        read.map_err(serde::de::Error::custom)
    }
}

const fn one() -> u64 {
    1
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Response {
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: VecMap<String, String>,
    #[serde(default)]
    pub(super) body: Content,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: VecMap<String, String>,
    #[serde(default)]
    pub(super) body: Content,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) topic: String,
    #[serde(default)]
    pub(super) payload: Content,
    #[serde(default)]
    pub(super) qos: u8,
    #[serde(default)]
    pub(super) retain: bool,
}

/// One exchange of a script.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Step {
    /// What must be written; absent where the other side speaks first.
    pub(super) expect: Option<Content>,
    /// What is answered.
    pub(super) reply: Content,
    /// Whether the other side hangs up then.
    pub(super) end: bool,
}

/// 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
pub(super) struct Level(pub(super) bool);

impl TryFrom<u8> for Level {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self(false)),
            1 => Ok(Self(true)),
            _ => Err("a level is 0 or 1"),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transaction {
    #[serde(default)]
    pub(super) write: Content,
    #[serde(default)]
    pub(super) read: Content,
    /// The device does not acknowledge.
    #[serde(default)]
    pub(super) error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Run {
    pub(super) args: Vec<String>,
    pub(super) stdin: Content,
    /// Exit code; 0 where neither it nor `signal` is given.
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) stdout: Content,
    pub(super) stderr: String,
    /// It is not done in time.
    pub(super) times_out: bool,
    /// It cannot be started.
    pub(super) error: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Expect {
    /// The whole output.
    Output(Value),
    /// Fields that the output has.
    Contains(Value),
    /// A failure with this code whose message holds this text.
    Error(Failed),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) retryable: Option<bool>,
}
