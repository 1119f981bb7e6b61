//! A Redis that has no memory left.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::AuditConfig;
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisServer, is_available};

use crate::archive::assert_kept;
use crate::gate::assert_only_archived_ends;
use crate::ledger::{self, Ledger};
use crate::load::{Archiving, Load, Pace};
use crate::place::{PATIENCE, Place, builder, settled};

fn info(server: &RedisServer, section: &str, name: &str) -> u64 {
    let info = server.command(&["INFO", section]);
    let value = info.text().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_evicted_entries_wait_in_the_spool_or_are_refused_and_none_is_lost() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "noeviction"]);
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    // The spool is full before long as well.
    let config = AuditConfig { spool_max_bytes: 1024 * 1024, ..place.config() };
    let log = builder(place.store().await, &place.objects())
        .with_config(&config)
        .with_record_timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let full = info(&server, "memory", "used_memory") + 1024 * 1024;
    server.command(&["CONFIG", "SET", "maxmemory", &full.to_string()]);
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    let pace = Pace { bytes: 4000, ..Pace::default() };
    let load = Load::start(std::slice::from_ref(&log), &ledger, 0, pace);
    let health = log.health();
    let is_failing = async || health.check().await.status == Status::Fail;
    eventually("memory and spool are full and the health says so", PATIENCE, is_failing).await;
    // What is there is archived all the same.
    log.seal_and_archive().await.unwrap();
    let lives = assert_only_archived_ends(&mut server.control(), &place);
    assert!(lives.ending > 0, "{lives:?}");
    let before = ledger::read(&place.ledger()).len();
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    let goes_on = async || ledger::read(&place.ledger()).len() > before + 20;
    eventually("there is memory again", PATIENCE, goes_on).await;
    let tally = load.stop().await;
    settled(&[&log], &place).await;
    assert_eq!(assert_kept(&log, &place).await as u64, tally.acknowledged, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_keys_with_a_life_are_evicted_only_archived_segments_go() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start_with(&["--maxmemory-policy", "volatile-ttl"]);
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let config = AuditConfig { segment_max_bytes: 100_000, ..place.config() };
    let log =
        builder(place.store().await, &place.objects()).with_config(&config).build().await.unwrap();
    let full = info(&server, "memory", "used_memory") + 2 * 1024 * 1024;
    server.command(&["CONFIG", "SET", "maxmemory", &full.to_string()]);
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    let load = Load::start(
        std::slice::from_ref(&log),
        &ledger,
        0,
        Pace { bytes: 4000, ..Pace::default() },
    );
    let archiving = Archiving::start(&log);
    let has_evicted = async || info(&server, "stats", "evicted_keys") >= 20;
    eventually("archived segments are evicted", PATIENCE, has_evicted).await;
    let tally = load.stop().await;
    archiving.stop().await;
    // What Redis had no memory for lies in the spool.
    settled(&[&log], &place).await;
    assert_eq!(assert_kept(&log, &place).await as u64, tally.acknowledged);
    assert!(tally.refused.is_empty(), "{tally:?}");
    assert_only_archived_ends(&mut server.control(), &place);
}
