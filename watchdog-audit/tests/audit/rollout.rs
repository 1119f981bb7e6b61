//! Processes with and without an archive over one store, and the archive switched on later.

use std::collections::BTreeSet;
use std::sync::Arc;

use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, ErrorKind, RedisStore, SegmentStore};
use watchdog_storage::objects::Objects;

use crate::bench::{
    assert_archived, assert_waiting_never_expires, keys, log_with, numbers, own_directory, record,
    redis,
};

/// Every entry fills a segment.
fn tiny() -> AuditConfig {
    AuditConfig { segment_max_bytes: 1, ..AuditConfig::default() }
}

async fn without_archive(store: Arc<dyn SegmentStore>) -> AuditLog {
    AuditLog::builder()
        .with_config(&AuditConfig { spool_directory: own_directory(), ..tiny() })
        .with_shared_store(store)
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

async fn lets_nothing_expire(store: Arc<dyn SegmentStore>) {
    let bucket = Objects::memory();
    let archiving = log_with(tiny(), Arc::clone(&store), &bucket).await;
    let other = without_archive(Arc::clone(&store)).await;
    record(&other, 0..10).await;
    for number in 1..=store.partition(0).await.unwrap().open {
        let expiry = store.expiry(SegmentId { partition: 0, number }).await.unwrap();
        assert!(!matches!(expiry, Expiry::InMillis(_)), "segment {number}: {expiry:?}");
    }
    assert_waiting_never_expires(store.as_ref()).await;
    archiving.seal_and_archive().await.unwrap();
    assert_archived(&archiving, 0..10).await;
}

#[tokio::test]
async fn a_process_without_an_archive_lets_nothing_expire_that_another_archives() {
    lets_nothing_expire(Arc::new(EmbeddedStore::memory().unwrap())).await;
    let Some(redis) = redis().await else { return };
    lets_nothing_expire(Arc::new(RedisStore::new(redis.clone(), 1))).await;
    redis.close().await;
}

async fn switched_on_later(store: Arc<dyn SegmentStore>) {
    let bucket = Objects::memory();
    let old = without_archive(Arc::clone(&store)).await;
    record(&old, 0..5).await;
    assert!(store.partition(0).await.unwrap().unarchived >= 4);
    let new = log_with(tiny(), Arc::clone(&store), &bucket).await;
    // The old process goes on for a while, in the middle of its numbers.
    record(&old, 5..10).await;
    record(&new, 10..15).await;
    assert!(new.verify().await.unwrap().is_sound());
    new.seal_and_archive().await.unwrap();
    record(&old, 15..20).await;
    new.seal_and_archive().await.unwrap();
    let report = new.verify().await.unwrap();
    assert_eq!(report.fault, None);
    assert!(report.entries >= 15, "{report:?}");
    assert_eq!(
        numbers(&new).await.into_iter().collect::<BTreeSet<_>>(),
        (0..20).collect::<BTreeSet<_>>(),
        "what was taken before is found as well while it lives"
    );
}

#[tokio::test]
async fn an_archive_that_is_switched_on_later_goes_on_from_there() {
    switched_on_later(Arc::new(EmbeddedStore::memory().unwrap())).await;
    let Some(redis) = redis().await else { return };
    switched_on_later(Arc::new(RedisStore::new(redis.clone(), 1))).await;
    redis.close().await;
}

#[tokio::test]
async fn without_an_archive_a_query_finds_sealed_segments_too() {
    let log = without_archive(Arc::new(EmbeddedStore::memory().unwrap())).await;
    record(&log, 0..10).await;
    assert_eq!(numbers(&log).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_lies_beside_the_epochs_does_not_lock_the_archiver_out() {
    let bucket = Objects::memory();
    for name in ["zzz.json", "99999999999999999999.json", "18446744073709551615", "7.json"] {
        bucket.put(&format!("audit/v1/epoch/{name}"), "x".into()).await.unwrap();
    }
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    for round in 0..2 {
        let log = log_with(tiny(), Arc::clone(&store), &bucket).await;
        record(&log, round * 3..(round + 1) * 3).await;
        log.seal_and_archive().await.unwrap();
        assert_archived(&log, 0..(round + 1) * 3).await;
    }
}

#[tokio::test]
async fn fewer_partitions_than_there_were_are_refused() {
    let Some(redis) = redis().await else { return };
    RedisStore::new(redis.clone(), 4).preflight().await.unwrap();
    let error = RedisStore::new(redis.clone(), 2).preflight().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("WATCHDOG_AUDIT_PARTITIONS=4"), "{error}");
    for partitions in [4, 8] {
        RedisStore::new(redis.clone(), partitions).preflight().await.unwrap();
    }
    redis.close().await;
}
