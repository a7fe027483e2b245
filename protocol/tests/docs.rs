//! The documentation is held to the code: every example in it is read, refused or computed here,
//! and every number and name in its tables is compared with the one in force. The Chinese documents
//! are held to all of that as well, and to their English originals.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use openclaw_protocol::definition;
use openclaw_protocol::expr::{Expr, Lent, Scope, Value, budget, resolve_in};
use openclaw_protocol::limits;
use serde_json::{Value as Json, json};

/// Lines of a decision record at most.
const DECISION_LINES: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn doc(name: &str) -> String {
    read(&root().join("docs").join(name))
}

/// The English and the Chinese file of a document, each with its text.
fn both(name: &str) -> [(String, String); 2] {
    [format!("{name}.md"), format!("{name}.zh-CN.md")].map(|file| {
        let text = doc(&file);
        (format!("docs/{file}"), text)
    })
}

/// Files of a folder with an ending, by name.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    found
}

/// A fenced block of a document.
struct Block {
    /// Of its first line, from 1.
    line: usize,
    /// What follows the fence: `yaml`, `yaml invalid`.
    info: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in document.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                let info = info.trim().to_owned();
                open = Some(Block { line: number + 2, info, text: String::new() });
            }
            (None, None) => {}
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block is never closed");
    found
}

/// A fragment as a whole document: a list of steps, or keys of the document beside its steps.
fn whole(text: &str) -> String {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    if has("workflow:") {
        return text.to_owned();
    }
    if has("- ") {
        return format!("workflow: fragment\nsteps:\n{text}");
    }
    let steps = if has("steps:") { "" } else { "steps: [{id: only, delay: 0}]\n" };
    format!("workflow: fragment\n{steps}{text}")
}

#[test]
fn every_example_of_the_language_is_valid_or_refused_as_said() {
    for (file, document) in both("language") {
        examples_are_valid_or_refused(&file, &document);
    }
}

