//! One request from its arrival to its entry, which is made once, whichever way it ends.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use watchdog_core::Timestamp;
use watchdog_core::audit::{Entry, Outcome, Resource};

use super::context::Context;
use super::policy::{Ending, Policy, Treatment, method_name};
use super::telemetry;
use crate::error::Result;
use crate::log::AuditLog;
use crate::operation::Operation;

/// What the layer knows of all requests.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: AuditLog,
    pub(super) policy: Policy,
}

/// One request under way. Dropped before it has ended, it is recorded as cancelled or panicked.
#[derive(Debug)]
pub(super) struct Exchange {
    shared: Arc<Shared>,
    context: Context,
    method: Method,
    route: String,
    treatment: Treatment,
    started_at: Timestamp,
    started: Instant,
    /// How long the answer took, once there is one.
    took: Option<Duration>,
    /// What was begun before the handler, of a request that may change something.
    operation: Option<Operation>,
    is_over: bool,
}

impl Exchange {
    pub(super) fn new(
        shared: Arc<Shared>,
        context: Context,
        method: Method,
        route: String,
        treatment: Treatment,
    ) -> Self {
        Self {
            started_at: shared.log.inner().clock().now(),
            shared,
            context,
            method,
            route,
            treatment,
            started: Instant::now(),
            took: None,
            operation: None,
            is_over: false,
        }
    }

    /// Begins the entry, so that a log that cannot take it refuses the request beforehand.
    pub(super) async fn begin(&mut self) -> Result<()> {
        let operation = self.shared.log.begin_entry(self.blank()).await;
        // Nothing happened, and nothing is to be said about it.
        self.is_over = operation.is_err();
        self.operation = Some(operation?);
        Ok(())
    }

    /// Nothing is to be recorded.
    pub(super) fn forget(&mut self) {
        self.is_over = true;
    }

    /// The answer is there.
    pub(super) fn answered(&mut self) {
        self.took.get_or_insert_with(|| self.started.elapsed());
    }

    /// Records how it ended and waits for the acknowledgement.
    pub(super) async fn acknowledge(mut self, ending: Ending) -> Result<()> {
        let outcome = ending.outcome();
        if !self.is_taken(outcome) {
            return Ok(());
        }
        self.is_over = true;
        match self.operation.take() {
            Some(mut operation) => {
                self.finish(&mut operation, ending);
                operation.end(outcome).await?;
            }
            None => {
                self.shared.log.record(self.entry(ending)).await?;
            }
        }
        telemetry::recorded(outcome);
        Ok(())
    }

    /// Hands the log how it ended, and waits for nothing.
    pub(super) fn queue(mut self, ending: Ending) {
        self.hand_over(ending);
    }

    fn hand_over(&mut self, ending: Ending) {
        let outcome = ending.outcome();
        if !self.is_taken(outcome) {
            return;
        }
        self.is_over = true;
        match self.operation.take() {
            Some(mut operation) => {
                self.finish(&mut operation, ending);
                operation.end_unwatched(outcome);
                telemetry::recorded(outcome);
            }
            None => enqueue(&self.shared.log, self.entry(ending), outcome),
        }
    }

    /// Whether a request that ended so is recorded; counted when it is not.
    fn is_taken(&mut self, outcome: Outcome) -> bool {
        let rate = self.shared.policy.rate(self.treatment, &self.route, outcome);
        let is_taken = rate.takes(self.context.request_id());
        if !is_taken {
            self.is_over = true;
            telemetry::sampled_out(outcome);
        }
        is_taken
    }

    fn blank(&self) -> Entry {
        let category = self.shared.policy.category(&self.route);
        let action = format!("http.{}", method_name(&self.method));
        let route = Resource::new("route", &self.route);
        self.context.entry(self.started_at, category, action, route)
    }

    fn entry(&self, ending: Ending) -> Entry {
        let mut entry = self.blank().with_outcome(ending.outcome());
        self.describe(&mut entry, ending);
        let rate = self.shared.policy.rate(self.treatment, &self.route, ending.outcome());
        if rate.share() < 1.0 {
            entry.details.insert("rate".into(), rate.share().into());
        }
        entry
    }

    /// Completes what was begun with what is known by now.
    fn finish(&self, operation: &mut Operation, ending: Ending) {
        if let Some(entry) = operation.entry_mut() {
            entry.actor = self.context.actor();
            entry.client = self.context.client();
            self.describe(entry, ending);
        }
    }

    fn describe(&self, entry: &mut Entry, ending: Ending) {
        let took = self.took.unwrap_or_else(|| self.started.elapsed());
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        entry.details.insert("latency_ms".into(), (f64::from(micros) / 1000.0).into());
        if let Some(status) = ending.status() {
            entry.details.insert("status".into(), status.as_u16().into());
        }
        if let Some(name) = ending.name() {
            entry.details.insert("ended".into(), name.into());
        }
    }

    /// Whether the answer goes although the log did not acknowledge.
    pub(super) fn is_answered_anyway(&self) -> bool {
        self.shared.policy.is_answered_anyway(&self.route)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.is_over {
            let is_panic = std::thread::panicking();
            self.hand_over(if is_panic { Ending::Panicked } else { Ending::Cancelled });
        }
    }
}

/// Hands an entry to the log: from the first poll on it is the log's.
fn enqueue(log: &AuditLog, entry: Entry, outcome: Outcome) {
    // Without a runtime there is nobody to write it either.
    if tokio::runtime::Handle::try_current().is_err() {
        telemetry::lost(&"there is no runtime any more");
        return;
    }
    let mut recording = std::pin::pin!(log.record(entry));
    match recording.as_mut().poll(&mut TaskContext::from_waker(Waker::noop())) {
        Poll::Ready(Err(error)) => telemetry::lost(&error),
        Poll::Ready(Ok(_)) | Poll::Pending => telemetry::recorded(outcome),
    }
}

/// Whether an answer of this kind has no body that anybody waits for (RFC 9110, section 6.4.1).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
