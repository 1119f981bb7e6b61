//! The `redis` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::{Check, Section};

use super::url::{RedisUrl, Topology};
use crate::error::{Error, ErrorKind, Result};

/// How to reach Redis. Without a URL there is no Redis.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisConfig {
    /// Where Redis is: `redis://`, `redis-cluster://` or `redis-sentinel://`, with `rediss` for
    /// TLS. User, password and database number may stand in it.
    pub url: Option<RedisUrl>,
    /// User of the access control list; without it the `default` user.
    pub username: Option<String>,
    /// Password of the user.
    pub password: Option<Secret<String>>,
    /// Database number; Cluster has only 0.
    pub db: u8,
    /// Whether to use TLS; unset, the scheme of the URL decides.
    pub ssl: Option<bool>,
    /// PEM file with the certification authority of the servers; unset, those of the system.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<PathBuf>,
    /// What every key begins with.
    #[schemars(length(min = 1, max = 64))]
    pub key_prefix: String,
    /// How long one connection may take, TLS and authentication included.
    #[serde(with = "watchdog_core::config::duration")]
    #[schemars(with = "watchdog_core::config::duration::Schema")]
    pub connect_timeout: Duration,
    /// How long one command may take, waiting for a connection and all its attempts included.
    #[serde(with = "watchdog_core::config::duration")]
    #[schemars(with = "watchdog_core::config::duration::Schema")]
    pub command_timeout: Duration,
    /// How often a command is sent when connections break under it. With 1 none is sent twice.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// Number of clients, each with one multiplexed connection per server.
    #[schemars(range(min = 1, max = 64))]
    pub pool_size: usize,
    /// Greatest number of calls in flight; one more fails at once.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_buffer: usize,
    /// Name of the primary that the sentinels watch.
    pub sentinel_service: String,
    /// User at the sentinels.
    pub sentinel_username: Option<String>,
    /// Password at the sentinels.
    pub sentinel_password: Option<Secret<String>>,
    /// First wait before a broken connection is made again; each further wait is twice as long.
    #[serde(with = "watchdog_core::config::duration")]
    #[schemars(with = "watchdog_core::config::duration::Schema")]
    pub reconnect_min: Duration,
    /// Longest wait before a broken connection is made again.
    #[serde(with = "watchdog_core::config::duration")]
    #[schemars(with = "watchdog_core::config::duration::Schema")]
    pub reconnect_max: Duration,
}

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            url: None,
            username: None,
            password: None,
            db: 0,
            ssl: None,
            tls_ca: None,
            key_prefix: String::from("wd"),
            connect_timeout: Duration::from_secs(5),
            command_timeout: Duration::from_secs(1),
            attempts: 2,
            pool_size: 1,
            max_buffer: 10_000,
            sentinel_service: String::from("mymaster"),
            sentinel_username: None,
            sentinel_password: None,
            reconnect_min: Duration::from_millis(100),
            reconnect_max: Duration::from_secs(10),
        }
    }
}

/// Fields that do not go together, what was expected, and how to mend it.
pub(super) type Problem = (&'static [&'static str], &'static str, &'static str);

impl RedisConfig {
    /// The defaults with a URL, for tests and examples.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the URL is none of Redis; the error does not hold it.
    pub fn from_url(url: &str) -> Result<Self> {
        let url = RedisUrl::parse(url)
            .map_err(|expected| Error::new(ErrorKind::Config, format!("expected {expected}")))?;
        Ok(Self { url: Some(url), ..Self::default() })
    }

    /// Whether a URL is set: without one there is no Redis.
    pub fn is_configured(&self) -> bool {
        self.url.is_some()
    }

    /// Whether the connections use TLS.
    pub fn uses_tls(&self) -> bool {
        self.ssl.unwrap_or_default() || self.url.as_ref().is_some_and(|url| url.tls)
    }

