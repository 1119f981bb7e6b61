//! The spool with a store that goes away and comes back, and what the next process makes of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use watchdog_audit::{
    AuditConfig, AuditLog, Durability, EmbeddedStore, ErrorKind, SegmentStore, SpoolStatus,
};
use watchdog_core::health::Status;
use watchdog_core::{Clock as _, HealthCheck as _};
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::archive::files;
use crate::bench::{assert_archived, clocked_with, entry, keys, log_with, numbers, record};
use crate::faulty::Faulty;

pub(crate) const SOON: Duration = Duration::from_secs(8);

/// A store that can be taken down; it is not the embedded one by name, so that it has a spool.
pub(crate) fn store() -> Arc<Faulty> {
    Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())).named("remote"))
}

pub(crate) fn config(directory: &Path, durability: Durability) -> AuditConfig {
    AuditConfig {
        durability,
        spool_directory: directory.to_owned(),
        // The keeper looks once a second.
        segment_max_age: Duration::from_secs(4),
        ..AuditConfig::default()
    }
}

pub(crate) fn status(log: &AuditLog) -> SpoolStatus {
    log.spool().expect("there is a spool")
}

/// Waits until the store has everything.
pub(crate) async fn drained(log: &AuditLog) {
    eventually("the spool is drained", SOON, async || {
        let status = status(log);
        status.unsent == 0 && status.adopted == 0
    })
    .await;
}

fn spool_files(directory: &Path) -> Vec<std::path::PathBuf> {
    let found = files(directory);
    found.into_iter().filter(|path| path.extension().is_some_and(|end| end == "spool")).collect()
}

#[tokio::test]
async fn entries_are_acknowledged_from_the_spool_while_the_store_is_down() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(config(directory.path(), Durability::Store), store.clone(), &bucket).await;
    record(&log, 0..5).await;
    assert_eq!(status(&log).entries, 0, "the store has them: nothing is spooled");
    store.take_down(true);
    record(&log, 5..25).await;
    let spooled = status(&log);
    assert_eq!((spooled.entries, spooled.unsent), (20, 20));
    assert!(spooled.bytes > 1000 && spooled.oldest.is_some());
    let report = log.health().check().await;
    assert_eq!(report.status, Status::Warn, "{report:?}");
    assert!((report.observations["spool_entries"] - 20.0).abs() < 0.5);
    store.take_down(false);
    drained(&log).await;
    record(&log, 25..30).await;
    eventually("the files are gone", SOON, async || spool_files(directory.path()).is_empty()).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..30).await;
    assert_eq!(numbers(&log).await, (0..30).collect::<Vec<_>>(), "in order");
    assert_eq!(log.health().check().await.status, Status::Pass);
    log.shutdown(SOON).await.unwrap();
    eventually("the directory is gone", SOON, async || files(directory.path()).is_empty()).await;
}

#[tokio::test]
async fn entries_that_come_while_the_spool_drains_stay_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(config(directory.path(), Durability::Store), store.clone(), &bucket).await;
    for round in 0..6 {
        store.take_down(round % 2 == 0);
        store.lose_replies(usize::from(round % 3 == 0));
        record(&log, round * 40..(round + 1) * 40).await;
    }
    store.take_down(false);
    drained(&log).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..240).await;
    assert_eq!(numbers(&log).await, (0..240).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_spool_keeps_an_entry_until_a_manifest_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(config(directory.path(), Durability::Spool), store.clone(), &bucket).await;
    record(&log, 0..10).await;
    drained(&log).await;
    assert_eq!(numbers(&log).await.len(), 10, "the store has them");
    // A sealed segment is not an archived one.
    let segment = watchdog_audit::segment::SegmentId { partition: 0, number: 1 };
    store.seal(segment, None).await.unwrap();
    // The keeper takes over what others left, and looks after the own spool then, in that order.
    for _ in 0..2 {
        std::fs::create_dir_all(left_by_nobody(directory.path())).unwrap();
        std::fs::write(left_by_nobody(directory.path()).join("lock"), "").unwrap();
        eventually("the keeper has looked", SOON, async || {
            !left_by_nobody(directory.path()).exists()
        })
        .await;
    }
    assert_eq!(status(&log).entries, 10);
    log.seal_and_archive().await.unwrap();
    eventually("the archive releases them", SOON, async || status(&log).entries == 0).await;
    assert_archived(&log, 0..10).await;
    record(&log, 10..12).await;
    assert_eq!(status(&log).entries, 2);
}

