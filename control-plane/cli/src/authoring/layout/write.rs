//! A tree of words as text, in the one layout.

use super::read::{Comment, Content, Document, Item, Node};

/// Lines are not longer than this, where that can be helped.
const WIDTH: usize = 100;
/// Blanks for each level.
const STEP: usize = 2;

/// As YAML.
pub(super) fn yaml(document: &Document) -> String {
    let mut out = Writer::default();
    out.block(&document.root, 0, Start::Line);
    out.end(document.root.trail.as_ref());
    for comment in &document.tail {
        out.own_line(comment, 0, !out.out.is_empty());
    }
    out.out
}

/// As JSON, every list and map in lines of its own.
pub(super) fn json(document: &Document) -> String {
    let mut out = String::new();
    json_node(&mut out, &document.root, 0);
    out.push('\n');
    out
}

fn json_node(out: &mut String, node: &Node, depth: usize) {
    let (items, brackets) = match &node.content {
        Content::Word(words) => return out.push_str(words),
        Content::Block { lines, .. } => return out.push_str(&lines.join("\n")),
        Content::List { items, .. } => (items, ['[', ']']),
        Content::Map { entries, .. } => (entries, ['{', '}']),
    };
    out.push(brackets[0]);
    for (n, item) in items.iter().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(STEP * (depth + 1)));
        if let Some(key) = &item.key {
            out.push_str(key);
            out.push_str(": ");
        }
        json_node(out, &item.value, depth + 1);
    }
    if !items.is_empty() {
        out.push('\n');
        out.push_str(&" ".repeat(STEP * depth));
    }
    out.push(brackets[1]);
}

/// Where a list or map begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// At the beginning of a line, not yet indented.
    Line,
    /// Behind the dash of a list.
    Dash,
}

#[derive(Debug, Default)]
struct Writer {
    out: String,
}

impl Writer {
    /// Characters in the line at hand.
    fn column(&self) -> usize {
        let line = self.out.rsplit('\n').next().unwrap_or_default();
        line.chars().count()
    }

    /// Ends the line, behind a comment.
    fn end(&mut self, comment: Option<&Comment>) {
        if let Some(comment) = comment {
            // Comments that stand in a column stay in it, where there is room.
            let blanks = comment.column.saturating_sub(self.column()).max(2);
            self.out.push_str(&" ".repeat(blanks));
            self.out.push_str(&comment.text);
        }
        if self.column() > 0 {
            while self.out.ends_with(' ') {
                self.out.pop();
            }
            self.out.push('\n');
        }
    }

    fn indent(&mut self, depth: usize) {
        self.out.push_str(&" ".repeat(depth));
    }

    fn own_line(&mut self, comment: &Comment, depth: usize, may_gap: bool) {
        if comment.gap && may_gap {
            self.out.push('\n');
        }
        self.indent(depth);
        self.out.push_str(&comment.text);
        self.out.push('\n');
    }

    /// Writes a value as block, up to but without the end of its last line. A list or map ends its
    /// lines itself.
    fn block(&mut self, node: &Node, depth: usize, start: Start) {
        let (items, tail, is_map) = match &node.content {
            Content::Word(_) | Content::Block { .. } => {
                if start == Start::Line {
                    self.indent(depth);
                }
                return self.scalar(node, depth);
            }
            Content::List { items, tail, .. } => (items, tail, false),
            Content::Map { entries, tail, .. } => (entries, tail, true),
        };
        if items.is_empty() {
            if start == Start::Line {
                self.indent(depth);
            }
            self.out.push_str(if is_map { "{}" } else { "[]" });
            return;
        }
        for (n, item) in items.iter().enumerate() {
            let behind_dash = n == 0 && start == Start::Dash;
            if !behind_dash {
                self.above(item, depth, n > 0);
                self.indent(depth);
            }
            self.item(item, depth);
        }
        for comment in tail {
            self.own_line(comment, depth, true);
        }
    }

    /// The empty line and comments above an item.
    fn above(&mut self, item: &Item, depth: usize, may_gap: bool) {
        let may_gap = may_gap && !self.out.ends_with("\n\n");
        for (n, comment) in item.lead.iter().enumerate() {
            self.own_line(comment, depth, may_gap || n > 0);
        }
        if item.lead.is_empty() && item.gap && may_gap {
            self.out.push('\n');
        }
    }

