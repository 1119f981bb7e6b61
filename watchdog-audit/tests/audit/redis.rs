//! The log on Redis: scripts, lives, rollback, eviction policy.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::segment::{Appended, Expiry, SegmentId};
use watchdog_audit::testing::{WIDE, frame};
use watchdog_audit::{
    AuditConfig, AuditLog, ErrorKind, FaultKind, RedisStore, SegmentStore, WriterId,
};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig, Script, Ttl};
use watchdog_storage::testing::proxy::{Fault, FaultProxy};
use watchdog_storage::testing::redis::{RedisServer, shared};
use watchdog_storage::testing::{require, test_name};

use crate::bench::{
    assert_archived, assert_waiting_never_expires, keys, log, log_with, numbers, record, redis,
};

const FIRST: SegmentId = SegmentId { partition: 0, number: 1 };

#[tokio::test]
async fn no_segment_has_a_ttl_before_its_verified_archive() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    let key = redis.keys().key("a", "0", &["1"]);
    let pttl = || async { redis.pttl(&key).await.unwrap() };
    assert_eq!(pttl().await, Ttl::Missing);
    record(&log, 0..10).await;
    assert_eq!(pttl().await, Ttl::Unbounded, "after appending");
    store.seal(FIRST, None).await.unwrap();
    assert_eq!(pttl().await, Ttl::Unbounded, "after sealing");
    let observed = std::sync::Mutex::new(Vec::new());
    log.archiver()
        .unwrap()
        .run_observed(&|step, moment| {
            observed.lock().unwrap().push((step.clone(), moment));
            std::ops::ControlFlow::Continue(())
        })
        .await
        .unwrap();
    let Ttl::Millis(left) = pttl().await else { panic!("no life after the archive") };
    assert!(left > 7_775_900_000 && left <= 7_776_000_000, "{left}");
    let proof = redis.keys().key("a", "0", &["a", "1"]);
    assert!(matches!(redis.pttl(&proof).await.unwrap(), Ttl::Millis(_)));
    assert!(redis.get(&proof).await.unwrap().unwrap().starts_with(b"1:"));
    assert_archived(&log, 0..10).await;
}

#[tokio::test]
async fn an_expired_segment_leaves_redis_by_itself_and_stays_in_the_archive() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let config = AuditConfig {
        log_ttl_seconds: Some(1),
        segment_max_age: Duration::from_millis(500),
        ..AuditConfig::default()
    };
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    record(&log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    watchdog_storage::testing::eventually(
        "the segment expires",
        Duration::from_secs(5),
        async || store.expiry(FIRST).await.unwrap() == Expiry::Missing,
    )
    .await;
    assert_archived(&log, 0..10).await;
}

#[tokio::test]
async fn several_partitions_and_writers_make_one_archive() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 4));
    let bucket = Objects::memory();
    let mut logs = Vec::new();
    for n in 0..8 {
        let log = log(store.clone(), &bucket).await;
        record(&log, n * 10..(n + 1) * 10).await;
        logs.push(log);
    }
    assert_waiting_never_expires(store.as_ref()).await;
    let runs: Vec<_> = logs
        .iter()
        .map(|log| {
            let log = log.clone();
            tokio::spawn(async move { log.seal_and_archive().await.unwrap() })
        })
        .collect();
    for run in runs {
        run.await.unwrap();
    }
    assert_archived(&logs[0], 0..80).await;
}

/// Takes the partition back to an earlier state, as a replica that was promoted without the tail.
static ROLL_BACK: Script = Script::new(
    "test.roll_back.v1",
    "local entries = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', ARGV[1])
     for _, entry in ipairs(entries) do redis.call('XDEL', KEYS[3], entry[1]) end
     local n = tonumber(ARGV[1])
     redis.call('HINCRBY', KEYS[1], 'frames', -n)
     redis.call('HINCRBY', KEYS[1], 'seg_frames', -n)
     redis.call('HINCRBY', KEYS[1], 'seg_entries', -n)
     local last, sum = string.match(redis.call('HGET', KEYS[2], ARGV[2]), '^(%d+)(:%x+)$')
     redis.call('HSET', KEYS[2], ARGV[2], string.format('%.0f', last - n) .. sum)
     local left = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)
     redis.call('XSETID', KEYS[3], left[1][1])
     return #entries",
);