/// The directory of a writer that has nothing any more: the keeper removes it when it looks.
fn left_by_nobody(directory: &Path) -> std::path::PathBuf {
    directory.join("spool").join("0".repeat(32))
}

#[tokio::test]
async fn without_an_archive_the_store_releases_the_spool() {
    let directory = tempfile::tempdir().unwrap();
    let log = AuditLog::builder()
        .with_config(&config(directory.path(), Durability::Spool))
        .with_store(EmbeddedStore::memory().unwrap())
        .with_encryption(&keys())
        .without_background()
        .build()
        .await
        .unwrap();
    record(&log, 0..10).await;
    eventually("the store releases them", SOON, async || status(&log).entries == 0).await;
    assert_eq!(numbers(&log).await.len(), 10);
}

#[tokio::test]
async fn what_a_process_left_is_delivered_under_its_own_id() {
    for durability in [Durability::Store, Durability::Spool] {
        let directory = tempfile::tempdir().unwrap();
        let (store, bucket) = (store(), Objects::memory());
        let config = config(directory.path(), durability);
        let first = log_with(config.clone(), store.clone(), &bucket).await;
        record(&first, 0..5).await;
        store.take_down(true);
        record(&first, 5..20).await;
        let writer = first.writer();
        first.shutdown(Duration::from_millis(10)).await.unwrap();
        drop(first);
        store.take_down(false);
        let second = log_with(config, store.clone(), &bucket).await;
        eventually("everything is there", SOON, async || numbers(&second).await.len() == 20).await;
        record(&second, 20..22).await;
        second.seal_and_archive().await.unwrap();
        drained(&second).await;
        assert_archived(&second, 0..22).await;
        let query = watchdog_audit::Query::new().with_limit(1000);
        let page = second.query(&query).await.unwrap();
        let of_first = page.records.iter().filter(|record| record.writer == writer).count();
        assert_eq!(of_first, 20, "{durability:?}");
        eventually("one writer is left", SOON, async || spool_owners(directory.path()) == 1).await;
    }
}

fn spool_owners(directory: &Path) -> usize {
    std::fs::read_dir(directory.join("spool")).unwrap().count()
}

#[tokio::test]
async fn two_processes_on_one_directory_leave_each_other_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Spool);
    let one = log_with(config.clone(), store.clone(), &bucket).await;
    store.take_down(true);
    record(&one, 0..10).await;
    store.take_down(false);
    let two = log_with(config, store.clone(), &bucket).await;
    record(&two, 10..20).await;
    drained(&one).await;
    drained(&two).await;
    assert_eq!((status(&one).entries, status(&two).entries), (10, 10));
    assert_eq!(spool_owners(directory.path()), 2);
    two.seal_and_archive().await.unwrap();
    assert_archived(&one, 0..20).await;
    eventually("both are released", SOON, async || {
        (status(&one).entries, status(&two).entries) == (0, 0)
    })
    .await;
}

#[tokio::test]
async fn a_directory_nobody_can_write_to_is_said() {
    let directory = tempfile::tempdir().unwrap();
    // A file where the directory should be: also root cannot write there.
    let blocked = directory.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let build = |durability| {
        AuditLog::builder()
            .with_config(&config(&blocked, durability))
            .with_shared_store(store())
            .with_encryption(&keys())
            .without_background()
            .build()
    };
    let error = build(Durability::Spool).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.contains(blocked.to_str().unwrap()), "{text}");
    assert!(text.contains("WATCHDOG_AUDIT_SPOOL_DIRECTORY"), "{text}");
    let log = build(Durability::Store).await.unwrap();
    assert!(log.spool().is_none());
    record(&log, 0..3).await;
    let report = log.health().check().await;
    assert_eq!(report.status, Status::Warn, "{report:?}");
    assert!(report.output.unwrap().contains("no spool"));
}

#[tokio::test]
async fn a_store_without_replicas_refuses_the_durability_replicated() {
    let directory = tempfile::tempdir().unwrap();
    let error = AuditLog::builder()
        .with_config(&config(directory.path(), Durability::Replicated))
        .with_store(EmbeddedStore::memory().unwrap())
        .with_encryption(&keys())
        .build()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("WATCHDOG_AUDIT_STORE=redis"), "{error}");
}

