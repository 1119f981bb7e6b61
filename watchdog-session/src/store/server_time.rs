//! What time it is at the server, without asking each time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use watchdog_core::{Clock, Timestamp};

use crate::record::Millis;

/// The server's clock as last heard, carried on by ours.
///
/// How our clock is *set* does not matter, only how it *runs*: a wall clock that is a day wrong is
/// a day wrong at both ends of the interval. Two clocks measure the interval and the longer one
/// counts, so that neither a suspended machine (where the monotonic clock stands still) nor a wall
/// clock set back lets a session live longer.
#[derive(Debug)]
pub(crate) struct ServerTime {
    clock: Arc<dyn Clock>,
    heard: Mutex<Option<Heard>>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    server: Millis,
    instant: Instant,
    wall: Timestamp,
}

impl ServerTime {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, heard: Mutex::new(None) }
    }

    pub(crate) fn hear(&self, server: Millis) {
        let heard = Heard { server, instant: Instant::now(), wall: self.clock.now() };
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(heard);
    }

    pub(crate) fn now(&self) -> Option<Millis> {
        let heard = (*self.heard.lock().unwrap_or_else(PoisonError::into_inner))?;
        let monotonic =
            Millis::try_from(heard.instant.elapsed().as_millis()).unwrap_or(Millis::MAX);
        let wall = self.clock.now().as_millisecond() - heard.wall.as_millisecond();
        let elapsed = monotonic.max(Millis::try_from(wall).unwrap_or(0));
        Some(heard.server.saturating_add(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use watchdog_core::testing::ManualClock;

    use super::*;

    #[test]
    fn a_clock_that_is_set_wrong_does_not_matter_and_one_that_runs_ahead_counts() {
        let clock = ManualClock::default();
        let time = ServerTime::new(Arc::new(clock.clone()));
        assert_eq!(time.now(), None);
        time.hear(5_000);
        clock.advance(Duration::from_secs(60));
        assert!((65_000..66_000).contains(&time.now().unwrap()));
        clock.set(Timestamp::UNIX_EPOCH);
        assert!((5_000..6_000).contains(&time.now().unwrap()));
        time.hear(9_000);
        assert!((9_000..10_000).contains(&time.now().unwrap()));
    }
}
