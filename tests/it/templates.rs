//! Each template of `openclaw plugin new` is begun, built and tested as an author would, outside the
//! repository, with the compilers that deploy/wasm/template-tools.sh fetches; and one is published and
//! run on a device.
//!
//! A compiler that is missing fails its test, unless OPENCLAW_SKIP_TEMPLATES names the template.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use openclaw::dev::find_program;
use openclaw::dev::world::World;
use serde_json::{Value, json};

/// What `docs/plugin-tutorial.md` promises, with what a person reads and types.
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

#[expect(clippy::print_stderr, reason = "what is not shown is said loudly")]
fn is_skipped(lang: &str) -> bool {
    let named = std::env::var("OPENCLAW_SKIP_TEMPLATES").unwrap_or_default();
    let skipped = named.split(',').any(|name| name == lang);
    if skipped {
        eprintln!("SKIPPED: nothing is shown of the template in {lang}");
    }
    skipped
}

/// A place for a plugin, and the environment that its compiler needs.
struct Author {
    dir: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Author {
    fn new() -> Self {
        let tools = root().join("target/template-tools/bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(tools).chain(std::env::split_paths(&path));
        let path = std::env::join_paths(all).expect("a search path");
        let environment = vec![("PATH".into(), path)];
        Self { dir: tempfile::tempdir().expect("a directory"), environment }
    }

    /// Rust is told where the target is, takes the versions that the repository has tried, and keeps
    /// what it built for the next time. It has no network.
    fn with_rust() -> Self {
        let mut author = Self::new();
        let asked = Command::new(root().join("deploy/wasm/toolchain.sh")).output();
        let asked = asked.expect("the script runs");
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        let told = String::from_utf8_lossy(&asked.stdout).into_owned();
        let pairs = told.lines().filter_map(|line| line.split_once('='));
        author.environment.extend(pairs.map(|(k, v)| (k.into(), v.into())));
        author.environment.extend([
            ("CARGO_TARGET_DIR".into(), root().join("target/template-build").into()),
            ("CARGO_NET_OFFLINE".into(), "true".into()),
        ]);
        author
    }

    fn plugin(&self) -> PathBuf {
        self.dir.path().join("tank-level")
    }

    fn run(&self, program: &Path, args: &[&str], dir: &Path) -> Output {
        Command::new(program)
            .args(args)
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .envs(self.environment.iter().cloned())
            .env("OPENCLAW_CONFIG_DIR", self.dir.path())
            .current_dir(dir)
            .output()
            .expect("it runs")
    }

    fn openclaw(&self, args: &[&str]) -> Output {
        self.run(&find_program("openclaw").expect("it is built"), args, self.dir.path())
    }

    /// The data of a command that must succeed.
    fn json(&self, args: &[&str]) -> Value {
        let output = self.openclaw(&[args, &["-o", "json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Remembers the control plane and a session for every later command.
    fn log_in(&self, url: &str, password: &str) {
        let mut child = Command::new(find_program("openclaw").expect("it is built"))
            .args(["login", url, "--password-stdin"])
            .env("OPENCLAW_CONFIG_DIR", self.dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("it runs");
        let sent = writeln!(child.stdin.take().expect("piped"), "{password}");
        sent.expect("it reads");
        assert!(child.wait().expect("it is ours").success());
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.plugin().join(file);
        let text = fs::read_to_string(&path).expect("the file is there");
        assert!(text.contains(from), "{file} has no {from}");
        fs::write(path, text.replace(from, to)).expect("it is written");
    }
}

/// Begins, builds and tests a plugin; then lets the sensor count further, which a case must see.
fn is_built_and_tested(author: &Author, lang: &str, source: &str, most: (&str, &str)) {
    author.json(&["plugin", "new", "tank-level", "--lang", lang]);
    if lang == "rust" {
        fs::copy(root().join("plugins-wasm/Cargo.lock"), author.plugin().join("Cargo.lock"))
            .expect("the versions are known");
    }
    let look = author.json(&["plugin", "build", "tank-level"]);
    assert_eq!(look["plugin"], "tank-level@0.1.0");
    assert_eq!(look["warnings"], serde_json::json!([]), "{lang}");
    assert_eq!(look["permissions_needed"], serde_json::json!([]), "{lang}");
    let imports = look["imports"].as_array().expect("a list");
    let ours = |import: &Value| import.as_str().is_some_and(|i| i.starts_with("openclaw."));
    assert!(imports.iter().all(ours), "{lang}: {imports:?}");
    assert!(look["memory_bytes"].as_u64() <= Some(3 * 64 * 1024), "{lang}: {look}");

    let told = author.json(&["plugin", "test", "tank-level"]);
    assert_eq!(told["cases"].as_array().map(Vec::len), Some(5), "{lang}");
    let fuel = told["cases"][4]["fuel"].as_u64();
    assert!(fuel > Some(0) && fuel < Some(100_000), "{lang}: {fuel:?}");

    author.change(source, most.0, most.1);
    author.json(&["plugin", "build", "tank-level"]);
    let failed = author.openclaw(&["plugin", "test", "tank-level"]);
    assert_eq!(failed.status.code(), Some(1), "{lang}: a case sees the change");
    let said = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(said.contains("the-sensor-is-broken:"), "{lang}: {said}");
    assert!(said.contains("1 of 5 cases failed"), "{lang}: {said}");
}

#[test]
fn rust_is_built_and_tested_at_the_desk_too() {
    if is_skipped("rust") {
        return;
    }
    let author = Author::with_rust();
    is_built_and_tested(&author, "rust", "src/lib.rs", ("f64 = 4095.0", "f64 = 9999.0"));
    author.change("src/lib.rs", "f64 = 9999.0", "f64 = 4095.0");
    let test = author.run(Path::new("cargo"), &["test", "--quiet"], &author.plugin());
    let said = String::from_utf8_lossy(&test.stdout).into_owned();
    assert!(test.status.success() && said.contains("2 passed"), "{said}");
}

#[test]
fn c_is_built_and_tested() {
    if is_skipped("c") {
        return;
    }
    is_built_and_tested(&Author::new(), "c", "src/plugin.c", ("MOST 4095.0", "MOST 9999.0"));
}

#[test]
fn zig_is_built_and_tested() {
    if is_skipped("zig") {
        return;
    }
    is_built_and_tested(&Author::new(), "zig", "src/main.zig", ("most = 4095.0", "most = 9999.0"));
}

#[test]
fn assemblyscript_is_built_and_tested() {
    if is_skipped("assemblyscript") {
        return;
    }
    let change = ("MOST: f64 = 4095", "MOST: f64 = 9999");
    is_built_and_tested(&Author::new(), "assemblyscript", "assembly/index.ts", change);
}

/// An author's path, as docs/plugin-tutorial.md tells it, with the programs that people have.
#[test]
fn a_new_plugin_runs_on_a_device_within_ten_minutes() {
    if is_skipped("c") {
        return;
    }
    crate::in_world(async |world: &mut World, _: &Path| {
        world.add_agent().await.expect("an agent");
        let (url, password) = (world.url.clone(), world.password.clone());
        let device = world.agents[0].id.clone();
        tokio::task::spawn_blocking(move || walk(&url, &password, &device)).await.expect("a walk");
    });
}

fn walk(url: &str, password: &str, device: &str) {
    let author = Author::new();
    author.log_in(url, password);
    let begun = Instant::now();
    author.json(&["plugin", "new", "tank-level", "--lang", "c"]);
    author.change("src/plugin.c", "value = raw * scale", "value = 1 + raw * scale");
    author.change("cases/within-the-limit.json", "128.5,", "129.5,");
    author.change("cases/over-the-limit.json", "750.25,", "751.25,");
    author.change("cases/below-zero.json", "-1.238,", "-0.238,");
    author.json(&["plugin", "build", "tank-level"]);
    assert_eq!(author.json(&["plugin", "test", "tank-level"])["passed"], true);
    author.json(&["plugin", "publish", "tank-level"]);
    let text = "workflow: tank\nsteps:\n  - id: read\n    plugin: tank-level@^0.1\n    \
                with: { raw: 3001, scale: 0.25, limit: 200 }\n\
                outputs: { value: '${ steps.read.output.value }' }\n";
    fs::write(author.dir.path().join("tank.yaml"), text).expect("it is written");
    author.json(&["workflow", "apply", "-f", "tank.yaml"]);
    author.json(&["deployment", "create", "tank", "--device", device, "--wait"]);
    let ran = author.json(&["workflow", "run", "tank", "--device", device, "--wait"]);
    assert_eq!(ran[0]["run"]["outputs"], json!({ "value": 751.25 }), "{ran}");
    assert!(begun.elapsed() < TEN_MINUTES, "it took {:?}", begun.elapsed());
}