/// Leaves the spool of a process that recorded entries `0..n` while the store was down; one frame
/// each.
async fn left(directory: &Path, store: &Arc<Faulty>, n: u64) -> std::path::PathBuf {
    let config = config(directory, Durability::Spool);
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    store.take_down(true);
    record(&log, 0..n).await;
    log.shutdown(Duration::from_millis(10)).await.unwrap();
    store.take_down(false);
    spool_files(directory).remove(0)
}

async fn adopted(directory: &Path, store: &Arc<Faulty>) -> (AuditLog, Vec<u64>) {
    let config = config(directory, Durability::Spool);
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    eventually("the other spool is delivered", SOON, async || {
        // Its own directory and those that wait for the archive.
        numbers(&log).await.len() >= 3 && status(&log).unsent == 0
    })
    .await;
    log.seal_and_archive().await.unwrap();
    eventually("the other spool is archived", SOON, async || {
        log.seal_and_archive().await.unwrap();
        status(&log).adopted == 0
    })
    .await;
    assert_eq!(log.verify().await.unwrap().fault, None);
    let mut found = numbers(&log).await;
    found.sort_unstable();
    (log, found)
}

#[tokio::test]
async fn a_torn_or_zero_filled_tail_costs_only_what_nobody_was_told_of() {
    for zeros in [0, 3000] {
        let directory = tempfile::tempdir().unwrap();
        let store = store();
        let path = left(directory.path(), &store, 6).await;
        let mut content = std::fs::read(&path).unwrap();
        // The last record was being written.
        content.truncate(content.len() - 100);
        content.resize(content.len() + zeros, 0);
        std::fs::write(&path, content).unwrap();
        let (_log, found) = adopted(directory.path(), &store).await;
        assert_eq!(found, [0, 1, 2, 3, 4]);
        assert_eq!(damaged(directory.path()), 0);
    }
}

fn damaged(directory: &Path) -> usize {
    let found = files(directory);
    found.iter().filter(|path| path.extension().is_some_and(|end| end == "damaged")).count()
}

#[tokio::test]
async fn a_spool_file_that_cannot_be_read_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = store();
    let path = left(directory.path(), &store, 6).await;
    let content = vec![0xA5; std::fs::read(&path).unwrap().len()];
    std::fs::write(&path, &content).unwrap();
    let config = config(directory.path(), Durability::Spool);
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    eventually("it is counted", SOON, async || status(&log).damaged_files == 1).await;
    assert_eq!(log.health().check().await.status, Status::Warn);
    assert_eq!(std::fs::read(path.with_extension("damaged")).unwrap(), content);
}

#[tokio::test]
async fn a_damaged_record_is_declared_and_what_follows_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = store();
    let path = left(directory.path(), &store, 6).await;
    let mut content = std::fs::read(&path).unwrap();
    let third = content.len() / 6 * 2 + 200;
    content[third] ^= 1;
    std::fs::write(&path, content).unwrap();
    let (log, found) = adopted(directory.path(), &store).await;
    assert_eq!(found, [0, 1, 3, 4, 5]);
    assert_eq!(damaged(directory.path()), 1, "somebody may look at it");
    assert_eq!(status(&log).damaged_files, 1);
    assert_eq!(log.health().check().await.status, Status::Warn);
    let query = watchdog_audit::Query::new().with_action("audit.entries_lost");
    let page = log.query(&query).await.unwrap();
    assert_eq!(page.records.len(), 1);
    let details = &page.records[0].entry.details;
    assert_eq!((&details["first"], &details["last"]), (&3.into(), &3.into()));
}

#[tokio::test]
async fn an_emptied_store_is_filled_again_without_being_asked() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(config(directory.path(), Durability::Spool), store.clone(), &bucket).await;
    record(&log, 0..10).await;
    let archived = log.seal_and_archive().await.unwrap();
    assert_eq!(archived.entries, 10, "what was acknowledged before is archived");
    eventually("they are released", SOON, async || status(&log).entries == 0).await;
    record(&log, 10..15).await;
    drained(&log).await;
    store.replace(Arc::new(EmbeddedStore::memory().unwrap()));
    assert_eq!(store.partition(0).await.unwrap().frames, 0);
    eventually("the store has them again", SOON, async || {
        store.partition(0).await.unwrap().totals.entries == 5
    })
    .await;
    record(&log, 15..17).await;
    drained(&log).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..17).await;
}

