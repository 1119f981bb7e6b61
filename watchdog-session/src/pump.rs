//! Moves events from the outbox to the audit sink, at least once.

mod offer;
mod sweep;
#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use watchdog_core::AuditSink;

use crate::error::{Error, ErrorKind, Result};
use crate::event::EventKeys;
use crate::store::SessionStore;

const BATCH: u32 = 100;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long a caller waits for a delivery at most.
const LONGEST_DELIVERY: Duration = Duration::from_secs(10);
/// How long one process may hold events before another takes them over.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(30);

/// Delivers the events of the buckets this process changed, and now and then of all buckets.
///
/// A process claims events, offers them to the sink, and acknowledges those that the sink has: only
/// then do they leave the outbox. Events of a process that died are claimed by another one.
#[derive(Debug)]
pub(crate) struct Pump {
    store: Arc<dyn SessionStore>,
    sink: Arc<dyn AuditSink>,
    keys: Arc<EventKeys>,
    /// Who claims: a random name.
    consumer: String,
    takeover: Duration,
    state: Mutex<State>,
    /// One delivery at a time: two would offer the same events twice.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<u16>,
    /// What stays behind in a bucket, as of the last look into it.
    left: BTreeMap<u16, Left>,
    /// Buckets in which something waited at the last look, and how many events they had dropped.
    seen: BTreeMap<u16, u64>,
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
    /// Events that found no room in the outbox, as of the last look.
    pub(crate) dropped: u64,
}

impl Pump {
    pub(crate) fn new(
        store: Arc<dyn SessionStore>,
        sink: Arc<dyn AuditSink>,
        keys: Arc<EventKeys>,
        takeover: Duration,
    ) -> Self {
        Self {
            store,
            sink,
            keys,
            consumer: uuid::Uuid::new_v4().simple().to_string(),
            takeover,
            state: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        }
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

    /// [`deliver`](Self::deliver) for a caller who cannot wait for ever.
    pub(crate) async fn deliver_in_time(&self) -> Result<()> {
        in_time(self.deliver()).await
    }

    /// [`sweep`](Self::sweep) for a caller who cannot wait for ever.
    pub(crate) async fn sweep_in_time(&self) -> Result<()> {
        in_time(self.sweep()).await
    }

    /// Delivers what waits, each bucket once, whatever becomes of the others. What fails waits on.
    pub(crate) async fn deliver(&self) -> Result<()> {
        let _one = self.gate.lock().await;
        let mut failed = BTreeSet::new();
        let mut first = None;
        while let Some(taken) = self.take_except(&failed) {
            match self.deliver_bucket(taken.bucket).await {
                Ok(left) => {
                    let left = self.left_with_others(taken.bucket, left).await;
                    taken.delivered(left);
                }
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
        backlog.dropped = state.seen.values().fold(0, |sum, dropped| sum.saturating_add(*dropped));
        backlog
    }

    fn take_except(&self, failed: &BTreeSet<u16>) -> Option<Taken<'_>> {
        let mut state = self.state();
        let bucket = state.waiting.difference(failed).next().copied()?;
        state.waiting.remove(&bucket);
        Some(Taken { pump: self, bucket, is_delivered: false })
    }

    async fn deliver_bucket(&self, bucket: u16) -> Result<Left> {
        let mut left = Left::default();
        let mut offered = HashSet::new();
        loop {
            let mut batch = self.store.claim(bucket, &self.consumer, BATCH, self.takeover).await?;
            let is_last = batch.len() < BATCH as usize;
            // What was set aside in this very round may be handed out again; it has its turn later.
            batch.retain(|stored| offered.insert(stored.handle.clone()));
            if batch.is_empty() {
                return Ok(left);
            }
            let offer = self.offer(bucket, &batch).await;
            left.add(offer.left);
            self.store.acknowledge(bucket, &offer.delivered).await?;
            if !offer.aside.is_empty() {
                self.store.postpone(bucket, &offer.aside).await?;
            }
            if let Some(error) = offer.failure {
                // Is the bucket full by now?
                self.look(bucket).await?;
                return Err(error.into());
            }
            if is_last {
                return Ok(left);
            }
        }
    }

    /// What a round left, with what earlier rounds set aside and this one was not given again.
    async fn left_with_others(&self, bucket: u16, left: Left) -> Left {
        let (known, is_seen) = {
            let state = self.state();
            (state.left.get(&bucket).copied(), state.seen.contains_key(&bucket))
        };
        if known.is_none() && !is_seen {
            return left;
        }
        let known = known.unwrap_or_default();
        match self.look(bucket).await {
            Ok(waiting) => {
                let most = u32::try_from(waiting.events).unwrap_or(u32::MAX);
                Left {
                    refused: left.refused.max(known.refused).min(most),
                    unread: left.unread.max(known.unread).min(most),
                }
            }
            Err(_) => known,
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

impl Left {
    fn add(&mut self, other: Self) {
        self.refused = self.refused.saturating_add(other.refused);
        self.unread = self.unread.saturating_add(other.unread);
    }
}

async fn in_time(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(LONGEST_DELIVERY, work).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, "session events are not delivered in time"))
    })
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
