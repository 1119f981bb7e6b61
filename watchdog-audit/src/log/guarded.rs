//! Operations: a place in the queue is kept for the end of each, and, when the log fails closed,
//! their begin is durable before they may go on.

use tokio::time::timeout;
use uuid::Uuid;
use watchdog_core::audit::{Actor, Category, Entry, Resource};

use crate::config::OnFull;
use crate::error::{Error, ErrorKind, Result};
use crate::log::AuditLog;
use crate::log::queue::saturated;
use crate::log::writer::closed;
use crate::operation::Operation;

/// The detail that ties the entries of one operation together.
const OPERATION: &str = "operation";
/// The detail that tells the begin of an operation from its end.
const PHASE: &str = "phase";

impl AuditLog {
    /// Begins an operation and keeps a place in the queue for its entry.
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
        let place = inner.queue.clone().reserve_owned();
        let permit = match timeout(inner.record_timeout, place).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(closed()),
            Err(_) => return Err(saturated()),
        };
        if !inner.fail_closed {
            return Ok(Operation::new(self.clone(), entry, Some(permit)));
        }
        let entry = entry.with_detail(OPERATION, Uuid::now_v7().to_string());
        let mut begun = entry.clone().with_detail(PHASE, "begun");
        begun.id = Uuid::now_v7();
        match self.record_or(begun, OnFull::Wait).await {
            Ok(_) => {
                let entry = entry.with_detail(PHASE, "ended");
                Ok(Operation::new(self.clone(), entry, Some(permit)))
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
