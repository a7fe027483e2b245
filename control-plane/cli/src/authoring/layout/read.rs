//! A YAML text as a tree of its own words, with the comments.

use serde_saphyr::granit_parser::{
    self, Event, Parser, Placement, ScalarStyle, Span, StructureStyle,
};

use super::Unformatted;

/// How deep lists and maps may be nested in one another.
const DEPTH: usize = 65;

/// A document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Node,
    /// Comments behind everything.
    pub(super) tail: Vec<Comment>,
}

/// A comment of its own line.
#[derive(Debug, Clone)]
pub(super) struct Comment {
    /// From `#` on.
    pub(super) text: String,
    /// From 0.
    pub(super) column: usize,
    /// There is an empty line above it.
    pub(super) gap: bool,
}

/// A value.
#[derive(Debug)]
pub(super) struct Node {
    /// `&name`, where it has one.
    pub(super) anchor: Option<String>,
    pub(super) content: Content,
    /// A comment behind it, in the same line.
    pub(super) trail: Option<Comment>,
}

#[derive(Debug)]
pub(super) enum Content {
    /// A scalar or alias as it stands in the source.
    Word(String),
    /// A block scalar: its header, and its lines without their indentation.
    Block {
        header: String,
        lines: Vec<String>,
    },
    List {
        flow: bool,
        items: Vec<Item>,
        tail: Vec<Comment>,
    },
    Map {
        flow: bool,
        entries: Vec<Item>,
        tail: Vec<Comment>,
    },
}

/// An item of a list or an entry of a map.
#[derive(Debug)]
pub(super) struct Item {
    /// There is an empty line above it.
    pub(super) gap: bool,
    /// Comments above it.
    pub(super) lead: Vec<Comment>,
    /// The key of an entry.
    pub(super) key: Option<String>,
    /// A comment behind the key, in the same line.
    pub(super) head: Option<Comment>,
    pub(super) value: Node,
}

/// A list or map that is being read.
struct Frame {
    flow: bool,
    is_map: bool,
    column: usize,
    anchor: Option<String>,
    items: Vec<Item>,
    /// Comments above the next item, and what is known of it.
    key: Option<(String, bool, Vec<Comment>)>,
    /// A comment behind that key.
    head: Option<Comment>,
    tail: Vec<Comment>,
}

/// Reads a text of one document.
pub(super) fn read(text: &str) -> Result<Document, Unformatted> {
    let options = granit_parser::options! {
        emit_comments: true,
        emit_anchor_events: true,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let mut reader = Reader {
        text,
        lines: text.lines().collect(),
        open: Vec::new(),
        above: Vec::new(),
        anchor: None,
        root: None,
        last_line: 0,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| Unformatted::Unreadable(error.to_string()))?;
        reader.event(event, &span)?;
    }
    let tail = std::mem::take(&mut reader.above);
    let root = reader.root.ok_or_else(|| Unformatted::Unreadable("it is empty".to_owned()))?;
    Ok(Document { root, tail })
}

struct Reader<'a> {
    text: &'a str,
    lines: Vec<&'a str>,
    open: Vec<Frame>,
    /// Comments of their own lines that belong to what comes next.
    above: Vec<Comment>,
    /// The anchor of the value that comes next.
    anchor: Option<String>,
    root: Option<Node>,
    /// The line, from 1, in which the last key or value ended.
    last_line: usize,
}

