//! The archiver's process killed at every step, and its lives in Redis looked at each time.

use watchdog_storage::testing::redis::{RedisServer, shared};

use crate::archive::assert_kept;
use crate::child::{Child, Work};
use crate::gate::{Lives, assert_only_archived_ends, expire_lease};
use crate::is_long;
use crate::ledger::Ledger;
use crate::load::entry;
use crate::place::{PATIENCE, Place};

/// Records five entries of two categories; in the long form enough for a segment of their own
/// before.
async fn prepare(place: &Place) -> usize {
    let log = place.log().await;
    let ledger = Ledger::open(&place.ledger());
    let bytes = if is_long() { 6000 } else { 60 };
    for n in [0, 4, 8, 12, 1] {
        log.record(entry(n, bytes)).await.unwrap();
        ledger.note(n);
    }
    log.shutdown(PATIENCE).await.unwrap();
    5
}

/// Kills the process at its `stop`th step and lets another archiver go on. Answers what it said
/// there, and how lives stood.
async fn killed_at(server: &RedisServer, stop: usize) -> (String, Lives) {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let recorded = prepare(&place).await;
    let there = place.clone();
    let told = tokio::task::spawn_blocking(move || {
        let mut child = Child::start(&there, &Work::ArchiveTo { stop });
        let told = child.hears().unwrap();
        child.kill();
        told
    });
    let told = told.await.unwrap();
    let mut control = server.control();
    let lives = assert_only_archived_ends(&mut control, &place);
    expire_lease(&mut control, &place);
    assert_eq!(assert_kept(&place.log().await, &place).await, recorded);
    assert_eq!(assert_only_archived_ends(&mut control, &place).endless, 0);
    (told, lives)
}

#[tokio::test]
async fn killed_at_any_step_nothing_unarchived_ends_and_the_next_run_finds_the_same() {
    let Some(server) = shared() else { return };
    let mut seen = Vec::new();
    for stop in 0.. {
        let (told, lives) = killed_at(server, stop).await;
        if told == "ended" {
            break;
        }
        seen.push((told, lives.ending));
    }
    for step in ["Epoch", "Seal", "Pack", "Object", "Manifest", "Tiles", "Checkpoint", "Gate"] {
        for moment in ["Before", "After"] {
            let was_there =
                |(told, _): &(String, u64)| told.starts_with(&format!("at {moment} {step}"));
            assert!(seen.iter().any(was_there), "{moment} {step} is not among {seen:?}");
        }
    }
    // A life ends from the step on that is called the gate, and from no other.
    let mut passed = 0;
    for (told, ending) in &seen {
        passed += u64::from(told.starts_with("at After Gate"));
        assert_eq!(*ending, passed, "{told}");
    }
    assert!(passed >= 1);
}
