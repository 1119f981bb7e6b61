//! Where a check's last result is kept, and what it says now.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use watchdog_core::Timestamp;
use watchdog_core::health::{CheckReport, Status};

use crate::fold::standing;
use crate::spec::CheckSpec;

/// What one finished probe left behind.
#[derive(Clone, Debug)]
pub(crate) struct Observation {
    /// The damped status.
    pub(crate) status: Status,
    /// The result itself.
    pub(crate) last: CheckReport,
    /// When it came, on the monotonic clock.
    pub(crate) at: Instant,
    /// When it came, for the reader.
    pub(crate) time: Timestamp,
    /// How long the probe took.
    pub(crate) duration: Duration,
}

/// One registered check and its last result. The runner of the check is the only writer.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) spec: CheckSpec,
    last: watch::Sender<Option<Observation>>,
}

impl Slot {
    pub(crate) fn new(spec: CheckSpec) -> Self {
        Self { spec, last: watch::Sender::new(None) }
    }

    /// Publishes a result and returns the status that was shown before it.
    pub(crate) fn publish(&self, observation: Observation) -> Option<Status> {
        self.last.send_replace(Some(observation)).map(|before| before.status)
    }

    /// How the check stands now. Never waits for a probe and allocates nothing.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let observed = self.last.borrow().as_ref().map(|last| (last.status, age(last, now)));
        standing(observed, self.spec.stale_after())
    }

    /// Whether a first result is there.
    pub(crate) fn has_result(&self) -> bool {
        self.last.borrow().is_some()
    }

    /// Waits for the first result, which comes within the check's timeout.
    pub(crate) async fn first_result(&self) {
        // The sender is a field of `self`, so it cannot go away while this waits.
        let _ = self.last.subscribe().wait_for(Option::is_some).await;
    }

    /// Everything known about the check now.
    pub(crate) fn state(&self, now: Instant) -> CheckState {
        let observation = self.last.borrow().clone();
        CheckState {
            name: self.spec.name.clone(),
            impact: self.spec.impact,
            status: self.status(now),
            age: observation.as_ref().map(|last| age(last, now)),
            time: observation.as_ref().map(|last| last.time),
            duration: observation.as_ref().map(|last| last.duration),
            stale_after: self.spec.stale_after(),
            last: observation.map(|last| last.last),
        }
    }
}

fn age(observation: &Observation, now: Instant) -> Duration {
    now.saturating_duration_since(observation.at)
}

/// Everything known about one check at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckState {
    /// The name it is registered under.
    pub name: String,
    /// What its trouble does to the service.
    pub impact: crate::Impact,
    /// How it stands: damped, unknown before the first result, failed when the result is stale.
    pub status: Status,
    /// The last result itself, `None` before the first.
    pub last: Option<CheckReport>,
    /// How old the last result is, on the monotonic clock.
    pub age: Option<Duration>,
    /// When the last result came, on the wall clock.
    pub time: Option<Timestamp>,
    /// How long the last probe took.
    pub duration: Option<Duration>,
    /// The age at which the last result no longer counts.
    pub stale_after: Duration,
}

impl CheckState {
    /// Whether the last result is too old to count.
    pub fn is_stale(&self) -> bool {
        self.age.is_some_and(|age| age > self.stale_after)
    }
}
