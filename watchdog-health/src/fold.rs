//! How the standing of checks becomes one status: no clock, no I/O.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watchdog_core::health::Status;

/// What a check's trouble does to the service as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Impact {
    /// The service cannot work without it: a failure, or not knowing, is a failure of the service.
    #[default]
    Critical,
    /// The service works worse without it: a failure, or not knowing, is a warning of the service.
    Degrading,
    /// For the reader: the service's status never depends on it.
    Informing,
}

impl Impact {
    /// The name used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Degrading => "degrading",
            Self::Informing => "informing",
        }
    }

    /// What a check of this impact contributes: pass, warn or fail, never unknown.
    pub const fn weigh(self, status: Status) -> Status {
        match (self, status) {
            (_, Status::Pass) | (Self::Informing, _) => Status::Pass,
            (_, Status::Warn) | (Self::Degrading, Status::Unknown | Status::Fail) => Status::Warn,
            (Self::Critical, Status::Unknown | Status::Fail) => Status::Fail,
        }
    }
}

/// The status of a set of checks: the worst contribution, pass when there is none.
pub(crate) fn fold(checks: impl IntoIterator<Item = (Impact, Status)>) -> Status {
    checks.into_iter().map(|(impact, status)| impact.weigh(status)).max().unwrap_or(Status::Pass)
}

/// How a check stands now, given its damped status and the age of its last result.
///
/// Without a result nobody can tell. A result older than `stale_after` says that the prober is
/// stuck, which is a failure whatever the result was.
pub(crate) fn standing(observed: Option<(Status, Duration)>, stale_after: Duration) -> Status {
    match observed {
        None => Status::Unknown,
        Some((_, age)) if age > stale_after => Status::Fail,
        Some((status, _)) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Impact::{Critical, Degrading, Informing};
    use Status::{Fail, Pass, Unknown, Warn};

    #[test]
    fn every_impact_weighs_every_status() {
        let table = [
            (Critical, Pass, Pass),
            (Critical, Warn, Warn),
            (Critical, Unknown, Fail),
            (Critical, Fail, Fail),
            (Degrading, Pass, Pass),
            (Degrading, Warn, Warn),
            (Degrading, Unknown, Warn),
            (Degrading, Fail, Warn),
            (Informing, Pass, Pass),
            (Informing, Warn, Pass),
            (Informing, Unknown, Pass),
            (Informing, Fail, Pass),
        ];
        for (impact, status, expected) in table {
            assert_eq!(impact.weigh(status), expected, "{} {status}", impact.as_str());
        }
    }

    #[test]
    fn the_worst_contribution_decides() {
        assert_eq!(fold([]), Pass);
        assert_eq!(fold([(Critical, Pass), (Degrading, Pass)]), Pass);
        assert_eq!(fold([(Critical, Pass), (Degrading, Fail), (Informing, Fail)]), Warn);
        assert_eq!(fold([(Degrading, Fail), (Critical, Unknown), (Critical, Pass)]), Fail);
    }

    #[test]
    fn no_result_is_unknown_and_an_old_one_is_a_failure() {
        let bound = Duration::from_secs(16);
        assert_eq!(standing(None, bound), Unknown);
        assert_eq!(standing(Some((Pass, bound)), bound), Pass);
        assert_eq!(standing(Some((Warn, Duration::ZERO)), bound), Warn);
        assert_eq!(standing(Some((Pass, bound + Duration::from_nanos(1))), bound), Fail);
    }

    #[test]
    fn impacts_are_named_as_they_serialise() {
        for impact in [Critical, Degrading, Informing] {
            let json = serde_json::to_value(impact).unwrap();
            assert_eq!(json, impact.as_str());
        }
    }
}
