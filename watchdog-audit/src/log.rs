//! The façade: what an application records with, archives, verifies and queries.

mod adoption;
#[cfg(feature = "objects")]
mod archiving;
mod builder;
#[cfg(all(feature = "objects", feature = "postgres"))]
mod copy;
mod delivery;
mod dropped;
mod guarded;
mod heir;
mod keeper;
mod loss;
mod policy;
#[cfg(feature = "objects")]
mod proofs;
mod pump;
mod queue;
mod shared;
mod sink;
mod sources;
mod spooling;
mod tend;
mod verdict;
mod watermark;
mod writer;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;
use watchdog_core::Clock;
use watchdog_core::audit::Entry;

#[cfg(feature = "objects")]
use crate::archiver::{Archived, Archiver};
use crate::config::FullQueue;
use crate::error::{Error, ErrorKind, Result};
use crate::personal::SubjectKeys;
use crate::receipt::Receipt;
use crate::store::SegmentStore;
#[cfg(feature = "objects")]
use crate::verify::Verification;
use crate::writer_id::WriterId;

pub use builder::AuditLogBuilder;
use queue::Queue;
use shared::Shared;
pub use sink::AuditHealth;
pub(crate) use writer::Job;

/// Entries that wait for a batch at most, beside the ends of operations; a caller that finds the
/// queue full waits.
pub const QUEUE_ENTRIES: usize = 8192;

