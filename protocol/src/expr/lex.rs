//! Cuts a source text into tokens.

use super::budget::{SOURCE_BYTES, TOKENS};
use super::error::{ExprError, Span};

/// One token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Span,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A whole number without sign; whether it fits `int` depends on a minus before it.
    Int(u64),
    Uint(u64),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Name(String),
    /// A name in backticks: a field that is no identifier.
    Quoted(String),
    Mark(Mark),
    End,
}

/// Operators and punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Or,
    And,
    Equal,
    NotEqual,
    LessEqual,
    Less,
    GreaterEqual,
    Greater,
    Plus,
    Minus,
    Times,
    Slash,
    Percent,
    Not,
    Question,
    Colon,
    Dot,
    Comma,
    ParenOpen,
    ParenClose,
    BracketOpen,
    BracketClose,
    BraceOpen,
    BraceClose,
}

/// Longer marks first: the first that fits is taken.
const MARKS: [(&str, Mark); 24] = [
    ("||", Mark::Or),
    ("&&", Mark::And),
    ("==", Mark::Equal),
    ("!=", Mark::NotEqual),
    ("<=", Mark::LessEqual),
    (">=", Mark::GreaterEqual),
    ("<", Mark::Less),
    (">", Mark::Greater),
    ("+", Mark::Plus),
    ("-", Mark::Minus),
    ("*", Mark::Times),
    ("/", Mark::Slash),
    ("%", Mark::Percent),
    ("!", Mark::Not),
    ("?", Mark::Question),
    (":", Mark::Colon),
    (".", Mark::Dot),
    (",", Mark::Comma),
    ("(", Mark::ParenOpen),
    (")", Mark::ParenClose),
    ("[", Mark::BracketOpen),
    ("]", Mark::BracketClose),
    ("{", Mark::BraceOpen),
    ("}", Mark::BraceClose),
];

impl Mark {
    /// The mark as written.
    pub(super) fn text(self) -> &'static str {
        MARKS.iter().find(|(_, mark)| *mark == self).map_or("", |(text, _)| text)
    }
}

/// All tokens of a source, ended by [`Kind::End`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, ExprError> {
    if source.len() > SOURCE_BYTES {
        let span = Span::new(source.floor_char_boundary(SOURCE_BYTES), source.len());
        return Err(ExprError::new(format!("longer than {SOURCE_BYTES} bytes"), span));
    }
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let done = token.kind == Kind::End;
        if tokens.len() >= TOKENS {
            return Err(ExprError::new(format!("more than {TOKENS} tokens"), token.span));
        }
        tokens.push(token);
        if done {
            return Ok(tokens);
        }
    }
}

