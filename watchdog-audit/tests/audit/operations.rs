//! Operations and the queue: however many are under way, others go on, and each end is taken.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, ErrorKind, FullQueue, MirrorLevel, OnFull, Operation, QUEUE_ENTRIES,
    SegmentStore as _,
};
use watchdog_core::HealthCheck as _;
use watchdog_core::audit::Outcome;

use crate::bench::entry;
use crate::faulty::Faulty;
use crate::guarded::{begin, fill, log_on, log_waiting, memory, transfers};

fn config(fail_closed: bool) -> AuditConfig {
    AuditConfig { fail_closed, log_level: MirrorLevel::Off, ..AuditConfig::default() }
}

/// How many entries of a log the store has taken.
async fn stored(store: &Faulty, log: &AuditLog) -> u64 {
    store.skip(0, log.writer(), 0).await.unwrap()
}

/// Begins operations beside each other.
async fn begin_together(log: &AuditLog, count: usize) -> Vec<Operation> {
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let log = log.clone();
            tokio::spawn(async move { begin(&log).await })
        })
        .collect();
    let mut operations = Vec::new();
    for task in tasks {
        operations.push(task.await.unwrap().unwrap());
    }
    operations
}

#[tokio::test]
async fn slow_operations_keep_nobody_out_of_the_queue() {
    for fail_closed in [false, true] {
        let store = memory();
        let log = log_waiting(Duration::from_secs(5), config(fail_closed), &store).await;
        let mut operations = Vec::new();
        for _ in 0..2 {
            operations.append(&mut begin_together(&log, QUEUE_ENTRIES / 2 + 1).await);
        }
        log.record(entry(1)).await.unwrap();
        let count = operations.len();
        assert!(count > QUEUE_ENTRIES);
        drop(operations);
        log.shutdown(Duration::from_secs(9)).await.unwrap();
        let entries = stored(&store, &log).await;
        let begun = if fail_closed { count } else { 0 };
        assert_eq!(entries, (1 + begun + count) as u64);
    }
}

/// A log whose writer waits for its store.
async fn stuck(store: &Arc<Faulty>) -> AuditLog {
    let on_full = OnFull::Fail;
    let full_queue = FullQueue {
        application: OnFull::Drop,
        database: OnFull::Drop,
        access: OnFull::Drop,
        security: on_full,
    };
    let log = log_on(AuditConfig { full_queue, ..config(false) }, store).await;
    store.take_down(true);
    log.record(entry(1)).await.unwrap_err();
    let health = log.health().check().await;
    assert_eq!(health.output.as_deref(), Some("entries wait for the store"));
    log
}

#[tokio::test]
async fn a_full_queue_refuses_the_begin_of_an_operation_and_takes_the_end() {
    let store = memory();
    let log = stuck(&store).await;
    let [dropped, succeeded] = [begin(&log).await.unwrap(), begin(&log).await.unwrap()];
    fill(&log, 0);
    drop(dropped);
    let succeeded = tokio::spawn(succeeded.succeed());
    assert_eq!(begin(&log).await.unwrap_err().kind(), ErrorKind::Saturated);
    let error = succeeded.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAcknowledged, "it is kept");
    store.take_down(false);
    log.shutdown(Duration::from_secs(9)).await.unwrap();
    let outcomes: Vec<_> =
        transfers(&log).await.into_iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::Success]);
    let entries = stored(&store, &log).await;
    assert_eq!(entries, 1 + QUEUE_ENTRIES as u64 + 2);
}

/// Ends that wait for the store are bounded: they have places, as far as there are any.
#[tokio::test]
async fn ended_operations_fill_the_queue_like_other_entries() {
    let store = memory();
    let log = stuck(&store).await;
    for _ in 0..QUEUE_ENTRIES {
        drop(begin(&log).await.unwrap());
    }
    assert_eq!(begin(&log).await.unwrap_err().kind(), ErrorKind::Saturated);
    store.take_down(false);
    log.shutdown(Duration::from_secs(9)).await.unwrap();
    let entries = stored(&store, &log).await;
    assert_eq!(entries, 1 + QUEUE_ENTRIES as u64);
}

#[tokio::test]
async fn a_shutdown_waits_for_operations_that_are_under_way() {
    let store = memory();
    let log = log_on(config(false), &store).await;
    let operation = begin(&log).await.unwrap();
    let closing = tokio::spawn({
        let log = log.clone();
        async move { log.shutdown(Duration::from_secs(9)).await }
    });
    while log.record(entry(1)).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(begin(&log).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(!closing.is_finished());
    operation.succeed().await.unwrap();
    closing.await.unwrap().unwrap();
    assert_eq!(transfers(&log).await.len(), 1);
    assert_eq!(log.record(entry(2)).await.unwrap_err().kind(), ErrorKind::Closed);
}
