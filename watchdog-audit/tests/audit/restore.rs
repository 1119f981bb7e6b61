//! Restoring the archive into a store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use watchdog_audit::{
    ArchiveRange, AuditConfig, AuditLog, EmbeddedStore, Progress, Restored, SegmentStore,
};
use watchdog_core::audit::Category;
use watchdog_core::testing::ManualClock;
use watchdog_storage::objects::Objects;

use crate::bench::{clocked, keys, log, log_with, memory, numbers, record, redis};

/// A log with 300 archived entries in several segments.
async fn archived(bucket: &Objects) -> AuditLog {
    let config = AuditConfig { segment_max_bytes: 20_000, ..AuditConfig::default() };
    let log = log_with(config, memory(), bucket).await;
    for begin in [0, 100, 200] {
        record(&log, begin..begin + 100).await;
        log.seal_and_archive().await.unwrap();
    }
    log
}

/// A log on a store, without an archive.
async fn over(store: Arc<dyn SegmentStore>) -> AuditLog {
    AuditLog::builder()
        .with_shared_store(store)
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap()
}

async fn restore_everything(store: Arc<dyn SegmentStore>) {
    let bucket = Objects::memory();
    let log = archived(&bucket).await;
    // A part first, then all of it twice: ranges overlap.
    let part = ArchiveRange::new().with_category(Category::Access);
    let first = log.restore(part, store.as_ref()).await.unwrap();
    assert_eq!((first.entries, first.known), (75, 0));
    let told = Mutex::new(Vec::new());
    let observer = |progress: Progress| told.lock().unwrap().push((progress.done, progress.total));
    let all = log.restore_observed(ArchiveRange::new(), store.as_ref(), &observer).await.unwrap();
    assert_eq!((all.entries, all.known, all.missing), (225, 75, 0));
    let told = told.into_inner().unwrap();
    assert_eq!(told.first(), Some(&(0, all.objects)));
    assert_eq!(told.last(), Some(&(all.objects, all.objects)));
    let again = log.restore(ArchiveRange::new(), store.as_ref()).await.unwrap();
    assert_eq!(again, Restored { entries: 0, known: 300, ..all });

    let restored = over(store).await;
    assert_eq!(numbers(&restored).await, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn restored_entries_are_found_once_however_often_they_are_restored() {
    restore_everything(memory()).await;
}

#[tokio::test]
async fn restored_entries_are_found_in_redis_too() {
    let Some(redis) = redis().await else { return };
    restore_everything(Arc::new(watchdog_audit::RedisStore::new(redis, 2))).await;
}

#[tokio::test]
async fn an_interrupted_restore_goes_on_and_gives_the_same() {
    let bucket = Objects::memory();
    let log = archived(&bucket).await;
    let store = memory();
    // An object in the middle is broken; it is mended, and the restore repeated.
    let keys: Vec<_> = {
        let mut walk = log.archived(ArchiveRange::new()).await.unwrap();
        let mut keys = Vec::new();
        while let Some(batch) = walk.next().await.unwrap() {
            keys.push(batch.object().key.clone());
        }
        keys
    };
    let key = &keys[keys.len() / 2];
    let kept = bucket.get(key).await.unwrap();
    bucket.put(key, "other".into()).await.unwrap();
    log.restore(ArchiveRange::new(), store.as_ref()).await.unwrap_err();
    bucket.put(key, kept).await.unwrap();
    let rest = log.restore(ArchiveRange::new(), store.as_ref()).await.unwrap();
    assert!(rest.known > 0 && rest.entries > 0, "{rest:?}");
    assert_eq!(rest.known + rest.entries, 300);
    assert_eq!(numbers(&over(store).await).await, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_restored_into_the_log_itself_stands_once_and_is_not_archived_again() {
    let bucket = Objects::memory();
    let log = archived(&bucket).await;
    record(&log, 300..310).await;
    let before = log.verify().await.unwrap();
    let restored = log.restore(ArchiveRange::new(), log.store().as_ref()).await.unwrap();
    assert_eq!(restored.entries, 300);
    assert_eq!(numbers(&log).await, (0..310).collect::<Vec<_>>());
    assert_eq!(log.verify().await.unwrap(), before);
    assert_eq!(log.seal_and_archive().await.unwrap().entries, 10);
    let after = log.verify().await.unwrap();
    assert!(after.is_sound(), "{after:?}");
    assert_eq!((after.entries, after.waiting), (310, 0));
}

#[tokio::test]
async fn what_is_restored_into_another_log_is_not_in_its_archive() {
    let source = archived(&Objects::memory()).await;
    let other = log(memory(), &Objects::memory()).await;
    record(&other, 500..505).await;
    source.restore(ArchiveRange::new(), other.store().as_ref()).await.unwrap();
    assert_eq!(other.seal_and_archive().await.unwrap().entries, 5);
    let report = other.verify().await.unwrap();
    assert!(report.is_sound(), "{report:?}");
    assert_eq!(report.entries, 5);
}

#[tokio::test]
async fn what_was_restored_and_has_expired_is_restored_anew() {
    let source = archived(&Objects::memory()).await;
    let clock = ManualClock::default();
    let store = EmbeddedStore::memory().unwrap().with_clock(Arc::new(clock.clone()));
    let store: Arc<dyn SegmentStore> = Arc::new(store);
    let other = clocked(Arc::clone(&store), &Objects::memory(), &clock).await;
    for round in 0..3 {
        let restored = source.restore(ArchiveRange::new(), store.as_ref()).await.unwrap();
        assert_eq!((restored.entries, restored.known), (300, 0), "round {round}");
        let again = source.restore(ArchiveRange::new(), store.as_ref()).await.unwrap();
        assert_eq!((again.entries, again.known), (0, 300), "round {round}");
        other.seal_and_archive().await.unwrap();
        let again = source.restore(ArchiveRange::new(), store.as_ref()).await.unwrap();
        assert_eq!((again.entries, again.known), (0, 300), "archived and not expired");
        clock.advance(AuditConfig::default().ttl() + Duration::from_millis(1));
        store.sweep().await.unwrap();
    }
}