/// Where the expression ends that starts at byte `start` of a template text: the position of the
/// `}` that closes it. Braces and quotes inside the expression do not end it.
pub(super) fn closing_brace(text: &str, start: usize) -> Result<usize, ExprError> {
    let mut lexer = Lexer { source: text, at: start };
    let mut open = 0_usize;
    loop {
        let token = lexer.next()?;
        if token.span.end as usize - start > SOURCE_BYTES {
            return Err(ExprError::new(format!("longer than {SOURCE_BYTES} bytes"), token.span));
        }
        match token.kind {
            Kind::Mark(Mark::BraceOpen) => open += 1,
            Kind::Mark(Mark::BraceClose) if open == 0 => return Ok(token.span.start as usize),
            Kind::Mark(Mark::BraceClose) => open -= 1,
            Kind::End => {
                let span = Span::new(start, text.len());
                return Err(ExprError::new("`${` is never closed by `}`", span));
            }
            Kind::Int(_)
            | Kind::Uint(_)
            | Kind::Double(_)
            | Kind::String(_)
            | Kind::Bytes(_)
            | Kind::Name(_)
            | Kind::Quoted(_)
            | Kind::Mark(_) => {}
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Token, ExprError> {
        self.skip_blanks();
        let start = self.at;
        let kind = self.kind()?;
        Ok(Token { kind, span: Span::new(start, self.at) })
    }

    fn kind(&mut self) -> Result<Kind, ExprError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Kind::End) };
        if let Some(prefix) = string_prefix(rest) {
            return self.string(prefix);
        }
        if first.is_ascii_digit()
            || first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())
        {
            return self.number();
        }
        if is_name_start(first) {
            let length = rest.find(|c: char| !is_name_part(c)).unwrap_or(rest.len());
            self.at += length;
            return Ok(Kind::Name(rest[..length].to_owned()));
        }
        if first == '`' {
            return self.quoted_name();
        }
        let found = MARKS.iter().find(|(text, _)| rest.starts_with(text));
        let Some((text, mark)) = found else {
            let span = Span::new(self.at, self.at + first.len_utf8());
            let hint = match first {
                '=' => "; compare with `==`",
                '&' | '|' => "; logic is `&&` and `||`",
                _ => "",
            };
            return Err(ExprError::new(format!("unexpected character {first:?}{hint}"), span));
        };
        self.at += text.len();
        Ok(Kind::Mark(*mark))
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank =
                rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']).len();
            let comment = rest[blank..]
                .starts_with("//")
                .then(|| rest[blank..].find('\n').unwrap_or(rest.len() - blank));
            self.at += blank + comment.unwrap_or(0);
            if comment.is_none() {
                return;
            }
        }
    }

    fn number(&mut self) -> Result<Kind, ExprError> {
        let rest = self.rest();
        let length = number_length(rest);
        let text = &rest[..length.bytes];
        let unsigned = !length.double && rest[length.bytes..].starts_with(['u', 'U']);
        let end = self.at + length.bytes + usize::from(unsigned);
        let span = Span::new(self.at, end);
        self.at = end;
        if self.rest().starts_with(is_name_part) {
            return Err(ExprError::new("a number must not run into a name", span));
        }
        if length.double {
            let number = text.parse().map_err(|_| ExprError::new("not a number", span))?;
            return Ok(Kind::Double(number));
        }
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let parsed = hex.map_or_else(|| text.parse(), |digits| u64::from_str_radix(digits, 16));
        let number = parsed.map_err(|_| ExprError::new("the number exceeds 64 bits", span))?;
        Ok(if unsigned { Kind::Uint(number) } else { Kind::Int(number) })
    }

    fn quoted_name(&mut self) -> Result<Kind, ExprError> {
        let rest = &self.rest()[1..];
        let span = Span::new(self.at, self.source.len());
        let length = rest.find('`').ok_or_else(|| ExprError::new("missing closing `", span))?;
        let name = &rest[..length];
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
        if name.is_empty() || !name.chars().all(allowed) {
            let message =
                "a name in backticks takes letters, digits, `_`, `.`, `-`, `/` and blanks";
            return Err(ExprError::new(message, Span::new(self.at, self.at + length + 2)));
        }
        self.at += length + 2;
        Ok(Kind::Quoted(name.to_owned()))
    }

    fn string(&mut self, prefix: Prefix) -> Result<Kind, ExprError> {
        let start = self.at;
        self.at += prefix.letters;
        let rest = self.rest();
        let quote = &rest[..1];
        let triple = rest.starts_with("\"\"\"") || rest.starts_with("'''");
        let close = if triple { &rest[..3] } else { quote };
        self.at += close.len();
        let mut content = Content { bytes: Vec::new(), is_bytes: prefix.bytes };
        while !self.rest().starts_with(close) {
            let Some(next) = self.rest().chars().next() else {
                let span = Span::new(start, self.at);
                return Err(ExprError::new(format!("missing closing {close}"), span));
            };
            if !triple && matches!(next, '\n' | '\r') {
                let span = Span::new(start, self.at);
                return Err(ExprError::new(
                    format!("missing closing {close}: text over several lines needs three quotes"),
                    span,
                ));
            }
            if next == '\\' && !prefix.raw {
                self.escape(&mut content)?;
                continue;
            }
            content.push_char(next);
            self.at += next.len_utf8();
        }
        self.at += close.len();
        if prefix.bytes {
            return Ok(Kind::Bytes(content.bytes));
        }
        let span = Span::new(start, self.at);
        let text = String::from_utf8(content.bytes);
        text.map(Kind::String).map_err(|_| ExprError::new("not UTF-8", span))
    }

    /// One escape sequence; the backslash is the next character.
    fn escape(&mut self, content: &mut Content) -> Result<(), ExprError> {
        let rest = &self.rest()[1..];
        let start = self.at;
        let letter = rest.chars().next().unwrap_or('\n');
        let (from, length, radix) = match letter {
            'x' | 'X' => (1, 2, 16),
            'u' => (1, 4, 16),
            'U' => (1, 8, 16),
            '0'..='3' => (0, 3, 8),
            _ => (0, 0, 0),
        };
        let wrong = |bytes: usize, message: &str| {
            // Where a digit should be there may be half of a longer character.
            ExprError::new(message, Span::new(start, self.source.ceil_char_boundary(start + bytes)))
        };
        if radix == 0 {
            let plain = simple_escape(letter)
                .ok_or_else(|| wrong(1 + letter.len_utf8(), "unknown escape sequence"))?;
            content.push_char(plain);
            self.at += 2;
            return Ok(());
        }
        let digits = rest
            .get(from..from + length)
            .filter(|digits| digits.chars().all(|c| c.is_digit(radix)))
            .ok_or_else(|| wrong(1 + from + length, "incomplete escape sequence"))?;
        let code = u32::from_str_radix(digits, radix)
            .map_err(|_| wrong(1 + from + length, "incomplete escape sequence"))?;
        let one_byte = radix == 8 || length == 2;
        let byte = u8::try_from(code).ok().filter(|_| content.is_bytes && one_byte);
        match (byte, char::from_u32(code)) {
            (Some(byte), _) => content.bytes.push(byte),
            (None, _) if content.is_bytes => {
                return Err(wrong(1 + from + length, "bytes take no \\u escape"));
            }
            (None, Some(c)) => content.push_char(c),
            (None, None) => return Err(wrong(1 + from + length, "not a Unicode character")),
        }
        self.at += 1 + from + length;
        Ok(())
    }

    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }
}

