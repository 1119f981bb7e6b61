//! Operations: each begins only while the queue has a place, its end is always taken, and, when the
//! log fails closed, its begin is durable before it may go on.

use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::operation::Operation;

/// The detail that ties the entries of one operation together.
const OPERATION: &str = "operation";
/// The detail that tells the begin of an operation from its end.
const PHASE: &str = "phase";

impl AuditLog {
    /// Begins an operation.
    ///
    /// It takes no place in the queue while it is under way, however many there are. While the queue
    /// is full none begins, whatever [`FullQueue`](crate::FullQueue) says; the end of one that has
    /// begun is neither refused nor dropped for a full queue.
    ///
    /// With [`AuditConfig::fail_closed`](crate::AuditConfig::fail_closed) an entry with the outcome
    /// `unknown` and the detail `phase`: `begun` is as durable as
    /// [`Durability`](crate::Durability) asks before this returns. The entry of the end has the same
    /// detail `operation` and the `phase` `ended`; where there is none, the process was killed in
    /// between, and what became of the operation is unknown.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Saturated`] when the queue stays full, [`ErrorKind::Closed`] after
    /// [`shutdown`](Self::shutdown). With `fail_closed` [`ErrorKind::Unavailable`] when the begin
    /// could not be made durable: the operation must not be done.
    pub async fn begin(
        &self,
        category: Category,
        actor: Actor,
        action: impl Into<String>,
        resource: Resource,
    ) -> Result<Operation> {
        let now = self.inner.clock.now();
        self.begin_entry(Entry::new(Uuid::now_v7(), now, category, actor, action, resource)).await
    }

    /// Begins an operation whose entry says more: from where it came, in which request.
    ///
    /// # Errors
    ///
    /// As of [`begin`](Self::begin).
    pub async fn begin_entry(&self, entry: Entry) -> Result<Operation> {
        let inner = &self.inner;
        if !inner.is_enabled {
            return Ok(Operation::new(self.clone(), entry, None));
        }
        let jobs = inner.queue.sender()?;
        if !inner.fail_closed {
            // What could not be written now is refused before it is done.
            drop(inner.queue.place(inner.record_timeout).await?);
            return Ok(Operation::new(self.clone(), entry, Some(jobs)));
        }
        let entry = entry.with_detail(OPERATION, Uuid::now_v7().to_string());
        let mut begun = entry.clone().with_detail(PHASE, "begun");
        begun.id = Uuid::now_v7();
        match self.record_or(begun, OnFull::Wait).await {
            Ok(_) => {
                let entry = entry.with_detail(PHASE, "ended");
                Ok(Operation::new(self.clone(), entry, Some(jobs)))
            }
            Err(error) if error.kind() == ErrorKind::Closed => Err(error),
            Err(error) => Err(Error::new(
                ErrorKind::Unavailable,
                "the begin of the operation could not be recorded: it is refused",
            )
            .with_source(error)),
        }
    }
}
