//! Honest logs never alarm: verified while they are written, archived and taken over.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, Moment, RedisStore, SegmentStore, Step,
    VerifyOptions,
};
use watchdog_storage::objects::Objects;

use crate::bench::{assert_archived, entry, log_with, record, redis};

fn small() -> AuditConfig {
    AuditConfig { segment_max_bytes: 2500, ..AuditConfig::default() }
}

/// How much longer the long form is.
fn rounds(short: usize) -> usize {
    #[expect(clippy::disallowed_methods, reason = "a switch of the test bench")]
    let is_long = std::env::var_os("WD_TEST_LONG").is_some_and(|value| value == "1");
    if is_long { short * 50 } else { short }
}

async fn assert_quiet(log: &AuditLog) {
    let report = log.verify().await.unwrap();
    assert_eq!(report.fault, None);
}

/// Wherever an archiver stops, what it leaves behind is a sound log.
#[tokio::test]
async fn wherever_the_archiver_stops_the_log_verifies() {
    for stop in 0.. {
        let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
        let bucket = Objects::memory();
        let first = log_with(small(), Arc::clone(&store), &bucket).await;
        record(&first, 0..12).await;
        let steps = AtomicUsize::new(0);
        let outcome = first
            .archiver()
            .unwrap()
            .run_observed(&|_, _| {
                if steps.fetch_add(1, Ordering::SeqCst) == stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })
            .await;
        assert_quiet(&first).await;
        let second = log_with(small(), store, &bucket).await;
        assert_quiet(&second).await;
        if let Ok(archived) = outcome {
            assert_eq!(archived.entries, 12);
            assert!(stop > 20, "there were only {stop} steps");
            return;
        }
        second.seal_and_archive().await.unwrap();
        assert_archived(&second, 0..12).await;
    }
}

async fn soaked(store: Arc<dyn SegmentStore>, rounds: usize) {
    let bucket = Objects::memory();
    let logs = [
        log_with(small(), Arc::clone(&store), &bucket).await,
        log_with(small(), Arc::clone(&store), &bucket).await,
    ];
    // So that the log does not outgrow the test on a slow machine.
    let most = 30 * rounds as u64;
    let is_over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for (at, log) in logs.iter().enumerate() {
        let (log, is_over) = (log.clone(), Arc::clone(&is_over));
        tasks.push(tokio::spawn(async move {
            for n in 0..most {
                if is_over.load(Ordering::SeqCst) {
                    return n;
                }
                log.record(entry(n * 2 + at as u64)).await.unwrap();
                // A pace, so that there is something to do to the end.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            most
        }));
    }
    for (at, log) in logs.iter().enumerate() {
        let (log, is_over) = (log.clone(), Arc::clone(&is_over));
        tasks.push(tokio::spawn(async move {
            // Each archiver stops somewhere else every time, and the other takes over.
            for round in at.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let steps = AtomicUsize::new(0);
                let stopper = |_: &Step, _: Moment| {
                    if steps.fetch_add(1, Ordering::SeqCst) == round % 23 {
                        ControlFlow::Break(())
                    } else {
                        ControlFlow::Continue(())
                    }
                };
                if let Err(error) = log.archiver().unwrap().run_observed(&stopper).await {
                    let is_meant = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Busy);
                    assert!(is_meant, "{error}");
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            0
        }));
    }
    let mut pinned = None;
    for _ in 0..rounds {
        for log in &logs {
            let mut options = VerifyOptions::new();
            if let Some(kept) = pinned.take() {
                options = options.with_since(kept);
            }
            let report = log.verify_with(&options, &|_| {}).await.unwrap();
            assert_eq!(report.fault, None);
            pinned = report.checkpoint;
        }
    }
    is_over.store(true, Ordering::SeqCst);
    let mut recorded = 0;
    for task in tasks {
        recorded += task.await.unwrap();
    }
    logs[0].seal_and_archive().await.unwrap();
    let report = logs[1].verify().await.unwrap();
    assert_eq!((report.fault, report.entries, report.waiting), (None, recorded, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_archivers_that_take_over_from_each_other_never_alarm() {
    soaked(Arc::new(EmbeddedStore::memory().unwrap()), rounds(12)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_archivers_on_redis_never_alarm() {
    let Some(redis) = redis().await else { return };
    soaked(Arc::new(RedisStore::new(redis.clone(), 2)), rounds(6)).await;
    redis.close().await;
}
