//! Opening one connection.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions as _, PgConnection};

use super::classify::classify;
use super::config::{DbConfig, SslMode};
use super::metrics;
use crate::error::{Error, ErrorKind, Result};

/// Opens connections. Holds the password, so it has no `Debug`.
pub(super) struct Connector {
    options: PgConnectOptions,
    timeout: Duration,
}

impl Connector {
    /// Reads the authorities once, so that a file which is not there shows at the start.
    pub(super) async fn new(config: &DbConfig) -> Result<Self> {
        let missing = |field: &str| Error::new(ErrorKind::Config, format!("no {field} is set"));
        let host = config.host.as_deref().ok_or_else(|| missing("database host"))?;
        let name = config.name.as_deref().ok_or_else(|| missing("database name"))?;
        let user = config.user.as_deref().ok_or_else(|| missing("database user"))?;
        // The driver starts from libpq's variables. Everything of this section is set here, so
        // that none of them shines through.
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(host)
            .port(config.port)
            .database(name)
            .username(user)
            .password(config.password.as_ref().map_or("", |password| password.expose()))
            .ssl_mode(driver_mode(config.effective_ssl_mode()))
            .ssl_root_cert_from_pem(authorities(config).await?)
            .application_name(&config.application_name);
        if config.pgbouncer {
            // PgBouncer refuses a sign-in with settings that it does not know.
            options = options.extra_float_digits(None);
        } else if !config.statement_timeout.is_zero() {
            let limit = config.statement_timeout.as_millis().max(1);
            options = options.options([("statement_timeout", limit)]);
        }
        Ok(Self { options, timeout: config.connect_timeout })
    }

    /// Opens a connection in the time allowed.
    pub(super) async fn open(&self) -> Result<PgConnection> {
        let opened = tokio::time::timeout(self.timeout, self.options.connect()).await;
        metrics::connect_ended(matches!(opened, Ok(Ok(_))));
        match opened {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(classify(error)),
            Err(_) => {
                metrics::timed_out("connect");
                Err(Error::new(
                    ErrorKind::ConnectTimeout,
                    format!("no connection to the database server within {:?}", self.timeout),
                ))
            }
        }
    }
}

fn driver_mode(mode: SslMode) -> PgSslMode {
    match mode {
        SslMode::Disable => PgSslMode::Disable,
        SslMode::Require => PgSslMode::Require,
        SslMode::VerifyCa => PgSslMode::VerifyCa,
        SslMode::VerifyFull => PgSslMode::VerifyFull,
    }
}

async fn authorities(config: &DbConfig) -> Result<Vec<u8>> {
    let Some(path) = config.tls_ca.clone() else { return Ok(Vec::new()) };
    let unreadable = |error: std::io::Error| {
        Error::new(ErrorKind::Config, "the file of certificate authorities cannot be read")
            .with_source(error)
    };
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let pem = read.map_err(std::io::Error::other).and_then(|read| read).map_err(unreadable)?;
    let marker = b"-----BEGIN CERTIFICATE-----";
    if !pem.windows(marker.len()).any(|window| window == marker) {
        let text = "the file of certificate authorities holds no PEM certificate";
        return Err(Error::new(ErrorKind::Config, text));
    }
    Ok(pem)
}
