//! What becomes of the spools that processes have left: with another store, more partitions, a
//! store that refuses one of them, and a stop in the middle.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, Durability, EmbeddedStore, ErrorKind, Query, RedisStore, SegmentStore,
    WriterId,
};
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{assert_archived, entry, keys, log_with, numbers, record, redis};
use crate::faulty::Faulty;
use crate::spool::{SOON, config, status, store};
use crate::spool_disk::bytes_on_disk;

fn memory() -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::memory().unwrap())
}

/// A process that records `there` while the store is up and `left` while it is down, and ends.
async fn leave(
    config: &AuditConfig,
    store: &Arc<Faulty>,
    bucket: &Objects,
    (there, left): (std::ops::Range<u64>, std::ops::Range<u64>),
) -> WriterId {
    let log = log_with(config.clone(), store.clone(), bucket).await;
    record(&log, there).await;
    store.take_down(true);
    record(&log, left).await;
    let writer = log.writer();
    log.shutdown(Duration::from_millis(10)).await.unwrap();
    store.take_down(false);
    writer
}

async fn build(
    config: &AuditConfig,
    store: Arc<dyn SegmentStore>,
    bucket: &Objects,
) -> watchdog_audit::Result<AuditLog> {
    AuditLog::builder()
        .with_config(config)
        .with_shared_store(store)
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
}

async fn declared(log: &AuditLog, action: &str) -> usize {
    log.query(&Query::new().with_action(action)).await.unwrap().records.len()
}

fn homes(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("spool")).unwrap().count()
}

#[tokio::test]
async fn a_spool_of_redis_is_adopted_by_the_embedded_store() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Store);
    leave(&config, &store, &bucket, (0..0, 0..5)).await;
    let log = build(&config, memory(), &bucket).await.unwrap();
    eventually("they are delivered", SOON, async || numbers(&log).await.len() == 5).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..5).await;
    eventually("the directory is gone", SOON, async || homes(directory.path()) == 0).await;
}

#[tokio::test]
async fn a_spool_that_only_another_store_can_go_on_with_stops_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (old, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Store);
    leave(&config, &old, &bucket, (0..5, 5..8)).await;
    let other = || Arc::new(Faulty::new(memory()).named("elsewhere"));
    let error = build(&config, other(), &bucket).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    for wanted in [directory.path().to_str().unwrap(), "remote", "elsewhere", "remove"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // The store it was for goes on with it.
    let log = build(&config, old.clone(), &bucket).await.unwrap();
    eventually("they are delivered", SOON, async || numbers(&log).await.len() == 8).await;
    assert_eq!(declared(&log, "audit.entries_lost").await, 0);
}

#[tokio::test]
async fn a_spool_whose_store_is_no_more_is_adopted_when_its_note_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = Objects::memory();
    let config = config(directory.path(), Durability::Store);
    let writer = leave(&config, &store(), &bucket, (0..5, 5..8)).await;
    let home = directory.path().join("spool").join(writer.to_string());
    std::fs::remove_file(home.join("store.json")).unwrap();
    let other = Arc::new(Faulty::new(memory()).named("elsewhere"));
    let log = build(&config, other, &bucket).await.unwrap();
    eventually("they are delivered", SOON, async || numbers(&log).await.len() == 3).await;
    assert_eq!(declared(&log, "audit.entries_lost").await, 1);
}

#[tokio::test]
async fn a_spool_of_another_store_goes_on_where_the_archive_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (old, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Store);
    let log = log_with(config.clone(), old.clone(), &bucket).await;
    record(&log, 0..5).await;
    log.seal_and_archive().await.unwrap();
    old.take_down(true);
    record(&log, 5..8).await;
    log.shutdown(Duration::from_millis(10)).await.unwrap();
    let other = Arc::new(Faulty::new(memory()).named("elsewhere"));
    let log = build(&config, other, &bucket).await.unwrap();
    eventually("they are delivered", SOON, async || numbers(&log).await.len() == 8).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..8).await;
}

#[tokio::test]
async fn a_spool_is_adopted_into_its_partition_after_partitions_were_added() {
    for durability in [Durability::Store, Durability::Spool] {
        let Some(redis) = redis().await else { return };
        let with = |partitions| {
            Arc::new(Faulty::new(Arc::new(RedisStore::new(redis.clone(), partitions))))
        };
        let directory = tempfile::tempdir().unwrap();
        let bucket = Objects::memory();
        let config = config(directory.path(), durability);
        let four = with(4);
        let mut n = 0;
        // Half of all writers are in another one of eight partitions.
        loop {
            let writer = leave(&config, &four, &bucket, (n..n + 2, n + 2..n + 5)).await;
            n += 5;
            if writer.partition(4) != writer.partition(8) {
                break;
            }
        }
        let log = build(&config, with(8), &bucket).await.unwrap();
        eventually("they are delivered", SOON, async || {
            numbers(&log).await.len() as u64 == n && status(&log).unsent == 0
        })
        .await;
        let mut held = 0;
        for partition in 0..8 {
            let four = with(8);
            held += four.partition(partition).await.unwrap().totals.entries;
        }
        assert_eq!(held, n, "{durability:?}: the store has each once");
        assert_eq!(declared(&log, "audit.entries_lost").await, 0, "{durability:?}");
        log.seal_and_archive().await.unwrap();
        assert_archived(&log, 0..n).await;
    }
}

