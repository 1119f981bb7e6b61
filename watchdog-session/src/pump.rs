//! Moves events from the outbox to the audit sink, at least once.

use std::collections::BTreeSet;
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

/// Delivers the events of the buckets this process changed.
///
/// An event leaves the outbox when the sink has it. A process that dies leaves its events there;
/// the next change in the bucket, by whatever process, delivers them with its own.
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
    is_running: bool,
    is_failing: bool,
}

impl Pump {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        sink: Arc<dyn AuditSink>,
        keys: Arc<EventKeys>,
    ) -> Self {
        Self { store, sink, keys, state: Mutex::default(), gate: tokio::sync::Mutex::default() }
    }

    /// Says that a bucket has events, and starts the delivery unless it runs.
    pub(crate) fn wake(self: &Arc<Self>, bucket: u16) {
        let mut state = self.state();
        state.waiting.insert(bucket);
        if state.is_running {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            state.is_running = true;
            runtime.spawn(run(Arc::downgrade(self)));
        }
    }

    /// Delivers what waits. What fails waits on.
    pub(crate) async fn deliver(&self) -> Result<()> {
        let _one = self.gate.lock().await;
        loop {
            let Some(bucket) = self.state().waiting.pop_first() else {
                self.state().is_failing = false;
                return Ok(());
            };
            if let Err(error) = self.deliver_bucket(bucket).await {
                let mut state = self.state();
                state.waiting.insert(bucket);
                state.is_failing = true;
                return Err(error);
            }
        }
    }

    /// How many buckets wait, when the last delivery failed.
    pub(crate) fn failing(&self) -> Option<usize> {
        let state = self.state();
        state.is_failing.then_some(state.waiting.len())
    }

    async fn deliver_bucket(&self, bucket: u16) -> Result<()> {
        let mut after: Option<String> = None;
        loop {
            let batch = self.store.events(bucket, after.as_deref(), BATCH).await?;
            let mut delivered = Vec::with_capacity(batch.len());
            let mut failure = None;
            for stored in &batch {
                let Some(event) = &stored.event else {
                    // Of a newer release: a process of that release delivers it.
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
                return Ok(());
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
