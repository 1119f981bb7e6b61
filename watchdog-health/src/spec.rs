//! How one check is registered.

use std::time::Duration;

use crate::fold::Impact;

/// Longest name of a check, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// What a check takes part in, besides `/health`, which reports every check.
///
/// There is no liveness here: a dependency that is down is no reason to restart this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// `/readyz`: whether the process should get traffic now.
    Readiness,
    /// `/startupz`: has to pass once before the process counts as started.
    Startup,
}

/// How one check is registered: its name, what it takes part in and how often it runs.
///
/// Without further settings a check is critical, takes part in readiness, runs every 5 s with a
/// timeout of 1 s, shows the first failure (`fall` 1) and recovers after two passes (`rise` 2).
/// The first failure counts because whoever asks damps too: a Kubernetes readiness probe waits for
/// three failures by itself.
#[derive(Clone, Debug)]
pub struct CheckSpec {
    pub(crate) name: String,
    pub(crate) impact: Impact,
    pub(crate) readiness: bool,
    pub(crate) startup: bool,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
}

impl CheckSpec {
    /// A check called `name`: lowercase letters, digits, `-` and `_`, beginning with a letter, at
    /// most [`MAX_NAME_BYTES`] long.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            impact: Impact::Critical,
            readiness: true,
            startup: false,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            fall: 1,
            rise: 2,
        }
    }

    /// What the check's trouble does to the service.
    #[must_use]
    pub fn with_impact(mut self, impact: Impact) -> Self {
        self.impact = impact;
        self
    }

    /// What the check takes part in, replacing what was set. Empty: `/health` alone.
    #[must_use]
    pub fn with_probes(mut self, probes: impl IntoIterator<Item = Probe>) -> Self {
        (self.readiness, self.startup) = (false, false);
        for probe in probes {
            match probe {
                Probe::Readiness => self.readiness = true,
                Probe::Startup => self.startup = true,
            }
        }
        self
    }

    /// Time from the start of one probe to the start of the next.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// How long one probe may take before it counts as failed; shorter than the interval.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many results in a row make the shown status worse (`fall`) or better (`rise`). The very
    /// first result is shown at once.
    #[must_use]
    pub fn with_hysteresis(mut self, fall: u32, rise: u32) -> Self {
        (self.fall, self.rise) = (fall, rise);
        self
    }

    /// The age at which a result no longer counts: three intervals and a timeout.
    pub fn stale_after(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout)
    }

    /// Adds what is wrong with this registration alone.
    pub(crate) fn problems(&self, problems: &mut Vec<String>) {
        let name = &self.name;
        let mut chars = name.chars();
        let begins = chars.next().is_some_and(|first| first.is_ascii_lowercase());
        let goes_on =
            chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'));
        if !begins || !goes_on || name.len() > MAX_NAME_BYTES {
            problems.push(format!(
                "check name {name:?} is not a lowercase letter followed by letters, digits, \
                 `-` or `_`, {MAX_NAME_BYTES} bytes at most"
            ));
        }
        if self.interval.is_zero() {
            problems.push(format!("check {name:?} has an interval of zero"));
        }
        if self.timeout.is_zero() {
            problems.push(format!("check {name:?} has a timeout of zero"));
        }
        if !self.interval.is_zero() && self.timeout >= self.interval {
            problems.push(format!(
                "check {name:?} has a timeout of {:?}, which is not below its interval of {:?}",
                self.timeout, self.interval
            ));
        }
        if self.fall == 0 || self.rise == 0 {
            problems.push(format!("check {name:?} would change after zero results"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(spec: &CheckSpec) -> Vec<String> {
        let mut problems = Vec::new();
        spec.problems(&mut problems);
        problems
    }

    #[test]
    fn the_defaults_have_no_problem() {
        assert!(problems(&CheckSpec::new("redis")).is_empty());
        assert_eq!(CheckSpec::new("redis").stale_after(), Duration::from_secs(16));
    }

    #[test]
    fn odd_names_are_refused() {
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in ["", "7up", "-a", "Redis", "a b", "a/b", "a:b", "é", &long] {
            assert_eq!(problems(&CheckSpec::new(name)).len(), 1, "{name:?}");
        }
        for name in ["a", "db_2", "nova-eu", &long[1..]] {
            assert_eq!(problems(&CheckSpec::new(name)).len(), 0, "{name:?}");
        }
    }

    #[test]
    fn every_problem_is_reported() {
        let spec = CheckSpec::new("")
            .with_interval(Duration::ZERO)
            .with_timeout(Duration::ZERO)
            .with_hysteresis(0, 1);
        assert_eq!(problems(&spec).len(), 4);
        let equal = CheckSpec::new("a").with_timeout(Duration::from_secs(5));
        assert_eq!(problems(&equal).len(), 1);
        assert_eq!(problems(&CheckSpec::new("a").with_hysteresis(1, 0)).len(), 1);
    }

    #[test]
    fn probes_replace_what_was_set() {
        let spec = CheckSpec::new("a").with_probes([Probe::Startup]);
        assert!(spec.startup && !spec.readiness);
        let spec = spec.with_probes([]);
        assert!(!spec.startup && !spec.readiness);
    }
}