    /// The rules across fields, for the loader and for those who make a configuration by hand.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut rule = |broken: bool, problem: Problem| {
            if broken {
                problems.push(problem);
            }
        };
        rule(self.attempts == 0, (&["attempts"], "at least 1", "1 never sends a command twice"));
        rule(self.pool_size == 0, (&["pool_size"], "at least 1", "1 suits most services"));
        rule(self.max_buffer == 0, (&["max_buffer"], "at least 1", "the default is 10000"));
        rule(
            self.connect_timeout.is_zero(),
            (&["connect_timeout"], "more than nothing", "the default is 5s"),
        );
        rule(
            self.command_timeout.is_zero(),
            (&["command_timeout"], "more than nothing", "the default is 1s"),
        );
        rule(
            self.reconnect_min.is_zero() || self.reconnect_min > self.reconnect_max,
            (
                &["reconnect_min", "reconnect_max"],
                "a first wait above zero and up to the longest",
                "set 100ms and 10s",
            ),
        );
        if let Some(url) = &self.url {
            problems.extend(self.problems_with(url));
        }
        problems
    }

    fn problems_with(&self, url: &RedisUrl) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        if url.password.is_some() && self.password.is_some() {
            problems.push((&["url", "password"], "one password", "leave it out of the URL"));
        }
        if url.username.is_some() && self.username.is_some() && url.username != self.username {
            problems.push((&["url", "username"], "one user", "leave it out of the URL"));
        }
        if url.db.is_some_and(|db| self.db != 0 && db != self.db) {
            problems.push((&["url", "db"], "one database number", "leave it out of the URL"));
        }
        if url.topology == Topology::Cluster && self.database() != 0 {
            let fields: &[&str] = if url.db.is_some() { &["url", "db"] } else { &["db"] };
            problems.push((fields, "database 0 with a Cluster", "a Cluster has no other one"));
        }
        if url.tls && self.ssl == Some(false) {
            problems.push((
                &["url", "ssl"],
                "TLS either way",
                "write redis:// for no TLS, or leave ssl unset",
            ));
        }
        if self.tls_ca.is_some() && !self.uses_tls() {
            problems.push((&["tls_ca"], "TLS", "write rediss:// or set ssl to true"));
        }
        if self.effective_username().is_some() && self.effective_password().is_none() {
            problems.push((&["password"], "a password, since a user is set", "set it too"));
        }
        problems
    }

    pub(super) fn effective_username(&self) -> Option<&str> {
        let url = self.url.as_ref().and_then(|url| url.username.as_deref());
        self.username.as_deref().or(url)
    }

    pub(super) fn effective_password(&self) -> Option<&str> {
        let url = self.url.as_ref().and_then(|url| url.password.as_ref());
        self.password.as_ref().or(url).map(Secret::expose).map(AsRef::as_ref)
    }

    pub(super) fn database(&self) -> u8 {
        self.url.as_ref().and_then(|url| url.db).unwrap_or(self.db)
    }

    pub(super) fn address(&self) -> String {
        let Some(url) = &self.url else { return String::new() };
        let mut hosts: Vec<_> =
            url.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        hosts.sort_unstable();
        let servers = match url.topology {
            Topology::Sentinel => format!("{} of {}", self.service(url), hosts.join(",")),
            Topology::Standalone | Topology::Cluster => hosts.join(","),
        };
        format!("redis {servers}/{} {}", self.database(), self.key_prefix)
    }

    pub(super) fn service<'a>(&'a self, url: &'a RedisUrl) -> &'a str {
        url.service.as_deref().unwrap_or(&self.sentinel_service)
    }
}

impl Section for RedisConfig {
    const NAME: &'static str = "redis";
    const PREFIX: &'static str = "WATCHDOG_REDIS";

    fn check(&self, check: &mut Check<'_>) {
        for (fields, expected, hint) in self.problems() {
            check.problem(fields, expected, hint);
        }
    }
}

#[cfg(test)]
mod tests;
