//! What the service reads from its environment.

use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_audit::AuditConfig;
use watchdog_core::config::{AppConfig, Check, Section, SecurityConfig, duration};
use watchdog_session::SessionConfig;
use watchdog_storage::objects::StorageConfig;
use watchdog_storage::postgres::DbConfig;
use watchdog_storage::redis::RedisConfig;

/// Every section of this service.
pub(crate) type Configuration = (
    AppConfig,
    SecurityConfig,
    SessionConfig,
    AuditConfig,
    StorageConfig,
    ServiceConfig,
    RedisConfig,
    DbConfig,
);

/// The service itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(crate) struct ServiceConfig {
    /// Address to listen on; port 0 takes a free one.
    pub(crate) addr: String,
    /// How long readiness fails before the service stops accepting connections.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub(crate) drain: Duration,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self { addr: "127.0.0.1:8000".into(), drain: Duration::from_secs(2) }
    }
}

impl Section for ServiceConfig {
    const NAME: &'static str = "example";
    const PREFIX: &'static str = "WATCHDOG_EXAMPLE";

    fn check(&self, check: &mut Check<'_>) {
        if self.addr.parse::<SocketAddr>().is_err() {
            check.problem(&["addr"], "an address and a port (127.0.0.1:8000)", "use an IP address");
        }
    }
}
