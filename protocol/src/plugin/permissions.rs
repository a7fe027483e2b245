//! What a plugin may touch: the list that it asks for, that people approve, and that the device
//! grants. Whatever is not named is denied.
//!
//! Text (TOML, JSON) has every kind by name. Bytes (postcard) know fields only by their order, and
//! permissions were stored and sent when there were four kinds. So the others follow only where
//! there are any, and bit 1 of the byte that says `random` in bit 0 tells of them: bytes without
//! them are what they always were. Who does not know a kind refuses the whole, which denies it.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ManifestError;
use crate::id::{PluginName, StepId};
use crate::limits;
use crate::topic;

/// Random bytes are granted.
const RANDOM: u8 = 1;
/// Kinds beyond the first four follow.
const MORE: u8 = 2;
/// Fields without further kinds, and with them.
const FIELDS: (usize, usize) = (4, 5);

/// What a plugin may touch. Empty means: nothing but its own memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Permissions {
    /// Allowed HTTP destinations: `host:port`, `*.suffix:port`, `ip:port`, `cidr:port`, or `*:port`
    /// for any public address; the port may be `*`. Loopback, private, link-local and metadata
    /// ranges are reachable only where an entry names them by literal address or CIDR.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub http: Vec<String>,
    /// Allowed TCP destinations, in the notation and under the rules of `http`.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub tcp: Vec<String>,
    /// Logical directory names, defined by the device's own configuration, that may be read.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub files: Vec<String>,
    /// Logical directory names in which files may be written, appended to and removed. Reading
    /// them is a matter of `files`.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub files_write: Vec<String>,
    /// What may be remembered on the device beyond one run: `workflow` for values that this plugin
    /// keeps for one workflow, `plugin` for values that all its calls share.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub kv: Vec<String>,
    /// MQTT topic filters; what matches one may be published at the site's own broker.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub mqtt_publish: Vec<String>,
    /// Names of secrets that may be used without being seen.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub secrets: Vec<String>,
    /// Logical names of serial ports.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub serial: Vec<String>,
    /// Logical names of digital inputs and outputs.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub gpio: Vec<String>,
    /// Logical names of devices on an I²C bus.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub i2c: Vec<String>,
    /// Logical names of commands that the device's configuration spells out.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub exec: Vec<String>,
    /// May ask for the time.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub time: bool,
    /// May ask for random bytes.
    #[cfg_attr(feature = "openapi", schema(required = false))]
    pub random: bool,
}

/// A kind of permission that is granted by name. The numbers are part of the wire format; the
/// first two have a place of their own in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Capability {
    /// [`Permissions::http`]
    Http = 0,
    /// [`Permissions::files`]
    Files = 1,
    /// [`Permissions::tcp`]
    Tcp = 2,
    /// [`Permissions::files_write`]
    FilesWrite = 3,
    /// [`Permissions::kv`]
    Kv = 4,
    /// [`Permissions::mqtt_publish`]
    MqttPublish = 5,
    /// [`Permissions::secrets`]
    Secrets = 6,
    /// [`Permissions::serial`]
    Serial = 7,
    /// [`Permissions::gpio`]
    Gpio = 8,
    /// [`Permissions::i2c`]
    I2c = 9,
    /// [`Permissions::exec`]
    Exec = 10,
}

