//! Moves events from the outbox to the audit sink, at least once.

mod sweep;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use watchdog_core::AuditSink;

use crate::error::Result;
use crate::event::EventKeys;
use crate::store::SessionStore;
use crate::telemetry;

const BATCH: u32 = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Delivers the events of the buckets this process changed, and now and then of all buckets.
///
/// An event leaves the outbox when the sink has it. A process that dies leaves its events there;
/// the next change in the bucket or the next sweep, by whatever process, delivers them.
#[derive(Debug)]
pub(crate) struct Pump {
    store: Arc<dyn SessionStore>,
    sink: Arc<dyn AuditSink>,
    keys: Arc<EventKeys>,
    state: Mutex<State>,
    /// One delivery at a time: two would offer the same events twice.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<u16>,
    /// What stays behind in a bucket, as of the last look into it.
    left: BTreeMap<u16, Left>,
    is_running: bool,
    is_sweeping: bool,
    is_failing: bool,
}

/// Events that a delivery leaves in the outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    refused: u32,
    unread: u32,
}

/// What is not delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Buckets that wait, when the last delivery failed.
    pub(crate) buckets: u32,
    /// Events that the sink will never take.
    pub(crate) refused: u32,
    /// Events that only a newer release can read.
    pub(crate) unread: u32,
}

impl Pump {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        sink: Arc<dyn AuditSink>,
        keys: Arc<EventKeys>,
    ) -> Self {
        Self { store, sink, keys, state: Mutex::default(), gate: tokio::sync::Mutex::default() }
    }

    /// Says that a bucket may have events, and starts the delivery unless it runs.
    pub(crate) fn wake(self: &Arc<Self>, bucket: u16) {
        self.state().waiting.insert(bucket);
        self.start();
    }

    fn start(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut state = self.state();
        if !state.is_running && !state.waiting.is_empty() {
            state.is_running = true;
            runtime.spawn(run(Arc::downgrade(self)));
        }
        if !state.is_sweeping {
            state.is_sweeping = true;
            runtime.spawn(sweep::run(Arc::downgrade(self)));
        }
    }

    /// Delivers what waits, each bucket once, whatever becomes of the others. What fails waits on.
    pub(crate) async fn deliver(&self) -> Result<()> {
        let _one = self.gate.lock().await;
        let mut failed = BTreeSet::new();
        let mut first = None;
        while let Some(taken) = self.take_except(&failed) {
            match self.deliver_bucket(taken.bucket).await {
                Ok(left) => taken.delivered(left),
                Err(error) => {
                    failed.insert(taken.bucket);
                    first.get_or_insert(error);
                }
            }
        }
        self.state().is_failing = !failed.is_empty();
        first.map_or(Ok(()), Err)
    }

    /// What is not delivered, as far as this process knows.
    pub(crate) fn backlog(&self) -> Backlog {
        let state = self.state();
        let waiting = u32::try_from(state.waiting.len()).unwrap_or(u32::MAX);
        let mut backlog =
            Backlog { buckets: if state.is_failing { waiting } else { 0 }, ..Backlog::default() };
        for left in state.left.values() {
            backlog.refused = backlog.refused.saturating_add(left.refused);
            backlog.unread = backlog.unread.saturating_add(left.unread);
        }
        backlog
    }

    fn take_except(&self, failed: &BTreeSet<u16>) -> Option<Taken<'_>> {
        let mut state = self.state();
        let bucket = state.waiting.difference(failed).next().copied()?;
        state.waiting.remove(&bucket);
        Some(Taken { pump: self, bucket, is_delivered: false })
    }

    async fn deliver_bucket(&self, bucket: u16) -> Result<Left> {
        let mut after: Option<String> = None;
        let mut left = Left::default();
        loop {
            let batch = self.store.events(bucket, after.as_deref(), BATCH).await?;
            let mut delivered = Vec::with_capacity(batch.len());
            let mut failure = None;
            for stored in &batch {
                let Some(event) = &stored.event else {
                    // Of a newer release: a process of that release delivers it.
                    left.unread += 1;
                    telemetry::event("unread");
                    continue;
                };
                match self.sink.record(self.keys.entry(bucket, event)).await {
                    Ok(()) => delivered.push(&*stored.handle),
                    Err(error) if error.is_retryable() => {
                        failure = Some(error);
                        break;
                    }
                    Err(error) => {
                        left.refused += 1;
                        telemetry::event("refused");
                        tracing::error!(%error, action = event.action, "the audit sink refused a session event; it stays in the outbox");
                    }
                }
            }
            self.store.acknowledge(bucket, &delivered).await?;
            for _ in &delivered {
                telemetry::event("delivered");
            }
            if let Some(error) = failure {
                return Err(error.into());
            }
            if batch.len() < BATCH as usize {
                return Ok(left);
            }
            after = batch.last().map(|stored| stored.handle.clone());
        }
    }

    /// Ends the background delivery when nothing waits.
    fn stop_if_idle(&self) -> bool {
        let mut state = self.state();
        state.is_running = !state.waiting.is_empty();
        !state.is_running
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A bucket whose events are being delivered. It goes back to those that wait when the delivery
/// fails or is given up half-way.
struct Taken<'a> {
    pump: &'a Pump,
    bucket: u16,
    is_delivered: bool,
}

impl Taken<'_> {
    fn delivered(mut self, left: Left) {
        self.is_delivered = true;
        let mut state = self.pump.state();
        if left == Left::default() {
            state.left.remove(&self.bucket);
        } else {
            state.left.insert(self.bucket, left);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.is_delivered {
            self.pump.state().waiting.insert(self.bucket);
        }
    }
}

/// Says that nobody delivers any more, also when a runtime drops the task half-way.
struct Running(Weak<Pump>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(pump) = self.0.upgrade() {
            pump.state().is_running = false;
        }
    }
}

async fn run(pump: Weak<Pump>) {
    let _running = Running(Weak::clone(&pump));
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(pump) = pump.upgrade() else { return };
        match pump.deliver().await {
            Ok(()) => pause = FIRST_PAUSE,
            Err(error) => {
                tracing::warn!(%error, "session events wait for the audit sink");
                drop(pump);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                continue;
            }
        }
        if pump.stop_if_idle() {
            return;
        }
    }
}
