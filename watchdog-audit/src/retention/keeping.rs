//! What the bucket and the copy keep at an instant, under the retention of each category and the
//! legal holds.

use watchdog_core::Timestamp;
use watchdog_core::audit::Category;

use crate::config::{ArchiveRetention, LifecycleConfig};
use crate::hold::Holds;
use crate::manifest::ArchivedObject;
use crate::retention::moves;

/// How long what is kept, now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    pub(crate) retention: ArchiveRetention,
    /// After how many days objects move to Glacier, 0 for never.
    glacier_days: u32,
    pub(crate) now: Timestamp,
    /// Since when a legal hold keeps entries of a category, in the order of `Category::ALL`.
    held: [Option<Timestamp>; Category::ALL.len()],
}

impl Keeping {
    pub(crate) fn new(
        retention: ArchiveRetention,
        lifecycle: LifecycleConfig,
        now: Timestamp,
        holds: &Holds,
    ) -> Self {
        let held = Category::ALL.map(|category| holds.since(category));
        Self { retention, glacier_days: lifecycle.glacier_days, now, held }
    }

    /// Whether a legal hold keeps entries of a category.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_held(&self, category: Category) -> bool {
        self.held_since(category).is_some()
    }

    /// Whether the bucket may have let an object expire.
    pub(crate) fn may_be_gone(&self, object: &ArchivedObject) -> bool {
        self.is_over(object.category, object.recorded.to)
    }

    /// Whether an object may lie in Glacier by the plan.
    pub(crate) fn may_be_frozen(&self, object: &ArchivedObject) -> bool {
        let after = i64::from(self.glacier_days).saturating_mul(86_400_000);
        moves(self.glacier_days, self.retention.days(object.category))
            && object.recorded.from.as_millisecond().saturating_add(after)
                <= self.now.as_millisecond()
    }

    /// Whether entries of a category, the last of them of this instant, have outlived their
    /// retention.
    fn is_over(&self, category: Category, last: Timestamp) -> bool {
        self.retention.of(category).is_some_and(|kept| {
            let kept = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
            let due = last.as_millisecond().saturating_add(kept);
            let held = self.held_since(category);
            // What was due before the hold may have gone before it.
            due < self.now.as_millisecond() && held.is_none_or(|since| due < since.as_millisecond())
        })
    }

    fn held_since(&self, category: Category) -> Option<Timestamp> {
        let place = Category::ALL.iter().position(|known| *known == category)?;
        self.held.get(place).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hold::{Hold, LegalHold};

    fn at(day: i64) -> Timestamp {
        Timestamp::new(day * 86_400, 0).unwrap()
    }

    fn keeping(day: i64, holds: Vec<Hold>) -> Keeping {
        let retention = ArchiveRetention {
            application_days: 10,
            database_days: 10,
            access_days: 10,
            security_days: 0,
        };
        Keeping::new(retention, LifecycleConfig::default(), at(day), &Holds(holds))
    }

    #[test]
    fn what_has_outlived_its_retention_may_be_gone_unless_a_hold_came_before() {
        let access = Category::Access;
        assert!(!keeping(10, vec![]).is_over(access, at(0)), "to the last instant");
        assert!(keeping(11, vec![]).is_over(access, at(0)));
        assert!(!keeping(5000, vec![]).is_over(Category::Security, at(0)), "for ever");
        let hold = |day| {
            let terms = LegalHold::new("case-7", "litigation").with_category(access);
            vec![Hold { terms, handles: Vec::new(), since: at(day) }]
        };
        assert!(!keeping(99, hold(10)).is_over(access, at(0)), "placed in its last instant");
        assert!(keeping(99, hold(11)).is_over(access, at(0)), "it may have gone before the hold");
        assert!(keeping(99, hold(10)).is_over(Category::Database, at(0)), "another category");
    }
}
