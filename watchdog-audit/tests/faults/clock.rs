//! Clocks that are set a day forward and a day back.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{AuditConfig, AuditLog, EmbeddedStore, SegmentStore};
use watchdog_core::testing::ManualClock;
use watchdog_core::{Clock, Timestamp};
use watchdog_storage::testing::eventually;
use watchdog_storage::testing::redis::shared;

use crate::archive::assert_kept;
use crate::gate::assert_only_archived_ends;
use crate::ledger::Ledger;
use crate::load::entry;
use crate::place::{PATIENCE, Place, builder};

const HOUR: i64 = 3600;

fn moved(clock: &ManualClock, hours: i64) {
    let seconds = clock.now().as_second() + hours * HOUR;
    clock.set(Timestamp::new(seconds, 0).unwrap());
}

/// Entries live twelve hours in the store.
fn short() -> AuditConfig {
    let seconds = u64::try_from(12 * HOUR).unwrap();
    AuditConfig { log_ttl_seconds: Some(seconds), ..crate::place::config() }
}

async fn log(store: Arc<dyn SegmentStore>, place: &Place, clock: &ManualClock) -> AuditLog {
    builder(store, &place.objects())
        .with_config(&short())
        .with_clock(Arc::new(clock.clone()))
        .build()
        .await
        .unwrap()
}

/// Records five entries and notes them.
async fn five(log: &AuditLog, ledger: &Ledger, first: u64) {
    for n in first..first + 5 {
        log.record(entry(n, 20)).await.unwrap();
        ledger.note(n);
    }
}

#[tokio::test]
async fn whatever_the_clock_does_only_what_is_archived_leaves_the_store() {
    let jumps = [24, -24, -24, 48, 0, -48, 24, 24 * 400, -24 * 400];
    let directory = tempfile::tempdir().unwrap();
    let place = Place::file(&directory);
    let clock = ManualClock::default();
    let store = EmbeddedStore::open(directory.path().join("store")).unwrap();
    let store: Arc<dyn SegmentStore> = Arc::new(store.with_clock(Arc::new(clock.clone())));
    let log = log(Arc::clone(&store), &place, &clock).await;
    let ledger = Ledger::open(&place.ledger());
    let mut number = 0;
    for (round, hours) in jumps.into_iter().enumerate() {
        five(&log, &ledger, number).await;
        moved(&clock, hours);
        five(&log, &ledger, number + 5).await;
        number += 10;
        store.sweep().await.unwrap();
        let report = log.verify().await.unwrap();
        assert_eq!(report.fault, None, "round {round}");
        // Every other round waits for the next one's archive.
        if round % 2 == 1 {
            log.seal_and_archive().await.unwrap();
        }
        let open = store.partition(0).await.unwrap().open;
        let waiting = store.sealed(0).await.unwrap().into_iter().map(|(number, _)| number);
        for number in waiting.chain([open]) {
            let expiry = store.expiry(SegmentId { partition: 0, number }).await.unwrap();
            assert!(!matches!(expiry, Expiry::InMillis(_)), "round {round}: {number} {expiry:?}");
        }
    }
    assert_eq!(assert_kept(&log, &place).await, 90);
}

#[tokio::test]
async fn processes_whose_clocks_are_a_day_apart_make_one_archive_on_redis() {
    let Some(server) = shared() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let ledger = Ledger::open(&place.ledger());
    let now = watchdog_core::SystemClock.now();
    let mut logs = Vec::new();
    for hours in [0, 24, -24] {
        let clock = ManualClock::new(now);
        moved(&clock, hours);
        logs.push((log(place.store().await, &place, &clock).await, clock));
    }
    for round in 0..6 {
        for (at, (log, clock)) in (0..).zip(&logs) {
            five(log, &ledger, round * 100 + at * 10).await;
            moved(clock, if round % 2 == 0 { 24 } else { -24 });
        }
        logs[usize::try_from(round).unwrap() % 3].0.seal_and_archive().await.unwrap();
        let lives = assert_only_archived_ends(&mut server.control(), &place);
        assert_eq!(lives.endless, 0, "round {round}");
    }
    assert_eq!(assert_kept(&logs[0].0, &place).await, 90);
}

/// The greatest age of a segment is counted by one clock.
#[tokio::test]
async fn an_archiver_whose_clock_is_a_day_late_seals_in_time() {
    let Some(server) = shared() else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = Place::redis(&directory, &server.url(), 1);
    let clock = ManualClock::new(watchdog_core::SystemClock.now());
    moved(&clock, -24);
    let config =
        AuditConfig { segment_max_age: Duration::from_millis(300), ..crate::place::config() };
    let log = builder(place.store().await, &place.objects())
        .with_config(&config)
        .with_clock(Arc::new(clock))
        .build()
        .await
        .unwrap();
    log.record(entry(1, 20)).await.unwrap();
    let archiver = log.archiver().unwrap();
    let is_archived = async || archiver.run_once().await.unwrap().entries == 1;
    eventually("what is older than the greatest age is archived", PATIENCE, is_archived).await;
}
