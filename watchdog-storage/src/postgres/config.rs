//! The `db` section of the configuration.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchdog_core::Secret;
use watchdog_core::config::{Check, Environment, Section, duration};

/// How to reach PostgreSQL, and how much of it to use.
///
/// Variables begin with `WATCHDOG_DB`: `pool_size` is `WATCHDOG_DB_POOL_SIZE`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DbConfig {
    /// Name or address of the server, or the directory of its Unix socket. Unset: no PostgreSQL.
    pub host: Option<String>,
    /// Port of the server.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// Name of the database.
    pub name: Option<String>,
    /// Role to sign in as.
    pub user: Option<String>,
    /// Password of the role.
    pub password: Option<Secret<String>>,
    /// Whether to use TLS. Refused without, in production, unless the server is on this machine.
    pub ssl: bool,
    /// What TLS must prove. Default: `verify-full` with `ssl`, `disable` without.
    pub ssl_mode: Option<SslMode>,
    /// PEM file with the certificate authorities of the server, beside the public ones.
    #[schemars(extend("format" = "path"))]
    pub tls_ca: Option<PathBuf>,
    /// Connections kept open.
    #[schemars(range(min = 1, max = 10000))]
    pub pool_size: u32,
    /// Connections opened above the pool under load, and closed when they come back.
    #[schemars(range(max = 10000))]
    pub max_overflow: u32,
    /// Calls that may wait for a connection; any further one is refused at once.
    pub max_waiting: u32,
    /// How long a call waits for one of the connections to become free.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub acquire_timeout: Duration,
    /// How long opening a connection may take: name, TCP, TLS and sign-in together.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub connect_timeout: Duration,
    /// After how long the server cancels a statement. `0`: never.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub statement_timeout: Duration,
    /// After how long without use a connection is closed. `0`: never.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub idle_timeout: Duration,
    /// After how long a connection is replaced, up to a fifth earlier. `0`: never.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub max_lifetime: Duration,
    /// Connections idle for longer answer a round trip before they are handed out. `0`: all do.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub check_idle_after: Duration,
    /// How long migrations wait for another process that migrates.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub migration_wait: Duration,
    /// How long a statement of a migration waits for a lock on a table. `0`: for ever.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Schema")]
    pub migration_lock_timeout: Duration,
    /// The server is a `PgBouncer` in transaction mode: no settings are sent at sign-in, so that
    /// `statement_timeout` must be set on the role.
    pub pgbouncer: bool,
    /// What the server shows as the name of the program.
    pub application_name: String,
}

/// What TLS must prove, in the words of libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No TLS.
    Disable,
    /// TLS with whoever answers: safe from listeners, not from impostors.
    Require,
    /// TLS with a server whose certificate a known authority signed.
    VerifyCa,
    /// The same, and the certificate names the host.
    VerifyFull,
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
            ssl_mode: None,
            tls_ca: None,
            pool_size: 5,
            max_overflow: 10,
            max_waiting: 1_000,
            acquire_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1_800),
            check_idle_after: Duration::ZERO,
            migration_wait: Duration::from_secs(60),
            migration_lock_timeout: Duration::from_secs(5),
            pgbouncer: false,
            application_name: "watchdog".to_owned(),
        }
    }
}

impl Section for DbConfig {
    const NAME: &'static str = "db";
    const PREFIX: &'static str = "WATCHDOG_DB";

    fn check(&self, check: &mut Check<'_>) {
        let ssl_is_set = check.is_set("ssl");
        for problem in self.problems(check.environment(), ssl_is_set) {
            let Problem { fields, expected, hint, .. } = problem;
            if problem.is_unsafe {
                check.unsafe_in_production(fields, expected, hint);
            } else {
                check.problem(fields, expected, hint);
            }
        }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) fields: &'static [&'static str],
    pub(super) expected: &'static str,
    pub(super) hint: &'static str,
    /// It is refused in production only.
    pub(super) is_unsafe: bool,
}

