//! A tape as a recording has it: for people, and for other programs.

use data_encoding::BASE64;
use serde_json::{Value as Json, json};

use crate::tape::{Answered, Entry, Function, Tape};

impl Tape {
    /// The tape as JSON. An answer that is not text in UTF-8 is in base64.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let calls = (1_u32..).zip(self.entries()).map(|(n, entry)| {
            let mut call = json!({
                "n": n,
                "function": entry.function.name(),
                "arguments": format!("{:016x}", entry.arguments),
                "answered": entry.answered.name(),
                "sum": format!("{:08x}", entry.sum),
            });
            if !entry.label.is_empty() {
                call["what"] = json!(entry.label);
            }
            match std::str::from_utf8(entry.result) {
                Ok(text) => call["result"] = json!(text),
                Err(_) => call["result_base64"] = json!(BASE64.encode(entry.result)),
            }
            call
        });
        let mut tape = json!({ "calls": calls.collect::<Vec<_>>(), "made": self.calls });
        if self.cut != 0 {
            tape["not_recorded_from"] = json!(self.cut);
        }
        tape["end"] = json!({
            "code": self.code,
            "sum": format!("{:016x}", self.end),
            "fuel": self.fuel,
        });
        tape
    }

    /// Reads what [`Tape::to_json`] wrote; other keys may stand beside it.
    ///
    /// # Errors
    /// Says what does not read.
    pub fn from_json(json: &Json) -> Result<Self, String> {
        let mut tape = Self::default();
        let calls = json["calls"].as_array().ok_or("there is no list `calls`")?;
        for (place, call) in calls.iter().enumerate() {
            let wrong = |key: &str| format!("call {}: `{key}` does not read", place + 1);
            let word = |key: &'static str| call[key].as_str().ok_or_else(|| wrong(key));
            let decoded;
            let result = match call["result"].as_str() {
                Some(text) => text.as_bytes(),
                None => {
                    let text = word("result_base64")?;
                    decoded = BASE64.decode(text.as_bytes()).map_err(|_| wrong("result_base64"))?;
                    decoded.as_slice()
                }
            };
            let entry = Entry {
                function: Function::of_name(word("function")?).ok_or_else(|| wrong("function"))?,
                answered: Answered::of_name(word("answered")?).ok_or_else(|| wrong("answered"))?,
                arguments: hex(word("arguments")?).ok_or_else(|| wrong("arguments"))?,
                sum: hex(word("sum")?)
                    .and_then(|sum| u32::try_from(sum).ok())
                    .ok_or_else(|| wrong("sum"))?,
                label: call["what"].as_str().unwrap_or_default(),
                result,
            };
            if u16::try_from(entry.label.len()).is_err() {
                return Err(wrong("what"));
            }
            tape.push(&entry);
        }
        let number = |value: &Json| value.as_u64().and_then(|number| u32::try_from(number).ok());
        tape.calls = number(&json["made"]).ok_or("`made` is no number")?;
        tape.cut = number(&json["not_recorded_from"]).unwrap_or(0);
        let end = &json["end"];
        tape.code = end["code"].as_str().ok_or("`end.code` is no text")?.to_owned();
        tape.end = end["sum"].as_str().and_then(hex).ok_or("`end.sum` does not read")?;
        tape.fuel = end["fuel"].as_u64().ok_or("`end.fuel` is no number")?;
        Ok(tape)
    }
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}
