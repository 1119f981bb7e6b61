//! PostgreSQL: a pool with an admission gate, timeouts that are told apart, migrations, health.
//!
//! ```no_run
//! use watchdog_storage::postgres::{DbConfig, Postgres, sqlx};
//!
//! # async fn example() -> watchdog_storage::Result<()> {
//! let config = DbConfig {
//!     host: Some("db.internal".into()),
//!     name: Some("app".into()),
//!     user: Some("app".into()),
//!     ..DbConfig::default()
//! };
//! let postgres = Postgres::connect(&config).await?;
//! let mut transaction = postgres.begin().await?;
//! sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(7).execute(&mut *transaction).await?;
//! transaction.commit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Model
//!
//! - At most `pool_size + max_overflow` calls have a connection; `pool_size` connections stay open.
//! - Every other call waits at the gate, in the order of arrival, for at most `acquire_timeout`.
//!   Beyond `max_waiting` waiting calls, a call is refused at once.
//! - A connection that is handed out has just answered, unless `check_idle_after` says otherwise.
//! - A call may be cancelled anywhere. A connection that was being opened for it is finished and
//!   kept; a statement that it started keeps its place until the server is done with it.
//! - A connection that comes back with an open transaction is closed, never lent out again.
//!
//! # Which timeout it was
//!
//! | kind | what took too long | setting |
//! |---|---|---|
//! | [`AcquireTimeout`](crate::ErrorKind::AcquireTimeout) | all connections were in use; the text says how many, and how many calls wait | `acquire_timeout` (2 s) |
//! | [`Saturated`](crate::ErrorKind::Saturated) | nothing: the queue was full | `max_waiting` (1000) |
//! | [`ConnectTimeout`](crate::ErrorKind::ConnectTimeout) | the server did not finish a sign-in | `connect_timeout` (5 s) |
//! | [`CommandTimeout`](crate::ErrorKind::CommandTimeout) | a statement; the server cancelled it | `statement_timeout` (30 s) |
//!
//! # Limits
//!
//! - The server enforces `statement_timeout`. A server that is frozen or cut off enforces nothing:
//!   use [`Postgres::within`] where a call must end in any case.
//! - sqlx 0.9.0 does not set `TCP_NODELAY` and shows no way to do it from outside; a statement
//!   longer than one TCP segment may wait for a delayed acknowledgement of up to 40 ms. It builds
//!   the TLS settings anew for each connection, which the pool makes rare.
//! - Never give a driver connection `statement_cache_capacity(0)`: sqlx 0.9.0 leaks a prepared
//!   statement per query then. Behind `PgBouncer` use `.persistent(false)` per query.
//! - The public authorities stay trusted beside `tls_ca`.
//! - libpq's `PGSSLCERT`, `PGSSLKEY` and `PGOPTIONS` still apply; no other of its variables does.
//! - The driver keeps the password in memory as long as the pool exists.
//!
//! # Metrics
//!
//! `watchdog_storage_postgres_connections`, `_connections_max`, `_connections_in_use`,
//! `_connections_idle`, `_acquires_waiting` (gauges by `database`), `_acquire_wait_seconds`
//! (histogram), `_timeouts_total` by `kind` (acquire, connect, check), `_acquires_refused_total`,
//! `_connects_total` by `outcome`, `_connections_discarded_total`.

mod classify;
mod config;
mod connect;
mod connection;
mod gate;
mod health;
mod metrics;
mod migrations;
mod pool;
mod stats;
mod verdict;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use watchdog_core::config::Environment;

use crate::error::{Error, ErrorKind, Result};
use migrations::Limits;
use pool::Pool;

pub use classify::classify;
pub use config::{DbConfig, SslMode};
pub use connection::{Connection, Transaction};
pub use health::PostgresHealth;
/// The driver, in the version whose connections this module lends out.
pub use sqlx;
pub use stats::PoolStats;

/// A client of one PostgreSQL database.
///
/// A clone shares the connections.
#[derive(Clone)]
pub struct Postgres {
    pool: Arc<Pool>,
    limits: Limits,
}

impl Postgres {
    /// Opens the first connection, which proves the settings.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] when the settings are incomplete, contradict each other or do not fit
    /// the server's TLS; [`ErrorKind::Denied`] and [`ErrorKind::NotFound`] when the server knows
    /// no such role, password or database; [`ErrorKind::ConnectTimeout`],
    /// [`ErrorKind::Unavailable`] and [`ErrorKind::Refusing`] when it may work later.
    pub async fn connect(config: &DbConfig) -> Result<Self> {
        // What production refuses is the configuration's to say; contradictions never work.
        if let Some(problem) = config.problems(Environment::Development, false).first() {
            let fields = problem.fields.join(" and ");
            let text = format!("the database settings {fields}: expected {}", problem.expected);
            return Err(Error::new(ErrorKind::Config, text));
        }
        metrics::describe();
        let limits = Limits {
            wait: config.migration_wait,
            lock_timeout: config.migration_lock_timeout,
            pgbouncer: config.pgbouncer,
        };
        let postgres = Self { pool: Pool::new(config).await?, limits };
        drop(postgres.acquire().await?);
        Ok(postgres)
    }

    /// Borrows a connection. Cancelling the wait loses nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AcquireTimeout`] and [`ErrorKind::Saturated`] when all are in use; the kinds
    /// of [`connect`](Self::connect) when one has to be opened.
    pub async fn acquire(&self) -> Result<Connection> {
        self.pool.acquire().await
    }

    /// Borrows a connection and begins a transaction, which is rolled back unless it is committed.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), or the server's.
    pub async fn begin(&self) -> Result<Transaction> {
        self.acquire().await?.begin().await
    }

    /// Borrows a connection for `work` and ends it after `limit`, whatever the server does.
    ///
    /// The wait for a connection is not part of `limit`; it has limits of its own.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); [`ErrorKind::CommandTimeout`] after `limit`; else what `work`
    /// returns.
    pub async fn within<T>(
        &self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut sqlx::PgConnection) -> Result<T>,
    ) -> Result<T> {
        let mut connection = self.acquire().await?;
        tokio::time::timeout(limit, work(&mut connection)).await.unwrap_or_else(|_| {
            let text = format!("the work on the database took longer than {limit:?}");
            Err(Error::new(ErrorKind::CommandTimeout, text))
        })
    }

    /// The health of this database, as a [`HealthCheck`](watchdog_core::HealthCheck).
    pub fn health(&self) -> PostgresHealth {
        PostgresHealth::new(self.clone())
    }

    /// How the pool stands.
    pub fn stats(&self) -> PoolStats {
        self.pool.stats()
    }

    /// Refuses new calls, waits for those under way, closes the connections.
    ///
    /// Waits for at most `statement_timeout` and 2 s.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("database", &self.pool.database())
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
