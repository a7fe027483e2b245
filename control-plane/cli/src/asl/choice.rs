//! Rules of a Choice state as expressions that are true or false.
//!
//! A rule never fails because of what kind of value it meets: types are tested first, and a
//! comparison of unlike types does not match. Only a variable that is not there at all is an
//! error, as there, except for `IsPresent`, which asks just that.

use serde_json::{Map, Value as Json};

use super::Translator;
use super::path::{Part, Path, Root, is_name, quote, select};
use super::read::Reader;
use super::value::{Frame, Val, literal};

/// RFC 3339 with upper-case letters, as far as a pattern can tell.
const TIMESTAMP: &str = "'^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$'";
/// The longest pattern that an expression takes, in bytes.
const PATTERN_BYTES: usize = 256;

/// The kinds of values that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Numeric,
    String,
    Timestamp,
}

impl Kind {
    const ALL: [(&'static str, Self); 4] = [
        ("Boolean", Self::Boolean),
        ("Numeric", Self::Numeric),
        ("String", Self::String),
        ("Timestamp", Self::Timestamp),
    ];

    /// Whether a value is of this kind.
    fn test(self, value: &str) -> String {
        match self {
            Self::Boolean => format!("type({value}) == bool"),
            Self::Numeric => format!("type({value}) in [double, int]"),
            Self::String => format!("type({value}) == string"),
            Self::Timestamp => {
                format!("type({value}) == string && {value}.matches({TIMESTAMP})")
            }
        }
    }

    fn takes(self, json: &Json) -> bool {
        match self {
            Self::Boolean => json.is_boolean(),
            Self::Numeric => json.is_number(),
            Self::String | Self::Timestamp => json.is_string(),
        }
    }
}

/// What an operator asks.
enum Question {
    /// A comparison with a value that is written out, or with one at a path.
    Compare { kind: Kind, sign: &'static str, path: bool },
    /// `StringMatches`.
    Matches,
    /// `IsNull` and its kin.
    Is(Asked),
}

#[derive(Clone, Copy)]
enum Asked {
    Null,
    Present,
    Kind(Kind),
}

impl Question {
    fn of(operator: &str) -> Option<Self> {
        match operator {
            "StringMatches" => return Some(Self::Matches),
            "IsNull" => return Some(Self::Is(Asked::Null)),
            "IsPresent" => return Some(Self::Is(Asked::Present)),
            _ => {}
        }
        if let Some(name) = operator.strip_prefix("Is") {
            let (_, kind) = Kind::ALL.into_iter().find(|(known, _)| *known == name)?;
            return Some(Self::Is(Asked::Kind(kind)));
        }
        let (kind, rest) = Kind::ALL
            .into_iter()
            .find_map(|(name, kind)| Some((kind, operator.strip_prefix(name)?)))?;
        let (comparison, path) = match rest.strip_suffix("Path") {
            Some(comparison) => (comparison, true),
            None => (rest, false),
        };
        let sign = match comparison {
            "Equals" => "==",
            "LessThan" => "<",
            "LessThanEquals" => "<=",
            "GreaterThan" => ">",
            "GreaterThanEquals" => ">=",
            _ => return None,
        };
        (kind != Kind::Boolean || sign == "==").then_some(Self::Compare { kind, sign, path })
    }
}

impl Translator {
    /// A rule: an operator with its operand, or rules joined by `And`, `Or` and `Not`. At the outer
    /// end stand fields (`Next`, `Assign`) that the caller has read.
    pub(super) fn rule(&mut self, frame: &Frame, reader: &mut Reader<'_>) -> String {
        reader.ignore(&["Comment"]);
        let test = self.test(frame, reader);
        reader.finish(self, "a rule");
        test.unwrap_or_else(|| "false".to_owned())
    }

