//! The copy in Postgres, on a real server.

mod desk;
mod fault;
mod retention;
mod role;
mod speed;

use std::sync::Arc;

use watchdog_audit::{ErrorKind, Order, PostgresCopy, PostgresVault, Progress, Query};
use watchdog_core::audit::{Actor, Category, Resource};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::postgres::shared;

use crate::bench::{entry, keys, record};
use desk::{Desk, LIMIT, lines};

#[tokio::test]
async fn the_copy_holds_every_archived_line_once() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record(&log, 0..100).await;
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 0, "nothing is archived yet");
    log.seal_and_archive().await.unwrap();
    let copied = log.copy_to_postgres().await.unwrap();
    assert_eq!((copied.manifests, copied.rows, copied.left_out), (1, 100, 0));
    let stored = desk.sql("SELECT line FROM watchdog_audit");
    let mut stored: Vec<_> = stored.lines().map(str::to_owned).collect();
    stored.sort();
    assert_eq!(stored, lines(&desk.bucket).await, "byte by byte what the archive holds");
    assert_eq!(desk.sql("SELECT count(*) FROM watchdog_audit WHERE NOT is_exact"), "0");
    let again = log.copy_to_postgres().await.unwrap();
    assert_eq!((again.manifests, again.rows), (0, 0));
}

#[tokio::test]
async fn columns_say_what_the_line_says() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log_in_clear().await;
    log.record(entry(7).with_request_id("r-7")).await.unwrap();
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let row = desk.sql(
        "SELECT category, actor_type, actor_id, subject IS NULL, action, resource_type, \
             resource_id, outcome, request_id, details->>'size', \
             occurred_at = (line::json->>'occurred_at')::timestamptz, \
             id = (line::json->>'id')::uuid, encode(writer, 'hex') = line::json->>'writer', \
             sequence = (line::json->>'seq')::bigint, is_exact FROM watchdog_audit",
    );
    assert_eq!(row, "security|user|bob|t|file.written|file|7|success|r-7|7|t|t|t|t|t");
}

#[tokio::test]
async fn sealed_fields_stay_sealed_in_the_copy() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let all = desk.sql("SELECT row_to_json(a) FROM watchdog_audit a");
    assert!(!all.contains("alice") && !all.contains("bob") && !all.contains("\"size\""), "{all}");
    let sql = "SELECT count(DISTINCT subject), count(actor_id), count(details) FROM watchdog_audit";
    assert_eq!(desk.sql(sql), "2|0|0", "two pseudonyms and nothing in the clear");
}

#[tokio::test]
async fn an_erased_subject_is_unreadable_in_the_copy_at_once() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let vault = Arc::new(PostgresVault::new(desk.postgres.clone()));
    let log = desk.builder(false).with_subject_key_vault(vault, &keys());
    let log = log.build().await.unwrap();
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let before = desk.sql("SELECT sequence, line FROM watchdog_audit ORDER BY sequence");
    let alice = Actor::user("alice");
    assert_eq!(log.erase(&alice, Actor::user("officer"), "a request").await.unwrap().keys, 1);
    let after = desk.sql("SELECT sequence, line FROM watchdog_audit ORDER BY sequence");
    assert_eq!(before, after, "no row is touched: the proofs still fit");
    // The sealed boxes of the copy are those that the log itself cannot open any more.
    let page = log.query(&Query::new().with_order(Order::OldestFirst)).await.unwrap();
    let read: Vec<_> = page.records.iter().filter(|record| record.is_readable).collect();
    assert!(read.iter().all(|record| record.entry.actor != alice), "{read:?}");
    assert_eq!(page.records.iter().filter(|record| !record.is_readable).count(), 4);
    let standing = "SELECT count(*) FROM watchdog_audit JOIN watchdog_audit_subject_keys k \
                    ON k.handle = subject AND k.wrapped IS NOT NULL AND \
                    k.label = line::json->'sealed'->>'key'";
    assert_eq!(desk.sql(standing), "4", "only bob's boxes have a key");
}

