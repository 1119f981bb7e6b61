//! The `app` section: what every service has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Check, Environment, LogLevel, Section};

/// What every service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AppConfig {
    /// Where the service runs. Production and staging refuse what is unsafe.
    pub env: Environment,
    /// Whether the service tells callers more about its errors than it should tell strangers.
    pub debug: bool,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Origins that a browser may call from (CORS): `https://app.example.org`. `*` is any origin
    /// and refused in production.
    pub allowed_origins: Vec<String>,
    /// Name of the service in logs, metrics and traces.
    #[schemars(length(min = 1, max = 64))]
    pub service_name: String,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            env: Environment::default(),
            debug: false,
            log_level: LogLevel::default(),
            allowed_origins: Vec::new(),
            service_name: "watchdog".to_owned(),
        }
    }
}

impl Section for AppConfig {
    const NAME: &'static str = "app";
    const PREFIX: &'static str = "WATCHDOG";

    fn check(&self, check: &mut Check<'_>) {
        let origins = &self.allowed_origins;
        if origins.iter().any(|origin| origin == "*") {
            check.unsafe_in_production(
                &["allowed_origins"],
                "the origins that may call, by name",
                "list them instead of *: any site could call with the user's cookies",
            );
        }
        if !origins.iter().all(|origin| origin == "*" || is_origin(origin)) {
            check.problem(
                &["allowed_origins"],
                "origins of scheme and host, without a path and without * \
                 (https://app.example.org)",
                "an origin ends with its host or port (RFC 6454, section 6.2)",
            );
        }
        if self.debug && check.environment().is_strict() {
            check.warn(&["debug"], "errors tell strangers more than they should");
        }
    }
}

fn is_origin(text: &str) -> bool {
    // Origins are compared as they stand: a pattern would match nothing, or in other hands anybody.
    !text.contains('*')
        && Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for text in ["https://app.example.org", "http://localhost:3000", "http://[::1]:3000"] {
            assert!(is_origin(text), "{text}");
        }
        for text in [
            "app.example.org",
            "https://a.b/",
            "https://a.b/c",
            "null",
            "https://A.b",
            "file:///x",
            "https://*",
            "https://*.example.org",
            "https://a.*:443",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }
}