#[tokio::test]
async fn an_entry_that_is_recorded_again_while_it_is_spooled_is_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log = log_with(config(directory.path(), Durability::Store), store.clone(), &bucket).await;
    store.take_down(true);
    let one = entry(1);
    let receipt = log.record(one.clone()).await.unwrap();
    let (again, other) = tokio::join!(log.record(one), log.record(entry(2)));
    assert_eq!((again.unwrap(), other.unwrap().sequence), (receipt, 2));
    store.take_down(false);
    drained(&log).await;
    assert_eq!(numbers(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_clock_that_jumps_a_day_breaks_nothing() {
    let clock = watchdog_core::testing::ManualClock::default();
    clock.advance(Duration::from_secs(10 * 86_400));
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let log =
        clocked_with(&config(directory.path(), Durability::Spool), store.clone(), &bucket, &clock)
            .await;
    store.take_down(true);
    record(&log, 0..5).await;
    clock.advance(Duration::from_secs(86_400));
    record(&log, 5..10).await;
    clock.set(clock.now() - jiff::SignedDuration::from_hours(48));
    record(&log, 10..15).await;
    assert_eq!(log.health().check().await.status, Status::Warn);
    store.take_down(false);
    drained(&log).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..15).await;
    eventually("they are released", SOON, async || status(&log).entries == 0).await;
}

#[tokio::test]
async fn spooled_entries_whose_numbers_somebody_else_took_are_recorded_again() {
    let directory = tempfile::tempdir().unwrap();
    let inner = Arc::new(EmbeddedStore::memory().unwrap());
    let store = Arc::new(Faulty::new(inner.clone()).named("remote"));
    let config = config(directory.path(), Durability::Spool);
    let log = log_with(config, store.clone(), &Objects::memory()).await;
    record(&log, 0..1).await;
    drained(&log).await;
    store.take_down(true);
    record(&log, 1..4).await;
    // A copy of the machine goes on under the same id.
    let open = watchdog_audit::segment::SegmentId { partition: 0, number: 1 };
    let foreign = watchdog_audit::testing::frame(log.writer(), 2, 1);
    inner.append(open, &foreign, watchdog_audit::testing::WIDE).await.unwrap();
    store.take_down(false);
    eventually("they are recorded again", SOON, async || numbers(&log).await.len() == 4).await;
    let receipt = log.record(entry(4)).await.unwrap();
    assert_ne!(receipt.writer, log.writer());
    eventually("the spool is drained", SOON, async || status(&log).unsent == 0).await;
    let mut found = numbers(&log).await;
    found.sort_unstable();
    assert_eq!(found, [0, 1, 2, 3, 4]);
    let query = watchdog_audit::Query::new().with_action("audit.writer_superseded");
    assert_eq!(log.query(&query).await.unwrap().records.len(), 1);
    log.seal_and_archive().await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
    eventually("both spools are released", SOON, async || {
        status(&log).entries == 0 && spool_owners(directory.path()) == 1
    })
    .await;
}

#[tokio::test]
async fn what_a_store_lost_beyond_memory_is_declared_and_the_rest_sent_again() {
    let store = Arc::new(Faulty::new(Arc::new(EmbeddedStore::memory().unwrap())));
    let log = log_with(AuditConfig::default(), store.clone(), &Objects::memory()).await;
    assert!(log.spool().is_none());
    for n in 0..160 {
        log.record(entry(n).with_detail("text", "x".repeat(42_000))).await.unwrap();
    }
    store.replace(Arc::new(EmbeddedStore::memory().unwrap()));
    record(&log, 160..161).await;
    let query = watchdog_audit::Query::new().with_action("audit.entries_lost");
    let declared = log.query(&query).await.unwrap().records;
    assert_eq!(declared.len(), 1);
    let details = &declared[0].entry.details;
    let (first, last) = (details["first"].as_u64().unwrap(), details["last"].as_u64().unwrap());
    assert!(first == 1 && (10..100).contains(&last), "{first} to {last}");
    // Entry number n stood in place n + 1.
    assert_eq!(numbers(&log).await, (last..161).collect::<Vec<_>>());
    log.seal_and_archive().await.unwrap();
    assert!(log.verify().await.unwrap().is_sound());
}
