//! The copy of archived entries in Postgres, for rich queries: SQL is its interface.

mod columns;
mod copier;
mod cursor;
mod month;
mod partition;
mod row;
mod run;
mod source;
pub(crate) mod telemetry;

use watchdog_storage::postgres::Postgres;

use crate::error::Result;
use crate::postgres::{Migrations, Schema};

pub(crate) use copier::Copier;
pub(crate) use run::Run;

/// The steps that lead to the tables.
const MIGRATIONS: Migrations = Migrations {
    table: "watchdog_audit_migrations",
    steps: &[("entries", include_str!("../migrations/copy/0001_entries.sql"))],
};

/// A copy of archived entries in Postgres 13 or newer, in a database in UTF8.
///
/// Give it to [`with_postgres_copy`](crate::AuditLogBuilder::with_postgres_copy) and set
/// `WATCHDOG_AUDIT_POSTGRES_COPY=true`. The table `watchdog_audit` then holds what the archive
/// holds, never more: rows come from verified objects, in the order of the manifests, and each
/// batch moves the cursor in `watchdog_audit_copied` in the transaction that brings its rows. While
/// Postgres is away nothing else waits; afterwards the copy catches up in batches of about 10 000
/// entries or 16 MiB.
///
/// # Rows
///
/// One row is one entry: its fields, and in `line` the exact line the archive hashes. Sealed fields
/// stay sealed: `actor_id`, `client_*` and `details` are null then and `subject` has the pseudonym.
/// So erasing a subject reaches the copy at once. Times are kept to the microsecond. Where a column
/// cannot take a value (U+0000, an indexed text over 512 bytes, a year before 1) it takes the
/// nearest it can, and `is_exact` is false.
///
/// # Queries
///
/// ```sql
/// -- The last day's refusals.
/// SELECT occurred_at, action, resource_type, resource_id FROM watchdog_audit
/// WHERE outcome = 'denied' AND occurred_at >= now() - interval '1 day'
/// ORDER BY occurred_at DESC;
/// -- Who touched a resource, by pseudonym.
/// SELECT subject, action, count(*) FROM watchdog_audit
/// WHERE resource_type = 'report' AND resource_id = '2026-q1' GROUP BY subject, action;
/// -- Everything of one request, in order.
/// SELECT recorded_at, category, action, outcome FROM watchdog_audit
/// WHERE request_id = 'r-1' ORDER BY recorded_at, writer, sequence;
/// -- The leaves of the Merkle tree for `access` (category 3), from the copy alone.
/// SELECT encode(sha256('\x000103'::bytea || sha256(convert_to(line, 'UTF8'))), 'hex')
/// FROM watchdog_audit WHERE category = 'access';
/// ```
///
/// # Retention
///
/// The table is partitioned by category and, below, by month of `recorded_at` in UTC. A month is
/// dropped when its last instant has outlived the retention of its category: rows stay up to 31
/// days longer than configured. A category kept for ever, and one under legal hold, keeps every
/// month. A partition that somebody reads for longer than a second is dropped by a later run.
///
/// # Roles
///
/// The role that migrates owns the tables and needs `CREATE` on the schema (on the database, when
/// the schema is not there). Call [`migrate`](Self::migrate) as it, and let the service write as a
/// role that can change no row and delete none but by whole months; partitions are made and dropped
/// by two functions that run with the rights of the owner:
///
/// ```sql
/// GRANT USAGE ON SCHEMA public TO writer;
/// GRANT INSERT ON watchdog_audit TO writer;
/// GRANT SELECT, UPDATE ON watchdog_audit_copied TO writer;
/// GRANT SELECT ON watchdog_audit_migrations TO writer;
/// GRANT EXECUTE ON FUNCTION watchdog_audit_add_month, watchdog_audit_drop_month TO writer;
/// GRANT SELECT ON watchdog_audit TO reader;
/// ```
///
/// The copy is for questions. What is proved is proved by the archive: nobody signs a row, and a
/// rebuild adds rows that are missing but changes none. Where rows may have been altered, the owner
/// drops their month (`SELECT watchdog_audit_drop_month('access', '2026-01-01')`) and has it rebuilt.
#[derive(Clone, Debug)]
pub struct PostgresCopy {
    postgres: Postgres,
    schema: Option<String>,
}

impl PostgresCopy {
    /// A copy in the schema `public` of a database.
    pub fn new(postgres: Postgres) -> Self {
        Self { postgres, schema: None }
    }

    /// Keeps the tables in another schema: a lower-case name of letters, digits and `_`.
    #[must_use]
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Makes the tables, or brings them to the version of this program. The log does the same
    /// before its first batch: a role that only writes needs the tables to be there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the schema's name is refused, the
    /// tables are newer than this program, or the role may not make them;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when it may work later.
    pub async fn migrate(&self) -> Result<()> {
        MIGRATIONS.apply(&self.postgres, &self.schema()?).await
    }

    fn schema(&self) -> Result<Schema> {
        self.schema.as_deref().map_or_else(|| Ok(Schema::public()), Schema::named)
    }
}

impl From<Postgres> for PostgresCopy {
    fn from(postgres: Postgres) -> Self {
        Self::new(postgres)
    }
}

/// What a run of the copy did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Manifests whose entries are copied now.
    pub manifests: u64,
    /// Rows that were not there before.
    pub rows: u64,
    /// Entries that have outlived their retention and were not copied.
    pub expired: u64,
    /// Objects that the archive did not give, or not as they were archived.
    pub left_out: u64,
    /// Partitions that were dropped.
    pub dropped: u64,
}