/// The greatest timeout that the server takes, in milliseconds: about 24 days.
const MAX_MILLIS: u128 = i32::MAX as u128;

impl DbConfig {
    /// The TLS mode in force.
    pub fn effective_ssl_mode(&self) -> SslMode {
        // The server never offers TLS on a socket of its own machine.
        if !self.ssl || self.is_socket() {
            return SslMode::Disable;
        }
        self.ssl_mode.unwrap_or(SslMode::VerifyFull)
    }

    /// The greatest number of connections: the pool and its overflow.
    pub fn max_connections(&self) -> usize {
        (self.pool_size as usize).saturating_add(self.max_overflow as usize)
    }

    fn is_socket(&self) -> bool {
        self.host.as_deref().is_some_and(|host| host.starts_with('/'))
    }

    fn is_local(&self) -> bool {
        self.is_socket()
            || self.host.as_deref().is_some_and(|host| {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            })
    }

    /// Everything that is wrong, in the order of the fields.
    pub(super) fn problems(&self, environment: Environment, ssl_is_set: bool) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut report = |wrong: bool, fields, expected, hint| {
            if wrong {
                problems.push(Problem { fields, expected, hint, is_unsafe: false });
            }
        };
        let Some(host) = &self.host else { return problems };
        report(
            !is_host(host),
            &["host"],
            "a name, an address or the directory of a socket, and nothing else",
            "the port, the role, the password and the database have variables of their own",
        );
        let blank = |value: &Option<String>| value.as_deref().is_none_or(str::is_empty);
        report(
            blank(&self.name),
            &["name"],
            "a database, since a host is set",
            "set it, or unset the host to run without PostgreSQL",
        );
        report(
            blank(&self.user),
            &["user"],
            "a role, since a host is set",
            "set it, or unset the host to run without PostgreSQL",
        );
        report(
            !self.ssl && self.ssl_mode.is_some_and(|mode| mode != SslMode::Disable),
            &["ssl", "ssl_mode"],
            "both to agree: one switches TLS off, the other asks for it",
            "leave ssl at true, or remove ssl_mode",
        );
        report(
            ssl_is_set && self.ssl && self.ssl_mode == Some(SslMode::Disable),
            &["ssl", "ssl_mode"],
            "both to agree: one asks for TLS, the other switches it off",
            "set ssl to false, or remove ssl_mode",
        );
        report(
            self.tls_ca.is_some() && !self.verifies(),
            &["tls_ca", "ssl_mode"],
            "a mode that looks at the authority: verify-ca or verify-full",
            "remove tls_ca, or let TLS verify",
        );
        report(
            self.acquire_timeout.is_zero(),
            &["acquire_timeout"],
            "more than zero",
            "remove it for the default: 2s",
        );
        report(
            self.connect_timeout.is_zero(),
            &["connect_timeout"],
            "more than zero",
            "remove it for the default: 5s",
        );
        for (value, field) in [
            (self.statement_timeout, &["statement_timeout"]),
            (self.migration_lock_timeout, &["migration_lock_timeout"]),
        ] {
            report(
                value.as_millis() > MAX_MILLIS,
                field,
                "at most 2147483647ms, which is 24 days",
                "0 is without an end",
            );
        }
        report(self.pool_size == 0, &["pool_size"], "at least 1", "remove it for the default: 5");
        problems.extend(self.clear_text(environment));
        problems
    }

    fn verifies(&self) -> bool {
        matches!(self.effective_ssl_mode(), SslMode::VerifyCa | SslMode::VerifyFull)
    }

    /// What production refuses, on the field that switched TLS off.
    fn clear_text(&self, environment: Environment) -> Option<Problem> {
        let is_clear = self.effective_ssl_mode() == SslMode::Disable && !self.is_local();
        let (fields, hint): (&'static [&'static str], _) = if self.ssl {
            (&["ssl_mode"], "the password and every row would travel in the clear: remove ssl_mode")
        } else {
            (&["ssl"], "the password and every row would travel in the clear: set ssl to true")
        };
        (environment.is_strict() && is_clear).then_some(Problem {
            fields,
            expected: "TLS to a server on another machine",
            hint,
            is_unsafe: true,
        })
    }
}

