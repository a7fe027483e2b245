//! YAML 1.2 or JSON to a tree that knows its places: the core schema, bounded, nothing exotic.
//!
//! JSON is read as the subset of YAML that it is. What the language leaves out (tags, several
//! documents, YAML 1.1's merge keys and its `on`/`off`) is refused or plain text here. The text is
//! never read recursively, so no input can exhaust the stack.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::{Number, Value as Json};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, Span};

use super::problem::{Place, ProblemCode, Problems};
use super::tree::{Entry, Node, Scalar, Tree};
use crate::limits;
use crate::ordered::VecMap;

/// Aliases (`*name`) in one document.
const ALIASES: usize = 64;
/// What the nodes behind anchors and aliases may weigh together.
const COPIED_WEIGHT: usize = 8 * 1024 * 1024;

/// Reads a text. `None` where it cannot be read to the end; `problems` then says why. Faults that
/// leave the rest readable, such as a key that is there twice, are noted too.
pub(in crate::definition) fn read(text: &str, problems: &mut Problems) -> Option<Node> {
    let start = Place { line: 1, column: 1 };
    if text.len() > limits::DOCUMENT_BYTES {
        let (len, most) = (text.len(), limits::DOCUMENT_BYTES);
        let message = format!("the document has {len} bytes, the most is {most}");
        problems.add(ProblemCode::Limit, start, message);
        return None;
    }
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: limits::VALUE_DEPTH + 1,
        block_nesting_limit: limits::VALUE_DEPTH + 1,
    };
    let text = as_yaml(text);
    let mut reader = Reader::new(&text, problems);
    for next in Parser::new_from_str_with_options(&text, options) {
        let read = match next {
            Ok((event, span)) => reader.event(event, &span),
            Err(error) => {
                let mark = error.marker();
                let at = place(mark.line(), mark.col());
                Err(Fault { code: ProblemCode::Yaml, at, message: error.info() })
            }
        };
        if let Err(Fault { code, at, message }) = read {
            reader.problems.add(code, at, message);
            return None;
        }
    }
    let root = reader.root.take();
    if root.is_none() {
        problems.suggest(
            ProblemCode::Yaml,
            start,
            "the document is empty",
            "begin with `workflow: some-name` and `steps:`",
        );
    }
    root
}

