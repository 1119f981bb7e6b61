//! The way into the queue of the writer.
//!
//! An entry has a place in the queue from when it is taken until it is numbered, and there are
//! [`QUEUE_ENTRIES`]. The end of an operation takes one where there is one, and does without where
//! there is none. That stays bounded: no operation begins while the queue is full, and those that
//! have begun had their entries in memory all along.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, WeakUnboundedSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio::time::timeout;
use watchdog_core::audit::Entry;

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::writer::{Job, closed};
use crate::log::{AuditLog, QUEUE_ENTRIES};
use crate::receipt::Receipt;
use crate::telemetry;

/// What the façade has of the queue.
#[derive(Debug)]
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    jobs: WeakUnboundedSender<Job>,
    /// Keeps the channel open until the log is shut down. After that it ends when the last
    /// operation that is under way has ended.
    open: Mutex<Option<UnboundedSender<Job>>>,
}

impl Queue {
    pub(crate) fn new() -> (Self, UnboundedReceiver<Job>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let places = Arc::new(Semaphore::new(QUEUE_ENTRIES));
        (Self { places, jobs: sender.downgrade(), open: Mutex::new(Some(sender)) }, receiver)
    }

    /// Takes no entry any more but the ends of operations.
    pub(crate) fn close(&self) {
        self.places.close();
        drop(self.open.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Whether nobody is there to write what comes.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.jobs.upgrade().is_some_and(|jobs| jobs.is_closed())
    }

    /// Where jobs go; the writer does not end as long as it is held.
    pub(crate) fn sender(&self) -> Result<UnboundedSender<Job>> {
        self.jobs.upgrade().filter(|jobs| !jobs.is_closed()).ok_or_else(closed)
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Saturated`] when there is none in time, [`ErrorKind::Closed`] after the end.
    pub(crate) async fn place(&self, limit: Duration) -> Result<OwnedSemaphorePermit> {
        match timeout(limit, Arc::clone(&self.places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(saturated()),
        }
    }
}

impl AuditLog {
    /// Records an entry and waits for its acknowledgement; `None` when a full queue dropped it.
    pub(crate) async fn record_or(&self, entry: Entry, on_full: OnFull) -> Result<Receipt> {
        let (ack, answer) = oneshot::channel();
        if self.enqueue(Job::new(entry, Some(ack)), on_full)? {
            self.wait(answer).await
        } else {
            Ok(self.unstored())
        }
    }

    /// Records the end of an operation, for which there is always room, and waits for its
    /// acknowledgement.
    pub(crate) async fn record_end(
        &self,
        entry: Entry,
        jobs: UnboundedSender<Job>,
    ) -> Result<Receipt> {
        let (ack, answer) = oneshot::channel();
        self.send_end(&jobs, Job::new(entry, Some(ack)))?;
        drop(jobs);
        self.wait(answer).await
    }

    /// Records the end of an operation that nobody waits for.
    pub(crate) fn record_unwatched(&self, entry: Entry, jobs: &UnboundedSender<Job>) {
        if let Err(error) = self.send_end(jobs, Job::new(entry, None)) {
            telemetry::refused(&error);
        }
    }

    fn send_end(&self, jobs: &UnboundedSender<Job>, job: Job) -> Result<()> {
        match Arc::clone(&self.inner.queue.places).try_acquire_owned() {
            Ok(place) => self.send(jobs, job.at(place)),
            Err(_) => self.send(jobs, job),
        }
    }

    fn send(&self, jobs: &UnboundedSender<Job>, job: Job) -> Result<()> {
        let waiting = &self.inner.shared.waiting;
        waiting.fetch_add(1, Ordering::Relaxed);
        jobs.send(job).map_err(|_| {
            waiting.fetch_sub(1, Ordering::Relaxed);
            closed()
        })
    }

    /// What is answered for an entry that is not stored.
    pub(crate) fn unstored(&self) -> Receipt {
        Receipt { writer: self.inner.writer, sequence: 0, partition: 0 }
    }

    /// Puts an entry into the queue; false when it was full and the entry is dropped.
    fn enqueue(&self, job: Job, on_full: OnFull) -> Result<bool> {
        let queue = &self.inner.queue;
        let jobs = queue.sender()?;
        match Arc::clone(&queue.places).try_acquire_owned() {
            Ok(place) => {
                self.send(&jobs, job.at(place))?;
                return Ok(true);
            }
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        match on_full {
            OnFull::Wait => {
                self.enqueue_later(job, jobs);
                Ok(true)
            }
            OnFull::Fail => Err(saturated()),
            OnFull::Drop => {
                self.inner.shared.dropped.count(job.entry.category);
                Ok(false)
            }
        }
    }

    /// A task of its own waits for a place: the caller's future may be dropped.
    fn enqueue_later(&self, job: Job, jobs: UnboundedSender<Job>) {
        let log = self.clone();
        log.inner.shared.waiting.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move {
            let (job, refused) = match log.inner.queue.place(log.inner.record_timeout).await {
                Ok(place) => match jobs.send(job.at(place)) {
                    Ok(()) => return,
                    Err(unsent) => (unsent.0, closed()),
                },
                Err(refused) => (job, refused),
            };
            log.inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
            if let Some(ack) = job.ack {
                let _ = ack.send(Err(refused));
            }
        });
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
}

fn saturated() -> Error {
    Error::new(ErrorKind::Saturated, "the queue of the audit log stayed full")
}
