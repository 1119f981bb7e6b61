//! The archive on an S3 store that fails in every way it can.

use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{AuditConfig, EmbeddedStore, SegmentStore};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::s3::{Fault, S3Server};

use crate::bench::{assert_archived, assert_waiting_never_expires, log, log_with, record};

#[tokio::test]
async fn segments_are_archived_on_s3() {
    let server = S3Server::start().await.unwrap();
    let bucket = Objects::from_config(&server.config()).unwrap();
    let log = log(Arc::new(EmbeddedStore::memory().unwrap()), &bucket).await;
    record(&log, 0..30).await;
    log.seal_and_archive().await.unwrap();
    record(&log, 30..50).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..50).await;
}

/// Archives under a fault that comes after `skip` requests, `times` times; then without.
async fn archived_under(fault: Fault, times: usize) {
    let server = S3Server::start().await.unwrap();
    let bucket = Objects::from_config(&server.config()).unwrap();
    let store = Arc::new(EmbeddedStore::memory().unwrap());
    let config = AuditConfig { segment_max_bytes: 3000, ..AuditConfig::default() };
    let log = log_with(config, store.clone(), &bucket).await;
    record(&log, 0..20).await;
    let mut failures = 0;
    server.fail_next(fault.clone(), times);
    loop {
        match log.archiver().unwrap().run_now().await {
            Ok(_) => break,
            Err(error) => {
                failures += 1;
                assert!(failures <= times + 1, "{fault:?} is over: {error:?}");
            }
        }
        assert_waiting_never_expires(store.as_ref()).await;
    }
    server.clear_faults();
    assert_eq!(store.sealed(0).await.unwrap(), []);
    assert_archived(&log, 0..20).await;
}

#[tokio::test]
async fn a_put_that_is_acknowledged_and_not_stored_is_noticed() {
    for times in 1..6 {
        archived_under(Fault::NotStored, times).await;
    }
}

#[tokio::test]
async fn a_put_whose_reply_is_lost_is_found() {
    for times in [1, 3] {
        archived_under(Fault::LoseReply, times).await;
    }
}

#[tokio::test]
async fn a_store_that_answers_503_or_cuts_is_asked_again() {
    archived_under(Fault::Status(503), 2).await;
    archived_under(Fault::Status(500), 2).await;
    archived_under(Fault::Cut, 2).await;
    archived_under(Fault::Slow(Duration::from_millis(50)), 4).await;
}

#[tokio::test]
async fn a_conflict_that_wrote_nothing_is_no_success() {
    archived_under(Fault::Conflict, 2).await;
}

#[tokio::test]
async fn a_read_back_that_is_cut_or_altered_is_no_proof() {
    archived_under(Fault::Truncate, 2).await;
    archived_under(Fault::Flip, 2).await;
}

#[tokio::test]
async fn a_store_that_overwrites_still_holds_each_entry_once() {
    archived_under(Fault::IgnoreCondition, 1000).await;
}
