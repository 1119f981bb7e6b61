//! How long a call may take and how often it is tried.

#[cfg(any(feature = "s3", test))]
use std::time::Duration;

/// The longest pause between two tries.
#[cfg(any(feature = "s3", test))]
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// How long a call on S3 may take and how often it is tried.
///
/// | budget | retries | no retry begins after | one try lasts at most |
/// |---|---|---|---|
/// | `Foreground` | 2 | `retry_budget` (5 s) | `request_timeout` (10 s) |
/// | `Background` | 10 | 180 s | 60 s, or `request_timeout` if longer |
/// | `Probe` | 0 | – | 2 s, or `request_timeout` if shorter |
///
/// Between tries lie 0.1 s to 1 s, growing and jittered. Tried again are answers 5xx, 429 and 408,
/// connections that fail or break and, for calls that may safely run twice, timeouts. A call ends
/// at the latest one second after the last two columns together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Budget {
    /// Somebody waits for the answer.
    #[default]
    Foreground,
    /// Nobody waits: archiving, backups.
    Background,
    /// Health checks: one try, and the answer counts.
    Probe,
}

/// A budget in numbers.
#[cfg(any(feature = "s3", test))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) retries: usize,
    pub(super) retry_for: Duration,
    pub(super) one_try: Duration,
}

#[cfg(any(feature = "s3", test))]
impl Budget {
    pub(super) fn limits(self, retry_budget: Duration, request_timeout: Duration) -> Limits {
        match self {
            Self::Foreground => {
                Limits { retries: 2, retry_for: retry_budget, one_try: request_timeout }
            }
            Self::Background => Limits {
                retries: 10,
                retry_for: Duration::from_secs(180),
                one_try: request_timeout.max(Duration::from_secs(60)),
            },
            Self::Probe => Limits {
                retries: 0,
                retry_for: Duration::ZERO,
                one_try: request_timeout.min(Duration::from_secs(2)),
            },
        }
    }
}

#[cfg(any(feature = "s3", test))]
impl Limits {
    /// When a call is given up, whatever it is doing.
    pub(super) fn deadline(&self) -> Duration {
        self.retry_for.saturating_add(self.one_try).saturating_add(MAX_BACKOFF)
    }

    #[cfg(feature = "s3")]
    pub(super) fn retry_config(&self) -> object_store::RetryConfig {
        object_store::RetryConfig {
            backoff: object_store::BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: MAX_BACKOFF,
                base: 2.0,
            },
            max_retries: self.retries,
            retry_timeout: self.retry_for,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_the_foreground_ends_within_the_stated_16_seconds() {
        let limits = Budget::Foreground.limits(Duration::from_secs(5), Duration::from_secs(10));
        assert_eq!((limits.retries, limits.deadline()), (2, Duration::from_secs(16)));
    }

    #[test]
    fn a_probe_is_never_tried_again_and_never_slower_than_the_request_timeout() {
        let probe = |timeout| Budget::Probe.limits(Duration::from_secs(5), timeout);
        assert_eq!(probe(Duration::from_secs(10)).one_try, Duration::from_secs(2));
        assert_eq!(probe(Duration::from_millis(300)).one_try, Duration::from_millis(300));
        assert_eq!(probe(Duration::from_secs(10)).retries, 0);
    }

    #[test]
    fn background_work_is_patient() {
        let limits = Budget::Background.limits(Duration::from_secs(5), Duration::from_secs(90));
        assert_eq!((limits.retries, limits.one_try), (10, Duration::from_secs(90)));
        assert_eq!(limits.deadline(), Duration::from_secs(271));
    }
}
