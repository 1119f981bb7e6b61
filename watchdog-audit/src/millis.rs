//! Points in time as the store counts them.

use watchdog_core::Timestamp;

/// Milliseconds since 1970; 0 before.
pub(crate) fn millis_of(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_its_beginning() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        assert_eq!([at(-1), at(0), at(5)].map(millis_of), [0, 0, 5]);
    }
}
