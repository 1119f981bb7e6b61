//! The `nova` section.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Check, Rate, Section, duration};

/// How an application calls its assistant service; nothing in the SDK calls it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NovaConfig {
    /// Whether the service is called.
    pub enabled: bool,
    /// File with the settings of the service.
    #[schemars(extend("format" = "path"))]
    pub config_path: Option<PathBuf>,
    /// File with the credentials for the service.
    #[schemars(extend("format" = "path"))]
    pub credentials_path: Option<PathBuf>,
    /// Most calls per time.
    pub rate_limit: Rate,
    /// Longest wait for an answer.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub timeout: Duration,
    /// Whether scheduled calls are made.
    pub scheduler_enabled: bool,
}

impl Default for NovaConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            config_path: None,
            credentials_path: None,
            rate_limit: Rate::per_minute(const { NonZeroU32::new(100).unwrap() }),
            timeout: Duration::from_secs(30),
            scheduler_enabled: false,
        }
    }
}

impl Section for NovaConfig {
    const NAME: &'static str = "nova";
    const PREFIX: &'static str = "WATCHDOG_NOVA";

    fn check(&self, check: &mut Check<'_>) {
        if self.timeout.is_zero() {
            check.problem(&["timeout"], "a duration above zero", "a call needs time");
        }
    }
}
