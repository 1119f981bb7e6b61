//! Months in UTC: what a partition holds, and when it has outlived its retention.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::Offset;
use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

/// A month of a year, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Month {
    /// Its first day.
    first: Date,
}

impl Month {
    /// The month of an instant.
    pub(crate) fn of(instant: Timestamp) -> Self {
        Self { first: Offset::UTC.to_datetime(instant).date().first_of_month() }
    }

    /// The month after.
    pub(crate) fn next(self) -> Self {
        Self { first: self.first.last_of_month().tomorrow().unwrap_or(self.first) }
    }

    /// Its first day, `2026-01-01`.
    pub(crate) fn first_day(self) -> String {
        self.first.to_string()
    }

    /// The end of the month, `None` where time ends.
    fn end(self) -> Option<Timestamp> {
        let next = self.first.last_of_month().tomorrow().ok()?;
        Offset::UTC.to_timestamp(next.at(0, 0, 0, 0)).ok()
    }

    /// Whether all that was recorded in it has outlived a retention; never without one.
    pub(crate) fn has_outlived(self, retention: Option<Duration>, now: Timestamp) -> bool {
        let Some(retention) = retention.and_then(|kept| SignedDuration::try_from(kept).ok()) else {
            return false;
        };
        self.end().and_then(|end| end.checked_add(retention).ok()).is_some_and(|last| last <= now)
    }
}

/// The name of the partition of a category.
pub(crate) fn category_name(category: Category) -> String {
    format!("watchdog_audit_{category}")
}

/// The month in the name of a partition of a category: `watchdog_audit_access_2026_01`.
pub(crate) fn month_in(name: &str, category: Category) -> Option<Month> {
    let rest = name.strip_prefix(&category_name(category))?.strip_prefix('_')?;
    let (year, month) = rest.split_once('_')?;
    let is_ours = year.len() == 4 && month.len() == 2;
    let first = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    is_ours.then_some(Month { first })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_month_ends_where_the_next_begins_in_utc() {
        let december = Month::of(at("2025-12-31T23:59:59.999999999Z"));
        assert_eq!(december.first_day(), "2025-12-01");
        assert_eq!(december.next().first_day(), "2026-01-01");
        assert_eq!(Month::of(at("2026-01-01T00:00:00Z")), december.next());
        assert_eq!(Month::of(at("2024-02-29T12:00:00Z")).next().first_day(), "2024-03-01");
    }

    #[test]
    fn a_month_is_outlived_when_its_last_instant_is() {
        let month = Month::of(at("2026-01-15T00:00:00Z"));
        let kept = Some(Duration::from_secs(30 * DAY));
        assert!(!month.has_outlived(kept, at("2026-03-02T23:59:59Z")));
        assert!(month.has_outlived(kept, at("2026-03-03T00:00:00Z")));
        assert!(!month.has_outlived(None, Timestamp::MAX));
        assert!(!month.has_outlived(Some(Duration::MAX), Timestamp::MAX));
        assert!(!Month::of(Timestamp::MAX).has_outlived(kept, Timestamp::MAX));
    }

    #[test]
    fn the_name_of_a_partition_tells_its_month() {
        let month = Month::of(at("2026-01-15T00:00:00Z"));
        assert_eq!(month_in("watchdog_audit_access_2026_01", Category::Access), Some(month));
        for other in [
            "watchdog_audit_access",
            "watchdog_audit_access_2026_13",
            "watchdog_audit_access_2026_1",
            "watchdog_audit_access_2026_01_old",
            "watchdog_audit_security_2026_01",
        ] {
            assert_eq!(month_in(other, Category::Access), None, "{other}");
        }
    }
}
