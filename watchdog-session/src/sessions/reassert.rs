use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard, Weak};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::{Inner, gone};
use crate::error::{ErrorKind, Result};
use crate::event::EventKeys;
use crate::journal::{Assertion, Cause, Ended, Journal};
use crate::place::Place;
use crate::pump::Pump;
use crate::record::Millis;
use crate::store::{Life, Outbox, Revoke, RevokeAll, RevokeEverybody, SessionStore};
use crate::telemetry;

/// Most assertions at once.
const MOST_AT_ONCE: usize = 32;

/// Asserts again what this process ended, when its connections may lead to a store that does not
/// know of it; and refuses it meanwhile.
///
/// Noted is what the store acknowledged. When the answer was lost the caller has an error and calls
/// again: noted as well, the session would be refused for a minute and live on after that.
#[derive(Debug)]
pub(super) struct Reassertion {
    store: Arc<dyn SessionStore>,
    events: Arc<EventKeys>,
    pump: Option<Arc<Pump>>,
    /// For how long the stamp that revokes everybody is kept.
    lifetime: Millis,
    reconnections: watch::Receiver<u64>,
    journal: RwLock<Journal>,
    /// Spares those who look the lock.
    has_entries: AtomicBool,
    /// The task, while the journal has entries.
    task: Mutex<Option<AbortHandle>>,
}

impl Drop for Reassertion {
    fn drop(&mut self) {
        if let Some(task) = self.task().take() {
            task.abort();
        }
    }
}

impl Reassertion {
    /// `None` for a store that forgets nothing it acknowledged.
    pub(super) fn new(
        store: &Arc<dyn SessionStore>,
        events: &Arc<EventKeys>,
        pump: Option<&Arc<Pump>>,
        lifetime: Millis,
    ) -> Option<Arc<Self>> {
        let reconnections = store.reconnections()?;
        Some(Arc::new(Self {
            store: Arc::clone(store),
            events: Arc::clone(events),
            pump: pump.cloned(),
            lifetime,
            reconnections,
            journal: RwLock::default(),
            has_entries: AtomicBool::new(false),
            task: Mutex::default(),
        }))
    }

    fn note(self: &Arc<Self>, ended: Ended, cause: Cause) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // The lock of the task is held until the entry is there: the task ends only under it.
        let mut task = self.task();
        if !self.journal().note(ended, cause, Instant::now()) {
            telemetry::journal_dropped();
        }
        self.has_entries.store(true, Ordering::Release);
        if task.as_ref().is_none_or(AbortHandle::is_finished) {
            let mut reconnections = self.reconnections.clone();
            reconnections.mark_unchanged();
            *task = Some(runtime.spawn(run(Arc::downgrade(self), reconnections)).abort_handle());
        }
    }

    fn covers(&self, place: &Place, created_at: Millis) -> bool {
        self.has_entries.load(Ordering::Acquire)
            && self.journal.read().unwrap_or_else(PoisonError::into_inner).covers(place, created_at)
    }

    fn journal(&self) -> RwLockWriteGuard<'_, Journal> {
        self.journal.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self) -> MutexGuard<'_, Option<AbortHandle>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the task when nothing is left to do.
    fn is_over(&self) -> bool {
        let mut task = self.task();
        let is_over = self.journal().is_empty();
        if is_over {
            self.has_entries.store(false, Ordering::Release);
            *task = None;
        }
        is_over
    }

    async fn assert(self: Arc<Self>, assertion: Assertion) {
        let Assertion { ended, cause, ticket } = assertion;
        let outcome = match self.end_again(ended, &cause).await {
            Ok(true) => {
                tracing::warn!("a revocation that the store had lost was made again");
                "lost"
            }
            Ok(false) => "held",
            Err(error) if error.kind() == ErrorKind::Unavailable => "unavailable",
            Err(error) => {
                tracing::error!(%error, "a revocation could not be made again");
                "failed"
            }
        };
        telemetry::reasserted(outcome);
        match outcome {
            "unavailable" => self.journal().failed(ticket, Instant::now()),
            _ => self.journal().answered(ticket, Instant::now()),
        }
    }

    /// Whether it ended anything.
    async fn end_again(&self, ended: Ended, cause: &Cause) -> Result<bool> {
        let outbox = self.outbox(cause)?;
        let reason = cause.reason;
        let (bucket, ended) = match ended {
            Ended::Session(place) => {
                let request = Revoke { place, reason, outbox };
                let revoked = self.store.revoke(&request).await;
                (place.location.bucket, revoked.map(|revoked| revoked.was == Life::Alive))
            }
            Ended::User { location, up_to } => {
                let (except, nonce, up_to) = (None, [0; 8], Some(up_to));
                let request = RevokeAll { location, except, reason, nonce, up_to, outbox };
                let revoked = self.store.revoke_all(&request).await;
                (location.bucket, revoked.map(|revoked| revoked.sessions > 0))
            }
            Ended::Everybody { up_to } => {
                let (lifetime, nonce, up_to) = (self.lifetime, [0; 8], Some(up_to));
                let request = RevokeEverybody { reason, lifetime, nonce, up_to, outbox };
                (0, self.store.revoke_everybody(&request).await.map(|_| false))
            }
        };
        // Also when it failed: its script may have run.
        if let Some(pump) = &self.pump {
            pump.wake(bucket);
        }
        ended
    }

    /// What the events carried, under another id: should both arrive, they are two ends.
    fn outbox(&self, cause: &Cause) -> Result<Option<Outbox>> {
        let now = self.store.now().unwrap_or(0);
        cause.outbox.as_ref().map(|outbox| self.events.renewed(outbox, now)).transpose()
    }
}

/// Asserts what is due, until the journal is empty.
async fn run(reassertion: Weak<Reassertion>, mut reconnections: watch::Receiver<u64>) {
    let mut under_way = JoinSet::new();
    let mut is_open = true;
    loop {
        let next = {
            let Some(this) = reassertion.upgrade() else { return };
            if this.is_over() {
                return;
            }
            let free = MOST_AT_ONCE - under_way.len();
            let due = this.journal().take_due(free, Instant::now());
            for assertion in due {
                under_way.spawn(Arc::clone(&this).assert(assertion));
            }
            this.journal().next_due()
        };
        let is_full = under_way.len() >= MOST_AT_ONCE;
        tokio::select! {
            changed = reconnections.changed(), if is_open => {
                is_open = changed.is_ok();
                let Some(this) = reassertion.upgrade() else { return };
                if is_open {
                    this.journal().reconnected(Instant::now());
                }
            }
            Some(_) = under_way.join_next() => {}
            () = wait_until(next), if !is_full => {}
        }
    }
}

/// Until an instant; without one, for ever.
async fn wait_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl Inner {
    /// Remembers what the store has ended.
    pub(super) fn note_ended(&self, ended: Ended, reason: &'static str, outbox: Option<Outbox>) {
        if let Some(reassertion) = &self.reassertion {
            reassertion.note(ended, Cause { reason, outbox });
        }
    }

    /// Refuses what this process has ended, whatever the store says by now. Of a session whose
    /// creation time is not known, `Millis::MAX` finds what was ended singly.
    pub(super) fn refuse_ended(&self, place: &Place, created_at: Millis) -> Result<()> {
        match &self.reassertion {
            Some(reassertion) if reassertion.covers(place, created_at) => Err(gone()),
            _ => Ok(()),
        }
    }
}
