//! An operation that is recorded when it ends, whichever way it ends.

use tokio::sync::mpsc::UnboundedSender;
use watchdog_core::audit::{Actor, Client, Entry, Outcome, Resource};

use crate::error::Result;
use crate::log::{AuditLog, Job};
use crate::receipt::Receipt;

/// An operation under way, from [`AuditLog::begin`].
///
/// Say how it ended with [`succeed`](Self::succeed), [`fail`](Self::fail) or [`deny`](Self::deny).
/// One that is dropped, because its future was cancelled or its code panicked, is recorded with
/// the outcome `unknown`.
///
/// Its end is taken also when the queue is full, and after [`AuditLog::shutdown`] was called, which
/// waits for it. It is lost only with the process, or after the deadline of the shutdown; to know of
/// that, too, let the log fail closed, or wait for the acknowledgement.
#[derive(Debug)]
#[must_use = "an operation that is dropped is recorded as unknown"]
pub struct Operation {
    log: AuditLog,
    /// Taken when the operation ends.
    entry: Option<Entry>,
    /// Where its end goes. `None` on a log that is switched off.
    jobs: Option<UnboundedSender<Job>>,
}

impl Operation {
    pub(crate) fn new(log: AuditLog, entry: Entry, jobs: Option<UnboundedSender<Job>>) -> Self {
        Self { log, entry: Some(entry), jobs }
    }

    /// What is going to be recorded. `None` when the log is switched off.
    #[cfg(feature = "axum")]
    pub(crate) fn entry_mut(&mut self) -> Option<&mut Entry> {
        self.entry.as_mut()
    }

    /// Ends it without waiting for the store.
    #[cfg(feature = "axum")]
    pub(crate) fn end_unwatched(mut self, outcome: Outcome) {
        if let (Some(entry), Some(jobs)) = (self.entry.take(), self.jobs.take()) {
            self.log.record_unwatched(entry.with_outcome(outcome), &jobs);
        }
    }

    /// Adds a detail.
    pub fn detail(&mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) {
        if let Some(entry) = &mut self.entry {
            entry.details.insert(name.into(), value.into());
        }
    }

    /// Sets who did it, where that is known only now.
    pub fn actor(&mut self, actor: Actor) {
        if let Some(entry) = &mut self.entry {
            entry.actor = actor;
        }
    }

    /// Sets what it was done to, where that is known only now.
    pub fn resource(&mut self, resource: Resource) {
        if let Some(entry) = &mut self.entry {
            entry.resource = resource;
        }
    }

    /// Sets from where it came.
    pub fn client(&mut self, client: Client) {
        if let Some(entry) = &mut self.entry {
            entry.client = client;
        }
    }

    /// It was done.
    ///
    /// # Errors
    ///
    /// As of [`AuditLog::record`].
    pub async fn succeed(self) -> Result<Receipt> {
        self.end(Outcome::Success).await
    }

    /// It was allowed and did not work.
    ///
    /// # Errors
    ///
    /// As of [`AuditLog::record`].
    pub async fn fail(self) -> Result<Receipt> {
        self.end(Outcome::Failure).await
    }

    /// It was refused by a rule.
    ///
    /// # Errors
    ///
    /// As of [`AuditLog::record`].
    pub async fn deny(self) -> Result<Receipt> {
        self.end(Outcome::Denied).await
    }

    /// It ended so.
    ///
    /// # Errors
    ///
    /// As of [`AuditLog::record`], but never [`ErrorKind::Saturated`](crate::ErrorKind::Saturated).
    pub async fn end(mut self, outcome: Outcome) -> Result<Receipt> {
        let entry = self.entry.take().map(|entry| entry.with_outcome(outcome));
        match (entry, self.jobs.take()) {
            (Some(entry), Some(jobs)) => self.log.record_end(entry, jobs).await,
            _ => Ok(self.log.unstored()),
        }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if let (Some(entry), Some(jobs)) = (self.entry.take(), self.jobs.take()) {
            self.log.record_unwatched(entry.with_outcome(Outcome::Unknown), &jobs);
        }
    }
}
