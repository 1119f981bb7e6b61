//! Retention: the end of whole partitions, over an injected clock.

use std::time::Duration;

use watchdog_audit::{AuditLog, LegalHold};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Actor, Category};
use watchdog_core::testing::ManualClock;
use watchdog_storage::postgres::{Transaction, sqlx};
use watchdog_storage::testing::postgres::shared;

use super::desk::Desk;
use crate::bench::record;

const DAY: u64 = 86_400;
const BEGIN: Timestamp = Timestamp::constant(1_768_478_400, 0); // 2026-01-15

#[tokio::test]
async fn each_category_keeps_its_months_as_long_as_configured() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let clock = ManualClock::new(BEGIN);
    let log = desk.log_at(&clock).await;
    record(&log, 0..40).await;
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 40);
    assert_eq!(desk.months("database"), ["2026_01", "2026_02"], "this month and the next");
    // 2026-03-02: January has not yet been over for the 30 days of `database`.
    clock.advance(Duration::from_secs(46 * DAY));
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 0);
    clock.advance(Duration::from_secs(DAY));
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 1);
    assert_eq!(desk.months("database"), ["2026_02", "2026_03", "2026_04"]);
    assert_eq!(desk.months("access"), ["2026_01", "2026_02", "2026_03", "2026_04"]);
    assert_eq!(desk.rows(), 30);
    // Two years on only `security` is left of January, and nothing of it comes back.
    clock.advance(Duration::from_secs(730 * DAY));
    log.copy_to_postgres().await.unwrap();
    assert_eq!(desk.sql("SELECT DISTINCT category FROM watchdog_audit"), "security");
    assert_eq!(desk.rows(), 10);
    assert!(desk.months("security").contains(&"2026_01".to_owned()));
    log.rebuild_postgres_copy(1..=u64::MAX, &|_| {}).await.unwrap();
    assert_eq!(desk.rows(), 10, "a rebuilt copy keeps to its retention");
}

/// A copy with a partition that has reached its end, and somebody who reads it.
async fn read_at_its_end(desk: &Desk<'_>, clock: &ManualClock) -> (AuditLog, Transaction) {
    let log = desk.log_at(clock).await;
    record(&log, 0..4).await;
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let mut reader = desk.postgres.begin().await.unwrap();
    let read = "SELECT count(*) FROM watchdog_audit_database_2026_01";
    sqlx::raw_sql(read).execute(&mut *reader).await.unwrap();
    clock.advance(Duration::from_secs(47 * DAY));
    (log, reader)
}

#[tokio::test]
async fn a_partition_in_use_is_dropped_by_a_later_run() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let clock = ManualClock::new(BEGIN);
    let (log, reader) = read_at_its_end(&desk, &clock).await;
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 0, "nobody is waited for");
    assert_eq!(desk.months("database").first().unwrap(), "2026_01");
    reader.rollback().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 1);
}

#[tokio::test]
async fn entries_of_any_month_find_their_partition() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let clock = ManualClock::new(BEGIN);
    let log = desk.log_at(&clock).await;
    for round in 0..3 {
        record(&log, round * 4..round * 4 + 4).await;
        clock.advance(Duration::from_secs(10 * DAY));
    }
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().rows, 12);
    assert_eq!(desk.months("access"), ["2026_01", "2026_02", "2026_03"]);
}

#[tokio::test]
async fn no_partition_of_a_category_under_legal_hold_is_dropped() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let clock = ManualClock::new(BEGIN);
    let log = desk.log_at(&clock).await;
    record(&log, 0..8).await;
    log.seal_and_archive().await.unwrap();
    log.copy_to_postgres().await.unwrap();
    let hold = LegalHold::new("case-1", "a case").with_category(Category::Database);
    log.hold(hold, Actor::user("counsel")).await.unwrap();
    clock.advance(Duration::from_secs(400 * DAY));
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 3, "of the others");
    assert_eq!(desk.months("database").first().unwrap(), "2026_01");
    log.release_hold("case-1", Actor::user("counsel")).await.unwrap();
    assert_eq!(log.copy_to_postgres().await.unwrap().dropped, 2);
    assert_eq!(desk.months("database").first().unwrap(), "2027_02");
}

#[tokio::test]
async fn a_hold_that_is_placed_while_a_partition_ends_keeps_it() {
    let Some(server) = shared() else { return };
    let desk = Desk::on(server).await;
    let clock = ManualClock::new(BEGIN);
    let (log, reader) = read_at_its_end(&desk, &clock).await;
    let copying = tokio::spawn({
        let log = log.clone();
        async move { log.copy_to_postgres().await }
    });
    // It has looked at the holds, and waits for the reader.
    desk.until_a_session_waits().await;
    let hold = LegalHold::new("case-1", "a case").with_category(Category::Database);
    log.hold(hold, Actor::user("counsel")).await.unwrap();
    reader.rollback().await.unwrap();
    assert_eq!(copying.await.unwrap().unwrap().dropped, 0);
    assert_eq!(desk.months("database").first().unwrap(), "2026_01");
}