/// Content of a string or bytes literal as it is read.
struct Content {
    bytes: Vec<u8>,
    is_bytes: bool,
}

impl Content {
    fn push_char(&mut self, c: char) {
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[derive(Clone, Copy)]
struct Prefix {
    letters: usize,
    raw: bool,
    bytes: bool,
}

/// Whether a literal in quotes starts here, and the letters before its quote.
fn string_prefix(rest: &str) -> Option<Prefix> {
    let letters = rest.bytes().take(3).position(|byte| matches!(byte, b'"' | b'\''))?;
    let (raw, bytes) = match rest[..letters].to_ascii_lowercase().as_str() {
        "" => (false, false),
        "r" => (true, false),
        "b" => (false, true),
        "br" | "rb" => (true, true),
        _ => return None,
    };
    Some(Prefix { letters, raw, bytes })
}

fn simple_escape(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '?' | '"' | '\'' | '`' => letter,
        _ => return None,
    })
}

struct NumberLength {
    bytes: usize,
    double: bool,
}

fn number_length(text: &str) -> NumberLength {
    let bytes = text.as_bytes();
    let run = |from: usize| {
        bytes[from.min(bytes.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    if text.starts_with("0x") || text.starts_with("0X") {
        let digits = bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > 0 {
            return NumberLength { bytes: 2 + digits, double: false };
        }
    }
    let mut end = run(0);
    let mut double = false;
    if bytes.get(end) == Some(&b'.') && run(end + 1) > 0 {
        end += 1 + run(end + 1);
        double = true;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let digits = run(end + 1 + sign);
        if digits > 0 {
            end += 1 + sign + digits;
            double = true;
        }
    }
    NumberLength { bytes: end, double }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