impl Capability {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Http,
        Self::Files,
        Self::Tcp,
        Self::FilesWrite,
        Self::Kv,
        Self::MqttPublish,
        Self::Secrets,
        Self::Serial,
        Self::Gpio,
        Self::I2c,
        Self::Exec,
    ];

    /// Its key in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Files => "files",
            Self::Tcp => "tcp",
            Self::FilesWrite => "files_write",
            Self::Kv => "kv",
            Self::MqttPublish => "mqtt_publish",
            Self::Secrets => "secrets",
            Self::Serial => "serial",
            Self::Gpio => "gpio",
            Self::I2c => "i2c",
            Self::Exec => "exec",
        }
    }

    /// What is wrong with an entry of this kind, if anything, and what to write.
    fn fault(self, entry: &str) -> Option<&'static str> {
        match self {
            Self::Http | Self::Tcp => {
                let Some((host, port)) = entry.rsplit_once(':') else {
                    return Some("has no port; write `host:port`");
                };
                let known = port == "*" || port.parse::<u16>().is_ok_and(|port| port > 0);
                (host.is_empty() || !known)
                    .then_some("is not `host:port` with a port of 1 to 65535 or `*`")
            }
            Self::Kv => (!KV_SCOPES.contains(&entry)).then_some("is not `workflow` or `plugin`"),
            Self::MqttPublish => topic::check_filter(entry).is_err().then_some(
                "is not an MQTT topic filter; write `plant/+/state` or `alarms/#`, for instance",
            ),
            Self::Secrets => StepId::parse(entry).is_err().then_some(
                "is not the name of a secret: letters, digits and underscores, beginning with a \
                 letter",
            ),
            Self::Files
            | Self::FilesWrite
            | Self::Serial
            | Self::Gpio
            | Self::I2c
            | Self::Exec => PluginName::parse(entry).is_err().then_some(
                "is not a logical name of lower-case letters, digits and dashes; paths and device \
                 files belong in the device's own configuration",
            ),
        }
    }
}

/// What [`Permissions::kv`] can name.
const KV_SCOPES: [&str; 2] = ["workflow", "plugin"];

impl Permissions {
    /// Nothing but the plugin's own memory.
    pub const NONE: Self = Self {
        http: Vec::new(),
        tcp: Vec::new(),
        files: Vec::new(),
        files_write: Vec::new(),
        kv: Vec::new(),
        mqtt_publish: Vec::new(),
        secrets: Vec::new(),
        serial: Vec::new(),
        gpio: Vec::new(),
        i2c: Vec::new(),
        exec: Vec::new(),
        time: false,
        random: false,
    };

    /// The entries of one kind.
    #[must_use]
    pub const fn list(&self, kind: Capability) -> &Vec<String> {
        match kind {
            Capability::Http => &self.http,
            Capability::Files => &self.files,
            Capability::Tcp => &self.tcp,
            Capability::FilesWrite => &self.files_write,
            Capability::Kv => &self.kv,
            Capability::MqttPublish => &self.mqtt_publish,
            Capability::Secrets => &self.secrets,
            Capability::Serial => &self.serial,
            Capability::Gpio => &self.gpio,
            Capability::I2c => &self.i2c,
            Capability::Exec => &self.exec,
        }
    }

    const fn list_mut(&mut self, kind: Capability) -> &mut Vec<String> {
        match kind {
            Capability::Http => &mut self.http,
            Capability::Files => &mut self.files,
            Capability::Tcp => &mut self.tcp,
            Capability::FilesWrite => &mut self.files_write,
            Capability::Kv => &mut self.kv,
            Capability::MqttPublish => &mut self.mqtt_publish,
            Capability::Secrets => &mut self.secrets,
            Capability::Serial => &mut self.serial,
            Capability::Gpio => &mut self.gpio,
            Capability::I2c => &mut self.i2c,
            Capability::Exec => &mut self.exec,
        }
    }

