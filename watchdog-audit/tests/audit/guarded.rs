//! Operations of a log that fails closed, and what a full queue does.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, FullQueue, OnFull, Order, QUEUE_ENTRIES,
    Query, Record,
};
use watchdog_core::audit::{Actor, Category, Entry, Outcome, Resource};

use crate::bench::{entry, keys};
use crate::faulty::Faulty;

pub(crate) async fn log_on(config: AuditConfig, store: &Arc<Faulty>) -> AuditLog {
    log_waiting(Duration::from_millis(50), config, store).await
}

/// A log whose callers wait so long.
pub(crate) async fn log_waiting(
    limit: Duration,
    config: AuditConfig,
    store: &Arc<Faulty>,
) -> AuditLog {
    AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store.clone())
        .with_encryption(&keys())
        .with_record_timeout(limit)
        .without_background()
        .build()
        .await
        .unwrap()
}

pub(crate) fn memory() -> Arc<Faulty> {
    Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())))
}

pub(crate) async fn transfers(log: &AuditLog) -> Vec<Record> {
    let query = Query::new().with_action("money.sent").with_order(Order::OldestFirst);
    log.query(&query).await.unwrap().records
}

pub(crate) async fn begin(log: &AuditLog) -> watchdog_audit::Result<watchdog_audit::Operation> {
    let account = Resource::new("account", "1");
    log.begin(Category::Security, Actor::user("alice"), "money.sent", account).await
}

#[tokio::test]
async fn a_log_that_fails_closed_has_the_begin_before_the_operation_goes_on() {
    let config = AuditConfig { fail_closed: true, ..AuditConfig::default() };
    let log = log_on(config, &memory()).await;
    let operation = begin(&log).await.unwrap();
    let begun = transfers(&log).await;
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0].entry.outcome, Outcome::Unknown);
    assert_eq!(begun[0].entry.details["phase"], "begun");
    operation.succeed().await.unwrap();
    let both = transfers(&log).await;
    assert_eq!(both.len(), 2);
    assert_eq!(both[1].entry.outcome, Outcome::Success);
    assert_eq!(both[1].entry.details["phase"], "ended");
    assert_eq!(both[0].entry.details["operation"], both[1].entry.details["operation"]);
    assert_ne!(both[0].entry.id, both[1].entry.id);
}

#[tokio::test]
async fn an_operation_whose_begin_cannot_be_made_durable_is_refused() {
    let store = memory();
    let config = AuditConfig { fail_closed: true, ..AuditConfig::default() };
    let log = log_on(config, &store).await;
    store.take_down(true);
    let error = begin(&log).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    store.take_down(false);
    let open = log_on(AuditConfig::default(), &store).await;
    store.take_down(true);
    drop(begin(&open).await.unwrap());
    store.take_down(false);
}

/// Records without waiting; polled once.
fn start(
    log: &AuditLog,
    entry: Entry,
) -> std::pin::Pin<Box<dyn Future<Output = watchdog_audit::Result<watchdog_audit::Receipt>>>> {
    let log = log.clone();
    let mut future = Box::pin(async move { log.record(entry).await });
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    future
}

/// A log whose queue is full: its store is down and its runtime has had no turn since.
pub(crate) fn fill(log: &AuditLog, first: u64) {
    for n in 0..QUEUE_ENTRIES as u64 {
        drop(start(log, entry(first + n * 4 + 3)));
    }
}

fn of(category: Category, n: u64) -> Entry {
    Entry { category, ..entry(n) }
}

#[tokio::test]
async fn a_full_queue_drops_counts_and_declares_what_may_be_dropped() {
    let store = memory();
    let full_queue = FullQueue {
        application: OnFull::Drop,
        database: OnFull::Fail,
        access: OnFull::Drop,
        security: OnFull::Fail,
    };
    let config = AuditConfig {
        full_queue,
        log_level: watchdog_audit::MirrorLevel::Off,
        ..AuditConfig::default()
    };
    let log = log_on(config, &store).await;
    fill(&log, 0);
    for n in 0..3 {
        let receipt = log.record(of(Category::Application, n)).await.unwrap();
        assert!(!receipt.is_stored());
    }
    assert!(!log.record(of(Category::Access, 3)).await.unwrap().is_stored());
    for category in [Category::Database, Category::Security] {
        let error = log.record(of(category, 4)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Saturated, "{category}");
    }
    log.shutdown(Duration::from_secs(9)).await.unwrap();
    let query = Query::new().with_action("audit.entries_dropped");
    let declared = log.query(&query).await.unwrap().records;
    assert_eq!(declared.len(), 1);
    let entry = &declared[0].entry;
    assert_eq!(entry.category, Category::Security);
    assert_eq!((&entry.details["application"], &entry.details["access"]), (&3.into(), &1.into()));
    assert_eq!(entry.details.len(), 2);
    let held = watchdog_audit::SegmentStore::partition(store.as_ref(), 0).await.unwrap().totals;
    assert_eq!(held.entries, QUEUE_ENTRIES as u64 + 1);
}
