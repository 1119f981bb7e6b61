//! The way of an entry where several things fail at once.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, Durability, EmbeddedStore, ErrorKind, SegmentStore as _,
};
use watchdog_core::health::Status;
use watchdog_core::{Clock as _, HealthCheck as _};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{assert_archived, entry, keys, log_with};
use crate::spool::{SOON, config, drained, status, store};

fn large(n: u64) -> watchdog_core::audit::Entry {
    entry(n).with_detail("text", "x".repeat(40_000))
}

/// Records large entries at once; each is waited for in a task of its own.
fn record_together(
    log: &AuditLog,
    numbers: std::ops::Range<u64>,
) -> Vec<tokio::task::JoinHandle<watchdog_audit::Result<watchdog_audit::Receipt>>> {
    numbers
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.record(large(n)).await })
        })
        .collect()
}

#[tokio::test]
async fn more_entries_at_once_than_the_spool_holds_are_all_taken() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config =
        AuditConfig { spool_max_bytes: 1024 * 1024, ..config(directory.path(), Durability::Spool) };
    let log = log_with(config, store.clone(), &bucket).await;
    let tasks = record_together(&log, 0..60);
    eventually("what is archived makes room", SOON, async || {
        log.seal_and_archive().await.is_ok()
            && tasks.iter().all(tokio::task::JoinHandle::is_finished)
    })
    .await;
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    drained(&log).await;
    assert!(status(&log).bytes <= 1024 * 1024);
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..60).await;
}

#[tokio::test]
async fn a_full_spool_goes_on_after_the_store_lost_its_tail() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config =
        AuditConfig { spool_max_bytes: 1024 * 1024, ..config(directory.path(), Durability::Spool) };
    let log = log_with(config, store.clone(), &bucket).await;
    // One after the other, until the quota is reached and the store has all of it.
    let mut taken = 0;
    loop {
        match tokio::time::timeout(Duration::from_millis(300), log.record(large(taken))).await {
            Ok(receipt) => drop(receipt.unwrap()),
            Err(_) => break,
        }
        taken += 1;
    }
    assert!(status(&log).is_failing && (10..26).contains(&taken), "{taken}");
    drained(&log).await;
    store.replace(Arc::new(EmbeddedStore::memory().unwrap()));
    eventually("the store is filled again, and the rest follows", SOON, async || {
        let archived = log.seal_and_archive().await;
        archived.is_ok() && log.verify().await.unwrap().entries == taken + 1
    })
    .await;
    log.record(large(taken + 1)).await.unwrap();
    drained(&log).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..taken + 2).await;
}

#[tokio::test]
async fn a_writer_that_panicked_is_no_clean_end() {
    let store = Arc::new(crate::faulty::Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let log = log_with(AuditConfig::default(), store.clone(), &Objects::memory()).await;
    assert_eq!(log.health().check().await.status, Status::Pass);
    store.make_panic();
    assert_eq!(log.record(entry(0)).await.unwrap_err().kind(), ErrorKind::Closed);
    let report = log.health().check().await;
    assert_eq!(report.status, Status::Fail, "{report:?}");
    assert_eq!(log.shutdown(SOON).await.unwrap_err().kind(), ErrorKind::NotAcknowledged);
}

#[tokio::test]
async fn without_an_archive_a_clock_that_was_set_back_seals_by_age() {
    let clock = watchdog_core::testing::ManualClock::default();
    clock.advance(Duration::from_secs(86_400));
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let config = AuditConfig { segment_max_age: Duration::from_secs(1), ..AuditConfig::default() };
    let log = AuditLog::builder()
        .with_config(&config)
        .with_shared_store(store.clone())
        .with_encryption(&keys())
        .with_clock(Arc::new(clock.clone()))
        .build()
        .await
        .unwrap();
    log.record(entry(0)).await.unwrap();
    clock.set(clock.now() - jiff::SignedDuration::from_hours(20));
    eventually("it is sealed", SOON, async || !store.sealed(0).await.unwrap().is_empty()).await;
    log.shutdown(SOON).await.unwrap();
}