/// A name, an address or the directory of a socket. A URL and `host:port` are none.
fn is_host(host: &str) -> bool {
    if host.starts_with('/') {
        return true;
    }
    // The zone of an IPv6 address: fe80::1%eth0.
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    let odd = |letter: char| letter.is_whitespace() || "/@:?#[]".contains(letter);
    address.parse::<Ipv6Addr>().is_ok() || (!host.is_empty() && !host.contains(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> DbConfig {
        DbConfig {
            host: Some("db.example.com".into()),
            name: Some("app".into()),
            user: Some("app".into()),
            ..DbConfig::default()
        }
    }

    fn fields(config: &DbConfig, environment: Environment) -> Vec<&'static [&'static str]> {
        config.problems(environment, true).into_iter().map(|problem| problem.fields).collect()
    }

    #[test]
    fn without_a_host_nothing_is_wrong() {
        let config = DbConfig { ssl: false, pool_size: 0, ..DbConfig::default() };
        assert!(fields(&config, Environment::Production).is_empty());
    }

    #[test]
    fn a_complete_section_is_accepted() {
        assert!(fields(&valid(), Environment::Production).is_empty());
    }

    #[test]
    fn a_host_needs_a_database_and_a_role() {
        let config = DbConfig { name: None, user: Some(String::new()), ..valid() };
        assert_eq!(fields(&config, Environment::Development), [&["name"][..], &["user"]]);
    }

    #[test]
    fn every_contradiction_is_named() {
        let off_and_on = DbConfig { ssl: false, ssl_mode: Some(SslMode::Require), ..valid() };
        assert_eq!(fields(&off_and_on, Environment::Development), [&["ssl", "ssl_mode"]]);
        let on_and_off = DbConfig { ssl_mode: Some(SslMode::Disable), ..valid() };
        assert_eq!(fields(&on_and_off, Environment::Development), [&["ssl", "ssl_mode"]]);
        assert!(on_and_off.problems(Environment::Development, false).is_empty());
        let ignored =
            DbConfig { tls_ca: Some("ca.pem".into()), ssl_mode: Some(SslMode::Require), ..valid() };
        assert_eq!(fields(&ignored, Environment::Development), [&["tls_ca", "ssl_mode"]]);
    }

    #[test]
    fn limits_of_zero_are_refused() {
        let config = DbConfig { pool_size: 0, acquire_timeout: Duration::ZERO, ..valid() };
        assert_eq!(
            fields(&config, Environment::Development),
            [&["acquire_timeout"], &["pool_size"]]
        );
        let config = DbConfig { connect_timeout: Duration::ZERO, ..valid() };
        assert_eq!(fields(&config, Environment::Development), [&["connect_timeout"]]);
    }

    #[test]
    fn a_timeout_that_the_server_cannot_hold_is_refused() {
        let most = Duration::from_millis(i32::MAX as u64);
        let config = DbConfig { statement_timeout: most, ..valid() };
        assert!(fields(&config, Environment::Development).is_empty());
        let more = most + Duration::from_millis(1);
        let config = DbConfig { statement_timeout: more, migration_lock_timeout: more, ..valid() };
        assert_eq!(
            fields(&config, Environment::Development),
            [&["statement_timeout"], &["migration_lock_timeout"]]
        );
    }

    #[test]
    fn a_host_is_no_url_and_has_no_port() {
        for host in ["db", "db.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "/run/postgresql"] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "db:5432", "[::1]:5432", "[::1]", "u:hunter2@db", "postgres://db/x", "d b"]
        {
            let config = DbConfig { host: Some(host.into()), ..valid() };
            let found = config.problems(Environment::Production, false);
            assert_eq!(found.first().map(|problem| problem.fields), Some(&["host"][..]), "{host}");
        }
        let vars = [
            ("WATCHDOG_DB_HOST", "postgres://u:hunter2@db:5432/x"),
            ("WATCHDOG_DB_NAME", "x"),
            ("WATCHDOG_DB_USER", "u"),
        ];
        let error = watchdog_core::config::Loader::from_vars(vars).load::<DbConfig>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn production_refuses_a_remote_server_without_tls() {
        for environment in [Environment::Production, Environment::Staging] {
            let by_switch = DbConfig { ssl: false, ..valid() };
            assert_eq!(fields(&by_switch, environment), [&["ssl"]]);
            let by_mode = DbConfig { ssl_mode: Some(SslMode::Disable), ..valid() };
            assert_eq!(
                by_mode.problems(environment, false).first().map(|problem| problem.fields),
                Some(&["ssl_mode"][..])
            );
        }
        let config = DbConfig { ssl: false, ..valid() };
        assert!(fields(&config, Environment::Development).is_empty());
        for host in ["localhost", "127.0.0.2", "::1", "/run/postgresql"] {
            let config = DbConfig { ssl: false, host: Some(host.into()), ..valid() };
            assert!(fields(&config, Environment::Production).is_empty(), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1", "127.example.com"] {
            let config = DbConfig { ssl: false, host: Some(host.into()), ..valid() };
            assert_eq!(fields(&config, Environment::Production), [&["ssl"]], "{host}");
        }
    }

    #[test]
    fn what_only_production_refuses_is_called_unsafe() {
        let vars = [
            ("WATCHDOG_ENV", "production"),
            ("WATCHDOG_DB_HOST", "db"),
            ("WATCHDOG_DB_NAME", "x"),
            ("WATCHDOG_DB_USER", "u"),
            ("WATCHDOG_DB_SSL_MODE", "disable"),
        ];
        let error = watchdog_core::config::Loader::from_vars(vars).load::<DbConfig>().unwrap_err();
        let found: Vec<_> =
            error.problems().iter().map(|problem| (problem.variables(), problem.kind())).collect();
        let expected = ["WATCHDOG_DB_SSL_MODE".to_owned()];
        assert_eq!(found, [(&expected[..], watchdog_core::config::ProblemKind::Unsafe)]);
    }

    #[test]
    fn the_section_reads_its_own_defaults_and_words() {
        let schema = serde_json::to_value(schemars::schema_for!(DbConfig)).unwrap();
        let property = |name: &str| schema["properties"][name].clone();
        assert_eq!(property("port")["maximum"], 65_535);
        assert_eq!(property("pool_size")["default"], 5);
        assert_eq!(property("max_overflow")["default"], 10);
        assert_eq!(property("statement_timeout")["default"], "30s");
        assert!(property("tls_ca")["description"].is_string());
        let read: DbConfig = serde_json::from_str(
            r#"{"ssl_mode": "verify-ca", "acquire_timeout": "250ms", "password": "12345"}"#,
        )
        .unwrap();
        assert_eq!(read.ssl_mode, Some(SslMode::VerifyCa));
        assert_eq!(read.acquire_timeout, Duration::from_millis(250));
        assert_eq!(read.connect_timeout, Duration::from_secs(5));
        assert!(!serde_json::to_string(&read).unwrap().contains("12345"));
    }

    #[test]
    fn tls_verifies_fully_unless_told_otherwise() {
        assert_eq!(valid().effective_ssl_mode(), SslMode::VerifyFull);
        let config = DbConfig { ssl: false, ..valid() };
        assert_eq!(config.effective_ssl_mode(), SslMode::Disable);
        let config = DbConfig { ssl_mode: Some(SslMode::VerifyCa), ..valid() };
        assert_eq!(config.effective_ssl_mode(), SslMode::VerifyCa);
        let config = DbConfig { host: Some("/run/postgresql".into()), ..valid() };
        assert_eq!(config.effective_ssl_mode(), SslMode::Disable);
    }
}
