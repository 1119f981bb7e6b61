//! Processes and Redis lost together: what the spool on the disk has is not lost.

use std::sync::Arc;

use watchdog_audit::Durability;
use watchdog_storage::testing::redis::{RedisServer, is_available};

use crate::archive::assert_kept;
use crate::child::{Child, Work};
use crate::gate::{assert_only_archived_ends, expire_lease};
use crate::ledger::{self, Ledger};
use crate::load::{Archiving, Load, Pace, ROUND};
use crate::place::{Place, settled};
use crate::{is_long, random};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_and_a_redis_emptied_at_once_lose_nothing_that_was_spooled() {
    if !is_available() {
        return;
    }
    let server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let mut place = Place::redis(&directory, &server.url(), 1);
    place.durability = Durability::Spool;
    let mut control = server.control();
    for round in 1..=(if is_long() { 100 } else { 5 }) {
        let there = place.clone();
        let killing = tokio::task::spawn_blocking(move || {
            let mut child = Child::start(&there, &Work::Load { base: round * ROUND });
            assert_eq!(child.hears().as_deref(), Some("ready"));
            std::thread::sleep(std::time::Duration::from_millis(random(150)));
            child.kill();
        });
        killing.await.unwrap();
        assert_only_archived_ends(&mut control, &place);
        control.command(&["FLUSHALL"]).unwrap();
    }
    let log = place.log().await;
    settled(&[&log], &place).await;
    expire_lease(&mut control, &place);
    assert!(assert_kept(&log, &place).await > 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_redis_is_gone_leaves_its_entries_to_the_next() {
    if !is_available() {
        return;
    }
    let mut server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let log = place.log().await;
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    let load = Load::start(std::slice::from_ref(&log), &ledger, 0, Pace::default());
    let archiving = Archiving::start(&log);
    for round in 1..=(if is_long() { 20 } else { 2 }) {
        let there = place.clone();
        server = tokio::task::spawn_blocking(move || {
            let mut child = Child::start(&there, &Work::Load { base: round * ROUND });
            assert_eq!(child.hears().as_deref(), Some("ready"));
            server.kill();
            std::thread::sleep(std::time::Duration::from_millis(100 + random(300)));
            child.kill();
            // Empty: what was acknowledged by Redis and is not archived comes from memory or spool
            // of those that live. The killed one had it in neither.
            server.restart();
            server
        })
        .await
        .unwrap();
    }
    let tally = load.stop().await;
    archiving.stop().await;
    settled(&[&log], &place).await;
    expire_lease(&mut server.control(), &place);
    log.seal_and_archive().await.unwrap();
    assert_eq!(log.verify().await.unwrap().fault, None);
    let numbers = crate::archive::Archive::read(&place.bucket()).numbers();
    assert!(numbers.values().all(|count| *count == 1));
    let acknowledged = ledger::read(&place.ledger());
    let lives = acknowledged.iter().filter(|number| **number < ROUND);
    assert!(lives.clone().count() as u64 == tally.acknowledged);
    let lost: Vec<_> = lives.filter(|number| !numbers.contains_key(number)).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
