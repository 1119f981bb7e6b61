//! How long to wait before something is tried again.

use std::time::Duration;

/// How long to wait after so many failures: doubled each time, up to the longest.
pub(super) fn pause(failures: u32, min: Duration, max: Duration) -> Duration {
    let doubled = min.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(20)));
    doubled.min(max)
}

/// A random number, so that a fleet does not come back in one wave.
pub(super) fn jitter() -> u8 {
    let mut random = [0];
    // Without randomness a fleet comes back in one wave, and nothing worse.
    let _ = watchdog_core::fill_random(&mut random);
    random[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<u128> =
            (1..7).map(|failures| pause(failures, min, max).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(pause(u32::MAX, min, max), max);
    }
}
