//! Fakes of the ports, for the tests of applications (feature `testing`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::audit::{AuditSink, Entry};
use crate::clock::{Clock, Timestamp};
use crate::error::Result;

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<Mutex<Timestamp>>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(now)) }
    }

    /// Moves the clock forward.
    ///
    /// # Panics
    ///
    /// When the clock would leave the range of [`Timestamp`].
    #[expect(clippy::expect_used, reason = "a test that leaves the calendar should stop")]
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).expect("the clock stays within the calendar");
    }

    /// Sets the clock, backwards too.
    pub fn set(&self, now: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Default for ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::new(Timestamp::constant(1_767_225_600, 0))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An [`AuditSink`] that keeps what it is given.
#[derive(Clone, Debug, Default)]
pub struct RecordingSink {
    entries: Arc<Mutex<Vec<Entry>>>,
}

impl RecordingSink {
    /// Everything recorded so far, oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl AuditSink for RecordingSink {
    async fn record(&self, entry: Entry) -> Result<()> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(())
    }
}
