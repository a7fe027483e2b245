//! What a step waits for, in one line for people.

use std::fmt;

use serde_json::Value;

use super::WaitView;

/// The reason, with what people have to know to answer it: an approval's question and choices, a
/// call's run.
impl fmt::Display for WaitView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        let details = self.details.as_ref();
        let detail = |name: &str| details.and_then(|details| details.get(name));
        let text = |name: &str| detail(name).and_then(Value::as_str);
        if let Some(prompt) = text("prompt") {
            write!(f, ": {prompt}")?;
        }
        if let Some(choices) = detail("choices").and_then(Value::as_array) {
            let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
            write!(f, " ({})", choices.join(" | "))?;
        }
        if let Some(run) = text("run") {
            write!(f, " {run}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wait_says_what_people_have_to_know() {
        let shown = |reason: &str, details: Option<Value>| {
            WaitView { reason: reason.to_owned(), details }.to_string()
        };
        assert_eq!(shown("mqtt", None), "mqtt");
        assert_eq!(shown("call", Some(json!({ "run": "0123-4" }))), "call 0123-4");
        let asked = json!({ "prompt": "Open?", "roles": [], "choices": ["yes", "no"], "form": {} });
        assert_eq!(shown("approval", Some(asked)), "approval: Open? (yes | no)");
        assert_eq!(shown("later", Some(json!([1, { "prompt": 3 }]))), "later");
    }
}
