//! Whether the servers still answer, as the calls of one client see it. No I/O, no clock.
//!
//! A server that hangs closes no connection, and the client's own check looks at the last write,
//! which steady calls renew for ever. So the calls themselves tell: two timeouts long every one of
//! a server timed out, and none was answered.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a call goes to: a Cluster slot, or one of these.
pub(super) type Place = u16;

/// The one server, where there is no Cluster.
pub(super) const ONLY: Place = 0;
/// Any node of a Cluster: a call without a key.
pub(super) const ANY: Place = u16::MAX;

/// A server that did not answer lately.
#[derive(Debug)]
struct Suspect {
    places: Vec<RangeInclusive<Place>>,
    /// When the first of its calls in a row ended without an answer.
    since: Instant,
    /// When the last one did.
    last: Instant,
}

impl Suspect {
    fn serves(&self, place: Place) -> bool {
        self.places.iter().any(|places| places.contains(&place))
    }
}

/// What the calls of one client say about its servers.
#[derive(Debug)]
pub(super) struct Pulse {
    /// How long a server may stay silent.
    limit: Duration,
    /// Spares the lock as long as all is well.
    is_troubled: AtomicBool,
    suspects: Mutex<Vec<Suspect>>,
    /// A server hangs.
    pub(super) alarm: Notify,
}

impl Pulse {
    pub(super) fn new(command_timeout: Duration) -> Self {
        Self {
            limit: command_timeout.saturating_mul(2),
            is_troubled: AtomicBool::new(false),
            suspects: Mutex::default(),
            alarm: Notify::new(),
        }
    }

    /// The server answered a call, with an error perhaps.
    pub(super) fn answered(&self, place: Place) {
        if self.is_troubled.load(Ordering::Acquire) {
            let mut suspects = self.suspects();
            suspects.retain(|suspect| !suspect.serves(place));
            self.is_troubled.store(!suspects.is_empty(), Ordering::Release);
        }
    }

    /// A call had no answer in time. `places` tells what the server in question serves.
    pub(super) fn timed_out(
        &self,
        place: Place,
        now: Instant,
        places: impl FnOnce() -> Vec<RangeInclusive<Place>>,
    ) {
        let mut suspects = self.suspects();
        // Calls too rare for a verdict: what was between them is not known. The client's own check
        // sees to those.
        let longest = self.limit.saturating_add(self.limit / 2);
        suspects.retain(|suspect| now.saturating_duration_since(suspect.last) <= longest);
        self.is_troubled.store(true, Ordering::Release);
        let Some(suspect) = suspects.iter_mut().find(|suspect| suspect.serves(place)) else {
            suspects.push(Suspect { places: places(), since: now, last: now });
            return;
        };
        suspect.last = suspect.last.max(now);
        if now.saturating_duration_since(suspect.since) >= self.limit {
            self.alarm.notify_one();
        }
    }

    /// Whether a server is silent for longer than it may be, and was not heard of since.
    pub(super) fn is_alarmed(&self) -> bool {
        self.suspects()
            .iter()
            .any(|suspect| suspect.last.saturating_duration_since(suspect.since) >= self.limit)
    }

    fn suspects(&self) -> MutexGuard<'_, Vec<Suspect>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    /// A Cluster of two servers; the first serves two ranges.
    fn served(place: Place) -> Vec<RangeInclusive<Place>> {
        match place {
            0..=9 | 20..=29 => vec![0..=9, 20..=29],
            10..=19 => vec![10..=19],
            other => vec![other..=other],
        }
    }

    struct Bench {
        pulse: Pulse,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { pulse: Pulse::new(TIMEOUT), start: Instant::now() }
        }

        /// A call that timed out so many milliseconds after the start; whether that is an alarm.
        fn late(&self, place: Place, millis: u64) -> bool {
            let now = self.start + Duration::from_millis(millis);
            self.pulse.timed_out(place, now, || served(place));
            self.pulse.is_alarmed()
        }
    }

    #[test]
    fn silence_for_two_timeouts_is_an_alarm() {
        let bench = Bench::new();
        assert!(!bench.pulse.is_alarmed());
        assert!(!bench.late(ONLY, 100));
        assert!(!bench.late(ONLY, 299));
        assert!(bench.late(ONLY, 300));
        bench.pulse.answered(ONLY);
        assert!(!bench.pulse.is_alarmed(), "it answers again");
        assert!(!bench.late(ONLY, 310), "and is judged anew");
    }

    #[test]
    fn one_answer_in_between_is_enough() {
        let bench = Bench::new();
        for millis in (100..2_000).step_by(100) {
            assert!(!bench.late(ONLY, millis));
            assert!(!bench.late(ONLY, millis + 99));
            bench.pulse.answered(ONLY);
        }
    }

    #[test]
    fn rare_calls_are_no_proof() {
        let bench = Bench::new();
        for millis in (100..5_000).step_by(301) {
            assert!(!bench.late(ONLY, millis), "nobody knows what was in between");
        }
    }

    #[test]
    fn each_server_is_judged_by_its_own_calls() {
        let bench = Bench::new();
        assert!(!bench.late(5, 100));
        assert!(!bench.late(15, 150));
        // The other server and calls to any server say nothing about this one.
        bench.pulse.answered(15);
        bench.pulse.answered(ANY);
        assert!(bench.late(25, 300), "another slot of the same server");
        bench.pulse.answered(15);
        assert!(bench.pulse.is_alarmed());
        bench.pulse.answered(9);
        assert!(!bench.pulse.is_alarmed());
        assert!(!bench.late(ANY, 400));
        assert!(bench.late(ANY, 600));
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_wakes_who_waits_for_it() {
        let bench = Bench::new();
        let woken = async || {
            let waiting = bench.pulse.alarm.notified();
            tokio::time::timeout(Duration::from_secs(1), waiting).await.is_ok()
        };
        bench.late(ONLY, 100);
        assert!(!woken().await);
        bench.late(ONLY, 300);
        assert!(woken().await);
    }
}
