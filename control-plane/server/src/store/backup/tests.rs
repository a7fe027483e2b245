//! What a restore leaves, also where it does not come to its end.

use std::fs;

use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::wire::{self, Kind};
use tempfile::TempDir;

use super::*;
use crate::store::{args, devices};

fn config(dir: &TempDir, name: &str) -> Config {
    Config { data_dir: dir.path().join(name), ..Config::default() }
}

/// A data folder `old` with a device, and a backup of it.
async fn backed_up() -> (TempDir, PathBuf, Generation) {
    let dir = tempfile::tempdir().unwrap();
    let password = Some("correct horse battery".to_owned());
    let opened = init::open(config(&dir, "old"), Clock::System, password).await.unwrap();
    let (tenant, labels) = (TenantId::parse(DEFAULT_TENANT).unwrap(), Default::default());
    let mut tx = opened.ctx.db.write().await.unwrap();
    let new = devices::NewDevice {
        id: &"pump-1".parse().unwrap(),
        labels: &labels,
        certificate_fingerprint: openclaw_protocol::id::Digest([1; 32]),
        certificate_expires_ms: 1,
    };
    assert!(devices::insert(&mut tx, &tenant, &new, 1).await.unwrap());
    tx.commit().await.unwrap();
    let file = dir.path().join("fleet.backup");
    backup(&opened.ctx.config, &file).await.unwrap();
    let generation = opened.ctx.generation;
    opened.ctx.db.close().await;
    (dir, file, generation)
}

