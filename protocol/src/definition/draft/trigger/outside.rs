//! Triggers that somebody outside the agent sets off: `webhook` and `file`.

use super::super::Draft;
use super::super::fields::{Fields, did_you_mean};
use super::super::problem::{Place, ProblemCode};
use super::super::read::excerpt;
use super::super::tree::Node;
use crate::definition::model::{FileEvent, Hmac, Trigger, TriggerKind};
use crate::glob;
use crate::limits;

/// The methods that a `webhook` may listen to, in order.
const METHODS: [&str; 5] = ["DELETE", "GET", "PATCH", "POST", "PUT"];
/// Those of which a request has no body.
const BARE: [&str; 2] = ["DELETE", "GET"];

impl Draft {
    pub(super) fn webhook(&mut self, node: &Node) -> Option<TriggerKind> {
        let mut fields = Fields::of(node, "`webhook`", &mut self.problems)?;
        let path = fields.need("path", "path: /orders", &mut self.problems);
        let path = path.and_then(|node| self.hook_path(node));
        let methods = fields.take_set("methods").map(|node| self.methods(node));
        let hmac = fields.take_set("hmac");
        let auth = fields.take_set("auth");
        let auth = auth.map(|node| (node, self.choice::<String>(node, "auth", &["none"])));
        fields.finish(&[], &mut self.problems);
        let hmac = match (hmac, auth) {
            (Some(node), None) => self.hmac(node).map(Some),
            (None, Some((_, read))) => read.map(|_| None),
            (Some(_), Some((node, _))) => {
                let message = "a webhook has `hmac` or `auth: none`, not both";
                self.problems.suggest(ProblemCode::Value, node.at, message, "remove one of them");
                None
            }
            (None, None) => {
                let message = "the webhook does not say who may call it";
                let suggestion = "add `hmac: NAME_OF_A_SECRET`, or `auth: none` if anybody who \
                                  reaches it may";
                self.problems.suggest(ProblemCode::MissingKey, node.at, message, suggestion);
                None
            }
        };
        let methods = methods.unwrap_or_else(|| Some(vec!["POST".to_owned()]))?;
        let hmac = hmac?;
        // Of nothing there is one signature, and whoever has seen it may call for ever.
        let bare = methods.iter().find(|method| BARE.contains(&method.as_str()));
        if let Some(method) = bare.filter(|_| hmac.is_some()) {
            let message = format!("{method} has no body that `hmac` could be about");
            let suggestion = "use POST, PUT or PATCH";
            self.problems.suggest(ProblemCode::Value, node.at, message, suggestion);
        }
        Some(TriggerKind::Webhook { path: path?, methods, hmac })
    }

    /// That no webhook before it in the document listens to the same.
    pub(super) fn is_free_hook(&mut self, before: &[Trigger], kind: &TriggerKind, at: Place) {
        let TriggerKind::Webhook { path, methods, .. } = kind else { return };
        let same = before.iter().find(|one| {
            matches!(&one.kind, TriggerKind::Webhook { path: other, methods: others, .. }
                if other == path && others.iter().any(|method| methods.contains(method)))
        });
        if let Some(other) = same {
            let message = format!("the webhook of trigger `{}` listens to the same", other.id);
            let suggestion = "give it another `path` or other `methods`";
            self.problems.suggest(ProblemCode::Value, at, message, suggestion);
        }
    }

