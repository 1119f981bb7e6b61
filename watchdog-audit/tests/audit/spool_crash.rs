//! Processes that are killed while they record, and the next one that takes over their spools.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;
use watchdog_audit::{AuditLog, Durability, RedisStore};
use watchdog_storage::objects::Objects;
use watchdog_storage::redis::{Redis, RedisConfig};
use watchdog_storage::testing::redis::RedisServer;
use watchdog_storage::testing::{eventually, require, test_name};

use crate::bench::{log_with, numbers, record_until_killed, run_and_kill};
use crate::spool::{SOON, config, status};

async fn log_at(url: &str, prefix: &str, directory: &Path, durability: Durability) -> AuditLog {
    let mut redis = RedisConfig::from_url(url).unwrap();
    redis.key_prefix = prefix.to_owned();
    let store = RedisStore::new(Redis::connect(&redis).await.unwrap(), 1);
    let bucket = Objects::local(directory.join("bucket")).unwrap();
    log_with(config(&directory.join("own"), durability), Arc::new(store), &bucket).await
}

/// The process that is killed; it prints what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs as the killed process of another test"]
async fn killed_process() {
    let mut told = String::new();
    std::io::stdin().read_line(&mut told).unwrap();
    let told: Vec<_> = told.split_whitespace().collect();
    let [round, url, prefix, directory] = told[..] else { return };
    let round: u64 = round.parse().unwrap();
    let durability = if round.is_multiple_of(2) { Durability::Store } else { Durability::Spool };
    let log = log_at(url, prefix, Path::new(directory), durability).await;
    let tasks = record_until_killed(&log, round);
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_while_redis_comes_and_goes() {
    if !require("redis-server", &test_name()) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let prefix = format!("t{}", Uuid::now_v7().simple());
    let mut acknowledged = BTreeSet::new();
    // It keeps what it took when it is killed; the spool has what it never got.
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    for round in 1..=4_u64 {
        let limit = 60 + usize::try_from(round * 53 % 97).unwrap();
        let path = directory.path().display();
        let told = format!("{round} {} {prefix} {path}\n", server.url());
        let (lines, again) = tokio::task::spawn_blocking(move || {
            let lines = run_and_kill("spool_crash::killed_process", &told, limit, || server.kill());
            server.restart();
            (lines, server)
        })
        .await
        .unwrap();
        server = again;
        acknowledged.extend(lines);
    }
    assert!(acknowledged.len() >= 240);
    let log = log_at(&server.url(), &prefix, directory.path(), Durability::Spool).await;
    eventually("what they left is archived", SOON, async || {
        log.seal_and_archive().await.unwrap();
        status(&log).adopted == 0 && spools(directory.path()) == 1
    })
    .await;
    log.seal_and_archive().await.unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.waiting), (None, 0));
    let found = numbers(&log).await;
    let unique: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(found.len(), unique.len(), "no entry stands twice");
    let lost: Vec<_> = acknowledged.difference(&unique).collect();
    assert!(lost.is_empty(), "acknowledged and gone: {lost:?}");
}

fn spools(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("own/spool")).unwrap().count()
}
