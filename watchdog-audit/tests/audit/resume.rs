//! The archiver stopped at every step, and two archivers at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use watchdog_audit::segment::{Expiry, SegmentId};
use watchdog_audit::{
    AuditConfig, AuditLog, EmbeddedStore, ErrorKind, Moment, RedisStore, SegmentStore, Step,
};
use watchdog_storage::objects::Objects;

use crate::bench::{
    assert_archived, assert_waiting_never_expires, entry, log, log_with, record, redis,
};
use crate::faulty::Faulty;

fn small() -> AuditConfig {
    AuditConfig { segment_max_bytes: 2500, ..AuditConfig::default() }
}

/// Ends the archiver at its `stop`th step, whatever that is; another process goes on. Answers
/// whether there was such a step.
async fn stopped_at(store: Arc<dyn SegmentStore>, stop: usize) -> bool {
    let bucket = Objects::memory();
    let first = log_with(small(), Arc::clone(&store), &bucket).await;
    record(&first, 0..24).await;
    let steps = AtomicUsize::new(0);
    let last = Mutex::new(None);
    let outcome = first
        .archiver()
        .unwrap()
        .run_observed(&|step, moment| {
            *last.lock().unwrap() = Some((step.clone(), moment));
            if steps.fetch_add(1, Ordering::SeqCst) == stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await;
    assert_waiting_never_expires(store.as_ref()).await;
    let was_stopped = match outcome {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Closed);
            true
        }
    };
    let last = last.into_inner().unwrap();
    if let Some((Step::Gate(segment), Moment::After)) = last {
        assert!(matches!(store.expiry(segment).await.unwrap(), Expiry::InMillis(_)));
    }
    drop(first);
    let second = log_with(small(), store, &bucket).await;
    second.seal_and_archive().await.unwrap();
    assert_archived(&second, 0..24).await;
    was_stopped
}

#[tokio::test]
async fn killed_at_any_step_the_next_run_archives_each_entry_once() {
    let mut stop = 0;
    while stopped_at(Arc::new(EmbeddedStore::memory().unwrap()), stop).await {
        stop += 1;
    }
    assert!(stop > 20, "there were only {stop} steps");
}

#[tokio::test]
async fn killed_at_any_step_on_redis_too() {
    let mut stop = 0;
    loop {
        let Some(redis) = redis().await else { return };
        let was_stopped = stopped_at(Arc::new(RedisStore::new(redis.clone(), 1)), stop).await;
        redis.close().await;
        if !was_stopped {
            break;
        }
        stop += 1;
    }
    assert!(stop > 20, "there were only {stop} steps");
}

#[tokio::test]
async fn a_lost_reply_of_the_store_at_any_step_changes_nothing() {
    let mut quiet = 0;
    for skip in 0..40 {
        let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
        let bucket = Objects::memory();
        let log = log_with(small(), store.clone(), &bucket).await;
        record(&log, 0..12).await;
        let calls = AtomicUsize::new(0);
        let outcome = log
            .archiver()
            .unwrap()
            .run_observed(&|_, _| {
                if calls.fetch_add(1, Ordering::SeqCst) == skip {
                    store.lose_replies(1);
                }
                ControlFlow::Continue(())
            })
            .await;
        quiet += usize::from(outcome.is_ok());
        store.lose_replies(0);
        assert_waiting_never_expires(store.as_ref()).await;
        log.seal_and_archive().await.unwrap();
        assert_archived(&log, 0..12).await;
    }
    assert!(quiet < 40, "no reply was ever lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_archivers_at_once_archive_each_entry_once() {
    for _ in 0..10 {
        let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
        let bucket = Objects::memory();
        let logs = [
            log_with(small(), Arc::clone(&store), &bucket).await,
            log_with(small(), Arc::clone(&store), &bucket).await,
        ];
        record(&logs[0], 0..20).await;
        record(&logs[1], 20..40).await;
        let runs = logs
            .clone()
            .map(|log| tokio::spawn(async move { log.seal_and_archive().await.unwrap() }));
        for run in runs {
            run.await.unwrap();
        }
        assert_archived(&logs[0], 0..40).await;
    }
}

/// Holds an archiver at a step while another one does everything, then lets it go on.
async fn paused_at(hold: fn(&Step) -> bool) {
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let bucket = Objects::memory();
    let slow = log(Arc::clone(&store), &bucket).await;
    let quick = log(Arc::clone(&store), &bucket).await;
    record(&slow, 0..10).await;
    let (arrived, arrival) = mpsc::channel();
    let (go_on, gone_on) = mpsc::channel::<()>();
    let gone_on = Mutex::new(gone_on);
    let paused = tokio::spawn({
        let slow: AuditLog = slow.clone();
        async move {
            let is_first = AtomicUsize::new(0);
            slow.archiver()
                .unwrap()
                .run_observed(&|step, moment| {
                    let is_here = hold(step) && moment == Moment::Before;
                    if is_here && is_first.fetch_add(1, Ordering::SeqCst) == 0 {
                        arrived.send(()).unwrap();
                        tokio::task::block_in_place(|| gone_on.lock().unwrap().recv().unwrap());
                    }
                    ControlFlow::Continue(())
                })
                .await
        }
    });
    tokio::task::spawn_blocking(move || arrival.recv().unwrap()).await.unwrap();
    quick.seal_and_archive().await.unwrap();
    record(&quick, 10..15).await;
    go_on.send(()).unwrap();
    paused.await.unwrap().unwrap();
    let segment = SegmentId { partition: 0, number: 1 };
    assert!(matches!(store.expiry(segment).await.unwrap(), Expiry::InMillis(_)));
    quick.seal_and_archive().await.unwrap();
    assert_archived(&quick, 0..15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archiver_that_wakes_before_its_manifest_is_fenced_off() {
    paused_at(|step| matches!(step, Step::Manifest(_))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archiver_that_wakes_before_an_object_is_fenced_off() {
    paused_at(|step| matches!(step, Step::Object(_))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archiver_that_wakes_before_the_gate_does_no_harm() {
    paused_at(|step| matches!(step, Step::Gate(_))).await;
}

#[tokio::test]
async fn entries_that_come_while_the_archiver_runs_wait_for_the_next_run() {
    let store: Arc<dyn SegmentStore> = Arc::new(EmbeddedStore::memory().unwrap());
    let log = log(store, &Objects::memory()).await;
    record(&log, 0..3).await;
    let late = log.clone();
    let (send, receive) = mpsc::channel();
    log.archiver()
        .unwrap()
        .run_observed(&|step, moment| {
            if matches!(step, Step::Pack(_)) && moment == Moment::Before {
                let late = late.clone();
                send.send(tokio::spawn(async move { late.record(entry(3)).await })).unwrap();
            }
            ControlFlow::Continue(())
        })
        .await
        .unwrap();
    receive.recv().unwrap().await.unwrap().unwrap();
    let report = log.verify().await.unwrap();
    assert_eq!((report.fault, report.entries, report.waiting), (None, 3, 1));
}
