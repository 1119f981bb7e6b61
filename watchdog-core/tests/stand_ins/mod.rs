//! Sections as other crates have them, for tests of the loader alone.
#![allow(dead_code, clippy::allow_attributes, reason = "each test uses some of it")]

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::{Check, ConfigError, Problem, Section, duration};

/// A database.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct DbConfig {
    /// Host of the server.
    pub host: Option<String>,
    /// Port of the server.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Name of the database.
    pub name: Option<String>,
    /// Name of the user.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<Secret<String>>,
    /// Whether the connection is encrypted.
    pub ssl: bool,
    /// Connections kept open.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: u32,
}

impl Default for DbConfig {
    fn default() -> Self {
        Self {
            host: None,
            port: 5432,
            name: None,
            user: None,
            password: None,
            ssl: true,
            pool_size: 5,
        }
    }
}

impl Section for DbConfig {
    const NAME: &'static str = "db";
    const PREFIX: &'static str = "WATCHDOG_DB";
}

/// Sessions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SessionConfig {
    /// Idle timeout.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub timeout: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(1800) }
    }
}

impl Section for SessionConfig {
    const NAME: &'static str = "session";
    const PREFIX: &'static str = "WATCHDOG_SESSION";
}

/// The audit log.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct AuditConfig {
    /// Days an entry is kept.
    pub retention_days: Option<u32>,
    /// The same in seconds.
    pub log_ttl_seconds: Option<u64>,
    /// Key that signs manifests.
    pub signing_key: Option<Secret<String>>,
}

impl Section for AuditConfig {
    const NAME: &'static str = "audit";
    const PREFIX: &'static str = "WATCHDOG_AUDIT";

    fn check(&self, check: &mut Check<'_>) {
        let days = self.retention_days.map(|days| u64::from(days) * 86_400);
        if self.log_ttl_seconds.is_some() && days.is_some() && days != self.log_ttl_seconds {
            check.problem(
                &["retention_days", "log_ttl_seconds"],
                "one retention",
                "set one of the two, or days * 86400 = seconds",
            );
        }
    }
}

/// Kind and variables of every problem.
pub(crate) fn summary(error: &ConfigError) -> Vec<String> {
    let line = |problem: &Problem| {
        format!("{} {}", problem.variables().join("+"), problem.kind().as_str())
    };
    error.problems().iter().map(line).collect()
}