    fn test(&mut self, frame: &Frame, reader: &mut Reader<'_>) -> Option<String> {
        for (key, sign) in [("And", " && "), ("Or", " || ")] {
            if !reader.has(key) {
                continue;
            }
            let at = reader.at(key);
            let rules = reader.list(self, key);
            let mut tests = Vec::with_capacity(rules.len());
            for (n, rule) in rules.iter().enumerate() {
                tests.push(self.inner_rule(frame, rule, &format!("{at}[{n}]"))?);
            }
            if tests.is_empty() {
                self.problem(&at, "a list of rules is needed");
                return None;
            }
            let many = tests.len() > 1;
            let tests = tests.into_iter().map(|test| if many { bracketed(test) } else { test });
            return Some(tests.collect::<Vec<_>>().join(sign));
        }
        if let Some(rule) = reader.take("Not") {
            let test = self.inner_rule(frame, rule, &reader.at("Not"))?;
            return Some(format!("!({test})"));
        }
        self.comparison(frame, reader)
    }

    fn inner_rule(&mut self, frame: &Frame, rule: &Json, at: &str) -> Option<String> {
        let Some(fields) = rule.as_object() else {
            self.problem(at, "a rule is an object");
            return None;
        };
        Some(self.rule(frame, &mut Reader::new(fields, at)))
    }

    fn comparison(&mut self, frame: &Frame, reader: &mut Reader<'_>) -> Option<String> {
        let Some(variable) = reader.text(self, "Variable") else {
            let reason = "a rule needs `Variable` and an operator, or `And`, `Or` or `Not`";
            self.problem(reader.here(), reason);
            return None;
        };
        let operator = operator_of(reader.fields());
        let Some((operator, question)) = operator else {
            self.problem(reader.here(), "there is no operator that is known");
            return None;
        };
        let at = reader.at(operator);
        let operand = reader.take(operator)?;
        let path = match Path::parse(&variable) {
            Ok(path) => path,
            Err(reason) => {
                self.problem(&reader.at("Variable"), reason);
                return None;
            }
        };
        if let Question::Is(Asked::Present) = question {
            let wanted = self.wanted(operand, &at)?;
            return self.presence(frame, &path, &variable, &reader.at("Variable"), wanted);
        }
        let value = self.resolve_path(frame, &path, &variable, &reader.at("Variable"))?.expr();
        match question {
            Question::Is(Asked::Present) => None,
            Question::Is(Asked::Null) => {
                let sign = if self.wanted(operand, &at)? { "==" } else { "!=" };
                Some(format!("{value} {sign} null"))
            }
            Question::Is(Asked::Kind(kind)) => {
                let wanted = self.wanted(operand, &at)?;
                Some(negated(&kind.test(&value), !wanted))
            }
            Question::Matches => self.pattern(&value, operand, &at),
            Question::Compare { kind, sign, path: false } => {
                self.compare(kind, sign, &value, operand, &at)
            }
            Question::Compare { kind, sign, path: true } => {
                let Some(other) = operand.as_str() else {
                    self.problem(&at, "this must be a path, as a text");
                    return None;
                };
                let other = self.resolve(frame, other, &at)?.expr();
                Some(compared(kind, sign, &value, &other))
            }
        }
    }

    fn wanted(&mut self, operand: &Json, at: &str) -> Option<bool> {
        if operand.as_bool().is_none() {
            self.problem(at, format!("this must be true or false, not {operand}"));
        }
        operand.as_bool()
    }

    fn compare(
        &mut self,
        kind: Kind,
        sign: &str,
        value: &str,
        operand: &Json,
        at: &str,
    ) -> Option<String> {
        if !kind.takes(operand) {
            self.problem(at, format!("{operand} cannot be compared by this operator"));
            return None;
        }
        let known = literal(operand);
        if kind == Kind::Timestamp {
            return Some(format!(
                "{} && timestamp({value}) {sign} timestamp({known})",
                kind.test(value)
            ));
        }
        // Unlike types are unequal without being an error; an order they have none.
        if sign == "==" {
            return Some(format!("{value} == {known}"));
        }
        Some(format!("{} && {value} {sign} {known}", kind.test(value)))
    }

