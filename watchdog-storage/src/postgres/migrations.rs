//! Migrations.

use std::time::{Duration, Instant};

use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};

use super::Postgres;
use super::classify::{classify, classify_migration};
use crate::error::{Error, ErrorKind, Result};

/// The key of the lock that only one migrating process holds: "wdmigrat".
const LOCK_KEY: i64 = i64::from_be_bytes(*b"wdmigrat");
/// How often a process looks whether the other one is done.
const LOCK_INTERVAL: Duration = Duration::from_millis(100);
/// How long the server may take for what needs no work: a setting, a look at the lock, a goodbye.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What the migrations of a pool keep to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) wait: Duration,
    pub(super) lock_timeout: Duration,
    pub(super) pgbouncer: bool,
}

impl Postgres {
    /// Applies the migrations that the database does not have yet, in order, each once.
    ///
    /// Any number of processes may call this at once: one applies, the others wait for up to
    /// `migration_wait` and find nothing to do. They wait by asking, never inside a statement: a
    /// waiting statement would block `CREATE INDEX CONCURRENTLY`.
    ///
    /// Runs on a connection of its own, beside the pool, without `statement_timeout`, and with
    /// `migration_lock_timeout`: a migration that waits for a lock on a busy table blocks everyone
    /// behind it. The migrator decides the name of its table, `_sqlx_migrations` unless told
    /// otherwise: an application and a library in one database need two. A migration itself may
    /// take as long as it likes; everything around it is given up after 5 s without an answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Precondition`] with the version when an applied migration has changed or is
    /// not known here; [`ErrorKind::CommandTimeout`] when another process or a lock took too long;
    /// [`ErrorKind::Config`] behind `PgBouncer`, whose transaction mode loses the lock; else as
    /// [`classify`], with the version of the migration that failed.
    pub async fn migrate(&self, migrator: &Migrator) -> Result<()> {
        if self.limits.pgbouncer {
            let text = "migrations need a connection past PgBouncer";
            return Err(Error::new(ErrorKind::Config, text));
        }
        let mut connection = self.pool.connector().open().await?;
        let result = self.migrate_on(&mut connection, migrator).await;
        // The end of the session releases every lock, after a failure too.
        let _ = tokio::time::timeout(ANSWER_LIMIT, connection.close()).await;
        result
    }

    async fn migrate_on(&self, connection: &mut PgConnection, migrator: &Migrator) -> Result<()> {
        let lock_timeout = self.limits.lock_timeout.as_millis();
        let settings = format!("SET statement_timeout = 0; SET lock_timeout = {lock_timeout}");
        answer(connection.execute(AssertSqlSafe(settings))).await?;
        wait_for_lock(connection, self.limits.wait).await?;
        // Not `run`: the future of that one cannot be spawned.
        migrator.run_direct(None, connection, false).await.map_err(classify_migration)
    }
}

async fn answer<T>(call: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T> {
    match tokio::time::timeout(ANSWER_LIMIT, call).await {
        Ok(answer) => answer.map_err(classify),
        Err(_) => {
            let text = format!("the database server did not answer within {ANSWER_LIMIT:?}");
            Err(Error::new(ErrorKind::CommandTimeout, text))
        }
    }
}

async fn wait_for_lock(connection: &mut PgConnection, limit: Duration) -> Result<()> {
    let start = Instant::now();
    loop {
        let look = sqlx::query("SELECT pg_try_advisory_lock($1)").bind(LOCK_KEY);
        let row = answer(look.fetch_one(&mut *connection)).await?;
        if row.try_get(0).map_err(classify)? {
            return Ok(());
        }
        if start.elapsed() >= limit {
            let text = format!("another process has been migrating for longer than {limit:?}");
            return Err(Error::new(ErrorKind::CommandTimeout, text));
        }
        tokio::time::sleep(LOCK_INTERVAL).await;
    }
}
