//! Damping of a check's results, so that one odd answer does not move traffic: no clock, no I/O.

use watchdog_core::health::Status;

/// The status a check shows, and how far its results have moved away from it.
#[derive(Clone, Debug)]
pub(crate) struct Hysteresis {
    fall: u32,
    rise: u32,
    shown: Option<Status>,
    /// Results in a row on the same side of what is shown.
    streak: u32,
    /// What the whole streak supports: its mildest result on the way down, its worst on the way up.
    supported: Status,
}

impl Hysteresis {
    /// `fall` results in a row make the status worse, `rise` in a row make it better.
    pub(crate) fn new(fall: u32, rise: u32) -> Self {
        Self { fall, rise, shown: None, streak: 0, supported: Status::Unknown }
    }

    /// Takes a result and returns the status to show. The first result is shown at once.
    pub(crate) fn observe(&mut self, result: Status) -> Status {
        let Some(shown) = self.shown else {
            return self.show(result);
        };
        if result == shown {
            return self.show(result);
        }
        let falling = result > shown;
        let same_side = self.streak > 0 && (self.supported > shown) == falling;
        self.supported = match (same_side, falling) {
            (false, _) => result,
            (true, true) => self.supported.min(result),
            (true, false) => self.supported.max(result),
        };
        self.streak = if same_side { self.streak + 1 } else { 1 };
        if self.streak >= if falling { self.fall } else { self.rise } {
            return self.show(self.supported);
        }
        shown
    }

    fn show(&mut self, status: Status) -> Status {
        self.shown = Some(status);
        self.streak = 0;
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Fail, Pass, Unknown, Warn};

    fn shown(fall: u32, rise: u32, results: &[Status]) -> Vec<Status> {
        let mut hysteresis = Hysteresis::new(fall, rise);
        results.iter().map(|&result| hysteresis.observe(result)).collect()
    }

    #[test]
    fn the_first_result_is_shown_at_once() {
        for status in [Pass, Warn, Unknown, Fail] {
            assert_eq!(shown(5, 5, &[status]), [status]);
        }
    }

    #[test]
    fn with_one_and_one_every_result_is_shown() {
        let results = [Pass, Fail, Unknown, Pass, Warn, Fail, Pass];
        assert_eq!(shown(1, 1, &results), results);
    }

    #[test]
    fn it_falls_after_as_many_bad_results_in_a_row() {
        assert_eq!(shown(3, 1, &[Pass, Fail, Fail, Fail]), [Pass, Pass, Pass, Fail]);
        assert_eq!(
            shown(3, 1, &[Pass, Fail, Fail, Pass, Fail, Fail]),
            [Pass, Pass, Pass, Pass, Pass, Pass]
        );
    }

    #[test]
    fn it_rises_after_as_many_good_results_in_a_row() {
        assert_eq!(shown(1, 2, &[Fail, Pass, Pass]), [Fail, Fail, Pass]);
        assert_eq!(shown(1, 2, &[Fail, Pass, Fail, Pass, Pass]), [Fail, Fail, Fail, Fail, Pass]);
    }

    #[test]
    fn a_mixed_streak_shows_what_all_of_it_supports() {
        assert_eq!(shown(3, 1, &[Pass, Fail, Warn, Fail]), [Pass, Pass, Pass, Warn]);
        assert_eq!(shown(1, 3, &[Fail, Pass, Warn, Pass]), [Fail, Fail, Fail, Warn]);
    }

    #[test]
    fn a_streak_that_changes_sides_starts_again() {
        assert_eq!(
            shown(2, 2, &[Warn, Fail, Pass, Fail, Pass, Pass]),
            [Warn, Warn, Warn, Warn, Warn, Pass]
        );
        assert_eq!(shown(2, 2, &[Warn, Pass, Fail, Fail]), [Warn, Warn, Warn, Fail]);
    }
}