/// JSON allows control characters in its strings that YAML does not (YAML 1.2.2 §5.1): they are
/// escaped, which only moves places on a line that has one.
fn as_yaml(text: &str) -> Cow<'_, str> {
    let odd = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let is_json = || serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !text.contains(odd) || !is_json() {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if odd(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// What makes the rest of the document unreadable.
struct Fault {
    code: ProblemCode,
    at: Place,
    message: String,
}

struct Reader<'a, 'p> {
    text: &'a str,
    problems: &'p mut Problems,
    open: Vec<Frame>,
    anchors: VecMap<usize, Node>,
    aliases: usize,
    copied: usize,
    root: Option<Node>,
}

/// A list or map that is being read.
struct Frame {
    at: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, seen: BTreeSet<String>, key: Option<(String, Place)> },
}

impl<'a, 'p> Reader<'a, 'p> {
    fn new(text: &'a str, problems: &'p mut Problems) -> Self {
        let (open, anchors) = (Vec::new(), VecMap::new());
        Self { text, problems, open, anchors, aliases: 0, copied: 0, root: None }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the type is non-exhaustive")]
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Fault> {
        let at = place(span.start.line(), span.start.col());
        if event.tag().is_some() {
            let message = "tags (`!name`) are not part of the language; remove it";
            self.problems.add(ProblemCode::Yaml, at, message);
        }
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let scalar = self.scalar(&text, style, span, at);
                self.node(Node { at, tree: Tree::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.enter(Frame { at, anchor, content: Content::List(Vec::new()) })
            }
            Event::MappingStart(_, anchor, _) => {
                let (entries, seen) = (Vec::new(), BTreeSet::new());
                self.enter(Frame { at, anchor, content: Content::Map { entries, seen, key: None } })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Frame { at, anchor, content }) = self.open.pop() else { return Ok(()) };
                let tree = match content {
                    Content::List(items) => Tree::List(items),
                    Content::Map { entries, .. } => Tree::Map(entries),
                };
                self.node(Node { at, tree }, anchor)
            }
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Fault::yaml(at, "a second document begins here; one file holds one workflow"))
            }
            // The type grows with the parser; nothing else of it holds data.
            _ => Ok(()),
        }
    }

    fn enter(&mut self, frame: Frame) -> Result<(), Fault> {
        let in_key =
            matches!(self.open.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }));
        if in_key {
            return Err(Fault::yaml(frame.at, "a key must be a text, not a list or map"));
        }
        if self.open.len() >= limits::VALUE_DEPTH {
            return Err(Fault::too_deep(frame.at));
        }
        self.open.push(frame);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Result<(), Fault> {
        self.aliases += 1;
        if self.aliases > ALIASES {
            let message = format!("more than {ALIASES} aliases (`*name`); write the value out");
            return Err(Fault { code: ProblemCode::Limit, at, message });
        }
        let Some(found) = self.anchors.get(&anchor) else {
            return Err(Fault::yaml(at, "the alias names a value that it is itself part of"));
        };
        if self.open.len() + found.depth() > limits::VALUE_DEPTH {
            return Err(Fault::too_deep(at));
        }
        self.copied += found.weight();
        self.check_copied(at)?;
        let node = found.clone();
        self.node(node, 0)
    }

    fn check_copied(&self, at: Place) -> Result<(), Fault> {
        if self.copied <= COPIED_WEIGHT {
            return Ok(());
        }
        let message = "aliases make the document too large; write less or nest them less";
        Err(Fault { code: ProblemCode::Limit, at, message: message.to_owned() })
    }

    /// Puts a finished node where it belongs: under the open list or map, or at the root.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.copied += node.weight();
            self.check_copied(node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        let (entries, seen, key) = match &mut frame.content {
            Content::List(items) => {
                items.push(node);
                return Ok(());
            }
            Content::Map { entries, seen, key } => (entries, seen, key),
        };
        let Some((name, at)) = key.take() else {
            let Tree::Scalar(scalar) = node.tree else {
                return Err(Fault::yaml(node.at, "a key must be a text, not a list or map"));
            };
            if scalar.text == "<<" && scalar.lead == Some(0) {
                let message = "`<<` merges maps in YAML 1.1 only; write the keys out";
                self.problems.add(ProblemCode::Yaml, node.at, message);
            }
            *key = Some((scalar.text, node.at));
            return Ok(());
        };
        if seen.insert(name.clone()) {
            entries.push(Entry { key: name, at, value: node });
        } else {
            let message = format!("the key `{}` is here twice; remove one", excerpt(&name));
            self.problems.add(ProblemCode::Yaml, at, message);
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the type is non-exhaustive")]
    fn scalar(&mut self, text: &str, style: ScalarStyle, span: &Span, at: Place) -> Scalar {
        let source = span.slice(self.text).unwrap_or_default();
        let value = if style == ScalarStyle::Plain {
            plain(text).unwrap_or_else(|| {
                let message = format!("`{text}` is no number that JSON knows");
                self.problems.add(ProblemCode::Yaml, at, message);
                Json::Null
            })
        } else {
            Json::String(text.to_owned())
        };
        let lead = match style {
            ScalarStyle::Plain if source == text => Some(0),
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted
                if source.get(1..source.len().saturating_sub(1)) == Some(text) =>
            {
                Some(1)
            }
            // Block scalars, whose lines are indented, and styles to come.
            _ => None,
        };
        Scalar { value, text: text.to_owned(), lead }
    }
}

impl Fault {
    fn yaml(at: Place, message: &str) -> Self {
        Self { code: ProblemCode::Yaml, at, message: message.to_owned() }
    }

    fn too_deep(at: Place) -> Self {
        let message = format!("lists and maps are nested more than {} deep", limits::VALUE_DEPTH);
        Self { code: ProblemCode::Limit, at, message }
    }
}

fn place(line: usize, column_from_zero: usize) -> Place {
    let fit = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: fit(line), column: fit(column_from_zero.saturating_add(1)) }
}

/// Shortens text from the document for use in a message.
pub(in crate::definition) fn excerpt(text: &str) -> String {
    const CHARS: usize = 60;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A plain scalar by the core schema (YAML 1.2.2 §10.3.2); `None` for infinities and NaN, which
/// JSON cannot write.
fn plain(text: &str) -> Option<Json> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Json::Null),
        "true" | "True" | "TRUE" => return Some(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Json::Bool(false)),
        ".nan" | ".NaN" | ".NAN" => return None,
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return None;
    }
    let radix = |prefix: &str, base: u32| {
        let digits =
            text.strip_prefix(prefix).filter(|rest| rest.chars().all(|c| c.is_digit(base)));
        digits.and_then(|rest| u64::from_str_radix(rest, base).ok())
    };
    if let Some(number) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(Json::from(number));
    }
    if !is_decimal(unsigned) {
        return Some(Json::String(text.to_owned()));
    }
    let without_plus = text.strip_prefix('+').unwrap_or(text);
    if let Ok(number) = without_plus.parse::<i64>() {
        return Some(Json::from(number));
    }
    if let Ok(number) = without_plus.parse::<u64>() {
        return Some(Json::from(number));
    }
    without_plus.parse().ok().and_then(Number::from_f64).map(Json::Number)
}

