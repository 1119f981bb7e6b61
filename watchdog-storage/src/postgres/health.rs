//! The health of the database.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use watchdog_core::HealthCheck;
use watchdog_core::health::CheckReport;

use super::Postgres;
use super::classify::classify;
use super::connection::Connection;
use super::verdict::{Probe, verdict};
use crate::error::{Error, ErrorKind, Result};

/// How long a probe takes at most. Longer than a check of one idle connection, so that a broken
/// one can be replaced.
const PROBE_LIMIT: Duration = Duration::from_secs(3);
/// How much longer than `statement_timeout` busy connections explain a silence.
const SILENCE_GRACE: Duration = Duration::from_secs(2);

/// A probe of a PostgreSQL database: one `SELECT 1`, and a look at the pool, within 3 s.
///
/// Passes when the server answers and at most four fifths of the connections are in use, warns
/// above that, fails when the server does not answer. The probe never waits for a connection: when
/// all are in use it warns with what the pool knows, and reports unknown when the server has been
/// silent for longer than `statement_timeout` explains.
#[derive(Clone, Debug)]
pub struct PostgresHealth {
    postgres: Postgres,
}

impl PostgresHealth {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self { postgres }
    }
}

#[async_trait]
impl HealthCheck for PostgresHealth {
    async fn check(&self) -> CheckReport {
        // Before the probe takes a place of its own.
        let stats = self.postgres.stats();
        let probe = match tokio::time::timeout(PROBE_LIMIT, self.postgres.probe()).await {
            Ok(probe) => probe,
            Err(_) => Probe::Failed(ErrorKind::CommandTimeout),
        };
        verdict(probe, stats)
    }
}

impl Postgres {
    async fn probe(&self) -> Probe {
        let start = Instant::now();
        let answer = match self.pool.try_acquire().await {
            None => {
                let explained = self.pool.statement_timeout().saturating_add(SILENCE_GRACE);
                return Probe::Busy { silence: self.pool.silence(), explained };
            }
            Some(Ok(connection)) => select_one(connection).await,
            Some(Err(error)) => Err(error),
        };
        match answer {
            Ok(()) => {
                self.pool.answered();
                Probe::Answered { round_trip: start.elapsed() }
            }
            Err(error) => Probe::Failed(error.kind()),
        }
    }
}

async fn select_one(mut connection: Connection) -> Result<()> {
    let row = sqlx::Executor::fetch_one(&mut *connection, "SELECT 1").await.map_err(classify)?;
    // A simple query answers in text.
    let value = sqlx::Row::try_get_raw(&row, 0).map_err(classify)?;
    match value.as_str() {
        Ok("1") => Ok(()),
        _ => Err(Error::new(ErrorKind::Unexpected, "the server cannot tell what 1 is")),
    }
}