/// Takes away the newest of a log's frames, as a failover does.
pub(crate) async fn roll_back(redis: &Redis, log: &watchdog_audit::AuditLog, frames: i64) {
    let keys = [["m"], ["hw"], ["1"]].map(|parts| redis.keys().key("a", "0", &parts));
    let writer = log.writer().to_string();
    let args = [frames.into(), writer.as_str().into()];
    let lost = redis.call(&ROLL_BACK, &[&keys[0], &keys[1], &keys[2]], &args).await.unwrap();
    assert_eq!(lost, watchdog_storage::redis::Value::Integer(frames));
}

#[tokio::test]
async fn acknowledged_entries_a_failover_lost_are_sent_again() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..30).await;
    roll_back(&redis, &log, 10).await;
    assert_eq!(numbers(&log).await.len(), 20);
    record(&log, 30..31).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..31).await;
}

#[tokio::test]
async fn entries_that_were_archived_before_a_failover_are_not_archived_again() {
    let Some(redis) = redis().await else { return };
    let bucket = Objects::memory();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &bucket).await;
    record(&log, 0..10).await;
    log.seal_and_archive().await.unwrap();
    // Everything is gone: an empty node was promoted.
    for parts in [["m"], ["hw"], ["s"], ["1"]] {
        redis.del(&redis.keys().key("a", "0", &parts)).await.unwrap();
    }
    record(&log, 10..12).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..12).await;
}

#[tokio::test]
async fn a_segment_that_lost_a_frame_is_told_and_expires_when_the_rest_is_archived() {
    let Some(redis) = redis().await else { return };
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..10).await;
    let frames = store.frames(FIRST, None, 10).await.unwrap();
    let key = redis.keys().key("a", "0", &["1"]);
    redis.xdel(&key, &[&frames[4].0.to_string()]).await.unwrap();
    store.seal(FIRST, None).await.unwrap();
    let fault = log.verify().await.unwrap().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::AlteredSegment, "while it waits");
    assert_eq!(fault.place, FIRST.to_string());
    assert_eq!(store.expiry(FIRST).await.unwrap(), Expiry::Never);
    let archived = log.seal_and_archive().await.unwrap();
    assert_eq!((archived.entries, archived.unreadable), (9, 1));
    assert!(matches!(store.expiry(FIRST).await.unwrap(), Expiry::InMillis(_)));
    let fault = log.verify().await.unwrap().fault.unwrap();
    assert_eq!(fault.kind, FaultKind::UnreadableSegment, "for ever");
    assert_eq!(fault.place, FIRST.to_string());
}

#[tokio::test]
async fn a_script_that_is_sent_again_word_by_word_changes_nothing() {
    let Some(redis) = redis().await else { return };
    let store = RedisStore::new(redis, 1);
    let frame = frame(WriterId::from_bytes([3; 16]), 1, 3);
    for round in 0..3 {
        let appended = store.append(FIRST, &frame, WIDE).await.unwrap();
        assert_eq!(matches!(appended, Appended::Stored { .. }), round == 0);
    }
    assert_eq!(store.partition(0).await.unwrap().totals.entries, 3);
}

#[tokio::test]
async fn a_reply_lost_on_the_wire_neither_loses_nor_doubles() {
    let Some(server) = shared() else { return };
    let proxy = FaultProxy::start(server.port()).await.unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut config = RedisConfig::from_url(&url).unwrap();
    config.key_prefix = format!("t{}", uuid::Uuid::now_v7().simple());
    let redis = Redis::connect(&config).await.unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store, &Objects::memory()).await;
    record(&log, 0..1).await;
    for n in 1..8 {
        proxy.set(Fault::LoseReply);
        record(&log, n..n + 1).await;
    }
    assert!(proxy.lost_replies() >= 7);
    proxy.set(Fault::LoseReply);
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..8).await;
    redis.close().await;
}

#[tokio::test]
async fn a_redis_that_evicts_what_is_not_archived_is_refused() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let redis = Redis::connect(&config).await.unwrap();
    let start = || {
        AuditLog::builder()
            .with_store(RedisStore::new(redis.clone(), 1))
            .with_encryption(&keys())
            .without_background()
            .build()
    };
    let error = start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("CONFIG SET maxmemory-policy noeviction"), "{error}");
    server.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    start().await.unwrap();
    redis.close().await;
}

#[tokio::test]
async fn a_redis_without_memory_takes_no_entry_and_is_archived_still() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let redis = Redis::connect(&config).await.unwrap();
    let store = Arc::new(RedisStore::new(redis.clone(), 1));
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..10).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = store.append(FIRST, &frame(WriterId::from_bytes([3; 16]), 1, 1), WIDE).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    log.seal_and_archive().await.unwrap();
    assert!(matches!(store.expiry(FIRST).await.unwrap(), Expiry::InMillis(_)));
    assert_archived(&log, 0..10).await;
    redis.close().await;
}
