//! Outages, broken sessions, two copiers, another archive.

use watchdog_audit::ErrorKind;
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::postgres::sqlx;
use watchdog_storage::testing::postgres::{PostgresServer, is_available, shared};

use super::desk::{Desk, lines};
use crate::bench::{assert_archived, record};

#[tokio::test]
async fn after_an_outage_the_copy_catches_up_and_the_archiver_never_waited() {
    if !is_available() {
        return;
    }
    let mut server = PostgresServer::start();
    let (log, name) = {
        let desk = Desk::on(&server).await;
        (desk.log().await, desk.database.name.unwrap())
    };
    record(&log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 10);
    server.kill();
    for round in 1..4 {
        record(&log, round * 10..round * 10 + 10).await;
        assert_eq!(log.seal_and_archive().await.unwrap().entries, 10);
    }
    let error = log.copy_to_postgres().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let report = log.health().check().await;
    assert_eq!(report.status, Status::Pass, "the log itself is well");
    assert_eq!(report.observations["copy_lag_manifests"], 3.0);
    assert!(report.observations["copy_lag_seconds"] > 0.0);
    server.restart();
    let copied = log.copy_to_postgres().await.unwrap();
    assert_eq!((copied.manifests, copied.rows), (3, 30));
    let report = log.health().check().await;
    assert_eq!(report.observations["copy_lag_manifests"], 0.0);
    assert_eq!(report.observations["copy_lag_seconds"], 0.0);
    assert_eq!(server.execute(&name, "SELECT count(*) FROM watchdog_audit"), "40");
    assert_archived(&log, 0..40).await;
}

#[tokio::test]
async fn a_log_starts_while_postgres_is_away() {
    if !is_available() {
        return;
    }
    let mut server = PostgresServer::start();
    let builder = Desk::on(&server).await.builder(false);
    server.kill();
    let log = builder.build().await.unwrap();
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    assert!(log.copy_to_postgres().await.unwrap_err().is_retryable());
    let report = log.health().check().await;
    // How far the copy is nobody knows; since when nobody knows it counts.
    assert_eq!(report.observations["copy_lag_manifests"], 0.0);
    assert!(report.observations["copy_lag_seconds"] > 0.0);
}

/// The rows of the last category wait for a lock when those of the others are written.
#[tokio::test]
async fn a_batch_that_breaks_off_leaves_nothing_and_is_copied_once() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record(&log, 0..40).await;
    log.seal_and_archive().await.unwrap();
    watchdog_audit::PostgresCopy::new(desk.postgres.clone()).migrate().await.unwrap();
    // The partitions are made before the lock, which would hold up that as well.
    for category in ["application", "database", "access", "security"] {
        desk.sql(&format!("SELECT watchdog_audit_add_month('{category}', date_trunc('month', now() AT TIME ZONE 'UTC')::date)"));
    }
    for end in ["terminated", "abandoned"] {
        let mut other = desk.postgres.acquire().await.unwrap();
        let month = desk.months("security").remove(0);
        let lock = format!("BEGIN; LOCK TABLE watchdog_audit_security_{month} IN SHARE MODE");
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *other).await.unwrap();
        let copying = tokio::spawn({
            let log = log.clone();
            async move { log.copy_to_postgres().await }
        });
        desk.until_a_session_waits().await;
        if end == "terminated" {
            server.terminate_clients(desk.database.name.as_deref().unwrap());
            let error = copying.await.unwrap().unwrap_err();
            assert!(error.is_retryable(), "{error}");
        } else {
            copying.abort();
            assert!(copying.await.unwrap_err().is_cancelled());
        }
        other.discard();
        assert_eq!(desk.rows(), 0, "{end}");
        assert_eq!(desk.sql("SELECT manifest FROM watchdog_audit_copied"), "0", "{end}");
    }
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 40);
    assert_eq!(desk.rows(), 40);
}

#[tokio::test]
async fn two_copiers_copy_each_entry_once() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    for round in 0..12 {
        record(&log, round * 10..round * 10 + 10).await;
        log.seal_and_archive().await.unwrap();
    }
    let other = desk.log().await;
    let (one, two) = tokio::join!(log.copy_to_postgres(), other.copy_to_postgres());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.rows + two.rows, 120);
    assert_eq!(one.manifests + two.manifests, 12);
    assert_eq!(desk.rows(), 120);
}

#[tokio::test]
async fn the_copy_of_another_archive_is_not_gone_on_with() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let desk = Desk { bucket: watchdog_storage::objects::Objects::memory(), ..desk };
    let other = desk.log().await;
    record(&other, 4..12).await;
    other.seal_and_archive().await.unwrap();
    assert_eq!(other.copy_to_postgres().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(desk.rows(), 4);
}

#[tokio::test]
async fn an_altered_object_is_left_out_and_told_and_holds_up_nothing() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record(&log, 0..40).await;
    log.seal_and_archive().await.unwrap();
    let key = desk.bucket.list("audit/v1/category=access", None, 1).await.unwrap();
    let key = key.objects[0].key.clone();
    let sound = desk.bucket.get(&key).await.unwrap();
    desk.bucket.put(&key, zstd::encode_all(&b"{}\n"[..], 3).unwrap().into()).await.unwrap();
    let copied = log.copy_to_postgres().await.unwrap();
    assert_eq!((copied.rows, copied.left_out), (30, 1));
    assert_eq!(log.health().check().await.observations["copy_left_out_objects"], 1.0);
    desk.bucket.put(&key, sound).await.unwrap();
    assert_eq!(log.rebuild_postgres_copy(1..=1, &|_| {}).await.unwrap().rows, 10);
    assert_eq!(desk.rows(), lines(&desk.bucket).await.len() as u64);
}

#[tokio::test]
async fn newer_tables_are_refused() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    log.copy_to_postgres().await.unwrap();
    desk.sql(
        "INSERT INTO watchdog_audit_migrations \
         SELECT 99, 'later', now(), true, checksum, 0 FROM watchdog_audit_migrations LIMIT 1",
    );
    let error = desk.log().await.copy_to_postgres().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("version 99"), "{error}");
}