fn examples_are_valid_or_refused(file: &str, document: &str) {
    let (mut valid, mut refused) = (0, 0);
    for Block { line, info, text } in blocks(document) {
        let parsed = definition::parse(&whole(&text));
        match info.as_str() {
            "yaml" => {
                if let Err(error) = parsed {
                    panic!("{file}:{line}: {error}\n{text}");
                }
                valid += 1;
            }
            "yaml invalid" => {
                let comment =
                    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']);
                let code = comment.split([':', ' ']).next().unwrap_or_default();
                let Err(error) = parsed else { panic!("{file}:{line}: accepted\n{text}") };
                let codes: BTreeSet<&str> =
                    error.problems.iter().map(|problem| problem.code.as_str()).collect();
                assert_eq!(codes, BTreeSet::from([code]), "{file}:{line}: {error}");
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(valid >= 30 && refused >= 9, "{file}: {valid} valid, {refused} refused examples");
}

#[test]
fn every_workflow_elsewhere_in_the_documentation_is_valid() {
    let mut documents = files(&root().join("docs"), ".md");
    documents.extend(files(&root(), ".md"));
    let mut found = 0;
    for path in documents {
        for Block { line, info, text } in blocks(&read(&path)) {
            if info == "yaml" && text.lines().any(|line| line.starts_with("workflow:")) {
                let parsed = definition::parse(&text);
                assert!(parsed.is_ok(), "{}:{line}: {}", path.display(), parsed.unwrap_err());
                found += 1;
            }
        }
    }
    for path in files(&root().join("docs/examples"), ".workflow.yaml") {
        let parsed = definition::parse(&read(&path));
        assert!(parsed.is_ok(), "{}: {}", path.display(), parsed.unwrap_err());
        found += 1;
    }
    assert!(found >= 5, "only {found} workflows found");
}

/// Names as a run has them.
struct Names(Json);

impl Names {
    fn new() -> Self {
        Self(json!({
            "inputs": {"limit": 21, "ratio": 0.5, "name": "pump-7", "in use": true},
            "vars": {"n": 3, "list": [3, 1, 2], "map": {"b": 1, "a": 2}},
            "steps": {"read": {
                "output": {"temp": 21.0, "tags": ["a", "b"], "note": null},
                "status": "succeeded", "error": null, "attempts": 1,
            }},
        }))
    }
}

impl Scope for Names {
    fn lookup(&self, name: &str) -> Option<Lent<'_>> {
        self.0.get(name).map(Value::from_json_typed).map(Lent::Owned)
    }

    fn resolve(&self, path: &[String]) -> Option<(usize, Lent<'_>)> {
        let (first, rest) = path.split_first()?;
        let (used, value) = resolve_in(self.0.get(first)?, rest);
        Some((used + 1, Lent::Owned(value)))
    }

    fn seed(&self) -> Option<[u8; 32]> {
        Some([7; 32])
    }
}

/// What an expression gives: JSON, or the code of the error.
fn outcome(source: &str) -> String {
    let expr = match Expr::compile(source) {
        Ok(expr) => expr,
        Err(error) => return error.code().to_owned(),
    };
    let result = expr.eval(&Names::new()).and_then(|value| value.to_json());
    result.map_or_else(|error| error.code().to_owned(), |json| json.to_string())
}

/// The examples of a line, each `` `expression` → `result` ``; in a table `|` is written `\|`.
fn examples(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("` → `") {
        let source = before.rsplit('`').next().unwrap_or_default();
        let (result, after) = after.split_once('`').unwrap_or((after, ""));
        found.push((source.replace("\\|", "|"), result.replace("\\|", "|")));
        rest = after;
    }
    found
}

#[test]
fn every_expression_gives_what_the_documentation_says() {
    let found = both("expressions").map(|(file, document)| {
        let mut found = Vec::new();
        let mut wrong = Vec::new();
        for (number, line) in document.lines().enumerate() {
            for (source, expected) in examples(line) {
                let actual = outcome(&source);
                if actual != expected {
                    wrong.push(format!("{}: {source} gives {actual}, not {expected}", number + 1));
                }
                found.push((source, expected));
            }
        }
        assert!(wrong.is_empty(), "{file}:\n{}", wrong.join("\n"));
        // An example that is broken over two lines would be seen by nobody.
        assert_eq!(document.matches('→').count(), found.len() + 1, "{file}: a stray arrow");
        found
    });
    let [english, chinese] = found;
    assert!(english.len() >= 90, "only {} examples found", english.len());
    assert_eq!(english, chinese, "the examples of docs/expressions.zh-CN.md are others");
}

#[test]
fn every_function_is_documented() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/expr");
    let mut names = BTreeSet::new();
    for path in files(&source.join("functions"), ".rs") {
        let text = read(&path);
        for opening in ["global(\"", "method(\"", "both(\""] {
            let after = text.split(opening).skip(1);
            names.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    let forms = read(&source.join("functions/mod.rs"));
    let forms = forms.split_once("const FORMS").and_then(|(_, rest)| rest.split_once("];"));
    let forms = forms.expect("the list of forms").0;
    names.extend(forms.split('"').skip(1).step_by(2).map(str::to_owned));
    assert!(names.len() > 80, "only {} names found in the source", names.len());
    for (file, document) in both("expressions") {
        let told = |name: &String| {
            document.contains(&format!("`{name}(")) || document.contains(&format!(".{name}("))
        };
        let missing: Vec<&String> = names.iter().filter(|name| !told(name)).collect();
        assert!(missing.is_empty(), "{file} says nothing of {missing:?}");
    }
}

/// The codes in a text: words with a full stop between them, of the families that errors have.
fn error_codes(text: &str, quote: char) -> BTreeSet<&str> {
    const FAMILIES: [&str; 9] =
        ["plugin", "worker", "http", "expr", "inputs", "outputs", "permission", "limit", "loop"];
    let is_code = |word: &&str| {
        let name = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        };
        word.split_once('.').is_some_and(|(family, rest)| FAMILIES.contains(&family) && name(rest))
    };
    text.split(quote).filter(is_code).collect()
}

#[test]
fn every_code_of_an_error_is_documented() {
    // What looks like a code and is none: names of files and of keys of the configuration.
    const OTHERS: [&str; 4] = ["plugin.toml", "plugin.wasm", "http.allow", "expr.parse"];
    let folders = ["agent/core", "agent/sandbox", "agent/daemon", "plugins-wasm/sdk", "protocol"];
    let mut folders: Vec<PathBuf> = folders.map(|folder| root().join(folder).join("src")).into();
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests")) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = read(&path);
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                found.extend(error_codes(code, '"').into_iter().map(str::to_owned));
            }
        }
    }
    found.retain(|code| !OTHERS.contains(&code.as_str()));
    assert!(found.len() >= 18, "only {found:?} found in the source");
    let openings = ["Errors have `code`", "错误有 `code`"];
    for ((file, document), opening) in both("language").into_iter().zip(openings) {
        let table = document.split_once(opening).unwrap().1;
        let documented = error_codes(table.split_once("\n## ").unwrap().0, '`');
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), documented, "{file}");
    }
}

