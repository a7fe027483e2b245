//! Retention, backup and restore.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use openclaw_protocol::desired::{Desired, SignedDesired};
use openclaw_protocol::limits::DESIRED_BYTES;
use openclaw_protocol::report::{Report, ReportRecord};
use openclaw_protocol::sync::Lane;
use openclaw_protocol::time::{ClockTrust, Stamp};
use openclaw_protocol::wire::{self, Kind};

use super::facts::{
    COUNT, answer, device, enrol, events, history, lane, reports, results, run_id, tell,
};
use super::server::{Database, Server, config};
use crate::clock::Clock;
use crate::service::housekeeping;
use crate::store::{self, args};
use crate::{backup, init};

const DAY_MS: i64 = 24 * 3_600_000;

pub(super) async fn old_facts_go_and_the_ledger_stays(database: Database) {
    let server = Server::start_with(&database, |config| config.retention.days = 7).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    let all = results(4);
    tell(&server, &pump, Lane::Results, all[..3].to_vec()).await;
    tell(&server, &pump, Lane::History, history(&events(1))).await;
    server.pass_ms(5 * DAY_MS);
    tell(&server, &pump, Lane::Results, all[3..].to_vec()).await;
    assert_eq!(housekeeping::round(&server.ctx).await.unwrap(), 0);
    server.pass_ms(3 * DAY_MS);
    assert_eq!(housekeeping::round(&server.ctx).await.unwrap(), 3 + 5 + 3);
    let left = admin.get("/api/v1/executions").await;
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    let outcome = tell(&server, &pump, Lane::Results, all).await;
    assert_eq!((outcome.inserted, outcome.repeated), (0, 4), "what was deleted is not new again");
    let ledger = &admin.get("/api/v1/devices/pump-1").await["ledger"][0];
    assert_eq!((&ledger["received"], &ledger["complete_to"]), (&json!(4), &json!(4)));
    server.stop().await;
}

/// The audit trail is kept longer than facts; security events go by our clock, not the device's.
pub(super) async fn trails_and_riddles_go_too(database: Database) {
    let server = Server::start_with(&database, |config| config.retention.days = 7).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    tell(&server, &pump, Lane::Results, lane(vec![vec![9, 9, 9]])).await;
    let noticed = Report::Security { code: "clock.odd".to_owned(), message: "1970".to_owned() };
    let at = Stamp { boot: 1, boot_ms: 1, wall_ms: 5, trust: ClockTrust::Unset };
    let record = ReportRecord { at, report: noticed };
    tell(&server, &pump, Lane::Control, lane(vec![wire::pack(Kind::Report, &record)])).await;
    let rows = async || {
        let mut tx = server.ctx.db.read().await.unwrap();
        let mut counts = Vec::new();
        for sql in [
            "SELECT COUNT(*) AS n FROM parked_records",
            "SELECT COUNT(*) AS n FROM security_events",
            "SELECT COUNT(*) AS n FROM audit",
        ] {
            counts.push(tx.row(sql, args![]).await.unwrap().unwrap().int("n").unwrap());
        }
        counts
    };
    let before = rows().await;
    assert!(before.iter().all(|&count| count > 0), "{before:?}");
    housekeeping::round(&server.ctx).await.unwrap();
    assert_eq!(rows().await, before, "it came this moment, whatever the device's clock says");
    server.pass_ms(8 * DAY_MS);
    housekeeping::round(&server.ctx).await.unwrap();
    assert_eq!(rows().await, [0, 0, before[2]]);
    server.pass_ms(400 * DAY_MS);
    housekeeping::round(&server.ctx).await.unwrap();
    assert_eq!(rows().await, [0, 0, 0]);
    server.stop().await;
}

pub(super) async fn too_many_bytes_go_oldest_first(database: Database) {
    // Smaller than a file may say, so that the test need not write a megabyte.
    let server = Server::start_with(&database, |config| config.retention.max_bytes = 2_000).await;
    let pump = enrol(&server, "pump-1", &[]).await;
    tell(&server, &pump, Lane::History, history(&events(1))).await;
    tell(&server, &pump, Lane::Results, results(2)).await;
    housekeeping::round(&server.ctx).await.unwrap();
    let mut tx = server.write().await;
    let left = store::retention::run_events_size(&mut tx).await.unwrap();
    assert_eq!(left.rows, 0, "events go before results");
    let results = store::retention::results_size(&mut tx).await.unwrap();
    assert_eq!(results.rows, 2);
    drop(tx);
    server.stop().await;
}