    /// An item or entry, from its dash or key to the end of its last line.
    fn item(&mut self, item: &Item, depth: usize) {
        let Item { key, head, value, .. } = item;
        match key {
            Some(key) => {
                self.out.push_str(key);
                self.out.push(':');
            }
            None => self.out.push('-'),
        }
        if let Some(anchor) = &value.anchor {
            self.out.push(' ');
            self.out.push_str(anchor);
        }
        if let Some(inline) = self.inline(value) {
            if !inline.is_empty() {
                self.out.push(' ');
                self.out.push_str(&inline);
            }
            let comment = head.as_ref().filter(|_| value.trail.is_none()).or(value.trail.as_ref());
            return self.end(comment);
        }
        match (&value.content, key) {
            (Content::Word(_) | Content::Block { .. }, _) => {
                self.out.push(' ');
                self.scalar(value, depth + STEP);
                self.end(value.trail.as_ref().or(head.as_ref()));
            }
            (Content::List { .. } | Content::Map { .. }, None)
                if value.anchor.is_none() && head.is_none() && is_plain_start(value) =>
            {
                self.out.push(' ');
                self.block(value, depth + STEP, Start::Dash);
                self.trail_of_block(value, depth + STEP);
            }
            (Content::List { .. } | Content::Map { .. }, _) => {
                self.end(head.as_ref());
                self.block(value, depth + STEP, Start::Line);
                self.trail_of_block(value, depth + STEP);
            }
        }
    }

    /// What stood behind the closing bracket of a list or map that has lines of its own now.
    fn trail_of_block(&mut self, node: &Node, depth: usize) {
        if let Some(comment) = &node.trail {
            self.own_line(comment, depth, false);
        }
    }

    fn scalar(&mut self, node: &Node, depth: usize) {
        let pad = " ".repeat(depth);
        match &node.content {
            Content::Word(words) => {
                let mut lines = words.lines();
                self.out.push_str(lines.next().unwrap_or_default());
                for line in lines {
                    self.out.push('\n');
                    if !line.trim().is_empty() {
                        self.out.push_str(&pad);
                        self.out.push_str(line.trim());
                    }
                }
            }
            Content::Block { header, lines } => {
                self.out.push_str(header);
                for line in lines {
                    self.out.push('\n');
                    if !line.is_empty() {
                        self.out.push_str(&pad);
                        self.out.push_str(line);
                    }
                }
            }
            Content::List { .. } | Content::Map { .. } => {}
        }
    }

    /// A value as it stands in the line of its key or dash: what is short, and was so.
    fn inline(&self, node: &Node) -> Option<String> {
        let text = inline(node)?;
        let is_short = self.column() + 1 + text.chars().count() <= WIDTH;
        let is_word = matches!(node.content, Content::Word(_));
        (is_short || is_word).then_some(text)
    }
}

/// Whether a list or map can begin behind a dash: nothing has to stand above its first item.
fn is_plain_start(node: &Node) -> bool {
    match &node.content {
        Content::Word(_) | Content::Block { .. } => false,
        Content::List { items, .. } => items.first().is_some_and(|item| item.lead.is_empty()),
        Content::Map { entries, .. } => entries.first().is_some_and(|item| item.lead.is_empty()),
    }
}

/// A value in one line, where it was in one pair of brackets, or is a word.
fn inline(node: &Node) -> Option<String> {
    let (items, brackets) = match &node.content {
        Content::Word(words) if words.contains('\n') => return None,
        Content::Word(words) => return Some(words.clone()),
        Content::Block { .. } => return None,
        Content::List { items, .. } if items.is_empty() && !node.has_comments() => {
            return Some("[]".to_owned());
        }
        Content::Map { entries, .. } if entries.is_empty() && !node.has_comments() => {
            return Some("{}".to_owned());
        }
        Content::List { flow: true, items, .. } => (items, ["[", "]"]),
        Content::Map { flow: true, entries, .. } => (entries, ["{ ", " }"]),
        Content::List { flow: false, .. } | Content::Map { flow: false, .. } => return None,
    };
    if node.has_comments() {
        return None;
    }
    let mut parts = Vec::with_capacity(items.len());
    for Item { key, value, .. } in items {
        let anchor = value.anchor.as_ref().map_or_else(String::new, |anchor| format!("{anchor} "));
        let text = inline(value)?;
        parts.push(match key {
            Some(key) if text.is_empty() && anchor.is_empty() => format!("{key}:"),
            Some(key) => format!("{key}: {anchor}{text}"),
            None => format!("{anchor}{text}"),
        });
    }
    Some(format!("{}{}{}", brackets[0], parts.join(", "), brackets[1]))
}
