//! A bucket that is down, slow, or lies, while entries come and are archived.

use std::sync::Arc;
use std::time::Duration;

use watchdog_storage::objects::Objects;
use watchdog_storage::testing::redis::shared;
use watchdog_storage::testing::s3::{Fault, S3Server};

use crate::archive::assert_kept_in;
use crate::gate::{assert_only_archived_ends, expire_lease};
use crate::is_long;
use crate::ledger::Ledger;
use crate::load::{Archiving, Load, Pace};
use crate::place::{Place, log};

/// Lets a fault happen for a while under load, then mends the bucket.
async fn under(fault: Fault, lasting: Duration) {
    let Some(server) = shared() else { return };
    let s3 = S3Server::start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut place = Place::redis(&directory, &server.url(), 1);
    let log = log(place.store().await, &Objects::from_config(&s3.config()).unwrap()).await;
    let ledger = Arc::new(Ledger::open(&place.ledger()));
    let path = place.ledger();
    let load =
        Load::start(std::slice::from_ref(&log), &ledger, 0, Pace { tasks: 2, ..Pace::default() });
    let archiving = Archiving::start(&log);
    tokio::time::sleep(Duration::from_millis(200)).await;
    // The gate is looked at where the bucket keeps its files.
    place.directory = s3.file("audit").parent().unwrap().to_owned();
    std::os::unix::fs::symlink(&place.directory, place.bucket()).unwrap();
    let mut control = server.control();
    let requests = s3.requests();
    s3.fail_next(fault.clone(), 1_000_000);
    let end = std::time::Instant::now() + lasting;
    while std::time::Instant::now() < end {
        tokio::time::sleep(lasting / 5).await;
        assert_only_archived_ends(&mut control, &place);
    }
    s3.clear_faults();
    assert!(s3.requests() > requests, "the bucket was asked");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let tally = load.stop().await;
    archiving.stop().await;
    expire_lease(&mut control, &place);
    let kept = assert_kept_in(&log, &place.bucket(), &path).await;
    assert_eq!(kept as u64, tally.acknowledged, "{fault:?}");
    assert!(tally.refused.is_empty(), "{fault:?}: the bucket is nobody's who records");
    let lives = assert_only_archived_ends(&mut control, &place);
    assert_eq!(lives.endless, 0, "{fault:?}");
}

/// All at once: most of the time each of them waits.
async fn under_each(faults: Vec<Fault>, lasting: Duration) {
    let mut running: Vec<_> =
        faults.into_iter().map(|fault| tokio::spawn(under(fault, lasting))).collect();
    while let Some(one) = running.pop() {
        one.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_down_for_a_while_holds_nothing_but_the_archive_up() {
    let lasting = if is_long() { Duration::from_secs(60) } else { Duration::from_millis(600) };
    under_each(vec![Fault::Status(503), Fault::Status(403), Fault::Cut], lasting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_answers_and_lies_costs_no_entry() {
    let lasting = Duration::from_millis(if is_long() { 10_000 } else { 400 });
    let lies = vec![Fault::NotStored, Fault::Truncate, Fault::Flip, Fault::Conflict];
    under_each(lies, lasting).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_slow_forgets_conditions_or_loses_replies_costs_no_entry() {
    let lasting = Duration::from_millis(if is_long() { 10_000 } else { 400 });
    let slow = Fault::Slow(Duration::from_millis(20));
    under_each(vec![Fault::IgnoreCondition, Fault::LoseReply, slow], lasting).await;
}
