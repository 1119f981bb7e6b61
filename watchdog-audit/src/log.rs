//! The façade: what an application records with, archives, verifies and queries.

mod builder;
#[cfg(all(feature = "objects", feature = "postgres"))]
mod copy;
mod loss;
mod sink;
mod tend;
mod writer;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, OwnedPermit, error::TrySendError};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;
use watchdog_core::Clock;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

#[cfg(feature = "objects")]
use crate::archiver::{Archived, Archiver};
use crate::error::{Error, ErrorKind, Result};
use crate::operation::Operation;
use crate::personal::SubjectKeys;
use crate::receipt::Receipt;
use crate::store::SegmentStore;
#[cfg(feature = "objects")]
use crate::verify::Verification;
use crate::writer_id::WriterId;

pub use builder::AuditLogBuilder;
pub use sink::AuditHealth;
pub(crate) use writer::Job;
use writer::{Shared, closed};

/// Entries that wait for a batch at most; a caller that finds the queue full waits.
pub const QUEUE_ENTRIES: usize = 8192;

/// The audit log of a process.
///
/// A clone is the same log. See the [crate's front page](crate) for what it guarantees.
#[derive(Clone)]
pub struct AuditLog {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    store: Arc<dyn SegmentStore>,
    keys: Option<Arc<dyn SubjectKeys>>,
    clock: Arc<dyn Clock>,
    record_timeout: Duration,
    is_enabled: bool,
    writer: WriterId,
    #[cfg(feature = "objects")]
    archiver: Option<Archiver>,
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
    tasks: Tasks,
}

#[derive(Debug, Default)]
struct Tasks {
    /// Held while somebody waits for its end.
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    tend: Mutex<Option<JoinHandle<()>>>,
    #[cfg(all(feature = "objects", feature = "postgres"))]
    copy: Mutex<Option<JoinHandle<()>>>,
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

    /// Records an entry and waits until the store has acknowledged it.
    ///
    /// From the first poll on, dropping the future does not drop the entry. An entry with the id
    /// of one of the last [`REMEMBERED_ENTRIES`](crate::REMEMBERED_ENTRIES) that this process
    /// recorded is the same entry: it is not stored twice, and its receipt is answered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAcknowledged`] when the store does not answer in time: the entry is kept
    /// and written when the store is back. [`ErrorKind::Saturated`] when the queue stayed full and
    /// the entry was not taken. [`ErrorKind::TooLarge`] over 64 KiB, [`ErrorKind::Misuse`] for a detail nested
    /// deeper than [`MAX_DETAIL_DEPTH`](crate::MAX_DETAIL_DEPTH), [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown).
    pub async fn record(&self, entry: Entry) -> Result<Receipt> {
        if !self.inner.is_enabled {
            return Ok(self.unstored());
        }
        let (ack, answer) = oneshot::channel();
        self.enqueue(Job { entry, ack: Some(ack) })?;
        self.wait(answer).await
    }

    /// Begins an operation and keeps a place in the queue for its entry.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Saturated`] when the queue stays full, [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown).
    pub async fn begin(
        &self,
        category: Category,
        actor: Actor,
        action: impl Into<String>,
        resource: Resource,
    ) -> Result<Operation> {
        let now = self.inner.clock.now();
        let entry = Entry::new(Uuid::now_v7(), now, category, actor, action, resource);
        if !self.inner.is_enabled {
            return Ok(Operation::new(self.clone(), entry, None));
        }
        let place = self.inner.queue.clone().reserve_owned();
        match timeout(self.inner.record_timeout, place).await {
            Ok(Ok(permit)) => Ok(Operation::new(self.clone(), entry, Some(permit))),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(saturated()),
        }
    }

    /// The id this process writes under.
    pub fn writer(&self) -> WriterId {
        self.inner.writer
    }

    /// The store behind the log.
    pub fn store(&self) -> &Arc<dyn SegmentStore> {
        &self.inner.store
    }

    /// Seals every open segment that holds something and archives every sealed one, now.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misuse`] without an archive, [`ErrorKind::Busy`] when another process archives
    /// and does not end within ten seconds, else as of store and bucket. Calling again resumes.
    #[cfg(feature = "objects")]
    pub async fn seal_and_archive(&self) -> Result<Archived> {
        self.archiver()?.run_now().await
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
            .as_ref()
            .ok_or_else(|| Error::new(ErrorKind::Misuse, "the audit log has no archive"))
    }

    /// Stops taking entries, writes what was taken, and waits for it until the deadline.
    ///
    /// Operations that are under way are waited for as well. Who calls while another waits, waits
    /// for the same end.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAcknowledged`] when entries are left at the deadline; they are lost, and the
    /// error says how many.
    pub async fn shutdown(&self, deadline: Duration) -> Result<()> {
        self.inner.shared.closing.notify_one();
        let tasks = &self.inner.tasks;
        let tend = tasks.tend.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tend) = tend {
            tend.abort();
        }
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
            if is_over.is_ok() {
                return Ok(());
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

    fn enqueue(&self, job: Job) -> Result<()> {
        self.inner.shared.waiting.fetch_add(1, Ordering::Relaxed);
        match self.inner.queue.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => {
                self.inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(closed())
            }
            Err(TrySendError::Full(job)) => {
                // A task of its own waits for a place: the caller's future may be dropped.
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    let refused = match timeout(inner.record_timeout, inner.queue.reserve()).await {
                        Ok(Ok(permit)) => return permit.send(job),
                        Ok(Err(_)) => closed(),
                        Err(_) => saturated(),
                    };
                    inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                    if let Some(ack) = job.ack {
                        let _ = ack.send(Err(refused));
                    }
                });
                Ok(())
            }
        }
    }

    pub(crate) async fn record_with(
        &self,
        entry: Entry,
        permit: OwnedPermit<Job>,
    ) -> Result<Receipt> {
        let (ack, answer) = oneshot::channel();
        self.inner.shared.waiting.fetch_add(1, Ordering::Relaxed);
        permit.send(Job { entry, ack: Some(ack) });
        self.wait(answer).await
    }

    pub(crate) fn record_unwatched(&self, entry: Entry, permit: OwnedPermit<Job>) {
        self.inner.shared.waiting.fetch_add(1, Ordering::Relaxed);
        permit.send(Job { entry, ack: None });
    }

    pub(crate) fn unstored(&self) -> Receipt {
        Receipt { writer: self.inner.writer, sequence: 0, partition: 0 }
    }

    async fn wait(&self, answer: oneshot::Receiver<Result<Receipt>>) -> Result<Receipt> {
        // A place in the queue and the acknowledgement may each take the whole time.
        let limit = self.inner.record_timeout * 2;
        match timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(Error::new(
                ErrorKind::NotAcknowledged,
                format_args!(
                    "the store did not acknowledge an entry within {} ms; it is kept and written \
                     when the store is back",
                    limit.as_millis()
                ),
            )),
        }
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
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

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    pub(crate) fn keys(&self) -> Option<&dyn SubjectKeys> {
        self.keys.as_deref()
    }

    #[cfg(feature = "objects")]
    pub(crate) fn keeping(&self) -> crate::verify::Keeping {
        crate::verify::Keeping { retention: self.retention, now: self.clock.now() }
    }

    #[cfg(feature = "objects")]
    pub(crate) fn archive(&self) -> Option<&crate::archive::Archive> {
        self.archiver.as_ref().map(Archiver::archive)
    }
}

fn saturated() -> Error {
    Error::new(ErrorKind::Saturated, "the queue of the audit log stayed full")
}
