//! What the runners write and the endpoints read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::Instant;
use watchdog_core::Clock;
use watchdog_core::health::Status;

use crate::fold::{Impact, fold};
use crate::pulse::Pulse;
use crate::slot::Slot;

/// What the runners write and the endpoints read.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) slots: Vec<Slot>,
    pub(crate) pulse: Pulse,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) service_id: Option<String>,
    pub(crate) release_id: Option<String>,
    pub(crate) draining: AtomicBool,
    pub(crate) started: AtomicBool,
}

impl State {
    /// The status of the checks that `takes_part` picks.
    pub(crate) fn status(&self, takes_part: impl Fn(&Slot) -> bool) -> Status {
        let now = Instant::now();
        fold(
            self.slots
                .iter()
                .filter(|slot| takes_part(slot))
                .map(|slot| (slot.spec.impact, slot.status(now))),
        )
    }

    /// The status of one check asked about by itself, where it is what matters.
    pub(crate) fn status_alone(slot: &Slot) -> Status {
        Impact::Critical.weigh(slot.status(Instant::now()))
    }

    /// Remembers for good that the process has started, once it has.
    pub(crate) fn latch_started(&self) {
        if !self.started.load(Ordering::Relaxed)
            && self.slots.iter().all(Slot::has_result)
            && self.status(|slot| slot.spec.startup) != Status::Fail
        {
            self.started.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