impl Reader<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the type is non-exhaustive")]
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Unformatted> {
        let line = span.start.line();
        if event.tag().is_some() {
            return Err(Unformatted::Unkept { line, what: "a tag" });
        }
        match event {
            Event::Comment(words, placement) => {
                let comment = Comment {
                    text: format!("#{}", words.trim_end()),
                    column: span.start.col(),
                    gap: self.is_gap_above(line),
                };
                self.comment(comment, placement == Placement::Right && self.last_line == line)
            }
            Event::DocumentStart(explicit, version) => {
                if version.is_some() || self.root.is_some() || explicit && !self.above.is_empty() {
                    return Err(Unformatted::Unkept {
                        line,
                        what: "a directive or second document",
                    });
                }
                Ok(())
            }
            Event::Anchor(_, name) => {
                // It follows the node that it belongs to.
                self.name(format!("&{name}"), line)
            }
            Event::Scalar(_, style, _, _) => {
                let content = self.scalar(style, span)?;
                self.value(Node { anchor: None, content, trail: None }, span)
            }
            Event::Alias(_) => {
                let words = span.slice(self.text).unwrap_or_default().to_owned();
                self.value(Node { anchor: None, content: Content::Word(words), trail: None }, span)
            }
            Event::SequenceStart(style, ..) => self.enter(false, style, span),
            Event::MappingStart(style, ..) => self.enter(true, style, span),
            Event::SequenceEnd | Event::MappingEnd => self.leave(span),
            _ => Ok(()),
        }
    }

    fn is_gap_above(&self, line: usize) -> bool {
        let above = line.checked_sub(2).and_then(|n| self.lines.get(n));
        above.is_some_and(|line| line.trim().is_empty())
    }

    fn comment(&mut self, comment: Comment, right: bool) -> Result<(), Unformatted> {
        if !right {
            self.above.push(comment);
            return Ok(());
        }
        if let Some(frame) = self.open.last_mut() {
            if frame.key.is_some() {
                frame.head = Some(comment);
                return Ok(());
            }
            if let Some(item) = frame.items.last_mut() {
                item.value.trail = Some(comment);
                return Ok(());
            }
            // Behind an opening bracket or dash: it goes above what follows.
            self.above.push(comment);
            return Ok(());
        }
        match &mut self.root {
            Some(root) => root.trail = Some(comment),
            None => self.above.push(comment),
        }
        Ok(())
    }

    fn name(&mut self, name: String, line: usize) -> Result<(), Unformatted> {
        let Some(frame) = self.open.last_mut() else {
            return Err(Unformatted::Unkept { line, what: "an anchor of the whole document" });
        };
        // A collection has just been entered, or a scalar has just been put away.
        if frame.items.is_empty()
            && frame.key.is_none()
            && frame.anchor.is_none()
            && self.anchor.is_some()
        {
            frame.anchor = Some(name);
            self.anchor = None;
            return Ok(());
        }
        match frame.items.last_mut().filter(|_| frame.key.is_none()) {
            Some(item) => {
                item.value.anchor = Some(name);
                Ok(())
            }
            None => Err(Unformatted::Unkept { line, what: "an anchor of a key" }),
        }
    }

    fn enter(
        &mut self,
        is_map: bool,
        style: StructureStyle,
        span: &Span,
    ) -> Result<(), Unformatted> {
        let line = span.start.line();
        let in_key = self.open.last().is_some_and(|frame| frame.is_map && frame.key.is_none());
        if in_key {
            return Err(Unformatted::Unkept { line, what: "a key that is no text" });
        }
        if let Some(frame) = self.open.last_mut()
            && !frame.is_map
        {
            let lead = std::mem::take(&mut self.above);
            let gap = lead.first().map_or_else(|| gap_above(&self.lines, line), |first| first.gap);
            frame.key = Some((String::new(), gap, lead));
        }
        let flow = style == StructureStyle::Flow;
        self.anchor = Some(String::new());
        self.open.push(Frame {
            flow,
            is_map,
            column: span.start.col(),
            anchor: None,
            items: Vec::new(),
            key: None,
            head: None,
            tail: Vec::new(),
        });
        if flow {
            self.last_line = line;
        }
        Ok(())
    }

    fn leave(&mut self, span: &Span) -> Result<(), Unformatted> {
        self.anchor = None;
        let Some(mut frame) = self.open.pop() else { return Ok(()) };
        // Comments that stand under the items belong to them, others to what comes after.
        let own = self.above.iter().take_while(|c| frame.flow || c.column >= frame.column).count();
        frame.tail.extend(self.above.drain(..own));
        let Frame { flow, is_map, anchor, items, tail, .. } = frame;
        let content = if is_map {
            Content::Map { flow, entries: items, tail }
        } else {
            Content::List { flow, items, tail }
        };
        if flow {
            self.last_line = span.end.line();
        }
        self.put(Node { anchor, content, trail: None });
        Ok(())
    }

    fn scalar(&self, style: ScalarStyle, span: &Span) -> Result<Content, Unformatted> {
        let words = span.slice(self.text).unwrap_or_default();
        let line = span.start.line();
        if !matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            return Ok(Content::Word(words.trim_end().to_owned()));
        }
        // The span begins with the first letter; the header and what is before that letter are not
        // in it.
        let range = span.byte_range().unwrap_or_default();
        let before = self.text.get(..range.start).unwrap_or_default().trim_end();
        let is_header = |c: char| matches!(c, '|' | '>' | '+' | '-') || c.is_ascii_digit();
        let header = &before[before.trim_end_matches(is_header).len()..];
        if !header.starts_with(['|', '>']) || header.contains(|c: char| c.is_ascii_digit()) {
            let what = "a block of text with an indentation or comment in its header";
            return Err(Unformatted::Unkept { line, what });
        }
        let whole = self.text.get(before.len()..range.end).unwrap_or_default();
        let body: Vec<&str> = whole.lines().skip(1).collect();
        let depth = |line: &&str| line.len() - line.trim_start_matches(' ').len();
        let filled = body.iter().filter(|line| !line.trim_matches(' ').is_empty());
        let margin = filled.map(depth).min().unwrap_or(0);
        let mut lines: Vec<String> =
            body.iter().map(|line| line.get(margin..).unwrap_or_default().to_owned()).collect();
        if !header.contains('+') {
            while lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
        }
        Ok(Content::Block { header: header.to_owned(), lines })
    }

    /// A scalar: a key where one is due, else a value.
    fn value(&mut self, node: Node, span: &Span) -> Result<(), Unformatted> {
        let line = span.start.line();
        self.last_line = span.end.line().max(line);
        self.anchor = None;
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        if frame.key.is_none() {
            let lead = std::mem::take(&mut self.above);
            let gap = lead.first().map_or_else(|| gap_above(&self.lines, line), |first| first.gap);
            if frame.is_map {
                let Content::Word(words) = node.content else {
                    return Err(Unformatted::Unkept { line, what: "a key of several lines" });
                };
                if words.contains('\n') || words.is_empty() {
                    return Err(Unformatted::Unkept {
                        line,
                        what: "a key of several lines, or of none",
                    });
                }
                frame.key = Some((words, gap, lead));
                return Ok(());
            }
            frame.key = Some((String::new(), gap, lead));
        }
        self.put(node);
        Ok(())
    }

    /// Puts a finished value into the open list or map.
    fn put(&mut self, node: Node) {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        let (key, gap, lead) = frame.key.take().unwrap_or_default();
        let key = frame.is_map.then_some(key);
        frame.items.push(Item { gap, lead, key, head: frame.head.take(), value: node });
    }
}