/// `[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?` or the same beginning with the point.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_ok = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && digits(text)
    });
    (!whole.is_empty() || !part.is_empty()) && digits(whole) && digits(part) && exponent_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        let mut problems = Problems::default();
        let node = read(text, &mut problems);
        assert!(problems.is_empty(), "{text}: {}", problems.into_error());
        node.unwrap().json()
    }

    fn wrong(text: &str) -> String {
        let mut problems = Problems::default();
        read(text, &mut problems);
        assert!(!problems.is_empty(), "{text} was read");
        problems.into_error().to_string()
    }

    #[test]
    fn the_core_schema_and_nothing_of_yaml_1_1() {
        let text = "[~, null, true, FALSE, on, off, yes, no, 12:30:00, 0o17, 0x1F, 017, 1_000, \
                    -5, +5, 1.5, .5, 5., 1e3, 'true', \"1\", 18446744073709551615, 1e, .]";
        let expected = serde_json::json!([
            null,
            null,
            true,
            false,
            "on",
            "off",
            "yes",
            "no",
            "12:30:00",
            15,
            31,
            17,
            "1_000",
            -5,
            5,
            1.5,
            0.5,
            5.0,
            1000.0,
            "true",
            "1",
            u64::MAX,
            "1e",
            "."
        ]);
        assert_eq!(json(text), expected);
    }

    #[test]
    fn aliases_are_followed() {
        assert_eq!(json("a: &x [1, 2]\nb: *x\n"), serde_json::json!({"a": [1, 2], "b": [1, 2]}));
    }

    #[test]
    fn what_is_refused() {
        let bomb = (1..12).fold("a0: &a0 [1, 2, 3]\n".to_owned(), |text, n| {
            let copies = vec![format!("*a{}", n - 1); 5].join(", ");
            format!("{text}a{n}: &a{n} [{copies}]\n")
        });
        for (text, part) in [
            ("", "1:1: E_YAML: the document is empty"),
            ("a: 1\n---\nb: 1", "second document"),
            ("a: 1\na: 2", "2:1: E_YAML: the key `a` is here twice"),
            ("a: !!str 1", "tags"),
            ("a: &x 1\nb: {<<: *x}", "2:5: E_YAML: `<<` merges"),
            ("? [1]\n: 2", "a key must be a text"),
            ("a: *nowhere", "1:4: E_YAML"),
            ("a: &x [*x]", "itself part of"),
            ("a: .inf", "no number that JSON knows"),
            ("a: [1", "E_YAML"),
            (&bomb, "E_LIMIT"),
            (&"[".repeat(100_000), "E_"),
            (&format!("{}1{}", "[".repeat(65), "]".repeat(65)), "nested more than 64 deep"),
            (&"x".repeat(limits::DOCUMENT_BYTES + 1), "E_LIMIT: the document has 262145 bytes"),
        ] {
            let error = wrong(text);
            assert!(error.contains(part), "{text:.40}: {error}");
        }
        let deepest = format!("{}1{}", "[".repeat(64), "]".repeat(64));
        json(&deepest);
    }

    #[test]
    fn places_inside_scalars() {
        let mut problems = Problems::default();
        let node = read("a: été + 1\nb: \"x y\"\nc: \"x\\ty\"\n", &mut problems).unwrap();
        let entries = node.map().unwrap();
        let column = |n: usize, offset| entries[n].value.place_of(offset).column;
        assert_eq!((column(0, 6), column(1, 2), column(2, 2)), (8, 7, 4));
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            any::<String>().prop_map(Json::from),
            "[ -~\u{7f}-\u{a0}\u{2028}\u{feff}\u{fffe}]{0,8}".prop_map(Json::from),
        ];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_is_read_as_json(json in any_json()) {
            for text in [json.to_string(), serde_json::to_string_pretty(&json).unwrap()] {
                let mut problems = Problems::default();
                let node = read(&text, &mut problems);
                prop_assert!(problems.is_empty(), "{}\n{}", text, problems.into_error());
                prop_assert_eq!(&node.unwrap().json(), &json, "{}", text);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ -~\n\t]{0,200}") {
            let mut problems = Problems::default();
            let node = read(&text, &mut problems);
            prop_assert!(node.is_some() || !problems.is_empty());
        }
    }
}
