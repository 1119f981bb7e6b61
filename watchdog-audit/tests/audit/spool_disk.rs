//! The spool on a disk that fails: each file operation, the quota, a file somebody removed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use watchdog_audit::{AuditConfig, AuditLog, Durability, ErrorKind, SpoolFile, SpoolFiles};
use watchdog_core::HealthCheck as _;
use watchdog_core::health::Status;
use watchdog_storage::objects::Objects;
use watchdog_storage::testing::eventually;

use crate::bench::{assert_archived, entry, keys, log_with, record};
use crate::faulty::Faulty;
use crate::spool::{SOON, config, drained, status, store};

/// The disk of the test: each operation fails as often as it is told to.
#[derive(Debug, Default)]
struct Disk {
    create: AtomicUsize,
    write: AtomicUsize,
    sync: AtomicUsize,
    directory: AtomicUsize,
    /// Writes and syncs of a file after it has failed once.
    after_failure: AtomicUsize,
}

#[derive(Debug)]
struct DiskFile {
    file: std::fs::File,
    disk: Arc<Disk>,
    has_failed: bool,
}

#[derive(Debug)]
struct Files(Arc<Disk>);

fn fails(times: &AtomicUsize) -> io::Result<()> {
    let left = times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left.is_ok() { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
}

impl SpoolFiles for Files {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SpoolFile>> {
        fails(&self.0.create)?;
        let file = std::fs::File::options().read(true).append(true).create_new(true).open(path)?;
        Ok(Box::new(DiskFile { file, disk: Arc::clone(&self.0), has_failed: false }))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fails(&self.0.directory)?;
        std::fs::File::open(path)?.sync_all()
    }
}

impl DiskFile {
    fn noted(&mut self, outcome: io::Result<()>) -> io::Result<()> {
        if self.has_failed {
            self.disk.after_failure.fetch_add(1, Ordering::SeqCst);
        }
        self.has_failed |= outcome.is_err();
        outcome
    }
}

impl SpoolFile for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Half of it reaches the disk before it is full.
        let outcome = fails(&self.disk.write);
        let length = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
        io::Write::write_all(&mut self.file, &bytes[..length])?;
        self.noted(outcome)
    }

    fn sync(&mut self) -> io::Result<()> {
        let outcome = fails(&self.disk.sync);
        self.noted(outcome)
    }

    fn is_linked(&self) -> io::Result<bool> {
        SpoolFile::is_linked(&self.file)
    }

    fn content(&mut self, length: u64) -> io::Result<Vec<u8>> {
        SpoolFile::content(&mut self.file, length)
    }
}

async fn log_on(
    disk: &Arc<Disk>,
    config: &AuditConfig,
    store: &Arc<Faulty>,
    bucket: &Objects,
) -> AuditLog {
    AuditLog::builder()
        .with_config(config)
        .with_shared_store(store.clone())
        .with_archive(bucket.clone(), &keys())
        .with_encryption(&keys())
        .with_spool_files(Arc::new(Files(Arc::clone(disk))))
        .with_record_timeout(Duration::from_millis(100))
        .without_background()
        .build()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_file_whose_sync_failed_is_never_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, store, bucket) = (Arc::<Disk>::default(), store(), Objects::memory());
    let config = config(directory.path(), Durability::Spool);
    let log = log_on(&disk, &config, &store, &bucket).await;
    record(&log, 0..5).await;
    for (n, failing) in [&disk.sync, &disk.write, &disk.sync].into_iter().enumerate() {
        failing.store(1, Ordering::SeqCst);
        let first = 5 + 5 * u64::try_from(n).unwrap();
        record(&log, first..first + 5).await;
        assert_eq!(failing.load(Ordering::SeqCst), 0, "it did fail");
    }
    assert_eq!(status(&log).poisoned_files, 3);
    assert_eq!(disk.after_failure.load(Ordering::SeqCst), 0);
    assert!(!status(&log).is_failing, "another file took it");
    // What the failed files hold counts as far as it was synced, and once.
    store.take_down(true);
    record(&log, 20..25).await;
    log.shutdown(Duration::from_millis(10)).await.unwrap();
    drop(log);
    store.take_down(false);
    let next = log_with(config, store, &bucket).await;
    eventually("it is archived", SOON, async || {
        next.seal_and_archive().await.unwrap();
        next.verify().await.unwrap().entries == 25 && status(&next).adopted == 0
    })
    .await;
    assert_archived(&next, 0..25).await;
}

