//! The archiver's process killed at every step, and its lives in Redis looked at each time.

use watchdog_storage::testing::redis::shared;

use crate::archive::assert_kept;
use crate::child::{Child, Work};
use crate::gate::{Lives, assert_only_archived_ends, expire_lease};
use crate::ledger::Ledger;
use crate::load::entry;
use crate::place::Place;

/// Records nine entries, most of them in a segment that fills up, two in the open one.
async fn prepare(place: &Place) {
    let log = place.log().await;
    let ledger = Ledger::open(&place.ledger());
    for n in (0..7).map(|n| n * 4).chain([1, 2]) {
        log.record(entry(n, 3000)).await.unwrap();
        ledger.note(n);
    }
}

/// Kills the process at its `stop`th step and lets another archiver go on. Answers what it said
/// there, and how lives stood.
async fn killed_at(url: &str, stop: usize) -> (String, Lives) {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, url, 1);
    prepare(&place).await;
    let there = place.clone();
    let told = tokio::task::spawn_blocking(move || {
        let mut child = Child::start(&there, &Work::ArchiveTo { stop });
        let told = child.hears().unwrap();
        child.kill();
        told
    });
    let told = told.await.unwrap();
    let mut control = shared().unwrap().control();
    let lives = assert_only_archived_ends(&mut control, &place);
    expire_lease(&mut control, &place);
    assert_eq!(assert_kept(&place.log().await, &place).await, 9);
    let after = assert_only_archived_ends(&mut control, &place);
    assert_eq!(after, Lives { ending: 2, endless: 0 });
    (told, lives)
}

#[tokio::test]
async fn killed_at_any_step_nothing_unarchived_ends_and_the_next_run_finds_the_same() {
    let Some(server) = shared() else { return };
    let mut seen = Vec::new();
    for stop in 0.. {
        let (told, lives) = killed_at(&server.url(), stop).await;
        if told == "ended" {
            break;
        }
        seen.push((told, lives.ending));
    }
    let count = |what: &str| seen.iter().filter(|(told, _)| told.contains(what)).count();
    assert_eq!(count("Epoch"), 2, "{seen:?}");
    assert_eq!(count("Seal"), 2, "the other segment was full: {seen:?}");
    assert_eq!([count("Read"), count("Manifest"), count("Gate")], [4, 4, 4], "{seen:?}");
    assert_eq!(count("Object"), 6, "three categories: {seen:?}");
    // A life ends from the step on that is called the gate, and from no other.
    let gates = |upto: usize| {
        let passed = |(told, _): &&(String, u64)| told.starts_with("at After Gate");
        seen[..=upto].iter().filter(passed).count() as u64
    };
    for (index, (told, ending)) in seen.iter().enumerate() {
        assert_eq!(*ending, gates(index), "at {told}");
    }
}