    /// The kinds of which something is asked for, by their keys in a manifest.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        let lists = Capability::ALL.into_iter().filter(|kind| !self.list(*kind).is_empty());
        let mut kinds: Vec<&'static str> = lists.map(Capability::name).collect();
        kinds.extend(self.time.then_some("time"));
        kinds.extend(self.random.then_some("random"));
        kinds
    }

    /// Whether an entry names exactly this. For destinations and topics this is not the question:
    /// those entries are patterns.
    #[must_use]
    pub fn names(&self, kind: Capability, name: &str) -> bool {
        self.list(kind).iter().any(|entry| entry == name)
    }

    /// The parts of `self` that `granted` does not contain, as readable `kind:value` names.
    /// Empty means that everything asked for is granted.
    #[must_use]
    pub fn missing_from(&self, granted: &Self) -> Vec<String> {
        let mut missing = Vec::new();
        for kind in Capability::ALL {
            let given = granted.list(kind);
            let beyond = self.list(kind).iter().filter(|entry| !given.contains(entry));
            missing.extend(beyond.map(|entry| format!("{}:{entry}", kind.name())));
        }
        for (kind, asked, given) in
            [("time", self.time, granted.time), ("random", self.random, granted.random)]
        {
            if asked && !given {
                missing.push(kind.to_owned());
            }
        }
        missing
    }

    /// Checks every entry.
    ///
    /// # Errors
    /// Names the first that cannot be understood.
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        for kind in Capability::ALL {
            let entries = self.list(kind);
            let bad = |entry: &str, reason| ManifestError::Permission {
                kind: kind.name(),
                entry: entry.to_owned(),
                reason,
            };
            if let Some(entry) = entries.get(limits::PERMISSION_ENTRIES) {
                return Err(bad(entry, "is one too many; name at most 64 of a kind"));
            }
            for entry in entries {
                if entry.len() > limits::PERMISSION_BYTES {
                    return Err(bad(entry, "is longer than 256 bytes"));
                }
                if let Some(reason) = kind.fault(entry) {
                    return Err(bad(entry, reason));
                }
            }
        }
        Ok(())
    }

    /// The kinds that have entries and no place of their own in bytes.
    fn more(&self) -> Vec<(u8, &Vec<String>)> {
        let kinds = Capability::ALL.iter().skip(2);
        let lists = kinds.map(|kind| (*kind as u8, self.list(*kind)));
        lists.filter(|(_, entries)| !entries.is_empty()).collect()
    }
}

/// [`Permissions`] in text.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Permissions", deny_unknown_fields)]
struct Named {
    #[serde(default)]
    http: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tcp: Vec<String>,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    files_write: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kv: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mqtt_publish: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    serial: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gpio: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    i2c: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exec: Vec<String>,
    #[serde(default)]
    time: bool,
    #[serde(default)]
    random: bool,
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Named::serialize(self, serializer);
        }
        let more = self.more();
        let flags = if self.random { RANDOM } else { 0 } | if more.is_empty() { 0 } else { MORE };
        let count = if more.is_empty() { FIELDS.0 } else { FIELDS.1 };
        let mut fields = serializer.serialize_tuple(count)?;
        fields.serialize_element(&self.http)?;
        fields.serialize_element(&self.files)?;
        fields.serialize_element(&self.time)?;
        fields.serialize_element(&flags)?;
        if !more.is_empty() {
            fields.serialize_element(&more)?;
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Named::deserialize(deserializer);
        }
        deserializer.deserialize_tuple(FIELDS.1, Ordered)
    }
}

/// Reads [`Permissions`] from bytes.
struct Ordered;

impl<'de> Visitor<'de> for Ordered {
    type Value = Permissions;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("permissions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Permissions, A::Error> {
        let mut permissions = Permissions {
            http: next(&mut fields)?,
            files: next(&mut fields)?,
            time: next(&mut fields)?,
            ..Permissions::default()
        };
        let flags: u8 = next(&mut fields)?;
        permissions.random = flags & RANDOM != 0;
        let more: Vec<(u8, Vec<String>)> = match flags & !RANDOM {
            0 => Vec::new(),
            MORE => next(&mut fields)?,
            _ => return Err(A::Error::custom("permissions with parts that are not known")),
        };
        for (number, entries) in more {
            let kind = Capability::ALL.iter().skip(2).find(|kind| **kind as u8 == number);
            let kind = kind.ok_or_else(|| A::Error::custom("a permission that is not known"))?;
            *permissions.list_mut(*kind) = entries;
        }
        Ok(permissions)
    }
}

fn next<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(fields: &mut A) -> Result<T, A::Error> {
    fields.next_element()?.ok_or_else(|| A::Error::custom("permissions are cut off"))
}

#[cfg(test)]
mod tests;
