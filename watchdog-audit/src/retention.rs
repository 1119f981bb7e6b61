//! How long what is kept: decisions about the settings, without I/O.

#[cfg(feature = "objects")]
mod keeping;

use watchdog_core::audit::Category;
use watchdog_core::config::Check;

use crate::config::{ArchiveRetention, AuditConfig, SECONDS_PER_DAY};
#[cfg(feature = "objects")]
pub(crate) use keeping::Keeping;

/// Glacier charges for at least so many days: what goes earlier costs as much and is slower to read.
const GLACIER_MINIMUM_DAYS: u32 = 90;

impl ArchiveRetention {
    /// For how many days a category is kept, 0 for ever.
    pub(crate) fn days(&self, category: Category) -> u32 {
        let kept = self.of(category).map_or(0, |kept| kept.as_secs() / SECONDS_PER_DAY);
        u32::try_from(kept).unwrap_or(u32::MAX)
    }
}

/// Whether objects that are kept for so many days (0 for ever) move to Glacier after
/// `glacier_days` (0 for never).
pub(crate) fn moves(glacier_days: u32, kept: u32) -> bool {
    glacier_days > 0 && (kept == 0 || kept >= glacier_days.saturating_add(GLACIER_MINIMUM_DAYS))
}

/// Reports retentions that contradict each other.
pub(crate) fn check(config: &AuditConfig, check: &mut Check<'_>) {
    let retention = config.retention;
    let glacier_days = config.lifecycle.glacier_days;
    let any_moves =
        Category::ALL.into_iter().any(|category| moves(glacier_days, retention.days(category)));
    if glacier_days > 0 && !any_moves {
        check.problem(
            &[
                "lifecycle.glacier_days",
                "retention.application_days",
                "retention.database_days",
                "retention.access_days",
                "retention.security_days",
            ],
            "a category that is kept for ever, or 90 days longer than its objects take to move",
            "Glacier charges for 90 days at least; with WATCHDOG_AUDIT_LIFECYCLE_GLACIER_DAYS=0 \
             nothing moves",
        );
    }
    for (field, days) in [
        ("retention.application_days", retention.application_days),
        ("retention.database_days", retention.database_days),
        ("retention.access_days", retention.access_days),
        ("retention.security_days", retention.security_days),
    ] {
        // The defaults are so on purpose: 90 days at hand, 30 days of `database` in the archive.
        let is_said = check.is_set(field)
            && (check.is_set("retention_days") || check.is_set("log_ttl_seconds"));
        if is_said && days > 0 && u64::from(days) * SECONDS_PER_DAY < config.ttl().as_secs() {
            check.warn(
                &[field, "log_ttl_seconds"],
                "entries of this category stay in the store longer than in the archive",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use watchdog_core::config::Loader;

    use super::*;

    const GLACIER: &str = "WATCHDOG_AUDIT_LIFECYCLE_GLACIER_DAYS";
    const SECURITY: &str = "WATCHDOG_AUDIT_RETENTION_SECURITY_DAYS";

    #[test]
    fn nothing_that_could_move_is_a_contradiction() {
        let load = |variables: &[(&'static str, &'static str)]| {
            Loader::from_vars(variables.iter().copied()).load::<AuditConfig>()
        };
        assert!(load(&[]).is_ok() && load(&[(GLACIER, "275")]).is_ok());
        assert!(load(&[(GLACIER, "275"), (SECURITY, "365")]).is_ok());
        assert!(load(&[(GLACIER, "0"), (SECURITY, "1")]).is_ok());
        let refused = load(&[(GLACIER, "276"), (SECURITY, "365")]).unwrap_err().to_string();
        for part in [GLACIER, SECURITY, "WATCHDOG_AUDIT_LIFECYCLE_GLACIER_DAYS=0"] {
            assert!(refused.contains(part), "{refused}");
        }
    }

    #[test]
    fn a_store_that_keeps_longer_than_the_archive_is_told_when_both_are_set() {
        let warnings = |variables: &[(&'static str, &'static str)]| {
            let loaded =
                Loader::from_vars(variables.iter().copied()).load::<AuditConfig>().unwrap();
            loaded.warnings().len()
        };
        let ttl = ("WATCHDOG_AUDIT_RETENTION_DAYS", "90");
        assert_eq!(warnings(&[]), 0, "the defaults are meant so");
        assert_eq!(warnings(&[ttl, (SECURITY, "89")]), 1);
        assert_eq!(warnings(&[ttl, (SECURITY, "90")]), 0);
        assert_eq!(warnings(&[ttl, (SECURITY, "0")]), 0, "for ever");
    }

    #[test]
    fn what_would_not_stay_in_glacier_does_not_move() {
        assert!(!moves(0, 0) && !moves(0, 365));
        assert!(moves(30, 0) && moves(30, 120) && moves(30, 365));
        assert!(!moves(30, 119) && !moves(30, 30) && !moves(u32::MAX, 365));
    }
}