#[tokio::test]
async fn a_nul_and_what_no_index_takes_do_not_stall_the_copy() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log_in_clear().await;
    log.record(entry(0)).await.unwrap();
    log.record(entry(1).with_detail("a\0b", "c\0d")).await.unwrap();
    let mut long = entry(2);
    // Random, so that it does not compress to what an index would take.
    let noise: String = (0..60).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    long.resource = Resource::new("file\0", noise.clone());
    long.actor = Actor::user(noise.repeat(2));
    log.record(long).await.unwrap();
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 3);
    assert_eq!(desk.sql("SELECT count(*) FROM watchdog_audit WHERE is_exact"), "1");
    assert_eq!(
        desk.sql("SELECT details FROM watchdog_audit WHERE category = 'database'"),
        "{\"size\": 1, \"a\u{FFFD}b\": \"c\u{FFFD}d\"}"
    );
    let sql = "SELECT line FROM watchdog_audit WHERE category = 'database'";
    assert!(desk.sql(sql).contains(r#""a\u0000b":"c\u0000d""#));
    let found = desk.sql("SELECT resource_id FROM watchdog_audit WHERE category = 'access'");
    assert_eq!(found, noise[..512]);
}

#[tokio::test]
async fn the_copy_is_rebuilt_from_the_archive_and_twice_is_once() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.log().await;
    for round in 0..3 {
        record(&log, round * 10..round * 10 + 10).await;
        log.seal_and_archive().await.unwrap();
    }
    log.copy_to_postgres().await.unwrap();
    desk.sql("TRUNCATE watchdog_audit");
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |progress: Progress| told.lock().unwrap().push((progress.done, progress.total));
    let copied = log.rebuild_postgres_copy(2..=2, &tell).await.unwrap();
    assert_eq!((copied.manifests, copied.rows), (1, 10), "from any point");
    let copied = log.rebuild_postgres_copy(1..=u64::MAX, &tell).await.unwrap();
    assert_eq!((copied.manifests, copied.rows), (3, 20));
    assert_eq!(*told.lock().unwrap(), [(0, 1), (1, 1), (0, 3), (3, 3)]);
    assert_eq!(desk.rows(), 30);
    let copied = log.rebuild_postgres_copy(1..=u64::MAX, &tell).await.unwrap();
    assert_eq!((copied.rows, desk.rows()), (0, 30));
    assert_eq!(log.copy_to_postgres().await.unwrap().manifests, 0, "the cursor did not move");
}

#[tokio::test]
async fn the_log_copies_by_itself_when_it_is_asked_to() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let log = desk.builder(true).build().await.unwrap();
    record(&log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    eventually("the rows are there", LIMIT, async || desk.copied() == 10).await;
    log.shutdown(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_copy_without_postgres_or_archive_is_a_configuration_error() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let error = desk.builder_of(&Desk::config(), None).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("with_postgres_copy"), "{error}");
    let error = watchdog_audit::AuditLog::builder()
        .with_config(&Desk::config())
        .with_store(watchdog_audit::EmbeddedStore::memory().unwrap())
        .with_encryption(&keys())
        .with_postgres_copy(desk.postgres.clone())
        .build()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("with_archive"), "{error}");
    let refused = PostgresCopy::new(desk.postgres.clone()).with_schema("a b").migrate().await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn the_tables_may_stand_in_a_schema_of_their_own() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let copy = PostgresCopy::new(desk.postgres.clone()).with_schema("audit_2");
    copy.migrate().await.unwrap();
    copy.migrate().await.unwrap();
    let log = desk.builder_of(&Desk::config(), Some(copy)).without_background();
    let log = log.build().await.unwrap();
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 4);
    assert_eq!(desk.sql("SELECT count(*) FROM audit_2.watchdog_audit"), "4");
    let sql = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(desk.sql(sql), "0", "nothing beside it");
}

#[test]
fn every_category_has_a_table() {
    let sql = include_str!("../../migrations/copy/0001_entries.sql");
    for category in Category::ALL {
        assert!(sql.contains(&format!("FOR VALUES IN ('{category}')")), "{category}");
    }
}
