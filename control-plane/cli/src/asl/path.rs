//! JSONPath, as far as names and indices go, and the expressions that it becomes.

/// Indices from the end in one path: each writes what stands before it twice.
const FROM_THE_END: usize = 4;

/// What a path starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Root {
    /// `$`: the document at hand.
    Document,
    /// `$$`: the context object.
    Context,
    /// `$name`: a variable.
    Variable(String),
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// A field of an object.
    Name(String),
    /// An element of a list; from the end where negative.
    Index(i64),
}

/// A path that names one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Where it starts.
    pub(super) root: Root,
    /// How it goes on.
    pub(super) parts: Vec<Part>,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// Why it is not one that names one place.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("States.") {
            return Err(format!("intrinsic functions are not translated: `{text}`"));
        }
        let Some(rest) = text.strip_prefix('$') else {
            return Err(format!("`{text}` is no path: a path begins with `$`"));
        };
        let (root, rest) = if let Some(rest) = rest.strip_prefix('$') {
            (Root::Context, rest)
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            match rest.split_at(end) {
                ("", rest) => (Root::Document, rest),
                (name, rest) if is_name(name) => (Root::Variable(name.to_owned()), rest),
                (name, _) => return Err(format!("`{name}` is no name of a variable")),
            }
        };
        let beyond = || format!("only JSONPath of names and indices is translated, not `{text}`");
        let mut parts = Vec::new();
        let mut rest = rest;
        while !rest.is_empty() {
            let (part, left) = part(rest).ok_or_else(beyond)?;
            parts.push(part);
            rest = left;
        }
        let from_the_end = |part: &&Part| matches!(part, Part::Index(..0));
        if parts.iter().filter(from_the_end).count() > FROM_THE_END {
            return Err(format!("more than {FROM_THE_END} indices from the end in `{text}`"));
        }
        Ok(Self { root, parts })
    }
}

/// The first part of what follows a root or another part, and the rest.
fn part(text: &str) -> Option<(Part, &str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        // What stands for more than one place, or for a function.
        let plain = !name.is_empty() && !name.contains(['*', '?', '@', '(', ')', ',', ':', '\'']);
        return plain.then(|| (Part::Name(name.to_owned()), rest));
    }
    let rest = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(rest) = rest.strip_prefix(quote) {
            let (name, rest) = quoted(rest, quote)?;
            return Some((Part::Name(name), rest.strip_prefix(']')?));
        }
    }
    let (index, rest) = rest.split_once(']')?;
    Some((Part::Index(index.trim().parse().ok()?), rest))
}

/// The inside of a quoted name, up to its closing quote, and what follows that.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Some((name, &text[at + c.len_utf8()..]));
        }
        name.push(if c == '\\' { chars.next()?.1 } else { c });
    }
    None
}

/// An expression that follows parts from where another leads.
pub(super) fn select(base: &str, parts: &[Part]) -> String {
    let mut text = base.to_owned();
    for part in parts {
        match part {
            Part::Name(name) if is_field(name) => {
                text.push('.');
                text.push_str(name);
            }
            Part::Name(name) => text = format!("{text}[{}]", quote(name)),
            Part::Index(index) if *index < 0 => text = format!("{text}[size({text}) - {}]", -index),
            Part::Index(index) => text = format!("{text}[{index}]"),
        }
    }
    text
}

/// A text as an expression writes it. Single quotes, because documents have double ones around.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("'");
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("\\'"),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// How a JSON path of ours names a field: `.name` or `['any text']`.
pub(super) fn shown_name(name: &str) -> String {
    if is_name(name) {
        return format!(".{name}");
    }
    format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Whether an expression can name a field after a dot.
fn is_field(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    is_name(name) && !RESERVED.contains(&name)
}

/// Whether a text is a name as most languages have them.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Path::parse(text).map_or_else(|reason| reason, |path| select("x", &path.parts))
    }

    #[test]
    fn names_and_indices_become_selections() {
        assert_eq!(shown("$"), "x");
        assert_eq!(shown("$.a.b[0].c"), "x.a.b[0].c");
        assert_eq!(shown("$['a b'][\"c'\"]"), r"x['a b']['c\'']");
        assert_eq!(shown("$.delivery-partner"), "x['delivery-partner']");
        assert_eq!(shown("$.in.if"), "x['in']['if']");
        assert_eq!(shown("$.a[-2]"), "x.a[size(x.a) - 2]");
        assert_eq!(shown("$['\\'']"), r"x['\'']");
        assert_eq!(Path::parse("$$.Execution").unwrap().root, Root::Context);
        assert_eq!(Path::parse("$v[0]").unwrap().root, Root::Variable("v".to_owned()));
    }

    #[test]
    fn the_rest_is_refused() {
        for text in ["$.*", "$[*]", "$.a[1:2]", "$..a", "$.a[?(@.b)]", "$.a.", "$.a.length()", "$["]
        {
            let reason = Path::parse(text).unwrap_err();
            assert!(reason.contains("names and indices"), "{text}: {reason}");
        }
        assert!(Path::parse("States.Format('x')").unwrap_err().contains("intrinsic"));
        assert!(Path::parse("$[-1][-1][-1][-1][-1]").unwrap_err().contains("more than 4"));
        assert!(Path::parse("a.b").unwrap_err().contains("begins with"));
        assert!(Path::parse("$a-b").unwrap_err().contains("variable"));
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(quote("a'\"\\\n\u{1}é"), r#"'a\'"\\\n\u0001é'"#);
        assert_eq!(shown_name("a"), ".a");
        assert_eq!(shown_name("it's"), "['it\\'s']");
    }
}