#[tokio::test]
async fn what_sqlite_left_of_another_database_is_not_restored_over() {
    let (dir, file, _) = backed_up().await;
    let config = config(&dir, "new");
    fs::create_dir(&config.data_dir).unwrap();
    let target = config.sqlite_path();
    let remains = companions(&target);
    for path in &remains {
        fs::write(path, "of another database").unwrap();
    }
    let error = restore(config.clone(), &file, Clock::System).await.unwrap_err().to_string();
    for path in &remains {
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
    assert!(error.contains("move all of them away"), "{error}");
    assert!(!target.exists());
    remains.iter().for_each(|path| fs::remove_file(path).unwrap());
    restore(config, &file, Clock::System).await.unwrap();
    assert!(target.exists());
}

/// A restore that ends half-way is no database that could be served under the old generation; a
/// second one does not stumble over the first.
#[tokio::test]
async fn a_restore_that_fails_leaves_nothing_that_could_be_served() {
    let (dir, file, before) = backed_up().await;
    let broken = dir.path().join("broken.backup");
    fs::copy(&file, &broken).unwrap();
    let mut damage = connect(&broken, false).await.unwrap();
    let lose = "DELETE FROM backup_files WHERE name = 'desired.key'";
    sqlx::query(lose).execute(&mut damage).await.unwrap();
    damage.close().await.unwrap();
    let config = config(&dir, "new");
    let error = restore(config.clone(), &broken, Clock::System).await.unwrap_err();
    assert!(error.to_string().contains("desired.key"), "{error}");
    assert!(!config.sqlite_path().exists());
    let refused = init::open(config.clone(), Clock::System, None).await.unwrap_err();
    assert!(refused.to_string().contains("restore again"), "{refused}");

    let beside = unfinished(&config.sqlite_path());
    companions(&beside).iter().for_each(|path| fs::write(path, "of the first try").unwrap());
    let generation = restore(config.clone(), &file, Clock::System).await.unwrap();
    assert_ne!(generation, before);
    let opened = init::open(config, Clock::System, None).await.unwrap();
    assert_eq!(opened.ctx.generation, generation);
    let mut tx = opened.ctx.db.read().await.unwrap();
    let row = tx.row("SELECT COUNT(*) AS n FROM devices", args![]).await.unwrap().unwrap();
    assert_eq!(row.int("n").unwrap(), 1);
}

#[tokio::test]
async fn the_keys_of_another_fleet_are_not_overwritten() {
    let (dir, file, _) = backed_up().await;
    let config = config(&dir, "new");
    fs::create_dir_all(config.pki_dir()).unwrap();
    let key = config.pki_dir().join("ca.key");
    fs::write(&key, "of another fleet").unwrap();
    let error = restore(config, &file, Clock::System).await.unwrap_err();
    assert!(error.to_string().contains("another fleet"), "{error}");
    assert_eq!(fs::read_to_string(key).unwrap(), "of another fleet");
}

/// Also one that had none: it may run what it was given after the backup was made.
#[tokio::test]
async fn a_new_generation_signs_a_document_for_every_device() {
    let (dir, file, _) = backed_up().await;
    let config = config(&dir, "new");
    let generation = restore(config.clone(), &file, Clock::System).await.unwrap();
    let opened = init::open(config, Clock::System, None).await.unwrap();
    let mut tx = opened.ctx.db.read().await.unwrap();
    let (tenant, pump) = (TenantId::parse(DEFAULT_TENANT).unwrap(), "pump-1".parse().unwrap());
    let bytes = devices::desired_document(&mut tx, &tenant, &pump).await.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    let desired: Desired = wire::unpack(Kind::Desired, &signed.document, DESIRED_BYTES).unwrap();
    assert_eq!((desired.generation, desired.workflows.len()), (generation, 0));
}

#[tokio::test]
async fn keys_are_made_at_the_first_start_only() {
    let (dir, _, _) = backed_up().await;
    let config = config(&dir, "old");
    for name in ["ca.key", "ca.pem", "desired.key"] {
        let (path, away) = (config.pki_dir().join(name), dir.path().join(name));
        fs::rename(&path, &away).unwrap();
        let error = init::open(config.clone(), Clock::System, None).await.unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        assert!(error.contains("from the backup"), "{error}");
        assert!(!path.exists(), "nothing is made in its place");
        fs::rename(&away, &path).unwrap();
    }
    init::open(config, Clock::System, None).await.unwrap();
}

/// The key that secrets are encrypted with is in the backup, and needed where there are secrets.
#[tokio::test]
async fn secrets_survive_a_restore_and_nothing_starts_without_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let password = Some("correct horse battery".to_owned());
    let opened = init::open(config(&dir, "old"), Clock::System, password).await.unwrap();
    let tenant = TenantId::parse(DEFAULT_TENANT).unwrap();
    let locked = opened.ctx.vault.lock(&tenant, "token", 1, "hush-hush").unwrap();
    let mut tx = opened.ctx.db.write().await.unwrap();
    store::secrets::put(&mut tx, &tenant, ("token", 1), locked, ("system", 1)).await.unwrap();
    tx.commit().await.unwrap();
    let file = dir.path().join("fleet.backup");
    backup(&opened.ctx.config, &file).await.unwrap();
    opened.ctx.db.close().await;
    let bytes = fs::read(&file).unwrap();
    assert!(!bytes.windows(9).any(|part| part == b"hush-hush"));

    let config = config(&dir, "new");
    restore(config.clone(), &file, Clock::System).await.unwrap();
    let opened = init::open(config.clone(), Clock::System, None).await.unwrap();
    let mut tx = opened.ctx.db.read().await.unwrap();
    let row = store::secrets::find(&mut tx, &tenant, "token").await.unwrap().unwrap();
    let value = opened.ctx.vault.unlock(&tenant, "token", row.version, &row.value).unwrap();
    assert_eq!(value.as_str(), "hush-hush");
    drop(tx);
    opened.ctx.db.close().await;
    drop(opened);

    fs::remove_file(config.pki_dir().join(vault::KEY_FILE)).unwrap();
    let error = init::open(config, Clock::System, None).await.unwrap_err().to_string();
    assert!(error.contains("secrets.key") && error.contains("from the backup"), "{error}");
}