    /// `StringMatches`: `*` stands for any characters, `\\*` for itself.
    fn pattern(&mut self, value: &str, operand: &Json, at: &str) -> Option<String> {
        let Some(wildcards) = operand.as_str() else {
            self.problem(at, format!("this must be a text, not {operand}"));
            return None;
        };
        let mut pattern = String::from("(?s)^");
        let mut chars = wildcards.chars();
        while let Some(c) = chars.next() {
            let c = match c {
                '*' => {
                    pattern.push_str(".*");
                    continue;
                }
                '\\' => chars.next().unwrap_or('\\'),
                c => c,
            };
            if !c.is_alphanumeric() && c.is_ascii() {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern.push('$');
        if pattern.len() > PATTERN_BYTES {
            self.problem(at, format!("a pattern has {PATTERN_BYTES} bytes at most"));
            return None;
        }
        let test = Kind::String.test(value);
        Some(format!("{test} && {value}.matches({})", quote(&pattern)))
    }

    /// Whether there is something at a path, or nothing where that is wanted. A value that no JSON
    /// can be stands for nothing.
    fn presence(
        &mut self,
        frame: &Frame,
        path: &Path,
        text: &str,
        at: &str,
        wanted: bool,
    ) -> Option<String> {
        let root = Path { root: path.root.clone(), parts: Vec::new() };
        let base = self.resolve_path(frame, &root, text, at)?;
        let Val::Expr(base) = base else {
            let known = base.select(&path.parts).is_some();
            return Some((known == wanted).to_string());
        };
        let Some((last, before)) = path.parts.split_last() else {
            return Some(match &path.root {
                Root::Variable(name) => negated(&format!("{} in vars", quote(name)), !wanted),
                Root::Document | Root::Context => wanted.to_string(),
            });
        };
        let plain = |part: &Part| match part {
            Part::Name(name) => !name.is_empty() && !name.contains('.'),
            Part::Index(index) => *index >= 0,
        };
        if path.parts.iter().all(plain) {
            let names = path.parts.iter().map(|part| match part {
                Part::Name(name) => name.clone(),
                Part::Index(index) => index.to_string(),
            });
            let names = quote(&names.collect::<Vec<_>>().join("."));
            let sign = if wanted { "!=" } else { "==" };
            return Some(format!("get({base}, {names}, type) {sign} type"));
        }
        let above = select(&base, before);
        let test = match last {
            Part::Name(name) => format!("type({above}) == map && {} in {above}", quote(name)),
            Part::Index(index) => {
                let least = if *index < 0 { -index } else { index + 1 };
                format!("type({above}) == list && size({above}) >= {least}")
            }
        };
        Some(negated(&test, !wanted))
    }
}

/// The operator among the fields of a rule, with what it asks.
fn operator_of(fields: &Map<String, Json>) -> Option<(&str, Question)> {
    fields.keys().find_map(|key| Some((key.as_str(), Question::of(key)?)))
}

fn compared(kind: Kind, sign: &str, value: &str, other: &str) -> String {
    let tests = format!("{} && {}", kind.test(value), kind.test(other));
    if kind == Kind::Timestamp {
        return format!("{tests} && timestamp({value}) {sign} timestamp({other})");
    }
    if sign == "==" {
        return format!("{} && {value} == {other}", kind.test(value));
    }
    format!("{tests} && {value} {sign} {other}")
}

fn negated(test: &str, negate: bool) -> String {
    if negate { format!("!({test})") } else { test.to_owned() }
}

/// In brackets, where it is more than a name or call.
fn bracketed(test: String) -> String {
    let simple = test.starts_with('!') || is_name(&test);
    if simple { test } else { format!("({test})") }
}
