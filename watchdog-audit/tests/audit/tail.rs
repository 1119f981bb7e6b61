//! The newest entries, after the store lost them: who is idle and who ends sends them again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, Durability, EmbeddedStore, Query, RedisStore, SegmentStore as _,
};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require, test_name};

use crate::bench::{assert_archived, entry, log_with, record, redis};
use crate::faulty::Faulty;
use crate::redis::roll_back;
use crate::spool::{SOON, config, drained, status, store};

fn settings(directory: &Path) -> AuditConfig {
    config(directory, Durability::Store)
}

async fn stored(store: &RedisStore) -> u64 {
    store.partition(0).await.unwrap().totals.entries
}

#[tokio::test]
async fn an_idle_process_sends_a_lost_tail_again() {
    let Some(redis) = redis().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log_with(settings(directory.path()), store.clone(), &Objects::memory()).await;
    record(&log, 0..30).await;
    for lost in [10, 1, 25] {
        roll_back(&redis, &log, lost).await;
        eventually("redis has them again", SOON, async || stored(&store).await == 30).await;
    }
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..30).await;
    redis.close().await;
}

#[tokio::test]
async fn an_idle_process_that_waits_for_replicas_sends_a_lost_tail_again() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let _replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    crate::spool_redis::replicas(&primary, 1).await;
    let redis = Redis::connect(&RedisConfig::from_url(&primary.url()).unwrap()).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let config = config(directory.path(), Durability::Replicated);
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    record(&log, 0..10).await;
    roll_back(&redis, &log, 4).await;
    eventually("redis has them again", SOON, async || stored(&store).await == 10).await;
    record(&log, 10..11).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..11).await;
    redis.close().await;
}

#[tokio::test]
async fn a_process_that_ends_sends_a_lost_tail_again() {
    let Some(redis) = redis().await else { return };
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (Arc::new(RedisStore::new(redis.clone(), 1)), Objects::memory());
    let log = log_with(settings(directory.path()), store.clone(), &bucket).await;
    record(&log, 0..30).await;
    roll_back(&redis, &log, 10).await;
    log.shutdown(SOON).await.unwrap();
    assert_eq!(stored(&store).await, 30);
    let next = log_with(settings(directory.path()), store, &bucket).await;
    next.seal_and_archive().await.unwrap();
    assert_archived(&next, 0..30).await;
    redis.close().await;
}

/// A process ends while nobody answers; the store comes back with all it had, or without anything.
async fn ends_while_the_store_is_away(is_lost: bool) {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(settings(directory.path()), store.clone(), &bucket).await;
    record(&log, 0..10).await;
    assert_eq!(status(&log).entries, 0, "the store has them: nothing is spooled");
    store.take_down(true);
    log.shutdown(SOON).await.unwrap();
    drop(log);
    if is_lost {
        store.replace(Arc::new(EmbeddedStore::memory().unwrap()));
    }
    store.take_down(false);
    let next = log_with(settings(directory.path()), store.clone(), &bucket).await;
    eventually("the store has them", SOON, async || {
        drained(&next).await;
        store.partition(0).await.unwrap().totals.entries == 10
    })
    .await;
    next.seal_and_archive().await.unwrap();
    assert_archived(&next, 0..10).await;
}

#[tokio::test]
async fn a_process_that_ends_while_the_store_is_away_leaves_its_tail_to_the_next() {
    ends_while_the_store_is_away(true).await;
    ends_while_the_store_is_away(false).await;
}

async fn is_asked(store: &Faulty, times: usize) {
    let before = store.appends();
    eventually("the store is asked", SOON, async || store.appends() >= before + times).await;
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_is_asked_and_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(settings(directory.path()), store.clone(), &bucket).await;
    record(&log, 0..5).await;
    store.take_down(true);
    is_asked(&store, 2).await;
    store.take_down(false);
    is_asked(&store, 2).await;
    assert_eq!(log.record(entry(5)).await.unwrap().writer, log.writer(), "under the same id");
    let declared = Query::new().with_action("audit.writer_superseded");
    assert!(log.query(&declared).await.unwrap().records.is_empty());
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..6).await;
}

/// The embedded store syncs what it acknowledges: asking it would sync once more.
#[tokio::test]
async fn a_local_file_is_not_asked() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let log: AuditLog = log_with(AuditConfig::default(), store.clone(), &Objects::memory()).await;
    record(&log, 0..5).await;
    let before = store.appends();
    // Too short a pause could only miss a fault.
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(store.appends(), before);
}