#[test]
fn every_code_of_a_problem_is_documented() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/definition/draft/problem.rs");
    let text = read(&source);
    let codes: Vec<&str> = text.split("\"E_").skip(1).filter_map(|r| r.split('"').next()).collect();
    assert!(codes.len() >= 16, "only {codes:?} found in the source");
    for (file, document) in both("language") {
        for code in &codes {
            assert!(document.contains(&format!("`E_{code}`")), "{file} says nothing of E_{code}");
        }
    }
}

/// The second cell of the table row whose first cell is `name`.
fn row(document: &str, name: &str) -> String {
    let start = format!("| {name} |");
    let line = document.lines().find_map(|line| line.strip_prefix(&start));
    let line = line.unwrap_or_else(|| panic!("there is no row `{name}`"));
    line.split('|').next().unwrap_or_default().trim().to_owned()
}

/// A number with commas.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(count: u64) -> String {
    const KIB: u64 = 1024;
    match count {
        count if count.is_multiple_of(KIB * KIB) => format!("{} MiB", count / KIB / KIB),
        count if count.is_multiple_of(KIB) => format!("{} KiB", count / KIB),
        count => format!("{} bytes", number(count)),
    }
}

#[test]
fn the_limits_are_those_in_force() {
    let size = |count: usize| bytes(count as u64);
    let count = |many: usize| number(many as u64);
    let seconds = |ms: u64| format!("{} s", ms / 1000);
    let language = doc("language.md");
    for (name, expected) in [
        ("a document", size(limits::DOCUMENT_BYTES)),
        ("steps, nested ones included", count(limits::STEPS)),
        ("nesting of scopes", count(limits::NESTING)),
        ("depth of any value", count(limits::VALUE_DEPTH)),
        ("triggers", count(limits::TRIGGERS)),
        ("branches of a `parallel`", count(limits::PARALLEL_BRANCHES)),
        ("items of a `foreach`", count(limits::FOREACH_ITEMS)),
        ("iterations of a `foreach` at once", number(limits::FOREACH_CONCURRENCY.into())),
        ("cases of a `switch`, `catch`es of a `try`", count(limits::CASES)),
        ("policies of a `retry`", count(limits::RETRY_POLICIES)),
        ("runs that `call` one another", number(limits::CALL_DEPTH.into())),
        ("messages of one `wait`", number(limits::WAIT_MESSAGES.into())),
        ("choices of an `approval`", count(limits::CHOICES)),
        ("a topic or topic filter", size(limits::TOPIC_BYTES)),
        ("the name of an event or signal", size(limits::EVENT_NAME_BYTES)),
        ("secrets of a workflow", count(limits::SECRETS)),
        ("keys that a `dedupe` remembers", count(limits::DEDUPE_KEYS)),
        ("topics that a `for` counts for at once", count(limits::HOLDS)),
        ("`max_catch_up`, unless you say otherwise", number(limits::CATCH_UP_RUNS.into())),
        ("the body of a request to a `webhook`", size(limits::WEBHOOK_BODY_BYTES)),
        ("the path of a `webhook`", size(limits::WEBHOOK_PATH_BYTES)),
        ("files that all `file` triggers of a device know", count(limits::FILES)),
        ("`settle` of a `file` trigger, unless you say otherwise", seconds(limits::FILE_SETTLE_MS)),
        ("`finally_timeout`, unless you say otherwise", seconds(limits::FINALLY_TIMEOUT_MS)),
        ("`poll` of a `wait`, unless you say otherwise", seconds(limits::POLL_MS)),
        ("one value (an output, a variable, all inputs)", size(limits::VALUE_BYTES)),
        ("all values of a run", size(limits::RUN_STATE_BYTES)),
        ("settled steps of a run", number(limits::SETTLED_STEPS.into())),
        ("`max_iterations`, unless you say more", number(limits::LOOP_ITERATIONS.into())),
        ("`max`, unless you say more", number(limits::QUEUED_RUNS.into())),
        ("`timeout` of a plugin step", seconds(limits::ATTEMPT_TIMEOUT_MS)),
        ("`max_retries` of a plugin step", number(limits::MAX_RETRIES.into())),
        ("`delay` of its retries", seconds(limits::RETRY_DELAY_MS)),
        ("grace of a call that is told to stop", seconds(limits::CANCEL_GRACE_MS)),
        ("waiting for one level of priority", seconds(limits::PRIORITY_AGING_MS)),
        ("an id or name", size(limits::ID_BYTES)),
    ] {
        assert_eq!(row(&language, name), expected, "docs/language.md: {name}");
    }
    let expressions = doc("expressions.md");
    for (name, expected) in [
        ("source text", size(budget::SOURCE_BYTES)),
        ("tokens", count(budget::TOKENS)),
        ("nodes of the tree", count(budget::NODES)),
        ("brackets inside each other", count(budget::NESTING)),
        ("height of the resolved tree", count(budget::HEIGHT)),
        ("operators of one chain, steps of one path", count(budget::CHAIN)),
        ("pattern of `matches`", size(budget::PATTERN_BYTES)),
        ("states of a pattern", count(budget::PATTERN_STATES)),
        ("fuel", number(budget::FUEL)),
        ("memory built", bytes(budget::ALLOCATION_BYTES)),
        ("result", bytes(budget::RESULT_BYTES)),
        ("entries of `lists.range`", count(budget::RANGE_ENTRIES)),
    ] {
        assert_eq!(row(&expressions, name), expected, "docs/expressions.md: {name}");
    }
    let tables = [
        ("language", "| limit | value |", "| 限制 | 值 |"),
        ("expressions", "| bound | value |", "| 上限 | 值 |"),
    ];
    for (name, english, chinese) in tables {
        let [(_, original), (file, translated)] = both(name);
        let translated = values(&translated, chinese).replace(" 字节", " bytes");
        assert_eq!(values(&original, english), translated, "{file}");
    }
}

