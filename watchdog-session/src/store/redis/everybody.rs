//! The stamp that revokes everybody, as far as this process knows it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use watchdog_core::{Clock, Timestamp};

use crate::record::Millis;
use crate::store::GLOBAL_STALENESS;

/// The stamps of the buckets, each for at most [`GLOBAL_STALENESS`] after it was asked for.
///
/// Two clocks measure how old one is and the longer time counts, as in
/// [`ServerTime`](crate::store::server_time::ServerTime).
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<u16, (Asked, Millis)>>,
}

/// When a stamp was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    instant: Instant,
    wall: Timestamp,
}

impl Stamps {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The stamp of a bucket, when it is known freshly enough.
    pub(super) fn known(&self, bucket: u16) -> Option<Millis> {
        let (asked, stamp) = *self.lock().get(&bucket)?;
        let now = self.ask();
        let monotonic = now.instant.saturating_duration_since(asked.instant).as_millis();
        // A wall clock set back says nothing.
        let wall = now.wall.as_millisecond() - asked.wall.as_millisecond();
        let age = monotonic.max(u128::try_from(wall).unwrap_or(0));
        (age < u128::from(GLOBAL_STALENESS)).then_some(stamp)
    }

    /// To be called before the question is sent.
    pub(super) fn ask(&self) -> Asked {
        Asked { instant: Instant::now(), wall: self.clock.now() }
    }

    pub(super) fn learn(&self, bucket: u16, asked: Asked, stamp: Millis) {
        let mut known = self.lock();
        match known.get(&bucket) {
            // An answer that was longer on its way.
            Some((later, _)) if later.instant > asked.instant => {}
            _ => {
                known.insert(bucket, (asked, stamp));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u16, (Asked, Millis)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use watchdog_core::testing::ManualClock;

    use super::*;

    #[test]
    fn a_stamp_is_known_for_a_second_by_either_clock() {
        let clock = ManualClock::default();
        let stamps = Stamps::new(Arc::new(clock.clone()));
        assert_eq!(stamps.known(7), None);
        let first = stamps.ask();
        stamps.learn(7, first, 5);
        assert_eq!((stamps.known(7), stamps.known(8)), (Some(5), None));
        clock.advance(Duration::from_millis(1000));
        assert_eq!(stamps.known(7), None);
        let second = stamps.ask();
        stamps.learn(7, second, 6);
        stamps.learn(7, first, 5);
        assert_eq!(stamps.known(7), Some(6));
        clock.set(Timestamp::UNIX_EPOCH);
        assert_eq!(stamps.known(7), Some(6));
    }
}
