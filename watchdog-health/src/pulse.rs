//! The heartbeat of the runtime: all that liveness looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use watchdog_core::health::Status;

use crate::metrics;
use crate::state::State;

/// How often the heart beats.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// When the runtime last ran the heartbeat task.
#[derive(Debug)]
pub(crate) struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin` to the last beat.
    last: AtomicU64,
    limit: Duration,
}

impl Pulse {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { origin: Instant::now(), last: AtomicU64::new(0), limit }
    }

    fn beat(&self) {
        let millis = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(millis, Ordering::Relaxed);
    }

    /// Time since the last beat.
    pub(crate) fn age(&self) -> Duration {
        self.origin
            .elapsed()
            .saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    pub(crate) fn status(&self) -> Status {
        if self.age() > self.limit { Status::Fail } else { Status::Pass }
    }
}

/// Beats for ever, and keeps the gauges that change without a probe.
pub(crate) async fn run(state: Arc<State>) {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        state.pulse.beat();
        let now = Instant::now();
        for slot in &state.slots {
            metrics::standing(&slot.state(now));
        }
    }
}