/// The audit log of a process.
///
/// A clone is the same log. See the [crate's front page](crate) for what it guarantees.
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    queue: Queue,
    shared: Arc<Shared>,
    store: Arc<dyn SegmentStore>,
    keys: Option<Arc<dyn SubjectKeys>>,
    clock: Arc<dyn Clock>,
    record_timeout: Duration,
    is_enabled: bool,
    writer: WriterId,
    full_queue: FullQueue,
    fail_closed: bool,
    #[cfg(feature = "objects")]
    archiver: Option<Arc<Archiver>>,
    #[cfg(feature = "objects")]
    retention: crate::config::ArchiveRetention,
    #[cfg(feature = "objects")]
    lifecycle: crate::config::LifecycleConfig,
    /// How long an entry stays in the store.
    #[cfg(feature = "objects")]
    ttl: Duration,
    #[cfg(all(feature = "objects", feature = "postgres"))]
    copier: Option<crate::copy::Copier>,
    /// Set when nothing is archived: the life a segment is given when it is sealed.
    unarchived_ttl: Option<Duration>,
    limits: crate::segment::SegmentLimits,
    reader_roles: Vec<String>,
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct Tasks {
    /// Held while somebody waits for its end.
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    tend: Mutex<Option<JoinHandle<()>>>,
    #[cfg(all(feature = "objects", feature = "postgres"))]
    copy: Mutex<Option<JoinHandle<()>>>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Tasks {
    /// Stops a task and waits until it has let go of the store.
    async fn end(task: &Mutex<Option<JoinHandle<()>>>) {
        let task = task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    fn stop(task: &Mutex<Option<JoinHandle<()>>>) {
        if let Some(task) = task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Drop for Tasks {
    /// The keeper holds the spool; the directory is left to the next process.
    fn drop(&mut self) {
        Self::stop(&self.keeper);
    }
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog")
            .field("store", &self.inner.store)
            .field("writer", &self.inner.writer)
            .finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Settings of a log.
    pub fn builder() -> AuditLogBuilder {
        AuditLogBuilder::default()
    }

    /// Records an entry and waits until it is as durable as [`Durability`](crate::Durability) asks.
    ///
    /// From the first poll on, dropping the future does not drop the entry. An entry with the id
    /// of one of the last [`REMEMBERED_ENTRIES`](crate::REMEMBERED_ENTRIES) that this process
    /// recorded is the same entry: it is not stored twice, and its receipt is answered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAcknowledged`] when the store does not answer in time: the entry is kept
    /// and written when the store is back; so with too few replicas, with the durability
    /// `replicated`. [`ErrorKind::Saturated`] when the queue stayed full and the entry was not taken;
    /// [`FullQueue`](crate::FullQueue) may say that it is dropped instead: then its receipt says so. [`ErrorKind::TooLarge`] over 64 KiB, [`ErrorKind::Misuse`] for a detail nested
    /// deeper than [`MAX_DETAIL_DEPTH`](crate::MAX_DETAIL_DEPTH), [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown).
    pub async fn record(&self, entry: Entry) -> Result<Receipt> {
        if !self.inner.is_enabled {
            return Ok(self.unstored());
        }
        let on_full = self.inner.full_queue.of(entry.category);
        self.record_or(entry, on_full).await
    }

    /// The id this process writes under.
    pub fn writer(&self) -> WriterId {
        self.inner.writer
    }

    /// The store behind the log.
    pub fn store(&self) -> &Arc<dyn SegmentStore> {
        &self.inner.store
    }

    /// Seals every open segment that holds something and archives every sealed one, now. What is
    /// in the spool comes along, as long as the store takes it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive, [`ErrorKind::Busy`] when another process archives
    /// and does not end within ten seconds, else as of store and bucket. Calling again resumes.
    #[cfg(feature = "objects")]
    pub async fn seal_and_archive(&self) -> Result<Archived> {
        let archiver = self.archiver()?;
        self.settle().await;
        let archived = archiver.run_now().await;
        self.inner.shared.keep.notify_one();
        archived
    }

    /// Checks the whole archive and what the store holds; names the first thing that does not fit.
    ///
    /// An object that is gone after the configured retention of its category has expired; before,
    /// it is missing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive, [`ErrorKind::Unavailable`] when store or bucket
    /// do not answer: nothing is said about the log then.
    #[cfg(feature = "objects")]
    pub async fn verify(&self) -> Result<Verification> {
        self.verify_with(&crate::verify::VerifyOptions::new(), &|_| {}).await
    }

    /// The archiver of this log.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive.
    #[cfg(feature = "objects")]
    pub fn archiver(&self) -> Result<&Archiver> {
        self.inner
            .archiver
            .as_deref()
            .ok_or_else(|| Error::new(ErrorKind::Misuse, "the audit log has no archive"))
    }

    /// Stops taking entries, writes what was taken, and waits for it until the deadline.
    ///
    /// Operations that are under way are waited for as well. Who calls while another waits, waits
    /// for the same end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAcknowledged`] when entries are left at the deadline that are in no spool;
    /// they are lost, and the error says how many. So when the task that writes had ended before:
    /// what it held is lost unless a spool has it.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        self.inner.shared.is_shut_down.store(true, Ordering::Relaxed);
        self.inner.queue.close();
        let tasks = &self.inner.tasks;
        Tasks::end(&tasks.tend).await;
        #[cfg(all(feature = "objects", feature = "postgres"))]
        self.stop_copying();
        let begun = tokio::time::Instant::now();
        // Another caller may be waiting for the same end.
        let Ok(mut writer) = timeout(deadline, tasks.writer.lock()).await else {
            return Err(self.left());
        };
        if let Some(task) = writer.as_mut() {
            let is_over = timeout(deadline.saturating_sub(begun.elapsed()), &mut *task).await;
            if is_over.is_err() {
                task.abort();
            }
            *writer = None;
            // What the spool holds is left to the next process.
            Tasks::end(&tasks.keeper).await;
            self.inner.shared.set_spool(None);
            match is_over {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => return Err(self.left().with_source(error)),
                Err(_) => {}
            }
        }
        if self.inner.shared.waiting.load(Ordering::Relaxed) == 0 {
            Ok(())
        } else {
            Err(self.left())
        }
    }

    fn left(&self) -> Error {
        let left = self.inner.shared.waiting.load(Ordering::Relaxed);
        Error::new(
            ErrorKind::NotAcknowledged,
            format_args!("{left} audit entries were not written before the deadline"),
        )
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Whether the task that writes has ended and nobody asked it to.
    pub(crate) fn is_broken(&self) -> bool {
        let is_asked = self.inner.shared.is_shut_down.load(Ordering::Relaxed);
        self.inner.queue.is_abandoned() && !is_asked
    }
}

impl Inner {
    pub(crate) fn store(&self) -> &dyn SegmentStore {
        self.store.as_ref()
    }

    #[cfg(feature = "objects")]
    pub(crate) fn retention(&self) -> crate::config::ArchiveRetention {
        self.retention
    }

    #[cfg(feature = "objects")]
    pub(crate) fn lifecycle(&self) -> crate::config::LifecycleConfig {
        self.lifecycle
    }

    #[cfg(feature = "objects")]
    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    pub(crate) fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    #[cfg(feature = "objects")]
    pub(crate) fn limits(&self) -> crate::segment::SegmentLimits {
        self.limits
    }

    pub(crate) fn reader_roles(&self) -> &[String] {
        &self.reader_roles
    }

    pub(crate) fn keys(&self) -> Option<&dyn SubjectKeys> {
        self.keys.as_deref()
    }

    #[cfg(feature = "objects")]
    pub(crate) fn keeping(&self, holds: &crate::hold::Holds) -> crate::retention::Keeping {
        let (retention, lifecycle) = (self.retention, self.lifecycle);
        crate::retention::Keeping::new(retention, lifecycle, self.clock.now(), holds)
    }

    #[cfg(feature = "objects")]
    pub(crate) fn archive(&self) -> Option<&crate::archive::Archive> {
        self.archiver.as_deref().map(Archiver::archive)
    }
}
