//! A private PostgreSQL for the tests: the distribution's program, a cluster in a temporary
//! folder, reached by a socket in that folder, gone with the value.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;

pub(crate) struct Cluster {
    programs: PathBuf,
    dir: TempDir,
}

impl Cluster {
    /// Starts a cluster.
    pub(crate) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("oc-pg-").tempdir_in("/tmp").unwrap();
        let cluster = Self { programs: programs(), dir };
        let data = cluster.data();
        if is_root() {
            // PostgreSQL refuses to run as root; its package makes a user.
            let open = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(cluster.dir.path(), open).unwrap();
            std::fs::create_dir(&data).unwrap();
            let chown = Command::new("chown").arg("postgres").arg(&data).status().unwrap();
            assert!(chown.success(), "cannot give {} to the user postgres", data.display());
        }
        cluster.run("initdb", &["-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8"]);
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off -c max_connections=200",
            data.display()
        );
        cluster.run("pg_ctl", &["-w", "-l", "/dev/null", "-o", &options, "start"]);
        cluster
    }

    /// The address of a new, empty database.
    pub(crate) async fn database(&self, name: &str) -> String {
        let mut admin = PgConnection::connect(&self.url("postgres")).await.unwrap();
        let short: String = name.chars().take(60).collect();
        let create = format!("CREATE DATABASE {short}");
        sqlx::query(sqlx::AssertSqlSafe(create)).execute(&mut admin).await.unwrap();
        self.url(&short)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.data().display())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("d")
    }

    fn run(&self, program: &str, args: &[&str]) {
        let path = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.arg("-D").arg(self.data()).args(args).current_dir("/").stdout(Stdio::null());
        let status = command.status().unwrap();
        assert!(status.success(), "{program} failed");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.run("pg_ctl", &["-w", "-m", "immediate", "stop"]);
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Where the newest PostgreSQL's programs are.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    let newest = found.into_iter().max_by_key(|bin| number(bin));
    newest.expect(
        "PostgreSQL is not installed: run `make setup`, which installs the package `postgresql`",
    )
}

fn number(bin: &Path) -> u32 {
    let version = bin.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}