/// The second cells of the table with this head, each on a line.
fn values(document: &str, head: &str) -> String {
    let (_, table) = document.split_once(head).unwrap_or_else(|| panic!("there is no `{head}`"));
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| format!("{}\n", row.split('|').nth(2).unwrap_or_default().trim())).collect()
}

/// What two languages must have in common: the row of a table, or the text of a section.
#[derive(Debug, Default, PartialEq, Eq)]
struct Part {
    code: BTreeSet<String>,
    numbers: BTreeSet<String>,
}

impl Part {
    fn of(text: &str) -> Self {
        let mut part = Self::default();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('`') {
            part.add_numbers(before);
            let more = after.len() - after.trim_start_matches('`').len();
            let fence = "`".repeat(more + 1);
            let Some((code, after)) = after[more..].split_once(&fence) else {
                panic!("code that does not end: {text}");
            };
            part.code.insert(code.split_whitespace().collect::<Vec<_>>().join(" "));
            rest = after;
        }
        part.add_numbers(rest);
        part
    }

    fn add_numbers(&mut self, text: &str) {
        let is_part = |c: char| c.is_ascii_digit() || c == ',' || c == '.';
        let words = text.split(|c| !is_part(c)).map(|word| word.trim_matches([',', '.']));
        self.numbers.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
}

/// The sections of a document: level, first line and, without blocks, text and rows of tables.
fn sections(document: &str) -> Vec<(usize, usize, Vec<Part>)> {
    let mut found: Vec<(usize, usize, String, Vec<Part>)> = Vec::new();
    let mut in_block = false;
    for (number, line) in document.lines().enumerate() {
        in_block ^= line.starts_with("```");
        if in_block || line.starts_with("```") {
            continue;
        }
        if line.starts_with('#') {
            let level = line.len() - line.trim_start_matches('#').len();
            found.push((level, number + 1, String::new(), Vec::new()));
        }
        let (_, _, text, rows) = found.last_mut().expect("a document begins with its title");
        if line.starts_with('|') {
            rows.push(Part::of(line));
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    let with_text = |(level, line, text, mut parts): (_, _, String, Vec<Part>)| {
        parts.push(Part::of(&text));
        (level, line, parts)
    };
    found.into_iter().map(with_text).collect()
}

#[test]
fn both_languages_say_the_same() {
    let translated = files(&root().join("docs"), ".zh-CN.md");
    assert!(translated.len() >= 4, "only {translated:?}");
    for path in translated {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".zh-CN.md");
        let [(original, english), (file, chinese)] = both(name);
        let code = |document: &str| -> Vec<(String, String)> {
            blocks(document).into_iter().map(|block| (block.info, block.text)).collect()
        };
        let (ours, theirs) = (code(&english), code(&chinese));
        for (position, (block, other)) in ours.iter().zip(&theirs).enumerate() {
            assert_eq!(block, other, "block {} of {original} and {file}", position + 1);
        }
        assert_eq!(ours.len(), theirs.len(), "blocks of {original} and {file}");
        // The one thing that only the translation has.
        let chinese = chinese.split("\n## 术语表\n").next().unwrap_or_default();
        let (ours, theirs) = (sections(&english), sections(chinese));
        for ((level, line, parts), (other_level, other_line, others)) in ours.iter().zip(&theirs) {
            let place = format!("{original}:{line} and {file}:{other_line}");
            assert_eq!(level, other_level, "{place}");
            for (part, other) in parts.iter().zip(others) {
                assert_eq!(part, other, "{place}");
            }
            assert_eq!(parts.len(), others.len(), "rows of tables: {place}");
        }
        assert_eq!(ours.len(), theirs.len(), "sections of {original} and {file}");
    }
}

/// What a heading is linked by: as the sites that show Markdown make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c => c.is_alphanumeric().then_some(c),
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn every_link_leads_somewhere() {
    let mut documents = files(&root().join("docs"), ".md");
    documents.extend(files(&root(), ".md"));
    let mut found = 0;
    for path in documents {
        let text = read(&path);
        for after in text.split("](").skip(1) {
            let target = after.split(')').next().unwrap_or_default();
            if target.contains("://") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let folder = path.parent().expect("a file is in a folder");
            let linked = if file.is_empty() { path.clone() } else { folder.join(file) };
            assert!(linked.exists(), "{}: {target} is not there", path.display());
            let mut headings = read(&linked)
                .lines()
                .filter(|line| line.starts_with('#'))
                .map(anchor)
                .collect::<Vec<_>>();
            headings.push(String::new());
            assert!(
                headings.iter().any(|known| known == place),
                "{}: there is no {target}",
                path.display()
            );
            found += 1;
        }
    }
    assert!(found >= 60, "only {found} links found");
}

#[test]
fn decisions_are_short_and_say_why_and_at_what_price() {
    let records = files(&root().join("docs/decisions"), ".md");
    assert!(records.len() >= 7, "only {} records", records.len());
    for (position, path) in records.iter().enumerate() {
        let (name, text) = (path.file_name().unwrap_or_default().to_string_lossy(), read(path));
        assert!(name.starts_with(&format!("{:04}-", position + 1)), "{name}: number or gap");
        assert!(text.lines().count() <= DECISION_LINES, "{name} is too long");
        for part in ["## Context", "## Decision", "## Consequences"] {
            assert!(text.contains(part), "{name} has no `{part}`");
        }
    }
}