    fn hook_path(&mut self, node: &Node) -> Option<String> {
        let path = self.text(node, "path")?;
        let is_part = |part: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
            !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain)
        };
        let rest = path.strip_prefix('/').filter(|_| path.len() <= limits::WEBHOOK_PATH_BYTES);
        if rest.is_some_and(|rest| rest.split('/').all(is_part)) {
            return Some(path);
        }
        let message = format!(
            "`path` must be `/` and names of letters, digits and `-._~` with `/` between them, of \
             {} bytes at most",
            limits::WEBHOOK_PATH_BYTES
        );
        self.problems.suggest(ProblemCode::Value, node.at, message, "write it as `/orders/new`");
        None
    }

    fn methods(&mut self, node: &Node) -> Option<Vec<String>> {
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        if items.is_empty() {
            return self.wrong_type(node, "methods", "a list of methods such as `[POST]`");
        }
        let mut methods = Vec::new();
        for item in items {
            methods.push(self.choice::<String>(item, "methods", &METHODS)?);
        }
        methods.sort_unstable();
        methods.dedup();
        Some(methods)
    }

    /// The name of a declared secret, as it is or as `{secret, header}`.
    fn hmac(&mut self, node: &Node) -> Option<Hmac> {
        let (name, header) = match node.map() {
            None => (node, None),
            Some(_) => {
                let mut fields = Fields::of(node, "`hmac`", &mut self.problems)?;
                let name = fields.need("secret", "secret: hook_key", &mut self.problems);
                let header = fields.take_set("header");
                fields.finish(&[], &mut self.problems);
                (name?, header)
            }
        };
        let secret = self.text(name, "secret")?;
        if !self.secrets.contains(&secret) {
            let message =
                format!("there is no secret `{}`; declare it under `secrets`", excerpt(&secret));
            let suggestion = did_you_mean(&secret, self.secrets.iter().map(String::as_str));
            self.problems.push(ProblemCode::UnknownRef, name.at, message, suggestion);
        }
        let header = match header {
            None => Hmac::HEADER.to_owned(),
            Some(node) => self.header(node)?,
        };
        Some(Hmac { secret, header })
    }

    /// A path, as it is or as `{path, events, settle}`.
    pub(super) fn on_file(&mut self, node: &Node) -> Option<TriggerKind> {
        let (mut events, mut settle) = (None, None);
        let path = if node.map().is_some() {
            let mut fields = Fields::of(node, "`file`", &mut self.problems)?;
            let path = fields.need("path", "path: inbox/*.csv", &mut self.problems);
            events = fields.take_set("events").map(|node| self.file_events(node));
            settle = fields.take_set("settle").map(|node| self.duration(node, "settle"));
            fields.finish(&[], &mut self.problems);
            path.and_then(|node| self.file_path(node, "path"))
        } else {
            self.file_path(node, "file")
        };
        Some(TriggerKind::File {
            path: path?,
            events: events.unwrap_or_else(|| Some(FileEvent::USUAL.to_vec()))?,
            settle_ms: settle.unwrap_or(Some(limits::FILE_SETTLE_MS))?,
        })
    }

    fn file_path(&mut self, node: &Node, key: &str) -> Option<String> {
        let path = self.text(node, key)?;
        let checked = if path.contains("${") {
            Err("what a trigger watches must be known before a run, without `${ }`")
        } else {
            glob::check(&path)
        };
        match checked {
            Ok(()) => Some(path),
            Err(reason) => {
                self.problems.add(ProblemCode::Value, node.at, format!("`{key}`: {reason}"));
                None
            }
        }
    }

    fn file_events(&mut self, node: &Node) -> Option<Vec<FileEvent>> {
        let items = node.list().unwrap_or(std::slice::from_ref(node));
        if items.is_empty() {
            return self.wrong_type(node, "events", "a list such as `[created, modified]`");
        }
        let mut events = Vec::new();
        for item in items {
            events.push(self.choice(item, "events", &["created", "modified", "deleted"])?);
        }
        crate::ordered::sort(&mut events);
        events.dedup();
        Some(events)
    }

    fn header(&mut self, node: &Node) -> Option<String> {
        let header = self.text(node, "header")?.to_ascii_lowercase();
        let is_name = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        if !header.is_empty() && header.len() <= limits::ID_BYTES && header.bytes().all(is_name) {
            return Some(header);
        }
        let message = "`header` must be the name of a header, such as `X-Hub-Signature-256`";
        self.problems.add(ProblemCode::Value, node.at, message);
        None
    }
}