#[tokio::test]
async fn a_spool_that_is_refused_is_told_of_and_holds_up_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Store);
    let refused = leave(&config, &store, &bucket, (0..0, 0..3)).await;
    leave(&config, &store, &bucket, (0..0, 3..6)).await;
    store.refuse(Some(refused));
    let log = build(&config, store.clone(), &bucket).await.unwrap();
    eventually("the other is delivered", SOON, async || numbers(&log).await.len() == 3).await;
    eventually("health tells of it", SOON, async || {
        let report = log.health().check().await;
        report.status == Status::Warn && report.output.is_some_and(|text| text.contains("spool"))
    })
    .await;
    eventually("its own is there, and the one that is refused", SOON, async || {
        homes(directory.path()) == 2
    })
    .await;
    assert_eq!(status(&log).blocked_spools, 1);
    store.refuse(None);
    eventually("it is delivered when somebody has mended it", SOON, async || {
        numbers(&log).await.len() == 6
    })
    .await;
    eventually("health passes", SOON, async || log.health().check().await.status == Status::Pass)
        .await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..6).await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_recording_again_leaves_each_entry_once() {
    for durability in [Durability::Store, Durability::Spool] {
        let directory = tempfile::tempdir().unwrap();
        let (store, bucket) = (store(), Objects::memory());
        let first = config(directory.path(), Durability::Store);
        leave(&first, &store, &bucket, (0..2, 2..60)).await;
        // Without the first two the others cannot go on under their numbers.
        store.replace(memory());
        let config = config(directory.path(), durability);
        for frames in [5, 0, 9] {
            store.take_down_after(frames);
            let log = build(&config, store.clone(), &bucket).await.unwrap();
            eventually("it is in the middle", SOON, async || store.is_down()).await;
            log.shutdown(Duration::from_millis(10)).await.unwrap();
            drop(log);
            store.take_down_after(usize::MAX);
            store.take_down(false);
        }
        let log = build(&config, store.clone(), &bucket).await.unwrap();
        eventually("it is all there", SOON, async || {
            numbers(&log).await.len() >= 58 && status(&log).unsent == 0
        })
        .await;
        eventually("it is archived", SOON, async || {
            log.seal_and_archive().await.unwrap();
            status(&log).adopted == 0
        })
        .await;
        log.seal_and_archive().await.unwrap();
        assert_eq!(log.verify().await.unwrap().fault, None);
        let mut found = numbers(&log).await;
        found.sort_unstable();
        assert_eq!(found, (2..60).collect::<Vec<_>>(), "{durability:?}");
        assert_eq!(declared(&log, "audit.entries_lost").await, 1, "{durability:?}");
    }
}

#[tokio::test]
async fn the_spools_of_a_directory_share_one_quota() {
    const QUOTA: u64 = 256 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config =
        AuditConfig { spool_max_bytes: QUOTA, ..config(directory.path(), Durability::Store) };
    leave(&config, &store, &bucket, (0..0, 0..5)).await;
    store.take_down(false);
    let mut logs = Vec::new();
    for _ in 0..2 {
        let log = AuditLog::builder()
            .with_config(&config)
            .with_shared_store(store.clone())
            .with_archive(bucket.clone(), &keys())
            .with_encryption(&keys())
            .with_record_timeout(Duration::from_millis(100))
            .without_background()
            .build();
        logs.push(log.await.unwrap());
    }
    store.take_down(true);
    let mut n = 5;
    for _ in 0..2 {
        for log in &logs {
            // Until it takes no more.
            for _ in 0..60 {
                let large = entry(n).with_detail("text", "x".repeat(8000));
                n += 1;
                if log.record(large).await.is_err() {
                    break;
                }
            }
        }
    }
    let bytes = bytes_on_disk(directory.path());
    assert!(bytes <= QUOTA, "{bytes}");
    assert!(bytes > QUOTA / 2, "{bytes}: most of it can be used");
    store.take_down(false);
    eventually("what waited is taken", SOON, async || numbers(&logs[0]).await.len() as u64 == n)
        .await;
}
