//! The way into the queue of the writer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::{OwnedPermit, error::TrySendError};
use tokio::sync::oneshot;
use tokio::time::timeout;
use watchdog_core::audit::Entry;

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::log::writer::{Job, closed};
use crate::receipt::Receipt;

impl AuditLog {
    /// Records an entry and waits for its acknowledgement; `None` when a full queue dropped it.
    pub(crate) async fn record_or(&self, entry: Entry, on_full: OnFull) -> Result<Receipt> {
        let (ack, answer) = oneshot::channel();
        if self.enqueue(Job { entry, ack: Some(ack) }, on_full)? {
            self.wait(answer).await
        } else {
            Ok(self.unstored())
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

    /// What is answered for an entry that is not stored.
    pub(crate) fn unstored(&self) -> Receipt {
        Receipt { writer: self.inner.writer, sequence: 0, partition: 0 }
    }

    /// Puts an entry into the queue; false when it was full and the entry is dropped.
    fn enqueue(&self, job: Job, on_full: OnFull) -> Result<bool> {
        let inner = &self.inner;
        inner.shared.waiting.fetch_add(1, Ordering::Relaxed);
        let full = match inner.queue.try_send(job) {
            Ok(()) => return Ok(true),
            Err(TrySendError::Closed(_)) => {
                inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                return Err(closed());
            }
            Err(TrySendError::Full(job)) => job,
        };
        match on_full {
            OnFull::Wait => {
                self.enqueue_later(full);
                Ok(true)
            }
            OnFull::Fail => {
                inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                Err(saturated())
            }
            OnFull::Drop => {
                inner.shared.waiting.fetch_sub(1, Ordering::Relaxed);
                inner.shared.dropped.count(full.entry.category);
                Ok(false)
            }
        }
    }

    /// A task of its own waits for a place: the caller's future may be dropped.
    fn enqueue_later(&self, job: Job) {
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

pub(crate) fn saturated() -> Error {
    Error::new(ErrorKind::Saturated, "the queue of the audit log stayed full")
}
