//! The `HealthCheck` port: what can be probed.
//!
//! Storage, sessions and the audit log implement it; `watchdog-health` runs the checks in the
//! background and serves the last answers.

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Something whose health can be asked for.
///
/// A check does one small piece of work, bounded by the caller's timeout, and never panics. It
/// must be safe to drop at any await.
#[async_trait]
pub trait HealthCheck: fmt::Debug + Send + Sync {
    /// Probes once.
    async fn check(&self) -> CheckReport;
}

/// How a check stands, after draft-inadarei-api-health-check-06, with `unknown` for a check that
/// cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Pass,
    /// It works, and somebody should look at it.
    Warn,
    /// Nobody could tell. Never counted as a pass.
    Unknown,
    /// It does not work.
    Fail,
}

impl Status {
    /// The name used in reports and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The answer.
    pub status: Status,
    /// Why, for people who may see details. Never an address, a credential or a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Numbers that came along, by name with unit: `connections_used`, `round_trip_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub observations: BTreeMap<String, f64>,
}

impl CheckReport {
    /// It works.
    pub fn pass() -> Self {
        Self { status: Status::Pass, output: None, observations: BTreeMap::new() }
    }

    /// It works, and somebody should look at it.
    pub fn warn(output: impl Into<String>) -> Self {
        Self { status: Status::Warn, output: Some(output.into()), ..Self::pass() }
    }

    /// Nobody could tell.
    pub fn unknown(output: impl Into<String>) -> Self {
        Self { status: Status::Unknown, output: Some(output.into()), ..Self::pass() }
    }

    /// It does not work.
    pub fn fail(output: impl Into<String>) -> Self {
        Self { status: Status::Fail, output: Some(output.into()), ..Self::pass() }
    }

    /// Adds a number.
    #[must_use]
    pub fn with_observation(mut self, name: impl Into<String>, value: f64) -> Self {
        self.observations.insert(name.into(), value);
        self
    }
}