/// After a restore no number is used twice, and nothing that was answered is wished again.
pub(super) async fn a_new_generation_signs_and_numbers_anew(database: Database) {
    let server = Server::start(&database).await;
    let admin = server.admin().await;
    let pump = enrol(&server, "pump-1", &[]).await;
    admin.apply(COUNT).await;
    let target = json!({ "devices": ["pump-1"] });
    admin.post("/api/v1/deployments", json!({ "workflow": "count", "target": target })).await;
    let run = "/api/v1/workflows/count/run";
    let wish = async || {
        let made = admin.post(run, json!({ "target": target })).await;
        made["requests"][0]["id"].as_str().unwrap().to_owned()
    };
    let (answered, open) = (wish().await, wish().await);
    let body = async |tx: &mut store::Tx| {
        let sql = "SELECT body FROM requests WHERE answered_ms IS NULL";
        tx.row(sql, args![]).await.unwrap().unwrap().bytes("body").unwrap()
    };
    tell(&server, &pump, Lane::Control, reports(vec![answer(&answered, run_id(1))])).await;
    let wished = body(&mut server.write().await).await;
    let before = server.ctx.generation;
    let tenant = server.tenant();
    let file = server.dir.path().join("backup");
    if let Database::Sqlite = database {
        // While the control plane is at work.
        let mut settings = config(&server.dir, &database);
        backup::backup(&settings, &file).await.unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "it holds private keys");
        settings.data_dir = server.dir.path().join("elsewhere");
        assert!(backup::backup(&settings, &server.dir.path().join("b2")).await.is_err());
    }
    let dir = server.stop().await;

    let mut settings = config(&dir, &database);
    if let Database::Sqlite = database {
        assert!(backup::backup(&settings, &file).await.is_err(), "it overwrites nothing");
        let clock = Clock::System;
        let taken = backup::restore(settings.clone(), &file, clock.clone()).await.unwrap_err();
        assert!(taken.to_string().contains("exists already"), "{taken}");
        settings.data_dir = dir.path().join("restored");
        backup::restore(settings.clone(), &file, clock).await.unwrap();
    } else {
        let refused = backup::backup(&settings, &file).await.unwrap_err();
        assert!(refused.to_string().contains("pg_dump"), "{refused}");
        backup::new_generation(settings.clone(), Clock::System).await.unwrap();
    }

    let opened = init::open(settings, Clock::System, None).await.unwrap();
    assert!(opened.first_admin.is_none());
    assert_ne!(opened.ctx.generation, before);
    let mut tx = opened.ctx.db.read().await.unwrap();
    let bytes = store::devices::desired_document(&mut tx, &tenant, &device("pump-1")).await;
    let bytes = bytes.unwrap().unwrap();
    let signed: SignedDesired = wire::unpack(Kind::SignedDesired, &bytes, DESIRED_BYTES).unwrap();
    let desired: Desired = wire::unpack(Kind::Desired, &signed.document, DESIRED_BYTES).unwrap();
    assert_eq!((desired.generation, desired.revision), (opened.ctx.generation, 2));
    let log = store::fleet::commands_from(&mut tx, &tenant, &pump, (1, 2), 1 << 20).await.unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].body, wished, "the same wish, by the same name");
    assert_eq!((log[0].seq, log[0].digest), (1, openclaw_protocol::sync::chain(0, &log[0].body)));
    let holding = store::fleet::commands_holding(&mut tx, &tenant, &pump).await.unwrap();
    assert_eq!((holding.oldest, holding.next), (1, 2));
    let row = tx.row("SELECT id FROM requests WHERE seq = 1", args![]).await.unwrap().unwrap();
    assert_eq!(row.text("id").unwrap(), open);
    drop(tx);
    opened.ctx.db.close().await;
}
