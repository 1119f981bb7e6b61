//! Recording: acknowledgement, order, repetition, cancellation, failure.

use std::future::Future as _;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use watchdog_audit::segment::{Appended, SegmentId};
use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, MirrorLevel, Query, Receipt, Result,
    SegmentStore,
};
use watchdog_core::HealthCheck as _;
use watchdog_core::audit::{Actor, AuditSink, Category, Outcome, Resource};
use watchdog_core::health::Status;
use watchdog_storage::objects::Objects;

use watchdog_storage::testing::eventually;

use crate::bench::{assert_archived, entry, keys, log, numbers, record};
use crate::faulty::Faulty;
use crate::spool::SOON;

fn memory() -> Arc<EmbeddedStore> {
    Arc::new(EmbeddedStore::memory().unwrap())
}

#[tokio::test]
async fn entries_are_numbered_without_gaps() {
    let log = log(memory(), &Objects::memory()).await;
    for n in 1..=5 {
        let receipt = log.record(entry(n)).await.unwrap();
        assert_eq!((receipt.sequence, receipt.writer), (n, log.writer()));
        assert!(receipt.is_stored());
    }
}

#[tokio::test]
async fn many_tasks_share_batches_and_nothing_is_lost() {
    let store = memory();
    let log = log(store.clone(), &Objects::memory()).await;
    let tasks: Vec<_> = (0..1000)
        .map(|n| {
            let log = log.clone();
            tokio::spawn(async move { log.record(entry(n)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let frames = watchdog_audit::SegmentStore::partition(store.as_ref(), 0).await.unwrap().frames;
    assert!(frames < 500, "1000 entries took {frames} frames");
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..1000).await;
}

#[tokio::test]
async fn the_same_entry_is_stored_once() {
    let log = log(memory(), &Objects::memory()).await;
    let entry = entry(1);
    let first = log.record(entry.clone()).await.unwrap();
    let again = log.record(entry.clone()).await.unwrap();
    assert_eq!(first, again);
    AuditSink::record(&log, entry.clone()).await.unwrap();
    let (one, two) = tokio::join!(log.record(crate::bench::entry(2)), log.record(entry));
    assert_eq!((one.unwrap().sequence, two.unwrap().sequence), (2, 1));
    assert_eq!(numbers(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_dropped_future_does_not_drop_the_entry() {
    let log = log(memory(), &Objects::memory()).await;
    {
        let mut future = Box::pin(log.record(entry(1)));
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    log.record(entry(2)).await.unwrap();
    assert_eq!(numbers(&log).await, [1, 2]);
}

#[tokio::test]
async fn an_operation_is_recorded_whichever_way_it_ends() {
    let log = log(memory(), &Objects::memory()).await;
    let begin = || {
        let resource = Resource::new("file", "1");
        log.begin(Category::Access, Actor::user("alice"), "file.read", resource)
    };
    begin().await.unwrap().succeed().await.unwrap();
    begin().await.unwrap().fail().await.unwrap();
    begin().await.unwrap().deny().await.unwrap();
    drop(begin().await.unwrap());
    // Entries are taken in order: when this one is acknowledged, the dropped one is stored.
    log.record(entry(9)).await.unwrap();
    let page = log.query(&Query::new().with_actor(Actor::user("alice"))).await.unwrap();
    let mut outcomes: Vec<_> =
        page.records.iter().map(|record| (record.sequence, record.entry.outcome)).collect();
    outcomes.sort_by_key(|(sequence, _)| *sequence);
    let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
    let wanted = [Outcome::Success, Outcome::Failure, Outcome::Denied, Outcome::Unknown];
    assert_eq!(outcomes, wanted);
}

#[tokio::test]
async fn an_entry_over_64_kib_is_refused_and_leaves_no_gap() {
    let log = log(memory(), &Objects::memory()).await;
    let large = entry(1).with_detail("large", "x".repeat(65_536));
    assert_eq!(log.record(large).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(log.record(entry(2)).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn lost_replies_neither_lose_nor_double() {
    let store = Arc::new(Faulty::new(memory()));
    let log = log(store.clone(), &Objects::memory()).await;
    for n in 0..20 {
        store.lose_replies(1);
        log.record(entry(n)).await.unwrap();
    }
    store.lose_replies(0);
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..20).await;
}

#[tokio::test]
async fn entries_wait_for_a_store_that_is_down_and_health_says_so() {
    let store = Arc::new(Faulty::new(memory()));
    let log = AuditLog::builder()
        .with_shared_store(store.clone())
        .with_encryption(&keys())
        .with_record_timeout(Duration::from_millis(50))
        .without_background()
        .build()
        .await
        .unwrap();
    assert_eq!(log.health().check().await.status, Status::Pass);
    store.take_down(true);
    let waiting = entry(1);
    let error = log.record(waiting.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged);
    assert!(error.is_retryable());
    assert_eq!(log.health().check().await.status, Status::Fail);
    store.take_down(false);
    let receipt = loop {
        // The store is asked again after a pause of its own; each try waits a little.
        if let Ok(receipt) = log.record(waiting.clone()).await {
            break receipt;
        }
    };
    assert_eq!(receipt.sequence, 1);
    assert_eq!(numbers(&log).await, [1]);
    assert_eq!(log.health().check().await.status, Status::Pass);
}

#[tokio::test]
async fn shutdown_writes_what_was_taken() {
    let store = memory();
    let bucket = Objects::memory();
    let log = log(store.clone(), &bucket).await;
    let mut waiting = Vec::new();
    for n in 0..500 {
        let log = log.clone();
        let mut future = Box::pin(async move { log.record(entry(n)).await });
        let mut context = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut context).is_pending());
        waiting.push(future);
    }
    log.shutdown(Duration::from_secs(10)).await.unwrap();
    for future in waiting {
        future.await.unwrap();
    }
    assert_eq!(log.record(entry(501)).await.unwrap_err().kind(), ErrorKind::Closed);
    let after = crate::bench::log(store, &bucket).await;
    assert_eq!(numbers(&after).await.len(), 500);
}

/// Records an entry into a store that is down, up to where the log has noticed.
async fn record_and_wait_for_the_store(log: &AuditLog) -> JoinHandle<Result<Receipt>> {
    let pending = tokio::spawn({
        let log = log.clone();
        async move { log.record(entry(1)).await }
    });
    while log.health().check().await.output.as_deref() != Some("entries wait for the store") {
        tokio::task::yield_now().await;
    }
    pending
}

#[tokio::test]
async fn shutdown_says_how_much_is_left_at_the_deadline() {
    let store = Arc::new(Faulty::new(memory()));
    let log = log(store.clone(), &Objects::memory()).await;
    store.take_down(true);
    let pending = record_and_wait_for_the_store(&log).await;
    let error = log.shutdown(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged);
    assert!(error.to_string().starts_with("1 audit entries"), "{error}");
    assert!(pending.await.unwrap().is_err());
}

#[tokio::test]
async fn a_log_that_is_switched_off_takes_everything_and_keeps_nothing() {
    let config = AuditConfig { enabled: false, ..AuditConfig::default() };
    let log = crate::bench::log_with(config, memory(), &Objects::memory()).await;
    assert!(!log.record(entry(1)).await.unwrap().is_stored());
    let resource = Resource::new("file", "1");
    let operation = log.begin(Category::Access, Actor::anonymous(), "file.read", resource).await;
    assert!(!operation.unwrap().succeed().await.unwrap().is_stored());
    assert!(numbers(&log).await.is_empty());
}

#[tokio::test]
async fn personal_fields_are_sealed_unless_it_is_switched_off() {
    for is_sealed in [true, false] {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(EmbeddedStore::open(directory.path()).unwrap());
        let config = AuditConfig {
            encryption_enabled: is_sealed,
            log_level: MirrorLevel::Off,
            ..AuditConfig::default()
        };
        let log = crate::bench::log_with(config, store, &Objects::memory()).await;
        log.record(entry(2).with_detail("note", "very private")).await.unwrap();
        let file = std::fs::read(directory.path().join("segments.redb")).unwrap();
        for text in ["alice", "very private"] {
            let is_found = file.windows(text.len()).any(|window| window == text.as_bytes());
            assert_eq!(is_found, !is_sealed, "{text}");
        }
        let page = log.query(&Query::new().with_actor(Actor::user("alice"))).await.unwrap();
        assert_eq!(page.records.len(), 1);
        assert_eq!(page.records[0].entry.details["note"], "very private");
        record(&log, 3..4).await;
        assert_eq!(numbers(&log).await.len(), 2);
    }
}

#[tokio::test]
async fn a_log_without_store_or_keys_does_not_start() {
    let error = AuditLog::builder().build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let error =
        AuditLog::builder().with_store(EmbeddedStore::memory().unwrap()).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("WATCHDOG_ENCRYPTION_KEY"));
}

#[tokio::test]
async fn an_entry_whose_number_somebody_else_took_is_written_under_a_new_id() {
    let store = memory();
    let log = log(store.clone(), &Objects::memory()).await;
    record(&log, 0..1).await;
    // A copy of the machine goes on under the same id.
    let open = SegmentId { partition: 0, number: 1 };
    let foreign = watchdog_audit::testing::frame(log.writer(), 2, 1);
    let appended = store.append(open, &foreign, watchdog_audit::testing::WIDE).await.unwrap();
    assert!(matches!(appended, Appended::Stored { .. }));
    let receipt = log.record(entry(1)).await.unwrap();
    assert_ne!(receipt.writer, log.writer());
    assert_eq!(numbers(&log).await, [0, 1], "what is acknowledged is stored");
    log.seal_and_archive().await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}

#[tokio::test]
async fn an_entry_that_could_not_be_read_back_is_refused() {
    let store = memory();
    let log = log(store.clone(), &Objects::memory()).await;
    let deep = (0..120).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    let error = log.record(entry(1).with_detail("deep", deep)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    record(&log, 2..3).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 2..3).await;
}

#[tokio::test]
async fn a_second_shutdown_does_not_answer_before_the_first() {
    let store = Arc::new(Faulty::new(memory()));
    let log = log(store.clone(), &Objects::memory()).await;
    store.take_down(true);
    let pending = record_and_wait_for_the_store(&log).await;
    let first = tokio::spawn({
        let log = log.clone();
        async move { log.shutdown(Duration::from_secs(30)).await }
    });
    tokio::task::yield_now().await;
    let error = log.shutdown(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged);
    store.take_down(false);
    first.await.unwrap().unwrap();
    pending.await.unwrap().unwrap();
    log.shutdown(Duration::from_secs(1)).await.unwrap();
}

/// The writer makes a frame while another is on its way.
#[tokio::test]
async fn who_waits_hears_nothing_before_the_store_has_the_frame() {
    let store = Arc::new(Faulty::new(memory()));
    let log = log(store.clone(), &Objects::memory()).await;
    store.hold_up();
    let record = |entry| {
        let log = log.clone();
        tokio::spawn(async move { log.record(entry).await })
    };
    let next = entry(1);
    let settled = async || {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    let first = record(entry(0));
    eventually("it is on its way", SOON, async || store.appends() == 1).await;
    let second = record(next.clone());
    settled().await;
    store.let_pass(1);
    first.await.unwrap().unwrap();
    eventually("the next is on its way", SOON, async || store.appends() == 2).await;
    settled().await;
    assert!(!second.is_finished(), "the store does not have it yet");
    let again = record(next);
    settled().await;
    assert!(!again.is_finished(), "nor does who records it again hear that it is there");
    store.let_pass(10);
    assert_eq!(second.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..2).await;
}
