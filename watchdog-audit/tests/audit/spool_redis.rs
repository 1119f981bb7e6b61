//! The spool in front of a real Redis: killed, frozen, flushed, with replicas.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{AuditConfig, AuditLog, Durability, ErrorKind, RedisStore, SegmentStore};
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require, test_name};

use crate::bench::{assert_archived, entry, keys, log_with, numbers, record};
use crate::spool::{SOON, config, drained, status};

async fn connected(server: &RedisServer) -> Redis {
    let mut config = RedisConfig::from_url(&server.url()).unwrap();
    config.command_timeout = Duration::from_millis(300);
    config.reconnect_max = Duration::from_millis(200);
    Redis::connect(&config).await.unwrap()
}

/// Records the entries with these numbers at once.
async fn record_together(log: &AuditLog, numbers: std::ops::Range<u64>) {
    let tasks: Vec<_> = numbers
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.record(entry(n)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_redis_that_is_killed_comes_back_empty_and_nothing_is_missing() {
    if !require("redis-server", &test_name()) {
        return;
    }
    for durability in [Durability::Store, Durability::Spool] {
        let mut server = RedisServer::start();
        let redis = connected(&server).await;
        let directory = tempfile::tempdir().unwrap();
        let bucket = Objects::local(directory.path().join("bucket")).unwrap();
        let store = Arc::new(RedisStore::new(redis.clone(), 1));
        let config = config(&directory.path().join("spool"), durability);
        let log = log_with(config, store, &bucket).await;
        record_together(&log, 0..200).await;
        log.seal_and_archive().await.unwrap();
        record_together(&log, 200..300).await;
        server.kill();
        record_together(&log, 300..600).await;
        assert_eq!(status(&log).unsent.min(1), 1, "{durability:?}");
        server.restart();
        drained(&log).await;
        record_together(&log, 600..700).await;
        drained(&log).await;
        log.seal_and_archive().await.unwrap();
        assert_archived(&log, 0..700).await;
        eventually("the spool is released", SOON, async || status(&log).entries == 0).await;
        redis.close().await;
    }
}

#[tokio::test]
async fn a_frozen_redis_holds_nobody_up_for_long() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let server = RedisServer::start();
    let redis = connected(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log =
        log_with(config(directory.path(), Durability::Store), store, &Objects::memory()).await;
    record(&log, 0..10).await;
    server.pause();
    let begun = std::time::Instant::now();
    record(&log, 10..60).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    server.resume();
    drained(&log).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..60).await;
    assert_eq!(numbers(&log).await, (0..60).collect::<Vec<_>>());
    redis.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_in_the_middle_of_the_load_loses_nothing() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let server = RedisServer::start();
    let redis = connected(&server).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log =
        log_with(config(directory.path(), Durability::Spool), store, &Objects::memory()).await;
    for round in 0..4 {
        let load = tokio::spawn({
            let log = log.clone();
            async move { record_together(&log, round * 300..(round + 1) * 300).await }
        });
        if round % 2 == 0 {
            log.seal_and_archive().await.unwrap();
        }
        server.command(&["FLUSHALL"]);
        load.await.unwrap();
    }
    drained(&log).await;
    eventually("every entry is archived", SOON, async || {
        log.seal_and_archive().await.is_ok() && status(&log).entries == 0
    })
    .await;
    assert_archived(&log, 0..1200).await;
    redis.close().await;
}

fn replicated(directory: &std::path::Path) -> AuditConfig {
    AuditConfig {
        replication_timeout: Duration::from_secs(1),
        ..config(directory, Durability::Replicated)
    }
}

pub(crate) async fn replicas(server: &RedisServer, online: usize) {
    eventually("the replica follows", SOON, async || {
        let reply = server.command(&["INFO", "replication"]);
        reply.text().matches("state=online").count() == online
    })
    .await;
    // A replica is online before it says how far it is.
    eventually("the replica acknowledges", SOON, async || {
        let mut control = server.control();
        control.command(&["SET", "probe", "1"]).unwrap();
        control.command(&["WAIT", "1", "500"]).unwrap().text() != "0"
    })
    .await;
}

#[tokio::test]
async fn a_replicated_entry_is_acknowledged_when_a_replica_has_it() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    replicas(&primary, 1).await;
    let redis = connected(&primary).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = AuditLog::builder()
        .with_config(&replicated(directory.path()))
        .with_shared_store(store.clone())
        .with_archive(Objects::memory(), &keys())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap();
    record(&log, 0..10).await;
    let copy = RedisStore::new(connected(&replica).await, 1);
    assert_eq!(copy.partition(0).await.unwrap().totals.entries, 10, "the replica has them");
    assert_eq!(log.health().check().await.status, Status::Pass);
    replica.pause();
    let waiting = entry(10);
    let error = log.record(waiting.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged);
    assert_eq!(store.partition(0).await.unwrap().totals.entries, 11, "the entry stays");
    assert_eq!(log.health().check().await.status, Status::Fail);
    let error = log.record(waiting.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged, "said again, it is not acknowledged");
    replica.resume();
    eventually("the replica has it", SOON, async || log.record(waiting.clone()).await.is_ok())
        .await;
    assert_eq!(log.health().check().await.status, Status::Pass);
    record(&log, 11..12).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..12).await;
    redis.close().await;
}

#[tokio::test]
async fn a_replicated_entry_is_spooled_while_redis_is_down_and_not_acknowledged() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let mut primary = RedisServer::start_with(&["--repl-diskless-sync-delay", "0"]);
    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    replicas(&primary, 1).await;
    let redis = connected(&primary).await;
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log_with(replicated(directory.path()), store, &Objects::memory()).await;
    record(&log, 0..3).await;
    primary.kill();
    let waiting = entry(3);
    let error = log.record(waiting.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged);
    assert_eq!(status(&log).entries, 1, "it survives this process");
    primary.restart();
    drained(&log).await;
    replicas(&primary, 1).await;
    eventually("the replica has it", SOON, async || log.record(waiting.clone()).await.is_ok())
        .await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..4).await;
    drop(replica);
    redis.close().await;
}
