//! The key of an entry: at hand, or waited for beside the other entries.
//!
//! Nothing personal leaves the process in clear, so an entry whose key cannot be had stays in memory,
//! in its place in the queue, and nobody is told that it is recorded. A caller that waits is refused
//! after a while. An entry whose caller was told that it is kept, or that has none, is kept.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout};
use watchdog_core::audit::{Actor, Entry};

use crate::error::{Error, ErrorKind, Result};
use crate::log::writer::{FIRST_PAUSE, Job, LONGEST_PAUSE, Writer};
use crate::personal::{SubjectKey, SubjectKeys};
use crate::telemetry;

/// An entry with its key, or why it has none.
pub(super) type Asked = (Job, Result<SubjectKey>);

impl Writer {
    /// What is to be numbered next.
    pub(super) fn next_job(&mut self, queue: &mut UnboundedReceiver<Job>) -> Option<Job> {
        while let Some(asked) = self.asking.try_join_next() {
            if let Some(job) = self.asked(asked) {
                return Some(job);
            }
        }
        queue.try_recv().ok()
    }

    /// The entry with its key, if that is at hand; else it waits for it, and others go on.
    pub(super) async fn with_key(&mut self, job: Job) -> Option<Job> {
        let Some(keys) = self.keys.as_ref().filter(|_| job.key.is_none()) else {
            return Some(job);
        };
        let mut asking = Box::pin(ask(Arc::clone(keys), self.key_patience, job));
        let first = std::future::poll_fn(|context| Poll::Ready(asking.as_mut().poll(context)));
        match first.await {
            Poll::Ready(asked) => self.asked(Ok(asked)),
            Poll::Pending => {
                self.asking.spawn(asking);
                None
            }
        }
    }

    /// The entry with its key; `None` when there is none, and its caller was told.
    pub(super) fn asked(&self, asked: Result<Asked, JoinError>) -> Option<Job> {
        match asked {
            Ok((job, Ok(key))) => Some(Job { key: Some(key), ..job }),
            Ok((job, Err(error))) => {
                telemetry::refused(&error);
                self.answer(job.ack, Err(error));
                None
            }
            Err(panicked) => {
                tracing::error!(%panicked, "the source of subject keys panicked");
                self.answer(None, Err(unsealed()));
                None
            }
        }
    }

    /// The key of an entry of the log itself.
    pub(super) async fn key_of(&self, entry: &Entry) -> Result<Option<SubjectKey>> {
        match &self.keys {
            Some(keys) => current(keys.as_ref(), &entry.actor, self.key_patience).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Waits for the key of an entry; while somebody waits for the entry, no longer than that.
async fn ask(keys: Arc<dyn SubjectKeys>, patience: Duration, job: Job) -> Asked {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match current(keys.as_ref(), &job.entry.actor, patience).await {
            Err(error) if error.is_retryable() => error,
            outcome => return (job, outcome),
        };
        let is_awaited = job.ack.as_ref().is_some_and(|ack| !ack.is_closed());
        let left = patience.saturating_sub(begun.elapsed());
        if is_awaited && left.is_zero() {
            return (job, Err(unsealed().with_source(error)));
        }
        tokio::time::sleep(if is_awaited { pause.min(left) } else { pause }).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn current(keys: &dyn SubjectKeys, subject: &Actor, limit: Duration) -> Result<SubjectKey> {
    timeout(limit, keys.current(subject)).await.unwrap_or_else(|_| {
        let context = format_args!("a subject's key was not given within {} ms", limit.as_millis());
        Err(Error::new(ErrorKind::Unavailable, context))
    })
}

fn unsealed() -> Error {
    let text = "an entry was not taken: its personal fields cannot be sealed, because the vault of \
                subject keys does not answer";
    Error::new(ErrorKind::Unavailable, text)
}