fn gap_above(lines: &[&str], line: usize) -> bool {
    line.checked_sub(2).and_then(|n| lines.get(n)).is_some_and(|line| line.trim().is_empty())
}

impl Document {
    /// The words of all comments, sorted.
    pub(super) fn comments(&self) -> Vec<String> {
        let mut found: Vec<String> = self.tail.iter().map(|comment| comment.text.clone()).collect();
        self.root.comments(&mut found);
        found.sort();
        found
    }
}

impl Node {
    fn comments(&self, found: &mut Vec<String>) {
        found.extend(self.trail.iter().map(|comment| comment.text.clone()));
        let (items, tail) = match &self.content {
            Content::Word(_) | Content::Block { .. } => return,
            Content::List { items, tail, .. } => (items, tail),
            Content::Map { entries, tail, .. } => (entries, tail),
        };
        found.extend(tail.iter().map(|comment| comment.text.clone()));
        for item in items {
            let own = item.lead.iter().chain(&item.head);
            found.extend(own.map(|comment| comment.text.clone()));
            item.value.comments(found);
        }
    }

    /// Whether there is a comment inside it.
    pub(super) fn has_comments(&self) -> bool {
        let mut found = Vec::new();
        self.comments(&mut found);
        found.len() > usize::from(self.trail.is_some())
    }
}
