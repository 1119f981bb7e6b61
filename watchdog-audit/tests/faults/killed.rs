//! Processes that are killed at random instants while they record and archive.

use std::time::Duration;

use watchdog_storage::testing::redis::shared;

use crate::archive::assert_kept;
use crate::child::{Child, Work};
use crate::gate::{assert_only_archived_ends, expire_lease};
use crate::load::ROUND;
use crate::place::Place;
use crate::{is_long, ledger, random};

fn rounds() -> u64 {
    if is_long() { 200 } else { 20 }
}

/// Starts a process; kills it at a random instant after its start, or after it has begun to work.
fn run_and_kill(place: &Place, base: u64) {
    let mut child = Child::start(place, &Work::Load { base });
    // One in eight does not live to see its first entry.
    if random(8) > 0 {
        assert_eq!(child.hears().as_deref(), Some("ready"), "round {base}");
        std::thread::sleep(Duration::from_millis(random(80)));
    } else {
        std::thread::sleep(Duration::from_millis(random(40)));
    }
    assert!(child.is_running(), "round {base}: it ended by itself");
    child.kill();
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::file(&directory);
    for round in 1..=rounds() {
        let place = place.clone();
        let killing = tokio::task::spawn_blocking(move || run_and_kill(&place, round * ROUND));
        killing.await.unwrap();
    }
    // Each commit is synced to the disk: that takes as long as the disk takes.
    assert!(assert_kept(&place.log().await, &place).await > 10);
}

/// redb refuses a file for ever whose making was broken off.
#[test]
fn a_process_killed_while_it_makes_its_file_does_not_stop_the_next() {
    for round in 1..=rounds() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::file(&directory);
        let mut child = Child::start(&place, &Work::Load { base: ROUND });
        std::thread::sleep(Duration::from_millis(random(60)));
        child.kill();
        let mut next = Child::start(&place, &Work::Load { base: 2 * ROUND });
        assert_eq!(next.hears().as_deref(), Some("ready"), "round {round}");
        next.kill();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_of_two_processes_on_redis() {
    let Some(server) = shared() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 2);
    let mut control = server.control();
    for round in 1..=rounds() / 2 {
        let killings = [0, 500_000].map(|half| {
            let place = place.clone();
            tokio::task::spawn_blocking(move || run_and_kill(&place, round * ROUND + half))
        });
        for killing in killings {
            killing.await.unwrap();
        }
        assert_only_archived_ends(&mut control, &place);
        // Whoever was killed while it archived has it for half a minute more.
        expire_lease(&mut control, &place);
    }
    assert!(assert_kept(&place.log().await, &place).await > 100);
    let lives = assert_only_archived_ends(&mut control, &place);
    assert_eq!(lives.endless, 0, "everything has passed the gate");
    assert!(lives.ending > 1);
}

/// A test that cannot fail is a defect: an entry that was noted and never recorded is missed.
#[tokio::test]
async fn an_entry_that_is_not_in_the_archive_is_missed() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::file(&directory);
    let log = place.log().await;
    log.record(crate::load::entry(1, 5)).await.unwrap();
    let ledger = ledger::Ledger::open(&place.ledger());
    ledger.note(1);
    assert_eq!(assert_kept(&log, &place).await, 1);
    ledger.note(2);
    let checked = tokio::spawn(async move { assert_kept(&log, &place).await }).await;
    assert!(checked.unwrap_err().is_panic());
}