/// The bytes of every file of a spool.
pub(crate) fn bytes_on_disk(directory: &Path) -> u64 {
    crate::archive::files(directory)
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "spool"))
        .map(|path| std::fs::metadata(path).map_or(0, |metadata| metadata.len()))
        .sum()
}

#[tokio::test]
async fn files_that_failed_do_not_fill_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (disk, store, bucket) = (Arc::<Disk>::default(), store(), Objects::memory());
    let config = config(directory.path(), Durability::Spool);
    let log = log_on(&disk, &config, &store, &bucket).await;
    record(&log, 0..3).await;
    for failing in [&disk.sync, &disk.write, &disk.directory] {
        // The open file fails first, so that others are begun.
        disk.sync.store(1, Ordering::SeqCst);
        failing.store(5, Ordering::SeqCst);
        eventually("every fault came, and an entry is taken", SOON, async || {
            log.record(entry(9)).await.is_ok() && failing.load(Ordering::SeqCst) == 0
        })
        .await;
    }
    eventually("nothing is left of the failed files", SOON, async || {
        bytes_on_disk(directory.path()) == status(&log).bytes
    })
    .await;
    assert!(status(&log).poisoned_files > 5);
}

#[tokio::test]
async fn a_full_disk_holds_callers_up_and_loses_nothing() {
    for durability in [Durability::Store, Durability::Spool] {
        let directory = tempfile::tempdir().unwrap();
        let (disk, store, bucket) = (Arc::<Disk>::default(), store(), Objects::memory());
        let config = config(directory.path(), durability);
        let log = log_on(&disk, &config, &store, &bucket).await;
        record(&log, 0..3).await;
        store.take_down(true);
        for operation in [&disk.create, &disk.write] {
            operation.store(usize::MAX, Ordering::SeqCst);
        }
        let waiting = entry(3);
        let error = log.record(waiting.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotAcknowledged, "{durability:?}");
        let report = log.health().check().await;
        assert_eq!(report.status, Status::Fail, "{report:?}");
        assert!(report.output.unwrap().contains("spool"));
        for operation in [&disk.create, &disk.write] {
            operation.store(0, Ordering::SeqCst);
        }
        eventually("the spool takes it", SOON, async || log.record(waiting.clone()).await.is_ok())
            .await;
        assert_eq!(log.health().check().await.status, Status::Warn);
        store.take_down(false);
        drained(&log).await;
        log.seal_and_archive().await.unwrap();
        assert_archived(&log, 0..4).await;
        assert_eq!(log.health().check().await.status, Status::Pass);
    }
}

#[tokio::test]
async fn a_spool_over_its_quota_takes_no_more_until_some_is_released() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config =
        AuditConfig { spool_max_bytes: 64 * 1024, ..config(directory.path(), Durability::Store) };
    let log = log_on(&Arc::default(), &config, &store, &bucket).await;
    store.take_down(true);
    let large = |n| entry(n).with_detail("text", "x".repeat(8000));
    let mut taken = 0;
    while taken < 20 && log.record(large(taken)).await.is_ok() {
        taken += 1;
    }
    assert!((3..8).contains(&taken), "{taken} entries of 8 KiB went into 64 KiB");
    assert!(status(&log).bytes <= 64 * 1024);
    assert!(status(&log).is_failing);
    assert_eq!(log.health().check().await.status, Status::Fail);
    store.take_down(false);
    drained(&log).await;
    eventually("the entry that waited is there", SOON, async || {
        crate::bench::numbers(&log).await.len() as u64 == taken + 1
    })
    .await;
    record(&log, taken + 1..taken + 3).await;
    log.seal_and_archive().await.unwrap();
    assert_archived(&log, 0..taken + 3).await;
}

#[tokio::test]
async fn a_file_that_somebody_removed_is_written_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, bucket) = (store(), Objects::memory());
    let config = config(directory.path(), Durability::Store);
    let log = log_with(config.clone(), store.clone(), &bucket).await;
    store.take_down(true);
    record(&log, 0..5).await;
    std::fs::remove_dir_all(directory.path().join("spool")).unwrap();
    record(&log, 5..10).await;
    assert_eq!(status(&log).entries, 10);
    let writer = log.writer();
    log.shutdown(Duration::from_millis(10)).await.unwrap();
    drop(log);
    store.take_down(false);
    // All ten are on the disk: the next process finds them.
    let next = log_with(config, store, &bucket).await;
    eventually("they are delivered", SOON, async || {
        crate::bench::numbers(&next).await.len() == 10 && status(&next).adopted == 0
    })
    .await;
    assert_ne!(next.writer(), writer);
    next.seal_and_archive().await.unwrap();
    assert_archived(&next, 0..10).await;
}
