//! A Cluster whose primary dies under load, with a tail its replica never saw.

use std::sync::Arc;
use std::time::Duration;

use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::{RedisCluster, RedisServer, is_available};

use crate::archive::assert_kept;
use crate::gate::assert_only_archived_ends;
use crate::ledger::{self, Ledger};
use crate::load::{Archiving, Load, Pace, ROUND, entry};
use crate::place::{PATIENCE, Place, settled};

/// Cuts the replicas of a node off, for good: it asks for a password they do not have.
fn cut_off_replicas(primary: &RedisServer) {
    // This connection was let in before.
    let mut control = primary.control();
    control.command(&["CONFIG", "SET", "requirepass", "not for replicas"]).unwrap();
    control.command(&["CLIENT", "KILL", "TYPE", "replica"]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_without_the_tail_is_given_it_again() {
    if !is_available() {
        return;
    }
    let mut cluster = tokio::task::block_in_place(RedisCluster::start);
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &cluster.url(), 8);
    let mut logs = Vec::new();
    for _ in 0..4 {
        logs.push(place.log().await);
    }
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    // Where the first log writes: the hash tag is the number of its partition.
    let partition = logs[0].record(entry(ROUND, 20)).await.unwrap().partition;
    ledger.note(ROUND);
    let tag = format!("{{{partition}}}");
    let slot = cluster.nodes()[0].command(&["CLUSTER", "KEYSLOT", &tag]);
    let slot = slot.text().parse().unwrap();

    let load = Load::start(&logs, &ledger, 0, Pace { tasks: 4, ..Pace::default() });
    let archiving = Archiving::start(&logs[0]);
    let path = place.ledger();
    let more = async |count: usize| {
        let wanted = ledger::read(&path).len() + count;
        let is_there = async || ledger::read(&path).len() >= wanted;
        eventually("entries are acknowledged", PATIENCE, is_there).await;
    };
    more(60).await;
    let primary = cluster.primary_of(slot).unwrap();
    let port = primary.port();
    cut_off_replicas(primary);
    more(100).await;
    cluster.kill(port);
    let is_back = async || cluster.primary_of(slot).is_some_and(|node| node.port() != port);
    eventually("the replica has taken over", PATIENCE, is_back).await;
    more(200).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let tally = load.stop().await;
    archiving.stop().await;
    settled(&logs.iter().collect::<Vec<_>>(), &place).await;
    assert_eq!(assert_kept(&logs[0], &place).await as u64, tally.acknowledged + 1);
    for node in cluster.nodes().iter().filter(|node| node.process().is_running()) {
        if node.command(&["INFO", "replication"]).text().contains("role:master") {
            assert_only_archived_ends(&mut node.control(), &place);
        }
    }
}
