//! Requests as they are read from the socket. By hand: what is derived for an enum whose tag is
//! among its fields weighs 30 KB of the program.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use serde_json::{Map, Value};

use super::Request;

impl<'de> Deserialize<'de> for Request {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

fn read(fields: Map<String, Value>) -> serde_json::Result<Request> {
    let mut fields = Fields(fields);
    let op: String = fields.take("op")?;
    let request = match op.as_str() {
        "status" => Request::Status,
        "runs" => Request::Runs { limit: fields.take("limit")? },
        "show" => Request::Show { run: fields.take("run")? },
        "start" => {
            Request::Start { workflow: fields.take("workflow")?, inputs: fields.take("inputs")? }
        }
        "wait" => Request::Wait { run: fields.take("run")? },
        "cancel" => Request::Cancel { run: fields.take("run")?, force: fields.take("force")? },
        "signal" => Request::Signal {
            run: fields.take("run")?,
            name: fields.take("name")?,
            data: fields.take_or_default("data")?,
        },
        "approve" => Request::Approve {
            run: fields.take("run")?,
            step: fields.take("step")?,
            choice: fields.take("choice")?,
            form: fields.take_or_default("form")?,
            by: fields.take_or_default("by")?,
        },
        "export" => Request::Export {
            run: fields.take("run")?,
            skip: fields.take("skip")?,
            facts: fields.take_or_default("facts")?,
        },
        "retry" => Request::Retry { run: fields.take("run")?, whole: fields.take("whole")? },
        "record" => {
            Request::Record { workflow: fields.take("workflow")?, next: fields.take("next")? }
        }
        "results" => Request::Results { limit: fields.take("limit")? },
        "logs" => Request::Logs {
            after: fields.take("after")?,
            run: fields.take_or_default("run")?,
            follow: fields.take("follow")?,
        },
        _ => return Err(Error::custom(format_args!("there is no `op` named `{op}`"))),
    };
    match fields.0.keys().next() {
        None => Ok(request),
        Some(field) => Err(Error::custom(format_args!("`{op}` has no field `{field}`"))),
    }
}

/// The fields that are not read yet.
struct Fields(Map<String, Value>);

impl Fields {
    fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> serde_json::Result<T> {
        let value = self.0.remove(name).ok_or_else(|| serde_json::Error::missing_field(name))?;
        serde_json::from_value(value)
            .map_err(|e| serde_json::Error::custom(format_args!("`{name}`: {e}")))
    }

    fn take_or_default<T: DeserializeOwned + Default>(
        &mut self,
        name: &'static str,
    ) -> serde_json::Result<T> {
        if self.0.contains_key(name) { self.take(name) } else { Ok(T::default()) }
    }
}
