//! Archivers that are frozen past their lease while another one works.

use std::time::Duration;

use watchdog_storage::testing::redis::shared;

use crate::archive::{Archive, assert_kept, manifests};
use crate::child::{Child, Kind, Work};
use crate::gate::{assert_only_archived_ends, expire_lease};
use crate::ledger::Ledger;
use crate::load::entry;
use crate::place::Place;

/// Freezes a process before a step, lets another one archive everything and record more, and thaws
/// it. Answers what became of it.
async fn frozen_before(kind: Kind) -> Option<String> {
    let server = shared()?;
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let mut control = server.control();
    let log = place.log().await;
    let ledger = Ledger::open(&place.ledger());
    for n in 0..5 {
        log.record(entry(n, 20)).await.unwrap();
        ledger.note(n);
    }
    let mut frozen = Child::start(&place, &Work::ArchiveBefore(kind));
    let told = frozen.hears().unwrap();
    assert!(told.starts_with("at Before"), "{told}");
    frozen.pause();
    expire_lease(&mut control, &place);
    log.seal_and_archive().await.unwrap();
    for n in 5..8 {
        log.record(entry(n, 20)).await.unwrap();
        ledger.note(n);
    }
    let before = manifests(&place.bucket()).len();
    frozen.resume();
    frozen.go_on();
    let outcome = tokio::task::spawn_blocking(move || frozen.hears()).await.unwrap();
    let archive = Archive::read(&place.bucket());
    assert!(archive.numbers().values().all(|count| *count == 1));
    // It may have taken over again for what came since, under an epoch of its own.
    assert!(manifests(&place.bucket()).len() <= before + 1);
    assert_only_archived_ends(&mut control, &place);
    expire_lease(&mut control, &place);
    assert_eq!(assert_kept(&log, &place).await, 8);
    outcome
}

#[tokio::test]
async fn an_archiver_frozen_before_any_step_does_no_harm_when_it_thaws() {
    for kind in
        [Kind::Epoch, Kind::Seal, Kind::Object, Kind::Manifest, Kind::Checkpoint, Kind::Gate]
    {
        let Some(outcome) = frozen_before(kind).await else { return };
        assert!(outcome == "ended" || outcome.starts_with("failed Busy"), "{kind:?}: {outcome}");
    }
}

/// The lease lasts as long as it says and no longer.
#[tokio::test]
async fn the_lease_of_a_killed_archiver_ends_by_itself() {
    let Some(server) = shared() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let log = place.log().await;
    log.record(entry(0, 20)).await.unwrap();
    let mut killed = Child::start(&place, &Work::ArchiveBefore(Kind::Object));
    assert!(killed.hears().unwrap().contains("Object"));
    killed.kill();
    let prefix = &place.redis.as_ref().unwrap().prefix;
    let lease = format!("{prefix}:a:{{0}}:lease");
    let left: i64 = server.command(&["PTTL", &lease]).text().parse().unwrap();
    assert!((0..=30_000).contains(&left), "{left}");
    // Not half a minute of waiting: the rest of it is taken away.
    server.command(&["PEXPIRE", &lease, "50"]);
    tokio::time::timeout(Duration::from_secs(8), log.seal_and_archive()).await.unwrap().unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}
